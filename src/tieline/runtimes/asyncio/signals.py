# SPDX-License-Identifier: MIT
"""SIGTERM on asyncio; see `tieline.runtimes.termination`."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

from tieline.runtimes.termination import Watch, watch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["watch_termination"]

_watches: Final[dict[asyncio.AbstractEventLoop, Watch]] = {}


class _Watch(Watch):
    __slots__ = ("_loop", "_ours")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        loop.add_signal_handler(signal.SIGTERM, self.tell)
        self._ours = signal.getsignal(signal.SIGTERM)

    def end(self) -> None:
        now = signal.getsignal(signal.SIGTERM)
        self._loop.remove_signal_handler(signal.SIGTERM)  # back to the system's default, as it was
        if now is not self._ours:
            signal.signal(signal.SIGTERM, now)


def watch_termination(callback: Callable[[], object]) -> Callable[[], None] | None:
    """See `AsyncBackend.watch_termination`."""
    return watch(_watches, asyncio.get_running_loop(), _Watch, callback)
