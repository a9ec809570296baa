# SPDX-License-Identifier: MIT
"""Our side as a node of Bitcoin's network `regtest`: its framers, and a session that says hello and remembers."""

import hashlib
import struct
from collections.abc import Iterable
from typing import Any, Self

import tieline
from tests import aio
from tieline import BitcoinFramer

REGTEST = bytes.fromhex("fabfb5da")
AGENT = b"/tieline:peers/"
REJECTED = b"\0\x01\x15error parsing message"  # to no message in particular, "malformed", why


class Regtest(BitcoinFramer):
    """The framer of that network."""

    def __init__(self, **limits: int) -> None:
        super().__init__(REGTEST, **limits)


class Spoiling(Regtest):
    """Spoils the messages whose command says so, each in its own way, so that their receiver finds the next one."""

    def frame(self, messages: Iterable[tuple[bytes, Any]]) -> bytes:
        return b"".join(self._spoiled(message[0], super(Spoiling, self).frame([message])) for message in messages)

    def _spoiled(self, command: bytes, framed: bytes) -> bytes:
        match command:
            case b"bad-sum":
                return framed[:20] + bytes(byte ^ 0xFF for byte in framed[20:24]) + framed[24:]
            case b"bad-magic":
                return b"\xf9\xbe\xb4\xd9" + framed[4:24]  # that of the main network
            case b"bad-length":
                return framed[:16] + b"\xff\xff\xff\x7f" + framed[20:24]
            case _:
                return framed


def hello(height: int = 0) -> bytes:
    """Return the payload of `version`: who we are."""
    nobody = struct.pack("<Q16sH", 0, b"", 0)
    node = struct.pack("<iQq", 70015, 9, 0) + nobody + nobody + hashlib.sha256(AGENT).digest()[:8]  # NETWORK, WITNESS
    return node + bytes([len(AGENT)]) + AGENT + struct.pack("<i?", height, True)


def agent(version: bytes) -> bytes:
    """Return the name of the program that a payload of `version` tells."""
    return version[81 : 81 + version[80]]


class Node(tieline.MessageSession):
    """A session with a node: what it said, by command; it is answered as politeness demands."""

    def __init__(self, host: Any = None, port: int | None = None, **options: Any) -> None:
        super().__init__(host, port, **{"framer": Regtest, **options})
        self.heard: list[tuple[bytes, bytes]] = []
        self._changed = aio.Condition()

    async def handle_message(self, message: tuple[bytes, bytes]) -> None:
        command, payload = message
        self.heard.append(message)
        if command == b"version":
            await self.send_message((b"verack", b""))
        elif command == b"ping":
            await self.send_message((b"pong", payload))
        async with self._changed:
            self._changed.notify_all()

    async def hears(self, command: bytes, count: int = 1) -> list[bytes]:
        """Wait for so many messages of a command, and return their payloads."""

        def payloads() -> list[bytes]:
            return [payload for name, payload in self.heard if name == command]

        async with aio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(payloads()) >= count)
        return payloads()

    async def greet(self) -> Self:
        """Shake hands, and return the session itself."""
        await self.send_message((b"version", hello()))
        await self.hears(b"version")
        await self.hears(b"verack")
        return self

    async def ping(self, nonce: bytes) -> bytes:
        """Return what answers to a ping."""
        before = [name for name, _payload in self.heard].count(b"pong")
        await self.send_message((b"ping", nonce))
        return (await self.hears(b"pong", before + 1))[-1]
