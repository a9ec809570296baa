# SPDX-License-Identifier: MIT
"""Protocols that write down what they hear, for tests that look at one connection; kits have stories of their own."""

from __future__ import annotations

from typing import Any


class Story:
    """A protocol that writes down what it hears, and does what it is told to do at each of these moments."""

    def __init__(self, **orders: Any) -> None:
        self.told: list[str] = []
        self.data = b""
        self.orders = orders
        self.transport: Any = None
        self.lost_with: list[BaseException | None] = []
        self.depth = 0

    def _hear(self, name: str) -> Any:
        assert not self.lost_with, f"{name} behind connection_lost"
        self.told.append(name)
        self.depth += 1
        try:
            order = self.orders.get(name)
            return order(self.transport) if order is not None else None
        finally:
            self.depth -= 1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._hear("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.data += data
        self._hear("data")

    def eof_received(self) -> Any:
        return self._hear("eof")

    def pause_writing(self) -> None:
        self._hear("pause")

    def resume_writing(self) -> None:
        self._hear("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        assert self.depth == 0, "connection_lost within another callback"
        self._hear("lost")
        self.lost_with.append(exc)


class BufferedStory(Story):
    """The same with buffers of its own, small ones."""

    data_received = None  # type: ignore[assignment]  # a buffered protocol has none

    def __init__(self, **orders: Any) -> None:
        super().__init__(**orders)
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]
        self._hear("data")
