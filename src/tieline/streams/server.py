# SPDX-License-Identifier: MIT
"""Servers for protocols of users' own: the signatures of asyncio, on every asynchronous runtime."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints.checks import check_integer
from tieline.endpoints.secured import TLSChoice
from tieline.endpoints.tls import check_tls_to_serve
from tieline.errors import LocalProtocolError
from tieline.runtimes.detect import current_backend
from tieline.streams.arguments import check_callable, endpoint_to_listen, given, tls_seconds, unix_to_listen
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.backend import Listener

__all__ = ["StreamServer", "create_server", "create_unix_server"]


class StreamServer:
    """A server with the interface of ``asyncio.Server``; returned by `create_server`, `start_server` and the like.

    ``async with`` closes it at the end. Closing does not affect its connections.
    """

    __slots__ = ("_is_serving_forever", "_listener")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._is_serving_forever = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._listener!r}>"

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets, for information; empty when the server is closed."""
        return () if self._is_closed() else self._listener.sockets

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The addresses on which it listens, with numeric hosts and the actual port."""
        return self._listener.endpoints

    def is_serving(self) -> bool:
        """Return whether the server accepts connections."""
        return self._listener.is_serving()

    def _is_closed(self) -> bool:
        return any(sock.fileno() < 0 for sock in self._listener.sockets)

    def close(self) -> None:
        """Stop listening, and remove its socket file. Connections stay open. May be called again."""
        self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until the server is closed. Unlike asyncio's from CPython 3.12 on, it does not wait for connections."""
        await self._listener.wait_closed()

    async def start_serving(self) -> None:
        """Start to accept connections. May be called again.

        Raises:
            LocalProtocolError: The server is closed.
        """
        if self._is_closed():
            raise LocalProtocolError("the server is closed")
        self._listener.start()

    async def serve_forever(self) -> None:
        """Accept connections until the server is closed. Cancelling this closes it.

        It returns when the server is closed by other code. (``asyncio.Server`` raises CancelledError then.)

        Raises:
            LocalProtocolError: The server is closed, or another task is in `serve_forever`.
        """
        if self._is_serving_forever:
            raise LocalProtocolError("the server is in serve_forever() already")
        await self.start_serving()
        self._is_serving_forever = True
        try:
            await self._listener.wait_closed()
        finally:
            self._is_serving_forever = False
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()


async def create_server(
    protocol_factory: Callable[[], Any],
    host: str | Sequence[str] | Endpoint | None = None,
    port: int | None = None,
    *,
    family: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    fd: int | None = None,
    backlog: int = 1024,
    ssl: TLSChoice = None,
    reuse_port: bool | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
    nursery: object = None,
) -> StreamServer:
    """Listen, and create a protocol for each connection, like the method of an asyncio event loop.

    Either all addresses are bound, or none. Cancelling leaves nothing behind. While the process has no free file
    descriptors, accepting pauses.

    Args:
        protocol_factory: Returns the protocol of a connection: of a class of ``tieline.transports``, of asyncio's, or
            of neither.
        host: A name or an address, or several; None or "" = all interfaces. Without *port* also an endpoint or a URL.
        port: The port; 0 or None = the system chooses one, the same for all hosts.
        family: As `TCP.family`.
        flags: As `TCP.flags`.
        sock: A bound stream socket, listening or not, in place of *host* and *port*. It belongs to the server as soon
            as the arguments have been checked.
        fd: The same as a file descriptor, such as one passed by systemd (3 is the first of ``LISTEN_FDS``).
        backlog: As `TCP.backlog`.
        ssl: How connections are encrypted: a `TLS` value with a certificate, or an ``ssl.SSLContext``; None = no TLS.
        reuse_port: As `TCP.reuse_port`.
        ssl_handshake_timeout: Seconds for the TLS handshake of a connection; None = 10. At most 100 handshakes run at
            once: a further one aborts the oldest.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.
        start_serving: False = connections wait until `StreamServer.start_serving` or `StreamServer.serve_forever`.
        nursery: On trio, the nursery for the server and its connections; None elsewhere.

    Raises:
        ValueError: Invalid arguments, or ones that exclude each other, or *nursery* on asyncio. Nothing was tried.
        TypeError: An argument has the wrong type.
        LocalProtocolError: On trio, *nursery* is missing or closed.
        OSError: An address cannot be used, or a file of the TLS settings cannot be read; the message names it.
    """
    check_callable("protocol_factory", protocol_factory)
    check_integer("backlog", backlog)
    settings = given(family=family, flags=flags, reuse_port=reuse_port)
    if backlog != 1024:
        settings["backlog"] = backlog
    endpoint = endpoint_to_listen(host, port, sock, fd, ssl, settings)
    return await _server(
        protocol_factory, endpoint, sock, fd, ssl_handshake_timeout, ssl_shutdown_timeout, start_serving, nursery
    )


async def create_unix_server(
    protocol_factory: Callable[[], Any],
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
    *,
    sock: socket.socket | None = None,
    mode: int = 0o600,
    backlog: int = 1024,
    ssl: TLSChoice = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
    nursery: object = None,
) -> StreamServer:
    """Listen on a Unix socket; otherwise as `create_server`.

    The socket file of a server that no longer runs is replaced; that of a running server never is. The server removes
    its own when it is closed.

    Args:
        protocol_factory: As there.
        path: The path of the socket file; ``@name`` (or with a leading NUL) in Linux's abstract namespace. Excludes
            *sock*.
        sock: A bound Unix stream socket.
        mode: As `UnixStream.mode`. (With asyncio's own function, the umask decides who may connect.)
        backlog: As there.
        ssl: As there.
        ssl_handshake_timeout: As there.
        ssl_shutdown_timeout: As there.
        start_serving: As there.
        nursery: As there.
    """
    check_callable("protocol_factory", protocol_factory)
    endpoint = unix_to_listen(path, sock, ssl, mode, backlog)
    return await _server(
        protocol_factory, endpoint, sock, None, ssl_handshake_timeout, ssl_shutdown_timeout, start_serving, nursery
    )


async def _server(
    protocol_factory: Callable[[], Any],
    endpoint: Endpoint,
    sock: socket.socket | None,
    fd: int | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
    starts: bool,
    nursery: object,
) -> StreamServer:
    backend = current_backend()
    backend.check_nursery(nursery)
    check_tls_to_serve(endpoint.tls)
    tls_seconds(endpoint.tls, handshake_timeout, shutdown_timeout)
    limits = Limits(**given(handshake_timeout=handshake_timeout, tls_shutdown_timeout=shutdown_timeout))
    if fd is not None:
        check_integer("fd", fd)
        sock = socket.socket(fileno=fd)
        if sock.type != socket.SOCK_STREAM:
            kind = sock.type
            sock.detach()  # it stays the caller's
            raise ValueError(f"a stream socket is needed to listen, and fd is one of {kind!r}")
    listener = await backend.listen(
        protocol_factory, endpoint, sock=sock, limits=limits, starts=starts, nursery=nursery
    )
    return StreamServer(listener)
