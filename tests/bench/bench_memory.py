"""What one call that is up costs in memory and in open files.

SIPp brings up idle calls, two legs each, media anchored, and holds them. The resident memory of all processes of the
gateway is read before the first call and with all of them up, once the transactions that set them up are over; what is
shared by all calls, such as the ring of recent SIP messages, counts as well when it was first touched in between.

Results, one JSON object per line:
  memory.kb_per_call        with the target as the peer
  memory.peak_kb_per_call   right after the last call was answered
  memory.files_per_call     file descriptors
  memory.idle_kb            resident without any call

Exit status: 0; 1 above the target; 2 when it could not be measured.
"""
import argparse
import sys
import time

sys.dont_write_bytecode = True
from calls import gateways, rig, sipp  # noqa: E402

TARGET_KB = 40
FOREVER = 86400


def options_of(argv):
    parser = argparse.ArgumentParser(prog="tests/bench/run memory", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="calls that are up (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=100, help="calls per second until they are (default: %(default)s)")
    parser.add_argument("--settle", type=float, default=40,
                        help="seconds before memory is read; transactions last 32 (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few calls, no settling: does everything work?")
    rig.add_common_options(parser)
    options = parser.parse_args(argv)
    if options.quick:
        options.calls, options.settle = 200, 1
    if not 1 <= options.calls <= 20000 or options.rate < 1 or options.settle < 0:
        parser.error("--calls is 1 to 20000, --rate at least 1, --settle not negative")
    return options


def footprint(system):
    pids = system.pids()
    return rig.resident_kb(pids), rig.open_files(pids)


def check_all_up(system, traffic, calls):
    live = system.live_calls()
    for statistics in traffic.statistics():
        if statistics.faults():
            raise rig.Failure(f"calls failed: {statistics.faults()}\n{traffic.first_error()}")
    if live != calls:
        raise rig.Failure(f"{live} of {calls} calls are up")


def main():
    options = options_of(sys.argv[1:])
    rig.check_tools(options.build)
    calls = options.calls
    with rig.Rig(options.build, options.directory) as bench, gateways.Postern(bench) as system:
        time.sleep(1)
        idle_kb, idle_files = footprint(system)
        with sipp.Traffic(bench, options.rate, calls, FOREVER) as traffic:
            rig.wait_until(lambda: system.live_calls() >= calls, calls / options.rate + 20, f"{calls} calls are up")
            peak_kb, _files = footprint(system)
            time.sleep(options.settle + 1.5)
            check_all_up(system, traffic, calls)
            up_kb, up_files = footprint(system)
    kb_per_call = round((up_kb - idle_kb) / calls, 2)
    rig.note(f"{idle_kb} kB and {idle_files} files before, {up_kb} kB and {up_files} files with {calls} calls up")
    rig.emit("memory.kb_per_call", kb_per_call, "kB", "target", TARGET_KB)
    rig.emit("memory.peak_kb_per_call", round((peak_kb - idle_kb) / calls, 2), "kB")
    rig.emit("memory.files_per_call", round((up_files - idle_files) / calls, 3), "files")
    rig.emit("memory.idle_kb", idle_kb, "kB")
    return 0 if kb_per_call <= TARGET_KB else 1


if __name__ == "__main__":
    rig.run_main(main)
