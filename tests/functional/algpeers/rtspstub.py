#!/usr/bin/python3
"""An RTSP server for tests that answers in the ways of many: a camera with one audio track at /cam, which names its own address wherever it
can. What is special about its answers to SETUP is a variant:

    rtspstub.py --host ADDRESS --port PORT --variant NAME
"""
import argparse
import asyncio
import socket

PACKET_S = 0.02

# Transport of the answer; {c} and {d} are the client's ports, {s} and {t} the server's, {h} its address.
VARIANTS = {
    "plain": "RTP/AVP;unicast;client_port={c}-{d};server_port={s}-{t}",
    "no-client-port": "RTP/AVP;unicast;server_port={s}-{t}",
    "no-server-port": "RTP/AVP;unicast;client_port={c}-{d}",
    "no-ports": "RTP/AVP;unicast",
    "other-case": "RTP/AVP/UDP;unicast;CLIENT_PORT={c}-{d};Server_Port={s}-{t}",
    "other-order": "RTP/AVP;server_port={s}-{t};client_port={c}-{d};ssrc=0BADCAFE;unicast;mode=\"PLAY\"",
    "single-port": "RTP/AVP;unicast;client_port={c}-{d};server_port={s}",
    "source": "RTP/AVP;unicast;source={h};client_port={c}-{d};server_port={s}-{t}",
    "wrong-source": "RTP/AVP;unicast;source=203.0.113.99;client_port={c}-{d};server_port={s}-{t}",
    "destination": "RTP/AVP;unicast;destination={peer};client_port={c}-{d};server_port={s}-{t}",
    "odd-port": "RTP/AVP;unicast;client_port={c}-{d};server_port={s}-{t}",
    "lower-case": "RTP/AVP;unicast;client_port={c}-{d};server_port={s}-{t}",
}


def pair(host, is_odd):
    """Two sockets on neighbouring ports."""
    while True:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind((host, 0))
        port = rtp.getsockname()[1]
        try:
            if port % 2 == is_odd and port < 65535:
                rtcp.bind((host, port + 1))
                return rtp, rtcp
        except OSError:
            pass
        rtp.close()
        rtcp.close()


class Connection:
    def __init__(self, options, reader, writer):
        self.options, self.reader, self.writer = options, reader, writer
        self.peer = writer.get_extra_info("peername")[0]
        self.sockets, self.target, self.task = (), None, None

    async def serve(self):
        try:
            while (head := await self.reader.readuntil(b"\r\n\r\n")):
                lines = head.decode().split("\r\n")
                headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:]) if value}
                await self.reader.readexactly(int(headers.get("content-length", 0)))
                self.answer(lines[0].split()[0], headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self.stop()
        self.writer.close()

    def stop(self):
        if self.task:
            self.task.cancel()
        for one in self.sockets:
            one.close()
        self.sockets = ()

    def answer(self, method, headers):
        fields, body = getattr(self, "do_" + method.lower(), lambda _: ([], ""))(headers)
        if self.options.variant == "lower-case":
            fields = [name.lower() + ":" + value for name, _, value in (field.partition(":") for field in fields)]
        if body:
            fields.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join(["RTSP/1.0 200 OK", f"CSeq: {headers['cseq']}", *fields, "", body]).encode())

    def do_options(self, _):
        return ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"], ""

    def do_describe(self, _):
        base = f"rtsp://{self.options.host}:{self.options.port}/cam"
        body = "\r\n".join(["v=0", f"o=- 1 1 IN IP4 {self.options.host}", "s=cam", f"c=IN IP4 {self.options.host}", "t=0 0", "m=audio 0 RTP/AVP 8",
                            f"a=control:{base}/track0", ""])
        return ["Content-Type: application/sdp", f"Content-Base: {base}/"], body

    def do_setup(self, headers):
        client = int(headers["transport"].partition("client_port=")[2].split("-")[0].split(";")[0])
        self.stop()
        self.sockets = pair(self.options.host, self.options.variant == "odd-port")
        self.target = (self.peer, client)
        port = self.sockets[0].getsockname()[1]
        transport = VARIANTS[self.options.variant].format(c=client, d=client + 1, s=port, t=port + 1, h=self.options.host, peer=self.peer)
        return [f"Transport: {transport}", "Session: 4711;timeout=60"], ""

    def do_play(self, _):
        self.task = asyncio.create_task(self.send())
        return ["Session: 4711", f"RTP-Info: url=rtsp://{self.options.host}:{self.options.port}/cam/track0;seq=0;rtptime=0"], ""

    def do_teardown(self, _):
        self.stop()
        return ["Session: 4711"], ""

    async def send(self):
        for n in range(1 << 16):
            packet = bytes([0x80, 8]) + n.to_bytes(2, "big") + (n * 160).to_bytes(4, "big") + b"\x0b\xad\xca\xfe" + b"\xd5" * 160
            self.sockets[0].sendto(packet, self.target)
            await asyncio.sleep(PACKET_S)


async def run(options):
    server = await asyncio.start_server(lambda reader, writer: Connection(options, reader, writer).serve(), options.host, options.port)
    async with server:
        await server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--variant", choices=VARIANTS, required=True)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
