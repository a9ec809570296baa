# SPDX-License-Identifier: MIT
"""How the messages of a WebSocket and the stream that the layer above knows become each other; see `Carriage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tieline.wire.websocket.framing import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.carriage import Carriage

__all__ = ["STREAM_MESSAGE", "joined", "parted"]

# From this length on, finding a newline and slicing is cheaper than split().
_LONG: Final = 1024
# The longest message that a stream is sent in: most programs take no longer ones unless they are told to.
STREAM_MESSAGE: Final = 1 << 20


def joined(messages: list[bytes], carriage: Carriage) -> bytes:
    """Return *messages* as the layer above reads them."""
    if carriage == "lines":
        lines = b"\n".join((*messages, b""))
        if lines.count(b"\n") != len(messages) or not all(messages) or b"\r" in messages:
            lines = b"".join([_line(message) for message in messages])
        return lines
    if carriage == "stream":
        return b"".join(messages) if len(messages) != 1 else messages[0]
    parts: list[bytes] = []
    for message in messages:
        parts += (PREFIX.pack(len(message)), message)
    return b"".join(parts)


def _line(message: bytes) -> bytes:
    r"""Return a text of JSON as a line that means the same.

    A newline in it is a blank or a fault, and so is ``\r``. A line without anything would be passed over; the fault
    that a message without anything is, a blank is as well.
    """
    message = message.replace(b"\n", b"\r")
    return message + b"\n" if message.strip(b"\r") else b" \n"


def parted(data: bytes | memoryview, carriage: Carriage) -> Sequence[bytes | memoryview]:
    """Return the messages in what the layer above has written: whole ones."""
    if carriage == "lines":
        return _lines(data if isinstance(data, bytes) else bytes(data))
    if carriage == "stream":
        if len(data) <= STREAM_MESSAGE:
            return (data,)
        rest = memoryview(data)
        return [rest[at : at + STREAM_MESSAGE] for at in range(0, len(rest), STREAM_MESSAGE)]
    whole = memoryview(data)
    messages: list[memoryview] = []
    at = 0
    while at < len(whole):
        (size,) = PREFIX.unpack_from(whole, at)
        at += PREFIX.size
        messages.append(whole[at : at + size])
        at += size
    return messages


def _lines(data: bytes) -> Sequence[bytes]:
    end = data.find(b"\n")
    if end == len(data) - 1:
        return (data[:end],)
    lines: list[bytes] = []
    start = 0
    while end - start >= _LONG:
        lines.append(data[start:end])
        start = end + 1
        end = data.find(b"\n", start)
    lines += data[start:].split(b"\n")
    lines.pop()  # what stands behind the last newline: nothing
    return lines
