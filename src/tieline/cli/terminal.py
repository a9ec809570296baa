# SPDX-License-Identifier: MIT
"""The terminal while it is drawn on: however the program ends, it is left as it was."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["restored"]


@contextmanager
def restored(stop: Callable[[], object]) -> Generator[None]:
    """Have *stop* called before SIGTERM ends the program, while the body runs on a loop.

    What draws hides the cursor, and may have a screen of its own. Ctrl+C leaves all that in order, but SIGTERM, which
    timeout(1) sends, would end the program at once. That is still how it ends; a signal that is ignored stays so.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # whoever started the program has it ignored
        yield
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)

    try:
        loop.add_signal_handler(signal.SIGTERM, end)
    except NotImplementedError:  # Windows, which has no such signal
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
