# SPDX-License-Identifier: MIT
"""Pairs of sessions over real sockets, raw peers, and counting what is left open."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests import aio
from tieline import ClientSession, Limits, Methods, Server, ServerSession, connect, serve
from tieline.rpc.session import SessionBase

TCP_URL = "tcp://127.0.0.1:0"


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Let the loop turn until *condition* holds; fail after five seconds."""
    patience = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < patience, what or "it never came to that"
        await aio.sleep(0)


async def turns(count: int = 10) -> None:
    """Let the loop turn so many times: enough for all that is ready to happen."""
    for _ in range(count):
        await aio.sleep(0)


@dataclass
class Pair:
    """A client, its server, and the server's session with it."""

    client: ClientSession
    server: Server
    peer: ServerSession


@asynccontextmanager
async def pair(
    methods: Methods | None = None,
    *,
    url: str = TCP_URL,
    client_methods: Methods | None = None,
    limits: Limits | None = None,
    client_limits: Limits | None = None,
    session_class: type[ServerSession] = ServerSession,
    client_class: type[ClientSession] = ClientSession,
    **both: Any,
) -> AsyncIterator[Pair]:
    """Serve on *url*, connect, and close both in the end. *both* goes to sessions of both sides."""

    def new_session() -> ServerSession:
        return session_class(methods=methods, limits=limits, **both)

    async with serve(new_session, url) as server:
        client = connect(server.url, client_methods, limits=client_limits, session_factory=client_class, **both)
        async with client:
            await until(lambda: server.sessions)
            (peer,) = server.sessions
            assert isinstance(peer, ServerSession)
            yield Pair(client, server, peer)
        for session in list(server.sessions):
            session.abort()  # handlers that a test left hanging are not waited for


class RawPeer:
    """A peer that types bytes."""

    def __init__(self, reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *messages: object) -> None:
        """Send messages, each on a line: bytes as they are, all else as JSON."""
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode()
            self.writer.write(line + b"\n")

    async def line(self) -> Any:
        """Return the next line as an object; None at the end of the stream."""
        line = await aio.wait_for(self.reader.readline(), 10)
        return json.loads(line) if line else None

    async def ask(self, message: object) -> Any:
        self.send(message)
        return await self.line()

    async def ended(self) -> bool:
        """Return whether the stream ends behind what has been read, be it by a reset."""
        try:
            return bool(await aio.wait_for(self.reader.read(), 10) == b"")
        except ConnectionError:
            return True

    def reset(self) -> None:
        """Cut the connection by a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def raw_client(server: Server) -> AsyncIterator[RawPeer]:
    """Connect to *server* with a bare socket."""
    if server.url.startswith("unix:"):
        reader, writer = await aio.open_unix_connection(server.url.removeprefix("unix://"), limit=1 << 24)
    else:
        endpoint = server.get_addresses()[0]
        reader, writer = await aio.open_connection(str(endpoint.host), endpoint.port, limit=1 << 24)  # type: ignore[union-attr]  # a TCP endpoint
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.transport.abort()
        await turns(3)


@asynccontextmanager
async def raw_server(**settings: Any) -> AsyncIterator[tuple[ClientSession, RawPeer]]:
    """Give a client session, connected, and the bare socket that it is connected to."""
    accepted: aio.Queue = aio.Queue()

    async def accept(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        accepted.put_nowait(RawPeer(reader, writer))

    listener = await aio.start_server(accept, "127.0.0.1", 0, limit=1 << 24)
    host, port = listener.sockets[0].getsockname()
    try:
        async with connect(f"tcp://{host}:{port}", **settings) as client:
            peer = await accepted.get()
            try:
                yield client, peer
            finally:
                peer.writer.transport.abort()
    finally:
        listener.close()
        await turns(3)


def transport_of(session: SessionBase) -> Any:
    """Return the transport of a session that is connected."""
    engine = session._engine
    assert engine is not None
    return engine.link.transport


def entries(session: SessionBase) -> dict[str, int]:
    """Count what a session holds for calls and requests; all of it is to come back to zero."""
    engine = session._engine
    assert engine is not None
    calls = engine.machine.calls
    return {
        "open calls": len(calls.open),
        "explicit deadlines": len(calls._explicit or ()),
        "batches": sum(any(call_id in calls.open for call_id in batch) for batch in calls._batches or ()),
        "requests": engine.machine.unanswered,
        "ids in flight": len(engine.machine.requests.in_flight),
        "handlers": len(engine.handling.running or ()),
        "senders waiting": engine.machine.flow.senders_waiting,
    }


def no_entries(session: SessionBase) -> bool:
    return not any(entries(session).values())
