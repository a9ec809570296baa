# SPDX-License-Identifier: MIT
"""Dialogues with proxies on trio: on a bare socket, before there is any transport.

This file only waits; what is then done is in ``runtimes.tunnelling``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trio.lowlevel import checkpoint_if_cancelled, wait_readable, wait_writable

from tieline.runtimes.tunnelling import advance

if TYPE_CHECKING:
    import socket

    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["talk"]

ResultT = TypeVar("ResultT")


async def talk(sock: socket.socket, dialogue: Dialogue[ResultT]) -> ResultT:
    """Have *dialogue* on *sock*, and return its result. What follows the proxy's last reply stays in the socket.

    Raises:
        OSError: As `Dialogue.result`.
    """
    await checkpoint_if_cancelled()
    while True:
        unsent = advance(sock, dialogue)
        if not dialogue.wanted:
            return dialogue.result()
        while unsent:
            await wait_writable(sock)
            try:
                unsent = unsent[sock.send(unsent) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                dialogue.receive_eof(exc)
                return dialogue.result()
        await wait_readable(sock)
