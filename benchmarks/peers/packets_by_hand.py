# SPDX-License-Identifier: MIT
"""Packets as people send them by hand: lines of JSON by asyncio streams and the standard library's `json`.

Variants: "blocking" (the same by a blocking socket), "protocol" (a bare asyncio protocol; nothing is parsed but
newlines, so this is what a loop can do at most).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.peers.packets import BlockingPackets, Packets, jobs, place, serve
from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.peers.raw import BufferedCaller
from benchmarks.workloads import PACKET, STREAM, Job, Jobs

LINE = json.dumps(PACKET).encode() + b"\n"


class Streams:
    """A client by asyncio streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send_packet(self, packet: Any, /) -> None:
        self._writer.write(json.dumps(packet).encode() + b"\n")
        await self._writer.drain()

    async def recv_packet(self) -> Any:
        return json.loads(await self._reader.readline())


class BlockingSocket:
    """A client by a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._lines: deque[bytes] = deque()
        self._rest = b""

    def send_packet(self, packet: Any, /) -> None:
        self._sock.sendall(json.dumps(packet).encode() + b"\n")

    def recv_packet(self) -> Any:
        while not self._lines:
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("the server has closed the connection")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines += lines
        return json.loads(self._lines.popleft())

    def close(self) -> None:
        self._sock.close()


@asynccontextmanager
async def connect(address: str, options: Options) -> AsyncIterator[Jobs]:
    host, port = place(address)
    if options.variant == "protocol":
        transport, caller = await asyncio.get_running_loop().create_connection(BufferedCaller, host, port)

        async def stream() -> None:
            for future in [caller.call(LINE) for _ in range(STREAM)]:
                await future

        yield {"packet": Job(partial(caller.call, LINE), None), "stream": Job(stream, None)}
        transport.close()
        await caller.closed
        return
    reader, writer = await asyncio.open_connection(host, port)
    yield jobs(Streams(reader, writer))
    writer.close()
    await writer.wait_closed()


class Blocking(BlockingPackets):
    def connect(self, address: str, *, is_bulk: bool) -> Packets:
        return BlockingSocket(socket.create_connection(place(address)))


if __name__ == "__main__":
    main(
        serve,
        lambda options: (
            Blocking() if options.variant == "blocking" else AsyncClient(partial(connect, options=options), options)
        ),
    )
