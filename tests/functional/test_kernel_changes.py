"""Calls that change while their media is in the kernel, and media that is not quite the usual. Over each kernel path; the relay
has tests of its own for all of it."""
import socket
import time

from flows import (A_PORT, B_PORT, again, answer_of, assert_all_came, assert_clean, audio, dial, establish, hang_up, offer_of,
                   reinvite, settle)
from harness import eventually, hostport
from lanes import gateway, keeper, kernel_network as network, pinholes, sides, wait_path  # noqa: F401
from sipcall import media_of, sdp


def test_addresses_change(gateway, network, alice, bob, rtp):
    """re-INVITEs move one side, then the other; media follows over the same path, and the old addresses are out."""
    a, b, for_a, for_b = establish(alice, bob)
    old = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50)
    wait_path(gateway, network.path)
    reinvite(a, b, offer_of(alice, 4400, version=2), answer_of(bob))
    settle(alice)
    reinvite(b, a, sdp(bob.host, "audio 6400 RTP/AVP 0 101", version=2), answer_of(alice, 4400, version=2))
    settle(alice)
    one = rtp("caller", network.CALLER, 4400, 1, expect=2, pps=100).to(for_a[0])
    two = rtp("callee", network.CALLEE, 6400, 2, expect=1, pps=100).to(for_b[0])
    for endpoint in (one, two):  # both are bound by now
        endpoint.start()
    eventually(lambda: min(len(endpoint.sources()) for endpoint in (one, two)), what="media both ways")
    wait_path(gateway, network.path)
    before = [endpoint.report()["received"] for endpoint in old]
    again(*old, count=100)
    for endpoint in (one, two):
        endpoint.stop()
    assert_all_came(one, two)
    assert_all_came(two, one)
    assert [endpoint.report()["received"] for endpoint in old] == before
    assert {pinhole["source"] for pinhole in pinholes(gateway)} == {
        hostport(network.CALLER, 4400), hostport(network.CALLEE, 6400)}
    hang_up(a, b)


def described(endpoint, port, direction, version):
    return sdp(endpoint.host, f"audio {port} RTP/AVP 0 101", f"a={direction}", version=version)


def test_hold_and_resume(gateway, network, alice, bob, rtp):
    """On hold nothing flows and nothing ends; after it the stream is on its path again."""
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50)
    wait_path(gateway, network.path)
    reinvite(a, b, described(alice, A_PORT, "inactive", 2), described(bob, B_PORT, "inactive", 2))
    eventually(lambda: gateway.call()["is_held"], what="hold")
    time.sleep(0.5)
    reinvite(a, b, described(alice, A_PORT, "sendrecv", 3), described(bob, B_PORT, "sendrecv", 3))
    settle(alice)
    again(one, two, count=100)
    wait_path(gateway, network.path)
    assert_clean(one, 100, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 100, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_codecs(gateway, network, alice, bob, rtp):
    """What was not negotiated goes to the relay and no further; what a re-INVITE brings passes."""
    a, b, for_a, for_b = establish(alice, bob)
    first = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50)
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
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50, pt=8, ssrc=5)
    wait_path(gateway, network.path)
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_reports_stay_in_the_relay(gateway, network, alice, bob, rtp):
    """RTCP is never pinned, and passes all the same."""
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50, count=150, rtcp=True)
    wait_path(gateway, network.path)
    seen = [endpoint.report()["rtcp_received"] for endpoint in (one, two)]
    for endpoint, before in zip((one, two), seen):
        eventually(lambda it=endpoint, n=before: it.report()["rtcp_received"] > n, what="a report after the hand-over")
    assert all(side["rtcp_packets"] > 0 for side in sides(gateway))
    hang_up(a, b)


def over_ipv6(network, endpoint):
    """A caller and a callee without IPv4."""
    carol, dave = endpoint("caller", network.CALLER6, "carol"), endpoint("callee", network.CALLEE6, "dave")
    carol.proxy, dave.proxy = (network.OUTER6, 5060), (network.INNER6, 5060)
    return carol, dave


def test_ipv6(gateway, network, endpoint, rtp):
    carol, dave = over_ipv6(network, endpoint)
    a, b, for_a, for_b = establish(carol, dave, "6000")
    one, two = audio(rtp, network.CALLER6, network.CALLEE6, for_a[0], for_b[0], pps=50)
    wait_path(gateway, network.path)
    again(one, two, count=100)
    assert_clean(one, 100, hostport(network.OUTER6, for_a[0]["port"]))
    assert_clean(two, 100, hostport(network.INNER6, for_b[0]["port"]))
    hang_up(a, b)


def test_between_families(gateway, network, endpoint, alice, rtp):
    """From IPv4 to IPv6 only the relay translates; the reason is told."""
    a, b, for_a, for_b = establish(alice, over_ipv6(network, endpoint)[1], "6000")
    one, two = audio(rtp, network.CALLER, network.CALLEE6, for_a[0], for_b[0], pps=50)
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER6, for_b[0]["port"]))
    for side in sides(gateway):
        assert (side["path"], side["path_reason"]) == ("relay", "address families differ")
    hang_up(a, b)


def receive(sock, gateway):
    sock.settimeout(3)
    try:
        return sock.recvfrom(2000)
    except TimeoutError:
        return "nothing", sides(gateway), pinholes(gateway)


def test_plain_datagrams(gateway, network, alice, bob):
    """Fax over UDPTL: no RTP, and it passes whoever carries it."""
    a, b = dial(alice, bob, offer=sdp(alice.host, "image 4000 udptl t38"))
    b.reply(200, "OK", sdp(bob.host, "image 6000 udptl t38"))
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    to_a, to_b = media_of(ok.sdp)[0]["port"], media_of(b.offer)[0]["port"]
    with network.caller.socket(socket.AF_INET) as one, network.callee.socket(socket.AF_INET) as two:
        one.bind((network.CALLER, 4000))
        two.bind((network.CALLEE, 6000))
        for i in range(40):
            one.sendto(b"fax %d" % i, (network.OUTER, to_a))
            assert receive(two, gateway) == (b"fax %d" % i, (network.INNER, to_b))
            two.sendto(b"ok %d" % i, (network.INNER, to_b))
            assert receive(one, gateway) == (b"ok %d" % i, (network.OUTER, to_a))
            time.sleep(0.02)
    wait_path(gateway, network.path)
    hang_up(a, b)
