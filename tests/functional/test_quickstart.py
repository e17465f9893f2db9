"""The README's first command, as root and as an ordinary user: what it reports, and that it leaves nothing behind."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import harness

pytestmark = pytest.mark.skipif(shutil.which("sipp") is None, reason="needs sipp")


@pytest.fixture
def folder():
    """Like tmp_path, but the gateway can get there after it has given up root."""
    path = Path(tempfile.mkdtemp(prefix="pst-quickstart-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


class Quickstart:
    """A run in a temporary folder of its own, by which its processes are known."""

    def __init__(self, folder, *options, account=()):
        if not (harness.BUILD / "posternd").exists():
            pytest.skip("posternd is not built")
        self.folder = folder
        self.process = subprocess.Popen(
            [*account, harness.SOURCE / "quickstart", "--build-dir", harness.BUILD, *options],
            env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)

    def finish(self, timeout=60):
        try:
            return self.process.communicate(timeout=timeout)[0]
        finally:
            harness.stop(self.process, 15)

    def left(self):
        """What of this run is still there."""
        spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.split()
        found = [name for name in spaces if name.startswith(f"pst{self.process.pid}-")]
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = command.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(self.folder) in text or f"{self.process.pid}-caller" in text:
                found.append(text)
        return found + list(self.folder.iterdir())


def check_once(run, calls, paths=("xdp", "tc")):
    output = run.finish()
    assert run.process.returncode == 0, output
    result = json.loads(output.splitlines()[-1])
    packets = calls * 2 * 150
    assert result.pop("media_path") in paths
    assert result == {"calls": calls, "answered": calls, "rtp_sent": packets, "rtp_received": packets, "rtp_lost": 0,
                      "cdrs": calls}
    assert not run.left()
    return output


def test_once_in_namespaces(folder):
    output = check_once(Quickstart(folder, "--once", "--calls", "3"), 3)
    assert "192.0.2.10" in output and "198.51.100.20" in output


def test_once_with_a_private_temporary_folder(tmp_path):
    """Where other accounts cannot get to: the gateway could not either."""
    tmp_path.chmod(0o700)
    check_once(Quickstart(tmp_path, "--once", "--calls", "1"), 1)


def test_once_without_privileges(folder):
    nobody = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    if shutil.which("setpriv") is None or subprocess.run([*nobody, "test", "-x", harness.BUILD / "posternd"],
                                                         check=False).returncode != 0:
        pytest.skip("the build is not readable for nobody")
    shutil.chown(folder, "nobody")
    assert "127." in check_once(Quickstart(folder, "--once", "--calls", "2", account=nobody), 2, ("relay",))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(folder, number):
    """In the middle of the calls: ends soon, says so, removes everything."""
    run = Quickstart(folder, "--once")
    harness.eventually(lambda: list(folder.glob("postern-demo.*/caller-5060.log")), 20, "the first call")
    time.sleep(1)
    run.process.send_signal(number)
    output = run.finish(20)
    assert run.process.returncode == 1
    assert "quickstart: interrupted" in output.splitlines()
    assert json.loads(output.splitlines()[-1])["cdrs"] == 0
    assert not run.left()


def test_goes_on_until_interrupted(folder):
    run = Quickstart(folder, "--calls", "1")
    lines = []
    for line in run.process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Ctrl-C"):
            break
    demo = next(folder.glob("postern-demo.*"))
    command = next(line for line in lines if "http://localhost/v1/calls" in line)
    if shutil.which("curl"):
        reply = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
        assert [call["state"] for call in json.loads(reply)["items"]] == ["answered"]
    shown = subprocess.run([harness.BUILD / "postern", "show", "calls", "--socket", demo / "state/api.sock"],
                           capture_output=True, text=True, check=True).stdout
    assert "answered" in shown
    run.process.send_signal(signal.SIGINT)
    run.finish(20)
    assert run.process.returncode == 0
    assert not run.left()


def test_gateway_that_dies_is_reported(folder):
    run = Quickstart(folder, "--once")
    log = harness.eventually(lambda: list(folder.glob("postern-demo.*/caller-5060.log")), 20, "the first call")[0]
    config = f"{log.parent}/postern.yaml"
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # others come and go
            words = command.read_bytes().decode("utf-8", "replace").split("\0")
            if words[0].endswith("posternd") and config in words:
                os.kill(int(command.parent.name), signal.SIGKILL)
    output = run.finish(30)
    assert run.process.returncode == 1 and "the gateway ended" in output
    assert not run.left()


def test_own_configuration(folder):
    """--config runs the gateway in the foreground; what is wrong with the file is said by the gateway."""
    path = folder / "wrong.yaml"
    path.write_text("realms: {}\n")
    run = Quickstart(folder, "--config", path)
    output = run.finish(20)
    assert run.process.returncode == 1 and "wrong.yaml:" in output


@pytest.mark.parametrize("options", [("--calls", "0"), ("--calls", "101"), ("--calls", "x"), ("--calls",), ("--nonsense",),
                                     ("--build-dir", "/nonexistent")])
def test_wrong_usage(folder, options):
    run = Quickstart(folder, *options)
    run.finish(20)
    assert run.process.returncode == 2
