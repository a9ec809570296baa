# SPDX-License-Identifier: MIT
"""Batches as a whole: one that is too large is refused unread, one that is sent is encoded at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, columns, connection
from tieline.wire.jsonrpc.other_codecs import StdlibCodec
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCv2


class WithStdlib(JSONRPCv2):
    codec = StdlibCodec()


MANY = "[" + ",".join(["0"] * 9) + "]"
WIDE = '[{"jsonrpc":"2.0","method":"echo","params":[1,2,3,4,5,6,7,8,9],"id":1}]'


@pytest.mark.row("H40")
@pytest.mark.parametrize("protocol", [JSONRPCv2, WithStdlib, JSONRPCAutoDetect])
@pytest.mark.parametrize(
    ("line", "reply"),
    [(MANY, [-32600, None]), (MANY[:-1], [-32700, None]), (WIDE, [["=", 1, 1]])],
    ids=["too many members", "not closed", "commas within a member"],
)
def test_a_batch_is_measured_by_its_members_whoever_reads_it(
    protocol: type[JSONRPC], line: str, reply: list[Any]
) -> None:
    driver = Driver(connection(protocol, max_batch=3))
    driver.feed(line.encode() + b"\n")
    assert driver.seen.replies == [reply]


@pytest.mark.row("J10")
@pytest.mark.parametrize("protocol", [JSONRPCv2, WithStdlib])
def test_a_batch_is_the_same_whether_it_is_encoded_as_a_whole_or_by_its_members(protocol: type[JSONRPC]) -> None:
    machine = connection(protocol)
    assert machine.send_batch(*columns([("b", [2], "b"), ("n", {"x": 1}, None), ("c", None, "c")]), 0.0) == range(2)
    assert json.loads(machine.data_to_send()) == [
        {"jsonrpc": "2.0", "method": "b", "params": [2], "id": 0},
        {"jsonrpc": "2.0", "method": "n", "params": {"x": 1}},
        {"jsonrpc": "2.0", "method": "c", "params": [], "id": 1},
    ]
