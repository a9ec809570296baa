# SPDX-License-Identifier: MIT
"""A layer: to the transport below a protocol, to the protocol above a transport. One for all runtimes.

It moves bytes through a filter, keeps time for handshake and shutdown, and tells both sides what asyncio's contract
of transports and protocols promises. It imports no runtime: time and turns come from a host.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.errors import ClosedError, RemoteProtocolError
from tieline.runtimes.contract import OurProtocol
from tieline.runtimes.layers.transport import LayerTransport, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.host import Host, Timer
    from tieline.runtimes.layers.filters import Filter
    from tieline.runtimes.layers.transport import LowerTransport

__all__ = ["Layer"]

# How much a peer may make us say that it does not read, besides what the protocol above wrote: in TLS answers to
# KeyUpdate records and refusals to renegotiate, in a WebSocket answers to pings. An honest peer has few of these.
MAX_ANSWERS: Final = 16 * 1024


class Layer(OurProtocol, LayerTransport):
    """A filter between a transport and the protocol *upper*; what it is named after adds what is its own.

    Give it to the transport below as its protocol. *upper* hears `connection_made` when the handshake is done, with
    the layer as its transport, and nothing at all when the handshake fails (one of ours: `OurProtocol.never_made`).
    When the filter breaks, `connection_lost` tells its error.

    Args:
        upper: The protocol that speaks above, of asyncio's kind, plain or buffered.
        filter_: The filter, fresh.
        host: Tells the time and plans calls.
        handshake_timeout: Seconds for the handshake; None = whoever waits for it keeps the time.
        shutdown_timeout: Seconds for the peer to answer our last word, and before that to take any byte of what is
            still unsent. Afterwards the connection is cut.
        on_handshake: Called once, if the layer was given to a transport: with None when the handshake is done, behind
            `connection_made`; or with what that raised, and if it then returns true, nobody else is told; or with the
            reason why there is no handshake, when the transport below is gone.
        is_made: *upper* has had its `connection_made`: it spoke on the transport below before, in plain text. What it
            writes waits for the handshake, and it hears `connection_lost` also when that fails.

    Attributes:
        title: What it is called in texts.
    """

    title: ClassVar[str]

    __slots__ = (
        "_answers",
        "_began",
        "_error",
        "_handshake_timeout",
        "_is_flushed",
        "_on_handshake",
        "_said_close",
        "_shutdown_timeout",
        "_timer",
        "_unsent_before",
    )

    def __init__(
        self,
        upper: Any,
        filter_: Filter,
        host: Host,
        *,
        handshake_timeout: float | None,
        shutdown_timeout: float,
        on_handshake: Callable[[BaseException | None], object] | None = None,
        is_made: bool = False,
    ) -> None:
        super().__init__(upper, filter_, host, is_made=is_made)
        self._on_handshake = on_handshake
        self._handshake_timeout = handshake_timeout
        self._began: float | None = None  # when the time for the handshake began; None = with the connection
        self._shutdown_timeout = shutdown_timeout
        self._timer: Timer | None = None
        self._error: BaseException | None = None  # why it ends
        self._answers = 0  # bytes said without upper's doing, since the peer last took all that there was
        self._unsent_before = 0  # bytes unsent when the shutdown's timer last looked
        self._said_close = False
        self._is_flushed = False  # all that we had to say is out, our last word included

    # --- callbacks of the transport below ------------------------------------------------------------------------

    def connection_made(self, transport: LowerTransport) -> None:
        self._lower = transport
        if self._state is not State.SHAKING:  # aborted before it began
            transport.abort()
            return
        if self._handshake_timeout is not None:
            began = self._host.now() if self._began is None else self._began
            self._timer = self._host.call_at(began + self._handshake_timeout, self._handshake_timed_out)
        self._tell_writing()
        self._filter.start()
        self._follow_handshake(b"")

    def never_made(self) -> None:
        self._state = State.LOST
        self._on_handshake = None
        upper, self._upper = self._upper, None
        if isinstance(upper, OurProtocol):
            upper.never_made()

    def data_received(self, data: bytes | memoryview) -> None:
        self._receive(data)
        if self._filter.is_over or self._state is State.CLOSING:
            self._check_end()

    def _receive(self, data: bytes | memoryview) -> None:
        machine = self._filter
        was_stuck = bool(machine.unsent)
        self._received(machine.receive(data), was_stuck=was_stuck)

    def _received(self, found: bytes, *, was_stuck: bool = False) -> None:
        """See to what the filter has made of what came: *found* is for upper.

        *was_stuck* tells that the filter could not send before.
        """
        machine = self._filter
        if self._state is State.SHAKING:
            self._follow_handshake(found)
            return
        if machine.has_output:
            self._write_answers()
        if was_stuck:
            self._tell_writing()
        if found and self._state is State.OPEN:
            self._deliver(found)
        if machine.has_more:
            self.take_breath()

    def eof_received(self) -> bool:
        """Return True: when the transport below closes is decided here."""
        self._lower_ended = True
        self._check_end()
        return True

    def pause_writing(self) -> None:
        self._lower_is_full = True
        self._tell_writing()

    def resume_writing(self) -> None:
        self._lower_is_full = False
        self._tell_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._state is State.LOST:
            return
        self._state = State.LOST
        self._cancel_timer()
        if self._error is None and not self._is_flushed:
            # Once all has been said and sent, a peer that resets instead of answering our last word harms nobody.
            self._error = exc
        if not self._in_upper:
            self._tell_lost()

    # --- the handshake -------------------------------------------------------------------------------------------

    def _follow_handshake(self, found: bytes) -> None:
        machine, lower = self._filter, self._lower
        assert lower is not None
        if machine.has_output:
            lower.write(machine.data_to_send())
        if machine.is_ready:
            self._open(found)
        elif machine.error is not None:
            self._end(machine.error)  # what tells the peer why is out before

    def _open(self, found: bytes) -> None:
        self._cancel_timer()
        self._state = State.OPEN
        self._held = found
        is_made, self._tells = self._tells, True
        try:
            if not is_made:
                self._call_upper(self._upper.connection_made, self)
        except Exception as exc:
            if not self._report(exc):
                raise
            self._fail(exc)
            return
        self._report(None)
        self._tell_writing()
        self._go_on()

    def _handshake_timed_out(self) -> None:
        self._timer = None
        if self._state is State.SHAKING:
            self._fail(TimeoutError(errno.ETIMEDOUT, f"no {self.title} handshake within {self._handshake_timeout:g} s"))

    # --- the end -------------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        """Draw the consequences of what has come in."""
        machine = self._filter
        match self._state:
            case State.SHAKING if self._lower_ended:
                self._end(self._cut_handshake())
            case State.OPEN if machine.error is not None:
                self._end(machine.error)
            case State.OPEN if self._paused or self._held or machine.has_more:
                pass  # upper sees the end when it has read what stands before it, as on any transport
            case State.OPEN if machine.peer_closed:
                self._peer_closed()
                self.close()
            case State.OPEN if self._lower_ended:
                self._end_truncated()
            case State.CLOSING if not self._said_close:
                self._say_close()
            case State.CLOSING if machine.is_over or self._lower_ended:
                self._end(None)
            case _:
                pass

    def _end_truncated(self) -> None:
        """The peer says no more, and did not say so: it still gets what was written, and our last word behind it."""
        self._error = self._cut_stream()
        self._takes_no_more = True
        self._tell_writing()  # what upper wrote from here on would go nowhere, so it is to wait for the end
        self.close()

    def close(self) -> None:
        """Send what was written, then our last word, wait for the peer's, then close. What comes in is dropped."""
        if self._state is State.SHAKING:
            self.abort()
        elif self._state is State.OPEN:
            self._state = State.CLOSING
            self._held = b""
            self._say_close()
            self._steer()

    def _say_close(self) -> None:
        machine, lower = self._filter, self._lower
        assert lower is not None
        self._watch_shutdown()
        if machine.unsent and not (machine.is_over or self._lower_ended):
            return  # our last word stands behind it, and it cannot be sent before the peer has answered
        self._said_close = True
        output = machine.close()
        if output:
            lower.write(output)
        self._note_flushed()
        if not self._is_flushed:
            self._host.call_soon(self._note_flushed)  # some transports send at the end of the turn
        self._check_end()

    def _note_flushed(self) -> None:
        lower = self._lower
        # One that is breaking has dropped what was unsent, and says it a turn later.
        if self._state is State.CLOSING and lower is not None and not lower.is_closing():
            self._is_flushed = lower.get_write_buffer_size() == 0

    def _end(self, error: BaseException | None) -> None:
        """Close the transport below, as soon as what was written is out."""
        assert self._lower is not None
        if self._error is None:
            self._error = error
        self._state = State.ENDED
        self._watch_shutdown()
        self._lower.close()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self.abort()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        if self._state is State.LOST:
            return
        self._state = State.ENDED
        self._cancel_timer()
        if self._lower is not None:
            self._lower.abort()

    def _tell_lost(self) -> None:
        """Tell everybody that it is over, once."""
        upper, self._upper = self._upper, None
        tells, self._tells = self._tells, False
        error, self._error = self._error, None  # its frames may come to refer to this
        self._held = b""
        try:
            if tells:
                upper.connection_lost(error)
            elif isinstance(upper, OurProtocol):
                upper.never_made()
        finally:
            self._report(error or ClosedError(f"closed by this side in the middle of the {self.title} handshake"))

    def _report(self, error: BaseException | None) -> bool:
        """Tell how the handshake ended; return whether somebody will raise *error*."""
        report, self._on_handshake = self._on_handshake, None
        return report is not None and bool(report(error))

    # --- time and bounds -----------------------------------------------------------------------------------------

    def _write_answers(self) -> None:
        """Send what the filter itself has to say, within bounds."""
        lower = self._lower
        assert lower is not None
        output = self._filter.data_to_send()
        if not lower.get_write_buffer_size():
            self._answers = 0
        self._answers += len(output)
        if self._answers > MAX_ANSWERS:
            text = f"the peer asks for {self.title} answers without end and reads none ({MAX_ANSWERS})"
            self._fail(RemoteProtocolError(text))
        else:
            lower.write(output)

    def _watch_shutdown(self) -> None:
        """Give the peer its time to take a byte, or, when it has taken all, to say its last word."""
        assert self._lower is not None
        self._cancel_timer()
        self._unsent_before = self._lower.get_write_buffer_size()
        self._timer = self._host.call_at(self._host.now() + self._shutdown_timeout, self._shutdown_timed_out)

    def _shutdown_timed_out(self) -> None:
        assert self._lower is not None
        self._timer = None
        unsent = self._lower.get_write_buffer_size()
        if unsent < self._unsent_before:
            self._note_flushed()
            self._watch_shutdown()
        elif unsent:
            seconds = f"{self._shutdown_timeout:g} s"
            self._fail(TimeoutError(f"the peer took no byte for {seconds} while {self.title} was closed"))
        else:
            self.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- for subclasses ------------------------------------------------------------------------------------------

    @abstractmethod
    def _peer_closed(self) -> None:
        """The peer has said its last word, and all before it was delivered: tell upper, or set the error."""

    @abstractmethod
    def _cut_handshake(self) -> BaseException:
        """Return what it means that the connection ended in the middle of the handshake."""

    @abstractmethod
    def _cut_stream(self) -> BaseException:
        """Return what it means that the connection ended without the peer's last word."""
