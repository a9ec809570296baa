# SPDX-License-Identifier: MIT
"""asyncio as a backend: see `tieline.runtimes.backend.AsyncBackend`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from tieline.endpoints.websocket import WebSocket
from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.asyncio.tasks import AsyncioTasks
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.datagrams import UDP
    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import Endpoint, StreamEndpoint
    from tieline.runtimes.asyncio.host import AsyncioHost
    from tieline.runtimes.asyncio.readers import Streams
    from tieline.runtimes.backend import Listener, MachineT
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Sink
    from tieline.runtimes.stdio import StdioListener
    from tieline.runtimes.stream_shapes import StreamCallback
    from tieline.runtimes.tls.records import Context
    from tieline.runtimes.websocket.layer import WebSocketLayer
    from tieline.wire.limits import Limits
    from tieline.wire.proxies.dialogue import Dialogue
    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["BACKEND", "AsyncioBackend", "is_running"]


def is_running() -> bool:
    """Return whether the caller runs on an asyncio loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class AsyncioBackend(AsyncioTasks):
    """asyncio, stock or uvloop. It has no state: one serves all loops."""

    name = "asyncio"

    def host(self, nursery: object = None) -> AsyncioHost:
        if nursery is not None:
            _check_nursery(nursery)
        return current_host()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def check_nursery(self, nursery: object) -> None:
        _check_nursery(nursery)

    def check_loop(self, loop: object) -> None:
        if loop is not None and loop is not asyncio.get_running_loop():
            raise ValueError("loop must be None or the running loop")

    def new_link(self, machine: MachineT, sink: Sink, host: AsyncioHost) -> Link[MachineT]:
        return host.new_link(machine, sink)

    def new_websocket_layer(self, upper: Any, filter_: WebSocketStream, **settings: Any) -> WebSocketLayer:
        from tieline.runtimes.asyncio.websocket_layers import new_layer  # lazily: for WebSockets alone

        return new_layer(upper, filter_, **settings)

    async def open_scope(self) -> None:
        return None

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
        _check_nursery(nursery)
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
        from tieline.runtimes.asyncio.dialling import dial, dial_by_proxy  # lazily: servers only listen

        if proxy is not None:
            from tieline.endpoints.proxies import Route  # lazily: for those who use proxies alone

            if not isinstance(proxy, Route):
                return await dial_by_proxy(
                    protocol_factory,
                    endpoint,
                    proxy,
                    timeout=timeout,
                    handshake_timeout=tls_handshake_timeout,
                    shutdown_timeout=tls_shutdown_timeout,
                )
        return await dial(
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
        _check_nursery(nursery)
        argv = given.pop("args")
        loop = asyncio.get_running_loop()
        try:
            started: tuple[Any, Any] = await loop.subprocess_exec(protocol_factory, *argv, **given)
        except OSError as exc:
            if exc.filename is None and exc.errno is not None:  # uvloop does not name it
                raise type(exc)(exc.errno, exc.strerror, argv[0]) from None
            raise
        return started

    async def converse(self, endpoint: StreamEndpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
        from tieline.runtimes.asyncio import dialling  # lazily, as above

        return await dialling.converse(endpoint, dialogue, timeout=timeout)

    async def open_datagrams(
        self,
        protocol_factory: Callable[[], Any],
        asked: Asked,
        *,
        proxy: Route | None = None,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        from tieline.runtimes.asyncio import datagrams  # lazily, as above

        try:
            _check_nursery(nursery)
        except BaseException:
            if asked.sock is not None:
                asked.sock.close()
            raise
        if proxy is None:
            return await datagrams.open_datagrams(protocol_factory, asked)
        from tieline.runtimes.asyncio.associations import associated  # lazily: for those who use proxies alone

        return await associated(protocol_factory, asked, proxy)

    async def bind_datagrams(self, endpoint: UDP) -> list[socket.socket]:
        from tieline.runtimes import datagram_sockets  # lazily, as above
        from tieline.runtimes.asyncio.sockets import resolve

        return await datagram_sockets.bound(endpoint, resolve)

    async def connect_datagrams(self, asked: Asked, *, proxy: Route | None = None) -> ConnectedDatagrams:
        from tieline.runtimes.asyncio.connected_datagrams import connect_datagrams  # lazily: for packet clients alone

        return await connect_datagrams(asked, proxy)

    async def wait_socket(self, sock: socket.socket, *, writing: bool) -> None:
        from tieline.runtimes.asyncio.sockets import wait_ready  # lazily: for ancillary data alone

        await wait_ready(sock.fileno(), writing)

    async def stray_nursery(self) -> None:
        return None

    def call_from_anywhere(self, host: Any, fn: Callable[[], object]) -> None:
        host.call_from_anywhere(fn)

    def start_tls(self, link: Link, context: Context, **settings: Any) -> None:
        from tieline.runtimes.asyncio.tls_layers import layer_class  # lazily: most programs never start TLS
        from tieline.runtimes.tls.layer import put_under

        put_under(link, layer_class().of(link, link.host, context, is_made=True, **settings))

    async def upgrade(self, transport: Any, protocol: Any, **settings: Any) -> Any:
        from tieline.runtimes.asyncio.tls_layers import upgraded  # lazily, as above

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
        _check_nursery(nursery)
        if isinstance(endpoint, WebSocket):
            from tieline.runtimes.websocket import listening as websockets  # lazily: for WebSockets alone

            return await websockets.listen(
                self, protocol_factory, endpoint, sock=sock, limits=limits, starts=starts, nursery=nursery
            )
        from tieline.runtimes.asyncio.listening import listen  # lazily: clients only dial

        return await listen(protocol_factory, endpoint, sock=sock, limits=limits, starts=starts)

    def new_streams(self, limit: int, callback: StreamCallback | None = None, nursery: object = None) -> Streams:
        _check_nursery(nursery)
        from tieline.runtimes.asyncio.readers import Streams  # lazily: sessions need none

        return Streams(limit, callback)

    def watch_termination(self, callback: Callable[[], object]) -> Callable[[], None] | None:
        from tieline.runtimes.asyncio.signals import watch_termination  # lazily: for servers that run until then

        return watch_termination(callback)


def _check_nursery(nursery: object) -> None:
    if nursery is not None:
        raise ValueError("nursery is for trio: asyncio has none")


BACKEND: Final = AsyncioBackend()
