"""Session descriptions: what changes on the way and, byte for byte, what does not."""
from flows import answer_of, dial, establish, fail_with, hang_up, offer_of, refuse
from sipcall import media_of, sdp

EXTRAS = ("b=AS:64\r\na=tool:x  y\r\n", "b=TIAS:64000\r\na=rtpmap:101 telephone-event/8000\r\n"
          "a=fmtp:101 0-15;x=\"q\"\r\na=ptime:20\r\na=x-own:  spaces  kept \r\na=sendrecv\r\n")


def test_every_other_byte_stays(gateway, alice, bob, network):
    head = f"v=0\r\no=alice 1 1 IN IP4 {network.CALLER}\r\ns=-\r\n"
    offer = f"{head}c=IN IP4 {network.CALLER}\r\n{EXTRAS[0]}t=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n{EXTRAS[1]}"
    a, b = dial(alice, bob, offer=offer)
    got = b.offer
    port = media_of(got)[0]["port"]
    origin = next(line for line in got.split("\r\n") if line.startswith("o="))
    assert got == (f"v=0\r\n{origin}\r\ns=-\r\nc=IN IP4 {network.INNER}\r\n{EXTRAS[0]}t=0 0\r\n"
                   f"m=audio {port} RTP/AVP 0 8 101\r\n{EXTRAS[1]}")
    refuse(b, 486)
    fail_with(a, 486)


def test_rejected_line_keeps_its_place(gateway, alice, bob):
    offer = sdp(alice.host, "audio 4000 RTP/AVP 0", "video 4100 RTP/AVP 31", "a=rtpmap:31 H261/90000")
    body = sdp(bob.host, "audio 6000 RTP/AVP 0", "video 0 RTP/AVP 31")
    a, b, for_a, for_b = establish(alice, bob, offer=offer, body=body)
    assert [(m["kind"], m["port"] > 0) for m in for_b] == [("audio", True), ("video", True)]
    assert [(m["kind"], m["port"] > 0) for m in for_a] == [("audio", True), ("video", False)]
    assert gateway.pairs_used() == 2
    hang_up(a, b)


def test_disabled_line_in_the_offer(gateway, alice, bob):
    offer = sdp(alice.host, "video 0 RTP/AVP 31", "audio 4000 RTP/AVP 0")
    body = sdp(bob.host, "video 0 RTP/AVP 31", "audio 6000 RTP/AVP 0")
    a, b, for_a, for_b = establish(alice, bob, offer=offer, body=body)
    for media in (for_a, for_b):
        assert [m["port"] > 0 for m in media] == [False, True]
    hang_up(a, b)


def test_ice_is_stripped(gateway, alice, bob, network):
    ice = (f"a=candidate:1 1 UDP 2130706431 {network.CALLER} 4000 typ host", "a=ice-ufrag:8hhY",
           "a=ice-pwd:asd88fgpdd777uzjYhagZg", "a=end-of-candidates", "a=mid:0")
    a, b = dial(alice, bob, offer=sdp(alice.host, "audio 4000 RTP/AVP 0", *ice, session=("a=ice-options:trickle",)))
    assert "a=mid:0" in b.offer
    for word in ("candidate", "ice-", network.CALLER):
        assert word not in b.offer
    refuse(b, 488)
    fail_with(a, 488)


def test_media_level_addresses(gateway, alice, bob, network):
    offer = (f"v=0\r\no=- 1 1 IN IP4 {network.CALLER}\r\ns=-\r\nt=0 0\r\n"
             f"m=audio 4000 RTP/AVP 0\r\nc=IN IP4 {network.CALLER}\r\n"
             f"m=video 4100 RTP/AVP 31\r\nc=IN IP4 {network.OTHER_CALLER}\r\n")
    a, b = dial(alice, bob, offer=offer)
    assert [m["address"] for m in media_of(b.offer)] == [network.INNER, network.INNER]
    assert "192.0.2." not in b.offer
    refuse(b, 486)
    fail_with(a, 486)


def test_lines_with_bare_line_feeds(gateway, alice, bob, network):
    a, b = dial(alice, bob, offer=offer_of(alice).replace("\r\n", "\n").rstrip("\n"))
    assert "\r" not in b.offer and not b.offer.endswith("\n")
    assert media_of(b.offer)[0]["address"] == network.INNER
    refuse(b, 486)
    fail_with(a, 486)


def test_multipart_keeps_its_other_parts(gateway, alice, bob, network):
    isup = b"--x1\r\nContent-Type: application/ISUP;version=nxv3\r\nContent-Disposition: signal;handling=optional\r\n" \
           b"\r\n\x01\x10\x00\x0a\x0d\xff\r\n--x1--\r\nepilogue"
    body = b"--x1\r\nContent-Type: application/sdp\r\n\r\n" + offer_of(alice).encode() + b"\r\n" + isup
    a, b = dial(alice, bob, offer=body, content_type="multipart/mixed;boundary=x1")
    invite = b.invite_request
    assert invite.get("Content-Type") == "multipart/mixed;boundary=x1"
    assert invite.body.endswith(isup) and network.INNER.encode() in invite.body
    assert network.CALLER.encode() not in invite.body
    b.reply(200, "OK", answer_of(bob))
    a.wait_status(200)
    a.ack()
    b.wait_ack()
    hang_up(a, b)


def test_names_of_hosts_do_not_cross(gateway, alice, bob):
    offer = offer_of(alice).replace("s=-", "s=call from pc7.inside.example\r\nu=http://pc7.inside.example/\r\ne=a@inside.example")
    a, b = dial(alice, bob, offer=offer)
    assert "inside.example" not in b.offer
    refuse(b, 486)
    fail_with(a, 486)
