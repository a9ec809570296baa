# SPDX-License-Identifier: MIT
"""Dialling on asyncio: from an endpoint to a connected transport, under one deadline.

Happy eyeballs are our own, because uvloop ignores the loop's parameters for them; what is tried when, and what the
failures amount to, is decided in ``wire.addresses``. This file only races.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tieline.endpoints.command import Command
from tieline.endpoints.tcp import TCP
from tieline.runtimes import tcp_sockets
from tieline.runtimes.asyncio.base_classes import made
from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.asyncio.introductions import Introduction
from tieline.runtimes.asyncio.sockets import CAN_WAIT, resolve, wait_ready
from tieline.runtimes.asyncio.streams import SelectorStream, started
from tieline.runtimes.asyncio.time_limits import TimeLimitOver, within
from tieline.runtimes.connecting import Connector, prepare, securing, trying
from tieline.runtimes.contract import OurProtocol
from tieline.wire.addresses import (
    Attempts,
    attempt_error,
    combined_error,
)
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.wire.addresses import Address
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["CONNECTOR", "converse", "dial", "dial_by_proxy"]

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


async def dial(
    protocol_factory: Callable[[], _Protocol],
    endpoint: StreamEndpoint,
    *,
    timeout: float | None = None,
    sock: socket.socket | None = None,
    route: Route | None = None,
    handshake_timeout: float | None = None,
    shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
) -> tuple[asyncio.Transport, _Protocol]:
    """Connect to *endpoint*, make the protocol, and return both ends of the bargain after `connection_made`.

    With a *route* it is connected to through proxies, and TLS is spoken with *endpoint* itself. With *sock*, a
    connected stream socket, nothing is dialled and *endpoint* only lends its TLS, and its name to errors. The socket is
    ours from the call on, also when the call fails. *timeout* covers everything: name look-up, every attempt, the
    dialogues with proxies, the loop's part, the TLS handshake. Without one, a Unix server that never accepts, or one
    that never shakes hands, is waited for for ever. *handshake_timeout* is for the TLS handshake alone, and
    *shutdown_timeout* for closing TLS: see `TLSLayer`.

    Cancelling leaves no socket and no task behind. A transport made in that moment is closed: its protocol then sees
    `connection_made` and `connection_lost`, or neither.

    Raises:
        TimeoutError: Not within *timeout* seconds; the attempts that had failed by then are its cause.
        OSError: Nobody there, or no way to get there. The class is the one that all attempts have in common
            (ConnectionRefusedError: every address refused); `__cause__` has them all. `socket.gaierror` is one: no
            such host; ``ssl.SSLCertVerificationError`` is another: somebody is there, but not whom we trust;
            `SOCKSError` and `HTTPConnectError` are of proxies. Files of the TLS settings that cannot be read are told
            before anything is dialled.
        Exception: What *protocol_factory* or ``connection_made`` raised, as it is; the connection is closed.
        ValueError: *endpoint* can only be listened on, or *sock* is no connected stream socket, or the TLS settings do
            not hold what they should, or the proxies cannot be asked for it.
    """
    if isinstance(endpoint, Command) and sock is None:
        from tieline.runtimes.asyncio.pipes import run_command  # lazily: for those who start children alone

        return await run_command(protocol_factory, endpoint)
    failures: list[OSError] = []
    try:
        secure = _securing(endpoint, route, handshake_timeout, shutdown_timeout)
        if sock is not None:
            prepare(sock)
        if timeout is not None and timeout <= 0:
            raise TimeoutError(errno.ETIMEDOUT, _too_late(endpoint, route, timeout))
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    try:
        if secure is None:
            # With a socket, nobody is waited for any more: the loop's part takes a turn, and a limit may take a timer.
            if sock is None:
                sock = await within(timeout, CONNECTOR.connect_by(route, endpoint, failures))
            connected = await _transport(protocol_factory, sock, None, route)
        else:
            connected = await within(timeout, _dial(protocol_factory, endpoint, failures, sock, route, secure))
    except TimeLimitOver:
        text = _too_late(endpoint, route, timeout)
        # The exception at hand is only asyncio's way of saying the same, so without failures there is no cause.
        raise TimeoutError(errno.ETIMEDOUT, text) from (combined_error(failures, text) if failures else None)
    finally:
        failures.clear()  # their frames know it: else only the garbage collector would find them
    try:
        host = current_host()
        if isinstance(connected[0], SelectorStream) and host.has_to_turn():
            await asyncio.sleep(0)
        if host.acceptors:
            # As the loops' own transports do: a server on the same loop has accepted by then.
            await asyncio.sleep(0)
    except BaseException:
        connected[0].abort()
        raise
    return connected


def _too_late(endpoint: StreamEndpoint, route: Route | None, timeout: float | None) -> str:
    return f"{trying(endpoint, route)} within {timeout:g} s"


async def _dial(
    protocol_factory: Callable[[], _Protocol],
    endpoint: StreamEndpoint,
    failures: list[OSError],
    sock: socket.socket | None,
    route: Route | None,
    secure: Callable[..., Awaitable[Any]],
) -> tuple[Any, _Protocol]:
    if sock is None:
        sock = await CONNECTOR.connect_by(route, endpoint, failures)
    return await _transport(protocol_factory, sock, secure, route)


async def converse(endpoint: StreamEndpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
    """Have *dialogue* on a connection to *endpoint* of its own, and return its result; see `AsyncBackend.converse`."""
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await CONNECTOR.converse(endpoint, dialogue)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(errno.ETIMEDOUT, f"no answer from {endpoint} within {timeout:g} s") from None


async def dial_by_proxy(
    protocol_factory: Callable[[], _Protocol],
    endpoint: StreamEndpoint,
    proxy: Any,
    *,
    timeout: float | None = None,
    handshake_timeout: float | None = None,
    shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
) -> tuple[asyncio.Transport, _Protocol]:
    """As `dial`, by way of ``await proxy.create_connection(protocol_factory, host, port)``.

    TLS, where the endpoint has it, is spoken with the target, through the proxy. What the proxy raises comes out as
    it is.

    Raises:
        ValueError: *endpoint* is no place in a network.
    """
    if not isinstance(endpoint, TCP):
        raise ValueError(f"a proxy takes TCP endpoints only, not {endpoint}")
    secure = _securing(endpoint, proxy, handshake_timeout, shutdown_timeout)
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            if secure is None:
                connected: tuple[Any, Any] = await proxy.create_connection(
                    partial(made, protocol_factory), endpoint.host, endpoint.port
                )
                return connected
            upper = made(protocol_factory)

            async def connect(lower: asyncio.BaseProtocol) -> object:
                connected: object = await proxy.create_connection(lambda: lower, endpoint.host, endpoint.port)
                return connected

            layer = await secure(upper, connect=connect)
            return cast("asyncio.Transport", layer), upper
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(errno.ETIMEDOUT, f"{trying(endpoint, proxy)} within {timeout:g} s") from None


def _securing(
    endpoint: StreamEndpoint, proxy: Any, handshake_timeout: float | None, shutdown_timeout: float
) -> Callable[..., Awaitable[Any]] | None:
    if endpoint.tls is None:
        return None
    from tieline.runtimes.asyncio.tls_layers import layer_class  # lazily: only connections with TLS need it
    from tieline.runtimes.tls.layer import secured

    return securing(
        partial(secured, current_host(), layer_class()), endpoint, proxy, handshake_timeout, shutdown_timeout
    )


async def _transport(
    protocol_factory: Callable[[], _Protocol],
    sock: socket.socket,
    secure: Callable[..., Awaitable[Any]] | None,
    route: Route | None,
) -> tuple[Any, _Protocol]:
    """Make a transport of *sock*, which leads to its peer by *route*, and the protocol for it."""
    tell: Callable[[Any], object] | None = None
    try:
        if route is not None:
            from tieline.runtimes.tunnelling import tell_target  # lazily: for those who use proxies alone

            tell = partial(tell_target, route=route)
        # Made here and not by the loop, which would leave the socket open when the factory fails.
        protocol = made(protocol_factory)
    except BaseException:
        sock.close()
        raise
    if secure is None:
        return started(sock, protocol, tell=tell) or await _given_to_loop(sock, protocol, tell), protocol

    async def connect(lower: Any) -> Any:
        return started(sock, lower, tell=tell) or await _given_to_loop(sock, lower, tell)

    return await secure(protocol, connect=connect), protocol


async def _given_to_loop(sock: socket.socket, protocol: Any, tell: Callable[[Any], object] | None) -> Any:
    """Return a transport of the loop's for *sock*; *tell* has been given it, and *protocol* has heard of it."""
    if isinstance(protocol, OurProtocol):
        transport = await _made_by_loop(sock, protocol)
        if tell is not None:
            tell(transport)
        return transport
    introduction = Introduction(protocol, tell=tell)
    transport = await _made_by_loop(sock, introduction)
    introduction.check()
    return transport


async def _made_by_loop(sock: socket.socket, protocol: Any) -> asyncio.Transport:
    # To a loop it is connected, by whomever: `create_connection` takes longer, and uvloop's takes the socket for its
    # own only at its end, when the descriptor may be somebody else's.
    loop = asyncio.get_running_loop()
    creating = loop.connect_accepted_socket(lambda: protocol, sock)
    try:
        if isinstance(loop, asyncio.BaseEventLoop):
            return (await creating)[0]
        return await _to_the_end(creating)
    except Exception:
        # Refused before there was a transport. One that was cancelled has a transport, which closes the descriptor
        # itself; doing so here as well could hit a descriptor that is somebody else's by now.
        sock.close()
        raise


async def _to_the_end(creating: Coroutine[Any, Any, tuple[asyncio.Transport, Any]]) -> asyncio.Transport:
    """Return the transport that *creating*, a coroutine of uvloop's, makes; cancelled, abort it.

    Were it cancelled itself behind `connection_made`, there would be no `connection_lost`.
    """
    # As in `attach`: it has made the transport, and waits for one future, which is done when `connection_made` is.
    known: asyncio.Future[None] = creating.send(None)

    def give_up(_known: object) -> None:
        try:
            _result(creating).abort()
        except RuntimeError:  # `connection_made` has closed it
            pass

    try:
        await asyncio.sleep(0)  # the loop was told to call `connection_made` before it was told to go on here
        if not known.done():
            await asyncio.wait([known])
    except BaseException:
        known.add_done_callback(give_up)
        raise
    return _result(creating)


def _result(creating: Coroutine[Any, Any, tuple[asyncio.Transport, Any]]) -> asyncio.Transport:
    try:
        creating.send(None)
    except StopIteration as done:
        transport: asyncio.Transport = done.value[0]
        return transport
    raise AssertionError("the loop waits for more than one future before a connection stands")


async def _attempt(address: Address, local: Sequence[Address]) -> socket.socket:
    """Return a socket connected to *address*; its OSError names the address."""
    sock = tcp_sockets.dialling_socket(address, local)
    try:
        if not CAN_WAIT:
            await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
            tcp_sockets.check_connected(sock)
        elif not tcp_sockets.begin_to_connect(sock, address):
            await wait_ready(sock.fileno(), writing=True)
            tcp_sockets.check_connected(sock)
    except OSError as exc:
        sock.close()
        raise attempt_error(exc, address) from exc
    except BaseException:
        sock.close()
        raise
    return sock


async def _race(
    addresses: list[Address], delay: float | None, local: Sequence[Address], failures: list[OSError]
) -> socket.socket | None:
    """Return the first connected socket, or None if all attempts failed; when it returns, no other one is left."""
    attempts = Attempts(addresses, delay=delay, now=asyncio.get_running_loop().time())
    tasks: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        winner = await _first(attempts, local, failures, tasks)
    finally:
        try:
            await _dismiss(task for task in tasks if task is not winner)
        except BaseException:
            if winner is not None:
                winner.result().close()
            raise
    return winner.result() if winner is not None else None


async def _first(
    attempts: Attempts, local: Sequence[Address], failures: list[OSError], tasks: list[asyncio.Task[socket.socket]]
) -> asyncio.Task[socket.socket] | None:
    """Start attempts when they are due, put all into *tasks*, and return the first that succeeds."""
    loop = asyncio.get_running_loop()
    seen: set[asyncio.Task[socket.socket]] = set()
    while True:
        address = attempts.due(loop.time())
        if address is not None:
            tasks.append(loop.create_task(_attempt(address, local), name=f"tieline dials {address}"))
        running = [task for task in tasks if task not in seen]
        if not running:
            return None
        pause = None if attempts.deadline is None else max(0.0, attempts.deadline - loop.time())
        await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        for task in running:  # in the order of their start, which a set would lose
            if not task.done():
                continue
            seen.add(task)
            error = task.exception()  # not raised here: it would know this frame, which knows its task
            if error is None:
                return task
            if not isinstance(error, OSError):
                raise error
            failures.append(error)
            attempts.failed(loop.time())


async def _dismiss(tasks: Iterable[asyncio.Task[socket.socket]]) -> None:
    """Cancel *tasks* and wait until they are gone.

    Cancelled itself, it returns earlier; the tasks still go, and a connection that one of them made in that very
    moment is still closed, since that hangs on the task.
    """
    pending: list[asyncio.Task[socket.socket]] = []
    for task in tasks:
        task.add_done_callback(_close_result)
        if task.cancel():
            pending.append(task)
    if pending:
        await asyncio.wait(pending)


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    # Asking for the exception also tells asyncio that it was not lost.
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _talk(sock: socket.socket, dialogue: Dialogue[Any]) -> Any:
    from tieline.runtimes.asyncio.tunnels import talk  # lazily: for those who use proxies alone

    return await talk(sock, dialogue)


CONNECTOR: Final = Connector(asyncio.sleep, resolve, _talk, _attempt, _race)
