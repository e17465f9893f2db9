"""What the functional tests run: the gateway, SIPp, RTP endpoints and captures, each inside a namespace and each ended by the
fixture that started it. Nothing here knows a call flow."""
import contextlib
import csv
import http.client
import json
import os
import pwd
import re
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import jsonschema
import netns
import yaml

SOURCE = Path(os.environ.get("POSTERN_SRCDIR", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("POSTERN_BUILDDIR", SOURCE / "build"))
ACCOUNT = "nobody"
# As the service runs: before whatever else the machine does. What sends and receives media must not wait for it either.
FIRST = ("nice", "-n", "-10")
SCENARIOS = Path(__file__).parent / "sipp"


def eventually(check, timeout=5, what="the condition"):
    """Calls check() until it returns something true; returns that."""
    end = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come true in {timeout} s"
        time.sleep(0.05)


def has_crash_points():
    config = BUILD / "config.h"
    return config.exists() and "#define POSTERN_CRASH_POINTS 1" in config.read_text()


@contextlib.contextmanager
def run_directory():
    """A folder that the gateway's own account may use, whoever runs the tests."""
    with tempfile.TemporaryDirectory(prefix="postern-") as name:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(name, account.pw_uid, account.pw_gid)
        yield Path(name)


def stop(process, timeout=5):
    """Ends a child of ours, whatever state it is in."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Network:
    """caller -- gateway -- callee: the outer side is 192.0.2.0/24, the inner side 198.51.100.0/24."""
    OUTER, INNER = "192.0.2.1", "198.51.100.1"
    OUTER6, INNER6 = "2001:db8:1::1", "2001:db8:2::1"
    CALLER, CALLER6 = "192.0.2.10", "2001:db8:1::10"
    OTHER_CALLER = "192.0.2.66"
    CALLEE, CALLEE6 = "198.51.100.20", "2001:db8:2::20"
    OTHER_CALLEE = "198.51.100.21"

    SPACES = ("caller", "gateway", "callee")
    config = {"media": {"paths": ["relay"]}}  # of all gateways that run here

    def __init__(self):
        self.spaces = []
        try:
            for name in self.SPACES:
                self.spaces.append(netns.Namespace(name))
                setattr(self, name, self.spaces[-1])
            self.join_outer([f"{self.CALLER}/24", f"{self.OTHER_CALLER}/24", f"{self.CALLER6}/64"],
                            [f"{self.OUTER}/24", f"{self.OUTER6}/64"])
            netns.join(self.callee, self.gateway, "inner",
                       [f"{self.CALLEE}/24", f"{self.OTHER_CALLEE}/24", f"{self.CALLEE6}/64"],
                       [f"{self.INNER}/24", f"{self.INNER6}/64"])
        except BaseException:
            self.delete()
            raise

    def join_outer(self, of_caller, of_gateway):
        netns.join(self.caller, self.gateway, "outer", of_caller, of_gateway)

    def delete(self):
        for space in self.spaces:
            space.delete()


def children_of(pid):
    """Process ids whose parent is that one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


def merge(base, changes):
    """Like a JSON merge patch (RFC 7396)."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    merged = {**base, **{key: merge(base.get(key), value) for key, value in changes.items()}}
    return {key: value for key, value in merged.items() if value is not None}


class Gateway:
    """posternd with a configuration. Users that begin with 1 go to the callee, 2 to the other callee and then to the callee,
    6 to the callee over IPv6, 9 are denied; everything from inside goes to the caller."""

    arguments = ()  # further ones of posternd

    def __init__(self, network, directory, changes=None):
        self.network, self.directory = network, directory
        self.socket, self.log = directory / "api.sock", directory / "posternd.log"
        self.process, self.spec = None, None
        usual = {
            "node": "test-edge",
            "database": str(directory / "postern.db"),
            "api": {"socket": str(self.socket)},
            "realms": {
                "outer": {"addresses": [network.OUTER, network.OUTER6], "sip": ["udp:5060"],
                          "media_ports": "20000-20999"},
                "inner": {"addresses": [network.INNER, network.INNER6], "sip": ["udp:5060"],
                          "media_ports": "20000-20999", "trust": "trusted"},
            },
            "peers": {
                "pbx": {"realm": "inner", "uri": f"sip:{network.CALLEE}:5060"},
                "pair": {"realm": "inner", "uris": [f"sip:{network.OTHER_CALLEE}:5060", f"sip:{network.CALLEE}:5060"]},
                "pbx6": {"realm": "inner", "uri": f"sip:[{network.CALLEE6}]:5060"},
                "carrier": {"realm": "outer", "uri": f"sip:{network.CALLER}:5060"},
            },
            "routes": [
                {"name": "to-pbx", "from": "outer", "prefix": "1", "to": "pbx"},
                {"name": "to-pair", "from": "outer", "prefix": "2", "to": "pair"},
                {"name": "to-pbx6", "from": "outer", "prefix": "6", "to": "pbx6"},
                {"name": "barred", "from": "outer", "prefix": "9", "deny": 403},
                {"name": "out", "from": "inner", "to": "carrier"},
            ],
            "media": {"state_dir": str(directory / "state")},
            "limits": {"port_quarantine": "100ms"},
            "log": {"level": "debug"},
        }
        self.config = merge(merge(usual, network.config), changes or {})

    def start(self, probe="/readyz", **environment):
        """Returns when that probe says yes."""
        self.spawn(**environment)
        self.wait_ready(probe)
        return self

    def spawn(self, **environment):
        path = self.directory / "postern.yaml"
        path.write_text(yaml.safe_dump(self.config, sort_keys=False))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.network.gateway.command(*FIRST, BUILD / "posternd", "--user", ACCOUNT, "--config", path, *self.arguments),
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1", **environment})

    def wait_ready(self, probe="/readyz"):
        try:
            eventually(lambda: self._is_ready(probe), 20, probe)  # with ALGs it waits for the helper
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"posternd did not become ready:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")
        status, self.spec = self.raw("GET", "/v1/openapi.json")
        assert status == 200

    def _is_ready(self, probe):
        assert self.process.poll() is None, "posternd has ended"
        try:
            return self.raw("GET", probe)[0] == 200
        except OSError:
            return False

    # ---- API

    def raw(self, method, path, body=None, headers=None):
        """(status, decoded JSON or text)"""
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            data = response.read()
            kind = response.getheader("Content-Type", "")
            return response.status, json.loads(data) if "json" in kind else data.decode()
        finally:
            connection.close()

    def api(self, path, method="GET", status=200):
        """The reply, which must have that status and follow the gateway's own OpenAPI document."""
        got, reply = self.raw(method, path)
        assert got == status, f"{method} {path}: {got} {reply}"
        schema = self._schema(method, path, status)
        if schema:
            jsonschema.Draft202012Validator(schema, resolver=jsonschema.RefResolver("", self.spec)).validate(reply)
        return reply

    def _schema(self, method, path, status):
        for template, item in self.spec["paths"].items():
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path.split("?")[0]):
                response = item[method.lower()]["responses"][str(status)]
                if "$ref" in response:
                    response = self.spec["components"]["responses"][response["$ref"].split("/")[-1]]
                content = response.get("content", {})
                return next((c["schema"] for kind, c in content.items() if "json" in kind), None)
        return None

    def calls(self, query=""):
        return self.api("/v1/calls" + query)["items"]

    def call(self):
        """Details of the only live call."""
        calls = eventually(self.calls, what="a live call")
        assert len(calls) == 1
        return self.api(f"/v1/calls/{calls[0]['id']}")

    def cdr(self, timeout=5):
        """The only call record, once there is one."""
        items = eventually(lambda: self.api("/v1/cdrs")["items"], timeout, "a call record")
        assert len(items) == 1
        return items[0]

    def wait_no_calls(self, timeout=5):
        eventually(lambda: not self.calls(), timeout, "the end of all calls")
        # The relay thread gives them back a moment after the call has ended.
        eventually(lambda: self.pairs_used() == 0, timeout, "the release of all media ports")

    def pairs_used(self):
        return sum(pool["pairs_used"] for realm in self.api("/v1/realms")["items"] for pool in realm["pools"])

    # ---- end

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """As a crash would end it: nobody is told, nothing is tidied up. finish() has nothing to judge then."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self):
        self.kill()
        return self.start()

    def database(self, sql):
        """Rows of a query, or a change, on a connection of its own."""
        with contextlib.closing(sqlite3.connect(self.directory / "postern.db", timeout=10)) as connection, connection:
            return connection.execute(sql).fetchall()

    def metric(self, name):
        text = self.raw("GET", "/metrics")[1]
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(re.escape(name) + r"[{ ]", line))

    def helpers(self):
        """Process ids of the helper: the supervisor, and its worker."""
        found = [self.process.pid]
        while children_of(found[-1]):
            found.append(children_of(found[-1])[0])
        return found[1:]

    def finish(self, timeout=15):
        """SIGTERM, and what a good end looks like."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = f"none in {timeout} s after SIGTERM"
        self.process = None
        log = self.log.read_text("utf-8", "replace")
        reports = re.findall(r".*(?:Sanitizer|runtime error|Assertion).*", log)
        assert not reports, "\n".join(reports + [log[-3000:]])
        assert code == 0, f"exit code {code}\n{log[-3000:]}"


class RtpTool:
    """One run of rtptool: bound at once, sends when told."""

    def __init__(self, space, arguments, options):
        arguments = [*arguments, "--control", "--json"]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            arguments += [flag] if value is True else [flag, value]
        self.process = subprocess.Popen(space.command(*FIRST, BUILD / "tests/tools/rtptool", *arguments), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def start(self):
        self.tell("start")
        return self

    def stop(self):
        self.tell("stop")
        return self

    def report(self):
        self.tell("report")
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Lets go of its ports."""
        stop(self.process)

    def wait_sent(self, count, timeout=15):
        eventually(lambda: self.report()["sent"] >= count, timeout, f"sending of {count} packets")



class Rtp(RtpTool):
    """An RTP endpoint of one stream."""

    def __init__(self, space, host, port, number, **options):
        super().__init__(space, ["--bind", hostport(host, port), "--id", number], options)

    def to(self, media):
        """Where to send: an entry of media_of()."""
        self.tell("to", hostport(media["address"], media["port"]))
        return self

    def sources(self):
        return {source["from"] for source in self.report()["per_stream"][0]["sources"]}


class RtpStreams(RtpTool):
    """Many streams on one side; each line is (own host:port, host:port to send to, own number, number that should come)."""

    def __init__(self, space, directory, lines, **options):
        path = directory / f"streams-{os.urandom(3).hex()}"
        path.write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))
        super().__init__(space, ["--streams", path], options)


def hostport(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Sipp:
    """One run of SIPp with a scenario of ours. Its exit code is not to be trusted: the statistics are read."""

    def __init__(self, space, directory, scenario, local, arguments, calls=1):
        self.calls = calls
        self.name = f"{scenario}-{os.urandom(3).hex()}"
        self.stat, self.errors = directory / f"{self.name}.csv", directory / f"{self.name}.err"
        self.process = subprocess.Popen(
            space.command("sipp", "-sf", SCENARIOS / f"{scenario}.xml", "-i", local, "-p", 5060, "-m", calls, "-nostdin",
                          "-timeout", "40s", "-timeout_error", "-trace_stat", "-stf", self.stat, "-fd", 1, "-trace_err",
                          "-error_file", self.errors, "-max_socket", 1000, *arguments),
            cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, timeout=45):
        try:
            self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stop(self.process)
        errors = self.errors.read_text("utf-8", "replace") if self.errors.exists() else ""
        with open(self.stat, newline="", encoding="utf-8") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        assert int(last["SuccessfulCall(C)"]) == self.calls, f"{self.name}: {last['SuccessfulCall(C)']} good calls\n{errors}"
        assert int(last["FailedCall(C)"]) == 0, f"{self.name}: failed calls\n{errors}"
        assert "unexpected" not in errors.lower(), errors
        return last


class Capture:
    """Everything that crosses one interface, as the bytes of a capture file."""

    def __init__(self, space, interface, path, what="udp"):
        self.path = path
        self.process = subprocess.Popen(
            space.command("tcpdump", "-i", interface, "-s", 0, "-U", "--immediate-mode", "-w", path, what),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "listening on" in line:
                break

    def bytes(self):
        time.sleep(0.2)
        stop(self.process)
        return self.path.read_bytes()
