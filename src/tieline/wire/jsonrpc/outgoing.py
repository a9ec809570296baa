# SPDX-License-Identifier: MIT
"""Outgoing requests and batches, as their senders hold them.

`RPCRequestOut` declares what an outgoing request can do; each runtime derives a class that can be awaited there (on
asyncio it is an `asyncio.Future`). `RPCBatchOut` is written once: it is complete when all of its requests are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["RPCBatchOut", "RPCRequestOut", "Watcher"]


class Watcher(Protocol):
    """Who is told that a request is complete."""

    def request_ended(self, request: Any, is_answered: bool, error: BaseException | None, /) -> None:
        """Take note that *request* is complete.

        Args:
            request: It.
            is_answered: Whether the connection has ended the call; if not, it is to be forgotten.
            error: By which error the connection has ended it.
        """


class RPCRequestOut(RPCRequest):
    """A request that was sent, or is about to be; awaiting it gives the result.

    Sessions make them (`send_request`, `RPCBatchOut.add_request`). Awaiting raises `RPCError` when the peer answered
    with an error, `TimeoutError`, `ConnectionLost` or `ClosedError`. Cancelling it, or the task that awaits it, is
    safe: the call is forgotten and a late answer dropped; the peer may run the method all the same.
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
        # Not RPCRequest.__init__: a batch may have hundreds of these, and no need for more.
        self.method = method
        self.args = args

    def ended(self) -> None:
        """Called by the runtime's class when the request was completed by hand, or cancelled."""
        watcher = self.watcher
        if watcher is not None:
            self.watcher = None  # they would keep each other alive
            watcher.request_ended(self, False, None)


class RPCBatchOut(RPCBatch):
    """A batch to be sent; awaiting it, once sent, gives the batch itself, whose `results` are there then.

    Sessions make them (`new_batch`). Members complete as their answers come. Awaiting raises `ConnectionLost` or
    `ClosedError` when the connection went before all answers were there.

    Attributes:
        members: Method, arguments and request of each, in the order they were added; None for a notification's request.
        is_sent: Whether it was sent.
    """

    def __init__(
        self,
        new_request: Callable[[str, Any], RPCRequestOut],
        waiter: RPCRequestOut,
        on_done: Callable[[RPCBatchOut], object] | None = None,
    ) -> None:
        # Not RPCBatch.__init__: a batch to be sent is filled later, and may be empty until then.
        self.members: list[tuple[str, Any, RPCRequestOut | None]] = []
        self._requests: list[Any] = []  # of the members
        self._new_request = new_request
        self._waiter = waiter
        self._on_done = on_done
        self._forget: Callable[[Any], object]  # from when it is sent
        self._open = 0
        self.is_sent = False

    def add_request(
        self, method: str, args: Any = None, on_done: Callable[[RPCRequestOut], object] | None = None
    ) -> RPCRequestOut:
        """Add a request and return it; *on_done* is called with it when it is answered or has failed.

        Raises:
            LocalProtocolError: The batch has been sent.
        """
        if self.is_sent:
            raise LocalProtocolError("the batch has been sent")
        request = self._new_request(method, args)
        if on_done is not None:
            request.add_done_callback(on_done)
        self.members.append((method, args, request))
        self._requests.append(request)
        return request

    def add_notification(self, method: str, args: Any = None) -> None:
        """Add a notification.

        Raises:
            LocalProtocolError: The batch has been sent.
        """
        if self.is_sent:
            raise LocalProtocolError("the batch has been sent")
        self.members.append((method, args, None))

    @property
    def items(self) -> tuple[Any, ...]:  # type: ignore[override]  # no list: what was added is what is sent
        """The requests and notifications, in the order they were added."""
        found = [RPCRequest(method, args) if request is None else request for method, args, request in self.members]
        return tuple(found)

    def __len__(self) -> int:
        return len(self.members)

    def is_request_batch(self) -> bool:
        """Return True: answers are never sent this way."""
        return True

    def requests(self) -> list[Any]:
        """Return the members that are answered, in order."""
        return self._requests.copy()

    @property
    def results(self) -> tuple[object, ...]:
        """What the requests came to, in order; each a value or an exception (`RPCError`, `TimeoutError`, ...).

        Raises:
            LocalProtocolError: Not all answers are there yet.
        """
        if not self.done():
            raise LocalProtocolError("the batch is not complete")
        try:
            return tuple([request.result() for request in self._requests])
        except BaseException as exc:  # one has failed
            exc.__traceback__ = None  # by which it would refer to the request, and that to it
        return tuple([_outcome(request) for request in self._requests])

    # --- completion ----------------------------------------------------------------------------------------------

    def sent(
        self,
        ids: Sequence[object],
        forget: Callable[[Any], object],
        on_done: Callable[[RPCBatchOut], object] | None = None,
    ) -> None:
        """Called by the session when the batch is on its way: watch the members.

        Args:
            ids: What the requests are called by, in order.
            forget: Called with the id of a request that is complete before its answer comes.
            on_done: Instead of what the batch was made with.
        """
        self.is_sent = True
        self._on_done = on_done or self._on_done
        self._forget = forget
        self._open = len(ids)
        self._waiter.add_done_callback(self._waited)
        for request, request_id in zip(self._requests, ids, strict=True):
            request.request_id = request_id
            request.watcher = self
        if not ids:
            self._waiter.set_result(None)  # not this batch: they would keep each other alive

    def _waited(self, waiter: RPCRequestOut) -> None:
        if waiter.cancelled():
            self.cancel()
        if self._on_done is not None:
            self._on_done(self)

    def request_ended(self, request: RPCRequestOut, is_answered: bool, error: BaseException | None, /) -> None:
        """Called by a member, or by the connection, when the member is complete: not for callers."""
        if not is_answered:
            self._forget(request.request_id)
        if error is not None:
            request.exception()  # whoever awaits the batch finds it there: nobody has to look here
        self._open -= 1
        if self._open or self._waiter.done():
            return
        last = _outcome(request)  # when the connection goes all open members fail, so this one too
        if isinstance(last, ConnectionLost | ClosedError):
            self._waiter.set_exception(last)
            self._waiter.exception()  # the members tell it too: nobody has to look here
        else:
            self._waiter.set_result(None)  # not this batch: they would keep each other alive

    def requests_answered(self, count: int) -> None:
        """Called when *count* members have been completed with results, whose watcher was told of none of them."""
        self._open -= count
        if not self._open and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_sent(self) -> None:
        """Refuse to wait for what nothing will complete."""
        if not self.is_sent:
            raise LocalProtocolError("the batch has not been sent: nothing will complete it")

    def __await__(self) -> Generator[Any, None, RPCBatchOut]:
        self._check_sent()
        yield from self._waiter.__await__()
        return self

    def done(self) -> bool:
        """Return whether all answers are there, or will never come."""
        return self.is_sent and not self._open

    def cancel(self) -> bool:
        """Cancel all open members, and whoever awaits the batch; return whether there were any."""
        open_requests = [request for request in self.requests() if not request.done()]
        self._waiter.cancel()  # before the members, since the last of them completes the batch
        for request in open_requests:
            request.cancel()
        return bool(open_requests)

    def set_result(self, result: object) -> None:
        """Complete all open members with *result*."""
        for request in self.requests():
            if not request.done():
                request.set_result(result)

    def set_exception(self, exception: BaseException) -> None:
        """Complete all open members with *exception*."""
        for request in self.requests():
            if not request.done():
                request.set_exception(exception)


def _outcome(request: RPCRequestOut) -> object:
    try:
        error = request.exception()  # if `result` raised it, it would refer to the request by its traceback
    except BaseException as exc:  # it was cancelled, and that is the outcome
        return exc
    return request.result() if error is None else error
