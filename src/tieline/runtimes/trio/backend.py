# SPDX-License-Identifier: MIT
"""trio as a backend: see `tieline.runtimes.backend.AsyncBackend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import in_trio_task

from tieline.endpoints import TCP
from tieline.errors import LocalProtocolError
from tieline.runtimes.link import Link
from tieline.runtimes.trio.host import host_at_hand, host_of
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints import Endpoint
    from tieline.runtimes.backend import MachineT
    from tieline.runtimes.sink import Sink
    from tieline.runtimes.stdio import StdioListener
    from tieline.runtimes.tls.records import Context
    from tieline.runtimes.trio.host import TrioHost
    from tieline.runtimes.trio.listening import Listener
    from tieline.runtimes.trio.scope import Scope
    from tieline.wire.limits import Limits
    from tieline.wire.proxies import Dialogue

__all__ = ["BACKEND", "TrioBackend", "is_running"]


def is_running() -> bool:
    """Return whether the caller runs in a task of trio."""
    return in_trio_task()


class TrioBackend:
    """trio. It has no state: one serves all runs."""

    name = "trio"

    def host(self, nursery: object = None) -> TrioHost:
        return host_at_hand() if nursery is None else host_of(_checked(nursery))

    def check_loop(self, loop: object) -> None:
        if loop is not None:
            raise ValueError("loop must be None: trio has none")

    def new_link(self, machine: MachineT, sink: Sink) -> Link[MachineT]:
        return Link(machine, sink, host_at_hand())

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
        tls_shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        from tieline.runtimes.trio import dialling  # lazily: servers only listen

        try:
            host = host_of(_checked(nursery))
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        if proxy is None:
            return await dialling.dial(
                host, protocol_factory, endpoint, timeout=timeout, sock=sock, shutdown_timeout=tls_shutdown_timeout
            )
        from tieline.endpoints.proxies import Route  # lazily: for those who use proxies alone

        if isinstance(proxy, Route):
            return await dialling.dial(
                host, protocol_factory, endpoint, timeout=timeout, route=proxy, shutdown_timeout=tls_shutdown_timeout
            )
        if not isinstance(endpoint, TCP):
            raise ValueError(f"a proxy takes TCP endpoints only, not {endpoint}")
        return await dialling.dial_by_proxy(
            host, protocol_factory, endpoint, proxy, timeout=timeout, shutdown_timeout=tls_shutdown_timeout
        )

    async def subprocess_exec(
        self, protocol_factory: Callable[[], Any], given: dict[str, Any], *, nursery: object = None
    ) -> tuple[Any, Any]:
        from tieline.runtimes.trio.processes import subprocess_exec  # lazily: for those who start processes alone

        return await subprocess_exec(host_of(_checked(nursery)), protocol_factory, given)

    async def converse(self, endpoint: Endpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
        from tieline.runtimes.trio import dialling  # lazily, as above

        return await dialling.converse(endpoint, dialogue, timeout=timeout)

    def start_tls(
        self,
        link: Link,
        context: Context,
        *,
        server_side: bool,
        server_hostname: str | None,
        handshake_timeout: float | None,
        shutdown_timeout: float,
        on_handshake: Callable[[BaseException | None], object],
    ) -> None:
        from tieline.runtimes.trio.tls_layers import start_tls  # lazily: most programs never start TLS

        start_tls(
            link,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            handshake_timeout=handshake_timeout,
            shutdown_timeout=shutdown_timeout,
            on_handshake=on_handshake,
        )

    async def listen(
        self,
        protocol_factory: Callable[[], Any],
        endpoint: Endpoint,
        *,
        sock: socket.socket | None = None,
        limits: Limits | None = None,
        nursery: object = None,
    ) -> Listener | StdioListener:
        from tieline.runtimes.trio.listening import listen  # lazily: clients only dial

        try:
            host = host_of(_checked(nursery))
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        return await listen(host, protocol_factory, endpoint, sock=sock, limits=limits)

    def watch_termination(self, callback: Callable[[], object]) -> Callable[[], None] | None:
        from tieline.runtimes.trio.signals import watch_termination  # lazily: for servers that run until then

        return watch_termination(callback)


def _checked(nursery: object) -> trio.Nursery:
    """Return *nursery*, if it is one."""
    if nursery is None:
        raise LocalProtocolError("on trio a connection lives in a nursery: use `async with`, or give one as nursery=")
    if not isinstance(nursery, trio.Nursery):
        raise TypeError(f"nursery must be a trio.Nursery, not {type(nursery).__name__}")
    return nursery


BACKEND: Final = TrioBackend()
