# SPDX-License-Identifier: MIT
"""Messages of DNS (RFC 1035), as a serializer that a user would write: for datagrams, and behind a length."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from tieline.errors import DeserializeError
from tieline.serializers import AbstractPacketSerializer

__all__ = ["AAAA", "CNAME", "MX", "NXDOMAIN", "REFUSED", "TXT", "A", "Answer", "DNSSerializer", "Question", "Record"]

A, CNAME, MX, TXT, AAAA = 1, 5, 15, 16, 28
NXDOMAIN, REFUSED = 3, 5
HEAD: Final = struct.Struct(">6H")
FIXED: Final = struct.Struct(">HHIH")  # type, class, seconds to live, length of the data
MOST_JUMPS: Final = 20  # that a name may take


class Question(NamedTuple):
    """What is asked."""

    number: int
    name: str
    kind: int


class Record(NamedTuple):
    """One record of an answer; `data` is as it came."""

    name: str
    kind: int
    data: bytes


class Answer(NamedTuple):
    """What is answered; `is_cut` = it did not fit into the datagram."""

    number: int
    code: int
    is_cut: bool
    records: tuple[Record, ...]


class DNSSerializer(AbstractPacketSerializer[Question, Answer]):
    """Questions out, answers in."""

    def serialize(self, packet: Question, /) -> bytes:
        labels = b"".join(bytes([len(label)]) + label.encode() for label in packet.name.split("."))
        return HEAD.pack(packet.number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">xHH", packet.kind, 1)

    def deserialize(self, data: bytes, /) -> Answer:
        try:
            return _answer(data)
        except (struct.error, IndexError, UnicodeDecodeError) as exc:
            raise DeserializeError(f"{len(data)} bytes are no answer of DNS") from exc


def _answer(data: bytes) -> Answer:
    number, flags, questions, count, _authorities, _others = HEAD.unpack_from(data)
    place = HEAD.size
    for _ in range(questions):
        _name, place = _read_name(data, place)
        place += 4
    records = []
    for _ in range(count):
        name, place = _read_name(data, place)
        kind, _class, _seconds, size = FIXED.unpack_from(data, place)
        place += FIXED.size + size
        if place > len(data):
            raise DeserializeError(f"a record ends {place - len(data)} bytes behind the message")
        records.append(Record(name, kind, data[place - size : place]))
    return Answer(number, flags & 15, bool(flags & 0x0200), tuple(records))


def _read_name(data: bytes, place: int) -> tuple[str, int]:
    """Return the name at *place*, and where it ends there; a part of it may stand elsewhere."""
    labels: list[str] = []
    end = jumps = 0
    while size := data[place]:
        if size < 64:
            labels.append(data[place + 1 : place + 1 + size].decode("ascii"))
            place += 1 + size
            continue
        end = end or place + 2
        place = (size & 63) << 8 | data[place + 1]
        jumps += 1
        if jumps > MOST_JUMPS:
            raise DeserializeError("a name leads round in a circle")
    return ".".join(labels), end or place + 1
