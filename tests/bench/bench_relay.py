"""What relaying one RTP packet in user space costs, side by side with rtpengine's userspace path.

Three network namespaces, sender - gateway - receiver, joined by veth pairs. Both relays get the same streams from
tests/tools/rtptool: first at 20, 60 and 90 thousand packets per second (streams of 50 packets per second), then four times
the last load, then 20 thousand again over all streams. CPU time is utime + stime of the relay's process, from /proc, over
the packets that reached the receiver; packets lost are counted too.

Needs root. rtpengine is left out when it is not installed. Options: --seconds N per load (default 10), --short (small
loads, two seconds each: does everything work?), --build DIR (where the programs were built), --no-peer.
Prints one JSON object per result: name, value, unit, peer, peer_value, ratio (value / peer_value).
"""

import argparse
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

PPS_PER_STREAM = 50
OVERLOAD = 4
SENDER, GATE_A, GATE_B, RECEIVER = "10.81.1.1", "10.81.1.2", "10.81.2.2", "10.81.2.1"
FIRST_PORT = 30000
NG_PORT = 2223


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Network:
    """The namespaces; gone when the block ends."""

    def __init__(self):
        tag = f"pb{os.getpid()}"
        self.sender, self.gateway, self.receiver = (f"{tag}{x}" for x in "sgr")
        self.spaces = (self.sender, self.gateway, self.receiver)

    def __enter__(self):
        try:
            for space in self.spaces:
                run("ip", "netns", "add", space)
                run("ip", "-n", space, "link", "set", "lo", "up")
                run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.ip_local_port_range=50000 60999")
            self.link(self.sender, "to-sender", SENDER, GATE_A)
            self.link(self.receiver, "to-receiver", RECEIVER, GATE_B)
        except subprocess.CalledProcessError as error:
            self.__exit__()
            sys.exit(f"bench: {' '.join(error.cmd)}: {error.stderr.strip()}")
        return self

    def link(self, space, name, far, near):
        run("ip", "-n", self.gateway, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", space)
        for where, device, address in ((self.gateway, name, near), (space, "eth0", far)):
            run("ip", "-n", where, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", where, "link", "set", device, "up")

    def __exit__(self, *_):
        for space in self.spaces:
            run("ip", "netns", "del", space, check=False)

    def start(self, space, *command, **options):
        return subprocess.Popen(["ip", "netns", "exec", space, *command], **options)


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Postern:
    name = "postern"

    def __init__(self, network, build, streams):
        self.process = network.start(
            network.gateway, f"{build}/tests/bench/relay_host", str(streams), GATE_A, GATE_B, f"{SENDER}:{FIRST_PORT}",
            f"{RECEIVER}:{FIRST_PORT}", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            self.ports.append(int(line.split()[0]))
        if len(self.ports) != streams:
            stop(self.process)
            sys.exit("bench: relay_host did not start")

    def close(self):
        self.process.stdin.close()
        totals = self.process.stdout.read().strip()
        stop(self.process)
        print(f"bench: {self.name}: {totals}", file=sys.stderr)


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in value.items()) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(bencode(v) for v in value) + b"e"
    data = value.encode()
    return b"%d:%s" % (len(data), data)


class Rtpengine:
    name = "rtpengine"

    def __init__(self, network, _build, streams):
        # The NG socket sits on the gateway's address, where the sender's namespace can reach it.
        self.process = network.start(
            network.gateway, "rtpengine", "--config-file=none", "--table=-1", f"--interface=a/{GATE_A}",
            f"--interface=b/{GATE_B}", f"--listen-ng={GATE_A}:{NG_PORT}", "--foreground", "--log-stderr", "--log-level=2",
            "--num-threads=1", "--timeout=86400", "--silent-timeout=86400", "--delete-delay=0", "--port-min=20000",
            "--port-max=29999", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.network = network
        self.cookie = 0
        self.ports = []
        with Inside(network.sender):
            self.ng = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ng.connect((GATE_A, NG_PORT))
        self.ng.settimeout(1)
        try:
            self.wait_until_up()
            for i in range(streams):
                self.ports.append(self.set_up(i))
        except (OSError, ValueError) as error:
            self.close()
            sys.exit(f"bench: rtpengine: {error}")

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
        port = FIRST_PORT + 2 * i
        common = {"call-id": f"bench-{i}", "from-tag": "a", "ICE": "remove", "replace": ["origin"]}
        offer = self.ask({"command": "offer", "sdp": sdp(SENDER, port), "direction": ["a", "b"], **common})
        answer = self.ask({"command": "answer", "sdp": sdp(RECEIVER, port), "to-tag": "b", **common})
        ports = [int(p) for p in re.findall(rb"m=audio (\d+)", offer + answer)]
        if len(ports) != 2:
            raise ValueError(f"unexpected reply: {offer[:200]} {answer[:200]}")
        return ports[1]

    def close(self):
        self.ng.close()
        stop(self.process)


class Inside:
    """Makes sockets of this process in another network namespace."""

    def __init__(self, space):
        self.space = space

    def __enter__(self):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        enter(f"/run/netns/{self.space}")

    def __exit__(self, *_):
        enter(f"/proc/self/fd/{self.home}")
        os.close(self.home)


def enter(path):
    import ctypes
    fd = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def sdp(address, port):
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n")


def stream_files(folder, ports):
    """Lines for rtptool: the sender's and the receiver's ends of these streams."""
    paths = [os.path.join(folder, name) for name in ("sender", "receiver")]
    with open(paths[0], "w", encoding="ascii") as sender, open(paths[1], "w", encoding="ascii") as receiver:
        for i, port in enumerate(ports):
            sender.write(f"{SENDER}:{FIRST_PORT + 2 * i} {GATE_A}:{port} {i + 1}\n")
            receiver.write(f"{RECEIVER}:{FIRST_PORT + 2 * i} - {i + 1} {i + 1}\n")
    return paths


def offer_load(network, relay, build, streams, pps, seconds):
    """One load. Returns what was sent and received, the CPU time it took, and how many streams arrived."""
    tool = f"{build}/tests/tools/rtptool"
    with tempfile.TemporaryDirectory() as folder:
        sender_file, receiver_file = stream_files(folder, relay.ports[:streams])
        receiver = network.start(network.receiver, tool, "--streams", receiver_file, "--seconds", str(seconds + 3),
                                 "--json", stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        before = cpu_seconds(relay.process.pid)
        sender = network.start(network.sender, tool, "--streams", sender_file, "--pps", str(pps), "--count",
                               str(pps * seconds), "--seconds", str(seconds), "--json", "--brief",
                               stdout=subprocess.PIPE, text=True)
        sent = json.loads(sender.communicate()[0])
        got = json.loads(receiver.communicate()[0])
        cpu = cpu_seconds(relay.process.pid) - before
        time.sleep(1)
    return measure(sent, got, cpu, seconds)


def measure(sent, got, cpu, seconds):
    received = sum(s["received"] for s in got["per_stream"])
    return {
        "sent": sent["sent"], "received": received, "offered_pps": round(sent["sent"] / seconds),
        "loss": 1 - received / max(1, sent["sent"]), "cpu_us": cpu * 1e6 / max(1, received),
        "alive": sum(1 for s in got["per_stream"] if s["received"] > 0), "cpu": cpu,
    }


def measure_relay(kind, network, options):
    """All loads on one relay. Returns name -> (value, unit)."""
    loads = [1000, 2000] if options.short else [20000, 60000, 90000]
    streams = loads[-1] // PPS_PER_STREAM
    results = {}
    relay = kind(network, options.build, streams)
    try:
        for load in loads:
            r = offer_load(network, relay, options.build, load // PPS_PER_STREAM, PPS_PER_STREAM, options.seconds)
            note(kind, f"{load} pps", r)
            results[f"relay_cpu_per_packet_{load}pps"] = (r["cpu_us"], "us")
            results[f"relay_loss_{load}pps"] = (r["loss"], "ratio")
        r = offer_load(network, relay, options.build, streams, PPS_PER_STREAM * OVERLOAD, options.seconds)
        note(kind, "overload", r)
        results["relay_overload_forwarded"] = (r["received"] / options.seconds, "packets/s")
        r = offer_load(network, relay, options.build, streams, max(1, loads[0] // streams), options.seconds)
        note(kind, "recovery", r)
        results["relay_streams_alive_after_overload"] = (r["alive"] / streams, "ratio")
        results["relay_loss_after_overload"] = (r["loss"], "ratio")
    finally:
        relay.close()
    return results


def note(kind, what, r):
    print(f"bench: {kind.name}: {what}: offered {r['offered_pps']} pps, loss {r['loss']:.4%}, {r['cpu_us']:.2f} us CPU per "
          f"packet, {r['alive']} streams alive", file=sys.stderr)


def options_of(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--build", default=os.environ.get("POSTERN_BUILDDIR", os.path.join(top, "build")))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args(argv)
    if options.short:
        options.seconds = 2
    return options


def main(argv):
    options = options_of(argv)
    if os.geteuid() != 0:
        print("bench: needs root for network namespaces", file=sys.stderr)
        return 77
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    has_peer = not options.no_peer and shutil.which("rtpengine") is not None
    peer = {}
    with Network() as network:
        if has_peer:
            peer = measure_relay(Rtpengine, network, options)
        own = measure_relay(Postern, network, options)
    for name, (value, unit) in own.items():
        peer_value = peer.get(name, (None,))[0]
        print(json.dumps({
            "name": name, "value": round(value, 4), "unit": unit, "peer": "rtpengine" if has_peer else None,
            "peer_value": None if peer_value is None else round(peer_value, 4),
            "ratio": round(value / peer_value, 3) if peer_value else None,
        }))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
