# SPDX-License-Identifier: MIT
"""Requests that are taken back while so many are unanswered that nothing else is read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc.ahead import MAX_AHEAD, id_taken_back
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.dialects import V2, CancelRule, Dialect
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2, protocol_for
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.limits import Limits
from tieline.wire.states import State

SILENT = replace(V2, name="silent", cancel=CancelRule(method="stop"))
TELLING = replace(V2, name="telling", cancel=CancelRule(method="stop", id_name="which", code=-1))
BOTH = pytest.mark.parametrize("dialect", [SILENT, TELLING], ids=lambda dialect: dialect.name)

pytestmark = pytest.mark.row("S10")


def machine(dialect: Dialect = SILENT, protocol: type[JSONRPC] | None = None, **limits: Any) -> Connection:
    resolved = Limits(max_pending=2, **limits).resolved(accepted=True)
    return Connection(protocol or protocol_for(dialect), NewlineFramer(max_size=4096), resolved, accepted=True)


def asks(*ids: object) -> bytes:
    return b"".join(b'{"jsonrpc":"2.0","method":"work","id":%b}\n' % json.dumps(one).encode() for one in ids)


def takes_back(dialect: Dialect, *ids: object) -> bytes:
    rule = dialect.cancel
    assert rule is not None
    messages = [{"jsonrpc": "2.0", "method": rule.method, "params": {rule.id_name: one}} for one in ids]
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def seen(events: Any) -> list[Any]:
    """Return requests by their ids, and what takes one back by the params."""
    return [event.params if event.method == "stop" else event.id for event in events if isinstance(event, Request)]


def sent(one: Connection) -> list[Any]:
    return [json.loads(line) for line in one.data_to_send().splitlines()]


def answered(one: Connection, request_id: object) -> None:
    request = one.requests.find(request_id)
    assert request is not None
    assert one.reply(request, None) is None
    one.data_to_send()


def reads(one: Connection) -> bool:
    return one.wants_data


def done(one: Connection, event: object) -> None:
    assert isinstance(event, Request)
    assert one.reply(event, None) is None


@BOTH
@pytest.mark.parametrize("is_one_read", [False, True])
def test_what_takes_back_a_running_request_is_heard_at_once(dialect: Dialect, is_one_read: bool) -> None:
    one = machine(dialect)
    back = takes_back(dialect, 1)
    if is_one_read:
        events = [*one.receive_data(asks(1, 2, 3) + back, 0.0)]
    else:
        events = [*one.receive_data(asks(1, 2), 0.0)]
        assert one.wants_data
        assert seen(events) == [1, 2]
        events += one.receive_data(asks(3) + back, 0.0)
    assert seen(events) == [1, 2, json.loads(back)["params"]]
    assert one.requests.count == 3  # it is handed on like any notification
    assert one.data_to_send() == b""
    done(one, events[-1])
    assert not one.has_more
    answered(one, 1)
    assert seen(one.next_events(0.0)) == [3]


@BOTH
def test_what_waits_and_is_taken_back_is_never_accepted(dialect: Dialect) -> None:
    one = machine(dialect)
    other = b'{"jsonrpc":"2.0","method":"told"}\n'
    assert seen(one.receive_data(asks(1, 2, 3, "3", 4, 5) + other, 0.0)) == [1, 2]
    assert list(one.receive_data(takes_back(dialect, 3, 5), 0.0)) == []
    refusals = [{"jsonrpc": "2.0", "error": {"code": -1, "message": "request cancelled"}, "id": k} for k in (3, 5)]
    assert sent(one) == (refusals if dialect is TELLING else [])
    answered(one, 1)
    assert seen(one.next_events(0.0)) == ["3"]
    answered(one, 2)
    assert seen(one.next_events(0.0)) == [4]
    answered(one, 4)
    (told,) = one.next_events(0.0)
    assert isinstance(told, Request)
    assert told.method == "told"
    one.reply(told, None)
    assert list(one.next_events(0.0)) == []
    assert not one.has_more
    assert one.wants_data
    assert one.messages_read == one.messages_received == 9


@BOTH
def test_it_comes_to_the_same_however_it_is_cut(dialect: Dialect) -> None:
    wire = asks(1, 2, 3, 4) + takes_back(dialect, 3, 1) + asks(5)
    for cut in range(len(wire) + 1):
        one = machine(dialect)
        events = [*one.receive_data(wire[:cut], 0.0), *one.receive_data(wire[cut:], 0.0)]
        rule: Any = dialect.cancel
        assert seen(events) == [1, 2, {rule.id_name: 1}]
        done(one, events[-1])
        answered(one, 1)
        answered(one, 2)
        assert seen(one.next_events(0.0)) == [4, 5]


def test_what_takes_back_nothing_is_passed_over() -> None:
    one = machine()
    unknown = takes_back(SILENT, 9, "1", 1.0, None, [1], {"a": 1}, True)
    odd = b'{"jsonrpc":"2.0","method":"stop"}\n{"jsonrpc":"2.0","method":"stop","params":[1]}\n'
    assert seen(one.receive_data(asks(1, 2) + unknown + odd, 0.0)) == [1, 2]
    assert one.data_to_send() == b""
    answered(one, 1)
    assert list(one.next_events(0.0)) == []
    assert one.messages_read == 11
    assert one.faults == 0


def test_twice_is_as_once_and_late_is_nothing() -> None:
    one = machine(TELLING)
    one.receive_data(asks(1, 2, 3) + takes_back(TELLING, 3, 3), 0.0)
    assert [answer["id"] for answer in sent(one)] == [3]
    answered(one, 1)
    assert list(one.next_events(0.0)) == []
    # The id is free again: what took the first of them back does not concern the second.
    assert seen(one.receive_data(asks(3), 0.0)) == [3]
    # One that was looked at, and has been read since.
    one.receive_data(asks(4, 5), 0.0)
    answered(one, 2)
    assert seen(one.next_events(0.0)) == [4]
    answered(one, 4)
    assert seen(one.next_events(0.0)) == [5]
    assert list(one.receive_data(takes_back(TELLING, 4), 0.0)) == []
    assert sent(one) == []


def test_faulty_and_other_messages_wait_for_their_turn() -> None:
    one = machine()
    lines = [b"nonsense", b"[]", b"7", b'{"jsonrpc":"2.0","method":7,"id":1}', b'{"jsonrpc":"2.0","result":1,"id":0}']
    long_id = json.dumps("x" * 2000).encode()
    lines += [b'{"jsonrpc":"2.0","method":"work","id":%b}' % long_id]
    back = takes_back(SILENT, "x" * 2000)
    assert seen(one.receive_data(asks(1, 2) + b"\n".join(lines) + b"\n" + back, 0.0)) == [1, 2]
    assert one.data_to_send() == b""
    answered(one, 1)
    assert list(one.next_events(0.0)) == []
    assert [answer["error"]["code"] for answer in sent(one)] == [-32700, -32600, -32600, -32600, -32600]


def test_only_so_much_is_read_ahead() -> None:
    one = machine()
    one.receive_data(asks(1, 2), 0.0)
    size = 0
    number = 3
    while reads(one):
        line = asks(number)
        size += len(line)
        number += 1
        assert list(one.receive_data(line, 0.0)) == []
    assert MAX_AHEAD <= size < MAX_AHEAD + 4096
    answered(one, 1)
    assert seen(one.next_events(0.0)) == [3]
    assert reads(one)  # there is room for one more
    answered(one, 2)
    while one.has_more:
        for request_id in seen(one.next_events(0.0)):
            answered(one, request_id)
    answered(one, 3)
    assert reads(one)


def test_without_a_word_for_it_reading_stops_as_ever() -> None:
    for dialect in (V2, replace(V2, name="none")):
        one = machine(dialect)
        assert seen(one.receive_data(asks(1, 2), 0.0)) == [1, 2]
        assert not one.wants_data


def test_whoever_takes_such_messages_himself_gets_them_in_their_turn() -> None:
    one = machine(TELLING)
    one.takes_back = False
    assert seen(one.receive_data(asks(1, 2, 3) + takes_back(TELLING, 3, 1), 0.0)) == [1, 2]
    assert not one.wants_data
    answered(one, 1)
    assert seen(one.next_events(0.0)) == [3]


class Own(JSONRPCv2):
    """Reads messages in its own way."""

    dialect = TELLING

    @classmethod
    def message_to_item(cls, message: bytes) -> Any:
        return super().message_to_item(message)


def test_a_class_that_reads_in_its_own_way_is_not_second_guessed() -> None:
    one = machine(protocol=Own)
    assert seen(one.receive_data(asks(1, 2, 3) + takes_back(TELLING, 3), 0.0)) == [1, 2]
    assert not one.wants_data
    assert one.data_to_send() == b""


def test_behind_a_fault_nothing_is_read_ahead() -> None:
    one = machine()
    assert seen(one.receive_data(asks(1, 2, 3), 0.0)) == [1, 2]
    one.receive_data(b"x" * 5000 + b"\n", 0.0)
    assert not one.wants_data
    answered(one, 1)
    answered(one, 2)
    one.next_events(0.0)
    answered(one, 3)
    one.next_events(0.0)
    assert one.state is not State.OPEN
    assert one.wants_data  # to see the peer go


def test_a_connection_that_is_over_looks_at_nothing() -> None:
    one = machine(TELLING)
    one.receive_data(asks(1, 2, 3), 0.0)
    one.peer_violated("for a test", 0.0)
    assert list(one.receive_data(takes_back(TELLING, 1), 0.0)) == []
    assert one.wants_data


def test_the_id_is_where_the_rule_says() -> None:
    rule = CancelRule(method="stop", id_name="which")
    assert id_taken_back(rule, {"which": 0}) == 0
    for params in ({"id": 0}, [0], None, 7):
        assert not isinstance(id_taken_back(rule, params), int)
