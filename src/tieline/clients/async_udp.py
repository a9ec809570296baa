# SPDX-License-Identifier: MIT
"""The asynchronous packet client over UDP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.async_client import checked_backend
from tieline.clients.async_datagram import AsyncDatagramClient
from tieline.clients.datagram_arguments import udp_asked
from tieline.clients.facts import InternetFacts
from tieline.wire.protocols import checked_datagram_protocol

if TYPE_CHECKING:
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["AsyncUDPNetworkClient"]


class AsyncUDPNetworkClient(InternetFacts, AsyncDatagramClient[SentT_contra, ReceivedT_co]):
    """A packet client over UDP, one packet per datagram, on asyncio or trio.

    It connects in ``async with``, in ``wait_connected``, or when it is first used; the constructor does no I/O. The
    socket is connected, so the system drops datagrams from any other address.

    Args:
        address: Host and port; or a connected socket, which then belongs to the client.
        protocol: The format of packets.
        backend: "asyncio", "trio" or an ``AsyncBackend``; None = the running one.
        local_address: Host and port to send from.
        family: AF_INET or AF_INET6 = only addresses of that family; AF_UNSPEC = any.
        proxy: A SOCKS5 proxy, or its URL.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also those for connecting.
        ValueError: Arguments that make no sense, or a socket of another kind.
        OSError: The given socket is not connected (ENOTCONN).
        NotImplementedError: There is no backend of that name.
    """

    __slots__ = ()

    def __init__(
        self,
        address: tuple[str, int] | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | str | None = None,
        *,
        local_address: tuple[str, int] | None = None,
        family: int = socket.AF_UNSPEC,
        proxy: Any = None,
    ) -> None:
        self._sock = None
        try:
            checked_datagram_protocol(protocol)
            endpoint, asked, route = udp_asked(address, local_address=local_address, family=family, proxy=proxy)
            super().__init__(endpoint, asked, protocol, checked_backend(backend), route=route)
        except BaseException:
            self._sock = None
            if isinstance(address, socket.socket):
                address.close()
            raise
