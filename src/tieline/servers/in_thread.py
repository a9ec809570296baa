# SPDX-License-Identifier: MIT
"""What the servers of blocking code share, of calls and of packets: the asynchronous one runs in a private thread."""

from __future__ import annotations

import signal
from abc import abstractmethod
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints.checks import check_integer
from tieline.errors import ClosedError, LocalProtocolError
from tieline.finite import check_timeout
from tieline.runtimes.termination import is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.asyncio.threads import LoopThread

__all__ = ["ServerInThread"]


class ServerInThread:
    """A server that runs in a private thread: a context manager that listens and shuts down. Any thread may use it.

    Args:
        workers: The maximum number of plain handlers that run at the same time; further ones wait for their turn.
    """

    _thread: LoopThread | None = None
    _server: Any  # the asynchronous one

    def __init__(self, workers: int) -> None:
        check_integer("workers", workers, lowest=1)
        self._workers = workers
        self._is_closed = False  # since it has listened last, or was made

    def listen(self) -> None:
        """Start the thread, and listen.

        Raises:
            OSError: The address cannot be used.
            LocalProtocolError: The server is listening already.
        """
        self._listen()

    def _listen(self) -> LoopThread:
        from tieline.runtimes.asyncio.threads import LoopThread  # lazily: with asyncio

        if self._thread is not None:
            raise LocalProtocolError("the server is listening already")
        self._is_closed = False
        self._thread = thread = LoopThread("tieline server", self._workers)
        try:
            self._prepare(thread)
            thread.call(self._server.listen)
        except BaseException:
            self._thread = None
            thread.stop()
            raise
        return thread

    @abstractmethod
    def _prepare(self, thread: LoopThread) -> None:
        """Get the server that does the work ready to listen in *thread*."""

    def get_addresses(self) -> tuple[Endpoint | DatagramEndpoint, ...]:
        """Return where the server actually listens, one endpoint per socket; empty when it is not listening."""
        addresses: tuple[Endpoint | DatagramEndpoint, ...] = self._server.get_addresses()
        return addresses

    @property
    def url(self) -> str:
        """The URL to connect to, with the actual port. If there are several addresses, the first.

        Raises:
            LocalProtocolError: The server is not listening.
        """
        url: str = self._server.url
        return url

    def close(self) -> None:
        """Stop listening soon, without waiting; connections stay open. Harmless when not listening."""
        self._is_closed = True
        if self._thread is not None:
            self._thread.call_soon(self._server.close)

    def serve_forever(self, *, handle_signals: bool = True, grace: float | None = 10.0) -> None:
        """Listen, unless it does already, and return when `close` is called or `shutdown` is done; at once if that was
        before.

        On SIGTERM the server shuts down as `shutdown` does, and this returns; a second SIGTERM aborts the remaining
        connections. This works in the main thread, unless the program handles or ignores SIGTERM itself. Ctrl+C raises
        KeyboardInterrupt; the server goes on until it is shut down, for instance by leaving the ``with`` block. The
        same holds for what a handler raises to end the program, such as ``sys.exit``.

        Args:
            handle_signals: False = leave SIGTERM alone.
            grace: Seconds for running handlers on SIGTERM; None = unlimited.

        Raises:
            OSError: The address cannot be used.
            LocalProtocolError: The server listens in the process that this one was forked from.
        """
        from concurrent.futures import CancelledError  # lazily, as the thread

        grace = check_timeout("grace", grace)
        thread, is_closed = self._thread, self._is_closed
        signals = 0

        def shut_down() -> None:
            if signals and thread is not None:
                thread.begin(self._server.shutdown, grace if signals == 1 else 0.0)

        def on_signal(*_: object) -> None:
            nonlocal signals
            signals += 1
            shut_down()

        with _termination(on_signal if handle_signals else None):
            if thread is None:
                if is_closed:
                    return
                thread = self._listen()
            thread.check_is_here()
            shut_down()  # if a signal came before there was a thread to tell
            serve = partial(self._server.serve_forever, handle_signals=False)
            # Another thread has shut it down; or a handler ends the program.
            with suppress(ClosedError, CancelledError):
                thread.call(thread.until_ending, serve)
            thread.raise_ending()

    def shutdown(self, deadline: float | None = 10.0) -> None:
        """Stop listening, let running handlers finish and send their replies, then close all connections.

        After *deadline* seconds the remaining connections are aborted; None = unlimited. Leaving the ``with`` of a
        server calls this. Of several calls at once, the earliest deadline counts. A plain handler that still runs then
        cannot be stopped: it continues, and its reply is dropped. Handlers must not call this, since it waits for them.
        In a process that was forked from the one that serves, it does nothing.

        A packet server receives nothing more: a handler that waits or asks for a packet finds its client closed.

        Raises:
            ValueError: *deadline* is not a valid time; nothing has happened.
            KeyboardInterrupt, SystemExit: A handler has raised it to end the program, and `serve_forever` has not.
        """
        thread = self._thread
        if thread is None:
            check_timeout("deadline", deadline)
            self._is_closed = True
            return
        with suppress(ClosedError):  # another thread is about to stop it, or one that was has been interrupted
            thread.call(self._server.shutdown, deadline)
        thread.stop()
        self._is_closed = True
        self._thread = None
        thread.raise_ending()

    def __del__(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.forgotten(self, self._server)

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()


@contextmanager
def _termination(callback: Callable[..., object] | None) -> Generator[None]:
    """Call *callback* at each SIGTERM meanwhile, where nobody else has a say in it."""
    if callback is None or not is_free():
        yield
        return
    signal.signal(signal.SIGTERM, callback)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is callback:  # else the program has set one of its own meanwhile
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
