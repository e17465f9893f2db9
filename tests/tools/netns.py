"""Network namespaces for tests: made with iproute2, used from this process by opening sockets inside them."""
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
    """One namespace with loopback up. A name carries the process id, so that several runs never meet."""

    def __init__(self, name):
        self.name = f"pst{os.getpid()}-{name}"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")

    def delete(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)

    def command(self, *args):
        """The argument list that runs a program inside."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, args)]

    def socket(self, family, kind=socket.SOCK_DGRAM):
        """A socket of this process that lives inside: it belongs to the namespace in which it was made."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                return socket.socket(family, kind)
            finally:
                _setns(own)
        finally:
            os.close(there)
            os.close(own)


def join(a, b, link, addresses_a, addresses_b):
    """A veth pair between two namespaces; both ends get the name `link` and their addresses."""
    ip("-n", a.name, "link", "add", link, "type", "veth", "peer", "name", link, "netns", b.name)
    for space, addresses in ((a, addresses_a), (b, addresses_b)):
        for address in addresses:
            flags = ["nodad"] if ":" in address else []
            ip("-n", space.name, "addr", "add", address, "dev", link, *flags)
        ip("-n", space.name, "link", "set", link, "up")
