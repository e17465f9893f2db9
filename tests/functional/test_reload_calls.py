"""The configuration file is read again while calls are up."""
import json

import pytest

from flows import answer, dial, establish, hang_up
from reloads import WAYS, reload, write


def test_log_level(network, start_gateway):
    gateway = start_gateway({"log": {"level": "error", "format": "text"}})
    write(gateway, {"log": {"level": "info", "format": "json"}})
    said = reload(gateway, "signal")
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert any("reloaded" in str(line) for line in lines), said


@pytest.mark.parametrize("way", WAYS)
def test_call_goes_on(start_gateway, alice, bob, endpoint, network, way):
    """The peer of a call goes while it is up; its BYE finds the way, and the next call another one."""
    gateway = start_gateway()
    a, b, _, _ = establish(alice, bob)
    gateway.config["peers"].pop("pbx")
    gateway.config["peers"].pop("pair")
    write(gateway, {"peers": {"new": {"realm": "inner", "uri": f"sip:{network.OTHER_CALLEE}:5060"}},
                    "routes": [{"name": "to-new", "from": "outer", "prefix": "1", "to": "new"}]})
    reload(gateway, way)
    assert len(gateway.calls()) == 1
    carol = endpoint("callee", network.OTHER_CALLEE, "carol")
    carol.proxy = (network.INNER, 5060)
    second = dial(alice, carol)
    answer(*second)
    peers = {one["name"]: one["calls_total"] for one in gateway.api("/v1/peers")["items"]}
    assert peers == {"pbx6": 0, "carrier": 0, "new": 1}
    hang_up(b, a)
    hang_up(*second)
    gateway.wait_no_calls()
    records = gateway.api("/v1/cdrs")["items"]
    assert {record["legs"]["b"]["peer"] for record in records} == {"pbx", "new"}
    assert all(record["status"] == 200 for record in records)


def test_calls_over_reloads(start_gateway, sipp, network):
    """Calls begin, are up and end while the routes that they take come and go under other names."""
    gateway = start_gateway()
    calls = 60
    callee = sipp("callee", "uas", calls=calls)
    caller = sipp("caller", "uac", "-r", 20, "-s", "1000", f"{network.OUTER}:5060", calls=calls)
    turns = 0
    while caller.process.poll() is None and turns < 200:
        turns += 1
        name = f"pbx-{turns}"
        gateway.config["peers"] = {name: {"realm": "inner", "uri": f"sip:{network.CALLEE}:5060"}}
        write(gateway, {"routes": [{"from": "outer", "prefix": "1", "to": name}]})
        reload(gateway, WAYS[turns % 3])
    caller.finish()
    callee.finish()
    gateway.wait_no_calls()
    assert turns > 3
    records = gateway.api(f"/v1/cdrs?limit={calls + 1}")["items"]
    assert len(records) == calls and {record["status"] for record in records} == {200}
    assert len({record["config_revision"] for record in records}) > 3
