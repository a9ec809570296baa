# SPDX-License-Identifier: MIT
"""Dialogues with proxies on bare sockets, on any runtime: what is done without waiting.

What is said is decided in ``wire.proxies``, and to whom in ``endpoints.proxies``. How it is waited for is in the
``tunnels.py`` of each runtime.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.socket_streams import SocketStream

if TYPE_CHECKING:
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["advance", "take", "tell_target"]

# So much of a reply is looked at in one go: most are shorter.
_LOOK: Final = 1024


def take(sock: socket.socket, dialogue: Dialogue[Any]) -> None:
    """Have *dialogue* take what has come on *sock* of a reply; what follows the reply stays in the socket.

    It is looked at first, since how much of it belongs to the reply can only be told byte by byte.

    Raises:
        OSError: Nothing has come, or nothing more will.
    """
    seen = sock.recv(_LOOK, socket.MSG_PEEK)
    if not seen:
        dialogue.receive_eof()
        return
    taken = dialogue.receive_data(seen)
    while taken:
        taken -= len(sock.recv(taken))


def advance(sock: socket.socket, dialogue: Dialogue[Any]) -> bytes:
    """Go on with *dialogue* on a non-blocking *sock*, and return what of ours finds no room in it yet.

    Otherwise there is nothing to do until the proxy answers, or the dialogue has ended.
    """
    try:
        while dialogue.wanted:
            output = dialogue.data_to_send()
            if output:
                return output[_sent(sock, output) :]
            take(sock, dialogue)
    except (BlockingIOError, InterruptedError):
        pass
    except OSError as exc:
        dialogue.receive_eof(exc)
    return b""


def _sent(sock: socket.socket, output: bytes) -> int:
    try:
        return sock.send(output)
    except (BlockingIOError, InterruptedError):
        return 0


def tell_target(transport: Any, route: Any) -> None:
    """Let *transport*, that of a socket, know where *route* leads: its ``get_extra_info("proxy_target")``.

    The transports of asyncio's own loops keep such facts in a dict. Those of uvloop cannot be told; sessions and
    clients know it all the same.
    """
    target = getattr(route, "target", None)
    if isinstance(transport, SocketStream):
        transport.proxy_target = target
        return
    known = getattr(transport, "_extra", None)
    if isinstance(known, dict) and target is not None:
        known["proxy_target"] = target
