"""RTSP in HTTP, with real players and a real server: a GET on which they hear, and a POST on which they speak in base64."""
import base64
import re

import pytest

from algnet import (PASSWORD, SERVER, GstPlayer, GstRtsp, Player, Raw, folder, network, profile, rtsp, rtsp_url, sessions,  # noqa: F401
                    transfers, wait_quiet)
from harness import eventually

MODES = ["nat", "transparent", "explicit"]
TYPE = "application/x-rtsp-tunnelled"


@pytest.fixture
def server(network, folder):
    with GstRtsp(network, folder) as one:
        yield one


def players(network, mode):
    return {"ffmpeg": lambda: Player(network, rtsp_url(mode), transport="http", seconds=4),
            "gstreamer": lambda: GstPlayer(network, rtsp_url(mode).replace("rtsp:", "rtsph:"))}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("client", ["ffmpeg", "gstreamer"])
def test_play(network, start_gateway, server, mode, client):
    """Two sessions that show each other; no pinhole; and the records tell what came."""
    gateway = start_gateway(rtsp(mode))
    player = players(network, mode)[client]()
    try:
        both = eventually(lambda: (found := [one for one in sessions(gateway) if one["partner"]]) and len(found) == 2 and found, 20, "a tunnel")
        assert both[0]["partner"] == both[1]["id"] and both[1]["partner"] == both[0]["id"]
        assert all(one["n_holes"] == 0 for one in both)
        player.finish()
    finally:
        player.end()
    wait_quiet(gateway, network)
    records = transfers(gateway, 1)
    assert sum(one["bytes"] for one in records) > 50 * 160, records  # a second of one track at least
    assert all(one["verb"] == "PLAY" and one["data_path"] == "control" for one in records)


def test_digest(network, start_gateway, folder):
    with GstRtsp(network, folder, user="cam"):
        gateway = start_gateway(rtsp("nat"))
        Player(network, rtsp_url("nat", login=f"cam:{PASSWORD.replace(' ', '')}@"), transport="http", seconds=1).finish()
        assert "cam" in {one["user"] for one in transfers(gateway)}
        wait_quiet(gateway, network)


def test_what_is_inside_is_judged(network, start_gateway, server):
    rules = [{"name": "nothing-here", "deny": {"verb": "DESCRIBE", "target": "/test$"}, "code": 404, "text": "not for you"}]
    gateway = start_gateway({**rtsp("nat", profile="rules"), **profile("rtsp", rules)})
    player = Player(network, rtsp_url("nat"), transport="http", seconds=1)
    said = player.process.communicate(timeout=30)[1]
    assert player.process.returncode != 0 and "404 not for you" in said, said
    assert gateway.api("/v1/profiles/rules")["rules"][0]["hits"] >= 1
    wait_quiet(gateway, network)


def test_tunnels_are_refused(network, start_gateway, server):
    rules = [{"name": "no-tunnels", "deny": {"transport": "http"}}]
    gateway = start_gateway({**rtsp("nat", profile="rules"), **profile("rtsp", rules)})
    player = Player(network, rtsp_url("nat"), transport="http", seconds=1)
    said = player.process.communicate(timeout=30)[1]
    assert player.process.returncode != 0 and "403" in said, said
    Player(network, rtsp_url("nat"), seconds=1).finish()
    wait_quiet(gateway, network)


# ---- a client of our own

def get(space, cookie="sesame"):
    raw = Raw(space, SERVER, 554)
    raw.send("GET /test HTTP/1.0").send(f"x-sessioncookie: {cookie}").send(f"Accept: {TYPE}").send("")
    assert answer(raw)[0] == 200
    return raw


def post(space, cookie="sesame"):
    raw = Raw(space, SERVER, 554)
    raw.send("POST /test HTTP/1.0").send(f"x-sessioncookie: {cookie}").send(f"Content-Type: {TYPE}").send("Content-Length: 32767").send("")
    return raw


def answer(raw):
    """(status, header fields) of HTTP or RTSP."""
    status, headers = raw.line(), {}
    assert status, "the connection has ended"
    while (line := raw.line()):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(status.split()[1]), headers


def request(method, cseq, *headers, path="test"):
    return "\r\n".join([f"{method} rtsp://{SERVER}:554/{path} RTSP/1.0", f"CSeq: {cseq}", *headers, "", ""]).encode()


def say(raw, octets):
    raw.socket.sendall(base64.b64encode(octets))


def has_ended(raw):
    return raw.file.read(1) == b""


def test_only_frames_come_through(network, start_gateway, server):
    gateway = start_gateway(rtsp("nat"))
    with get(network.client) as hears, post(network.client) as speaks:
        say(speaks, request("SETUP", 1, "Transport: RTP/AVP;unicast;client_port=5000-5001", path="test/stream=0"))
        assert answer(hears) == (461, {"cseq": "1"})
        say(speaks, request("SETUP", 2, "Transport: RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=4-5", path="test/stream=0"))
        status, headers = answer(hears)
        assert status == 200 and "interleaved=4-5" in headers["transport"]
        assert not any(one["n_holes"] for one in sessions(gateway))
    wait_quiet(gateway, network)


def test_one_post_after_the_other(network, start_gateway, server):
    """With line ends inside, with half a request at its end, and with the one before still open."""
    gateway = start_gateway(rtsp("nat"))
    with get(network.client) as hears:
        with post(network.client) as first:
            text = base64.b64encode(request("OPTIONS", 1) + request("OPTIONS", 2))
            first.socket.sendall(b"\r\n".join(re.findall(b".{1,60}", text)))
            assert [answer(hears)[1]["cseq"] for _ in range(2)] == ["1", "2"]
            say(first, request("OPTIONS", 3)[:30])
        eventually(lambda: len(sessions(gateway)) == 1, what="the end of the first POST")
        with post(network.client) as second:
            say(second, request("OPTIONS", 3)[30:])
            assert answer(hears)[1]["cseq"] == "3"
            with post(network.client) as third:
                say(third, request("OPTIONS", 4))
                assert answer(hears)[1]["cseq"] == "4"
                assert has_ended(second)
    wait_quiet(gateway, network)


def test_the_post_ends_with_the_get(network, start_gateway, server):
    gateway = start_gateway(rtsp("nat"))
    hears = get(network.client)
    with post(network.client) as speaks:
        say(speaks, request("OPTIONS", 1))
        assert answer(hears)[0] == 200
        hears.close()
        assert has_ended(speaks)
    wait_quiet(gateway, network)


def test_others_do_not_speak_for_a_client(network, start_gateway, server):
    """Neither by guessing nor with the right word: it is the client's own."""
    gateway = start_gateway(rtsp("nat"))
    with get(network.client) as hears, post(network.stranger) as other, post(network.client, "open") as wrong:
        assert answer(other)[0] == 404 and answer(wrong)[0] == 404
        with post(network.client) as speaks:
            say(speaks, request("OPTIONS", 1))
            assert answer(hears)[1]["cseq"] == "1"
            assert all("OPTIONS" not in str(gateway.api(f"/v1/sessions/{one['id']}")["changes"]) for one in sessions(gateway))
    wait_quiet(gateway, network)


def test_a_client_that_waits_for_leave(network, start_gateway, server):
    gateway = start_gateway(rtsp("nat"))
    with get(network.client) as hears, Raw(network.client, SERVER, 554) as speaks:
        speaks.send("POST /test HTTP/1.1").send("x-sessioncookie: sesame").send("Expect: 100-continue").send(f"Content-Type: {TYPE}").send("")
        assert answer(speaks)[0] == 100
        say(speaks, request("OPTIONS", 1))
        assert answer(hears)[0] == 200
    wait_quiet(gateway, network)
