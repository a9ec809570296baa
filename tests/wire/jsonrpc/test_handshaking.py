# SPDX-License-Identifier: MIT
"""Calls that are never taken back, since the dialect forbids it: MCP's ``initialize``."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import msgspec
import pytest

from tests.wire.jsonrpc.driving import columns
from tieline.rpc.calls import new_connection
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc import known_dialects
from tieline.wire.jsonrpc.dialects import V2, CancelRule, Dialect
from tieline.wire.jsonrpc.handshaking import HandshakingConnection
from tieline.wire.jsonrpc.lone import LoneConnection
from tieline.wire.jsonrpc.protocols import protocol_for
from tieline.wire.limits import Limits

pytestmark = pytest.mark.row("S7")

WITH_BATCHES = replace(V2, name="with batches", cancel=CancelRule(method="stop", never=("hello", "bye")))


def machine(dialect: Dialect) -> LoneConnection:
    limits = Limits(call_timeout=8.0).resolved(accepted=False)
    return new_connection(protocol_for(dialect), NewlineFramer(), limits, accepted=False, longest_read=0.0)


def taken_back(connection: LoneConnection) -> list[Any]:
    """Return the parameters of what takes calls back, among what is to be sent."""
    assert connection.protocol.dialect.cancel is not None
    sent = [msgspec.json.decode(line) for line in connection.data_to_send().splitlines()]
    return [one["params"] for one in sent if one["method"] == connection.protocol.dialect.cancel.method]


def test_only_dialects_that_have_such_calls_ask_for_them() -> None:
    kinds = {dialect.name: type(machine(dialect)) for dialect in (V2, known_dialects.lsp, known_dialects.mcp)}
    assert list(kinds.values()) == [LoneConnection, LoneConnection, HandshakingConnection]


@pytest.mark.parametrize("method", ["initialize", "tools/call"])
def test_an_initialize_of_mcp_that_is_given_up_is_not_taken_back(method: str) -> None:
    connection = machine(known_dialects.mcp)
    call_id = connection.send_request(method, {}, "token", 0.0)
    connection.forget(call_id)
    assert connection.open_calls == 0
    assert taken_back(connection) == ([] if method == "initialize" else [{"requestId": 0}])
    assert not connection.receive_data(b'{"jsonrpc":"2.0","id":0,"result":{}}\n', 1.0)


@pytest.mark.parametrize("timeout", [3.0, None])
def test_neither_is_one_whose_time_is_over(timeout: float | None) -> None:
    connection = machine(known_dialects.mcp)
    if timeout is None:
        connection.send_request("initialize", {}, "initialize", 0.0)
    else:
        connection.send_request("initialize", {}, "initialize", 0.0, timeout)
    connection.send_request("ping", {}, "ping", 0.0)
    ended: list[Any] = []
    while connection.deadline < inf:
        events = connection.handle_deadline(connection.deadline)
        ended += [event[0] for event in events if isinstance(event, tuple)]
    assert sorted(ended) == ["initialize", "ping"]
    assert taken_back(connection) == [{"requestId": 1}]


def test_the_short_way_of_a_lone_call_is_for_the_others() -> None:
    connection = machine(known_dialects.mcp)
    connection.send_request("tools/list", {}, "first", 0.0)
    connection.data_to_send()
    connection.receive_data(b'{"jsonrpc":"2.0","id":0,"result":{}}\n', 0.0)
    connection.handle_deadline(connection.deadline)  # nothing is open: so there is no further look at the time
    assert connection.ask("initialize", {}, "token") is None
    assert connection.ask("tools/call", {}, "token") is not None


def test_so_is_that_of_calls_that_leave_together() -> None:
    connection = machine(known_dialects.mcp)
    connection.send_request("tools/list", {}, "first", 0.0)
    connection.send_request("tools/list", {}, "second", 0.0)
    connection.data_to_send()
    connection.receive_data(b'{"jsonrpc":"2.0","id":0,"result":{}}\n', 0.0)
    assert connection.ask_with_others("initialize", {}, "token") is None
    assert connection.ask_with_others("tools/call", {}, "token") == 2


def test_of_a_batch_the_others_are_taken_back() -> None:
    connection = machine(WITH_BATCHES)
    members = [("hello", None, "a"), ("note", None, None), ("work", None, "b"), ("bye", None, "c")]
    ids = connection.send_batch(*columns(members), 0.0)
    connection.data_to_send()
    for call_id in ids:
        connection.forget(call_id)
    assert taken_back(connection) == [{"id": 1}]
    connection.send_batch(*columns([("work", None, "d")]), 0.0, 5.0)
    connection.forget(3)
    lines = connection.data_to_send().splitlines()
    assert msgspec.json.decode(lines[-1]) == {"jsonrpc": "2.0", "method": "stop", "params": {"id": 3}}


def test_what_is_remembered_does_not_grow() -> None:
    connection: Any = machine(known_dialects.mcp)
    for _ in range(100):
        connection.forget(connection.send_request("initialize", {}, "token", 0.0))
    assert len(connection._kept) == 1
