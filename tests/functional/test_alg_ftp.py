"""Real FTP clients and servers that know nothing of the gateway, with a closed firewall and NAT between them."""
import os
import re
import subprocess

import pytest

import algnet
from algnet import (CLIENT, FTP_SERVERS, PASSWORD, SERVER, SERVER6, USER, Proftpd, PureFtpd, Pyftpdlib, Raw, Vsftpd, curl, epsv_port, ftp, listening,  # noqa: F401
                    make_file, folder, network, pasv_place, place, profile, session, sha256, transfers, url,
                    wait_quiet)
from harness import eventually

MODES = ["nat", "transparent", "explicit"]
SIZE = 3_000_001


@pytest.fixture
def server(network, folder):
    with Pyftpdlib(network, folder) as one:
        yield one


def login_of(server_kind):
    """vsftpd and proftpd serve anonymous users here, in the folder `in` where the root must not be writable."""
    return (USER, "") if server_kind in ("pyftpdlib", "pure-ftpd") else (None, "in/" if server_kind == "vsftpd" else "")


WAYS = {
    "epsv": [],
    "pasv": ["--disable-epsv"],
    "eprt": ["-P", "-"],
    "port": ["-P", "-", "--disable-eprt"],
}


def at_most(transfer):
    """What the kernel counts includes what TCP sent again."""
    return SIZE * 1.05 if transfer["data_path"] == "nft" else SIZE


def ways_of(mode, kind):
    """pyftpdlib connects to the client before it answers PORT, when nothing is open yet; where its connection does not reach the
    gateway itself, that has to fail."""
    if mode == "transparent" and kind == "pyftpdlib":
        return {way: WAYS[way] for way in ("epsv", "pasv")}
    return WAYS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", FTP_SERVERS)
def test_servers(network, start_gateway, folder, mode, kind):
    """Up and down in each of the four ways, against each server: the files are the same, nothing is left."""
    digest = make_file(folder / "up", SIZE)
    user, below = login_of(kind)
    with FTP_SERVERS[kind](network, folder):
        gateway = start_gateway(ftp(mode))
        for way, options in ways_of(mode, kind).items():
            where = url(*place(mode), f"{below}{way}.bin", user)
            curl(network, *options, "-T", folder / "up", where)
            curl(network, *options, "-o", folder / f"down-{way}", where)
            assert sha256(folder / f"down-{way}") == digest, (mode, kind, way)
        found = transfers(gateway, 2 * len(ways_of(mode, kind)))
        assert sorted(one["verb"] for one in found) == sorted(["STOR", "RETR"] * len(ways_of(mode, kind)))
        assert all(one["is_ok"] and SIZE <= one["bytes"] <= at_most(one) for one in found), found
        wait_quiet(gateway, network)


GIGABYTE = 1 << 30


@pytest.mark.parametrize("mode,data,size", [
    ("nat", "kernel", GIGABYTE), ("nat", "relay", GIGABYTE), ("transparent", "kernel", GIGABYTE // 16),
    ("transparent", "relay", GIGABYTE // 16), ("explicit", "kernel", GIGABYTE // 16), ("explicit", "relay", GIGABYTE // 16)])
def test_large(network, start_gateway, server, folder, mode, data, size):
    """A gigabyte (and less, where nothing else is different), down and up, over either data path."""
    if os.environ.get("POSTERN_LANES"):  # a second run over the same paths
        size = min(size, GIGABYTE // 16)
    digest = make_file(server.root / "large", size)
    gateway = start_gateway(ftp(mode, data=data))
    where = url(*place(mode), "large", USER)
    curl(network, "-o", folder / "got", where)
    assert sha256(folder / "got") == digest
    curl(network, "-T", folder / "got", url(*place(mode), "back", USER))
    assert sha256(server.root / "back") == digest
    paths = {one["data_path"] for one in transfers(gateway, 2) if one["verb"] in ("RETR", "STOR")}
    assert paths == {"nft" if data == "kernel" else "relay"}
    for name in ("large", "back"):
        (server.root / name).unlink()
    (folder / "got").unlink()
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", ["nat", "transparent"])
def test_ipv6(network, start_gateway, folder, mode):
    digest = make_file(folder / "up", SIZE)
    with Vsftpd(network, folder, host=SERVER6):
        gateway = start_gateway(ftp(mode))
        for way in ("epsv", "eprt"):
            where = url(SERVER6, 21, f"in/{way}.bin")
            curl(network, "-g", *WAYS[way], "-T", folder / "up", where)
            curl(network, "-g", *WAYS[way], "-o", folder / "down", where)
            assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


def test_between_families(network, start_gateway, folder):
    """A client that has only IPv6, a server that has only IPv4 (RFC 6384)."""
    digest = make_file(folder / "up", SIZE)
    with Vsftpd(network, folder):
        gateway = start_gateway(ftp("explicit"))
        for way in ("epsv", "eprt"):
            where = url(network.OUTER6, 2121, f"in/{way}.bin")
            curl(network, "-g", *WAYS[way], "-T", folder / "up", where)
            curl(network, "-g", *WAYS[way], "-o", folder / "down", where)
            assert sha256(folder / "down") == digest
        wait_quiet(gateway, network)


@pytest.fixture
def pure_ftpd(network, folder):
    with PureFtpd(network, folder) as one:
        yield one


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("passive", ["on", "off"])
def test_lftp(network, start_gateway, pure_ftpd, folder, mode, passive):
    digests = {f"f{i}": make_file(pure_ftpd.root / f"f{i}", 200_000) for i in range(5)}
    gateway = start_gateway(ftp(mode))
    host, port = place(mode)
    script = (f"set ftp:passive-mode {passive}; set net:timeout 10; set net:max-retries 1; set ftp:ssl-allow no; set xfer:clobber on;"
              f"open -u '{USER},{PASSWORD}' -p {port} {host}; ls; lcd {folder}; mget f0 f1 f2 f3 f4; put f0 -o again; bye")
    done = subprocess.run(network.client.command(algnet.program("lftp"), "--norc", "-c", script), capture_output=True, text=True, timeout=60,
                          check=False, cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    for name, digest in digests.items():
        assert sha256(folder / name) == digest
    assert sha256(pure_ftpd.root / "again") == digests["f0"]
    wait_quiet(gateway, network)


def test_tnftp(network, start_gateway, server, folder):
    digest = make_file(server.root / "file", 300_000)
    gateway = start_gateway(ftp("nat"))
    commands = f"user {USER} \"{PASSWORD}\"\nbinary\nepsv4 off\nls\nget file {folder}/got\npassive\nget file {folder}/got2\nquit\n"
    done = subprocess.run(network.client.command(algnet.program("tnftp"), "-n", "-v", SERVER), input=commands, capture_output=True, text=True,
                          timeout=60, check=False)
    assert (folder / "got").exists(), done.stdout + done.stderr
    assert sha256(folder / "got") == sha256(folder / "got2") == digest
    wait_quiet(gateway, network)


@pytest.mark.parametrize("quirks", ["bare227", "text227", "foreign", "unsolicited", "logout227"])
def test_replies_of_odd_servers(network, start_gateway, folder, quirks):
    """Variants of 227 work, a foreign address in one is replaced, one that nobody asked for opens nothing."""
    with Pyftpdlib(network, folder, quirks=quirks) as server:
        digest = make_file(server.root / "file", SIZE)
        gateway = start_gateway(ftp("nat"))
        if quirks != "unsolicited":  # which curl itself believes
            curl(network, "--disable-epsv", "--no-ftp-skip-pasv-ip", "-o", folder / "got", url(SERVER, 21, "file", USER))
            assert sha256(folder / "got") == digest
        else:
            with Raw(network.client, SERVER, 21).login() as raw:
                assert raw.ask("PWD").startswith("257")
                assert raw.reply().startswith("227")
                assert session(gateway)["holes"] == []
                assert not algnet.is_open(network.client, SERVER, 200 * 256 + 200)
        wait_quiet(gateway, network)


def test_addresses_are_hidden_by_nat(network, start_gateway, server):
    """The server sees the gateway and is asked to connect to it; the client is told the server's own address."""
    gateway = start_gateway(ftp("nat"))
    with Raw(network.client, SERVER, 21).login() as raw, listening(network.client, CLIENT) as sock:
        port = sock.getsockname()[1]
        assert raw.ask(f"PORT {CLIENT.replace('.', ',')},{port // 256},{port % 256}").startswith("200")
        assert pasv_place(raw.ask("PASV"))[0] == SERVER
        shown = session(gateway)
        legs = shown["legs"]
        assert legs["client"]["address"].startswith(f"{CLIENT}:") and legs["server"]["address"] == f"{SERVER}:21"
        assert legs["server"]["gateway"].startswith(network.INNER + ":")
        changes = [one for one in shown["changes"] if one["before"].startswith("PORT")]
        assert changes and network.INNER.replace(".", ",") in changes[0]["after"]
        assert PASSWORD not in str(shown)
    log = server.log.read_text()
    assert CLIENT not in log and CLIENT.replace(".", ",") not in log
    wait_quiet(gateway, network)


@pytest.fixture
def proftpd(network, folder):
    with Proftpd(network, folder) as one:
        yield one


def test_both_ends_see_each_other_when_transparent(network, start_gateway, proftpd, folder):
    """Not an octet of the control channel differs from one side to the other."""
    gateway = start_gateway(ftp("transparent"))
    make_file(proftpd.root / "file", SIZE)
    outer = network.client.command("tcpdump", "-i", "outer", "-s", 0, "-U", "--immediate-mode", "-w", folder / "outer.pcap", "tcp port 21")
    inner = network.server.command("tcpdump", "-i", "inner", "-s", 0, "-U", "--immediate-mode", "-w", folder / "inner.pcap", "tcp port 21")
    captures = [subprocess.Popen(one, stderr=subprocess.PIPE, text=True) for one in (outer, inner)]
    for one in captures:
        for line in one.stderr:
            if "listening on" in line:
                break
    for options in WAYS.values():
        curl(network, *options, "-o", folder / "got", url(SERVER, 21, "file"))
    eventually(lambda: not algnet.sessions(gateway), what="the end of the sessions")
    for one in captures:
        algnet.harness.stop(one)
    assert algnet.streams(folder / "outer.pcap") == algnet.streams(folder / "inner.pcap")
    assert f"{CLIENT}" in proftpd.log.read_text()
    wait_quiet(gateway, network)


def test_control_lives_while_data_moves(network, start_gateway, server, folder):
    """The control channel is idle for longer than it may be, but its data is not."""
    make_file(server.root / "slow", 2_600_000)
    gateway = start_gateway(ftp("nat", idle="30s"))
    where = url(SERVER, 21, "slow", USER)
    said = curl(network, "-v", "--limit-rate", "65k", "-o", folder / "got", where, "--next", "-v", "-o", folder / "again", "-r", "0-99",
                where).stderr
    assert (folder / "got").stat().st_size == 2_600_000 and (folder / "again").stat().st_size == 100
    assert said.count("> USER") == 1  # on the same control channel
    wait_quiet(gateway, network)


def test_policy(network, start_gateway, server, folder):
    """Refused in the protocol's own words; the server never hears of it; FEAT does not offer it."""
    make_file(folder / "x.exe", 1000)
    rules = [{"name": "no-exe", "deny": {"verb": ["STOR", "APPE"], "target": r"\.exe$"}, "code": 553, "text": "not here (rule {rule})"},
             {"name": "no-site", "deny": {"verb": ["SITE", "MLSD", "MLST"]}}]
    gateway = start_gateway({**ftp("nat", profile="rules"), **profile("ftp", rules)})
    done = curl(network, "-v", "-T", folder / "x.exe", url(SERVER, 21, "x.exe", USER), check=False)
    assert done.returncode != 0 and "553 not here (rule no-exe)" in done.stderr
    curl(network, "-T", folder / "x.exe", url(SERVER, 21, "x.txt", USER))
    assert "x.exe" not in server.log.read_text()
    with Raw(network.client, SERVER, 21).login() as raw:
        raw.send("FEAT")
        lines = [raw.line()]
        while not lines[-1].startswith("211 "):
            lines.append(raw.line())
        assert not any("MLST" in line for line in lines) and any("EPSV" in line for line in lines)
        assert raw.ask("SITE HELP").startswith("5")
    hits = {rule["name"]: rule["hits"] for rule in gateway.api("/v1/profiles/rules")["rules"]}
    assert hits["no-exe"] == 1 and hits["no-site"] >= 1
    explained = subprocess.run([algnet.harness.BUILD / "postern", "explain", "files", "STOR", "/a/b.exe", "--socket", gateway.socket],
                               capture_output=True, text=True, check=True).stdout
    assert "no-exe" in explained
    wait_quiet(gateway, network)


def test_size_is_capped(network, start_gateway, server, folder):
    """Data is cut at the limit, the client is told why, nothing more arrives."""
    make_file(folder / "big", 5_000_000)
    rules = [{"name": "small", "allow": {"verb": "STOR"}, "max_bytes": "1M"}]
    gateway = start_gateway({**ftp("nat", profile="rules"), **profile("ftp", rules)})
    done = curl(network, "-v", "-T", folder / "big", url(SERVER, 21, "big", USER), check=False)
    assert done.returncode != 0
    assert re.search(r"< 552 ", done.stderr), done.stderr
    assert (server.root / "big").stat().st_size <= 1_100_000
    found = transfers(gateway)
    assert found[0]["data_path"] == "relay" and not found[0]["is_ok"]
    wait_quiet(gateway, network)


def test_abort(network, start_gateway, server):
    """ABOR with Telnet's interrupt, as urgent data: the transfer ends, the session goes on."""
    make_file(server.root / "large", 200_000_000)
    gateway = start_gateway(ftp("nat"))
    with Raw(network.client, SERVER, 21).login() as raw:
        assert raw.ask("TYPE I").startswith("200")
        host, port = pasv_place(raw.ask("PASV"))
        with network.client.socket(2, 1) as data:
            data.settimeout(10)
            data.connect((host, port))
            raw.send("RETR large")
            assert raw.reply().startswith(("150", "125"))
            assert data.recv(65536)
            raw.socket.send(b"\xff\xf4\xff", algnet.socket.MSG_OOB)
            raw.socket.send(b"\xf2ABOR\r\n")
            assert raw.reply().startswith(("426", "225", "226"))
        assert eventually(lambda: raw.ask("NOOP").startswith("200") or raw.reply().startswith("200"), what="an answer")
    (server.root / "large").unlink()
    wait_quiet(gateway, network)


def test_data_goes_on_when_the_gateway_dies(network, start_gateway, folder):
    """kill -9 of posternd in the middle of a transfer through the kernel: it completes, is taken over, and nothing is left."""
    with Vsftpd(network, folder) as server:
        digest = make_file(server.root / "file", 40_000_000)
        gateway = start_gateway(ftp("nat"))
        fetch_over_a_crash(network, gateway, digest)
    eventually(lambda: not gateway.api("/v1/pinholes")["items"], 30, "the end of all pinholes")
    assert not algnet.doors(network)
    assert [(one["verb"], one["path"].lstrip("/")) for one in transfers(gateway)] == [("RETR", "file")]


def fetch_over_a_crash(network, gateway, digest):
    with Raw(network.client, SERVER, 21).login("anonymous", "x") as raw:
        raw.ask("TYPE I")
        port = epsv_port(raw.ask("EPSV"))
        with network.client.socket(2, 1) as data:
            data.settimeout(20)
            data.connect((SERVER, port))
            raw.send("RETR file")
            raw.reply()
            got = algnet.hashlib.sha256()
            got.update(data.recv(100_000))
            eventually(lambda: session(gateway)["holes"][0]["state"] == "bound", what="a bound pinhole")
            gateway.restart()
            while part := data.recv(1 << 20):
                got.update(part)
            assert got.hexdigest() == digest
