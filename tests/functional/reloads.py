"""Changing the configuration file of a gateway that runs, and having it read again: by a signal, over REST, by the command line."""
import signal
import subprocess

import yaml

from harness import BUILD, eventually, merge

WAYS = ["signal", "rest", "command"]


def file_of(gateway):
    return gateway.directory / "postern.yaml"


def write(gateway, changes=None):
    gateway.config = merge(gateway.config, changes or {})
    file_of(gateway).write_text(yaml.safe_dump(gateway.config, sort_keys=False))


def postern(gateway, *words):
    return subprocess.run([BUILD / "postern", *words, "--socket", gateway.socket], capture_output=True, text=True, timeout=30, check=False)


def config(gateway):
    return gateway.api("/v1/config")


def count(gateway):
    return sum(config(gateway)["reloads"].values())


def reload(gateway, way="rest", is_good=True):
    """Waits until it is done; what REST or the command said, or what the log says now."""
    before = count(gateway)
    if way == "signal":
        size = gateway.log.stat().st_size
        gateway.signal(signal.SIGHUP)
        eventually(lambda: count(gateway) == before + 1, 10, "a reload")
        said = gateway.log.read_bytes()[size:].decode("utf-8", "replace")
    elif way == "rest":
        said = gateway.api("/v1/config/reload", "POST", 200 if is_good else 422)
    else:
        done = postern(gateway, "reload")
        assert done.returncode == (0 if is_good else 1), done
        said = done.stdout if is_good else done.stderr
    assert count(gateway) == before + 1
    assert (config(gateway)["failure"] is not None and config(gateway)["failure"]["is_last"]) == (not is_good)
    return said
