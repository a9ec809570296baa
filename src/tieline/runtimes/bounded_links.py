# SPDX-License-Identifier: MIT
"""A link for who wants to say how much is read at once. It is the same on every runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.contract import BufferedProtocol
from tieline.runtimes.link import Link

if TYPE_CHECKING:
    from tieline.runtimes.host import Host
    from tieline.runtimes.ports import Sink

__all__ = ["MOST", "BoundedLink"]

# No runtime reads more than so many bytes at once, whatever the link.
MOST: Final = 256 * 1024


class BoundedLink(Link, BufferedProtocol):
    """A link that reads *size* bytes at once at most: what is over waits in the system, or in the layer of TLS below.

    Transports ask a protocol that has a buffer for no more than there is room in it. Unlike those of other links this
    one is not shared, since their size is that of all others: an idle connection keeps it.
    """

    __slots__ = ("_buffer",)

    def __init__(self, machine: Any, sink: Sink, host: Host, size: int) -> None:
        super().__init__(machine, sink, host)
        self._buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> Any:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(memoryview(self._buffer)[:nbytes]))
