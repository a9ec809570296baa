# SPDX-License-Identifier: MIT
"""Packets as MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, overload

import msgspec

from tieline.errors import DeserializeError, IncrementalDeserializeError
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.decoding import is_no_utf8
from tieline.wire.serializers.framed import DEFAULT_LIMIT
from tieline.wire.serializers.scanned import Head, ScannedSerializer, ValueScanner

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MessagePackSerializer"]


def _fixed_heads() -> dict[int, Head]:
    """Return the heads that one byte tells all of."""
    heads = {byte: Head(1) for byte in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3)}
    heads |= {0x80 + count: Head(1, 2 * count, is_map=True) for count in range(16)}
    heads |= {0x90 + count: Head(1, count) for count in range(16)}
    heads |= {0xA0 + size: Head(1 + size, is_text=True) for size in range(32)}
    sizes = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    sizes |= {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}  # extensions: their type is a byte of it
    return heads | {byte: Head(size) for byte, size in sizes.items()}


_FIXED: Final = _fixed_heads()
# How many bytes of length follow the first byte of the others: bin, ext, str, array, map.
_WIDTHS: Final = {
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip


class MessagePackScanner(ValueScanner):
    """Knows the heads of MessagePack."""

    __slots__ = ()

    def head(self, data: bytes | bytearray, at: int, stop: int) -> Head | None:
        byte = data[at]
        fixed = _FIXED.get(byte)
        if fixed is not None:
            return fixed
        width = _WIDTHS.get(byte)
        if width is None:
            raise IncrementalDeserializeError("the byte 0xc1 begins nothing in MessagePack")
        if at + 1 + width > stop:
            return None
        count = int.from_bytes(data[at + 1 : at + 1 + width], "big")
        if byte >= 0xDC:
            return Head(1 + width, 2 * count, is_map=True) if byte >= 0xDE else Head(1 + width, count)
        has_type = 0xC7 <= byte <= 0xC9
        return Head(1 + width + has_type + count, is_text=byte >= 0xD9)


class MessagePackSerializer(ScannedSerializer[SentT_contra, ReceivedT_co]):
    """Packets as MessagePack; in streams one after another.

    In a stream, finding the end of a packet means looking at each value in it. `LengthPrefixedSerializer` around a
    serializer with *type* does without that: there, only the type checks a packet.

    A packet with invalid contents is reported, and the stream goes on after it. A packet over a limit, and a byte that
    begins nothing, end the stream.

    Args:
        type: What a packet must be: a Struct, a dataclass, a union, ``list[int]``, ...; by default anything.
        strict: False also accepts numbers given as text and the like, where *type* requires numbers.
        enc_hook: Called with a value that msgspec cannot encode; returns one that it can.
        dec_hook: Called with a type that msgspec does not know and a value; returns a value of that type.
        ext_hook: Called with the number and the bytes of an extension; returns the value. Without it, that is a
            `msgspec.msgpack.Ext`.
        order: "deterministic": equal dicts and sets are sent as the same bytes. "sorted": the fields of objects are
            also sorted by name. None = as they come.
        decimal_format: Whether a ``decimal.Decimal`` is sent as a "string" or as a "number".
        uuid_format: Whether a UUID is sent in its "canonical" form, as "hex" digits alone, or as 16 "bytes".
        text_keys: Whether keys must be text, since a peer could choose numbers that make a dict slow.
        max_depth: How deep values may be nested.
        limit: The maximum size of a received packet in bytes.

    Raises:
        TypeError: msgspec cannot decode into *type*; *limit* or *max_depth* is no int.
        ValueError: *limit* or *max_depth* is not positive, or one of the three settings of msgspec is none that it
            knows.
    """

    __slots__ = ("_encode", "_is_typed", "_unpack")

    @overload
    def __init__(
        self,
        *,
        type: type[ReceivedT_co],
        strict: bool = True,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[Any, Any], Any] | None = None,
        ext_hook: Callable[[int, memoryview], Any] | None = None,
        order: Literal["deterministic", "sorted"] | None = None,
        decimal_format: Literal["string", "number"] = "string",
        uuid_format: Literal["canonical", "hex", "bytes"] = "canonical",
        text_keys: bool = True,
        max_depth: int = 128,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        """Receive what is of a class, as type checkers know it."""

    @overload
    def __init__(
        self: MessagePackSerializer[Any, Any],
        *,
        type: object = Any,
        strict: bool = True,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[Any, Any], Any] | None = None,
        ext_hook: Callable[[int, memoryview], Any] | None = None,
        order: Literal["deterministic", "sorted"] | None = None,
        decimal_format: Literal["string", "number"] = "string",
        uuid_format: Literal["canonical", "hex", "bytes"] = "canonical",
        text_keys: bool = True,
        max_depth: int = 128,
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
        ext_hook: Callable[[int, memoryview], Any] | None = None,
        order: Literal["deterministic", "sorted"] | None = None,
        decimal_format: Literal["string", "number"] = "string",
        uuid_format: Literal["canonical", "hex", "bytes"] = "canonical",
        text_keys: bool = True,
        max_depth: int = 128,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(limit, max_depth, text_keys)
        encoder = msgspec.msgpack.Encoder(
            enc_hook=enc_hook, decimal_format=decimal_format, uuid_format=uuid_format, order=order
        )
        self._encode: Callable[[Any], bytes] = encoder.encode
        decoder = msgspec.msgpack.Decoder(type, strict=strict, dec_hook=dec_hook, ext_hook=ext_hook)
        self._unpack: Callable[[bytes], Any] = decoder.decode
        self._is_typed = type is not Any

    def _new_scanner(self) -> ValueScanner:
        # With a type it is the type that says what keys are.
        return MessagePackScanner(self._limit, self._max_depth, self._text_keys and not self._is_typed)

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as MessagePack."""
        return self._encode(packet)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is.

        Raises:
            DeserializeError: It is no MessagePack, or not what `type` says, or over a limit.
        """
        if self._is_typed and len(data) <= self._limit:
            return self._decode(data)  # type: ignore[no-any-return]  # `type` says what it is, at run time
        return super().deserialize(data)

    def _decode(self, data: bytes) -> Any:
        try:
            return self._unpack(data)
        except msgspec.ValidationError as exc:
            raise DeserializeError("the MessagePack does not have the type of the packets") from exc
        except RecursionError:
            raise DeserializeError("the MessagePack is nested too deep") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            if is_no_utf8(exc):  # the cause may hold the packet
                raise DeserializeError("the MessagePack has text that is not UTF-8") from None
            raise DeserializeError("the packet is not MessagePack") from exc
