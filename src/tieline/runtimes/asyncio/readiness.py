# SPDX-License-Identifier: MIT
"""Waiting on asyncio until a socket that no transport has can be read or written."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

__all__ = ["CAN_WAIT", "wait_ready"]

CAN_WAIT: Final = sys.platform != "win32"
"""Whether loops can wait for sockets alone; Windows' usual loop can only have something done on them."""


async def wait_ready(fd: int, writing: bool) -> None:
    """Wait until *fd* can be written, or read."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(fd, wake)
    try:
        await waiter
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(fd)
