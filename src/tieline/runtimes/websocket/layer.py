# SPDX-License-Identifier: MIT
"""The WebSocket layer: what a layer does whose filter is a `WebSocketStream`, and its pings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

from tieline.errors import WebSocketClosed, WebSocketRefused
from tieline.runtimes.layers.layer import Layer
from tieline.runtimes.layers.transport import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.host import Host, Timer
    from tieline.runtimes.layers.transport import LowerTransport
    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["WebSocketLayer"]

# The close code of a server that goes down (RFC 6455, section 7.4.1).
GOING_AWAY = 1001
# The close code of who cannot go on; other servers tell a silent peer the same.
_INTERNAL_ERROR = 1011
# The close code that no peer sends: the connection ended without one (RFC 6455, section 7.1.5).
_ABNORMAL_CLOSURE = 1006
_OPEN = State.OPEN
# So many bytes that were not handed up are told at once.
TOLD_AT_ONCE = 1024


class WebSocketLayer(Layer):
    """A WebSocket between a transport and the protocol above; see `Layer`, whose filter here is a `WebSocketStream`.

    The protocol above reads and writes whole messages, each behind its length. It hears `connection_lost` with a
    `WebSocketClosed` that tells the peer's close code and reason, and no `eof_received`. If it has `overhead_received`,
    that is called at times with how many bytes have come that it was not given: heads and control frames.

    Args:
        upper: As for `Layer`.
        filter_: A side of a WebSocket, fresh.
        host: As for `Layer`.
        ping_interval: Seconds of silence after which the peer is asked whether it is there; None = it is not asked.
        ping_timeout: Seconds for its answer, or for anything else that it says.
        message_timeout: Seconds for a message, from its first byte to its last; None = as long as it takes.
        linger: Seconds for a peer whose fault ends the connection, or who is refused, to read why and to leave. What it
            sends meanwhile is dropped. Closed at once, the connection would be reset by what is unread, and the peer
            would be told nothing. 0 = it is closed at once.
        is_leaving: Whether the end is told as that of the whole server (code 1001), not of this connection (1000).

    The other arguments are those of `Layer`.

    Attributes:
        on_begin: Called with the layer when the transport below stands, before the handshake; None = nobody is.
    """

    __slots__ = (
        "_heard",
        "_is_leaving",
        "_linger",
        "_lingers",
        "_message_began",
        "_message_timeout",
        "_message_timer",
        "_ping_interval",
        "_ping_timeout",
        "_ping_timer",
        "_pinged",
        "on_begin",
    )

    title: ClassVar[str] = "WebSocket"
    part_size: ClassVar[int] = sys.maxsize  # messages must stay whole
    # Behind what a busy protocol does not want yet, pings are still to be found and answered.
    hold_size: ClassVar[int] = 64 * 1024
    _filter: WebSocketStream

    def __init__(
        self,
        upper: Any,
        filter_: WebSocketStream,
        host: Host,
        *,
        ping_interval: float | None = None,
        ping_timeout: float = 20.0,
        message_timeout: float | None = None,
        linger: float = 0.0,
        is_leaving: Callable[[], bool] | None = None,
        handshake_timeout: float | None,
        shutdown_timeout: float,
        on_handshake: Callable[[BaseException | None], object] | None = None,
    ) -> None:
        super().__init__(
            upper,
            filter_,
            host,
            handshake_timeout=handshake_timeout,
            shutdown_timeout=shutdown_timeout,
            on_handshake=on_handshake,
        )
        self._began = host.now()  # the handshake of TLS below counts as well
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._ping_timer: Timer | None = None
        self._message_timeout = message_timeout
        self._message_timer: Timer | None = None  # runs while a message is not complete
        self._message_began = 0.0  # when its first byte was read
        self._linger = linger
        self._lingers = False
        self._is_leaving = is_leaving
        self.on_begin: Callable[[WebSocketLayer], object] | None = None
        self._heard = False  # something came since the timer went off last
        self._pinged = False  # that was when a ping went out

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the WebSocket (websocket) or the transport below."""
        if name == "websocket":
            return self._filter.get_extra_info(name, default)
        return super().get_extra_info(name, default)

    def connection_made(self, transport: LowerTransport) -> None:
        if self.on_begin is not None:
            self.on_begin(self)
        super().connection_made(transport)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, whole messages. After `close` or `abort` it is dropped."""
        lower = self._lower
        if self._state is not _OPEN or lower is None or type(data) is not bytes or not data:
            super().write(data)
        elif output := self._filter.send(data):  # this filter does not break by it, and keeps nothing back
            lower.write(output)

    def data_received(self, data: bytes | memoryview) -> None:
        self._heard = True
        machine = self._filter
        was_smooth, state = machine.is_smooth, self._state  # which change
        if not was_smooth or state is not _OPEN or self._paused or self._held:
            super().data_received(data)
            if machine.overhead > TOLD_AT_ONCE:
                self._tell_overhead()
            return
        found = machine.receive(data)
        if machine.overhead > TOLD_AT_ONCE:
            self._tell_overhead()
        if found and machine.is_smooth and self._takes_data:
            # So it is nearly always: whole messages, for a protocol that wants them. This is `_call_upper`.
            was_in_upper, self._in_upper = self._in_upper, True
            try:
                self._upper.data_received(found)
            finally:
                self._in_upper = was_in_upper
                if self._state is State.LOST and not was_in_upper:
                    self._tell_lost()
            return
        self._received(found)
        self._time_message(found)
        if machine.is_over:
            self._check_end()

    def _receive(self, data: bytes | memoryview) -> None:
        found = self._filter.receive(data)
        self._received(found)
        self._time_message(found)

    def _tell_overhead(self, *, is_last: bool = False) -> None:
        """Tell how many bytes have come that were not handed up; those of a message may be, once it is complete."""
        machine = self._filter
        tell = getattr(self._upper, "overhead_received", None)
        if tell is not None and machine.overhead > 0 and (is_last or machine.is_between):
            count, machine.overhead = machine.overhead, 0
            tell(count)

    # --- messages that do not end --------------------------------------------------------------------------------

    def resume_reading(self) -> None:
        """Deliver data again, in a later turn; a message that has come in part gets its time anew."""
        if self._lower_paused:
            self._message_began = self._host.now()
        super().resume_reading()

    def _time_message(self, found: bytes) -> None:
        """Give the message that is not complete its time, however many pieces it comes in.

        *found* is what was completed by what has just been read: what is not complete now has begun behind it.
        """
        if self._message_timeout is None:
            return
        if self._filter.is_between or self._state is not State.OPEN:
            if self._message_timer is not None:
                self._message_timer.cancel()
                self._message_timer = None
        elif found or self._message_timer is None:
            self._message_began = self._host.now()
            if self._message_timer is None:
                self._watch_message()

    def _watch_message(self) -> None:
        assert self._message_timeout is not None
        self._message_timer = self._host.call_at(self._message_began + self._message_timeout, self._message_is_late)

    def _message_is_late(self) -> None:
        self._message_timer = None
        assert self._message_timeout is not None
        if self._lower_paused:  # it is not read on, which is no fault of the peer
            self._time_message(b"")
        elif self._state is State.OPEN and not self._filter.is_between:
            if self._host.now() < self._message_began + self._message_timeout:
                self._watch_message()  # that has begun behind the one for which the timer was set, or was not read on
                return
            self._filter.give_up_message(self._message_timeout)
            self._write_answers()
            self._check_end()

    # --- pings ---------------------------------------------------------------------------------------------------

    def _open(self, found: bytes) -> None:
        if self._ping_interval is not None:
            self._ping_in(self._ping_interval)
        super()._open(found)

    def _ping_in(self, seconds: float) -> None:
        self._heard = False
        self._ping_timer = self._host.call_at(self._host.now() + seconds, self._look)

    def _look(self) -> None:
        """See whether the peer is there. While nothing is read, or nothing can be said, there is no silence."""
        self._ping_timer = None
        if self._state is not State.OPEN or self._ping_interval is None:
            return
        assert self._lower is not None
        if self._heard or self._lower_paused or self._lower_is_full:
            self._pinged = False
            self._ping_in(self._ping_interval)
        elif self._pinged:
            error = TimeoutError(f"the peer answered no WebSocket ping within {self._ping_timeout:g} s")
            self._lower.write(self._filter.close(_INTERNAL_ERROR, "no ping was answered in time"))
            super()._end(error)  # it is not given time to read that: it may do so all the same
        else:
            self._pinged = True
            self._ping_in(self._ping_timeout)
            self._lower.write(self._filter.ping())

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
            self._ping_timer = None
        if self._message_timer is not None:
            self._message_timer.cancel()
            self._message_timer = None
        if self._state is not State.SHAKING:
            self._tell_overhead(is_last=True)
        self._filter.let_go()
        super().connection_lost(exc)

    def never_made(self) -> None:
        self._filter.let_go()
        super().never_made()

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what was written, then a close frame, wait for the peer's, then close. What comes in is dropped."""
        if self._is_leaving is not None and self._is_leaving():
            self._filter.close_code = GOING_AWAY
        super().close()

    def _end(self, error: BaseException | None) -> None:
        lower = self._lower
        assert lower is not None
        if error is None or not self._linger or self._lower_ended or self._state > State.OPEN:
            super()._end(error)
            return
        self._error = error
        self._held = b""
        self._cancel_timer()
        self._timer = self._host.call_at(self._host.now() + self._linger, self.abort)
        if not lower.can_write_eof():
            # TLS has an end of its own, and reads on until the peer has said the same.
            self._state = State.ENDED
            lower.close()
            return
        self._state = State.CLOSING
        self._said_close = self._lingers = True
        lower.write_eof()  # what waits for the end gets it at once
        self._steer()

    def _check_end(self) -> None:
        if not self._lingers or self._lower_ended:
            super()._check_end()

    def _peer_closed(self) -> None:
        self._error = self._filter.end

    def _cut_handshake(self) -> WebSocketRefused:
        return WebSocketRefused("the peer ended the connection in the middle of the WebSocket handshake")

    def _cut_stream(self) -> WebSocketClosed:
        return WebSocketClosed(_ABNORMAL_CLOSURE)
