# SPDX-License-Identifier: MIT
"""How much is read at once, and what long messages ask of the memory of the process.

A message passes through several objects of its own size: what was read, the line, the text in it, what was encoded
and what is written. glibc gives memory back to the system whenever more is free at the end of the heap than twice the
largest block that it has seen come and go. A few objects of nearly that size always reach it, so every message would
have all its pages taken away and faulted in again. At 1 MB that took two thirds of the time.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONG", "LONG_READ_SIZE", "READ_SIZE", "keep_memory"]

# What one read takes: below the size from which on glibc asks the system for the memory of each, and gives it back.
READ_SIZE: Final = 64 * 1024
# What it takes once a stream has filled that: fewer system calls. glibc keeps the memory by then, by `keep_memory`.
LONG_READ_SIZE: Final = 256 * 1024

# From this size on messages go through memory that is better kept.
LONG: Final = 64 * 1024
# Twice as much may stay free at the end of the heap: what `Limits.max_pending_size` allows anyway, and room for the
# objects of a message or two of `Limits.max_message`.
_BLOCK: Final = 8 * 1024 * 1024

_is_kept = False


def keep_memory() -> None:
    """Let glibc keep what one long message leaves for the next, up to 16 MiB; nothing happens elsewhere.

    It costs a few microseconds once, and no memory: nothing is written to the block. Who has set limits of the
    allocator by hand (``MALLOC_TRIM_THRESHOLD_``) keeps those.
    """
    global _is_kept
    if not _is_kept:
        _is_kept = True
        bytes(_BLOCK)  # has come and gone
