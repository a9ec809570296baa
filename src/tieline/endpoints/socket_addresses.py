# SPDX-License-Identifier: MIT
"""Addresses of sockets as values: what the socket functions give and take, with names for the parts."""

from __future__ import annotations

import os
from typing import NamedTuple, TypeAlias

__all__ = [
    "IPv4SocketAddress",
    "IPv6SocketAddress",
    "SocketAddress",
    "UnixCredentials",
    "UnixSocketAddress",
    "socket_address",
]


class IPv4SocketAddress(NamedTuple):
    """Host and port; equal to the plain tuple."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def for_connection(self) -> tuple[str, int]:
        """Return host and port alone."""
        return self.host, self.port


class IPv6SocketAddress(NamedTuple):
    """Host, port, flow information and scope; equal to the plain tuple."""

    host: str
    port: int
    flowinfo: int = 0
    scope_id: int = 0

    def __str__(self) -> str:
        zone = f"%{self.scope_id}" if self.scope_id and "%" not in self.host else ""
        return f"[{self.host}{zone}]:{self.port}"

    def for_connection(self) -> tuple[str, int]:
        """Return host and port alone."""
        return self.host, self.port


SocketAddress: TypeAlias = IPv4SocketAddress | IPv6SocketAddress


def socket_address(raw: tuple[str, int] | tuple[str, int, int, int]) -> SocketAddress:
    """Return the address that a socket function gave as a plain tuple."""
    return IPv6SocketAddress(*raw) if len(raw) == 4 else IPv4SocketAddress(*raw)


class UnixCredentials(NamedTuple):
    """Who a process is.

    Attributes:
        pid: Its number.
        uid: The user it acts for.
        gid: The group of that.
    """

    pid: int
    uid: int
    gid: int


class UnixSocketAddress:
    """The address of a Unix socket: a path, a name in Linux's abstract namespace, or none at all.

    Made by `from_pathname`, `from_abstract_name`, `from_raw` and, for a socket without a name, ``UnixSocketAddress()``.
    Hashable, and equal to others of the same kind and name.
    """

    __slots__ = ("_name", "_path")

    def __init__(self) -> None:
        self._path: str | None = None
        self._name: bytes | None = None

    @classmethod
    def from_pathname(cls, path: str | bytes | os.PathLike[str]) -> UnixSocketAddress:
        """Return the address of the socket file at *path*.

        Raises:
            ValueError: It is empty, or there is a NUL in it.
        """
        text = os.fsdecode(path)
        if not text or "\0" in text:
            raise ValueError(f"the path of a socket must not be empty and hold no NUL, but is {text!r}")
        address = cls()
        address._path = text
        return address

    @classmethod
    def from_abstract_name(cls, name: str | bytes) -> UnixSocketAddress:
        """Return the address *name*, without the NUL that the system puts before it; any bytes may be in it."""
        address = cls()
        address._name = os.fsencode(name)
        return address

    @classmethod
    def from_raw(cls, raw: object) -> UnixSocketAddress:
        """Return the address that a socket function gave: str or bytes, and nothing for a socket without a name.

        Raises:
            TypeError: It gave something else: the socket is no Unix socket.
        """
        if isinstance(raw, UnixSocketAddress):
            return raw
        if raw is None or raw in ("", b""):
            return cls()
        if not isinstance(raw, str | bytes):
            raise TypeError(f"the address of a Unix socket is a str or bytes, not {type(raw).__name__}")
        name = os.fsencode(raw)
        return cls.from_abstract_name(name[1:]) if name.startswith(b"\0") else cls.from_pathname(name)

    def as_pathname(self) -> str | None:
        """Return the path of the socket file; None when there is none."""
        return self._path

    def as_abstract_name(self) -> bytes | None:
        """Return the abstract name, without the NUL before it; None when there is none."""
        return self._name

    def is_unnamed(self) -> bool:
        """Return whether it has neither."""
        return self._path is None and self._name is None

    def as_raw(self) -> str | bytes:
        """Return what the socket functions take."""
        if self._name is not None:
            return b"\0" + self._name
        return self._path or ""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, UnixSocketAddress):
            return (self._path, self._name) == (other._path, other._name)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._path, self._name))

    def __str__(self) -> str:
        if self._name is not None:
            return "@" + _printable(self._name)
        return "<unnamed>" if self._path is None else _printable(os.fsencode(self._path))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


def _printable(name: bytes) -> str:
    """Return *name* as text that any stream takes: names may hold bytes that are no UTF-8."""
    return name.decode("utf-8", "backslashreplace")
