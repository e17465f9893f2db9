"""RTSP under TLS (RTSPS), ended at the gateway on both sides: real players and a real server."""
import os
import tempfile

import pytest

from algnet import SERVER, GstPlayer, GstRtsp, Player, folder, network, profile, rtsp, session, sessions, wait_quiet  # noqa: F401
from harness import Network, eventually
from test_alg_rtsp import media
from tlspeers import Certificates

MODES = ["nat", "transparent", "explicit"]


@pytest.fixture(scope="module")
def certificates():
    with tempfile.TemporaryDirectory(prefix="postern-") as name:
        os.chmod(name, 0o755)  # the gateway's account reads them, too
        yield Certificates(name)


class TlsGstRtsp(GstRtsp):
    def __init__(self, *args, certificate, **options):
        super().__init__(*args, **{"port": 322, **options})
        self.certificate = certificate

    def command(self):
        return [*super().command(), "--certificate", self.certificate[0], "--key", self.certificate[1]]


@pytest.fixture
def server(network, folder, certificates):
    with TlsGstRtsp(network, folder, certificate=certificates.server) as one:
        yield one


def of(certificates, mode, **changes):
    where = {"ports": [8322], "server": f"{SERVER}:322"} if mode == "explicit" else {"ports": [322]}
    return rtsp(mode, **certificates.of_gateway(tls="implicit"), **where, **changes)


def url(mode, path="test"):
    return f"rtsps://{Network.OUTER}:8322/{path}" if mode == "explicit" else f"rtsps://{SERVER}:322/{path}"


@pytest.mark.parametrize("protocols", ["udp", "tcp"])
@pytest.mark.parametrize("mode", MODES)
def test_play(network, start_gateway, server, certificates, mode, protocols):
    """GStreamer checks the gateway's certificate, the gateway the server's; media is as without TLS."""
    gateway = start_gateway(of(certificates, mode))
    player = GstPlayer(network, url(mode), "--protocols", protocols, "--ca", str(certificates.ca))
    try:
        if protocols == "udp":
            eventually(lambda: len(media(gateway)) == 2, 15, "both tracks")
        eventually(lambda: all(leg["tls"] and leg["tls"]["version"] == "TLSv1.3" for leg in session(gateway)["legs"].values()), what="TLS")
        player.finish()
    finally:
        player.end()
    wait_quiet(gateway, network)


@pytest.mark.parametrize("publish", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_ffmpeg(network, start_gateway, server, certificates, mode, publish):
    """Over its TLS it has no UDP, and it closes right behind TEARDOWN: no session stays half-closed."""
    gateway = start_gateway(of(certificates, mode))
    for _ in range(3):
        Player(network, url(mode, "record" if publish else "test"), transport="tcp", seconds=2, publish=publish).finish()
        wait_quiet(gateway, network)
    assert "recorded" in server.log.read_text() or not publish


def test_rules_see_inside(network, start_gateway, server, certificates):
    rules = [{"name": "view-only", "deny": {"verb": ["ANNOUNCE", "RECORD"]}, "code": 405}]
    gateway = start_gateway({**of(certificates, "nat", profile="rules"), **profile("rtsp", rules)})
    player = Player(network, url("nat", "record"), transport="tcp", seconds=2, publish=True)
    said = player.process.communicate(timeout=30)[1]
    assert player.process.returncode != 0 and "405" in said
    wait_quiet(gateway, network)


def test_media_is_kept_inside(network, start_gateway, server, certificates):
    """Media over UDP would be in clear: refused, and the player takes the channel."""
    rules = [{"name": "no-media-in-clear", "deny": {"verb": "SETUP", "transport": ["udp", "multicast"]}, "code": 461}]
    gateway = start_gateway({**of(certificates, "nat", profile="rules"), **profile("rtsp", rules)})
    GstPlayer(network, url("nat"), "--ca", str(certificates.ca)).finish()
    assert gateway.api("/v1/profiles/rules")["rules"][0]["hits"] >= 1
    wait_quiet(gateway, network)


def test_wrong_server(network, start_gateway, folder, certificates):
    with TlsGstRtsp(network, folder, certificate=certificates.stranger):
        gateway = start_gateway(of(certificates, "nat"))
        player = Player(network, url("nat"), transport="tcp", seconds=1)
        player.process.communicate(timeout=30)
        assert player.process.returncode != 0
        ended = sessions(gateway, "?state=ended")
        assert ended and all(one["cause"] == "TLS with the server failed" for one in ended)
        wait_quiet(gateway, network)


def test_player_in_clear(network, start_gateway, server, certificates):
    gateway = start_gateway(of(certificates, "nat"))
    player = Player(network, url("nat").replace("rtsps:", "rtsp:"), transport="tcp", seconds=1)
    player.process.communicate(timeout=30)
    assert player.process.returncode != 0
    assert {one["cause"] for one in sessions(gateway, "?state=ended")} == {"TLS with the client failed"}
    wait_quiet(gateway, network)
