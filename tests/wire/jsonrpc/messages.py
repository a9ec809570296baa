# SPDX-License-Identifier: MIT
"""Strategies for what peers send: messages of odd parts, arrays of them, and mutations of their bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

__all__ = ["chunks_of", "lines", "values"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=3), children, max_size=4),
    max_leaves=8,
)

_MEMBERS: dict[str, list[Any]] = {
    "jsonrpc": ["2.0", "2.0", "2.0", "1.0", 2.0, None, [], "3"],
    "method": ["echo", "sum", "hold", "fails", "gives_object", "", "é", 7, None, [], {}, True],
    "params": [[], [1], [[1, 2]], {}, {"a": 1}, None, "x", 7, False],
    "id": [0, 1, 2, 0, 1, 2, 0.0, 1.0, -0.0, "0", "", None, True, False, [], {}, [1], 1.5, -1, 2**64, 10**30],
    "result": [None, 5, {}, [], False, "x"],
    "error": [
        None,
        {"code": 1, "message": "m"},
        {"code": -32600, "message": "m", "data": [1]},
        {"code": True, "message": "m"},
        {"code": 1.0, "message": "m"},
        {"code": 1, "message": None},
        {"code": "x"},
        {},
        "x",
        7,
        [],
        False,
    ],
    "x": [1, None, []],
}


def _sound(kind: str, request_id: Any) -> dict[str, Any]:
    if kind == "response":
        return {"jsonrpc": "2.0", "result": 5, "id": request_id}
    return {"jsonrpc": "2.0", "method": "echo", "params": [1], "id": request_id}


_sound_ones = st.builds(_sound, st.sampled_from(["request", "response"]), st.sampled_from([0, 1, 2, 3, "a", 1.5, None]))
_odd_ones = st.fixed_dictionaries({}, optional={name: st.sampled_from(pool) for name, pool in _MEMBERS.items()})
_one = _sound_ones | _odd_ones
_payloads = _one | st.lists(_one | values, max_size=6) | values


def _text(payload: object) -> bytes:
    return json.dumps(payload).encode()


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(_payloads.map(_text)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "delete", "replace", "double", "cut"])):
            case "insert":
                data[at:at] = draw(st.sampled_from([b"{", b"[", b"]", b"}", b",", b'"', b"0", b"-", b"\x00", b"\xff"]))
            case "delete":
                del data[at : at + 1]
            case "replace":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "double":
                data[at:at] = data[at : at + 10]
            case _:
                del data[at:]
    return bytes(data)


# One line without its newline; JSON more often than not.
lines = (_payloads.map(_text) | _mutated() | st.binary(max_size=40)).map(lambda data: data.replace(b"\n", b" "))


def chunks_of(wire: bytes, cuts: list[float]) -> list[bytes]:
    """Return *wire* cut at the fractions *cuts* of its length."""
    edges = sorted([0, *(int(cut * len(wire)) for cut in cuts), len(wire)])
    return [wire[start:end] for start, end in pairwise(edges)]
