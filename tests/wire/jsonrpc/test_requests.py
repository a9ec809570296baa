# SPDX-License-Identifier: MIT
"""The table of the peer's requests, and the batches that they came in."""

import itertools
from typing import Any

import pytest
from msgspec import UNSET

from tieline.errors import LocalProtocolError
from tieline.wire.flow import Flow
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.reading import PlainRequest, Request
from tieline.wire.jsonrpc.requests import IncomingBatch, RequestTable
from tieline.wire.jsonrpc.writing import Reply
from tieline.wire.limits import Limits


def table() -> RequestTable:
    return RequestTable(MsgspecCodec(), Flow(Limits(max_pending=5, max_pending_size=1000)))


def request(request_id: Any) -> Request:
    return Request("m", UNSET, request_id)


# Ids that are equal in Python or in JSON, and yet are all different.
DIFFERENT: list[Any] = [
    1,
    1.0,
    "1",
    True,
    [1],
    [1.0],
    [True],
    ["1"],
    {"a": 1},
    {},
    [],
    "[]",
    "{}",
    "null",
    0,
    0.0,
    -0.0,
]


# Ids of requests, UNSET for notifications, and whether they can be entered together beside the id 1.
TOGETHER: list[tuple[list[Any], bool]] = [
    ([], True),
    ([2, 3], True),
    ([UNSET, UNSET], True),
    ([UNSET, "1", UNSET, 2], True),
    ([2, 2], False),
    ([UNSET, 2, UNSET, 2], False),
    ([2, 1], False),
    ([UNSET, 1], False),
]


@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize(("ids", "fits"), TOGETHER)
def test_requests_enter_together_or_not_at_all(ids: list[Any], fits: bool, is_batch: bool) -> None:
    requests = table()
    assert requests.enter(request(1))
    batch = IncomingBatch() if is_batch else None
    many = [PlainRequest(method="m", id=request_id, jsonrpc="2.0") for request_id in ids]
    entered = [one for one in many if one.id is not UNSET] if fits else []
    assert requests.enter_all(many, batch) == (len(entered) if fits else None)
    assert requests.count == (1 + len(ids) if fits else 1)
    assert requests.calls == 1 + len(entered)
    assert requests.is_simple is not (is_batch and bool(entered))
    assert [requests.is_in_batch(one) for one in entered] == [is_batch] * len(entered)
    assert requests.in_batches == (len(entered) if is_batch else 0)
    if batch is not None:
        assert batch.open == 1 + len(entered)
    requests.leave_all([Reply(None, one.id) for one in entered])
    assert (requests.calls, requests.is_simple) == (1, True)


@pytest.mark.row("J10")
@pytest.mark.parametrize("then", ["answered", "in part", "one", "looked up", "another", "forgotten"])
def test_a_batch_that_came_alone_is_told_from_what_comes_behind_it(then: str) -> None:
    requests, batch = table(), IncomingBatch()
    many = [PlainRequest(method="m", id=number, jsonrpc="2.0") for number in range(3)]
    assert requests.enter_all(many, batch)
    assert (requests.only_batch, requests.is_simple, batch.open) == (batch, False, 4)
    replies = [Reply(None, one.id) for one in many]
    match then:
        case "answered":
            requests.leave_all(replies)
        case "in part":
            requests.leave_all(replies[:2])
            assert requests.only_batch is None
            assert requests.leave(many[2]) is batch
        case "one":
            assert requests.leave(many[0]) is batch
            assert requests.only_batch is None
            requests.leave_all(replies[1:])
        case "looked up":
            assert [requests.is_in_batch(one) for one in many] == [True] * 3
            assert requests.batch_of(1) is batch
            requests.leave_all(replies)
        case "another":
            note, other = PlainRequest(method="m", jsonrpc="2.0"), PlainRequest(method="m", id="x", jsonrpc="2.0")
            assert requests.enter_all([note, other])
            requests.leave(note)
            assert (requests.only_batch, requests.is_simple) == (None, False)
            assert [requests.batch_of(key) for key in (0, 2, "x")] == [batch, batch, None]
            assert requests.leave(other) is None
            requests.leave_all(replies)
        case _:
            assert requests.clear() == {batch}
    assert (requests.count, requests.calls, requests.is_simple, requests.only_batch) == (0, 0, True, None)


@pytest.mark.row("J8", "H31")
def test_ids_match_by_type_and_value() -> None:
    requests = table()
    for request_id in DIFFERENT:
        assert requests.enter(request(request_id))
    assert requests.count == len(DIFFERENT)
    for request_id in DIFFERENT:
        assert not requests.enter(request(request_id))
    for request_id in reversed(DIFFERENT):
        requests.leave(request(request_id))
        assert requests.enter(request(request_id))
    assert requests.count == len(DIFFERENT)


@pytest.mark.parametrize("request_id", [*DIFFERENT, None], ids=repr)
def test_a_request_leaves_once(request_id: Any) -> None:
    requests = table()
    message = request(request_id)
    assert requests.enter(message)
    assert requests.leave(message) is None
    with pytest.raises(LocalProtocolError, match="has been answered before"):
        requests.leave(message)
    assert requests.count == 0


def test_nulls_are_told_apart_by_the_message() -> None:
    requests = table()
    first, second = request(None), request(None)
    assert requests.enter(first)
    assert requests.enter(second)
    requests.leave(first)
    with pytest.raises(LocalProtocolError):
        requests.leave(first)
    requests.leave(second)
    assert requests.count == 0


def test_notifications_are_counted_and_never_in_the_way_of_each_other() -> None:
    requests = table()
    for number in range(3):
        assert requests.enter(request(UNSET))
        assert requests.count == number + 1
    requests.leave(request(UNSET))
    assert requests.count == 2


def test_a_batch_counts_its_requests_and_not_its_notifications() -> None:
    requests, batch = table(), IncomingBatch()
    first, second, notification = request(1), request(2.5), request(UNSET)
    for message in (first, second, notification):
        assert requests.enter(message, batch)
    assert not requests.enter(request(1), batch)
    assert batch.open == 3  # two answers, and the batch is being read
    assert requests.count == 3
    assert [requests.leave(first), requests.leave(second), requests.leave(notification)] == [batch, batch, None]


def test_a_batch_knows_its_size_on_the_wire() -> None:
    batch = IncomingBatch()
    for part, size in itertools.product([b"{}", b'{"a":1}'], [1, 2]):
        batch.add(part * size, 100)
        assert batch.size == len(b"[%b]" % b",".join(batch.parts))
    batch.add(b"0" * 100, 100)
    assert batch.parts == [], "what is over the limit as a whole is not kept"
    assert batch.size > 100


def test_it_is_simple_while_none_is_large_or_came_in_a_batch() -> None:
    requests = table()
    large, small, member = request(1), request(2), request(3)
    seen = [requests.is_simple]
    requests.enter(large)
    requests.weigh(large, 500)
    requests.enter(small)
    requests.leave(small)
    seen.append(requests.is_simple)  # otherwise nobody would hear that the large one has left
    requests.leave(large)
    seen.append(requests.is_simple)
    requests.enter(member, IncomingBatch())
    seen.append(requests.is_simple)
    requests.clear()
    seen.append(requests.is_simple)
    assert seen == [True, False, True, False, True]


def test_clear_gives_the_batches_that_are_incomplete() -> None:
    requests, first, second = table(), IncomingBatch(), IncomingBatch()
    for number in range(4):
        requests.enter(request(number), first if number < 2 else second)
    requests.enter(request("alone"))
    requests.leave(request(2))
    assert requests.clear() == {first, second}
    assert requests.count == 0
    assert requests.enter(request("alone"))
    assert requests.clear() == set()
