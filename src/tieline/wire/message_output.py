# SPDX-License-Identifier: MIT
"""What a connection of messages sends: the lower half of `messages.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tieline.errors import OutgoingMessageTooLarge
from tieline.wire.limits import ceiling
from tieline.wire.one_way import OneWayConnection
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.limits import Limits

__all__ = ["MessageSending", "size_of"]

_SIZED: Final = (bytes, bytearray, memoryview, str)


class MessageSending(OneWayConnection):
    """The sending side of a connection of messages.

    Attributes:
        messages_sent: How many messages went out.
    """

    __slots__ = ("_framer", "_max_message", "messages_sent")

    def __init__(self, framer: FramerBase[Any], limits: Limits, *, accepted: bool) -> None:
        super().__init__(limits, accepted=accepted)
        self.messages_sent: int = 0
        self._framer = framer
        self._max_message = ceiling(limits.max_message)

    @property
    def expects_more_output(self) -> bool:
        """Whether what is sent may wait for more: messages of one turn of the loop leave in one write."""
        return True

    @property
    def has_room(self) -> bool:
        """Whether the transport takes one more message."""
        return not self.flow.paused

    @property
    def takes_notifications(self) -> bool:
        """Whether messages may be sent: also while a connection drains, for the handlers that it waits for."""
        return self.state <= State.DRAINING

    def send_message(self, message: Any) -> None:
        """Frame a message and queue it.

        Raises:
            ClosedError, ConnectionLost: The connection is not open any more.
            OutgoingMessageTooLarge: The message is over `Limits.max_message`; nothing was queued.
            TypeError, ValueError: The framer cannot carry it, or frames it as something else than bytes; nothing was
                queued.
        """
        if not self.takes_notifications:
            self.check_open()
        framed = self._framer.frame((message,))
        if framed.__class__ is not bytes:
            framed = bytes(memoryview(framed))  # a buffer of the framer's may change before it is written
        if len(framed) > self._max_message:
            # What frames add does not count, as little as on the other side.
            is_bytes = isinstance(message, bytes | bytearray | memoryview)
            size = memoryview(cast("bytes", message)).nbytes if is_bytes else len(framed) - self._framer.overhead
            if size > self._max_message:
                raise OutgoingMessageTooLarge(int(self._max_message), size)
        self.add_output(framed)

    def data_to_send(self) -> bytes:
        """Return, once, the bytes that are to be written now."""
        self.messages_sent += len(self.queued)
        return super().data_to_send()


def size_of(message: object) -> int:
    """Return how many bytes a message holds, as far as it tells: bytes, text, and what a tuple or list has of them."""
    if isinstance(message, bytes):
        return len(message)
    parts = cast("Sequence[object]", message) if isinstance(message, tuple | list) else (message,)
    return sum(len(cast("bytes", part)) for part in parts if isinstance(part, _SIZED))
