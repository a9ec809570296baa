# SPDX-License-Identifier: MIT
"""Packets as lines of Base64, with a checksum if wanted, or a MAC under a shared key."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Final, Literal

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import AbstractPacketSerializer, ReceivedT_co, SentT_contra
from tieline.wire.serializers.framed import DEFAULT_LIMIT
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer
from tieline.wire.serializers.sized import checked_serializer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Base64EncoderSerializer", "checked_key", "mac_with", "verified"]

# RFC 4648: section 5 has other signs for two values than section 4.
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/!!")  # the signs of the other alphabet become none of any

_LEAST_KEY: Final = 16
_MAC_SIZE: Final = 32


class Base64EncoderSerializer(AutoSeparatedPacketSerializer[SentT_contra, ReceivedT_co]):
    r"""Converts the packets of another serializer to lines of text, by Base64 (RFC 4648).

    An invalid line, or one with a wrong checksum, is reported, and the stream goes on after it.

    Args:
        serializer: Converts packets to bytes and back; only its ``serialize`` and ``deserialize`` are used.
        alphabet: "standard" or "urlsafe".
        checksum: True: a SHA-256 of the packet is sent with it, against accidental changes. A key of 16 bytes or more:
            an HMAC-SHA256 with it, against forgery. It neither hides packets nor prevents replays.
        separator: What follows each packet.
        limit: The maximum size of a received line in bytes.

    Raises:
        TypeError: *serializer* is none, *checksum* neither bool nor bytes, *separator* not bytes or *limit* no int.
        ValueError: *alphabet* is none of these, the key is too short, *separator* is empty or part of the alphabet, or
            *limit* is not positive.
    """

    __slots__ = ("_is_urlsafe", "_mac", "_serializer")

    def __init__(
        self,
        serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co],
        *,
        alphabet: Literal["standard", "urlsafe"] = "urlsafe",
        checksum: bool | bytes = False,
        separator: bytes = b"\r\n",
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(separator, checks_separator=False, limit=limit)
        self._serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co] = checked_serializer(serializer)
        if alphabet not in ("standard", "urlsafe"):
            raise ValueError(f"alphabet must be 'standard' or 'urlsafe', not {alphabet!r}")
        if any(byte in b"+/-_=" or chr(byte).isalnum() for byte in separator):
            raise ValueError("separator must hold nothing of the alphabet")
        self._is_urlsafe = alphabet == "urlsafe"
        self._mac: Callable[[bytes], bytes] | None = None
        if checksum is True:
            self._mac = _sha256
        elif checksum is not False:
            self._mac = mac_with(checked_key(checksum, "checksum"))

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as a line, without the separator."""
        data = self._serializer.serialize(packet)
        if self._mac is not None:
            data += self._mac(data)
        line = b2a_base64(data, newline=False)
        return line.translate(_TO_URL) if self._is_urlsafe else line

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that the line *data* is.

        Raises:
            DeserializeError: It is no Base64, its checksum is wrong, or what is in it is no packet.
        """
        try:
            plain = a2b_base64(bytes(data).translate(_FROM_URL) if self._is_urlsafe else data, strict_mode=True)
        except Base64Error:
            raise DeserializeError("the packet is not Base64") from None  # it says no more
        if self._mac is not None:
            plain = verified(plain, self._mac, self._mac is _sha256)
        return self._serializer.deserialize(plain)


def verified(data: bytes, mac: Callable[[bytes], bytes], is_checksum: bool = False) -> bytes:
    """Return *data* without the MAC at its end; in a time that does not tell where that is wrong.

    Raises:
        DeserializeError: It is wrong.
    """
    import hmac

    plain, told = data[:-_MAC_SIZE], data[-_MAC_SIZE:]
    if not hmac.compare_digest(mac(plain), told):
        raise DeserializeError(f"the {'checksum' if is_checksum else 'MAC'} of the packet is wrong")
    return plain


def checked_key(key: object, name: str) -> bytes:
    """Return *key*.

    Raises:
        TypeError: It is not bytes.
        ValueError: It is too short. The text does not hold it.
    """
    if not isinstance(key, bytes):
        raise TypeError(f"{name} must be bytes, not {type(key).__name__}")
    if len(key) < _LEAST_KEY:
        raise ValueError(f"{name} must have {_LEAST_KEY} bytes or more, not {len(key)}: secrets.token_bytes makes some")
    return key


def mac_with(key: bytes) -> Callable[[bytes], bytes]:
    """Return the function that makes the HMAC-SHA256 of a packet under *key*."""
    import hmac

    return lambda data: hmac.digest(key, data, "sha256")


def _sha256(data: bytes) -> bytes:
    from hashlib import sha256  # lazily: it loads OpenSSL

    return sha256(data).digest()
