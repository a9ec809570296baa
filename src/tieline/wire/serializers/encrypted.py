# SPDX-License-Identifier: MIT
"""Packets that nobody can read or change without the key, by Fernet of `cryptography`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import AbstractPacketSerializer, ReceivedT_co, SentT_contra
from tieline.wire.serializers.framed import DEFAULT_LIMIT
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer
from tieline.wire.serializers.sized import checked_serializer

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

__all__ = ["EncryptorSerializer"]

# One text for all that can be wrong: which of it helps only those who try to find the key.
_REFUSED: Final = "the packet is not authentic"
# What a token is made of (RFC 4648, section 5). `base64` passes over much else, and of some of it warns.
_OF_TOKENS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="


class EncryptorSerializer(AutoSeparatedPacketSerializer[SentT_contra, ReceivedT_co]):
    r"""Encrypts and authenticates the packets of another serializer. It needs the extra ``tieline[crypto]``.

    A packet is a Fernet token (AES-128-CBC with HMAC-SHA256, as text). A token that was changed, was made with another
    key, is too old or was received before is refused, always with the same error, and the stream goes on after it.

    Against replays, the last *replay_window* packets are remembered, for all connections of this object together. So
    one object must not decode a peer's packets twice, and against a packet that is repeated later only *token_ttl*
    helps.

    Args:
        serializer: Converts packets to bytes and back; only its ``serialize`` and ``deserialize`` are used.
        key: A key from `generate_key`, the same on both sides.
        token_ttl: For how many seconds a packet is valid, by the clocks of both sides; None = unlimited.
        separator: What follows each packet.
        replay_window: How many packets are remembered, at about 120 bytes each; 0 = packets may be repeated.
        limit: The maximum size of a received token in bytes. A token is a third larger than its packet, plus 100 bytes.

    Raises:
        ModuleNotFoundError: cryptography is not installed.
        TypeError: *serializer* is none, *separator* not bytes or *limit* no int.
        ValueError: *key* is none, *token_ttl* or *replay_window* is negative, *separator* is empty, or *limit* is not
            positive.
    """

    __slots__ = ("_fernet", "_invalid", "_order", "_seen", "_serializer", "_ttl", "_window")

    def __init__(
        self,
        serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co],
        key: bytes | str,
        *,
        token_ttl: int | None = None,
        separator: bytes = b"\r\n",
        replay_window: int = 4096,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(separator, checks_separator=True, limit=limit)
        self._serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co] = checked_serializer(serializer)
        for name, value in (("token_ttl", token_ttl), ("replay_window", replay_window)):
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be 0 or more, not {value!r}")
        try:
            from cryptography.fernet import Fernet, InvalidToken
        except ImportError:
            needs = "EncryptorSerializer needs cryptography: pip install 'tieline[crypto]'"
            raise ModuleNotFoundError(needs) from None  # it says all
        try:
            self._fernet: Fernet = Fernet(key)
        except ValueError:
            raise ValueError("key must be what EncryptorSerializer.generate_key returns") from None  # it may hold it
        self._invalid: type[Exception] = InvalidToken
        self._ttl = token_ttl
        self._window = replay_window
        self._seen: set[bytes] = set()
        self._order: deque[bytes] = deque()  # of the same, the oldest first

    @staticmethod
    def generate_key() -> bytes:
        """Return a new key.

        Raises:
            ModuleNotFoundError: cryptography is not installed.
        """
        try:
            from cryptography.fernet import Fernet
        except ImportError:
            needs = "EncryptorSerializer needs cryptography: pip install 'tieline[crypto]'"
            raise ModuleNotFoundError(needs) from None  # it says all
        return Fernet.generate_key()

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as a token."""
        return self._fernet.encrypt(self._serializer.serialize(packet))

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet in the token *data*.

        Raises:
            DeserializeError: The token is refused, or what is in it is no packet.
        """
        token = bytes(data)
        if token.translate(None, _OF_TOKENS):
            raise DeserializeError(_REFUSED)
        try:
            plain = self._fernet.decrypt(token, self._ttl)
        except self._invalid:
            raise DeserializeError(_REFUSED) from None  # the cause would tell what is wrong
        if self._window and self._was_seen(token):
            raise DeserializeError(_REFUSED)
        return self._serializer.deserialize(plain)

    def _was_seen(self, token: bytes) -> bool:
        """Return whether an authentic *token* was received before, and remember it."""
        # Its last bytes are of the MAC. Base64 leaves bits free in them, so the text of it is not what identifies it.
        from base64 import urlsafe_b64decode

        mac = urlsafe_b64decode(token)[-32:]
        if mac in self._seen:
            return True
        self._seen.add(mac)
        self._order.append(mac)
        if len(self._order) > self._window:
            self._seen.discard(self._order.popleft())
        return False
