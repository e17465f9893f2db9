"""Calls made and answered by SIPp, and what its statistics say about them."""
import bisect
import csv
import signal
import struct
import time

from calls import rig

# Everything in SIPp's statistics that must stay zero; "(C)" are the counts since the start.
FAULTS = ["FailedCall(C)", "OutOfCallMsgs(C)", "DeadCallMsgs(C)", "FailedUnexpectedMessage(C)", "FatalErrors(C)"]
MAX_RETRANSMISSIONS = 0.001  # per call
MIN_ACHIEVED = 0.97  # of the rate that was asked for
MAX_BUSY = 0.9  # of one processor: above that SIPp itself may be what is slow
SOCKET_BUFFER = 4194304
TIMER_SECONDS = 35  # after which SIPp has given up on every call that got stuck


def write_rtp(path, packets):
    """A capture of that many audio packets (G.711 A-law, 20 ms apart), for SIPp to play: it fills in the addresses."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))  # Ethernet
        for i in range(packets):
            rtp = struct.pack("!BBHII", 0x80, 8, i, i * 160, 1) + bytes(160)
            udp = struct.pack("!HHHH", 4000, 4000, 8 + len(rtp), 0) + rtp
            frame = bytes(12) + struct.pack("!HBBHHHBBH8x", 0x0800, 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + udp
            file.write(struct.pack("<IIII", i // 50, i % 50 * 20000, len(frame), len(frame)) + frame)


class Statistics:
    """A -trace_stat file: one row for each second."""

    def __init__(self, path):
        self.rows = []
        if path.exists():
            with open(path, encoding="ascii", errors="replace", newline="") as file:
                self.rows = [row for row in csv.DictReader(file, delimiter=";") if row.get("Retransmissions(C)")]

    def total(self, column):
        return int(self.rows[-1][column]) if self.rows else 0

    def successful_at(self, moment):
        """Successful calls until then, between the rows in proportion."""
        times = [float(row["CurrentTime"].split("\t")[-1]) for row in self.rows]
        counts = [int(row["SuccessfulCall(C)"]) for row in self.rows]
        after = bisect.bisect_left(times, moment)
        if not 0 < after < len(times):
            raise rig.Failure("SIPp's statistics do not cover the measurement")
        part = (moment - times[after - 1]) / (times[after] - times[after - 1])
        return counts[after - 1] + part * (counts[after] - counts[after - 1])

    def faults(self):
        return {column: self.total(column) for column in FAULTS if self.total(column)}


class Traffic:
    """A callee that answers, and a caller that makes `calls` calls at a steady rate, each up for `hold` seconds. A
    context manager: both run inside the block and are ended behind it."""

    def __init__(self, bench, rate, calls, hold):
        self.rig, self.rate, self.calls, self.hold = bench, rate, calls, hold
        self.folder = bench.new_folder("sipp")
        self.uac = self.uas = None

    def __enter__(self):
        try:
            self.uas = self._sipp("uas", self.rig.callee, rig.CALLEE)
            rig.wait_until(self._listens, 10, "SIPp as the callee is ready")
            at_a_time = min(self.calls, round(self.rate * (self.hold + 5)))  # that many only when it does not keep up
            self.uac = self._sipp("uac", self.rig.caller, rig.CALLER, "-s", "1000", "-m", self.calls, "-l", at_a_time,
                                  "-r", self.rate, "-d", int(self.hold * 1000), f"{rig.GATEWAY_OUTER}:5060")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in (self.uac, self.uas):
            if process is not None and process.is_running():
                process.kill()

    def _sipp(self, role, space, address, *options):
        files = self.folder / role
        scenario = (rig.HERE / f"{role}.xml").read_text("ascii")
        if self.rig.rtp_packets:
            write_rtp(self.folder / "rtp.pcap", self.rig.rtp_packets)
            scenario = scenario.replace("<!-- @MEDIA@ -->", f"""<nop><action>
    <exec play_pcap_audio="{self.folder / "rtp.pcap"}"/></action></nop>""")
        files.with_suffix(".xml").write_text(scenario, "ascii")
        return rig.Process(space, files.with_suffix(".log"), "sipp", "-sf", files.with_suffix(".xml"), "-nostdin",
                           "-i", address, "-p", 5060, "-buff_size", SOCKET_BUFFER, "-watchdog_interval", 0,
                           "-trace_stat", "-fd", 1, "-stf", files.with_suffix(".csv"),
                           "-trace_err", "-error_file", files.with_suffix(".err"), *options)

    def _listens(self):
        if not self.uas.is_running():
            raise rig.Failure(f"SIPp did not start:\n{self.uas.last_lines()}")
        return rig.has_udp_port(self.uas.pid, 5060)

    def busy(self):
        """CPU seconds that the caller and the callee have used."""
        return [rig.cpu_seconds([process.pid]) for process in (self.uac, self.uas)]

    def finish(self):
        """Waits until the last call has ended. Returns whether SIPp got there by itself."""
        is_finished = self.uac.wait(self.hold + TIMER_SECONDS)
        if not is_finished:
            self.uac.stop(signal.SIGUSR1, 2)
        self.uas.stop(signal.SIGUSR1, 3)
        return is_finished

    def statistics(self):
        return [Statistics(self.folder / f"{role}.csv") for role in ("uac", "uas")]

    def first_error(self):
        for role in ("uac", "uas"):
            path = self.folder / f"{role}.err"
            if path.exists() and path.stat().st_size:
                return path.read_text("utf-8", "replace")[:400].strip()
        return ""


class Outcome:
    """What came of one measurement: CPU per complete call, and whether it was clean."""

    def __init__(self, traffic, is_finished):
        caller, callee = traffic.statistics()
        self.calls = traffic.calls
        self.successful = caller.total("SuccessfulCall(C)")
        self.answered = callee.total("SuccessfulCall(C)")
        self.retransmissions = caller.total("Retransmissions(C)") + callee.total("Retransmissions(C)")
        self.faults = {**{f"caller {k}": v for k, v in caller.faults().items()},
                       **{f"callee {k}": v for k, v in callee.faults().items()}}
        self.is_finished, self.first_error = is_finished, traffic.first_error()
        self.stored = None  # call records; only some systems have them
        self.cpu_us = self.busy = self.why_slow = None

    def why_unclean(self):
        """None when every call succeeded, without surprises, at the rate that was asked for."""
        if not self.is_finished:
            return "calls were stuck"
        if self.faults:
            return ", ".join(f"{name} {count}" for name, count in self.faults.items())
        if (self.successful, self.answered) != (self.calls, self.calls):
            return f"{self.successful} of {self.calls} calls succeeded, {self.answered} were answered"
        if self.retransmissions > MAX_RETRANSMISSIONS * self.calls:
            return f"{self.retransmissions} retransmissions in {self.calls} calls"
        if self.stored is not None and self.stored != self.calls:
            return f"{self.stored} of {self.calls} calls were stored"
        return self.why_slow

    def set_window(self, rate, seconds, calls, cpu, busy):
        self.cpu_us = cpu * 1e6 / calls if calls else None
        self.busy = [part / seconds for part in busy]
        if calls / seconds < MIN_ACHIEVED * rate:
            self.why_slow = f"only {calls / seconds:.0f} calls/s"


def measure(system_class, bench, rate, warmup, seconds, hold):
    """Starts the system afresh, makes calls at that rate, and measures once calls end as fast as they begin."""
    with system_class(bench) as system:
        with Traffic(bench, rate, round(rate * (warmup + seconds + 1)), hold) as traffic:
            time.sleep(warmup + hold)
            pids = system.pids()
            begin, cpu_begin, busy_begin = time.time(), rig.cpu_seconds(pids), traffic.busy()
            time.sleep(seconds - hold)
            end, cpu_end, busy_end = time.time(), rig.cpu_seconds(pids), traffic.busy()
            outcome = Outcome(traffic, traffic.finish())
            caller = traffic.statistics()[0]
            calls = caller.successful_at(end) - caller.successful_at(begin)
            outcome.set_window(rate, end - begin, calls, cpu_end - cpu_begin,
                               [b - a for a, b in zip(busy_begin, busy_end)])
    if hasattr(system, "stored_calls"):
        outcome.stored = system.stored_calls()
    describe(system_class.name, rate, outcome)
    return outcome


def describe(name, rate, outcome):
    reason = outcome.why_unclean()
    rig.note(f"{name} @{rate}: {outcome.cpu_us or 0:.0f} us per call, {outcome.successful} of {outcome.calls} calls, "
             f"{outcome.retransmissions} retransmissions, SIPp used {outcome.busy[0]:.0%} and {outcome.busy[1]:.0%} "
             f"of a processor{'' if reason is None else '; NOT CLEAN: ' + reason}")
    if reason is not None and outcome.first_error:
        rig.note(f"SIPp's first message: {outcome.first_error}")
    if max(outcome.busy) > MAX_BUSY:
        rig.note("SIPp itself is at its limit: the rate is not the gateway's")


def highest_clean(system_class, bench, search):
    """The highest rate that was clean: up in steps of a quarter, then halving the last step until 5 % remain. A rate
    counts as unclean when it was twice."""
    def is_clean(rate):
        return any(measure(system_class, bench, rate, search.warmup, search.seconds, search.hold).why_unclean() is None
                   for _attempt in range(2))

    clean, rate = 0, search.first
    while rate <= search.limit and is_clean(rate):
        clean, rate = rate, round(rate * 1.25)
    if rate > search.limit:
        rig.note(f"{system_class.name}: clean up to the limit of the search")
        return clean
    unclean = rate
    while unclean - clean > max(10, 0.05 * unclean):
        rate = (clean + unclean) // 2
        if is_clean(rate):
            clean = rate
        else:
            unclean = rate
    return clean
