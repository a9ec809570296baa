# SPDX-License-Identifier: MIT
"""A WebSocket as a filter: the peer's bytes go in and messages come out, and the other way round.

The opening handshake, the closing one and all frames out of the ordinary are read and written by the core of the
package websockets (the extra ``ws``); frames that hold a whole message by `plain.py` and `reading.py`. What the peer
does wrong is recorded, never raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import WebSocketRefused
from tieline.wire.websocket.carrying import joined, parted
from tieline.wire.websocket.plain import PlainWriter
from tieline.wire.websocket.reading import FrameReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.protocol import Protocol

    from tieline.wire.carriage import Carriage
    from tieline.wire.websocket.facts import WebSocketInfo

__all__ = ["MAX_HEAD", "SILENT_LOGGER", "WebSocketStream", "deflate_factories", "fault_text"]

# The longest head of a request or a reply, in bytes.
MAX_HEAD: Final = 8192
# The first bytes of the end of a head.
_HEAD_END: Final = b"\r\n\r\n"

NORMAL_CLOSURE: Final = 1000
_POLICY_VIOLATION: Final = 1008


class _SilentLogger:
    """What the core of websockets is given for a log: what there is to say is said by those who know the connection."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # the name is that of logging
        return False

    def debug(self, *args: Any, **kwargs: Any) -> None: ...

    info = warning = error = debug


SILENT_LOGGER: Final[Any] = _SilentLogger()


class WebSocketStream(FrameReading, ABC):
    """One side of one WebSocket. How messages pass to and from the layer above is its `Carriage`.

    Args:
        max_message: The longest message in bytes that may come, inflated; None = any.
        binary: Whether messages of ours are sent as binary ones, not as text. Those of a stream always are.
        carriage: How the layer above has messages.
        random_bytes: Where the side that opens it takes its masks from; see `PlainWriter`. None: this is the other.

    Attributes:
        is_ready: The opening handshake is done, and was successful.
        is_smooth: It is open in both directions, nothing is held back, and nothing is to be said by itself.
        peer_closed: The peer's close frame has come; nothing after it counts.
        has_more: `receive` has something left to read, for a later turn.
        error: Why the connection is broken, or was never opened; None while it is whole.
        end: How the peer closed it; None while it has not.
        unsent: Always empty: nothing waits to be framed.
        info: What was told in the opening handshake; None before its end.
        close_code: What `close` says when it is not told.
        overhead: How many bytes have come that were not handed up: heads, control frames, what is not complete yet.
            Whoever counts them sets it back.
    """

    __slots__ = ("_carriage", "_head", "_is_lines", "_is_plain", "_writer", "close_code", "overhead", "unsent")

    def __init__(
        self,
        core: Protocol,
        *,
        max_message: int | None,
        binary: bool,
        carriage: Carriage,
        random_bytes: Callable[[int], bytes] | None = None,
    ) -> None:
        is_stream = carriage == "stream"
        super().__init__(core, max_message=max_message, is_client=random_bytes is not None, is_stream=is_stream)
        self._carriage: Carriage = carriage
        self._is_lines = carriage == "lines"
        self._is_plain = True  # what is sent needs no extension
        self._writer = PlainWriter(is_binary=binary or is_stream, random_bytes=random_bytes)
        self._head = bytearray()
        self.close_code = NORMAL_CLOSURE
        self.overhead = 0
        self.unsent = b""

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come out."""
        return self.peer_closed or self.error is not None

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything."""
        return bool(self._output)

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the peer, answers to its pings included."""
        output, self._output = self._output, []
        return b"".join(output)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: ``websocket``, the `WebSocketInfo`."""
        return self.info if name == "websocket" and self.info is not None else default

    # --- what comes in -------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Begin the opening handshake: a client's first words are to be sent."""

    @abstractmethod
    def _judge_head(self, head: bytes) -> None:
        """Judge a *head* of the other side, which is complete.

        Calls `_opened`, or sets `error`, or does neither: then another head is to come.
        """

    def receive(self, data: bytes | memoryview) -> bytes:
        """Take what the peer sent, and return the messages in it, as the `Carriage` has them.

        When that takes too long, the rest is kept (`has_more`) for the next call, which may be with no *data*.
        """
        if type(data) is not bytes:
            data = bytes(data)
        if self.is_smooth:
            lone = self._read_lone(data)
            if lone is not None:
                if self._is_lines and 0x0A not in lone and lone != b"\r":
                    # Nearly always a line needs no other way: what is no JSON gets its answer by that.
                    self.overhead += self._head_size - 1
                    return lone + b"\n"
                whole = joined([lone], self._carriage)
                self.overhead += len(data) - len(whole)
                return whole
            self.is_smooth = False
        self.overhead += len(data)
        if self.is_over:
            return b""
        if self._backlog:
            data, self._backlog = self._backlog + data, b""
        self.has_more = False
        if not self.is_ready:
            data = self._read_heads(data)
        found: list[bytes] = []
        self._read_frames(data, found)
        if not found:
            return b""
        whole = joined(found, self._carriage)
        self.overhead -= len(whole)
        if self.overhead < 0 and self.is_between:
            self.overhead = 0  # it was compressed, and counts as what it holds
        return whole

    def let_go(self) -> None:
        """The connection is gone: let go of the core, which refers to itself, and of errors, whose frames know both."""
        core = vars(self._core)
        for fault in (core.get("handshake_exc"), core.get("parser_exc")):
            if fault is not None:
                fault.__traceback__ = fault.__context__ = fault.__cause__ = None
        core.clear()
        self._said_close = True
        self.is_smooth = False
        self.error = None

    def _opened(self, info: WebSocketInfo) -> None:
        """The handshake is done."""
        self.info = info
        self._is_plain = not self._core.extensions
        self.is_ready = True

    def _read_heads(self, data: bytes) -> bytes:
        """Take *data* as far as it belongs to the opening handshake, and return what is behind that."""
        head = self._head
        while True:
            searched = max(0, len(head) - len(_HEAD_END) + 1)
            head += data
            end = head.find(_HEAD_END, searched)
            # In this order the same is found in a head however it was cut: what comes first in it counts.
            until = min(len(head) if end < 0 else end, MAX_HEAD)
            if until and not self._begins_well(bytes(head[:until])):
                self._speaks_no_http()
                return b""
            if head.count(b"\n", 0, until) != head.count(b"\r\n", 0, until):
                # Some take that for the end of a line, and others do not, so that they see different heads.
                self._bare_newline()
                return b""
            if end > MAX_HEAD or (end < 0 and len(head) > MAX_HEAD):
                self._head_too_long()
                return b""
            if end < 0:
                return b""
            end += len(_HEAD_END)
            whole, data = bytes(head[:end]), bytes(head[end:])
            head.clear()
            self._judge_head(whole)
            if self.is_ready:
                return data
            if self.error is not None:
                return b""

    @abstractmethod
    def _begins_well(self, head: bytes) -> bool:
        """Return whether *head*, without its end, can be that of HTTP: who speaks no HTTP may never end it."""

    @abstractmethod
    def _speaks_no_http(self) -> None:
        """The peer does not: end the connection."""

    def _bare_newline(self) -> None:
        self.error = WebSocketRefused("a line of the WebSocket handshake does not end with CR LF")

    def _head_too_long(self) -> None:
        self.error = WebSocketRefused(f"the head of the WebSocket handshake is over the limit of {MAX_HEAD} bytes")

    def give_up_message(self, seconds: float) -> None:
        """Break the connection: a message is not complete after so many *seconds*. The peer is told."""
        self._break(_POLICY_VIOLATION, f"a WebSocket message is not complete after {seconds:g} s", is_behind=False)

    # --- what goes out -------------------------------------------------------------------------------------------

    @property
    def _says_no_more(self) -> bool:
        return self._said_close or not self.is_ready or self.is_over

    def send(self, data: bytes | memoryview) -> bytes:
        """Return what is to be sent for *data*: whole messages, as the `Carriage` has them."""
        if self.is_smooth and self._is_lines and self._is_plain and type(data) is bytes:
            # Nearly always it is one line.
            end = data.find(b"\n")
            if end == len(data) - 1:
                return self._writer.frame(data[:end])
        if self._says_no_more:
            return b""
        messages = parted(data, self._carriage)
        if self._is_plain:
            frames = self._writer.frame(messages[0]) if len(messages) == 1 else self._writer.frames(messages)
            return self.data_to_send() + frames if self._output else frames
        send = self._core.send_binary if self._writer.is_binary else self._core.send_text
        for message in messages:
            send(message)
        self._collect()
        return self.data_to_send()

    def ping(self) -> bytes:
        """Return a ping that is to be sent."""
        if self._says_no_more:
            return b""
        self._core.send_ping(b"")
        self._collect()
        return self.data_to_send()

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        """Return what is to be sent last, with a close frame at the end. Nothing may be sent after it.

        Args:
            code: What to say for the reason, as a number (RFC 6455, section 7.4); None = `close_code`.
            reason: The same in words.
        """
        if not self._says_no_more:
            self._core.send_close(self.close_code if code is None else code, reason)
            self._collect()
        self._said_close = True
        self.is_smooth = False
        return self.data_to_send()


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


def fault_text(fault: BaseException | None) -> str:
    """Return what it means that the core of websockets has refused a handshake because of *fault*.

    The words of the other side are left out: some are secrets, and all are its own.
    """
    from websockets.exceptions import InvalidHeader, NegotiationError  # lazily: for peers that are odd

    if isinstance(fault, InvalidHeader):
        return f"the header {fault.name} is {'missing' if fault.value is None else 'not what it must be'}"
    if isinstance(fault, NegotiationError):
        return "the extensions or subprotocols of the two sides do not go together"
    return "it has no end" if fault is None else "it is not valid HTTP"
