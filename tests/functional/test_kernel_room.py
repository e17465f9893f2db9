"""Media that must get into the kernel (media.paths without relay): what happens to calls when there is no room, or no helper."""
import os
import signal

from flows import (again, answer, answer_of, assert_all_came, assert_clean, audio, dial, establish, fail_with, hang_up, offer_of,
                   settle, uri)
from harness import eventually, hostport
from lanes import kernel_network as network, lane, pinholes, wait_path  # noqa: F401
from sipcall import media_of, sdp

STREAMS = 4  # of one call; two calls with two streams each are what the table is made for


def many_streams(host, port):
    return sdp(host, *(f"audio {port + 2 * i} RTP/AVP 0" for i in range(STREAMS)))


def fill(gateway, network, alice, bob, rtp_streams):
    """A call that takes all pinholes: its two sides, and what sends its media."""
    a, b = dial(alice, bob, offer=many_streams(alice.host, 4000))
    for_a, for_b = media_of(answer(a, b, many_streams(bob.host, 6000)).sdp), media_of(b.offer)
    settle(alice)
    both = [rtp_streams(side, [(hostport(host, port + 2 * i), hostport(m["address"], m["port"]), i, i)
                               for i, m in enumerate(media)], pps=50)
            for side, host, port, media in (("caller", network.CALLER, 4000, for_a), ("callee", network.CALLEE, 6000, for_b))]
    for endpoint in both:
        endpoint.start()
    wait_path(gateway, network.path, 2 * STREAMS)
    return a, b, both


def assert_refused(gateway, alice, n):
    """The n-th call that is refused: to the caller, in its record, in the metrics, to probes, and as an alarm."""
    call = alice.invite(uri(alice, "1000"), offer_of(alice, 4100))
    assert int(fail_with(call, 503).get("Retry-After")) > 0
    eventually(lambda: [r["status"] for r in gateway.api("/v1/cdrs")["items"] if r["cause"] == "no-pinholes"] == [503] * n,
               what="its record")
    assert gateway.metric("postern_calls_without_pinholes_total") == n
    status, ready = gateway.raw("GET", "/readyz?verbose")
    failing = {check["name"]: check["detail"] for check in ready["checks"] if check["status"] == "failing"}
    assert status == 503 and list(failing) == ["kernel_media"] and "refused" in failing["kernel_media"], ready
    eventually(lambda: alarms(gateway, "raised"), what="the alarm")


def alarms(gateway, what):
    return [line for line in gateway.log.read_text().splitlines() if f'alarm "{what}"' in line and "no-pinholes" in line]


def finish_media(both):
    for endpoint in both:
        endpoint.stop()
    for receiver, sender in (both, both[::-1]):
        assert_all_came(receiver, sender)


def test_full(lane, network, alice, bob, rtp_streams, rtp):
    """The call that is up loses nothing, the next one is refused; and once there is room, its like passes."""
    gateway = lane({"limits": {"max_calls": 2}, "media": {"paths": [network.path]}})
    a, b, both = fill(gateway, network, alice, bob, rtp_streams)
    assert len(pinholes(gateway)) == 2 * STREAMS
    assert_refused(gateway, alice, 1)
    assert_refused(gateway, alice, 2)
    wait_path(gateway, network.path, 2 * STREAMS)
    finish_media(both)
    hang_up(a, b)
    gateway.wait_no_calls()
    eventually(lambda: gateway.raw("GET", "/readyz")[0] == 200, what="readiness")
    eventually(lambda: alarms(gateway, "cleared"), what="the end of the alarm")
    a, b, for_a, for_b = establish(alice, bob, offer=offer_of(alice, 4200), body=answer_of(bob, 6200))
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], ports=(4200, 6200), pps=50)
    wait_path(gateway, network.path)
    again(one, two, count=100)
    assert_clean(one, 100, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 100, hostport(network.INNER, for_b[0]["port"]))
    hang_up(a, b)
    gateway.wait_no_calls()


def test_helper_is_gone(lane, network, alice, bob, rtp_streams):
    gateway = lane({"media": {"paths": [network.path]}})
    a, b, both = fill(gateway, network, alice, bob, rtp_streams)
    for pid in gateway.helpers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: gateway.raw("GET", "/readyz")[0] == 503, what="the end of readiness")
    assert_refused(gateway, alice, 1)
    finish_media(both)
    hang_up(a, b)
    gateway.wait_no_calls()


def test_no_way(start_gateway, network, alice, bob):
    """Started without a helper, as an ordinary user: probes say no, and a call hears it at once."""
    gateway = start_gateway({"media": {"paths": [network.path]}}, ("--helper", "none"), probe="/livez")
    assert_refused(gateway, alice, 1)
    bob.expect_silence(0.1)
