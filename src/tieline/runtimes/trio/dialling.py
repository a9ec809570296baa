# SPDX-License-Identifier: MIT
"""Dialling on trio: from an endpoint to a connected transport, under one deadline.

What is tried when, and what the failures amount to, is decided in ``wire.addresses``. This file only races.
"""

from __future__ import annotations

import errno
import socket
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import wait_writable

from tieline.endpoints.command import Command
from tieline.endpoints.tcp import TCP
from tieline.runtimes import tcp_sockets
from tieline.runtimes.connecting import Connector, prepare, securing, trying
from tieline.runtimes.trio.sockets import resolve
from tieline.runtimes.trio.streams import StreamTransport
from tieline.wire.addresses import (
    Attempts,
    attempt_error,
    combined_error,
)
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.runtimes.trio.host import TrioHost
    from tieline.wire.addresses import Address
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["CONNECTOR", "converse", "dial", "dial_by_proxy"]


async def dial(
    host: TrioHost,
    protocol_factory: Callable[[], Any],
    endpoint: StreamEndpoint,
    *,
    timeout: float | None = None,
    sock: socket.socket | None = None,
    route: Route | None = None,
    handshake_timeout: float | None = None,
    shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
) -> tuple[Any, Any]:
    """Connect to *endpoint*, make the protocol, and return both ends of the bargain after `connection_made`.

    The connection lives in the nursery of *host*, which must stay open for that. With a *route* it is connected to
    through proxies, and TLS is spoken with *endpoint* itself. With *sock*, a connected stream socket, nothing is
    dialled and *endpoint* only lends its TLS, and its name to errors. The socket is ours from the call on, also when
    the call fails. *timeout* covers everything: name look-up, every attempt, the dialogues with proxies, the TLS
    handshake. Without one, a Unix server that never accepts, or one that never shakes hands, is
    waited for for ever. *handshake_timeout* is for the TLS handshake alone, and *shutdown_timeout* for closing TLS: see
    `TLSLayer`.

    Cancelling leaves no socket and no task behind. A transport made in that moment is closed: its protocol then sees
    `connection_made` and `connection_lost`, or neither.

    Raises:
        TimeoutError: Not within *timeout* seconds; the attempts that had failed by then are its cause.
        OSError: Nobody there, or no way to get there. The class is the one that all attempts have in common
            (ConnectionRefusedError: every address refused); `__cause__` has them all. `socket.gaierror` is one: no
            such host; ``ssl.SSLCertVerificationError`` is another: somebody is there, but not whom we trust;
            `SOCKSError` and `HTTPConnectError` are of proxies. Files of the TLS settings that cannot be read are told
            before anything is dialled. An exception of *protocol_factory*, or of its protocol's `connection_made`,
            comes out as it is.
        LocalProtocolError: The nursery is over.
        ValueError: *endpoint* can only be listened on, or *sock* is no connected stream socket, or the TLS settings do
            not hold what they should, or the proxies cannot be asked for it.
    """
    if isinstance(endpoint, Command) and sock is None:
        from tieline.runtimes.trio.pipes import run_command  # lazily: for those who start children alone

        return await run_command(host, protocol_factory, endpoint)
    failures: list[OSError] = []
    try:
        secure = _securing(host, endpoint, route, handshake_timeout, shutdown_timeout)
        with trio.move_on_after(inf if timeout is None else timeout) as limit:
            if sock is None:
                sock = await CONNECTOR.connect_by(route, endpoint, failures)
            else:
                prepare(sock)
            ours, sock = sock, None
            return await _transport(host, protocol_factory, ours, secure, route)
        assert limit.cancelled_caught
        text = f"{trying(endpoint, route)} within {timeout:g} s"
        raise TimeoutError(errno.ETIMEDOUT, text) from (combined_error(failures, text) if failures else None)
    finally:
        failures.clear()  # their frames know it: else only the garbage collector would find them
        if sock is not None:
            sock.close()


async def converse(endpoint: StreamEndpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
    """Have *dialogue* on a connection to *endpoint* of its own, and return its result; see `AsyncBackend.converse`."""
    with trio.move_on_after(inf if timeout is None else timeout) as limit:
        return await CONNECTOR.converse(endpoint, dialogue)
    assert limit.cancelled_caught
    raise TimeoutError(errno.ETIMEDOUT, f"no answer from {endpoint} within {timeout:g} s")


async def dial_by_proxy(
    host: TrioHost,
    protocol_factory: Callable[[], Any],
    endpoint: StreamEndpoint,
    proxy: Any,
    *,
    timeout: float | None = None,
    handshake_timeout: float | None = None,
    shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
) -> tuple[Any, Any]:
    """As `dial`, by way of ``await proxy.create_connection(protocol_factory, host, port, nursery=nursery)``.

    TLS, where the endpoint has it, is spoken with the target, through the proxy. What the proxy raises comes out as
    it is.

    Raises:
        ValueError: *endpoint* is no place in a network.
    """
    if not isinstance(endpoint, TCP):
        raise ValueError(f"a proxy takes TCP endpoints only, not {endpoint}")
    secure = _securing(host, endpoint, proxy, handshake_timeout, shutdown_timeout)
    with trio.move_on_after(inf if timeout is None else timeout) as limit:
        if secure is None:
            connected: tuple[Any, Any] = await proxy.create_connection(
                partial(host.make, protocol_factory), endpoint.host, endpoint.port, nursery=host.nursery
            )
            return connected
        upper = host.make(protocol_factory)

        async def connect(lower: Any) -> object:
            made: object = await proxy.create_connection(
                lambda: lower, endpoint.host, endpoint.port, nursery=host.nursery
            )
            return made

        return await secure(upper, connect=connect), upper
    assert limit.cancelled_caught
    raise TimeoutError(errno.ETIMEDOUT, f"{trying(endpoint, proxy)} within {timeout:g} s")


def _securing(
    host: TrioHost, endpoint: StreamEndpoint, proxy: Any, handshake_timeout: float | None, shutdown_timeout: float
) -> Callable[..., Awaitable[Any]] | None:
    if endpoint.tls is None:
        return None
    from tieline.runtimes.tls.layer import TLSLayer, secured  # lazily: only connections with TLS need it

    return securing(partial(secured, host, TLSLayer), endpoint, proxy, handshake_timeout, shutdown_timeout)


async def _transport(
    host: TrioHost,
    protocol_factory: Callable[[], Any],
    sock: socket.socket,
    secure: Callable[..., Awaitable[Any]] | None,
    route: Route | None,
) -> tuple[Any, Any]:
    """Make a transport of *sock*, which leads to its peer by *route*."""
    try:
        await trio.lowlevel.checkpoint_if_cancelled()  # from here on there is a connection, and whoever asked has it
        protocol = host.make(protocol_factory)
    except BaseException:
        sock.close()
        raise

    async def connect(lower: Any) -> StreamTransport:
        transport = StreamTransport(host, sock, lower)
        if route is not None:
            from tieline.runtimes.tunnelling import tell_target  # lazily: for those who use proxies alone

            tell_target(transport, route)
        transport.start()
        return transport

    return await (connect(protocol) if secure is None else secure(protocol, connect=connect)), protocol


async def _attempt(address: Address, local: Sequence[Address]) -> socket.socket:
    """Return a socket connected to *address*; its OSError names the address."""
    sock = tcp_sockets.dialling_socket(address, local)
    try:
        if tcp_sockets.begin_to_connect(sock, address):
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await wait_writable(sock)
            tcp_sockets.check_connected(sock)
    except OSError as exc:
        sock.close()
        raise attempt_error(exc, address) from exc
    except BaseException:
        sock.close()
        raise
    return sock


class _Race:
    """Attempts side by side; the first that succeeds ends all others."""

    def __init__(self, attempts: Attempts, local: Sequence[Address], failures: list[OSError]) -> None:
        self._attempts = attempts
        self._local = local
        self._failures = failures
        self._running = 0
        self._winner: socket.socket | None = None
        self._changed = trio.Event()

    async def run(self) -> socket.socket | None:
        """Return the first connected socket, or None if all attempts failed; when it returns, no other one is left."""
        try:
            async with trio.open_nursery() as nursery:
                await self._start_when_due(nursery)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:  # a nursery wraps whatever it is given: here, being cancelled
            self._drop()
            raise group.exceptions[0] from None
        except BaseException:
            self._drop()
            raise
        return self._winner

    def _drop(self) -> None:
        if self._winner is not None:
            self._winner.close()

    async def _start_when_due(self, nursery: trio.Nursery) -> None:
        attempts = self._attempts
        while self._winner is None:
            address = attempts.due(trio.current_time())
            if address is not None:
                self._running += 1
                nursery.start_soon(self._try, address, name=f"tieline dials {address}")
            elif not self._running:
                return
            deadline = attempts.deadline
            self._changed = trio.Event()
            with trio.move_on_at(inf if deadline is None else deadline):
                await self._changed.wait()

    async def _try(self, address: Address) -> None:
        try:
            sock = await _attempt(address, self._local)
        except OSError as exc:  # caught here: out of a nursery it would come in a group
            self._failures.append(exc)
            self._attempts.failed(trio.current_time())
        else:
            if self._winner is None:
                self._winner = sock
            else:
                sock.close()
        finally:
            self._running -= 1
            self._changed.set()


async def _race(
    addresses: list[Address], delay: float | None, local: Sequence[Address], failures: list[OSError]
) -> socket.socket | None:
    attempts = Attempts(addresses, delay=delay, now=trio.current_time())
    return await _Race(attempts, local, failures).run()


async def _talk(sock: socket.socket, dialogue: Dialogue[Any]) -> Any:
    from tieline.runtimes.trio.tunnels import talk  # lazily: for those who use proxies alone

    return await talk(sock, dialogue)


CONNECTOR: Final = Connector(trio.sleep, resolve, _talk, _attempt, _race)
