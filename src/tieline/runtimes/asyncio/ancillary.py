# SPDX-License-Identifier: MIT
"""What goes beside the data of Unix streams, on asyncio and uvloop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tieline.runtimes.ancillary_streams import receive_beside, send_beside

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["recvmsg", "sendmsg", "wait_ready"]


async def sendmsg(transport: Any, data: bytes, ancillary: SocketAncillary) -> None:
    """Send *data* and what goes beside it; see `send_beside`."""
    await send_beside(transport, data, ancillary, wait_ready)


async def recvmsg(transport: Any, size: int, room: int) -> tuple[bytes, SocketAncillary]:
    """Receive data and what is beside it; see `receive_beside`."""
    return await receive_beside(transport, size, room, wait_ready)


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
