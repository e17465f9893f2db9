"""The same tests over each path that media can take: a module that imports `network` from here (or `kernel_network` under
that name) runs once per path, in a network of its own whose outer side has a switch and a third host.

    caller --+
             +-- lan (switch) -- gateway -- callee
    stranger-+
"""
import contextlib
import shutil
import subprocess
from pathlib import Path

import netns
import pytest

import harness
from flows import hang_up
from harness import eventually


class Lane(harness.Network):
    SPACES = ("caller", "stranger", "lan", "gateway", "callee")
    STRANGER = "192.0.2.77"

    def __init__(self, path, directory):
        self.path, self.directory = path, directory
        super().__init__()
        if path != "relay":
            self.media = {"paths": [path, "relay"], "state_dir": str(directory / "state")}
        # Kernel paths forward: that must be allowed, and is what an administrator has to set too.
        self.gateway.set(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)

    def join_outer(self, of_caller, of_gateway):
        """All three at one bridge, whose own namespace has no addresses."""
        netns.ip("-n", self.lan.name, "link", "add", "switch", "type", "bridge")
        netns.ip("-n", self.lan.name, "link", "set", "switch", "up")
        for name, space, addresses in (("caller", self.caller, of_caller), ("gateway", self.gateway, of_gateway),
                                       ("stranger", self.stranger, [f"{self.STRANGER}/24"])):
            netns.join(self.lan, space, "outer", [], addresses, name_a=name)
            netns.ip("-n", self.lan.name, "link", "set", name, "master", "switch")

    def complete_checksums(self, wanted=True):
        """A veth sends packets whose checksum is still to be computed, which an XDP program cannot see; hosts on a wire do
        not. And what XDP sends into a veth arrives only where the other end polls (GRO)."""
        if shutil.which("ethtool") is None:
            pytest.skip("needs ethtool")
        for space, name in ((self.caller, "outer"), (self.stranger, "outer"), (self.callee, "inner")):
            space.run("ethtool", "-K", name, "tx", "off" if wanted else "on")
        for space, name in ((self.lan, "gateway"), (self.callee, "inner")):
            space.run("ethtool", "-K", name, "gro", "on")

    @contextlib.contextmanager
    def losing(self, side, port, share):
        """One of `share` datagrams to that port is lost between that side and the gateway."""
        self.lan.run("nft", f"add table netdev loss; add chain netdev loss in {{ type filter hook ingress "
                     f"device \"{side}\" priority 0; }}; add rule netdev loss in udp dport {port} "
                     f"numgen inc mod {share} == {share - 1} drop")
        try:
            yield
        finally:
            self.lan.run("nft", "delete table netdev loss")

    def delete(self):
        super().delete()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.directory)):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)


def lanes_of(*paths):
    """A fixture: a network for each of these paths in turn."""
    @pytest.fixture(scope="module", params=paths)
    def made(request):
        if request.param != "relay":
            pytest.skip(f"{request.param}: not in this build yet")
        with harness.run_directory() as directory:
            one = Lane(request.param, directory)
            try:
                if request.param == "xdp":
                    one.complete_checksums()
                yield one
            finally:
                one.delete()

    return made


network = lanes_of("relay", "conntrack", "tc", "xdp")
kernel_network = lanes_of("conntrack", "tc", "xdp")


@pytest.fixture
def lane(network, start_gateway):
    """A gateway whose streams take the path of this round; where the machine cannot do it, the test skips with the
    gateway's own reason."""
    def start(changes=None):
        gateway = start_gateway(changes)
        if network.path != "relay":
            wait_usable(gateway, network.path)
        return gateway

    return start


def wait_usable(gateway, path):
    """The helper proves its mechanisms in the background."""
    def found():
        rows = [row for row in gateway.api("/readyz?verbose")["media_paths"] if row["path"] == path]
        return rows if {row["realm"] for row in rows} >= {"outer", "inner"} else None

    rows = eventually(found, what=f"{path} in media_paths")
    refused = [f"realm {row['realm']}: {row['reason']}" for row in rows if not row["is_usable"]]
    if refused:
        pytest.skip(f"{path}: {'; '.join(refused)}")


def sides(gateway):
    """Both directions of every stream of the only call."""
    return [stream[side] for stream in gateway.call()["streams"] for side in "ab"]


def wait_path(gateway, path, n=2, timeout=5):
    """All n directions of all calls take that path."""
    def taken():
        calls = [gateway.api(f"/v1/calls/{call['id']}") for call in gateway.calls("?limit=1000")]
        paths = [stream[side]["path"] for call in calls for stream in call["streams"] for side in "ab"]
        return paths == [path] * n

    eventually(taken, timeout, f"{n} directions on {path}")


def hang_up_all(gateway, made):
    for a, b, *_ in made:
        hang_up(a, b)
    gateway.wait_no_calls()
    eventually(lambda: not pinholes(gateway), what="the end of all pinholes")


def pinholes(gateway, query="?limit=1000"):
    return gateway.api("/v1/pinholes" + query)["items"]
