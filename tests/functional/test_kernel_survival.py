"""Media in the kernel outlives the processes that put it there."""
import os
import signal
import time
from pathlib import Path

from flows import assert_all_came, establish_many, lines_of
from harness import eventually
from lanes import hang_up_all, kernel_network as network, lane, pinholes, summary, wait_path  # noqa: F401

CALLS, PPS = 10, 50


def start_media(alice, bob, rtp_streams, made, seconds):
    lines = lines_of(alice, bob, made)
    both = [rtp_streams(side, lines[i], pps=PPS, count=PPS * seconds) for i, side in enumerate(("caller", "callee"))]
    for endpoint in both:
        endpoint.start()
    return both


def assert_nothing_was_lost(both, seconds):
    for endpoint in both:
        endpoint.wait_sent(CALLS * PPS * seconds)
    for receiver, sender in (both, both[::-1]):
        assert_all_came(receiver, sender)


def test_helper_dies(lane, network, alice, bob, rtp_streams):
    """Its worker comes back by itself and finds everything as it was."""
    gateway = lane()
    made = establish_many(alice, bob, CALLS)
    both = start_media(alice, bob, rtp_streams, made, 3)
    wait_path(gateway, network.path, 2 * CALLS)
    before = {pinhole["id"] for pinhole in pinholes(gateway)}
    starts = summary(gateway)["helper_starts"]
    os.kill(gateway.helpers()[-1], signal.SIGKILL)
    eventually(lambda: summary(gateway)["helper_starts"] == starts + 1, what="another start of the helper")
    eventually(lambda: {p["id"] for p in pinholes(gateway) if p["state"] == "bound"} == before, what="the same pinholes")
    assert_nothing_was_lost(both, 3)
    assert summary(gateway)["lost"] == 0
    hang_up_all(gateway, made)


def test_everything_dies(lane, network, alice, bob, rtp_streams):
    """kill -9 of all processes at once: not one packet is lost, the calls are there again, end well from either side, and
    their records count every packet."""
    gateway = lane()
    made = establish_many(alice, bob, CALLS)
    both = start_media(alice, bob, rtp_streams, made, 6)
    wait_path(gateway, network.path, 2 * CALLS)
    before = {call["id"] for call in gateway.calls()}
    time.sleep(1.5)  # what moved is stored once a second; killed earlier, a stream is taken back to the relay and moves again
    for pid in gateway.helpers():
        os.kill(pid, signal.SIGKILL)
    gateway.kill()
    time.sleep(0.5)
    gateway.start()
    assert {call["id"] for call in gateway.calls()} == before
    wait_path(gateway, network.path, 2 * CALLS, timeout=10)
    assert_nothing_was_lost(both, 6)
    assert len(pinholes(gateway)) == 2 * CALLS and summary(gateway)["orphans"] == 0
    hang_up_all(gateway, [(b, a) if i % 2 else (a, b) for i, (a, b, *_) in enumerate(made)])
    records = eventually(lambda: len(gateway.api("/v1/cdrs")["items"]) == CALLS and gateway.api("/v1/cdrs")["items"])
    assert {record["id"] for record in records} == before
    for record in records:
        assert record["cause"] == "normal" and record["duration_ms"] > 3000
        assert [s["path"] for s in record["streams"]] == [network.path] * 2
        if network.path != "conntrack":  # where the two directions begin to be counted one after the other
            assert [s["packets"] for s in record["streams"]] == [PPS * 6] * 2


def test_all_of_the_helper_dies(lane, network, alice, bob, rtp_streams):
    """Nobody starts the helper again; media flows all the same."""
    gateway = lane()
    made = establish_many(alice, bob, CALLS)
    both = start_media(alice, bob, rtp_streams, made, 3)
    wait_path(gateway, network.path, 2 * CALLS)
    for pid in gateway.helpers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not summary(gateway)["has_helper"], what="the end of the helper")
    assert_nothing_was_lost(both, 3)
    for a, b, *_ in made:
        a.bye()
        b.answer_bye()
        a.wait_status(200, "BYE")
    gateway.wait_no_calls()


def test_supervisor_dies(lane, network, alice, bob, rtp_streams):
    """Its worker serves on: new media gets into the kernel, and an alarm says that the worker is the last one."""
    gateway = lane()
    supervisor, worker = gateway.helpers()
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: "pinhole-supervisor" in gateway.log.read_text(), what="the alarm")
    assert summary(gateway)["has_helper"]
    made = establish_many(alice, bob, CALLS)
    both = start_media(alice, bob, rtp_streams, made, 3)
    wait_path(gateway, network.path, 2 * CALLS)
    assert_nothing_was_lost(both, 3)
    hang_up_all(gateway, made)
    gateway.finish()
    eventually(lambda: not is_running(worker), what="the end of the worker")


def is_running(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
