"""What relaying RTP in user space costs, beside rtpengine's userspace path, and what is left of it under overload.

Both relays get the same streams, one way: 50 packets per second and stream at 20, 60 and 90 thousand packets per
second; then more and more until they carry no more, which shows how many one processor can relay; then four times that
many; then 20 thousand again over all streams. CPU time is that of the relay's process and of the kernel thread that receives for it.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from calls.rig import Failure, TOP, emit, note, run_main  # noqa: E402
from media import paths  # noqa: E402
from media.net import Network, check_tools  # noqa: E402
from media.traffic import Traffic  # noqa: E402

PPS_PER_STREAM = 50
OVERLOAD = 4
PEER = paths.Rtpengine.name


def loads(traffic, options):
    for load in options.loads:
        m = traffic.measure(load, options.seconds, load // PPS_PER_STREAM)
        note(f"{traffic.gateway.name} @{load}: {m}")
        yield f"cpu_us@{load}", None if m.cpu_us is None else round(m.cpu_us, 2), "us", m.fault()
        yield f"loss@{load}", round(max(0, m.loss), 6), "ratio", m.disturbance()


def overload(traffic, options):
    streams, name = options.streams, traffic.gateway.name
    most = traffic.lead_up(options.step_seconds, streams)
    if most.pps == 0:
        raise Failure(f"{name}: nothing arrives")
    flooded = traffic.measure(OVERLOAD * round(most.pps), options.seconds, streams)
    note(f"{name}, {OVERLOAD} times too much: {flooded}")
    after = traffic.measure(options.loads[0], options.seconds, streams)
    note(f"{name}, after that: {after}")
    for m in (most, flooded, after):
        if m.wrong or m.wrong_checksum:
            raise Failure(f"{name}: {m.fault()}")
    reason = most.disturbance() or flooded.disturbance()
    yield "pps", round(most.pps), "packets/s", most.disturbance()
    yield "overload_offered", round(flooded.offered_pps / most.pps, 2), "ratio", reason
    yield "overload_pps", round(flooded.pps), "packets/s", reason
    yield "overload_kept", round(flooded.pps / most.pps, 3), "ratio", reason
    yield "alive_after_overload", after.alive / streams, "ratio", reason
    yield "loss_after_overload", round(max(0, after.loss), 6), "ratio", reason or after.disturbance()


def measure(kind, options):
    """All figures of one relay: name -> (value, unit, reason); there is no value where there is a reason."""
    with tempfile.TemporaryDirectory(prefix="postern-bench-") as folder, Network() as network:
        gateway = kind(network, options.build, Path(folder), options.streams)
        try:
            with Traffic(network, options.build, Path(folder), gateway, options.socket) as traffic:
                figures = [*loads(traffic, options), *overload(traffic, options)]
        finally:
            gateway.close()
    return {name: (None if reason else value, unit, reason) for name, value, unit, reason in figures}


def options_of():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, default=os.environ.get("POSTERN_BUILDDIR", TOP / "build"), metavar="DIR",
                        help="where the programs were built (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="that each load is measured (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help=f"leave out {PEER}")
    parser.add_argument("--socket", action="store_true", help="make the traffic with sendmmsg()")
    parser.add_argument("--quick", action="store_true", help="half a minute: does everything work? No figures to keep")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.loads, options.step_seconds = [20000, 60000, 90000], 2.0
    if options.quick:
        options.seconds, options.step_seconds, options.loads = 0.8, 0.5, [20000]
    options.streams = options.loads[-1] // PPS_PER_STREAM
    return options


def main():
    options, peer = options_of(), {}
    check_tools(options.build)
    if not options.no_peers:
        try:
            peer = measure(paths.Rtpengine, options)
        except (paths.Unusable, Failure, subprocess.CalledProcessError) as error:
            note(f"without {PEER}: {error}")
    for name, (value, unit, reason) in measure(paths.Relay, options).items():
        peer_value = peer.get(name, (None,))[0]
        emit(f"relay.{name}", value, unit, PEER if peer else None, peer_value, reason)
    return 0


if __name__ == "__main__":
    run_main(main)
