# SPDX-License-Identifier: MIT
"""What goes beside the data of Unix streams, in blocking code."""

from __future__ import annotations

import select
import time
from math import inf
from typing import TYPE_CHECKING, Any

from tieline.runtimes.ancillary_streams import receive_beside, send_beside
from tieline.runtimes.blocking.sockets import at_once

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["recvmsg", "sendmsg", "wait_socket"]


def sendmsg(transport: Any, data: bytes, ancillary: SocketAncillary, timeout: float | None = None) -> None:
    """Send *data* and what goes beside it; see `send_beside`.

    Raises:
        TimeoutError: Nothing was sent within *timeout* seconds; None = as long as it takes.
    """
    at_once(send_beside(transport, data, ancillary, _Ready(timeout)))


def recvmsg(transport: Any, size: int, room: int, timeout: float | None = None) -> tuple[bytes, SocketAncillary]:
    """Receive data and what is beside it; see `receive_beside`.

    Raises:
        TimeoutError: Nothing came within *timeout* seconds; None = as long as it takes.
    """
    return at_once(receive_beside(transport, size, room, _Ready(timeout)))


class _Ready:
    """Waits until a descriptor can be written, or read."""

    __slots__ = ("_until",)

    def __init__(self, timeout: float | None) -> None:
        self._until = inf if timeout is None else time.monotonic() + timeout

    async def __call__(self, fd: int, writing: bool) -> None:
        wait_socket(fd, writing=writing, until=self._until)


def wait_socket(sock: Any, *, writing: bool, until: float) -> None:
    """Wait until a socket, which no transport has, can be written, or read; or for an hour, after which to ask again.

    Raises:
        TimeoutError: Not before *until*.
    """
    poll = select.poll()
    poll.register(sock, select.POLLOUT if writing else select.POLLIN)
    left = until - time.monotonic()
    # poll(2) counts whole milliseconds.
    if left <= 0 or not (poll.poll(min(left, 3600.0) * 1000 + 0.999) or left > 3600.0):
        raise TimeoutError("the peer takes nothing" if writing else "the peer has not sent anything")
