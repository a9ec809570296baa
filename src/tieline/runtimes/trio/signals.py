# SPDX-License-Identifier: MIT
"""SIGTERM on trio; see `tieline.runtimes.termination`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

import trio

from tieline.runtimes.termination import Watch, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.lowlevel import TrioToken

__all__ = ["watch_termination"]

_watches: Final[dict[TrioToken, Watch]] = {}


class _Watch(Watch):
    __slots__ = ("_ours", "_token")

    def __init__(self, token: TrioToken) -> None:
        super().__init__()
        self._token = token
        self._ours: Callable[..., object] = self._on_signal
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        try:
            self._token.run_sync_soon(self.tell)
        except trio.RunFinishedError:  # too late
            pass

    def end(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch_termination(callback: Callable[[], object]) -> Callable[[], None] | None:
    """See `AsyncBackend.watch_termination`."""
    return watch(_watches, trio.lowlevel.current_trio_token(), _Watch, callback)
