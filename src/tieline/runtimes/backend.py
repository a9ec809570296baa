# SPDX-License-Identifier: MIT
"""The ports above the hosts: what an engine needs, blocking code included, and what it takes to dial and to listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tieline.runtimes.tasks import TaskBackend

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints.datagrams import UDP
    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import Endpoint, StreamEndpoint
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.host import Host
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Machine, Sink
    from tieline.runtimes.stream_shapes import StreamCallback, Streams
    from tieline.runtimes.tls.records import Context
    from tieline.runtimes.websocket.layer import WebSocketLayer
    from tieline.wire.limits import Limits
    from tieline.wire.proxies.dialogue import Dialogue
    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["AsyncBackend", "Backend", "Listener", "MachineT", "Scope"]

MachineT = TypeVar("MachineT", bound="Machine")


class Scope(Protocol):
    """Where connections live on runtimes whose tasks live in nurseries; opened by `AsyncBackend.open_scope`."""

    @property
    def nursery(self) -> object:
        """What `AsyncBackend.dial` and `AsyncBackend.listen` are to be given."""
        ...

    async def leave(self, close: Callable[[], Awaitable[object]], error: BaseException | None) -> bool:
        """Leave the scope, in the task that opened it: *close* what lives there, and wait until nothing is left of it.

        What *close* leaves behind is cancelled, and all is when the caller is. What comes out is what
        ``__aexit__`` of a context manager is to raise or to return; not in a group, unless there are several.

        Args:
            close: Closes in order what lives in the scope.
            error: With what the body was left; None when it came to its end.
        """
        ...


class Listener(Protocol):
    """Listening sockets at work.

    The one of standard input and output has a settable ``on_ended`` besides: called when the only connection is gone.
    """

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        ...

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """Where they really listen."""
        ...

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        ...

    def start(self) -> None:
        """Accept connections from now on, those that wait already too; harmless when repeated, or after `close`."""

    def close(self) -> None:
        """Stop listening at once; connections that were accepted are left alone, or still made."""

    def abort_handshakes(self) -> None:
        """Cut the connections that are in their TLS handshake still."""

    async def wait_closed(self) -> None:
        """Wait until the listening sockets are closed. Does not wait for connections."""


class Backend(Protocol):
    """What the engine of a connection needs of its runtime, blocking code included."""

    def host(self) -> Host:
        """Return the host of the connection."""
        ...

    def new_link(self, machine: MachineT, sink: Sink, host: Any) -> Link[MachineT]:
        """Return a link for a transport of this runtime; *host* is one that `host` has returned."""
        ...

    def start_tls(
        self,
        link: Link[Any],
        context: Context,
        *,
        server_side: bool,
        server_hostname: str | None,
        handshake_timeout: float | None,
        shutdown_timeout: float,
        on_handshake: Callable[[BaseException | None], object],
    ) -> None:
        """Put TLS between *link* and its open transport, at once.

        What the link had to say is written before, in plain text; what it says from now on waits for the handshake.
        When that fails, the connection is lost.

        Args:
            link: The link. Nothing must have come that it has not handled: it came in plain text.
            context: An ``ssl.SSLContext``.
            server_side: Whether this side answers the handshake.
            server_hostname: The name that the server's certificate must be made out to; None = it is not matched.
            handshake_timeout: Seconds for the handshake; None = as long as it takes.
            shutdown_timeout: Seconds for the peer's part in closing TLS.
            on_handshake: Called once, with None when the handshake is done, or with the reason why there is none.

        Raises:
            ValueError: The context wants a name to match.
            OSError: The context is made for the other side.
        """


class AsyncBackend(Backend, TaskBackend, Protocol):
    """One asynchronous runtime."""

    def host(self, nursery: object = None) -> Host:
        """Return the host of the running loop.

        Where hosts belong to nurseries: that of *nursery*; None = of the connection that is being made.
        """
        ...

    def check_nursery(self, nursery: object) -> None:
        """Check what a user gave as ``nursery``: on trio one that connections can live in, elsewhere None.

        Raises:
            ValueError: There is one on asyncio.
            LocalProtocolError: There is none on trio.
            TypeError: It is none.
        """

    def check_loop(self, loop: object) -> None:
        """Check what a user gave as ``loop``: None, or on asyncio the running loop.

        Raises:
            ValueError: It is anything else.
        """

    def new_websocket_layer(self, upper: Any, filter_: WebSocketStream, **settings: Any) -> WebSocketLayer:
        """Return a layer for a transport of the running loop: *filter_* between that and the protocol *upper*.

        *settings* are those of `WebSocketLayer`.
        """
        ...

    async def open_scope(self) -> Scope | None:
        """Open a scope for what an ``async with`` is to own; None where tasks need none."""
        ...

    async def dial(
        self,
        protocol_factory: Callable[[], Any],
        endpoint: Endpoint,
        *,
        timeout: float | None,
        sock: socket.socket | None = None,
        proxy: Any = None,
        tls_handshake_timeout: float | None = None,
        tls_shutdown_timeout: float = 5.0,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        """Connect and return (transport, protocol), after ``connection_made``.

        Args:
            protocol_factory: Called without arguments once the connection stands.
            endpoint: Where to.
            timeout: Seconds for all of it; None = as long as it takes.
            sock: A connected stream socket to use instead of dialling; owned from the call on.
            proxy: The route through proxies, or some other object that dials in our place, by
                ``await proxy.create_connection(protocol_factory, host, port)``, on trio with *nursery* as well.
            tls_handshake_timeout: Seconds for the TLS handshake alone; None = those that *timeout* leaves.
            tls_shutdown_timeout: Seconds for the peer's part in closing TLS.
            nursery: On trio the nursery that the connection lives in; None elsewhere.

        Raises:
            OSError: Nobody there, or no way to get there, or nobody whom the endpoint's TLS settings trust.
            TimeoutError: Not within *timeout* seconds.
            ValueError: The proxies of a route cannot be asked for *endpoint*.
        """
        ...

    async def subprocess_exec(
        self, protocol_factory: Callable[[], Any], given: dict[str, Any], *, nursery: object = None
    ) -> tuple[Any, Any]:
        """Start a process with what `subprocess.Popen` takes; return its transport and the protocol.

        Raises:
            OSError: It cannot be started.
        """
        ...

    async def converse(self, endpoint: StreamEndpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
        """Connect to a proxy at *endpoint*, have *dialogue* with it, close, and return the result.

        Raises:
            OSError: Nobody there, or as `Dialogue.result`.
            TimeoutError: Not within *timeout* seconds; None = as long as it takes.
        """
        ...

    async def open_datagrams(
        self,
        protocol_factory: Callable[[], Any],
        asked: Asked,
        *,
        proxy: Route | None = None,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        """Open a socket of datagrams, and return (transport, protocol), after ``connection_made``.

        See `tieline.create_datagram_endpoint`.

        Args:
            protocol_factory: Called without arguments once there is a socket.
            asked: What is asked for; a socket in it is owned from the call on.
            proxy: The route through a SOCKS5 proxy.
            nursery: On trio the nursery that the transport lives in; None elsewhere.

        Raises:
            OSError: There is no such socket, or the proxy refuses.
        """
        ...

    async def bind_datagrams(self, endpoint: UDP) -> list[socket.socket]:
        """Return sockets at all addresses of *endpoint*, for `open_datagrams`; all, or none.

        Raises:
            ValueError: It is for connecting.
            OSError: There cannot be such sockets.
            UnsupportedOperation: As of `listen`.
        """
        ...

    async def connect_datagrams(self, asked: Asked, *, proxy: Route | None = None) -> ConnectedDatagrams:
        """Return a connected socket of datagrams that is read by whoever waits; it needs no nursery.

        Args:
            asked: What is asked for; a socket in it is owned from the call on.
            proxy: The route through a SOCKS5 proxy.

        Raises:
            OSError: There is no such socket, or the proxy refuses.
        """
        ...

    async def wait_socket(self, sock: socket.socket, *, writing: bool) -> None:
        """Wait until *sock*, which no transport has, can be written, or read."""

    async def stray_nursery(self) -> object:
        """Return what connections can live in that no scope owns: it ends with the run. None where tasks need none."""
        ...

    def call_from_anywhere(self, host: Any, fn: Callable[[], object]) -> None:
        """Call *fn* soon in the loop of *host*, not at all when that is over. For any thread."""

    async def upgrade(self, transport: Any, protocol: Any, **settings: Any) -> Any:
        """Put TLS between *transport*, which is open, and its *protocol*; return the new transport.

        That is when the handshake is done. When it fails, or is cancelled, the connection is lost, and *protocol* hears
        it. *settings* are those of `start_tls`, and ``what``, the beginning of the text of errors, and ``unread``, what
        has come that nobody has read, by default nothing.

        Raises:
            TypeError: *transport* is none of a stream, on this runtime.
            OSError: There is no handshake.
        """

    async def listen(
        self,
        protocol_factory: Callable[[], Any],
        endpoint: Endpoint,
        *,
        sock: socket.socket | None = None,
        limits: Limits | None = None,
        starts: bool = True,
        nursery: object = None,
    ) -> Listener:
        """Listen, and give each connection to a protocol of its own, behind the TLS handshake if there is one.

        *limits* bound the handshakes: see `Limits.max_handshakes` and its neighbours; None = the defaults. On trio
        the connections live in *nursery*. Unless it *starts*, connections wait until `Listener.start`.
        """
        ...

    def new_streams(self, limit: int, callback: StreamCallback | None = None, nursery: object = None) -> Streams:
        """Return a protocol for one connection, with a stream reader and writer.

        *limit* is that of the reader, in bytes. *callback* is called with both once the connection stands; what it
        fails with ends the connection and is reported as the runtime reports such things. On trio an async one runs in
        *nursery*.
        """
        ...

    def watch_termination(self, callback: Callable[[], object]) -> Callable[[], None] | None:
        """Call *callback* in the loop at each SIGTERM, until what is returned is called, once.

        None: nothing is watched, since the program handles or ignores the signal itself, or this is not its main
        thread, or the platform has no such thing.
        """
        ...
