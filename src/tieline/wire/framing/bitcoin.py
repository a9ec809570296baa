# SPDX-License-Identifier: MIT
"""The framing of Bitcoin's peer-to-peer protocol and of the coins that descend from it (version 1, not encrypted).

Owns the header: magic, command, length, checksum. Refuses to know what commands and payloads mean, except which
commands carry blocks, since those have a limit of their own.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from tieline.errors import OutgoingMessageTooLarge, RemoteProtocolError
from tieline.wire.framing.counted import CountedFramer, check_limit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BitcoinFramer"]

_MAINNET: Final = bytes.fromhex("f9beb4d9")

# Where the parts of a header end: magic, command, length, checksum.
_MAGIC: Final = 4
_COMMAND: Final = 16
_LENGTH: Final = 20
_HEADER: Final = 24

# Visible ASCII, and NULs behind it only. Bitcoin Core refuses other commands as well, and no peer sends any.
_PADDED: Final = re.compile(rb"([!-~]{1,12})\0*")
_LONGEST_COMMAND: Final = _COMMAND - _MAGIC
_LONGEST_PAYLOAD: Final = 0xFFFF_FFFF

# What grows with a block: the block, its compact form and what that lacks (BIP 152), and the proofs of a block's
# transactions (BIP 37), which are of all of them in the worst case.
_BLOCK_COMMANDS: Final = frozenset({b"block", b"cmpctblock", b"blocktxn", b"merkleblock"})


class BitcoinFramer(CountedFramer[tuple[bytes, bytes]]):
    """The messages of the Bitcoin peer-to-peer protocol, as pairs ``(command, payload)``.

    The command has no padding; the payload may be empty, as in ``verack``. An invalid header ends the stream, before
    any of the payload is read: a different magic; a command that is not 1 to 12 visible ASCII characters followed by
    NULs; a length over the limit (`MessageTooLarge`). Every further call then raises. A payload whose checksum is wrong
    is dropped and counted in `damaged`, and the stream continues.

    Args:
        magic: The four bytes at the beginning of each message, which identify the network. The default is Bitcoin's
            main network.
        max_payload_size: The maximum size of a payload in bytes; 0 = no limit. The default is that of Bitcoin Core.
        max_block_size: The same for the commands whose size depends on that of a block: ``block``, ``cmpctblock``,
            ``blocktxn`` and ``merkleblock``. Raise it for coins with larger blocks.

    Attributes:
        damaged: The number of messages that were dropped because their checksum was wrong.

    Raises:
        ValueError: *magic* is not four bytes, or a limit is negative.
    """

    frames_bytes = False
    overhead = _HEADER

    def __init__(
        self, magic: bytes = _MAINNET, max_payload_size: int = 4_000_000, max_block_size: int = 4_000_000
    ) -> None:
        check_limit("max_payload_size", max_payload_size)
        check_limit("max_block_size", max_block_size)
        super().__init__(max_payload_size)
        if len(magic) != _MAGIC:
            raise ValueError(f"magic must be {_MAGIC} bytes, not {len(magic)}")
        self.magic = bytes(magic)
        self.max_payload_size = max_payload_size
        self.max_block_size = max_block_size
        # Of the message whose payload is being read.
        self._command = b""
        self._checksum = b""

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        if cls.__init__ is not BitcoinFramer.__init__:
            return cls()
        return cls(max_payload_size=max_size, max_block_size=max_size)

    def frame(self, messages: Iterable[tuple[bytes, bytes | bytearray | memoryview]]) -> bytes:
        """Return *messages*, which are pairs ``(command, payload)``, each after its header.

        Raises:
            TypeError: A payload or command is not bytes. Your fault; nothing was framed.
            ValueError: A command is not 1 to 12 visible ASCII characters. Your fault; nothing was framed.
            OutgoingMessageTooLarge: A payload is over the limit for its command. Your fault; nothing was framed.
        """
        parts: list[bytes] = []
        for command, payload in messages:
            if not isinstance(command, bytes):
                raise TypeError(f"a command must be bytes, not {type(command).__name__}")
            if len(command) > _LONGEST_COMMAND or not _PADDED.fullmatch(command) or b"\0" in command:
                raise ValueError(f"a command must be 1 to {_LONGEST_COMMAND} visible ASCII characters, not {command!r}")
            body = payload if type(payload) is bytes else bytes(memoryview(payload))
            limit = self._limit_of(command) or _LONGEST_PAYLOAD
            if len(body) > limit:
                raise OutgoingMessageTooLarge(limit, len(body))
            length = len(body).to_bytes(4, "little")
            parts += (self.magic, command.ljust(_LONGEST_COMMAND, b"\0"), length, _checksum_of(body), body)
        return b"".join(parts)

    def _limit_of(self, command: bytes) -> int:
        return self.max_block_size if command in _BLOCK_COMMANDS else self.max_payload_size

    def _read_head(self, data: bytes, at: int) -> tuple[int, int] | None:
        # Each part is judged as soon as it is there: a stranger that sends little and waits is told at once.
        there = len(data) - at
        if there < _MAGIC:
            return None
        magic = data[at : at + _MAGIC]
        if magic != self.magic:
            raise RemoteProtocolError(f"wrong magic: 0x{magic.hex()}, expected 0x{self.magic.hex()}")
        if there < _COMMAND:
            return None
        padded = _PADDED.fullmatch(data, at + _MAGIC, at + _COMMAND)
        if padded is None:
            raise RemoteProtocolError("a command must be 1 to 12 visible ASCII characters, with NULs behind them only")
        if there < _LENGTH:
            return None
        length = int.from_bytes(data[at + _COMMAND : at + _LENGTH], "little")
        command = padded[1]
        self._check_size(length, self._limit_of(command))
        if there < _HEADER:
            return None
        self._command = command
        self._checksum = data[at + _LENGTH : at + _HEADER]
        return at + _HEADER, at + _HEADER + length

    def _finish(self, body: bytes, taken: list[tuple[bytes, bytes]]) -> None:
        if _checksum_of(body) == self._checksum:
            taken.append((self._command, body))
        else:
            self.damaged += 1


def _checksum_of(payload: bytes) -> bytes:
    return sha256(sha256(payload).digest()).digest()[:4]
