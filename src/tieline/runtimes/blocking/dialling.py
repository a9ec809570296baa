# SPDX-License-Identifier: MIT
"""Dialling in blocking code: from an endpoint to a connected transport, under one deadline.

What is tried when, and what the failures amount to, is decided in ``wire.addresses``. This file only races, by one
thread that waits for all attempts at once.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tieline.endpoints.command import Command
from tieline.runtimes import tcp_sockets
from tieline.runtimes.blocking.sockets import at_once, resolve
from tieline.runtimes.blocking.transport import SocketTransport
from tieline.runtimes.connecting import Connector, securing, trying
from tieline.wire.addresses import (
    Attempts,
    Late,
    attempt_error,
    combined_error,
    named,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.endpoints.urls import StreamEndpoint
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.tls.records import Context
    from tieline.wire.addresses import Address
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["connector", "dial"]

_Protocol = TypeVar("_Protocol")

# It needs no descriptor; what most often needs not wait at all has no use for a quicker one. Windows has no poll.
_Selector: Final[type[selectors.BaseSelector]] = getattr(selectors, "PollSelector", selectors.SelectSelector)


def dial(
    protocol_factory: Callable[[], _Protocol],
    endpoint: StreamEndpoint,
    host: BlockingHost,
    *,
    timeout: float | None,
    sock: socket.socket | None = None,
    route: Any = None,
    handshake_timeout: float | None = None,
    shutdown_timeout: float,
) -> tuple[Any, _Protocol]:
    """Connect to *endpoint*, make the protocol, and return both ends of the bargain after `connection_made`.

    With a *route*, a `Route` or an object that connects sockets by itself (see `connected_by`), it is connected to
    through proxies, and TLS is spoken with *endpoint* itself. With *sock*, a connected stream socket, nothing is
    dialled and *endpoint* only lends its TLS, and its name to errors. The socket is ours from the call on, also when
    the call fails. *timeout* covers every attempt, the dialogues with proxies and the TLS handshake; the look-up of the
    name counts, and cannot be interrupted. *handshake_timeout* is for the TLS handshake alone. *host* moves the
    connection from then on.

    When it is interrupted, no socket is left behind.

    Raises:
        TimeoutError: Not within *timeout* seconds; the attempts that had failed by then are its cause.
        OSError: Nobody there, or no way to get there. The class is the one that all attempts have in common
            (ConnectionRefusedError: every address refused); `__cause__` has them all. `socket.gaierror` is one: no
            such host; ``ssl.SSLCertVerificationError`` is another: somebody is there, but not whom we trust. Files of
            the TLS settings that cannot be read are told before anything is dialled. An exception of
            *protocol_factory* comes out as it is.
        ValueError: *endpoint* can only be listened on, or its TLS settings do not hold what they should.
    """
    if isinstance(endpoint, Command) and sock is None and route is None:
        from tieline.runtimes.blocking.pipes import run_command  # lazily: for those who start children alone

        return run_command(host, protocol_factory, endpoint)
    deadline = inf if timeout is None else time.monotonic() + timeout
    failures: list[OSError] = []
    try:
        secure: Callable[..., Any] | None = None
        if endpoint.tls is not None:
            secure = securing(_secured, endpoint, route, handshake_timeout, shutdown_timeout)
        if sock is None:
            sock = (
                at_once(connector(deadline).connect(endpoint, failures))
                if route is None
                else _routed(route, endpoint, failures, deadline)
            )
        else:
            tcp_sockets.take_given(sock)
        ours, sock = sock, None
        protocol = _new_protocol(protocol_factory, ours)
        if secure is None:
            return _give(ours, protocol, host, route), protocol
        return secure(protocol, sock=ours, host=host, deadline=deadline, route=route), protocol
    except Late:
        text = f"{trying(endpoint, route)} within {timeout:g} s"
        raise TimeoutError(errno.ETIMEDOUT, text) from (combined_error(failures, text) if failures else None)
    finally:
        failures.clear()  # their frames know it: else only the garbage collector would find them
        if sock is not None:
            sock.close()


def _new_protocol(protocol_factory: Callable[[], _Protocol], sock: socket.socket) -> _Protocol:
    try:
        return protocol_factory()
    except BaseException:
        sock.close()
        raise


def _give(sock: socket.socket, protocol: Any, host: BlockingHost, route: Any) -> SocketTransport:
    """Hand *sock*, which leads to its peer by *route*, to *host*, and tell the protocol."""
    try:
        host.transport = transport = SocketTransport(sock, protocol, host)
        if route is not None:
            from tieline.runtimes.tunnelling import tell_target  # lazily: for those who use proxies alone

            tell_target(transport, route)
    except BaseException:
        sock.close()
        raise
    try:
        host.do(protocol.connection_made, transport)
    except BaseException as exc:
        host.do(transport.fail, exc)
        raise
    return transport


def _secured(
    protocol: Any,
    *,
    sock: socket.socket,
    host: BlockingHost,
    deadline: float,
    route: Any,
    what: str,
    context: Context,
    **settings: Any,
) -> Any:
    """Speak TLS on *sock*, and return the layer when the handshake is done.

    *what* is the beginning of the text of errors, *settings* are those of `TLSLayer.of`.
    """
    from tieline.runtimes.tls.layer import TLSLayer  # lazily: only connections with TLS need it

    waiter = host.new_waiter()

    def settle(error: BaseException | None) -> bool:
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(named(error, what) if isinstance(error, OSError) else error)
        return True

    try:
        layer = TLSLayer.of(protocol, host, context, on_handshake=settle, **settings)
    except BaseException:
        sock.close()
        raise
    _give(sock, layer, host, route)
    try:
        if not host.wait(waiter, deadline):
            raise Late
        waiter.result()
    except BaseException:
        host.do(layer.abort)
        raise
    return layer


# --- sockets ---------------------------------------------------------------------------------------------------------


def connector(deadline: float) -> Connector:
    """Return how sockets are connected before *deadline*, by coroutines that wait by blocking: see `at_once`.

    They raise `Late` when it has come.
    """

    async def sleep(seconds: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Late
        time.sleep(min(seconds, left))  # noqa: ASYNC251  # it waits by blocking

    async def attempt(address: Address, local: Sequence[Address]) -> socket.socket:
        failures: list[OSError] = []
        sock = await race([address], None, local, failures)
        if sock is None:
            raise failures.pop()
        return sock

    async def race(
        addresses: list[Address], delay: float | None, local: Sequence[Address], failures: list[OSError]
    ) -> socket.socket | None:
        attempts = Attempts(addresses, delay=delay, now=time.monotonic())
        with _Selector() as selector:
            try:
                return _race(attempts, local, failures, deadline, selector)
            finally:
                for key in list(selector.get_map().values()):  # the losers
                    cast("socket.socket", key.fileobj).close()

    async def talk(sock: socket.socket, dialogue: Dialogue[Any]) -> Any:
        from tieline.runtimes.blocking import tunnels  # lazily: for those who use proxies alone

        return tunnels.talk(sock, dialogue, deadline)

    return Connector(sleep, resolve, talk, attempt, race)


def _routed(route: Any, endpoint: StreamEndpoint, failures: list[OSError], deadline: float) -> socket.socket:
    from tieline.endpoints.proxies import Route  # lazily: for those who use proxies alone

    if isinstance(route, Route):
        return at_once(connector(deadline).connect_by(route, endpoint, failures))
    from tieline.runtimes.blocking.own_proxies import connected_by  # lazily: few make their own

    return connected_by(route, endpoint, deadline)


def _race(
    attempts: Attempts,
    local: Sequence[Address],
    failures: list[OSError],
    deadline: float,
    selector: selectors.BaseSelector,
) -> socket.socket | None:
    """Start attempts when they are due, and return the first socket that is connected; None when all have failed.

    The others are those in *selector*.
    """
    while True:
        now = time.monotonic()
        address = attempts.due(now)
        if address is not None:
            try:
                sock = _begin(address, local, selector)
            except OSError as exc:
                failures.append(exc)
                attempts.failed(now)
                continue
            if sock is not None:
                return sock
        if now >= deadline:
            raise Late
        running = selector.get_map()
        if not running and attempts.deadline is None:
            return None
        until = min(deadline, inf if attempts.deadline is None else attempts.deadline)
        for key, _ in selector.select(None if until == inf else max(0.0, until - now)):
            connected = cast("socket.socket", key.fileobj)
            selector.unregister(connected)
            try:
                tcp_sockets.check_connected(connected)
            except OSError as exc:
                connected.close()
                failures.append(attempt_error(exc, key.data))
                attempts.failed(time.monotonic())
            else:
                return connected


def _begin(address: Address, local: Sequence[Address], selector: selectors.BaseSelector) -> socket.socket | None:
    """Begin an attempt, and put its socket into *selector*; return it instead when it is connected at once."""
    sock = tcp_sockets.dialling_socket(address, local)
    try:
        if not tcp_sockets.begin_to_connect(sock, address):
            selector.register(sock, selectors.EVENT_WRITE, address)
            return None
    except OSError as exc:
        sock.close()
        raise attempt_error(exc, address) from exc
    except BaseException:
        sock.close()
        raise
    return sock
