# SPDX-License-Identifier: MIT
"""How the stream kit gets at a transport under test, and the scene that its cases play in."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.testing.contracts import ContractBroken, expect
from tieline.testing.stories import Story

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tieline.testing.peers import Peer

__all__ = ["Scene", "StreamRig", "scene"]

SOME_TURNS: Final = 20  # enough for all that is ready to happen


class StreamRig(ABC):
    """How the kit connects a stream transport under test with a `Peer`. Derive from it; each case gets a new one.

    Attributes:
        implementation: The name of the transport in `KNOWN_FAULTS`; "" = no known faults.
        half_closes: Whether one direction can be closed alone; over TLS it cannot.
        resets: Whether `Peer.reset` can be distinguished from the end of the stream.
        big: A number of bytes that does not fit between the two ends, so that some stay unsent.
        patience: How many seconds the kit waits for something to happen.
        tells_at_once: Whether `connection_lost` may be called from within `close` and `abort`, but not from within
            other callbacks: for transports that are polled by their caller.
        reports_failures: Whether `reports` contains the exceptions that callbacks raised.
    """

    implementation: str = ""
    half_closes: bool = True
    resets: bool = True
    big: int = 8 << 20
    patience: float = 10.0
    tells_at_once: bool = False
    reports_failures: bool = False

    def __repr__(self) -> str:
        return type(self).__name__

    @abstractmethod
    async def connect(self, protocol: Any) -> Peer:
        """Connect *protocol* with a bare end, and return that end; `connection_made` has been called by then."""

    @abstractmethod
    async def turn(self) -> None:
        """Let happen what is ready to happen, once. Where nothing has to be awaited, it does not wait either."""

    def do(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the transport from outside of its callbacks; for those that need a lock for it."""
        return fn(*args)

    def reports(self) -> list[BaseException | None]:
        """Return, once, what the runtime has reported of exceptions that nobody else could have caught.

        Such as what a callback has raised. Where this is not overridden, nothing of that kind is looked for.
        """
        return []

    async def end(self) -> None:  # noqa: B027  # most have nothing to let go of
        """Let go of whatever the rig holds, when a case is over."""


class Scene:
    """A protocol on a connection, and the bare end of it.

    Attributes:
        story: The protocol.
        peer: The bare end.
        got: What the bare end has received.
        has_end: It has received the end of the stream.
    """

    def __init__(self, rig: StreamRig, story: Any, peer: Peer) -> None:
        self.rig = rig
        self.story = story
        self.peer = peer
        self.got = bytearray()
        self.has_end = False

    @property
    def transport(self) -> Any:
        """The transport under test."""
        return self.story.transport

    @property
    def told(self) -> list[str]:
        """What the protocol has heard."""
        told: list[str] = self.story.told
        return told

    def shown(self) -> str:
        """Return what was heard, shortened."""
        return " ".join(self.told[:40]) + (f" and {len(self.told) - 40} more" if len(self.told) > 40 else "")

    def expect(self, condition: object, seen: object, expected: str) -> None:
        """Fail with the story so far unless *condition* holds."""
        expect(condition, f"{seen}, behind: {self.shown()}", expected)

    async def turns(self, count: int = SOME_TURNS) -> None:
        """Let so many turns pass."""
        for _ in range(count):
            await self.rig.turn()

    async def until(self, condition: Callable[[], object], expected: str) -> None:
        """Let turns pass until *condition* holds."""
        patience = time.monotonic() + self.rig.patience
        while not condition():
            if time.monotonic() > patience:
                faults = f" ({', '.join(self.story.faults)})" if self.story.faults else ""
                moved = f"{len(self.story.data)} bytes came in, {len(self.got)} went out"
                raise ContractBroken(
                    f"seen after {self.rig.patience:g} s: {self.shown()}{faults}; {moved}; expected: {expected}"
                )
            await self.rig.turn()

    def do(self, order: str, *args: Any) -> Any:
        """Give the transport an order, from outside of its callbacks."""
        return self.rig.do(getattr(self.transport, order), *args)

    async def send(self, data: bytes) -> None:
        """Have the bare end send *data*, all of it."""
        patience = time.monotonic() + self.rig.patience
        while data:
            sent = self.peer.send(data)
            data = data[sent:]
            if not sent:
                expect(time.monotonic() < patience, f"{len(data)} bytes are not read", "a transport that reads")
                await self.rig.turn()

    def receive_some(self) -> bool:
        """Have the bare end receive what there is; return whether the stream has ended for it."""
        while not self.has_end:
            try:
                data = self.peer.receive()
            except ConnectionError:
                data = b""
            if data is None:
                break
            self.got += data
            self.has_end = not data
        return self.has_end

    async def receive_to_end(self) -> bytes:
        """Have the bare end receive until the stream ends, and return all that it has received."""
        await self.until(self.receive_some, "the end of the stream at the peer")
        return bytes(self.got)

    async def lost(self) -> BaseException | None:
        """Wait for `connection_lost`, and return what it was given."""
        await self.until(lambda: self.story.is_lost, "connection_lost")
        error: BaseException | None = self.story.lost_with[0]
        return error

    async def finish(self) -> None:
        """End the connection, and check what holds for every story."""
        if not self.story.is_lost:
            self.do("abort")
            await self.lost()
        await self.turns(3)
        expect(not self.story.faults, "; ".join(self.story.faults), "callbacks as the contract has them")
        expect(self.told.count("lost") == 1, self.shown(), "connection_lost once")
        reported = self.rig.reports()
        expect(not reported, f"the runtime reported {reported!r}", "no exception that nobody caught")


@contextlib.asynccontextmanager
async def scene(
    rig: StreamRig, kind: Callable[..., Any] = Story, **orders: Callable[[Any], Any]
) -> AsyncGenerator[Scene]:
    """Give a scene that is finished at the end."""
    story = kind(**orders)
    peer = None
    try:
        peer = await rig.connect(story)
        expect(story.told[:1] == ["made"], story.told, "connection_made before anything else")
        stage = Scene(rig, story, peer)
        yield stage
        await stage.finish()
    finally:
        try:
            if story.transport is not None and not story.is_lost:
                rig.do(story.transport.abort)
                for _ in range(5):
                    await rig.turn()
        finally:
            if peer is not None:
                peer.close()
            await rig.end()
