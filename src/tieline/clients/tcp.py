# SPDX-License-Identifier: MIT
"""The blocking packet client over TCP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import (
    check_connect_timeout,
    check_retry_interval,
    check_stream,
    is_lax,
    route_to,
    tcp_endpoint,
)
from tieline.clients.facts import InternetFacts
from tieline.clients.stream import StreamClient

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["TCPNetworkClient"]


class TCPNetworkClient(InternetFacts, StreamClient[SentT_contra, ReceivedT_co]):
    """A packet client over TCP or TLS, in blocking code. It may be used by any number of threads.

    The constructor connects.

    Args:
        address: Host and port; or a connected socket, which then belongs to the client.
        protocol: The format of packets.
        connect_timeout: Seconds for connecting as a whole, including the TLS handshake; None = unlimited.
        ssl: True for the defaults, a `tieline.TLS` value or an ``ssl.SSLContext``; None = no TLS.
        server_hostname: The name that the certificate must contain; None = the host. ``""`` turns that check off:
            **dangerous**. Required for TLS on a given socket.
        ssl_handshake_timeout: Seconds for connecting and the TLS handshake together, if *connect_timeout* is None.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS.
        ssl_standard_compatible: False = TLS without its closing message: this side does not send one, and a peer that
            just ends its stream counts as having ended it cleanly, so truncation goes unnoticed. None = True.
        local_address: Host and port to connect from.
        proxy: A proxy, its URL, or a list of them for a chain; or an object that connects sockets itself: see
            `tieline.blocking.ClientSession`.
        max_recv_size: The maximum number of bytes per read; over TLS, of decrypted data. None = up to the runtime, at
            most 256 KiB. A smaller value makes receiving slower.
        retry_interval: Accepted for compatibility, and not needed: threads that wait are woken at once.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also those for connecting.
        ValueError: Arguments that make no sense, or a socket of another kind.
        OSError: The peer cannot be reached; or the given socket is not connected (ENOTCONN).
        TimeoutError: Not connected within that time.
    """

    __slots__ = ()

    def __init__(
        self,
        address: tuple[str, int] | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        connect_timeout: float | None = None,
        ssl: TLSChoice = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        ssl_standard_compatible: bool | None = None,
        local_address: tuple[str, int] | None = None,
        proxy: Any = None,
        max_recv_size: int | None = None,
        retry_interval: float = 1.0,
    ) -> None:
        sock = address if isinstance(address, socket.socket) else None
        self._is_closed = True  # until it is connected
        try:
            check_stream(protocol, max_recv_size)
            check_retry_interval(retry_interval)
            connect_timeout = check_connect_timeout(connect_timeout)
            endpoint = tcp_endpoint(
                address,
                ssl=ssl,
                server_hostname=server_hostname,
                times={"ssl_handshake_timeout": ssl_handshake_timeout, "ssl_shutdown_timeout": ssl_shutdown_timeout},
                local_address=local_address,
                happy_eyeballs_delay=None,
                only={"proxy": proxy, "connect_timeout": connect_timeout if ssl is None else None},
            )
            proxy = route_to(endpoint, proxy)  # by the same name: from here on no frame knows a password
            timeout = connect_timeout
            if timeout is None and endpoint.tls is not None:
                timeout = float(ssl_handshake_timeout or 60.0)
            super().__init__(
                endpoint,
                sock,
                protocol,
                route=proxy,
                timeout=timeout,
                shutdown_timeout=ssl_shutdown_timeout or 30.0,
                is_lax=is_lax(ssl_standard_compatible, endpoint.tls),
                max_recv_size=max_recv_size,
            )
        except BaseException:
            if sock is not None:
                sock.close()
            raise
