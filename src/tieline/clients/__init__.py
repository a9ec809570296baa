# SPDX-License-Identifier: MIT
"""Clients that send and receive typed packets. Each is loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tieline.clients.async_tcp import AsyncTCPNetworkClient
    from tieline.clients.async_udp import AsyncUDPNetworkClient
    from tieline.clients.async_unix_datagram import AsyncUnixDatagramClient
    from tieline.clients.async_unix_stream import AsyncUnixStreamClient
    from tieline.clients.tcp import TCPNetworkClient
    from tieline.clients.udp import UDPNetworkClient
    from tieline.clients.unix_datagram import UnixDatagramClient
    from tieline.clients.unix_stream import UnixStreamClient

_MODULES: dict[str, tuple[str, ...]] = {
    "tieline.clients.async_tcp": ("AsyncTCPNetworkClient",),
    "tieline.clients.async_udp": ("AsyncUDPNetworkClient",),
    "tieline.clients.async_unix_datagram": ("AsyncUnixDatagramClient",),
    "tieline.clients.async_unix_stream": ("AsyncUnixStreamClient",),
    "tieline.clients.tcp": ("TCPNetworkClient",),
    "tieline.clients.udp": ("UDPNetworkClient",),
    "tieline.clients.unix_datagram": ("UnixDatagramClient",),
    "tieline.clients.unix_stream": ("UnixStreamClient",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AsyncTCPNetworkClient",
    "AsyncUDPNetworkClient",
    "AsyncUnixDatagramClient",
    "AsyncUnixStreamClient",
    "TCPNetworkClient",
    "UDPNetworkClient",
    "UnixDatagramClient",
    "UnixStreamClient",
]


if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

    def __getattr__(name: str) -> object:
        from tieline.loading import loaded  # here, since it is needed only when a name is

        return loaded(globals(), _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
