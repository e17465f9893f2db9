"""Hostile and odd messages over UDP: the right refusal or none, and a gateway that still answers after each.

Besides our own messages, those of RFC 4475 and RFC 5118 are run where a copy is at hand: a folder with rfc4475/ and rfc5118/,
each with verdicts.tsv, named by POSTERN_TORTURE."""
import csv
import os
import re
from pathlib import Path

import pytest

from flows import offer_of, uri
from harness import SOURCE

ARCHIVE = Path(os.environ.get("POSTERN_TORTURE", SOURCE.parent / "shared" / "torture"))


def archived():
    for folder in ("rfc4475", "rfc5118"):
        table = ARCHIVE / folder / "verdicts.tsv"
        if not table.exists():
            continue
        with open(table, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                expected = row.get("expected_udp") or row.get("expected")
                yield pytest.param(ARCHIVE / folder / row["file"], expected, id=f"{folder}-{row['file'][:-4]}")


def still_alive(alice, network):
    request = alice.request("OPTIONS", f"sip:{network.OUTER}")
    assert alice.wait_response(request).status == 200


def answers(alice, data, seconds=0.3):
    """Final responses to that message; those to earlier ones, which nobody acknowledges, may still be repeated."""
    alice.expect_silence(seconds, lambda m: False)
    found, alice.inbox = alice.inbox, []
    call_ids = {value.strip() for value in re.findall(rb"(?im)^(?:call-id|i)[ \t]*:\s*([^\r\n]+)", data)}
    branches = {value for value in re.findall(rb"(?i);branch=([^;,\s]+)", data)}
    return [m.status for m in found if m.status >= 200 and belongs(m, call_ids, branches)]


def belongs(message, call_ids, branches):
    """By Call-ID; messages without one are known by their branch."""
    if call_ids:
        return message.get("Call-ID").encode() in call_ids
    return not branches or any(branch in message.get("Via").encode() for branch in branches)


@pytest.mark.skipif(not ARCHIVE.is_dir(), reason="no copy of the torture messages")
@pytest.mark.parametrize("path,expected", archived())
def test_archive(shared_gateway, alice, network, path, expected):
    data = path.read_bytes()
    alice.send_raw(data, (network.OUTER, 5060))
    got = answers(alice, data)
    allowed = {int(code) for code in re.findall(r"\b[2-6]\d\d\b", expected)}
    if expected.startswith("drop") or expected.startswith("match or drop"):
        assert not got
    elif allowed and "process" not in expected and got:
        # No registrar, not everybody's host, and OPTIONS that came to its end is answered here (RFC 3261 11).
        own = {404, 405} if b"REGISTER" in data.split(b"\r\n")[0] else {404}
        own |= {200} if path.stem == "zeromf" else set()
        assert got[0] in allowed | own, f"{got}, expected {expected}"
    still_alive(alice, network)


HEAD = ("Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK{0}\r\nFrom: <sip:a@192.0.2.10>;tag=1\r\n"
        "To: <sip:1000@192.0.2.1>\r\nCall-ID: {0}@x\r\nContact: <sip:a@192.0.2.10>\r\nMax-Forwards: 70\r\n")
INVITE = "INVITE sip:1000@192.0.2.1 SIP/2.0\r\n"
HOSTILE = {
    "empty": ("", None),
    "one-byte": ("\0", None),
    "line-ends": ("\r\n\r\n", None),
    "text": ("GET / HTTP/1.1\r\n\r\n", None),
    "only-start-line": (INVITE, None),
    "no-headers": (INVITE + "\r\n", None),
    "nul-in-header": (INVITE + HEAD + "CSeq: 1 INVITE\r\nSubject: a\0b\r\nContent-Length: 0\r\n\r\n", {400}),
    "no-cseq": (INVITE + HEAD + "Content-Length: 0\r\n\r\n", {400, None}),  # or silence: no reply can be built
    "cseq-huge": (INVITE + HEAD + "CSeq: 99999999999 INVITE\r\nContent-Length: 0\r\n\r\n", {400}),
    "cseq-other-method": (INVITE + HEAD + "CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n", {400}),
    "length-too-long": (INVITE + HEAD + "CSeq: 1 INVITE\r\nContent-Length: 9999\r\n\r\nx", {400}),
    "length-negative": (INVITE + HEAD + "CSeq: 1 INVITE\r\nContent-Length: -1\r\n\r\n", {400}),
    "length-twice": (INVITE + HEAD + "CSeq: 1 INVITE\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", {400}),
    "from-twice": (INVITE + HEAD + "From: <sip:b@x>;tag=2\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", {400}),
    "header-without-colon": (INVITE + HEAD + "CSeq: 1 INVITE\r\nwhat\r\nContent-Length: 0\r\n\r\n", {400}),
    "five-hundred-headers": (INVITE + HEAD + "CSeq: 1 INVITE\r\n" + "X-A: b\r\n" * 500 + "Content-Length: 0\r\n\r\n",
                             {400, 413, 431, 513}),
    "seventy-vias": (INVITE + HEAD + "Via: SIP/2.0/UDP x;branch=z9hG4bKq\r\n" * 70 + "CSeq: 1 INVITE\r\n\r\n",
                     {400, 413, 513}),
    "long-header": (INVITE + HEAD + "CSeq: 1 INVITE\r\nSubject: " + "x" * 40000 + "\r\n\r\n", {400, 413, 431, 513}),
    "long-uri": (f"INVITE sip:{'1' * 5000}@192.0.2.1 SIP/2.0\r\n" + HEAD + "CSeq: 1 INVITE\r\n\r\n", {400, 414, 513}),
    "unknown-method": ("DANCE sip:1000@192.0.2.1 SIP/2.0\r\n" + HEAD + "CSeq: 1 DANCE\r\n\r\n", {405, 501}),
    "version-3": ("INVITE sip:1000@192.0.2.1 SIP/3.0\r\n" + HEAD + "CSeq: 1 INVITE\r\n\r\n", {400, 505}),
    "scheme-http": ("INVITE http://192.0.2.1/ SIP/2.0\r\n" + HEAD + "CSeq: 1 INVITE\r\n\r\n", {400, 416}),
    "escaped-line-end": ("INVITE sip:1000%0d%0aX@192.0.2.1 SIP/2.0\r\n" + HEAD + "CSeq: 1 INVITE\r\n\r\n", {400, 404}),
    "register": ("REGISTER sip:192.0.2.1 SIP/2.0\r\n" + HEAD + "CSeq: 1 REGISTER\r\n\r\n", {403, 404, 405, 501, 503}),
    "response-to-nothing": ("SIP/2.0 200 OK\r\n" + HEAD + "CSeq: 1 INVITE\r\n\r\n", set()),
    "response-code-huge": ("SIP/2.0 4294967496 OK\r\n" + HEAD + "CSeq: 1 INVITE\r\n\r\n", set()),
    "multipart-without-end": (INVITE + HEAD + "CSeq: 1 INVITE\r\nContent-Type: multipart/mixed;boundary=b\r\n"
                              "Content-Length: 42\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n", {400, 415, 488}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(shared_gateway, alice, bob, network, name):
    text, allowed = HOSTILE[name]
    data = text.replace("{0}", "h" + name).encode()
    alice.send_raw(data, (network.OUTER, 5060))
    got = answers(alice, data)
    if allowed is not None:
        assert set(got[:1]) <= allowed and (got or not allowed or None in allowed), got
    bob.expect_silence(0.05)
    still_alive(alice, network)


def test_own_messages_cut_anywhere(shared_gateway, alice, bob, network):
    """An INVITE cut at every 7th octet: never crossed to the inner side as a whole call, never fatal."""
    whole = (INVITE + HEAD.replace("{0}", "cut") + f"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
             f"Content-Length: {len(offer_of(alice))}\r\n\r\n" + offer_of(alice)).encode()
    for end in range(0, len(whole), 7):
        alice.send_raw(whole[:end], (network.OUTER, 5060))
    answers(alice, whole, 0.5)
    bob.expect_silence(0.2)
    still_alive(alice, network)


def test_spoofed_bye_is_not_believed(shared_gateway, alice, bob, endpoint, network):
    """A BYE with guessed tags ends nothing."""
    from flows import establish, hang_up
    a, b, *_ = establish(alice, bob)
    other = endpoint("caller", network.OTHER_CALLER, "mallory")
    other.proxy = (network.OUTER, 5060)
    request = other.request("BYE", uri(alice, "1000"), [("Call-ID", a.call_id), ("To", f"<{uri(alice, '1000')}>;tag=guess")])
    assert other.wait_response(request).status == 481
    bob.expect_silence(0.2)
    hang_up(a, b)
