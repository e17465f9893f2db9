"""Calls over kill -9 and restarts: what was answered goes on, what was not is gone, and every call has one record."""
import contextlib
import json
import signal
import socket
import time

import pytest

from flows import B_PORT, answer_of, assert_clean, audio, dial, establish, hang_up, offer_of, reinvite, settle, uri
from harness import eventually, has_crash_points, hostport
from sipcall import media_of

PORTS = range(20000, 21000)


def bound_ports(network):
    """Media ports of the gateway that a socket is bound to."""
    lines = network.gateway.run("ss", "-Huan").splitlines()
    return sorted(port for port in (int(line.split()[3].rsplit(":", 1)[1]) for line in lines) if port in PORTS)


def rows(gateway):
    return {id_: json.loads(state) for id_, state in gateway.database("SELECT id, state FROM live")}


def wait_rows(gateway, n=1):
    eventually(lambda: len(rows(gateway)) == n, what=f"{n} live rows")


def records(gateway):
    return gateway.api("/v1/cdrs?limit=1000")["items"]


def assert_agreement(gateway, network):
    """Database, API, ports and sockets tell the same story; returns the live calls."""
    live = gateway.calls()
    assert set(rows(gateway)) == {call["id"] for call in live}
    assert gateway.pairs_used() == 2 * len(live)
    assert len(bound_ports(network)) == 4 * len(live), bound_ports(network)
    assert not {record["id"] for record in records(gateway)} & {call["id"] for call in live}
    assert gateway.metric("postern_calls_active") == len(live)
    return live


def test_twenty_calls(gateway, alice, bob, network):
    """kill -9 with 20 calls up: all are there again; each side changes and ends them; every record is right."""
    calls = [establish(alice, bob) for _ in range(20)]
    wait_rows(gateway, 20)
    before = gateway.calls()
    gateway.kill()
    assert not bound_ports(network)
    time.sleep(1)
    gateway.start()
    assert_agreement(gateway, network)
    assert sorted((c["id"], c["state"], c["started_at"], c["answered_at"]) for c in gateway.calls()) == sorted(
        (c["id"], "answered", c["started_at"], c["answered_at"]) for c in before)
    detail = gateway.api(f"/v1/calls/{before[0]['id']}")
    assert detail["decision"][-1]["text"] == "resumed after a restart"
    assert any(step["rule"] == "to-pbx" for step in detail["decision"])
    for i, (a, b, for_a, for_b) in enumerate(calls):
        if i % 2 == 0:
            offered, answered = reinvite(a, b, offer_of(alice, version=2), answer_of(bob, version=2))
        else:
            answered, offered = reversed(reinvite(b, a, answer_of(bob, version=2), offer_of(alice, version=2)))
        at_b, at_a = (offered, answered) if i % 2 == 0 else (answered, offered)
        assert media_of(at_b.sdp)[0]["port"] == for_b[0]["port"]
        assert media_of(at_a.sdp)[0]["port"] == for_a[0]["port"]
        settle(alice)
    for i, (a, b, *_) in enumerate(calls):
        hang_up(*((a, b) if i % 3 else (b, a)))
    gateway.wait_no_calls()
    made = records(gateway)
    assert sorted(record["id"] for record in made) == sorted(call["id"] for call in before)
    assert all(record["cause"] == "normal" and record["duration_ms"] >= 1000 for record in made)
    assert {record["ended_by"] for record in made} == {"caller", "callee"}
    assert not rows(gateway) and gateway.metric("postern_calls_active") == 0
    assert gateway.raw("GET", "/metrics")[1].count('postern_calls_total{result="resumed"} 20') == 1


def test_media_goes_on(start_gateway, alice, bob, rtp, network):
    """Through the same ports, to the learnt address, with the counters of before; and nobody else gets in."""
    gateway = start_gateway({"realms": {"outer": {"nat": "latch"}}})
    a, b, for_a, for_b = establish(alice, bob)
    one = rtp("caller", network.CALLER, 4777, 1, expect=2, pps=100).to(for_a[0])
    two = rtp("callee", network.CALLEE, B_PORT, 2, expect=1, pps=100).to(for_b[0])
    for endpoint in (one, two):
        endpoint.start()
    learnt = hostport(network.CALLER, 4777)
    eventually(lambda: any(f'"{learnt}"' in state for _, state in gateway.database("SELECT id, state FROM live")),
               what="the learnt address in the row")
    gateway.kill()
    (state,) = rows(gateway).values()
    saved = [first_side(state, side)[8] for side in "ab"]
    thief = rtp("caller", network.OTHER_CALLER, 4778, 99, pps=100).to(for_a[0]).start()
    gateway.start()
    heard = [endpoint.report()["received"] for endpoint in (one, two)]
    for endpoint, before in zip((one, two), heard):
        eventually(lambda it=endpoint, n=before: it.report()["received"] >= n + 100, what="media after the restart")
    sides = [gateway.call()["streams"][0][side] for side in "ab"]
    for side, before in zip(sides, saved):
        assert side["latch"] == "locked" and side["packets"] >= before + 100 and side["lost"] == 0
    assert saved[0] > 0 and sides[0]["latched"] == learnt and sides[0]["dropped"]["source"] > 50
    assert thief.report()["received"] == 0
    assert all(endpoint.report()["foreign"] == 0 for endpoint in (one, two))
    hang_up(a, b)


def test_media_of_both_sides_after_a_restart(gateway, alice, bob, rtp, network):
    """Nothing was sent before the restart; afterwards all arrives, and later packets count as usual."""
    a, b, for_a, for_b = establish(alice, bob)
    wait_rows(gateway)
    gateway.restart()
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(one, 50, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)
    record = gateway.cdr()
    assert all(stream["packets"] == 50 and stream["lost"] == 0 for stream in record["streams"])


def test_our_cseq_never_repeats(gateway, alice, bob):
    """Far more requests than a restart's gap, none of which is worth a row of its own."""
    a, b, *_ = establish(alice, bob)
    seen = []

    def info():
        request = a.request("INFO")
        at_bob = b.wait_request("INFO")
        seen.append(at_bob.cseq)
        bob.reply(at_bob, 200, "OK")
        alice.wait_response(request, 200)

    for _ in range(3):
        for _ in range(700):
            info()
        time.sleep(0.1)  # the writer commits
        gateway.restart()
    info()
    assert seen == sorted(set(seen))
    hang_up(a, b)


def test_requests_during_the_restart_are_answered_well(gateway, alice, bob):
    """A BYE that is repeated all the time never meets a gateway that does not know its call."""
    a, b, *_ = establish(alice, bob)
    wait_rows(gateway)
    gateway.kill()
    bye = a.bye()
    end = time.monotonic() + 0.5
    gateway.spawn()
    while time.monotonic() < end:
        alice.send(bye, a.peer)
        time.sleep(0.002)
    gateway.wait_ready()
    b.answer_bye()
    assert alice.wait_response(bye).status == 200
    alice.expect_silence(0.3)
    gateway.wait_no_calls()
    assert gateway.cdr()["ended_by"] == "caller"


def test_ringing_calls_are_not_resumed(gateway, alice, bob, network):
    a, b = dial(alice, bob)
    b.reply(180, "Ringing")
    a.wait_status(180)
    gateway.restart()
    assert not assert_agreement(gateway, network)
    a.cancel()
    alice.wait_for(lambda m: m.method == "CANCEL" and m.status == 481, what="481 to the CANCEL")
    b.reply(200, "OK", answer_of(bob))  # its late answer is acknowledged and ended
    b.wait_ack()
    b.answer_bye()
    hang_up(*establish(alice, bob)[:2])


def test_calls_are_left_to_the_next_process(gateway, alice, bob, rtp, network):
    """SIGUSR2: calls that are up stay, with all their counters; what is not answered is told."""
    a, b, for_a, for_b = establish(alice, bob)
    _, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0])
    assert_clean(two, 50, hostport(network.INNER, for_b[0]["port"]))
    ringing, ringing_b = dial(alice, bob)
    ringing_b.reply(180, "Ringing")
    ringing.wait_status(180)
    gateway.signal(signal.SIGUSR2)
    ringing.ack_failure(ringing.wait_status(480))
    bob.reply(ringing_b.wait_request("CANCEL"), 200, "OK")
    assert gateway.process.wait(10) == 0
    alice.expect_silence(0.2, lambda m: m.is_request)
    bob.expect_silence(0.2, lambda m: m.is_request and m.method == "BYE")
    gateway.start()
    live = gateway.calls()
    assert len(live) == 1
    streams = gateway.api(f"/v1/calls/{live[0]['id']}")["streams"]
    assert streams[0]["a"]["packets"] == streams[0]["b"]["packets"] == 50
    hang_up(a, b)
    gateway.wait_no_calls()
    assert sorted(record["cause"] for record in records(gateway)) == ["hangup", "normal"]


# ---- rows that cannot be resumed


def spoil(gateway, change):
    """The live row, changed while the gateway is down."""
    (id_, state), = rows(gateway).items()
    change(state)
    text = json.dumps(state).replace("'", "''")
    gateway.database(f"UPDATE live SET state = '{text}' WHERE id = '{id_}'")


def first_side(state, side="a"):
    return state["streams"][0][3 if side == "a" else 4]


SPOILT = {
    "port outside the pool": lambda s: first_side(s).__setitem__(0, "192.0.2.1:5060"),
    "odd port": lambda s: first_side(s).__setitem__(0, "192.0.2.1:20001"),
    "address of somebody else": lambda s: first_side(s).__setitem__(0, "192.0.2.10:20000"),
    "address of the other side": lambda s: first_side(s).__setitem__(0, first_side(s, "b")[0]),
    "latched to the gateway": lambda s: first_side(s).__setitem__(3, "192.0.2.1:5060"),
    "listener of somebody else": lambda s: s["a"].__setitem__("at", "192.0.2.99:5060"),
    "sends to itself": lambda s: s["b"].__setitem__("to", "198.51.100.1:5060"),
    "sends to a group": lambda s: s["b"].__setitem__("to", "224.0.0.1:5060"),
    "same tag twice": lambda s: s["b"].__setitem__("local_tag", s["a"]["local_tag"]),
    "another line in a header": lambda s: s["b"].__setitem__("local", "<sip:x@y>\r\nX: y"),
    "newer version": lambda s: s.__setitem__("format", 3),
    "unknown member": lambda s: s.__setitem__("surprise", 1),
    "no streams": lambda s: s.pop("streams"),
    "unknown realm": lambda s: s["a"].__setitem__("realm", "nowhere"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_rows_that_no_call_has(gateway, alice, bob, network, what):
    """The gateway starts all the same, with a record in place of the call, and serves new calls."""
    a, b, *_ = establish(alice, bob)
    wait_rows(gateway)
    gateway.kill()
    spoil(gateway, SPOILT[what])
    gateway.start()
    assert not gateway.calls()
    record = gateway.cdr()
    assert (record["cause"], record["ended_by"]) == ("restart", "gateway")
    eventually(lambda: not rows(gateway), what="the end of the row")
    eventually(lambda: gateway.pairs_used() == 0, what="the release of all media ports")
    assert alice.wait_response(a.request("INFO")).status == 481
    agree_to_byes(alice, bob)  # whoever could be told was told
    hang_up(*establish(alice, bob)[:2])


def test_a_realm_is_gone(gateway, alice, bob, network):
    """Bob's side is still there: he gets a BYE."""
    establish(alice, bob)
    wait_rows(gateway)
    gateway.kill()
    text = json.dumps(gateway.config).replace('"outer"', '"elsewhere"')
    gateway.config = json.loads(text)
    gateway.start()
    bye = bob.wait_request("BYE")
    assert "Restart" in bye.get("Reason")
    bob.reply(bye, 200, "OK")
    alice.expect_silence(0.2)
    record = gateway.cdr()
    assert (record["cause"], record["status"]) == ("restart", 200)
    assert record["legs"]["a"]["realm"] == "outer" and record["legs"]["b"]["realm"] == "inner"
    assert record["duration_ms"] >= 0 and "realm" in record["decision"][-1]["text"]


def test_a_port_is_taken(gateway, alice, bob, network):
    """Somebody else has the media port now: both sides get a BYE."""
    a, b, for_a, _ = establish(alice, bob)
    wait_rows(gateway)
    gateway.kill()
    thief = network.gateway.socket(socket.AF_INET)
    thief.bind((network.OUTER, for_a[0]["port"]))
    gateway.start()
    a.answer_bye()
    b.answer_bye()
    thief.close()
    assert gateway.cdr()["cause"] == "restart"
    eventually(lambda: gateway.pairs_used() == 0, what="the release of all media ports")


# ---- kill -9 at every step

# Point: calls that may be up after the restart, records that may be there. A name with "+" ends the process only after that turn's
# messages have left.
ANSWERING = {"invite-received": ({0}, {0}), "ports-taken": ({0}, {0}), "invite-sent": ({0}, {0}), "invite-sent+": ({0}, {0}),
             "answer-received": ({0}, {0}), "media-applied": ({0}, {0}), "answer-sent": ({0}, {0}),
             "answer-sent+": ({0, 1}, {0}), "live-row-queued": ({0, 1}, {0}), "live-row-queued+": ({0, 1}, {0}),
             "up": ({0, 1}, {0}), "up+": ({0, 1}, {0})}
CHANGING = {"request-received": ({1}, {0}), "request-received+": ({1}, {0}), "request-answered": ({1}, {0}),
            "live-row-queued:2": ({1}, {0}), "live-row-queued+:2": ({1}, {0})}
ENDING = {"bye-received": ({1}, {0}), "cdr-queued": ({0, 1}, {0, 1}), "cdr-queued+": ({0, 1}, {0, 1}),
          "media-closed": ({0, 1}, {0, 1}), "media-closed+": ({0, 1}, {0, 1}), "cdr-committed": ({0}, {1}),
          "cdr-durable": ({0}, {1}), "cdr-durable+": ({0}, {1})}


def is_dead(gateway):
    return gateway.process.poll() is not None


def steps_of(alice, bob):
    """A whole call, one step at a time; a step that gets no answer returns after a moment."""
    a = alice.invite(uri(alice, "1000"), offer_of(alice))
    yield a, None
    b = bob.take_call(0.5)
    b.reply(180, "Ringing")
    b.reply(200, "OK", answer_of(bob))
    yield a, b
    b.wait_ack(0.5)
    a.wait_status(200, timeout=0.5)
    a.ack()
    yield a, b
    time.sleep(0.15)  # so that the row is durable before anything else
    alice.request("OPTIONS", uri(alice, "1000"))
    request = a.request("INVITE", offer_of(alice, version=2))
    yield a, b
    at_bob = b.wait_request("INVITE", 0.5)
    bob.reply(at_bob, 200, "OK", answer_of(bob, version=2))
    yield a, b
    b.wait_ack(0.5)
    a.wait_status(200, timeout=0.5)
    a.ack(request=request)
    yield a, b
    time.sleep(0.15)
    a.bye()
    yield a, b
    b.answer_bye(0.5)
    a.wait_status(200, "BYE", timeout=0.5)
    yield a, b


def run_into(gateway, alice, bob):
    """Runs a call until the gateway dies in it; the ends that the two sides have seen."""
    reached = (None, None)
    steps = steps_of(alice, bob)
    while not is_dead(gateway):
        try:
            reached = next(steps)
        except (AssertionError, StopIteration):
            break
        time.sleep(0.05)
    eventually(lambda: is_dead(gateway), 3, "the end of the gateway at the point")
    assert gateway.process.returncode == -signal.SIGKILL
    return reached


def has_heard(a):
    """Whether the answer reached the caller, perhaps in the gateway's last moment. Else only the callee knows the dialog."""
    with contextlib.suppress(AssertionError):
        a.wait_status(200, timeout=0.05)
    return a.answer_response is not None


def agree_to_byes(*endpoints):
    """Answers every BYE that has come or comes in a moment."""
    for endpoint in endpoints:
        while True:
            try:
                endpoint.reply(endpoint.wait_request("BYE", 0.02), 200, "OK")
            except AssertionError:
                break
    return True


@pytest.mark.skipif(not has_crash_points(), reason="needs a build with --enable-crash-points")
@pytest.mark.parametrize("point", [*ANSWERING, *CHANGING, *ENDING])
def test_killed_at(start_gateway, alice, bob, network, point):
    """Database, API, ports and sockets agree after the restart; BYE gets a proper answer; one record per call that was up."""
    live_ok, records_ok = {**ANSWERING, **CHANGING, **ENDING}[point]
    gateway = start_gateway(POSTERN_STOP_AT=point)
    a, b = run_into(gateway, alice, bob)
    gateway.start()
    live = assert_agreement(gateway, network)
    made = records(gateway)
    assert len(live) in live_ok and len(made) in records_ok and len(live) + len(made) <= 1, (live, made)
    assert point not in ENDING or live or made
    if b is not None:
        by = a if live and has_heard(a) else b
        assert by.endpoint.wait_response(by.bye()).status == (200 if live else 481)
    eventually(lambda: agree_to_byes(alice, bob) and not gateway.calls(), what="the end of the call")
    eventually(lambda: gateway.pairs_used() == 0 and not rows(gateway), what="the release of everything")
    ended = records(gateway)
    assert len(ended) == (1 if live or made else 0) and all(record["duration_ms"] >= 0 for record in ended)
    for endpoint in (alice, bob):
        endpoint.inbox.clear()
    hang_up(*establish(alice, bob)[:2])
