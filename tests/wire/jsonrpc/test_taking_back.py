# SPDX-License-Identifier: MIT
"""Calls whose time is over are taken back at the peer, where the dialect has a message for it."""

from dataclasses import replace
from math import inf

import msgspec
import pytest
from msgspec import UNSET

from tieline.errors import ClosedError
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc.ahead import id_taken_back
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.dialects import V2, CancelRule
from tieline.wire.jsonrpc.protocols import JSONRPCv2
from tieline.wire.limits import Limits


class Cancelling(JSONRPCv2):
    dialect = replace(V2, cancel=CancelRule(method="$/cancel", id_name="call"))


def sent(machine: Connection) -> list[object]:
    return [msgspec.json.decode(line) for line in machine.data_to_send().splitlines()]


def told(*ids: int) -> list[object]:
    return [{"jsonrpc": "2.0", "method": "$/cancel", "params": {"call": call_id}} for call_id in ids]


@pytest.mark.row("S7", "S8")
@pytest.mark.parametrize(("timeout", "due"), [(3.0, 13.0), (None, inf)])
def test_only_what_has_timed_out_is_taken_back(timeout: float | None, due: float) -> None:
    machine = Connection(Cancelling, NewlineFramer(), Limits(call_timeout=8.0).resolved(accepted=False), accepted=False)
    machine.send_request("own", None, "own", 10.0, timeout)
    machine.send_request("default", None, "default", 10.0)
    machine.send_request("answered", None, "answered", 10.0, 2.0)
    machine.data_to_send()
    machine.receive_data(b'{"jsonrpc":"2.0","id":2,"result":1}\n', 11.0)
    now, ended, taken_back = 10.0, [], []
    while machine.deadline < inf:
        now = machine.deadline
        for token, _value, error in machine.handle_deadline(now):  # type: ignore[misc]  # tuples alone here
            assert isinstance(error, TimeoutError)
            ended.append(token)
        taken_back += sent(machine)
    assert ended == (["own", "default"] if due < inf else ["default"])
    assert taken_back == (told(0, 1) if due < inf else told(1))


@pytest.mark.parametrize(
    ("params", "by_name", "by_place"),
    [
        ({"call": 5}, 5, UNSET),
        ({"call": None}, None, UNSET),
        ({"id": 5}, UNSET, UNSET),
        ([5], UNSET, 5),
        ([None], UNSET, None),
        ([], UNSET, UNSET),
        ([5, 6], UNSET, UNSET),
        (UNSET, UNSET, UNSET),
    ],
)
def test_the_id_is_where_the_rule_says(params: object, by_name: object, by_place: object) -> None:
    assert id_taken_back(CancelRule(method="m", id_name="call"), params) == by_name
    assert id_taken_back(CancelRule(method="m", id_name=None), params) == by_place


def test_nothing_is_taken_back_on_a_connection_that_closes() -> None:
    machine = Connection(Cancelling, NewlineFramer(), Limits().resolved(accepted=False), accepted=False)
    machine.receive_data(b'{"jsonrpc":"2.0","id":0,"method":"keeps it open"}\n', 0.0)
    machine.send_request("own", None, "own", 0.0, 1.0)
    machine.data_to_send()
    machine.close()
    assert len(machine.handle_deadline(1.0)) == 1
    assert not machine.has_output


def test_a_driver_that_closes_gives_up_the_open_calls() -> None:
    machine = Connection(JSONRPCv2, NewlineFramer(), Limits().resolved(accepted=False), accepted=False)
    machine.send_request("a", None, "first", 0.0)
    machine.send_request("b", None, "second", 0.0)
    machine.close()
    ended = [(event[0], type(event[2])) for event in machine.give_up_calls() if isinstance(event, tuple)]
    assert ended == [("first", ClosedError), ("second", ClosedError)]
    assert machine.open_calls == 0
    assert machine.give_up_calls() == ()
    assert list(machine.connection_lost(None)) == []
