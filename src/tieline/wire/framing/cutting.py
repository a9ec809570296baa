# SPDX-License-Identifier: MIT
"""Framers that take a chunk in one go, and that can not go on behind a fault: the stream has lost its measure there."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from tieline.wire.framing.base import FramerBase, MessageT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CuttingFramer"]


class CuttingFramer(FramerBase[MessageT]):
    """What such framers share: `_cut` is all that they have to add, beside `frame`."""

    def __init__(self) -> None:
        self.pending = 0
        self._held: list[bytes | bytearray] = []  # of the unfinished message
        self._broken: Exception | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "messages" in cls.__dict__ and "take" not in cls.__dict__:
            cls.take = FramerBase.take  # type: ignore[method-assign]  # it asks the subclass, which may change messages

    @abstractmethod
    def _cut(self, data: bytes, taken: list[MessageT]) -> None:
        """Append to *taken* the messages that *data* completes, and hold what is left.

        Raises:
            RemoteProtocolError: The peer's bytes are not of this framing. It is the end of this stream.
        """

    def messages(self, data: bytes) -> Iterator[MessageT]:
        """Yield the messages that *data* completes, oldest first, without their wrapping. See `FramerBase.messages`.

        Raises:
            RemoteProtocolError: The peer's bytes are not of this framing, `MessageTooLarge` if only a limit forbids
                them. Where its next message begins cannot be known any more: every further call raises the same.
        """
        taken, fault = self._cut_up(data)
        yield from taken
        if fault is not None:
            raise fault.with_traceback(None)  # a new one: else each call would make it longer

    def take(self, data: bytes) -> tuple[list[MessageT], Exception | None]:
        """Return the messages that *data* completes up to the fault, and the fault. See `FramerBase.take`."""
        return self._cut_up(data)

    def _cut_up(self, data: bytes) -> tuple[list[MessageT], Exception | None]:
        taken: list[MessageT] = []
        if self._broken is None:
            try:
                # A buffer that its owner may refill must not become part of a message.
                self._cut(data if type(data) is bytes else bytes(data), taken)
            except Exception as fault:  # also what only memory or a subclass forbids: it is the end all the same
                fault.__traceback__ = None  # it would keep the peer's bytes
                self._broken = fault
                self._held = []
                self.pending = 0
        return taken, self._broken
