# SPDX-License-Identifier: MIT
"""Cases 74-78: packets whose contents are hostile. Each is told as faulty, and the good one behind it comes back."""

import bz2
import os
import zlib
from pathlib import Path
from typing import Any

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases_packets import case, check_echo, faults, packets_seen
from tests.attacks.raw import Peer, fresh
from tests.attacks.sealed import PICKLE_KEY, SEAL
from tests.attacks.table import Play
from tieline.serializers import BytesSerializer, EncryptorSerializer, PickleSerializer

BYTES = BytesSerializer()


def framed(*packets: bytes) -> bytes:
    """Return packets, each behind its length."""
    return b"".join(len(data).to_bytes(4) + data for data in packets)


def told(good: bytes, bad: list[bytes]) -> Play:
    """Return what sends each of *bad*, and *good* behind it; each is told as faulty or as too long."""

    def play(peer: Peer, server: AttackedServer) -> None:
        packets_seen(server)
        for data in bad:
            check_echo(peer, framed(data, good), framed(good))
        found = faults(server, len(bad))
        assert sum(found.values()) == len(bad), found
        names = {fault.partition(":")[0].removeprefix("Incremental") for fault in found}
        assert names <= {"DeserializeError", "LimitOverrunError"}, found

    return play


# --- 74: pickle ------------------------------------------------------------------------------------------------------


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def pickled(peer: Peer, server: AttackedServer) -> None:
    """Nothing that has not our key is unpickled, whoever has made it."""
    path = Path(peer.url).name + fresh(f" made by a pickle {os.getpid()}")
    evil = PickleSerializer(b"another of 16 by", allow_unsafe=True).serialize(Evil(f"/tmp/{path}"))
    ours = PickleSerializer(PICKLE_KEY, allow_unsafe=True)
    good = ours.serialize([1])
    without_key = evil[-100:]
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    told(good, [evil, without_key, flipped, good[:-1], b"\x80", b""])(peer, server)
    assert not Path("/tmp", path).exists()


# --- 75: bombs -------------------------------------------------------------------------------------------------------


def bomb_of_zlib() -> bytes:
    """Return 200 KB that inflate to 200 MB: one compressed megabyte again and again."""
    compressor = zlib.compressobj(9)
    first, *others = (compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + others[0] * 199 + compressor.flush()


def bombs(module: Any, bomb: bytes) -> Play:
    def play(peer: Peer, server: AttackedServer) -> None:
        good = module.compress(b"good")
        bad = [bomb, good + good, good[:-1], good[:2], b"", b"no such stream"]
        told(good, bad)(peer, server)

    return play


# --- 76: what is encrypted -------------------------------------------------------------------------------------------


def opened(peer: Peer, ours: Any) -> Any:
    """Return the next packet, decrypted."""
    return ours.deserialize(peer.take(int.from_bytes(peer.take(4))))


def sealed(peer: Peer, server: AttackedServer) -> None:
    """All that is wrong with a token is told in one and the same way; good ones go back encrypted anew."""
    ours = EncryptorSerializer(BYTES, SEAL)
    other = EncryptorSerializer(BYTES, EncryptorSerializer.generate_key())
    token, used = ours.serialize(b"good"), ours.serialize(b"good")
    flipped = token[:40] + bytes([token[40] ^ 1]) + token[41:]
    packets_seen(server)
    bad = [flipped, token[:-8], token[1:], other.serialize(b"good"), used, b"", b"\0" * 100]
    assert peer.send(framed(used))
    assert opened(peer, ours) == b"good"
    for data in bad:
        assert peer.send(framed(data, ours.serialize(b"good")))
        assert opened(peer, ours) == b"good"
    (fault,) = faults(server, len(bad))
    assert fault == "DeserializeError: the packet is not authentic"


# --- 77, 78: what announces much, is deep, or is no number -----------------------------------------------------------

MSGPACK = [
    b"\xdd\x80\0\0\0",  # 2^31 items
    b"\xdf\x80\0\0\0",  # and as many members
    b"\x91" * 100_000 + b"\x90",
    b"\xc9\x7f\xff\xff\xff\x01",  # an extension of 2 GB
    b"\x81\x01\x02",  # a key that is no text
    b"\xc1",
    b"",
]
CBOR = [
    b"\x9a\x80\0\0\0",
    b"\xba\x80\0\0\0",
    b"\x81" * 100_000 + b"\x80",
    b"\xd8\x1c\x81\xd8\x1d\0",  # a value that holds itself
    b"\xa1\x01\x02",
    b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",  # a string of 2^63 bytes
    b"",
]


def no_numbers(peer: Peer, server: AttackedServer) -> None:
    good, nan = b"\x3f\x80\0\0", b"\x7f\xc0\0\0"
    packets_seen(server)
    check_echo(peer, nan + good + nan + good, good + good)
    found = faults(server, 2)
    assert all(fault.startswith("DeserializeError") for fault in found), found
    assert peer.send(good[:2])  # half of one: no packet, and no fault before the end


def no_lines(peer: Peer, server: AttackedServer) -> None:
    packets_seen(server)
    check_echo(peer, b"\xff\r\na\xc3\xa9\r\na\0b\r\ngood\r\n", b"good\r\n")
    assert sum(faults(server, 3).values()) == 3


CASES = [
    case(74, "pickles of strangers", pickled, "packets-pickle"),
    case(
        75,
        "200 KB that inflate to 200 MB, and other streams",
        bombs(zlib, bomb_of_zlib()),
        "packets-zlib",
        growth=8 << 20,
    ),
    case(75, "the same by bz2", bombs(bz2, bz2.compress(bytes(20 << 20))), "packets-bz2", growth=16 << 20),
    case(76, "tokens that are not authentic", sealed, "packets-sealed"),
    case(77, "hostile MessagePack", told(b"\x01", MSGPACK), "packets-msgpack"),
    case(77, "hostile CBOR", told(b"\x01", CBOR), "packets-cbor"),
    case(78, "structs that hold no number", no_numbers, "packets-struct"),
    case(78, "lines that are no text", no_lines, "packets-text"),
]
