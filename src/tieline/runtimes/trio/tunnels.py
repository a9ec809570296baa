# SPDX-License-Identifier: MIT
"""Dialogues with proxies on trio: on a bare socket, before there is any transport.

This file only sends and receives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from trio.lowlevel import checkpoint_if_cancelled, wait_readable, wait_writable

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
    while dialogue.wanted:
        try:
            output: Any = dialogue.data_to_send()
            if output:
                await _send_all(sock, output)
            received = await _receive(sock, dialogue.wanted)
        except OSError as exc:
            dialogue.receive_eof(exc)
        else:
            if received:
                dialogue.receive_data(received)
            else:
                dialogue.receive_eof()
    return dialogue.result()


async def _send_all(sock: socket.socket, data: bytes) -> None:
    await checkpoint_if_cancelled()
    while data:
        try:
            data = data[sock.send(data) :]
        except (BlockingIOError, InterruptedError):
            await wait_writable(sock)


async def _receive(sock: socket.socket, size: int) -> bytes:
    await checkpoint_if_cancelled()
    while True:
        try:
            return sock.recv(size)
        except (BlockingIOError, InterruptedError):
            await wait_readable(sock)
