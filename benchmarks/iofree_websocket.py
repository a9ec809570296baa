# SPDX-License-Identifier: MIT
"""The I/O-free path over WebSocket: what `iofree.py` does with lines, here with frames, both sides of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any, cast

import tieline
from benchmarks.iofree_transport import Transport, Turn
from tieline.runtimes.asyncio.websocket_layers import new_layer
from tieline.wire.websocket.client import WebSocketClient
from tieline.wire.websocket.server import WebSocketServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["calling_turn", "server_turn"]


def sides() -> tuple[WebSocketClient, WebSocketServer]:
    """Return the two sides of a WebSocket that carries calls, before the handshake."""
    client = WebSocketClient("here", 80, random_bytes=os.urandom, max_message=1 << 20, carriage="lines")
    return client, WebSocketServer(max_message=1 << 20, carriage="lines")


def opened(session: tieline.SessionBase, transport: Transport, *, accepted: bool) -> tuple[Any, WebSocketStream]:
    """Return a session's layer behind its handshake, and the peer's side of it."""
    client, server = sides()
    own, peer = (server, client) if accepted else (client, server)
    layer = new_layer(
        session.new_link(accepted=accepted), own, message_timeout=30.0, handshake_timeout=None, shutdown_timeout=5.0
    )
    layer.connection_made(cast("Any", transport))
    if accepted:
        peer.start()
        layer.data_received(peer.data_to_send())
        peer.receive(transport.written)
    else:
        peer.receive(transport.written)
        layer.data_received(peer.data_to_send())
    return layer, peer


async def server_turn(session: tieline.ServerSession, data: bytes, reads: int, answers: int) -> Turn:
    """Return what gives a server session the same lines so many times, each time in one read of as many frames.

    When the machine has stopped this process for a while, the rest of a read is answered in a turn of its own.
    """
    transport = Collecting()
    layer, peer = opened(session, transport, accepted=True)
    read = peer.send(data)

    async def turn() -> float:
        transport.collected.clear()
        began = time.perf_counter()
        for _ in range(reads):
            layer.data_received(read)
        took = time.perf_counter() - began
        wanted = [number + 2 for number in range(answers)] * reads
        while len(found := messages_in(b"".join(transport.collected))) < len(wanted):  # noqa: ASYNC110  # as in iofree
            await asyncio.sleep(0)
        if [json.loads(message)["result"] for message in found] != wanted:
            raise ValueError(f"wrong answers: {found[:answers]}")
        return took

    return turn


def calling_turn(
    transport: Transport, replies_to: Callable[[bytes], bytes], finish: Callable[[Any], None], count: int, at_once: int
) -> Turn:
    """Return what makes so many calls, so many at once, and gives their replies."""
    session = tieline.ClientSession("ws://nowhere:1")
    layer, _ = opened(session, transport, accepted=False)
    link = layer.get_protocol()
    standing = 0

    async def turn() -> float:
        took = 0.0
        for _ in range(count // at_once):
            began = time.perf_counter()
            calls = [session.call("add", 1, 2) for _ in range(at_once)]
            for call in calls:
                call.send(None)
            if at_once > 1:
                link.settle()  # the write that is planned for the loop's next turn
            took += time.perf_counter() - began
            read = framed(replies_to(unframed(transport.written)))
            began = time.perf_counter()
            layer.data_received(read)
            took += time.perf_counter() - began
            while link.machine.open_calls > standing:  # noqa: ASYNC110  # as above: the rest has a turn of its own
                await asyncio.sleep(0)
            for call in calls:
                finish(call)
        return took

    if at_once > 1:
        # The first of several calls leaves at once when nothing else is under way: so one is, for ever.
        session.send_request("add", [1, 2], timeout=None)
        standing = 1
    return turn


class Collecting(Transport):
    """Keeps all that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.collected: list[bytes] = []

    def write(self, data: bytes, /) -> None:
        super().write(data)
        self.collected.append(data)


def messages_in(written: bytes) -> list[bytes]:
    """Return the messages in short frames of a server."""
    found: list[bytes] = []
    at = 0
    while at < len(written):
        start = at + 2
        at = start + written[at + 1]
        found.append(written[start:at])
    return found


# The peer of a client. It is part of each turn, so no code of tieline's may be in it: that would be counted.


def unframed(written: bytes) -> bytes:
    """Return the messages in short frames of a client, as lines."""
    found: list[bytes] = []
    at = 0
    while at < len(written):
        start = at + 6
        at = start + (written[at + 1] & 0x7F)
        mask = written[start - 4 : start] * (1 + (at - start) // 4)
        found.append(bytes(one ^ other for one, other in zip(written[start:at], mask, strict=False)))
    return b"\n".join((*found, b""))


def framed(lines: bytes) -> bytes:
    """Return lines as short frames of a server."""
    return b"".join(bytes((0x81, len(line))) + line for line in lines.splitlines())
