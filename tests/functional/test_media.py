"""What the relay forwards and what it drops."""
import socket
import time

import pytest

from flows import A_PORT, B_PORT, answer_of, assert_clean, audio, dial, establish, hang_up, offer_of, reinvite
from harness import eventually, hostport
from sipcall import media_of, sdp


def test_foreign_source_is_dropped(gateway, alice, bob, rtp, network):
    """Packets from an address that signalling did not name never reach the other side; those of the call do."""
    a, b, for_a, for_b = establish(alice, bob)
    thief = rtp("caller", network.OTHER_CALLER, A_PORT, 99, count=40, pps=100).to(for_a[0])
    neighbour = rtp("caller", network.CALLER, 4500, 98, count=40, pps=100).to(for_a[0])
    thief.start()
    neighbour.start()
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    thief.wait_sent(40)
    neighbour.wait_sent(40)
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    assert thief.report()["received"] == neighbour.report()["received"] == 0
    assert gateway.call()["streams"][0]["a"]["dropped"]["source"] == 80
    hang_up(a, b)


def test_nothing_is_forwarded_before_the_answer(gateway, alice, bob, rtp, network):
    """The callee's address is unknown: early packets of the caller go nowhere, and teach nothing."""
    a, b = dial(alice, bob)
    early = rtp("caller", network.CALLER, 4500, 5, count=20, pps=100)
    early.to({"address": network.OUTER, "port": 20000}).start().wait_sent(20)
    b.reply(200, "OK", answer_of(bob))
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    for_a, for_b = media_of(ok.sdp), media_of(b.offer)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_latching_learns_another_port_once(start_gateway, alice, bob, rtp, network):
    """nat: latch, the caller is behind a NAT: its packets come from another port than it said, and answers go there."""
    gateway = start_gateway({"realms": {"outer": {"nat": "latch"}}})
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], ports=(4777, B_PORT), count=100)
    # The signalled address gets a short time to show up first; what came before is lost, nothing after.
    for endpoint in (one, two):
        eventually(lambda it=endpoint: it.report()["received"] >= 50, what="media through the latched port")
        assert endpoint.report()["lost"] == endpoint.report()["foreign"] == 0
    side = gateway.call()["streams"][0]["a"]
    assert side["latch"] == "locked" and side["latched"] == hostport(network.CALLER, 4777)
    thief = rtp("caller", network.OTHER_CALLER, 4778, 99, count=20, pps=100).to(for_a[0])
    thief.start().wait_sent(20)
    time.sleep(0.2)
    assert two.report()["foreign"] == 0
    assert gateway.call()["streams"][0]["a"]["latched"] == hostport(network.CALLER, 4777)
    hang_up(a, b)


def test_no_latching_unless_configured(gateway, alice, bob, rtp, network):
    a, b, for_a, for_b = establish(alice, bob)
    shifted = rtp("caller", network.CALLER, 4777, 1, count=30, pps=100).to(for_a[0])
    two = rtp("callee", network.CALLEE, B_PORT, 2)
    shifted.start().wait_sent(30)
    time.sleep(0.2)
    assert two.report()["received"] == 0
    hang_up(a, b)


@pytest.mark.parametrize("latching", ["off", "latch"])
def test_reports_are_relayed(start_gateway, alice, bob, rtp, network, latching):
    start_gateway({"realms": {"outer": {"nat": latching}}})
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], rtcp=True)
    for endpoint in (one, two):
        eventually(lambda it=endpoint: it.report()["rtcp_received"] >= 1, what="a report of the other side")
        assert endpoint.report()["foreign"] == 0
    hang_up(a, b)


def test_report_port_named_by_attribute(gateway, alice, bob, network):
    a, b = dial(alice, bob, offer=offer_of(alice) + "a=rtcp:4444\r\n")
    for_b = media_of(b.offer)[0]
    assert f"a=rtcp:{for_b['port'] + 1}" in for_b["lines"]
    body = answer_of(bob) + f"a=rtcp:6666 IN IP4 {network.CALLEE}\r\n"
    b.reply(200, "OK", body)
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    for_a = media_of(ok.sdp)[0]
    assert f"a=rtcp:{for_a['port'] + 1} IN IP4 {network.OUTER}" in for_a["lines"]
    alice_rtcp = network.caller.socket(socket.AF_INET)
    bob_rtcp = network.callee.socket(socket.AF_INET)
    with alice_rtcp, bob_rtcp:
        alice_rtcp.bind((network.CALLER, 4444))
        bob_rtcp.bind((network.CALLEE, 6666))
        bob_rtcp.settimeout(3)
        report = bytes([0x80, 200, 0, 6]) + bytes(24)
        alice_rtcp.sendto(report, (network.OUTER, for_a["port"] + 1))
        assert bob_rtcp.recv(2000) == report
    hang_up(a, b)


def test_rtcp_mux(gateway, alice, bob, rtp, network):
    a, b = dial(alice, bob, offer=offer_of(alice) + "a=rtcp-mux\r\n")
    assert "a=rtcp-mux" in b.offer
    b.reply(200, "OK", answer_of(bob) + "a=rtcp-mux\r\n")
    ok = a.wait_status(200)
    assert "a=rtcp-mux" in ok.sdp
    a.ack()
    b.wait_ack()
    one, two = audio(rtp, network.CALLER, network.CALLEE, media_of(ok.sdp)[0], media_of(b.offer)[0], rtcp_mux=True)
    for endpoint in (one, two):
        eventually(lambda it=endpoint: it.report()["rtcp_received"] >= 1, what="a report on the RTP port")
        report = endpoint.report()
        assert report["received"] == 50 and report["foreign"] == report["lost"] == 0
    hang_up(a, b)


def test_mux_that_only_one_side_wants(gateway, alice, bob, rtp, network):
    a, b = dial(alice, bob, offer=offer_of(alice) + "a=rtcp-mux\r\n")
    b.reply(200, "OK", answer_of(bob))
    ok = a.wait_status(200)
    assert "a=rtcp-mux" not in ok.sdp
    a.ack()
    b.wait_ack()
    one, two = audio(rtp, network.CALLER, network.CALLEE, media_of(ok.sdp)[0], media_of(b.offer)[0], rtcp=True)
    for endpoint in (one, two):
        eventually(lambda it=endpoint: it.report()["rtcp_received"] >= 1, what="a report on its own port")
    hang_up(a, b)


def test_payload_type_that_was_not_negotiated(gateway, alice, bob, rtp, network):
    a, b, for_a, for_b = establish(alice, bob)
    two = rtp("callee", network.CALLEE, B_PORT, 2)
    rtp("caller", network.CALLER, A_PORT, 1, pt=34, count=30, pps=100).to(for_a[0]).start().wait_sent(30)
    eventually(lambda: gateway.call()["streams"][0]["a"]["dropped"]["payload"] == 30, what="30 dropped packets")
    assert two.report()["received"] == 0
    hang_up(a, b)


def test_what_is_no_rtp_is_dropped(gateway, alice, bob, rtp, network):
    a, b, for_a, for_b = establish(alice, bob)
    two = rtp("callee", network.CALLEE, B_PORT, 2)
    junk = [b"", b"\x80", b"hello, this is no RTP at all", b"\x00\x01\x00\x00" + b"\x21\x12\xa4\x42" + bytes(12),
            b"\x8f\x00" + bytes(10), b"\x90\x00" + bytes(10) + b"\xff\xff\xff\xff"]
    with network.caller.socket(socket.AF_INET) as sock:
        sock.bind((network.CALLER, A_PORT))
        for data in junk:
            sock.sendto(data, (network.OUTER, for_a[0]["port"]))
    time.sleep(0.3)
    report = two.report()
    assert (report["received"], report["malformed"]) == (0, 0)
    hang_up(a, b)


def test_media_timeout_ends_the_call(start_gateway, alice, bob, rtp, network):
    gateway = start_gateway({"realms": {"outer": {"media_timeout": "5s"}, "inner": {"media_timeout": "5s"}}})
    a, b, for_a, for_b = establish(alice, bob)
    audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    started = time.monotonic()
    requests = [call.answer_bye(12) for call in (a, b)]
    assert time.monotonic() - started > 3
    assert any(request.get("Reason") for request in requests)
    gateway.wait_no_calls()
    record = gateway.cdr()
    assert record["cause"] == "media-timeout" and record["ended_by"] == "gateway"


def test_held_call_does_not_time_out(start_gateway, alice, bob):
    gateway = start_gateway({"realms": {"outer": {"media_timeout": "5s"}, "inner": {"media_timeout": "5s"}}})
    a, b, *_ = establish(alice, bob)
    reinvite(a, b, sdp(alice.host, "audio 4000 RTP/AVP 0", "a=inactive", version=2),
             sdp(bob.host, "audio 6000 RTP/AVP 0", "a=inactive", version=2))
    alice.expect_silence(7)
    assert gateway.call()["state"] == "answered"
    hang_up(a, b)


def test_fax_is_relayed_as_plain_datagrams(gateway, alice, bob, network):
    a, b = dial(alice, bob, offer=sdp(alice.host, "image 4000 udptl t38"))
    assert media_of(b.offer)[0]["proto"] == "udptl"
    b.reply(200, "OK", sdp(bob.host, "image 6000 udptl t38"))
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    with network.caller.socket(socket.AF_INET) as one, network.callee.socket(socket.AF_INET) as two:
        one.bind((network.CALLER, 4000))
        two.bind((network.CALLEE, 6000))
        two.settimeout(3)
        one.sendto(b"\x00\x01\x02not rtp", (network.OUTER, media_of(ok.sdp)[0]["port"]))
        data, source = two.recvfrom(2000)
        assert data == b"\x00\x01\x02not rtp" and source == (network.INNER, media_of(b.offer)[0]["port"])
    hang_up(a, b)


def test_ports_come_back(gateway, alice, bob):
    for _ in range(5):
        a, b, *_ = establish(alice, bob)
        assert gateway.pairs_used() == 2
        hang_up(a, b)
        gateway.wait_no_calls()
