# SPDX-License-Identifier: MIT
"""Packet servers and bare peers for the tests of them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from tests import aio
from tieline import TCP, UDP, UnixDatagram, UnixStream
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import JSONSerializer, StringLineSerializer

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
JSON: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
DATAGRAMS: DatagramProtocol[Any] = DatagramProtocol(JSONSerializer())
ANY = ("127.0.0.1", 0)


def address_of(server: Any) -> Any:
    """Return where a server listens, as a socket takes it."""
    match server.get_addresses()[0]:
        case TCP(host=host, port=port) | UDP(host=host, port=port):
            return host, port
        case UnixStream(path=path) | UnixDatagram(path=path):
            return str(path).replace("@", "\0", 1) if str(path).startswith("@") else str(path)
        case other:
            raise AssertionError(other)


def peer_of(server: Any, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a bare socket that is connected to a server; it does not wait."""
    address = address_of(server)
    sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX, kind)
    sock.connect(address)
    sock.setblocking(False)
    return sock


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def heard(sock: socket.socket, size: int) -> bytes:
    """Return *size* bytes of what comes, or all up to the end; the loop goes on meanwhile."""
    seen = b""
    while len(seen) < size:
        try:
            data = sock.recv(min(size - len(seen), 1 << 16))
        except BlockingIOError:
            await aio.sleep(0.001)
            continue
        if not data:
            break
        seen += data
    return seen


async def all_of(sock: socket.socket) -> bytes:
    """Return all that comes up to the end of the stream."""
    return await heard(sock, 1 << 60)


async def told(sock: socket.socket, data: bytes) -> None:
    """Send all of *data*; the loop goes on meanwhile."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await aio.sleep(0.001)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Let the loop turn until *condition* holds; fail after half a minute."""
    patience = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < patience, what or "it never came to that"
        await aio.sleep(0.001)


async def echo(client: Any) -> None:
    """Send back each packet."""
    async for packet in client:
        await client.send_packet(packet)
