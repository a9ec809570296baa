# SPDX-License-Identifier: MIT
"""asyncio's contract of stream transports, on asyncio, uvloop and trio: the same protocols, the same story."""

from __future__ import annotations

import random
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import turns, until
from tests.runtimes.sockets import open_sockets, settled
from tieline.endpoints import TCP

BIG = b"x" * (8 << 20)


class Story:
    """A protocol that writes down what it hears, and does what it is told to do at each of these moments."""

    def __init__(self, **orders: Any) -> None:
        self.told: list[str] = []
        self.data = b""
        self.orders = orders
        self.transport: Any = None
        self.lost_with: list[BaseException | None] = []
        self.depth = 0

    def _hear(self, name: str) -> Any:
        assert not self.lost_with, f"{name} behind connection_lost"
        self.told.append(name)
        self.depth += 1
        try:
            order = self.orders.get(name)
            return order(self.transport) if order is not None else None
        finally:
            self.depth -= 1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._hear("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.data += data
        self._hear("data")

    def eof_received(self) -> Any:
        return self._hear("eof")

    def pause_writing(self) -> None:
        self._hear("pause")

    def resume_writing(self) -> None:
        self._hear("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        assert self.depth == 0, "connection_lost within another callback"
        self._hear("lost")
        self.lost_with.append(exc)


class BufferedStory(Story):
    """The same with buffers of its own, small ones."""

    data_received = None  # type: ignore[assignment]  # a buffered protocol has none

    def __init__(self, **orders: Any) -> None:
        super().__init__(**orders)
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]
        self._hear("data")


def _kind(story: type[Story]) -> type[Story]:
    """Return *story* as the runtime wants its protocols: asyncio asks for its own base classes."""
    if aio.on_trio():
        if story is BufferedStory:
            return type("Buffered", (story,), {"__getattribute__": _without_data_received})
        return story
    import asyncio as theirs

    base = theirs.BufferedProtocol if story is BufferedStory else theirs.Protocol
    return type(story.__name__, (story, base), {})


def _without_data_received(self: object, name: str) -> Any:
    if name == "data_received":
        raise AttributeError(name)
    return object.__getattribute__(self, name)


async def connected(kind: type[Story] = Story, **orders: Any) -> tuple[Story, socket.socket]:
    """Return a protocol on a connection, and the bare socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = TCP(*listener.getsockname())
        _, story = await aio.dial(lambda: _kind(kind)(**orders), endpoint, timeout=10)
        peer, _ = listener.accept()
    return story, peer


def known_fault(runtime: Any, name: str, reason: str) -> None:
    """Skip what the transports of a loop, which are not ours, are known to do otherwise."""
    if runtime.name == name:
        pytest.skip(f"{name}: {reason}")


async def drain(peer: socket.socket) -> bytes:
    """Read in a thread until the stream ends."""

    def read() -> bytes:
        found = bytearray()
        while data := peer.recv(1 << 16):
            found += data
        return bytes(found)

    return await aio.to_thread(read)


# --- T7, T1: the order of things -------------------------------------------------------------------------------------


@pytest.mark.row("T7")
@pytest.mark.parametrize("kind", [Story, BufferedStory])
async def test_data_keeps_its_order_and_the_end_is_told_once(kind: type[Story]) -> None:
    story, peer = await connected(kind)
    with peer:
        sent = bytes(range(256)) * 100
        await aio.to_thread(peer.sendall, sent)
        await until(lambda: story.data == sent)
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: story.lost_with)
        assert story.lost_with == [None]
        assert story.told[0] == "made"
        assert story.told[-2:] == ["eof", "lost"]
        assert set(story.told[1:-2]) == {"data"}


@pytest.mark.row("T7", "T3")
async def test_who_keeps_the_connection_behind_the_end_of_the_stream_may_still_write() -> None:
    story, peer = await connected(eof=lambda _transport: True)
    with peer:
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in story.told)
        await turns()
        assert not story.lost_with
        assert not story.transport.is_closing()
        story.transport.write(b"a last word")
        assert story.transport.can_write_eof()
        story.transport.write_eof()
        with pytest.raises(RuntimeError):
            story.transport.write(b"another one")
        assert await drain(peer) == b"a last word"
        story.transport.close()
        await until(lambda: story.lost_with)
    assert story.told == ["made", "eof", "lost"]


@pytest.mark.row("T1", "T3")
async def test_close_sends_what_was_written_and_write_eof_stands_behind_it() -> None:
    for how in ("close", "write_eof"):
        story, peer = await connected()
        with peer:
            story.transport.write(BIG)
            assert story.transport.get_write_buffer_size() > 0
            getattr(story.transport, how)()
            assert story.transport.is_closing() is (how == "close")
            assert await drain(peer) == BIG
            story.transport.close()
            await until(lambda story=story: story.lost_with)  # type: ignore[misc]  # a lambda with a default
        assert story.lost_with == [None]


@pytest.mark.row("T1")
async def test_behind_close_nothing_is_delivered_and_nothing_written(runtime: Any) -> None:
    known_fault(runtime, "uvloop", "write raises when the transport is closed")
    story, peer = await connected(data=lambda transport: transport.close())
    with peer:
        await aio.to_thread(peer.sendall, b"one")
        await until(lambda: story.told[-1] == "lost")
        story.transport.write(b"late")
        story.transport.close()
        story.transport.abort()
        await turns()
    assert story.told.count("data") == 1
    assert story.told[-1] == "lost"


@pytest.mark.row("T3")
async def test_abort_drops_what_is_unsent(runtime: Any) -> None:
    known_fault(runtime, "uvloop", "the size of the buffer is not reset by abort")
    story, peer = await connected()
    with peer:
        story.transport.write(BIG)
        story.transport.abort()
        assert story.transport.get_write_buffer_size() == 0
        assert not story.lost_with
        await turns(3)
        assert story.lost_with == [None]
        assert len(await drain(peer)) < len(BIG)


@pytest.mark.row("T7")
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("moment", ["made", "data", "eof", "pause", "resume"])
async def test_whoever_ends_it_in_a_callback_is_told_behind_it(moment: str, how: str, runtime: Any) -> None:
    if moment == "resume":
        known_fault(runtime, "asyncio", "ended within resume_writing, it calls connection_lost twice")
    held = open_sockets()

    def order(transport: Any) -> None:
        getattr(transport, how)()
        assert transport.is_closing()

    story, peer = await connected(Story, **{moment: order})
    with peer:
        if moment in ("pause", "resume"):
            story.transport.write(BIG)
            if moment == "resume":
                await aio.to_thread(_read_some, peer)
        elif moment == "data":
            peer.send(b"x")
        elif moment == "eof":
            peer.shutdown(socket.SHUT_WR)
        peer.settimeout(10)
        if moment == "pause" and how == "close":  # it is sent first
            await drain(peer)
        await until(lambda: story.lost_with or moment == "resume")
        if moment == "resume":
            await drain(peer)
            await until(lambda: story.lost_with)
    assert story.told.count("lost") == 1
    assert await settled(held) == held


def _read_some(peer: socket.socket) -> None:
    left = len(BIG) * 3 // 4
    while left > 0:
        left -= len(peer.recv(1 << 16))


@pytest.mark.row("T7")
async def test_a_reset_is_told_with_its_error() -> None:
    story, peer = await connected()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await until(lambda: story.lost_with)
    assert isinstance(story.lost_with[0], ConnectionResetError)
    assert "eof" not in story.told


@pytest.mark.row("T7")
async def test_writing_to_a_peer_that_is_gone_ends_the_connection() -> None:
    story, peer = await connected(eof=lambda _transport: True)
    peer.close()
    await until(lambda: "eof" in story.told)
    patience = 10_000
    while not story.lost_with:
        story.transport.write(b"x")
        await turns(1)
        patience -= 1
        assert patience
    assert isinstance(story.lost_with[0], ConnectionResetError | BrokenPipeError)


# --- T2: reading -----------------------------------------------------------------------------------------------------


@pytest.mark.row("T2")
async def test_while_reading_is_paused_nothing_comes_and_resuming_delivers_later() -> None:
    story, peer = await connected()
    transport = story.transport
    with peer:
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        peer.send(b"waits")
        peer.shutdown(socket.SHUT_WR)
        await turns(20)
        assert story.told == ["made"]
        transport.resume_reading()
        assert story.told == ["made"]  # never from inside resume_reading
        await until(lambda: story.lost_with)
        assert story.told == ["made", "data", "eof", "lost"]
        assert story.data == b"waits"


@pytest.mark.row("T2")
async def test_pausing_within_the_delivery_stops_what_is_behind_it() -> None:
    story, peer = await connected(data=lambda transport: transport.pause_reading())
    with peer:
        for round_ in range(5):
            peer.send(b"x")
            await until(lambda round_=round_: len(story.data) == round_ + 1)  # type: ignore[misc]  # a lambda with a default
            peer.send(b"y")
            await turns(10)
            assert len(story.data) == round_ + 1
            story.data = story.data[:round_] + b"."
            story.transport.resume_reading()
            await until(lambda round_=round_: len(story.data) == round_ + 2)  # type: ignore[misc]  # a lambda with a default
            story.data = b"." * (round_ + 1)
            story.transport.resume_reading()
        story.transport.abort()
        await until(lambda: story.lost_with)


# --- T3, T4: writing -------------------------------------------------------------------------------------------------


@pytest.mark.row("T3")
async def test_limits_of_the_write_buffer() -> None:
    story, peer = await connected()
    transport = story.transport
    with peer:
        transport.set_write_buffer_limits(high=4000)
        low, high = transport.get_write_buffer_limits()
        assert (low < high) == (high == 4000)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits()[0] == 100
        for high_low in ((1, 2), (-1, None), (5, -1)):
            with pytest.raises(ValueError):  # noqa: PT011  # each runtime has its own words
                transport.set_write_buffer_limits(*high_low)
        transport.abort()
        await until(lambda: story.lost_with)


@pytest.mark.row("T4")
@pytest.mark.parametrize("limits", [(64 * 1024, None), (1 << 20, 0), (0, 0)])
async def test_pausing_and_resuming_are_paired(limits: tuple[int, int | None]) -> None:
    story, peer = await connected()
    transport = story.transport
    transport.set_write_buffer_limits(*limits)
    low, high = transport.get_write_buffer_limits()
    with peer:
        for round_ in range(1, 4):
            pieces = 0
            while "pause" not in story.told[-1:]:
                transport.write(b"x" * 65536)
                pieces += 1
                assert ("pause" in story.told[-1:]) == (transport.get_write_buffer_size() > high)
            transport.write(b"x")
            assert story.told.count("pause") == round_
            await aio.to_thread(_read_exactly, peer, pieces * 65536 + 1)
            await until(lambda: story.told[-1] == "resume")
            assert transport.get_write_buffer_size() <= low
            assert story.told.count("resume") == round_
        transport.abort()
        await until(lambda: story.lost_with)


def _read_exactly(peer: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(peer.recv(min(size, 1 << 16)))


@pytest.mark.row("T3", "R10")
async def test_what_is_written_is_copied_and_arrives_in_order_whatever_it_is(runtime: Any) -> None:
    known_fault(runtime, "uvloop", "a bytearray that waits to be sent is not copied")
    if sys.version_info >= (3, 12):
        known_fault(runtime, "asyncio", "from CPython 3.12 on, a bytearray that waits to be sent is not copied")
    story, peer = await connected()
    transport = story.transport
    with peer:
        transport.write(BIG)
        changing = bytearray(b"abc" * 1000)
        transport.write(changing)
        transport.write(memoryview(changing)[:3])
        changing[:] = b"z" * len(changing)
        transport.write(b"")
        for number in range(300):  # more pieces than one system call takes
            transport.write(b"%d," % number)
        transport.close()
        expected = BIG + b"abc" * 1001 + b"".join(b"%d," % number for number in range(300))
        assert await drain(peer) == expected
        with pytest.raises(TypeError):
            transport.write("text")
        await until(lambda: story.lost_with)


# --- T1: facts -------------------------------------------------------------------------------------------------------


@pytest.mark.row("T1")
async def test_facts_about_a_connection_are_there_to_the_end() -> None:
    story, peer = await connected()
    transport = story.transport
    with peer:
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()
        assert transport.get_extra_info("socket").fileno() >= 0
        assert transport.get_extra_info("ssl_object") is None
        assert transport.get_extra_info("nothing", 5) == 5
        transport.close()
        await until(lambda: story.lost_with)
        assert transport.get_extra_info("peername") == peer.getsockname()


# --- all at once -----------------------------------------------------------------------------------------------------


@pytest.mark.row("T7")
@pytest.mark.parametrize("seed", range(20))
async def test_in_a_storm_of_orders_the_contract_holds(seed: int) -> None:
    """Orders by chance in every callback, against a peer that does what it likes: told once, in order, nothing left."""
    chance = random.Random(seed)
    held = open_sockets()

    def order(transport: Any) -> bool:
        for _ in range(chance.randrange(3)):
            what = chance.choice(["write", "write", "pause_reading", "resume_reading", "close", "abort", "write big"])
            if what == "write":
                transport.write(b"y" * chance.randrange(1, 5000))
            elif what == "write big":
                transport.write(BIG[: 1 << 20])
            elif what in ("close", "abort") and chance.random() < 0.8:
                continue
            else:
                getattr(transport, what)()
        return chance.random() < 0.5

    story, peer = await connected(Story, **dict.fromkeys(["data", "eof", "pause", "resume"], order))
    with peer:
        peer.setblocking(False)
        for _ in range(chance.randrange(5, 40)):
            try:
                match chance.randrange(4):
                    case 0:
                        peer.send(b"z" * chance.randrange(1, 3000))
                    case 1:
                        peer.recv(1 << 20)
                    case 2 if chance.random() < 0.1:
                        peer.shutdown(socket.SHUT_WR)
                    case _:
                        await turns(chance.randrange(4))
            except OSError:
                pass
    story.transport.abort()
    await turns(3)
    assert story.told.count("lost") == 1
    assert story.told[-1] == "lost"
    assert story.told.count("eof") <= 1
    assert 0 <= story.told.count("pause") - story.told.count("resume") <= 1
    if "eof" in story.told:
        assert "data" not in story.told[story.told.index("eof") :]
    assert await settled(held) == held


@pytest.mark.row("T7")
async def test_a_callback_that_fails_ends_its_connection_and_is_reported(tmp_path: Path) -> None:
    story, peer = await connected(data=lambda _transport: 1 / 0)
    with peer, aio.reported() as reported:
        peer.send(b"x")
        await until(lambda: story.lost_with)
        assert isinstance(story.lost_with[0], ZeroDivisionError)
    assert [type(error) for error in reported] == [ZeroDivisionError]
