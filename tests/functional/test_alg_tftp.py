"""A TFTP client and server that know nothing of the gateway. The server answers from a new port, as TFTP does."""
import os
import subprocess

import pytest

import algnet
from algnet import SERVER, Server, folder, make_file, network, profile, program, sha256  # noqa: F401
from harness import eventually


class Atftpd(Server):
    def command(self):
        return [program("atftpd"), "--daemon", "--no-fork", "--bind-address", self.host, "--port", self.port, "--user", "nobody",
                "--group", "nogroup", "--logfile", "-", self.root]

    def answers(self):
        assert self.process.poll() is None, self.log.read_text("utf-8", "replace")
        return f":{self.port}" in self.network.server.run("ss", "-lun")


@pytest.fixture
def server(network, folder):
    with Atftpd(network, folder, port=69) as one:
        yield one


def tftp(mode, **changes):
    alg = {"protocol": "tftp", "realm": "outer", "to": "inner", "mode": mode, **changes}
    if mode == "explicit":
        alg.update(ports=[6969], server=f"{SERVER}:69")
    else:
        alg.update(servers=["198.51.100.0/24"])
    return {"algs": {"boot": alg}, "peers": None, "routes": None}


def fetch(network, mode, name, into):
    host, port = (network.OUTER, 6969) if mode == "explicit" else (SERVER, 69)
    return subprocess.run(network.client.command(program("tftp"), "-m", "binary", host, port, "-c", "get", name, into), capture_output=True,
                          text=True, timeout=60, check=False)


@pytest.mark.parametrize("mode", ["nat", "transparent", "explicit"])
def test_get(network, start_gateway, server, folder, mode):
    digest = make_file(server.root / "boot.img", 400_000)
    gateway = start_gateway(tftp(mode))
    done = fetch(network, mode, "boot.img", folder / "got")
    assert (folder / "got").exists() and sha256(folder / "got") == digest, (done.stdout, done.stderr)
    record = algnet.transfers(gateway)[0]  # at once
    assert record["verb"] == "RRQ" and record["is_ok"] and record["bytes"] >= 400_000
    shown = algnet.session(gateway)  # it ends when nothing has come for a while
    assert shown["protocol"] == "tftp" and [hole["kind"] for hole in shown["holes"]] == ["udp"]
    assert shown["holes"][0]["bytes"]["server"] >= 400_000


def test_policy(network, start_gateway, server, folder):
    make_file(server.root / "secret.key", 1000)
    os.chmod(server.root / "secret.key", 0o644)
    rules = [{"name": "images", "allow": {"verb": "RRQ", "target": r"\.img$"}}]
    gateway = start_gateway({**tftp("nat", profile="rules"), **profile("tftp", rules, default="deny")})
    done = fetch(network, "nat", "secret.key", folder / "got")
    assert "denied" in (done.stdout + done.stderr).lower() or "Error code 2" in done.stdout + done.stderr
    assert not (folder / "got").exists() or (folder / "got").stat().st_size == 0
    assert "secret.key" not in server.log.read_text("utf-8", "replace")
    eventually(lambda: gateway.api("/v1/profiles/rules")["default"]["hits"] == 1, what="a hit of the default")
    assert algnet.doors(network) == []
