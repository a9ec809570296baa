# SPDX-License-Identifier: MIT
"""Is the peer still there? Asked of the system, for connections that nobody reads from.

A loop that does not read a socket does not learn of its end either: reading has stopped for flow control, or the peer
has said that it sends no more.
"""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from tieline.runtimes.memory import READ_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tieline.runtimes.ports import Transport

__all__ = ["MOST_BEHIND", "Peer", "has_hung_up", "has_unread", "is_deaf", "peer_of", "rest_of"]

# What the system knows of a peer:
#
# - there: or gone without a word, since only keepalive finds that;
# - closed: it closed its end as a whole; what it had sent can still be read (Unix sockets only);
# - reset: the connection is broken.
Peer: TypeAlias = Literal["there", "closed", "reset"]


# How much is read behind a send that failed. A peer that is gone has left no more, and one that sends on may not end.
MOST_BEHIND: Final = 16 * 1024 * 1024

_POLL: Final[Any] = getattr(select, "poll", None)  # Windows has none


def has_unread(sock: Any) -> bool:
    """Return whether the system holds bytes, or the end, that nobody has read from *sock*, if there is one."""
    if sock is None or (fd := sock.fileno()) < 0:
        return False
    if _POLL is None:
        return bool(select.select([fd], [], [], 0)[0])
    poll = _POLL()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def rest_of(transport: Transport, wants: Callable[[], bool]) -> Iterator[bytes]:
    """Yield what the system holds that nobody has read from *transport*, while it *wants* any; nothing = the end.

    Not for transports of ours, which do that themselves when a send fails. It is for `connection_lost`, when those of
    loops (uvloop) still hold their socket, and read it no more. Nothing is read while no descriptor is free.

    Raises:
        OSError: The connection is broken.
    """
    sock: Any = None if hasattr(transport, "fail_sending") else transport.get_extra_info("socket")
    if sock is None or (fd := sock.fileno()) < 0 or transport.get_extra_info("sslcontext") is not None or not wants():
        return
    try:
        fd = os.dup(fd)
    except OSError:  # no descriptor is free
        return
    with socket.socket(sock.family, sock.type, sock.proto, fileno=fd) as again:
        again.setblocking(False)  # as it is; a new object waits as long as `socket.setdefaulttimeout` says
        left = MOST_BEHIND
        while wants() and left > 0:
            try:
                data = again.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            yield data
            left -= len(data) or left


def peer_of(transport: Transport) -> Peer:
    """Return what has become of the peer of a stream transport. Consumes no data; may take a pending socket error.

    poll(2): POLLERR and POLLHUP are told whether asked for or not. Half-closing by the peer is neither.
    """
    if transport.get_extra_info("has_ended"):  # a child process, which is reaped already
        return "closed"
    sock: Any = transport.get_extra_info("socket")
    if sock is None or (fd := sock.fileno()) < 0:
        return "there"
    if _POLL is None:
        return "reset" if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else "there"
    seen = _told_of(fd)
    if seen & select.POLLERR:
        return "reset"
    return "closed" if seen & select.POLLHUP else "there"


def has_hung_up(fd: int) -> bool:
    """Return whether nobody takes any more what is written to a pipe or socket. (Not on Windows, which has no poll.)"""
    return bool(_told_of(fd) & (select.POLLERR | select.POLLHUP))


def _told_of(fd: int) -> int:
    """Return what the system tells of a descriptor without being asked for anything."""
    poll = _POLL()
    poll.register(fd, 0)
    return sum(events for _, events in poll.poll(0))


def is_deaf(transport: Any) -> bool:
    """Return whether *transport* takes nothing more to be sent: it is closing, or one of those below it is.

    So it is from a failed write on; the end is told later.
    """
    while transport is not None:
        if transport.is_closing():
            return True
        transport = getattr(transport, "lower", None)
    return False
