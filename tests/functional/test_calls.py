"""Calls that succeed, and requests inside them."""
import time

import pytest

from flows import A_PORT, B_PORT, answer_of, assert_clean, audio, dial, establish, hang_up, offer_of, uri
from harness import hostport
from sipcall import media_of, sdp, tag_of


@pytest.mark.parametrize("by_caller", [True, False], ids=["bye-from-caller", "bye-from-callee"])
def test_basic_call_with_audio(gateway, alice, bob, rtp, network, by_caller):
    a, b, for_a, for_b = establish(alice, bob)
    assert for_a[0]["address"] == network.OUTER and for_b[0]["address"] == network.INNER
    assert for_b[0]["formats"] == ["0", "8", "101"] and for_a[0]["formats"] == ["0", "101"]
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    stream = gateway.call()["streams"][0]
    for side in ("a", "b"):
        assert stream[side]["packets"] == 50 and stream[side]["sent"] == 50 and stream[side]["lost"] == 0
    hang_up(*((a, b) if by_caller else (b, a)))
    gateway.wait_no_calls()
    assert gateway.cdr()["ended_by"] == ("caller" if by_caller else "callee")


def test_ipv4_caller_ipv6_callee(gateway, alice, endpoint, rtp, network):
    bob = endpoint("callee", network.CALLEE6, "bob")
    a, b, for_a, for_b = establish(alice, bob, "6000")
    assert for_a[0]["address"] == network.OUTER and for_b[0]["address"] == network.INNER6
    assert "IP4" not in b.offer
    one, two = audio(rtp, network.CALLER, network.CALLEE6, for_a[0], for_b[0])
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER6, for_b[0]["port"]))
    hang_up(a, b)


def test_ipv6_caller_ipv4_callee(gateway, endpoint, bob, rtp, network):
    alice = endpoint("caller", network.CALLER6, "alice")
    alice.proxy = (network.OUTER6, 5060)
    a, b, for_a, for_b = establish(alice, bob)
    assert for_a[0]["address"] == network.OUTER6 and for_b[0]["address"] == network.INNER
    one, two = audio(rtp, network.CALLER6, network.CALLEE, for_a[0], for_b[0])
    assert_clean(one, 50, hostport(network.OUTER6, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(b, a)


def test_call_from_inside(gateway, alice, bob):
    a, b = dial(bob, alice, "4930")
    b.reply(200, "OK", answer_of(alice))
    a.wait_status(200)
    a.ack()
    b.wait_ack()
    assert gateway.call()["from_realm"] == "inner"
    hang_up(b, a)


def test_early_media(gateway, alice, bob, rtp, network):
    a, b = dial(alice, bob)
    b.reply(183, "Session Progress", answer_of(bob))
    early = a.wait_status(183)
    for_a = media_of(early.sdp)
    two = rtp("callee", network.CALLEE, B_PORT, 2, count=50, pps=100).to(media_of(b.offer)[0])
    one = rtp("caller", network.CALLER, A_PORT, 1, expect=2)
    two.start().wait_sent(50)
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    b.reply(200, "OK", answer_of(bob))
    ok = a.wait_status(200)
    assert ok.sdp == early.sdp, "the same answer in 183 and 200 must stay the same bytes"
    a.ack()
    b.wait_ack()
    hang_up(a, b)


def test_progress_passes_as_received(gateway, alice, bob):
    a, b = dial(alice, bob)
    tags = set()
    for status in (180, 183, 181, 182):
        b.reply(status, "Progress")
        response = a.wait_status(status)
        assert not response.body
        tags.add(tag_of(response.get("To")))
    assert len(tags) == 1
    b.reply(200, "OK", answer_of(bob))
    assert tag_of(a.wait_status(200).get("To")) in tags
    a.ack()
    b.wait_ack()
    hang_up(a, b)


def test_delayed_offer(gateway, alice, bob, rtp, network):
    a, b = dial(alice, bob, offer=b"")
    assert not b.invite_request.body
    b.reply(200, "OK", offer_of(bob, B_PORT))
    ok = a.wait_status(200)
    for_a = media_of(ok.sdp)
    assert for_a[0]["address"] == network.OUTER
    a.ack(answer_of(alice, A_PORT))
    ack = b.wait_ack()
    for_b = media_of(ack.sdp)
    assert for_b[0]["address"] == network.INNER
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_crossing_bye(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    a.bye()
    b.bye()
    a.wait_status(200, "BYE")
    b.wait_status(200, "BYE")
    for call in (a, b):
        for request in [m for m in call.endpoint.inbox if m.is_request and m.method == "BYE"]:
            call.endpoint.reply(request, 200, "OK")
    gateway.wait_no_calls()
    assert len(gateway.api("/v1/cdrs")["items"]) == 1


def test_retransmitted_invite_is_absorbed(gateway, alice, bob):
    a, b = dial(alice, bob)
    for _ in range(3):
        alice.send(a.invite_request, a.peer)
        time.sleep(0.05)
    bob.expect_silence(0.3, lambda m: m.is_request and m.method == "INVITE")
    assert len(gateway.calls()) == 1
    b.reply(200, "OK", answer_of(bob))
    ok = a.wait_status(200)
    alice.send(a.invite_request, a.peer)
    a.ack()
    b.wait_ack()
    assert alice.copies_of(ok) <= 2
    hang_up(a, b)


def test_answer_is_retransmitted_until_acknowledged(gateway, alice, bob):
    a, b = dial(alice, bob)
    b.reply(200, "OK", answer_of(bob))
    ok = a.wait_status(200)
    alice.wait_copies(ok, 3)
    a.ack()
    b.wait_ack()
    time.sleep(0.2)
    seen = alice.copies_of(ok)
    alice.expect_silence(1.5)
    assert alice.copies_of(ok) == seen
    hang_up(a, b)


def test_copy_of_answer_is_acknowledged_again(gateway, alice, bob):
    a, b = dial(alice, bob)
    ok = b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    a.ack()
    first = b.wait_ack()
    bob.send(ok, b.invite_request.source)
    again = b.wait_ack()
    assert (again.cseq, again.get("To"), again.body) == (first.cseq, first.get("To"), first.body)
    alice.expect_silence(0.3)
    hang_up(a, b)


def test_missing_ack_ends_the_call(start_gateway, alice, bob):
    gateway = start_gateway({"sip": {"t1": "100ms"}})
    a, b = dial(alice, bob)
    b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    b.wait_request("ACK", 10)
    b.answer_bye(15)
    request = a.wait_request("BYE", 10)
    alice.reply(request, 200, "OK")
    gateway.wait_no_calls()


@pytest.mark.parametrize("method,body,kind", [
    ("INFO", "Signal=1\r\nDuration=160\r\n", "application/dtmf-relay"),
    ("MESSAGE", "hello", "text/plain"),
    ("OPTIONS", "", ""),
    ("UPDATE", None, "application/sdp"),
])
@pytest.mark.parametrize("by_caller", [True, False], ids=["from-caller", "from-callee"])
def test_request_inside_dialog(gateway, alice, bob, method, body, kind, by_caller):
    a, b, *_ = establish(alice, bob)
    one, two = (a, b) if by_caller else (b, a)
    if body is None:
        body = offer_of(one.endpoint, A_PORT if by_caller else B_PORT, version=2)
    one.request(method, body, content_type=kind)
    request = two.wait_request(method)
    assert request.get("Content-Type") == kind
    assert (request.sdp == body) == (method != "UPDATE")
    answer_body = answer_of(two.endpoint, B_PORT if by_caller else A_PORT) if method == "UPDATE" else b""
    two.endpoint.reply(request, 200, "OK", answer_body, tag=two.tag)
    response = one.wait_status(200, method)
    if method == "UPDATE":
        assert media_of(response.sdp)[0]["address"] != two.endpoint.host
    hang_up(a, b)


@pytest.mark.parametrize("status", [405, 488, 500])
def test_failed_request_keeps_the_call(gateway, alice, bob, status):
    a, b, *_ = establish(alice, bob)
    a.request("INFO", "x", content_type="text/plain")
    bob.reply(b.wait_request("INFO"), status, "No", tag=b.tag)
    a.wait_status(status, "INFO")
    assert gateway.call()["state"] == "answered"
    hang_up(a, b)


def test_481_inside_dialog_ends_the_call(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    a.request("INFO", "x", content_type="text/plain")
    bob.reply(b.wait_request("INFO"), 481, "Gone", tag=b.tag)
    a.wait_status(481, "INFO")
    a.answer_bye()
    for request in [m for m in bob.inbox if m.method == "BYE"]:
        bob.reply(request, 481, "Gone")
    eventually_silent(gateway, bob)


def eventually_silent(gateway, endpoint):
    """Answers what may still come to a side that has given up its dialog."""
    end = time.monotonic() + 5
    while gateway.calls() and time.monotonic() < end:
        endpoint.expect_silence(0.1, lambda m: False)
        for request in [m for m in endpoint.inbox if m.is_request and m.method == "BYE"]:
            endpoint.inbox.remove(request)
            endpoint.reply(request, 481, "Gone")
    gateway.wait_no_calls()


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "UPDATE"])
def test_unknown_dialog(gateway, alice, method):
    headers = [("To", "<sip:1000@192.0.2.1>;tag=nowhere")]
    request = alice.request(method, uri(alice, "1000"), headers, offer_of(alice) if method != "BYE" else b"")
    response = alice.wait_response(request)
    assert response.status == 481
    gateway.wait_no_calls()


def test_unknown_dialog_ack_is_dropped(gateway, alice):
    alice.request("ACK", uri(alice, "1000"), [("To", "<sip:1000@192.0.2.1>;tag=nowhere")])
    alice.expect_silence(0.5)


def test_options_to_the_gateway(gateway, alice, network):
    request = alice.request("OPTIONS", f"sip:{network.OUTER}")
    response = alice.wait_response(request)
    assert response.status == 200
    assert "INVITE" in response.get("Allow")


def test_hidden_route_set_is_followed(gateway, alice, bob, network):
    """A proxy on the inner side record-routes: the gateway's requests carry its route, and go to it."""
    a, b = dial(alice, bob)
    route = f"<sip:{network.CALLEE}:5060;lr>"
    b.reply(200, "OK", answer_of(bob), [("Record-Route", route), ("Contact", f"<sip:bob@{network.CALLEE}:5999>")])
    ok = a.wait_status(200)
    assert not ok.all("Record-Route")
    a.ack()
    ack = b.wait_ack()
    a.bye()
    bye = b.wait_request("BYE")
    for request in (ack, bye):
        assert request.all("Route") == [route]
        assert request.uri == f"sip:bob@{network.CALLEE}:5999"
    bob.reply(bye, 200, "OK")
    a.wait_status(200, "BYE")


def test_second_branch_is_released(gateway, alice, bob):
    """Two 2xx with different tags from a fork: the first wins, the second is acknowledged and ended."""
    a, b = dial(alice, bob)
    b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    a.ack()
    b.wait_ack()
    bob.reply(b.invite_request, 200, "OK", answer_of(bob, 6002), tag="second")
    second = bob.wait_for(lambda m: m.method == "ACK" and tag_of(m.get("To")) == "second", what="ACK of the second")
    assert second
    bye = bob.wait_for(lambda m: m.method == "BYE" and tag_of(m.get("To")) == "second", what="BYE of the second")
    bob.reply(bye, 200, "OK")
    assert gateway.call()["state"] == "answered"
    hang_up(a, b)
