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
    """Sends and receives packets over UDP, one datagram each, in blocking code. Safe for any number of threads.

    The constructor looks the name up and connects the socket, so that the system drops what comes from anybody but the
    peer. Nothing is sent by that: nobody need be there.

    Args:
        address: Host and port; or a connected socket, which then is the client's alone to close.
        protocol: What packets are.
        local_address: Host and port to send from.
        family: AF_INET or AF_INET6 to stay within; AF_UNSPEC = as the address has it.
        connect_timeout: Seconds for what is said to the proxy; None = as long as it takes.
        proxy: A SOCKS5 proxy, or its URL.
        retry_interval: Seconds after which whoever waits looks at the socket again; nobody depends on that, since he is
            woken. ``math.inf`` = never.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also those that are for connecting only.
        ValueError: Arguments that make no sense, or a socket of another kind.
        OSError: No such host, no way to get there, or the proxy refuses; or the given socket is not connected
            (ENOTCONN).
        TimeoutError: Not within that time.
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
