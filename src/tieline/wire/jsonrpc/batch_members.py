# SPDX-License-Identifier: MIT
"""The requests of an outgoing batch, and what they come to.

They are many, and nearly nobody awaits one of them by itself. So each is a `BatchMember`, which is its message and its
place in the batch. The runtime's request is made behind it when somebody awaits it, watches it, or completes it by
hand. What others come to is kept with the batch (`Outcomes`), and when one array answers all, as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast
from weakref import ref

import msgspec

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.wire.anew import told_anew
from tieline.wire.jsonrpc.outgoing import RPCRequestOut

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    # Completes a waiter with a result, and may have whoever awaits it go on at once.
    Wake: TypeAlias = Callable[[Any, Any], object]

__all__ = ["TAKEN_OUT", "BatchMember", "MemberCallback", "Outcomes", "end_batch"]

OPEN: Final = object()
"""What a member has come to that has not been answered yet."""

# What was taken out of seals, by their ids, while their batches are encoded: another thread may ask for it then, and so
# may this one, in a signal handler or a finalizer.
TAKEN_OUT: Final[dict[int, Outcomes]] = {}


class MemberMethods(RPCRequestOut):
    """The base that hides the constructor of `RPCRequestOut`, which no direct base of a Struct may have."""

    __slots__ = ()


class BatchMember(
    MemberMethods,
    msgspec.Struct,
    eq=False,
    omit_defaults=True,
    tag_field="jsonrpc",
    tag="2.0",
    rename={"args": "params", "number": "id"},
):
    """A request of a batch. It can do what a request can that was sent by itself.

    As a Struct a plain one of 2.0 is encoded as it is, though only by `encoded_batch` (`writing.py`): where somebody
    has forgotten to await it, and sends it among arguments or as a result, that is an error.

    Attributes:
        number: Its place, counted from `Outcomes.first`: what it is called by if nothing else is sent before the batch.
        seal: One list for all of the batch, which holds its outcomes. They cannot be encoded, and so none of this can;
            while the list is empty it is left out, and all else is encoded.
    """

    method: Any
    args: Any
    number: int
    # Only of `list` itself does msgspec know that it is empty, and that has no type argument.
    seal: list[Outcomes] = msgspec.field(default_factory=list)  # pyright: ignore[reportUnknownVariableType]  # see above

    @property
    def outcomes(self) -> Outcomes:
        """What the requests of the batch come to."""
        while True:
            try:
                return self.seal[0]
            except IndexError:
                taken_out = TAKEN_OUT.get(id(self.seal))
                if taken_out is not None:  # else it has just been put back
                    return taken_out

    @property
    def place(self) -> int:
        """Its place among the requests of the batch; notifications have none."""
        return self.number - self.outcomes.first

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
        outcomes = self.outcomes
        if outcomes.has_result(self.place):
            return outcomes.values[self.place]
        if outcomes.waits_in_result:
            outcomes.check_wait(self)
        return self._request.result(*args, **kwargs)

    def exception(self, *args: Any, **kwargs: Any) -> BaseException | None:
        """Return what it has failed with; otherwise as that of a request that was sent by itself."""
        outcomes = self.outcomes
        if outcomes.has_result(self.place):
            return None
        if outcomes.waits_in_result:
            outcomes.check_wait(self)
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

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: it is part of a batch")

    # A Struct has its own of these.

    def __setattr__(self, name: str, value: Any) -> None:
        msgspec.structs.force_setattr(self, name, value)
        self.outcomes.is_plain = False  # nobody has looked at it

    def __copy__(self) -> Any:
        return self.__reduce__()

    def __replace__(self, **_changes: Any) -> Any:
        return self.__reduce__()

    def __rich_repr__(self) -> Any:
        return (("method", self.method), ("id", self.request_id))  # arguments may be secrets

    if not TYPE_CHECKING:  # it is declared

        def __await__(self) -> Generator[Any, None, Any]:
            self.outcomes.check_wait(self)
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
        first: What the first of them would be called by if they were sent at once.
        is_filled_here: Whether the caller adds them, in a ``with`` that sends them as it ends; None outside of one.
        ids: What they are called by; empty before they are sent.
        is_plain: Nothing was added that cannot be encoded as it is.
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
        "first",
        "ids",
        "is_filled_here",
        "is_over",
        "is_plain",
        "lost",
        "members",
        "never_sent",
        "open",
        "prompt",
        "requests",
        "values",
    )

    member_class: ClassVar[type[BatchMember]] = BatchMember
    waits_in_result: ClassVar[bool] = False  # whether `result` waits, as it does in blocking code

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
        self.first = 0
        self.ids: Sequence[object] = ()
        self.open = 0
        self.is_filled_here: Callable[[], bool] | None = None
        self.is_over = False
        self.is_plain = True
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

    def check_wait(self, member: BatchMember) -> None:
        """Refuse to wait for *member* to who has yet to send it.

        Raises:
            LocalProtocolError: The caller fills the batch, which is sent behind that.
        """
        if self.is_filled_here is not None and not member.done() and self.is_filled_here():
            raise LocalProtocolError("the batch is sent when its block ends: wait for its requests behind the block")

    def outcome(self, member: BatchMember) -> object:
        """Return what *member*, which is complete, has come to: a result or an error."""
        place = member.place
        return self.values[place] if self.has_value(place) else _outcome(self.requests[place])

    def request(self, member: BatchMember) -> RPCRequestOut:
        """Return the runtime's request behind *member*, in its state."""
        place = member.place
        request = self.requests.get(place)
        if request is None:
            request = self._new_request(member.method, member.args)
            # An interrupt (Ctrl-C) may come between any two lines: until it is kept, another one can be made instead.
            for fn, kwargs in (self._callbacks or {}).get(place, ()):
                cast("Any", request).add_done_callback(MemberCallback(fn, member), **kwargs)
            self.requests[place] = request
            if self._callbacks:
                self._callbacks.pop(place, None)
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

    def break_off(self, members: list[BatchMember], error: BaseException) -> None:
        """Sending them was broken off by *error*, at any point: all end with the error of a lost connection."""
        # Not with *error* as its cause, which refers to whoever has the batch.
        lost = ConnectionLost(f"sending the batch was broken off: {type(error).__name__}")
        self.values = []
        for member in members:
            request = self.request(member)
            request.watcher = None
            if not request.done():
                _fail(request, lost)
        self.open = 0
        self.lost = lost
        self.complete()

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
        if self._waiter is not None and self._waiter.cancelled():
            self._waiter.result()
        self.check_lost()

    def check_lost(self) -> None:
        """Raise an error like the one that they ended with when the connection went, if it did."""
        if self.lost is not None:
            raise told_anew(self.lost)

    def all_answered(self, members: Sequence[Any], values: list[Any], wake: Wake) -> bool:
        """Complete all members with *values*, if they are *members* and all open; else do nothing and return False.

        *wake* completes what `prompt` is.
        """
        ours = self.members
        if ours is None or self.open != len(ours):
            return False
        if members is not ours and members != ours:
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
