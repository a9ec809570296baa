# SPDX-License-Identifier: MIT
"""Outgoing batches, as their senders hold them: written once for all runtimes, complete when all their requests are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.wire.jsonrpc.batch_members import BatchMember
from tieline.wire.jsonrpc.items import PLAIN_PARAMS, RPCBatch, RPCRequest
from tieline.wire.jsonrpc.outgoing import OF_A_CALL, check_on_done

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from tieline.wire.jsonrpc.batch_members import Outcomes
    from tieline.wire.jsonrpc.outgoing import RPCRequestOut

__all__ = ["RPCBatchOut"]


class RPCBatchOut(RPCBatch):
    """A batch of requests; awaiting it, once sent, returns the batch itself, whose `results` are then available.

    Sessions create them (`SessionBase.batch`, `SessionBase.new_batch`). Requests complete as their replies arrive.
    Awaiting raises `ConnectionLost` or `ClosedError` if the connection ended before all replies arrived.

    Attributes:
        is_sent: Whether it was sent.
        outcomes: The results of its requests, as they come in.
    """

    def __init__(
        self, outcomes: Outcomes, on_done: Callable[[RPCBatchOut], object] | None = None, first: int = 0
    ) -> None:
        # Not RPCBatch.__init__: a batch to be sent is filled later, and may be empty until then.
        if on_done is not None:
            check_on_done(on_done)
        self._members: list[BatchMember] = []
        self._notifications: list[tuple[int, str, Any]] = []  # each with its place among all
        self.outcomes = outcomes
        self._first = outcomes.first = first
        self._seal = [outcomes]
        self._new_member = outcomes.member_class
        self._on_done = on_done
        self.is_sent = False

    def add_request(
        self, method: str, args: Any = (), on_done: Callable[[RPCRequestOut], object] | None = None
    ) -> RPCRequestOut:
        """Add a request and return it; *on_done* is called with it when it is answered or has failed.

        Raises:
            LocalProtocolError: The batch has been sent.
            TypeError: *on_done* cannot be called.
        """
        if self.is_sent:
            raise LocalProtocolError("the batch has been sent")
        if method.__class__ is not str or args.__class__ not in PLAIN_PARAMS:
            self.outcomes.is_plain = False
        members = self._members
        member = self._new_member(method, args, self._first + len(members), self._seal)
        if on_done is not None:
            check_on_done(on_done, OF_A_CALL)
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
        self.outcomes.is_plain = False
        self._notifications.append((len(self), method, args))

    @property
    def plain_members(self) -> list[BatchMember]:
        """The requests if nothing else is to be sent, and they can be encoded as they are; else none."""
        return self._members if self.outcomes.is_plain else []

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
        if outcomes.never_sent is not None:
            return True
        requests = outcomes.requests
        return bool(requests) and any(request.done() for request in requests.values())

    @property
    def results(self) -> tuple[object, ...]:
        """The results of the requests, in order; each a value or an exception (`RPCError`, `TimeoutError`, ...).

        Raises:
            LocalProtocolError: Not all replies have arrived yet.
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
        on_done = on_done or self._on_done
        if on_done is not None:
            self.outcomes.waiter().add_done_callback(partial(_tell_done, on_done, self))
        self.outcomes.sent(self._members, ids, forget)
        self.is_sent = True  # now that some are open: threads may look
        if not ids:
            self.outcomes.complete()

    def _check_sent(self) -> None:
        """Refuse to wait for what nothing will complete."""
        if not self.is_sent:
            raise LocalProtocolError("the batch has not been sent: nothing will complete it")

    def __await__(self) -> Generator[Any, None, RPCBatchOut]:
        self._check_sent()
        try:
            yield from self.outcomes.waiter().__await__()
        except (ConnectionLost, ClosedError):
            lost = self.outcomes.lost
            if lost is None:
                raise
            lost.__traceback__ = None  # it refers to this frame, and so to what keeps the error
        except GeneratorExit:  # the coroutine is thrown away, as tasks are that are left when their loop is closed
            raise
        except BaseException:  # with whoever waits for all, all are cancelled, and that now: the results may be wanted
            self.cancel()
            raise
        self.outcomes.check_lost()
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

    def broken_off(self, error: BaseException) -> None:
        """Called when *error* came in the middle of sending it, which costs the connection: it is sent, and lost."""
        if not self.is_sent:
            self._seal[:] = [self.outcomes]  # it may have come while they were encoded
            self.outcomes.break_off(self._members, error)
            self.is_sent = True

    def done(self) -> bool:
        """Return whether all replies have arrived, or never will."""
        return self.is_sent and not self.outcomes.open

    def cancel(self) -> bool:
        """Cancel all pending requests, and the tasks that await the batch; return whether there were any."""
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


def _tell_done(on_done: Callable[[RPCBatchOut], object], batch: RPCBatchOut, waiter: RPCRequestOut) -> None:
    if waiter.cancelled():
        batch.cancel()  # on asyncio this comes before the task that was cancelled can do it
    on_done(batch)
