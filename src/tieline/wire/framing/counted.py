# SPDX-License-Identifier: MIT
"""Framers whose messages begin with a head that says how many bytes follow.

What the head says is judged before anything is made of it: no byte is allocated that has not come.
"""

from __future__ import annotations

from abc import abstractmethod

from tieline.errors import MessageTooLarge
from tieline.wire.framing.base import MessageT
from tieline.wire.framing.cutting import CuttingFramer
from tieline.wire.framing.pieces import add_piece

__all__ = ["CountedFramer", "check_limit"]


def check_limit(name: str, value: int) -> None:
    """Refuse a limit that cannot be one.

    Raises:
        ValueError: *value* is negative.
    """
    if value < 0:
        raise ValueError(f"{name} must be 0 (no limit) or more, not {value}")


class CountedFramer(CuttingFramer[MessageT]):
    """What such framers share: `_read_head` is all that they have to add, beside `frame`."""

    def __init__(self, max_size: int) -> None:
        check_limit("max_size", max_size)
        super().__init__()
        self.max_size = max_size
        self._missing = 0  # how many bytes of a message are to come whose head has been read

    @abstractmethod
    def _read_head(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Return where the body begins whose head is at *at* in *data*, and where it ends; None: the head is cut.

        A cut head is held; it comes again when there is more, as the first of *data*. The end may be behind *data*.

        Raises:
            RemoteProtocolError: The head is not of this framing.
        """

    def _finish(self, body: bytes, taken: list[MessageT]) -> None:
        """Append to *taken* the message whose *body* is complete. Raises as `_read_head` does."""
        taken.append(body)  # type: ignore[arg-type]  # overridden where messages are not bytes

    def _check_size(self, size: int, limit: int) -> None:
        """Refuse a message of *size* bytes that is over *limit*; 0 = none."""
        if 0 < limit < size:
            raise MessageTooLarge(limit, 0, announced=size)

    def _cut(self, data: bytes, taken: list[MessageT]) -> None:
        at = 0
        if self._missing:
            at = self._missing
            if len(data) < at:
                self._missing = at - len(data)
                self.pending += len(data)
                add_piece(self._held, data)
                return
            self._missing = 0
            self._finish(self._joined(data[:at]), taken)
        elif self._held:
            data = self._joined(data)
        size = len(data)
        read_head, finish = self._read_head, self._finish
        while at < size:
            head = read_head(data, at)
            start, end = head or (at, at)
            if head is None or end > size:
                self._missing = max(0, end - size)
                self.pending = size - at
                if start < size:
                    add_piece(self._held, data[start:])
                return
            finish(data[start:end], taken)
            at = end
        self.pending = 0

    def _joined(self, end: bytes) -> bytes:
        """Return what is held with its *end*, and hold nothing."""
        held, self._held = self._held, []
        return b"".join((*held, end))
