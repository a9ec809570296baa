# SPDX-License-Identifier: MIT
"""Packets of fixed fields: the module `struct` of the standard library."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class, whatever the standard library calls it
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.sized import FixedSizePacketSerializer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["NamedTupleStructSerializer", "StructSerializer"]

NamedTupleT = TypeVar("NamedTupleT", bound=tuple[Any, ...])


class StructSerializer(FixedSizePacketSerializer[SentT_contra, ReceivedT_co]):
    """Packets that are tuples of numbers and bytes, in a format of the module ``struct``.

    For packets of another kind override `iter_values` and `from_tuple`.

    Args:
        format: The format; "!" before it for network order, which also leaves out gaps between fields.
        allow_nan: Whether a float may be NaN, which is equal to nothing, not even itself.

    Raises:
        struct.error: *format* is none.
        ValueError: A packet would have no bytes.
    """

    __slots__ = ("_refuses_nan", "_struct")

    def __init__(self, format: str, *, allow_nan: bool = False) -> None:
        self._struct = Struct(format)
        super().__init__(self._struct.size)
        self._refuses_nan = not allow_nan and not {"e", "f", "d"}.isdisjoint(format)

    @property
    def struct(self) -> Struct:
        """What packs and unpacks the fields."""
        return self._struct

    def iter_values(self, packet: SentT_contra, /) -> Iterable[Any]:
        """Return the fields of *packet*."""
        return cast("Iterable[Any]", packet)

    def from_tuple(self, fields: tuple[Any, ...], /) -> ReceivedT_co:
        """Return the packet with these fields.

        Raises:
            DeserializeError: There is none.
        """
        return cast("ReceivedT_co", fields)

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*.

        Raises:
            struct.error: The fields do not fit the format.
            ValueError: A field is NaN.
        """
        values = tuple(self.iter_values(packet))
        if self._refuses_nan and _has_nan(values):
            raise ValueError("a field is NaN (allow_nan=True would send it)")
        return self._struct.pack(*values)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is.

        Raises:
            DeserializeError: It is of another size, or a field is NaN.
        """
        try:
            fields = self._struct.unpack(data)
        except StructError:
            raise DeserializeError(f"a packet has {self._struct.size} bytes, not {len(data)}") from None  # it says it
        if self._refuses_nan and _has_nan(fields):
            raise DeserializeError("a field is NaN")
        return self.from_tuple(fields)


def _has_nan(fields: tuple[Any, ...]) -> bool:
    return any(field != field for field in fields)  # only a NaN differs from itself


class NamedTupleStructSerializer(StructSerializer[NamedTupleT, NamedTupleT]):
    """Packets that are named tuples; text in them is padded with NULs.

    Args:
        namedtuple_cls: The class of the packets.
        field_formats: The format of ``struct`` for each field, without a sign for the byte order: "B", "10s", ...
        format_endianness: That sign: "!" or ">" (big), "<" (little), "=" (as here), "" (as here, with gaps).
        encoding: The encoding of fields with an "s"; None leaves them bytes.
        unicode_errors: What happens to bytes that are no text: see ``str.encode``.
        strip_string_trailing_nul_bytes: Whether the NULs at the end of an "s" field are padding.
        allow_nan: Whether a float may be NaN.

    Raises:
        TypeError: *namedtuple_cls* is no class of named tuples.
        ValueError: *field_formats* are not for its fields, or one is not the format of a single field.
        struct.error: A format is none.
    """

    __slots__ = ("_cls", "_encoding", "_errors", "_strips", "_texts")

    def __init__(
        self,
        namedtuple_cls: type[NamedTupleT],
        field_formats: Mapping[str, str],
        format_endianness: str = "",
        encoding: str | None = "utf-8",
        unicode_errors: str = "strict",
        strip_string_trailing_nul_bytes: bool = True,
        *,
        allow_nan: bool = False,
    ) -> None:
        given: Any = namedtuple_cls  # users pass anything
        names: Any = getattr(given, "_fields", None)
        if names is None or not isinstance(given, type) or not issubclass(given, tuple):
            raise TypeError("namedtuple_cls must be a class of named tuples")
        fields: tuple[str, ...] = names
        if set(fields) != set(field_formats):
            raise ValueError(f"field_formats must have the fields {', '.join(fields)}, and no others")
        for name in fields:
            formatted = Struct(format_endianness + field_formats[name])
            if len(formatted.unpack(bytes(formatted.size))) != 1:
                raise ValueError(f"the format {field_formats[name]!r} of {name} is not that of one field")
        super().__init__(format_endianness + "".join(field_formats[name] for name in fields), allow_nan=allow_nan)
        self._cls = namedtuple_cls
        self._encoding = encoding
        self._errors = unicode_errors
        self._strips = strip_string_trailing_nul_bytes
        self._texts = tuple(index for index, name in enumerate(fields) if field_formats[name].endswith("s"))

    def iter_values(self, packet: NamedTupleT, /) -> Iterable[Any]:
        """Return the fields of *packet*, with text as bytes.

        Raises:
            TypeError: *packet* is of another class.
            ValueError: Text cannot be encoded.
        """
        if not isinstance(packet, self._cls):
            raise TypeError(f"a packet must be a {self._cls.__name__}, not {type(packet).__name__}")
        values = list(packet)
        if self._encoding is not None:
            for index in self._texts:
                values[index] = values[index].encode(self._encoding, self._errors)
        return values

    def from_tuple(self, fields: tuple[Any, ...], /) -> NamedTupleT:
        """Return the packet with these fields.

        Raises:
            DeserializeError: A text is none in the encoding.
        """
        if self._texts:
            values = list(fields)
            for index in self._texts:
                values[index] = self._text(values[index])
            fields = tuple(values)
        return self._cls(*fields)

    def _text(self, data: bytes) -> str | bytes:
        if self._strips:
            data = data.rstrip(b"\0")
        if self._encoding is None:
            return data
        try:
            return data.decode(self._encoding, self._errors)
        except ValueError:
            raise DeserializeError(f"a field is not {self._encoding}") from None  # the cause would hold it
