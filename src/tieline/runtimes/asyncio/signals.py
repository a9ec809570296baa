# SPDX-License-Identifier: MIT
"""SIGTERM on asyncio: several listeners in one loop share one handler, and a program's own is left alone."""

from __future__ import annotations

import asyncio
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["watch_termination"]

# Only loops in which somebody watches; each takes itself out in the end.
_watchers: Final[dict[asyncio.AbstractEventLoop, _Watch]] = {}


class _Watch:
    """The handler of one loop, and who is to be told."""

    __slots__ = ("callbacks", "loop", "ours")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.callbacks: list[Callable[[], object]] = []
        loop.add_signal_handler(signal.SIGTERM, self._tell)
        self.ours = signal.getsignal(signal.SIGTERM)

    def _tell(self) -> None:
        for callback in list(self.callbacks):
            callback()

    def remove(self, callback: Callable[[], object]) -> None:
        self.callbacks.remove(callback)
        if self.callbacks:
            return
        del _watchers[self.loop]
        now = signal.getsignal(signal.SIGTERM)
        self.loop.remove_signal_handler(signal.SIGTERM)  # back to the system's default, as it was
        if now is not self.ours:
            signal.signal(signal.SIGTERM, now)  # the program has set one of its own meanwhile


def watch_termination(callback: Callable[[], object]) -> Callable[[], None] | None:
    """Call *callback* in the running loop at each SIGTERM, until what is returned is called, once.

    None: nothing is watched, since the program has a handler of its own, or ignores the signal, or this is not its
    main thread, or the platform or the loop has no such thing.
    """
    loop = asyncio.get_running_loop()
    watch = _watchers.get(loop)
    if watch is None:
        if threading.current_thread() is not threading.main_thread():
            return None
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return None
        try:
            watch = _watchers[loop] = _Watch(loop)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows; a subinterpreter
            return None
    watch.callbacks.append(callback)
    return partial(watch.remove, callback)
