# SPDX-License-Identifier: MIT
"""What is waited for on asyncio before there is any transport: names that are looked up, and sockets."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from tieline.runtimes.tcp_sockets import resolve_by

if TYPE_CHECKING:
    from tieline.wire.addresses import Address

__all__ = ["CAN_WAIT", "resolve", "wait_ready"]

CAN_WAIT: Final = sys.platform != "win32"
"""Whether loops can wait for sockets alone; Windows' usual loop can only have something done on them."""


async def resolve(host: str, port: int, **wanted: int) -> list[Address]:
    """Look *host* up through the loop's resolver; see `resolve_by`."""
    return await resolve_by(asyncio.get_running_loop().getaddrinfo, host, port, **wanted)


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
