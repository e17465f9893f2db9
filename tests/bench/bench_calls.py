"""What one complete call costs, side by side with Kamailio.

A call has 13 messages at the gateway: INVITE, 100, 180, 200, ACK, BYE and 200 with the caller, the same but 100 with
the callee. Postern also describes and anchors its media and stores its record. The peers are Kamailio as a plain
stateful proxy, and Kamailio with topology hiding and rtpengine in user space. All of them get the same calls from the
same SIPp, in turns.

Results, one JSON object per line:
  calls.cpu_us@RATE     user and system time of all processes of the gateway per complete call: the median of those
                        rounds that were clean, null when none was
  calls.max_clean_cps   the highest clean rate
Clean: every call succeeded and was stored, no message was unexpected, and there was less than one retransmission in a
thousand calls. What happens meanwhile goes to standard error.

Exit status: 0; 1 when a rate was not clean with Postern; 2 when it could not be measured.
"""
import argparse
import statistics
import sys
from types import SimpleNamespace

sys.dont_write_bytecode = True
from calls import gateways, rig, sipp  # noqa: E402


def options_of(argv):
    parser = argparse.ArgumentParser(prog="tests/bench/run calls", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="200,500",
                        help="calls per second, with commas between (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="measured time (default: %(default)s)")
    parser.add_argument("--warmup", type=float, default=8,
                        help="seconds before that, so that timers of ended calls are part of it (default: %(default)s)")
    parser.add_argument("--hold", type=float, default=1, help="seconds that a call is up (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each rate is measured (default: %(default)s)")
    parser.add_argument("--no-max", action="store_true", help="without the search for the highest clean rate")
    parser.add_argument("--max-first", type=int, default=400, help="where that search begins (default: %(default)s)")
    parser.add_argument("--max-limit", type=int, default=3000, help="where it ends (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="Postern alone")
    parser.add_argument("--rtp", type=int, default=0, metavar="N",
                        help="audio packets that each end of a call sends; compares with media in user space alone, "
                             "instead of with the peers")
    parser.add_argument("--quick", action="store_true", help="small and short: does everything work?")
    rig.add_common_options(parser)
    options = parser.parse_args(argv)
    try:
        options.rates = [int(rate) for rate in options.rates.split(",")]
    except ValueError:
        parser.error("--rates wants numbers with commas between")
    if options.quick:
        options.rates, options.seconds, options.warmup, options.rounds = [50], 3, 1, 1
        options.hold, options.max_first, options.max_limit = 0.5, 100, 125
    if min(options.rates) < 1 or options.rounds < 1 or options.max_first < 1:
        parser.error("rates and rounds are at least 1")
    if options.hold < 0 or options.warmup < 0 or options.seconds < options.hold + 1:
        parser.error("--seconds is at least a second more than --hold")
    return options


def measure_cpu(bench, systems, rate, options):
    """Name of the system -> median of its clean rounds, None without any. The systems take turns."""
    values = {system.name: [] for system in systems}
    for _round in range(options.rounds):
        for system in systems:
            outcome = sipp.measure(system, bench, rate, options.warmup, options.seconds, options.hold)
            if outcome.why_unclean() is None:
                values[system.name].append(outcome.cpu_us)
    return {name: round(statistics.median(v), 1) if v else None for name, v in values.items()}


def report(name, unit, values):
    own = values.pop(gateways.Postern.name)
    for peer, value in values.items():
        rig.emit(name, own, unit, peer, value)
    if not values:
        rig.emit(name, own, unit)


def main():
    options = options_of(sys.argv[1:])
    peers = [gateways.PosternRelay] if options.rtp else gateways.PEERS
    systems = [gateways.Postern] + ([] if options.no_peers else peers)
    rig.check_tools(options.build, {name: package for s in systems for name, package in s.programs.items()})
    is_clean = True
    with rig.Rig(options.build, options.directory) as bench:
        bench.rtp_packets = options.rtp
        for rate in options.rates:
            values = measure_cpu(bench, systems, rate, options)
            is_clean = is_clean and values[gateways.Postern.name] is not None
            report(f"calls.cpu_us@{rate}", "us", values)
        if not options.no_max:
            search = SimpleNamespace(first=options.max_first, limit=options.max_limit, hold=options.hold,
                                     warmup=min(3, options.warmup), seconds=min(5, options.seconds))
            report("calls.max_clean_cps", "calls/s",
                   {system.name: sipp.highest_clean(system, bench, search) for system in systems})
    return 0 if is_clean else 1


if __name__ == "__main__":
    rig.run_main(main)
