"""Media over each path: the same promises, whoever carries the packets."""
import socket
import statistics
import subprocess
import time

import pytest

from flows import (A_PORT, B_PORT, answer_of, assert_all_came, assert_clean, audio, dial, establish, establish_many, hang_up,
                   lines_of, offer_of, reinvite, settle)
from harness import BUILD, eventually, hostport
from lanes import hang_up_all, lane, network, pinholes, sides, wait_path  # noqa: F401
from sipcall import media_of, sdp

pytestmark = pytest.mark.usefixtures("network")


def postern(gateway, *words):
    return subprocess.run([BUILD / "postern", *words, "--socket", gateway.socket], capture_output=True, text=True,
                          timeout=20, check=True).stdout


def test_audio_both_ways(lane, network, alice, bob, rtp):
    """Complete, rewritten, over the path of this round; and everything that shows paths shows it."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], count=100)
    wait_path(gateway, network.path)
    for endpoint in (one, two):
        endpoint.start().wait_sent(200)
    assert_clean(one, 200, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 200, hostport(network.INNER, for_b[0]["port"]))
    eventually(lambda: [side["packets"] for side in sides(gateway)] == [200, 200], what="both counters")
    call = gateway.call()
    shown = postern(gateway, "show", "call", call["id"])
    for side in sides(gateway):
        assert side["path"] == network.path and side["path_reason"] in shown
        assert side["bytes"] == 200 * 172 and side["lost"] == side["reordered"] == 0
        assert side["last_packet_age_ms"] < 5000
    assert_pinholes(gateway, network, call["id"], for_a[0]["port"], for_b[0]["port"])
    hang_up(a, b)
    gateway.wait_no_calls()
    eventually(lambda: not pinholes(gateway), what="the end of all pinholes")
    record = gateway.cdr()
    assert [(s["path"], s["packets"]) for s in record["streams"]] == [(network.path, 200)] * 2


def assert_pinholes(gateway, network, call, port_a, port_b):
    found = pinholes(gateway, f"?owner={call}")
    if network.path == "relay":
        assert not found
        return
    outer, inner = hostport(network.OUTER, port_a), hostport(network.INNER, port_b)
    caller, callee = hostport(network.CALLER, A_PORT), hostport(network.CALLEE, B_PORT)
    tuples = {(p["realm_in"], p["source"], p["listen"], p["from"], p["target"], p["realm_out"]) for p in found}
    assert tuples == {("outer", caller, outer, inner, callee, "inner"), ("inner", callee, inner, outer, caller, "outer")}
    for pinhole in found:
        assert (pinhole["path"], pinhole["state"], pinhole["owner"]) == (network.path, "bound", call)
        assert pinhole["in_kernel"] and pinhole["packets"] > 0 and pinhole["is_active"]
        assert pinhole["has_rtp"] == (network.path != "conntrack")
    assert outer in postern(gateway, "show", "pinholes", call)
    assert not pinholes(gateway, "?owner=nobody")
    assert len(pinholes(gateway, f"?path={network.path}&realm=outer")) == 2


@pytest.mark.parametrize("n, pps, count", [(100, 50, 120), (8, 500, 1000)], ids=["20ms", "2ms"])
def test_hand_over(lane, network, alice, bob, rtp_streams, n, pps, count):
    """Streams move while they flow: nothing is lost, doubled or overtaken."""
    gateway = lane()
    made = establish_many(alice, bob, n)
    lines = lines_of(alice, bob, made)
    one, two = (rtp_streams(side, lines[i], pps=pps, count=count, brief=True) for i, side in enumerate(("caller", "callee")))
    one.start()
    two.start()
    for endpoint in (one, two):
        endpoint.wait_sent(n * count)
    wait_path(gateway, network.path, 2 * n)
    for receiver, sender in ((one, two), (two, one)):
        assert_all_came(receiver, sender)
    hang_up_all(gateway, made)


def test_addresses_change(lane, network, alice, bob, rtp):
    """re-INVITEs move one side, then the other; media follows over the same path, and the old addresses are out."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    old = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    wait_path(gateway, network.path)
    reinvite(a, b, offer_of(alice, 4400, version=2), answer_of(bob))
    reinvite(b, a, sdp(bob.host, "audio 6400 RTP/AVP 0 101", version=2), answer_of(alice, 4400, version=2))
    settle(alice)
    new = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], ports=(4400, 6400))
    wait_path(gateway, network.path)
    before = [endpoint.report()["received"] for endpoint in (*old, *new)]
    for endpoint in old:
        endpoint.start().wait_sent(100)
    time.sleep(0.3)
    assert [endpoint.report()["received"] for endpoint in (*old, *new)] == before
    assert_clean(new[0], 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(new[1], 50, hostport(network.INNER, for_b[0]["port"]))
    assert len(pinholes(gateway)) == (0 if network.path == "relay" else 2)
    hang_up(a, b)


def described(endpoint, port, direction, version):
    return sdp(endpoint.host, f"audio {port} RTP/AVP 0 101", f"a={direction}", version=version)


def test_hold_and_resume(lane, network, alice, bob, rtp):
    """On hold nothing flows and nothing ends; after it the stream is on its path again."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    wait_path(gateway, network.path)
    reinvite(a, b, described(alice, A_PORT, "inactive", 2), described(bob, B_PORT, "inactive", 2))
    eventually(lambda: gateway.call()["is_held"], what="hold")
    time.sleep(0.5)
    reinvite(a, b, described(alice, A_PORT, "sendrecv", 3), described(bob, B_PORT, "sendrecv", 3))
    settle(alice)
    for endpoint in (one, two):
        endpoint.start()
    for endpoint in (one, two):
        endpoint.wait_sent(100)
    wait_path(gateway, network.path)
    assert_clean(one, 100, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 100, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_codecs(lane, network, alice, bob, rtp):
    """What was not negotiated goes to the relay and no further; what a re-INVITE brings passes."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    first = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    wait_path(gateway, network.path)
    for endpoint in first:
        endpoint.end()
    wrong = rtp("caller", network.CALLER, A_PORT, 3, pt=34, ssrc=3, count=30, pps=100).to(for_a[0])
    listener = rtp("callee", network.CALLEE, B_PORT, 4)
    wrong.start().wait_sent(30)
    if network.path == "conntrack":  # does not look into packets, and says so
        eventually(lambda: listener.report()["received"] == 30, what="packets that nobody looked into")
    else:
        eventually(lambda: sides(gateway)[0]["dropped"]["payload"] == 30, what="30 dropped packets")
        assert listener.report()["received"] == 0
    for endpoint in (wrong, listener):
        endpoint.end()
    reinvite(a, b, sdp(alice.host, f"audio {A_PORT} RTP/AVP 8", version=2), sdp(bob.host, f"audio {B_PORT} RTP/AVP 8", version=2))
    settle(alice)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pt=8, ssrc=5)
    wait_path(gateway, network.path)
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_reports_stay_in_the_relay(lane, network, alice, bob, rtp):
    """RTCP is never pinned, and passes all the same."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], count=150, rtcp=True)
    wait_path(gateway, network.path)
    seen = [endpoint.report()["rtcp_received"] for endpoint in (one, two)]
    for endpoint, before in zip((one, two), seen):
        eventually(lambda it=endpoint, n=before: it.report()["rtcp_received"] > n, what="a report after the hand-over")
    assert all(side["rtcp_packets"] > 0 for side in sides(gateway))
    hang_up(a, b)


def test_statistics(lane, network, alice, bob, rtp):
    """Jitter and loss as the gateway counts them are what the receiver counts. Packets come twice as fast as their timestamps
    say, which is a jitter of 10 ms; then one of three is lost on the way to the gateway."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    one = rtp("caller", network.CALLER, A_PORT, 1, expect=2, count=600, pps=100).to(for_a[0]).start()
    two = rtp("callee", network.CALLEE, B_PORT, 2, expect=1, count=600, pps=100).to(for_b[0]).start()
    wait_path(gateway, network.path)
    two.wait_sent(150)
    ratios = []
    for _ in range(20 if network.path != "conntrack" else 0):  # which does not look into packets
        ratios.append(sides(gateway)[0]["jitter_us"] / two.report()["timing_us"])
        time.sleep(0.05)
    with network.losing("caller", for_a[0]["port"], 3):
        one.wait_sent(600)
        time.sleep(0.3)
    came, side = two.report(), sides(gateway)[0]
    assert came["received"] == side["packets"] and came["foreign"] == 0
    assert came["lost"] > 50
    if network.path == "conntrack":
        assert side["jitter_us"] == 0
    else:
        assert statistics.median(ratios) == pytest.approx(1, rel=0.01)
        assert abs(side["lost"] - came["lost"]) <= max(1, came["lost"] // 100)
    hang_up(a, b)


def test_plain_datagrams(lane, network, alice, bob):
    """Fax over UDPTL: no RTP, and it passes whoever carries it."""
    lane()
    a, b = dial(alice, bob, offer=sdp(alice.host, "image 4000 udptl t38"))
    b.reply(200, "OK", sdp(bob.host, "image 6000 udptl t38"))
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    to_a, to_b = media_of(ok.sdp)[0]["port"], media_of(b.offer)[0]["port"]
    with network.caller.socket(socket.AF_INET) as one, network.callee.socket(socket.AF_INET) as two:
        one.bind((network.CALLER, 4000))
        two.bind((network.CALLEE, 6000))
        one.settimeout(3)
        two.settimeout(3)
        for i in range(40):
            one.sendto(b"fax %d" % i, (network.OUTER, to_a))
            assert two.recvfrom(2000) == (b"fax %d" % i, (network.INNER, to_b))
            two.sendto(b"ok %d" % i, (network.INNER, to_b))
            assert one.recvfrom(2000) == (b"ok %d" % i, (network.OUTER, to_a))
            time.sleep(0.02)
    hang_up(a, b)
