# SPDX-License-Identifier: MIT
"""The blocking packet client over UDP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import check_retry_interval
from tieline.clients.datagram import DatagramClient
from tieline.clients.datagram_arguments import udp_asked
from tieline.clients.facts import InternetFacts
from tieline.wire.protocols import checked_datagram_protocol

if TYPE_CHECKING:
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["UDPNetworkClient"]


class UDPNetworkClient(InternetFacts, DatagramClient[SentT_contra, ReceivedT_co]):
    """A packet client over UDP, one packet per datagram, in blocking code. It may be used by any number of threads.

    The constructor resolves the host and connects the socket, so the system drops datagrams from any other address. It
    sends nothing, and does not find out whether the peer is there.

    Args:
        address: Host and port; or a connected socket, which then belongs to the client.
        protocol: The format of packets.
        local_address: Host and port to send from.
        family: AF_INET or AF_INET6 = only addresses of that family; AF_UNSPEC = any.
        connect_timeout: Seconds for the dialogue with the proxy; None = unlimited. Without a proxy it is not used.
        proxy: A SOCKS5 proxy, or its URL.
        retry_interval: Seconds after which a waiting thread checks the socket again; ``math.inf`` = never. Accepted for
            compatibility, and not needed: threads that wait are woken at once.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also those for connecting.
        ValueError: Arguments that make no sense, or a socket of another kind.
        OSError: The host cannot be resolved, there is no route to it, or the proxy refuses; or the given socket is not
            connected (ENOTCONN).
        TimeoutError: Not connected within that time.
    """

    __slots__ = ()

    def __init__(
        self,
        address: tuple[str, int] | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        local_address: tuple[str, int] | None = None,
        family: int = socket.AF_UNSPEC,
        connect_timeout: float | None = None,
        proxy: Any = None,
        retry_interval: float = 1.0,
    ) -> None:
        self._is_closed = True  # until it is connected
        try:
            checked_datagram_protocol(protocol)
            check_retry_interval(retry_interval)
            endpoint, asked, proxy = udp_asked(  # by the same name: from here on no frame knows a password
                address,
                local_address=local_address,
                family=family,
                proxy=proxy,
                connect_timeout=connect_timeout,
            )
            super().__init__(endpoint, asked, protocol, route=proxy, timeout=connect_timeout, look_every=retry_interval)
        except BaseException:
            if isinstance(address, socket.socket):
                address.close()
            raise
