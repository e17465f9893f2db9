"""Nobody else gets in: a third host on the caller's network, over each path."""
import socket
import struct
import time

import pytest

from flows import A_PORT, B_PORT, answer_of, assert_all_came, establish, establish_many, hang_up, lines_of, offer_of
from harness import hostport
from lanes import PORTS, gateway, hang_up_all, keeper, network, pinholes, wait_path  # noqa: F401
from sipcall import sdp

CALLS = 20


@pytest.fixture
def spray(network, rtp_streams):
    """RTP from the stranger to every media port, for as long as it is not stopped: spray(packets per second and port)."""
    def start(pps):
        lines = [(hostport(network.STRANGER, 30000 + port), hostport(network.OUTER, port), 50000 + port) for port in PORTS]
        return rtp_streams("stranger", lines, pps=pps, brief=True, ssrc=9000).start()

    return start


def test_spraying(gateway, network, alice, bob, rtp_streams, spray):
    """Before, while and after streams are learned: nothing comes to the stranger, nothing of it to a peer, and no side
    learns an address that it was not told."""
    sprayer = spray(10)
    made = establish_many(alice, bob, CALLS)
    lines = lines_of(alice, bob, made)
    time.sleep(0.5)  # the ports are open, and only the stranger sends
    one, two = (rtp_streams(side, lines[i], pps=50, count=80) for i, side in enumerate(("caller", "callee")))
    for endpoint in (one, two):
        endpoint.start()
    for endpoint in (one, two):
        endpoint.wait_sent(CALLS * 80)
    wait_path(gateway, network.path, 2 * CALLS)
    for endpoint in (one, two):
        endpoint.start()
    for endpoint in (one, two):
        endpoint.wait_sent(CALLS * 160)
    sprayer.stop()
    time.sleep(0.3)
    report = sprayer.report()
    assert report["sent"] > 1000 and report["received"] == report["rtcp_received"] == report["malformed"] == 0
    for receiver, sender in ((one, two), (two, one)):
        assert_all_came(receiver, sender)
    assert_learned(gateway)
    hang_up_all(gateway, made)


def assert_learned(gateway):
    for call in gateway.calls("?limit=1000"):
        for stream in gateway.api(f"/v1/calls/{call['id']}")["streams"]:
            for side in "ab":
                assert stream[side]["latched"] in (None, stream[side]["signalled"])
                assert side == "b" or stream[side]["dropped"]["source"] > 0
    for pinhole in pinholes(gateway):
        assert not pinhole["source"].startswith("192.0.2.77") and not pinhole["target"].startswith("192.0.2.77")


class Listener:
    """Every packet that one host receives, as (IP protocol, source address, IP payload)."""

    def __init__(self, space):
        own = space.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        own.bind(("outer", 0x0800))
        own.setblocking(False)
        self.socket = own

    def heard(self, seconds=0.5):
        """What came, without what the host itself sent."""
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                data, address = self.socket.recvfrom(2000)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if address[2] != socket.PACKET_OUTGOING:
                found.append((data[9], socket.inet_ntoa(data[12:16]), data[4 * (data[0] & 15):]))
        return found


PROBES = [b"", b"\0" * 40, b"\x80\0" + bytes(170),
          struct.pack("!HHI12s", 1, 0, 0x2112A442, b"transaction!"), b"\x80\xc8\0\x06" + bytes(24), b"OPTIONS sip:x SIP/2.0\r\n\r\n"]


def test_port_scan(gateway, network, alice, bob):
    """Ports with a call, ports without, ports beside the range that belong to nobody: the range answers nothing, so that a
    scan does not find where calls are."""
    a, b, for_a, _ = establish(alice, bob)
    listener = Listener(network.stranger)
    with network.stranger.socket(socket.AF_INET) as sock:
        sock.bind((network.STRANGER, 5555))
        for probe in PROBES:
            for port in (for_a[0]["port"], for_a[0]["port"] + 1, *PORTS[::10]):
                sock.sendto(probe, (network.OUTER, port))
            time.sleep(0.02)
    answers = [row for row in listener.heard() if row[1] == network.OUTER]
    hang_up(a, b)
    if network.path == "relay" and {row[0] for row in answers} == {socket.IPPROTO_ICMP}:
        pytest.xfail("without kernel paths nothing stops the kernel from saying which ports are not in use")
    assert not answers, f"{len(answers)} answers, of IP protocols {sorted({row[0] for row in answers})}"


def test_flooded_stream(gateway, network, alice, bob, rtp):
    """A caller that sends far more than its codec needs harms nobody but itself."""
    narrow = sdp(bob.host, f"audio {B_PORT} RTP/AVP 0 101", "b=AS:64")
    flooded = establish(alice, bob, body=narrow)
    other = establish(alice, bob, offer=offer_of(alice, 4200), body=answer_of(bob, 6200))
    flood = rtp("caller", network.CALLER, A_PORT, 1, pps=5000).to(flooded[2][0])
    victim = rtp("callee", network.CALLEE, B_PORT, 2, count=100, pps=50).to(flooded[3][0])
    one = rtp("caller", network.CALLER, 4200, 3, expect=4, count=100, pps=50).to(other[2][0])
    two = rtp("callee", network.CALLEE, 6200, 4, expect=3, count=100, pps=50).to(other[3][0])
    for endpoint in (flood, victim, one, two):
        endpoint.start()
    for endpoint in (one, two):
        endpoint.wait_sent(100)
    flood.stop()
    time.sleep(0.3)
    for endpoint in (one, two):
        report = endpoint.report()
        assert (report["received"], report["lost"], report["foreign"]) == (100, 0, 0)
    assert flood.report()["lost"] == 0
    if network.path in ("tc", "xdp"):  # twice the bandwidth that Bob named, and some: see offload.h
        assert victim.report()["received"] < flood.report()["sent"] / 2
    hang_up(flooded[0], flooded[1])
    hang_up(other[0], other[1])
    gateway.wait_no_calls()
