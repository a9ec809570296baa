# SPDX-License-Identifier: MIT
"""Requests, responses and batches as objects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tieline.errors import RPCError
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse

FAULT = RPCError(-32600, "no method")


@pytest.mark.row("J3")
@pytest.mark.parametrize(
    ("request_", "is_notification"),
    [
        (RPCRequest("tick"), True),
        (RPCRequest("tick", [1], None), True),
        (RPCRequest("add", [1, 2], 0), False),
        (RPCRequest("add", [1, 2], ""), False),
        (RPCRequest("add", [1, 2], []), False),
        (RPCRequest("add", None, None, answer_null_id=True), False),
        (RPCRequest("add", None, 1, answer_null_id=True), False),
        (RPCRequest(FAULT), False),
        (RPCRequest(FAULT, None, 7), False),
        (RPCRequest(FAULT, answer_null_id=False), True),
    ],
)
def test_a_notification_wants_no_answer(request_: RPCRequest, is_notification: bool) -> None:
    assert request_.is_notification() is is_notification


@pytest.mark.row("J3")
def test_a_request_keeps_what_it_was_made_of() -> None:
    request = RPCRequest("add", [1, 2], 5)
    assert (request.method, request.args, request.request_id) == ("add", [1, 2], 5)
    assert RPCRequest("add").args is None


@pytest.mark.row("J3")
def test_a_request_can_also_be_a_future() -> None:
    class Call(RPCRequest, asyncio.Future):
        def __init__(self, method: str) -> None:
            RPCRequest.__init__(self, method, None, 1)
            asyncio.Future.__init__(self, loop=loop)

    loop = asyncio.new_event_loop()
    try:
        call = Call("add")
        loop.call_soon(call.set_result, 3)
        assert loop.run_until_complete(call) == 3
        assert repr(call) == "<Call 'add' id=1 (no args)>"
    finally:
        loop.close()


@pytest.mark.row("J3")
@pytest.mark.parametrize("request_id", [0, "a", 7.5, None, [1], {"a": 1}])
def test_an_error_takes_the_id_of_its_response(request_id: object) -> None:
    error = RPCError(1, "no")
    response = RPCResponse(error, request_id)
    assert response.result is error
    assert error.request_id == request_id == response.request_id
    assert RPCResponse(error, request_id).result is error


@pytest.mark.row("J3", "J8")
@pytest.mark.parametrize(("first", "second"), [(1, 2), (0, False), (0, 0.0), ("0", 0), ([1], [2]), (1, None)])
def test_an_error_that_answers_two_requests_is_copied(first: object, second: object) -> None:
    error = RPCError(5, "gone", data=[1], cost=2.5)
    responses = [RPCResponse(error, first), RPCResponse(error, second)]
    for response, request_id in zip(responses, (first, second), strict=True):
        result = response.result
        assert isinstance(result, RPCError)
        assert type(result.request_id) is type(request_id)
        assert result.request_id == request_id
        assert (result.code, result.message, result.data, result.cost) == (5, "gone", [1], 2.5)


@pytest.mark.row("J3")
def test_a_result_stays_as_it_is() -> None:
    result = [1, 2]
    response = RPCResponse(result, 3)
    assert response.result is result
    assert response.request_id == 3


# --- batches -----------------------------------------------------------------------------------------------------


CALL = RPCRequest("add", [1], 1)
TICK = RPCRequest("tick")
NULL = RPCRequest("add", [1], None, answer_null_id=True)


@pytest.mark.row("J3")
@pytest.mark.parametrize(
    ("items", "requests", "ids"),
    [
        ([CALL, TICK, NULL], [CALL, NULL], {1, None}),
        ([TICK, TICK], [], set()),
        ((CALL,), [CALL], {1}),
        (iter([CALL, CALL]), [CALL, CALL], {1}),
        ([RPCRequest(FAULT), TICK], None, {None}),
        ([RPCRequest("a", None, [1]), RPCRequest("a", None, {}), CALL], None, {1}),
        ([RPCResponse(1, 1), RPCResponse(2, "a"), RPCResponse(3, None)], [], {1, "a", None}),
        ([RPCResponse(1, [[]]), RPCResponse(2, {"a": 1}), RPCResponse(3, 7.5)], [], {7.5}),
    ],
)
def test_a_batch_tells_which_of_its_items_want_an_answer(
    items: Any, requests: list[RPCRequest] | None, ids: set[object]
) -> None:
    batch = RPCBatch(items)
    if requests is not None:
        assert batch.requests() == requests
    assert batch.request_ids() == ids
    assert type(batch.request_ids()) is frozenset
    assert len(batch) == len(batch.items) == len(list(batch))
    assert batch.is_request_batch() is isinstance(batch.items[0], RPCRequest)


@pytest.mark.row("J3")
@pytest.mark.parametrize(
    ("items", "error", "why"),
    [
        ([], ValueError, "must not be empty"),
        (iter(()), ValueError, "must not be empty"),
        ([CALL, RPCResponse(1, 1)], ValueError, "requests or responses, not both"),
        ([RPCResponse(1, 1), TICK], ValueError, "requests or responses, not both"),
        ([CALL, {"method": "add"}], TypeError, "not dict"),
        (["add"], TypeError, "not str"),
        ([RPCBatch([CALL])], TypeError, "not RPCBatch"),
        (CALL, TypeError, "not iterable"),
    ],
)
def test_a_batch_is_of_one_kind_and_not_empty(items: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        RPCBatch(items)


@pytest.mark.row("J3")
def test_a_batch_does_not_change_with_the_list_it_was_made_of() -> None:
    items = [CALL]
    batch = RPCBatch(items)
    items.clear()
    assert batch.items == [CALL]


class Growing(RPCBatch):
    """A batch that starts empty, as one that is still being put together does."""

    def __init__(self) -> None:
        self.items = []


@pytest.mark.row("J3")
def test_a_batch_that_is_still_empty_is_one_of_requests() -> None:
    batch = Growing()
    assert batch.is_request_batch()
    assert batch.requests() == []
    assert batch.request_ids() == frozenset()
    assert repr(batch) == "<Growing of 0 requests>"


# --- reprs -------------------------------------------------------------------------------------------------------


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.row("J3")
@pytest.mark.parametrize(
    ("item", "text"),
    [
        (RPCRequest("add", [1, 2], 5), "<RPCRequest 'add' id=5 (2 args)>"),
        (RPCRequest("add", (), "a"), "<RPCRequest 'add' id='a' (0 args)>"),
        (RPCRequest("add", {"secret": "hunter2"}, 5), "<RPCRequest 'add' id=5 (1 named args)>"),
        (RPCRequest("add", Unprintable(), 5), "<RPCRequest 'add' id=5 (Unprintable)>"),
        (RPCRequest("tick"), "<RPCRequest 'tick' notification (no args)>"),
        (NULL, "<RPCRequest 'add' id=None (1 args)>"),
        (RPCRequest(FAULT, None, 7), "<RPCRequest ill-formed id=7: error -32600 'no method'>"),
        (RPCRequest("add", None, 10**5000), None),
        (RPCRequest("x" * 10**6, None, "i" * 10**6), None),
        (RPCRequest("\ud800", None, [[[[[[[[[[[1]]]]]]]]]]]), None),
        (RPCResponse("secret", 1), "<RPCResponse id=1: str>"),
        (RPCResponse(None, None), "<RPCResponse id=None: NoneType>"),
        (RPCResponse(RPCError(1, "no"), "a"), "<RPCResponse id='a': error 1 'no'>"),
        (RPCResponse(RPCError(10**5000, "no" * 10**6), list(range(1000))), None),
        (RPCBatch([CALL]), "<RPCBatch of 1 request>"),
        (RPCBatch([CALL, TICK]), "<RPCBatch of 2 requests>"),
        (RPCBatch([RPCResponse(1, 1)] * 1000), "<RPCBatch of 1000 responses>"),
    ],
)
def test_a_repr_is_short_and_shows_no_payload(item: object, text: str | None) -> None:
    assert len(repr(item)) < 200
    if text is not None:
        assert repr(item) == text


@pytest.mark.row("J3")
@pytest.mark.parametrize("request_id", [Unprintable(), 10**5000], ids=["broken repr", "long integer"])
def test_what_cannot_be_printed_shows_as_its_type(request_id: object) -> None:
    assert f"{type(request_id).__name__}" in repr(RPCResponse(1, request_id))
