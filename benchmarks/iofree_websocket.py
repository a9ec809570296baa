# SPDX-License-Identifier: MIT
"""The I/O-free path over WebSocket: what `iofree.py` does with lines, here with frames, both sides of it."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, cast

import tieline
from tieline.runtimes.asyncio.websocket_layers import new_layer
from tieline.wire.carriage import Carriage
from tieline.wire.websocket import WebSocketClient, WebSocketServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.iofree import Transport, Turn
    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["calling_turn", "server_turn"]


def sides() -> tuple[WebSocketClient, WebSocketServer]:
    """Return the two sides of a WebSocket that carries calls, before the handshake."""
    client = WebSocketClient("here", 80, random_bytes=os.urandom, max_message=1 << 20, carriage=Carriage.LINES)
    return client, WebSocketServer(max_message=1 << 20, carriage=Carriage.LINES)


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


async def server_turn(methods: tieline.Methods, transport: Transport, data: bytes, reads: int, answers: int) -> Turn:
    """Return what gives a server session the same lines so many times, each time in one read of as many frames."""
    layer, peer = opened(tieline.ServerSession(methods=methods), transport, accepted=True)
    read = peer.send(data)

    async def turn() -> float:
        before = transport.writes
        began = time.perf_counter()
        for _ in range(reads):
            layer.data_received(read)
        took = time.perf_counter() - began
        if transport.writes - before != reads:
            raise ValueError(f"{transport.writes - before} writes for {reads} reads: one each was expected")
        return took

    layer.data_received(read)
    results = [json.loads(line)["result"] for line in peer.receive(transport.written).splitlines()]
    if results != [number + 2 for number in range(answers)]:
        raise ValueError(f"wrong answers: {results}")
    return turn


def calling_turn(
    transport: Transport, replies_to: Callable[[bytes], bytes], finish: Callable[[Any], None], count: int, at_once: int
) -> Turn:
    """Return what makes so many calls, so many at once, and gives their replies."""
    session = tieline.ClientSession("ws://nowhere:1")
    layer, _ = opened(session, transport, accepted=False)
    link = layer.get_protocol()

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
            for call in calls:
                finish(call)
        return took

    if at_once > 1:
        # The first of several calls leaves at once when nothing else is under way: so one is, for ever.
        session.send_request("add", [1, 2], timeout=None)
    return turn


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
