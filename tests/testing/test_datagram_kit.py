# SPDX-License-Identifier: MIT
"""The kit for datagram transports, over the loops' own and in memory; and each deliberate fault fails it."""

from __future__ import annotations

import asyncio as stock
import socket
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.testing.failing import failing
from tieline.errors import ClosedError
from tieline.testing import (
    DATAGRAM_CASES,
    Case,
    DatagramRig,
    Faults,
    MemoryDatagramTransport,
    VirtualClock,
    memory_datagram_pair,
)
from tieline.testing import memory_datagrams as memory_module


class SocketPeer:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self.address = sock.getsockname()

    def send(self, data: bytes) -> None:
        self._sock.send(data)

    def receive(self) -> bytes | None:
        try:
            return self._sock.recv(1 << 16)
        except (BlockingIOError, ConnectionRefusedError):
            return None

    def close(self) -> None:
        self._sock.close()


class LoopRig(DatagramRig):
    patience = 3.0

    def __init__(self) -> None:
        module = type(stock.get_running_loop()).__module__
        self.implementation = "uvloop" if module.startswith("uvloop") else "asyncio"

    async def connect(self, protocol: Any) -> SocketPeer:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind(("127.0.0.1", 0))
        transport, _ = await stock.get_running_loop().create_datagram_endpoint(
            lambda: protocol, remote_addr=peer.getsockname()
        )
        peer.connect(transport.get_extra_info("sockname"))
        return SocketPeer(peer)

    async def turn(self) -> None:
        await stock.sleep(0)


class OurRig(DatagramRig):
    """What `tieline.create_datagram_endpoint` gives."""

    async def connect(self, protocol: Any) -> SocketPeer:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind(("127.0.0.1", 0))
        transport, _ = await tieline.create_datagram_endpoint(
            lambda: protocol, remote_addr=peer.getsockname(), nursery=aio.nursery()
        )
        peer.connect(transport.get_extra_info("sockname"))
        return SocketPeer(peer)

    async def turn(self) -> None:
        await aio.sleep(0)


class PolledRig(DatagramRig):
    """What `tieline.blocking.create_datagram_endpoint` gives."""

    tells_at_once = True

    async def connect(self, protocol: Any) -> SocketPeer:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind(("127.0.0.1", 0))
        self._transport, _ = tieline.blocking.create_datagram_endpoint(lambda: protocol, remote_addr=peer.getsockname())
        peer.connect(self._transport.get_extra_info("sockname"))
        return SocketPeer(peer)

    async def turn(self) -> None:
        try:
            self._transport.poll(0)
        except ClosedError:  # nothing will come any more
            pass


class Bare(stock.DatagramProtocol):
    """The bare end of a pair in memory."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)

    @property
    def address(self) -> Any:
        return self.transport.get_extra_info("sockname")

    def send(self, data: bytes) -> None:
        self.transport.sendto(data)

    def receive(self) -> bytes | None:
        return self.got.pop(0) if self.got else None

    def close(self) -> None:
        self.transport.close()


class MemoryRig(DatagramRig):
    patience = 1.0

    def __init__(self, faults: Faults | None = None) -> None:
        self.clock = VirtualClock()
        self.faults = faults

    async def connect(self, protocol: Any) -> Bare:
        bare = Bare()
        memory_datagram_pair(protocol, bare, self.clock, faults=self.faults)
        return bare

    async def turn(self) -> None:
        self.clock.step()


@pytest.mark.row("T5")
@pytest.mark.parametrize("case", DATAGRAM_CASES, ids=str)
async def test_our_transports(case: Case) -> None:
    await case.check(OurRig())


@pytest.mark.row("T5")
@pytest.mark.parametrize("case", DATAGRAM_CASES, ids=str)
def test_our_transports_in_blocking_code(case: Case) -> None:
    case.run(PolledRig())


@pytest.mark.row("T5")
@pytest.mark.asyncio_only("the transports of asyncio's loops")
@pytest.mark.parametrize("case", DATAGRAM_CASES, ids=str)
async def test_the_transports_of_the_loop(case: Case) -> None:
    await case.check(LoopRig())


@pytest.mark.row("T5")
@pytest.mark.parametrize("case", DATAGRAM_CASES, ids=str)
def test_transports_in_memory(case: Case) -> None:
    for faults in (None, Faults(1), Faults(2), Faults(3)):
        case.run(MemoryRig(faults))


class Splits(MemoryDatagramTransport):
    def _arrive(self, what: bytes | OSError) -> None:
        for part in (what[:1], what[1:]) if isinstance(what, bytes) else (what,):
            super()._arrive(part)


class CutsLongOnes(MemoryDatagramTransport):
    def _arrive(self, what: bytes | OSError) -> None:
        super()._arrive(what[:8192] if isinstance(what, bytes) else what)


class DropsEmptyOnes(MemoryDatagramTransport):
    def _arrive(self, what: bytes | OSError) -> None:
        if what:
            super()._arrive(what)


class TakesText(MemoryDatagramTransport):
    def sendto(self, data: Any, addr: Any = None) -> None:
        super().sendto(data.encode() if isinstance(data, str) else data, addr)


class GoesOnBehindClose(MemoryDatagramTransport):
    def _deliver(self) -> None:
        waiting = list(self._waiting)
        super()._deliver()
        for what in waiting[1:]:
            self._protocol.datagram_received(what, ("memory", 2))


class LosesAtOnce(MemoryDatagramTransport):
    def abort(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._tell_lost()


class LosesTwice(MemoryDatagramTransport):
    def _tell_lost(self) -> None:
        super()._tell_lost()
        super()._tell_lost()


class DiesOfAnError(MemoryDatagramTransport):
    def _arrive(self, what: bytes | OSError) -> None:
        if isinstance(what, OSError):
            self.abort()
        else:
            super()._arrive(what)


class NoFacts(MemoryDatagramTransport):
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None


BROKEN: list[tuple[type, str]] = [
    (Splits, "what_comes"),
    (CutsLongOnes, "what_comes"),
    (DropsEmptyOnes, "an_empty_one_goes"),
    (TakesText, "what_is_no_bytes"),
    (GoesOnBehindClose, "the_end[*]"),
    (LosesAtOnce, "the_end_is_not_told_from_inside[*]"),
    (LosesTwice, "the_end[*]"),
    (DiesOfAnError, "an_error"),
    (NoFacts, "facts"),
]


@pytest.mark.parametrize(("broken", "name"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
def test_a_broken_transport_fails(broken: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MemoryDatagramTransport", broken)
    monkeypatch.setattr(MemoryRig, "patience", 0.1)
    assert name in failing(DATAGRAM_CASES, MemoryRig)


# --- in memory alone -------------------------------------------------------------------------------------------------


def test_what_nobody_has_room_for_is_dropped_and_counted() -> None:
    clock, ours, theirs = VirtualClock(), Bare(), Bare()
    memory_datagram_pair(ours, theirs, clock, most_waiting=3)
    for number in range(5):
        ours.send(b"%d" % number)
    clock.run()
    assert theirs.got == [b"0", b"1", b"2"]
    assert theirs.transport.dropped == 2


def test_what_is_late_overtakes_nothing_that_is_not_there() -> None:
    clock, ours, theirs = VirtualClock(), Bare(), Bare()
    memory_datagram_pair(ours, theirs, clock, faults=Faults(5, delay=1.0))
    for number in range(20):
        ours.send(b"%d" % number)
    clock.advance(1.0)
    assert sorted(theirs.got) == sorted(b"%d" % number for number in range(20))
    assert theirs.got != [b"%d" % number for number in range(20)]


def test_an_address_that_is_not_the_peers_and_what_is_too_long_are_refused() -> None:
    ours, theirs = Bare(), Bare()
    transport, other = memory_datagram_pair(ours, theirs, VirtualClock())
    transport.sendto(b"x", other.get_extra_info("sockname"))
    with pytest.raises(ValueError, match="whom this transport is connected to"):
        transport.sendto(b"x", ("memory", 7))
    with pytest.raises(ValueError, match="65507 bytes at most, not 65508"):
        transport.sendto(bytes(65508))
