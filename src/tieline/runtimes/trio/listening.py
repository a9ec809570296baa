# SPDX-License-Identifier: MIT
"""Listening on trio: from an endpoint to a `Listener` whose connections go to a protocol factory.

The sockets are made here and accepted from by `accepting.py`.
"""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import trio
from trio.lowlevel import checkpoint

from tieline.endpoints import TCP, Command, Stdio, UnixStream
from tieline.runtimes import tcp_sockets
from tieline.runtimes.listening_sockets import endpoint_of, given_socket
from tieline.runtimes.trio.accepting import Acceptor, attach
from tieline.runtimes.trio.resolving import resolve
from tieline.wire.addresses import queue_full_pauses
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.endpoints import TLS, StreamEndpoint
    from tieline.runtimes.stdio import StdioListener
    from tieline.runtimes.tls.handshakes import Handshakes
    from tieline.runtimes.trio.host import TrioHost
    from tieline.runtimes.unix_paths import Claim

__all__ = ["Listener", "listen"]


class Listener:
    """Listening sockets at work. Made by `listen`."""

    __slots__ = ("_acceptors", "_claim", "_closed", "_endpoints", "_handshakes", "_host", "_is_started", "_sockets")

    def __init__(
        self,
        host: TrioHost,
        acceptors: Sequence[Acceptor],
        sockets: Sequence[socket.socket],
        endpoints: Sequence[StreamEndpoint],
        claim: Claim | None,
        handshakes: Handshakes | None,
    ) -> None:
        self._host = host
        self._acceptors = tuple(acceptors)
        self._sockets = tuple(sockets)
        self._endpoints = tuple(endpoints)
        self._claim = claim
        self._handshakes = handshakes
        self._closed = trio.Event()
        self._is_started = False
        host.hold()
        for acceptor in self._acceptors:
            acceptor.open(self.close)

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
        self._host.release()

    def abort_handshakes(self) -> None:
        """Cut the connections that are in their TLS handshake, and so have not met their protocol yet."""
        if self._handshakes is not None:
            self._handshakes.abort()

    async def wait_closed(self) -> None:
        """Wait until `close` was called and the sockets are closed; connections are not waited for.

        (asyncio's own `wait_closed` waits for them from CPython 3.12 on, and for ever if one of them stays.)
        """
        await self._closed.wait()


async def listen(
    host: TrioHost,
    protocol_factory: Callable[[], Any],
    endpoint: StreamEndpoint,
    *,
    sock: socket.socket | None = None,
    limits: Limits | None = None,
    starts: bool = True,
) -> Listener | StdioListener:
    """Listen on *endpoint*; each connection accepted gets a protocol of *protocol_factory*.

    All of it lives in the nursery of *host*: when that is cancelled, the listener is closed.
    With *sock*, a bound stream socket (listening or not, say one of LISTEN_FDS), nothing is bound, no file is removed
    at the end, and *endpoint* gives backlog and TLS only; its `reuse_port` must be the socket's already. The socket is
    ours from the call on, also when the call fails. *limits* bound the TLS handshakes; None = the defaults. A protocol
    hears of its connection when that is done. Unless it *starts*, connections wait until `Listener.start`.

    All of the endpoint's addresses are bound, or none. Cancelling leaves no socket, no file and no task behind.
    While the process is out of descriptors or memory, accepting pauses, and connections wait in the backlog.

    Raises:
        OSError: Of the natural class (EADDRINUSE, PermissionError, ...), with the addresses that failed or with what
            is found at the path. `socket.gaierror` is one: no such host.
            Files of the TLS settings that cannot be read are told before anything is bound.
        UnsupportedOperation: This platform has no Unix sockets, no abstract names, or no SO_REUSEPORT.
        ValueError: *sock* is no bound stream socket, or it shares its port with nobody and is to reuse it, or the TLS
            settings are not for serving.
    """
    if isinstance(endpoint, Stdio) and sock is None:
        from tieline.runtimes.trio.pipes import serve_stdio  # lazily: for those who serve on it alone

        return await serve_stdio(host, protocol_factory)
    claim: Claim | None = None
    try:
        await checkpoint()  # a numeric host needs no other
        handshakes = None if endpoint.tls is None else _handshakes(host, endpoint.tls, limits or Limits())
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    if sock is not None:
        sockets = [given_socket(sock, endpoint)]
    else:
        match endpoint:
            case TCP():
                sockets = await _bound_tcp(endpoint)
            case UnixStream():
                bound, claim = await _bound_unix(endpoint)
                sockets = [bound]
            case Command() | Stdio():
                raise ValueError(f"cannot listen on {endpoint}: a child process can only be connected to")
            case _:
                assert_never(endpoint)

    def take(accepted: socket.socket) -> None:
        protocol = host.make(protocol_factory)
        if handshakes is None:
            attach(host, protocol, accepted)
        else:
            handshakes.begin(protocol, accepted)

    endpoints = [endpoint_of(one, endpoint) for one in sockets]
    acceptors = [Acceptor(host, one, take) for one in sockets]
    listener = Listener(host, acceptors, sockets, endpoints, claim, handshakes)
    if starts:
        listener.start()
    return listener


def _handshakes(host: TrioHost, tls: TLS, limits: Limits) -> Handshakes:
    from tieline.runtimes.tls.handshakes import Handshakes  # lazily: only listeners with TLS need it
    from tieline.runtimes.trio.tls_layers import server_layer

    return Handshakes(tls.server_context(), limits, partial(server_layer, host), partial(attach, host))


async def _bound_tcp(endpoint: TCP) -> list[socket.socket]:
    family, proto = endpoint.family, endpoint.proto
    hosts = [
        tcp_sockets.any_addresses(endpoint.port, family=family, proto=proto)
        if host is None
        else await resolve(host, endpoint.port, family=family, proto=proto, flags=endpoint.flags | socket.AI_PASSIVE)
        for host in endpoint.hosts
    ]
    return tcp_sockets.listening_sockets(endpoint, hosts)


async def _bound_unix(endpoint: UnixStream) -> tuple[socket.socket, Claim | None]:
    from tieline.runtimes import unix_paths  # lazily: its rules for socket files are for Unix sockets alone

    deadline = trio.current_time() + unix_paths.PATIENCE
    for pause in queue_full_pauses():
        try:
            return unix_paths.listening_socket(endpoint)
        except BlockingIOError as exc:
            if trio.current_time() > deadline:
                patience = f"{unix_paths.PATIENCE:g} s"
                text = f"cannot listen on {endpoint}: another server has been taking the path for {patience}"
                raise OSError(errno.EADDRINUSE, text) from exc
        await trio.sleep(pause)
    raise AssertionError("unreachable: the pauses do not end")
