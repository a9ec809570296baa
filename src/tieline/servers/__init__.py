# SPDX-License-Identifier: MIT
"""Servers of typed packets. Each is loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tieline.servers.async_tcp import AsyncTCPNetworkServer
    from tieline.servers.async_udp import AsyncUDPNetworkServer
    from tieline.servers.async_unix_datagram import AsyncUnixDatagramServer
    from tieline.servers.async_unix_stream import AsyncUnixStreamServer
    from tieline.servers.blocking import TCPNetworkServer, UDPNetworkServer, UnixDatagramServer, UnixStreamServer
    from tieline.servers.peers import DatagramPeer

_MODULES: dict[str, tuple[str, ...]] = {
    "tieline.servers.async_tcp": ("AsyncTCPNetworkServer",),
    "tieline.servers.async_udp": ("AsyncUDPNetworkServer",),
    "tieline.servers.async_unix_datagram": ("AsyncUnixDatagramServer",),
    "tieline.servers.async_unix_stream": ("AsyncUnixStreamServer",),
    "tieline.servers.blocking": (
        "TCPNetworkServer",
        "UDPNetworkServer",
        "UnixDatagramServer",
        "UnixStreamServer",
    ),
    "tieline.servers.peers": ("DatagramPeer",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AsyncTCPNetworkServer",
    "AsyncUDPNetworkServer",
    "AsyncUnixDatagramServer",
    "AsyncUnixStreamServer",
    "DatagramPeer",
    "TCPNetworkServer",
    "UDPNetworkServer",
    "UnixDatagramServer",
    "UnixStreamServer",
]


if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

    def __getattr__(name: str) -> object:
        from tieline.loading import loaded  # here, since it is needed only when a name is

        return loaded(globals(), _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
