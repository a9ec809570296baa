# SPDX-License-Identifier: MIT
"""What all turns of the I/O-free path have alike: the transport that only takes, and what a turn is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

__all__ = ["Transport", "Turn"]

Turn = Callable[[], Awaitable[float]]
"""Does the work once and returns the seconds that it took."""


class Transport:
    """Takes what is written, and counts the writes; the last one is kept."""

    def __init__(self) -> None:
        self.writes = 0
        self.written = b""

    def write(self, data: bytes, /) -> None:
        self.writes += 1
        self.written = data

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def ignore(self, *_: object) -> None: ...

    set_write_buffer_limits = write_eof = pause_reading = resume_reading = close = abort = ignore
