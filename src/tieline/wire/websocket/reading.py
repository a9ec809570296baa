# SPDX-License-Identifier: MIT
"""The reading side of a WebSocket: the peer's frames become messages.

Nearly all frames are plain: they hold a whole message (RFC 6455, section 5.2). The core of websockets takes some 6 us
for one, what is here a tenth of it. What is not plain, and what is wrong, is left to the core, each frame by itself;
so all rules but those of UTF-8 and of lengths are the core's. What the core does not bound is bounded here: frames that
carry nothing, how much is read in one turn, and what is kept of frames that have been read.

What ends the stream, a close frame or a fault, has its effect in a turn of its own, behind what came before it. So that
is handled, and can be answered, whether both came together or not. The core, which would say nothing more once it has
found a fault, is held back until then.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import MessageTooLarge, RemoteProtocolError, WebSocketClosed
from tieline.wire.framing.pieces import add_piece
from tieline.wire.websocket.plain import MASK_SIZE, MASKED, SHORT, head_size, load_apply_mask

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.protocol import Protocol

    from tieline.wire.websocket.facts import WebSocketInfo

__all__ = ["FrameReading"]

# After so many plain frames others have their turn. One that is not plain costs as much as so many that are.
MAX_FRAMES: Final = 4000
COST_OF_CORE_FRAME: Final = 16
# What one turn hands up, in bytes. Compressed, a kilobyte may hold a megabyte.
MAX_TURN: Final = 256 * 1024
# How many frames that bring nothing (pings, pongs, fragments without content, and in a stream of bytes messages without
# any) may come one behind the other without one that brings something. An honest peer sends a ping now and then.
MAX_IDLE_FRAMES: Final = 100
_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8
# The first byte of a plain frame.
_PLAIN_TEXT: Final = 0x80 | _TEXT
_PLAIN_BINARY: Final = 0x80 | _BINARY

# What stands in the second byte for a length that is told behind it, and the least that is to be told so.
_LEAST: Final = {126: SHORT + 1, 127: 0x10000}

# What may stand behind the last block of compressed data, where the peer has marked one as the last (RFC 7692, section
# 7.2.3.4): the empty block that is added to each message (section 7.2.2), with or without the byte that pads it.
_ADDED: Final = b"\0\0\xff\xff"
_BEHIND_THE_LAST: Final = frozenset({_ADDED, b"\0" + _ADDED})

_PROTOCOL_ERROR: Final = 1002
_POLICY_VIOLATION: Final = 1008
_INVALID_DATA: Final = 1007


class FrameReading:
    """What `WebSocketStream` is made on; see there."""

    __slots__ = (
        "_apply_mask",
        "_backlog",
        "_core",
        "_fail",
        "_fault",
        "_fragments",
        "_has_fragments",
        "_head_size",
        "_held",
        "_idle_frames",
        "_is_stream",
        "_is_text",
        "_longest",
        "_marks",
        "_mask",
        "_missing",
        "_output",
        "_owed",
        "_refused",
        "_said_close",
        "end",
        "error",
        "has_more",
        "info",
        "is_ready",
        "is_smooth",
        "max_message",
        "peer_closed",
    )

    def __init__(self, core: Protocol, *, max_message: int | None, is_client: bool, is_stream: bool) -> None:
        self._core = core
        self._is_stream = is_stream  # where one message ends does not matter, so that an empty one is nothing
        self._marks = 0 if is_client else MASKED  # clients mask what they send, servers do not
        self._head_size = 2 if is_client else 2 + MASK_SIZE  # of a short frame
        self._longest = SHORT if max_message is None else min(SHORT, max_message)  # what a short frame may hold
        self._apply_mask = load_apply_mask()
        self._output: list[bytes] = []
        self._backlog = b""  # what is left for a later turn, or the head of a frame that is cut
        self._held: list[bytes | bytearray] = []  # the content of a plain frame that is not complete, still masked
        self._missing = 0  # how many bytes of that are to come
        self._mask = b""
        self._owed = 0  # how many bytes are to come of a frame that the core reads
        self._fragments = bytearray()  # of the message that is not complete
        self._has_fragments = False
        self._is_text = False
        self._idle_frames = 0
        self._said_close = False  # this side has said its last
        self._fault: tuple[int, str, Exception] | None = None  # what is to break the connection in the next turn
        self._refused: tuple[int, str] | None = None  # what the core wants to break it for, and would say
        self._fail = core.fail
        vars(core)["fail"] = self._note_refused
        self.max_message = max_message
        self.is_ready = self.peer_closed = self.has_more = False
        self.is_smooth = False
        self.error: Exception | None = None
        self.end: WebSocketClosed | None = None
        self.info: WebSocketInfo | None = None

    @property
    def is_between(self) -> bool:
        """Whether the stream stands between two messages: nothing has come of one that is not complete."""
        return not (self._missing or self._owed or self._has_fragments or (self._backlog and not self.has_more))

    def _read_frames(self, data: bytes, found: list[bytes]) -> None:
        """Add the messages in *data* to *found*, until that is at its end, or the turn, or the connection."""
        if self._fault is not None:
            self._violated(*self._fault)
            return
        at, size = 0, len(data)
        cost = handed_up = 0
        if self._missing:
            at = handed_up = self._fill(data, found)
        while at < size and not self._is_at_end:
            if len(found) + cost >= MAX_FRAMES or handed_up > MAX_TURN:
                self._leave(data, at)
                return
            before, began = len(found), at
            if self._owed:
                at = self._let_core_read(data, at, found)
                handed_up += sum(map(len, found[before:]))
                cost += COST_OF_CORE_FRAME
                continue
            if not self._has_fragments:
                at = self._read_short(data, at, found)
            if at == began and not self._is_at_end:
                at = self._read_frame(data, at, found)
                cost += 1
            handed_up += at - began
        if self.is_between and not (self._is_at_end or self._output or self._said_close):
            self.is_smooth = self.is_ready

    @property
    def _is_at_end(self) -> bool:
        """Whether nothing more is read in this turn."""
        return self.has_more or self.peer_closed or self.error is not None

    def _leave(self, data: bytes, at: int) -> None:
        """Leave the rest of *data* for the next turn."""
        self._backlog = data[at:]
        self.has_more = True

    def _read_short(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Read short plain frames of one kind, one as fast as the other; return where something else begins."""
        marks, apply_mask, head, longest = self._marks, self._apply_mask, self._head_size, self._longest
        size, kind = len(data), data[at]
        if kind not in (_PLAIN_TEXT, _PLAIN_BINARY):
            return at
        # Where the last head may begin. Behind so many bytes there may have been as many frames as a turn has.
        last = min(size - head, at + head * (MAX_FRAMES - len(found) - 1))
        contents: list[bytes] = []
        while at <= last:
            length = data[at + 1] ^ marks  # over `SHORT` if it is not marked as it must be
            start = at + head
            end = start + length
            if data[at] != kind or length > longest or end > size:
                break
            content = data[start:end]
            contents.append(apply_mask(content, data[at + 2 : start]) if marks else content)
            at = end
        if kind == _PLAIN_TEXT and not b"".join(contents).isascii():
            contents = self._texts(contents, bool(found))
        if self._is_stream and not all(contents) and not self._is_at_end:
            contents = self._bounded(contents, bool(found))
        elif any(contents):
            self._idle_frames = 0
        found += contents
        return at

    def _texts(self, contents: list[bytes], is_behind: bool) -> list[bytes]:
        """Return those before the first that is no UTF-8."""
        for index, content in enumerate(contents):
            if not self._is_utf8(content, is_behind or index > 0):
                return contents[:index]
        return contents

    def _bounded(self, contents: list[bytes], is_behind: bool) -> list[bytes]:
        """Return what there is in messages of a stream before too many of them have brought nothing."""
        for index, content in enumerate(contents):
            self._idle_frames = 0 if content else self._idle_frames + 1
            if self._idle_frames > MAX_IDLE_FRAMES:
                self._too_idle(is_behind or index > 0)
                return contents[:index]
        return contents

    def _too_idle(self, is_behind: bool) -> None:
        self._break(_POLICY_VIOLATION, "too many WebSocket frames that bring nothing", is_behind=is_behind)

    def _read_frame(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Read a plain frame of any length, or find out what else there is; return how far *data* was read."""
        size = len(data)
        if at + 1 == size:
            self._backlog = data[at:]
            return size
        first, second = data[at], data[at + 1]
        length = second & 0x7F
        start = at + 2 + (MASK_SIZE if second & MASKED else 0)
        least = 0
        if length > SHORT:
            least = _LEAST[length]
            start, length = head_size(data, at)
        if start > size:
            self._backlog = data[at:]
            return size
        end = start + length
        if length < least:
            text = "the length of a WebSocket frame is not told in the shortest way"
            self._break(_PROTOCOL_ERROR, text, is_behind=bool(found))
            return size
        is_plain = first in (_PLAIN_TEXT, _PLAIN_BINARY) and second & MASKED == self._marks
        if not is_plain or self._has_fragments or (self.max_message is not None and length > self.max_message):
            if found and first & 0x0F == _CLOSE:
                self._leave(data, at)
                return size
            self._owed = end - at
            return at
        self._is_text = first == _PLAIN_TEXT
        mask = data[start - MASK_SIZE : start] if self._marks else b""
        if end > size:
            self._missing, self._mask = end - size, mask
            add_piece(self._held, data[start:])
            return size
        self._idle_frames = 0 if length else self._idle_frames
        content = data[start:end]
        self._add_message(self._apply_mask(content, mask) if mask else content, found)
        return end

    def _read_lone(self, data: bytes) -> bytes | None:
        """Return the content of the one short and plain frame that *data* is, while `is_smooth` holds.

        None, and nothing is done, when it is anything else.
        """
        start, marks = self._head_size, self._marks
        length = len(data) - start
        if not 0 < length <= self._longest or data[1] != marks | length:
            return None
        content = self._apply_mask(data[start:], data[2:start]) if marks else data[start:]
        if (data[0] == _PLAIN_TEXT and content.isascii()) or data[0] == _PLAIN_BINARY:
            self._idle_frames = 0
            return content
        return None

    def _fill(self, data: bytes, found: list[bytes]) -> int:
        """Add to the plain frame that is not complete; return how much of *data* belongs to it."""
        count = min(self._missing, len(data))
        self._missing -= count
        add_piece(self._held, data[:count])
        if not self._missing:
            content = b"".join(self._held)
            self._held.clear()
            if self._marks:
                content = self._apply_mask(content, self._mask)
            self._idle_frames = 0
            self._add_message(content, found)
        return count

    def _let_core_read(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Give the core its frame, as far as it is in *data* from *at* on; return where that ends."""
        end = min(len(data), at + self._owed)
        self._owed -= end - at
        self._core.receive_data(data[at:end])
        events: list[Any] = self._core.events_received()
        for frame in events:  # one at most
            self._take(frame, found)
        if self._refused is not None:
            assert self._core.parser_exc is not None
            self._break(*self._refused, self._named(self._core.parser_exc), is_behind=bool(found))
        self._collect()
        return end

    def _note_refused(self, code: int, reason: str = "") -> None:
        """Take note of what the core wants to break the connection for."""
        self._refused = (code, reason)

    def _take(self, frame: Frame, found: list[bytes]) -> None:
        """Take one frame that websockets has found to be in order."""
        opcode = frame.opcode
        if opcode == _CLOSE:
            close = self._core.close_rcvd
            assert close is not None
            self.peer_closed = True
            self.end = WebSocketClosed(int(close.code), close.reason)
            return
        if opcode > _CLOSE or not (frame.data or (frame.fin and not self._is_stream)):
            self._idle_frames += 1
            if self._idle_frames > MAX_IDLE_FRAMES:
                self._too_idle(bool(found))
            if opcode > _CLOSE:
                return
        elif frame.data:
            self._idle_frames = 0
        if opcode in (_TEXT, _BINARY):
            self._is_text = opcode == _TEXT
        if self._core.extensions and not self._is_inflated(frame.fin):
            text = "a compressed WebSocket message goes on behind the end of its data"
            self._break(_PROTOCOL_ERROR, text, is_behind=bool(found))
            return
        self._has_fragments = not frame.fin
        self._fragments += frame.data
        frame.data = b""  # the core refers to its last frame until the next one, of which it may have inflated much
        if frame.fin:
            whole, self._fragments = bytes(self._fragments), bytearray()
            self._add_message(whole, found)

    def _is_inflated(self, fin: bool) -> bool:
        """Return whether all that has come of a message was inflated.

        Behind a last block nothing is: what comes there is kept instead, for as long as there is the object that
        inflates, and copied each time. So it is no longer used then.
        """
        for extension in self._core.extensions:
            inflating: Any = getattr(extension, "decoder", None)  # there is none where each message has its own
            if inflating is not None and inflating.eof:
                rest = inflating.unused_data if fin else inflating.unused_data + _ADDED
                if rest not in _BEHIND_THE_LAST:
                    return False
                if fin:
                    known: Any = extension
                    known.decoder = zlib.decompressobj(-known.remote_max_window_bits)
        return True

    def _add_message(self, content: bytes, found: list[bytes]) -> None:
        if not self._is_text or content.isascii() or self._is_utf8(content, bool(found)):
            found.append(content)

    def _is_utf8(self, content: bytes, is_behind: bool) -> bool:
        """Return whether *content* is; text that is none fails the connection (RFC 6455, section 8.1)."""
        try:
            content.decode()
        except UnicodeDecodeError:
            self._break(_INVALID_DATA, "a text message of the WebSocket is not UTF-8", is_behind=is_behind)
            return False
        return True

    def _break(self, code: int, text: str, error: Exception | None = None, *, is_behind: bool) -> None:
        """Break the connection, in the next turn if that *is_behind* a message of this one; what follows is dropped.

        The peer is told *text*. It is the error as well, unless there is one.
        """
        if error is None:
            error = RemoteProtocolError(text)
        if is_behind:
            self._fault = (code, text, error)
            self.has_more = True
        else:
            self._violated(code, text, error)

    def _violated(self, code: int, text: str, error: Exception) -> None:
        """Break the connection; the peer is told."""
        self._fail(code, text)
        self.is_smooth = False
        self.error = error
        self._collect()

    def _named(self, fault: Exception) -> Exception:
        """Return what a *fault* that websockets has found is called here."""
        from websockets.exceptions import PayloadTooBig

        if isinstance(fault, PayloadTooBig):
            assert self.max_message is not None
            came = len(self._fragments)
            if fault.size is None:  # it is compressed, and was inflated up to the limit
                return MessageTooLarge(self.max_message, self.max_message + 1)
            return MessageTooLarge(self.max_message, came, announced=came + fault.size)
        return RemoteProtocolError(f"the peer breaks the WebSocket protocol: {fault}")

    def _collect(self) -> None:
        self._output += filter(None, self._core.data_to_send())  # nothing is its sign for closing one direction
