# SPDX-License-Identifier: MIT
"""Dialogues with proxies on asyncio: on a bare socket, before there is any transport.

This file only sends and receives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import socket

    from tieline.wire.proxies import Dialogue

__all__ = ["talk"]

ResultT = TypeVar("ResultT")


async def talk(sock: socket.socket, dialogue: Dialogue[ResultT]) -> ResultT:
    """Have *dialogue* on *sock*, and return its result. What follows the proxy's last reply stays in the socket.

    Raises:
        OSError: As `Dialogue.result`.
    """
    loop = asyncio.get_running_loop()
    while dialogue.wanted:
        try:
            output: Any = dialogue.data_to_send()
            if output:
                await loop.sock_sendall(sock, output)
            received = await loop.sock_recv(sock, dialogue.wanted)
        except OSError as exc:
            dialogue.receive_eof(exc)
        else:
            if received:
                dialogue.receive_data(received)
            else:
                dialogue.receive_eof()
    return dialogue.result()
