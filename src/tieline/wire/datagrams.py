# SPDX-License-Identifier: MIT
"""Datagrams that wait for whoever takes them: bounded, and what finds no room is counted."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

__all__ = ["OVERHEAD", "DatagramQueue"]

AddressT = TypeVar("AddressT")

# What a datagram counts beyond its payload: about what its objects take.
OVERHEAD: Final = 256


class DatagramQueue(Generic[AddressT]):
    """A queue of datagrams, with where they come from. When it is full the newest is dropped, as systems do.

    Args:
        max_count: How many may wait; at least 1.
        max_size: How many bytes they may take together, each counting 256 more than its payload. One may always wait,
            however long it is.

    Attributes:
        dropped: How many found no room.
        size: How many bytes those that wait take.

    Raises:
        ValueError: A limit that lets nothing wait.
    """

    __slots__ = ("_max_count", "_max_size", "_waiting", "dropped", "size")

    def __init__(self, max_count: int = 1024, max_size: int = 1024 * 1024) -> None:
        if max_count < 1 or max_size < 1:
            raise ValueError(f"max_count and max_size must be 1 or more, not {max_count} and {max_size}")
        self._max_count = max_count
        self._max_size = max_size
        self._waiting: deque[tuple[bytes, AddressT]] = deque()
        self.dropped = 0
        self.size = 0

    def put(self, data: bytes, addr: AddressT) -> bool:
        """Let a datagram wait; return False when there is no room, and it is dropped."""
        size = self.size + len(data) + OVERHEAD
        if self._waiting and (len(self._waiting) >= self._max_count or size > self._max_size):
            self.dropped += 1
            return False
        self.size = size
        self._waiting.append((data, addr))
        return True

    def get(self) -> tuple[bytes, AddressT]:
        """Take the one that has waited longest.

        Raises:
            IndexError: None waits.
        """
        data, addr = self._waiting.popleft()
        self.size -= len(data) + OVERHEAD
        return data, addr

    def clear(self) -> None:
        """Forget those that wait; they do not count as dropped."""
        self._waiting.clear()
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)
