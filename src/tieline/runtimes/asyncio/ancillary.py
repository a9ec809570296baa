# SPDX-License-Identifier: MIT
"""What goes beside the data of Unix streams, on asyncio and uvloop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.ancillary_streams import receive_beside, send_beside
from tieline.runtimes.asyncio.sockets import wait_ready

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["recvmsg", "sendmsg"]


async def sendmsg(transport: Any, data: bytes, ancillary: SocketAncillary) -> None:
    """Send *data* and what goes beside it; see `send_beside`."""
    await send_beside(transport, data, ancillary, wait_ready)


async def recvmsg(transport: Any, size: int, room: int) -> tuple[bytes, SocketAncillary]:
    """Receive data and what is beside it; see `receive_beside`."""
    return await receive_beside(transport, size, room, wait_ready)
