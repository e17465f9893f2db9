"""What servers answer to SETUP, each in its own way, and addresses that only the gateway reaches: a real player sees none of it."""
import re
from pathlib import Path

import pytest

import harness
from algnet import (CLIENT, SERVER, GstRtsp, Player, Raw, Server, folder, network, rtsp, rtsp_url, session,  # noqa: F401
                    transfers, wait_quiet)
from algpeers.rtspstub import VARIANTS
from harness import eventually


class Stub(Server):
    """A camera; see algpeers/rtspstub.py."""

    def __init__(self, *args, variant, **options):
        super().__init__(*args, **{"port": 554, **options})
        self.variant = variant

    def command(self):
        return ["/usr/bin/python3", Path(__file__).parent / "algpeers" / "rtspstub.py", "--host", self.host, "--port", self.port, "--variant", self.variant]


@pytest.mark.parametrize("variant", VARIANTS)
def test_answers(network, start_gateway, folder, variant):
    """The server is inside and names itself in Content-Base, a=control, c= and RTP-Info; the client only knows the gateway."""
    with Stub(network, folder, variant=variant):
        gateway = start_gateway(rtsp("explicit"))
        said = Player(network, rtsp_url("explicit", "cam"), seconds=2).finish()
        assert "missed" not in said and re.search(r"Stream #0:0.*Audio: pcm_alaw", said)
        record = transfers(gateway)[0]
        assert record["path"] == f"rtsp://{harness.Network.OUTER}:8554/cam/track0" and record["bytes"] > 50 * 172
        wait_quiet(gateway, network)


def test_a_camera_over_nat(network, start_gateway, folder):
    with Stub(network, folder, variant="plain"):
        gateway = start_gateway(rtsp("nat"))
        Player(network, rtsp_url("nat", "cam"), seconds=2).finish()
        wait_quiet(gateway, network)


# ---- two sessions on one connection

def ask(raw, method, cseq, *headers, path="test"):
    raw.send(f"{method} rtsp://{SERVER}:554/{path} RTSP/1.0").send(f"CSeq: {cseq}")
    for header in headers:
        raw.send(header)
    raw.send("")
    status, fields = raw.line(), {}
    while (line := raw.line()):
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(status.split()[1]), fields


def open_holes(gateway):
    return [hole for hole in session(gateway)["holes"] if hole["kind"] == "media" and hole["state"] != "closed"]


def test_sessions_end_apart(network, start_gateway, folder):
    """TEARDOWN of one leaves the other its media, on the same connection."""
    with GstRtsp(network, folder):
        gateway = start_gateway(rtsp("nat"))
        with Raw(network.client, SERVER, 554) as raw, network.client.socket(2) as media:
            media.bind((CLIENT, 0))
            media.settimeout(10)
            ids = []
            for cseq, port in ((1, media.getsockname()[1]), (2, 5002)):
                status, fields = ask(raw, "SETUP", cseq, f"Transport: RTP/AVP;unicast;client_port={port}-{port + 1}", path="test/stream=0")
                assert status == 200
                ids.append(fields["session"].split(";")[0])
            assert ids[0] != ids[1] and len(open_holes(gateway)) == 2
            assert ask(raw, "TEARDOWN", 3, f"Session: {ids[1]}")[0] == 200
            eventually(lambda: len(open_holes(gateway)) == 1, what="the end of one")
            assert ask(raw, "PLAY", 4, f"Session: {ids[0]}")[0] == 200
            assert len({media.recv(2000)[2:4] for _ in range(20)}) == 20
            assert ask(raw, "TEARDOWN", 5, f"Session: {ids[0]}")[0] == 200
            eventually(lambda: not open_holes(gateway), what="the end of the other")
        wait_quiet(gateway, network)
