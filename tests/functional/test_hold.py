"""Re-INVITE: hold and resume, glare, failures that leave the call as it was."""
import pytest

from flows import A_PORT, B_PORT, answer_of, assert_clean, audio, dial, establish, hang_up, offer_of, reinvite
from harness import eventually, hostport
from sipcall import media_of, sdp

DIRECTIONS = {"sendonly": "recvonly", "inactive": "inactive", "sendrecv": "sendrecv"}


def described(endpoint, port, direction, version):
    return sdp(endpoint.host, f"audio {port} RTP/AVP 0 101", f"a={direction}", version=version)


@pytest.mark.parametrize("by_caller", [True, False], ids=["by-caller", "by-callee"])
@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_hold_and_resume(gateway, alice, bob, rtp, network, by_caller, direction):
    a, b, for_a, for_b = establish(alice, bob)
    one, two = (a, b) if by_caller else (b, a)
    ports = (A_PORT, B_PORT) if by_caller else (B_PORT, A_PORT)
    for number, wanted in enumerate((direction, "sendrecv"), 2):
        offered, answered = reinvite(one, two, described(one.endpoint, ports[0], wanted, number),
                                     described(two.endpoint, ports[1], DIRECTIONS[wanted], number))
        assert f"a={wanted}" in offered.sdp and f"a={DIRECTIONS[wanted]}" in answered.sdp
        assert one.endpoint.host not in offered.sdp and two.endpoint.host not in answered.sdp
        eventually(lambda held=wanted != "sendrecv": gateway.call()["is_held"] == held, what=f"hold after {wanted}")
    assert [m["port"] for m in media_of(offered.sdp)] == [(for_b if by_caller else for_a)[0]["port"]]
    left, right = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(left, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(right, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_hold_by_unspecified_address(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    held = offer_of(alice, version=2).replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0")
    offered, answered = reinvite(a, b, held, answer_of(bob))
    assert media_of(offered.sdp)[0]["address"] == "0.0.0.0"
    assert media_of(answered.sdp)[0]["address"] == "192.0.2.1"
    hang_up(a, b)


def test_origin_counts_changes_only(gateway, alice, bob):
    """o= of each leg is ours: same id, and a version that rises only when the rest has changed (RFC 3264 8)."""
    a, b, *_ = establish(alice, bob)

    def origin(text):
        return next(line.split() for line in text.split("\r\n") if line.startswith("o="))

    first = origin(b.offer)
    same, _ = reinvite(a, b, offer_of(alice, version=1), answer_of(bob))
    assert same.sdp == b.offer
    changed, _ = reinvite(a, b, offer_of(alice, version=2).replace("101", "96"), answer_of(bob))
    assert origin(changed.sdp)[1] == first[1] and int(origin(changed.sdp)[2]) == int(first[2]) + 1
    hang_up(a, b)


def test_reinvite_without_offer(gateway, alice, bob, network):
    a, b, *_ = establish(alice, bob)
    request = a.request("INVITE")
    offered = b.wait_request("INVITE")
    assert not offered.body
    bob.reply(offered, 200, "OK", offer_of(bob, B_PORT, version=2), tag=b.tag)
    response = a.wait_status(200)
    assert media_of(response.sdp)[0]["address"] == network.OUTER
    a.ack(answer_of(alice, A_PORT), request)
    assert media_of(b.wait_ack().sdp)[0]["address"] == network.INNER
    hang_up(a, b)


@pytest.mark.parametrize("status", [488, 491])
def test_refused_reinvite_keeps_the_call(gateway, alice, bob, rtp, network, status):
    a, b, for_a, for_b = establish(alice, bob)
    request = a.request("INVITE", sdp(alice.host, "audio 4000 RTP/AVP 0", "video 4100 RTP/AVP 31", version=2))
    offered = b.wait_request("INVITE")
    bob.reply(offered, status, "No", tag=b.tag)
    b.wait_ack()
    response = a.wait_status(status)
    a.ack_failure(response, request)
    left, right = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(left, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(right, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)
    gateway.wait_no_calls()


def test_glare(gateway, alice, bob):
    """Both sides re-INVITE at once: each gets 491 from the gateway or its peer's 491, and the call lives on."""
    a, b, *_ = establish(alice, bob)
    mine = a.request("INVITE", offer_of(alice, version=2))
    theirs = b.request("INVITE", offer_of(bob, B_PORT, version=2))
    refused = bob.wait_response(theirs)
    assert refused.status == 491
    b.ack_failure(refused, theirs)
    offered = b.wait_request("INVITE")
    bob.reply(offered, 491, "Request Pending", tag=b.tag)
    b.wait_ack()
    a.ack_failure(a.wait_status(491), mine)
    reinvite(a, b, offer_of(alice, version=3), answer_of(bob))
    hang_up(a, b)


def test_second_invite_before_the_answer(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    first = a.request("INVITE", offer_of(alice, version=2))
    offered = b.wait_request("INVITE")
    second = a.request("INVITE", offer_of(alice, version=3))
    response = alice.wait_response(second)
    assert response.status in (491, 500)
    a.ack_failure(response, second)
    bob.reply(offered, 200, "OK", answer_of(bob), tag=b.tag)
    alice.wait_response(first, 200)
    a.ack(request=first)
    b.wait_ack()
    hang_up(a, b)


def test_port_change(gateway, alice, bob, rtp, network):
    a, b, *_ = establish(alice, bob)
    offered, answered = reinvite(a, b, offer_of(alice, 4400, version=2), answer_of(bob, 6400, version=2))
    for_a, for_b = media_of(answered.sdp), media_of(offered.sdp)
    left, right = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], ports=(4400, 6400))
    assert_clean(left, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(right, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)


def test_stream_added_and_removed(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    two = [(e.host, f"audio {p} RTP/AVP 0", f"video {p + 100} RTP/AVP 31") for e, p in ((alice, A_PORT), (bob, B_PORT))]
    offered, answered = reinvite(a, b, sdp(*two[0], version=2), sdp(*two[1], version=2))
    assert all(m["port"] for m in media_of(offered.sdp) + media_of(answered.sdp))
    assert gateway.pairs_used() == 4
    less = [(h, audio_line, "video 0 RTP/AVP 31") for h, audio_line, _ in two]
    offered, answered = reinvite(a, b, sdp(*less[0], version=3), sdp(*less[1], version=3))
    assert [m["port"] == 0 for m in media_of(offered.sdp)] == [False, True]
    assert [m["port"] == 0 for m in media_of(answered.sdp)] == [False, True]
    eventually(lambda: gateway.pairs_used() == 2, what="release of the second stream's ports")
    hang_up(a, b)


def test_cancelled_reinvite(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    request = a.request("INVITE", offer_of(alice, version=2))
    offered = b.wait_request("INVITE")
    bob.reply(offered, 180, "Ringing", tag=b.tag)
    alice.wait_response(request, 180)
    a.invite_request = request
    a.peer = ("192.0.2.1", 5060)
    a.cancel()
    a.wait_status(200, "CANCEL")
    bob.reply(b.wait_request("CANCEL"), 200, "OK", tag=b.tag)
    bob.reply(offered, 487, "Request Terminated", tag=b.tag)
    b.wait_ack()
    a.ack_failure(a.wait_status(487), request)
    assert gateway.call()["state"] == "answered"
    hang_up(a, b)
