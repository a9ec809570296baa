# SPDX-License-Identifier: MIT
"""A WebSocket as a filter: the peer's bytes go in and messages come out, and the other way round.

Frames are read and written by the core of the package websockets (the extra ``ws``). What is decided here is what that
leaves to its user, and what it does not bound: the size of heads, frames that carry nothing, and how much is read in
one turn. What the peer does wrong is recorded, never raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import MessageTooLarge, RemoteProtocolError, WebSocketClosed
from tieline.wire.websocket.framing import PREFIX

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.protocol import Protocol

    from tieline.wire.websocket.facts import WebSocketInfo

__all__ = ["MAX_HEAD", "SILENT_LOGGER", "WebSocketStream", "deflate_factories"]

# The longest head of a request or a reply, in bytes.
MAX_HEAD: Final = 8192
# Frames are read in pieces of this size, so that what a piece holds can be judged before the next one.
PIECE: Final = 4096
# After so many frames others have their turn: reading one takes some 6 us.
MAX_FRAMES: Final = 1000
# What one turn hands up, in bytes. Compressed, a kilobyte may hold a megabyte; so there the pieces are shorter too.
MAX_TURN: Final = 256 * 1024
COMPRESSED_PIECE: Final = 512
# How many frames that bring nothing (pings, pongs, fragments without content) may come one behind the other without
# one that brings something. An honest peer sends a ping now and then.
MAX_IDLE_FRAMES: Final = 100
# The first bytes of the end of a head.
_HEAD_END: Final = b"\r\n\r\n"
_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8

_NORMAL_CLOSURE: Final = 1000
_POLICY_VIOLATION: Final = 1008
_INVALID_DATA: Final = 1007


class _SilentLogger:
    """What the core of websockets is given for a log: what there is to say is said by those who know the connection."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # the name is that of logging
        return False

    def debug(self, *args: Any, **kwargs: Any) -> None: ...

    info = warning = error = debug


SILENT_LOGGER: Final[Any] = _SilentLogger()


class WebSocketStream(ABC):
    """One side of one WebSocket. Messages pass to and from the layer above each behind its length; see `framing`.

    Args:
        max_message: The longest message in bytes that may come, inflated; None = any.
        binary: Whether messages of ours are sent as binary ones, not as text.

    Attributes:
        is_ready: The opening handshake is done, and was successful.
        peer_closed: The peer's close frame has come; nothing after it counts.
        error: Why the connection is broken, or was never opened; None while it is whole.
        end: How the peer closed it; None while it has not.
        unsent: Always empty: nothing waits to be framed.
        info: What was told in the opening handshake; None before its end.
    """

    __slots__ = (
        "_backlog",
        "_binary",
        "_core",
        "_fragments",
        "_head",
        "_idle_frames",
        "_is_text",
        "_output",
        "_said_close",
        "end",
        "error",
        "info",
        "is_ready",
        "max_message",
        "peer_closed",
        "unsent",
    )

    def __init__(self, core: Protocol, *, max_message: int | None, binary: bool) -> None:
        self._core = core
        self._binary = binary
        self._output: list[bytes] = []
        self._head = bytearray()
        self._backlog = b""
        self._fragments = bytearray()  # of the message that is not complete
        self._is_text = False
        self._idle_frames = 0
        self._said_close = False
        self.max_message = max_message
        self.is_ready = self.peer_closed = False
        self.error: Exception | None = None
        self.end: WebSocketClosed | None = None
        self.unsent = b""
        self.info: WebSocketInfo | None = None

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come out."""
        return self.peer_closed or self.error is not None

    @property
    def has_more(self) -> bool:
        """Whether `receive` has something left to read, for a later turn."""
        return bool(self._backlog)

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything."""
        return bool(self._output)

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the peer, answers to its pings included."""
        output, self._output = self._output, []
        return b"".join(output)

    # --- what comes in -------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Begin the opening handshake: a client's first words are to be sent."""

    @abstractmethod
    def _judge_head(self, head: bytes) -> None:
        """Judge the *head* of the other side, which is complete; sets `is_ready` and `info`, or `error`."""

    def receive(self, data: bytes | memoryview) -> bytes:
        """Take what the peer sent, and return the messages in it, each behind its length.

        When that takes too long, the rest is kept (`has_more`) for the next call, which may be with no *data*.
        """
        if self.is_over:
            return b""
        data = bytes(data)
        if self._backlog:
            data, self._backlog = self._backlog + data, b""
        if not self.is_ready:
            data = self._read_head(data)
        found: list[bytes] = []
        frames = 0
        piece = COMPRESSED_PIECE if self._core.extensions else PIECE
        for start in range(0, len(data), piece):
            if frames > MAX_FRAMES or sum(map(len, found)) > MAX_TURN:
                self._backlog = data[start:]
                break
            self._core.receive_data(data[start : start + piece])
            events: list[Any] = self._core.events_received()
            frames += len(events)
            goes_on = all(self._take(frame, found) for frame in events)
            if self._core.parser_exc is not None and self.error is None:
                self.error = self._named(self._core.parser_exc)
            if not goes_on or self.error is not None:
                break
        self._collect()
        return found[0] if len(found) == 1 else b"".join(found)

    def _read_head(self, data: bytes) -> bytes:
        """Take *data* as far as it belongs to the head, and return what is behind it."""
        head = self._head
        searched = max(0, len(head) - len(_HEAD_END) + 1)
        head += data
        end = head.find(_HEAD_END, searched)
        if end > MAX_HEAD or (end < 0 and len(head) > MAX_HEAD):
            self._head_too_long()
            return b""
        if end < 0:
            return b""
        end += len(_HEAD_END)
        rest = bytes(head[end:])
        whole = bytes(head[:end])
        self._head = bytearray()
        self._judge_head(whole)
        return rest if self.is_ready else b""

    def _head_too_long(self) -> None:
        self.error = RemoteProtocolError(f"the head of the WebSocket handshake is over the limit of {MAX_HEAD} bytes")

    def _take(self, frame: Frame, found: list[bytes]) -> bool:
        """Take one frame that websockets has found to be in order; return whether more may follow."""
        opcode = frame.opcode
        if opcode == _CLOSE:
            close = self._core.close_rcvd
            assert close is not None
            self.peer_closed = True
            self.end = WebSocketClosed(int(close.code), close.reason)
            return False
        if opcode > _CLOSE or not (frame.data or frame.fin):
            self._idle_frames += 1
            if self._idle_frames > MAX_IDLE_FRAMES:
                self._violated(_POLICY_VIOLATION, "too many WebSocket frames that bring nothing")
            return self.error is None
        if frame.data:
            self._idle_frames = 0
        if opcode in (_TEXT, _BINARY):
            self._is_text = opcode == _TEXT
            if frame.fin:
                return self._add_message(frame.data, found)
        self._fragments += frame.data
        if frame.fin:
            whole, self._fragments = self._fragments, bytearray()
            return self._add_message(whole, found)
        return True

    def _add_message(self, content: Any, found: list[bytes]) -> bool:
        content = bytes(content)
        # RFC 6455, section 8.1: text that is no UTF-8 fails the connection.
        if self._is_text and not content.isascii():
            try:
                content.decode()
            except UnicodeDecodeError:
                self._violated(_INVALID_DATA, "a WebSocket message of text is no UTF-8")
                return False
        found += (PREFIX.pack(len(content)), content)
        return True

    def _violated(self, code: int, text: str) -> None:
        """Break the connection; the peer is told."""
        self._core.fail(code, text)
        self.error = RemoteProtocolError(text)

    def _named(self, fault: Exception) -> Exception:
        """Return what a *fault* that websockets has found is called here."""
        from websockets.exceptions import PayloadTooBig

        if isinstance(fault, PayloadTooBig):
            assert self.max_message is not None
            return MessageTooLarge(self.max_message, len(self._fragments), announced=fault.size)
        return RemoteProtocolError(f"the peer breaks the WebSocket protocol: {fault}")

    # --- what goes out -------------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> bytes:
        """Return what is to be sent for *data*: whole messages, each behind its length."""
        if self.is_over or self._said_close or not self.is_ready:
            return b""
        send = self._core.send_binary if self._binary else self._core.send_text
        whole = memoryview(data)
        at = 0
        while at < len(whole):
            (size,) = PREFIX.unpack_from(whole, at)
            at += PREFIX.size
            send(whole[at : at + size])
            at += size
        self._collect()
        return self.data_to_send()

    def ping(self) -> bytes:
        """Return a ping that is to be sent."""
        if self.is_over or self._said_close or not self.is_ready:
            return b""
        self._core.send_ping(b"")
        self._collect()
        return self.data_to_send()

    def close(self, code: int = _NORMAL_CLOSURE, reason: str = "") -> bytes:
        """Return what is to be sent last, with a close frame at the end. Nothing may be sent after it."""
        if self.is_ready and not self.is_over and not self._said_close:
            self._core.send_close(code, reason)
            self._collect()
        self._said_close = True
        return self.data_to_send()

    def _collect(self) -> None:
        self._output += filter(None, self._core.data_to_send())  # nothing is its sign for closing one direction

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: ``websocket``, the `WebSocketInfo`."""
        return self.info if name == "websocket" and self.info is not None else default


def deflate_factories(side: str) -> list[Any]:
    """Return the one extension that we know, permessage-deflate (RFC 7692), for *side*: client or server."""
    from websockets.extensions import permessage_deflate

    if side == "server":
        # 12 bits and a level of 5 take some 64 KiB a connection, where the defaults of zlib take 300.
        return [
            permessage_deflate.ServerPerMessageDeflateFactory(
                server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
            )
        ]
    return [permessage_deflate.ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})]
