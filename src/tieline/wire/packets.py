# SPDX-License-Identifier: MIT
"""The machine of a connection of typed packets: bytes and time in; packets and bytes out.

It is the sibling of `tieline.wire.messages`, and one link drives both. What differs: whoever receives takes packets
one by one, from here, and they are decoded as they are taken; a packet that is none is told in its place and the
stream goes on; and a peer that has ended its stream can still be sent to.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    EndOfStream,
    RemoteProtocolError,
    StreamProtocolParseError,
    StreamReset,
    StreamTruncated,
    WebSocketClosed,
)
from tieline.wire.anew import told_anew
from tieline.wire.default import NOTHING
from tieline.wire.life import lost
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.packet_output import PacketSending
from tieline.wire.protocols import parse_error
from tieline.wire.serializers.decoding import Fault
from tieline.wire.states import Cause, State
from tieline.wire.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.carriage import Carriage
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["Fault", "PacketConnection", "PacketEvent"]

# So many packets are decoded ahead of whoever takes them; the rest waits as bytes, which is less. When more comes
# behind that, reading stops.
MAX_AHEAD: Final = 64
# Reading stops when something comes while more than this waits to be taken. One packet may always come in full, and
# stops nothing by itself: most are taken at once.
MAX_UNTAKEN: Final = 256 * 1024
MIN_UNTAKEN: Final = MAX_UNTAKEN // 8


class PacketEvent(Enum):
    """What a connection tells its driver of packets."""

    READY = "ready"  # there is something to take


_READY: Final = PacketEvent.READY  # to look a member up in its class takes as long as ten other names
_READY_ALONE: Final = (_READY,)
_Event = PacketEvent | ConnectionEnded


class PacketConnection(PacketSending):
    """One connection of packets, either end.

    Args:
        protocol: The format of packets.
        limits: The limits, resolved.
        accepted: Whether the peer connected to us.

    Attributes:
        packets_received: How many packets were decoded, faulty ones not counted.
        received: What was decoded and is not taken. Packets may be popped from the left past `next_packet`: all but the
            last, and on a connection that is smooth that as well. The last may be a `Fault`, which is for
            `next_packet`; on a connection that is smooth there is none.
        takes_no_more: This side wants to hear no more, and may still have something to say.
        must_settle: What was taken has changed what the driver is to do: it is to settle.
    """

    __slots__ = (
        "_decoder",
        "_judged",
        "_untaken",
        "must_settle",
        "packets_received",
        "received",
        "takes_no_more",
        "wants_data",
    )

    carriage: ClassVar[Carriage] = "stream"

    def __init__(self, protocol: AnyStreamProtocol[Any, Any], limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, limits, accepted=accepted)
        self._decoder = protocol.new_decoder()
        self.received: list[Any] = []  # a deque takes 700 bytes, and popping the first of 64 from a list is as quick
        self._untaken: int = 0  # about how many bytes have come that nobody has taken
        self._judged = 0  # how many of the faults are in the count of what is borne
        self.packets_received: int = 0
        self.takes_no_more = False
        self.must_settle = False
        self.wants_data = True  # whether the driver is to read on

    # --- bytes in ------------------------------------------------------------------------------------------------

    def receive_one(self, data: bytes, now: float) -> Any:
        """Take in a read that is one packet and nothing else, and return `PacketEvent.READY`: it can be taken.

        `NOTHING`, and nothing is done, when it is not that simple, or something waits to be taken already: then it is
        for `receive_data`, which would come to the same here as well.
        """
        if not self.is_smooth or self.received:
            return NOTHING
        packet = self._decoder.decode_alone(data)
        if packet is NOTHING:
            return NOTHING
        self.received.append(packet)
        self.packets_received += 1
        self.bytes_received += len(data)
        self.last_received = now
        self.in_burst = False  # this is another turn of the loop
        return _READY

    def receive_data(self, data: bytes, now: float) -> Sequence[_Event]:
        """Take in bytes of the peer's; `PacketEvent.READY` when there is something to take."""
        self.bytes_received += len(data)
        self.last_received = now
        self.in_burst = False  # this is another turn of the loop
        if self.is_smooth and not self.received:
            return self._receive_smoothly(data, now)
        if self.takes_no_more or self.state > State.DRAINING or self._decoder.is_broken:
            return ()
        self._untaken += len(data)
        before = self.packets_received + self.faults
        self._decoder.feed(data)
        self.decode()
        return self._received(self.packets_received + self.faults > before, now)

    def _receive_smoothly(self, data: bytes, now: float) -> Sequence[_Event]:
        """Take in what is not just one packet, where the connection is smooth and nothing waits to be taken."""
        decoder = self._decoder
        self._untaken += len(data)
        if self._untaken > MIN_UNTAKEN:
            self._untaken = len(data) + decoder.pending  # all else was taken; small numbers are not worth the question
        decoder.feed(data)
        packets, fault = decoder.take(MAX_AHEAD)
        if fault is None and not decoder.is_ready and (not self.accepted or (packets and not decoder.has_begun)):
            self.received += packets
            self.packets_received += len(packets)
            return _READY_ALONE if packets else ()
        self._decoded(packets, fault)
        del fault  # see `fault_of`
        return self._received(True, now)  # no time runs yet, so it is the same for what is new and for what is not

    def _received(self, has_new: bool, now: float) -> Sequence[_Event]:
        """Look what has become of the connection by a read; *has_new* = it has brought the end of a packet."""
        events = self._judge(has_new, now) if self.accepted else _READY_ALONE if self.received else ()
        self.is_smooth = self._is_at_rest()
        return events

    def _is_at_rest(self) -> bool:
        """Return what `is_smooth` is to be, where there was something to be looked at."""
        received, decoder = self.received, self._decoder
        return (
            self.state is State.OPEN
            and self.wants_data
            and not (self.flow.paused or decoder.is_ready or decoder.is_broken or self.is_stranger)
            and not (received and received[-1].__class__ is Fault)
            and self.timers is NEVER
        )

    def receive_alone(self, data: bytes) -> Any:
        """Take in bytes of the peer's that are one packet and nothing else, and return that packet.

        For whoever reads by itself on the side that has dialled, while nothing waits to be taken. It comes to the same
        as `receive_data` and `next_packet`, but for `last_received` and `in_burst`, which are as they were.
        Else, or when the connection is not smooth, `NOTHING`, and nothing is done: then *data* is to be given to
        `receive_data`, before all else, which tells what is wrong with a packet.
        """
        packet = self._decoder.decode_alone(data) if self.is_smooth else NOTHING
        if packet is not NOTHING:
            self.bytes_received += len(data)
            self.packets_received += 1
        return packet

    def receive_ahead(self, data: bytes) -> None:
        """Take in bytes that `receive_alone` has refused, where the connection is smooth and nothing waits to be taken.

        It comes to the same as `receive_data`, but for what `receive_alone` leaves as it was, and for the events: look
        at `must_settle` behind it.
        """
        self.bytes_received += len(data)
        self._receive_smoothly(data, 0.0)  # the time matters only where the peer has connected to us

    def decode(self) -> None:
        """Decode packets up to the first fault, `MAX_AHEAD` of them at most; none behind a fault that is not taken.

        For whoever has taken all of `received` by itself. Look at `must_settle` behind it.
        """
        decoder, received = self._decoder, self.received
        room = 0 if received and received[-1].__class__ is Fault else MAX_AHEAD - len(received)
        self._decoded(*(decoder.take(room) if decoder.is_ready and room > 0 else ([], None)))
        if not self.accepted:
            self.is_smooth = self._is_at_rest()

    def _decoded(self, packets: list[Any], fault: Exception | None) -> None:
        """Take note of packets that were decoded, and of the fault behind them."""
        decoder, received = self._decoder, self.received
        was_empty = not received
        received += packets
        self.packets_received += len(packets)
        if fault is not None:
            self.faults += 1
            received.append(Fault(fault))
        if self._untaken > MIN_UNTAKEN and not received and not decoder.is_ready:
            self._untaken = decoder.pending  # all else was taken; small numbers are not worth the question
        if decoder.is_ready and was_empty and self._untaken <= MAX_UNTAKEN and not self.accepted:
            return  # a read stops nothing by itself, since most is taken at once; another one behind it does
        wants_data = not received or (not decoder.is_ready and (was_empty or self._untaken <= MAX_UNTAKEN))
        if wants_data is not self.wants_data:
            self.wants_data = wants_data
            self.must_settle = True
            self.is_smooth = False

    def _judge(self, has_new: bool, now: float) -> Sequence[_Event]:
        """Look what a peer that connected to us deserves; *has_new* = the end of a packet has come just now."""
        if self.is_stranger and self.packets_received:
            self.is_stranger = False
            self._set_timer("idle")
        if not self._has_begun:
            self._set_timer("message")
        elif has_new or self.timers.message == inf:
            self._set_timer("message", now + self._message_timeout)
        return self._end_of_patience(now) or (_READY_ALONE if self.received else ())

    @property
    def _has_begun(self) -> bool:
        """Whether a packet has come in part. Where packets wait to be decoded they are complete, as far as is known."""
        return not self._decoder.is_ready and self._decoder.has_begun

    def _end_of_patience(self, now: float) -> Sequence[_Event]:
        """End the connection if there were more faults than are borne; what is not decoded yet is thrown away."""
        while self._judged < self.faults:
            self._judged += 1
            if self._is_one_too_many(now):
                self._decoder.unread()
                return self._end(RemoteProtocolError(f"more than {self.limits.max_errors} faulty packets"))
        return ()

    def reading_resumed(self, now: float) -> None:
        """The driver reads on after it had stopped: the packet that has come in part gets its time anew."""
        if self._has_begun:
            self._set_timer("message", now + self._message_timeout)

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has anything to do: never, since whoever takes packets has them decoded."""
        return False

    def next_events(self, now: float) -> Sequence[_Event]:
        """Nothing: see `has_more`."""
        return ()

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that nobody has taken yet, a packet that is not complete included."""
        return bool(self.received) or self._decoder.pending > 0

    # --- packets out of it ---------------------------------------------------------------------------------------

    def next_packet(self) -> Any:
        """Return the next packet; `NOTHING` when there is none, and `end` says whether one may come.

        Look at `must_settle` behind it.

        Raises:
            StreamProtocolParseError: In its place in the stream was something that is none.
            RuntimeError: The serializer failed; see ``__cause__``.
        """
        received = self.received
        if not received:
            return NOTHING
        packet = received.pop(0)
        if not received and (self._decoder.is_ready or self._untaken > MIN_UNTAKEN):
            self.decode()
        if packet.__class__ is Fault:
            packet = self._told(packet.told())
            try:
                raise packet
            finally:
                del packet  # by which its traceback would refer to it
        return packet

    def next_packets(self) -> list[Any]:
        """Return all packets that are decoded, up to the first that is none; then that is raised.

        Raises:
            StreamProtocolParseError, RuntimeError: As of `next_packet`.
        """
        received = self.received
        if received and received[0].__class__ is Fault:
            self.next_packet()
        behind = [received.pop()] if received and received[-1].__class__ is Fault else []  # there is one at most
        self.received = behind
        if not behind:
            self.decode()
        return received

    def _told(self, fault: Exception) -> Exception:
        error = fault if type(fault) is RuntimeError else parse_error(fault)
        if self._decoder.is_broken and not self.received:
            self._end(told_anew(error))
            self.must_settle = True
        elif self.accepted and self.last_received is not None and self._end_of_patience(self.last_received):
            self.must_settle = True  # so many came at once: they are decoded one by one as they are taken
        return error

    @property
    def is_ready(self) -> bool:
        """Whether `next_packet` has anything to give."""
        return bool(self.received)

    def end(self) -> Exception | None:
        """Return why no further packet will come; None when one may. The same each time, but an error of its own."""
        if self.takes_no_more:
            return ClientClosedError("the client is closed" if self.refuses else "the server is shutting down")
        if self.received:
            return None
        reason = self.close_reason
        if isinstance(reason, ConnectionLost):
            return told_anew(reason)
        if reason is not None:
            return _ended_by(reason)
        if self.peer_has_ended:
            return self._end_of_peer()
        return ConnectionLost("the connection is closed") if self.state is State.CLOSED else None

    def _end_of_peer(self) -> ConnectionLost:
        """Take note of how the peer has ended its stream, which it has: between two packets, or in one."""
        decoder, ended_by = self._decoder, self.ended_by
        if decoder.has_begun:  # or a packet that is thrown away, of which nothing is pending
            reason: ConnectionLost = StreamTruncated(decoder.pending)
        elif ended_by is None or isinstance(ended_by, WebSocketClosed):
            reason = EndOfStream("the peer ended its stream")
        else:
            reason = ended_by  # the driver knows what it means, and it may be no clean end: a child may have failed
        if reason is not ended_by:
            reason.__cause__ = ended_by
        self.close_reason = reason
        return told_anew(reason)

    # --- time ----------------------------------------------------------------------------------------------------

    def handle_deadline(self, now: float) -> Sequence[_Event]:
        """Let time do its work; harmless when called early. While writing is paused, report progress before."""
        events: Sequence[_Event] = ()
        if now >= self.timers.linger:
            self._linger(now)
        if now >= self.timers.message:
            if self.wants_data:
                events = self._end(RemoteProtocolError(f"packet not complete after {self.limits.message_timeout} s"))
            else:  # it is us who do not read
                self._set_timer("message", now + self._message_timeout)
        if now >= self.timers.idle:
            self._set_timer("idle")
            events = self._end(TimeoutError(f"no packet came within {self.limits.idle_timeout} s"))
        self._check_writing(now)
        return events

    # --- the end -------------------------------------------------------------------------------------------------

    def stop_receiving(self) -> None:
        """Hand out nothing more, and throw away what comes; what this side has to say it may still say."""
        self.takes_no_more = True
        self.is_smooth = False
        self._drop_received()
        self._set_timer("message")
        self._set_timer("idle")

    def close(self) -> None:
        """Begin to close: what is queued goes out, nothing more comes in or is handed out.

        A peer that connected to us gets a moment to read our last word: when a connection is closed on which something
        came that nobody has read, the system resets it, and what was sent is lost.
        """
        self.refuses = True
        self.stop_receiving()
        self._move(Cause.CLOSE_CALLED)
        if self.state is not State.DRAINING:
            return
        if self.accepted and not self.peer_has_ended and (self.bytes_sent or self.queued):
            self._move(Cause.LAST_WORD)
            self._set_timer("linger", 0.0)  # at once: the driver is to tell the time
        else:
            self._move(Cause.LAST_REPLY)

    def abort(self) -> None:
        """Take note that this side cuts the connection: nothing is sent any more."""
        self._drop_output()
        self.close()
        if self.state is State.LINGERING:
            self._set_timer("linger")
            self._move(Cause.LINGERED)

    def turn_away(self, text: str, now: float) -> None:
        """Refuse a connection that has just been made. There is no way to tell the peer why."""
        self._end(ClientClosedError(text))

    def peer_violated(self, text: str, now: float) -> Sequence[ConnectionEnded]:
        """End the connection because the peer broke a rule that is not this machine's to watch."""
        return self._end(RemoteProtocolError(text))

    def _end(self, reason: Exception) -> Sequence[ConnectionEnded]:
        """End the connection for *reason*: what is queued goes out, nothing more is read. What was decoded stays."""
        if self.state > State.DRAINING:
            return ()
        self.timers = NEVER
        if self.close_reason is None:
            self.close_reason = reason
        self._move(Cause.VIOLATION)
        self._move(Cause.LINGERED)  # nothing was said that the peer would have to be given time for
        return (ConnectionEnded(reason),)

    def peer_vanished(self) -> None:
        if not self.peer_has_ended:
            super().peer_vanished()
        elif self._broken_by is None:
            self._broken_by = StreamReset("the connection was reset by the peer")  # all that it had said has come

    def receive_eof(self, now: float) -> Sequence[_Event]:
        """The peer will send nothing more; it can still be sent to."""
        if self.state >= State.FINISHED:
            return ()
        self.last_received = now
        self._peer_ends()
        for name in ("message", "idle", "linger"):
            self._set_timer(name)
        self._move(Cause.PEER_EOF)
        return _READY_ALONE  # whoever waits is to find out

    def _peer_ends(self) -> None:
        """Take note that nothing more comes; a packet that is thrown away may not have been told of yet."""
        self.peer_has_ended = True
        self._decoder.end()
        if self._decoder.discarded is not None:
            self.decode()

    def connection_lost(self, error: BaseException | None, undelivered: Sequence[_Event] = ()) -> Sequence[_Event]:
        """The transport is gone, by *error* or (None) in order. What has come before can still be taken.

        Unless *error* is no `Exception`: what moved the connection was interrupted then, perhaps with a packet in its
        hands, and what has come behind that one must not be taken for the next.
        """
        if error is not None and not isinstance(error, Exception):
            self._drop_received()
        self.timers = NEVER
        self._stalled = None
        if error is not None and self.close_reason is None and not (self.peer_has_ended or self.refuses):
            told: ConnectionLost = lost(error)
            if isinstance(error, WebSocketClosed) and error.is_orderly:
                self._peer_ends()  # as by an EOF: between two packets it is a clean end
                self.ended_by: ConnectionLost | None = told
                if not self._decoder.is_ready:
                    self._end_of_peer()
            else:
                self.close_reason = told
        elif isinstance(error, OSError) and self.peer_has_ended and not self.refuses:
            self._broken_by = lost(error)  # it was sent to behind that end
        self._move(Cause.LOST)
        self._drop_output()
        return (*undelivered, PacketEvent.READY)

    def _drop_received(self) -> None:
        self.received = []
        self._untaken = 0
        self._decoder.unread()
        self.wants_data = True  # so that the end is noticed; what comes is thrown away


def _ended_by(reason: Exception) -> ConnectionLost:
    """Return what receivers are told when *reason* has ended the connection."""
    if isinstance(reason, StreamProtocolParseError):
        told = ConnectionLost("where the next packet begins cannot be known: the connection was ended")
    else:
        told = ConnectionLost(f"the connection was ended: {reason}")
    told.__cause__ = reason
    return told
