"""What the benchmarks of whole calls stand on: the network, processes inside it, and what /proc says about them.

    caller 192.0.2.10 -- 192.0.2.1 gateway 198.51.100.1 -- 198.51.100.20 callee

Everything is ended and removed when its `with` block is left, also by SIGTERM or SIGINT.
"""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]
sys.path.insert(0, str(TOP / "tests" / "tools"))
import netns  # noqa: E402

GATEWAY_OUTER, GATEWAY_INNER = "192.0.2.1", "198.51.100.1"
CALLER, CALLEE = "192.0.2.10", "198.51.100.20"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# What every benchmark here needs, and the Debian package that has it.
PROGRAMS = {"sipp": "sip-tester", "ip": "iproute2", "nsenter": "util-linux"}


class Failure(Exception):
    """The benchmark cannot go on; the text says why."""


def emit(name, value, unit, peer=None, peer_value=None, reason=None):
    """One result: a line of JSON on standard output. The reason says why there is no value."""
    ratio = round(value / peer_value, 3) if peer_value and value is not None else None
    result = {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}
    if value is None and reason is not None:
        result["reason"] = reason
    print(json.dumps(result), flush=True)


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def add_common_options(parser):
    parser.add_argument("--build", type=Path, default=os.environ.get("POSTERN_BUILDDIR", TOP / "build"), metavar="DIR",
                        help="where posternd was built (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=None, metavar="DIR",
                        help="where the database and logs of the run go, on a real disk (default: the system's "
                             "temporary folder)")


def check_tools(build, programs=None):
    """Fails unless everything is there that the benchmark needs."""
    programs = {**PROGRAMS, **(programs or {})}
    if os.geteuid() != 0:
        raise Failure("needs root, to make network namespaces")
    for program, package in programs.items():
        if shutil.which(program) is None:
            raise Failure(f"{program} is not installed (Debian package {package})")
    if not (build / "posternd").is_file():
        raise Failure(f"there is no posternd in {build}: build it first (CFLAGS='-O2 -g'), or give --build")


def run_main(main):
    """Runs main() and turns what may go wrong into an exit status: 0 good, 1 bad result, 2 could not measure."""
    def on_signal(signum, _frame):
        sys.exit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, on_signal)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        sys.exit(main())
    except Failure as failure:
        note(str(failure))
    except subprocess.CalledProcessError as error:
        note(f"{' '.join(error.cmd)}: {(error.stderr or '').strip()}")
    sys.exit(2)


class Rig:
    """The three namespaces and a folder for the files of one run."""

    def __init__(self, build, directory=None):
        self.build, self.directory = build.resolve(), directory.resolve() if directory else None
        self.spaces, self.folder = [], None
        self.rtp_packets = 0  # that each end of a call sends

    def __enter__(self):
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="postern-bench-", dir=self.directory))
            self.folder.chmod(0o755)  # the gateway gives up root
            for name in ("caller", "gateway", "callee"):
                self.spaces.append(netns.Namespace(name))
            self.caller, self.gateway, self.callee = self.spaces
            netns.join(self.caller, self.gateway, "outer", [f"{CALLER}/24"], [f"{GATEWAY_OUTER}/24"])
            netns.join(self.callee, self.gateway, "inner", [f"{CALLEE}/24"], [f"{GATEWAY_INNER}/24"])
            # Media ports are 10000-59999 for every gateway; the kernel takes others.
            subprocess.run(self.gateway.command("sh", "-c", "echo 60000 65000 >/proc/sys/net/ipv4/ip_local_port_range"),
                           check=True, capture_output=True, text=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for space in self.spaces:
            space.delete()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def new_folder(self, name):
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o755)
        return path


class Process:
    """A program inside a namespace; nsenter becomes the program, so that the process id is the program's own."""

    def __init__(self, space, log, *command):
        self.name, self.log = Path(command[0]).name, log
        with open(log, "wb") as output:
            self.child = subprocess.Popen(space.command(*command), stdin=subprocess.DEVNULL, stdout=output,
                                          stderr=subprocess.STDOUT, cwd=log.parent)
        self.pid = self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def wait(self, seconds):
        """Whether it has ended by itself within that time."""
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, signum=signal.SIGTERM, seconds=10):
        if self.is_running():
            self.child.send_signal(signum)
            if not self.wait(seconds):
                self.kill()
        return self.child.returncode

    def kill(self):
        """Takes along what it forked, which might otherwise outlive it."""
        for pid in reversed(process_tree(self.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()

    def last_lines(self):
        return self.log.read_text("utf-8", "replace")[-2000:].strip()


def wait_until(check, seconds, what):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def stat_fields(pid):
    """The fields of /proc/PID/stat after the name; None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def process_tree(root):
    """That process and its descendants, parents first."""
    children = {}
    for entry in Path("/proc").iterdir():
        fields = stat_fields(entry.name) if entry.name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    pids = [root]
    for pid in pids:
        pids += children.get(pid, [])
    return pids


def cpu_seconds(pids):
    """User and system time of those processes, all their threads, those that have ended included."""
    ticks = 0
    for pid in pids:
        fields = stat_fields(pid)
        if fields is None:
            raise Failure(f"process {pid} has ended during the measurement")
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def resident_kb(pids):
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a child that the helper needed for a moment
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total


def open_files(pids):
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def has_udp_port(pid, port):
    """Whether a socket in the namespace of that process is bound to the port."""
    lines = Path(f"/proc/{pid}/net/udp").read_text("ascii").splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)
