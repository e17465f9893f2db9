"""A second opinion: two real phones (baresip) talk to each other through the gateway and hear each other's tone."""
import json
import shutil
import socket
import struct
import subprocess
import time

import pytest

from harness import eventually, stop

CONFIG = """
poll_method epoll
sip_listen {host}:5060
audio_player aubridge,pseudo
audio_source ausine,{tone}
audio_alert aubridge,pseudo
audio_level no
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
rtp_ports 10000-10100
rtp_stats yes
snd_path {folder}
module_path /usr/lib/baresip/modules
module g711.so
module ausine.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {host}:4444
"""


class Phone:
    def __init__(self, space, host, user, tone, folder):
        folder.mkdir()
        self.space, self.host, self.folder = space, host, folder
        (folder / "config").write_text(CONFIG.format(host=host, tone=tone, folder=folder))
        (folder / "accounts").write_text(f"<sip:{user}@{host}>;regint=0;answermode=auto\n")
        self.process = subprocess.Popen(space.command("baresip", "-f", folder, "-s"), stdin=subprocess.PIPE,
                                        stdout=open(folder / "log", "wb"), stderr=subprocess.STDOUT)
        self.control = eventually(self._connect, what="baresip's control port")

    def _connect(self):
        sock = self.space.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.connect((self.host, 4444))
            return sock
        except ConnectionRefusedError:
            sock.close()
            return None

    def tell(self, command, params=""):
        text = json.dumps({"command": command, "params": params}).encode()
        self.control.sendall(b"%d:%s," % (len(text), text))

    def loudness(self):
        """Of what was heard: mean amplitude of the 16-bit samples, 0 without a recording."""
        loudest = 0
        for path in self.folder.glob("dump-*-dec.wav"):
            data = path.read_bytes()[44:]
            samples = struct.unpack(f"<{len(data) // 2}h", data[:len(data) // 2 * 2])
            if len(samples) > 4000:
                loudest = max(loudest, sum(map(abs, samples)) / len(samples))
        return loudest

    def end(self):
        self.control.close()
        stop(self.process)


@pytest.mark.skipif(shutil.which("baresip") is None, reason="needs baresip")
def test_two_phones(gateway, network, tmp_path):
    bob = Phone(network.callee, network.CALLEE, "1000", 600, tmp_path / "bob")
    alice = Phone(network.caller, network.CALLER, "alice", 440, tmp_path / "alice")
    try:
        alice.tell("dial", f"sip:1000@{network.OUTER}")
        eventually(lambda: gateway.calls("?state=answered"), 10, "an answered call")
        time.sleep(3)
        stream = gateway.call()["streams"][0]
        for side in ("a", "b"):
            assert stream[side]["packets"] > 100 and stream[side]["lost"] == 0
        alice.tell("hangup")
        gateway.wait_no_calls(10)
        assert gateway.cdr()["cause"] == "normal"
    finally:
        alice.end()
        bob.end()
    for phone in (alice, bob):
        assert phone.loudness() > 500, (phone.folder / "log").read_text("utf-8", "replace")[-2000:]
