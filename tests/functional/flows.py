"""Stretches of call flow that many tests share. `a` is the caller's Call, `b` the callee's."""
import time

from harness import eventually, hostport
from sipcall import host_text, media_of, sdp

PCMU = "audio {} RTP/AVP 0 8 101"
A_PORT, B_PORT = 4000, 6000
MANY_PORT = 30000  # both sides of the first of many calls; the next ones have the even ports above


def offer_of(endpoint, port=A_PORT, **kwargs):
    return sdp(endpoint.host, PCMU.format(port), **kwargs)


def answer_of(endpoint, port=B_PORT, **kwargs):
    return sdp(endpoint.host, f"audio {port} RTP/AVP 0 101", **kwargs)


def uri(alice, user):
    return f"sip:{user}@{host_text(alice.proxy[0])}"


def dial(alice, bob, user="1000", offer=None, **kwargs):
    """INVITE up to the callee."""
    a = alice.invite(uri(alice, user), offer_of(alice) if offer is None else offer, **kwargs)
    return a, bob.take_call()


def answer(a, b, body=None):
    """180, 200 and both ACKs; the 200 that the caller saw."""
    b.reply(180, "Ringing")
    a.wait_status(180)
    b.reply(200, "OK", answer_of(b.endpoint) if body is None else body)
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    return ok


def settle(alice, user="1000"):
    """Returns once the gateway has handled what Alice sent before, her ACK above all: Bob has his ACK before hers has
    arrived, and a re-INVITE of his in between would rightly get 491. What follows on the same socket is handled after it."""
    alice.wait_response(alice.request("OPTIONS", uri(alice, user)))


def establish(alice, bob, user="1000", offer=None, body=None):
    """A call that is up, and the descriptions that each side got: (a, b, for_a, for_b)."""
    a, b = dial(alice, bob, user, offer)
    ok = answer(a, b, body)
    settle(alice, user)
    return a, b, media_of(ok.sdp), media_of(b.offer)


def hang_up(by, other):
    by.bye()
    request = other.answer_bye()
    by.wait_status(200, "BYE")
    return request


def reinvite(by, other, offer, answer_body):
    """A re-INVITE from one side, answered by the other: (what the other was offered, what the first was answered)."""
    request = by.request("INVITE", offer)
    offered = other.wait_request("INVITE")
    other.endpoint.reply(offered, 200, "OK", answer_body)
    response = by.wait_status(200)
    by.ack(request=request)
    other.wait_ack()
    return offered, response


def refuse(b, status, reason="No", **kwargs):
    """The callee's failure, and the ACK to it."""
    b.reply(status, reason, **kwargs)
    return b.wait_ack()


def fail_with(a, status, timeout=5):
    """The caller sees that failure and acknowledges it."""
    response = a.wait_status(status, timeout=timeout)
    a.ack_failure(response)
    return response


def audio(rtp, a_host, b_host, for_a, for_b, count=50, ports=(A_PORT, B_PORT), pps=100, **options):
    """Sends packets both ways at once; the two endpoints when all are sent and have had time to arrive."""
    one = rtp("caller", a_host, ports[0], 1, expect=2, count=count, pps=pps, **options).to(for_a)
    two = rtp("callee", b_host, ports[1], 2, expect=1, count=count, pps=pps, **options).to(for_b)
    one.start()
    two.start()
    for endpoint in (one, two):
        endpoint.wait_sent(count)
    return one, two


def assert_clean(endpoint, count, source):
    """All packets of the other side came, once, in order, from the gateway, and nothing else came."""
    eventually(lambda: endpoint.report()["received"] >= count, 3, f"{count} packets; {endpoint.report()}")
    report = endpoint.report()
    assert (report["received"], report["lost"], report["duplicated"], report["foreign"], report["malformed"]) == (
        count, 0, 0, 0, 0), report
    assert endpoint.sources() == {source}


def establish_many(alice, bob, n):
    """n calls; for each (a, b, audio of a's answer, audio of b's offer)."""
    made = []
    for port in range(MANY_PORT, MANY_PORT + 2 * n, 2):
        a, b = dial(alice, bob, offer=offer_of(alice, port))
        ok = answer(a, b, answer_of(bob, port))
        made.append((a, b, media_of(ok.sdp)[0], media_of(b.offer)[0]))
    settle(alice)
    return made


def lines_of(alice, bob, made):
    """What rtp_streams needs for many calls, caller's side and callee's side: callers have even numbers, callees odd ones."""
    callers, callees = [], []
    for i, (_, _, for_a, for_b) in enumerate(made):
        port = MANY_PORT + 2 * i
        callers.append((hostport(alice.host, port), hostport(for_a["address"], for_a["port"]), 2 * i, 2 * i + 1))
        callees.append((hostport(bob.host, port), hostport(for_b["address"], for_b["port"]), 2 * i + 1, 2 * i))
    return callers, callees


def assert_all_came(receiver, sender, may_reorder=0):
    """Every packet that one side sent came to the other, once and (but for so many) in order."""
    sent = sender.report()["sent"]
    eventually(lambda: receiver.report()["received"] >= sent, 5, f"{sent} packets; {receiver.report()}")
    time.sleep(0.2)
    report = receiver.report()
    found = {name: report[name] for name in ("received", "lost", "duplicated", "reordered", "foreign", "malformed")}
    in_order = found.pop("reordered") <= may_reorder
    assert in_order and found == {**dict.fromkeys(found, 0), "received": sent}, report


def again(*endpoints, count):
    """All send once more, at the same time, until each has sent so many packets altogether."""
    for endpoint in endpoints:
        endpoint.start()
    for endpoint in endpoints:
        endpoint.wait_sent(count)
