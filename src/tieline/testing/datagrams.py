# SPDX-License-Identifier: MIT
"""The kit for datagram transports: row T5."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Protocol

from tieline.testing.contracts import ContractBroken, checked, expect, numbered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["DATAGRAM_CASES", "DatagramPeer", "DatagramRig"]

HOW: Final = ("close", "abort")
# More bytes than what is read at once by whoever thinks of one packet of a network, or of 8 KiB.
LONG: Final = 9000


class DatagramPeer(Protocol):
    """The other end, which the kit controls: a non-blocking datagram socket."""

    @property
    def address(self) -> Any:
        """Its own address."""
        ...

    def send(self, data: bytes, /) -> None:
        """Send a datagram to the transport under test."""

    def receive(self) -> bytes | None:
        """Return the next datagram; None = none has come."""
        ...

    def close(self) -> None:
        """Close; nothing when it is closed."""


class DatagramRig(ABC):
    """How the kit connects a datagram transport under test. Derive from it; each case gets a new one.

    Attributes:
        implementation: The name of the transport in `KNOWN_FAULTS`; "" = no known faults.
        tells_refusals: Whether `error_received` is called if nobody listens at the other end, as for UDP on Linux.
        tells_at_once: Whether `connection_lost` may be called from within `close` and `abort`, but not from within
            other callbacks: for transports that are polled by their caller.
        patience: How many seconds the kit waits for something to happen.
    """

    implementation: str = ""
    tells_refusals: bool = True
    tells_at_once: bool = False
    patience: float = 10.0

    def __repr__(self) -> str:
        return type(self).__name__

    @abstractmethod
    async def connect(self, protocol: Any) -> DatagramPeer:
        """Make a transport for *protocol* that is connected to a bare end, and return that end."""

    @abstractmethod
    async def turn(self) -> None:
        """Let happen what is ready to happen, once."""

    def do(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the transport from outside of its callbacks."""
        return fn(*args)

    async def end(self) -> None:  # noqa: B027  # most have nothing to let go of
        """Let go of whatever the rig holds, when a case is over."""


class _Story(asyncio.DatagramProtocol):
    def __init__(self, order: Callable[[Any], object] | None = None) -> None:
        self.told: list[Any] = []
        self.faults: list[str] = []
        self.transport: Any = None
        self._order = order
        self._is_inside = False

    def _hear(self, what: Any) -> None:
        if self.told and self.told[-1][0] == "lost":
            self.faults.append(f"{what[0]} behind connection_lost")
        if self._is_inside:
            self.faults.append(f"{what[0]} within another callback")
        if what[0] in ("data", "error") and self.transport.is_closing():
            self.faults.append(f"{what[0]} behind close")
        self.told.append(what)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._hear(("made",))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._hear(("data", bytes(data), addr))
        if self._order is not None:
            self._is_inside = True
            try:
                self._order(self.transport)
            finally:
                self._is_inside = False

    def error_received(self, exc: Exception) -> None:
        self._hear(("error", exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self._hear(("lost", exc))

    def data(self) -> list[bytes]:
        return [what[1] for what in self.told if what[0] == "data"]


class _Scene:
    def __init__(self, rig: DatagramRig, story: _Story, peer: DatagramPeer) -> None:
        self.rig, self.story, self.peer = rig, story, peer
        self.got: list[bytes] = []

    def do(self, order: str, *args: Any) -> Any:
        return self.rig.do(getattr(self.story.transport, order), *args)

    async def until(self, condition: Callable[[], object], expected: str) -> None:
        patience = time.monotonic() + self.rig.patience
        while not condition():
            if time.monotonic() > patience:
                told = [what[0] for what in self.story.told[:40]]
                raise ContractBroken(f"seen after {self.rig.patience:g} s: {told}; expected: {expected}")
            while (data := self.peer.receive()) is not None:
                self.got.append(data)
            await self.rig.turn()

    async def lost(self) -> None:
        await self.until(lambda: self.story.told[-1][0] == "lost", "connection_lost")
        expect(self.story.told[-1][1] is None, repr(self.story.told[-1][1]), "connection_lost(None)")


@contextlib.asynccontextmanager
async def _scene(rig: DatagramRig, order: Callable[[Any], object] | None = None) -> AsyncGenerator[_Scene]:
    story = _Story(order)
    peer = await rig.connect(story)
    stage = _Scene(rig, story, peer)
    try:
        expect(story.told == [("made",)], story.told, "connection_made, and nothing else yet")
        yield stage
        if story.told[-1][0] != "lost":
            stage.do("abort")
        await stage.lost()
        for _ in range(3):
            await rig.turn()
        expect(not story.faults, "; ".join(story.faults), "callbacks as the contract has them")
        count = sum(what[0] == "lost" for what in story.told)
        expect(count == 1, f"connection_lost {count} times", "once")
    finally:
        if story.transport is not None and not story.transport.is_closing():
            stage.do("abort")
            await rig.turn()
        peer.close()
        await rig.end()


@checked("T5", "each datagram comes by itself, with its sender, the empty one too")
async def what_comes(rig: DatagramRig) -> None:
    async with _scene(rig) as s:
        sent = [b"one", b"", b"x" * 1400, b"y" * LONG, b"two"]
        for data in sent:
            s.peer.send(data)
        await s.until(lambda: len(s.story.data()) == len(sent), f"{len(sent)} datagrams")
        expect(sorted(s.story.data()) == sorted(sent), "others", "the datagrams that were sent")
        senders = {what[2] for what in s.story.told if what[0] == "data"}
        expect(senders == {s.peer.address}, senders, f"{s.peer.address} as the sender")


@checked("T5", "each datagram goes out by itself; without an address to whom the socket is connected")
async def what_goes(rig: DatagramRig) -> None:
    async with _scene(rig) as s:
        changing = bytearray(b"changed later")
        for data in (b"one", memoryview(b"-view-")[1:5], changing, b"y" * LONG):
            s.do("sendto", data)
        changing[:] = b"z" * len(changing)
        await s.until(lambda: len(s.got) == 4, "four datagrams at the peer")
        expected = [b"changed later", b"one", b"view", b"y" * LONG]
        expect(sorted(s.got) == expected, [data[:20] for data in s.got], "what was sent, as it was")


@checked("T5", "an empty datagram goes out as well")
async def an_empty_one_goes(rig: DatagramRig) -> None:
    async with _scene(rig) as s:
        s.do("sendto", b"")
        s.do("sendto", b"x")
        await s.until(lambda: len(s.got) == 2, "two datagrams at the peer")
        expect(sorted(s.got) == [b"", b"x"], s.got, "the empty one and the other one")


@checked("T5", "what is no bytes is a TypeError, and nothing is sent")
async def what_is_no_bytes(rig: DatagramRig) -> None:
    async with _scene(rig) as s:
        try:
            s.do("sendto", "text")
        except TypeError:
            pass
        else:
            raise ContractBroken("seen: sendto('text') raised nothing; expected: TypeError")
        s.do("sendto", b"right")
        await s.until(lambda: s.got, "a datagram at the peer")
        expect(s.got == [b"right"], s.got, "nothing of what was refused")


@checked("T5", "ended, also within a callback, the transport delivers nothing more, and says so once", how=HOW)
async def the_end(rig: DatagramRig, how: str) -> None:
    async with _scene(rig, lambda transport: getattr(transport, how)()) as s:
        for _ in range(3):
            s.peer.send(b"x")
        await s.lost()
        expect(len(s.story.data()) == 1, f"{len(s.story.data())} datagrams", "none behind the end")
        expect(s.story.transport.is_closing(), "is_closing() is False", "True")
        s.do("close")
        s.do("abort")


@checked("T5", "close and abort are told in a later turn", how=HOW)
async def the_end_is_not_told_from_inside(rig: DatagramRig, how: str) -> None:
    async with _scene(rig) as s:
        inside: list[Any] = []

        def order() -> None:
            getattr(s.story.transport, how)()
            inside.extend(s.story.told[1:])

        rig.do(order)
        expect(not inside or rig.tells_at_once, f"{inside} from inside {how}()", "nothing yet")
        await s.lost()


@checked("T5", "that nobody is there is told by error_received, and the socket stays usable")
async def an_error(rig: DatagramRig) -> None:
    if not rig.tells_refusals:
        return
    async with _scene(rig) as s:
        s.peer.close()

        def told() -> bool:
            s.do("sendto", b"x")
            return bool(s.story.told[-1][0] == "error")

        s.peer.receive = lambda: None  # type: ignore[method-assign]  # it is closed
        await s.until(told, "error_received")
        expect(isinstance(s.story.told[-1][1], OSError), s.story.told[-1], "an OSError")
        expect(not s.story.transport.is_closing(), "a closed transport", "one that goes on")


@checked("T1 T5", "facts about a socket of datagrams")
async def facts(rig: DatagramRig) -> None:
    async with _scene(rig) as s:
        nothing: Any = object()
        info = s.story.transport.get_extra_info
        expect(info("nothing", nothing) is nothing, "a fact", "the default")
        expect(info("peername") == s.peer.address, info("peername"), f"{s.peer.address}")
        expect(info("sockname") is not None, None, "its own address")


DATAGRAM_CASES: Final = numbered(
    what_comes,
    what_goes,
    an_empty_one_goes,
    what_is_no_bytes,
    the_end,
    the_end_is_not_told_from_inside,
    an_error,
    facts,
)
