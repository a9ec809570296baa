# SPDX-License-Identifier: MIT
"""The framing of Bitcoin's peers: real messages of theirs, hostile headers, and what is written."""

from __future__ import annotations

import re
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from tests.wire.framed import Row, check_row
from tieline.errors import MessageTooLarge, OutgoingMessageTooLarge
from tieline.wire.framing.bitcoin import BitcoinFramer

make = BitcoinFramer
small = partial(BitcoinFramer, max_payload_size=3, max_block_size=5)
MAGIC = bytes.fromhex("f9beb4d9")

# From the developer reference of Bitcoin: the checksum of nothing is 5df6e0e2.
VERACK = bytes.fromhex("f9beb4d976657261636b000000000000000000005df6e0e2")
TESTNET_VERACK = bytes.fromhex("0b11090776657261636b000000000000000000005df6e0e2")


def header(command: bytes, length: int, checksum: bytes = b"\0\0\0\0", magic: bytes = MAGIC) -> bytes:
    return magic + command.ljust(12, b"\0") + length.to_bytes(4, "little") + checksum


def message(command: bytes, payload: bytes = b"") -> bytes:
    return header(command, len(payload), sha256(sha256(payload).digest()).digest()[:4]) + payload


COMMAND = "a command must be 1 to 12 visible ASCII characters, with NULs behind them only"


def wrong(magic: str) -> str:
    return f"wrong magic: 0x{magic}, expected 0xf9beb4d9"


def too_large(limit: int, size: int) -> str:
    return f"message too large (limit {limit}): {size} bytes announced"


RIGHT: list[Row] = [
    (make, b"", [], 0),
    (make, VERACK, [(b"verack", b"")], 0),
    (make, VERACK + VERACK[:-1], [(b"verack", b"")], 23),
    (make, MAGIC, [], 4),
    (make, b"\x00", [], 1),
    (partial(make, bytes.fromhex("0b110907")), TESTNET_VERACK, [(b"verack", b"")], 0),
    (make, message(b"sendcmpct", bytes(9)) + message(b"getaddr"), [(b"sendcmpct", bytes(9)), (b"getaddr", b"")], 0),
    (make, message(b"twelve-chars", b"abc"), [(b"twelve-chars", b"abc")], 0),
    (make, message(b"x", MAGIC + VERACK), [(b"x", MAGIC + VERACK)], 0),
    (make, message(b"inv", b"abc")[:-1], [], 26),
    (small, message(b"tx", b"abc") + message(b"block", b"abcde"), [(b"tx", b"abc"), (b"block", b"abcde")], 0),
    (small, message(b"cmpctblock", b"abcd"), [(b"cmpctblock", b"abcd")], 0),
    (small, message(b"blocktxn", b"abcd"), [(b"blocktxn", b"abcd")], 0),
    (small, message(b"merkleblock", b"abcd"), [(b"merkleblock", b"abcd")], 0),
    (partial(make, max_payload_size=0), header(b"tx", 0xFFFFFFFF), [], 24),
    (partial(make, max_block_size=0), header(b"block", 0xFFFFFFFF), [], 24),
]


@pytest.mark.row("F7", "H1")
@pytest.mark.parametrize("row", RIGHT)
def test_what_is_right_comes_through_however_it_is_cut(row: Row) -> None:
    make = row[0]
    check_row(row, behind=TESTNET_VERACK if make().magic != MAGIC else VERACK)  # type: ignore[attr-defined]  # that is the point


# Each part of a header is judged before the next has come.
WRONG: list[Row] = [
    (make, b"GET / HTTP/1.1\r\n\r\n", [], wrong("47455420")),
    (make, TESTNET_VERACK, [], wrong("0b110907")),
    (make, bytes(4), [], wrong("00000000")),
    (make, VERACK + b"\0" + VERACK, [(b"verack", b"")], wrong("00f9beb4")),
    (make, header(b"ver\0ack", 0)[:16], [], COMMAND),
    (make, header(b"\0verack", 0)[:16], [], COMMAND),
    (make, header(b"", 0)[:16], [], COMMAND),
    (make, header(b"ver ack", 0)[:16], [], COMMAND),
    (make, header(b"ver\nack", 0)[:16], [], COMMAND),
    (make, header(b"\xff", 0)[:16], [], COMMAND),
    (make, header(b"\x7f", 0)[:16], [], COMMAND),
    (make, VERACK + header(b"tx", 2**32 - 1)[:20], [(b"verack", b"")], too_large(4_000_000, 2**32 - 1)),
    (make, header(b"tx", 4_000_001)[:20], [], too_large(4_000_000, 4_000_001)),
    (make, header(b"block", 4_000_001)[:20], [], too_large(4_000_000, 4_000_001)),
    (small, message(b"tx", b"abcd"), [], too_large(3, 4)),
    (small, message(b"block", b"abcdef"), [], too_large(5, 6)),
    (small, message(b"blocks", b"abcd"), [], too_large(3, 4)),
]


@pytest.mark.row("F7", "H16")
@pytest.mark.parametrize("row", WRONG)
def test_what_is_wrong_ends_the_stream_with_one_text_however_it_is_cut(row: Row) -> None:
    check_row(row)


@pytest.mark.row("F7", "H16")
def test_a_length_over_the_limit_is_too_large() -> None:
    fault = BitcoinFramer().take(header(b"tx", 2**32 - 1))[1]
    assert isinstance(fault, MessageTooLarge)
    assert (fault.limit, fault.announced) == (4_000_000, 2**32 - 1)


@pytest.mark.row("F7", "H16")
@pytest.mark.parametrize("payload", [b"", b"abc", bytes(100_000)])
@pytest.mark.parametrize("flip", range(20, 24))
def test_a_bad_checksum_drops_one_message_and_is_counted(payload: bytes, flip: int) -> None:
    bad = bytearray(message(b"inv", payload))
    bad[flip] ^= 1
    row: Row = (make, VERACK + bytes(bad) + message(b"tx", b"abc"), [(b"verack", b""), (b"tx", b"abc")], 0)
    check_row(row, behind=bytes(bad) * 2 + VERACK)
    framer = BitcoinFramer()
    assert framer.take(row[1] + bytes(bad)) == ([(b"verack", b""), (b"tx", b"abc")], None)
    assert framer.damaged == 2


# --- frame -------------------------------------------------------------------------------------------------------


@pytest.mark.row("F1", "F7")
def test_frame_writes_what_the_reference_says() -> None:
    assert BitcoinFramer().frame([]) == b""
    assert BitcoinFramer().frame([(b"verack", b"")]) == VERACK
    assert BitcoinFramer(bytes.fromhex("0b110907")).frame([(b"verack", b"")]) == TESTNET_VERACK
    pairs: list[tuple[bytes, Any]] = [(b"inv", bytearray(b"a")), (b"twelve-chars", memoryview(b"abcd")[::2])]
    assert BitcoinFramer().frame(iter(pairs)) == message(b"inv", b"a") + message(b"twelve-chars", b"ac")


@pytest.mark.row("F1", "F7")
@pytest.mark.parametrize(
    ("pair", "error", "why"),
    [
        ((b"", b""), ValueError, "1 to 12 visible ASCII"),
        ((b"thirteen-char", b""), ValueError, "1 to 12 visible ASCII characters, not b'thirteen-char'"),
        ((b"a\0", b""), ValueError, "1 to 12 visible ASCII"),
        ((b"a b", b""), ValueError, "1 to 12 visible ASCII"),
        ((b"\xff", b""), ValueError, "1 to 12 visible ASCII"),
        (("tx", b""), TypeError, "command must be bytes, not str"),
        ((b"tx", "abc"), TypeError, "bytes-like"),
        ((b"tx", 5), TypeError, "bytes-like"),
        ((b"tx",), ValueError, "not enough values"),
        (b"tx", TypeError, "command must be bytes, not int"),
        (b"txn", ValueError, "too many values"),
        ((b"tx", b"abcd"), OutgoingMessageTooLarge, "4 bytes is over the limit of 3 bytes"),
        ((b"block", b"abcdef"), OutgoingMessageTooLarge, "6 bytes is over the limit of 5 bytes"),
    ],
)
def test_what_cannot_be_written_is_refused(pair: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        small().frame([(b"tx", b"abc"), pair])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"magic": b"abc"}, "magic must be 4 bytes, not 3"),
        ({"max_payload_size": -1}, "max_payload_size must be 0 (no limit) or more, not -1"),
        ({"max_block_size": -1}, "max_block_size must be 0 (no limit) or more, not -1"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        BitcoinFramer(**arguments)
