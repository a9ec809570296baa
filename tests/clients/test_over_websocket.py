# SPDX-License-Identifier: MIT
"""Packet clients over WebSocket: packets go as a stream of binary messages, asynchronous and in blocking code."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.server import ServerConnection, serve

import tieline
from tests import aio
from tests.runtimes.scripted_proxies import Good, listening
from tests.versions import is_before
from tieline import TCP, UnixStream, WebSocket, blocking
from tieline.errors import ConnectionLost, UnsupportedOperation, WebSocketClosed
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer, LengthPrefixedSerializer, StringLineSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
PACKED: StreamProtocol[Any] = StreamProtocol(LengthPrefixedSerializer(JSONSerializer()))


@contextmanager
def served(handle: Any) -> Iterator[WebSocket]:
    """Serve with the package websockets, in a thread, and give where."""
    from threading import Thread

    with serve(handle, "127.0.0.1", 0, max_size=None) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield WebSocket(TCP("127.0.0.1", server.socket.getsockname()[1]), "/packets")
        finally:
            server.shutdown()
            thread.join()
    if is_before("websockets", 16, 1):  # it forgets the pipe by which it tells its thread
        pipe: Any = (server.shutdown_watcher, server.shutdown_notifier)
        for end in pipe:
            os.close(end)


def echo(peer: ServerConnection) -> None:
    for message in peer:
        assert isinstance(message, bytes)  # packets are no text
        peer.send(message)


def cut_up(peer: ServerConnection) -> None:
    """Send back the lines of each message in messages that are cut anywhere, one of them as text."""
    for message in peer:
        assert isinstance(message, bytes)
        peer.send(message[:1])
        peer.send(message[1:2].decode())
        peer.send([message[2:3], message[3:]])


def leave(peer: ServerConnection) -> None:
    peer.recv()
    peer.close(4001, "had enough")


async def test_packets_go_there_and_back() -> None:
    with served(echo) as endpoint:
        async with tieline.connect(endpoint, protocol=PACKED) as client:
            for packet in (1, "ü", {"a": [1.5, None]}, "x" * 1_000_000):
                await client.send_packet(packet)
                assert await client.recv_packet() == packet
            for number in range(200):
                await client.send_packet(number)
            assert [await client.recv_packet() for _ in range(200)] == list(range(200))
            assert client.get_extra_info("websocket").path == "/packets"


async def test_where_a_message_ends_is_nothing_to_packets() -> None:
    with served(cut_up) as endpoint:
        async with tieline.connect(endpoint.url, protocol=LINES) as client:
            await client.send_packet("a line")
            assert await client.recv_packet() == "a line"


async def test_a_peer_that_closes_says_why() -> None:
    with served(leave) as endpoint:
        async with tieline.connect(endpoint.url, protocol=LINES) as client:
            await client.send_packet("a line")
            with pytest.raises(ConnectionLost, match="4001") as caught:
                await client.recv_packet()
            cause = caught.value if isinstance(caught.value, WebSocketClosed) else caught.value.__cause__
            assert isinstance(cause, WebSocketClosed)
            assert cause.reason == "had enough"


async def test_one_direction_cannot_be_ended_alone_and_the_error_speaks_of_websockets() -> None:
    with served(echo) as endpoint:
        async with tieline.connect(endpoint, protocol=LINES) as client:
            with pytest.raises(UnsupportedOperation, match="or of a WebSocket cannot be ended alone"):
                await client.send_eof()
            await client.send_packet("still there")
            assert await client.recv_packet() == "still there"


async def test_through_a_proxy() -> None:
    with served(echo) as endpoint, listening(Good({})) as scripted:
        proxy = f"socks5://127.0.0.1:{scripted.port}"
        async with tieline.connect(endpoint, protocol=PACKED, proxy=proxy) as client:
            await client.send_packet("by proxy")
            assert await client.recv_packet() == "by proxy"
        assert scripted.connections == 1
    with pytest.raises(ValueError, match="a proxy takes TCP and UDP only"):
        tieline.connect(WebSocket(UnixStream("/run/x")), protocol=PACKED, proxy=proxy)


async def test_in_blocking_code() -> None:
    def talk(endpoint: WebSocket) -> list[Any]:
        with blocking.connect(endpoint, protocol=PACKED) as client:
            with pytest.raises(UnsupportedOperation, match="or of a WebSocket cannot be ended alone"):
                client.send_eof()
            found = []
            for packet in ([1], json.dumps("x" * 300_000)):
                client.send_packet(packet)
                found.append(client.recv_packet())
            return found

    with served(echo) as endpoint:
        assert await aio.to_thread(talk, endpoint) == [[1], json.dumps("x" * 300_000)]
