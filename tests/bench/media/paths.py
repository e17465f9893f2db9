"""The systems under test: each forwards the same streams from sender to receiver in its own way.

`flows` is a list of pairs: how a packet of the flow leaves the sender ("from:port to:port"), and the source
("from:port") with which it must arrive at the receiver. pids() are the processes whose CPU time counts.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import time

from calls.rig import Failure, process_tree
from media.net import FIRST_PORT, GATE_A, GATE_B, LAST_PORT, PATH_CPU, RECEIVER, SENDER, pinned

NG_PORT = 2223


class Unusable(Exception):
    """This path cannot be measured here; the text says why."""


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def port(i):
    return FIRST_PORT + 2 * i


class Forwarding:
    """The kernel routes; nothing is rewritten but TTL and MAC addresses."""
    name = "forwarding"
    is_user_space = False

    def __init__(self, network, build, folder, n_flows):
        self.flows = [(f"{SENDER}:{port(i)} {RECEIVER}:{port(i)}", f"{SENDER}:{port(i)}") for i in range(n_flows)]

    def pids(self):
        return []

    def close(self):
        pass


class Relay:
    """The media engine of posternd, without the rest of it."""
    name = "relay"
    is_user_space = True

    def __init__(self, network, build, folder, n_flows):
        self.process = subprocess.Popen(
            network.gateway.command(*pinned(PATH_CPU, build / "tests/bench/relay_host", n_flows, GATE_A, GATE_B,
                                            f"{SENDER}:{FIRST_PORT}", f"{RECEIVER}:{FIRST_PORT}")),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.flows = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            near, far = line.split()
            i = len(self.flows)
            self.flows.append((f"{SENDER}:{port(i)} {GATE_A}:{near}", f"{GATE_B}:{far}"))
        if len(self.flows) != n_flows:
            stop(self.process)
            raise Failure("relay_host does not start")

    def pids(self):
        return [self.process.pid]

    def close(self):
        stop(self.process)


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in value.items()) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(bencode(v) for v in value) + b"e"
    data = value.encode()
    return b"%d:%s" % (len(data), data)


def sdp(address, media_port):
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {media_port} RTP/AVP 0\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n")


class Rtpengine:
    """rtpengine without its kernel module, with one thread."""
    name = "rtpengine"
    is_user_space = True

    def __init__(self, network, build, folder, n_flows):
        if shutil.which("rtpengine") is None:
            raise Unusable("rtpengine is not installed")
        # The NG socket sits on the gateway's address, where the sender's namespace can reach it.
        self.process = subprocess.Popen(
            network.gateway.command(*pinned(
                PATH_CPU, "rtpengine", "--config-file=none", "--table=-1", f"--interface=a/{GATE_A}",
                f"--interface=b/{GATE_B}", f"--listen-ng={GATE_A}:{NG_PORT}", "--foreground", "--log-stderr",
                "--log-level=2", "--num-threads=1", "--timeout=86400", "--silent-timeout=86400", "--delete-delay=0",
                f"--port-min={FIRST_PORT}", f"--port-max={LAST_PORT}")),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.cookie, self.flows = 0, []
        self.ng = network.sender.socket(socket.AF_INET)
        self.ng.connect((GATE_A, NG_PORT))
        self.ng.settimeout(1)
        try:
            self.wait_until_up()
            self.flows = [self.set_up(i) for i in range(n_flows)]
        except (OSError, ValueError) as error:
            self.close()
            raise Failure(f"rtpengine: {error}") from error

    def ask(self, command):
        self.cookie += 1
        prefix = b"%d " % self.cookie
        message = prefix + bencode(command)
        for _ in range(5):
            self.ng.send(message)
            try:
                while True:
                    reply = self.ng.recv(65536)
                    if reply.startswith(prefix):
                        return reply
            except TimeoutError:
                continue
        raise ValueError("no reply")

    def wait_until_up(self):
        for _ in range(100):
            try:
                self.ask({"command": "ping"})
                return
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise ValueError("does not start")

    def set_up(self, i):
        common = {"call-id": f"bench-{i}", "from-tag": "a", "ICE": "remove", "replace": ["origin"]}
        offer = self.ask({"command": "offer", "sdp": sdp(SENDER, port(i)), "direction": ["a", "b"], **common})
        answer = self.ask({"command": "answer", "sdp": sdp(RECEIVER, port(i)), "to-tag": "b", **common})
        ports = [int(p) for p in re.findall(rb"m=audio (\d+)", offer + answer)]
        if len(ports) != 2:
            raise ValueError(f"unexpected reply: {offer[:200]} {answer[:200]}")
        # The offer goes on to the receiver: its port is where packets leave; the answer's is where they arrive.
        return f"{SENDER}:{port(i)} {GATE_A}:{ports[1]}", f"{GATE_B}:{ports[0]}"

    def pids(self):
        return [self.process.pid]

    def close(self):
        self.ng.close()
        stop(self.process)


class Pinholes:
    """Pinholes in the kernel, opened through the privileged helper. Derived classes name the path.

    The client has a mount namespace of its own, so that what is pinned goes away with it."""
    path = None
    is_user_space = False

    def __init__(self, network, build, folder, n_flows):
        client, helper = build / "tests/bench/media/pinhole_client", build / "postern-pinholed"
        if not helper.is_file():
            raise Unusable("postern-pinholed is not built")
        state = folder / "state"
        state.mkdir()
        sides = [(f"{SENDER}:{port(i)}", f"{GATE_A}:{port(n_flows - 1 - i)}",
                  f"{GATE_B}:{port((i + n_flows // 3) % n_flows)}", f"{RECEIVER}:{port(i)}") for i in range(n_flows)]
        self.flows = [(f"{source} {listen}", origin) for source, listen, origin, _ in sides]
        wanted = folder / "pinholes"
        wanted.write_text("".join(" ".join(line) + "\n" for line in sides), "ascii")
        self.process = subprocess.Popen(
            network.gateway.command("unshare", "--mount", client, helper, state, self.path, wanted, network.gate_a.device,
                                    network.gate_b.device),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.set_up = self.reply()
        if "reason" in self.set_up:
            self.close()
            raise Unusable(self.set_up["reason"])
        for pid in self.pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), {PATH_CPU})

    def reply(self):
        line = self.process.stdout.readline()
        if not line:
            stop(self.process)
            raise Failure("pinhole_client has ended")
        return json.loads(line)

    def counters(self):
        """What the counters of all pinholes add up to."""
        self.process.stdin.write("counters\n")
        self.process.stdin.flush()
        return self.reply()

    def pids(self):
        return process_tree(self.process.pid)[1:]  # the helper, not the client

    def close(self):
        stop(self.process)


class Xdp(Pinholes):
    name = path = "xdp"


class Tc(Pinholes):
    name = path = "tc"


class Conntrack(Pinholes):
    name = path = "conntrack"


ALL = {kind.name: kind for kind in (Xdp, Tc, Conntrack, Relay, Forwarding, Rtpengine)}
PEERS = ("forwarding", "rtpengine")
