# SPDX-License-Identifier: MIT
"""Outgoing batches, with a small future in the place of a runtime's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import msgspec
import pytest

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError, RPCError
from tieline.wire.jsonrpc.batch_members import OPEN, BatchMember, MemberCallback, Outcomes, end_batch
from tieline.wire.jsonrpc.events import Answers
from tieline.wire.jsonrpc.items import RPCRequest
from tieline.wire.jsonrpc.outgoing import RPCRequestOut
from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut
from tieline.wire.jsonrpc.writing import encoded_batch


class Cancelled(BaseException):
    """What a cancelled future raises."""


class Future(RPCRequestOut):
    """A request that is complete as soon as it is told so, and calls back at once."""

    def __init__(self, method: str, args: object = None) -> None:
        super().__init__(method, args)
        self._outcome: tuple[object, BaseException | None] | None = None
        self._callbacks: list[Callable[[Any], object]] = []
        self.looked_at = False

    def done(self) -> bool:
        return self._outcome is not None

    def cancelled(self) -> bool:
        return self._outcome is not None and isinstance(self._outcome[1], Cancelled)

    def _end(self, value: object, error: BaseException | None) -> None:
        assert self._outcome is None, "completed twice"
        self._outcome = value, error
        for callback in self._callbacks:
            callback(self)
        self.ended()

    def cancel(self, msg: object = None) -> bool:
        if self.done():
            return False
        self._end(None, Cancelled(msg))
        return True

    def set_result(self, result: Any, /) -> None:
        self._end(result, None)

    def set_exception(self, exception: BaseException, /) -> None:
        self._end(None, exception)

    def answered(self, value: Any, error: BaseException | None) -> None:
        watcher, self.watcher = self.watcher, None
        self._end(value, error)
        if watcher is not None:
            watcher.request_ended(self, True, error)

    def result(self) -> Any:
        assert self._outcome is not None
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def exception(self) -> BaseException | None:
        assert self._outcome is not None
        self.looked_at = True
        if self.cancelled():
            self.result()
        return self._outcome[1]

    def add_done_callback(self, fn: Callable[[Any], object], /) -> object:
        if self.done():
            fn(self)
        else:
            self._callbacks.append(fn)
        return None

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        kept = [callback for callback in self._callbacks if callback != fn]
        removed = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return removed

    def __await__(self) -> Generator[Any, None, Any]:
        while not self.done():
            yield
        return self.result()


def new_batch(on_done: Callable[[RPCBatchOut], object] | None = None) -> tuple[RPCBatchOut, Future]:
    batch = RPCBatchOut(Outcomes(Future, nothing), on_done)
    waiter = batch.outcomes.waiter()
    assert isinstance(waiter, Future)
    return batch, waiter


def behind(member: Any) -> Future:
    """Return what was made of a member."""
    made: Future = member.outcomes.request(member)
    return made


def nothing(_: object) -> None:
    """Do nothing."""


def sent_batch(
    size: int, on_done: Callable[[RPCBatchOut], object] | None = None, forgotten: list[object] | None = None
) -> tuple[RPCBatchOut, Future, Any]:
    batch, waiter = new_batch()
    requests = [batch.add_request(f"m{number}", [number]) for number in range(size)]
    batch.sent(range(size), forgotten.append if forgotten is not None else nothing, on_done)
    return batch, waiter, requests


def test_a_request_tells_what_it_asks() -> None:
    request = Future("m", [1])
    assert (request.method, request.args, request.watcher) == ("m", [1], None)
    assert not request.is_notification()


def test_members_stand_in_the_order_in_which_they_were_added() -> None:
    batch, _ = new_batch()
    first = batch.add_request("a", [1])
    batch.add_notification("b", {"x": 2})
    second = batch.add_request("c")
    assert [item.method for item in batch.items] == ["a", "b", "c"]
    assert len(batch) == 3
    assert batch.requests() == [first, second]
    assert batch.is_request_batch()
    assert (batch.items[0], batch.items[2]) == (first, second)
    notification = batch.items[1]
    assert isinstance(notification, RPCRequest)
    assert notification.is_notification()


@pytest.mark.parametrize("kinds", ["n", "nn", "nr", "rn", "nnrr", "rrnn", "nrnrn", "rnnrnr"])
def test_notifications_keep_their_places_among_the_requests(kinds: str) -> None:
    batch, _ = new_batch()
    requests: list[object] = []
    for number, kind in enumerate(kinds):
        if kind == "n":
            batch.add_notification(f"m{number}", [number])
            requests.append(None)
        else:
            requests.append(batch.add_request(f"m{number}", [number]))
    methods, params, tokens = batch.columns()
    assert methods == [f"m{number}" for number in range(len(kinds))]
    assert params == [[number] for number in range(len(kinds))]
    assert tokens == requests
    assert [(item.method, item.args) for item in batch.items] == list(zip(methods, params, strict=True))


@pytest.mark.row("J10")
def test_the_members_are_plain_as_long_as_nothing_else_was_added() -> None:
    batch, _ = new_batch()
    assert [*batch.plain_members] == []
    for args in ([1], (1, 2), {"a": 1}):
        batch.add_request("a", args)
    batch.add_request("a")
    assert batch.plain_members == batch.requests()
    texts = [b'"params":[1],"id":0', b'"params":[1,2],"id":1', b'"params":{"a":1},"id":2', b'"params":[],"id":3']
    assert encoded_batch(batch.plain_members) == b"[%b]" % b",".join(
        [b'{"jsonrpc":"2.0","method":"a",%b}' % text for text in texts]
    )
    odd: list[tuple[Any, Any]] = [("a", {1}), ("a", 5), ("a", None), (5, [1]), ("a", OPEN)]
    for method, args in odd:
        batch, _ = new_batch()
        batch.add_request("a", [1])
        batch.add_request(method, args)
        assert [*batch.plain_members] == []
    batch, _ = new_batch()
    batch.add_request("a", [1])
    batch.add_notification("b")
    assert [*batch.plain_members] == []


@pytest.mark.parametrize("when", ["new", "encoded", "not encoded"])
@pytest.mark.row("J10")
def test_a_request_that_nobody_awaited_is_not_encoded_in_the_place_of_its_result(when: str) -> None:
    batch, _ = new_batch()
    request = batch.add_request("log_in", ["secret"])
    if when == "not encoded":
        batch.add_request("b", [OPEN])
    if when != "new":
        assert (encoded_batch(batch.plain_members) is None) is (when == "not encoded")
    for value in (request, [request], {"token": request}):
        with pytest.raises(TypeError):
            msgspec.json.encode(value)
        with pytest.raises(TypeError):
            msgspec.to_builtins(value)


def test_a_batch_is_empty_until_it_is_filled_and_still_one_of_requests() -> None:
    batch, _ = new_batch()
    assert len(batch) == 0
    assert batch.is_request_batch()
    assert not batch.done()
    batch.add_request("a")
    outcomes = batch.outcomes
    assert (outcomes.open, outcomes.members, outcomes.is_over, outcomes.lost) == (0, None, False, None)


@pytest.mark.row("J3")
def test_results_stand_in_order_whatever_the_order_of_the_answers() -> None:
    batch, waiter, (first, second, third) = sent_batch(3)
    error = RPCError(1, "no")
    third.set_result("c")
    first.set_result("a")
    assert not batch.done()
    assert not waiter.done()
    with pytest.raises(LocalProtocolError, match="not complete"):
        _ = batch.results
    second.set_exception(error)
    assert batch.done()
    assert batch.results == ("a", error, "c")
    assert waiter.result() is None  # not the batch, which refers to it: that would be a cycle


def test_awaiting_a_batch_gives_the_batch() -> None:
    batch, _, (request,) = sent_batch(1)
    steps = batch.__await__()
    assert next(steps, "ended") is None
    request.set_result(5)
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert ended.value.value is batch


def test_what_is_thrown_into_who_awaits_a_batch_is_raised_there() -> None:
    batch, _, _ = sent_batch(1)
    steps = batch.__await__()
    next(steps)
    with pytest.raises(ConnectionLost, match="another connection"):
        steps.throw(ConnectionLost("another connection"))
    assert not batch.done()


def test_awaiting_a_batch_that_was_not_sent_is_told_and_not_for_ever() -> None:
    batch, _ = new_batch()
    batch.add_request("a")
    with pytest.raises(LocalProtocolError, match="has not been sent"):
        next(batch.__await__())


@pytest.mark.row("J3", "J10")
def test_a_batch_of_notifications_is_complete_when_it_is_sent() -> None:
    heard: list[RPCBatchOut] = []
    batch, waiter = new_batch(heard.append)
    batch.add_notification("a")
    assert not batch.done()
    batch.sent((), nothing)
    assert batch.done()
    assert batch.results == ()
    assert waiter.result() is None  # not the batch, which refers to it: that would be a cycle
    assert heard == [batch]


def test_nothing_is_added_to_a_batch_that_was_sent() -> None:
    batch, _, _ = sent_batch(1)
    with pytest.raises(LocalProtocolError, match="has been sent"):
        batch.add_request("m")
    with pytest.raises(LocalProtocolError, match="has been sent"):
        batch.add_notification("m")
    assert len(batch) == 1


def test_arguments_that_are_given_one_by_one_are_no_on_done() -> None:
    batch, _ = new_batch()
    with pytest.raises(TypeError, match=r"^on_done must be callable, not int: all arguments .* are one list or dict$"):
        batch.add_request("add", 1, 2)  # type: ignore[arg-type]  # the mistake that is shown
    assert not len(batch)


def test_on_done_of_a_member_gets_the_request_and_of_a_batch_the_batch() -> None:
    heard: list[object] = []
    batch, _ = new_batch(heard.append)
    first, second = batch.add_request("a", None, heard.append), batch.add_request("b")
    batch.sent((0, 1), nothing)
    second.set_result(1)
    assert heard == []
    first.set_result(2)
    assert heard == [first, batch]


def test_the_on_done_of_sending_takes_the_place_of_that_of_making() -> None:
    made: list[object] = []
    sent: list[object] = []
    batch, _ = new_batch(made.append)
    request = batch.add_request("a")
    batch.sent((0,), nothing, sent.append)
    request.set_result(1)
    assert (made, sent) == ([], [batch])


def test_an_on_done_that_fails_keeps_nobody_waiting() -> None:
    def fail(_batch: RPCBatchOut) -> None:
        raise ZeroDivisionError

    _, waiter, (request,) = sent_batch(1, fail)
    with pytest.raises(ZeroDivisionError):
        request.set_result(1)
    assert waiter.result() is None  # not the batch, which refers to it: that would be a cycle


@pytest.mark.parametrize("how", ["result", "exception", "cancel"])
def test_a_request_that_is_completed_by_hand_is_forgotten_once(how: str) -> None:
    forgotten: list[object] = []
    batch, _, (request, _other) = sent_batch(2, forgotten=forgotten)
    match how:
        case "result":
            request.set_result(1)
        case "exception":
            request.set_exception(RPCError(1, "no"))
        case _:
            request.cancel()
    assert forgotten == [0]
    assert not batch.done()
    assert request.watcher is None
    request.ended()
    assert forgotten == [0]
    assert not batch.done()


@pytest.mark.parametrize("error", [None, RPCError(1, "no")], ids=repr)
def test_a_request_that_the_connection_ends_is_not_forgotten_and_its_error_is_seen(error: Exception | None) -> None:
    forgotten: list[object] = []
    batch, waiter, (request, other) = sent_batch(2, forgotten=forgotten)
    made = behind(request)
    request.answered(5, error)
    assert made.looked_at is (error is not None), "the batch tells it: nobody needs to be told"
    other.answered(5, None)
    assert forgotten == []
    assert batch.results == (error or 5, 5)
    assert waiter.result() is None


# --- all at once -----------------------------------------------------------------------------------------------------


@pytest.mark.row("J3")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_members_may_be_answered_all_at_once_in_any_order(order: Sequence[int]) -> None:
    heard: list[object] = []
    batch, waiter = new_batch()
    requests: list[Any] = [batch.add_request(f"m{number}", [number]) for number in range(2)]
    requests.append(batch.add_request("watched", [2], heard.append))
    batch.sent(range(10, 13), nothing, heard.append)
    assert [request.request_id for request in requests] == [10, 11, 12]
    assert not any(request.done() for request in requests)
    assert end_batch([requests[place] for place in order], [f"value {place}" for place in order], Future.set_result)
    assert heard == [requests[2], batch]
    assert waiter.result() is None
    assert batch.done()
    assert batch.outcomes.members is None  # they would keep each other alive
    assert batch.results == ("value 0", "value 1", "value 2")
    for place, request in enumerate(requests):
        assert request.done()
        assert not request.cancelled()
        assert not request.cancel()
        assert request.exception() is None
        assert request.result() == f"value {place}"


def test_what_is_made_of_a_member_that_has_its_result_has_it_too() -> None:
    batch, _, requests = sent_batch(2)
    assert end_batch(requests, ["a", "b"], Future.set_result)
    with pytest.raises(StopIteration) as ended:
        next(requests[1].__await__())
    assert ended.value.value == "b"
    heard: list[object] = []
    requests[0].add_done_callback(heard.append)
    assert heard == [requests[0]]
    assert [request.result() for request in requests] == ["a", "b"]
    assert [request.exception() for request in requests] == [None, None]
    assert batch.results == ("a", "b")


def test_answers_to_anything_else_than_all_of_one_batch_do_not_end_it() -> None:
    batch, _, requests = sent_batch(3)
    _, _, others = sent_batch(3)
    for tokens in (
        requests[:2],
        [*requests[:2], others[2]],
        [*requests[:2], Future("alone")],
        ["token", *requests[:2]],
    ):
        assert not end_batch(tokens, tokens, Future.set_result)
    assert not batch.done()
    requests[0].set_result("by hand")
    assert not end_batch(requests, [1, 2, 3], Future.set_result)
    requests[1].answered(5, None)
    requests[2].answered(6, None)
    assert batch.results == ("by hand", 5, 6)
    assert not end_batch(requests, [1, 2, 3], Future.set_result), "nothing of it is open any more"


def test_answers_may_come_before_the_batch_hears_that_nobody_waits_for_it_any_more() -> None:
    for at_once in (True, False):
        batch, waiter, requests = sent_batch(2)
        waiter._callbacks.clear()  # loops make them later
        waiter.cancel()
        if at_once:
            assert end_batch(requests, [5, 6], Future.set_result)
        else:
            requests[0].answered(5, None)
            requests[1].answered(6, None)
        assert waiter.cancelled()
        assert batch.results == (5, 6)


def test_answers_are_a_sequence_of_events() -> None:
    answers = Answers(["a", "b", "c"], [1, 2, 3])
    events = [("a", 1, None), ("b", 2, None), ("c", 3, None)]
    assert list(answers) == events
    assert (len(answers), answers[0], answers[-1], answers[1:]) == (3, events[0], events[-1], events[1:])


def test_a_batch_tells_whether_one_of_it_is_complete_before_it_is_sent() -> None:
    batch, _ = new_batch()
    batch.add_request("a", None, nothing)
    request = batch.add_request("b")
    assert not batch.has_ended_requests
    request.cancel()
    assert batch.has_ended_requests


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_member_tells_who_has_asked_to_be_told_and_nobody_else(is_sent: bool) -> None:
    heard: list[object] = []
    batch, _ = new_batch()
    request: Any = batch.add_request("a")
    if is_sent:
        batch.sent((0,), nothing)
    request.add_done_callback(heard.append)
    request.add_done_callback(print)
    assert request.outcomes.remove_callback(request, print) == 1
    assert request.outcomes.remove_callback(request, print) == 0
    if not is_sent:
        assert request.request_id is None
        assert not request.outcomes.requests, "it would keep them alive as long as the batch is not sent"
        batch.sent((0,), nothing)
    request.set_result(1)
    assert heard == [request]


def test_what_was_asked_of_a_member_that_is_completed_before_it_is_sent_is_told_then() -> None:
    heard: list[object] = []
    batch, _ = new_batch()
    request: Any = batch.add_request("a", None, heard.append)
    request.cancel()
    assert heard == [request]
    request.add_done_callback(heard.append)
    assert heard == [request, request]
    assert request.outcomes.remove_callback(request, heard.append) == 1


def test_members_that_are_answered_one_by_one_are_made_into_nothing_more() -> None:
    batch, waiter, (first, second, third) = sent_batch(3)
    error = RPCError(1, "no")
    first.answered("a", None)
    third.answered(None, error)
    assert [request.done() for request in (first, second, third)] == [True, False, True]
    assert not waiter.done()
    second.answered(None, None)
    assert batch.results == ("a", None, error)
    assert not first.outcomes.requests
    assert (first.result(), second.result(), first.exception(), second.exception()) == ("a", None, None, None)
    assert not first.outcomes.requests
    assert not third.cancel()
    assert third.exception() is error
    with pytest.raises(RPCError):
        third.result()
    assert behind(third).looked_at, "the batch tells it: nobody needs to be told"
    assert batch.results == ("a", None, error)


def test_a_member_that_is_awaited_before_it_is_sent_has_its_id_when_it_is() -> None:
    batch, _ = new_batch()
    requests: list[Any] = [batch.add_request("a"), batch.add_request("b"), batch.add_request("c")]
    steps = requests[1].__await__()
    assert next(steps, "ended") is None
    batch.sent((7, 8, 9), nothing)
    assert behind(requests[1]).request_id == 8
    errors = [RPCError(1, "no"), RPCError(2, "neither")]
    requests[0].answered(None, errors[0])
    requests[2].answered(None, errors[1])
    requests[1].answered("b", None)
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert ended.value.value == "b"
    assert batch.results == (errors[0], "b", errors[1])


def test_a_member_is_neither_copied_nor_pickled() -> None:
    _, _, (request,) = sent_batch(1)
    for take in (copy.copy, copy.deepcopy, pickle.dumps, lambda one: one.__replace__(number=1)):
        with pytest.raises(TypeError, match="a BatchMember cannot be copied or pickled"):
            take(request)


def test_a_member_shows_no_arguments() -> None:
    batch, _ = new_batch()
    request: Any = batch.add_request("sign in", ["secret"])
    assert repr(request) == "<BatchMember 'sign in' id=None (1 args)>"
    assert [*request.__rich_repr__()] == [("method", "sign in"), ("id", None)]


def test_a_callback_of_a_member_is_told_and_found_by_its_own() -> None:
    _, _, (request, other) = sent_batch(2)
    request.add_done_callback(nothing)
    (callback,) = behind(request)._callbacks
    assert repr(callback) == repr(nothing)
    assert {callback} == {MemberCallback(nothing, request)}
    assert callback not in (MemberCallback(nothing, other), MemberCallback(print, request), nothing)


def test_each_error_that_comes_by_itself_is_one() -> None:
    batch, _, requests = sent_batch(2)
    errors = [RPCError(1, "no"), RPCError(2, "neither")]
    for request, error in zip(requests, errors, strict=True):
        request.answered(None, error)
    assert batch.results == tuple(errors)
    assert [request.exception() for request in requests] == errors


@pytest.mark.row("S7")
@pytest.mark.parametrize("error", [ConnectionLost("gone"), ClosedError("closed")], ids=repr)
def test_a_lost_connection_is_raised_to_whoever_awaits_the_batch(error: Exception) -> None:
    batch, waiter, (first, second) = sent_batch(2)
    first.set_result(1)
    second.set_exception(error)
    assert waiter.exception() is error
    assert waiter.looked_at
    assert batch.results == (1, error)


def test_cancelling_a_batch_cancels_what_is_open() -> None:
    batch, waiter, (first, second) = sent_batch(2)
    first.set_result(1)
    assert batch.cancel()
    assert second.cancelled()
    assert waiter.cancelled()
    assert batch.done()
    value, cancelled = batch.results
    assert value == 1
    assert isinstance(cancelled, Cancelled)
    assert not batch.cancel()


def test_cancelling_whoever_awaits_a_batch_cancels_its_members() -> None:
    heard: list[object] = []
    batch, waiter, requests = sent_batch(2, heard.append)
    steps = batch.__await__()
    next(steps)
    with pytest.raises(Cancelled):
        steps.throw(Cancelled())
    assert batch.done()
    assert waiter.cancelled()
    assert all(request.cancelled() for request in requests)
    assert heard == [batch]


def test_results_and_exceptions_reach_the_open_members_only() -> None:
    batch, _, (first, second, third) = sent_batch(3)
    first.set_result(1)
    batch.set_result(2)
    assert batch.results == (1, 2, 2)
    batch.set_result(3)
    assert batch.results == (1, 2, 2)
    batch, _, (first, second, third) = sent_batch(3)
    second.set_result(1)
    error = RPCError(1, "all of it")
    batch.set_exception(error)
    assert batch.results == (error, 1, error)
    batch.set_exception(RPCError(2, "again"))
    assert third.exception() is error


# --- who goes on at once ---------------------------------------------------------------------------------------------


def step(coroutine: Coroutine[Any, Any, None]) -> bool:
    """Run *coroutine* as far as it goes, and return whether it has ended."""
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    return False


def prompt_batch(size: int = 2) -> tuple[RPCBatchOut, Future, list[Any], Coroutine[Any, Any, None]]:
    """Return a batch that was sent, whose end one task alone waits for, and by what."""
    batch = RPCBatchOut(Outcomes(Future, nothing))
    requests: list[Any] = [batch.add_request("m") for _ in range(size)]
    batch.sent(range(size), nothing)
    prompt = Future("")
    waiting = batch.wait_promptly(prompt)
    assert not step(waiting)
    return batch, prompt, requests, waiting


@pytest.mark.row("S3")
@pytest.mark.parametrize("how", ["together", "one by one", "cancelled meanwhile", "others wait"])
def test_one_task_alone_is_woken_at_once_when_one_array_answers_all(how: str) -> None:
    _batch, prompt, requests, waiting = prompt_batch()
    woken: list[object] = []

    def wake(waiter: Any, result: object) -> None:
        woken.append(waiter)
        waiter.set_result(result)

    if how == "cancelled meanwhile":
        prompt.set_result(None)
    if how == "others wait":
        behind(requests[1])
    if how == "one by one":
        for request in requests:
            request.answered(1, None)
    else:
        assert end_batch(requests, [1, 2], wake)
    assert woken == ([prompt] if how == "together" else [])
    assert prompt.done()
    assert step(waiting)


@pytest.mark.row("S3")
def test_the_task_that_waits_alone_hears_that_the_connection_went() -> None:
    batch, prompt, requests, waiting = prompt_batch()
    reset = ConnectionResetError("reset")
    for request in requests:
        lost = ConnectionLost("gone")
        lost.__cause__ = reset
        request.answered(None, lost)
    assert prompt.done()
    with pytest.raises(ConnectionLost, match="gone") as raised:
        step(waiting)
    assert raised.value.__cause__ is reset
    assert batch.done()
    with pytest.raises(ConnectionLost, match="gone"):
        next(batch.__await__())
    with pytest.raises(ConnectionLost, match="gone"):
        step(batch.wait_promptly(Future("")))


@pytest.mark.row("S3")
def test_the_task_that_waits_alone_hears_that_the_batch_was_cancelled() -> None:
    batch, _prompt, _requests, waiting = prompt_batch()
    assert batch.cancel()
    with pytest.raises(Cancelled):
        step(waiting)


@pytest.mark.row("S3")
def test_a_task_that_waits_alone_and_is_cancelled_cancels_the_batch() -> None:
    _batch, _prompt, requests, waiting = prompt_batch()
    with pytest.raises(KeyboardInterrupt):
        waiting.throw(KeyboardInterrupt())
    assert all(request.cancelled() for request in requests)


@pytest.mark.row("S3")
def test_who_waits_for_a_batch_that_is_complete_need_not_wait() -> None:
    batch = RPCBatchOut(Outcomes(Future, nothing))
    batch.add_notification("m")
    batch.sent((), nothing)
    assert step(batch.wait_promptly(Future("")))
    told: list[object] = []
    other = RPCBatchOut(Outcomes(Future, nothing), told.append)
    other.add_notification("m")
    other.sent((), nothing)
    assert told == [other]
    assert step(other.wait_promptly(Future("")))
    assert told == [other]


# --- what is not sent ------------------------------------------------------------------------------------------------


@pytest.mark.row("S3")
def test_who_waits_before_the_batch_is_sent_is_told_of() -> None:
    early: list[Outcomes] = []
    batch = RPCBatchOut(Outcomes(Future, early.append))
    first, second = batch.add_request("a"), batch.add_request("b")
    assert not first.done()
    assert early == []
    first.add_done_callback(nothing)
    behind(second)
    assert {*early} == {batch.outcomes}


class BlockingOutcomes(Outcomes):
    """Those of a runtime where asking for a result waits for it."""

    waits_in_result = True


@pytest.mark.row("S3")
@pytest.mark.parametrize("ask", ["__await__", "result", "exception"])
def test_who_has_yet_to_send_a_batch_cannot_wait_for_it(ask: str) -> None:
    batch = RPCBatchOut(BlockingOutcomes(Future, nothing))
    member = batch.add_request("a")
    batch.outcomes.is_filled_here = lambda: True
    with pytest.raises(LocalProtocolError, match="sent when its block ends"):
        getattr(member, ask)()
    batch.outcomes.is_filled_here = lambda: False
    behind(member).set_result(7)
    batch.outcomes.is_filled_here = lambda: True
    assert member.done()
    getattr(member, ask)()  # it is complete


@pytest.mark.row("S3")
def test_a_batch_that_is_given_up_fails_those_that_are_awaited_watched_or_neither() -> None:
    batch, _ = new_batch()
    awaited, watched, untouched = (batch.add_request(name) for name in "abc")
    told: list[object] = []
    gone: Any = batch.add_request("gone")
    gone.add_done_callback(told.append)
    watched.add_done_callback(told.append)
    batch._members.remove(gone)  # nobody else has it
    del gone
    behind(awaited)
    batch.never_send(ValueError("secret"))
    assert told == [watched]
    assert untouched.done()
    untouched.add_done_callback(told.append)
    assert told == [watched, untouched]
    for request in awaited, watched, untouched:
        assert request.done()
        with pytest.raises(LocalProtocolError, match=r"^the batch was not sent: ValueError$"):
            request.result()
    assert batch.has_ended_requests


@pytest.mark.row("S3")
def test_a_batch_that_was_sent_is_not_given_up_any_more() -> None:
    batch, _waiter, (request,) = sent_batch(1)
    batch.never_send(ValueError())
    batch.outcomes.never_send(ValueError)
    assert not request.done()
    of_notifications, _ = new_batch()
    of_notifications.sent((), nothing)
    of_notifications.never_send(ValueError())
    assert not of_notifications.has_ended_requests


@pytest.mark.row("S3")
@pytest.mark.parametrize("has_ids", [False, True], ids=["before", "behind"])
def test_a_batch_whose_sending_was_broken_off_is_lost_whatever_was_done_of_it(has_ids: bool) -> None:
    batch, waiter = new_batch()
    done: Any = batch.add_request("done")
    done.set_result(1)
    open_ones = [batch.add_request("awaited"), batch.add_request("untouched")]
    behind(open_ones[0])
    if has_ids:
        batch.outcomes.sent(batch._members, range(3), nothing)
    batch.broken_off(KeyboardInterrupt("secret"))
    assert batch.done()
    assert waiter.done()
    assert done.result() == 1
    for request in open_ones:
        with pytest.raises(ConnectionLost, match=r"^sending the batch was broken off: KeyboardInterrupt$"):
            request.result()
    with pytest.raises(ConnectionLost, match=r"^sending the batch was broken off: KeyboardInterrupt$") as caught:
        batch.outcomes.check_lost()
    assert caught.value is not batch.outcomes.lost


def test_a_batch_that_was_sent_cannot_be_broken_off_any_more() -> None:
    batch, _waiter, (request,) = sent_batch(1)
    batch.broken_off(KeyboardInterrupt())
    assert not request.done()


@pytest.mark.parametrize(("name", "value"), [("args", None), ("args", "x"), ("method", 5), ("args", [2])])
@pytest.mark.row("J10")
def test_what_a_member_is_given_later_is_looked_at_before_it_is_encoded(name: str, value: object) -> None:
    batch, _ = new_batch()
    request = batch.add_request("a", [1])
    setattr(request, name, value)
    assert getattr(request, name) == value
    assert [*batch.plain_members] == []


def test_a_member_may_be_asked_for_while_its_batch_is_encoded() -> None:
    class Zone(tzinfo):
        """User code in the midst of it, as a signal handler or a finalizer may be."""

        def utcoffset(self, _when: datetime | None) -> timedelta:
            seen.append((request.done(), request.request_id, request.outcomes is batch.outcomes))
            return timedelta(0)

        dst = utcoffset

        def tzname(self, _when: datetime | None) -> str:
            return "Z"

    seen: list[object] = []
    batch, _ = new_batch()
    request: Any = batch.add_request("a", [datetime(2026, 1, 1, tzinfo=Zone())])
    assert encoded_batch(batch.plain_members)
    assert set(seen) == {(False, None, True)}
    assert request.outcomes is batch.outcomes


def test_a_member_is_asked_for_again_when_another_thread_has_just_put_back_what_was_taken_out() -> None:
    class Seal(list[Any]):
        """Is empty when it is asked for the first time, and full again the next."""

        def __getitem__(self, place: Any) -> Any:
            if not self:
                self.append("the outcomes")
                raise IndexError
            return super().__getitem__(place)

    new_member: Any = BatchMember
    outcomes: object = new_member("a", [], 0, Seal()).outcomes
    assert outcomes == "the outcomes"


@pytest.mark.row("J3")
def test_a_coroutine_that_is_thrown_away_cancels_no_batch_that_it_waits_for() -> None:
    batch, waiter, requests = sent_batch(2)
    steps = batch.__await__()
    next(steps)
    steps.close()
    assert not waiter.done()
    assert not any(request.done() for request in requests)


@pytest.mark.row("J3")
def test_a_batch_that_was_cancelled_is_complete_when_that_is_told() -> None:
    told: list[object] = []
    _, waiter, requests = sent_batch(2, lambda batch: told.append(batch.done()))
    waiter.cancel()  # as asyncio does with what a task waits for, before the task hears of it
    assert told == [True]
    assert all(request.cancelled() for request in requests)
