# SPDX-License-Identifier: MIT
"""How a link ends: peers that leave while nothing is read, sends that fail, and every way to close.

The lower half of `link.py`. As there, no rule of a wire protocol is here, and no runtime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic

from tieline.runtimes.contract import OurProtocol
from tieline.runtimes.hangups import peer_of, rest_of
from tieline.runtimes.lingering import Lingering
from tieline.wire.states import LINGERING

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    from tieline.runtimes.host import Host
    from tieline.runtimes.ports import Machine, Sink, Transport

    MachineT = TypeVar("MachineT", bound=Machine, default=Any)
else:
    from typing import TypeVar

    MachineT = TypeVar("MachineT")

__all__ = ["LinkClosing", "MachineT"]

# While nothing is read, the system is asked after the peer: first after so many seconds, then after twice as many,
# and so on up to the last. A peer that leaves soon after it asked much is missed soon; one that stays costs little.
FIRST_LOOK: Final = 0.05
LAST_LOOK: Final = 0.8


class LinkClosing(OurProtocol, ABC, Generic[MachineT]):
    """The part of a link that ends it.

    Attributes:
        machine: The machine that it drives.
        transport: The transport; only there from `connection_made` on, and of use until `connection_lost`.
        is_lost: The transport is gone.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_closing",
        "_host",
        "_is_calm",
        "_paused",
        "_reading_over",
        "_sink",
        "is_lost",
        "machine",
        "transport",
    )

    machine: MachineT
    transport: Transport
    is_lost: bool
    _host: Host
    _sink: Sink
    _is_calm: bool  # the transport is read from, the peer is known, and no event is left over
    _paused: bool  # it is not read
    _reading_over: bool  # the peer has ended its stream
    _closing: bool  # the transport has been told to close

    # What nearly no link has is the class's, until one has it.
    _lingering: Lingering | None = None  # all is said, and the peer may not have it yet
    _look_at: float = inf  # when to look after the peer
    _look_pause: float = FIRST_LOOK
    _unwanted: bool = False
    _eof_written: bool = False

    # --- what the upper half does --------------------------------------------------------------------------------

    @abstractmethod
    def settle(self) -> None:
        """Bring the transport in line with the machine: output, reading, timer, and how far the end has come."""

    @abstractmethod
    def _receive(self, data: bytes, now: float) -> None:
        """Have the machine read *data*, whatever it is, and do all that it causes."""

    @abstractmethod
    def eof_received(self) -> bool:
        """Return whether the transport is to stay open for what we still have to say."""

    # --- the peer, while nothing is read -------------------------------------------------------------------------

    def _watch_peer(self, now: float) -> None:
        """Nothing is read from now on: look after the peer instead."""
        self._look_pause = FIRST_LOOK
        self._look_at = now + FIRST_LOOK

    def _peer_is_gone(self, now: float) -> bool:
        """Look whether the peer has gone and left us with its work; otherwise plan the next look."""
        if self._lingering is not None or not (self._paused or self._reading_over):
            self._look_at = inf
            return False
        peer = peer_of(self.transport)
        # One that closed without waiting for its answers has gone. One that only sent notifications has been heard.
        if peer == "reset" and self.machine.keeps_unread and not self._reading_over:
            pass  # what has come is read when somebody wants it, and the reset behind it
        elif peer == "reset" or (peer == "closed" and self.machine.owes_answers):
            self.machine.peer_vanished()
            return True
        self._look_pause = min(2 * self._look_pause, LAST_LOOK)
        self._look_at = now + self._look_pause
        return False

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin to close: what is being handled is still answered, nothing else."""
        self.machine.close()
        self._sink.room_made()  # who waits for it is to find out
        self.settle()

    def abort(self) -> None:
        """Close at once; what is queued is dropped. A transport that is still to come is closed when it comes."""
        if not hasattr(self, "transport"):
            self._unwanted = True
        elif not self.is_lost:
            self.transport.abort()

    @property
    def is_told_last(self) -> bool:
        """Whether nothing is left of the transport, its socket included, when it tells of its end."""
        return getattr(self.transport, "is_bare", False)

    def end_at_once(self) -> None:
        """Let `Sink.link_lost` come now where it would come behind the read that is being handled, and all is said.

        For who waits for it, within that read.
        """
        if self._closing:
            end: Callable[[], object] | None = getattr(self.transport, "end_at_once", None)
            if end is not None:
                end()

    def sending_failed(self) -> None:
        self.machine.sending_failed()
        self.settle()

    def fail_sending(self, error: OSError) -> bool:
        """End the connection because a send past the transport has failed; behind what the peer has said before.

        Return whether the transport will tell of *error*.
        """
        fail: Callable[[OSError], object] | None = getattr(self.transport, "fail_sending", None)
        if fail is not None:
            fail(error)
            return True
        self._read_rest()
        self.transport.abort()
        return False

    def _read_rest(self) -> OSError | None:
        """Take in what the peer has said before a send failed, where the transport has left that to the system.

        Returns what broke the connection, if that is told now: not all sends are.
        """
        self.sending_failed()
        rest = rest_of(self.transport, lambda: not (self._paused or self._reading_over))
        while True:
            try:
                data = next(rest, None)
            except OSError as exc:
                return exc
            if data is None:
                return None
            if data:
                self._receive(data, self._host.now())
            else:
                self.eof_received()

    def _follow_end(self) -> None:
        """The machine has nothing more to say: half-close while the peer may not have heard all, then close."""
        if self.machine.state is LINGERING and self.transport.can_write_eof():
            self._write_eof()
        elif not self._lingers():
            self._closing = True
            self._is_calm = False
            if self.transport.get_write_buffer_size():
                self._watch_rest()
            self._end_calls()
            self.transport.close()

    def _write_eof(self) -> None:
        if not self._eof_written:
            self._eof_written = True
            try:
                self.transport.write_eof()
            except OSError:  # stock asyncio: the peer has reset the connection, and no read has told yet
                self.transport.abort()

    def _end_calls(self) -> None:
        """End the open calls now, and not when the transport is gone: a peer that reads nothing can put that off."""
        events = self.machine.give_up_calls()
        if events:
            self._sink.handle_events(events, inf)

    def _lingers(self) -> bool:
        """Return whether to go on reading before the transport is closed, for the sake of what was sent."""
        transport = self.transport
        if self._lingering is None:
            # A peer that sends no more resets nothing; and a machine that has lingered has given it its time.
            if self._reading_over or self._eof_written or transport.is_closing() or not Lingering.is_needed(transport):
                return False
            self._lingering = Lingering(self.machine.limits.linger, self.machine.bytes_received)
            self._watch_rest()
            self._end_calls()
            self._write_eof()
        if self._reading_over or transport.is_closing():
            return False
        if self._lingering.is_over(transport, self.machine.bytes_received, self._host.now()):
            return False
        self._look_at = self._lingering.look_at
        return True

    def _watch_rest(self) -> None:
        """The transport closes when its output is out, which a peer that reads nothing could put off for ever."""
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            self.machine.writing_paused(unsent, self._host.now())
