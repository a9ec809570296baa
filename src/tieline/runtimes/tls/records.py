# SPDX-License-Identifier: MIT
"""One TLS connection without I/O: what the peer sends goes in, plaintext comes out, and the other way round.

This file owns the ssl module's memory interface and its peculiarities. It knows no transport, no protocol and no time.
What the peer does wrong is recorded, never raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import ssl
    from types import ModuleType

__all__ = ["Context", "Records"]

# A record holds no more plaintext than this (RFC 8446, section 5.1), and `read` and `write` take one record at a time.
RECORD: Final = 16 * 1024
# OpenSSL's memory never shrinks: a connection that was once fed 256 KiB in one piece would keep a third more for ever.
PIECE: Final = 16 * 1024


class Context(Protocol):
    """What is used of an ``ssl.SSLContext``, for those who may not import ssl."""

    check_hostname: bool

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
    ) -> ssl.SSLObject: ...


class Records:
    """The state of TLS on one connection: a `Filter`.

    Args:
        context: An ``ssl.SSLContext``.
        server_side: Whether this side answers the handshake.
        server_hostname: The name that the server's certificate must be made out to; None = it is not matched.

    Attributes:
        is_ready: The handshake is done.
        peer_closed: The peer's close_notify has come; nothing after it counts.
        error: What broke the connection, an ``ssl.SSLError``; None while it is whole.
        unsent: Plaintext that cannot be encrypted before the peer has answered: in a handshake, at the beginning or
            when it renegotiates (TLS 1.2).
        ssl_object: The ``ssl.SSLObject`` itself, for looking at.

    Raises:
        ValueError: The name is none, or the context wants one.
        ssl.SSLError: The context is made for the other side.
    """

    __slots__ = ("_incoming", "_outgoing", "_ssl", "error", "is_ready", "peer_closed", "ssl_object", "unsent")

    def __init__(self, context: Context, *, server_side: bool = False, server_hostname: str | None = None) -> None:
        import ssl

        if context.check_hostname and not server_side and not server_hostname:
            # In memory, ssl itself would say nothing and match nothing.
            raise ValueError("the context matches the names of servers, and there is no server_hostname to match")
        self._ssl: ModuleType = ssl
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self.is_ready = self.peer_closed = False
        self.error: OSError | None = None
        self.unsent = bytearray()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come out."""
        return self.peer_closed or self.error is not None

    @property
    def has_more(self) -> bool:
        """Whether `receive` has held something back: never."""
        return False

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything."""
        return self._outgoing.pending > 0

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the peer, alerts and answers to its records included."""
        return self._outgoing.read()

    def start(self) -> None:
        """Begin the handshake: a client's first words are to be sent."""
        self._shake_hands()

    def receive(self, data: bytes | memoryview) -> bytes:
        """Take what the peer sent, go on with the handshake if it is not done, and return the plaintext."""
        found: list[bytes] = []
        if len(data) <= PIECE and self.is_ready:
            if not self.is_over:
                self._incoming.write(data)
                self._decrypt(found)
        else:
            view = memoryview(data)
            for start in range(0, len(view), PIECE):
                if self.is_over:
                    break
                self._incoming.write(view[start : start + PIECE])
                if self.is_ready or self._shake_hands():
                    self._decrypt(found)
        if self.unsent and self.is_ready:
            waiting, self.unsent = self.unsent, bytearray()
            self._encrypt(memoryview(waiting))
        return found[0] if len(found) == 1 else b"".join(found)

    def _shake_hands(self) -> bool:
        try:
            self.ssl_object.do_handshake()
        except self._ssl.SSLWantReadError:
            return False
        except self._ssl.SSLError as exc:
            self.error = exc.with_traceback(None)  # its frames refer to this, and hold what came
            return False
        self.is_ready = True
        return True

    def _decrypt(self, found: list[bytes]) -> None:
        incoming, ssl_object = self._incoming, self.ssl_object
        try:
            while True:
                data = ssl_object.read(RECORD)
                if not data:
                    self.peer_closed = True
                    return
                found.append(data)
                if not incoming.pending and not ssl_object.pending():
                    return  # to ask on would only cost an exception
        except self._ssl.SSLWantReadError:
            return
        except self._ssl.SSLZeroReturnError:  # the same end, when this side has said its close_notify before
            self.peer_closed = True
        except self._ssl.SSLError as exc:
            self.error = exc.with_traceback(None)  # as above

    def send(self, data: bytes | memoryview) -> bytes:
        """Return what is to be sent for *data*; all at once in memory, so give long data in parts.

        In a handshake it is nothing: *data* is kept in `unsent`, and encrypted by the `receive` that ends it.
        """
        if self.unsent or not self.is_ready:
            self.unsent += data
            return b""
        if self.error is not None:
            return b""
        if len(data) <= RECORD:
            self._encrypt(data)
            return self._outgoing.read()
        parts: list[bytes] = []
        for start in range(0, len(data), RECORD):
            self._encrypt(data[start : start + RECORD])
            parts.append(self._outgoing.read())
        return b"".join(parts)

    def _encrypt(self, data: bytes | memoryview) -> None:
        if self.unsent:
            self.unsent += data
            return
        write = self.ssl_object.write
        try:
            while (sent := write(data)) < len(data):  # the peer may have asked for short records (RFC 6066, section 4)
                data = memoryview(data)[sent:]
        except self._ssl.SSLWantReadError:
            self.unsent += data
        except self._ssl.SSLError as exc:
            self.error = exc.with_traceback(None)  # as above

    def close(self) -> bytes:
        """Return what is to be sent last, with close_notify at the end. Nothing may be encrypted after it."""
        try:
            self.ssl_object.unwrap()
        except self._ssl.SSLError:
            pass  # it also looks for the peer's close_notify, and as a rule that has not come
        return self._outgoing.read()
