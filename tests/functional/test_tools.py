"""The test tools themselves, without a gateway between: a tool that cannot fail proves nothing."""
import subprocess

import pytest

from harness import BUILD, eventually, hostport
from sipcall import Message, media_of, sdp, tag_of, target_of


def test_endpoints_meet(network, endpoint):
    bob = endpoint("callee", network.CALLEE, "bob")
    alice = endpoint("callee", network.OTHER_CALLEE, "alice")
    a = alice.invite(f"sip:bob@{network.CALLEE}", sdp(alice.host, "audio 4000 RTP/AVP 0"))
    b = bob.take_call()
    assert media_of(b.offer) == [{"kind": "audio", "port": 4000, "proto": "RTP/AVP", "formats": ["0"],
                                  "address": network.OTHER_CALLEE, "lines": []}]
    alice.send(a.invite_request, a.peer)
    bob.wait_copies(b.invite_request, 2)
    b.reply(180)
    a.wait_status(180)
    b.reply(200, "OK", sdp(bob.host, "audio 6000 RTP/AVP 0"))
    a.wait_status(200)
    a.ack()
    b.wait_ack()
    b.bye()
    a.answer_bye()
    b.wait_status(200, "BYE")
    with pytest.raises(AssertionError, match="did not come"):
        bob.wait_request("INFO", 0.1)
    alice.request("OPTIONS", f"sip:{network.CALLEE}")
    with pytest.raises(AssertionError, match="unexpected"):
        bob.expect_silence(0.2)


def test_messages():
    message = Message.parse(b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h;branch=z9hG4bKx\r\nt: <sip:b@h>\r\n ;tag=7\r\nCSeq: 3 INVITE\r\n"
                            b"l: 2\r\n\r\nxy")
    assert (message.status, message.method, message.cseq, message.branch) == (200, "INVITE", 3, "z9hG4bKx")
    assert tag_of(message.get("To")) == "7" and message.body == b"xy"
    assert target_of("sip:b@[2001:db8::1]:5070;x=y") == ("2001:db8::1", 5070)
    assert target_of("sip:host.example") == ("host.example", 5060)


def test_rtp_endpoints_see_loss_and_strangers(network, rtp):
    one = rtp("callee", network.OTHER_CALLEE, 4000, 1, expect=2, count=30, pps=200)
    two = rtp("callee", network.CALLEE, 6000, 2, expect=1, count=30, pps=200)
    stranger = rtp("callee", network.CALLEE, 6002, 3, count=10, pps=200)
    one.to({"address": network.CALLEE, "port": 6000}).start()
    two.to({"address": network.OTHER_CALLEE, "port": 4000}).start()
    stranger.to({"address": network.OTHER_CALLEE, "port": 4000}).start()
    for endpoint, sent in ((one, 30), (two, 30), (stranger, 10)):
        endpoint.wait_sent(sent)
    eventually(lambda: one.report()["received"] == 40)
    assert one.report()["foreign"] == 10 and two.report()["foreign"] == 0
    assert one.sources() == {hostport(network.CALLEE, 6000), hostport(network.CALLEE, 6002)}
    one.to({"address": network.CALLEE, "port": 6999}).start().wait_sent(60)
    one.to({"address": network.CALLEE, "port": 6000}).start().wait_sent(90)
    eventually(lambda: two.report()["received"] == 60)
    assert two.report()["lost"] == 30


@pytest.mark.parametrize("arguments", [
    [], ["--bind", "nonsense"], ["--bind", "127.0.0.1:4000"], ["--bind", "127.0.0.1:4000", "--count", "1", "--pps", "0"],
    ["--bind", "127.0.0.1:4000", "--count", "1", "--pt", "128"], ["--bind", "127.0.0.1:4000", "--count", "1", "extra"],
    ["--streams", "/nonexistent", "--count", "1"], ["--what"],
])
def test_rtptool_refuses_wrong_usage(arguments):
    assert subprocess.run([BUILD / "tests/tools/rtptool", *arguments], capture_output=True, timeout=10).returncode == 2


def test_sipp_failures_are_seen(network, sipp):
    callee = sipp("callee", "uas_busy", calls=1)
    caller = sipp("callee", "uac", "-p", 5070, "-s", "1000", f"{network.CALLEE}:5060", calls=1)
    with pytest.raises(AssertionError, match="good calls"):
        caller.finish()
    callee.finish()
