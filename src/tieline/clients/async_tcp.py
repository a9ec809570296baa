# SPDX-License-Identifier: MIT
"""The asynchronous packet client over TCP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import check_stream, is_lax, route_to, tcp_endpoint
from tieline.clients.async_client import checked_backend
from tieline.clients.async_stream import AsyncStreamClient
from tieline.clients.facts import InternetFacts

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncTCPNetworkClient"]


class AsyncTCPNetworkClient(InternetFacts, AsyncStreamClient[SentT_contra, ReceivedT_co]):
    """A packet client over TCP or TLS, on asyncio or trio: sends and receives typed objects.

    ::

        async with AsyncTCPNetworkClient(("127.0.0.1", 4000), StreamProtocol(JSONSerializer())) as client:
            await client.send_packet({"set": 5})
            answer = await client.recv_packet()

    It connects in ``async with``, by ``wait_connected``, or when it is first used; the constructor does no I/O.

    Args:
        address: Host and port; or a connected socket, which then belongs to the client.
        protocol: The format of packets.
        backend: "asyncio", "trio" or an ``AsyncBackend``; None = the running one.
        ssl: True for the defaults, a `tieline.TLS` value or an ``ssl.SSLContext``; None = no TLS.
        server_hostname: The name that the certificate must contain; None = the host. ``""`` turns that check off:
            **dangerous**. Required for TLS on a given socket.
        ssl_handshake_timeout: Seconds for connecting and the TLS handshake together.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS.
        ssl_standard_compatible: False = TLS without its closing message: this side does not send one, and a peer that
            just ends its stream counts as having ended it cleanly, so truncation goes unnoticed. None = True.
        local_address: Host and port to connect from.
        happy_eyeballs_delay: Seconds after which the next address is tried in parallel with one that has not answered;
            None = 0.25.
        proxy: A proxy, its URL, or a list of them for a chain.
        max_recv_size: The maximum number of bytes per read; over TLS, of decrypted data. None = up to the runtime, at
            most 256 KiB. A smaller value makes receiving slower.

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
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | str | None = None,
        *,
        ssl: TLSChoice = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        ssl_standard_compatible: bool | None = None,
        local_address: tuple[str, int] | None = None,
        happy_eyeballs_delay: float | None = None,
        proxy: Any = None,
        max_recv_size: int | None = None,
    ) -> None:
        sock = address if isinstance(address, socket.socket) else None
        self._sock = None
        try:
            check_stream(protocol, max_recv_size)
            endpoint = tcp_endpoint(
                address,
                ssl=ssl,
                server_hostname=server_hostname,
                times={"ssl_handshake_timeout": ssl_handshake_timeout, "ssl_shutdown_timeout": ssl_shutdown_timeout},
                local_address=local_address,
                happy_eyeballs_delay=happy_eyeballs_delay,
                only={"proxy": proxy},
            )
            super().__init__(
                endpoint,
                sock,
                protocol,
                checked_backend(backend),
                proxy=route_to(endpoint, proxy),
                timeout=None if endpoint.tls is None else float(ssl_handshake_timeout or 60.0),
                shutdown_timeout=ssl_shutdown_timeout or 30.0,
                is_lax=is_lax(ssl_standard_compatible, endpoint.tls),
                max_recv_size=max_recv_size,
            )
        except BaseException:
            if sock is not None:
                sock.close()
            raise
