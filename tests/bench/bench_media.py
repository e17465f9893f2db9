"""What media costs on each path through the gateway, beside plain kernel forwarding and rtpengine in user space.

Every path gets the same RTP streams of 172 bytes, one way: 50 packets per second and stream at 20, 60 and 90 thousand
packets per second for the CPU time per packet, then as many as it takes to fill one processor. Kernel paths are
flooded; user-space paths are led up in steps, because rtpengine does not come back from a flood. Every packet that
counts has had its addresses, ports and SSRC compared, and each thousandth its checksums. The README says what the
figures are made of.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from calls.rig import Failure, TOP, emit, note, run_main  # noqa: E402
from media import paths  # noqa: E402
from media.net import Network, check_tools  # noqa: E402
from media.traffic import Traffic  # noqa: E402

PPS_PER_FLOW = 50
MANY_FLOWS = 20000
COUNTERS_S = 1.5  # the helper reads those of conntrack once a second
SET_UP = (("setup_p50", "us"), ("setup_p99", "us"), ("setup_batch_p99", "us"), ("setup_rate", "pinholes/s"))


class Results:
    """name -> value of each system; printed once all are known."""

    def __init__(self):
        self.units, self.values, self.reasons = {}, {}, {}

    def add(self, system, name, value, unit, reason=None):
        self.units[name] = unit
        self.values[system, name] = value
        if value is None:
            self.reasons[system, name] = reason

    def print(self, systems):
        for name, unit in self.units.items():
            for system in systems:
                if (system, name) in self.values:
                    self.print_one(system, name, unit, [s for s in systems if s in paths.PEERS])

    def print_one(self, system, name, unit, peers):
        value, reason = self.values[system, name], self.reasons.get((system, name))
        peers = [p for p in peers if system not in paths.PEERS and (p, name) in self.values]
        for peer in peers or [None]:
            emit(f"media.{system}.{name}", value, unit, peer, self.values.get((peer, name)), reason)


def cpu_at_loads(traffic, options, results, name):
    for load in options.loads:
        m = traffic.measure(load, options.seconds, load // PPS_PER_FLOW)
        note(f"{name} @{load}: {m}")
        fault = m.fault() or (f"{m.loss:.2%} lost" if m.loss > 0.01 else None)
        results.add(name, f"cpu_us@{load}", None if fault else round(m.cpu_us, 3), "us", fault)


def saturation(traffic, options, results, gateway, suffix=""):
    flows = len(gateway.flows)
    if gateway.is_user_space:
        m = traffic.lead_up(options.step_seconds, flows)
    else:
        m = traffic.measure(0, options.seconds, flows)
        note(f"{gateway.name}, flood of {flows} flows: {m}")
    fault = m.fault()
    results.add(gateway.name, f"pps{suffix}", None if fault else round(m.pps), "packets/s", fault)
    results.add(gateway.name, f"busy{suffix}", None if fault else round(m.core, 3), "cores", fault)
    per_cpu_second = None if fault else round(m.pps / m.core)
    results.add(gateway.name, f"pps_per_cpu_second{suffix}", per_cpu_second, "packets/s", fault)
    return m


def compare_counters(gateway, received):
    """The paths' own statistics are on while they are measured; are they right?"""
    if not isinstance(gateway, paths.Pinholes):
        return
    time.sleep(COUNTERS_S)
    c = gateway.counters()
    note(f"{gateway.name}: its counters say {c['packets']} packets forwarded, {c['lost']} lost before, {c['active']} of "
         f"{c['pinholes']} pinholes used; the receiver counted {received}")


def measure_path(kind, options, results):
    for flows, suffix in ((options.flows, ""), (options.many_flows, f"@{options.many_flows}flows")):
        if suffix and kind.name != "xdp":
            continue
        with tempfile.TemporaryDirectory(prefix="postern-bench-") as folder, Network() as network:
            gateway = kind(network, options.build, Path(folder), flows)
            try:
                with Traffic(network, options.build, Path(folder), gateway, options.socket) as traffic:
                    if not suffix:
                        cpu_at_loads(traffic, options, results, kind.name)
                    saturation(traffic, options, results, gateway, suffix)
                    compare_counters(gateway, traffic.receiver.ask()["right"])
                for name, unit in SET_UP if isinstance(gateway, paths.Pinholes) else ():
                    results.add(kind.name, name + suffix, gateway.set_up[name], unit)
            finally:
                gateway.close()


def null_path(name, reason, options, results):
    for load in options.loads:
        results.add(name, f"cpu_us@{load}", None, "us", reason)
    suffixes = ["", f"@{options.many_flows}flows"] if name == "xdp" else [""]
    for suffix in suffixes:
        results.add(name, f"pps{suffix}", None, "packets/s", reason)


def options_of():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, default=os.environ.get("POSTERN_BUILDDIR", TOP / "build"), metavar="DIR",
                        help="where the programs were built (default: %(default)s)")
    parser.add_argument("--paths", default=",".join(paths.ALL), metavar="LIST",
                        help="what to measure, separated by commas (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="that each load is measured (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help=f"leave out {' and '.join(paths.PEERS)}")
    parser.add_argument("--socket", action="store_true",
                        help="make the traffic with sendmmsg(): up to half a million packets/s")
    parser.add_argument("--quick", action="store_true", help="under a minute: does everything work? No figures to keep")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.paths = [p for p in options.paths.split(",") if not (options.no_peers and p in paths.PEERS)]
    unknown = [p for p in options.paths if p not in paths.ALL]
    if unknown:
        parser.error(f"no path {unknown[0]}; there are {', '.join(paths.ALL)}")
    options.loads, options.step_seconds, options.many_flows = [20000, 60000, 90000], 2.0, MANY_FLOWS
    if options.quick:
        options.seconds, options.step_seconds, options.loads = 0.8, 0.5, [20000]
    options.flows = options.loads[-1] // PPS_PER_FLOW
    return options


def main():
    options, results, is_good = options_of(), Results(), True
    check_tools(options.build)
    for name in options.paths:
        try:
            measure_path(paths.ALL[name], options, results)
        except paths.Unusable as error:
            note(f"{name}: {error}")
            null_path(name, str(error), options, results)
        except (Failure, subprocess.CalledProcessError) as error:
            note(f"{name}: {getattr(error, 'stderr', None) or error}")
            null_path(name, str(error), options, results)
            is_good = False
    results.print(options.paths)
    return 0 if is_good else 1


if __name__ == "__main__":
    run_main(main)
