#!/usr/bin/python3
"""Both ends of RTSP for the benchmark: only the control connections. Media is rtptool's, at the ports they agree on.

    rtsp_ends.py serve ADDRESS PORT
        "streams" on standard input: prints one JSON list, [number, own port, client's address, its port] per stream
    rtsp_ends.py play ADDRESS PORT SESSIONS
        sets up one session after the other, prints one JSON object, and takes them down when standard input ends

A stream's number is the last part of its URL.
"""
import asyncio
import json
import re
import sys
import time

FIRST_PORT_OF_SERVER, FIRST_PORT_OF_CLIENT = 30000, 20000
TRANSPORT = re.compile(r"(?:server_port=(?P<server>\d+)|client_port=(?P<client>\d+)|source=(?P<source>[^;]+)"
                       r"|destination=(?P<destination>[^;]+))")
SDP = ("v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
       "m=audio 0 RTP/AVP 0\r\na=control:{number}\r\n")


async def read_message(reader):
    """(first line, headers, body)"""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    return head[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))


def transport_of(headers):
    found = {}
    for match in TRANSPORT.finditer(headers.get("transport", "")):
        found.update({name: value for name, value in match.groupdict().items() if value is not None})
    return found


# ---- server

class Server:
    def __init__(self, address):
        self.address, self.streams = address, {}

    async def serve(self, reader, writer):
        try:
            while True:
                line, headers, _ = await read_message(reader)
                method, url = line.split(" ")[:2]
                peer = writer.get_extra_info("peername")[0]
                writer.write(self.answer(method, url.rsplit("/", 1)[-1], headers, peer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, method, number, headers, peer):
        lines, body = [f"CSeq: {headers['cseq']}"], ""
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = SDP.format(address=self.address, number=number)
            lines.append("Content-Type: application/sdp")
        elif method == "SETUP":
            wanted = transport_of(headers)
            port, client = FIRST_PORT_OF_SERVER + 2 * int(number), int(wanted["client"])
            self.streams[int(number)] = (port, wanted.get("destination", peer), client)
            lines += [f"Transport: RTP/AVP;unicast;client_port={client}-{client + 1};server_port={port}-{port + 1}",
                      f"Session: session{number};timeout=3600"]
        elif "session" in headers:
            lines.append(f"Session: {headers['session']}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("RTSP/1.0 200 OK\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n" + body).encode("ascii")


async def serve(address, port):
    server = Server(address)
    listener = await asyncio.start_server(server.serve, address, port, backlog=1000)
    print("ready", flush=True)
    async for _ in commands():
        print(json.dumps([[number, *stream] for number, stream in sorted(server.streams.items())]), flush=True)
    listener.close()


async def commands():
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line


# ---- client

class Session:
    def __init__(self, address, port, number):
        self.address, self.port, self.number = address, port, number
        self.url, self.cseq, self.id = f"rtsp://{address}:{port}/{number}", 0, None

    async def ask(self, method, *lines):
        self.cseq += 1
        head = [f"{method} {self.url} RTSP/1.0", f"CSeq: {self.cseq}", *lines]
        head += [f"Session: {self.id}"] if self.id else []
        self.writer.write(("\r\n".join(head) + "\r\n\r\n").encode("ascii"))
        line, headers, _ = await asyncio.wait_for(read_message(self.reader), 10)
        if " 200 " not in line:
            raise RuntimeError(f"{method}: {line}")
        return headers

    async def open(self):
        """[number, own port, where its media comes from]"""
        self.reader, self.writer = await asyncio.open_connection(self.address, self.port)
        client = FIRST_PORT_OF_CLIENT + 2 * self.number
        await self.ask("OPTIONS")
        await self.ask("DESCRIBE", "Accept: application/sdp")
        headers = await self.ask("SETUP", f"Transport: RTP/AVP;unicast;client_port={client}-{client + 1}")
        self.id = headers["session"].split(";")[0]
        agreed = transport_of(headers)
        await self.ask("PLAY", "Range: npt=0-")
        return [self.number, client, agreed.get("source", self.address), int(agreed["server"])]

    async def close(self):
        await self.ask("TEARDOWN")
        self.writer.close()


async def play(address, port, count):
    sessions, streams, times = [Session(address, port, number) for number in range(count)], [], []
    start = time.perf_counter()
    for session in sessions:
        begin = time.perf_counter()
        streams.append(await session.open())
        times.append(time.perf_counter() - begin)
    took = time.perf_counter() - start
    times.sort()
    print(json.dumps({"streams": streams, "seconds": took, "p50_us": times[len(times) // 2] * 1e6}), flush=True)
    async for _ in commands():
        pass
    for session in sessions:
        await session.close()


def main():
    what, address, port, *more = sys.argv[1:]
    asyncio.run(serve(address, int(port)) if what == "serve" else play(address, int(port), int(more[0])))


if __name__ == "__main__":
    main()
