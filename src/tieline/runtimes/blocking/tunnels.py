# SPDX-License-Identifier: MIT
"""Dialogues with proxies in blocking code: on a bare socket, before there is any transport.

This file only sends, and waits; what is received, and how, is in ``runtimes.tunnelling``.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, TypeVar

from tieline.runtimes.tunnelling import take
from tieline.wire.addresses import Late

if TYPE_CHECKING:
    import socket

    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["talk"]

ResultT = TypeVar("ResultT")


def talk(sock: socket.socket, dialogue: Dialogue[ResultT], deadline: float) -> ResultT:
    """Have *dialogue* on *sock*, and return its result. What follows the proxy's last reply stays in the socket.

    Raises:
        OSError: As `Dialogue.result`.
        Late: Not before *deadline*.
    """
    while dialogue.wanted:
        try:
            _say(sock, dialogue, deadline)
            _limit(sock, deadline)
            take(sock, dialogue)
        except TimeoutError as exc:
            if time.monotonic() >= deadline:
                raise Late from exc
            dialogue.receive_eof(exc)  # the system's own
        except OSError as exc:
            dialogue.receive_eof(exc)
    return dialogue.result()


def _say(sock: socket.socket, dialogue: Dialogue[ResultT], deadline: float) -> None:
    output = dialogue.data_to_send()
    if output:
        _limit(sock, deadline)
        sock.sendall(output)


def _limit(sock: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    sock.settimeout(None if left == inf else left)
