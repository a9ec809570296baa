# SPDX-License-Identifier: MIT
"""What some clients want of their engine beyond `PacketEngine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.clients.engine import PacketEngine
from tieline.runtimes.bounded_links import MOST
from tieline.wire.held_packets import HeldPackets

if TYPE_CHECKING:
    from tieline.runtimes.backend import Backend
    from tieline.wire.packets import PacketConnection

__all__ = ["HeldEngine", "LaxEngine", "engine_for"]


class LaxEngine(PacketEngine):
    """For TLS that is closed as some old programs do it: without the closing handshake, on both sides."""

    __slots__ = ()

    def link_made(self, link: Any, /) -> None:
        link.transport.be_lax()


class HeldEngine(PacketEngine):
    """For connections that are read only when somebody wants a packet."""

    __slots__ = ()

    def link_made(self, link: Any, /) -> None:
        self.host.call_soon(self._pause_again)

    def _pause_again(self) -> None:
        """uvloop begins to read behind `connection_made`, whatever was said in there."""
        machine = self.machine
        transport = None if self.is_over else self.link.transport
        if transport and not (machine.wants_data or transport.is_closing()):
            transport.pause_reading()


def engine_for(
    backend: Backend, machine: PacketConnection, *, is_lax: bool, max_recv_size: int | None = None
) -> PacketEngine:
    """Return an engine for one connection; *max_recv_size* = how many bytes it reads at once, at most."""
    if isinstance(machine, HeldPackets):
        return HeldEngine(backend, machine)
    return (LaxEngine if is_lax else PacketEngine)(backend, machine, max_recv_size or MOST)
