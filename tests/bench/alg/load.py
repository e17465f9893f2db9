"""What goes through the gateways: FTP between the two ends of alg/ftp.c; RTSP sessions with streams of rtptool."""
import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path

from alg.net import CLIENT, SERVER, Cost, MediaNetwork, Network
from calls import rig
from calls.rig import Failure
from media.net import TRAFFIC_CPU, pinned

FTP_THREADS = 64
TIMEOUT_S = 600
GB = 1e9
RTP_PPS = 50
MOVE_S = 2.5         # until streams are in the kernel
CLIENT_STREAMS = 100000  # added to a stream's number: its identity the other way
LOSS_MAX, RELAYED_MAX = 0.001, 0.02


class Tool:
    """A program in one of the namespaces that takes lines and answers with lines."""

    def __init__(self, space, *command):
        self.name = Path(command[0]).name
        self.process = subprocess.Popen(space.command(*pinned(TRAFFIC_CPU, *command)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Failure(f"{self.name} has ended")
        return line

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def ready(self):
        if self.line() != "ready\n":
            raise Failure(f"{self.name} does not start")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def wait_until_open(network, place, say=b""):
    """Until a connection there gets an answer."""
    def check():
        with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(place)
                probe.sendall(say)
                return probe.recv(1000)[:4] in (b"220 ", b"220-", b"RTSP")
            except OSError:
                return False
    rig.wait_until(check, 15, f"an answer at {place[0]}:{place[1]}")


# ---- FTP

class Ftp:
    """name -> (value, unit) of all that is measured through one gateway."""
    is_recorded = True
    network_kind, paths = Network, "nft, relay"

    def __init__(self, network, options, gateway, _folder):
        self.network, self.options, self.gateway = network, options, gateway
        self.tool, self.figures = options.build / "tests/bench/alg/ftp", {}

    def measure(self):
        server = self.network.server.command(*pinned(TRAFFIC_CPU, self.tool, "serve", f"{SERVER}:21", FTP_THREADS))
        with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
            try:
                if process.stdout.readline() != "ready\n":
                    raise Failure("the FTP server does not start")
                wait_until_open(self.network, self.gateway.ftp)
                for what in (self.transfers, self.round_trips, self.sessions):
                    what()
            finally:
                process.kill()
        return self.figures

    def run(self, *arguments):
        """What the client prints, and what that cost the gateway."""
        what, *numbers = arguments
        host, port = self.gateway.ftp
        command = self.network.client.command(*pinned(TRAFFIC_CPU, self.tool, what, f"{host}:{port}", *numbers))
        cost = Cost(self.network, self.gateway)
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if what in ("get", "put", "sessions"):
            time.sleep(self.options.settle)
        cost.stop()
        if done.returncode != 0 or not done.stdout:
            raise Failure(f"{self.gateway.name}: ftp {what}: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout), cost

    def transfers(self):
        for what, name in (("get", "retr"), ("put", "stor")):
            found, cost = self.run(what, self.options.bytes)
            self.figures[f"{name}_mbps"] = round(found["octets"] * 8 / found["seconds"] / 1e6), "Mbit/s"
            self.figures[f"{name}_busy"] = round(cost.all_s / found["seconds"], 3), "cores"
            self.figures[f"{name}_cpu_s_per_gb"] = round(cost.all_s / (found["octets"] / GB), 4), "s"
            self.figures[f"{name}_mbps_per_core"] = round(found["octets"] * 8 / cost.all_s / 1e6), "Mbit/s"
            if self.gateway.processes:
                self.figures[f"{name}_process_s_per_gb"] = round(cost.processes_s / (found["octets"] / GB), 4), "s"

    def round_trips(self):
        for name, count in (("noop", self.options.noops), ("epsv", self.options.epsvs)):
            found, _ = self.run(name, count)
            for which in ("p50", "p99"):
                self.figures[f"{name}_{which}"] = round(found[f"{which}_us"], 1), "us"

    def sessions(self):
        found, cost = self.run("sessions", self.options.clients, self.options.seconds, 1000)
        n = found["sessions"]
        if found["failed"] or not n:
            raise Failure(f"{self.gateway.name}: {found['failed']} sessions failed, {n} succeeded")
        self.figures["sessions_per_s"] = round(n / found["seconds"], 1), "sessions/s"
        if self.gateway.processes:
            self.figures["session_process_us"] = round(cost.processes_s / n * 1e6, 1), "us"
        self.figures["session_cpu_us"] = round(cost.all_s / n * 1e6, 1), "us"
        self.figures["sessions_per_core"] = round(n / cost.all_s), "sessions/s"


# ---- RTSP

class Rtsp:
    """The same of RTSP: sessions that are set up one after the other, and their streams."""
    is_recorded = False
    network_kind, paths = MediaNetwork, "xdp, tc, nft, relay"

    def __init__(self, network, options, gateway, folder):
        self.network, self.options, self.gateway, self.folder = network, options, gateway, folder
        self.ends, self.figures = Path(__file__).parent / "rtsp_ends.py", {}

    def measure(self):
        with Tool(self.network.server, "/usr/bin/python3", self.ends, "serve", SERVER, 554) as server:
            server.ready()
            wait_until_open(self.network, self.gateway.rtsp, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            cost = Cost(self.network, self.gateway)
            with Tool(self.network.client, "/usr/bin/python3", self.ends, "play", *self.gateway.rtsp,
                      self.options.streams) as client:
                found = json.loads(client.line())
                time.sleep(self.options.settle)
                self.set_up(found, cost.stop())
                server.tell("streams")
                self.flow(json.loads(server.line()), found["streams"])
        return self.figures

    def set_up(self, found, cost):
        n = len(found["streams"])
        self.figures["rtsp_setup_p50"] = round(found["p50_us"], 1), "us"
        self.figures["rtsp_setup_cpu_us"] = round(cost.all_s / n * 1e6, 1), "us"
        if self.gateway.processes:
            self.figures["rtsp_setup_process_us"] = round(cost.processes_s / n * 1e6, 1), "us"

    def flow(self, of_server, of_client):
        """Each stream flows to the client, which sends some packets first, as players do that sit behind NAT."""
        n, seconds = len(of_client), self.options.seconds
        to_client = [f"{SERVER}:{port} {host}:{peer} {number + 1}" for number, port, host, peer in of_server]
        to_server = [f"{CLIENT}:{port} {host}:{peer} {CLIENT_STREAMS + number} {number + 1}"
                     for number, port, host, peer in of_client]
        with self.rtptool(self.network.client, to_server, "--count", 3) as receiver, \
                self.rtptool(self.network.server, to_client) as sender:
            for tool in (receiver, sender):
                tool.ready().tell("start")
            time.sleep(MOVE_S)
            before = self.gateway.media_packets()
            cost = Cost(self.network, self.gateway)
            time.sleep(seconds)
            cost.stop()
            self.check_paths(before, self.gateway.media_packets())
            sender.tell("stop")
            time.sleep(self.options.settle)
            self.check(ask(sender), ask(receiver), n)
        self.figures[f"rtsp_cores@{n}"] = round(cost.all_s / seconds, 4), "cores"
        if self.gateway.processes:
            self.figures[f"rtsp_process_cores@{n}"] = round(cost.processes_s / seconds, 4), "cores"
        self.figures["rtsp_streams_per_core"] = round(n * seconds / cost.all_s), "streams"

    def rtptool(self, space, streams, *more):
        path = self.folder / space.name
        path.write_text("".join(f"{line}\n" for line in streams), "ascii")
        return Tool(space, self.options.build / "tests/tools/rtptool", "--streams", path, "--control", "--json",
                    "--brief", "--rtcp", "--pps", RTP_PPS, *more)

    def check_paths(self, before, after):
        """Media that goes through a process is another figure."""
        packets = {path: after[path] - before.get(path, 0) for path in after}
        if packets.get("relay", 0) > RELAYED_MAX * sum(packets.values()):
            raise Failure(f"{self.gateway.name}: media is not in the kernel: {packets}")

    def check(self, sent, received, n):
        missing = sent["sent"] - received["received"]
        rig.note(f"{self.gateway.name}: {n} streams: {sent['sent']} packets sent, {missing} not received, "
                 f"{received['foreign']} foreign; RTCP {sent['rtcp_received']} and {received['rtcp_received']}")
        if received["foreign"] or missing > LOSS_MAX * sent["sent"]:
            raise Failure(f"{self.gateway.name}: {sent['sent']} packets, {missing} lost, {received['foreign']} foreign")


def ask(tool):
    tool.tell("report")
    return json.loads(tool.line())
