# SPDX-License-Identifier: MIT
"""A peer that is a bare socket behind the opening handshake of a WebSocket: it speaks lines, each one a message.

So it plays cases of lines as they are; and it sends any bytes besides.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from tests.attacks.raw import PATIENCE, Peer
from tests.wire.websocket.pairs import CLOSE, TEXT, frame
from tieline import FramerBase

PATH = "/rpc"


def opening(
    host: str = "127.0.0.1", more: str = "", *, target: str = PATH, key: str = "dGhlIHNhbXBsZSBub25jZQ=="
) -> bytes:
    """Return a request that opens a WebSocket; with an empty *key* one that lacks it."""
    named = f"Sec-WebSocket-Key: {key}\r\n" if key else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{named}Sec-WebSocket-Version: 13\r\n{more}\r\n"
    ).encode()


class ServerFrames(FramerBase[Any]):
    """Reads a server's frames, behind the head of its answer: messages, and what it closes with.

    Attributes:
        head: The head; None before it has come.
        closed_with: The code of the close frame; None before that.
    """

    def __init__(self) -> None:
        self.head: bytes | None = None
        self.closed_with: int | None = None
        self._data = bytearray()
        self._inflated = zlib.decompressobj(-15)

    def frame(self, messages: Iterable[bytes]) -> bytes:
        return b"".join(frame(TEXT, message) for message in messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        self._data += data
        if self.head is None:
            head, end, rest = bytes(self._data).partition(b"\r\n\r\n")
            if not end:
                return
            self.head, self._data = head, bytearray(rest)
        while self.head.startswith(b"HTTP/1.1 101 ") and (found := self._next()):
            opcode, content = found
            if opcode == TEXT:
                yield content
            elif opcode == CLOSE:
                self.closed_with = int.from_bytes(content[:2], "big")
        self.pending = len(self._data) if self.head.startswith(b"HTTP/1.1 101 ") else 0

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        opcode, content = data[0] & 0x0F, bytes(data[start : start + size])
        if data[0] & 0x40:
            content = self._inflated.decompress(content + b"\0\0\xff\xff")
        del data[: start + size]
        return opcode, content


class WebSocketPeer(Peer):
    """See the module. *more* are headers for the handshake; without *handshake* it says nothing by itself."""

    def __init__(self, url: str, source: str | None = None, *, more: str = "", handshake: bool = True) -> None:
        self.frames = ServerFrames()
        self._line = b""  # the beginning of one that is not complete
        super().__init__(url, source, framer=self.frames)
        if handshake:
            self.shake(more=more)

    def shake(self, host: str | None = None, more: str = "") -> None:
        """Open the WebSocket."""
        assert self.send_bytes(opening(host or "127.0.0.1", more))
        while self.frames.head is None and not (self.ended or self.was_reset):
            assert self.read_more(PATIENCE), "no answer to the handshake"
        assert self.frames.head is not None
        assert self.frames.head.startswith(b"HTTP/1.1 101 "), self.frames.head

    def send_bytes(self, data: bytes | memoryview, **settings: Any) -> bool:
        """Send *data* as it is."""
        return super().send(data, **settings)

    def send(self, data: bytes | memoryview, **settings: Any) -> bool:
        """Send *data*, each line of which is a message."""
        *lines, self._line = (self._line + data).split(b"\n")
        return super().send(self.frames.frame(lines), **settings)

    def wrapped(self, *messages: bytes) -> bytes:
        return b"".join(message.removesuffix(b"\n") + b"\n" for message in messages)

    def take_line(self, patience: float = PATIENCE) -> bytes | None:
        return self.take_message(patience)

    def _read(self) -> None:
        was_closed = self.frames.closed_with is not None
        super()._read()
        if self.frames.closed_with is not None and not was_closed and not self.is_refused:
            super().send(frame(CLOSE, self.frames.closed_with.to_bytes(2, "big")), reads=False)  # as RFC 6455 wants

    def end(self) -> int | None:
        """Read up to the end of the connection, and return the code that it was closed with."""
        while not (self.ended or self.was_reset):
            assert self.read_more(PATIENCE), "still open"
        return self.frames.closed_with
