# SPDX-License-Identifier: MIT
"""From an endpoint to a connected socket: what is the same on all runtimes.

What is tried when, and what the failures amount to, is decided in ``wire.addresses``; how a socket is waited for, and
how several are raced, is each runtime's own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, assert_never, cast

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.runtimes import tcp_sockets
from tieline.wire.addresses import combined_error, interleaved, named
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.wire.addresses import Address
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["Connector", "prepare", "securing", "trying"]

ResultT = TypeVar("ResultT")


def prepare(sock: socket.socket) -> None:
    """Give a socket that somebody else made what those that are dialled have.

    Raises:
        ValueError: It is no stream socket, or one that listens.
    """
    tcp_sockets.take_given(sock)
    sock.setblocking(False)


def trying(endpoint: object, proxy: Any = None) -> str:
    """Return what errors say of connecting to *endpoint*, by *proxy* if there is one: a `Route`, or one of users' own.

    Of that it is the class alone: no text of it is known to hold no secret.
    """
    if proxy is None:
        return f"cannot connect to {endpoint}"
    from tieline.endpoints.proxies import Route  # lazily: for those who use proxies alone

    return f"cannot connect to {endpoint} through {proxy if isinstance(proxy, Route) else type(proxy).__name__}"


def securing(
    secured: Callable[..., ResultT],
    endpoint: StreamEndpoint,
    proxy: Any,
    handshake_timeout: float | None,
    shutdown_timeout: float,
) -> Callable[..., ResultT]:
    """Return *secured*, which puts TLS on a transport, with the settings of *endpoint*, which has TLS.

    *proxy* is what leads there, for errors; None = nothing.

    To be called before any I/O: a file that is wrong is no fault of the connection.
    """
    assert endpoint.tls is not None
    host = endpoint.host if isinstance(endpoint, TCP) else None
    return partial(
        secured,
        context=endpoint.tls.client_context(),
        server_hostname=endpoint.tls.name_for(host if isinstance(host, str) else None),
        what=trying(endpoint, proxy),
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
    )


@dataclass(frozen=True, slots=True)
class Connector:
    """How a runtime connects sockets. Cancelled at any point, none is left open.

    Attributes:
        sleep: Lets so many seconds pass.
        resolve: Looks up a host and a port; see `resolve_by`.
        talk: Has a dialogue with a proxy on a socket, and returns its result. What follows the proxy's last reply stays
            in the socket.
        attempt: Returns a socket connected to an address, bound to one of others; its OSError names the address.
        race: Returns the first socket that is connected to one of several addresses, tried one behind the other with
            a delay in seconds; None when all have failed, which it adds to the failures.
    """

    sleep: Callable[[float], Awaitable[object]]
    resolve: Callable[..., Awaitable[list[Address]]]
    talk: Callable[[socket.socket, Dialogue[Any]], Awaitable[Any]]
    attempt: Callable[[Address, Sequence[Address]], Awaitable[socket.socket]]
    race: Callable[[list[Address], float | None, Sequence[Address], list[OSError]], Awaitable[socket.socket | None]]

    def connect(self, endpoint: StreamEndpoint, failures: list[OSError]) -> Coroutine[Any, Any, socket.socket]:
        """Connect a socket, and return it; *failures* collects what went wrong on the way, for whoever stops waiting.

        Raises:
            OSError: Nobody there, or no way to get there.
            ValueError: *endpoint* can only be listened on, or is no socket.
        """
        match endpoint:
            case TCP():
                return self._connect_tcp(endpoint, failures)
            case UnixStream():
                return self._connect_unix(endpoint, failures)
            case Command() | Stdio():
                raise ValueError(f"{endpoint} is not a socket to connect to")
            case _:
                assert_never(endpoint)

    def connect_by(
        self, route: Route | None, endpoint: StreamEndpoint, failures: list[OSError]
    ) -> Coroutine[Any, Any, socket.socket]:
        """As `connect`, through the proxies of *route* if there is one.

        Raises:
            OSError: No way to get there: a `SOCKSError`, an `HTTPConnectError`, or as of `connect`.
            ValueError: The proxies cannot be asked for *endpoint*; nothing was sent.
        """
        return self.connect(endpoint, failures) if route is None else self._by(route, cast("TCP", endpoint), failures)

    async def converse(self, endpoint: StreamEndpoint, dialogue: Dialogue[Any]) -> Any:
        """Have *dialogue* on a connection to *endpoint* of its own, and return its result."""
        sock = await self.connect(endpoint, [])
        try:
            return await self.talk(sock, dialogue)
        finally:
            sock.close()

    async def _by(self, route: Route, endpoint: TCP, failures: list[OSError]) -> socket.socket:
        host, port = route.place(endpoint)
        if not route.resolves:
            return await self._to(host, port, route, endpoint, failures)
        errors: list[OSError] = []
        for address in await self._look_up(endpoint, host, port):
            failures.clear()  # what is in it, `connect` takes for its own
            try:
                return await self._to(*address.sockaddr[:2], route, endpoint, failures)
            except OSError as exc:
                errors.append(exc)
            except ValueError as exc:  # the protocol has no such addresses, but the next one may be of another family
                errors.append(OSError(str(exc)))
            except BaseException:
                failures[:0] = errors
                raise
        try:
            raise errors[0] if len(errors) == 1 else combined_error(errors, f"cannot connect to {endpoint}")
        finally:
            errors.clear()  # their frames know it: else only the garbage collector would find them

    async def _to(self, host: str, port: int, route: Route, endpoint: TCP, failures: list[OSError]) -> socket.socket:
        """Return a socket that leads to *endpoint* by *route*, whose proxies know it as *host* and *port*."""
        dialogues = route.dialogues(host, port)
        try:
            sock = await self.connect(route.first(endpoint), failures)
            try:
                for dialogue in dialogues:
                    await self.talk(sock, dialogue)
                route.note(host, port, sock.getpeername())
            except BaseException:
                sock.close()
                raise
        except OSError as exc:
            raise named(exc, f"cannot connect to {endpoint} through {route}") from exc
        return sock

    async def _connect_unix(self, endpoint: UnixStream, failures: list[OSError]) -> socket.socket:
        from tieline.runtimes import unix_paths  # lazily: its rules for socket files are for Unix sockets alone

        sock = unix_paths.dialling_socket(endpoint)
        try:
            for pause in unix_paths.connecting(sock, endpoint, failures):
                await self.sleep(pause)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _connect_tcp(self, endpoint: TCP, failures: list[OSError]) -> socket.socket:
        host, port = endpoint.host, endpoint.port
        if not isinstance(host, str) or port == 0:
            raise ValueError(f"can only listen on {endpoint}, not connect to it: that takes one host and a port over 0")
        numeric = tcp_sockets.numeric_address(host, port, family=endpoint.family, proto=endpoint.proto)
        found = [numeric] if numeric is not None else await self._look_up(endpoint, host, port)
        local = await self._local(endpoint)
        if len(found) == 1:
            # The usual case on a local network needs no race, and so no task.
            try:
                return await self.attempt(found[0], local)
            except OSError as exc:
                failures.append(exc)
        else:
            ordered = interleaved(found, endpoint.interleave)
            sock = await self.race(ordered, endpoint.happy_eyeballs_delay, local, failures)
            if sock is not None:
                return sock
        try:
            raise combined_error(failures, f"cannot connect to {endpoint}")
        finally:
            failures.clear()  # their frames know it: else only the garbage collector would find them

    async def _local(self, endpoint: TCP) -> list[Address]:
        if endpoint.local_addr is None:
            return []
        host, port = endpoint.local_addr
        if not host:
            return tcp_sockets.any_addresses(port, family=endpoint.family, proto=endpoint.proto)
        return await self._look_up(endpoint, host, port)

    def _look_up(self, endpoint: TCP, host: str, port: int) -> Awaitable[list[Address]]:
        return self.resolve(host, port, family=endpoint.family, proto=endpoint.proto, flags=endpoint.flags)
