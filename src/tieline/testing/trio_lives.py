# SPDX-License-Identifier: MIT
"""What ties a transport in memory to a nursery of trio: it ends with it, and the nursery does not end before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from tieline.runtimes.trio.host import TrioHost
    from tieline.testing.memory import MemoryTransport

__all__ = ["Life"]


class Life:
    """One transport's stay in the nursery of *host*."""

    def __init__(self, host: TrioHost) -> None:
        self._host = host
        self._parking = Parking()
        self._is_over = False

    def begin(self, transport: MemoryTransport) -> None:
        """Start *transport*, and abort it when the nursery is cancelled.

        Raises:
            Exception: What its protocol's `connection_made` raises; the transport is closed then.
        """
        self._host.hold()
        transport.start()

        async def stay() -> None:
            try:
                while not self._is_over:
                    await self._parking.wait()
            except trio.Cancelled:
                self._host.is_collapsing = True
                transport.abort()
                raise

        if not self._host.spawn(stay):
            transport.abort()

    def end(self) -> None:
        """The transport is gone, and its protocol has been told."""
        self._is_over = True
        self._parking.wake()
        self._host.release()
