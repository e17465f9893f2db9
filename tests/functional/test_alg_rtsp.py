"""Real RTSP players and a real RTSP server that know nothing of the gateway."""
import os
import re
import subprocess

import pytest

import algnet
from algnet import (CLIENT, PASSWORD, SERVER, GstPlayer, GstRtsp, Player, Raw, folder, network, profile, rtsp, rtsp_place,  # noqa: F401
                    rtsp_url, session, sessions, transfers, wait_quiet)
from harness import Capture, eventually

STREAM_SECONDS = int(os.environ.get("POSTERN_STREAM_SECONDS", 15))
MODES = ["nat", "transparent", "explicit"]


@pytest.fixture
def server(network, folder):
    with GstRtsp(network, folder) as one:
        yield one


def media(gateway):
    return [hole for hole in session(gateway)["holes"] if hole["kind"] == "media" and hole["state"] != "closed"]


@pytest.mark.parametrize("mode", MODES)
def test_play_over_udp(network, start_gateway, server, mode):
    """Two tracks arrive complete; with NAT they go through the media engine, into the kernel, with loss and jitter shown."""
    gateway = start_gateway(rtsp(mode))
    player = Player(network, rtsp_url(mode), seconds=6)
    try:
        if mode != "transparent":
            eventually(lambda: len(media(gateway)) == 2, 10, "both tracks")
            eventually(lambda: all(hole["media"]["server"]["path"] in ("xdp", "tc") for hole in media(gateway)), 10, "media in the kernel")
            eventually(lambda: all(hole["media"]["server"]["packets"] > 50 for hole in media(gateway)), what="packets")
            assert all(hole["media"]["server"]["lost"] == 0 for hole in media(gateway))
        said = player.finish()
    finally:
        player.end()
    assert "missed" not in said and len(re.findall(r"Stream #0:[01].*Audio: pcm_(?:alaw|mulaw)", said)) >= 2
    wait_quiet(gateway, network)


def rtp_counts(captured):
    """{ssrc: (packets, of how many)} of the RTP in a capture file: the second is the span of sequence numbers."""
    seen = {}
    for payload in algnet.udp_payloads(captured):
        if len(payload) > 12 and payload[0] >> 6 == 2 and payload[1] & 0x7f < 64:
            numbers = seen.setdefault(payload[8:12], [])
            number = int.from_bytes(payload[2:4], "big")
            if numbers:
                number = numbers[-1] + ((number - numbers[-1] + 0x8000) % 0x10000) - 0x8000
            numbers.append(number)
    return {ssrc: (len(set(numbers)), max(numbers) - min(numbers) + 1) for ssrc, numbers in seen.items()}


def test_long_play(network, start_gateway, server, folder):
    """Every packet that leaves the server on either track is at the player's interface; POSTERN_STREAM_SECONDS says how long."""
    gateway = start_gateway(rtsp("nat"))
    ends = [Capture(network.server, "inner", folder / "server.pcap"), Capture(network.client, "outer", folder / "client.pcap")]
    player = Player(network, rtsp_url("nat"), seconds=STREAM_SECONDS)
    try:
        said = player.finish(STREAM_SECONDS + 60)
    finally:
        player.end()
        sent, received = (end.bytes() for end in ends)
    wait_quiet(gateway, network)
    counts = rtp_counts(received)
    assert len(counts) == 2 and counts == rtp_counts(sent)
    assert all(packets == span >= STREAM_SECONDS * 50 for packets, span in counts.values()), counts
    assert "missed" not in said, said


@pytest.mark.parametrize("mode", MODES)
def test_interleaved(network, start_gateway, server, mode):
    gateway = start_gateway(rtsp(mode))
    player = Player(network, rtsp_url(mode), transport="tcp", seconds=2)
    try:
        eventually(lambda: sessions(gateway), what="a session")
        player.finish()
    finally:
        player.end()
    wait_quiet(gateway, network)
    assert all(one["bytes"] > 50 * 172 for one in transfers(gateway, 2))  # a second of each track at least


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_between_families(network, start_gateway, server, transport):
    """A player that has only IPv6, a server that has only IPv4: addresses in SDP and Transport are of each one's own family."""
    gateway = start_gateway(rtsp("explicit"))
    Player(network, f"rtsp://[{network.OUTER6}]:8554/test", transport=transport, seconds=2).finish()
    wait_quiet(gateway, network)


@pytest.mark.parametrize("mode", MODES)
def test_publish(network, start_gateway, server, mode):
    """The other direction: the client sends, the server records."""
    gateway = start_gateway(rtsp(mode))
    Player(network, rtsp_url(mode, "record"), seconds=4, publish=True).finish()
    eventually(lambda: "recorded" in server.log.read_text(), what="recorded media")
    wait_quiet(gateway, network)


def test_digest(network, start_gateway, folder):
    """Credentials are of the URL that the server sees: untouched."""
    with GstRtsp(network, folder, user="cam"):
        gateway = start_gateway(rtsp("nat"))
        Player(network, rtsp_url("nat", login=f"cam:{PASSWORD.replace(' ', '')}@"), seconds=1).finish()
        wait_quiet(gateway, network)


def test_falls_back_when_udp_is_refused(network, start_gateway, server):
    """461 from the policy, and the player takes the control channel."""
    rules = [{"name": "tcp-only", "deny": {"verb": "SETUP", "transport": "udp"}}]
    gateway = start_gateway({**rtsp("nat", profile="rules"), **profile("rtsp", rules)})
    Player(network, rtsp_url("nat"), transport=None, seconds=1).finish()
    assert gateway.api("/v1/profiles/rules")["rules"][0]["hits"] >= 1
    wait_quiet(gateway, network)


def test_methods_are_refused(network, start_gateway, server):
    rules = [{"name": "view-only", "deny": {"verb": ["ANNOUNCE", "RECORD"]}, "code": 405}]
    gateway = start_gateway({**rtsp("nat", profile="rules"), **profile("rtsp", rules)})
    player = Player(network, rtsp_url("nat", "record"), seconds=2, publish=True)
    said = player.process.communicate(timeout=30)[1]
    assert player.process.returncode != 0 and "405" in said
    Player(network, rtsp_url("nat"), seconds=1).finish()
    with Raw(network.client, SERVER, 554) as raw:
        raw.send("OPTIONS * RTSP/1.0").send("CSeq: 1").send("")
        text = []
        while (line := raw.line()):
            text.append(line)
        public = next(line for line in text if line.startswith("Public:"))
        assert "DESCRIBE" in public and "ANNOUNCE" not in public and "RECORD" not in public
    wait_quiet(gateway, network)


def set_up(raw, cseq, transport, path="test/stream=0"):
    raw.send(f"SETUP rtsp://{SERVER}:554/{path} RTSP/1.0").send(f"CSeq: {cseq}").send(f"Transport: {transport}").send("")
    status, headers = raw.line(), {}
    while (line := raw.line()):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(status.split()[1]), headers


def test_setup_is_guarded(network, start_gateway, server):
    """Media for others and for service ports is refused; the server never hears of it."""
    gateway = start_gateway(rtsp("nat"))
    with Raw(network.client, SERVER, 554) as raw:
        assert set_up(raw, 1, "RTP/AVP;unicast;destination=198.51.100.21;client_port=5000-5001")[0] == 403
        assert 400 <= set_up(raw, 2, "RTP/AVP;unicast;client_port=22-23")[0] < 500
        assert session(gateway)["holes"] == []
        status, headers = set_up(raw, 3, "RTP/AVP;unicast;client_port=5000-5001")
        assert status == 200 and "client_port=5000-5001" in headers["transport"]
        assert len(media(gateway)) == 1
        raw.send(f"TEARDOWN rtsp://{SERVER}:554/test RTSP/1.0").send("CSeq: 4").send(f"Session: {headers['session'].split(';')[0]}").send("")
        answer = raw.line()
        assert "200" in answer, answer
        eventually(lambda: not media(gateway), what="the end of the stream")
    wait_quiet(gateway, network)


def test_text_in_interleaved_frames_opens_nothing(network, start_gateway, server):
    gateway = start_gateway(rtsp("nat"))
    with Raw(network.client, SERVER, 554) as raw:
        inside = b"SETUP rtsp://198.51.100.20/test RTSP/1.0\r\nCSeq: 9\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n"
        raw.socket.sendall(b"$\x00" + len(inside).to_bytes(2, "big") + inside)
        raw.send(f"OPTIONS rtsp://{SERVER}/test RTSP/1.0").send("CSeq: 10").send("")
        assert "200" in raw.line()
        assert session(gateway)["holes"] == []
    wait_quiet(gateway, network)


def test_nobody_else_gets_in(network, start_gateway, server):
    """A third host sprays all media ports while two tracks play: nothing comes through, nothing is learned."""
    gateway = start_gateway(rtsp("nat"))
    player = Player(network, rtsp_url("nat"), seconds=5)
    try:
        eventually(lambda: len(media(gateway)) == 2, 10, "both tracks")
        packet = bytes([0x80, 8]) + bytes(170)
        with network.stranger.socket(2) as sock:
            for port in range(20000, 20400):
                sock.sendto(packet, (network.OUTER, port))
        before = [hole["media"]["client"]["packets"] for hole in media(gateway)]
        assert "missed" not in player.finish()
        assert all(count <= 2 for count in before)  # nothing but the player's own greeting, if that
    finally:
        player.end()
    wait_quiet(gateway, network)


def test_gstreamer(network, start_gateway, server):
    """A second opinion."""
    gateway = start_gateway(rtsp("nat"))
    GstPlayer(network, rtsp_url("nat"), "--protocols", "udp").finish()
    wait_quiet(gateway, network)


def test_mpv(network, start_gateway, server):
    gateway = start_gateway(rtsp("nat"))
    done = subprocess.run(network.client.command(algnet.program("mpv"), "--no-config", "--no-video", "--ao=null", "--length=2", "--rtsp-transport=udp",
                                                 rtsp_url("nat")), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_quiet(gateway, network)
