# SPDX-License-Identifier: MIT
"""Bare ends of connections, for the kits: bytes by hand, and nothing that waits."""

from __future__ import annotations

import socket
import ssl
import struct
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Peer", "SocketPeer", "TLSPeer"]

READ_SIZE = 64 * 1024


class Peer(Protocol):
    """The end of a connection that a test kit controls. No method waits."""

    def send(self, data: bytes, /) -> int:
        """Send what is taken of *data* now, and return how many bytes that is; ConnectionError: nobody is there."""
        ...

    def receive(self, size: int = READ_SIZE, /) -> bytes | None:
        """Return what has come; b"" = the end, None = nothing yet; ConnectionError: it was reset."""
        ...

    def end(self) -> None:
        """Say that nothing more will be sent, and go on receiving."""

    def close(self) -> None:
        """Close; nothing when it is closed."""

    def reset(self) -> None:
        """Cut the connection, so that the other end hears of a reset."""


class SocketPeer:
    """A `Peer` on a connected stream socket, which it owns.

    Args:
        sock: A TCP or Unix stream socket. A Unix socket has no reset: `reset` closes it, with unread data if there is
            any.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def send(self, data: bytes, /) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def receive(self, size: int = READ_SIZE, /) -> bytes | None:
        try:
            return self._sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None

    def end(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the other end has gone already
            pass

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        if self._sock.family in (socket.AF_INET, socket.AF_INET6):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def getsockname(self) -> object:
        """Return the socket's own address."""
        return self._sock.getsockname()


class TLSPeer:
    """A `Peer` that speaks TLS over another one, with the `ssl.MemoryBIO` of the standard library.

    Args:
        lower: The peer below.
        context: The ``ssl.SSLContext`` to use.
        server_side: Whether it is the TLS server.
        server_hostname: For a client, the name that the certificate must contain.
    """

    def __init__(
        self, lower: Peer, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        self._lower = lower
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._unsent = b""
        self._is_ready = self._is_ended = False

    def is_ready(self) -> bool:
        """Go on with the handshake; return whether it is done."""
        if not self._is_ready:
            self._is_ready = self._attempt(self._ssl.do_handshake) is not False
        return self._is_ready and self._flush()

    def _attempt(self, fn: Callable[[], object]) -> object:
        """Do something with all that has come; return False when it needs more."""
        while True:
            try:
                result = fn()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    return False
            else:
                self._flush()
                return result

    def _fill(self) -> bool:
        data = None if self._is_ended else self._lower.receive(READ_SIZE)
        if data is None:
            return False
        if data:
            self._incoming.write(data)
        else:
            self._is_ended = True
            self._incoming.write_eof()
        return True

    def _flush(self) -> bool:
        self._unsent += self._outgoing.read()
        while self._unsent:
            sent = self._lower.send(self._unsent)
            if not sent:
                return False
            self._unsent = self._unsent[sent:]
        return True

    def send(self, data: bytes, /) -> int:
        if not self._flush():
            return 0
        part = data[:16384]
        self._ssl.write(part)
        self._flush()
        return len(part)

    def receive(self, size: int = READ_SIZE, /) -> bytes | None:
        try:
            data = self._attempt(lambda: self._ssl.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # the latter: it was cut
            return b""
        if data == b"":
            self.end()  # whoever closes waits for that
        return data if isinstance(data, bytes) else None

    def end(self) -> None:
        try:
            self._ssl.unwrap()
        except ssl.SSLError:  # its own close_notify is out; the peer's is yet to come
            pass
        try:
            self._flush()
        except ConnectionError:  # the other end has gone already
            pass

    def close(self) -> None:
        self._lower.close()

    def reset(self) -> None:
        self._lower.reset()
