# SPDX-License-Identifier: MIT
"""What a connection of packets sends: the lower half of `packets.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.errors import ClientClosedError, ConnectionLost, EndOfStream, LocalProtocolError
from tieline.wire.one_way import OneWayConnection
from tieline.wire.protocols import sending_error
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol
    from tieline.wire.states import CauseName

__all__ = ["PacketSending"]


class PacketSending(OneWayConnection):
    """The sending side of a connection of packets.

    Attributes:
        packets_sent: How many packets were queued to be sent, or written.
        has_ended: This side has ended its stream.
        must_check: Nothing may be sent without a `check_sending` any more: it is not as open as it was.
        in_burst: Something was sent just now, perhaps in this turn of the loop: more may wait to leave together.
    """

    __slots__ = ("_broken_by", "_frame", "has_ended", "in_burst", "must_check", "packets_sent")

    def __init__(self, protocol: AnyStreamProtocol[Any, Any], limits: Limits, *, accepted: bool) -> None:
        super().__init__(limits, accepted=accepted)
        self._frame: Callable[[Any], bytes] = protocol.framer()
        self._broken_by: ConnectionLost | None = None  # what has ended the connection behind the peer's end
        self.packets_sent: int = 0
        self.has_ended = False
        self.must_check = False
        self.in_burst = False

    def send_packet(self, packet: Any) -> None:
        """Frame a packet and queue it.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError, RuntimeError: As of `framed`; nothing was queued.
        """
        self.queue(self.framed(packet))

    def queue(self, framed: bytes) -> None:
        """Queue what was framed.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError: As of `framed`; nothing was queued.
        """
        if self.must_check:
            self.check_sending()
        self.add_output(framed)

    def framed(self, packet: Any) -> bytes:
        """Return the bytes of a packet that is about to be sent; it counts as sent.

        Raises:
            ClientClosedError: This side has closed.
            ConnectionLost: The connection is gone; see ``__cause__``.
            LocalProtocolError: This side has ended its stream.
            RuntimeError: The serializer or the converter failed; see ``__cause__``.
        """
        if self.must_check:
            self.check_sending()
        try:
            framed = self._frame(packet)
            if framed.__class__ is not bytes:
                framed = bytes(memoryview(framed))  # a buffer of the serializer's may change before it is written
        except LocalProtocolError:
            raise  # what there is to mend is told already
        except Exception as exc:
            raise sending_error(exc) from exc
        self.packets_sent += 1
        return framed

    def data_to_send(self) -> bytes:
        """Return, once, the bytes that are to be written now."""
        self.in_burst = False  # the next packet need not wait for others
        return super().data_to_send()

    def send_packets(self, packets: Iterable[Any]) -> None:
        """Frame several packets and queue them, all or none.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError, RuntimeError: As of `framed`; nothing was queued.
        """
        self.queue(self.framed_together(packets))

    def framed_together(self, packets: Iterable[Any]) -> bytes:
        """Return the bytes of several packets that are about to be sent; they count as sent.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError, RuntimeError: As of `framed`; then none counts.
        """
        pieces: list[bytes] = []
        try:
            pieces.extend(map(self.framed, packets))
        except BaseException:
            self.packets_sent -= len(pieces)  # other threads may have counted theirs meanwhile
            raise
        return b"".join(pieces)

    def check_sending(self) -> None:
        """Refuse to send on a connection that takes nothing any more.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError: As of `send_packet`.
        """
        if self.refuses:
            raise ClientClosedError("the client is closed")
        if self.state > State.DRAINING:
            raise ConnectionLost("the connection is down") from self.taken_down_by()
        if self.has_ended:
            raise LocalProtocolError("this side has ended its stream: send_eof was called")

    def taken_down_by(self) -> Exception | None:
        """Return what has taken the connection down, for the cause of an error; None = nothing that is known."""
        if self._broken_by is not None:
            return self._broken_by
        reason = self.close_reason
        if self.peer_has_ended and (reason is None or type(reason) is EndOfStream):
            return self.ended_by or EndOfStream("the peer ended its stream")  # it may be more than receivers were told
        return reason

    @property
    def expects_more_output(self) -> bool:
        """Whether what is sent may wait for more: from the second packet of a turn of the loop on.

        A packet long after that one may wait for a turn as well. To know better would cost a call in each turn.
        """
        return self.in_burst

    def end_stream(self) -> bool:
        """Take note that this side sends nothing more; return whether that is news."""
        is_news = not self.has_ended and self.state <= State.DRAINING and not self.refuses
        self.has_ended = self.must_check = True
        return is_news

    def _move(self, cause: CauseName) -> None:
        super()._move(cause)
        self.must_check = True
