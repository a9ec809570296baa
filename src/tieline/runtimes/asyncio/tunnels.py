# SPDX-License-Identifier: MIT
"""Dialogues with proxies on asyncio: on a bare socket, before there is any transport.

This file only waits; what is then done is in ``runtimes.tunnelling``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from tieline.runtimes.asyncio.sockets import CAN_WAIT
from tieline.runtimes.tunnelling import advance

if TYPE_CHECKING:
    import socket

    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["talk", "talk_by_loop"]

ResultT = TypeVar("ResultT")


async def talk(sock: socket.socket, dialogue: Dialogue[ResultT]) -> ResultT:
    """Have *dialogue* on *sock*, and return its result. What follows the proxy's last reply stays in the socket.

    Raises:
        OSError: As `Dialogue.result`.
    """
    if not CAN_WAIT:
        return await talk_by_loop(sock, dialogue)
    loop = asyncio.get_running_loop()
    unsent = advance(sock, dialogue)
    while dialogue.wanted:
        if unsent:
            try:
                await loop.sock_sendall(sock, unsent)
            except OSError as exc:
                dialogue.receive_eof(exc)
                break
        unsent = await _answered(loop, sock, dialogue)
    return dialogue.result()


async def _answered(loop: asyncio.AbstractEventLoop, sock: socket.socket, dialogue: Dialogue[ResultT]) -> bytes:
    """Go on for as long as it takes to receive, and return what finds no room then; nothing at the end.

    It is the loop that goes on: to come back here for each reply takes another turn of it, and another registration.
    """
    waiter: asyncio.Future[bytes] = loop.create_future()

    def go_on() -> None:
        if waiter.done():  # cancelled in this very turn
            return
        try:
            unsent = advance(sock, dialogue)
        except Exception as exc:  # a fault of ours: a loop would report it, and call again
            waiter.set_exception(exc)
            return
        if unsent or not dialogue.wanted:
            waiter.set_result(unsent)

    fd = sock.fileno()  # loops make a text of a socket that they have not met
    loop.add_reader(fd, go_on)
    try:
        return await waiter
    finally:
        loop.remove_reader(fd)


async def talk_by_loop(sock: socket.socket, dialogue: Dialogue[ResultT]) -> ResultT:
    """Do what `talk` does where a loop can send and receive, but not wait: that of Windows."""
    loop = asyncio.get_running_loop()
    while dialogue.wanted:
        try:
            output = dialogue.data_to_send()
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
