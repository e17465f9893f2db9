"""Broken and hostile SIP, made from correct messages: one part of the grammar at a time is replaced by something that parsers get
wrong. The categories are those of the PROTOS c07-sip suite (overflow, format strings, escapes, UTF-8, NUL, integers, empty and
repeated elements); the messages are our own. The same seed gives the same cases. Standard library only.

    python3 sipmutate.py --show 17          # prints case 17
    python3 sipmutate.py --count            # how many cases with a single fault there are

cases() makes messages that stand alone, out of any call. Mangler damages the messages of running calls on their way: replaced
parts, lost, doubled and swapped datagrams, and datagrams from another address.
"""
import argparse
import itertools
import random
import re
import sys

SIZES = (16, 64, 127, 128, 129, 255, 256, 257, 1023, 1500, 2040, 2048, 2049, 8192, 15000)
INTEGERS = ("-1", "0", "00", "1", "255", "256", "65535", "65536", "99999", "2147483647", "2147483648", "4294967295", "4294967296",
            "4294967496", "9223372036854775808", "18446744073709551616", "9" * 40, "0" * 30 + "1", "+5", "-0", "0x10", "1e3", "5 5",
            "3abc", "٣", "1,2", "1;2")
HOSTS = ("0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", "169.254.1.1", "1.2.3", "1.2.3.4.5", "999.1.1.1", "01.02.03.04",
         "[::]", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%eth0]", "[1:2", "1:2]", "[]", "2001:db8::1", "[2001:db8::1::2]", "-a-", "a..b",
         ".", "a" * 64 + ".example", "xn--", "192.0.2.1", "198.51.100.1", "example.com:5060:5060")
TOKENS = ("", " ", "\t", "*", "?", "@", ",", ",,,", ";", ";;", "=", ":", "<", ">", "<>", "<<>>", "<sip:", "sip:x>", '"', '""', '"open',
          '"\\', '"a\\"', '"\\\0"', '"\\\x01" <sip:a@b>', '"a;rport=1"', '"a;tag=b,c"', "'", "(comment", "\\", "()", "%", "%4", "%zz", "%00", "%0d%0a", "%25%30%30",
          "%u0041", "%s%s%s%s%n", "%.99999d", "%x" * 40, "${7*7}", "../../etc/passwd", "';--", "null", "NaN", "true",
          "\r\nX-Injected: yes", "\r\n X-Injected: folded", "\nX-Injected: yes", "\rX-Injected: yes", "\r\n\r\nX-Injected: yes",
          "\r\n \r\n ", "a\r\n b", "a\0b", "\x01", "\x7f", "\x1b[2J", "\x80", "a b", "a\tb")
RAW = (b"\xc0\xaf", b"\xff\xfe", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc3", b"\xef\xbb\xbf", b"\xe2\x80\xa8", bytes(range(128, 256)))
FILLERS = ("A", "A" * 60 + ",", ";" + "a" * 60, "9", "a.", "%41", ";a", ";a=b", ",a", ", ", " ", "\t", '"', "\\", "<", "((", "::", "@", "/", "\r\n ", "é")

SDP = ("v={v}\r\no={o_user} {o_id} {o_version} {o_net} {o_type} {o_addr}\r\ns={s}\r\nc={c_net} {c_type} {c_addr}\r\nb={b}\r\nt={t}\r\n"
       "m={m_kind} {m_port} {m_proto} {m_formats}\r\na={a_name}:{a_value}\r\na=rtcp:{rtcp}\r\na={direction}\r\n")
SDP_PARTS = {"v": "0", "o_user": "-", "o_id": "1", "o_version": "1", "o_net": "IN", "o_type": "IP4", "o_addr": "192.0.2.10", "s": "-",
             "c_net": "IN", "c_type": "IP4", "c_addr": "192.0.2.10", "b": "AS:64", "t": "0 0", "m_kind": "audio", "m_port": "4000",
             "m_proto": "RTP/AVP", "m_formats": "0 8 101", "a_name": "rtpmap", "a_value": "101 telephone-event/8000", "rtcp": "4001",
             "direction": "sendrecv"}
MULTIPART = "--{bound}\r\n{part_name}: {part_type}\r\n\r\n{sdp}{bound_line}--{bound}--\r\n"

HEAD = ("Via: {via_name}/{via_version}/{via_transport} {via_host}:{via_port};{rport};branch={branch}{via_more}\r\n"
        "Max-Forwards: {hops}\r\n"
        "From: {from_display} <{from_scheme}:{from_user}@{from_host}{from_params}>;tag={from_tag}{from_more}\r\n"
        "To: {to_display}<{to_scheme}:{to_user}@{to_host}{to_params}>{to_tag}\r\n"
        "Call-ID: {call_id}\r\nCSeq: {cseq} {cseq_method}\r\n")
HEAD_PARTS = {"via_name": "SIP", "via_version": "2.0", "via_transport": "UDP", "via_host": "192.0.2.10", "via_port": "5060",
              "rport": "rport", "via_more": "", "hops": "70", "from_display": '"Alice"', "from_scheme": "sip", "from_user": "alice",
              "from_host": "192.0.2.10", "from_params": "", "from_more": "", "to_display": "", "to_scheme": "sip", "to_user": "1000",
              "to_host": "192.0.2.1", "to_params": "", "to_tag": ""}
REQUEST = "{method}{gap1}{scheme}:{user}@{host}:{port}{uri_params}{gap2}{version}\r\n" + HEAD
REQUEST_PARTS = {**HEAD_PARTS, "gap1": " ", "gap2": " ", "scheme": "sip", "user": "1000", "host": "192.0.2.1", "port": "5060",
                 "uri_params": "", "version": "SIP/2.0"}
EXTRA = ("Contact: {contact_display}<sip:{contact_user}@{contact_host}:{contact_port}{contact_params}>{contact_more}\r\n"
         "Route: <{route}>\r\nRecord-Route: <{record_route}>\r\nRequire: {require}\r\nSupported: {supported}\r\nAllow: {allow}\r\n"
         "Accept: {accept}\r\nExpires: {expires}\r\nDate: {date}\r\nSubject: {subject}\r\nReason: {reason}\r\nPrivacy: {privacy}\r\n"
         "Authorization: {authorization}\r\nP-Asserted-Identity: {identity}\r\nUser-to-User: {uui}\r\nTimestamp: {timestamp}\r\n"
         "{header}: {value}\r\n")
EXTRA_PARTS = {"contact_display": "", "contact_user": "alice", "contact_host": "192.0.2.10", "contact_port": "5060",
               "contact_params": "", "contact_more": "", "route": "sip:192.0.2.1;lr", "record_route": "sip:192.0.2.10;lr",
               "require": "histinfo", "supported": "uui", "allow": "INVITE, ACK, BYE", "accept": "application/sdp", "expires": "60",
               "date": "Sat, 13 Nov 2010 23:29:00 GMT", "subject": "s", "reason": "Q.850;cause=16", "privacy": "none",
               "authorization": 'Digest username="a", realm="b", nonce="c", uri="sip:d", response="' + "0" * 32 + '"',
               "identity": "<sip:alice@192.0.2.10>", "uui": "41;encoding=hex", "timestamp": "1", "header": "X-Other", "value": "x"}
CONTENT = "Content-Type: {content_type}\r\nContent-Length: {content_length}\r\n{blank}"
CONTENT_PARTS = {"content_type": "application/sdp", "content_length": None, "blank": "\r\n"}
STATUS = "{version}{gap1}{status}{gap2}{phrase}\r\n" + HEAD
STATUS_PARTS = {**HEAD_PARTS, "version": "SIP/2.0", "gap1": " ", "status": "200", "gap2": " ", "phrase": "OK", "to_tag": ";tag=b"}


class Template:
    """A message with named parts; each part can be replaced by octets that do not belong there."""

    def __init__(self, text, parts, body="", method="INVITE"):
        self.text, self.body = text, body
        self.parts = {**parts, "cseq": "1", "cseq_method": method, "method": method, "branch": None, "call_id": None, "from_tag": None}
        self.names = sorted(name for name in self.parts if "{" + name + "}" in text + body)

    def render(self, number, changes):
        """changes: octets by name of the part."""
        parts = {**self.parts, "branch": f"z9hG4bKm{number}", "call_id": f"m{number}@192.0.2.10", "from_tag": f"m{number}"}
        octets = {name: str(value).encode() for name, value in parts.items()}
        octets.update(changes)
        body = _fill(self.body, octets)
        if "content_length" not in changes:
            octets["content_length"] = str(len(body)).encode()
        return _fill(self.text, octets) + body


def _fill(text, octets):
    pieces = re.split(r"\{(\w+)\}", text)
    return b"".join(octets[piece] if i % 2 else piece.encode() for i, piece in enumerate(pieces))


TEMPLATES = [
    Template(REQUEST + EXTRA + CONTENT, {**REQUEST_PARTS, **EXTRA_PARTS, **CONTENT_PARTS, **SDP_PARTS}, SDP),
    Template(REQUEST + EXTRA + CONTENT, {**REQUEST_PARTS, **EXTRA_PARTS, **CONTENT_PARTS, **SDP_PARTS, "bound": "b", "bound_line": "\r\n",
             "content_type": "multipart/mixed;boundary=b", "part_name": "Content-Type", "part_type": "application/sdp", "sdp": "v=0\r\n"},
             MULTIPART),
    *(Template(REQUEST + EXTRA + "\r\n", {**REQUEST_PARTS, **EXTRA_PARTS}, "", method)
      for method in ("OPTIONS", "REGISTER", "BYE", "ACK", "CANCEL", "UPDATE", "MESSAGE", "PRACK")),
    *(Template(STATUS + EXTRA + CONTENT, {**STATUS_PARTS, **EXTRA_PARTS, **CONTENT_PARTS, **SDP_PARTS, "status": status}, SDP)
      for status in ("100", "183", "200", "302", "487", "603")),
]


def payloads(rng):
    """What parts are replaced by. The long ones are drawn, because all of them would be too many."""
    fixed = [text.encode() for text in (*TOKENS, *INTEGERS, *HOSTS)] + list(RAW)
    long = [(filler * size)[:size].encode() for filler in FILLERS for size in SIZES]
    return fixed + rng.sample(long, len(long) // 3)


def _cut(data, rng):
    return data[:rng.randrange(len(data))]


def _repeat_line(data, rng):
    lines = data.split(b"\r\n")
    at = rng.randrange(max(1, len(lines) - 2))
    return b"\r\n".join(lines[:at] + [lines[at]] * rng.choice((2, 2, 3, 40, 200)) + lines[at + 1:])


def _drop_line(data, rng):
    lines = data.split(b"\r\n")
    del lines[rng.randrange(len(lines))]
    return b"\r\n".join(lines)


def _swap_lines(data, rng):
    lines = data.split(b"\r\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines)


def _flip(data, rng):
    octets = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        octets[rng.randrange(len(octets))] = rng.randrange(256)
    return bytes(octets)


def _line_ends(data, rng):
    return data.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\r\n")), rng.choice((1, 3, -1)))


def _compact(data, rng):
    for name, short in ((b"Via", b"v"), (b"From", b"f"), (b"To", b"t"), (b"Call-ID", b"i"), (b"Contact", b"m"), (b"Content-Type", b"c")):
        data = data.replace(b"\r\n" + name + b":", b"\r\n" + short + rng.choice((b":", b" :", b"\t: ")))
    return data


def _insert(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(payloads(rng)) + data[at:]


STRUCTURAL = (_cut, _repeat_line, _drop_line, _swap_lines, _flip, _line_ends, _compact, _insert)


def single_faults(seed):
    """Every part of every template with every payload, in an order that the seed decides."""
    rng = random.Random(seed)
    triples = [(t, name, p) for t in TEMPLATES for name in t.names for p in payloads(rng)]
    rng.shuffle(triples)
    return triples


def cases(count, seed=1):
    """(number, message): one fault first, every fourth with damage to its lines instead, then two faults at a time."""
    rng = random.Random(seed)
    triples = single_faults(seed)
    for number, (template, name, payload) in zip(range(count), itertools.cycle(triples)):
        changes = {name: payload}
        if number >= len(triples):
            changes[rng.choice(template.names)] = rng.choice(payloads(rng))
        if number % 4 == 3:
            yield number, rng.choice(STRUCTURAL)(template.render(number, {}), rng)
        else:
            yield number, template.render(number, changes)


def damage(data, rng):
    """A fault in a message of a running call: the value of a header or SDP line, a parameter, or the lines themselves."""
    if rng.random() < 0.3:
        return rng.choice(STRUCTURAL)(data, rng)
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    payload = rng.choice(payloads(rng))
    name, colon, value = lines[at].partition(b"=" if lines[at][1:2] == b"=" else b":")
    if not colon:
        lines[at] = payload
    elif rng.random() < 0.5:
        lines[at] = name + colon + b" " + payload
    else:
        words = re.split(rb"([;=, <>@:]+)", value)
        words[rng.randrange(len(words))] = payload
        lines[at] = name + colon + b"".join(words)
    return b"\r\n".join(lines)


class Mangler:
    """A UDP socket that delivers what is sent through it not quite as it should be."""

    def __init__(self, sock, foreign, rng, rate=0.3):
        """foreign: a socket with another address of the same network. rate: how many datagrams something happens to."""
        self.sock, self.foreign, self.rng, self.rate = sock, foreign, rng, rate
        self.held = []

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def close(self):
        self.sock.close()
        self.foreign.close()

    def sendto(self, data, to):
        held, self.held = self.held, []
        if self.rng.random() >= self.rate:
            self._out(self.sock, data, to)
        else:
            self.rng.choice((self._damaged, self._damaged, self._doubled, self._late, self._foreign, self._lost))(data, to)
        for waiting in held:
            self._out(self.sock, *waiting)

    def _out(self, sock, data, to):
        if 0 < len(data) < 65000:
            sock.sendto(data, to)

    def _damaged(self, data, to):
        self._out(self.sock, damage(data, self.rng), to)

    def _doubled(self, data, to):
        for _ in range(self.rng.choice((2, 3, 20))):
            self._out(self.sock, data, to)

    def _late(self, data, to):
        self.held.append((data, to))

    def _foreign(self, data, to):
        self._out(self.foreign, data, to)
        self._out(self.sock, data, to)

    def _lost(self, data, to):
        pass


def main():
    parser = argparse.ArgumentParser(description="Prints the test messages of this generator.")
    parser.add_argument("--show", type=int, metavar="N", help="prints case N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", action="store_true", help="prints how many cases with a single fault there are")
    options = parser.parse_args()
    if options.count:
        print(len(single_faults(options.seed)))
    if options.show is not None:
        *_, (_, message) = cases(options.show + 1, options.seed)
        sys.stdout.buffer.write(message)


if __name__ == "__main__":
    main()
