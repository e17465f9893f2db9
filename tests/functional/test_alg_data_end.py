"""The end of data that goes through the kernel: the reply that tells of it comes behind its last octet and never waits for ever, whatever
server and client do. The server here is of this process, so that it can do in any order what real ones do in one."""
import contextlib
import socket
import struct
import subprocess
import threading
import time

import pytest

from algnet import CLIENT, Pyftpdlib, Raw, ScriptedFtp, epsv_port, folder, ftp, make_file, network, place, transfers, wait_quiet  # noqa: F401
from harness import Capture

MODES = ["nat", "transparent", "explicit"]
PART = b"0123456789abcdef" * 4096


@contextlib.contextmanager
def fetching(network, mode, verb="RETR"):
    """(control, data) with the transfer begun."""
    with Raw(network.client, *place(mode)).login() as raw:
        with begun(network, raw, mode, verb) as data:
            yield raw, data
            assert raw.ask("NOOP").startswith("200")
            assert raw.ask("QUIT").startswith("221")


@contextlib.contextmanager
def begun(network, raw, mode, verb="RETR"):
    port = epsv_port(raw.ask("EPSV"))
    with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
        data.settimeout(20)
        data.connect((place(mode)[0], port))
        raw.send(f"{verb} file")
        assert raw.reply().startswith("150")
        yield data


def read_all(sock):
    got = 0
    while part := sock.recv(1 << 20):
        got += len(part)
    return got


def segments(capture):
    """[(port, octets, text)] of what arrived, in its order."""
    capture.bytes()  # ends it
    text = subprocess.run(["tcpdump", "-r", capture.path, "-nn", "-A", "tcp"], capture_output=True, check=True).stdout.decode("latin-1")
    found = []
    for line in text.splitlines():
        if " > " in line and "Flags [" in line:
            found.append([int(line.split(" > ")[1].split(":")[0].rsplit(".", 1)[1]), int(line.rsplit("length ", 1)[1].split(":")[0]), ""])
        elif found:
            found[-1][2] += line + "\n"
    return found


@pytest.mark.parametrize("mode", MODES)
def test_the_reply_comes_behind_the_data(network, start_gateway, folder, mode):
    """The server says 226 before its last octets. The client sees them first."""
    def transfer(control, data):
        data.sendall(PART)
        control.sendall(b"226 done\r\n")
        time.sleep(0.3)
        data.sendall(PART)
        data.close()

    gateway = start_gateway(ftp(mode))
    capture = Capture(network.client, "outer", folder / "client.pcap", f"tcp and dst host {CLIENT}")
    with ScriptedFtp(network, transfer), fetching(network, mode) as (raw, data):
        port = data.getsockname()[1]
        assert read_all(data) == 2 * len(PART)
        assert raw.reply().startswith("226")
        record = transfers(gateway)[0]
        assert record["data_path"] == "nft" and record["is_ok"] and 2 * len(PART) <= record["bytes"] < 2.2 * len(PART)
    arrived = segments(capture)
    last = max(index for index, (to, size, _) in enumerate(arrived) if to == port and size > 0)
    assert next(index for index, (_, _, text) in enumerate(arrived) if "226 done" in text) > last
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_the_server_closes_late(network, start_gateway, mode):
    """All octets, 226, and the end of the data two seconds later: waited for."""
    closed = []

    def transfer(control, data):
        data.sendall(PART)
        control.sendall(b"226 done\r\n")
        time.sleep(2)
        closed.append(True)
        data.close()

    gateway = start_gateway(ftp(mode))
    with ScriptedFtp(network, transfer), fetching(network, mode) as (raw, data):
        assert raw.reply().startswith("226")
        assert closed
        assert read_all(data) == len(PART)
        assert len(PART) <= transfers(gateway)[0]["bytes"] < 1.2 * len(PART)
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_the_server_keeps_the_connection(network, start_gateway, mode):
    """226, and no end of the data at all: believed after some seconds; the connection is not cut for it."""
    goes_on = threading.Event()

    def transfer(control, data):
        data.sendall(PART)
        control.sendall(b"226 done\r\n")
        assert goes_on.wait(20)
        data.sendall(b"more")
        data.close()

    gateway = start_gateway(ftp(mode))
    with ScriptedFtp(network, transfer), fetching(network, mode) as (raw, data):
        assert raw.reply().startswith("226")
        assert len(PART) <= transfers(gateway)[0]["bytes"] < 1.2 * len(PART)
        goes_on.set()
        assert read_all(data) == len(PART) + 4
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_the_client_keeps_the_connection(network, start_gateway, mode):
    """A client that closes its data connection only when it has read the reply, or never: it gets the reply, and the next transfer."""
    def transfer(control, data):
        data.sendall(PART)
        data.close()
        time.sleep(1.5)  # long enough to be noticed as a connection
        control.sendall(b"226 done\r\n")

    gateway = start_gateway(ftp(mode))
    with ScriptedFtp(network, transfer), Raw(network.client, *place(mode)).login() as raw, contextlib.ExitStack() as kept:
        for _ in range(6):  # more than a session may have pinholes at a time
            data = kept.enter_context(begun(network, raw, mode))
            assert raw.reply().startswith("226")
            assert read_all(data) == len(PART)
        assert len(transfers(gateway, 6)) == 6
        assert raw.ask("QUIT").startswith("221")
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_an_upload(network, start_gateway, mode):
    """The client's end is the end; the server closes much later."""
    def transfer(control, data):
        assert read_all(data) == len(PART)
        control.sendall(b"226 done\r\n")
        time.sleep(1.5)
        data.close()

    gateway = start_gateway(ftp(mode))
    with ScriptedFtp(network, transfer), fetching(network, mode, "STOR") as (raw, data):
        data.sendall(PART)
        data.shutdown(socket.SHUT_WR)
        assert raw.reply().startswith("226")
        record = transfers(gateway)[0]
        assert record["is_ok"] and len(PART) <= record["bytes"] < 1.2 * len(PART)
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_a_reset(network, start_gateway, mode):
    def transfer(control, data):
        data.sendall(PART)
        time.sleep(0.2)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        data.close()
        control.sendall(b"426 broken\r\n")

    gateway = start_gateway(ftp(mode))
    with ScriptedFtp(network, transfer), fetching(network, mode) as (raw, data):
        assert raw.reply().startswith("426")
        with contextlib.suppress(ConnectionResetError):
            read_all(data)
        assert not transfers(gateway)[0]["is_ok"]
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_many_small_ones(network, start_gateway, folder, mode):
    """One after the other on one control channel, faster than anything that happens once a second: all are in the kernel, and each is
    recorded with its octets."""
    with Pyftpdlib(network, folder) as server:
        make_file(server.root / "file", 1000)
        gateway = start_gateway(ftp(mode))
        with Raw(network.client, *place(mode)).login() as raw:
            assert raw.ask("TYPE I").startswith("200")
            for _ in range(200):
                port = epsv_port(raw.ask("EPSV"))
                with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
                    data.settimeout(10)
                    data.connect((place(mode)[0], port))
                    raw.send("RETR file")
                    assert raw.reply().startswith(("150", "125"))
                    assert read_all(data) == 1000
                assert raw.reply().startswith("226")
            found = transfers(gateway, 200, "?limit=500")
            assert {one["data_path"] for one in found} == {"nft"}
            assert all(one["is_ok"] and one["bytes"] >= 1000 for one in found)
        wait_quiet(gateway, network)
