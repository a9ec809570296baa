# SPDX-License-Identifier: MIT
"""What is nested too deep does not leave, whatever the interpreter's own bound is."""

from __future__ import annotations

import json
import tracemalloc
from time import process_time

import msgspec
import pytest

from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.depth import DEEP_FROM, MAX_DEPTH, check_depth, is_too_deep
from tieline.wire.jsonrpc.protocols import JSONRPCv2
from tieline.wire.jsonrpc.writing import writer_for

DEEPEST = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
TEXTS = {
    "as deep as may be": (DEEPEST, False),
    "one deeper": (b"[%b]" % DEEPEST, True),
    "an object around it": (b'{"a":%b}' % DEEPEST, True),
    "objects": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), True),
    "one behind the other": (b"[%b,%b]" % (DEEPEST[1:-1], DEEPEST[1:-1]), False),
    "many small ones": (json.dumps([{"a": [1, {"b": []}]}] * MAX_DEPTH).encode(), False),
    "brackets in a string": (json.dumps(["[" * 3 * MAX_DEPTH]).encode(), False),
    "brackets in strings": (json.dumps(['\\"[{'] * MAX_DEPTH).encode(), False),
    "pairs of brackets in strings": (json.dumps(["[a]{}"] * MAX_DEPTH).encode(), False),
    "deep and wide": (b"[%b]" % b",".join([b"[" * 40 + b"]" * 40] * 1000), False),
    "both": (json.dumps(["[" * MAX_DEPTH]).encode()[:-1] + b",%b]" % DEEPEST, True),
    "long": (b'"%b"' % (b"x" * DEEP_FROM), False),
}


@pytest.mark.row("H20")
@pytest.mark.parametrize("name", TEXTS)
def test_depth_is_told_of_the_text(name: str) -> None:
    text, is_deep = TEXTS[name]
    assert is_too_deep(text) is is_deep


@pytest.mark.row("H20")
def test_brackets_in_strings_of_a_peer_cost_little() -> None:
    text = b'"%b"' % (b"[" * 4_000_000)
    tracemalloc.start()
    began = process_time()
    assert not is_too_deep(text)
    took = process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 1  # 0.03 s; what remembers each of them takes as long, and more than a gigabyte
    assert peak < 20_000_000


def test_no_text_that_is_shorter_than_deep_from_is_too_deep() -> None:
    assert len(b"[%b]" % DEEPEST) == DEEP_FROM
    check_depth(DEEPEST)
    with pytest.raises(ValueError, match="nested too deep: more than 10000 levels"):
        check_depth(b"[%b]" % DEEPEST)


TOO_DEEP = msgspec.Raw(b"[%b]" % DEEPEST)  # encoders of before CPython 3.14 would not make it


@pytest.mark.row("H20")
def test_calls_and_notifications_that_are_too_deep_are_the_callers_fault() -> None:
    writer = writer_for(JSONRPCv2)
    with pytest.raises(ValueError, match="nested too deep"):
        writer.request("m", [TOO_DEEP], 1)
    with pytest.raises(ValueError, match="nested too deep"):
        writer.notification("m", [TOO_DEEP])
    assert writer.plain_batch(["m", "m"], [[1], [TOO_DEEP]], None, 1) is None
    assert writer.settled(TOO_DEEP) is None


@pytest.mark.row("H20")
def test_a_codec_refuses_it() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        MsgspecCodec().encode(TOO_DEEP)
