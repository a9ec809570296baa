# SPDX-License-Identifier: MIT
"""Outgoing requests and batches, as their senders hold them.

`RPCRequestOut` declares what an outgoing request can do; each runtime derives a class that can be awaited there (on
asyncio it is an `asyncio.Future`). `RPCBatchOut` is written once: it is complete when all of its requests are.

The requests of a batch are many, and nearly nobody awaits one of them by itself. So each is a `BatchMember`, which is
little more than its place in the batch. The runtime's request is made behind it when somebody awaits it, watches it, or
completes it by hand. What others come to is kept with the batch, and when one array answers all, as it came.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, cast
from weakref import ref

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    # Completes a waiter with a result, and may have whoever awaits it go on at once.
    Wake: TypeAlias = Callable[[Any, Any], object]

__all__ = ["BatchMember", "MemberCallback", "Outcomes", "RPCBatchOut", "RPCRequestOut", "Watcher", "end_batch"]

OPEN: Final = object()
"""What a member has come to that has not been answered yet."""


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
    """A request of a batch. It can do what a request can that was sent by itself.

    Attributes:
        outcomes: Those of the batch.
        place: Its place among the requests of the batch; notifications have none.
    """

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
    def _request(self) -> Any:
        return self.outcomes.request(self)

    def done(self) -> bool:
        """Return whether it is answered, has failed, was cancelled, or will not be sent."""
        outcomes = self.outcomes
        request = outcomes.requests.get(self.place)
        if request is not None:
            return request.done()
        return outcomes.has_value(self.place) or outcomes.never_sent is not None

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        request = self.outcomes.requests.get(self.place)
        return request is not None and request.cancelled()

    def result(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result; otherwise as that of a request that was sent by itself."""
        if self.outcomes.has_result(self.place):
            return self.outcomes.values[self.place]
        return self._request.result(*args, **kwargs)

    def exception(self, *args: Any, **kwargs: Any) -> BaseException | None:
        """Return what it has failed with; otherwise as that of a request that was sent by itself."""
        if self.outcomes.has_result(self.place):
            return None
        error: BaseException | None = self._request.exception(*args, **kwargs)
        return error

    def cancel(self, *args: Any, **kwargs: Any) -> bool:
        """Cancel it: the call is forgotten, its late answer dropped. Return False when it is complete."""
        return not self.done() and bool(self._request.cancel(*args, **kwargs))

    def set_result(self, result: Any, /) -> None:
        """Complete it by hand; the call is forgotten."""
        self._request.set_result(result)

    def set_exception(self, exception: BaseException, /) -> None:
        """Complete it by hand with an exception; the call is forgotten."""
        self._request.set_exception(exception)

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Have *fn* called with it when it is complete."""
        self.outcomes.add_callback(self, fn, {})

    def answered(self, value: Any, error: BaseException | None) -> None:
        """Complete it with what the peer answered, or with how the call ended otherwise."""
        self.outcomes.answered(self.place, value, error)

    def __reduce__(self) -> str:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: it is part of a batch")

    if not TYPE_CHECKING:  # it is declared

        def __await__(self) -> Generator[Any, None, Any]:
            return self._request.__await__()


class MemberCallback:
    """Calls *fn* with the member, where it is called with the request behind it."""

    __slots__ = ("_fn", "_member")

    def __init__(self, fn: Callable[[Any], object], member: BatchMember) -> None:
        self._fn = fn
        self._member = member

    def __call__(self, _request: object) -> object:
        return self._fn(self._member)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemberCallback) and (other._fn, other._member) == (self._fn, self._member)

    def __hash__(self) -> int:
        return hash((self._fn, self._member))

    def __repr__(self) -> str:
        return repr(self._fn)


class Outcomes:
    """What the requests of one batch come to: known to the batch and to each of them.

    Args:
        new_request: Makes a request of the runtime.
        note_early: Called with this when somebody waits for a member before they are sent.

    Attributes:
        values: What each has come to, by its place: a result, an error, or `OPEN`; of those that nothing was made of.
        requests: What was made of members, by their places.
        ids: What they are called by; empty before they are sent.
        open: How many are sent and not complete.
        members: All of them, while one is open.
        is_over: They are sent and complete.
        never_sent: They will not be sent; it makes the error that each ends with.
        lost: The error that they ended with when the connection went.
        prompt: What a task waits for that may go on at once when they are complete; None when none does.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_failed",
        "_forget",
        "_new_request",
        "_note_early",
        "_waiter",
        "_watched",
        "ids",
        "is_over",
        "lost",
        "members",
        "never_sent",
        "open",
        "prompt",
        "requests",
        "values",
    )

    member_class: ClassVar[type[BatchMember]] = BatchMember

    def __init__(
        self, new_request: Callable[[Any, Any], RPCRequestOut], note_early: Callable[[Outcomes], object]
    ) -> None:
        self._new_request = new_request
        self._note_early = note_early
        self._forget: Callable[[Any], object]  # from when they are sent
        # Of members that nothing was made of yet and that are not sent: they would keep each other alive for ever.
        self._callbacks: dict[int, list[tuple[Callable[[Any], object], dict[str, Any]]]] | None = None
        self._watched: list[ref[BatchMember]] | None = None  # those members
        self._failed: set[int] | None = None  # the places of errors among the values
        self._waiter: RPCRequestOut | None = None
        self.values: list[Any] = []
        self.requests: dict[int, RPCRequestOut] = {}
        self.ids: Sequence[object] = ()
        self.open = 0
        self.is_over = False
        self.members: list[BatchMember] | None = None
        self.never_sent: Callable[[], Exception] | None = None
        self.lost: Exception | None = None
        self.prompt: Any = None

    def has_value(self, place: int) -> bool:
        """Return whether the member at *place* has been answered, and nothing was made of it before."""
        return bool(self.values) and self.values[place] is not OPEN

    def has_result(self, place: int) -> bool:
        """Return whether it has, with a result."""
        return self.has_value(place) and (self._failed is None or place not in self._failed)

    def outcome(self, member: BatchMember) -> object:
        """Return what *member*, which is complete, has come to: a result or an error."""
        place = member.place
        return self.values[place] if self.has_value(place) else _outcome(self.requests[place])

    def request(self, member: BatchMember) -> RPCRequestOut:
        """Return the runtime's request behind *member*, in its state."""
        place = member.place
        request = self.requests.get(place)
        if request is None:
            request = self.requests[place] = self._new_request(member.method, member.args)
            if self._callbacks:
                for fn, kwargs in self._callbacks.pop(place, ()):
                    cast("Any", request).add_done_callback(MemberCallback(fn, member), **kwargs)
            if self.has_result(place):
                request.answered(self.values[place], None)
            elif self.has_value(place):
                _fail(request, self.values[place])
            elif self.ids:
                self._watch(request, place)
            elif self.never_sent is not None:
                _fail(request, self.never_sent())
            else:
                self._note_early(self)
        return request

    def never_send(self, new_error: Callable[[], Exception]) -> None:
        """They will not be sent, unless they were: whoever waits for one, now or later, gets what *new_error* makes."""
        if self.ids:
            return
        self.never_sent = new_error
        for member in [watched() for watched in self._watched or ()]:
            if member is not None:
                self.request(member)
        for request in self.requests.values():
            if not request.done():
                _fail(request, new_error())

    def add_callback(self, member: BatchMember, fn: Callable[[Any], object], kwargs: dict[str, Any]) -> None:
        """Have *fn* called with *member* when it is complete; *kwargs* are for the runtime's request."""
        if self.ids or not self.keep_callback(member, fn, kwargs):
            request: Any = self.request(member)
            request.add_done_callback(MemberCallback(fn, member), **kwargs)

    def keep_callback(self, member: BatchMember, fn: Callable[[Any], object], kwargs: dict[str, Any]) -> bool:
        """Keep *fn* for the request that will be made of *member*; return False if that is made, or they are sent."""
        if self.ids or self.never_sent is not None or member.place in self.requests:
            return False
        if self._callbacks is None or self._watched is None:
            self._callbacks, self._watched = {}, []
        if member.place not in self._callbacks:
            self._callbacks[member.place] = []
            self._watched.append(ref(member))
        self._callbacks[member.place].append((fn, kwargs))
        self._note_early(self)
        return True

    def remove_callback(self, member: BatchMember, fn: Callable[[Any], object]) -> int:
        """Have *fn* not called; return how often it would have been. Where the runtime's requests can do that."""
        waiting = (self._callbacks or {}).get(member.place, [])
        kept = [one for one in waiting if one[0] != fn]
        removed = len(waiting) - len(kept)
        waiting[:] = kept
        request: Any = self.requests.get(member.place)
        return removed if request is None else removed + int(request.remove_done_callback(MemberCallback(fn, member)))

    def sent(self, members: list[BatchMember], ids: Sequence[object], forget: Callable[[Any], object]) -> None:
        """All are sent: watch them. See `RPCBatchOut.sent`."""
        self.ids = ids
        self._forget = forget
        self.open = len(ids)
        self.members = members or None
        self.values = [OPEN] * len(ids)
        for place, request in self.requests.items():
            self._watch(request, place)
        for place in [*(self._callbacks or ())]:
            self.request(members[place])

    def _watch(self, request: RPCRequestOut, place: int) -> None:
        request.request_id = self.ids[place]
        request.watcher = self

    # --- completion ----------------------------------------------------------------------------------------------

    def waiter(self) -> RPCRequestOut:
        """Return a request that asks nothing, and is complete when they are. Made for the first who wants it."""
        if self._waiter is None:
            self._waiter = self._new_request("", None)
            if self.lost is not None:
                _fail(self._waiter, self.lost)
            elif self.is_over:
                self._waiter.set_result(None)
        return self._waiter

    def check_end(self) -> None:
        """Raise what whoever awaits the batch, which is complete, is to get instead of the results."""
        if self._waiter is not None:
            self._waiter.result()
        else:
            self.check_lost()

    def check_lost(self) -> None:
        """Raise an error like the one that they ended with when the connection went, if it did."""
        if self.lost is not None:
            error = type(self.lost)(*self.lost.args)  # with its traceback, the same would refer to those who have it
            error.__cause__ = self.lost.__cause__
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame

    def all_answered(self, members: Sequence[Any], values: list[Any], wake: Wake) -> bool:
        """Complete all members with *values*, if they are *members* and all open; else do nothing and return False.

        *wake* completes what `prompt` is.
        """
        ours = self.members
        if ours is None or self.open != len(ours):
            return False
        if members != ours:
            if len(members) != len(ours) or {*members} != {*ours}:
                return False
            by_member = dict(zip(members, values, strict=True))
            values = [by_member[member] for member in ours]
        self.values = values
        for place, request in self.requests.items():
            request.watcher = None
            request.answered(values[place], None)
        self.open = 0
        self.complete(wake)
        return True

    def answered(self, place: int, value: Any, error: BaseException | None) -> None:
        """Complete the member at *place* with what the peer answered, or with how the call ended otherwise."""
        request = self.requests.get(place)
        if request is not None:
            request.answered(value, error)
            return
        if error is not None:
            if self._failed is None:
                self._failed = set()
            self._failed.add(place)
        self.values[place] = value if error is None else error
        self._ended(error)

    def request_ended(self, request: RPCRequestOut, is_answered: bool, error: BaseException | None, /) -> None:
        """Called by the request behind a member when it is complete; see `Watcher`."""
        if not is_answered:
            self._forget(request.request_id)
        if error is not None:
            request.exception()  # whoever awaits the batch finds it there: nobody has to look here
        self._ended(error if is_answered else _outcome(request))

    def _ended(self, last: object) -> None:
        """Take note that a member is complete; *last* is its error, if it has one."""
        self.open -= 1
        if self.open:
            return
        # When the connection goes all open members fail, so the last one too.
        if isinstance(last, ConnectionLost | ClosedError):
            self.lost = last
        self.complete()

    def complete(self, wake: Wake | None = None) -> None:
        """All are complete: tell whoever awaits the batch, unless that is told."""
        self.is_over = True
        self.members = None  # they would keep each other alive
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if self.lost is not None:
                _fail(waiter, self.lost)
            else:
                waiter.set_result(None)  # not the batch: likewise
        prompt, self.prompt = self.prompt, None
        if prompt is not None and not prompt.done():
            if wake is None or self.requests or waiter is not None:  # others go on as well, and in the order they came
                prompt.set_result(None)
            else:
                wake(prompt, None)


def end_batch(members: Sequence[Any], values: list[Any], wake: Wake) -> bool:
    """Complete *members* with *values*, if they are all of one batch; else do nothing, and return False.

    *wake* completes what a task waits for that may go on at once; see `tieline.runtimes.host.Host`.
    """
    return isinstance(members[0], BatchMember) and members[0].outcomes.all_answered(members, values, wake)


class RPCBatchOut(RPCBatch):
    """A batch to be sent; awaiting it, once sent, gives the batch itself, whose `results` are there then.

    Sessions make them (`new_batch`). Members complete as their answers come. Awaiting raises `ConnectionLost` or
    `ClosedError` when the connection went before all answers were there.

    Attributes:
        is_sent: Whether it was sent.
        outcomes: What its requests come to.
    """

    def __init__(self, outcomes: Outcomes, on_done: Callable[[RPCBatchOut], object] | None = None) -> None:
        # Not RPCBatch.__init__: a batch to be sent is filled later, and may be empty until then.
        self._members: list[BatchMember] = []
        self._notifications: list[tuple[int, str, Any]] = []  # each with its place among all
        self.outcomes = outcomes
        self._new_member = outcomes.member_class
        self._on_done = on_done
        self._is_watched = False  # `_waited` will be called
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
        members = self._members
        member = self._new_member()
        member.method = method
        member.args = args
        member.outcomes = self.outcomes
        member.place = len(members)
        if on_done is not None:
            member.add_done_callback(on_done)
        members.append(member)
        return member

    def add_notification(self, method: str, args: Any = None) -> None:
        """Add a notification.

        Raises:
            LocalProtocolError: The batch has been sent.
        """
        if self.is_sent:
            raise LocalProtocolError("the batch has been sent")
        self._notifications.append((len(self), method, args))

    def columns(self) -> tuple[list[Any], list[Any], list[RPCRequestOut | None]]:
        """Return the methods, the arguments and the requests in the order they were added; None for a notification."""
        members = self._members
        methods: list[Any] = [member.method for member in members]
        args = [member.args for member in members]
        requests: list[RPCRequestOut | None] = [*members]
        for place, method, its_args in self._notifications:
            methods.insert(place, method)
            args.insert(place, its_args)
            requests.insert(place, None)
        return methods, args, requests

    @property
    def items(self) -> tuple[Any, ...]:  # type: ignore[override]  # no list: what was added is what is sent
        """The requests and notifications, in the order they were added."""
        rows = zip(*self.columns(), strict=True)
        return tuple([RPCRequest(method, args) if request is None else request for method, args, request in rows])

    def __len__(self) -> int:
        return len(self._members) + len(self._notifications)

    def is_request_batch(self) -> bool:
        """Return True: answers are never sent this way."""
        return True

    def requests(self) -> list[Any]:
        """Return the members that are answered, in order."""
        return [*self._members]

    @property
    def has_ended_requests(self) -> bool:
        """Whether one of the requests is complete or cancelled; of a batch that is not sent, by hand or given up."""
        outcomes = self.outcomes
        return outcomes.never_sent is not None or any(request.done() for request in outcomes.requests.values())

    @property
    def results(self) -> tuple[object, ...]:
        """What the requests came to, in order; each a value or an exception (`RPCError`, `TimeoutError`, ...).

        Raises:
            LocalProtocolError: Not all answers are there yet.
        """
        if not self.done():
            raise LocalProtocolError("the batch is not complete")
        outcomes = self.outcomes
        if not outcomes.requests:
            return tuple(outcomes.values)
        return tuple([outcomes.outcome(request) for request in self._members])

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
        self._on_done = on_done or self._on_done
        if self._on_done is not None:
            self._watched_waiter()
        self.outcomes.sent(self._members, ids, forget)
        self.is_sent = True  # now that some are open: threads may look
        if not ids:
            self.outcomes.complete()

    def _watched_waiter(self) -> RPCRequestOut:
        """Return what is complete when the batch is; when that is cancelled, so is the batch."""
        waiter = self.outcomes.waiter()
        if not self._is_watched:
            self._is_watched = True
            waiter.add_done_callback(self._waited)
        return waiter

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
        yield from self._watched_waiter().__await__()
        return self

    async def wait_promptly(self, waiter: Any) -> None:
        """Do what awaiting the batch does, and go on at once when it is complete, if nobody else waits for any of it.

        For whoever has made the batch: one task may call it.

        Args:
            waiter: What to wait for: one of the runtime's that its host may wake at once.
        """
        if self.done():
            await self
            return
        self.outcomes.prompt = waiter
        try:
            await waiter
        except BaseException:
            self.cancel()
            raise
        self.outcomes.check_end()

    def never_send(self, error: BaseException) -> None:
        """Called when it will not be sent, because of *error*: whoever waits for a member gets a LocalProtocolError."""
        if not self.is_sent:
            # Not the error itself: it refers to whoever has the batch.
            self.outcomes.never_send(partial(LocalProtocolError, f"the batch was not sent: {type(error).__name__}"))

    def done(self) -> bool:
        """Return whether all answers are there, or will never come."""
        return self.is_sent and not self.outcomes.open

    def cancel(self) -> bool:
        """Cancel all open members, and whoever awaits the batch; return whether there were any."""
        open_requests = [request for request in self._members if not request.done()]
        self.outcomes.waiter().cancel()  # before the members, since the last of them completes the batch
        for request in open_requests:
            request.cancel()
        return bool(open_requests)

    def set_result(self, result: object) -> None:
        """Complete all open members with *result*."""
        for request in self._members:
            if not request.done():
                request.set_result(result)

    def set_exception(self, exception: BaseException) -> None:
        """Complete all open members with *exception*."""
        for request in self._members:
            if not request.done():
                request.set_exception(exception)


def _fail(request: RPCRequestOut, error: Exception) -> None:
    """End *request* with *error*, which is told elsewhere too: nobody has to look for it here."""
    request.answered(None, error)
    request.exception()


def _outcome(request: RPCRequestOut) -> object:
    try:
        error = request.exception()  # if `result` raised it, it would refer to the request by its traceback
    except BaseException as exc:  # it was cancelled, and that is the outcome
        return exc
    return request.result() if error is None else error
