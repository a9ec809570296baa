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
    """Sends and receives packets over TCP or TLS, in blocking code. Safe for any number of threads.

    The constructor connects.

    Args:
        address: Host and port; or a connected socket, which then is the client's alone to close.
        protocol: What packets are.
        connect_timeout: Seconds for connecting as a whole, the TLS handshake included; None = as long as it takes.
        ssl: True for the defaults, a `tieline.TLS` value or an ``ssl.SSLContext``; None = no TLS.
        server_hostname: The name that the certificate must be made out to; None = the host. ``""`` turns the matching
            off: **dangerous**. With a given socket, TLS needs it.
        ssl_handshake_timeout: Seconds for connecting and the TLS handshake together, where *connect_timeout* is None.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS.
        ssl_standard_compatible: False = TLS without its closing handshake: this side does not say that it ends, and a
            peer that just ends its stream has ended it cleanly, so that nobody notices a cut. None = True.
        local_address: Host and port to connect from.
        proxy: A proxy, its URL, or a chain of them; or an object that connects sockets by itself: see
            `tieline.blocking.ClientSession`.
        max_recv_size: How many bytes are read at once, at most; over TLS, of what was decrypted. None = as many as the
            runtime likes, 256 KiB at most. A smaller one makes receiving slower and bounds what one read brings.
        retry_interval: Kept for programs that give it: whoever waits is woken at once.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also those that are for connecting only.
        ValueError: Arguments that make no sense, or a socket of another kind.
        OSError: Nobody there, or no way to get there; or the given socket is not connected (ENOTCONN).
        TimeoutError: Not within that time.
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
