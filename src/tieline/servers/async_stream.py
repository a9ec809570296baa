# SPDX-License-Identifier: MIT
"""What the asynchronous servers of streams share: all but where they listen."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.runtimes.admission import Admission
from tieline.runtimes.detect import current_backend
from tieline.servers.connections import Hub, ServedConnection
from tieline.servers.serving import AsyncNetworkServer
from tieline.wire.packets import PacketConnection
from tieline.wire.protocols import checked_stream_protocol
from tieline.wire.serializers.abc import both

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints.tcp import TCP
    from tieline.endpoints.unix import UnixStream
    from tieline.endpoints.websocket import WebSocket
    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.served import ServedClient
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncStreamServer"]


class AsyncStreamServer(AsyncNetworkServer, Generic[SentT_contra, ReceivedT_co]):
    """The base of packet servers over streams.

    Each connection gets a packet client and a task that runs the handler with it. When the handler returns, what it has
    sent is written and the connection is closed. When it raises, the error is logged and only its connection is closed.
    When the peer ends the connection, the handler finds out when it receives or sends; it is not cancelled, since there
    may be packets that it has not received yet.
    """

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    handed = ("the client",)

    def __init__(
        self,
        handler: Callable[..., Awaitable[object]],
        endpoint: TCP | UnixStream | WebSocket,
        sock: socket.socket | None,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        limits: Limits | None,
        hooks: Hooks | Sequence[Hooks] | None = None,
    ) -> None:
        self._protocol = checked_stream_protocol(protocol)
        super().__init__(handler, endpoint, limits)
        self._sock = sock
        self._takes_sock = sock is not None
        admission = Admission(self.limits)
        told: tuple[Hooks, ...] = ()
        if hooks is not None:
            from tieline.runtimes.hooks import checked_hooks  # lazily: few servers have such

            told = checked_hooks(hooks)
        self._hub = Hub(self.handler, self._new_client, admission, self._log, self._at_work, told)
        self._limits = self.limits.resolved(accepted=True)  # of each connection

    @property
    def connections(self) -> int:
        """The number of connections, including those that have ended while their handler still runs."""
        return len(self._at_work)

    def _work(self) -> str:
        return f"{self.connections} connections"

    def _set_ending(self, is_ending: bool) -> None:
        self._hub.is_ending = is_ending

    def _check_can_open(self) -> None:
        if self._takes_sock and self._sock is None:
            from tieline.errors import LocalProtocolError  # lazily: for this error alone

            raise LocalProtocolError("the socket that was given has been used: make a new server")

    async def _open(self, backend: AsyncBackend, nursery: object) -> Any:
        sock, self._sock = self._sock, None
        endpoint: Any = self.endpoint
        return await backend.listen(self._new_link, endpoint, sock=sock, limits=self.limits, nursery=nursery)

    def _new_link(self) -> Any:
        """Return the protocol object of a connection that was accepted."""
        backend: Any = current_backend()
        return ServedConnection(backend, self._new_machine(), self._hub).link

    def _new_machine(self) -> PacketConnection:
        return PacketConnection(self._protocol, self._limits, accepted=True)

    @abstractmethod
    def _new_client(self, connection: ServedConnection) -> ServedClient[Any, Any]:
        """Return what the handler of *connection* gets."""
