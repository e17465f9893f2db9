"""The REST API keeps its contract: every resource, in every state that a call can show."""
import json
import subprocess

import pytest

from flows import dial, establish, fail_with, hang_up, refuse
from harness import BUILD, eventually
from openapi_check import Checker


@pytest.fixture
def ask(gateway):
    """ask(path): the checked reply."""
    checker = Checker(gateway.spec)

    def ask_it(path, method="GET", status=200, body=None, headers=None):
        got, reply = gateway.raw(method, path, body, headers)
        assert got == status, f"{method} {path}: {got} {reply}"
        checker.check(method, path, got, reply)
        return reply

    return ask_it


def test_document(gateway):
    spec = gateway.spec
    assert spec["openapi"].startswith("3.1.")
    operations = [op for item in spec["paths"].values() for op in item.values()]
    names = [op["operationId"] for op in operations]
    assert len(names) == len(set(names)) == 26
    checker = Checker(spec)
    for operation in operations:  # every reference leads somewhere
        for item in operation.get("parameters", []) + list(operation["responses"].values()):
            assert checker.resolve(item)["description"]
    for schema in spec["components"]["schemas"].values():
        assert schema["type"] == "object" and set(schema.get("required", [])) <= set(schema["properties"])


def test_idle_gateway(ask):
    for path in ("/livez", "/readyz", "/readyz?verbose", "/healthz", "/metrics", "/v1/openapi.json", "/v1/calls",
                 "/v1/calls?state=ended&limit=1", "/v1/cdrs", "/v1/cdrs?since=2026-01-01T00:00:00Z&status_max=699",
                 "/v1/config", "/v1/realms", "/v1/realms/outer", "/v1/realms?limit=1", "/v1/peers", "/v1/peers/pbx", "/v1/peers?limit=1",
                 "/v1/pinholes", "/v1/pinholes?owner=nobody&path=tc&realm=outer&limit=1", "/v1/sessions",
                 "/v1/sessions?protocol=ftp&state=ended&limit=1", "/v1/transfers", "/v1/transfers?session=none&verb=STOR",
                 "/v1/algs", "/v1/profiles"):
        ask(path)
    page = ask("/v1/peers?limit=3")
    rest = ask(f"/v1/peers?limit=3&cursor={page['next_cursor']}")
    assert len(page["items"]) == 3 and len(rest["items"]) == 1 and rest["next_cursor"] is None


def test_reload(ask, gateway):
    path = gateway.directory / "postern.yaml"
    good = path.read_text("utf-8")
    ask("/v1/config/reload?check", "POST")
    ask("/v1/config/reload", "POST")
    path.write_text("realms: {}\n", "utf-8")
    ask("/v1/config/reload?check", "POST", 422)
    ask("/v1/config/reload", "POST", 422)
    path.unlink()
    ask("/v1/config/reload", "POST", 422)
    ask("/v1/config")
    path.write_text(good, "utf-8")
    ask("/v1/config/reload", "POST", body="{}")
    ask("/v1/config/reload?chekc", "POST", 400)
    ask("/v1/config/reload", status=405)
    ask("/v1/config")


def test_refusals(ask):
    ask("/v1/nothing", status=404)
    ask("/v1/calls/nothing", status=404)
    ask("/v1/calls/nothing", "DELETE", status=404)
    ask("/v1/cdrs/nothing", status=404)
    ask("/v1/realms/nothing", status=404)
    ask("/v1/peers/nothing", status=404)
    ask("/v1/calls", "POST", status=405)
    ask("/v1/calls?limt=1", status=400)
    ask("/v1/calls?limit=0", status=400)
    ask("/v1/cdrs?since=yesterday", status=400)
    ask("/v1/cdrs?cursor=%00", status=400)
    ask("/v1/cdrs?cursor=nonsense", status=400)
    ask("/v1/peers?cursor=nonsense", status=400)
    ask("/v1/pinholes?cursor=nonsense", status=400)
    ask("/v1/pinholes/nothing", status=404)
    ask("/v1/sessions/nothing", status=404)
    ask("/v1/sessions/nothing", "DELETE", status=404)
    ask("/v1/sessions?cursor=nonsense", status=400)
    ask("/v1/transfers?cursor=nonsense", status=400)
    ask("/v1/algs/nothing", status=404)
    ask("/v1/profiles/nothing", status=404)
    ask("/v1/explain", "POST", status=400)
    ask("/v1/explain", "POST", body=b'{"alg": "nothing", "verb": "STOR"}', status=400)
    ask("/v1/calls", body=b"{}", status=400)
    ask("/v1/calls", "PUT", body=b"x" * 70000, status=413)
    reply = ask("/v1/calls?a=1&limit=x", status=400, headers={"X-Request-Id": "from-a-test"})
    assert reply["request_id"] == "from-a-test"
    assert [error["parameter"] for error in reply["errors"]] == ["a", "limit"]


def test_live_and_ended_call(ask, gateway, alice, bob):
    a, b, *_ = establish(alice, bob)
    listed = ask("/v1/calls")["items"]
    call = ask(f"/v1/calls/{listed[0]['id']}")
    assert call["messages"] and call["decision"] and call["streams"]
    sessions = ask("/v1/sessions?protocol=sip")["items"]
    assert [(item["id"], item["state"]) for item in sessions] == [(call["id"], "answered")]
    assert ask(f"/v1/sessions/{call['id']}")["call"] == f"/v1/calls/{call['id']}"
    for query in ("realm=outer", "peer=pbx", "state=answered", "q=alice"):
        assert [item["id"] for item in ask(f"/v1/calls?{query}")["items"]] == [call["id"]], query
    assert not ask("/v1/calls?peer=pair")["items"]
    assert ask("/v1/peers/pbx")["calls_total"] == 1
    assert ask("/v1/realms/outer")["calls_active"] == 1
    hang_up(a, b)
    gateway.wait_no_calls()
    ask(f"/v1/calls/{call['id']}")
    record = gateway.cdr()
    assert ask(f"/v1/cdrs/{record['id']}") == record
    assert ask("/v1/cdrs?peer=pbx&q=alice&status_min=200&status_max=200")["items"] == [record]
    assert not ask("/v1/cdrs?status_min=400")["items"]


def test_failed_call(ask, gateway, alice, bob):
    a, b = dial(alice, bob)
    refuse(b, 486, "Busy Here")
    fail_with(a, 486)
    gateway.wait_no_calls()
    call = eventually(lambda: ask("/v1/calls?state=ended")["items"], what="the ended call")[0]
    ask(f"/v1/calls/{call['id']}")
    eventually(lambda: ask("/v1/cdrs?status_min=486")["items"], what="its record")


def postern(gateway, *words):
    return subprocess.run([BUILD / "postern", *words, "--socket", gateway.socket], capture_output=True, text=True,
                          timeout=20, check=False)


def test_command_line(gateway, alice, bob):
    """The same through the command line."""
    assert "STATE" in postern(gateway, "show", "calls").stdout
    a, b, *_ = establish(alice, bob)
    call = json.loads(postern(gateway, "show", "calls", "-o", "json").stdout)["items"][0]
    told = postern(gateway, "show", "call", call["id"])
    assert told.returncode == 0
    assert "caller   --INVITE-->  gateway" in told.stdout and "gateway  --INVITE-->  callee" in told.stdout
    assert "pbx" in postern(gateway, "show", "peers").stdout and "outer" in postern(gateway, "show", "realms").stdout
    assert "Helper: " in postern(gateway, "show", "pinholes").stdout
    assert postern(gateway, "hangup", call["id"]).returncode == 0
    a.answer_bye()
    b.answer_bye()
    gateway.wait_no_calls()
    record = gateway.cdr()
    assert record["id"] in postern(gateway, "show", "cdrs").stdout
    assert "operator" in postern(gateway, "show", "cdr", record["id"]).stdout
    assert postern(gateway, "hangup", call["id"]).returncode == 1
    assert "ok    gateway" in postern(gateway, "doctor").stdout
