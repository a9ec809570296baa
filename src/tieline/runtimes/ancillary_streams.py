# SPDX-License-Identifier: MIT
"""What goes beside the data of Unix streams, on the transports that there are, those of event loops too.

A transport reads and writes bytes alone. So this goes past it, by a second descriptor of its socket: to send, while
nothing is unsent there; to receive, while reading is paused. How to wait is each runtime's own, in its
``ancillary.py``.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ClosedError, LocalProtocolError
from tieline.runtimes.ancillary import receive_with, send_with

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["receive_at_once", "receive_beside", "second", "send_at_once", "send_beside"]

_AT_ONCE: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)


async def send_beside(
    transport: Any,
    data: bytes,
    ancillary: SocketAncillary,
    wait: Callable[[int, bool], Awaitable[object]],
) -> None:
    """Send *data* and, with its first byte, what goes beside it. *wait* waits until a descriptor can be written.

    Nobody else may write meanwhile. Cancelled while it waits, it has sent nothing; afterwards the rest of *data* is in
    the hands of the transport.

    Raises:
        ValueError: *data* is empty: there must be a byte for it to go with. Or the transport is no Unix stream.
        LocalProtocolError: Something is unsent.
        ClosedError: The transport is closed.
        OSError: It does not fit (EMSGSIZE), or the connection is broken.
    """
    if not data:
        raise ValueError("what goes beside the data of a stream needs a byte to go with")
    raw = ancillary.as_raw()
    sent = 0
    with second(transport) as sock:
        while not sent:
            if transport.get_write_buffer_size():
                raise LocalProtocolError(
                    "what goes beside the data can be sent when nothing is unsent, and something is"
                )
            try:
                sent = send_with(sock, data, raw, _AT_ONCE, None)
            except (BlockingIOError, InterruptedError):
                await wait(sock.fileno(), True)
            if not sent and transport.is_closing():
                raise ClosedError("the transport was closed meanwhile")
    if sent < len(data):
        transport.write(data[sent:])


async def receive_beside(
    transport: Any, size: int, room: int, wait: Callable[[int, bool], Awaitable[object]]
) -> tuple[bytes, SocketAncillary]:
    """Receive up to *size* bytes and what is beside the first of them, by one recvmsg; no bytes: the stream has ended.

    *room* is for control data, in bytes. *wait* waits until a descriptor can be read. Cancelled, it has taken nothing.

    Raises:
        ValueError: The transport is no Unix stream.
        LocalProtocolError: The transport is reading: that must be paused.
        ClosedError: The transport is closed.
        OSError: The connection is broken.
    """
    with second(transport) as sock:
        while True:
            if transport.is_closing():
                raise ClosedError("the transport was closed meanwhile")
            if transport.is_reading():
                raise LocalProtocolError(
                    "what is beside the data can be received while reading is paused, and it is not"
                )
            try:
                data, ancillary, _, _ = receive_with(sock, size, room, _AT_ONCE)
            except (BlockingIOError, InterruptedError):
                await wait(sock.fileno(), False)
            else:
                return data, ancillary


def send_at_once(transport: Any, data: bytes, ancillary: SocketAncillary) -> bool:
    """As `send_beside`, but without waiting: return False when something is unsent, or the system takes nothing.

    Raises:
        ValueError, ClosedError, OSError: As of `send_beside`.
    """
    if not data:
        raise ValueError("what goes beside the data of a stream needs a byte to go with")
    raw = ancillary.as_raw()
    with second(transport) as sock:
        if transport.get_write_buffer_size():
            return False
        try:
            sent = send_with(sock, data, raw, _AT_ONCE, None)
        except (BlockingIOError, InterruptedError):
            return False
    if sent < len(data):
        transport.write(data[sent:])
    return True


def receive_at_once(transport: Any, size: int, room: int) -> tuple[bytes, SocketAncillary] | None:
    """As `receive_beside`, but without waiting: None when nothing has come.

    Raises:
        ValueError, ClosedError, OSError: As of `receive_beside`.
    """
    with second(transport) as sock:
        try:
            data, ancillary, _, _ = receive_with(sock, size, room, _AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return None
    return data, ancillary


def second(transport: Any) -> socket.socket:
    """Return another socket of the same connection, which is for the caller to close.

    Raises:
        ClosedError: The transport is closed.
        ValueError: It is no Unix stream.
    """
    if transport.is_closing():
        raise ClosedError("the transport is closed")
    if transport.get_extra_info("sslcontext") is not None:
        raise ValueError("nothing can go beside the data of TLS")
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != getattr(socket, "AF_UNIX", None):
        raise ValueError("only Unix sockets have ancillary data")
    fd = os.dup(sock.fileno())
    try:
        # All is told here: to ask the descriptor would take three system calls.
        return socket.socket(sock.family, sock.type, sock.proto, fileno=fd)
    except BaseException:
        os.close(fd)
        raise
