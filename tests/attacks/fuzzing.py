# SPDX-License-Identifier: MIT
"""Conversations to spoil, and how they are spoiled: a seed gives the same bytes for ever."""

import random
from collections.abc import Callable

from tests.attacks.cases_batches import batch
from tests.attacks.raw import line

V1 = b"""{"method":"add","params":[1,2],"id":1}
{"method":"echo","params":["x"],"id":null}
{"result":1,"error":null,"id":0}
"""

CONVERSATIONS: list[bytes] = [
    b"".join(line("add", number, 2, id=number) for number in range(5)),
    line("echo", {"a": [1, 2.5, None, True, "Grüße \U0001f600"], "b": {"c": []}}, id="x")
    + line("add_later", 1, 2, id=2),
    batch(line("add", 1, 2, id=1), line("echo", "x", id=None), line("add_later", 3, 4, id="y"), line("nope", id=3)),
    line("call_back", "x", [1], 0.005, id=1) + b'{"jsonrpc":"2.0","result":[1],"id":0}\n',
    line("call_back", "x", 1, 0.005, id=1) + b'{"jsonrpc":"2.0","error":{"code":1,"message":"m","data":{}},"id":0}\n',
    batch(b'{"jsonrpc":"2.0","result":1,"id":0}', b'{"jsonrpc":"2.0","result":1,"id":7}'),
    b"".join(line("raises", name, id=1) for name in ("ValueError", "StopIteration", "CancelledError", "GeneratorExit")),
    b"".join(
        line("raises_late", name, id=number) for number, name in enumerate(("TimeoutError", "OwnBase", "MemoryError"))
    ),
    b"".join(line("returns", name, id=1) for name in ("object", "circular", "10^5000", "nan", "surrogate")),
    line("error", "bad code") + line("error", "bad data", id=2) + line("error", "fine", id=3),
    line("notify_back", 5) + line("notify_later", 3, id=2),
    line("text_of", 30_000) + line("size_of", "z" * 20_000, id=2),
    line("disconnect", "bye"),
    line("add", 1, 2) + line("close_own"),
    line("sleep", 0.002) + line("abort_own", id=2),
    batch(line("cancels_itself", id=1), line("sleep", 0.001, id=2), b"7", b"[]"),
    V1,
    b"[" * 300 + b"]" * 300 + b"\n",
    b'{"jsonrpc":"2.0","method":"echo","params":[%b],"id":%b}\n' % (b"9" * 200, b"8" * 60),
    b"\r\n" + line("add", a=1, id=1) + b"\n\n" + line("rpc.x") + line("echo", params=None),
]

PIECES: list[bytes] = [
    *(
        b"\n",
        b"\r\n",
        b"\0",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b"\\",
        b"\\u",
        b"\\ud800",
        b"\xff",
        b"\xed\xa0\x80",
    ),
    *(b"null", b"true", b"-", b"1e999", b"NaN", b"0.0", b"[]", b"{}", b'""', b"9" * 5000, b"[" * 130, b'"id":[1],'),
    *(b'"method":1,', b'"jsonrpc":"1.0",', b'"params":{},', b'"result":0,', b'"error":{},', b'"id":null,', b'"id":1,'),
]


def flip(data: bytes, rng: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def cut(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return rng.choice((data[:start], data[end:], data[:start] + data[end:]))


def repeat(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:start] + data[start:end] * rng.choice((2, 3, 20)) + data[end:]


def splice(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice(CONVERSATIONS)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


def insert(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.choice(PIECES) + data[at:]
    return data


def shuffle(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def noise(_data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((1, 20, 500)))


SPOILERS: list[Callable[[bytes, random.Random], bytes]] = [flip, cut, repeat, splice, insert, insert, shuffle, noise]


def spoiled(rng: random.Random) -> bytes:
    """Return a conversation that has been spoiled once to four times."""
    data = rng.choice(CONVERSATIONS)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            data = rng.choice(SPOILERS)(data, rng)
    return data[:200_000]


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """Return *data* cut into as many segments as chance has it."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 3))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]
