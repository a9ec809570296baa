# SPDX-License-Identifier: MIT
"""The errors of packets, and of plain streams of bytes. They are a branch of the tree in `tieline.errors`."""

from __future__ import annotations

from tieline.errors import ClosedError, TielineError

__all__ = [
    "BusyResourceError",
    "ClientClosedError",
    "DatagramProtocolParseError",
    "DeserializeError",
    "IncompleteReadError",
    "IncrementalDeserializeError",
    "LimitOverrunError",
    "PacketConversionError",
    "ReadLimitError",
    "SendTimeout",
    "StreamProtocolParseError",
]


class ClientClosedError(ClosedError):
    """This side had closed the packet client, or closed it while the operation was under way."""


class BusyResourceError(TielineError, RuntimeError):
    """Two tasks used at the same time what only one may use."""


# --- streams of bytes ---------------------------------------------------------------------------------------------


class IncompleteReadError(TielineError, EOFError):
    """A stream of bytes ended before all that was asked for had come. (On asyncio: ``asyncio.IncompleteReadError``.)

    Attributes:
        partial: What had come.
        expected: How many bytes were asked for; None where that was up to a separator.
    """

    def __init__(self, partial: bytes, expected: int | None) -> None:
        wanted = "a separator" if expected is None else f"{expected} bytes"
        super().__init__(f"the stream ended after {len(partial)} bytes, and {wanted} had not come")
        self.partial = partial
        self.expected = expected


class ReadLimitError(TielineError, ValueError):
    """The separator that was looked for is further away than the limit. (On asyncio: ``asyncio.LimitOverrunError``.)

    Attributes:
        consumed: How many bytes there are before it, as far as they have come.
    """

    def __init__(self, message: str, consumed: int) -> None:
        super().__init__(message)
        self.consumed = consumed


# --- packets ------------------------------------------------------------------------------------------------------


class DeserializeError(TielineError):
    """Bytes of the peer are no packet of the serializer in use."""


class IncrementalDeserializeError(DeserializeError):
    """Bytes of a stream are no packet.

    Attributes:
        remaining_data: What followed the faulty bytes and is still to be read.
    """

    def __init__(self, message: str, remaining_data: bytes = b"") -> None:
        super().__init__(message)
        self.remaining_data = remaining_data


class LimitOverrunError(IncrementalDeserializeError):
    """A packet in a stream is over the serializer's limit.

    Attributes:
        limit: The limit in bytes.
    """

    def __init__(self, message: str, remaining_data: bytes = b"", *, limit: int) -> None:
        super().__init__(message, remaining_data)
        self.limit = limit


class SendTimeout(TielineError, TimeoutError):
    """A blocking client could not send in time.

    Attributes:
        sent: Whether what was to be sent is on its way all the same: then it goes out whole, before all later packets.
    """

    def __init__(self, *args: object, sent: bool = False) -> None:
        super().__init__(*args)
        self.sent = sent


class PacketConversionError(TielineError):
    """A converter cannot make a packet of what was deserialized, or the other way round."""


class StreamProtocolParseError(TielineError):
    """A stream held something that is no packet; reading goes on behind it.

    Attributes:
        remaining_data: Where a protocol of yours raises it: what followed the faulty bytes and is still to be read.
            What a client raises has none.
    """

    def __init__(self, message: str = "", remaining_data: bytes = b"") -> None:
        super().__init__(message)
        self.remaining_data = remaining_data


class DatagramProtocolParseError(TielineError):
    """A datagram was no packet; reading goes on with the next one."""
