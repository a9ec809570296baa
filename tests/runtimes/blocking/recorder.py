# SPDX-License-Identifier: MIT
"""A protocol that keeps what happens to it, and a transport between two ends of a pair of sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tieline.errors import ConnectionLost
from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.blocking.transport import SocketTransport


class Recorder:
    """Told lists the callbacks in order; *stays* is what `eof_received` returns."""

    def __init__(self, *, stays: bool = False) -> None:
        self.told: list[str] = []
        self.data = b""
        self.error: BaseException | None = None
        self.transport: Any = None
        self.on_data: Callable[[], object] = lambda: None
        self.stays = stays
        self._depth = 0

    def _tell(self, what: str) -> None:
        assert not self._depth, f"{what} is nested in another callback"
        self.told.append(what)

    def connection_made(self, transport: Any) -> None:
        self._tell("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data
        self._tell("data")
        self.data += data
        self._depth += 1
        try:
            self.on_data()
        finally:
            self._depth -= 1

    def eof_received(self) -> bool:
        self._tell("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: BaseException | None) -> None:
        self._tell("lost")
        self.error = error


class Scene:
    """A host, its protocol, and the socket at the other end."""

    def __init__(self, host: BlockingHost, protocol: Recorder, peer: socket.socket) -> None:
        self.host = host
        self.protocol = protocol
        self.peer = peer
        self.transport: SocketTransport = protocol.transport
        self.do = host.do

    def pump(self, seconds: float = 0.0) -> None:
        """Do what there is to do for the connection."""
        waiter = self.host.new_waiter()
        try:
            self.host.wait(waiter, self.host.now() + seconds)
        except ConnectionLost:  # nothing will come any more
            assert self.transport.is_gone

    def pump_until(self, condition: Callable[[], object]) -> None:
        patience = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < patience, self.protocol.told
            self.pump(0.01)


@contextmanager
def scene(*, stays: bool = False, small: bool = False) -> Iterator[Scene]:
    """Give a transport on a socket; *small* = the system takes little at a time."""
    ours, peer = socket.socketpair()
    if small:
        for end in (ours, peer):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    host = BlockingHost()
    protocol = Recorder(stays=stays)
    host.transport = transport = SocketTransport(ours, protocol, host)
    host.do(protocol.connection_made, transport)
    with peer:
        peer.settimeout(10)
        yield Scene(host, protocol, peer)
        host.do(transport.abort)
    assert protocol.told.count("lost") == 1
    assert protocol.told[-1] == "lost"
    assert ours.fileno() == -1
