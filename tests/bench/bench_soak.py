"""Does anything grow? Calls for half an hour, at half the highest clean rate.

Every ten seconds: resident memory and open files of all processes, pairs of media ports taken (in use and in
quarantine), live calls, size of the database. It passes when no call failed, when memory, files and ports are no higher
in the last third of the time behind the warm-up than in its first third (medians; 2 % and a little are allowed), and
when no call and no port is left a while after the last call.

The result is one JSON object on standard output; the samples go to standard error. Exit status: 0 passed, 1 failed, 2
could not run.
"""
import argparse
import json
import statistics
import sys
import time
from types import SimpleNamespace

sys.dont_write_bytecode = True
from calls import gateways, rig, sipp  # noqa: E402

TOLERANCE = 0.02
ALLOWANCE = {"rss_kb": 1024, "files": 16, "port_pairs": 16}  # on top of it; these have to stay flat
DRAIN_SECONDS = 45  # the longest transaction and the quarantine of ports are over by then


def options_of(argv):
    parser = argparse.ArgumentParser(prog="tests/bench/run soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long calls begin (default: %(default)s)")
    parser.add_argument("--rate", type=int, help="calls per second (default: half the highest clean rate, found first)")
    parser.add_argument("--hold", type=float, default=5, help="seconds that a call is up (default: %(default)s)")
    parser.add_argument("--warmup", type=float, metavar="SECONDS",
                        help="not judged at the beginning; transactions last 32 (default: a fifth of the time, at most "
                             "300)")
    parser.add_argument("--interval", type=float, default=10, help="seconds between samples (default: %(default)s)")
    rig.add_common_options(parser)
    options = parser.parse_args(argv)
    options.seconds = options.minutes * 60
    if options.warmup is None:
        options.warmup = min(300, options.seconds / 5)
    if options.interval <= 0 or options.seconds - options.warmup < 6 * options.interval:
        parser.error("too short: six samples are wanted behind the warm-up")
    if options.hold < 0 or (options.rate is not None and options.rate < 1):
        parser.error("--hold is not negative, --rate at least 1")
    return options


def half_the_highest_rate(bench):
    search = SimpleNamespace(first=400, limit=3000, warmup=3, seconds=5, hold=1)
    highest = sipp.highest_clean(gateways.Postern, bench, search)
    if highest < 2:
        raise rig.Failure("no rate was clean")
    return highest // 2


def sample(system, since):
    pids = system.pids()
    now = {
        "second": round(time.monotonic() - since), "rss_kb": rig.resident_kb(pids), "files": rig.open_files(pids),
        "port_pairs": system.media_ports(), "live_calls": system.live_calls(),
        "database_bytes": system.database_bytes(),
    }
    rig.note(", ".join(f"{name} {value}" for name, value in now.items()))
    return now


def collect(system, traffic, options):
    """Samples until the last call has begun, or until something has ended that should not."""
    samples, since = [], time.monotonic()
    while time.monotonic() - since < options.seconds and traffic.uac.is_running():
        time.sleep(max(0, since + (len(samples) + 1) * options.interval - time.monotonic()))
        if not system.processes[0].is_running():
            raise rig.Failure(f"posternd has ended:\n{system.processes[0].last_lines()}")
        samples.append(sample(system, since))
        failed = sum(one.total("FailedCall(C)") for one in traffic.statistics())
        if failed:  # nothing is gained by half an hour of it
            raise rig.Failure(f"{failed} calls have failed; SIPp's first message: {traffic.first_error()}")
    return samples


def wait_drained(system):
    """A sample once nothing is left of the calls, or when that takes too long. Sockets may stay open for later ones."""
    since = time.monotonic()
    while True:
        time.sleep(2)
        rest = sample(system, since)
        is_drained = rest["port_pairs"] == 0 and rest["live_calls"] == 0
        if is_drained or time.monotonic() - since > DRAIN_SECONDS:
            return rest, is_drained


def growth(samples, warmup):
    """Name -> what its medians were in the first and the last third behind the warm-up, its maximum, is it flat."""
    judged = [one for one in samples if one["second"] >= warmup]
    third = len(judged) // 3
    result = {}
    for name in samples[0] if third else ():
        if name == "second":
            continue
        first = statistics.median(one[name] for one in judged[:third])
        last = statistics.median(one[name] for one in judged[-third:])
        result[name] = {"first": first, "last": last, "max": max(one[name] for one in judged)}
        if name in ALLOWANCE:
            result[name]["is_flat"] = last <= first * (1 + TOLERANCE) + ALLOWANCE[name]
    return result


def judge(outcome, series, is_drained):
    """The reasons why it did not pass."""
    reasons = [reason for reason in [outcome.why_unclean()] if reason]
    reasons += [f"{name} grew" for name, values in series.items() if values.get("is_flat") is False]
    if not series:
        reasons.append("it ended too early")
    if not is_drained:
        reasons.append("something was left of ended calls")
    return reasons


def main():
    options = options_of(sys.argv[1:])
    rig.check_tools(options.build)
    with rig.Rig(options.build, options.directory) as bench:
        rate = options.rate or half_the_highest_rate(bench)
        calls = round(rate * options.seconds)
        with gateways.Postern(bench) as system:
            idle = sample(system, time.monotonic())
            with sipp.Traffic(bench, rate, calls, options.hold) as traffic:
                samples = collect(system, traffic, options)
                outcome = sipp.Outcome(traffic, traffic.finish())
                rest, is_drained = wait_drained(system)
        outcome.stored = system.stored_calls()
    series = growth(samples, options.warmup)
    reasons = judge(outcome, series, is_drained)
    if outcome.first_error:
        rig.note(f"SIPp's first message: {outcome.first_error}")
    print(json.dumps({
        "name": "soak", "passed": not reasons, "reasons": reasons, "minutes": options.minutes, "rate": rate,
        "calls": calls, "successful": outcome.successful, "stored": outcome.stored,
        "retransmissions": outcome.retransmissions, "idle": idle, "growth": series, "rest": rest,
        "database_bytes_per_call": round(rest["database_bytes"] / max(1, outcome.stored)),
    }), flush=True)
    return 1 if reasons else 0


if __name__ == "__main__":
    rig.run_main(main)
