# SPDX-License-Identifier: MIT
"""Packets as CBOR (RFC 8949), by cbor2."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import DeserializeError, IncrementalDeserializeError
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.framed import DEFAULT_LIMIT
from tieline.wire.serializers.scanned import ENDLESS, Head, ScannedSerializer, ValueScanner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import tzinfo

__all__ = ["SAFE_TAGS", "CBORSerializer"]

# Dates (0, 1, 100, 1004), large integers (2, 3), UUIDs (37) and the mark that it is CBOR (55799). What is left out
# builds circles (28, 29), refers to text before (25, 256), compiles patterns (35) or has exponents (4, 5): a few bytes
# of those can take all memory or time.
SAFE_TAGS: Final = frozenset({0, 1, 2, 3, 37, 100, 1004, 55799})

_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(2, 8)
_END: Final = Head(1, is_end=True)


class CBORScanner(ValueScanner):
    """Knows the heads of CBOR (RFC 8949, section 3)."""

    __slots__ = ("_tags",)

    def __init__(self, limit: int, max_depth: int, text_keys: bool, tags: frozenset[int]) -> None:
        super().__init__(limit, max_depth, text_keys)
        self._tags = tags

    def head(self, data: bytes | bytearray, at: int, stop: int) -> Head | None:
        major, info = divmod(data[at], 32)
        if info < 24:
            return self._counted(major, 1, info)
        width = _WIDTHS.get(info)
        if width is None:
            return self._endless(major, info)
        if at + 1 + width > stop:
            return None
        return self._counted(major, 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big"))

    def _counted(self, major: int, size: int, count: int) -> Head:
        if major in (_BYTES, _TEXT):
            return Head(size + count, is_text=major == _TEXT)
        if major == _ARRAY:
            return Head(size, count)
        if major == _MAP:
            return Head(size, 2 * count, is_map=True)
        if major == _TAG:
            refusal = None if count in self._tags else f"the tag {count} is not one that is taken here"
            return Head(size, 1, refusal=refusal)
        return Head(size)

    def _endless(self, major: int, info: int) -> Head:
        if info != 31 or major not in (_BYTES, _TEXT, _ARRAY, _MAP, _SIMPLE):
            raise IncrementalDeserializeError("a byte that begins nothing in CBOR")
        if major == _SIMPLE:
            return _END
        return Head(1, ENDLESS, is_map=major == _MAP, is_text=major == _TEXT)


class CBORSerializer(ScannedSerializer[SentT_contra, ReceivedT_co]):
    """Packets as CBOR; in streams one after another. It needs the extra ``tieline[cbor]``.

    A packet with invalid contents is reported, and the stream goes on after it. A packet over a limit, and a byte that
    begins nothing, end the stream.

    Args:
        default: Called with the encoder of cbor2 and what it cannot encode.
        canonical: Whether equal packets are sent as the same bytes, and the shortest (RFC 8949, section 4.2).
        timezone: The time zone of datetimes without one; None = these are refused.
        datetime_as_timestamp: Whether datetimes are sent as numbers, not as text.
        date_as_datetime: Whether dates are sent as datetimes, at midnight.
        value_sharing: Whether a container that occurs several times in a packet, or in itself, is sent once (tags 28,
            29).
        string_referencing: Whether repeated text and bytes are sent once (tags 25, 256).
        tag_hook: Called with cbor2's value for a tag that it does not know; *tags* must permit it.
        object_hook: Called with each map, as cbor2 does; returns the value for it.
        tags: The tags that a packet may contain. The default leaves out those with which a few bytes can take all
            memory or time.
        text_keys: Whether keys must be text, since a peer could choose numbers that make a dict slow.
        max_depth: How deep values may be nested.
        limit: The maximum size of a received packet in bytes.

    Raises:
        ModuleNotFoundError: cbor2 is not installed.
        TypeError: *limit* or *max_depth* is no int.
        ValueError: *limit* or *max_depth* is not positive.
    """

    __slots__ = ("_dumps", "_error", "_loads", "_tags")

    def __init__(
        self,
        *,
        default: Callable[[Any, Any], Any] | None = None,
        canonical: bool = False,
        timezone: tzinfo | None = None,
        datetime_as_timestamp: bool = False,
        date_as_datetime: bool = False,
        value_sharing: bool = False,
        string_referencing: bool = False,
        tag_hook: Callable[..., Any] | None = None,
        object_hook: Callable[..., Any] | None = None,
        tags: Collection[int] = SAFE_TAGS,
        text_keys: bool = True,
        max_depth: int = 128,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(limit, max_depth, text_keys)
        try:
            import cbor2
        except ImportError:
            raise ModuleNotFoundError(
                "CBORSerializer needs cbor2: pip install 'tieline[cbor]'"
            ) from None  # it says all
        self._dumps: Callable[[Any], bytes] = partial(
            cbor2.dumps,
            default=default,
            canonical=canonical,
            timezone=timezone,
            datetime_as_timestamp=datetime_as_timestamp,
            date_as_datetime=date_as_datetime,
            value_sharing=value_sharing,
            string_referencing=string_referencing,
        )
        self._loads: Callable[[bytes], Any] = partial(cbor2.loads, tag_hook=tag_hook, object_hook=object_hook)
        self._error: type[Exception] = cbor2.CBORDecodeError
        self._tags = frozenset(tags)

    def _new_scanner(self) -> ValueScanner:
        return CBORScanner(self._limit, self._max_depth, self._text_keys, self._tags)

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as CBOR."""
        return self._dumps(packet)

    def _decode(self, data: bytes) -> Any:
        try:
            return self._loads(data)
        except (self._error, ValueError, OverflowError) as exc:
            raise DeserializeError("the packet is not CBOR") from exc
