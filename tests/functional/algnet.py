"""The network of the ALG tests, and the real clients and servers in it. Each program runs inside its namespace and is ended by
what started it.

    client --+
             +-- lan (switch) -- gateway -- server
    stranger-+

The gateway is the router between the two sides, forwards only what belongs to a pinhole (closed firewall), and both ends use it as
their default route.
"""
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import netns
import pytest

import harness
from harness import eventually, hostport
from lanes import Lane

CLIENT, SERVER = harness.Network.CALLER, harness.Network.CALLEE
CLIENT6, SERVER6 = harness.Network.CALLER6, harness.Network.CALLEE6
SECOND_SERVER = harness.Network.OTHER_CALLEE
USER, PASSWORD = "ann", "secret word"


class AlgNetwork(Lane):
    """A lane whose hosts reach each other through the gateway."""

    def __init__(self, directory):
        super().__init__("nft", directory)
        self.client, self.server = self.caller, self.callee
        self.forward(True)
        for space, gateway, gateway6 in ((self.client, self.OUTER, self.OUTER6), (self.stranger, self.OUTER, self.OUTER6),
                                         (self.server, self.INNER, self.INNER6)):
            netns.ip("-n", space.name, "route", "add", "default", "via", gateway)
            if space is not self.stranger:
                netns.ip("-n", space.name, "-6", "route", "add", "default", "via", gateway6)
        self.config["media"] = {"paths": ["xdp", "tc", "nft", "relay"], "firewall": "closed",
                                "state_dir": str(directory / "state")}


@pytest.fixture(scope="module")
def network():
    with harness.run_directory() as directory:
        one = AlgNetwork(directory)
        try:
            yield one
        finally:
            one.delete()


@pytest.fixture
def folder():
    """For servers and their files; other accounts may get at it, which they may not at pytest's own."""
    with tempfile.TemporaryDirectory(prefix="postern-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


# ---- configuration

def ftp(mode="nat", **changes):
    """The configuration of one FTP ALG, named "files"."""
    alg = {"protocol": "ftp", "realm": "outer", "to": "inner", "mode": mode, "active": True}
    if mode == "explicit":
        alg.update(ports=[2121], server=f"{SERVER}:21")
    else:
        alg.update(ports=[21], servers=["198.51.100.0/24", "2001:db8:2::/64"])
    alg.update(changes)
    return {"algs": {"files": alg}, "peers": None, "routes": None}


def rtsp(mode="nat", **changes):
    alg = {"protocol": "rtsp", "realm": "outer", "to": "inner", "mode": mode}
    if mode == "explicit":
        alg.update(ports=[8554], server=f"{SERVER}:554")
    else:
        alg.update(ports=[554], servers=["198.51.100.0/24", "2001:db8:2::/64"])
    alg.update(changes)
    return {"algs": {"cameras": alg}, "peers": None, "routes": None}


def profile(protocol, rules, default="allow", mode="enforce"):
    return {"profiles": {"rules": {"protocol": protocol, "default": default, "mode": mode, "rules": rules}}}


def place(mode):
    """Where clients connect to."""
    return (harness.Network.OUTER, 2121) if mode == "explicit" else (SERVER, 21)


# ---- what the gateway shows and what the kernel has

def sessions(gateway, query=""):
    return gateway.api("/v1/sessions" + query)["items"]


def session(gateway):
    """Details of the only live session."""
    found = eventually(lambda: sessions(gateway), what="a session")
    assert len(found) == 1
    return gateway.api(f"/v1/sessions/{found[0]['id']}")


def transfers(gateway, n=1, query=""):
    def found():
        return gateway.api("/v1/transfers" + query)["items"]

    try:
        eventually(lambda: len(found()) >= n, 5)
    except AssertionError:
        raise AssertionError(f"{len(found())} of {n} transfers: {found()}") from None
    return found()


def wait_quiet(gateway, network):
    """Nothing is open any more, neither here nor in the kernel."""
    eventually(lambda: not sessions(gateway), 10, "the end of all sessions")
    eventually(lambda: not gateway.api("/v1/pinholes")["items"], 10, "the end of all pinholes")
    assert not doors(network)


def doors(network):
    """Elements of the gateway's maps."""
    ruleset = network.gateway.run("nft", "list", "ruleset")
    return re.findall(r"comment \"pinhole [0-9a-f]+\"", ruleset)


# ---- data

def make_file(path, size):
    """Of that many octets that do not repeat soon; its SHA-256."""
    digest = hashlib.sha256()
    block = os.urandom(1 << 16)
    with open(path, "wb") as file:
        left = size
        while left > 0:
            part = block[:left]
            file.write(part)
            digest.update(part)
            left -= len(part)
            block = block[1:] + block[:1]
    os.chmod(path, 0o644)
    return digest.hexdigest()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


# ---- programs

PEERS = Path(os.environ.get("POSTERN_PEERS", harness.BUILD / "peers"))


def program(name):
    """A program of the system, or of a Debian package that was unpacked beside the build (tests/tools/unpack-peers)."""
    for folder in ("usr/sbin", "usr/bin", "bin", "sbin"):
        if (PEERS / folder / name).exists():
            return PEERS / folder / name
    found = shutil.which(name) or next((path for path in (f"/usr/sbin/{name}", f"/usr/lib/{name}") if os.path.exists(path)), None)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


class Server:
    """A program that serves in the server's namespace until the context ends."""

    def __init__(self, network, directory, port=21, host=SERVER):
        self.network, self.directory, self.port, self.host = network, directory, port, host
        self.log = directory / f"{type(self).__name__.lower()}.log"
        self.root = directory / "root"
        self.root.mkdir(exist_ok=True)
        os.chmod(self.root, 0o777)

    def command(self):
        raise NotImplementedError

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.network.server.command(*self.command()), stdout=log, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL, cwd=self.directory)
        eventually(self.answers, 15, f"{type(self).__name__} at {self.host}:{self.port}")
        return self

    def answers(self):
        assert self.process.poll() is None, self.log.read_text("utf-8", "replace")[-2000:]
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with self.network.server.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(2)
            return probe.connect_ex((self.host, self.port)) == 0

    def __exit__(self, *_):
        children = harness.children_of(self.process.pid)  # one per connection; these do not all end with their parent
        harness.stop(self.process)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


class Pyftpdlib(Server):
    def __init__(self, *args, quirks="", **options):
        super().__init__(*args, **options)
        self.quirks = quirks

    def command(self):
        return ["/usr/bin/python3", Path(__file__).parent / "algpeers" / "ftpd.py",
                "--host", self.host, "--port", self.port, "--root", self.root, "--user", USER, "--password", PASSWORD,
                *(["--quirks", self.quirks] if self.quirks else [])]


class Vsftpd(Server):
    def command(self):
        conf = self.directory / "vsftpd.conf"
        conf.write_text("\n".join([
            "listen=YES" if ":" not in self.host else "listen=NO", "listen_ipv6=YES" if ":" in self.host else "listen_ipv6=NO",
            f"listen_port={self.port}", "background=NO", "anonymous_enable=YES", "local_enable=NO", "write_enable=YES",
            "anon_upload_enable=YES", "anon_other_write_enable=YES", "anon_mkdir_write_enable=YES", "anon_umask=022",
            f"anon_root={self.root}", "no_anon_password=YES", "ftp_username=daemon", "allow_writeable_chroot=YES", "seccomp_sandbox=NO",
            "connect_from_port_20=YES", "port_enable=YES", "pasv_enable=YES", f"secure_chroot_dir={self.empty()}", ""]))
        os.chmod(self.root, 0o555)  # vsftpd refuses a writable root of anonymous users
        upload = self.root / "in"
        upload.mkdir(exist_ok=True)
        os.chmod(upload, 0o777)
        return [program("vsftpd"), conf]

    def empty(self):
        folder = self.directory / "empty"
        folder.mkdir(exist_ok=True)
        return folder


class Proftpd(Server):
    more = ()

    def command(self):
        conf = self.directory / "proftpd.conf"
        conf.write_text("\n".join([
            "ServerType standalone", f"DefaultAddress {self.host}", f"Port {self.port}", "UseIPv6 on", "User nobody", "Group nogroup",
            f"PidFile {self.directory}/proftpd.pid", f"ScoreboardFile {self.directory}/scoreboard", "WtmpLog off", "TransferLog none",
            "UseReverseDNS off", "UseFtpUsers off", "RequireValidShell off", f"DelayTable {self.directory}/delay", "AllowOverwrite on", *self.more,
            f"<Anonymous {self.root}>", "User nobody", "Group nogroup", "UserAlias anonymous nobody", "RequireValidShell off",
            "<Limit LOGIN>", "AllowAll", "</Limit>", "</Anonymous>", ""]))
        return [program("proftpd"), "-n", "-c", conf]


class PureFtpd(Server):
    def command(self):
        accounts = self.directory / "accounts"
        subprocess.run([program("pure-pw"), "useradd", USER, "-f", accounts, "-u", "nobody", "-d", self.root], check=True,
                       input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True)
        subprocess.run([program("pure-pw"), "mkdb", f"{accounts}.pdb", "-f", accounts], check=True)
        return [program("pure-ftpd"), "-S", f"{self.host},{self.port}", "-E", "-H", "-u", "1", "-l", f"puredb:{accounts}.pdb",
                "-C", "50", "-g", self.directory / "pid"]


FTP_SERVERS = {"pyftpdlib": Pyftpdlib, "vsftpd": Vsftpd, "proftpd": Proftpd, "pure-ftpd": PureFtpd}


def curl(network, *arguments, check=True, space=None):
    done = subprocess.run((space or network.client).command("curl", "-sS", "--connect-timeout", 10, "--max-time", 120, *arguments),
                          capture_output=True, text=True, timeout=150, check=False)
    if check:
        assert done.returncode == 0, f"curl {' '.join(map(str, arguments))}: {done.returncode} {done.stderr}"
    return done


def url(host, port, path="", user=None):
    login = f"{user}:{PASSWORD.replace(' ', '%20')}@" if user else ""
    return f"ftp://{login}{hostport(host, port)}/{path}"


class Raw:
    """A control connection of our own: lines out, lines in."""

    def __init__(self, space, host, port, family=None):
        self.socket = space.socket(family or (socket.AF_INET6 if ":" in host else socket.AF_INET), socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect((host, port))
        self.file = self.socket.makefile("rb")

    def send(self, line):
        self.socket.sendall(line.encode("latin-1") + b"\r\n")
        return self

    def line(self):
        return self.file.readline().decode("latin-1").rstrip("\r\n")

    def reply(self):
        """The last line of the next reply."""
        line = self.line()
        if line[3:4] == "-":
            code = line[:3]
            while not line.startswith(code + " "):
                line = self.line()
                assert line, "the connection has ended"
        return line

    def ask(self, line):
        self.send(line)
        return self.reply()

    def login(self, user=USER, password=PASSWORD):
        assert self.reply().startswith("220")
        assert self.ask(f"USER {user}").startswith(("331", "230"))
        assert self.ask(f"PASS {password}").startswith("230")
        return self

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def is_open(space, host, port, timeout=1.0):
    """Whether a TCP connection from that space comes about."""
    with space.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect((host, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def listening(space, host, port=0):
    """A TCP socket that listens there, of this process."""
    with space.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()
        sock.settimeout(10)
        yield sock


class ScriptedFtp(threading.Thread):
    """An FTP server of this process for one client, so that it can do in any order what real ones do in one: `transfer(control, data)` does what it likes
    with both sockets after the 150."""

    def __init__(self, network, transfer):
        super().__init__(daemon=True)
        self.network, self.transfer, self.fault = network, transfer, None
        self.stack = contextlib.ExitStack()
        self.listener = self.stack.enter_context(listening(network.server, SERVER, 21))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.join(20)
        self.stack.close()
        assert not self.is_alive() and self.fault is None, self.fault

    def run(self):
        try:
            control, _ = self.listener.accept()
            with control:
                control.settimeout(20)
                self.serve(control)
        except Exception as fault:  # told by __exit__
            self.fault = fault

    def serve(self, control):
        control.sendall(b"220 hello\r\n")
        data = None
        for line in control.makefile("rb"):
            verb = line.split()[0].upper()
            if verb == b"EPSV":
                data = self.stack.enter_context(listening(self.network.server, SERVER))
                control.sendall(b"229 here (|||%d|)\r\n" % data.getsockname()[1])
            elif verb == b"EPRT":
                data = line.decode().split("|")
                control.sendall(b"200 there\r\n")
            elif verb in (b"RETR", b"STOR"):
                connection = self.connect(data) if isinstance(data, list) else data.accept()[0]
                connection.settimeout(20)
                control.sendall(b"150 it comes\r\n")
                self.transfer(control, connection)
            elif verb == b"QUIT":
                control.sendall(b"221 bye\r\n")
                return
            else:
                control.sendall({b"USER": b"331 who\r\n", b"PASS": b"230 in\r\n"}.get(verb, b"200 ok\r\n"))

    def connect(self, words):
        connection = self.network.server.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.bind((SERVER, 0))
        connection.connect((words[2], int(words[3])))
        return connection


def pasv_place(reply):
    """(host, port) of a 227 reply."""
    numbers = [int(n) for n in re.search(r"(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)", reply).groups()]
    return ".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5]


def epsv_port(reply):
    return int(re.search(r"\(\|\|\|(\d+)\|\)", reply).group(1))


def streams(capture):
    """{(source, destination): octets} of the TCP connections in a capture file, in the order of their beginning."""
    text = subprocess.run(["tcpdump", "-r", capture, "-nn", "-x", "-tt", "tcp"], capture_output=True, text=True, check=True).stdout
    return _streams_of(text)


def _streams_of(text):
    packets, current = [], None
    for line in text.splitlines():
        if line.startswith("\t"):
            current.append(bytes.fromhex(line.split(":", 1)[1].replace(" ", "")))
        else:
            current = []
            packets.append(current)
    made = {}
    for packet in (b"".join(one) for one in packets):
        header = (packet[0] & 15) * 4
        end = int.from_bytes(packet[2:4], "big")
        tcp = packet[header:end]
        key = (socket.inet_ntoa(packet[12:16]), int.from_bytes(tcp[0:2], "big"), socket.inet_ntoa(packet[16:20]),
               int.from_bytes(tcp[2:4], "big"))
        payload = tcp[(tcp[12] >> 4) * 4:]
        if payload:
            made.setdefault(key, {})[int.from_bytes(tcp[4:8], "big")] = payload
    # By content: the gateway's own connection to the server has a port of its own.
    return sorted(b"".join(part for _, part in sorted(parts.items())) for parts in made.values())


def udp_payloads(captured):
    """Of the IPv4 packets in the bytes of a capture file on Ethernet, in their order."""
    order = "little" if captured[:4] == b"\xd4\xc3\xb2\xa1" else "big"
    at = 24
    while at + 16 <= len(captured):
        size = int.from_bytes(captured[at + 8:at + 12], order)
        packet = captured[at + 16 + 14:at + 16 + size]
        at += 16 + size
        if len(packet) > 28 and packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_UDP:
            header = (packet[0] & 15) * 4
            yield packet[header + 8:int.from_bytes(packet[2:4], "big")]


# ---- RTSP

class GstRtsp(Server):
    def __init__(self, *args, user=None, **options):
        super().__init__(*args, **{"port": 554, **options})
        self.user = user

    def command(self):
        return ["/usr/bin/python3", Path(__file__).parent / "algpeers" / "rtspd.py", "--host", self.host, "--port", self.port,
                *(["--user", self.user, "--password", PASSWORD.replace(" ", "")] if self.user else [])]

    def answers(self):
        if subprocess.run(["/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"], capture_output=True,
                          check=False).returncode != 0:
            pytest.skip("needs gir1.2-gst-rtsp-server-1.0")
        return super().answers()


def rtsp_place(mode):
    return (harness.Network.OUTER, 8554) if mode == "explicit" else (SERVER, 554)


def rtsp_url(mode, path="test", login=""):
    host, port = rtsp_place(mode)
    return f"rtsp://{login}{host}:{port}/{path}"


class GstPlayer:
    """GStreamer that plays two tracks."""

    def __init__(self, network, where, *arguments):
        self.process = subprocess.Popen(network.client.command("/usr/bin/python3", Path(__file__).parent / "algpeers" / "rtspplay.py", where, *arguments),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, timeout=60):
        try:
            said = self.process.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            harness.stop(self.process)
            raise AssertionError("GStreamer does not end") from None
        assert self.process.returncode == 0, said[-3000:]

    def end(self):
        harness.stop(self.process)


class Player:
    """ffmpeg that plays (or, with `publish`, sends) until it has had enough."""

    def __init__(self, network, where, *, transport="udp", seconds=3, publish=False):
        common = [program("ffmpeg"), "-nostdin", "-loglevel", "info"]
        over = ["-rtsp_transport", transport] if transport else []
        if publish:
            arguments = [*common, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000", "-t", seconds, "-acodec", "pcm_alaw", "-ac", "1",
                         "-f", "rtsp", *over, where]
        else:
            arguments = [*common, *over, "-i", where, "-t", seconds, "-map", "0", "-f", "null", "-"]
        self.process = subprocess.Popen(network.client.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)

    def finish(self, timeout=60):
        """What it said; it must have ended well."""
        try:
            said = self.process.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            harness.stop(self.process)
            raise AssertionError("ffmpeg does not end") from None
        assert self.process.returncode == 0, said[-3000:]
        return said

    def end(self):
        harness.stop(self.process)
