# SPDX-License-Identifier: MIT
"""Protocols that write down what they hear, and check that they may hear it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BufferedStory", "Story"]


class Story(asyncio.Protocol):
    """A stream protocol that writes down what it hears, and gives an order at each of these moments.

    Args:
        orders: By the name of a moment (made, data, eof, pause, resume, lost), what to do then: it is given the
            transport, and what it returns is returned to the transport.

    Attributes:
        told: The names of what was heard, in order.
        data: All data.
        faults: What was heard that must not be: texts.
        lost_with: What `connection_lost` was given.
        transport: The transport; None before `connection_made`.
    """

    def __init__(self, **orders: Callable[[Any], Any]) -> None:
        self.told: list[str] = []
        self.data = b""
        self.faults: list[str] = []
        self.lost_with: list[BaseException | None] = []
        self.transport: Any = None
        self._orders = orders
        self._depth = 0

    def _hear(self, name: str, *, may_be_nested: bool = False) -> Any:
        if self.lost_with:
            self.faults.append(f"{name} behind connection_lost")
        if name != "made" and "made" not in self.told:
            self.faults.append(f"{name} before connection_made")
        if name in ("made", "eof", "lost") and name in self.told:
            self.faults.append(f"{name} twice")
        if self._depth and not may_be_nested:
            self.faults.append(f"{name} within another callback")
        if name in ("data", "eof"):
            if "eof" in self.told:
                self.faults.append(f"{name} behind the end of the stream")
            if self.transport is not None and self.transport.is_closing():
                self.faults.append(f"{name} behind close")
        self.told.append(name)
        self._depth += 1
        try:
            order = self._orders.get(name)
            return order(self.transport) if order is not None else None
        finally:
            self._depth -= 1

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return bool(self.lost_with)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._hear("made")

    def data_received(self, data: bytes) -> None:
        if not data:
            self.faults.append("data_received(b'')")
        self.data += data
        self._hear("data")

    def eof_received(self) -> Any:
        return self._hear("eof")

    def pause_writing(self) -> None:
        if self.told.count("pause") != self.told.count("resume"):
            self.faults.append("pause_writing while paused")
        self._hear("pause", may_be_nested=True)  # from inside of a write

    def resume_writing(self) -> None:
        if self.told.count("pause") != self.told.count("resume") + 1:
            self.faults.append("resume_writing while not paused")
        self._hear("resume", may_be_nested=True)  # when limits are raised

    def connection_lost(self, exc: BaseException | None) -> None:
        self._hear("lost")
        self.lost_with.append(exc)


class BufferedStory(asyncio.BufferedProtocol):
    """The same with a buffer of its own, a small one."""

    def __init__(self, **orders: Callable[[Any], Any]) -> None:
        self._story = Story(**orders)
        self._buffer = bytearray(7)

    def __getattr__(self, name: str) -> Any:
        if name in ("data_received", "_story"):
            raise AttributeError(name)
        return getattr(self._story, name)

    def get_buffer(self, sizehint: int) -> bytearray:
        if sizehint != -1 and sizehint <= 0:
            self._story.faults.append(f"get_buffer({sizehint})")
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not 0 < nbytes <= len(self._buffer):
            self._story.faults.append(f"buffer_updated({nbytes}) of a buffer of {len(self._buffer)} bytes")
        self._story.data_received(bytes(self._buffer[:nbytes]))

    def connection_made(self, transport: Any) -> None:
        self._story.connection_made(transport)

    def eof_received(self) -> Any:
        return self._story.eof_received()

    def pause_writing(self) -> None:
        self._story.pause_writing()

    def resume_writing(self) -> None:
        self._story.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._story.connection_lost(exc)
