"""What must not work: each test ends with the kernel holding nothing that it should not."""
import contextlib
import os
import socket
import struct

import pytest

import algnet
from algnet import (CLIENT, SECOND_SERVER, SERVER, Pyftpdlib, Raw, epsv_port, ftp, is_open, listening, folder, network, pasv_place, session,  # noqa: F401
                    sessions, start_gateway, wait_quiet)
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
