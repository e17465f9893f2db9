"""FTP under TLS: passed on, refused, and above all ended at the gateway on both sides, where rules see what is inside. Real clients and
servers, as they are when installed: vsftpd and proftpd want the sessions of their data connections resumed."""
import os
import re
import socket
import ssl
import tempfile

import pytest

import algnet
from algnet import (PASSWORD, SERVER, SERVER6, USER, Raw, Vsftpd, curl, ftp, folder, make_file, network, place, profile, session,  # noqa: F401
                    sessions, sha256, transfers, wait_quiet)
from harness import eventually, hostport
from test_alg_ftp import login_of
from tlspeers import (TLS_SERVERS, Certificates, Stub, TlsPureFtpd, TlsPyftpdlib, TlsRaw, TlsVsftpd, ftplib_moves, lftp, lftp_script,
                      received, tls_words)

# Not by PORT and EPRT: curl before 8.0 does not encrypt data connections that it accepts. Nor with pyftpdlib: curl begins TLS on a data
# connection before it sends the command, and that is too early for it. lftp and Python's ftplib do both.
WAYS = {"epsv": [], "pasv": ["--disable-epsv"]}
CURL_SERVERS = [kind for kind in TLS_SERVERS if kind != "pyftpdlib"]
SIZE = 3_000_001
LARGE = int(os.environ.get("POSTERN_TLS_OCTETS", 100_000_000))


@pytest.fixture(scope="module")
def certificates():
    with tempfile.TemporaryDirectory(prefix="postern-") as name:
        os.chmod(name, 0o755)  # the gateway's account reads them, too
        yield Certificates(name)


@pytest.fixture
def server(network, folder, certificates):
    """Its log tells every command."""
    with TlsPyftpdlib(network, folder, certificate=certificates.server) as one:
        yield one


@pytest.fixture
def pure_ftpd(network, folder, certificates):
    with TlsPureFtpd(network, folder, certificate=certificates.server) as one:
        yield one


def login(kind):
    return (USER, PASSWORD) if login_of(kind)[0] else ("anonymous", "x@example")


def url(mode, path="", user=None, scheme="ftp", host=None, port=None):
    usual_host, usual_port = place(mode)
    login = f"{user}:{PASSWORD.replace(' ', '%20')}@" if user else ""
    return f"{scheme}://{login}{hostport(host or usual_host, port or usual_port)}/{path}"


def of(certificates, mode="nat", **changes):
    return ftp(mode, **certificates.of_gateway(**changes))


# ---- passed on, refused

def test_passed_unseen(network, start_gateway, folder, certificates):
    """The channel is encrypted from end to end; data goes through the ports that the configuration names for this server."""
    digest = make_file(folder / "up", SIZE)
    ports = range(50000, 50010)
    with TlsVsftpd(network, folder, certificate=certificates.server, passive_ports=ports):
        gateway = start_gateway(ftp("nat", tls="pass", tls_ports="50000-50009"))
        for version in ("1.2", "1.3"):
            curl(network, *tls_words(certificates, version), "-T", folder / "up", url("nat", "in/x"))
            curl(network, *tls_words(certificates, version), "-o", folder / "down", url("nat", "in/x"))
            assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


def test_refused(network, start_gateway, folder, pure_ftpd, certificates):
    make_file(folder / "up", 1000)
    gateway = start_gateway(ftp("nat", tls="refuse"))
    done = curl(network, "-v", *tls_words(certificates), "-T", folder / "up", url("nat", "x", USER), check=False)
    assert done.returncode == 64 and "< 534 " in done.stderr  # CURLE_USE_SSL_FAILED
    curl(network, "-v", "--ssl", "-T", folder / "up", url("nat", "x", USER))  # in clear, when that will do
    wait_quiet(gateway, network)


# ---- ended here

@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", CURL_SERVERS)
def test_servers(network, start_gateway, folder, certificates, kind, version):
    """Up and down, against each server: the files are the same, nothing is left."""
    digest = make_file(folder / "up", SIZE)
    user, below = login_of(kind)
    with TLS_SERVERS[kind](network, folder, certificate=certificates.server):
        gateway = start_gateway(of(certificates))
        for way, options in WAYS.items():
            where = url("nat", f"{below}{way}.bin", user)
            curl(network, *tls_words(certificates, version), *options, "-T", folder / "up", where)
            curl(network, *tls_words(certificates, version), *options, "-o", folder / f"down-{way}", where)
            assert sha256(folder / f"down-{way}") == digest, (kind, way)
        found = transfers(gateway, 2 * len(WAYS))
        assert sorted(one["verb"] for one in found) == sorted(["STOR", "RETR"] * len(WAYS))
        assert all(one["is_ok"] and one["bytes"] == SIZE and one["data_path"] == "relay" for one in found), found
        wait_quiet(gateway, network)


@pytest.mark.parametrize("is_passive", [True, False])
@pytest.mark.parametrize("kind", TLS_SERVERS)
def test_ftplib(network, start_gateway, folder, certificates, kind, is_passive):
    """A client that resumes no session: towards the server the gateway does."""
    digest = make_file(folder / "up", SIZE)
    with TLS_SERVERS[kind](network, folder, certificate=certificates.server) as one:
        gateway = start_gateway(of(certificates))
        name = f"{login_of(kind)[1]}x"
        done = ftplib_moves(network, place("nat"), certificates, login(kind), is_passive, folder / "up", name, folder / "down")
        assert done.returncode == 0, done.stderr + one.log.read_text("utf-8", "replace")[-2000:]
        assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


def test_explicit(network, start_gateway, folder, certificates):
    digest = make_file(folder / "up", SIZE)
    with TlsVsftpd(network, folder, certificate=certificates.server):
        gateway = start_gateway(of(certificates, "explicit"))
        for way, options in WAYS.items():
            where = url("explicit", f"in/{way}.bin")
            curl(network, *tls_words(certificates), *options, "-T", folder / "up", where)
            curl(network, *tls_words(certificates), *options, "-o", folder / "down", where)
            assert sha256(folder / "down") == digest, way
        for is_passive in (True, False):
            done = ftplib_moves(network, place("explicit"), certificates, login("vsftpd"), is_passive, folder / "up", f"in/{is_passive}",
                                folder / "down")
            assert done.returncode == 0, done.stderr
            assert sha256(folder / "down") == digest, is_passive
        wait_quiet(gateway, network)


def test_transparent(network, start_gateway, folder, server, certificates):
    digest = make_file(folder / "up", SIZE)
    gateway = start_gateway(of(certificates, "transparent"))
    done = ftplib_moves(network, place("transparent"), certificates, login("pyftpdlib"), True, folder / "up", "x", folder / "down")
    assert done.returncode == 0, done.stderr
    assert sha256(folder / "down") == digest
    assert algnet.CLIENT in server.log.read_text()
    wait_quiet(gateway, network)


def test_last_words(network, start_gateway, folder, certificates):
    """vsftpd says 226 when its last octets, close_notify behind the end of what it got, are acknowledged: by a socket that is in
    time-wait by then, and has the client's address."""
    make_file(folder / "up", SIZE)
    with TlsVsftpd(network, folder, certificate=certificates.server):
        gateway = start_gateway(of(certificates, "transparent"))
        for _ in range(8):
            curl(network, *tls_words(certificates), "--max-time", 10, "-T", folder / "up", url("transparent", "in/x"))
        wait_quiet(gateway, network)


def test_servers_in_clear(network, start_gateway, folder, certificates):
    """server_tls: false: the gateway adds TLS to servers that have none."""
    digest = make_file(folder / "up", SIZE)
    with Vsftpd(network, folder):
        gateway = start_gateway(ftp("nat", tls="terminate", certificate=str(certificates.gateway[0]), key=str(certificates.gateway[1]),
                                    server_tls=False))
        curl(network, *tls_words(certificates), "-T", folder / "up", url("nat", "in/x"))
        curl(network, *tls_words(certificates), "-o", folder / "down", url("nat", "in/x"))
        assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


def test_ipv6(network, start_gateway, folder, certificates):
    digest = make_file(folder / "up", SIZE)
    with TlsVsftpd(network, folder, certificate=certificates.server, host=SERVER6):
        gateway = start_gateway(of(certificates))
        where = url("nat", "in/epsv.bin", host=SERVER6, port=21)
        curl(network, "-g", *tls_words(certificates), "-T", folder / "up", where)
        curl(network, "-g", *tls_words(certificates), "-o", folder / "down", where)
        assert sha256(folder / "down") == digest
        done = ftplib_moves(network, (SERVER6, 21), certificates, login("vsftpd"), False, folder / "up", "in/eprt", folder / "got")
        assert done.returncode == 0, done.stderr
        assert sha256(folder / "got") == digest
        wait_quiet(gateway, network)


def test_large(network, start_gateway, folder, pure_ftpd, certificates):
    digest = make_file(pure_ftpd.root / "large", LARGE)
    gateway = start_gateway(of(certificates))
    curl(network, *tls_words(certificates), "-o", folder / "got", url("nat", "large", USER))
    assert sha256(folder / "got") == digest
    curl(network, *tls_words(certificates), "-T", folder / "got", url("nat", "back", USER))
    assert sha256(pure_ftpd.root / "back") == digest
    assert {one["bytes"] for one in transfers(gateway, 2)} == {LARGE}
    for path in (pure_ftpd.root / "large", pure_ftpd.root / "back", folder / "got"):
        path.unlink()
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", ["nat", "explicit"])
@pytest.mark.parametrize("kind", ["vsftpd", "proftpd"])
def test_implicit(network, start_gateway, folder, certificates, mode, kind):
    """TLS begins with the connection, on both sides (FTPS, port 990)."""
    digest = make_file(folder / "up", SIZE)
    _, below = login_of(kind)
    ports = {"ports": [990], "server": f"{SERVER}:990"} if mode == "explicit" else {"ports": [990]}
    with TLS_SERVERS[kind](network, folder, certificate=certificates.server, implicit=True, port=990):
        gateway = start_gateway(of(certificates, mode, tls="implicit", **ports))
        for way, options in WAYS.items():
            where = url(mode, f"{below}{way}.bin", scheme="ftps", port=990)
            curl(network, *tls_words(certificates), *options, "-T", folder / "up", where)
            curl(network, *tls_words(certificates), *options, "-o", folder / "down", where)
            assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


@pytest.mark.parametrize("passive", [True, False])
@pytest.mark.parametrize("protect", [True, False])
def test_lftp(network, start_gateway, folder, certificates, pure_ftpd, protect, passive):
    """With and without protection of data (PROT P, C); without, it takes the way that data in clear takes."""
    digests = {f"f{i}": make_file(pure_ftpd.root / f"f{i}", 200_000) for i in range(5)}
    gateway = start_gateway(of(certificates))
    commands = "ls; mget f0 f1 f2 f3 f4; put f0 -o again"
    done = lftp(network, lftp_script(place("nat"), certificates, commands, protect=protect, passive=passive, folder=folder), folder)
    assert done.returncode == 0, done.stderr
    for name, digest in digests.items():
        assert sha256(folder / name) == digest
    assert sha256(pure_ftpd.root / "again") == digests["f0"]
    found = [one for one in transfers(gateway, 6) if one["verb"] in ("RETR", "STOR")]
    assert {one["data_path"] for one in found} == {"relay" if protect else "nft"}
    wait_quiet(gateway, network)


@pytest.mark.parametrize("kind", TLS_SERVERS)
def test_lftp_sends(network, start_gateway, folder, certificates, kind):
    digest = make_file(folder / "up", SIZE)
    below = login_of(kind)[1]
    with TLS_SERVERS[kind](network, folder, certificate=certificates.server) as one:
        gateway = start_gateway(of(certificates))
        script = lftp_script(place("nat"), certificates, f"put up -o {below}x; get {below}x -o y", folder=folder, login=login(kind))
        done = lftp(network, script, folder)
        assert done.returncode == 0, done.stderr + one.log.read_text("utf-8", "replace")[-2000:]
        assert sha256(folder / "y") == digest
        wait_quiet(gateway, network)


def test_what_is_shown(network, start_gateway, server, certificates):
    """Of both channels and of both ends of data: version, whether a session was resumed."""
    make_file(server.root / "file", 50_000_000)
    gateway = start_gateway(of(certificates))
    with TlsRaw(network.client, SERVER, 21, certificates.client_context()).auth().login().protect() as raw:
        data = raw.passive()
        raw.send("RETR file")
        assert raw.reply().startswith(("150", "125"))
        with raw.secured(data) as secured:
            assert secured.recv(1000)
            def secured_hole():
                return next((hole for hole in session(gateway)["holes"] if hole["tls"] and all(hole["tls"].values())), None)

            shown = eventually(secured_hole, what="a pinhole with TLS")
            assert shown["path"] == "relay" and shown["reason"] == "TLS ends here"
            assert {side: shown["tls"][side]["version"] for side in ("client", "server")} == {"client": "TLSv1.3", "server": "TLSv1.3"}
            assert shown["tls"]["client"]["resumed"] and shown["tls"]["server"]["resumed"]
            assert len(received(secured)) > 49_000_000
        assert raw.reply().startswith("226")
        legs = session(gateway)["legs"]
        assert legs["client"]["tls"]["version"] == legs["server"]["tls"]["version"] == "TLSv1.3"
    wait_quiet(gateway, network)


# ---- rules see what is inside

def test_policy(network, start_gateway, folder, pure_ftpd, certificates):
    make_file(folder / "x.exe", 1000)
    (folder / "big").write_bytes(bytes(5_000_000))
    (folder / "program").write_bytes(b"MZ" + bytes(100_000))
    rules = [{"name": "no-exe", "deny": {"verb": ["STOR", "APPE"], "target": r"\.exe$"}, "code": 553, "text": "not here (rule {rule})"},
             {"name": "no-program", "deny": {"verb": "STOR", "magic": "4d5a"}},
             {"name": "small", "allow": {"verb": "STOR"}, "max_bytes": "1M"}]
    gateway = start_gateway({**of(certificates, profile="rules"), **profile("ftp", rules)})

    def put(name):
        return curl(network, "-v", *tls_words(certificates), "-T", folder / name, url("nat", name, USER), check=False)

    done = put("x.exe")
    assert done.returncode != 0 and "553 not here (rule no-exe)" in done.stderr
    assert not (pure_ftpd.root / "x.exe").exists()
    done = put("big")
    assert done.returncode != 0 and re.search(r"< 552 ", done.stderr), done.stderr
    assert (pure_ftpd.root / "big").stat().st_size <= 1 << 20 or not (pure_ftpd.root / "big").exists()
    done = put("program")
    assert done.returncode != 0 and re.search(r"< 5\d\d ", done.stderr), done.stderr
    assert not (pure_ftpd.root / "program").exists() or (pure_ftpd.root / "program").stat().st_size == 0
    found = transfers(gateway, 2)
    assert not any(one["is_ok"] for one in found)
    wait_quiet(gateway, network)


def test_exact_limit(network, start_gateway, folder, pure_ftpd, certificates):
    """As many octets as may pass, and not one more."""
    rules = [{"name": "small", "allow": {"verb": "STOR"}, "max_bytes": "1M"}]
    most = 1 << 20
    gateway = start_gateway({**of(certificates, profile="rules"), **profile("ftp", rules)})
    for size, is_ok in ((most, True), (most + 1, False)):
        make_file(folder / "up", size)
        done = curl(network, *tls_words(certificates), "-T", folder / "up", url("nat", f"f{size}", USER), check=False)
        assert (done.returncode == 0) == is_ok, done.stderr
    assert (pure_ftpd.root / f"f{most}").stat().st_size == most
    wait_quiet(gateway, network)


# ---- attacks on the beginning of TLS

def test_commands_in_clear_behind_auth(network, start_gateway, server, certificates):
    """STARTTLS injection: what somebody on the path put behind AUTH TLS is not taken for what was said under TLS."""
    gateway = start_gateway(of(certificates))
    with Raw(network.client, SERVER, 21) as raw:
        assert raw.reply().startswith("220")
        raw.socket.sendall(b"AUTH TLS\r\nUSER mallory\r\nPASS x\r\n")
        with pytest.raises((OSError, ssl.SSLError, AssertionError)):
            reply = raw.reply()
            assert reply.startswith("234")
            wrapped = certificates.client_context().wrap_socket(raw.socket, server_hostname=SERVER)
            wrapped.sendall(b"NOOP\r\n")
            assert wrapped.recv(100)
    assert "mallory" not in server.log.read_text()
    wait_quiet(gateway, network)


class Injecting(Stub):
    """Says more in clear behind its 234."""

    def on_auth(self):
        self.control.sendall(b"234 begin\r\n230 you are root\r\n")
        self.secure()


def test_replies_in_clear_behind_auth(network, start_gateway, certificates):
    with Injecting(network, certificates.server_context()):
        gateway = start_gateway(of(certificates))
        with Raw(network.client, SERVER, 21) as raw:
            assert raw.reply().startswith("220")
            raw.send("AUTH TLS")
            with pytest.raises((OSError, ssl.SSLError, AssertionError)):
                assert raw.reply().startswith("234")
                wrapped = certificates.client_context().wrap_socket(raw.socket, server_hostname=SERVER)
                wrapped.sendall(b"NOOP\r\n")
                assert wrapped.recv(100) == b""
                raise AssertionError("ended")
        wait_quiet(gateway, network)


def ended_sessions(gateway):
    return [gateway.api(f"/v1/sessions/{one['id']}") for one in sessions(gateway, "?state=ended")]


def steps_of(gateway):
    return [step["text"] for one in ended_sessions(gateway) for step in one["steps"]]


@pytest.mark.parametrize("which", ["other_name", "stranger"])
def test_wrong_server_certificate(network, start_gateway, folder, certificates, which):
    """Another name, an unknown authority: the session ends, and REST says why."""
    with TlsPyftpdlib(network, folder, certificate=getattr(certificates, which)):
        gateway = start_gateway(of(certificates))
        done = curl(network, *tls_words(certificates), url("nat", "", USER), check=False)
        assert done.returncode != 0
        wait_quiet(gateway, network)
        assert any("TLS with the server failed" in text for text in steps_of(gateway)), steps_of(gateway)


def test_wrong_gateway_certificate(network, start_gateway, server, certificates):
    """A client that does not believe the gateway is told so by its own library, not by the gateway's silence."""
    gateway = start_gateway(of(certificates, certificate=str(certificates.stranger[0]), key=str(certificates.stranger[1])))
    done = curl(network, *tls_words(certificates), url("nat", "", USER), check=False)
    assert done.returncode == 60  # CURLE_PEER_FAILED_VERIFICATION
    wait_quiet(gateway, network)
    assert any("TLS with the client failed" in text for text in steps_of(gateway)), steps_of(gateway)


# ---- attacks on data

def test_third_host(network, start_gateway, server, certificates):
    gateway = start_gateway(of(certificates, "explicit"))
    with TlsRaw(network.client, network.OUTER, 2121, certificates.client_context(), network.OUTER).auth().login().protect() as raw:
        port = algnet.epsv_port(raw.ask("EPSV"))
        with network.stranger.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
            other.settimeout(10)
            with pytest.raises(ConnectionResetError):
                other.connect((network.OUTER, port))
                other.sendall(b"x")
                other.recv(1)
        assert algnet.is_open(network.client, network.OUTER, port)
    wait_quiet(gateway, network)


@pytest.mark.parametrize("verb", ["STOR x", "RETR file"])
def test_data_in_clear(network, start_gateway, server, certificates, verb):
    """A client that asked for PROT P and then does not encrypt: nothing of what it sends arrives, nothing is sent to it."""
    make_file(server.root / "file", SIZE)
    gateway = start_gateway(of(certificates))
    with TlsRaw(network.client, SERVER, 21, certificates.client_context()).auth().login().protect() as raw:
        data = raw.passive()
        raw.send(verb)
        assert raw.reply().startswith(("150", "125"))
        with data:
            data.sendall(b"in clear" * 1000)
            got = b""
            try:
                while part := data.recv(65536):
                    got += part
            except OSError:
                pass
        assert len(got) < 100  # an alert at most
        assert raw.reply()[0] in "45"
    assert not (server.root / "x").exists() or b"in clear" not in (server.root / "x").read_bytes()
    wait_quiet(gateway, network)
    assert any("the client's end" in text for text in steps_of(gateway)), steps_of(gateway)


@pytest.mark.parametrize("resumes", [True, False])
def test_data_must_resume(network, start_gateway, server, certificates, resumes):
    """With tls_resumption_required: a data connection that does not resume its control channel's session might be anybody's."""
    make_file(server.root / "file", SIZE)
    gateway = start_gateway(of(certificates, tls_resumption_required=True))
    with TlsRaw(network.client, SERVER, 21, certificates.client_context()).auth().login().protect() as raw:
        data = raw.passive()
        raw.send("RETR file")
        assert raw.reply().startswith(("150", "125"))
        if resumes:
            with raw.secured(data) as secured:
                assert secured.session_reused and len(received(secured)) == SIZE
            assert raw.reply().startswith("226")
        else:
            with data, pytest.raises(OSError):
                secured = raw.secured(data, resume=False)
                assert not received(secured)
                raise ConnectionResetError
            assert raw.reply()[0] in "45"
    wait_quiet(gateway, network)
    assert any("did not resume" in text for text in steps_of(gateway)) != resumes


def test_session_of_another_channel(network, start_gateway, server, certificates):
    make_file(server.root / "file", SIZE)
    gateway = start_gateway(of(certificates, tls_resumption_required=True))
    context = certificates.client_context()
    with TlsRaw(network.client, SERVER, 21, context).auth().login() as other, \
            TlsRaw(network.client, SERVER, 21, context).auth().login().protect() as raw:
        data = raw.passive()
        raw.send("RETR file")
        assert raw.reply().startswith(("150", "125"))
        with data, pytest.raises(OSError):
            secured = context.wrap_socket(data, server_hostname=SERVER, session=other.socket.session)
            assert not secured.session_reused and not received(secured)
            raise ConnectionResetError
    wait_quiet(gateway, network)


@pytest.mark.parametrize("is_required", [True, False])
def test_truncated_by_the_client(network, start_gateway, server, certificates, is_required):
    """A FIN that anybody could have made: the upload is not passed off as complete, unless the configuration says that clients are so."""
    gateway = start_gateway(of(certificates, tls_close_required=is_required))
    with TlsRaw(network.client, SERVER, 21, certificates.client_context()).auth().login().protect() as raw:
        data = raw.passive()
        raw.send("STOR x")
        assert raw.reply().startswith(("150", "125"))
        secured = raw.secured(data)
        secured.sendall(b"half of it" * 1000)
        secured.shutdown(socket.SHUT_WR)  # of TCP: no close_notify
        assert raw.reply().startswith("226" if not is_required else "4")
        secured.close()
    if not is_required:
        assert (server.root / "x").stat().st_size == 10_000
    assert transfers(gateway)[0]["is_ok"] != is_required
    wait_quiet(gateway, network)


class Truncating(Stub):
    """Sends half of a file, and ends it without close_notify."""

    def on_transfer(self, verb, argument, data):
        secured = self.context.wrap_socket(data, server_side=True)
        secured.sendall(b"half of it" * 1000)
        secured.shutdown(socket.SHUT_RDWR)
        secured.close()
        self.say("226 done")


def test_truncated_by_the_server(network, start_gateway, certificates):
    with Truncating(network, certificates.server_context()):
        gateway = start_gateway(of(certificates))
        done = curl(network, *tls_words(certificates), "-o", "/dev/null", url("nat", "file", USER), check=False)
        assert done.returncode != 0
        wait_quiet(gateway, network)
        assert any("the server's end: ended without close_notify" in text for text in steps_of(gateway)), steps_of(gateway)


class Clear(Stub):
    """Does not encrypt the data that it was asked to protect."""

    def on_transfer(self, verb, argument, data):
        with data:
            data.sendall(b"in clear" * 1000)
        self.say("226 done")


def test_server_sends_data_in_clear(network, start_gateway, folder, certificates):
    with Clear(network, certificates.server_context()):
        gateway = start_gateway(of(certificates))
        done = curl(network, *tls_words(certificates), "-o", folder / "got", url("nat", "file", USER), check=False)
        assert done.returncode != 0
        assert not (folder / "got").exists() or (folder / "got").read_bytes() == b""
        wait_quiet(gateway, network)


# ---- other protocols at the door

def test_http_at_the_implicit_port(network, start_gateway, folder, certificates):
    """Neither in clear nor under TLS, nor with the names that HTTP has there (ALPN): messages of one protocol are not played off against
    another one."""
    with TlsVsftpd(network, folder, certificate=certificates.server, implicit=True, port=990) as server:
        gateway = start_gateway(of(certificates, tls="implicit", ports=[990]))
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nUSER mallory\r\nPASS x\r\n"
        with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as plain:
            plain.settimeout(10)
            plain.connect((SERVER, 990))
            plain.sendall(request)
            with pytest.raises(OSError):
                assert b"220" not in plain.recv(1000)
                raise ConnectionResetError
        for protocols in (["h2"], ["http/1.1"]):
            with pytest.raises(OSError):
                TlsRaw(network.client, SERVER, 990, certificates.client_context(), implicit=True, protocols=protocols)
        with TlsRaw(network.client, SERVER, 990, certificates.client_context(), implicit=True) as raw:
            assert raw.reply().startswith("220")
            raw.socket.sendall(request)
            with pytest.raises((OSError, AssertionError)):
                while raw.reply():
                    pass
                raise ConnectionResetError
        assert "mallory" not in server.log.read_text("utf-8", "replace")
        wait_quiet(gateway, network)


def test_many_handshakes_leave_nothing(network, start_gateway, server, certificates):
    """Some that are broken off at each step: no session, descriptor or pinhole is left."""
    gateway = start_gateway(of(certificates))
    with TlsRaw(network.client, SERVER, 21, certificates.client_context()).auth().login():
        pass
    wait_quiet(gateway, network)
    before = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    for index in range(60):
        with TlsRaw(network.client, SERVER, 21, certificates.client_context()) as raw:
            if index % 4 == 0:
                raw.reply()
                raw.send("AUTH TLS")
            elif index % 4 == 1:
                raw.auth()
            else:
                raw.auth().login().protect()
                with raw.passive() as data:
                    if index % 4 == 3:
                        data.sendall(os.urandom(100))
    wait_quiet(gateway, network)
    eventually(lambda: len(os.listdir(f"/proc/{gateway.process.pid}/fd")) <= before + 2, 10, "closed descriptors")
