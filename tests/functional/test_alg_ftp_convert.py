"""server_data: passive. Active clients of servers that must never connect to anybody: the gateway connects to both. The server's own
firewall refuses whatever it begins itself, and counts it."""
import contextlib
import os
import re
import socket
import subprocess
import tempfile
import threading

import pytest

import algnet
from algnet import (CLIENT, FTP_SERVERS, PASSWORD, SERVER, SERVER6, USER, Pyftpdlib, Raw, Vsftpd, curl, ftp, folder, listening, make_file,  # noqa: F401
                    network, place, profile, session, sha256, transfers, url, wait_quiet)
from harness import eventually
from test_alg_ftp import WAYS, login_of
from tlspeers import TLS_SERVERS, Certificates, Stub, ftplib_moves, lftp, lftp_script

MODES = ["nat", "explicit"]
SIZE = 3_000_001


def passive(mode="nat", **changes):
    return ftp(mode, server_data="passive", **changes)


@contextlib.contextmanager
def nothing_begun(network):
    """By the server, until the end: neither what comes through nor what its firewall stopped."""
    network.server.run("nft", "add table inet guard; add chain inet guard out { type filter hook output priority 0; };"
                       'add rule inet guard out oifname "inner" tcp flags & (syn | ack) == syn counter reject with tcp reset')
    try:
        yield
        assert "counter packets 0 " in network.server.run("nft", "list", "table", "inet", "guard")
    finally:
        network.server.run("nft", "delete", "table", "inet", "guard")


def data_port(sock):
    """PORT's argument for a listening socket of the client."""
    port = sock.getsockname()[1]
    return f"{CLIENT.replace('.', ',')},{port >> 8},{port & 255}"


def read_all(sock):
    with sock:
        return b"".join(iter(lambda: sock.recv(65536), b""))


# ---- real clients and servers

@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", FTP_SERVERS)
def test_servers(network, start_gateway, folder, mode, kind):
    """Up and down in each of the four ways that clients have, against each server: the files are the same, nothing is left."""
    digest = make_file(folder / "up", SIZE)
    user, below = login_of(kind)
    with FTP_SERVERS[kind](network, folder), nothing_begun(network):
        gateway = start_gateway(passive(mode))
        for way, options in WAYS.items():
            where = url(*place(mode), f"{below}{way}.bin", user)
            curl(network, *options, "-T", folder / "up", where)
            curl(network, *options, "-o", folder / f"down-{way}", where)
            assert sha256(folder / f"down-{way}") == digest, (mode, kind, way)
        found = transfers(gateway, 2 * len(WAYS))
        assert sorted(one["verb"] for one in found) == sorted(["STOR", "RETR"] * len(WAYS))
        assert all(one["is_ok"] and SIZE <= one["bytes"] <= SIZE * 1.05 for one in found), found
        assert sum(one["bytes"] == SIZE and one["data_path"] == "relay" for one in found) >= 4  # what was active
        wait_quiet(gateway, network)


def test_ipv6(network, start_gateway, folder):
    digest = make_file(folder / "up", SIZE)
    with Vsftpd(network, folder, host=SERVER6), nothing_begun(network):
        gateway = start_gateway(passive())
        where = url(SERVER6, 21, "in/x")
        curl(network, "-g", *WAYS["eprt"], "-T", folder / "up", where)
        curl(network, "-g", *WAYS["eprt"], "-o", folder / "down", where)
        assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


def test_between_families(network, start_gateway, folder):
    """A client that has only IPv6, a server that has only IPv4."""
    digest = make_file(folder / "up", SIZE)
    with Vsftpd(network, folder), nothing_begun(network):
        gateway = start_gateway(passive("explicit"))
        where = url(network.OUTER6, 2121, "in/x")
        curl(network, "-g", *WAYS["eprt"], "-T", folder / "up", where)
        curl(network, "-g", *WAYS["eprt"], "-o", folder / "down", where)
        assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["epsv", "eprt", "port"])
def test_server_without_epsv(network, start_gateway, folder, mode, way):
    """It is asked with PASV, and the clients notice nothing; whatever address is in its 227."""
    digest = make_file(folder / "up", SIZE)
    with Pyftpdlib(network, folder, quirks="noepsv,foreign") as server, nothing_begun(network):
        gateway = start_gateway(passive(mode))
        where = url(*place(mode), "x", USER)
        said = curl(network, "-v", *WAYS[way], "-T", folder / "up", where).stderr
        assert "500" not in re.findall(r"^< (\d+)", said, re.M) and "> PASV" not in said
        curl(network, *WAYS[way], "-o", folder / "down", where)
        assert sha256(folder / "down") == digest == sha256(server.root / "x")
        wait_quiet(gateway, network)


def test_server_without_passive_mode(network, start_gateway, folder):
    with Pyftpdlib(network, folder, quirks="noepsv,nopasv"), nothing_begun(network):
        gateway = start_gateway(passive())
        with listening(network.client, CLIENT) as sock, Raw(network.client, SERVER, 21).login() as raw:
            assert raw.ask(f"PORT {data_port(sock)}").startswith("425 ")
            assert raw.ask(f"PORT {data_port(sock)}").startswith("425 ")
            assert raw.ask("NOOP").startswith("200 ")
        wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_lftp(network, start_gateway, folder, mode):
    """Several transfers on one control channel."""
    with FTP_SERVERS["pure-ftpd"](network, folder) as server, nothing_begun(network):
        digests = {f"f{i}": make_file(server.root / f"f{i}", 200_000) for i in range(5)}
        gateway = start_gateway(passive(mode))
        host, port = place(mode)
        script = (f"set ftp:passive-mode off; set net:timeout 10; set net:max-retries 1; set ftp:ssl-allow no; set xfer:clobber on;"
                  f"open -u '{USER},{PASSWORD}' -p {port} {host}; ls; lcd {folder}; mget f0 f1 f2 f3 f4; put f0 -o again; bye")
        done = lftp(network, script, folder)
        assert done.returncode == 0, done.stderr
        for name, digest in digests.items():
            assert sha256(folder / name) == digest
        assert sha256(server.root / "again") == digests["f0"]
        wait_quiet(gateway, network)


def test_tnftp(network, start_gateway, folder):
    with Pyftpdlib(network, folder) as server, nothing_begun(network):
        digest = make_file(server.root / "file", 300_000)
        gateway = start_gateway(passive())
        commands = f"user {USER} \"{PASSWORD}\"\nbinary\nls\nget file {folder}/got\nget gone {folder}/gone\nget file {folder}/got2\nquit\n"
        done = subprocess.run(network.client.command(algnet.program("tnftp"), "-A", "-n", "-v", SERVER), input=commands, capture_output=True,
                              text=True, timeout=60, check=False)
        assert (folder / "got2").exists(), done.stdout + done.stderr
        assert sha256(folder / "got") == sha256(folder / "got2") == digest
        wait_quiet(gateway, network)


# ---- encrypted

@pytest.fixture(scope="module")
def certificates():
    with tempfile.TemporaryDirectory(prefix="postern-") as name:
        os.chmod(name, 0o755)
        yield Certificates(name)


@pytest.mark.parametrize("kind", TLS_SERVERS)
def test_protected(network, start_gateway, folder, certificates, kind):
    """PROT P at both ends. vsftpd and proftpd want the session of their control channel resumed."""
    digest = make_file(folder / "up", SIZE)
    user, below = login_of(kind)
    login = (USER, PASSWORD) if user else ("anonymous", "x@example")
    with TLS_SERVERS[kind](network, folder, certificate=certificates.server) as one, nothing_begun(network):
        gateway = start_gateway(passive("nat", **certificates.of_gateway()))
        done = ftplib_moves(network, place("nat"), certificates, login, False, folder / "up", f"{below}x", folder / "down")
        assert done.returncode == 0, done.stderr + one.log.read_text("utf-8", "replace")[-2000:]
        assert sha256(folder / "down") == digest
        script = lftp_script(place("nat"), certificates, f"put up -o {below}y; get {below}y -o z", folder=folder, login=login, passive=False)
        done = lftp(network, script, folder)
        assert done.returncode == 0, done.stderr + one.log.read_text("utf-8", "replace")[-2000:]
        assert sha256(folder / "z") == digest
        wait_quiet(gateway, network)


# ---- what goes wrong

def test_who_may_use_it(network, start_gateway, folder):
    """Nobody can connect to anything of it; whom the gateway connects to is the client itself."""
    with Pyftpdlib(network, folder) as server, nothing_begun(network):
        make_file(server.root / "file", 100_000)
        gateway = start_gateway(passive())
        with listening(network.client, CLIENT) as sock, listening(network.stranger, network.STRANGER) as other, \
                Raw(network.client, SERVER, 21).login() as raw:
            stranger = f"{network.STRANGER.replace('.', ',')},{other.getsockname()[1] >> 8},{other.getsockname()[1] & 255}"
            assert raw.ask(f"PORT {stranger}").startswith("500 ")
            assert raw.ask(f"PORT {CLIENT.replace('.', ',')},0,25").startswith("500 ")
            assert raw.ask(f"PORT {CLIENT.replace('.', ',')},12,234").startswith("500 ")  # 3306
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
            hole = next(one for one in session(gateway)["holes"] if one["state"] == "armed")
            assert hole["listen"] is None and hole["target"] == f"{CLIENT}:{sock.getsockname()[1]}" and hole["path"] == "relay"
            assert raw.ask("TYPE I").startswith("200 ")
            assert raw.ask("RETR gone").startswith("550 ")
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
            assert raw.ask("RETR file").startswith(("125 ", "150 "))
            data, source = sock.accept()
            assert source[0] == network.OUTER
            assert len(read_all(data)) == 100_000
            assert raw.reply().startswith("226 ")
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):  # nor did it come for the file that was not there
                sock.accept()
        wait_quiet(gateway, network)


class Serving(Stub):
    """Says 150 when it has the connection, as most do; sends, or takes, and says 226 at once."""

    def answer(self, verb, argument):
        if verb == "EPSV" and self.data_listener is not None:
            self.data_listener.close()
        super().answer(verb, argument)

    def on_transfer(self, verb, argument, data):
        with data, contextlib.suppress(OSError):
            if verb == "RETR":
                data.sendall(b"early octets")
            else:
                self.taken = read_all(data)
        self.say("226 done")


def test_client_that_does_not_listen(network, start_gateway):
    """425, although the server believes that all went well; the next transfer on the channel works."""
    with Serving(network, None) as server, nothing_begun(network):
        gateway = start_gateway(passive())
        with Raw(network.client, SERVER, 21).login() as raw:
            with listening(network.client, CLIENT) as sock:
                place = data_port(sock)
            assert raw.ask(f"PORT {place}").startswith("200 ")
            assert raw.ask("RETR file").startswith("150 ")
            assert raw.reply().startswith("425 ")
            with listening(network.client, CLIENT) as sock:
                assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
                assert raw.ask("RETR file").startswith("150 ")
                assert read_all(sock.accept()[0]) == b"early octets"
                assert raw.reply().startswith("226 ")
            assert raw.ask("QUIT").startswith("221 ")
        assert server.commands.count("ABOR") == 1
        assert sorted((one["code"], one["is_ok"]) for one in transfers(gateway, 2)) == [(226, True), (425, False)]
        wait_quiet(gateway, network)


class Closed(Serving):
    """Names a port at which it does not listen, and waits there for as long as it is told."""

    def __init__(self, *args):
        super().__init__(*args)
        self.is_waiting = threading.Event()

    def answer(self, verb, argument):
        if verb == "EPSV":
            self.data_listener = self.network.server.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.data_listener.bind((SERVER, 0))
            self.say(f"229 so (|||{self.data_listener.getsockname()[1]}|)")
        elif verb in ("RETR", "STOR"):
            self.is_waiting.wait(15)
            self.say("425 nobody came")
        elif verb == "ABOR":
            self.say("226 nothing to abort")
        else:
            super().answer(verb, argument)


def test_server_that_does_not_listen(network, start_gateway):
    """The client is told while the server still waits."""
    with Closed(network, None) as server, nothing_begun(network):
        gateway = start_gateway(passive())
        with listening(network.client, CLIENT) as sock, Raw(network.client, SERVER, 21).login() as raw:
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
            assert raw.ask("RETR file").startswith("425 Can't")
            server.is_waiting.set()
            assert raw.ask("PWD").startswith("257 ")
        wait_quiet(gateway, network)


def test_rules(network, start_gateway, folder):
    """Limits and first octets are looked at as with other relayed data."""
    rules = [{"deny": {"verb": "STOR", "magic": "4d5a"}, "code": 553, "name": "no-exe"}, {"allow": {"verb": "RETR"}, "max_bytes": 50_000}]
    with Pyftpdlib(network, folder) as server, nothing_begun(network):
        make_file(server.root / "large", 100_000)
        (folder / "exe").write_bytes(b"MZ" + bytes(5000))
        gateway = start_gateway({**passive(profile="rules"), **profile("ftp", rules)})
        where = url(SERVER, 21, "", USER)
        assert curl(network, *WAYS["port"], "-o", folder / "got", where + "large", check=False).returncode != 0
        assert not (folder / "got").exists() or (folder / "got").stat().st_size <= 50_000  # a reset takes what was not read yet with it
        assert curl(network, *WAYS["port"], "-T", folder / "exe", where + "exe", check=False).returncode != 0
        assert not (server.root / "exe").exists() or (server.root / "exe").stat().st_size == 0
        (folder / "txt").write_bytes(b"text" * 1000)
        curl(network, *WAYS["port"], "-T", folder / "txt", where + "txt")
        assert (server.root / "txt").stat().st_size == 4000
        wait_quiet(gateway, network)


def test_abort(network, start_gateway, folder):
    """Before the server has begun, and while octets flow."""
    with Pyftpdlib(network, folder) as server, nothing_begun(network):
        make_file(server.root / "large", 50_000_000)
        gateway = start_gateway(passive())
        with listening(network.client, CLIENT) as sock, Raw(network.client, SERVER, 21).login() as raw:
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
            assert raw.ask("ABOR").startswith(("225 ", "226 "))
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
            assert raw.ask("RETR large").startswith(("125 ", "150 "))
            data = sock.accept()[0]
            assert len(data.recv(1000)) == 1000
            assert raw.ask("ABOR").startswith("426 ")
            assert raw.reply().startswith("226 ")
            data.close()
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
            assert raw.ask("LIST").startswith(("125 ", "150 "))
            assert b"large" in read_all(sock.accept()[0])
            assert raw.reply().startswith("226 ")
            raw.send(f"PORT {data_port(sock)}").send("NLST").send("NOOP")  # all at once
            assert raw.reply().startswith("200 ")
            assert raw.reply().startswith(("125 ", "150 "))
            assert b"large" in read_all(sock.accept()[0])
            assert {raw.reply()[:3], raw.reply()[:3]} == {"200", "226"}
        wait_quiet(gateway, network)


def test_session_that_ends(network, start_gateway, folder):
    """In between, on either side: nothing stays."""
    with Serving(network, None), nothing_begun(network):
        gateway = start_gateway(passive())
        with listening(network.client, CLIENT) as sock, Raw(network.client, SERVER, 21).login() as raw:
            assert raw.ask(f"PORT {data_port(sock)}").startswith("200 ")
        wait_quiet(gateway, network)
    eventually(lambda: not algnet.sessions(gateway), what="the end of the session")
