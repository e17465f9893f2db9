"""What the media benchmarks stand on: three namespaces, and the CPU time of what works inside them.

    sender 192.0.2.10 -- 192.0.2.1 gateway 198.51.100.1 -- 198.51.100.20 receiver

Two processors, two roles: everything of the gateway runs on PATH_CPU, generator and receiver run on TRAFFIC_CPU. A veth
pair would otherwise receive on the processor that sends, and charge the sending program for it. With threaded NAPI
each interface receives in a kernel thread of its own, which can be pinned, and whose running time is known to the
nanosecond: packets wait in a ring of 256, as they do in a network card, and are lost there when the thread is too slow.
"""
import array
import fcntl
import json
import os
import socket
import struct
import subprocess
from pathlib import Path

from calls.rig import Failure, netns

SENDER, GATE_A, GATE_B, RECEIVER = "192.0.2.10", "192.0.2.1", "198.51.100.1", "198.51.100.20"
FIRST_PORT, LAST_PORT = 20000, 59999
EPHEMERAL = "60000 65000"
TRAFFIC_CPU, PATH_CPU = 0, 1
INTERRUPTS_NS = 50000           # between two interrupts of an interface
RECEIVER_INTERRUPTS_NS = 25000  # of the receiver's: its ring is not to overflow
SIOCETHTOOL, ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGRO = 0x8946, 0x17, 0x1F, 0x2C


TOOLS = ["relay_host", "media/pinhole_client", "media/traffic", "media/traffic.bpf.o"]


def check_tools(build):
    if os.geteuid() != 0:
        raise Failure("needs root, to make network namespaces and to load BPF programs")
    for tool in TOOLS:
        if not (build / "tests/bench" / tool).is_file():
            raise Failure(f"there is no tests/bench/{tool} in {build}: build with clang and libbpf-dev installed "
                          "(CFLAGS='-O2 -g'), or give --build")


def pinned(cpu, *command):
    return ["taskset", "--cpu-list", str(cpu), *map(str, command)]


def running_ns(tasks):
    """Running time of each task that still exists, with the softirqs that interrupted it."""
    times = {}
    for task in tasks:
        try:
            times[task] = int(Path(f"/proc/{task}/schedstat").read_text("ascii").split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return times


def threads_of(pid):
    try:
        return [f"{pid}/task/{task}" for task in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        raise Failure(f"process {pid} has ended during the measurement") from None


def kernel_threads(prefix):
    """Process ids of the kernel threads whose name begins so."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text("utf-8", "replace").startswith(prefix):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


class End:
    """One interface: half of a veth pair."""
    # NAPI, so that frames of XDP programs can be sent to it; whole checksums and no super-packets.
    OFFLOADS = ((ETHTOOL_STXCSUM, 0), (ETHTOOL_STSO, 0), (ETHTOOL_SGRO, 1))

    def __init__(self, space, device, address, interrupts_ns=INTERRUPTS_NS):
        self.space, self.device, self.address, self.interrupts_ns = space, device, address, interrupts_ns

    def ip(self, *args):
        netns.ip("-n", self.space.name, *args)

    def set_up(self):
        """To be called on both ends before one is up: that is when each looks what the other can do."""
        self.ip("addr", "add", f"{self.address}/24", "dev", self.device)
        with self.space.socket(socket.AF_INET) as handle:
            for command, value in self.OFFLOADS:
                argument = array.array("B", struct.pack("II", command, value))
                request = struct.pack("16sP16x", self.device.encode(), argument.buffer_info()[0])
                fcntl.ioctl(handle, SIOCETHTOOL, request)

    def bring_up(self):
        self.ip("link", "set", self.device, "up")
        deferred = 2 if self.interrupts_ns else 0
        for name, value in (("threaded", 1), ("napi_defer_hard_irqs", deferred), ("gro_flush_timeout", self.interrupts_ns)):
            self.shell(f"echo {value} >/sys/class/net/{self.device}/{name}")

    def shell(self, text):
        # `ip netns exec` shows the namespace's own /sys, which nsenter does not.
        subprocess.run(["ip", "netns", "exec", self.space.name, "sh", "-c", text], check=True, capture_output=True,
                       text=True)

    def mac(self):
        output = subprocess.run(["ip", "-n", self.space.name, "-json", "link", "show", "dev", self.device], check=True,
                                capture_output=True, text=True).stdout
        return json.loads(output)[0]["address"]

    def threads(self):
        return kernel_threads(f"napi/{self.device}"[:15])


class Network:
    """The three namespaces; gone when the block ends."""

    End = End
    made = 0  # so far: the names of one network's threads must not be those of the one before

    def __init__(self):
        self.spaces = []
        Network.made += 1

    def __enter__(self):
        if os.cpu_count() < 2:
            raise Failure("needs two processors: one for traffic, one for the gateway")
        try:
            for name in ("sender", "gateway", "receiver"):
                self.spaces.append(netns.Namespace(name))
            self.sender, self.gateway, self.receiver = self.spaces
            tag = f"{os.getpid()}x{Network.made}"
            self.from_sender = self.End(self.sender, f"pms{tag}", SENDER)
            self.gate_a = self.End(self.gateway, f"pma{tag}", GATE_A)
            self.gate_b = self.End(self.gateway, f"pmb{tag}", GATE_B)
            self.to_receiver = self.End(self.receiver, f"pmr{tag}", RECEIVER, RECEIVER_INTERRUPTS_NS)
            for near, far in ((self.gate_a, self.from_sender), (self.gate_b, self.to_receiver)):
                self.join(near, far)
            self.sysctl("net/ipv4/ip_local_port_range", EPHEMERAL)
            self.sysctl("net/ipv4/ip_forward", "1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for space in self.spaces:
            space.delete()

    @staticmethod
    def join(near, far):
        near.ip("link", "add", near.device, "type", "veth", "peer", "name", far.device, "netns", far.space.name)
        for end in (near, far):
            end.set_up()
        for end in (near, far):
            end.bring_up()
        far.ip("route", "add", "default", "via", near.address)
        for end, other in ((near, far), (far, near)):  # no ARP while it is measured
            end.ip("neigh", "replace", other.address, "lladdr", other.mac(), "dev", end.device, "nud", "permanent")

    def sysctl(self, name, value):
        subprocess.run(self.gateway.command("sh", "-c", f"echo {value} >/proc/sys/{name}"), check=True,
                       capture_output=True, text=True)

    def gateway_threads(self):
        """The kernel threads in which the gateway receives, pinned to its processor."""
        threads = self.gate_a.threads() + self.gate_b.threads()
        for thread in threads:
            os.sched_setaffinity(thread, {PATH_CPU})
        return threads

    def pin_others(self):
        """The receiver counts at once when something arrives: it goes before the generator, which never sleeps."""
        for thread in self.from_sender.threads() + self.to_receiver.threads():
            os.sched_setaffinity(thread, {TRAFFIC_CPU})
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
