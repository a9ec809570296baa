# SPDX-License-Identifier: MIT
"""Packets as JSON, one a line or one behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

import msgspec

from tieline.errors import DeserializeError, IncrementalDeserializeError
from tieline.wire.framing.json_texts import SHALLOW_TEXT, TEXT_ENDS, TEXT_FIRST, WINDOW, TextEnd, skip_blanks
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra, overrides
from tieline.wire.serializers.decoding import PacketDecoder, fault_of, is_no_utf8
from tieline.wire.serializers.framed import DEFAULT_LIMIT, overrun
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer, SeparatedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JSONSerializer"]

PacketT = TypeVar("PacketT")

_BLANK: Final = (b"", b"\r")
# A search for the integer is one memchr. For bytes CPython first makes an error, that they are no integer: 0.5 us.
_NEWLINE: Final = 0x0A
# How msgspec begins to say so, which is of no class of its own.
_TOO_LARGE: Final = ("Number out of range", "Integer value out of range")


class TextDecoder(PacketDecoder[PacketT]):
    """Cuts a stream into JSON texts that stand one behind the other, as `JSONStreamFramer` does.

    A text that is no JSON is a fault, and the stream goes on behind it. A text over the limit, and a byte between two
    texts that none can begin with, end the stream.
    """

    __slots__ = ("_at", "_buffer", "_decode", "_explain", "_limit", "_scanned", "_text")

    def __init__(
        self, limit: int, decode: Callable[[bytes], PacketT], explain: Callable[[Exception], Exception] | None
    ) -> None:
        super().__init__()
        self._limit = limit
        self._decode = decode
        self._explain = explain
        self._buffer = bytearray()
        self._at = 0  # where the first text begins that is not decoded, or blanks before it
        self._text = TextEnd()
        self._scanned = 0  # up to where the end of a text that has begun was looked for

    def feed(self, data: bytes) -> None:
        if self.is_broken:
            return
        if self._at:
            del self._buffer[: self._at]
            self._scanned -= self._at
            self._at = 0
        self._buffer += data
        self.is_ready = bool(self._buffer)

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        while self.is_ready and len(packets) < most:
            try:
                text = self._cut()
            except IncrementalDeserializeError as exc:
                self.is_broken = True
                self.unread()
                return packets, fault_of(exc)
            if text is None:
                self.is_ready = False
                break
            try:
                packets.append(self._decode(text))
            except Exception as exc:
                return packets, fault_of(exc if self._explain is None else self._explain(exc))
        return packets, None

    def _cut(self) -> bytes | None:
        """Return the next text; None when its end has not come.

        Raises:
            LimitOverrunError: It is too long.
            IncrementalDeserializeError: What comes next begins no text.
        """
        buffer = self._buffer
        size = len(buffer)
        if not self._text.begun:
            whole = SHALLOW_TEXT.match(buffer, self._at, self._at + WINDOW)
            if whole is not None:
                return self._text_up_to(whole.start(1), whole.end())
            self._at = self._scanned = skip_blanks(buffer, self._at)
            if self._at == size:
                self._buffer = bytearray()  # an idle connection keeps no memory
                self._at = 0
                return None
            if buffer[self._at] not in TEXT_FIRST:
                raise IncrementalDeserializeError(f"a JSON text cannot begin with 0x{buffer[self._at]:02x}")
        end = self._text.find(buffer, self._scanned, size) if self._scanned < size else -1
        if end >= 0:
            return self._text_up_to(self._at, end)
        self._scanned = size
        self._check(size - self._at)
        return None

    def _text_up_to(self, start: int, end: int) -> bytes:
        self._check(end - start)
        text = bytes(memoryview(self._buffer)[start:end])
        self._at = end
        return text

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise overrun(self._limit, size)

    @property
    def pending(self) -> int:
        return len(self._buffer) - self._at

    def unread(self) -> bytes:
        rest = bytes(memoryview(self._buffer)[self._at :])
        self._buffer = bytearray()
        self._at = self._scanned = 0
        self._text.forget()
        self.is_ready = False
        return rest


class JSONSerializer(AutoSeparatedPacketSerializer[SentT_contra, ReceivedT_co]):
    r"""Packets as JSON, one per line by default; *type* checks and converts what arrives.

    With lines, blank ones are skipped, ``\r`` before a newline is ignored, a packet over the limit is dropped, and the
    stream goes on after invalid JSON. Without lines, see `JSONStreamFramer`: a byte that cannot begin a text ends the
    stream, and so does a packet over the limit.

    Everything that msgspec encodes can be sent: dicts, lists, text, numbers, None, dataclasses, Structs, datetimes,
    UUIDs, enums and more. NaN and the infinities, which JSON does not have, become null.

    Args:
        type: What a packet must be: a Struct, a dataclass, a union, ``list[int]``, ...; by default anything.
        strict: False also accepts numbers given as text and the like, where *type* requires numbers.
        enc_hook: Called with a value that msgspec cannot encode; returns one that it can.
        dec_hook: Called with a type that msgspec does not know and a value; returns a value of that type.
        float_hook: Called with the text of each number that is not an integer, unless *type* says what it is; returns
            the value, such as a ``decimal.Decimal``.
        order: "deterministic": equal dicts and sets are sent as the same bytes. "sorted": the fields of objects are
            also sorted by name. None = as they come.
        decimal_format: Whether a ``decimal.Decimal`` is sent as a "string" or as a "number".
        uuid_format: Whether a UUID is sent in its "canonical" form or as "hex" digits only.
        use_lines: Whether each packet is a line. Otherwise packets follow each other with nothing in between.
        limit: The maximum size of a received packet in bytes.

    Raises:
        TypeError: msgspec cannot decode into *type*.
        ValueError: *limit* is not positive, or one of the three settings of msgspec is not one that it knows.
    """

    __slots__ = ("_decode", "_encode", "_serialize", "_use_lines")

    @overload
    def __init__(
        self,
        *,
        type: type[ReceivedT_co],
        strict: bool = True,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[Any, Any], Any] | None = None,
        float_hook: Callable[[str], Any] | None = None,
        order: Literal["deterministic", "sorted"] | None = None,
        decimal_format: Literal["string", "number"] = "string",
        uuid_format: Literal["canonical", "hex"] = "canonical",
        use_lines: bool = True,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        """Receive what is of a class, as type checkers know it."""

    @overload
    def __init__(
        self: JSONSerializer[Any, Any],
        *,
        type: object = Any,
        strict: bool = True,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[Any, Any], Any] | None = None,
        float_hook: Callable[[str], Any] | None = None,
        order: Literal["deterministic", "sorted"] | None = None,
        decimal_format: Literal["string", "number"] = "string",
        uuid_format: Literal["canonical", "hex"] = "canonical",
        use_lines: bool = True,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        """Receive what type checkers have no word for, or anything."""

    def __init__(
        self,
        *,
        type: object = Any,
        strict: bool = True,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[Any, Any], Any] | None = None,
        float_hook: Callable[[str], Any] | None = None,
        order: Literal["deterministic", "sorted"] | None = None,
        decimal_format: Literal["string", "number"] = "string",
        uuid_format: Literal["canonical", "hex"] = "canonical",
        use_lines: bool = True,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        # JSON of msgspec never holds a newline that is not escaped; a ready-made text (`msgspec.Raw`) may.
        super().__init__(b"\n", limit=limit)
        encoder = msgspec.json.Encoder(
            enc_hook=enc_hook, decimal_format=decimal_format, uuid_format=uuid_format, order=order
        )
        self._encode: Callable[[Any], bytes] = encoder.encode
        # One call less for each packet, where nobody overrides it.
        is_theirs = overrides(self.__class__, JSONSerializer, "serialize")
        self._serialize: Callable[[Any], bytes] = self.serialize if is_theirs else self._encode
        decoder = msgspec.json.Decoder(type, strict=strict, dec_hook=dec_hook, float_hook=float_hook)
        self._decode: Callable[[bytes], Any] = decoder.decode
        self._use_lines = use_lines

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as JSON."""
        return self._encode(packet)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that the JSON text *data* is.

        Raises:
            DeserializeError: It is no JSON, or not what `type` says; or it holds a number out of range (over 1.8e308,
                or an integer of more than 4300 digits), or brackets nested too deep.
        """
        try:
            return self._decode(data)  # type: ignore[no-any-return]  # `type` says what it is, at run time
        except Exception as exc:
            fault = explain(exc)
            try:
                raise fault from fault.__cause__
            finally:
                del fault  # its traceback refers to this frame

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as a line; without lines, as a JSON text, with a newline if it does not end by itself.

        Raises:
            ValueError: The packet is a ready-made text (`msgspec.Raw`) with a newline in it, which would be two lines.
        """
        data = self._serialize(packet)
        if not self._use_lines:
            return data if data[-1] in TEXT_ENDS else data + b"\n"
        if _NEWLINE in data:
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
    if is_no_utf8(error):
        fault = DeserializeError("the packet is not UTF-8")  # without the cause, which may hold the packet
    elif isinstance(error, msgspec.ValidationError) and str(error).startswith(_TOO_LARGE):
        fault = DeserializeError("the JSON holds a number that is out of range")
        fault.__cause__ = error
    elif isinstance(error, msgspec.ValidationError):
        fault = DeserializeError("the JSON does not have the type of the packets")
        fault.__cause__ = error
    elif isinstance(error, RecursionError):
        fault = DeserializeError("the JSON is nested too deep")
    elif isinstance(error, msgspec.DecodeError):
        fault = DeserializeError("the packet is not JSON")
        fault.__cause__ = error
    else:
        return error
    return fault
