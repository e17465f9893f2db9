"""Which path a stream takes when it may take any, and what is said when one cannot be taken."""
import socket
import subprocess

from flows import again, answer, assert_all_came, assert_clean, audio, dial, establish, hang_up
from harness import BUILD, eventually, hostport
from lanes import abilities, lane, lanes_of, pinholes, sides, summary, wait_path  # noqa: F401
from sipcall import media_of, sdp

network = lanes_of("xdp")
ANY = {"media": {"paths": ["xdp", "tc", "conntrack", "relay"]}}


def take(gateway, network, alice, bob, rtp, path):
    """A call whose audio flows over that path, completely."""
    a, b, for_a, for_b = establish(alice, bob)
    one, two = audio(rtp, network.CALLER, network.CALLEE, for_a[0], for_b[0], pps=50)
    wait_path(gateway, path)
    again(one, two, count=100)
    assert_clean(one, 100, hostport(network.OUTER, for_a[0]["port"]))
    assert_clean(two, 100, hostport(network.INNER, for_b[0]["port"]))
    for endpoint in (one, two):
        endpoint.end()
    wait_path(gateway, path)
    reasons = [side["path_reason"] for side in sides(gateway)]
    hang_up(a, b)
    gateway.wait_no_calls()
    return reasons


def doctor(gateway):
    return subprocess.run([BUILD / "postern", "doctor", "--socket", gateway.socket], capture_output=True, text=True,
                          timeout=20, check=False).stdout


def test_all_are_usable(start_gateway, network):
    """On the machines that the tests are made for every mechanism can be used. Nothing here is skipped."""
    network.forward(True)
    gateway = start_gateway(ANY)
    for path in ("xdp", "tc", "conntrack"):
        rows = abilities(gateway, path)
        assert {row["realm"] for row in rows if row["is_usable"]} == {"outer", "inner"}, rows
    assert "ok    media path       realm outer, xdp on outer: " in doctor(gateway)
    network.forward(False)


def test_the_first_that_can(lane, network, alice, bob, rtp):
    take(lane(ANY), network, alice, bob, rtp, "xdp")


def test_from_xdp_to_tc(lane, network, alice, bob, rtp):
    """A host whose packets reach XDP without a complete checksum: the stream goes to tc by itself."""
    gateway = lane(ANY)
    network.complete_checksums(False)
    try:
        reasons = take(gateway, network, alice, bob, rtp, "tc")
        assert all("checksum" in reason for reason in reasons), reasons
    finally:
        network.complete_checksums()


def test_without_helper(start_gateway, network, alice, bob, rtp):
    """Nothing but the relay is there, calls work, and everybody is told why."""
    gateway = start_gateway(ANY, ("--helper", "none"))
    reasons = take(gateway, network, alice, bob, rtp, "relay")
    assert not summary(gateway)["has_helper"] and all(reasons)
    told = doctor(gateway)
    assert "ok    kernel_media" in told and "warn  media path       realm outer, xdp on " in told


def test_forwarding_is_off(start_gateway, network, alice, bob, rtp):
    """What an administrator forgets."""
    network.forward(False)
    gateway = start_gateway({"media": {"paths": ["conntrack", "relay"]}})
    rows = abilities(gateway, "conntrack")
    assert not any(row["is_usable"] for row in rows)
    assert all("forward" in row["reason"] for row in rows), {row["reason"] for row in rows}
    take(gateway, network, alice, bob, rtp, "relay")


def test_closed_firewall(start_gateway, network):
    """A host on the outside that takes the gateway for a router reaches nothing; open, it is the administrator's affair."""
    network.forward(True)
    network.stranger.run("ip", "route", "add", "198.51.100.0/24", "via", network.OUTER)
    network.callee.run("ip", "route", "add", f"{network.STRANGER}/32", "via", network.INNER)
    try:
        for firewall, comes in (("open", True), ("closed", False)):
            gateway = start_gateway({"media": {"paths": ["conntrack", "relay"], "firewall": firewall}})
            abilities(gateway, "conntrack")
            assert reaches(network) == comes, firewall
            gateway.finish()
    finally:
        network.stranger.run("ip", "route", "del", "198.51.100.0/24")
        network.callee.run("ip", "route", "del", f"{network.STRANGER}/32")
        network.forward(False)


def reaches(network):
    """Whether a datagram of the stranger comes to the callee."""
    with network.stranger.socket(socket.AF_INET) as one, network.callee.socket(socket.AF_INET) as two:
        two.bind((network.CALLEE, 7000))
        two.settimeout(0.2)
        for _ in range(3):
            one.sendto(b"from outside", (network.CALLEE, 7000))
            try:
                two.recv(100)
                return True
            except TimeoutError:
                pass
    return False


def three_streams(host, port):
    return sdp(host, *(f"audio {port + 2 * i} RTP/AVP 0" for i in range(3)))


def test_full(lane, network, alice, bob, rtp_streams):
    """Room for one call's usual pinholes, and a call that wants more: what does not fit stays in the relay, says why, and is
    complete; and with room there is a path again."""
    gateway = lane({"limits": {"max_calls": 1}})
    for _ in range(2):
        a, b = dial(alice, bob, offer=three_streams(alice.host, 4000))
        for_a, for_b = media_of(answer(a, b, three_streams(bob.host, 6000)).sdp), media_of(b.offer)
        one, two = (rtp_streams(side, [(hostport(host, port + 2 * i), hostport(m["address"], m["port"]), i, i)
                                       for i, m in enumerate(media)], pps=50, count=100)
                    for side, host, port, media in (("caller", network.CALLER, 4000, for_a), ("callee", network.CALLEE, 6000, for_b)))
        again(one, two, count=300)
        found = sides(gateway)
        assert sorted(side["path"] for side in found) == ["relay"] * 2 + ["xdp"] * 4
        assert_all_came(one, two)
        assert_all_came(two, one)
        assert len(pinholes(gateway)) == 4
        eventually(lambda: any("limit" in side["path_reason"] for side in sides(gateway)), what="the reason")
        hang_up(a, b)
        gateway.wait_no_calls()
        for endpoint in (one, two):
            endpoint.end()
