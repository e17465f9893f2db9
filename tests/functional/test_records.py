"""What operators see: live calls, records, the message ladder, hanging up, draining."""
import signal

import pytest

from flows import answer_of, dial, establish, fail_with, hang_up, offer_of, refuse, uri
from harness import eventually
from sipcall import media_of


def test_answered_call(gateway, alice, bob, network):
    a, b, for_a, for_b = establish(alice, bob)
    call = gateway.call()
    assert call["state"] == "answered" and call["status"] == 200 and call["to_peer"] == "pbx"
    assert call["legs"]["a"]["call_id"] == a.call_id and call["legs"]["b"]["call_id"] == b.call_id
    assert call["legs"]["a"]["remote"] == f"{network.CALLER}:5060"
    assert media_of(call["legs"]["b"]["sdp_sent"])[0]["port"] == for_b[0]["port"]
    assert any(step["rule"] == "to-pbx" for step in call["decision"])
    hang_up(a, b)
    record = gateway.cdr()
    assert record["id"] == call["id"] and record["node"] == "test-edge"
    assert (record["status"], record["ended_by"], record["cause"]) == (200, "caller", "normal")
    assert record["ringing_at"] <= record["answered_at"] <= record["ended_at"]
    assert record["duration_ms"] >= 0 and record["setup_ms"] >= 0
    assert record["legs"]["b"]["peer"] == "pbx" and record["legs"]["b"]["call_id"] == b.call_id
    assert {(s["index"], s["side"]) for s in record["streams"]} == {(0, "a"), (0, "b")}
    assert gateway.api(f"/v1/cdrs/{record['id']}") == record


def test_ladder_of_a_failed_call(gateway, alice, bob):
    """An operator finds the messages of a call that failed a moment ago, and why it went where it did."""
    a, b = dial(alice, bob)
    refuse(b, 486, "Busy Here")
    fail_with(a, 486)
    gateway.wait_no_calls()
    listed = eventually(lambda: gateway.calls("?state=ended"), what="the ended call")
    call = gateway.api(f"/v1/calls/{listed[0]['id']}")
    ladder = [(m["leg"], m["direction"], m["text"].split("\r\n")[0]) for m in call["messages"]]
    assert ladder[0] == ("a", "in", f"INVITE {uri(alice, '1000')} SIP/2.0")
    assert any(leg == "b" and way == "out" and text.startswith("INVITE ") for leg, way, text in ladder)
    assert ("b", "in", "SIP/2.0 486 Busy Here") in ladder
    assert any(leg == "a" and way == "out" and text.startswith("SIP/2.0 486") for leg, way, text in ladder)
    assert any(leg == "b" and way == "out" and text.startswith("ACK ") for leg, way, text in ladder)
    assert call["messages_lost"] == 0 and call["cause"] == "rejected"


def test_operator_hangs_up(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    gateway.api(f"/v1/calls/{gateway.calls()[0]['id']}", "DELETE", 204)
    a.answer_bye()
    b.answer_bye()
    gateway.wait_no_calls()
    record = gateway.cdr()
    assert (record["ended_by"], record["cause"]) == ("operator", "hangup")
    gateway.api(f"/v1/calls/{record['id']}", "DELETE", 404)


def test_operator_ends_a_ringing_call(gateway, alice, bob):
    a, b = dial(alice, bob)
    b.reply(180, "Ringing")
    a.wait_status(180)
    gateway.api(f"/v1/calls/{gateway.calls()[0]['id']}", "DELETE", 204)
    response = alice.wait_response(a.invite_request)
    a.ack_failure(response)
    assert response.status >= 400
    bob.reply(b.wait_request("CANCEL"), 200, "OK")
    refuse(b, 487)
    gateway.wait_no_calls()


@pytest.mark.parametrize("path", ["/v1/calls/nonsense", "/v1/cdrs/nonsense", "/v1/peers/nobody"])
def test_what_is_not_there(gateway, path):
    assert gateway.api(path, status=404)["status"] == 404


def test_resources_follow_the_contract(gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    for path in ("/v1/calls", "/v1/realms", "/v1/peers", "/v1/cdrs", "/v1/realms/outer", "/v1/peers/pbx", "/livez",
                 "/readyz?verbose=true"):
        gateway.api(path)
    hang_up(a, b)


def test_metrics(gateway, alice, bob):
    def shown():
        status, text = gateway.raw("GET", "/metrics")
        assert status == 200
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    a, b, *_ = establish(alice, bob)
    during = shown()
    assert during['postern_calls_active{realm="outer"}'] == "1"
    assert during['postern_calls_active{realm="inner"}'] == "0"
    assert during['postern_calls_total{result="answered"}'] == "1"
    assert during["postern_call_setup_seconds_count"] == "1"
    assert during["postern_config_revision"] == "1"
    assert any(name.startswith("postern_build_info{version=") for name in during)
    hang_up(a, b)
    gateway.cdr()
    after = shown()
    assert after['postern_calls_active{realm="outer"}'] == "0"
    assert after['postern_call_duration_seconds_bucket{le="60"}'] == "1"
    assert after['postern_call_duration_seconds_count'] == "1"
    assert after["postern_cdrs_written_total"] == "1" and after["postern_cdrs_lost_total"] == "0"
    assert int(after["postern_store_commits_total"]) >= 1
    where = 'realm="%s",transport="udp",direction="%s",method="%s"'
    assert after["postern_sip_requests_total{" + where % ("outer", "in", "INVITE") + "}"] == "1"
    assert after["postern_sip_requests_total{" + where % ("inner", "out", "INVITE") + "}"] == "1"
    assert after["postern_sip_requests_total{" + where % ("inner", "out", "ACK") + "}"] == "1"
    assert after['postern_sip_responses_total{realm="inner",direction="in",class="2xx"}'] == "2"
    assert after['postern_sip_parse_errors_total{reason="not-sip"}'] == "0"
    assert int(after["postern_transactions_active"]) > 0
    assert after['postern_media_packets_total{path="relay"}'] == "0"
    assert int(after['postern_media_ports{realm="outer",state="free"}']) > 0
    assert "postern_store_lag_seconds" in after and "postern_loop_lag_seconds" in after


def test_drain(gateway, alice, bob):
    """SIGTERM: new calls are refused, live ones are ended with BYE on both legs, then the process leaves with 0."""
    a, b, *_ = establish(alice, bob)
    gateway.signal(signal.SIGTERM)
    a.answer_bye()
    b.answer_bye()
    gateway.finish()


def test_drain_with_a_ringing_call(gateway, alice, bob):
    a, b = dial(alice, bob)
    b.reply(180, "Ringing")
    a.wait_status(180)
    gateway.signal(signal.SIGTERM)
    response = alice.wait_response(a.invite_request)
    a.ack_failure(response)
    bob.reply(b.wait_request("CANCEL"), 200, "OK")
    refuse(b, 487)
    gateway.finish()


def test_records_survive_a_restart(start_gateway, alice, bob):
    gateway = start_gateway()
    a, b, *_ = establish(alice, bob)
    hang_up(a, b)
    record = gateway.cdr()
    gateway.finish()
    again = start_gateway()
    assert again.cdr() == record


def test_two_calls_at_once(gateway, alice, bob):
    """Two calls of the same pair: messages of one never meet the other."""
    first = establish(alice, bob)
    second = establish(alice, bob, offer=offer_of(alice, 4200), body=answer_of(bob, 6200))
    assert first[2][0]["port"] != second[2][0]["port"]
    assert len(gateway.calls()) == 2
    hang_up(first[0], first[1])
    assert [c["call_id"] for c in eventually(lambda: len(gateway.calls()) == 1 and gateway.calls())] == [second[0].call_id]
    hang_up(second[1], second[0])
    gateway.wait_no_calls()
