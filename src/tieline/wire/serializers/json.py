# SPDX-License-Identifier: MIT
"""Packets as JSON, one a line or one behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from tieline.errors import DeserializeError, IncrementalDeserializeError, MessageTooLarge
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra, overrides
from tieline.wire.serializers.decoding import PacketDecoder, fault_of
from tieline.wire.serializers.framed import DEFAULT_LIMIT, overrun
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer, SeparatedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["JSONSerializer"]

PacketT = TypeVar("PacketT")

_BLANK: Final = (b"", b"\r")
# What ends by itself, so that nothing needs to stand between it and the next text.
_ENDS: Final = frozenset(b'}]"')


class TextDecoder(PacketDecoder[PacketT]):
    """Cuts a stream into JSON texts that stand one behind the other; see `JSONStreamFramer`.

    A text that is no JSON is a fault, and the stream goes on behind it. A text over the limit, and a byte between two
    texts that none can begin with, end the stream.
    """

    __slots__ = ("_at", "_decode", "_explain", "_fault", "_framer", "_texts")

    def __init__(
        self, limit: int, decode: Callable[[bytes], PacketT], explain: Callable[[Exception], Exception] | None
    ) -> None:
        super().__init__()
        self._framer = JSONStreamFramer(limit)
        self._decode = decode
        self._explain = explain
        self._texts: list[bytes] = []  # cut and not decoded, from _at on
        self._at = 0
        self._fault: Exception | None = None  # what came behind them

    def feed(self, data: bytes) -> None:
        if self.is_broken or self._fault is not None:
            return
        texts, fault = self._framer.take(data)
        self._texts = self._texts[self._at :] + texts
        self._at = 0
        if isinstance(fault, MessageTooLarge):
            self._fault = overrun(fault.limit, fault.seen)
        elif fault is not None:
            self._fault = IncrementalDeserializeError(str(fault))
        self.is_ready = bool(self._texts) or self._fault is not None

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        some = self._texts[self._at : self._at + most]
        packets: list[PacketT] = []
        fault: Exception | None = None
        try:
            packets.extend(map(self._decode, some))
        except Exception as exc:
            fault = fault_of(exc if self._explain is None else self._explain(exc))
            self._at += len(packets) + 1
        else:
            self._at += len(some)
            if len(packets) < most and self._fault is not None:
                fault, self._fault = self._fault, None
                self.is_broken = True
        if self._at >= len(self._texts):
            self._texts = []
            self._at = 0
            self.is_ready = self._fault is not None
        return packets, fault

    @property
    def pending(self) -> int:
        return sum(map(len, self._texts[self._at :])) + self._framer.pending

    def unread(self) -> bytes:
        rest = b"\n".join((*self._texts[self._at :], b"".join(self._framer.unfinished())))
        self._texts = []
        self._at = 0
        self.is_ready = False
        return rest


class JSONSerializer(AutoSeparatedPacketSerializer[SentT_contra, ReceivedT_co]):
    r"""Packets as JSON.

    With lines, blank ones are skipped, ``\r`` before a newline is, a packet over the limit is thrown away, and the
    stream goes on behind whatever is no JSON. Without, see `JSONStreamFramer`: what cannot begin a text ends the
    stream, as a packet over the limit does.

    Sent can be what msgspec encodes: dicts, lists, text, numbers, None, dataclasses, Structs, datetimes, UUIDs, enums
    and more. NaN and the infinities, which JSON has not, become null.

    Args:
        type: What a packet must be: a Struct, a dataclass, a union, ``list[int]``, ...; by default anything.
        strict: False also takes numbers that are given as text and the like, where *type* asks for numbers.
        enc_hook: Called with what msgspec cannot encode; returns what it can.
        dec_hook: Called with a type that msgspec does not know and a value; returns a value of that type.
        use_lines: Whether each packet is a line. Otherwise packets stand one behind the other with nothing between.
        limit: The most bytes of a packet that is received.

    Raises:
        TypeError: msgspec cannot decode into *type*.
        ValueError: *limit* is not positive.
    """

    __slots__ = ("_decode", "_encode", "_encode_lines", "_use_lines")

    def __init__(
        self,
        *,
        type: Any = Any,
        strict: bool = True,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[Any, Any], Any] | None = None,
        use_lines: bool = True,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        # JSON of msgspec never holds a newline that is not escaped; a ready-made text (`msgspec.Raw`) may.
        super().__init__(b"\n", limit=limit)
        encoder = msgspec.json.Encoder(enc_hook=enc_hook)
        self._encode: Callable[[Any], bytes] = encoder.encode
        self._encode_lines: Callable[[Iterable[Any]], bytes] = encoder.encode_lines
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(type, strict=strict, dec_hook=dec_hook).decode
        self._use_lines = use_lines

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as JSON."""
        return self._encode(packet)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that the JSON text *data* is.

        Raises:
            DeserializeError: It is no JSON, or not what `type` says. A number of more than 4300 digits and brackets
                nested too deep are no JSON here.
        """
        try:
            return self._decode(data)  # type: ignore[no-any-return]  # `type` says what it is, at run time
        except Exception as exc:
            raise explain(exc) from exc.__cause__

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as a line; without lines, as a JSON text, with a newline if it does not end by itself.

        Raises:
            ValueError: The packet is a ready-made text (`msgspec.Raw`) with a newline in it, which would be two lines.
        """
        data = self.serialize(packet)
        if not self._use_lines:
            return data if data[-1] in _ENDS else data + b"\n"
        if b"\n" in data:
            raise ValueError("a packet must not hold the separator that ends it")
        return data + b"\n"

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        decode: Callable[[bytes], ReceivedT_co] = self._decode
        reason: Callable[[Exception], Exception] | None = explain
        if overrides(type(self), JSONSerializer, "deserialize"):
            decode, reason = self.deserialize, None
        if self._use_lines:
            return SeparatedDecoder(self._separator, self._limit, decode, reason, _BLANK)
        return TextDecoder(self._limit, decode, reason)


def explain(error: Exception) -> Exception:
    """Return what an *error* of the decoder means; *error* itself if it is not about the bytes."""
    if isinstance(error, msgspec.ValidationError):
        fault = DeserializeError("the JSON is not of the type that packets have here")
        fault.__cause__ = error
    elif isinstance(error, RecursionError):
        fault = DeserializeError("the JSON is nested too deep")
    elif isinstance(error, msgspec.DecodeError):
        fault = DeserializeError("the packet is no JSON")
        fault.__cause__ = error
    elif isinstance(error, UnicodeDecodeError):
        fault = DeserializeError("the packet is no UTF-8")  # without the cause, which holds the packet
    else:
        return error
    return fault
