"""What the demonstration runs: networks, the gateway, SIPp, RTP endpoints. Every process is a child that ends with `stop()`; one
thread, nothing here waits without a limit."""
import csv
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/tools"))
sys.dont_write_bytecode = True

import netns  # noqa: E402

HERE = Path(__file__).parent


class Failure(Exception):
    """The demonstration cannot go on; the text says why."""


class Interrupted(Exception):
    """Ctrl-C or the like. Raised only where pause() is called, so that nothing is ever half made."""


class Interruption:
    is_wanted = False

    @classmethod
    def listen(cls):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, cls._note)

    @classmethod
    def ignore(cls):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    @classmethod
    def _note(cls, number, frame):
        cls.is_wanted = True


def pause(seconds=0.02):
    if Interruption.is_wanted:
        raise Interrupted
    time.sleep(seconds)


def wait_for(check, seconds, what):
    """Calls check() until it returns something true; returns that."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s in vain for {what}")
        pause()


def tail(path, lines=15):
    if not path.exists():
        return ""
    return "\n".join("  | " + line for line in path.read_text("utf-8", "replace").splitlines()[-lines:])


class Child:
    """A process of ours, in a session of its own so that Ctrl-C reaches only the demonstration, which ends all in order."""

    def __init__(self, command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen(list(map(str, command)), start_new_session=True, **options)

    def is_running(self):
        return self.process.poll() is None

    def stop(self, seconds=3):
        if self.is_running():
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Host:
    """One of the three: an address or two, and how to run a program there."""

    def __init__(self, *addresses, space=None):
        self.addresses, self.space = addresses, space

    def command(self, *words):
        return self.space.command(*words) if self.space else words


class Loopback:
    """Addresses in 127.0.0.0/8 of this machine, others for every process. Needs no privilege."""
    note = "on addresses of this machine's loopback interface"

    def __init__(self):
        net = f"127.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}"
        self.gateway = Host(f"{net}.1", f"{net}.2")
        self.caller, self.callee = Host(f"{net}.10"), Host(f"{net}.20")
        self.rest = self.gateway.addresses[0]

    def at_gateway(self, command):
        return command

    def stop(self):
        pass


class Namespaces:
    """caller -- gateway -- callee: three network namespaces of this process and two virtual cables. Needs root."""

    def __init__(self):
        self.spaces = []
        self.rest = "127.0.0.1"
        try:
            for name in ("caller", "gateway", "callee"):
                self.spaces.append(netns.Namespace(name))
            caller, gateway, callee = self.spaces
            netns.join(caller, gateway, "outside", ["192.0.2.10/24"], ["192.0.2.1/24"])
            netns.join(callee, gateway, "inside", ["198.51.100.20/24"], ["198.51.100.1/24"])
        except BaseException:
            self.stop()
            raise
        self.gateway = Host("192.0.2.1", "198.51.100.1", space=gateway)
        self.caller, self.callee = Host("192.0.2.10", space=caller), Host("198.51.100.20", space=callee)
        self.note = f"in network namespaces {', '.join(space.name for space in self.spaces)}"

    def at_gateway(self, command):
        return f"ip netns exec {self.spaces[1].name} {command}"

    def stop(self):
        for space in self.spaces:
            space.delete()


def make_network(say):
    if os.geteuid() != 0:
        return Loopback()
    try:
        return Namespaces()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()
        say(f"Network namespaces cannot be made here ({reason}).")
        return Loopback()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(self.path)


CONFIG = """\
# Written by ./quickstart. Every member is explained in postern.yaml(5).
node: demo
database: {folder}/state/postern.db
api:
  listen: "{rest}:8480"
  socket: {folder}/state/api.sock
  token_file: {folder}/tokens

realms:
  outside:
    addresses: [{outside}]
    sip: ["udp:5060"]
    media_ports: 20000-20999
    nat: latch
  inside:
    addresses: [{inside}]
    sip: ["udp:5060"]
    media_ports: 20000-20999
    trust: trusted

peers:
  pbx: {{ realm: inside, uri: "sip:{callee}:5060" }}

routes:
  - {{ name: to-the-pbx, from: outside, prefix: "1", to: pbx }}

media:
  state_dir: {folder}/kernel
"""


class Gateway(Child):
    """posternd with a configuration of its own in the folder."""

    def __init__(self, network, folder, build):
        outside, inside = network.gateway.addresses
        self.config, self.tokens, self.log = folder / "postern.yaml", folder / "tokens", folder / "posternd.log"
        self.socket, self.database = folder / "state/api.sock", folder / "state/postern.db"
        self.kernel = folder / "kernel"
        self.kernel.mkdir()
        self.config.write_text(CONFIG.format(folder=folder, rest=network.rest, outside=outside, inside=inside,
                                             callee=network.callee.addresses[0]))
        if os.geteuid() != 0:
            self.socket.parent.mkdir()   # started as root it makes the folder itself, for the account that it becomes
        self.cli = build / "postern"
        self.token = self._mint_token()
        with open(self.log, "wb") as log:
            super().__init__(network.gateway.command(build / "posternd", "--config", self.config), stdout=log,
                             stderr=subprocess.STDOUT)

    def _mint_token(self):
        run = subprocess.run([self.cli, "token", "new", "--file", self.tokens, "--name", "quickstart"], capture_output=True,
                             text=True, check=False)
        if run.returncode != 0:
            raise Failure(f"postern token new: {run.stderr.strip()}")
        # The gateway is another account once it has given up root. The file holds only a hash, and goes away with the folder.
        self.tokens.chmod(0o644)
        return run.stdout.strip()

    def wait_ready(self):
        wait_for(self._is_ready, 10, "the gateway to become ready")

    def wait_kernel(self):
        """As root, media goes through the kernel once the gateway has proved that it can. Returns whether it does."""
        def can():
            paths = (self.get("/readyz?verbose") or {}).get("media_paths", [])
            return any(path["is_usable"] for path in paths)

        if os.geteuid() != 0:
            return False
        try:
            return wait_for(can, 8, "media in the kernel")
        except Failure:
            return False

    def stop(self, seconds=3):
        code = super().stop(seconds)
        # A file system that outlives the process on purpose; here nothing is to be left.
        subprocess.run(["umount", self.kernel / "bpf"], capture_output=True, check=False)
        return code

    def _is_ready(self):
        if not self.is_running():
            raise Failure("the gateway ended:\n" + tail(self.log))
        try:
            return self.get("/livez") is not None and self.get("/readyz") is not None
        except OSError:
            return False

    def get(self, path):
        """The decoded reply, or None when the status is not 200."""
        connection = UnixConnection(self.socket)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return json.loads(body) if response.status == 200 else None
        finally:
            connection.close()

    def show(self, *words):
        """What `postern` prints."""
        run = subprocess.run([self.cli, *words, "--socket", self.socket], capture_output=True, text=True, check=False)
        return run.stdout if run.returncode == 0 else run.stderr


class Sipp(Child):
    """One run of SIPp. `heard` holds what it wrote about each number: {"1001": {"From": ..., "Media": ...}}."""
    LINE = re.compile(r"^(\d+) ([\w-]+): *(.*?)\s*$")

    def __init__(self, host, folder, scenario, *arguments, port=5060):
        self.name = f"{scenario}-{port}"
        while (folder / f"{self.name}.csv").exists():
            self.name += "-more"
        self.log, self.errors, self.stat = (folder / f"{self.name}.{end}" for end in ("log", "err", "csv"))
        self.heard, self._read, self.host, self.port = {}, 0, host, port
        super().__init__(
            host.command("sipp", "-sf", HERE / f"{scenario}.xml", "-i", host.addresses[0], "-p", port, "-nostdin",
                         "-trace_logs", "-log_file", self.log, "-trace_err", "-error_file", self.errors,
                         "-trace_stat", "-stf", self.stat, "-fd", 1, *arguments),
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_bound(self):
        address = f"{int.from_bytes(socket.inet_aton(self.host.addresses[0]), sys.byteorder):08X}:{self.port:04X}"
        table = Path(f"/proc/{self.process.pid}/net/udp")
        wait_for(lambda: not self.is_running() or address in table.read_text(), 10, f"SIPp ({self.name}) to start")
        if not self.is_running():
            raise Failure(f"SIPp ({self.name}) ended at once:\n" + tail(self.errors))

    def news(self):
        """Numbers whose audio may begin, since the last time: (number, "address:port" of the gateway)."""
        if not self.log.exists():
            return
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[:text.rfind("\n") + 1]
        self._read += len(whole.encode())
        for match in filter(None, map(self.LINE.match, whole.splitlines())):
            number, name, value = match.groups()
            self.heard.setdefault(number, {})[name] = value
            if name == "Media":
                yield number, value

    def statistics(self):
        """The last line of the statistics file, by column name."""
        if not self.stat.exists():
            return {}
        with open(self.stat, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return rows[-1] if rows else {}

    def count(self, column):
        return int(self.statistics().get(column) or 0)


class Phone(Child):
    """The audio of one end of one call: rtptool, bound before the call begins."""

    def __init__(self, host, build, number, identity, packets=None):
        self.address = f"{host.addresses[0]}:{number}0"
        count = [] if packets is None else ["--count", packets]
        super().__init__(
            host.command(build / "tests/tools/rtptool", "--bind", self.address, "--id", identity, "--ssrc", identity,
                         "--control", "--json", *count), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._readline("ready")

    def _readline(self, what):
        if not select.select([self.process.stdout], [], [], 5)[0]:
            raise Failure(f"rtptool at {self.address} does not answer")
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"rtptool at {self.address} ended instead of saying {what}")
        return line

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def talk_to(self, address):
        self.tell(f"to {address}")
        self.tell("start")

    def report(self):
        self.tell("report")
        return json.loads(self._readline("report"))
