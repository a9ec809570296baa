# SPDX-License-Identifier: MIT
"""One attempt to connect, shared by all tasks that wait for it."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from tieline.errors import ClientClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.host import Handle, Host, Waiter

__all__ = ["Attempt"]


class Attempt:
    """Dials in a task of its own. It is cancelled when nobody waits for it any more, or when the client is closed.

    Attributes:
        is_over: It has come to an end, whichever.
        is_given_up: It was cancelled, and is over or about to be.
    """

    __slots__ = ("_error", "_handle", "_host", "_waiters", "is_given_up", "is_over")

    def __init__(self, host: Host, dial: Callable[[], Awaitable[object]]) -> None:
        self._host = host
        self._waiters: list[Waiter] = []
        self.is_given_up = False
        self.is_over = False
        self._error: Exception | None = ClientClosedError("the client was closed while it connected")
        self._handle: Handle | None = host.start(self._run(dial), copy_context())
        if self._handle is not None:
            self._handle.add_done_callback(self._end)  # one that is cancelled early never runs

    async def _run(self, dial: Callable[[], Awaitable[object]]) -> None:
        try:
            await dial()
            self._error = None
        except Exception as exc:
            self._error = exc
        finally:
            self._end()

    def _end(self, _handle: object = None) -> None:
        self.is_over = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for its end, or has not been told of it yet."""
        return bool(self._waiters)

    async def wait(self) -> None:
        """Wait for its end. Behind all others who wait, nobody is told any more how it failed: a new one is to be made.

        Raises:
            Exception: What dialling raised.
        """
        if not self.is_over:
            waiter: Any = self._host.new_waiter()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
                if not self._waiters and not self.is_over:
                    self.cancel()
        error = self._error
        if error is not None:
            if not self._waiters:
                self._error = None  # all have been told; its frames refer to this, and to the client
            try:
                raise error
            finally:
                del error  # by which its traceback would refer to it

    def cancel(self) -> None:
        """Give it up."""
        self.is_given_up = True
        if self._handle is not None and not self.is_over:
            self._handle.cancel()
