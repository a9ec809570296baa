# SPDX-License-Identifier: MIT
"""A network in memory, on asyncio and trio: servers listen on it, clients dial by it, and no socket is opened."""

from __future__ import annotations

import errno
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.endpoints.tcp import TCP
from tieline.errors import LocalProtocolError
from tieline.rpc.server import Server
from tieline.rpc.serving import server_of
from tieline.runtimes.detect import current_backend
from tieline.testing.memory import MemoryPeer, MemoryTransport
from tieline.testing.wires import CAPACITY, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.backend import AsyncBackend, Listener
    from tieline.testing.faults import Faults
    from tieline.testing.trio_lives import Life

__all__ = ["MemoryNetwork", "MemoryServer"]

_NOBODY: Final = "nobody listens at {}:{} in this network in memory"


class MemoryNetwork:
    """An in-memory network for asyncio and trio: servers listen at a host and port, and clients connect to them.

    Pass it to sessions as their *proxy*, and create servers with `serve`; all else is as with sockets, including TLS.
    It belongs to one asyncio event loop or one trio run.

    Args:
        capacity: The number of unread bytes in each direction of a connection, those in transit included, at which
            writes wait.
        faults: Random faults; None = none. Delays use the clock of the runtime, so use one that jumps:
            `VirtualClockLoop`, or trio's ``MockClock``.
    """

    def __init__(self, *, capacity: int = CAPACITY, faults: Faults | None = None) -> None:
        self._capacity = capacity
        self._faults = faults
        self._listeners: dict[tuple[str, int], _Listener] = {}

    def __repr__(self) -> str:
        return f"<MemoryNetwork of {len(self._listeners)} listeners{self._told_faults()}>"

    def _told_faults(self) -> str:
        return "" if self._faults is None else f" with {self._faults!r}"

    def serve(self, methods_or_factory: Any, host: str = "memory", port: int = 1, **settings: Any) -> MemoryServer:
        """Return a server at *host* and *port*; ``async with`` makes it listen.

        *settings* are those of `tieline.serve`, where it serves calls: packets are served on sockets alone.

        Raises:
            ValueError, TypeError: What `tieline.serve` raises; or there is a *protocol* of packets.
        """
        if "protocol" in settings:
            raise TypeError("protocol: a server in memory is one of calls, and packets are served on sockets")
        return server_of(partial(MemoryServer, self), methods_or_factory, TCP(host, port), **settings)

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: str, port: int, *, nursery: Any = None
    ) -> tuple[MemoryTransport, Any]:
        """Dial *host* and *port* and return the transport and the protocol; see `tieline.ClientSession` on *proxy*.

        Raises:
            ConnectionRefusedError: Nobody listens there.
        """
        there = self._listeners.get((host, port))
        if there is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, _NOBODY.format(host, port))
        ours = current_backend().host(nursery)
        wire = Wire(ours, there.host, self._capacity, self._faults)
        protocol = _made_on(ours, protocol_factory)
        transport = _attached(ours, wire, protocol, number=1)
        there.accept(wire)
        return transport, protocol

    async def connect_peer(
        self, protocol_factory: Callable[[], Any], *, nursery: Any = None
    ) -> tuple[MemoryTransport, Any, MemoryPeer]:
        """Connect a protocol with a bare end; return its transport, the protocol, and that end."""
        ours = current_backend().host(nursery)
        wire = Wire(ours, ours, self._capacity, self._faults)
        protocol = _made_on(ours, protocol_factory)
        return _attached(ours, wire, protocol, number=1), protocol, MemoryPeer(wire.there, wire.back)

    # --- for servers ---------------------------------------------------------------------------------------------

    def add(self, listener: _Listener) -> None:
        """Let *listener* have what is dialled at its address. For servers.

        Raises:
            OSError: Somebody else listens there.
        """
        if listener.address in self._listeners:
            host, port = listener.address
            raise OSError(errno.EADDRINUSE, f"somebody listens at {host}:{port} in this network in memory already")
        self._listeners[listener.address] = listener

    def remove(self, listener: _Listener) -> None:
        """Undo `add`."""
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]


class MemoryServer(Server):
    """A server on a `MemoryNetwork`, which creates it: a `tieline.Server` without sockets."""

    def __init__(self, network: MemoryNetwork, factory: Callable[[], Any], endpoint: TCP, **settings: Any) -> None:
        super().__init__(factory, endpoint, **settings)
        self._network = network

    async def _open(self, backend: AsyncBackend, nursery: object) -> Listener:
        host = backend.host(nursery)
        listener = _Listener(self._network, host, cast("TCP", self.endpoint), self._make_protocol)
        listener.start()
        return cast("Listener", listener)


class _Listener:
    """See `tieline.runtimes.backend.Listener`."""

    def __init__(self, network: MemoryNetwork, host: Any, endpoint: TCP, protocol_factory: Callable[[], Any]) -> None:
        self.host = host
        self.endpoints = (endpoint,)
        self.sockets: tuple[socket.socket, ...] = ()
        self.address = (str(endpoint.host), endpoint.port)
        self._network = network
        self._factory = protocol_factory
        self._shaking: set[Any] = set()
        self._is_open = True
        self._life = _new_life(host)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: Somebody else listens there.
            LocalProtocolError: The nursery is over.
        """
        self._network.add(self)
        if self._life is None:
            return
        try:
            self._life.begin(self.close)
        except LocalProtocolError:
            self._network.remove(self)
            raise

    def accept(self, wire: Wire) -> None:
        """Serve the second end of *wire*, in the next turn."""
        self.host.call_soon(partial(self._accept, wire))

    def _accept(self, wire: Wire) -> None:
        protocol = _made_on(self.host, self._factory)
        tls = self.endpoints[0].tls
        if tls is not None:
            protocol = self._layer(protocol, tls.server_context())
        _attached(self.host, wire, protocol, number=2)

    def _layer(self, protocol: Any, context: Any) -> Any:
        from tieline.runtimes.tls.layer import TLSLayer
        from tieline.runtimes.tls.records import Records

        def shaken(_error: BaseException | None) -> None:
            self._shaking.discard(layer)

        records = Records(context, server_side=True)
        layer = TLSLayer(
            protocol, records, self.host, handshake_timeout=30.0, shutdown_timeout=30.0, on_handshake=shaken
        )
        self._shaking.add(layer)
        return layer

    def is_serving(self) -> bool:
        return self._is_open

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._network.remove(self)
            if self._life is not None:
                self._life.end()

    def abort_handshakes(self) -> None:
        for layer in list(self._shaking):
            layer.abort()

    async def wait_closed(self) -> None: ...


def _made_on(host: Any, factory: Callable[[], Any]) -> Any:
    """Return what *factory* makes; on trio sessions ask for their host meanwhile."""
    make = getattr(host, "make", None)
    return factory() if make is None else make(factory)


def _attached(host: Any, wire: Wire, protocol: Any, *, number: int) -> MemoryTransport:
    """Give *protocol* its end of *wire*, on the runtime of *host*."""
    incoming, outgoing = (wire.back, wire.there) if number == 1 else (wire.there, wire.back)
    if not hasattr(host, "nursery"):
        transport = MemoryTransport(wire, incoming, outgoing, protocol, number=number, reports=_tell_loop)
        transport.start()
        return transport
    life = _new_life(host)
    assert life is not None
    transport = MemoryTransport(wire, incoming, outgoing, protocol, number=number, on_lost=life.end)
    life.begin(transport.abort)
    transport.start()
    return transport


def _new_life(host: Any) -> Life | None:
    """Return what ties something to the nursery of *host*; None on asyncio, which has none."""
    if not hasattr(host, "nursery"):
        return None
    from tieline.testing.trio_lives import Life  # lazily: trio is an extra

    return Life(host)


def _tell_loop(error: BaseException) -> None:
    """Report as transports of asyncio do."""
    asyncio = sys.modules["asyncio"]
    context = {"message": "a callback of a protocol in memory failed", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
