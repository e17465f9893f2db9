"""RTP through a gateway: made on one processor, counted at the receiver, while the gateway's CPU time is taken."""
import json
import subprocess
import time

from calls.rig import Failure, note
from media.net import FIRST_PORT, PATH_CPU, RECEIVER, TRAFFIC_CPU, kernel_threads, pinned, running_ns, threads_of

WARM_UP_S, COOL_DOWN_S = 0.7, 0.5
LATE_MAX = 0.03
FIRST_STEP, STEP, GROWTH = 60000, 1.25, 1.03


class Receiver:
    """Compares every packet with what it must look like, and counts it."""

    def __init__(self, network, build, flows_file):
        self.process = subprocess.Popen(
            network.receiver.command(*pinned(TRAFFIC_CPU, build / "tests/bench/media/traffic", "count", "--device",
                                             network.to_receiver.device, "--flows", flows_file)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            self.process.wait()
            raise Failure("the receiver does not start")

    def ask(self, what="read"):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Traffic:
    """The flows of one gateway, and measurements with them."""

    def __init__(self, network, build, folder, gateway, use_socket=False):
        self.network, self.build, self.gateway, self.use_socket = network, build, gateway, use_socket
        self.sent_file, self.expected_file = folder / "sent", folder / "expected"
        sent, expected = zip(*gateway.flows)
        self.sent_file.write_text("".join(f"{line}\n" for line in sent), "ascii")
        self.expected_file.write_text(
            "".join(f"{source} {RECEIVER}:{FIRST_PORT + 2 * i}\n" for i, source in enumerate(expected)), "ascii")
        self.receiver = Receiver(network, build, self.expected_file)
        self.gateway_threads = network.gateway_threads()
        network.pin_others()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.receiver.close()

    def start(self, pps, seconds, flows):
        command = [self.build / "tests/bench/media/traffic", "send", "--device", self.network.from_sender.device,
                   "--to-mac", self.network.gate_a.mac(), "--flows", self.sent_file, "--pps", pps, "--seconds", seconds,
                   "--use", flows]
        if self.use_socket:
            command.append("--socket")
        generator = subprocess.Popen(self.network.sender.command(*pinned(TRAFFIC_CPU, *command)),
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if generator.stdout.readline() != "ready\n":
            generator.wait()
            raise Failure("the generator does not start")
        return generator

    def gateway_ns(self):
        tasks = list(self.gateway_threads)
        for pid in self.gateway.pids():
            tasks += threads_of(pid)
        return running_ns(tasks), running_ns(kernel_threads(f"ksoftirqd/{PATH_CPU}"))

    def measure(self, pps, seconds, flows):
        """pps 0: as fast as possible. Rates and CPU time are of a window in the middle, losses of the whole."""
        first = self.receiver.ask("some" if pps == 0 else "all")
        generator = self.start(pps, int(seconds + WARM_UP_S + COOL_DOWN_S + 0.999), flows)
        time.sleep(WARM_UP_S)
        tasks, softirq = self.gateway_ns()
        before = self.receiver.ask()
        time.sleep(seconds)
        tasks_after, softirq_after = self.gateway_ns()
        after = self.receiver.ask()
        output = generator.communicate()[0]
        if generator.returncode != 0:
            raise Failure("the generator failed")
        time.sleep(0.3)
        last = self.receiver.ask()
        return Measurement(json.loads(output), first, before, after, last,
                           sum(tasks_after[t] - tasks.get(t, 0) for t in tasks_after),
                           sum(softirq_after[t] - softirq[t] for t in softirq_after))

    def lead_up(self, seconds, flows):
        """Raises the load until the gateway carries no more of it; returns the best that it carried."""
        best, pps = None, FIRST_STEP
        while True:
            m = self.measure(pps, seconds, flows)
            note(f"{self.gateway.name} @{pps}: {m}")
            if best is not None and m.pps < GROWTH * best.pps:
                return best
            if m.received == 0:
                return m
            best, pps = m, int(pps * STEP)


class Measurement:
    """What one load did to the gateway."""

    def __init__(self, sent, first, before, after, last, path_ns, softirq_ns):
        window_ns = after["ns"] - before["ns"]
        window = after["right"] - before["right"]
        self.offered_pps = sent["sent"] / sent["seconds"]
        self.sent = sent["sent"]
        self.late = sent["skipped"] / max(1, sent["sent"] + sent["skipped"])
        self.received = last["right"] - first["right"]
        self.pps = window / window_ns * 1e9
        self.cpu_us = path_ns / window / 1e3 if window else None
        self.core = path_ns / window_ns           # share of one processor
        self.softirq = softirq_ns / window_ns     # worked for whoever, not counted
        self.loss = 1 - self.received / self.sent if self.sent else 1.0
        self.wrong = last["wrong"] - first["wrong"]
        self.wrong_checksum = last["wrong_checksum"] - first["wrong_checksum"]
        self.checked = last["checked"] - first["checked"]
        self.alive = last["alive"]
        self.wrong_frame = last["wrong_frame"]

    def __str__(self):
        cpu = "-" if self.cpu_us is None else f"{self.cpu_us:.3f}"
        text = (f"offered {self.offered_pps:,.0f}/s, received {self.pps:,.0f}/s, loss {max(0, self.loss):.4%}, "
                f"{cpu} us, {self.core:.0%} of a core, {self.alive} flows, {self.checked} checksums looked at")
        if self.softirq > 0.01:
            text += f"; {self.softirq:.0%} of it in ksoftirqd, not counted"
        if self.wrong or self.wrong_checksum:
            text += (f"; WRONG: {self.wrong} packets, {self.wrong_checksum} checksums; first frame {self.wrong_frame}")
        return text

    def disturbance(self):
        """Why the load was not the one that was asked for; None when it was."""
        if self.late > LATE_MAX:
            return f"the generator was late with {self.late:.0%} of the packets: the machine is not quiet"
        return None

    def fault(self):
        """Why the figures are not worth anything; None when they are."""
        if self.disturbance():
            return self.disturbance()
        if self.wrong or self.wrong_checksum:
            return f"{self.wrong} packets and {self.wrong_checksum} checksums are wrong"
        if not self.received:
            return "nothing arrived"
        return None
