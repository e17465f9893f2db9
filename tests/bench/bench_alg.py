"""What FTP and RTSP cost through Postern, beside plain forwarding, the kernel's FTP helper and ProFTPD's mod_proxy.

One client, one gateway, one server. FTP: a gigabyte each way over one connection; round trips of NOOP and of EPSV,
which opens a pinhole each time; sessions that log in, download a small file and quit, by several clients at once. RTSP:
sessions that are set up, and what their streams cost while they flow. The gateways take turns, each started afresh in a
network made afresh. The README says what the figures are made of.

Exit status: 0; 1 when a figure of Postern is missing; 2 when it could not be measured.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from alg import gateways, load  # noqa: E402
from calls.rig import Failure, TOP, emit, note, run_main  # noqa: E402

TOOLS = ("posternd", "tests/bench/alg/ftp", "tests/tools/rtptool")
FAULTS = (Failure, OSError, subprocess.SubprocessError, ValueError)


class Figures:
    """Of all gateways, in rounds: each figure is the median of those rounds that went well."""

    def __init__(self):
        self.values, self.units, self.reasons = {}, {}, {}

    def add(self, gateway, figures):
        for name, (value, unit) in figures.items():
            self.units[name] = unit
            self.values.setdefault((gateway, name), []).append(value)

    def fail(self, gateway, reason):
        note(f"{gateway}: {reason}")
        self.reasons[gateway] = reason

    def median(self, gateway, name):
        values = self.values.get((gateway, name))
        return statistics.median(values) if values else None

    def print(self, names):
        """Each of Postern's beside each of the peers'; then what peers have that Postern has not."""
        own, peers = [n for n in names if n not in gateways.PEERS], [n for n in names if n in gateways.PEERS]
        for name, unit in self.units.items():
            beside = [peer for peer in peers if (peer, name) in self.values]
            if name.endswith("_busy"):
                beside = beside[:1]
            for gateway in own:
                if (gateway, name) not in self.values and gateway not in self.reasons:
                    continue
                value = self.median(gateway, name)
                for peer in beside or [None]:
                    emit(f"alg.{gateway}.{name}", value, unit, peer, self.median(peer, name), self.reasons.get(gateway))
            for peer in [] if own else beside:
                emit(f"alg.{peer}.{name}", self.median(peer, name), unit)


def measure(kind, options, load_kind):
    """The figures of one gateway in one round."""
    with tempfile.TemporaryDirectory(prefix="postern-bench-", dir=options.directory) as name, \
            load_kind.network_kind() as network:
        folder = Path(name)
        folder.chmod(0o755)  # the gateway gives up root
        gateway = kind(gateways.Place(network, options, folder, load_kind.paths))
        with gateway:
            figures = load_kind(network, options, gateway, folder).measure()
        fault = gateway.fault() if load_kind.is_recorded else None
    if fault:
        raise Failure(fault)
    return figures


def run_rounds(kinds, options, figures, load_kind):
    unusable = set()
    for number in range(options.rounds):
        for name, kind in kinds.items():
            if name in unusable:
                continue
            try:
                found = measure(kind, options, load_kind)
            except gateways.Unusable as error:
                note(f"without {name}: {error}")
                unusable.add(name)
            except FAULTS as error:
                figures.fail(name, f"{getattr(error, 'stderr', None) or error}")
            else:
                note(f"{name}, round {number + 1}: " + ", ".join(f"{k} {v[0]}" for k, v in found.items()))
                figures.add(name, found)


def add_differences(figures, names):
    """What a gateway adds to the round trips of plain forwarding."""
    for what in ("noop_p50", "noop_p99", "epsv_p50", "epsv_p99"):
        base = figures.median("forwarding", what)
        for name in names:
            value = figures.median(name, what)
            if name != "forwarding" and None not in (base, value):
                figures.add(name, {what.replace("_", "_added_"): (round(value - base, 1), "us")})


def octets(text):
    factor = {"k": 10 ** 3, "M": 10 ** 6, "G": 10 ** 9}.get(text[-1:], 1)
    return int(text[:-1] if factor > 1 else text) * factor


def options_of():
    parser = argparse.ArgumentParser(prog="tests/bench/run alg", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=os.environ.get("POSTERN_BUILDDIR", TOP / "build"), metavar="DIR",
                        help="where the programs were built (default: %(default)s)")
    parser.add_argument("--peers", type=Path, default=os.environ.get("POSTERN_PEERS"), metavar="DIR",
                        help="where packages of peers were unpacked (default: $POSTERN_PEERS, or peers in the build)")
    parser.add_argument("--directory", type=Path, metavar="DIR",
                        help="where databases and logs go, on a real disk (default: the system's temporary folder)")
    parser.add_argument("--gateways", default=",".join(gateways.FTP), metavar="LIST",
                        help="what to measure, with commas between (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="Postern alone")
    parser.add_argument("--no-ftp", action="store_true", help="RTSP alone")
    parser.add_argument("--no-rtsp", action="store_true", help="FTP alone")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured (default: %(default)s)")
    parser.add_argument("--bytes", type=octets, default=10 ** 9, metavar="N",
                        help="octets of a file, with k, M or G (default: 1G)")
    parser.add_argument("--seconds", type=int, default=5, help="of sessions, and of streams (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="at once, with sessions (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=200, help="RTSP sessions (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="under a minute: does everything work? No figures to keep")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.peers = (options.peers or options.build / "peers").resolve()
    options.noops, options.epsvs = 5000, 1000
    options.settle = 0.5  # seconds for what is left to do behind a session
    if options.quick:
        options.rounds, options.bytes, options.seconds, options.streams = 1, min(options.bytes, 10 ** 8), 1, 20
        options.noops, options.epsvs, options.settle = 100, 25, 0.2
    if min(options.rounds, options.bytes, options.seconds, options.clients, options.streams) < 1:
        parser.error("numbers are at least 1")
    if options.clients > load.FTP_THREADS:
        parser.error(f"the server takes {load.FTP_THREADS} clients at once")
    names = [n for n in options.gateways.split(",") if not (options.no_peers and n in gateways.PEERS)]
    unknown = [n for n in names if n not in gateways.FTP]
    if unknown:
        parser.error(f"no gateway {unknown[0]}; there are {', '.join(gateways.FTP)}")
    options.names = names
    return options


def check_tools(options):
    if os.geteuid() != 0:
        raise Failure("needs root, to make network namespaces")
    for tool in TOOLS:
        if not (options.build / tool).is_file():
            raise Failure(f"there is no {tool} in {options.build}: build it first (CFLAGS='-O2 -g'), or give --build")


def main():
    options, is_good = options_of(), True
    check_tools(options)
    for load_kind, kinds, is_wanted in ((load.Ftp, gateways.FTP, not options.no_ftp),
                                        (load.Rtsp, gateways.RTSP, not options.no_rtsp)):
        names = [name for name in options.names if name in kinds]
        if not is_wanted or not names:
            continue
        figures = Figures()
        run_rounds({name: kinds[name] for name in names}, options, figures, load_kind)
        add_differences(figures, names)
        figures.print(names)
        is_good = is_good and not any(name in figures.reasons for name in names if name not in gateways.PEERS)
    return 0 if is_good else 1


if __name__ == "__main__":
    run_main(main)
