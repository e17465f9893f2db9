"""Media in the kernel over kill -9 of the gateway: not one packet is lost, and the next process takes over what is there."""
import time

import pytest

from flows import answer_of, establish, hang_up, offer_of, reinvite
from harness import eventually, has_crash_points
from lanes import kernel_network as network, lane, wait_usable  # noqa: F401  (fixtures)

CALLS = 5


def pinholes(gateway):
    return {hole["id"]: hole for hole in gateway.api("/v1/pinholes")["items"]}


def in_kernel(gateway, path, n):
    """A conntrack entry carries both directions, and may do so before the second one has asked for it."""
    least = n // 2 if path == "conntrack" else n

    def check():
        found = pinholes(gateway)
        is_all = len(found) >= least and all(hole["path"] == path and hole["packets"] > 0 for hole in found.values())
        return found if is_all else None
    return eventually(check, 15, f"{n} pinholes that carry packets")


def stop_all(streams):
    for stream in streams:
        stream.tell("stop")
    time.sleep(0.3)


def check_counters(gateway, streams):
    """What both processes and the kernel counted is what arrived."""
    detail = [gateway.api(f"/v1/calls/{call['id']}") for call in gateway.calls()]
    packets = sum(call["streams"][0][side]["packets"] for call in detail for side in "ab")
    assert packets == sum(stream.report()["received"] for stream in streams)


@pytest.fixture
def media(rtp, network):  # noqa: F811
    """Both ends of a call's audio, sending until told to stop."""
    def start(i, for_a, for_b):
        one = rtp("caller", network.CALLER, 4000 + 10 * i, 2 * i + 1, expect=2 * i + 2, pps=50).to(for_a[0])
        two = rtp("callee", network.CALLEE, 6000 + 10 * i, 2 * i + 2, expect=2 * i + 1, pps=50).to(for_b[0])
        return one.start(), two.start()
    return start


def test_no_packet_is_lost(lane, network, alice, bob, media):  # noqa: F811
    gateway = lane()
    calls = [establish(alice, bob, offer=offer_of(alice, 4000 + 10 * i), body=answer_of(bob, 6000 + 10 * i)) for i in range(CALLS)]
    pairs = [media(i, for_a, for_b) for i, (_, _, for_a, for_b) in enumerate(calls)]
    streams = [stream for pair in pairs for stream in pair]
    before = in_kernel(gateway, network.path, 2 * CALLS)
    time.sleep(1)  # the rows with what has moved
    heard = [stream.report()["received"] for stream in streams]
    gateway.kill()
    time.sleep(3)
    flowed = [stream.report()["received"] - n for stream, n in zip(streams, heard)]
    assert all(n >= 100 for n in flowed), flowed
    gateway.start()
    assert len(gateway.calls()) == CALLS

    def is_taken_over():
        found = pinholes(gateway)
        return set(found) >= set(before) and all(found[id_]["packets"] >= hole["packets"] + 100 for id_, hole in before.items())

    eventually(is_taken_over, 10, "the same pinholes, with their counters")
    time.sleep(6)  # what nobody opened again would be removed now
    assert is_taken_over() and len(pinholes(gateway)) == 2 * CALLS
    stop_all(streams)
    for stream, name in zip(streams, before):
        report = stream.report()
        assert (report["lost"], report["duplicated"], report["reordered"], report["foreign"]) == (0, 0, 0, 0), (name, report)
    if network.path != "conntrack":
        check_counters(gateway, streams)
    a, b, *_ = calls[0]
    reinvite(a, b, offer_of(alice, 4000, version=2), answer_of(bob, 6000, version=2))
    for a, b, *_ in calls:
        hang_up(a, b)
    gateway.wait_no_calls()
    eventually(lambda: not pinholes(gateway), what="the end of all pinholes")
    assert all(record["cause"] == "normal" for record in gateway.api("/v1/cdrs")["items"])


def test_call_that_ends_while_nobody_is_there(lane, network, alice, bob, media):  # noqa: F811
    """Its pinholes go with the record that the next process writes."""
    gateway = lane()
    a, b, for_a, for_b = establish(alice, bob)
    streams = media(0, for_a, for_b)
    in_kernel(gateway, network.path, 2)
    time.sleep(1)
    gateway.kill()
    stop_all(streams)
    bye = a.bye()
    gateway.start()
    alice.send(bye, a.peer)
    b.answer_bye()
    assert alice.wait_response(bye).status == 200
    gateway.wait_no_calls()
    eventually(lambda: not pinholes(gateway), what="the end of the pinholes")
    record = gateway.cdr()
    assert record["streams"][0]["packets"] > 0 and record["streams"][0]["lost"] == 0


@pytest.mark.skipif(not has_crash_points(), reason="needs a build with --enable-crash-points")
@pytest.mark.parametrize("point", ["pinhole-asked", "pinhole-asked+", "media-moved", "media-moved:2", "bye-received", "cdr-queued",
                                   "media-closed", "media-closed+", "cdr-committed", "cdr-durable"])
def test_killed_at(network, start_gateway, alice, bob, media, point):  # noqa: F811
    """After a restart the kernel holds the pinholes of calls that are up, and no others."""
    gateway = start_gateway(POSTERN_STOP_AT=point)
    wait_usable(gateway, network.path)
    a, b, for_a, for_b = establish(alice, bob)
    streams = media(0, for_a, for_b)
    if not point.startswith(("pinhole", "media-moved")):
        in_kernel(gateway, network.path, 2)
        time.sleep(1)
        a.bye()
    eventually(lambda: gateway.process.poll() is not None, 10, "the end of the gateway at the point")
    gateway.start()
    wait_usable(gateway, network.path)
    live = gateway.calls()
    if live:
        in_kernel(gateway, network.path, 2)
        assert alice.wait_response(a.bye()).status == 200
    eventually(lambda: answers_byes(gateway, bob), what="the end of the call")
    stop_all(streams)

    def is_clean():
        status, report = gateway.raw("GET", "/v1/pinholes")
        return status == 200 and not report["items"] and kernel_is_empty(network)
    eventually(is_clean, 15, "a kernel without pinholes")
    records = eventually(lambda: gateway.api("/v1/cdrs")["items"], what="the record")
    assert len(records) == 1


def answers_byes(gateway, bob):
    """The process before may have sent a BYE of its own. Returns whether the call is over."""
    bob.expect_silence(0.05, lambda m: False)
    for bye in [m for m in bob.inbox if m.is_request and m.method == "BYE"]:
        bob.inbox.remove(bye)
        bob.reply(bye, 200, "OK")
    return not gateway.calls()


def kernel_is_empty(network):  # noqa: F811
    """No entry that sends media on. (Flows of BPF are not visible from here, the API lists them.)"""
    return network.path != "conntrack" or not network.gateway.run("conntrack", "-L", "-p", "udp", "--dst-nat").strip()
