# SPDX-License-Identifier: MIT
"""A batch that is too large is refused by its size, without anything being made of its members."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, connection
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
