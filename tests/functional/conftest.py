"""Fixtures of the functional tests. They need root (for namespaces), iproute2, nsenter and the built programs:

    POSTERN_BUILDDIR=build /usr/bin/python3 -m pytest tests/functional
"""
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import harness  # noqa: E402
import sipcall  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--cases", type=int, default=3000, help="broken messages that test_mutations.py sends")


LANES = ("relay", "conntrack", "tc", "xdp")
LONG = ("test_alg_ftp", "test_alg_attacks", "test_restart_kernel", "test_quickstart", "test_mutations")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Several processes share the tests: a module goes to one of them as a whole, or as many as it has lanes. So what is made
    for a module, or for one of its lanes, is made once. Those of ALGs take long and make little: they go by test."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            module, _, test = nodeid.partition("::")
            if "/test_alg_" in module:
                return f"{module} {test.partition('[')[0]}"
            lanes = [word for word in test.partition("[")[2].rstrip("]").split("-") if word in LANES]
            return f"{module} {lanes[0] if lanes else ''}"

    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)  # where several processes work, none should be left with these
    reason = None
    if os.geteuid() != 0:
        reason = "needs root: network namespaces"
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            reason = f"needs {program}"
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def network():
    net = harness.Network()
    yield net
    net.delete()


@pytest.fixture
def start_gateway(network):
    """Starts the gateway with changes to the usual configuration; checks at the end that it stops well."""
    if not (harness.BUILD / "posternd").exists():
        pytest.skip("posternd is not built")
    started = []

    def start(changes=None, arguments=(), **environment):
        gateway = harness.Gateway(network, directory, changes)
        gateway.arguments = arguments
        started.append(gateway)
        return gateway.start(**environment)

    with harness.run_directory() as directory:
        yield start
        for gateway in started:
            gateway.finish()


@pytest.fixture
def gateway(start_gateway):
    return start_gateway()


@pytest.fixture
def endpoint(network):
    """Makes SIP endpoints: endpoint("caller", address, user)."""
    made = []

    def make(side, host, user, port=5060):
        space = getattr(network, side)
        sock = space.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.append(sipcall.Endpoint(sipcall.bound(sock, host, port), user))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def alice(network, endpoint):
    one = endpoint("caller", network.CALLER, "alice")
    one.proxy = (network.OUTER, 5060)
    return one


@pytest.fixture
def bob(network, endpoint):
    one = endpoint("callee", network.CALLEE, "bob")
    one.proxy = (network.INNER, 5060)
    return one


@pytest.fixture
def rtp(network):
    """Makes RTP endpoints: rtp("caller", host, port, number, count=..., pps=...)."""
    made = []

    def make(side, host, port, number, **options):
        made.append(harness.Rtp(getattr(network, side), host, port, number, **options))
        return made[-1]

    yield make
    for one in made:
        harness.stop(one.process)


@pytest.fixture
def rtp_streams(network, tmp_path):
    """Makes many RTP endpoints at once: rtp_streams("caller", lines, count=..., pps=...)."""
    made = []

    def make(side, lines, **options):
        made.append(harness.RtpStreams(getattr(network, side), tmp_path, lines, **options))
        return made[-1]

    yield make
    for one in made:
        harness.stop(one.process)


@pytest.fixture
def sipp(network, tmp_path):
    """Starts SIPp: sipp("caller", "uac", *arguments, calls=1)."""
    if shutil.which("sipp") is None:
        pytest.skip("needs sipp")
    made = []

    def make(side, scenario, *arguments, calls=1):
        local = network.CALLER if side == "caller" else network.CALLEE
        made.append(harness.Sipp(getattr(network, side), tmp_path, scenario, local, arguments, calls))
        return made[-1]

    yield make
    for one in made:
        harness.stop(one.process)


@pytest.fixture
def capture(network, tmp_path):
    """Starts captures: capture("caller") sees the outer side, capture("callee") the inner one."""
    if shutil.which("tcpdump") is None:
        pytest.skip("needs tcpdump")
    made = []

    def make(side):
        interface = "outer" if side == "caller" else "inner"
        made.append(harness.Capture(getattr(network, side), interface, tmp_path / f"{side}.pcap"))
        return made[-1]

    yield make
    for one in made:
        harness.stop(one.process)


@pytest.fixture(scope="module")
def shared_gateway(network):
    """One gateway for a whole module, so that its messages add up. Replies to errors are not limited."""
    if not (harness.BUILD / "posternd").exists():
        pytest.skip("posternd is not built")
    with harness.run_directory() as directory:
        one = harness.Gateway(network, directory, {"limits": {"sip_replies_per_s": 100000}})
        one.start()
        yield one
        one.finish()
