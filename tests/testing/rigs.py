# SPDX-License-Identifier: MIT
"""The transports of all runtimes, as the stream kit wants them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import trio

import tieline
import tieline.blocking
from tests import aio
from tests.certificates import Certificates
from tieline import TLS
from tieline.errors import ConnectionLost
from tieline.runtimes.asyncio.streams import SelectorStream
from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.blocking.transport import SocketTransport
from tieline.runtimes.host import Host
from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.tls.records import Records
from tieline.testing.clock import VirtualClock
from tieline.testing.faults import Faults
from tieline.testing.memory import MemoryPeer, memory_peer
from tieline.testing.network import MemoryNetwork
from tieline.testing.peers import Peer, SocketPeer, TLSPeer
from tieline.testing.sockets import memory_sockets
from tieline.testing.stream_rigs import StreamRig


class LoopRig(StreamRig):
    """TCP on whatever runs: the loop's own transports on asyncio, ours on trio."""

    reports_failures = True

    def __init__(self) -> None:
        self._reports: list[BaseException | None] = []
        self._stack = contextlib.ExitStack()
        if aio.on_trio():
            self.implementation = "trio"
        else:
            module = type(asyncio.get_running_loop()).__module__
            self.implementation = "uvloop" if module.startswith("uvloop") else "asyncio"

    def __repr__(self) -> str:
        return f"TCP on {self.implementation}"

    async def connect(self, protocol: Any) -> Peer:
        self._reports = self._stack.enter_context(aio.reported())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await aio.create_connection(lambda: protocol, *listener.getsockname())
            return SocketPeer(listener.accept()[0])

    async def turn(self) -> None:
        await aio.sleep(0)

    def reports(self) -> list[BaseException | None]:
        taken = self._reports[:]
        self._reports.clear()
        return taken

    async def end(self) -> None:
        self._stack.close()


class SelectorRig(LoopRig):
    """TCP on asyncio, by the transport of ours that links have on stock loops."""

    def __init__(self) -> None:
        super().__init__()
        self.implementation = ""  # the known faults of the loop's transports are none of its

    def __repr__(self) -> str:
        return "our transport on asyncio"

    async def connect(self, protocol: Any) -> Peer:
        self._reports = self._stack.enter_context(aio.reported())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.create_connection(listener.getsockname())
            sock.setblocking(False)
            SelectorStream(asyncio.get_running_loop(), sock, protocol).start()
            return SocketPeer(listener.accept()[0])


def unix_listener() -> socket.socket:
    """Return a Unix socket that listens at an abstract name, which Linux chooses: unix(7), autobind."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen(1)
    return listener


class UnixRig(LoopRig):
    """A Unix socket on whatever runs, by the public face."""

    resets = False  # there is no such thing

    def __repr__(self) -> str:
        return f"a Unix socket on {self.implementation}"

    async def connect(self, protocol: Any) -> Peer:
        self._reports = self._stack.enter_context(aio.reported())
        with unix_listener() as listener:
            await tieline.create_unix_connection(lambda: protocol, listener.getsockname(), nursery=aio.nursery())
            return SocketPeer(listener.accept()[0])


class MemoryRig(StreamRig):
    """Transports in memory, on a clock that is moved by hand."""

    big = 1 << 20
    reports_failures = True

    def __init__(self, faults: Faults | None = None) -> None:
        self.clock = VirtualClock()
        self.faults = faults
        self._reports: list[BaseException | None] = []
        if faults is not None:
            self.big = 1 << 18

    def __repr__(self) -> str:
        return f"memory with {self.faults!r}"

    async def connect(self, protocol: Any) -> MemoryPeer:
        return memory_peer(protocol, self.clock, faults=self.faults)[1]

    async def turn(self) -> None:
        try:
            self.clock.step()
        except Exception as exc:
            self._reports.append(exc)

    def reports(self) -> list[BaseException | None]:
        taken, self._reports = self._reports, []
        return taken


class BlockingRig(StreamRig):
    """The transport of blocking code, moved by its pump."""

    implementation = "blocking"
    reports_failures = True

    def __init__(self) -> None:
        self.host = BlockingHost()
        self._reports: list[BaseException | None] = []

    def __repr__(self) -> str:
        return "TCP in blocking code"

    async def connect(self, protocol: Any) -> Peer:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
        transport = SocketTransport(ours, protocol, self.host)
        self.host.transport = transport
        self.host.do(protocol.connection_made, transport)
        return SocketPeer(peer)

    async def turn(self) -> None:
        waiter = self.host.new_waiter()
        try:
            self.host.wait(waiter, self.host.now())
        except ConnectionLost:  # nothing will come any more
            pass
        except ZeroDivisionError as exc:
            self._reports.append(exc)

    def do(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self.host.do(fn, *args)

    def reports(self) -> list[BaseException | None]:
        taken, self._reports = self._reports, []
        return taken


class PolledRig(StreamRig):
    """What `tieline.blocking.create_connection` gives, moved by its caller."""

    reports_failures = True

    def __init__(self) -> None:
        self._transport: Any = None
        self._reports: list[BaseException | None] = []

    def __repr__(self) -> str:
        return "polled TCP in blocking code"

    async def connect(self, protocol: Any) -> Peer:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._transport, _ = tieline.blocking.create_connection(lambda: protocol, *listener.getsockname())
            peer, _ = listener.accept()
        return SocketPeer(peer)

    async def turn(self) -> None:
        try:
            self._transport.poll(0)
        except ZeroDivisionError as exc:
            self._reports.append(exc)

    def reports(self) -> list[BaseException | None]:
        taken, self._reports = self._reports, []
        return taken


class MemorySocketPeer(SocketPeer):
    """The other end of a socket in memory, which takes what nobody will read, as one of TCP does."""

    def send(self, data: bytes, /) -> int:
        try:
            return super().send(data)
        except BrokenPipeError:
            return len(data)


class BlockingMemoryRig(BlockingRig):
    """What moves sessions in blocking code, on a socket in memory."""

    big = 1 << 20

    def __repr__(self) -> str:
        return "memory in blocking code"

    async def connect(self, protocol: Any) -> Peer:
        ours, theirs = memory_sockets()
        transport = SocketTransport(ours, protocol, self.host)
        self.host.transport = transport
        self.host.do(protocol.connection_made, transport)
        return MemorySocketPeer(theirs)


class PolledMemoryRig(PolledRig):
    """What `tieline.blocking.create_connection` gives for a socket in memory."""

    big = 1 << 20

    def __repr__(self) -> str:
        return "polled memory in blocking code"

    async def connect(self, protocol: Any) -> Peer:
        ours, theirs = memory_sockets()
        self._transport, _ = tieline.blocking.create_connection(lambda: protocol, sock=ours)
        return MemorySocketPeer(theirs)


class PolledUnixRig(PolledRig):
    """The same on a Unix socket."""

    resets = False

    def __repr__(self) -> str:
        return "a polled Unix socket in blocking code"

    async def connect(self, protocol: Any) -> Peer:
        with unix_listener() as listener:
            self._transport, _ = tieline.blocking.create_unix_connection(lambda: protocol, listener.getsockname())
            return SocketPeer(listener.accept()[0])


class TLSRig(StreamRig):
    """The TLS layer of all runtimes over the transport of another rig."""

    half_closes = False

    def __init__(self, lower: Any, certificates: Certificates) -> None:
        self.lower = lower
        if lower.implementation in ("asyncio", "uvloop"):
            self.implementation = f"{lower.implementation} below TLS"
        self.big = lower.big
        self.reports_failures = lower.reports_failures
        self._client = TLS(ca=certificates.ca).client_context()
        self._server = TLS(certificate=certificates.server).server_context()

    def __repr__(self) -> str:
        return f"TLS over {self.lower!r}"

    async def turn(self) -> None:
        await self.lower.turn()

    def do(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self.lower.do(fn, *args)

    def reports(self) -> list[BaseException | None]:
        reported: list[BaseException | None] = self.lower.reports()
        return reported

    async def end(self) -> None:
        await self.lower.end()

    def _layer(self, protocol: Any) -> TLSLayer:
        records = Records(self._client, server_hostname="localhost")
        settings: Any = {"handshake_timeout": None, "shutdown_timeout": 30.0}
        match self.lower:
            case MemoryRig(clock=host) | BlockingRig(host=host):
                return TLSLayer(protocol, records, cast("Host", host), **settings)
        if aio.on_trio():
            from tieline.runtimes.trio.host import host_of

            return TLSLayer(protocol, records, host_of(cast("trio.Nursery", aio.nursery())), **settings)
        from tieline.runtimes.asyncio.host import current_host
        from tieline.runtimes.asyncio.tls_layers import layer_class

        return layer_class()(protocol, records, current_host(), **settings)

    async def connect(self, protocol: Any) -> Peer:
        lower = await self.lower.connect(self._layer(protocol))
        peer = TLSPeer(lower, self._server, server_side=True)
        while not peer.is_ready() or protocol.transport is None:
            await self.turn()
        return peer


class MemoryNetworkRig(LoopRig):
    """Transports in memory on a runtime."""

    big = 1 << 20

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__()
        self.implementation = ""
        self._network = MemoryNetwork(faults=faults)

    def __repr__(self) -> str:
        return f"{self._network!r} on {'trio' if aio.on_trio() else 'asyncio'}"

    async def connect(self, protocol: Any) -> Peer:
        self._reports = self._stack.enter_context(aio.reported())
        if aio.on_trio():
            self._stack.enter_context(_logged_as_trio())
        _, _, peer = await self._network.connect_peer(lambda: protocol, nursery=aio.nursery())
        return peer


@contextlib.contextmanager
def _logged_as_trio() -> Iterator[None]:
    """Have what transports in memory report heard where `aio.reported` listens."""
    log = logging.getLogger("tieline.testing")
    log.parent, before = logging.getLogger("tieline.trio"), log.parent
    try:
        yield
    finally:
        log.parent = before
