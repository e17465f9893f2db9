#!/usr/bin/python3
"""The demonstration of ./quickstart: calls with audio through a gateway of its own, counted at both ends, and an account of them.

    demo.py --build-dir DIR [--calls N] [--once]

Exit status: 0 everything added up, 1 something did not (a line says what)."""
import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import account
from parts import Failure, Gateway, Interrupted, Interruption, Phone, Sipp, make_network, pause, tail, wait_for

PACKETS, PACKETS_PER_S = 150, 50       # of audio, per direction and call
CALL_MS = 5000                         # longer than the audio, so that a busy machine loses none
LONG_CALL, SHORT_CALL = "1901", "1902" # what goes on until Ctrl-C
LONG_MS, EVERY_MS = 24 * 3600 * 1000, 15000


def shared_folder():
    """Where temporary folders go. The gateway gives up root, so all the way must be open to other accounts."""
    folder = Path(tempfile.gettempdir()).resolve()
    is_open = all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents))
    return folder if is_open or os.geteuid() != 0 else Path("/tmp")


def say(text=""):
    try:
        print(text, flush=True)
    except BrokenPipeError:               # whoever read it has gone: then it is over
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        Interruption.is_wanted = True


class Demo:
    def __init__(self, build, calls, stack):
        self.build, self.calls, self.stack = build, calls, stack
        self.gateway = None
        self.phones = {}                  # number: [the caller's, the callee's]
        self.result = {"calls": 0, "answered": 0, "rtp_sent": 0, "rtp_received": 0, "rtp_lost": 0, "media_path": "none",
                       "cdrs": 0}
        self.problems, self.has_added_up = [], False

    # ---- beginning

    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="postern-demo.", dir=shared_folder()))
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o711)
        self.network = make_network(say)
        self.stack.callback(self.network.stop)
        self.gateway = self.keep(Gateway(self.network, self.folder, self.build))
        self.gateway.wait_ready()
        self.has_kernel = self.gateway.wait_kernel()

    def keep(self, child):
        self.stack.callback(child.stop)
        return child

    def add_phones(self, number, packets=None):
        self.phones[number] = [self.keep(Phone(host, self.build, number, f"{side}{number}", packets))
                               for side, host in ((1, self.network.caller), (2, self.network.callee))]

    def caller(self, numbers, *arguments, port=5060):
        """SIPp that dials these numbers in turn."""
        file = self.folder / f"numbers-{port}-{numbers[0]}.csv"
        file.write_text("SEQUENTIAL\n" + "\n".join(numbers) + "\n")
        target = f"{self.network.gateway.addresses[0]}:5060"
        return self.keep(Sipp(self.network.caller, self.folder, "caller", "-inf", file, *arguments, target, port=port))

    def callee(self, *arguments):
        callee = self.keep(Sipp(self.network.callee, self.folder, "callee", *arguments))
        callee.wait_bound()
        return callee

    def talk(self, *sides):
        """Audio begins at an end when its SIPp says so."""
        for index, sipp in enumerate(sides):
            for number, address in sipp.news():
                self.phones[number][index].talk_to(address)

    # ---- the calls that are counted

    def demonstrate(self):
        numbers = [str(1001 + i) for i in range(self.calls)]
        rate = max(2, self.calls // 5)
        limit = ["-m", self.calls, "-timeout", f"{30 + self.calls}s"]
        for number in numbers:
            self.add_phones(number, PACKETS)
        say(f"{self.calls} calls with {PACKETS / PACKETS_PER_S:g} s of audio each way ...")
        callee = self.callee(*limit)
        caller = self.caller(numbers, "-r", rate, "-d", CALL_MS, *limit)
        self.live = None
        while caller.is_running() or callee.is_running():
            self.talk(caller, callee)
            if caller.heard and time.monotonic() > self._listen_from():
                self.look()
            self._expect_gateway()
            pause()
        self.ends = (caller, callee)
        self.reports = {number: [phone.report() for phone in phones] for number, phones in self.phones.items()}
        self.add_up()

    def _listen_from(self):
        """A second after the first answer, so that there is audio to see."""
        if not hasattr(self, "answered_at"):
            self.answered_at = time.monotonic()
        return self.answered_at + 1

    def look(self):
        """At one call while it is up; again until its media has left the relay, where the kernel may take it."""
        if self.live is None or (self.has_kernel and self.path() == "relay"):
            self.live = self.live_call() or self.live

    def path(self):
        return self.live["streams"][0]["a"]["path"]

    def live_call(self):
        calls = (self.gateway.get("/v1/calls?state=answered") or {}).get("items")
        return self.gateway.get(f"/v1/calls/{calls[0]['id']}") if calls else None

    def _expect_gateway(self):
        if not self.gateway.is_running():
            raise Failure("the gateway ended:\n" + tail(self.gateway.log))

    def records(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.gateway.database}?mode=ro", uri=True, timeout=5)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM cdr ORDER BY started_ms, id")]

    def end(self):
        """The gateway first, so that it can end the calls that are up; then all the rest."""
        if self.gateway is not None and self.gateway.is_running():
            code = self.gateway.stop(8)
            if code != 0:
                self.problems.append(f"the gateway ended with exit status {code}:\n{tail(self.gateway.log)}")
        self.stack.close()

    # ---- do the numbers agree

    def add_up(self):
        result, (caller, callee) = self.result, self.ends
        reports = [report for both in self.reports.values() for report in both]
        result["calls"] = caller.count("TotalCallCreated")
        result["answered"] = min(caller.count("SuccessfulCall(C)"), callee.count("SuccessfulCall(C)"))
        result["rtp_sent"] = sum(report["sent"] for report in reports)
        result["rtp_received"] = sum(report["received"] for report in reports)
        gaps = sum(report["lost"] for report in reports)
        result["rtp_lost"] = max(gaps, result["rtp_sent"] - result["rtp_received"])
        if self.live:
            result["media_path"] = self.path()
        with contextlib.suppress(Failure):
            wait_for(lambda: len(self.records()) >= self.calls, 5, "call records")
        result["cdrs"] = len(self.records())
        expected = self.calls * 2 * PACKETS
        for is_good, text in (
                (result["calls"] == self.calls, f"{result['calls']} of {self.calls} calls were made"),
                (result["answered"] == self.calls, f"{result['answered']} of {self.calls} calls were answered and ended well"),
                (result["rtp_sent"] == expected, f"{result['rtp_sent']} of {expected} packets of audio were sent"),
                (result["rtp_lost"] == 0, f"{result['rtp_lost']} packets of audio were lost"),
                (not any(r["foreign"] + r["malformed"] + r["duplicated"] for r in reports), "packets arrived that nobody sent"),
                (self.live is not None, "the REST API showed no live call"),
                (result["cdrs"] == self.calls, f"{result['cdrs']} call records for {self.calls} calls")):
            if not is_good:
                self.problems.append(text)
        self.has_added_up = True
        if self.problems:
            for sipp in self.ends:
                say(tail(sipp.errors))

    # ---- until Ctrl-C

    def go_on(self):
        self.add_phones(LONG_CALL)
        self.add_phones(SHORT_CALL, PACKETS)
        callee = self.callee()
        callers = [self.caller([LONG_CALL], "-m", 1, "-d", LONG_MS),
                   self.caller([SHORT_CALL], "-r", 1, "-rp", EVERY_MS, "-d", CALL_MS, port=5062)]
        is_shown = False
        while True:
            for caller in callers:
                self.talk(caller, callee)
            self._expect_gateway()
            if not is_shown and LONG_CALL in callee.heard and "Media" in callee.heard[LONG_CALL]:
                is_shown = True
                say(account.further(self))
            pause(0.1)


def run(options, stack):
    """The exit status."""
    demo = Demo(options.build_dir.resolve(), options.calls, stack)
    try:
        demo.begin()
        say(account.beginning(demo))
        demo.demonstrate()
        say(account.of_the_calls(demo))
        if not options.once and not demo.problems:
            demo.go_on()
    except (Failure, OSError) as error:
        demo.problems.append(str(error))
    except Interrupted:
        say()
        if not demo.has_added_up:
            demo.problems.append("interrupted")
    Interruption.ignore()
    demo.end()
    for problem in demo.problems:
        say(f"quickstart: {problem}")
    if options.once:
        say(json.dumps(demo.result))
    return 1 if demo.problems else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build-dir", type=Path, required=True)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    Interruption.listen()
    with contextlib.ExitStack() as stack:
        return run(options, stack)


if __name__ == "__main__":
    sys.exit(main())
