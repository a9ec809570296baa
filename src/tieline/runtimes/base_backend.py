# SPDX-License-Identifier: MIT
"""What the engine of a session needs of its runtime, blocking code included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.host import Host
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Machine, Sink
    from tieline.runtimes.tls.records import Context

__all__ = ["Backend", "MachineT"]

MachineT = TypeVar("MachineT", bound="Machine")


class Backend(Protocol):
    """A part of `tieline.runtimes.backend.AsyncBackend`."""

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
        """Put TLS between *link* and its open transport, at once; see `AsyncBackend.start_tls`."""
