# SPDX-License-Identifier: MIT
"""What the system knows of a socket of datagrams: names, limits, and how much it has dropped."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Scratch", "dropped_by_system", "longest_payload", "name_of", "numeric_host"]

# SO_MEMINFO of Linux 4.12 and later, which the socket module does not name: nine numbers, the last is of what was
# dropped.
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("9I")
# A header of IPv4 takes 20 bytes of 65535 and one of UDP 8; that of IPv6 is not counted in its length.
_LONGEST: Final = {socket.AF_INET: 65507, socket.AF_INET6: 65527}
# What Linux takes of the send buffer of a Unix socket for itself.
_UNIX_OVERHEAD: Final = 32


class Scratch:
    """Reads into memory that is kept, one for each thread: to make a large object for each datagram takes too long."""

    __slots__ = ("_size", "_sock")

    _memory: Final = threading.local()

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._sock = sock
        self._size = size

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """As that of a socket."""
        memory: bytearray | None = getattr(self._memory, "buffer", None)
        if memory is None or len(memory) < size:
            memory = self._memory.buffer = bytearray(size)
        with memoryview(memory) as view:
            count, addr = self._sock.recvfrom_into(view, size, flags)
            return bytes(view[:count]), addr


def name_of(ask: Callable[[], Any]) -> Any:
    """Return an address of a socket; None when it has none."""
    try:
        return ask() or None
    except OSError:
        return None


def dropped_by_system(sock: socket.socket) -> int | None:
    """Return how many datagrams found no room in the system's queue of *sock*; None when it does not say."""
    if sys.platform != "linux":
        return None
    try:
        dropped: int = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[-1]
    except (OSError, struct.error):
        return None
    return dropped


def longest_payload(sock: socket.socket) -> int:
    """Return how many bytes a datagram can carry; it is known without asking the system to send one."""
    longest = _LONGEST.get(sock.family)
    if longest is not None:
        return longest
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return size - _UNIX_OVERHEAD if sys.platform == "linux" else size


def numeric_host(host: Any, family: int) -> str:
    """Return *host*, if it needs no resolver.

    Raises:
        ValueError: It is a name, or no address of that family.
    """
    if host not in ("", "<broadcast>"):  # these two are the socket module's
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, AttributeError) as exc:
            kind = "IPv6" if family == socket.AF_INET6 else "IPv4"
            raise ValueError(f"a datagram of this socket goes to a numeric {kind} address, not to {host!r}") from exc
    text: str = host
    return text
