# SPDX-License-Identifier: MIT
"""What a connection without calls sends, and the calls that it has not: the lower half of `messages.py`.

`packets.py` has the same lower half, without the framer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tieline.errors import OutgoingMessageTooLarge
from tieline.wire.governed import Governed
from tieline.wire.limits import ceiling
from tieline.wire.states import State, next_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.limits import Limits
    from tieline.wire.states import CauseName

__all__ = ["NO_OUTPUT", "MessageSending", "QueuedOutput", "size_of"]

# In place of a list, where nothing is queued: an idle connection has none.
NO_OUTPUT: Final[list[bytes]] = cast("list[bytes]", ())
_SIZED: Final = (bytes, bytearray, memoryview, str)


class QueuedOutput(Governed):
    """The sending side of a connection whose peers owe each other nothing.

    Attributes:
        queued: What is to be sent, framed and in order.
        output_size: Its size in bytes.
        replies: Empty: nothing waits to be encoded.
    """

    __slots__ = ("output_size", "queued", "replies", "unsent")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.queued = NO_OUTPUT
        self.output_size: int = 0
        self.unsent: None = None
        self.replies: Final = ()

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything to do."""
        return bool(self.queued)

    def data_to_send(self) -> bytes:
        """Return, once, the bytes that are to be written now."""
        queued, self.queued = self.queued, NO_OUTPUT
        self.output_size = 0
        data = queued[0] if len(queued) == 1 else b"".join(queued)
        self.bytes_sent += len(data)
        return data

    def add_output(self, framed: bytes) -> None:
        """Queue what was framed."""
        if not self.queued:
            self.queued = []
        self.queued.append(framed)
        self.output_size += len(framed)

    def _drop_output(self) -> None:
        self.queued = NO_OUTPUT
        self.output_size = 0

    def _move(self, cause: CauseName) -> None:
        self.is_smooth = False
        self.state = next_state(self.state, cause)

    # --- what it has not --------------------------------------------------------------------------------------------

    @property
    def has_read_behind_event(self) -> bool:
        """Whether a message has been read behind the one that caused the last event: each causes one."""
        return False

    @property
    def max_calls(self) -> int:
        """How many calls of ours may be open at once, if there were any."""
        return self.limits.max_calls

    @property
    def abandoned(self) -> int:
        """How many calls of the peer's were unanswered when it went away."""
        return 0

    @property
    def owes_answers(self) -> bool:
        """Whether the peer waits for an answer."""
        return False


class MessageSending(QueuedOutput):
    """The sending side of a connection of messages.

    Attributes:
        messages_sent: How many messages went out.
    """

    __slots__ = ("_framer", "_max_message", "messages_sent")

    def __init__(self, framer: FramerBase[Any], limits: Limits) -> None:
        super().__init__(limits)
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
