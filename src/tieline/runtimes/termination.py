# SPDX-License-Identifier: MIT
"""SIGTERM: all who watch it in one loop or run share one handler, and a program's own is left alone."""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Watch", "is_free", "watch"]

KeyT = TypeVar("KeyT")


class Watch(ABC):
    """The handler of one loop or run, which is there from when this is made.

    Attributes:
        callbacks: Who is to be told.
    """

    __slots__ = ("callbacks",)

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], object]] = []

    def tell(self) -> None:
        """Tell them, in the loop."""
        for callback in list(self.callbacks):
            callback()

    @abstractmethod
    def end(self) -> None:
        """Take the handler out, unless the program has set one of its own meanwhile."""


def is_free() -> bool:
    """Return whether SIGTERM may be handled: this is the main thread, and the program leaves it to the system."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def watch(
    watches: dict[KeyT, Watch], key: KeyT, new_watch: Callable[[KeyT], Watch], callback: Callable[[], object]
) -> Callable[[], None] | None:
    """Call *callback* at each SIGTERM, until what is returned is called, once.

    Args:
        watches: Those that there are; each takes itself out in the end.
        key: The loop or run.
        new_watch: Makes one for it.
        callback: What is called.

    None: nothing is watched, since SIGTERM is not free, or the platform or the loop has no such thing.
    """
    found = watches.get(key)
    if found is None:
        if not is_free():
            return None
        try:
            found = watches[key] = new_watch(key)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows; a subinterpreter
            return None
    shared = found
    shared.callbacks.append(callback)

    def stop() -> None:
        shared.callbacks.remove(callback)
        if not shared.callbacks:
            del watches[key]
            shared.end()

    return stop
