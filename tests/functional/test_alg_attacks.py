"""What must not work: each test ends with the kernel holding nothing that it should not."""
import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import time

import pytest

import algnet
from algnet import (CLIENT, SECOND_SERVER, SERVER, Pyftpdlib, Raw, ScriptedFtp, epsv_port, ftp, is_open, listening, folder, network, pasv_place, session,  # noqa: F401
                    sessions, wait_quiet)
from harness import eventually


@pytest.fixture
def server(network, folder):
    with Pyftpdlib(network, folder) as one:
        yield one


@pytest.mark.parametrize("mode", ["nat", "transparent"])
def test_bounce(network, start_gateway, server, mode):
    """PORT and EPRT that name a third host, or a service, are refused by the gateway; the server never hears of them."""
    gateway = start_gateway(ftp(mode))
    with Raw(network.client, SERVER, 21).login() as raw:
        assert raw.ask("PORT 192,0,2,77,200,10").startswith("5")
        assert raw.ask(f"PORT {SECOND_SERVER.replace('.', ',')},200,10").startswith("5")
        assert raw.ask(f"PORT {CLIENT.replace('.', ',')},0,22").startswith("5")
        assert raw.ask("EPRT |1|192.0.2.77|51210|").startswith("5")
        assert raw.ask("NOOP").startswith("200")
        assert session(gateway)["holes"] == []
    assert "192,0,2,77" not in server.log.read_text() and "192.0.2.77" not in server.log.read_text()
    wait_quiet(gateway, network)


def test_port_before_login(network, start_gateway, server):
    gateway = start_gateway(ftp("nat"))
    with Raw(network.client, SERVER, 21) as raw:
        assert raw.reply().startswith("220")
        assert raw.ask(f"PORT {CLIENT.replace('.', ',')},200,10").startswith("530")
        assert session(gateway)["holes"] == []
    wait_quiet(gateway, network)


def test_passive_port_is_the_clients_alone(network, start_gateway, server):
    """The port of a 227 is open to the client that asked, once; not to a third host, and not twice."""
    gateway = start_gateway(ftp("explicit"))
    with Raw(network.client, network.OUTER, 2121).login() as raw:
        host, port = pasv_place(raw.ask("PASV"))
        assert host == network.OUTER
        assert not is_open(network.stranger, host, port)
        with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
            data.settimeout(5)
            data.connect((host, port))
            assert not is_open(network.client, host, port)
    wait_quiet(gateway, network)


def test_closed_firewall(network, start_gateway, server):
    """Nothing passes between the realms but what a session opened."""
    gateway = start_gateway(ftp("nat"))
    with listening(network.server, SERVER, 4000):
        assert not is_open(network.client, SERVER, 4000)
        with Raw(network.client, SERVER, 21).login() as raw:
            port = epsv_port(raw.ask("EPSV"))
            assert not is_open(network.stranger, SERVER, port)
            assert not is_open(network.client, SERVER, 4000)
            assert is_open(network.client, SERVER, port)
    assert not is_open(network.client, SERVER, port)
    wait_quiet(gateway, network)


def test_a_new_pasv_replaces_an_unused_one(network, start_gateway, server):
    gateway = start_gateway(ftp("nat"))
    with Raw(network.client, SERVER, 21).login() as raw:
        ports = [epsv_port(raw.ask("EPSV")) for _ in range(20)]
        assert len([hole for hole in session(gateway)["holes"] if hole["state"] in ("reserved", "armed")]) == 1
        eventually(lambda: len(gateway.api("/v1/pinholes")["items"]) <= 1, what="one pinhole")
        assert not is_open(network.client, SERVER, ports[0])
    wait_quiet(gateway, network)


def test_slipstream(network, start_gateway, server):
    """An HTTP request whose body is FTP, padded so that PORT begins a segment."""
    gateway = start_gateway(ftp("nat"))
    port = f"PORT {CLIENT.replace('.', ',')},200,10\r\n".encode()
    for pad in (536, 1460):
        with Raw(network.client, SERVER, 21) as raw:
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
            raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.socket.sendall(head + b"x" * (pad - len(head)))
            try:
                raw.socket.sendall(port)
                raw.socket.recv(4096)
            except OSError:
                pass  # the gateway may have ended it
            assert all(not gateway.api(f"/v1/sessions/{one['id']}")["holes"] for one in sessions(gateway))
    wait_quiet(gateway, network)


def test_slipstream_with_a_server_that_agrees(network, start_gateway):
    """The same, and the far end is the attacker's: it takes everything for a command and says yes."""
    gateway = start_gateway(ftp("nat"))
    port = f"PORT {CLIENT.replace('.', ',')},200,10\r\n".encode()
    with listening(network.server, SERVER, 21) as listener:
        for pad in (536, 1460):
            with Raw(network.client, SERVER, 21) as raw:
                raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far, _ = listener.accept()
                with far:
                    far.settimeout(2)
                    far.sendall(b"220 ready\r\n")
                    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
                    with contextlib.suppress(OSError):  # the gateway may have ended it
                        for part in (head + b"x" * (pad - len(head)), port, b"PASV\r\n"):
                            raw.socket.sendall(part)
                            far.recv(4096)
                            far.sendall(b"230 in\r\n200 PORT command successful\r\n227 =198,51,100,20,200,10\r\n")
                    assert all(not gateway.api(f"/v1/sessions/{one['id']}")["holes"] for one in sessions(gateway))
                    assert not algnet.doors(network)
    wait_quiet(gateway, network)


def fragments(payload, source, target, at):
    """The IPv4 packets, without their first header's addresses being anybody else's, of a UDP datagram cut at that octet of its payload."""
    size = 8 + len(payload)
    datagram = struct.pack("!4H", source[1], target[1], size, 0) + payload
    cut = 8 + at
    assert cut % 8 == 0
    for offset, part, more in ((0, datagram[:cut], 0x2000), (cut // 8, datagram[cut:], 0)):
        yield struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(part), 4711, more | offset, 64, socket.IPPROTO_UDP, 0,
                          socket.inet_aton(source[0]), socket.inet_aton(target[0])) + part


def test_fragments(network, start_gateway):
    """A request is one datagram, whatever packets it came in; what stands at the beginning of a later packet is none."""
    gateway = start_gateway({"algs": {"boot": {"protocol": "tftp", "realm": "outer", "to": "inner", "mode": "nat",
                                               "servers": ["198.51.100.0/24"]}}, "peers": None, "routes": None})
    request = b"\0\1" + b"image.bin" + b"\0octet\0"
    header = struct.pack("!4H", 40000, 69, 8 + len(request), 0)
    with network.client.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in fragments(b"x" * 1432 + header + request, (CLIENT, 40000), (SERVER, 4000), 1432):
            raw.sendto(packet, (SERVER, 0))
        for packet in fragments(request, (CLIENT, 40001), (SERVER, 69), 8):
            raw.sendto(packet, (SERVER, 0))
    eventually(lambda: sessions(gateway), what="the request in two packets")
    assert [one["from"] for one in sessions(gateway)] == [f"{CLIENT}:40001"]


def test_limits_of_sessions(network, start_gateway, server):
    """One client cannot take all; others still get in."""
    gateway = start_gateway(ftp("nat", max_sessions=10, max_sessions_per_client=5))
    made = []
    try:
        for _ in range(5):
            made.append(Raw(network.client, SERVER, 21))
            assert made[-1].reply().startswith("220")
        with contextlib.suppress(ConnectionError), Raw(network.client, SERVER, 21) as one_more:
            assert one_more.line() == ""
        other = Raw(network.stranger, SERVER, 21)
        made.append(other)
        assert other.reply().startswith("220")
        assert len(sessions(gateway)) == 6
    finally:
        for one in made:
            one.close()
    wait_quiet(gateway, network)


def test_rates_of_sessions(network, start_gateway, server):
    """Who comes too fast is reset before a server hears of it; others still get in."""
    gateway = start_gateway(ftp("nat", sessions_per_s=8, sessions_per_s_per_client=4))

    def begins(space):
        with contextlib.suppress(ConnectionError), Raw(space, SERVER, 21) as one:
            return one.line().startswith("220")
        return False

    began = sum(begins(network.client) for _ in range(12))
    assert 4 <= began < 12
    assert begins(network.stranger)
    assert gateway.metric("postern_alg_sessions_refused_total") == 12 - began
    assert gateway.api("/v1/algs")["items"][0]["listeners"][0]["refused_total"] + gateway.api("/v1/algs")["items"][0]["listeners"][-1]["refused_total"] >= 12 - began
    assert server.log.read_text().count("FTP session opened") == began + 2  # and the one that found out whether it answers
    wait_quiet(gateway, network)


def test_many_sessions_leave_nothing(network, start_gateway, server):
    """Ten thousand sessions with a pinhole each, some of them cut: no pinhole, port or descriptor is left."""
    gateway = start_gateway(ftp("nat", max_sessions=6000, max_sessions_per_client=6000))
    with Raw(network.client, SERVER, 21).login() as raw:
        raw.ask("EPSV")
    wait_quiet(gateway, network)
    before = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    for _ in range(400):
        made = [Raw(network.client, SERVER, 21) for _ in range(25)]
        for one in made:
            one.login()
            one.send("EPSV")
        for index, one in enumerate(made):
            if index % 3:
                one.reply()
            one.close()
    wait_quiet(gateway, network)
    eventually(lambda: len(os.listdir(f"/proc/{gateway.process.pid}/fd")) <= before + 2, 10, "closed descriptors")


# ---- spoofed sources

def segment(source, target, flags=2, sequence=1):
    """A TCP segment without options, in IPv4. Both ends are (address, port)."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    tcp = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, 0, 5 << 4, flags, 8192, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", checksum(addresses + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


def checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def hardware_address(space, interface):
    return bytes.fromhex(space.run("ip", "-o", "link", "show", interface).split("link/ether ")[1].split()[0].replace(":", ""))


def inject(network, space, interface, packets):
    """Sends them from there to the gateway as they are, whatever addresses they have."""
    head = hardware_address(network.gateway, interface) + hardware_address(space, interface) + b"\x08\x00"
    with space.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        for packet in packets:
            raw.send(head + packet)


def marked(network):
    """Connections that have come through a door."""
    known = network.gateway.run("conntrack", "-L", "-p", "tcp").splitlines()
    return [line for line in known if "mark=" in line and int(line.split("mark=")[1].split()[0]) != 0]


@pytest.mark.parametrize("mode", ["nat", "transparent", "explicit"])
def test_spoofed_from_the_other_side(network, start_gateway, server, mode):
    """From the servers' side with the client's address: a door that is open for the client stays shut, and stays for the client. Without
    the help of rp_filter, of whose absence the log warns."""
    if shutil.which("conntrack") is None:
        pytest.skip("needs conntrack")
    network.gateway.set(**{f"net__ipv4__conf__{name}__rp_filter": 0 for name in ("all", "outer", "inner")})
    (server.root / "file").write_bytes(b"x" * 1000)
    gateway = start_gateway(ftp(mode))
    warned = [line for line in gateway.log.read_text().splitlines() if "rp_filter" in line]
    assert any("inner" in line for line in warned) and any("outer" in line for line in warned)
    with Raw(network.client, *algnet.place(mode)).login() as raw:
        assert raw.ask("TYPE I").startswith("200")
        port = epsv_port(raw.ask("EPSV"))
        there = (algnet.place(mode)[0], port)
        inject(network, network.server, "inner", [segment((CLIENT, 40000 + n), there, sequence=n) for n in range(50)])
        inject(network, network.stranger, "outer", [segment((SECOND_SERVER, 40000 + n), there, sequence=n) for n in range(50)])
        time.sleep(1.5)
        assert not marked(network)
        with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
            data.settimeout(5)
            data.connect(there)
            raw.send("RETR file")
            assert raw.reply().startswith(("150", "125"))
            assert len(data.recv(4096)) == 1000
        assert raw.reply().startswith("226")
        assert [hole["path"] for hole in session(gateway)["holes"]][-1] == "nft"
    wait_quiet(gateway, network)


def test_spoofed_server(network, start_gateway):
    """The same for a door that is open for the server: from the clients' side with its address."""
    if shutil.which("conntrack") is None:
        pytest.skip("needs conntrack")

    def transfer(control, data):
        data.sendall(b"x" * 1000)
        data.close()
        control.sendall(b"226 done\r\n")

    network.gateway.set(**{f"net__ipv4__conf__{name}__rp_filter": 0 for name in ("all", "outer", "inner")})
    gateway = start_gateway(ftp("nat"))
    with ScriptedFtp(network, transfer), listening(network.client, CLIENT) as data, Raw(network.client, SERVER, 21).login() as raw:
        assert raw.ask(f"EPRT |1|{CLIENT}|{data.getsockname()[1]}|").startswith("200")
        host, port = session(gateway)["holes"][-1]["listen"].rsplit(":", 1)
        inject(network, network.stranger, "outer", [segment((SERVER, 40000 + n), (host, int(port)), sequence=n) for n in range(50)])
        time.sleep(1.5)
        assert not marked(network)
        raw.send("RETR file")
        with data.accept()[0] as connection:
            assert raw.reply().startswith("150")
            assert len(connection.recv(4096)) == 1000
        assert raw.reply().startswith("226")
        assert [hole["path"] for hole in session(gateway)["holes"]][-1] == "nft"
        assert raw.ask("QUIT").startswith("221")
    wait_quiet(gateway, network)


def test_no_warning_where_the_kernel_sees_to_it(network, start_gateway):
    network.gateway.set(net__ipv4__conf__all__rp_filter=1)
    try:
        gateway = start_gateway(ftp("nat"))
        assert "rp_filter" not in gateway.log.read_text()
    finally:
        network.gateway.set(net__ipv4__conf__all__rp_filter=0)


# ---- credentials

def everything(gateway, network):
    """All that the gateway tells or keeps: log, database, and every list and detail of the API."""
    kept = {"log": gateway.log.read_bytes()}
    for file in gateway.directory.glob("postern.db*"):
        kept[file.name] = file.read_bytes()
    ended = [one["id"] for one in sessions(gateway, "?state=ended")]
    for path in ["/v1/sessions", "/v1/sessions?state=ended", "/v1/transfers", "/v1/algs", "/v1/profiles", "/v1/pinholes", "/metrics",
                 *(f"/v1/sessions/{one}" for one in ended)]:
        kept[path] = json.dumps(gateway.raw("GET", path)[1]).encode()
    return kept


def assert_unknown(kept, *secrets):
    for secret in secrets:
        assert [name for name, octets in kept.items() if secret.encode() in octets] == [], secret


def test_passwords_are_nowhere(network, start_gateway, server):
    """A whole session, with a password that is refused, one that is accepted, an account, and one in a command that is denied."""
    (server.root / "file").write_bytes(b"x" * 1000)
    rules = [{"name": "no-pass", "deny": {"verb": "ACCT"}, "log": True}, {"name": "seen", "allow": {}, "log": True}]
    gateway = start_gateway({**ftp("nat", profile="rules"), **algnet.profile("ftp", rules)})
    with Raw(network.client, SERVER, 21) as raw:
        raw.reply()
        raw.ask(f"USER {algnet.USER}")
        assert raw.ask("PASS Wr0ng-Secret").startswith("530")
        raw.ask(f"USER {algnet.USER}")
        assert raw.ask(f"pass {algnet.PASSWORD}").startswith("230")
        raw.ask("ACCT Acc0unt-Secret")
        assert raw.ask("PASSS Mistyped-Secret").startswith("5")
        port = epsv_port(raw.ask("EPSV"))
        with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
            data.settimeout(5)
            data.connect((SERVER, port))
            raw.send("RETR file")
            raw.reply()
            data.recv(4096)
        assert raw.reply().startswith("226")
        assert_unknown(everything(gateway, network), algnet.PASSWORD, "Wr0ng-Secret", "Acc0unt-Secret")
        raw.ask("QUIT")
    wait_quiet(gateway, network)
    kept = everything(gateway, network)
    assert any(algnet.USER.encode() in octets for octets in kept.values())  # it would have been found
    assert_unknown(kept, algnet.PASSWORD, "Wr0ng-Secret", "Acc0unt-Secret")


def test_authorizations_are_nowhere(network, start_gateway, folder):
    """RTSP: Basic and Digest, and a user and password in a URL."""
    basic = base64.b64encode(b"cam:B4sic-Secret").decode()
    digest = 'Digest username="cam", realm="r", nonce="n", uri="rtsp://x/", response="0123456789abcdef0123456789abcdef"'
    rules = [{"name": "seen", "allow": {}, "log": True}]
    with algnet.GstRtsp(network, folder, user="cam"):
        gateway = start_gateway({**algnet.rtsp("nat", profile="rules"), **algnet.profile("rtsp", rules)})
        algnet.Player(network, algnet.rtsp_url("nat", login=f"cam:{algnet.PASSWORD.replace(' ', '')}@"), seconds=1).finish()
        with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as raw:
            raw.settimeout(5)
            raw.connect((SERVER, 554))
            for number, (credentials, where) in enumerate(((f"Basic {basic}", SERVER), (digest, SERVER), (f"Basic {basic}", f"cam:Ur1-Secret@{SERVER}"))):
                raw.sendall(f"DESCRIBE rtsp://{where}/test RTSP/1.0\r\nCSeq: {number + 1}\r\nAuthorization: {credentials}\r\n"
                            f"Proxy-Authorization: {credentials}\r\n\r\n".encode())
                assert raw.recv(4096).startswith(b"RTSP/1.0 4")
        wait_quiet(gateway, network)
        kept = everything(gateway, network)
        assert any(b"DESCRIBE" in octets for octets in kept.values())
        assert_unknown(kept, basic, "B4sic-Secret", "0123456789abcdef0123456789abcdef", "Ur1-Secret", algnet.PASSWORD.replace(" ", ""))
