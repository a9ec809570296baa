# SPDX-License-Identifier: MIT
"""Sockets of datagrams: UDP and Unix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeAlias

from tieline.endpoints.checks import all_hosts, check_bool, check_integer, check_local_addr, checked_hosts, hosts_in_url
from tieline.endpoints.unix import socket_path, socket_url
from tieline.wire.values import dataclass

__all__ = ["UDP", "DatagramEndpoint", "UnixDatagram"]

# What the length in a header of UDP can say; so no datagram of UDP is longer.
_MAX_UDP: Final = 65535


@dataclass(frozen=True, slots=True)
class UDP:
    """A UDP socket.

    Attributes:
        host: A name, or an IPv4 or IPv6 address without brackets. For servers also None, which is all interfaces, or
            several of them, kept as a tuple (a sequence of one becomes that one).
        port: 0 to 65535; 0 is for listening: the system chooses, one port for all hosts.
        family: The address family to use; 0 is any.
        proto: The protocol number for the resolver; 0 is any.
        flags: The resolver's flags (``socket.AI_...``).
        local_addr: Host and port to send from; a host of "" is any address. Clients only.
        reuse_port: Let several sockets of one user listen on the same port; Linux distributes the datagrams among them
            by their source (SO_REUSEPORT). Listening only.
        allow_broadcast: Let datagrams be sent to broadcast addresses (SO_BROADCAST).
        max_size: The longest datagram that is accepted, in bytes; longer ones are dropped and counted.

    Raises:
        ValueError: A value that no UDP endpoint can have.
        TypeError: A value of the wrong type.
    """

    host: str | Sequence[str] | None
    port: int
    family: int = 0
    proto: int = 0
    flags: int = 0
    local_addr: tuple[str, int] | None = None
    reuse_port: bool = False
    allow_broadcast: bool = False
    max_size: int = _MAX_UDP

    def __post_init__(self) -> None:
        if self.host is not None:
            object.__setattr__(self, "host", checked_hosts(self.host))
        check_integer("port", self.port, 65535)
        check_integer("max_size", self.max_size)
        for name in ("reuse_port", "allow_broadcast"):
            check_bool(name, getattr(self, name))
        if self.local_addr is not None:
            object.__setattr__(self, "local_addr", check_local_addr(self.local_addr))

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """All hosts, also when it is one; (None,) is all interfaces."""
        return all_hosts(self.host)

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds hosts and port, and none of the other settings."""
        return f"udp://{hosts_in_url(self.host)}:{self.port}"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class UnixDatagram:
    """A Unix datagram socket. Datagrams keep their order, and none is lost: a sender that is too fast waits.

    Attributes:
        path: The path of the socket file, or ``@name`` for a name in Linux's abstract namespace; see `UnixStream`.
        local_path: The same for the socket that sends: without a name, nobody could reply to it. None = the system
            chooses an abstract one (Linux; elsewhere a name is required). Clients only. A file that is created for it
            is not removed.
        mode: The permissions of the file that is created. Whoever may write to it may send.
        max_size: The longest datagram that is accepted, in bytes; longer ones are dropped and counted. The default is
            more than senders on Linux can send, unless they raise their limits.

    Raises:
        ValueError: A path that no socket can have.
        TypeError: A value of the wrong type.
    """

    path: str | bytes | os.PathLike[str]
    local_path: str | bytes | os.PathLike[str] | None = None
    mode: int = 0o600
    max_size: int = 256 * 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", socket_path("path", os.fsdecode(self.path)))
        if self.local_path is not None:
            object.__setattr__(self, "local_path", socket_path("local_path", os.fsdecode(self.local_path)))
        check_integer("mode", self.mode, 0o777)
        check_integer("max_size", self.max_size)

    @property
    def is_abstract(self) -> bool:
        """Whether it is a name in the abstract namespace and no file."""
        return str(self.path).startswith("@")

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds the path, and none of the other settings."""
        return socket_url("unix-dgram", str(self.path))

    def __str__(self) -> str:
        return self.url


DatagramEndpoint: TypeAlias = UDP | UnixDatagram
