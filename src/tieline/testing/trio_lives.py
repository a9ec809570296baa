# SPDX-License-Identifier: MIT
"""What ties a transport or listener in memory to a nursery of trio: it ends with it, and the nursery not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.trio.host import TrioHost

__all__ = ["Life"]


class Life:
    """One stay in the nursery of *host*. `end` is to be called when it is over."""

    def __init__(self, host: TrioHost) -> None:
        self._host = host
        self._parking = Parking()
        self._is_over = False

    def begin(self, stop: Callable[[], object]) -> None:
        """Stay, and call *stop* when the nursery is cancelled.

        Raises:
            LocalProtocolError: It is over.
        """

        async def stay() -> None:
            try:
                while not self._is_over:
                    await self._parking.wait()
            except trio.Cancelled:
                self._host.is_collapsing = True
                stop()
                raise

        self._host.enter(stay)
        self._host.hold()

    def end(self) -> None:
        """It is over."""
        self._is_over = True
        self._parking.wake()
        self._host.release()
