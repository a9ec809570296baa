# SPDX-License-Identifier: MIT
"""Blocking code as a backend: see `tieline.runtimes.backend.Backend`. One for each connection, as its host is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.blocking.lone_calls import BlockingLink

if TYPE_CHECKING:
    from tieline.runtimes.backend import MachineT
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Sink
    from tieline.runtimes.tls.records import Context

__all__ = ["BlockingBackend"]


class BlockingBackend:
    """Blocking code, for one connection."""

    __slots__ = ("_host",)

    def __init__(self, host: BlockingHost) -> None:
        self._host = host

    def host(self) -> BlockingHost:
        return self._host

    def new_link(self, machine: MachineT, sink: Sink, host: BlockingHost) -> BlockingLink[MachineT]:
        return BlockingLink(machine, sink, host)

    def start_tls(self, link: Link, context: Context, **settings: Any) -> None:
        from tieline.runtimes.blocking.tls_layers import start_tls  # lazily: most programs never start TLS

        start_tls(link, self._host, context, **settings)
