# SPDX-License-Identifier: MIT
"""Servers: listening, and a session for each connection that comes."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.secured import TLSChoice, endpoint_with_tls
from tieline.endpoints.tcp import TCP
from tieline.endpoints.tls import check_tls_to_serve
from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.rpc.core import SessionCore
from tieline.rpc.life import SessionLife
from tieline.rpc.methods import Methods
from tieline.rpc.outcomes import FailureLog
from tieline.rpc.session import SessionBase
from tieline.rpc.session_classes import Caller
from tieline.runtimes.admission import Admission
from tieline.runtimes.detect import current_backend
from tieline.runtimes.fatal import fatal_in
from tieline.runtimes.serving import Serving
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.limits import Limits, checked_limits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.admission import GroupCost
    from tieline.runtimes.backend import AsyncBackend, Listener
    from tieline.runtimes.hooks import Hooks

__all__ = ["Served", "Server", "ServerSession", "check_class"]


class Served:
    """The part of a session that a server has accepted."""

    __slots__ = ()

    _server: Any

    @property
    def server(self) -> Server | None:
        """The server that accepted this session; None if no server did."""
        server: Server | None = self._server
        return server

    @server.setter
    def server(self, server: Server | None) -> None:
        self._server = server


class ServerSession(Served, SessionBase):
    """A JSON-RPC session that a server accepted: one per connection.

    Annotate a parameter of a handler with it (``session: tieline.ServerSession``) to receive the calling session.
    Derive from it to keep state per session, and pass the class to `serve`.
    """

    __slots__ = ()


class Server(Serving):
    """Listens, and creates a session for each connection; an async context manager that listens and shuts down.

    `serve` creates one from a registry of methods and a URL.

    Args:
        protocol_factory: A callable without arguments that returns a session, or any other asyncio-style protocol.
            Called once per connection.
        host: A host name or address, several of them, None (all interfaces); or, without *port*, an endpoint or a URL.
        port: The TCP port; 0 = the system chooses.
        loop: None, or the running asyncio loop.
        sock: A bound stream socket to listen on, in place of *host* and *port*; the server owns it once it listens.
        ssl: How connections are encrypted: an ``ssl.SSLContext`` or a `TLS` value, with a certificate; None = not at
            all.
        limits: Limits for all connections together: their number in total, per peer and during the handshake, and the
            duration of a handshake; None = the defaults. Sessions have their own. Only connections that get a session
            are counted and refused; a factory of other protocols must do that itself.
        hooks: `Hooks` that are called for what happens on the server, or a list of them; None = none.
        kwargs: Further settings of the TCP endpoint: family, proto, flags, reuse_port, backlog.

    Attributes:
        endpoint: Where it is to listen.
        host: The host or hosts of a TCP endpoint; None = all interfaces, or another kind of endpoint.
        port: The port of a TCP endpoint, as it was given; None for another kind of endpoint.
        loop: The loop that was given; None = the running one.
        sessions: The sessions that are connected.
        limits: The limits for all connections together.

    Raises:
        ValueError: The endpoint is invalid or given twice, or TLS has no certificate.
        TypeError: An argument has the wrong type.
    """

    _coming: WeakSet[Any]  # sessions that are made, and without a connection yet, or turned away

    def __init__(
        self,
        protocol_factory: Callable[[], Any],
        host: str | list[str] | tuple[str, ...] | Endpoint | None = None,
        port: int | None = None,
        *,
        loop: object = None,
        sock: socket.socket | None = None,
        ssl: TLSChoice = None,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
        **kwargs: Any,
    ) -> None:
        if not callable(protocol_factory):
            raise TypeError(f"protocol_factory must be callable, not {type(protocol_factory).__name__}")
        if isinstance(protocol_factory, type):
            check_class(protocol_factory)
        self.endpoint = endpoint_with_tls(_endpoint(host, port, sock, kwargs), ssl, "ssl")
        check_tls_to_serve(self.endpoint.tls)
        if isinstance(self.endpoint, Command):
            raise ValueError(f"cannot listen on {self.endpoint}: a child process can only be connected to")
        tcp = self.endpoint if isinstance(self.endpoint, TCP) and sock is None else None
        self.host = None if tcp is None else tcp.host
        self.port = None if tcp is None else tcp.port
        self.loop = loop
        self.sessions: set[Any] = set()
        super().__init__(self.sessions, WeakSet())
        self.limits = checked_limits(limits)
        self._admission = Admission(self.limits)
        if hooks is not None:
            from tieline.runtimes.hooks import checked_hooks  # lazily: few servers have such

            self._admission.hooks = checked_hooks(hooks)
        for each in self._admission.hooks:
            try:
                each.server_made(self)
            except Exception:
                self._log.exception("the hook server_made failed")
        self._factory = protocol_factory
        self._failure_log = FailureLog()
        self._sock = sock
        self._takes_sock = sock is not None
        self._backend: AsyncBackend | None = None  # from when it listens on
        self._is_shut_down = False

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.get_addresses()))
        state = (
            f"{addresses} listening, {len(self.sessions)} sessions" if addresses else f"{self.endpoint} not listening"
        )
        return f"<{type(self).__name__} {state}>"

    @property
    def _log(self) -> logging.Logger:
        return logging.getLogger(f"tieline.{type(self).__name__}")

    # --- listening -----------------------------------------------------------------------------------------------

    async def listen(self, *, nursery: object = None) -> Listener:
        """Start to listen, and return the listener. Cancelling leaves nothing behind.

        Args:
            nursery: On trio, the nursery for the server, its sessions and their handlers: it does not end before they
                do, and cancelling it aborts them all. (``async with`` brings its own.) None elsewhere.

        Raises:
            OSError: The address cannot be used.
            ClosedError: The server was closed meanwhile.
            LocalProtocolError: It is listening already; or on trio, *nursery* is missing or closed.
        """
        current_backend().check_loop(self.loop)
        await self._listen(nursery)
        listener: Listener = self._listener
        if isinstance(self.endpoint, Stdio):
            cast("Any", listener).on_ended = self.close  # there is one connection, and never another
        return listener

    def _check_can_open(self) -> None:
        if self._takes_sock and self._sock is None:
            raise LocalProtocolError("the socket that was given has been used: make a new server")

    async def _open(self, backend: AsyncBackend, nursery: object) -> Listener:
        sock, self._sock = self._sock, None
        self._backend = backend
        return await backend.listen(self._make_protocol, self.endpoint, sock=sock, limits=self.limits, nursery=nursery)

    def _set_ending(self, is_ending: bool) -> None:
        self._is_shut_down = is_ending

    @property
    def server(self) -> Listener | None:
        """The listener; None while the server is not listening."""
        listener: Listener | None = self._listener
        return listener

    def _make_protocol(self) -> Any:
        """Return the protocol of a connection that was accepted."""
        if self._is_shut_down:  # accepted by the system in time, and no more
            return _Refusal()
        try:
            protocol: object = self._factory()
            kind: Any = type(protocol)  # mypy takes classes for unhashable
            _check_identity(kind)
            if isinstance(protocol, Served):
                protocol.server = self
            if isinstance(protocol, SessionLife):
                protocol.failure_log = self._failure_log  # a peer that reconnects must not get another allowance
                protocol.use_framing_of(self.endpoint)
                self._coming.add(protocol)
                is_own = isinstance(self.endpoint, Stdio)  # who has started this program is no stranger
                link = protocol.new_link(
                    accepted=not is_own,
                    backend=self._backend,
                    sessions=self.sessions,
                    coming=self._coming,
                    admission=self._admission,
                )
                if is_own and isinstance(link.machine, Connection):
                    link.machine.bears_events = False  # but calls us: what is no call is told so
                return link
            if not hasattr(protocol, "connection_made"):
                raise TypeError(f"the protocol factory returned no protocol, but {type(protocol).__name__}")
        except BaseException as exc:
            if fatal_in(exc) is not None:  # for whoever accepts, who lets it end the program
                raise
            # Not left to the loop, which would say nothing and leave the connection open.
            self._log.exception("a connection could not be served")
            return _Refusal()
        return protocol

    def get_addresses(self) -> tuple[Endpoint, ...]:
        """Return where the server actually listens, one endpoint per socket; empty when it is not listening."""
        return super().get_addresses()

    async def wait_closed(self) -> None:
        """Wait until the server has stopped listening. Sessions are not waited for."""
        if self.server is not None:
            await self.server.wait_closed()

    # --- sessions ------------------------------------------------------------------------------------------------

    def costs(self) -> list[GroupCost]:
        """Return what each group of peers has cost, the most expensive first; see `Governance`. It changes nothing."""
        return [] if self._host is None else self._admission.costs(self._host.now())

    async def broadcast(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a notification to every session that is not closing. Message sessions are skipped.

        Sessions with room in their send buffers get it at once; then the slow ones are waited for, one after another
        (each for at most `Limits.write_timeout`, after which it is closed). A client that only listens should make a
        call or send a notification first: one that never sends a valid message is closed by `Limits.idle_timeout`.

        A session to which it cannot be sent (for instance, its protocol has no arguments by name) does not keep it from
        the others: the first such error is raised once all of them have it. The errors are those of
        `SessionBase.notify` for a message that cannot be sent.
        """
        if args and kwargs:
            raise TypeError("give the arguments by position or by name, not both: JSON-RPC has no way to say both")
        slow: list[SessionBase] = []
        problem: Exception | None = None
        for session in [one for one in self.sessions if isinstance(one, SessionBase)]:
            try:
                if not session.has_room():
                    slow.append(session)
                elif not session.is_closing():
                    session.send_notification(method, kwargs or args)
            except Exception as exc:
                problem = problem or exc
        for session in slow:
            try:
                await session.notify(method, *args, **kwargs)
            except (ConnectionLost, ClosedError):
                continue
            except Exception as exc:
                problem = problem or exc
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame


class _Refusal:
    """The protocol of a connection that cannot be served: closes it."""

    def connection_made(self, transport: Any) -> None:
        transport.abort()

    def connection_lost(self, error: BaseException | None) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@lru_cache(maxsize=64)  # each connection asks, and few classes are in use
def _check_identity(kind: type[object]) -> None:
    """Refuse a class of sessions that may equal others.

    Raises:
        TypeError: It is one.
    """
    is_equal_to_itself_alone = kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__
    if issubclass(kind, SessionLife) and not is_equal_to_itself_alone:
        raise TypeError(
            f"sessions are compared by identity: {kind.__name__} must define neither __eq__ nor "
            "__hash__ (a dataclass is declared with eq=False)"
        )


def check_class(kind: Any) -> None:  # mypy takes classes for unhashable
    """Refuse a class that serves no connection: each of them would fail.

    Raises:
        TypeError: It is one.
    """
    _check_identity(kind)
    if issubclass(kind, Methods):
        raise TypeError(f"{kind.__name__} is the class of a registry: did you mean {kind.__name__}()?")
    reason = ""
    dials = hasattr(kind, "create_connection")
    if issubclass(kind, SessionLife):
        reason = "it dials" if dials and not issubclass(kind, Served) else ""
    elif issubclass(kind, Caller | SessionCore):
        reason = "it is one of blocking code"
    if reason:
        raise TypeError(
            f"{kind.__name__} is no class for the sessions of a server ({reason}): derive it from "
            "tieline.ServerSession or tieline.MessageSession"
        )


def _endpoint(host: Any, port: int | None, sock: socket.socket | None, settings: dict[str, Any]) -> str | Endpoint:
    """Return the endpoint, or the URL of it, that a server's arguments mean."""
    if sock is not None:
        if host is not None or port is not None:
            raise ValueError("sock excludes host and port: it is bound already")
        return TCP(None, 0, **settings)
    if port is not None:
        return TCP(host, port, **settings)
    if host is None:
        raise ValueError("a port, an endpoint, a URL or sock must be given")
    if settings:
        raise TypeError(f"{', '.join(settings)}: settings go into the endpoint itself when one is given")
    return cast("str | Endpoint", host)
