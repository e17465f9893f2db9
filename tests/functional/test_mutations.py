"""Thousands of broken messages, and calls whose messages break on their way: the gateway answers the next good call, forgets
everything, grows no further and ends well. `--cases 20000` runs longer; the build with sanitizers sees more."""
import random
import re
import socket
import subprocess
import time

import pytest

import harness
import sipcall
import sipmutate
from flows import answer, answer_of, hang_up, offer_of

PROBE_EVERY = 200
GROWTH_MAX = 4 << 20
# A short T1 lets transactions go 6.4 s after their last message; the tables are small, so that one that stays is missed soon; and so is
# the message ladder, whose filling would look like growth.
CHANGES = {"realms": {"outer": {"media_timeout": "5s"}, "inner": {"media_timeout": "5s"}},
           "sip": {"t1": "100ms", "t2": "1s", "t4": "1s", "ring_timeout": "3s"},
           "limits": {"sip_replies_per_s": 100000, "max_transactions": 4096, "max_calls": 500, "trace_bytes": 1 << 20,
                      "port_quarantine": "100ms"}}
TRANSACTION_S = 7
ROOM = 4096 * 7 // 8  # of max_transactions: what new dialogs may take


@pytest.fixture
def mutated(start_gateway):
    return start_gateway(CHANGES)


def is_sanitized():
    symbols = subprocess.run(["nm", "-D", harness.BUILD / "posternd"], capture_output=True, text=True, check=False)
    return "__asan_init" in symbols.stdout


def memory(gateway):
    """Resident bytes of the gateway; its own process is the one that nsenter became."""
    with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s*(\d+) kB", file.read())[1]) * 1024


def no_header_injected(data):
    head = data.partition(b"\r\n\r\n")[0]
    assert not re.search(rb"[\r\n]X-Injected", head), f"a value became a header:\n{data!r}"


def drain(endpoint, seconds):
    """What came in that time, no longer waiting; a value that the gateway carried must not have become a header."""
    endpoint.expect_silence(seconds, lambda m: False)
    came, endpoint.inbox, endpoint.copies, endpoint.sent = endpoint.inbox, [], {}, []
    for message in came:
        no_header_injected(message.raw)
    return [message for message in came if re.fullmatch(r"\d+ [A-Z]+", message.get("CSeq"))]  # refusals repeat what they got


def acknowledge(endpoint, response, to):
    """ACK for a failure; what it repeats comes from the response."""
    uri_text = sipcall.uri_of(response.get("To")) or "sip:x"
    headers = [("Via", response.get("Via")), ("From", response.get("From")), ("To", response.get("To")),
               ("Call-ID", response.get("Call-ID")), ("CSeq", f"{response.cseq} ACK"), ("Max-Forwards", "70")]
    endpoint.send(sipcall.Message(f"ACK {uri_text} SIP/2.0", headers), to)


def settle_pair(alice, bob, seconds=0.02):
    """Both ends answer just enough that mutated calls end: the callee refuses, failures are acknowledged."""
    for message in drain(bob, seconds):
        if message.is_request and message.method != "ACK":
            bob.reply(message, 486 if message.method == "INVITE" else 200, "Whatever")
    for message in drain(alice, seconds):
        if not message.is_request and message.method == "INVITE" and message.status >= 300:
            acknowledge(alice, message, alice.proxy)
        elif message.is_request and message.method != "ACK" and message.source[0] == alice.proxy[0]:
            # (A callee in a trusted realm may name her as its Contact; what then comes from the inner side she cannot answer.)
            alice.reply(message, 200, "OK")


def probe(alice, bob):
    """The gateway still works: OPTIONS, and a call from INVITE to BYE."""
    settle_pair(alice, bob)
    request = alice.request("OPTIONS", f"sip:{alice.proxy[0]}")
    assert alice.wait_response(request).status == 200
    user = "1" + sipcall.token()  # the callee may still get INVITEs of broken calls
    a = alice.invite(f"sip:{user}@{alice.proxy[0]}", offer_of(alice))
    invite = bob.wait_for(lambda m: m.is_request and m.method == "INVITE" and m.uri.startswith(f"sip:{user}@"), 5, "the INVITE")
    b = sipcall.Call(bob, invite, invite.source, is_callee=True)
    answer(a, b)
    hang_up(a, b)
    drain(alice, 0), drain(bob, 0)


def room(alice, network, count):
    """So many transactions fit at a time, and no more: none was left behind."""
    for number in range(count):
        alice.send_raw(f"OPTIONS sip:{network.OUTER} SIP/2.0\r\nVia: SIP/2.0/UDP {alice.host}:5060;rport;branch=z9hG4bKroom{number}\r\n"
                       f"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: room{number}\r\nCSeq: 1 OPTIONS\r\n\r\n".encode(), alice.proxy)
        if number % 50 == 49 or number == count - 1:
            statuses = {m.status for m in drain(alice, 0.01 if number < count - 1 else 0.5)}
            assert statuses <= {200}, f"refused at {number} of {count}"


def check_forgotten(gateway, alice, bob, network):
    def is_idle():
        settle_pair(alice, bob, 0.1)
        return not gateway.calls()

    harness.eventually(is_idle, 40, "the end of all calls")
    probe(alice, bob)
    end = time.monotonic() + TRANSACTION_S
    while time.monotonic() < end:
        settle_pair(alice, bob, 0.1)
    gateway.wait_no_calls()
    room(alice, network, ROOM)


def test_single_messages(mutated, alice, bob, network, pytestconfig):
    count = pytestconfig.getoption("--cases")
    targets = ((alice, (network.OUTER, 5060)), (bob, (network.INNER, 5060)))
    before = None
    for number, message in sipmutate.cases(count):
        sender, to = targets[number % 5 == 4]
        sender.sock.sendto(message, to)
        if number % 20 == 19:
            settle_pair(alice, bob, 0.002)
        if number % PROBE_EVERY == PROBE_EVERY - 1:
            try:
                probe(alice, bob)
            except AssertionError as error:
                raise AssertionError(f"after case {number}: {error}") from error
        if before is None and number >= count // 2:
            before = memory(mutated)
    check_forgotten(mutated, alice, bob, network)
    assert is_sanitized() or memory(mutated) - before < GROWTH_MAX, f"grew by {(memory(mutated) - before) >> 10} KiB"


class Party:
    """One end of many calls at a time, which does something likely or unlikely with whatever comes."""

    def __init__(self, endpoint, rng, proxy):
        self.endpoint, self.rng, self.proxy = endpoint, rng, proxy
        self.invites, self.cseq = {}, 100

    def begin(self):
        self.endpoint.invite(f"sip:{self.rng.choice(('1000', '2000'))}@{self.proxy[0]}", offer_of(self.endpoint), to=self.proxy)

    def turn(self, seconds):
        for message in drain(self.endpoint, seconds):
            if message.is_request:
                self.request(message)
            elif message.method == "INVITE" and message.status >= 300:
                acknowledge(self.endpoint, message, self.proxy)
            elif message.method == "INVITE" and message.status >= 200:
                self.send("ACK", message, message.get("From"), message.get("To"), message.cseq)
                self.go_on(message, message.get("From"), message.get("To"))

    def request(self, message):
        method = message.method
        if method == "INVITE":
            self.invites[message.get("Call-ID")] = message
            self.answer(message)
        elif method == "CANCEL":
            self.endpoint.reply(message, 200, "OK")
            if message.get("Call-ID") in self.invites:
                self.endpoint.reply(self.invites[message.get("Call-ID")], 487, "Terminated", tag="p")
        elif method == "ACK":
            self.go_on(message, message.get("To"), message.get("From"))
        else:
            self.endpoint.reply(message, self.rng.choice((200, 200, 200, 481, 500)), "Whatever", tag="p")

    def answer(self, invite):
        body = answer_of(self.endpoint)
        for _ in range(self.rng.choice((0, 1, 1, 3, 20))):
            tag = self.rng.choice(("p", "p", f"q{self.rng.randrange(20)}"))
            self.endpoint.reply(invite, self.rng.choice((180, 183)), "Ringing", self.rng.choice((b"", body)), tag=tag)
        status = self.rng.choice((0, 200, 200, 200, 200, 200, 200, 302, 408, 481, 486, 503, 603))
        for tag in ("p", "p", "r")[:self.rng.choice((1, 1, 1, 2, 3))]:
            if status:
                self.endpoint.reply(invite, status, "Whatever", body if status == 200 else b"", tag=tag)

    def go_on(self, message, local, remote):
        """Within the dialog: something, often the end."""
        for method in self.rng.choice((("BYE",), ("BYE",), ("INFO", "BYE"), ("INVITE",), ("INVITE", "BYE"), ("UPDATE", "INVITE"),
                                       ("MESSAGE", "OPTIONS", "BYE"), ("BYE", "INVITE"), ("INFO",) * 40, ("CANCEL",), ())):
            self.cseq += 1
            self.send(method, message, local, remote, self.cseq)

    def send(self, method, message, local, remote, cseq):
        body = offer_of(self.endpoint, version=cseq) if method in ("INVITE", "UPDATE") else b""
        headers = [("Via", self.endpoint.via()), ("Max-Forwards", "70"), ("From", local), ("To", remote),
                   ("Call-ID", message.get("Call-ID")), ("CSeq", f"{cseq} {method}"), ("Contact", self.endpoint.contact)]
        headers += [("Content-Type", "application/sdp")] if body else []
        self.endpoint.send(sipcall.Message(f"{method} sip:{self.proxy[0]}:5060 SIP/2.0", headers, body), self.proxy)


@pytest.fixture
def mangled(network):
    """Makes endpoints whose messages do not all arrive as they were sent."""
    made = []

    def make(side, host, other, user, rng):
        space = getattr(network, side)
        socks = [sipcall.bound(space.socket(socket.AF_INET), at, 5060) for at in (host, other)]
        made.append(sipcall.Endpoint(sipmutate.Mangler(*socks, rng), user))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_calls_that_break(mutated, mangled, network, pytestconfig):
    rng = random.Random(7)
    alice = mangled("caller", network.CALLER, network.OTHER_CALLER, "alice", rng)
    bob = mangled("callee", network.CALLEE, network.OTHER_CALLEE, "bob", rng)
    alice.proxy, bob.proxy = (network.OUTER, 5060), (network.INNER, 5060)
    caller, callee = Party(alice, rng, alice.proxy), Party(bob, rng, bob.proxy)
    for number in range(pytestconfig.getoption("--cases") // 5):
        caller.begin()
        if number % 4 == 3:
            callee.turn(0.01)
            caller.turn(0.01)
    for _ in range(20):
        callee.turn(0.05)
        caller.turn(0.05)
    for one in (alice, bob):
        one.sock.rate = 0
    check_forgotten(mutated, alice, bob, network)
