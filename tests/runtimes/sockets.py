# SPDX-License-Identifier: MIT
"""Peers made of bare sockets, a stand-in for DNS, and counting what is left open."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from tests import aio
from tieline.endpoints.urls import StreamEndpoint
from tieline.runtimes.backend import Listener

V4, V6 = socket.AF_INET, socket.AF_INET6
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="full accept queues, abstract names and zones of Linux")


class Recorder(aio.Protocol):
    """Keep what happens: the transport, the bytes, and that the connection was lost."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data = b""
        self.made: aio.Future = aio.Future()
        self.received: aio.Future = aio.Future()
        self.lost: aio.Future = aio.Future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.received.done():
            self.received.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


async def closed(protocol: Recorder) -> None:
    """Close the connection of *protocol*, and wait until it has been told."""
    protocol.transport.close()
    await protocol.lost


class Accepted:
    """A protocol factory for listening that keeps the protocols it made."""

    def __init__(self) -> None:
        self.protocols: aio.Queue = aio.Queue()

    def __call__(self) -> Recorder:
        protocol = Recorder()
        self.protocols.put_nowait(protocol)
        return protocol

    async def next(self) -> Recorder:
        protocol: Recorder = await self.protocols.get()
        await protocol.made
        return protocol


@contextmanager
def tcp_listener(family: int = V4, *, backlog: int = 16) -> Iterator[tuple[socket.socket, int]]:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((LOOPBACK[socket.AddressFamily(family)], 0))
        sock.listen(backlog)
        yield sock, sock.getsockname()[1]


@contextmanager
def closed_port(family: int = V4) -> Iterator[int]:
    """Give a port that refuses: bound, so that nobody else gets it, and not listening."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((LOOPBACK[socket.AddressFamily(family)], 0))
        yield sock.getsockname()[1]


@contextmanager
def black_hole(family: int = V4) -> Iterator[int]:
    """Give a port that answers nothing at all: the accept queue is full, so Linux drops what comes."""
    with tcp_listener(family, backlog=0) as (_, port), socket.socket(family, socket.SOCK_STREAM) as filler:
        filler.connect((LOOPBACK[socket.AddressFamily(family)], port))
        yield port


@contextmanager
def full_unix_listener(path: str) -> Iterator[socket.socket]:
    """Give a Unix listener whose accept queue is full: connecting to it says EAGAIN."""
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as filler:
        sock.bind(path)
        sock.listen(0)
        filler.connect(path)
        yield sock


def stale(path: object, kind: int = socket.SOCK_STREAM) -> None:
    """Leave the file of a dead server at *path*."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))


def name(monkeypatch: pytest.MonkeyPatch, host: str, *addresses: tuple[int, str, int]) -> list[str]:
    """Let *host* resolve to *addresses*, or to an error if there are none; return the list of names looked up."""
    owner: Any = trio.socket if aio.on_trio() else aio.running_loop()
    real = owner.getaddrinfo
    asked: list[str] = []

    async def getaddrinfo(host_: Any, port: Any, **options: Any) -> Sequence[Any]:
        if "type" not in options:  # uvloop's own sock_connect parses numeric addresses through this method
            found: Sequence[Any] = await real(host_, port, **options)
            return found
        asked.append(host_)
        await aio.sleep(0)
        if host_ != host or not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        tails: dict[int, tuple[int, ...]] = {V4: (), V6: (0, 0)}
        return [(family, socket.SOCK_STREAM, 6, "", (ip, one, *tails[family])) for family, ip, one in addresses]

    monkeypatch.setattr(owner, "getaddrinfo", getaddrinfo)
    return asked


async def is_reached(endpoint: StreamEndpoint, accepted: Accepted) -> bool:
    """Return whether a connection to *endpoint* comes out at *accepted*, and close it again."""
    transport, ours = await aio.dial(Recorder, endpoint, timeout=10)
    theirs = await accepted.next()
    transport.write(b"hello")
    await theirs.received
    transport.close()
    await ours.lost
    await theirs.lost
    return theirs.data == b"hello"


async def stop(listener: Listener) -> None:
    listener.close()
    await listener.wait_closed()


def open_sockets() -> int:
    """Count this process's sockets (Linux only); other descriptors are uvloop's own, which opens some when needed."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except FileNotFoundError:  # the descriptor that listed the folder
            continue
    return count


async def settled(sockets: int) -> int:
    """Return how many sockets are open, as soon as it is *sockets*, or after some turns of the loop."""
    for _ in range(20):
        if open_sockets() == sockets:
            break
        await aio.sleep(0)
    return open_sockets()
