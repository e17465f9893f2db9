"""What the REST API and the command line show of a running ALG: an FTP session through a gateway in mode explicit, with the smallest
server that will do. Every reply is held against the gateway's own OpenAPI document."""
import contextlib
import json
import re
import socket
import subprocess
import threading

import pytest
import yaml

from harness import BUILD, eventually
from openapi_check import Checker

FILE = b"x" * 100000
ALGS = {
    "algs": {"office-ftp": {"protocol": "ftp", "realm": "outer", "to": "inner", "mode": "explicit", "ports": [2121],
                            "server": "198.51.100.20:2121", "profile": "partners"}},
    "profiles": {"partners": {"protocol": "ftp", "default": "deny", "rules": [
        {"name": "no-exe", "deny": {"verb": ["STOR", "RETR"], "target": r"\.exe$"}, "code": 550,
         "text": "not here (rule {rule})"},
        {"name": "all", "allow": {"class": ["read", "session"]}}]}},
}


class Server:
    """One FTP client at a time; data leaves when go() is called."""

    def __init__(self, space, address):
        self.space, self.address = space, address
        self.may_send = threading.Event()
        self.listener = self.listen(2121)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def listen(self, port):
        sock = self.space.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.address, port))
        sock.listen()
        sock.settimeout(20)
        return sock

    def serve(self):
        control, _ = self.listener.accept()
        control.settimeout(20)
        control.sendall(b"220 ready\r\n")
        with control, control.makefile("rb") as lines, contextlib.suppress(ConnectionError):
            for line in lines:
                self.answer(control, line.decode().strip())

    def answer(self, control, line):
        verb = line.split(" ")[0].upper()
        if verb == "PASV":
            self.data = self.listen(0)
            port = self.data.getsockname()[1]
            control.sendall(f"227 ok ({self.address.replace('.', ',')},{port >> 8},{port & 255})\r\n".encode())
        elif verb == "RETR":
            control.sendall(b"150 coming\r\n")
            data, _ = self.data.accept()
            assert self.may_send.wait(20)
            data.sendall(FILE)
            data.close()
            self.data.close()
            control.sendall(b"226 done\r\n")
        else:
            control.sendall({"USER": b"331 who\r\n", "PASS": b"230 in\r\n"}.get(verb, b"200 ok\r\n"))

    def close(self):
        self.may_send.set()
        self.listener.close()
        self.thread.join(20)


class Client:
    def __init__(self, space, gateway):
        self.space, self.gateway = space, gateway
        self.control = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.control.settimeout(20)
        self.control.connect((gateway, 2121))
        self.lines = self.control.makefile("rb")
        assert self.reply().startswith("220")

    def reply(self):
        return self.lines.readline().decode().strip()

    def ask(self, line):
        self.control.sendall(line.encode() + b"\r\n")
        return self.reply()

    def log_in(self):
        assert self.ask("USER alice").startswith("331")
        assert self.ask("PASS secret").startswith("230")

    def fetch(self, name):
        """The data connection, open."""
        numbers = [int(n) for n in re.search(r"\((.*)\)", self.ask("PASV")).group(1).split(",")]
        assert ".".join(map(str, numbers[:4])) == self.gateway  # the address of the server is not seen outside
        data = self.space.socket(socket.AF_INET, socket.SOCK_STREAM)
        data.settimeout(20)
        self.control.sendall(f"RETR {name}\r\n".encode())
        data.connect((self.gateway, numbers[4] << 8 | numbers[5]))
        assert self.reply().startswith("150")
        return data

    def close(self):
        self.lines.close()
        self.control.close()


@pytest.fixture
def gateway(start_gateway):
    return start_gateway(ALGS, arguments=("--helper", "none"))


@pytest.fixture
def ask(gateway):
    """ask(path): the checked reply."""
    checker = Checker(gateway.spec)

    def ask_it(path, method="GET", status=200, body=None):
        data = json.dumps(body).encode() if body is not None else None
        got, reply = gateway.raw(method, path, data)
        assert got == status, f"{method} {path}: {got} {reply}"
        checker.check(method, path, got, reply)
        return reply

    return ask_it


@pytest.fixture
def server(network):
    one = Server(network.callee, network.CALLEE)
    yield one
    one.close()


@pytest.fixture
def client(network, gateway, server):
    one = Client(network.caller, network.OUTER)
    yield one
    one.close()


def postern(gateway, *words, stdin=""):
    done = subprocess.run([BUILD / "postern", *words, "--socket", gateway.socket], capture_output=True, text=True,
                          timeout=20, check=False, input=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_transfer_is_seen_while_it_runs_and_afterwards(ask, gateway, client, server):
    client.log_in()
    assert "no-exe" in client.ask("RETR virus.exe")
    data = client.fetch("report.pdf")
    listed = ask("/v1/sessions?protocol=ftp")["items"]
    assert [(s["user"], s["state"], s["alg"]) for s in listed] == [("alice", "open", "office-ftp")]
    session = eventually(lambda: next((s for s in [ask(f"/v1/sessions/{listed[0]['id']}")]
                                       if s["holes"] and s["holes"][0]["state"] == "bound"), None), what="the data connection")
    assert session["legs"]["client"]["dropped"] >= 1
    assert any(step["rule"] == "no-exe" for step in session["steps"])
    assert any("227" in change["before"] for change in session["changes"])
    assert "secret" not in json.dumps(session)
    shown = postern(gateway, "show", "session", session["id"])
    assert "no-exe" in shown and "bound" in shown and "227" in shown
    server.may_send.set()
    got = b""
    while chunk := data.recv(65536):
        got += chunk
    data.close()
    assert got == FILE and client.reply().startswith("226")
    assert client.ask("QUIT")
    client.close()
    record = eventually(lambda: ask("/v1/transfers")["items"], what="the record")[0]
    assert (record["user"], record["verb"], record["path"]) == ("alice", "RETR", "report.pdf")
    assert (record["direction"], record["bytes"], record["is_ok"]) == ("down", len(FILE), True)
    assert (record["session"], record["rule"], record["protocol"]) == (session["id"], "all", "ftp")
    assert ask(f"/v1/transfers?session={session['id']}&verb=retr&user=alice&q=REPORT")["items"] == [record]
    assert not ask("/v1/transfers?session=other")["items"]
    assert "report.pdf" in postern(gateway, "show", "transfers", "--user", "alice")


def test_an_operator_ends_a_session(ask, gateway, client):
    client.log_in()
    session = ask("/v1/sessions?alg=office-ftp")["items"][0]
    assert session["id"] in postern(gateway, "show", "sessions")
    assert "being ended" in postern(gateway, "hangup", session["id"])
    with contextlib.suppress(ConnectionError):  # it may end either way, perhaps after a last word
        while client.reply():
            pass
    eventually(lambda: not ask("/v1/sessions?alg=office-ftp")["items"], what="the end of the session")
    ask(f"/v1/sessions/{session['id']}", "DELETE", status=404)
    ended = eventually(lambda: ask("/v1/sessions?alg=office-ftp&state=ended")["items"], what="the ended session")
    assert ended[0]["id"] == session["id"] and ended[0]["cause"]


def test_listeners_and_rules(ask, gateway, client):
    client.log_in()
    client.ask("DELE x")
    alg = ask("/v1/algs/office-ftp")
    assert alg["listeners"] and all(listener["is_open"] for listener in alg["listeners"])
    assert sum(listener["sessions_active"] for listener in alg["listeners"]) == 1
    assert ask("/v1/algs")["items"][0]["profile"] == "partners"
    profile = ask("/v1/profiles/partners")
    assert profile["default"]["hits"] >= 1 and profile["rules"][1]["hits"] >= 1
    assert ask("/v1/profiles")["items"][0]["algs"] == ["office-ftp"]
    assert next(c for c in ask("/readyz?verbose")["checks"] if c["name"] == "algs")["status"] == "ok"
    assert 'postern_alg_listeners{state="closed"} 0' in ask("/metrics")
    assert "office-ftp" in postern(gateway, "show", "algs") and "no-exe" in postern(gateway, "show", "profile", "partners")


def test_explain_says_what_happens(ask, gateway, client):
    client.log_in()
    told = ask("/v1/explain", "POST", body={"alg": "office-ftp", "verb": "RETR", "target": "a.exe", "user": "alice"})
    assert (told["verdict"], told["rule"], told["code"]) == ("deny", "no-exe", 550)
    assert client.ask("RETR a.exe") == f"{told['code']} {told['text']}"
    told = ask("/v1/explain", "POST", body={"alg": "office-ftp", "verb": "RETR", "target": "a.pdf", "direction": "down"})
    assert (told["verdict"], told["considered"][0]["obstacle"]) == ("allow", "target")
    script = "S: 220 x\nC: USER a\nS: 230 in\nC: PASV\nS: 227 ok (198,51,100,20,195,80)\n"
    told = ask("/v1/explain", "POST", body={"alg": "office-ftp", "transcript": script})
    assert told["holes"][0]["target"] == "198.51.100.20:50000" and told["holes"][0]["client_told"].startswith("192.0.2.1:")
    assert "195,80" not in told["steps"][-1]["to_client"]
    assert "no-exe" in postern(gateway, "explain", "office-ftp", "RETR", "a.exe", "-u", "alice")
    assert "CLIENT TOLD" in postern(gateway, "explain", "office-ftp", "-t", "-", stdin=script)
    assert len(ask("/v1/sessions?protocol=ftp")["items"]) == 1  # explaining opened none


def test_rules_are_checked_against_the_modules(tmp_path):
    """posternd itself knows the commands; without it a rule that never matches would be taken."""
    config = tmp_path / "postern.yaml"
    realms = {name: {"addresses": [address], "media_ports": "20000-20999"} for name, address in
              (("a", "192.0.2.1"), ("b", "198.51.100.1"))}
    for verb, code in (("STOR", 0), ("STROE", 1)):
        config.write_text(yaml.safe_dump({
            "database": str(tmp_path / "db"), "realms": realms,
            "profiles": {"p": {"protocol": "ftp", "default": "allow", "rules": [{"deny": {"verb": verb}}]}}}))
        run = subprocess.run([BUILD / "posternd", "--check-config", config], capture_output=True, text=True, check=False)
        assert run.returncode == code, run.stderr
        assert ("ftp has no command STROE (did you mean STOR?)" in run.stderr) == bool(code)
