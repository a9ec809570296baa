# SPDX-License-Identifier: MIT
"""What the asynchronous servers of datagrams share: all but where they listen."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Generic

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.ancillary import checked_room
from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.errors import LocalProtocolError
from tieline.servers.datagrams import DatagramService, Room
from tieline.servers.failures import ServerLog
from tieline.servers.peers import DatagramPeer
from tieline.servers.serving import AsyncNetworkServer
from tieline.wire.protocols import checked_datagram_protocol
from tieline.wire.serializers.abc import both
from tieline.wire.values import replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.unix_paths import Claim
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["AsyncDatagramServer"]


class AsyncDatagramServer(AsyncNetworkServer, Generic[SentT_contra, ReceivedT_co]):
    """The base of packet servers over datagrams, one packet per datagram.

    The handler is called with each packet and its `DatagramPeer`. Packets from one address are handled one after
    another, those from different addresses concurrently. When a handler raises, the error is logged, and the next
    packet is handled. A handler that runs longer than `Limits.handler_timeout` is cancelled.

    Packets are dropped, and counted, when `Limits.max_peers` addresses are being served already, when
    `Limits.max_waiting_per_peer` packets from that address are waiting, or when the waiting packets would exceed
    `Limits.max_pending_size` bytes.
    """

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    handed = ("the packet", "its peer")

    def __init__(
        self,
        handler: Callable[[ReceivedT_co, DatagramPeer[SentT_contra]], Awaitable[object]],
        endpoint: UDP | UnixDatagram,
        sock: socket.socket | None,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        limits: Limits | None,
        ancillary_bufsize: int | None = None,
    ) -> None:
        self._protocol = checked_datagram_protocol(protocol)
        self._ancillary_room = 0 if ancillary_bufsize is None else checked_room(ancillary_bufsize)
        super().__init__(handler, endpoint, limits)
        self._sock = sock
        self._takes_sock = sock is not None
        self._services: list[DatagramService] = []  # one per socket, of the last time that it began to listen
        self._room = Room(self.limits)

    @property
    def peers(self) -> int:
        """The number of addresses whose packets are being handled."""
        return self._room.peers

    @property
    def received(self) -> int:
        """The number of datagrams received since the server began to listen."""
        return sum(service.received for service in self._services)

    @property
    def dropped(self) -> int:
        """How many datagrams were dropped here, for lack of room or because they were too long."""
        return sum(service.dropped + service.transport.get_extra_info("dropped") for service in self._services)

    @property
    def faulty(self) -> int:
        """The number of datagrams received that were not valid packets."""
        return sum(service.packets.faults for service in self._services)

    def _work(self) -> str:
        return f"{self.peers} peers at work"

    def _set_ending(self, is_ending: bool) -> None: ...  # the service knows

    def _check_can_open(self) -> None:
        if self._takes_sock and self._sock is None:
            raise LocalProtocolError("the socket that was given has been used: make a new server")

    async def _open(self, backend: AsyncBackend, nursery: object) -> Any:
        sock, self._sock = self._sock, None
        wanted = await self._wanted(backend, sock)
        log = ServerLog(self._log.logger)
        services: list[DatagramService] = []

        def new_service() -> DatagramService:
            return DatagramService(
                backend.host(),  # that of the transport
                self._protocol,
                self.handler,
                DatagramPeer,
                self.limits,
                self._room,
                log,
                self._at_work,
                self._ancillary_room,
            )

        try:
            while wanted:
                _, service = await backend.open_datagrams(new_service, wanted.pop(0), nursery=nursery)
                services.append(service)
        except BaseException:
            for service in services:
                service.cut()
            for one in wanted:
                if one.sock is not None:
                    one.sock.close()
            raise
        self._services = services
        endpoint: Any = self.endpoint
        return _Opened(services, endpoint, is_ours=sock is None)

    async def _wanted(self, backend: AsyncBackend, sock: socket.socket | None) -> list[Asked]:
        """Return what sockets there are to be, or are already."""
        from tieline.runtimes.datagram_sockets import Asked, asked  # lazily: with what opens sockets

        endpoint: Any = self.endpoint
        if sock is None and isinstance(endpoint, UDP):
            return [Asked(sock=one, max_size=endpoint.max_size) for one in await backend.bind_datagrams(endpoint)]
        where = endpoint if sock is None else None
        return [asked(where, sock=sock)]


class _Opened:
    """The sockets of a server, as its listener: see `tieline.runtimes.backend.Listener`."""

    def __init__(self, services: list[DatagramService], endpoint: UDP | UnixDatagram, *, is_ours: bool) -> None:
        self._services = services
        names = [service.transport.get_extra_info("sockname") for service in services]
        self.endpoints = tuple(_endpoint_at(name, endpoint) for name in names)
        self._claim: Claim | None = None
        if is_ours and isinstance(endpoint, UnixDatagram) and not endpoint.is_abstract:
            from tieline.runtimes.unix_paths import claim_of  # lazily: for Unix sockets alone

            self._claim = claim_of(str(endpoint.path))

    def close(self) -> None:
        if self._claim is not None:
            self._claim.release()  # before the socket is closed
        for service in self._services:
            service.stop()

    def abort_handshakes(self) -> None:
        """There are none."""

    async def wait_closed(self) -> None:
        """Nothing is to be waited for: the socket is closed when its answers are out."""


def _endpoint_at(name: Any, endpoint: UDP | UnixDatagram) -> UDP | UnixDatagram:
    if isinstance(endpoint, UDP):
        host, port = name[:2]
        return replace(endpoint, host=host, port=port)
    path = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return replace(endpoint, path="@" + path[1:] if path.startswith("\0") else path) if path else endpoint
