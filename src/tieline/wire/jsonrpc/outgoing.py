# SPDX-License-Identifier: MIT
"""Outgoing requests, as their senders hold them.

`RPCRequestOut` declares what an outgoing request can do; each runtime derives a class that can be awaited there (on
asyncio it is an `asyncio.Future`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from tieline.wire.jsonrpc.items import RPCRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["OF_A_CALL", "RPCRequestOut", "Watcher", "check_on_done"]

# What is meant where an argument of a call stands in the place of `on_done`.
OF_A_CALL: Final = ": all arguments of a call are one list or dict"


class Watcher(Protocol):
    """Who is told that a request is complete."""

    def request_ended(self, request: Any, is_answered: bool, error: BaseException | None, /) -> None:
        """Take note that *request* is complete.

        Args:
            request: It.
            is_answered: Whether the connection has ended the call; if not, it is to be forgotten.
            error: By which error the connection has ended it.
        """


def check_on_done(on_done: object, more: str = "") -> None:
    """Refuse what cannot be called: that would fail when an answer comes, in the midst of what came with it.

    Raises:
        TypeError: It cannot; *more* is said besides.
    """
    if not callable(on_done):
        raise TypeError(f"on_done must be callable, not {type(on_done).__name__}{more}")


class RPCRequestOut(RPCRequest):
    """A request of this side; awaiting it returns the result of the call.

    Sessions create them (`send_request`, `RPCBatchOut.add_request`). Awaiting raises `RPCError` if the peer replied
    with an error, `TimeoutError`, `ConnectionLost` or `ClosedError`. Cancelling it, or the task that awaits it, is
    safe: the call is forgotten, and a late reply is dropped; the peer may run the method all the same.
    """

    if TYPE_CHECKING:
        # What a runtime's class has to have, as asyncio's futures do. For `await`, type checkers ask for a method.
        def __await__(self) -> Generator[Any, None, Any]:  # pyright: ignore[reportReturnType]  # declared only
            """Wait for the result."""

        done: Callable[[], bool]
        cancelled: Callable[[], bool]
        cancel: Callable[..., bool]
        result: Callable[[], Any]
        exception: Callable[[], BaseException | None]
        set_result: Callable[[Any], None]
        set_exception: Callable[[BaseException], None]
        add_done_callback: Callable[[Callable[[Any], object]], object]

        def answered(self, value: Any, error: BaseException | None) -> None:
            """Complete the request with what the peer answered, or with how the call ended otherwise."""

    # Set by the session when the request is sent. Told once, when the request is complete.
    watcher: Watcher | None = None

    request_id: object = None
    answer_null_id: bool = True

    def __init__(self, method: str, args: object = None) -> None:
        # Not RPCRequest.__init__: there is no need for more.
        self.method = method
        self.args = args

    def ended(self) -> None:
        """Called by the runtime's class when the request was completed by hand, or cancelled."""
        watcher = self.watcher
        if watcher is not None:
            self.watcher = None  # they would keep each other alive
            watcher.request_ended(self, False, None)
