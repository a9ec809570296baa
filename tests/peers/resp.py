# SPDX-License-Identifier: MIT
"""RESP, in which redis talks, as a serializer that a user would write: one generator for each packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tieline.errors import IncrementalDeserializeError
from tieline.serializers import AbstractIncrementalPacketSerializer

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["RESPSerializer", "RedisError"]

Reply: TypeAlias = Any  # str, bytes, int, None, RedisError, or a list of these

Reading: TypeAlias = "Generator[None, bytes, tuple[Reply, bytes]]"


class RedisError(Exception):
    """What redis answers a command that has failed with; as a packet, it is a value like others."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RedisError) and self.args == other.args

    __hash__ = Exception.__hash__


class RESPSerializer(AbstractIncrementalPacketSerializer["Sequence[bytes | str | int]", Reply]):
    """Commands as lists of words, replies as values: the second version of the protocol."""

    def incremental_serialize(self, packet: Sequence[bytes | str | int], /) -> Generator[bytes, None, None]:
        yield b"*%d\r\n" % len(packet)
        for word in packet:
            data = word if isinstance(word, bytes) else str(word).encode()
            yield b"$%d\r\n%b\r\n" % (len(data), data)

    def incremental_deserialize(self) -> Reading:
        return (yield from _value((yield)))


def _value(data: bytes) -> Reading:
    """Read one value that begins with *data*; return it, and what is behind."""
    line, data = yield from _line(data)
    kind, text = line[:1], line[1:]
    match kind:
        case b"+":
            return text.decode(), data
        case b"-":
            return RedisError(text.decode()), data
        case b":":
            return int(text), data
        case b"$" if text == b"-1":
            return None, data
        case b"$":
            size = int(text)
            parts, have = [data], len(data)
            while have < size + 2:
                parts.append((yield))
                have += len(parts[-1])
            data = b"".join(parts)
            return data[:size], data[size + 2 :]
        case b"*":
            values = []
            for _ in range(int(text)):
                value, data = yield from _value(data)
                values.append(value)
            return values, data
        case _:
            raise IncrementalDeserializeError("no value of redis begins so", remaining_data=data)


def _line(data: bytes) -> Generator[None, bytes, tuple[bytes, bytes]]:
    while b"\r\n" not in data:
        data += yield
    line, _, rest = data.partition(b"\r\n")
    return line, rest
