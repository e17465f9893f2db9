"""Many calls at once, made and answered by SIPp."""
import pytest


@pytest.mark.parametrize("flow,calls,rate", [
    ("", 50, 25), ("_hold", 20, 10), ("_cancel", 20, 10), ("_busy", 30, 15),
], ids=["answered", "hold-and-resume", "cancelled", "busy"])
def test_calls_in_parallel(gateway, sipp, network, flow, calls, rate):
    callee = sipp("callee", "uas" + flow, calls=calls)
    caller = sipp("caller", "uac" + flow, "-r", rate, "-s", "1000", f"{network.OUTER}:5060", calls=calls)
    caller.finish()
    callee.finish()
    gateway.wait_no_calls()
    records = gateway.api(f"/v1/cdrs?limit={calls + 1}")["items"]
    assert len(records) == calls
    expected = {"": 200, "_hold": 200, "_cancel": 487, "_busy": 486}[flow]
    assert {record["status"] for record in records} == {expected}


def test_options_in_parallel(gateway, sipp, network):
    sipp("caller", "options", "-r", 50, "-s", "ping", f"{network.OUTER}:5060", calls=100).finish()
    assert not gateway.calls()


def test_sipp_meets_sipp(network, sipp):
    """The scenarios themselves, without a gateway between: over loopback of one namespace."""
    for flow in ("", "_hold", "_cancel", "_busy"):
        callee = sipp("callee", "uas" + flow, calls=3)
        caller = sipp("callee", "uac" + flow, "-p", 5070, "-s", "1000", f"{network.CALLEE}:5060", calls=3)
        caller.finish()
        callee.finish()
