"""The configuration file is read again while calls and sessions are up, by each of the three ways to ask for it."""
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from algnet import (SERVER, USER, Pyftpdlib, Raw, curl, folder, ftp, is_open, listening, make_file, network, pasv_place, place, profile,  # noqa: F401
                    sessions, sha256, transfers, url, wait_quiet)
from harness import ACCOUNT, eventually, merge
from reloads import WAYS, config, count, file_of, postern, reload, write

EXPLICIT = place("explicit")
SIZE = 40_000_000  # more than all buffers on the way


@pytest.fixture
def server(network, folder):
    with Pyftpdlib(network, folder) as one:
        yield one


def deny(*verbs, code=553):
    return profile("ftp", [{"name": "no", "deny": {"verb": list(verbs)}, "code": code}])


def logged_in(session):
    session.login()
    assert session.ask("TYPE I").startswith("200")
    return session


def own(name="files", **changes):
    return ftp("explicit", profile="rules", **changes) if name == "files" else {"algs": {name: ftp("explicit", **changes)["algs"]["files"]}}


# ---- sessions

@contextlib.contextmanager
def transfer(network, session, path):
    """A download that has begun, and of which nothing was read yet; rest() reads it to its end."""
    host, port = pasv_place(session.ask("PASV"))
    with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
        data.settimeout(20)
        data.connect((host, port))
        assert session.ask(f"RETR {path}")[:3] in ("125", "150")
        yield data
        assert session.reply().startswith("226")


def rest(data):
    digest = hashlib.sha256()
    while part := data.recv(1 << 20):
        digest.update(part)
    data.close()  # as clients do before they read the reply
    return digest.hexdigest()


@pytest.mark.parametrize("data_path", ["kernel", "relay"])
@pytest.mark.parametrize("way", WAYS)
def test_transfer_goes_on(network, start_gateway, server, way, data_path):
    """A session keeps its transfer and the rules that it began with; who comes later has the new ones."""
    digest = make_file(server.root / "large", SIZE)
    gateway = start_gateway({**ftp("nat", profile="rules", data=data_path), **deny("DELE")})
    with Raw(network.client, *place("nat")) as old:
        logged_in(old)
        with transfer(network, old, "large") as data:
            write(gateway, deny("RETR"))
            reload(gateway, way)
            with Raw(network.client, *place("nat")) as new:
                new.login()
                assert new.ask("RETR large").startswith("553")
            assert rest(data) == digest
        assert old.ask("DELE large").startswith("553")
        with transfer(network, old, "large") as data:
            assert rest(data) == digest
    assert gateway.api("/v1/profiles/rules")["rules"][0]["hits"] == 1
    found = transfers(gateway, 2, "?verb=RETR")
    assert [one["is_ok"] and one["bytes"] >= SIZE for one in found if one["code"] == 226] == [True, True], found
    wait_quiet(gateway, network)


@pytest.mark.parametrize("way", WAYS)
def test_removed_and_added(network, start_gateway, server, folder, way):
    digest = make_file(server.root / "file", 300_000)
    gateway = start_gateway({**own(), **deny("DELE")})
    with Raw(network.client, *EXPLICIT) as session:
        logged_in(session)
        gateway.config["algs"] = {}
        write(gateway, own("others", ports=[2199]))
        reload(gateway, way)
        assert not is_open(network.client, *EXPLICIT)
        assert [alg["name"] for alg in gateway.api("/v1/algs")["items"]] == ["others"]
        assert [(one["alg"], one["state"]) for one in sessions(gateway)] == [("files", "open")]
        # It can still open data connections, and has its rules.
        assert session.ask("DELE file").startswith("553")
        with transfer(network, session, "file") as data:
            assert rest(data) == digest
        curl(network, "-o", folder / "got", url("192.0.2.1", 2199, "file", USER))
        assert sha256(folder / "got") == digest
        assert session.ask("QUIT").startswith("221")
    eventually(lambda: not sessions(gateway), 10, "the end of both sessions")
    assert gateway.metric("postern_alg_listeners") == len(gateway.api("/v1/algs/others")["listeners"])
    found = transfers(gateway, 2)
    assert {one["alg"] for one in found} == {"files", "others"} and all(one["is_ok"] for one in found)
    gateway.config["algs"] = {}
    write(gateway, own())
    reload(gateway, way)
    assert is_open(network.client, *EXPLICIT) and not is_open(network.client, "192.0.2.1", 2199)


def test_what_is_taken_over(network, start_gateway, server):
    """Control channels that were taken over at the start can be given back and taken again; new ones cannot be had."""
    gateway = start_gateway(ftp("nat"))
    alg = gateway.config["algs"]["files"]
    gateway.config["algs"] = {}
    write(gateway)
    reload(gateway)
    assert not is_open(network.client, *place("nat")), "nobody passes unseen"
    write(gateway, {"algs": {"again": {**alg, "servers": [f"{SERVER}/32"]}}})
    reload(gateway)
    eventually(lambda: all(one["is_open"] for one in gateway.api("/v1/algs/again")["listeners"]), 10, "its listener")
    with Raw(network.client, *place("nat")) as session:
        session.login()
        assert [one["alg"] for one in sessions(gateway)] == ["again"]
    write(gateway, {"algs": {"again": {"ports": [21, 2121]}}})
    said = reload(gateway, is_good=False)
    assert [(one["pointer"], "restart" in one["detail"]) for one in said["errors"]] == [("/algs/again/ports/1", True)]
    with Raw(network.client, *place("nat")) as session:
        session.login()


def test_port_of_another(network, start_gateway, server):
    gateway = start_gateway({**own(), **deny("DELE")})
    with listening(network.gateway, "192.0.2.1", 2199):
        write(gateway, own("others", ports=[2199]))
        said = reload(gateway, is_good=False)
        assert said["errors"][0]["pointer"] == "/algs/others/ports" and "192.0.2.1:2199" in said["errors"][0]["detail"]
        assert len(gateway.api("/v1/algs")["items"]) == 1
    reload(gateway)
    with Raw(network.client, "192.0.2.1", 2199) as session:
        session.login()


def make_certificate(gateway, name):
    """An own one, where the gateway's account can read it; its octets."""
    key, certificate = gateway.directory / "tls.key", gateway.directory / "tls.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/CN={name}", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    for path in (key, certificate):
        shutil.chown(path, ACCOUNT)
    return ssl.PEM_cert_to_DER_cert(certificate.read_text("utf-8"))


@contextlib.contextmanager
def secured(network):
    """The certificate of a connection that is encrypted from the beginning, and the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with network.client.socket(socket.AF_INET, socket.SOCK_STREAM) as plain:
        plain.settimeout(10)
        plain.connect(EXPLICIT)
        with context.wrap_socket(plain) as channel:
            yield channel.getpeercert(binary_form=True), channel


@pytest.mark.parametrize("way", WAYS)
def test_certificates(network, start_gateway, server, way):
    """Files of certificates are read with each reload, whether the configuration names others or not."""
    gateway = start_gateway({**own(), **deny("DELE")})
    first = make_certificate(gateway, "first")
    files = {"certificate": str(gateway.directory / "tls.pem"), "key": str(gateway.directory / "tls.key")}
    write(gateway, {"algs": {"files": {"tls": "implicit", "server_tls": False, **files}}})
    reload(gateway, way)
    with secured(network) as (shown, channel):
        assert shown == first and channel.recv(100).startswith(b"220")
        second = make_certificate(gateway, "second")
        said = reload(gateway, way)
        if way == "rest":
            assert said["changes"] == []
        with secured(network) as (shown, _):
            assert shown == second
        channel.sendall(b"NOOP\r\n")
        assert channel.recv(100)
        Path(files["key"]).write_text("no key\n", "utf-8")
        reload(gateway, way, is_good=False)
        assert config(gateway)["failure"]["errors"][0]["pointer"] == "/algs/files"
        with secured(network) as (shown, _):
            assert shown == second


# ---- files that are refused

BROKEN = [
    ("realms: [\n", 2, None),
    ("realms: {outer: {adresses: [192.0.2.1]}}\n", 1, "did you mean addresses?"),
    (None, None, None),  # no file at all
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text,line,hint", BROKEN, ids=["syntax", "member", "missing"])
def test_broken_file(network, start_gateway, server, way, text, line, hint):
    gateway = start_gateway({**own(), **deny("DELE")})
    before = config(gateway)
    algs, profiles = gateway.api("/v1/algs"), gateway.api("/v1/profiles")
    with Raw(network.client, *EXPLICIT) as session:
        session.login()
        file_of(gateway).unlink()
        if text is not None:
            file_of(gateway).write_text(text)
        said = reload(gateway, way, is_good=False)
        after = config(gateway)
        errors = after["failure"]["errors"]
        assert after["revision"] == before["revision"] and after["loaded_at"] == before["loaded_at"]
        assert after["reloads"] == {"ok": 0, "failed": 1}
        assert errors[0]["line"] == line and any((hint or "") in (one["hint"] or "") for one in errors)
        place_of = f"{file_of(gateway)}:{line}:" if line else f"{file_of(gateway)}: cannot be read"
        if way == "command":
            assert place_of in said and (hint or "") in said, said
        elif way == "rest":
            assert said["file"] == str(file_of(gateway)) and said["errors"][0]["line"] == line, said
            assert any((hint or "") in one.get("hint", "") for one in said["errors"])
        else:
            assert "reload failed" in said and str(file_of(gateway)) in said and (hint or "") in said, said
            assert line is None or f"line={line}" in said, said
        # All is as it was.
        assert session.ask("DELE x").startswith("553")
        gateway.config["algs"]["files"]["servers"] = None
        shown = gateway.api("/v1/algs")
        assert [alg["name"] for alg in shown["items"]] == [alg["name"] for alg in algs["items"]]
        assert len(gateway.api("/v1/profiles")["items"]) == len(profiles["items"])
    with Raw(network.client, *EXPLICIT) as session:
        session.login()
    assert gateway.metric('postern_config_last_reload_ok') == 0
    report = {one["check"]: one["status"] for one in json.loads(postern(gateway, "doctor", "-o", "json").stdout)}
    assert report["configuration"] == "warn"
    gateway.config["algs"]["files"].pop("servers")
    write(gateway)
    reload(gateway, way)
    assert gateway.metric('postern_config_last_reload_ok') == 1
    assert gateway.metric("postern_config_revision") == before["revision"] + 1


def test_needs_a_restart(network, start_gateway):
    """All keys are named, nothing is applied; the same file is what the next start takes."""
    gateway = start_gateway({**own(), **deny("DELE")})
    write(gateway, merge({"node": "other", "limits": {"relay_threads": 2}, "realms": {"outer": {"media_ports": "21000-21999", "cps": 50}}},
                         {"log": {"level": "info"}}))
    said = reload(gateway, is_good=False)
    assert sorted(one["pointer"] for one in said["errors"]) == ["/limits/relay_threads", "/node", "/realms/outer/media_ports"]
    assert all(one["line"] and "restart" in one["hint"] for one in said["errors"])
    check = postern(gateway, "reload", "check")
    assert check.returncode == 1 and "/node: takes a restart" in check.stderr
    assert count(gateway) == 1  # a check is no reload
    gateway.restart()
    assert gateway.api("/readyz?verbose")["node"] == "other"


def test_check(network, start_gateway):
    gateway = start_gateway({**own(), **deny("DELE")})
    write(gateway, own(max_sessions=5))
    done = postern(gateway, "reload", "check")
    assert done.returncode == 0 and "changed  /algs/files" in done.stdout, done
    assert gateway.api("/v1/algs/files")["max_sessions"] == 1000
    assert config(gateway)["reloads"] == {"ok": 0, "failed": 0}
    assert reload(gateway)["changes"] == [{"pointer": "/algs/files", "change": "changed"}]
    assert gateway.api("/v1/algs/files")["max_sessions"] == 5
    shown = postern(gateway, "show", "config").stdout
    assert str(file_of(gateway)) in shown and "changed  /algs/files" in shown


# ---- many

def resources(gateway):
    pid = gateway.process.pid
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": int(re.search(r"Threads:\s+(\d+)", status).group(1)),
            "kilobytes": int(re.search(r"VmRSS:\s+(\d+)", status).group(1))}


def listeners(network):
    return sorted(line.split()[3] for line in network.gateway.run("ss", "-Hltn").splitlines())


def test_a_hundred(network, start_gateway, server):
    """With a session up all the while: nothing stays behind of those that are not in force any more."""
    rules = [{"name": f"rule-{n}", "deny": {"verb": "STOR", "target": f"^/no/{n}/.*$"}} for n in range(200)]
    # What a sanitizer keeps of what was freed is no leak; those it finds by itself at the end.
    gateway = start_gateway({**own(), **profile("ftp", rules)}, ASAN_OPTIONS="detect_leaks=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64")

    def turn(n):
        ports = [2199 + n % 3]
        write(gateway, merge(own("others", ports=ports), {"profiles": {"rules": {"rules": rules[n % 7:]}}}))
        reload(gateway, WAYS[n % 3])
        with Raw(network.client, "192.0.2.1", ports[0]) as session:
            session.login()

    with Raw(network.client, *EXPLICIT) as session:
        session.login()
        for n in range(20):
            turn(n)
        eventually(lambda: len(sessions(gateway)) == 1, 10, "the end of the others")
        before, open_before = resources(gateway), listeners(network)
        for n in range(120, 220):
            turn(n)
        eventually(lambda: len(sessions(gateway)) == 1, 10, "the end of the others")
        turn(19)
        eventually(lambda: len(sessions(gateway)) == 1, 10, "the end of the others")
        after = resources(gateway)
        assert listeners(network) == open_before
        assert after["threads"] == before["threads"]
        assert after["descriptors"] <= before["descriptors"] + 4, (before, after)  # connections of the API
        assert session.ask("NOOP").startswith("200")
    print(before, after)
    assert config(gateway)["reloads"]["failed"] == 0
    assert after["kilobytes"] < before["kilobytes"] * 1.5 + 8192, (before, after)
