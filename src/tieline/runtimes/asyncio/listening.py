# SPDX-License-Identifier: MIT
"""Listening on asyncio: from an endpoint to a `Listener` whose connections go to a protocol factory.

The sockets are made here and handed to the loop, one server each, so that stock asyncio and uvloop behave alike: same
options, same rules for socket files, same meaning of closing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from tieline.endpoints import TCP, UnixStream
from tieline.runtimes import tcp_sockets, unix_paths
from tieline.runtimes.asyncio.resolving import resolve
from tieline.wire.addresses import queue_full_pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.endpoints import Endpoint
    from tieline.runtimes.unix_paths import Claim

__all__ = ["Listener", "listen"]

# Seconds to wait for another server that is taking the same path; that takes it less than a millisecond.
_PATH_PATIENCE: Final = 5.0


class Listener:
    """Listening sockets at work. Made by `listen`."""

    __slots__ = ("_claim", "_closed", "_endpoints", "_servers", "_sockets")

    def __init__(
        self,
        servers: Sequence[asyncio.AbstractServer],
        sockets: Sequence[socket.socket],
        endpoints: Sequence[Endpoint],
        claim: Claim | None,
    ) -> None:
        self._servers = tuple(servers)
        self._sockets = tuple(sockets)
        self._endpoints = tuple(endpoints)
        self._claim = claim
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        names = ", ".join(map(str, self._endpoints))
        return f"<Listener {names} {'serving' if self.is_serving() else 'closed'}>"

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets, for looking at; closed ones after `close`."""
        return self._sockets

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the sockets really listen, in their order, with numeric hosts and the port that the system chose."""
        return self._endpoints

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return not self._closed.is_set()

    async def settle(self) -> None:
        """Accept no more, and let what has been accepted become connections. To be followed by `close`.

        Stock asyncio makes the transport of a connection one turn after it accepted it; closed in between, its server
        makes none, and nobody closes that connection.
        """
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop) and not self._closed.is_set():
            for sock in self._sockets:
                loop.remove_reader(sock)
            await asyncio.sleep(0)

    def close(self) -> None:
        """Stop listening at once and remove the socket file if it is still ours; harmless when repeated.

        Connections that were accepted live on; those that still wait to be accepted are reset by the system.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        if self._claim is not None:
            self._claim.release()
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Wait until `close` was called and the sockets are closed; connections are not waited for.

        (asyncio's own `wait_closed` waits for them from CPython 3.12 on, and for ever if one of them stays.)
        """
        await self._closed.wait()
        await asyncio.sleep(0)  # uvloop frees its handles one turn later


async def listen(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    endpoint: Endpoint,
    *,
    sock: socket.socket | None = None,
) -> Listener:
    """Listen on *endpoint*; each connection accepted gets a protocol of *protocol_factory*.

    With *sock*, a bound stream socket (listening or not, say one of LISTEN_FDS), nothing is bound, no file is removed
    at the end, and *endpoint* gives the backlog only. The socket is ours from the call on, also when the call fails.

    All of the endpoint's addresses are bound, or none. The factory may be called before this returns. Cancelling
    leaves no socket, no file and no task behind.

    Raises:
        OSError: Of the natural class (EADDRINUSE, PermissionError, ...), with the addresses that failed or with what
            is found at the path. `socket.gaierror` is one: no such host.
        UnsupportedOperation: This platform has no Unix sockets, or no abstract names.
        ValueError: *sock* is no bound stream socket.
    """
    claim: Claim | None = None
    if sock is not None:
        sockets = [sock]
    else:
        match endpoint:
            case TCP():
                sockets = await _bound_tcp(endpoint)
            case UnixStream():
                bound, claim = await _bound_unix(endpoint)
                sockets = [bound]
            case _:
                assert_never(endpoint)
    servers: list[asyncio.AbstractServer] = []
    try:
        endpoints = [_endpoint_of(one, endpoint) for one in sockets]
        for one in sockets:
            # One by one and no comprehension: those that were made are closed below when a later one fails.
            servers.append(await _server(protocol_factory, one, endpoint.backlog))  # noqa: PERF401
        for server in servers:
            await server.start_serving()
    except BaseException:
        if claim is not None:
            claim.release()
        for server in servers:
            server.close()
        for one in sockets:
            one.close()
        raise
    return Listener(servers, sockets, endpoints, claim)


async def _server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, backlog: int
) -> asyncio.AbstractServer:
    """Return a server of the loop's that does not serve yet.

    Not yet, because stock asyncio lets a turn of the loop pass after starting: cancelled then, it would lose the
    server and leave it serving. Unstarted, it is made without any wait.
    """
    loop = asyncio.get_running_loop()
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        return await loop.create_server(protocol_factory, sock=sock, backlog=backlog, start_serving=False)
    if sys.version_info >= (3, 13):
        # The file is removed by our rules alone: a given socket's file is not ours.
        return await loop.create_unix_server(
            protocol_factory, sock=sock, backlog=backlog, start_serving=False, cleanup_socket=False
        )
    return await loop.create_unix_server(protocol_factory, sock=sock, backlog=backlog, start_serving=False)


async def _bound_tcp(endpoint: TCP) -> list[socket.socket]:
    if endpoint.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError(f"this platform has no SO_REUSEPORT, which reuse_port=True of {endpoint} needs")
    family, proto = endpoint.family, endpoint.proto
    hosts = [
        tcp_sockets.any_addresses(endpoint.port, family=family, proto=proto)
        if host is None
        else await resolve(host, endpoint.port, family=family, proto=proto, flags=endpoint.flags | socket.AI_PASSIVE)
        for host in endpoint.hosts
    ]
    return tcp_sockets.listening_sockets(endpoint, hosts)


async def _bound_unix(endpoint: UnixStream) -> tuple[socket.socket, Claim | None]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATH_PATIENCE
    for pause in queue_full_pauses():
        try:
            return unix_paths.listening_socket(endpoint)
        except BlockingIOError as exc:
            if loop.time() > deadline:
                text = f"cannot listen on {endpoint}: another server has been taking the path for {_PATH_PATIENCE:g} s"
                raise OSError(errno.EADDRINUSE, text) from exc
        await asyncio.sleep(pause)
    raise AssertionError("unreachable: the pauses do not end")


def _endpoint_of(sock: socket.socket, asked: Endpoint) -> Endpoint:
    """Return where *sock* is bound, with the other settings of what was *asked* for where they fit."""
    name: tuple[str, int] | tuple[str, int, int, int] | str | bytes = sock.getsockname()
    if isinstance(name, tuple):
        host, port = name[:2]
        if len(name) == 4 and name[3] and "%" not in host:
            host = f"{host}%{socket.if_indextoname(name[3])}"
        return replace(asked, host=host, port=port) if isinstance(asked, TCP) else TCP(host, port)
    if not name:
        raise ValueError("the socket must be bound to a path before it can listen")
    path = os.fsdecode(name)
    return replace(asked, path=path) if isinstance(asked, UnixStream) else UnixStream(path)
