"""Network namespaces for tests: made with iproute2, used from this process by opening sockets inside them."""
import collections
import ctypes
import os
import socket
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """One namespace with loopback up. A name carries the process id, and a number when it is not the first of its name, so
    that several never meet."""
    made = collections.Counter()

    def __init__(self, name):
        self.made[name] += 1
        self.name = f"pst{os.getpid()}-{name}" + (str(self.made[name]) if self.made[name] > 1 else "")
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")

    def delete(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)

    def run(self, *args):
        """Runs a program inside to its end; its output. It must succeed."""
        done = subprocess.run(self.command(*args), check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"{self.name}: {' '.join(map(str, args))}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def set(self, **settings):
        """sysctl of the namespace: set(net__ipv4__ip_forward=1)."""
        for name, value in settings.items():
            self.run("sysctl", "-q", "-w", f"{name.replace('__', '.')}={value}")

    def command(self, *args):
        """The argument list that runs a program inside."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, args)]

    def socket(self, family, kind=socket.SOCK_DGRAM, protocol=0):
        """A socket of this process that lives inside: it belongs to the namespace in which it was made."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                return socket.socket(family, kind, protocol)
            finally:
                _setns(own)
        finally:
            os.close(there)
            os.close(own)


def join(a, b, link, addresses_a, addresses_b, name_a=None):
    """A veth pair between two namespaces; both ends get the name `link` (that in `a` another one if told) and their
    addresses."""
    name_a = name_a or link
    ip("-n", a.name, "link", "add", name_a, "type", "veth", "peer", "name", link, "netns", b.name)
    for space, name, addresses in ((a, name_a, addresses_a), (b, link, addresses_b)):
        for address in addresses:
            flags = ["nodad"] if ":" in address else []
            ip("-n", space.name, "addr", "add", address, "dev", name, *flags)
        ip("-n", space.name, "link", "set", name, "up")
