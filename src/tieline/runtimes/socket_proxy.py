# SPDX-License-Identifier: MIT
"""A socket to look at: its options and its addresses, and nothing that would disturb whoever reads and writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import socket

__all__ = ["SocketProxy"]


class SocketProxy:
    """A view of a socket that somebody else owns.

    Args:
        sock: The socket, or anything with the same members.
    """

    __slots__ = ("__weakref__", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock: Any = sock

    @property
    def family(self) -> int:
        """The address family."""
        family: int = self._sock.family
        return family

    @property
    def type(self) -> int:
        """The kind of socket."""
        kind: int = self._sock.type
        return kind

    @property
    def proto(self) -> int:
        """The protocol number."""
        proto: int = self._sock.proto
        return proto

    def fileno(self) -> int:
        """Return the descriptor; -1 when the socket is closed."""
        return int(self._sock.fileno())

    def get_inheritable(self) -> bool:
        """Return whether child processes inherit the descriptor."""
        return bool(self._sock.get_inheritable())

    def getsockopt(self, *args: int) -> int | bytes:
        """Return an option: level, name and, for one that is no int, the size of the buffer for it."""
        value: int | bytes = self._sock.getsockopt(*args)
        return value

    def setsockopt(self, *args: Any) -> None:
        """Set an option: level, name and value."""
        self._sock.setsockopt(*args)

    def getpeername(self) -> Any:
        """Return the peer's address.

        Raises:
            OSError: There is none.
        """
        return self._sock.getpeername()

    def getsockname(self) -> Any:
        """Return the socket's own address."""
        return self._sock.getsockname()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.fileno()} family={self.family} type={self.type} proto={self.proto}>"

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"cannot pickle a {type(self).__name__}: the socket is of this process")
