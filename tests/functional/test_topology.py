"""Nothing of one side is seen on the other: addresses, names, identifiers (in the captured packets, not only in what we parse)."""
from flows import answer_of, dial, establish, hang_up, offer_of, refuse, reinvite, settle
from sipcall import host_text

SECRETS = ("pc7.inside.example", "InsideAgent", "9.8.7.6")


def test_no_trace_of_the_other_side(gateway, alice, bob, capture, network):
    outside, inside = capture("caller"), capture("callee")
    a, b = dial(alice, bob, headers=[("User-Agent", "OutsideAgent/1"), ("Via", alice.via()),
                                     ("Via", "SIP/2.0/UDP host.outside.example;branch=z9hG4bKold")])
    secret_headers = [("Server", "InsideAgent/2"), ("Record-Route", f"<sip:{network.CALLEE};lr>"),
                      ("Warning", '399 pc7.inside.example "x"')]
    b.reply(180, "Ringing", headers=secret_headers)
    a.wait_status(180)
    b.reply(200, "OK", answer_of(bob), secret_headers)
    ok = a.wait_status(200)
    a.ack()
    b.wait_ack()
    settle(alice)
    reinvite(b, a, offer_of(bob, 6000, version=2), answer_of(alice, 4000))
    ids = {"a": a.call_id, "b": b.call_id}
    tags = {"a": a.tag, "b": b.tag}
    hang_up(b, a)
    outer, inner = outside.bytes(), inside.bytes()
    assert ids["a"] != ids["b"]
    for secret in (network.CALLEE, network.INNER, ids["b"], tags["b"], b.invite_request.branch, *SECRETS):
        assert secret.encode() not in outer, secret
    for secret in (network.CALLER, network.OUTER, ids["a"], a.invite_request.branch, "outside.example"):
        assert secret.encode() not in inner, secret
    assert network.OUTER in ok.get("Contact")


def test_refusals_are_clean_too(gateway, alice, bob, capture, network):
    outside = capture("caller")
    a, b = dial(alice, bob)
    refuse(b, 302, headers=[("Contact", f"<sip:elsewhere@{network.CALLEE}>"), ("Warning", "399 pc7.inside.example \"x\""),
                            ("Server", "InsideAgent")])
    response = alice.wait_response(a.invite_request)
    a.ack_failure(response)
    assert response.status >= 300
    outer = outside.bytes()
    for secret in (network.CALLEE, network.INNER, b.call_id, "pc7.inside.example", "InsideAgent"):
        assert secret.encode() not in outer, secret


def test_identity_of_the_caller_is_kept(gateway, alice, bob, network):
    a, b, *_ = establish(alice, bob)
    assert "alice@" in b.invite_request.get("From")
    assert b.invite_request.uri == f"sip:1000@{host_text(network.CALLEE)}:5060" or b.invite_request.uri.startswith(
        f"sip:1000@{network.CALLEE}")
    assert network.INNER in b.invite_request.get("Contact")
    assert len(b.invite_request.all("Via")) == 1
    hang_up(a, b)
