# SPDX-License-Identifier: MIT
"""Data that has been read already, handed to a protocol that wants it in buffers of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fill_buffers"]


def fill_buffers(protocol: Any, data: bytes, goes_on: Callable[[], bool]) -> memoryview:
    """Deliver *data* in as many pieces as the protocol's buffers make of it, for as long as *goes_on* says so.

    Returns what was not delivered.

    Raises:
        RuntimeError: The protocol gave an empty buffer.
    """
    rest = memoryview(data)
    while rest and goes_on():
        buffer = memoryview(protocol.get_buffer(len(rest))).cast("B")
        size = min(len(buffer), len(rest))
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:size] = rest[:size]
        rest = rest[size:]
        del buffer  # the protocol may resize it
        protocol.buffer_updated(size)
    return rest
