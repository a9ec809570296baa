# SPDX-License-Identifier: MIT
"""Serving from blocking code until the program is told to end: what the servers of calls and of packets share."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.errors import ClosedError
from tieline.finite import check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tieline.runtimes.asyncio.threads import LoopThread

__all__ = ["serve_until_ended"]


def serve_until_ended(
    thread: LoopThread | None,
    listen: Callable[[], LoopThread] | None,
    server: Callable[[], Any],
    *,
    handle_signals: bool,
    grace: float | None,
) -> None:
    """Have a server serve in its thread, and return when it is closed or shut down, by SIGTERM for one.

    Args:
        thread: Where it listens already; None = it does not.
        listen: Has it listen, and returns the thread; None = it has done so, and is closed.
        server: Returns the asynchronous server, once it listens.
        handle_signals: False = leave SIGTERM alone.
        grace: Seconds that running handlers get at SIGTERM; a second one cuts them.

    Raises:
        KeyboardInterrupt, SystemExit: A handler has raised it.
        LocalProtocolError: This process was forked from the one in which it listens.
    """
    grace = check_timeout("grace", grace)
    signals = 0

    def shut_down() -> None:
        if signals and thread is not None:
            thread.begin(server().shutdown, grace if signals == 1 else 0.0)

    def on_signal(*_: object) -> None:
        nonlocal signals
        signals += 1
        shut_down()

    with _termination(on_signal if handle_signals else None):
        if thread is None:
            if listen is None:
                return
            thread = listen()
        thread.check_is_here()
        shut_down()  # if a signal came before there was a thread to tell
        serve = partial(server().serve_forever, handle_signals=False)
        with suppress(ClosedError, CancelledError):  # another thread has shut it down; or a handler ends the program
            thread.call(thread.until_ending, serve)
        thread.raise_ending()


@contextmanager
def _termination(callback: Callable[..., object] | None) -> Generator[None]:
    """Call *callback* at each SIGTERM meanwhile, where nobody else has a say in it."""
    if (
        callback is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, callback)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is callback:  # else the program has set one of its own meanwhile
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
