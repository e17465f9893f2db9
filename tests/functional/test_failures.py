"""Calls that do not come about: refused, cancelled, unanswered, unroutable."""
import time

import pytest

from flows import answer_of, dial, establish, fail_with, hang_up, offer_of, refuse, uri
from harness import eventually


def cancel(a):
    a.cancel()
    a.wait_status(200, "CANCEL")


def test_cancel_before_any_response(gateway, alice, bob):
    """The callee has said nothing: CANCEL waits for its first provisional response (RFC 3261 9.1)."""
    a, b = dial(alice, bob)
    cancel(a)
    fail_with(a, 487)
    bob.expect_silence(0.4, lambda m: m.method == "CANCEL")
    b.reply(180, "Ringing")
    request = b.wait_request("CANCEL")
    assert request.branch == b.invite_request.branch
    bob.reply(request, 200, "OK")
    refuse(b, 487)
    gateway.wait_no_calls()


def test_cancel_while_ringing(gateway, alice, bob):
    a, b = dial(alice, bob)
    b.reply(180, "Ringing")
    a.wait_status(180)
    cancel(a)
    fail_with(a, 487)
    bob.reply(b.wait_request("CANCEL"), 200, "OK")
    refuse(b, 487)
    gateway.wait_no_calls()
    record = gateway.cdr()
    assert (record["status"], record["ended_by"], record["cause"]) == (487, "caller", "cancelled")


@pytest.mark.parametrize("provisional", [True, False], ids=["after-180", "without-provisional"])
def test_answer_after_cancel_is_released(gateway, alice, bob, provisional):
    """CANCEL and 200 cross: the 200 gets ACK and BYE, the caller never sees it (RFC 5407)."""
    a, b = dial(alice, bob)
    if provisional:
        b.reply(180, "Ringing")
        a.wait_status(180)
    cancel(a)
    fail_with(a, 487)
    b.reply(200, "OK", answer_of(bob))
    b.wait_ack()
    b.answer_bye()
    for request in [m for m in bob.inbox if m.method == "CANCEL"]:
        bob.reply(request, 200, "OK")
    alice.expect_silence(0.3)
    gateway.wait_no_calls()


def test_cancel_after_the_answer_has_no_effect(gateway, alice, bob):
    a, b = dial(alice, bob)
    b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    cancel(a)
    a.ack()
    b.wait_ack()
    assert gateway.call()["state"] == "answered"
    bob.expect_silence(0.3, lambda m: m.method in ("CANCEL", "BYE"))
    hang_up(a, b)


def test_cancel_of_nothing(gateway, alice):
    request = alice.request("CANCEL", uri(alice, "1000"))
    assert alice.wait_response(request).status == 481


@pytest.mark.parametrize("status", [486, 480, 404, 600, 603])
def test_refusal_passes(gateway, alice, bob, status):
    a, b = dial(alice, bob)
    refuse(b, status)
    fail_with(a, status)
    gateway.wait_no_calls()
    record = gateway.cdr()
    assert record["status"] == status and record["answered_at"] is None and record["cause"] == "rejected"


def test_no_route(gateway, alice):
    a = alice.invite(uri(alice, "0000"), offer_of(alice))
    fail_with(a, 404)
    assert gateway.cdr()["cause"] == "no-route"
    gateway.wait_no_calls()


def test_denied_by_rule(gateway, alice):
    a = alice.invite(uri(alice, "9000"), offer_of(alice))
    fail_with(a, 403)
    record = gateway.cdr()
    assert record["cause"] == "denied" and any(step["rule"] == "barred" for step in record["decision"])


def test_max_forwards_zero(gateway, alice, bob):
    a = alice.invite(uri(alice, "1000"), offer_of(alice), [("Max-Forwards", "0")])
    fail_with(a, 483)
    bob.expect_silence(0.2)


def test_max_forwards_is_counted_down(gateway, alice, bob):
    a, b = dial(alice, bob, headers=[("Max-Forwards", "17")])
    assert b.invite_request.get("Max-Forwards") == "16"
    refuse(b, 486)
    fail_with(a, 486)


def test_unsupported_extension(gateway, alice, bob):
    a = alice.invite(uri(alice, "1000"), offer_of(alice), [("Require", "nothing-like-it")])
    assert "nothing-like-it" in fail_with(a, 420).get("Unsupported")
    bob.expect_silence(0.2)


@pytest.mark.parametrize("body", [
    "garbage",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 host.example.com\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 224.2.36.42/127\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio -1 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000/2 RTP/AVP 0\r\n",
    "v=0\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n" + "m=audio 4000 RTP/AVP 0\r\n" * 9,
], ids=["garbage", "no-address", "host-name", "multicast", "bad-port", "port-count", "nine-lines"])
def test_unusable_offer(gateway, alice, bob, body):
    a = alice.invite(uri(alice, "1000"), body)
    response = alice.wait_response(a.invite_request)
    assert response.status in (400, 488)
    a.ack_failure(response)
    bob.expect_silence(0.2)
    gateway.wait_no_calls()


def test_unusable_answer(gateway, alice, bob):
    """The callee's answer cannot be relayed: the caller gets a failure, the callee ACK and BYE."""
    a, b = dial(alice, bob)
    b.reply(200, "OK", "garbage")
    b.wait_ack()
    b.answer_bye()
    response = alice.wait_response(a.invite_request)
    assert response.status >= 400
    a.ack_failure(response)
    gateway.wait_no_calls()


def test_wrong_body_type(gateway, alice, bob):
    a = alice.invite(uri(alice, "1000"), "hello", content_type="text/plain")
    fail_with(a, 415)
    bob.expect_silence(0.2)


def test_failover_to_the_second_target(gateway, alice, bob, endpoint, network):
    first = endpoint("callee", network.OTHER_CALLEE, "first")
    a = alice.invite(uri(alice, "2000"), offer_of(alice))
    attempt = first.take_call()
    refuse(attempt, 503)
    b = bob.take_call()
    assert b.invite_request.branch != attempt.invite_request.branch
    b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    a.ack()
    b.wait_ack()
    hang_up(a, b)
    assert len(gateway.api("/v1/cdrs")["items"]) == 1


def test_busy_is_no_reason_to_fail_over(gateway, alice, bob, endpoint, network):
    first = endpoint("callee", network.OTHER_CALLEE, "first")
    a = alice.invite(uri(alice, "2000"), offer_of(alice))
    refuse(first.take_call(), 486)
    fail_with(a, 486)
    bob.expect_silence(0.2)


def test_failover_on_silence(start_gateway, alice, bob, endpoint, network):
    """The first target never answers: Timer B ends that attempt, the second takes the call."""
    gateway = start_gateway({"sip": {"t1": "100ms"}})
    first = endpoint("callee", network.OTHER_CALLEE, "first")
    a = alice.invite(uri(alice, "2000"), offer_of(alice))
    invite = first.take_call().invite_request
    b = bob.take_call(12)
    assert first.copies_of(invite) >= 1
    b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    a.ack()
    b.wait_ack()
    hang_up(a, b)
    gateway.wait_no_calls()


def test_failover_on_port_unreachable(start_gateway, alice, bob):
    """Nobody listens at the first target: the second is tried, at the latest after Timer B."""
    start_gateway({"sip": {"t1": "100ms"}})
    a = alice.invite(uri(alice, "2000"), offer_of(alice))
    b = bob.take_call(12)
    refuse(b, 486)
    fail_with(a, 486)


def test_nobody_answers(start_gateway, alice, bob):
    gateway = start_gateway({"sip": {"t1": "100ms"}})
    a, b = dial(alice, bob)
    response = alice.wait_response(a.invite_request, timeout=12)
    assert response.status in (408, 480, 503, 504)
    a.ack_failure(response)
    bob.expect_silence(0.1, lambda m: m.method != "INVITE")
    assert bob.copies_of(b.invite_request) >= 4
    gateway.wait_no_calls()


def test_ring_timeout(start_gateway, alice, bob):
    gateway = start_gateway({"sip": {"ring_timeout": "1s"}})
    a, b = dial(alice, bob)
    b.reply(180, "Ringing")
    a.wait_status(180)
    fail_with(a, 408)
    bob.reply(b.wait_request("CANCEL"), 200, "OK")
    refuse(b, 487)
    gateway.wait_no_calls()
    assert gateway.cdr()["cause"] == "ring-timeout"


def test_call_limit(start_gateway, alice, bob):
    gateway = start_gateway({"realms": {"outer": {"max_calls": 1}}})
    a, b, *_ = establish(alice, bob)
    refused = alice.invite(uri(alice, "1001"), offer_of(alice, 4100))
    fail_with(refused, 503)
    hang_up(a, b)
    gateway.wait_no_calls()
    a, b, *_ = establish(alice, bob)
    hang_up(a, b)


def test_rate_limit(start_gateway, alice, bob):
    start_gateway({"realms": {"outer": {"cps": 2}}})
    statuses = []
    for n in range(12):
        a = alice.invite(uri(alice, f"10{n:02}"), offer_of(alice))
        end = time.monotonic() + 2
        while time.monotonic() < end:
            bob.expect_silence(0.01, lambda m: False)
            for invite in [m for m in bob.inbox if m.method == "INVITE"]:
                bob.inbox.remove(invite)
                bob.reply(invite, 486, "Busy")
            final = [m for m in alice.inbox if m.branch == a.invite_request.branch and m.status >= 200]
            alice.expect_silence(0.01, lambda m: False)
            if final:
                alice.inbox.remove(final[0])
                a.ack_failure(final[0])
                statuses.append(final[0].status)
                break
    assert len(statuses) == 12
    assert 486 in statuses and 503 in statuses


def test_flood_of_refusals_does_not_fill_the_database(gateway, alice, bob):
    """Calls that nobody can be asked for are recorded at a bounded rate; calls that reach somebody always are."""
    for number in range(400):
        alice.invite(uri(alice, "nobody"), b"not a description")
        if number % 20 == 19:  # a burst is more than the buffers of a test's sockets hold
            alice.expect_silence(0.01, lambda m: False)
    end = time.monotonic() + 10
    while sum(m.status >= 400 for m in alice.inbox) < 400 and time.monotonic() < end:
        alice.expect_silence(0.05, lambda m: False)
    assert sum(m.status >= 400 for m in alice.inbox) == 400
    eventually(lambda: unrecorded(gateway) > 0)
    a, b, *_ = establish(alice, bob)
    hang_up(a, b)
    gateway.wait_no_calls()
    records = eventually(lambda: gateway.api("/v1/cdrs?limit=1000")["items"])
    assert any(r["status"] == 200 for r in records)
    assert len(records) + unrecorded(gateway) == 401


def unrecorded(gateway):
    _, text = gateway.raw("GET", "/metrics")
    return int(next(line.split()[-1] for line in text.splitlines()
                    if line.startswith("postern_refusals_unrecorded_total")))


def test_peer_counters(gateway, alice, bob):
    a, b = dial(alice, bob)
    refuse(b, 503)
    response = alice.wait_response(a.invite_request)
    assert response.status in (480, 500, 503)
    a.ack_failure(response)
    peer = eventually(lambda: next(p for p in gateway.api("/v1/peers")["items"] if p["name"] == "pbx"))
    assert peer["calls_total"] == 1 and peer["failures_total"] == 1
