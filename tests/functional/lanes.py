"""The same tests over each path that media can take: a module that imports `network` from here (or `kernel_network` under
that name) runs once per path, in a network of its own whose outer side has a switch and a third host.

    caller --+
             +-- lan (switch) -- gateway -- callee
    stranger-+
"""
import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import netns
import pytest

import harness
from flows import hang_up
from harness import eventually


PORTS = range(20000, 20400)


class Lane(harness.Network):
    SPACES = ("caller", "stranger", "lan", "gateway", "callee")
    STRANGER = "192.0.2.77"

    def __init__(self, path, directory):
        self.path, self.directory = path, directory
        super().__init__()
        self.config = {
            "media": {"paths": ["relay"] if path == "relay" else [path, "relay"], "state_dir": str(directory / "state")},
            "realms": {name: {"media_ports": f"{PORTS[0]}-{PORTS[-1]}"} for name in ("outer", "inner")},
        }
        if path == "conntrack":  # as an administrator has to; the others do without
            self.forward(True)

    def join_outer(self, of_caller, of_gateway):
        """All three at one bridge, whose own namespace has no addresses."""
        netns.ip("-n", self.lan.name, "link", "add", "switch", "type", "bridge")
        netns.ip("-n", self.lan.name, "link", "set", "switch", "up")
        for name, space, addresses in (("caller", self.caller, of_caller), ("gateway", self.gateway, of_gateway),
                                       ("stranger", self.stranger, [f"{self.STRANGER}/24"])):
            netns.join(self.lan, space, "outer", [], addresses, name_a=name)
            netns.ip("-n", self.lan.name, "link", "set", name, "master", "switch")

    def forward(self, wanted):
        self.gateway.set(net__ipv4__ip_forward=int(wanted), net__ipv6__conf__all__forwarding=int(wanted))

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


def wanted(paths):
    """Those named in POSTERN_LANES, where it is set and names one of them: a second run need not take them all again."""
    named = os.environ.get("POSTERN_LANES", "").split()
    return [path for path in paths if path in named] or list(paths)


def lanes_of(*paths):
    """A fixture: a network for each of these paths in turn."""
    paths = wanted(paths)

    @pytest.fixture(scope="module", params=paths)
    def made(request):
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


class Keeper:
    """One gateway for all tests of a lane, as long as they leave it without calls: starting one takes its time, because every
    mechanism is proved."""

    def __init__(self, network, directory):
        self.network, self.directory, self.gateway = network, directory, None

    def get(self):
        if self.gateway is None:
            self.gateway = harness.Gateway(self.network, self.directory).start()
        return self.gateway

    def drop(self):
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            gateway.finish()


@pytest.fixture(scope="module")
def keeper(network):
    if not (harness.BUILD / "posternd").exists():
        pytest.skip("posternd is not built")
    with harness.run_directory() as directory:
        one = Keeper(network, directory)
        yield one
        one.drop()


def wait_usable(gateway, path):
    """With the gateway's own reason."""
    refused = [row for row in abilities(gateway, path) if not row["is_usable"]] if path != "relay" else []
    if refused:
        pytest.skip("; ".join(f"{row['path']} on {row['interface']}: {row['reason']}" for row in refused))


@pytest.fixture
def gateway(keeper, network):
    """A gateway whose streams take the path of this round."""
    one = keeper.get()
    wait_usable(one, network.path)
    yield one
    if one.process.poll() is not None or one.calls():
        keeper.drop()


@pytest.fixture
def lane(network, start_gateway):
    """The same, of this test alone: lane(changes of the configuration). Not beside `gateway`, in one module."""
    def start(changes=None):
        one = start_gateway(changes)
        wait_usable(one, network.path)
        return one

    return start


def abilities(gateway, path):
    """What the gateway says of one mechanism, once it knows: the helper proves its mechanisms in the background."""
    def found():
        rows = [row for row in gateway.api("/readyz?verbose")["media_paths"] if row["path"] == path]
        return rows if rows and all(row["interface"] for row in rows) else None

    return eventually(found, 10, f"what {path} can do")


def sides(gateway):
    """Both directions of every stream of the only call."""
    return [stream[side] for stream in gateway.call()["streams"] for side in "ab"]


def wait_path(gateway, path, n=2, timeout=5):
    """All n directions of all calls take that path."""
    end = time.monotonic() + timeout
    while True:
        calls = [gateway.raw("GET", f"/v1/calls/{call['id']}")[1] for call in gateway.calls("?limit=1000")]
        found = [stream[side] for call in calls for stream in call["streams"] for side in "ab"]
        others = [f"{side['path']}: {side['path_reason']}" for side in found if side["path"] != path]
        if len(found) == n and not others:
            return
        assert time.monotonic() < end, f"{len(found)} directions instead of {n}; {len(others)} not on {path}: {set(others)}"
        time.sleep(0.1)


def hang_up_all(gateway, made):
    for a, b, *_ in made:
        hang_up(a, b)
    gateway.wait_no_calls()
    eventually(lambda: not pinholes(gateway), what="the end of all pinholes")


def pinholes(gateway, query="?limit=1000"):
    return gateway.api("/v1/pinholes" + query)["items"]


def summary(gateway):
    return gateway.api("/v1/pinholes?limit=1")["summary"]
