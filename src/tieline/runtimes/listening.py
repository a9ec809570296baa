# SPDX-License-Identifier: MIT
"""From an endpoint to listening sockets, what stands for them, and the rules of accepting from them.

All of it is the same on asyncio and on trio.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final, assert_never

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.runtimes import tcp_sockets
from tieline.wire.addresses import queue_full_pauses
from tieline.wire.values import replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Protocol

    from tieline.endpoints.urls import StreamEndpoint
    from tieline.runtimes.host import Event
    from tieline.runtimes.tls.handshakes import Handshakes
    from tieline.runtimes.unix_paths import Claim
    from tieline.wire.addresses import Address

    class Accepting(Protocol):
        """What accepts from one socket."""

        def start(self) -> None: ...

        def close(self) -> None: ...


__all__ = [
    "FULL_ROUNDS", "MADE_AT_ONCE", "MAX_WAITING", "PASSED_OVER", "RETRY_AFTER", "TOLD_EVERY", "Listener",
    "accepted_name", "bind", "endpoint_of", "tell_pause",
]  # fmt: skip


class Listener:
    """Listening sockets at work.

    Args:
        acceptors: What accepts from each socket.
        sockets: The sockets.
        endpoints: Where each listens.
        claim: The socket file that is removed at the end; None = there is none of ours.
        handshakes: The connections that are in their TLS handshake; None without TLS.
        closed: An event of the runtime's.
    """

    __slots__ = ("_acceptors", "_claim", "_closed", "_endpoints", "_handshakes", "_is_started", "_sockets")

    def __init__(
        self,
        acceptors: Sequence[Accepting],
        sockets: Sequence[socket.socket],
        endpoints: Sequence[StreamEndpoint],
        claim: Claim | None,
        handshakes: Handshakes | None,
        closed: Event,
    ) -> None:
        self._acceptors = tuple(acceptors)
        self._sockets = tuple(sockets)
        self._endpoints = tuple(endpoints)
        self._claim = claim
        self._handshakes = handshakes
        self._closed = closed
        self._is_started = False

    def __repr__(self) -> str:
        names = ", ".join(map(str, self._endpoints))
        return f"<Listener {names} {'closed' if self._closed.is_set() else 'serving' if self._is_started else 'bound'}>"

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets, for looking at; closed ones after `close`."""
        return self._sockets

    @property
    def endpoints(self) -> tuple[StreamEndpoint, ...]:
        """Where the sockets really listen, in their order, with numeric hosts and the port that the system chose."""
        return self._endpoints

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self._is_started and not self._closed.is_set()

    def start(self) -> None:
        """Accept connections from now on, those that wait already too; harmless when repeated, or after `close`."""
        if self._is_started or self._closed.is_set():
            return
        self._is_started = True
        for acceptor in self._acceptors:
            acceptor.start()

    def close(self) -> None:
        """Stop listening at once and remove the socket file if it is still ours; harmless when repeated.

        Connections that were accepted live on, in their TLS handshake or behind it; those that still wait to be
        accepted are reset by the system.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        if self._claim is not None:
            self._claim.release()
        for acceptor in self._acceptors:
            acceptor.close()

    def abort_handshakes(self) -> None:
        """Cut the connections that are in their TLS handshake, and so have not met their protocol yet."""
        if self._handshakes is not None:
            self._handshakes.abort()

    async def wait_closed(self) -> None:
        """Wait until `close` was called and the sockets are closed; connections are not waited for.

        (asyncio's own `wait_closed` waits for them from CPython 3.12 on, and for ever if one of them stays.)
        """
        await self._closed.wait()


async def bind(
    endpoint: StreamEndpoint,
    sock: socket.socket | None,
    *,
    resolve: Callable[..., Awaitable[list[Address]]],
    sleep: Callable[[float], Awaitable[object]],
    now: Callable[[], float],
) -> tuple[list[socket.socket], Claim | None]:
    """Return sockets that listen on *endpoint*, or the given one, and the claim of their file. All, or none.

    Args:
        endpoint: Where to listen.
        sock: A bound stream socket instead; ours from the call on, also when the call fails.
        resolve: Looks up a host and a port; see `resolve_by`.
        sleep: Lets so many seconds pass.
        now: Tells the time in seconds.

    Raises:
        OSError, UnsupportedOperation, ValueError: See `tieline.runtimes.backend.AsyncBackend.listen`.
    """
    if sock is not None:
        return [given_socket(sock, endpoint)], None
    match endpoint:
        case TCP():
            return await _bound_tcp(endpoint, resolve), None
        case UnixStream():
            bound, claim = await _bound_unix(endpoint, sleep, now)
            return [bound], claim
        case Command() | Stdio():
            raise ValueError(f"cannot listen on {endpoint}: a child process can only be connected to")
        case _:
            assert_never(endpoint)


async def _bound_tcp(endpoint: TCP, resolve: Callable[..., Awaitable[list[Address]]]) -> list[socket.socket]:
    family, proto = endpoint.family, endpoint.proto
    hosts = [
        tcp_sockets.any_addresses(endpoint.port, family=family, proto=proto)
        if host is None
        else await resolve(host, endpoint.port, family=family, proto=proto, flags=endpoint.flags | socket.AI_PASSIVE)
        for host in endpoint.hosts
    ]
    return tcp_sockets.listening_sockets(endpoint, hosts, tcp_sockets.listening_socket)


async def _bound_unix(
    endpoint: UnixStream, sleep: Callable[[float], Awaitable[object]], now: Callable[[], float]
) -> tuple[socket.socket, Claim | None]:
    from tieline.runtimes import unix_paths  # lazily: its rules for socket files are for Unix sockets alone

    deadline = now() + unix_paths.PATIENCE
    for pause in queue_full_pauses():
        try:
            return unix_paths.listening_socket(endpoint)
        except BlockingIOError as exc:
            if now() > deadline:
                patience = f"{unix_paths.PATIENCE:g} s"
                text = f"cannot listen on {endpoint}: another server has been taking the path for {patience}"
                raise OSError(errno.EADDRINUSE, text) from exc
        await sleep(pause)
    raise AssertionError("unreachable: the pauses do not end")


# --- sockets ------------------------------------------------------------------------------------------------------


def given_socket(sock: socket.socket, endpoint: StreamEndpoint) -> socket.socket:
    """Return *sock* as a listening socket, or close it."""
    try:
        if sock.type != socket.SOCK_STREAM:
            raise ValueError(f"a stream socket is needed to listen, not one of {sock.type!r}")
        if not sock.getsockname():
            raise ValueError("the socket must be bound to a path before it can listen")
        if isinstance(endpoint, TCP) and endpoint.reuse_port and not _reuses_port(sock):
            raise ValueError("the socket is bound without SO_REUSEPORT, and it is too late for reuse_port=True")
        if isinstance(endpoint, Command | Stdio):
            raise ValueError(f"{endpoint} has no socket")
        sock.setblocking(False)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            tcp_sockets.set_options(sock)
        sock.listen(endpoint.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _reuses_port(sock: socket.socket) -> bool:
    option: int | None = getattr(socket, "SO_REUSEPORT", None)  # Windows has none
    return option is not None and sock.getsockopt(socket.SOL_SOCKET, option) != 0


def endpoint_of(sock: socket.socket, asked: StreamEndpoint) -> StreamEndpoint:
    """Return where *sock* is bound, with the other settings of what was *asked* for where they fit."""
    name: tuple[str, int] | tuple[str, int, int, int] | str | bytes = sock.getsockname()
    if isinstance(name, tuple):
        host, port = name[:2]
        if len(name) == 4 and name[3] and "%" not in host:
            host = f"{host}%{socket.if_indextoname(name[3])}"
        return replace(asked, host=host, port=port) if isinstance(asked, TCP) else TCP(host, port, tls=asked.tls)
    path = os.fsdecode(name)
    return replace(asked, path=path) if isinstance(asked, UnixStream) else UnixStream(path, tls=asked.tls)


def accepted_name(sock: socket.socket) -> Any:
    """Return the address that each connection has on this side which is accepted from *sock*; None when it depends.

    For sockets that were made here: those that are given may accept what is meant for other addresses (ip(7),
    IP_TRANSPARENT).
    """
    name: tuple[Any, ...] | str | bytes = sock.getsockname()
    return None if isinstance(name, tuple) and name[0] in {"0.0.0.0", "::"} else name


# --- accepting ----------------------------------------------------------------------------------------------------

log = logging.getLogger("tieline.Listener")

# Connections that become transports in one turn of the loop; that takes 3 to 5 ms.
MADE_AT_ONCE: Final = 32
# Sockets that are accepted and wait for that. The system's own queue must not be full, not even for a moment: it then
# drops what comes, and a client tries again after a second. Accepting is cheap and making a transport is not.
MAX_WAITING: Final = 1024
# So often in a row as many must have come as were asked for, until twice as many are asked for.
FULL_ROUNDS: Final = 8
# Seconds until accepting is tried again when the process is out of descriptors or memory: one system call each time.
RETRY_AFTER: Final = 0.1
# Seconds from one log line about that to the next, in the whole process: its descriptors are what is short.
TOLD_EVERY: Final = 10.0

# What accept says of a connection that is over already, or that a firewall refuses; Linux hands on errors of the
# network too. The next one may be good.
PASSED_OVER: Final = frozenset(
    getattr(errno, name, -1)
    for name in (
        *("ECONNABORTED", "EPROTO", "EPERM", "ECONNRESET", "EINTR"),
        *("ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT"),
    )
)

_last_told = -inf


def tell_pause(error: OSError) -> None:
    """Log that accepting pauses because of *error*, if that has not been said lately."""
    # Anything unforeseen pauses as well: whatever it is, it must not make the loop spin.
    global _last_told
    if time.monotonic() >= _last_told + TOLD_EVERY:
        _last_told = time.monotonic()
        log.warning("accepting connections pauses, and is tried again every %g s: %s", RETRY_AFTER, error)
