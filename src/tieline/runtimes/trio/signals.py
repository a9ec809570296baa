# SPDX-License-Identifier: MIT
"""SIGTERM on trio: several listeners in one run share one handler, and a program's own is left alone."""

from __future__ import annotations

import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.lowlevel import TrioToken

__all__ = ["watch_termination"]

# Only runs in which somebody watches; each takes itself out in the end.
_watchers: Final[dict[TrioToken, _Watch]] = {}


class _Watch:
    """The handler of one run, and who is to be told."""

    __slots__ = ("callbacks", "ours", "token")

    def __init__(self, token: TrioToken) -> None:
        self.token = token
        self.callbacks: list[Callable[[], object]] = []
        self.ours: Callable[..., object] = self._on_signal
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        try:
            self.token.run_sync_soon(self._tell)
        except trio.RunFinishedError:  # too late
            pass

    def _tell(self) -> None:
        for callback in list(self.callbacks):
            callback()

    def remove(self, callback: Callable[[], object]) -> None:
        self.callbacks.remove(callback)
        if self.callbacks:
            return
        del _watchers[self.token]
        if signal.getsignal(signal.SIGTERM) == self.ours:  # else the program has set one of its own meanwhile
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch_termination(callback: Callable[[], object]) -> Callable[[], None] | None:
    """Call *callback* in the run at each SIGTERM, until what is returned is called, once.

    None: nothing is watched, since the program has a handler of its own, or ignores the signal, or this is not its
    main thread, or the platform has no such thing.
    """
    token = trio.lowlevel.current_trio_token()
    watch = _watchers.get(token)
    if watch is None:
        if threading.current_thread() is not threading.main_thread():
            return None
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return None
        try:
            watch = _watchers[token] = _Watch(token)
        except ValueError:  # a subinterpreter
            return None
    watch.callbacks.append(callback)
    return partial(watch.remove, callback)
