# SPDX-License-Identifier: MIT
"""The end of a connection on which something may still be said by the peer: closing must not lose what was sent.

TCP resets a connection that is closed while data has come that nobody read, or comes later (RFC 1122, section 4.2.2.13;
RFC 2525, section 2.17). What the peer's system has not taken by then is lost; and what it has, too, when a peer that is
busy sending sees that fail before it has read all. It may also read nothing before somebody reads what it sends. So it
is told that nothing follows, and read from, until it has taken all and is silent, or has ended its stream as well.
"""

from __future__ import annotations

import socket
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.hangups import has_unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.ports import Transport

__all__ = ["Lingering"]

# Seconds from one look at what the peer's system has taken to the next: nobody tells.
LOOK: Final = 0.01

_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_CAN_TELL: Final = sys.platform == "linux"
_NOTHING: Final = bytes(4)  # the C integer 0


class Lingering:
    """What is done between the last word and the end.

    Attributes:
        look_at: When `is_over` is to be asked again.
    """

    __slots__ = ("_limit", "_received", "_until", "look_at")

    def __init__(self, limit: float, received: int) -> None:
        """Begin.

        Args:
            limit: Seconds for the peer, from when our system has all that was sent.
            received: How many bytes have come so far.
        """
        self._limit = limit
        self._received = received
        self._until: float | None = None
        self.look_at = 0.0

    @staticmethod
    def is_needed(transport: Transport) -> bool:
        """Return whether anything could be lost: it is in our buffers or on its way, or the peer is just sending.

        Pipes lose nothing, whatever their other end does; TLS waits for the peer's last word itself.
        """
        is_bare = getattr(transport, "is_bare", False)  # a stream of a socket, and nothing else
        if not is_bare and (transport.get_extra_info("pipe") is not None or not transport.can_write_eof()):
            return False
        if transport.get_write_buffer_size():
            return True
        sock: Any = transport.get_extra_info("socket")
        return _is_on_its_way(transport, sock) or has_unread(sock)

    def is_over(self, transport: Transport, received: int, now: float) -> bool:
        """Return whether the transport may be closed: the time is over, or the peer has all and has said nothing since.

        Until our system has all, the machine watches whether the peer takes anything.
        """
        if transport.get_write_buffer_size():
            self._until = None
        else:
            if self._until is None:
                self._until = now + self._limit
            sock: Any = transport.get_extra_info("socket")
            is_silent = received == self._received and not has_unread(sock)
            if now >= self._until or (is_silent and not _is_on_its_way(transport, sock)):
                return True
        self.look_at = now + LOOK
        return False


def _is_on_its_way(transport: Transport, sock: Any) -> bool:
    """Return whether the peer's system has not yet confirmed all that ours has been given for it, by *sock*.

    On Linux alone; elsewhere the system does not tell. What is given to a Unix socket, the peer has.
    """
    if not _CAN_TELL or sock is None or not _is_tcp(transport, sock) or (fd := sock.fileno()) < 0:
        return False
    try:
        ioctl, unsent = _how_to_ask()
    except (ImportError, OSError):  # no descriptor is left to load it with: it may be, and `Lingering` has a limit
        return True
    try:
        return ioctl(fd, unsent, _NOTHING) != _NOTHING
    except OSError:  # the connection is gone
        return False


@cache
def _how_to_ask() -> tuple[Callable[[int, int, bytes], bytes], int]:
    """Return the function and the request that ask the system how much it has not got rid of."""
    from fcntl import ioctl  # lazily: for connections that end, on Linux alone
    from termios import TIOCOUTQ

    return ioctl, TIOCOUTQ  # tcp(7), SIOCOUTQ, which is the same number


def _is_tcp(transport: Transport, sock: Any) -> bool:
    name = transport.get_extra_info("sockname")
    # To ask the socket itself takes longer, since it makes an enum of its family.
    return isinstance(name, tuple) if name else sock.family in _TCP
