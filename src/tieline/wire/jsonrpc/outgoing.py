# SPDX-License-Identifier: MIT
"""Outgoing requests and batches, as their senders hold them.

`RPCRequestOut` declares what an outgoing request can do; each runtime derives a class that can be awaited there (on
asyncio it is an `asyncio.Future`). `RPCBatchOut` is written once: it is complete when all of its requests are.

The requests of a batch are many, and nearly nobody awaits one of them by itself. So each is a `BatchMember`, which is
little more than its place in the batch, and the runtime's request is made behind it when it is needed. When one array
answers them all, their results are kept as they came, and none is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["BatchMember", "Outcomes", "RPCBatchOut", "RPCRequestOut", "Watcher"]


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
        # Not RPCRequest.__init__: there is no need for more.
        self.method = method
        self.args = args

    def ended(self) -> None:
        """Called by the runtime's class when the request was completed by hand, or cancelled."""
        watcher = self.watcher
        if watcher is not None:
            self.watcher = None  # they would keep each other alive
            watcher.request_ended(self, False, None)


class BatchMember(RPCRequestOut):
    """A request of a batch. It can do what a request can that was sent by itself."""

    __slots__ = ("args", "method", "outcomes", "place")

    # Set by `RPCBatchOut.add_request`: a constructor would take longer than all the rest.
    outcomes: Outcomes
    place: int

    if TYPE_CHECKING:

        def __init__(self) -> None:
            """Make one that is to be given its attributes."""

    else:
        __init__ = object.__init__

    @property
    def request_id(self) -> object:  # type: ignore[override]  # that of others can be set; this one follows from the batch
        """The id that the answer must carry; None before the batch is sent."""
        ids = self.outcomes.ids
        return ids[self.place] if ids else None

    @property
    def _request(self) -> RPCRequestOut:
        return self.outcomes.request(self)

    @property
    def _is_plain(self) -> bool:
        """Whether nothing was made of it, and its result is among `Outcomes.values`."""
        return self.place not in self.outcomes.requests and self.outcomes.values is not None

    def done(self) -> bool:
        """Return whether it is answered, has failed, or was cancelled."""
        outcomes = self.outcomes
        request = outcomes.requests.get(self.place)
        return outcomes.values is not None if request is None else request.done()

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        request = self.outcomes.requests.get(self.place)
        return request is not None and request.cancelled()

    def result(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result; otherwise as that of a request that was sent by itself."""
        if self._is_plain:
            return self.outcomes.value(self)
        return self._request.result(*args, **kwargs)

    def exception(self, *args: Any, **kwargs: Any) -> BaseException | None:
        """Return what it has failed with; otherwise as that of a request that was sent by itself."""
        return None if self._is_plain else self._request.exception(*args, **kwargs)

    def cancel(self, *args: Any, **kwargs: Any) -> bool:
        """Cancel it: the call is forgotten, its late answer dropped. Return False when it is complete."""
        return not self._is_plain and self._request.cancel(*args, **kwargs)

    def set_result(self, result: Any, /) -> None:
        """Complete it by hand; the call is forgotten."""
        self._request.set_result(result)

    def set_exception(self, exception: BaseException, /) -> None:
        """Complete it by hand with an exception; the call is forgotten."""
        self._request.set_exception(exception)

    def add_done_callback(self, fn: Callable[[Any], object], /, **kwargs: Any) -> None:
        """Have *fn* called with it when it is complete."""
        self._request.add_done_callback(_MemberCallback(fn, self), **kwargs)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Have *fn* not called; return how often it would have been. For asyncio, whose futures have it."""
        request: Any = self._request
        removed: int = request.remove_done_callback(_MemberCallback(fn, self))
        return removed

    def answered(self, value: Any, error: BaseException | None) -> None:
        """Complete it with what the peer answered, or with how the call ended otherwise."""
        self._request.answered(value, error)

    if not TYPE_CHECKING:  # it is declared

        def __await__(self) -> Generator[Any, None, Any]:
            return self._request.__await__()


class _MemberCallback:
    """Calls *fn* with the member, where it is called with the request behind it."""

    __slots__ = ("_fn", "_member")

    def __init__(self, fn: Callable[[Any], object], member: BatchMember) -> None:
        self._fn = fn
        self._member = member

    def __call__(self, _request: object) -> object:
        return self._fn(self._member)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _MemberCallback) and (other._fn, other._member) == (self._fn, self._member)

    __hash__ = None  # type: ignore[assignment]  # it serves to be found in lists


class Outcomes:
    """What the members of one batch come to: known to the batch and to each of them.

    Attributes:
        requests: What was made of members, by their places.
        values: What all of them have come to, when one array answered them.
        ids: What they are called by; empty before they are sent.
        waiter: Completed when they are.
        open: How many are sent and not complete.
        members: All of them, while one is open.
    """

    __slots__ = ("_forget", "_new_request", "ids", "members", "open", "requests", "values", "waiter")

    def __init__(self, new_request: Callable[[Any, Any], RPCRequestOut], waiter: RPCRequestOut) -> None:
        self._new_request = new_request
        self._forget: Callable[[Any], object]  # from when they are sent
        self.requests: dict[int, RPCRequestOut] = {}
        self.values: Sequence[object] | None = None
        self.ids: Sequence[object] = ()
        self.waiter = waiter
        self.open = 0
        self.members: list[BatchMember] | None = None

    def request(self, member: BatchMember) -> RPCRequestOut:
        """Return the runtime's request behind *member*, in its state."""
        place = member.place
        request = self.requests.get(place)
        if request is None:
            request = self.requests[place] = self._new_request(member.method, member.args)
            if self.ids:
                self._watch(request, place)
            if self.values is not None:
                request.watcher = None
                request.answered(self.values[place], None)
        return request

    def value(self, member: BatchMember) -> object:
        """Return the result of *member*, which is among `values`."""
        assert self.values is not None
        return self.values[member.place]

    def sent(self, members: list[BatchMember], ids: Sequence[object], forget: Callable[[Any], object]) -> None:
        """All are sent: watch them. See `RPCBatchOut.sent`."""
        self.ids = ids
        self._forget = forget
        self.open = len(ids)
        self.members = members or None
        for place, request in self.requests.items():
            self._watch(request, place)
        if not ids:
            self._complete()

    def _watch(self, request: RPCRequestOut, place: int) -> None:
        request.request_id = self.ids[place]
        request.watcher = self

    def all_answered(self, members: Sequence[Any], values: Sequence[object]) -> bool:
        """Complete all members with *values*, if they are *members* and all open; else do nothing and return False."""
        ours = self.members
        if ours is None or self.open != len(ours):
            return False
        if members != ours:
            if len(members) != len(ours) or {*members} != {*ours}:
                return False
            by_member = dict(zip(members, values, strict=True))
            values = [by_member[member] for member in ours]
        self.values = values
        self.members = None
        self.open = 0
        for place, request in self.requests.items():
            request.watcher = None
            request.answered(values[place], None)
        self._complete()
        return True

    def request_ended(self, request: RPCRequestOut, is_answered: bool, error: BaseException | None, /) -> None:
        """Called by the request behind a member when it is complete; see `Watcher`."""
        if not is_answered:
            self._forget(request.request_id)
        if error is not None:
            request.exception()  # whoever awaits the batch finds it there: nobody has to look here
        self.open -= 1
        if self.open:
            return
        self.members = None  # they would keep each other alive
        if self.waiter.done():
            return
        last = _outcome(request)  # when the connection goes all open members fail, so this one too
        if isinstance(last, ConnectionLost | ClosedError):
            self.waiter.set_exception(last)
            self.waiter.exception()  # the members tell it too: nobody has to look here
        else:
            self._complete()

    def _complete(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)  # not the batch: they would keep each other alive


class RPCBatchOut(RPCBatch):
    """A batch to be sent; awaiting it, once sent, gives the batch itself, whose `results` are there then.

    Sessions make them (`new_batch`). Members complete as their answers come. Awaiting raises `ConnectionLost` or
    `ClosedError` when the connection went before all answers were there.

    Attributes:
        methods: The methods of all members, in the order they were added.
        params: Their arguments.
        tokens: Their requests; None for a notification.
        is_sent: Whether it was sent.
    """

    def __init__(self, outcomes: Outcomes, on_done: Callable[[RPCBatchOut], object] | None = None) -> None:
        # Not RPCBatch.__init__: a batch to be sent is filled later, and may be empty until then.
        self.methods: list[str] = []
        self.params: list[Any] = []
        self.tokens: list[BatchMember | None] = []
        self._notes = 0  # how many of them are notifications
        self._outcomes = outcomes
        self._waiter = outcomes.waiter
        self._on_done = on_done
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
        tokens = self.tokens
        member = BatchMember()
        member.method = method
        member.args = args
        member.outcomes = self._outcomes
        member.place = len(tokens) - self._notes
        if on_done is not None:
            member.add_done_callback(on_done)
        self.methods.append(method)
        self.params.append(args)
        tokens.append(member)
        return member

    def add_notification(self, method: str, args: Any = None) -> None:
        """Add a notification.

        Raises:
            LocalProtocolError: The batch has been sent.
        """
        if self.is_sent:
            raise LocalProtocolError("the batch has been sent")
        self.methods.append(method)
        self.params.append(args)
        self.tokens.append(None)
        self._notes += 1

    @property
    def items(self) -> tuple[Any, ...]:  # type: ignore[override]  # no list: what was added is what is sent
        """The requests and notifications, in the order they were added."""
        members = zip(self.methods, self.params, self.tokens, strict=True)
        return tuple([RPCRequest(method, args) if request is None else request for method, args, request in members])

    def __len__(self) -> int:
        return len(self.tokens)

    def is_request_batch(self) -> bool:
        """Return True: answers are never sent this way."""
        return True

    def requests(self) -> list[Any]:
        """Return the members that are answered, in order."""
        return [request for request in self.tokens if request is not None]

    @property
    def is_begun(self) -> bool:
        """Whether a request was completed or cancelled before it is sent."""
        return any(request.done() for request in self._outcomes.requests.values())

    @property
    def results(self) -> tuple[object, ...]:
        """What the requests came to, in order; each a value or an exception (`RPCError`, `TimeoutError`, ...).

        Raises:
            LocalProtocolError: Not all answers are there yet.
        """
        if not self.done():
            raise LocalProtocolError("the batch is not complete")
        if self._outcomes.values is not None:
            return tuple(self._outcomes.values)
        return tuple([_outcome(request) for request in self.requests()])

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
        self._waiter.add_done_callback(self._waited)
        self._outcomes.sent(self.requests(), ids, forget)

    def _waited(self, waiter: RPCRequestOut) -> None:
        if waiter.cancelled():
            self.cancel()
        if self._on_done is not None:
            self._on_done(self)

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
        return self.is_sent and not self._outcomes.open

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
