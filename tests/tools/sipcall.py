"""A small SIP endpoint over UDP that a test drives message by message.

It does what it is told and nothing by itself: no retransmissions, no automatic answers, no state machine. So a test can
answer late, cross a BYE, or stay silent, and see exactly what the other side makes of it. Standard library only.

    alice = Endpoint(sock, "alice")                     # sock: a bound UDP socket
    call = alice.invite("sip:bob@192.0.2.1", sdp(...))
    ok = call.wait_status(200)
    call.ack()
    call.bye()
    call.wait_status(200, "BYE")

Copies of a message (same bytes from the same source) are counted in Endpoint.copies and not delivered again.
"""
import re
import secrets
import select
import socket
import time

COMPACT = {"v": "via", "f": "from", "t": "to", "m": "contact", "i": "call-id", "l": "content-length",
           "c": "content-type", "s": "subject", "k": "supported", "e": "content-encoding", "x": "session-expires",
           "r": "refer-to", "b": "referred-by", "o": "event"}
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE"


def token():
    return secrets.token_hex(6)


def host_text(host):
    return f"[{host}]" if ":" in host else host


class Message:
    def __init__(self, start, headers=(), body=b""):
        self.start = start
        self.headers = list(headers)
        self.body = body.encode() if isinstance(body, str) else body
        self.source = None

    @classmethod
    def parse(cls, data, source=None):
        head, _, body = data.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape")).split("\r\n")
        headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        message = cls(lines[0], headers, body)
        message.source = source
        return message

    def encode(self):
        lines = [self.start] + [f"{name}: {value}" for name, value in self.headers]
        if not self.all("Content-Length"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + self.body

    def all(self, name):
        wanted = name.lower()
        return [value for key, value in self.headers if COMPACT.get(key.lower(), key.lower()) == wanted]

    def get(self, name, default=""):
        return next(iter(self.all(name)), default)

    @property
    def is_request(self):
        return not self.start.startswith("SIP/2.0")

    @property
    def status(self):
        return 0 if self.is_request else int(self.start.split()[1])

    @property
    def method(self):
        """Of the request, or of the request that is answered."""
        return self.get("CSeq").split()[-1]

    @property
    def cseq(self):
        return int(self.get("CSeq").split()[0])

    @property
    def uri(self):
        return self.start.split()[1] if self.is_request else ""

    @property
    def branch(self):
        return (re.search(r";\s*branch=([^;,\s]+)", self.get("Via")) or [None, ""])[1]

    @property
    def sdp(self):
        return self.body.decode("utf-8", "surrogateescape")

    def __repr__(self):
        return f"<{self.start} | {self.get('CSeq')}>"


def tag_of(value):
    return (re.search(r";\s*tag=([^;\s>]+)", value) or [None, ""])[1]


def uri_of(value):
    """The URI of a name-addr or addr-spec."""
    bracketed = re.search(r"<([^>]*)>", value)
    return bracketed[1] if bracketed else value.split(";")[0].strip()


def target_of(uri):
    """Host and port that a SIP URI names."""
    match = re.match(r"sips?:(?:[^@]*@)?(\[[^\]]+\]|[^:;?>]+)(?::(\d+))?", uri)
    return match[1].strip("[]"), int(match[2] or 5060)


def sdp(address, *media, session=(), version=1):
    """A description of media lines given as "audio 4000 RTP/AVP 0", each possibly followed by its "a=..." lines."""
    family = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- 4711 {version} IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0", *session]
    lines += [line if line[1:2] == "=" else f"m={line}" for line in media]
    return "\r\n".join(lines) + "\r\n"


def media_of(text):
    """The m= lines of a description: dictionaries with kind, port, formats, address and the attribute lines."""
    session, found = "", []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith("m="):
            kind, port, proto, *formats = line[2:].split()
            found.append({"kind": kind, "port": int(port), "proto": proto, "formats": formats, "address": session,
                          "lines": []})
        elif line.startswith("c=") and not found:
            session = line.split()[2]
        elif line.startswith("c="):
            found[-1]["address"] = line.split()[2]
        elif found and line:
            found[-1]["lines"].append(line)
    return found


class Endpoint:
    def __init__(self, sock, user, proxy=None):
        """proxy: (host, port) that requests outside a dialog go to, whatever their URI names."""
        self.sock, self.user, self.proxy = sock, user, proxy
        self.host, self.port = sock.getsockname()[:2]
        self.inbox, self.copies, self.sent = [], {}, []

    @property
    def contact(self):
        return f"<sip:{self.user}@{host_text(self.host)}:{self.port}>"

    def close(self):
        self.sock.close()

    # ---- bytes

    def send_raw(self, data, to):
        self.sent.append(data)
        self.sock.sendto(data, to)

    def send(self, message, to):
        self.send_raw(message.encode(), to)

    def _receive(self, timeout):
        if not select.select([self.sock], [], [], max(timeout, 0))[0]:
            return False
        data, source = self.sock.recvfrom(65535)
        if not data.strip(b"\r\n\0"):
            return True
        key = (data, source)
        self.copies[key] = self.copies.get(key, 0) + 1
        if self.copies[key] == 1:
            message = Message.parse(data, source[:2])
            message.raw = data
            self.inbox.append(message)
        return True

    def copies_of(self, message):
        """How often these bytes arrived, the first time included."""
        return sum(n for (data, _), n in self.copies.items() if data == message.raw)

    # ---- waiting

    def wait_for(self, predicate, timeout=5, what="the message"):
        """The first message, of those not yet taken, for which the predicate holds."""
        end = time.monotonic() + timeout
        while True:
            for message in self.inbox:
                if predicate(message):
                    self.inbox.remove(message)
                    return message
            left = end - time.monotonic()
            if left <= 0 or not self._receive(left) and time.monotonic() >= end:
                raise AssertionError(f"{self.user}: {what} did not come in {timeout} s; there was {self.inbox}")

    def wait_request(self, method, timeout=5):
        return self.wait_for(lambda m: m.is_request and m.method == method, timeout, method)

    def expect_silence(self, seconds, predicate=lambda m: m.status != 100):
        """Fails when a message for which the predicate holds is there or comes in that time; 100 is nothing new."""
        end = time.monotonic() + seconds
        while self._receive(end - time.monotonic()) or time.monotonic() < end:
            pass
        unwanted = [m for m in self.inbox if predicate(m)]
        assert not unwanted, f"{self.user}: unexpected {unwanted}"

    def wait_copies(self, message, n, timeout=5):
        end = time.monotonic() + timeout
        while self.copies_of(message) < n:
            assert time.monotonic() < end, f"{self.user}: {message} came {self.copies_of(message)} times, not {n}"
            self._receive(end - time.monotonic())

    # ---- requests and responses

    def via(self, branch=None):
        return f"SIP/2.0/UDP {host_text(self.host)}:{self.port};rport;branch={branch or 'z9hG4bK' + token()}"

    def request(self, method, uri, headers=(), body=b"", content_type="application/sdp", to=None):
        """A request outside a dialog, sent. Headers given replace those made here."""
        own = [("Via", self.via()), ("Max-Forwards", "70"),
               ("From", f"<sip:{self.user}@{host_text(self.host)}>;tag={token()}"), ("To", f"<{uri}>"),
               ("Call-ID", f"{token()}@{self.host}"), ("CSeq", f"1 {method}"), ("Contact", self.contact)]
        message = Message(f"{method} {uri} SIP/2.0", _merged(own, headers, body, content_type), body)
        self.send(message, to or self.proxy or target_of(uri))
        return message

    def wait_response(self, request, status=None, timeout=5):
        """A response to that request; without a status the first final one."""
        def matches(m):
            return (not m.is_request and m.branch == request.branch and m.method == request.method
                    and (m.status == status if status else m.status >= 200))
        return self.wait_for(matches, timeout, f"{status or 'a final response'} to {request.method}")

    def reply(self, request, status, reason="Whatever", body=b"", headers=(), tag=None,
              content_type="application/sdp"):
        to_value = request.get("To")
        if status > 100 and not tag_of(to_value):
            to_value += f";tag={tag or token()}"
        own = [("Via", via) for via in request.all("Via")]
        own += [("Record-Route", value) for value in request.all("Record-Route")]
        own += [("From", request.get("From")), ("To", to_value), ("Call-ID", request.get("Call-ID")),
                ("CSeq", request.get("CSeq")), ("Contact", self.contact), ("Allow", ALLOW)]
        message = Message(f"SIP/2.0 {status} {reason}", _merged(own, headers, body, content_type), body)
        self.send(message, request.source)
        return message

    # ---- calls

    def invite(self, uri, body=b"", headers=(), content_type="application/sdp", to=None):
        request = self.request("INVITE", uri, [("Allow", ALLOW), *headers], body, content_type, to)
        return Call(self, request, to or self.proxy or target_of(uri))

    def take_call(self, timeout=5):
        """Waits for an INVITE that begins a call."""
        request = self.wait_for(lambda m: m.is_request and m.method == "INVITE" and not tag_of(m.get("To")), timeout,
                                "INVITE")
        return Call(self, request, request.source, is_callee=True)


def _merged(own, headers, body, content_type):
    given = {name.lower() for name, _ in headers}
    merged = [(name, value) for name, value in own if name.lower() not in given]
    merged += [(name, value) for name, value in headers if value is not None]
    if body and "content-type" not in given:
        merged.append(("Content-Type", content_type))
    return merged


class Call:
    """A dialog with its first INVITE. Knows tags, CSeq, route set and remote target; sends nothing unasked."""

    def __init__(self, endpoint, invite, peer, is_callee=False):
        self.endpoint, self.invite_request, self.peer, self.is_callee = endpoint, invite, peer, is_callee
        self.call_id = invite.get("Call-ID")
        self.tag, self.answer_response = token(), None
        self.cseq = 100 if is_callee else invite.cseq
        self.routes, self.target = [], uri_of(invite.get("Contact")) if is_callee else invite.uri
        if is_callee:
            self.local, self.remote = f"{invite.get('To')};tag={self.tag}", invite.get("From")
            self.routes = [r.strip() for value in invite.all("Record-Route") for r in value.split(",")]
        else:
            self.local, self.remote = invite.get("From"), invite.get("To")

    @property
    def offer(self):
        return self.invite_request.sdp

    # ---- the first INVITE

    def reply(self, status, reason="Whatever", body=b"", headers=(), **kwargs):
        """Callee: answers the INVITE."""
        return self.endpoint.reply(self.invite_request, status, reason, body, headers, tag=self.tag, **kwargs)

    def wait_status(self, status, method="INVITE", timeout=5):
        """Caller (or sender of a later request): that status for the newest request of the method."""
        response = self.endpoint.wait_for(
            lambda m: m.status == status and m.method == method and m.get("Call-ID") == self.call_id, timeout,
            f"{status} to {method}")
        if tag_of(response.get("To")) and not self.is_callee and method == "INVITE":
            self.learn(response)
        return response

    def learn(self, response):
        """Takes the remote tag, target and (from a first 2xx) route set of a response."""
        self.remote = response.get("To")
        if response.get("Contact"):
            self.target = uri_of(response.get("Contact"))
        if response.status // 100 == 2 and self.answer_response is None:
            values = [r.strip() for value in response.all("Record-Route") for r in value.split(",")]
            self.routes, self.answer_response = values[::-1], response

    def cancel(self):
        invite = self.invite_request
        headers = [("Via", invite.get("Via")), ("From", invite.get("From")), ("To", invite.get("To")),
                   ("Call-ID", self.call_id), ("CSeq", f"{invite.cseq} CANCEL"), ("Max-Forwards", "70")]
        message = Message(f"CANCEL {invite.uri} SIP/2.0", headers)
        self.endpoint.send(message, self.peer)
        return message

    def ack(self, body=b"", request=None):
        """To a 2xx."""
        request = request or self.invite_request
        return self._send("ACK", request.cseq, self.endpoint.via(), (), body, "application/sdp")

    def ack_failure(self, response, request=None):
        request = request or self.invite_request
        headers = [("Via", request.get("Via")), ("From", request.get("From")), ("To", response.get("To")),
                   ("Call-ID", self.call_id), ("CSeq", f"{request.cseq} ACK"), ("Max-Forwards", "70")]
        self.endpoint.send(Message(f"ACK {request.uri} SIP/2.0", headers), self.peer)

    # ---- in the dialog

    def _send(self, method, cseq, via, headers, body, content_type):
        own = [("Via", via), ("Max-Forwards", "70"), *(("Route", route) for route in self.routes),
               ("From", self.local), ("To", self.remote), ("Call-ID", self.call_id), ("CSeq", f"{cseq} {method}"),
               ("Contact", self.endpoint.contact)]
        message = Message(f"{method} {self.target} SIP/2.0", _merged(own, headers, body, content_type), body)
        to = target_of(uri_of(self.routes[0]) if self.routes else self.target)
        self.endpoint.send(message, to)
        return message

    def request(self, method, body=b"", headers=(), content_type="application/sdp"):
        self.cseq += 1
        return self._send(method, self.cseq, self.endpoint.via(), headers, body, content_type)

    def bye(self):
        return self.request("BYE")

    def wait_request(self, method, timeout=5):
        return self.endpoint.wait_for(
            lambda m: m.is_request and m.method == method and m.get("Call-ID") == self.call_id, timeout, method)

    def wait_ack(self, timeout=5):
        return self.wait_request("ACK", timeout)

    def answer_bye(self, timeout=5):
        """Waits for the other side's BYE and answers 200."""
        request = self.wait_request("BYE", timeout)
        self.endpoint.reply(request, 200, "OK")
        return request


def bound(sock, host, port):
    """Binds a socket for an Endpoint and returns it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock
