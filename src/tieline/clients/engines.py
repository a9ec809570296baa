# SPDX-License-Identifier: MIT
"""What some clients want of their engine beyond `PacketEngine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.clients.engine import PacketEngine

if TYPE_CHECKING:
    from tieline.runtimes.base_backend import Backend
    from tieline.wire.packets import PacketConnection

__all__ = ["LaxEngine", "engine_for"]


class LaxEngine(PacketEngine):
    """For TLS that is closed as some old programs do it: without the closing handshake, on both sides."""

    __slots__ = ()

    def link_made(self, link: Any, /) -> None:
        link.transport.be_lax()


def engine_for(backend: Backend, machine: PacketConnection, *, is_lax: bool) -> PacketEngine:
    """Return an engine for one connection."""
    return (LaxEngine if is_lax else PacketEngine)(backend, machine)
