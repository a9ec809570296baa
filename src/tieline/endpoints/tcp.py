# SPDX-License-Identifier: MIT
"""TCP endpoints, plain and with TLS."""

from __future__ import annotations

from collections.abc import Sequence

from tieline.endpoints.checks import all_hosts, check_bool, check_integer, check_local_addr, checked_hosts, hosts_in_url
from tieline.endpoints.tls import TLS, check_tls
from tieline.finite import check_finite_seconds
from tieline.wire.values import dataclass

__all__ = ["TCP"]


@dataclass(frozen=True, slots=True)
class TCP:
    """A TCP endpoint, to connect to or to listen on.

    Attributes:
        host: A name, or an IPv4 or IPv6 address without brackets. To listen, also None, which is all interfaces, or
            several of them, kept as a tuple (a sequence of one becomes that one).
        port: 0 to 65535; 0 is for listening: the system chooses, one port for all hosts.
        family: The address family to use; 0 is any.
        proto: The protocol number for the resolver; 0 is any.
        flags: The resolver's flags (``socket.AI_...``).
        local_addr: Host and port to connect from; a host of "" is any address. Dialling only.
        happy_eyeballs_delay: Seconds after which the next address is tried in parallel with one that has not answered
            (RFC 8305, section 5); None = one after another. Dialling only.
        interleave: How many addresses of the first family come before the families alternate; 0 keeps the resolver's
            order. Dialling only.
        reuse_port: Let several sockets of one user listen on the same port; Linux distributes the connections among
            them (SO_REUSEPORT). All of them must set it, and port 0 gives each a port of its own. Listening only; it is
            ignored for dialling, so that the address of a server can be dialled.
        backlog: How many connections may wait to be accepted. 1024 because 100 let a burst of clients wait for seconds;
            the system may cap it (``net.core.somaxconn``). Listening only.
        tls: How it is encrypted; None = not at all.

    Raises:
        ValueError: A value that no TCP endpoint can have.
        TypeError: A value of the wrong type.
    """

    host: str | Sequence[str] | None
    port: int
    family: int = 0
    proto: int = 0
    flags: int = 0
    local_addr: tuple[str, int] | None = None
    happy_eyeballs_delay: float | None = 0.25
    interleave: int = 1
    reuse_port: bool = False
    backlog: int = 1024
    tls: TLS | None = None

    def __post_init__(self) -> None:
        if self.host is not None:
            object.__setattr__(self, "host", checked_hosts(self.host))
        check_integer("port", self.port, 65535)
        check_integer("interleave", self.interleave)
        check_integer("backlog", self.backlog)
        check_bool("reuse_port", self.reuse_port)
        check_tls(self.tls)
        if self.happy_eyeballs_delay is not None:
            check_finite_seconds("happy_eyeballs_delay", self.happy_eyeballs_delay)
        if self.local_addr is not None:
            object.__setattr__(self, "local_addr", check_local_addr(self.local_addr))

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """All hosts, also when it is one; (None,) is all interfaces."""
        return all_hosts(self.host)

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds hosts, port and whether there is TLS, and no other settings."""
        return f"{'tcp' if self.tls is None else 'tls'}://{hosts_in_url(self.host)}:{self.port}"

    def __str__(self) -> str:
        return self.url
