"""Media over each path: the same promises, whoever carries the packets."""
import statistics
import subprocess
import time

import pytest

from flows import (A_PORT, B_PORT, again, assert_all_came, assert_clean, audio, establish, establish_many, hang_up, lines_of)
from harness import BUILD, eventually, hostport
from lanes import gateway, hang_up_all, keeper, network, pinholes, sides, wait_path  # noqa: F401


def postern(gateway, *words):
    return subprocess.run([BUILD / "postern", *words, "--socket", gateway.socket], capture_output=True, text=True,
                          timeout=20, check=True).stdout


def test_audio_both_ways(gateway, network, alice, bob, rtp):
    """Complete, rewritten, over the path of this round; and everything that shows paths shows it."""
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50)
    wait_path(gateway, network.path)
    again(one, two, count=100)
    assert_clean(one, 100, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 100, hostport(network.INNER, for_b[0]["port"]))
    eventually(lambda: [side["packets"] for side in sides(gateway)] == [100, 100], what="both counters")
    call = gateway.call()
    shown = postern(gateway, "show", "call", call["id"])
    for side in sides(gateway):
        assert side["path"] == network.path and side["path_reason"] in shown
        assert side["bytes"] == 100 * 172 and side["lost"] == side["reordered"] == 0
        assert side["last_packet_age_ms"] < 5000
    assert_pinholes(gateway, network, call["id"], for_a[0]["port"], for_b[0]["port"])
    hang_up(a, b)
    gateway.wait_no_calls()
    eventually(lambda: not pinholes(gateway), what="the end of all pinholes")
    record = gateway.api(f"/v1/cdrs/{call['id']}")
    assert [(s["path"], s["packets"]) for s in record["streams"]] == [(network.path, 100)] * 2


def assert_pinholes(gateway, network, call, port_a, port_b):
    found = pinholes(gateway, f"?owner={call}")
    if network.path == "relay":
        assert not found
        return
    outer, inner = hostport(network.OUTER, port_a), hostport(network.INNER, port_b)
    caller, callee = hostport(network.CALLER, A_PORT), hostport(network.CALLEE, B_PORT)
    tuples = {(p["realm_in"], p["source"], p["listen"], p["from"], p["target"], p["realm_out"]) for p in found}
    assert tuples == {("outer", caller, outer, inner, callee, "inner"), ("inner", callee, inner, outer, caller, "outer")}
    for pinhole in found:
        assert (pinhole["path"], pinhole["state"], pinhole["owner"]) == (network.path, "bound", call)
        assert pinhole["in_kernel"] and pinhole["packets"] > 0 and pinhole["is_active"]
        assert pinhole["has_rtp"] == (network.path != "conntrack")
    assert outer in postern(gateway, "show", "pinholes", call)
    assert not pinholes(gateway, "?owner=nobody")
    assert len(pinholes(gateway, f"?path={network.path}&realm=outer")) == 2


def hand_over(gateway, network, alice, bob, rtp_streams, n, *, may_reorder=0, pps, count):
    made = establish_many(alice, bob, n)
    lines = lines_of(alice, bob, made)
    one, two = (rtp_streams(side, lines[i], pps=pps, count=count, brief=True) for i, side in enumerate(("caller", "callee")))
    again(one, two, count=n * count)
    wait_path(gateway, network.path, 2 * n)
    assert_all_came(one, two, may_reorder)
    assert_all_came(two, one, may_reorder)
    hang_up_all(gateway, made)


def test_hand_over(gateway, network, alice, bob, rtp_streams):
    """Streams move while they flow: nothing is lost, doubled or overtaken. Only conntrack cannot wait for a pause: when the
    relay is late, the first packets on the new way may overtake the last on the old one."""
    may_reorder = 200 if network.path == "conntrack" else 0
    hand_over(gateway, network, alice, bob, rtp_streams, 100, may_reorder=may_reorder, pps=50, count=80)


def test_hand_over_without_pauses(gateway, network, alice, bob, rtp_streams):
    """With a packet every 2 ms there is no pause in which to move. A stream then moves all the same after a second, and the
    first packet on the new way may overtake the last on the old one."""
    if network.path != "relay":
        hand_over(gateway, network, alice, bob, rtp_streams, 8, may_reorder=16, pps=500, count=1000)


def test_statistics(gateway, network, alice, bob, rtp):
    """Jitter and loss as the gateway counts them are what the receiver counts. Packets come twice as fast as their timestamps
    say, which is a jitter of 10 ms; then one of three is lost on the way to the gateway. Both ends are asked while nothing
    flows: they have seen the same then."""
    a, b, for_a, for_b = establish(alice, bob)
    one = rtp("caller", network.CALLER, A_PORT, 1, expect=2, count=400, pps=100).to(for_a[0])
    two = rtp("callee", network.CALLEE, B_PORT, 2, expect=1, count=400, pps=100, kernel_time=True).to(for_b[0])
    one.start()
    two.start()
    wait_path(gateway, network.path)
    ratios = []
    for n in range(100, 200, 20) if network.path != "conntrack" else ():  # which does not look into packets
        one.wait_sent(n)
        one.stop()
        came, side = rest(gateway, two)
        ratios.append(side["jitter_us"] / came["timing_us"])
        one.start()
    with network.losing("caller", for_a[0]["port"], 3):
        one.wait_sent(400)
        came, side = rest(gateway, two)
    assert side["packets"] == came["received"], (side, came)
    assert came["foreign"] == 0
    assert came["lost"] > 20
    if network.path == "conntrack":
        assert side["jitter_us"] == 0
    else:
        # The relay reads several packets at a time, so its clock is a little coarser.
        assert statistics.median(ratios) == pytest.approx(1, rel=0.1 if network.path == "relay" else 0.01), ratios
        assert abs(side["lost"] - came["lost"]) <= max(1, came["lost"] // 100)
    hang_up(a, b)


def rest(gateway, receiver):
    """What the receiver and the gateway have counted of the caller's packets, once neither counts any more."""
    before, counted = None, ()
    while before != counted:
        time.sleep(0.2 if gateway.network.path != "conntrack" else 1.2)  # whose counters are read once a second
        came, side = receiver.report(), sides(gateway)[0]
        before, counted = counted, (came["received"], side["packets"])
    return came, side
