# SPDX-License-Identifier: MIT
"""How a connection reads, continued: the answers to our own calls, and what the first message tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, columns, connection, exactly
from tests.wire.jsonrpc.tables import batch, call, line
from tieline.errors import ConnectionLost, RemoteProtocolError, RPCError, WebSocketClosed
from tieline.wire.jsonrpc.dialects import LOOSE
from tieline.wire.jsonrpc.protocols import (
    JSONRPC,
    JSONRPCAutoDetect,
    JSONRPCLoose,
    JSONRPCv1,
    JSONRPCv2,
    protocol_for,
)
from tieline.wire.values import replace

RESULT = b'{"jsonrpc":"2.0","result":5,"id":%d}'

# --- answers to our own calls ----------------------------------------------------------------------------------------


@pytest.mark.row("S7", "H32")
def test_late_replies_are_dropped_and_are_no_faults() -> None:
    driver = Driver(calls=3)
    driver.machine.forget(0)
    driver.now = 40.0
    for driver.now in (4.0, 34.0):
        driver.handle(driver.machine.handle_deadline(driver.now))
    assert driver.seen.ended == [["call 1", "TimeoutError"], ["call 2", "TimeoutError"]]
    driver.feed(line(*(RESULT % number for number in range(3)), RESULT % 2) + batch(RESULT % 1, RESULT % 0))
    assert driver.machine.faults == 0
    assert len(driver.seen.ended) == 2


SHAPES: list[Any] = [
    lambda parts: batch(*parts),
    lambda parts: batch(*parts[:1]) + batch(*parts[1:]),
    lambda parts: line(*parts),
    lambda parts: line(parts[0]) + batch(*parts[1:]),
    lambda parts: batch(*reversed(parts)),
    lambda parts: line(*reversed(parts)),
]


@pytest.mark.row("J10", "H36")
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_the_answers_to_a_batch_may_come_in_any_shape_and_order(shape: int) -> None:
    driver = Driver()
    ids = driver.machine.send_batch(*columns([("m", [number], f"call {number}") for number in range(3)]), 0.0)
    assert list(ids) == [0, 1, 2]
    error = b'{"jsonrpc":"2.0","error":{"code":7,"message":"m"},"id":1}'
    driver.feed(SHAPES[shape]([RESULT % 0, error, RESULT % 2]))
    assert sorted(driver.seen.ended, key=exactly) == [["call 0", ["=", 5]], ["call 1", 7], ["call 2", ["=", 5]]]
    assert driver.machine.open_calls == 0


@pytest.mark.row("J10", "H36")
def test_a_missing_member_fails_alone_when_its_time_is_over() -> None:
    driver = Driver()
    driver.machine.send_batch(*columns([("m", None, f"call {number}") for number in range(3)]), 0.0, 5.0)
    driver.feed(batch(RESULT % 0, RESULT % 2))
    assert driver.machine.handle_deadline(4.9) == []
    driver.handle(driver.machine.handle_deadline(5.0))
    assert driver.seen.ended == [["call 0", ["=", 5]], ["call 2", ["=", 5]], ["call 1", "TimeoutError"]]


REFUSAL = b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"no batches","data":[1]},"id":null}\n'


@pytest.mark.row("J10")
@pytest.mark.parametrize("accepted", [False, True])
def test_one_error_without_an_id_refuses_the_oldest_batch_as_a_whole(accepted: bool) -> None:
    driver = Driver(connection(accepted=accepted), calls=1)
    for first in (1, 3):
        driver.machine.send_batch(*columns([("m", None, f"call {first + number}") for number in range(2)]), 0.0)
    events = driver.machine.receive_data(REFUSAL, 0.0)
    assert [event[0] for event in events if isinstance(event, tuple)] == ["call 1", "call 2"]
    errors = [event[2] for event in events if isinstance(event, tuple)]
    for number, error in enumerate(errors, 1):
        assert isinstance(error, RPCError)
        assert (error.code, error.message, error.request_id, error.data) == (-32600, "no batches", number, [1])
    assert errors[0] is not errors[1], "a shared error would collect the tracebacks of all who raise it"
    assert driver.machine.faults == 0
    driver.feed(REFUSAL + REFUSAL)
    assert [ended[0] for ended in driver.seen.ended] == ["call 3", "call 4"]
    assert driver.machine.open_calls == 1
    assert driver.machine.faults == (1 if accepted else 0)


@pytest.mark.row("J10")
@pytest.mark.parametrize(
    "refusal",
    [
        b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"}}',
        b'{"error":{"code":-32600,"message":"no"},"id":null}',
        b'{"jsonrpc":"2.0","error":-32600,"id":null}',
    ],
)
def test_a_batch_is_refused_by_an_error_without_an_id_whatever_its_shape(refusal: bytes) -> None:
    driver = Driver(connection(accepted=False))
    driver.machine.send_batch(*columns([("m", None, "a"), ("m", None, "b")]), 0.0)
    driver.feed(line(refusal))
    assert driver.seen.ended == [["a", -32600], ["b", -32600]]


@pytest.mark.row("J10")
@pytest.mark.parametrize("answer", [b'{"jsonrpc":"2.0","result":1,"id":null}', b'{"jsonrpc":"2.0","result":1}'])
def test_a_result_that_names_nobody_refuses_no_batch(answer: bytes) -> None:
    driver = Driver(connection(accepted=False))
    driver.machine.send_batch(*columns([("m", None, "a"), ("m", None, "b")]), 0.0)
    driver.feed(line(answer))
    assert driver.seen.ended == []
    assert driver.machine.open_calls == 2


@pytest.mark.row("J10")
def test_a_batch_that_was_answered_in_part_is_not_refused_by_a_stray_error() -> None:
    driver = Driver(connection(accepted=False))
    driver.machine.send_batch(*columns([("m", None, "a"), ("m", None, "b")]), 0.0)
    driver.feed(line(RESULT % 0) + REFUSAL)
    assert driver.seen.ended == [["a", ["=", 5]]]
    assert driver.machine.open_calls == 1


def test_an_error_that_named_nobody_is_the_cause_when_the_connection_ends() -> None:
    driver = Driver(connection(accepted=False), calls=1)
    driver.feed(REFUSAL)
    ((_, _, lost),) = driver.machine.receive_eof(0.0)  # type: ignore[misc]  # it is a tuple
    assert isinstance(lost, ConnectionLost)
    cause = lost.__cause__
    assert cause is driver.machine.close_reason
    assert cause is not None
    assert isinstance(cause.__cause__, RPCError)
    assert cause.__cause__.message == "no batches"


@pytest.mark.parametrize("is_last", [True, False])
def test_an_error_that_named_nobody_is_the_cause_when_a_websocket_is_closed(is_last: bool) -> None:
    driver = Driver(connection(accepted=False), calls=1)
    driver.feed(REFUSAL if is_last else REFUSAL + b'{"jsonrpc":"2.0","method":"news"}\n')
    end = WebSocketClosed(1000)
    driver.machine.connection_lost(end)
    assert driver.machine.close_reason is end
    assert (repr(end.__cause__) == "RPCError(-32600, 'no batches')") is is_last


def test_an_error_that_named_nobody_is_the_cause_when_a_call_times_out_soon_after() -> None:
    driver = Driver(connection(accepted=False, call_timeout=8.0))
    driver.machine.send_request("m", None, "a", 0.0, 5.0)
    driver.machine.send_request("m", None, "b", 0.0, 50.0)
    driver.feed(REFUSAL)
    ((_, _, soon),) = driver.machine.handle_deadline(5.0)  # type: ignore[misc]  # it is a tuple
    ((_, _, late),) = driver.machine.handle_deadline(50.0)  # type: ignore[misc]  # it is a tuple
    assert isinstance(soon, TimeoutError)
    assert isinstance(late, TimeoutError)
    assert isinstance(soon.__cause__, RPCError)
    assert soon.__cause__.message == "no batches"
    assert late.__cause__ is None


UNREAD = [
    (b"garbage\n", "invalid JSON"),
    (b'{"jsonrpc":"2.0","result":"\\ud800","id":0}\n', "invalid JSON"),
    (b'{"jsonrpc":"2.0","id":0,"result":1e999}\n', "invalid JSON"),
    (b"[" * 200 + b"]" * 200 + b"\n", "nested too deep (limit 128)"),
]


@pytest.mark.row("H25", "H26")
@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize(("wire", "why"), UNREAD)
def test_what_nobody_could_read_is_the_cause_when_a_call_times_out(wire: bytes, why: str, accepted: bool) -> None:
    driver = Driver(connection(accepted=accepted))
    driver.machine.send_request("m", None, "a", 0.0, 5.0)
    driver.feed(wire)
    ((_, _, end),) = driver.machine.handle_deadline(5.0)  # type: ignore[misc]  # it is a tuple
    assert isinstance(end, TimeoutError)
    assert isinstance(end.__cause__, RemoteProtocolError)
    assert str(end.__cause__) == f"the peer sent what could not be read: {why}"


@pytest.mark.parametrize("wire", [b'{"jsonrpc":"2.0","method":1,"id":7}\n', b'{"jsonrpc":"2.0","result":1,"id":9}\n'])
def test_what_could_be_read_and_named_another_is_no_cause(wire: bytes) -> None:
    driver = Driver(connection())
    driver.machine.send_request("m", None, "a", 0.0, 5.0)
    driver.feed(wire)
    ((_, _, end),) = driver.machine.handle_deadline(5.0)  # type: ignore[misc]  # it is a tuple
    assert isinstance(end, TimeoutError)
    assert end.__cause__ is None


def test_what_nobody_could_read_before_a_call_was_made_is_no_cause() -> None:
    driver = Driver(connection())
    driver.feed(b"garbage\n")
    driver.machine.send_request("m", None, "a", 0.0, 5.0)
    ((_, _, end),) = driver.machine.handle_deadline(5.0)  # type: ignore[misc]  # it is a tuple
    assert isinstance(end, TimeoutError)
    assert end.__cause__ is None


# --- which version is written ----------------------------------------------------------------------------------------

BARE_CALL = b'{"method":"echo","params":[5],"id":0}\n{"method":"nope","params":[],"id":1}\n'


@pytest.mark.row("J6", "J7")
@pytest.mark.parametrize("protocol", [JSONRPCLoose, JSONRPCAutoDetect])
def test_what_names_no_version_is_answered_in_2_0(protocol: type[JSONRPC]) -> None:
    driver = Driver(connection(protocol))
    driver.feed(BARE_CALL)
    result, error = driver.sent.splitlines()
    assert result == b'{"jsonrpc":"2.0","result":5,"id":0}'
    assert error.startswith(b'{"jsonrpc":"2.0","error":{"code":-32601,')


@pytest.mark.row("J5", "J6")
def test_a_dialect_may_read_all_and_write_1_0() -> None:
    driver = Driver(connection(protocol_for(replace(LOOSE, name="lenient", version=None, both_members=True))))
    driver.feed(BARE_CALL + b'{"jsonrpc":"2.0","method":"echo","params":[6],"id":2}\n')
    result, error, other = driver.sent.splitlines()
    assert result == b'{"result":5,"error":null,"id":0}'
    assert error.startswith(b'{"result":null,"error":{"code":-32601,')
    assert other == b'{"result":6,"error":null,"id":2}'


# --- detection -------------------------------------------------------------------------------------------------------


@pytest.mark.row("J7")
def test_this_side_speaks_2_0_until_it_knows_better() -> None:
    machine = connection(JSONRPCAutoDetect)
    machine.send_request("m", {"a": 1}, "token", 0.0)
    assert json.loads(machine.data_to_send()) == {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": 0}
    machine.receive_data(b'{"result":1,"error":null,"id":0}\n', 0.0)
    assert machine.protocol is JSONRPCv1
    machine.send_request("m", [1], "token", 0.0)
    assert json.loads(machine.data_to_send()) == {"method": "m", "params": [1], "id": 1}
    machine.send_notification("m", None)
    assert json.loads(machine.data_to_send()) == {"method": "m", "params": [], "id": None}


@pytest.mark.row("J7")
def test_what_was_found_to_be_2_0_takes_the_fast_path() -> None:
    machine = connection(JSONRPCAutoDetect)
    assert not machine._is_plain
    machine.receive_data(line(call("1")), 0.0)
    assert machine.protocol is JSONRPCv2
    assert machine._is_plain
