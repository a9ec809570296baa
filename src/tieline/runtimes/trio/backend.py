# SPDX-License-Identifier: MIT
"""trio as a backend: see `tieline.runtimes.backend.AsyncBackend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import in_trio_task

from tieline.endpoints.websocket import WebSocket
from tieline.errors import LocalProtocolError
from tieline.runtimes.link import Link
from tieline.runtimes.trio.host import host_at_hand, host_of
from tieline.runtimes.trio.tasks import TrioTasks
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.datagrams import UDP
    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import Endpoint, StreamEndpoint
    from tieline.runtimes.backend import Listener, MachineT
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.ports import Sink
    from tieline.runtimes.stdio import StdioListener
    from tieline.runtimes.stream_shapes import StreamCallback
    from tieline.runtimes.tls.records import Context
    from tieline.runtimes.trio.host import TrioHost
    from tieline.runtimes.trio.readers import Streams
    from tieline.runtimes.trio.scope import Scope
    from tieline.runtimes.websocket.layer import WebSocketLayer
    from tieline.wire.limits import Limits
    from tieline.wire.proxies.dialogue import Dialogue
    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["BACKEND", "TrioBackend", "is_running"]


def is_running() -> bool:
    """Return whether the caller runs in a task of trio."""
    return in_trio_task()


class TrioBackend(TrioTasks):
    """trio. It has no state: one serves all runs."""

    name = "trio"

    def host(self, nursery: object = None) -> TrioHost:
        return host_at_hand() if nursery is None else host_of(_checked(nursery))

    def now(self) -> float:
        return trio.current_time()

    def check_nursery(self, nursery: object) -> None:
        _checked(nursery)

    def check_loop(self, loop: object) -> None:
        if loop is not None:
            raise ValueError("loop must be None: trio has none")

    def new_link(self, machine: MachineT, sink: Sink, host: TrioHost) -> Link[MachineT]:
        return Link(machine, sink, host)

    def new_websocket_layer(self, upper: Any, filter_: WebSocketStream, **settings: Any) -> WebSocketLayer:
        from tieline.runtimes.websocket.layer import WebSocketLayer  # lazily: for WebSockets alone

        return WebSocketLayer(upper, filter_, host_at_hand(), **settings)

    async def open_scope(self) -> Scope:
        from tieline.runtimes.trio.scope import open_scope  # lazily: whoever gives a nursery needs none

        return await open_scope()

    async def dial(
        self,
        protocol_factory: Callable[[], Any],
        endpoint: Endpoint,
        *,
        timeout: float | None,
        sock: socket.socket | None = None,
        proxy: Any = None,
        tls_handshake_timeout: float | None = None,
        tls_shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        if isinstance(endpoint, WebSocket):
            from tieline.runtimes.websocket import dialling as websockets  # lazily: for WebSockets alone

            return await websockets.dial(
                self,
                protocol_factory,
                endpoint,
                timeout=timeout,
                sock=sock,
                proxy=proxy,
                tls_handshake_timeout=tls_handshake_timeout,
                tls_shutdown_timeout=tls_shutdown_timeout,
                nursery=nursery,
            )
        from tieline.runtimes.trio import dialling  # lazily: servers only listen

        host = _host_in(nursery, sock)
        if proxy is not None:
            from tieline.endpoints.proxies import Route  # lazily: for those who use proxies alone

            if not isinstance(proxy, Route):
                return await dialling.dial_by_proxy(
                    host,
                    protocol_factory,
                    endpoint,
                    proxy,
                    timeout=timeout,
                    handshake_timeout=tls_handshake_timeout,
                    shutdown_timeout=tls_shutdown_timeout,
                )
        return await dialling.dial(
            host,
            protocol_factory,
            endpoint,
            timeout=timeout,
            sock=sock,
            route=proxy,
            handshake_timeout=tls_handshake_timeout,
            shutdown_timeout=tls_shutdown_timeout,
        )

    async def subprocess_exec(
        self, protocol_factory: Callable[[], Any], given: dict[str, Any], *, nursery: object = None
    ) -> tuple[Any, Any]:
        from tieline.runtimes.trio.processes import subprocess_exec  # lazily: for those who start processes alone

        return await subprocess_exec(host_of(_checked(nursery)), protocol_factory, given)

    async def converse(self, endpoint: StreamEndpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
        from tieline.runtimes.trio import dialling  # lazily, as above

        return await dialling.converse(endpoint, dialogue, timeout=timeout)

    async def open_datagrams(
        self,
        protocol_factory: Callable[[], Any],
        asked: Asked,
        *,
        proxy: Route | None = None,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        from tieline.runtimes.trio import datagrams  # lazily, as above

        host = _host_in(nursery, asked.sock)
        if proxy is None:
            return await datagrams.open_datagrams(host, protocol_factory, asked)
        from tieline.runtimes.trio.associations import associated  # lazily: for those who use proxies alone

        return await associated(host, protocol_factory, asked, proxy)

    async def bind_datagrams(self, endpoint: UDP) -> list[socket.socket]:
        from tieline.runtimes import datagram_sockets  # lazily, as above
        from tieline.runtimes.trio.sockets import resolve

        return await datagram_sockets.bound(endpoint, resolve)

    async def connect_datagrams(self, asked: Asked, *, proxy: Route | None = None) -> ConnectedDatagrams:
        from tieline.runtimes.trio.connected_datagrams import connect_datagrams  # lazily: for packet clients alone

        return await connect_datagrams(asked, proxy)

    async def wait_socket(self, sock: socket.socket, *, writing: bool) -> None:
        from tieline.runtimes.trio.sockets import wait_ready  # lazily: for ancillary data alone

        await wait_ready(sock.fileno(), writing)

    async def stray_nursery(self) -> trio.Nursery:
        from tieline.runtimes.trio.scope import stray_nursery  # lazily: whoever has a nursery needs none

        return await stray_nursery()

    def call_from_anywhere(self, host: Any, fn: Callable[[], object]) -> None:
        try:
            host.token.run_sync_soon(fn)
        except trio.RunFinishedError:
            pass

    def start_tls(self, link: Link, context: Context, **settings: Any) -> None:
        from tieline.runtimes.tls.layer import TLSLayer, put_under  # lazily: most programs never start TLS

        put_under(link, TLSLayer.of(link, link.host, context, is_made=True, **settings))

    async def upgrade(self, transport: Any, protocol: Any, **settings: Any) -> Any:
        from tieline.runtimes.trio.tls_layers import upgraded  # lazily, as above

        return await upgraded(transport, protocol, **settings)

    async def listen(
        self,
        protocol_factory: Callable[[], Any],
        endpoint: Endpoint,
        *,
        sock: socket.socket | None = None,
        limits: Limits | None = None,
        starts: bool = True,
        nursery: object = None,
    ) -> Listener | StdioListener:
        if isinstance(endpoint, WebSocket):
            from tieline.runtimes.websocket import listening as websockets  # lazily: for WebSockets alone

            return await websockets.listen(
                self, protocol_factory, endpoint, sock=sock, limits=limits, starts=starts, nursery=nursery
            )
        from tieline.runtimes.trio.listening import listen  # lazily: clients only dial

        host = _host_in(nursery, sock)
        return await listen(host, protocol_factory, endpoint, sock=sock, limits=limits, starts=starts)

    def new_streams(self, limit: int, callback: StreamCallback | None = None, nursery: object = None) -> Streams:
        from tieline.runtimes.trio.readers import Streams  # lazily: sessions need none

        return Streams(host_of(_checked(nursery)), limit, callback)

    def watch_termination(self, callback: Callable[[], object]) -> Callable[[], None] | None:
        from tieline.runtimes.trio.signals import watch_termination  # lazily: for servers that run until then

        return watch_termination(callback)


def _checked(nursery: object) -> trio.Nursery:
    """Return *nursery*, if it is one."""
    if nursery is None:
        raise LocalProtocolError(
            "on trio a connection lives in a nursery: give one as nursery=, or enter the session by `async with`"
        )
    if not isinstance(nursery, trio.Nursery):
        raise TypeError(f"nursery must be a trio.Nursery, not {type(nursery).__name__}")
    return nursery


def _host_in(nursery: object, sock: socket.socket | None) -> TrioHost:
    """Return the host of *nursery*; if that is none, close *sock*, which is ours from the call on."""
    try:
        return host_of(_checked(nursery))
    except BaseException:
        if sock is not None:
            sock.close()
        raise


BACKEND: Final = TrioBackend()
