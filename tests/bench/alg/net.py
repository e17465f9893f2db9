"""The network of the ALG benchmark, and what a gateway in it costs.

    client 192.0.2.10 -- 192.0.2.1 gateway 198.51.100.1 -- 198.51.100.20 server

As that of the media benchmarks, each processor with its role, but interfaces do not hold packets back, which round
trips would show, and transmit through a queue, so that a burst of TCP waits instead of being lost in a ring of 256.
Packets have the wire's size: a veth that takes super-packets would have them received on the sender's processor.
Receivers put them together again (GRO), as with a network card.
"""
import os

from calls.rig import TICKS_PER_SECOND, process_tree, stat_fields
from media import net
from media.net import ETHTOOL_SGRO, ETHTOOL_STSO, ETHTOOL_STXCSUM, TRAFFIC_CPU, running_ns, threads_of

CLIENT, OUTER, INNER, SERVER = net.SENDER, net.GATE_A, net.GATE_B, net.RECEIVER
NS = 1e9
QUEUE = 1000


class End(net.End):
    OFFLOADS = ((ETHTOOL_STXCSUM, 1), (ETHTOOL_STSO, 0), (ETHTOOL_SGRO, 1))

    def __init__(self, space, device, address, _interrupts_ns=0):
        super().__init__(space, device, address, 0)

    def bring_up(self):
        self.space.run("tc", "qdisc", "add", "dev", self.device, "root", "pfifo", "limit", QUEUE)
        super().bring_up()


class Network(net.Network):
    """Names as they are told here: `client`, `gateway`, `server`."""
    End = End

    def __enter__(self):
        super().__enter__()
        try:
            self.client, self.server = self.sender, self.receiver
            # A session takes two ports, and gives them back a minute later.
            self.client.set(net__ipv4__ip_local_port_range="10000 65000", net__ipv4__tcp_tw_reuse=1)
            self.receiving = self.gateway_threads()
            for thread in self.from_sender.threads() + self.to_receiver.threads():
                os.sched_setaffinity(thread, {TRAFFIC_CPU})
        except BaseException:
            self.__exit__()
            raise
        return self


class MediaNetwork(Network):
    """With the interfaces of the media benchmarks: XDP programs see whole checksums."""
    End = net.End


class Cost:
    """CPU time of a gateway from here to stop(): of its processes, and of all, which are those and the kernel's threads
    that receive for it."""

    def __init__(self, network, gateway):
        self.network, self.gateway = network, gateway
        self.before = self.read()

    def stop(self):
        self.processes_s, kernel = (after - before for after, before in zip(self.read(), self.before))
        self.all_s = self.processes_s + kernel
        return self

    def read(self):
        pids = [pid for process in self.gateway.processes for pid in process_tree(process.pid)]
        return sum(map(process_s, pids)), sum(running_ns(self.network.receiving).values()) / NS


def process_s(pid):
    """That of its threads to the nanosecond, and of children that have ended."""
    fields = stat_fields(pid)
    if fields is None:
        return 0
    return sum(running_ns(threads_of(pid)).values()) / NS + sum(map(int, fields[13:15])) / TICKS_PER_SECOND
