# SPDX-License-Identifier: MIT
"""Handlers of messages (row S14) of every kind, and all that they may raise."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Generator
from functools import partial
from typing import Any
from weakref import ref

import pytest

from tests import aio
from tests.rpc.message_sessions import Lines, Ordered, Waiting, served, the_peer
from tests.rpc.sessions import RawPeer, raw_client, turns, until
from tieline import FramerBase, Limits, NewlineFramer, Server

pytestmark = pytest.mark.row("S14")


class Awaitable:
    """Something that can be awaited and is no coroutine."""

    def __init__(self, seen: list[bytes], message: bytes) -> None:
        self._seen = seen
        self._message = message

    def __await__(self) -> Generator[Any, None, None]:
        yield from aio.sleep(0).__await__()
        self._seen.append(self._message)


class Object:
    """A handler that is an object."""

    def __init__(self, seen: list[bytes]) -> None:
        self._seen = seen

    def __call__(self, message: bytes) -> None:
        self._seen.append(message)


class AsyncObject(Object):
    async def __call__(self, message: bytes) -> None:  # type: ignore[override]  # that is the point
        await aio.sleep(0)
        self._seen.append(message)


async def handle(seen: list[bytes], message: bytes) -> None:
    await aio.sleep(0)
    seen.append(message)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        Object,
        AsyncObject,
        lambda seen: seen.append,
        lambda seen: partial(handle, seen),
        lambda seen: lambda message: handle(seen, message),
        lambda seen: lambda message: aio.ensure_future(handle(seen, message)),
        lambda seen: partial(Awaitable, seen),
    ],
)
async def test_the_handler_may_be_anything_that_can_be_called(
    kind: Callable[[list[bytes]], Any], ordered: bool
) -> None:
    class This(Lines):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.handle_message = kind(self.seen)  # type: ignore[method-assign]  # that is the point

    This.ordered = ordered
    lines = [b"%d" % number for number in range(100)]
    async with served(This) as server, raw_client(server) as raw:
        raw.send(*lines)
        peer = await the_peer(server)
        await until(lambda: len(peer.seen) == len(lines) and peer.stats.running == 0)
        assert (peer.seen if ordered else sorted(peer.seen, key=int)) == lines


class Undecided(Waiting):
    """Async now and then, which only its result tells."""

    def handle_message(self, message: bytes) -> Any:
        if message.startswith(b"plain"):
            self.begun.append(message)
            return None
        return super().handle_message(message)


async def test_what_comes_behind_an_async_one_starts_behind_it() -> None:
    lines = [b"plain 1", b"a", b"plain 2", b"b", b"plain 3"]
    async with served(Undecided) as server, raw_client(server) as raw:
        raw.send(*lines)
        peer = await the_peer(server)
        await until(lambda: len(peer.begun) == 5)
        assert peer.begun == lines


async def test_what_a_plain_handler_returned_is_awaited_or_never_made() -> None:
    async with served(Undecided, limits=Limits(max_pending=2)) as server, raw_client(server) as raw:
        raw.send(*[b"a"] * 1000)
        peer = await the_peer(server)
        await until(lambda: len(peer.begun) == 2)
        raw.reset()
        await aio.wait_for(peer.wait_closed(), 5)
        await until(lambda: len(peer.cancelled) == 2)
        assert peer.begun == [b"a", b"a"]


RAISED = (
    KeyError,
    aio.CancelledError,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    BaseException,
    MemoryError,
)


class Raising(Lines):
    """Raises what a line names."""

    def handle_message(self, message: bytes) -> Any:
        self.seen.append(message)
        for kind in RAISED:
            if kind.__name__.encode() == message:
                raise kind


class RaisingAtOnce(Raising):
    async def handle_message(self, message: bytes) -> None:
        super().handle_message(message)


class RaisingLater(Raising):
    async def handle_message(self, message: bytes) -> None:
        await aio.sleep(0)
        super().handle_message(message)


class RaisingInOrder(RaisingLater):
    ordered = True


@pytest.mark.row("H58")
@pytest.mark.parametrize("cls", [Raising, RaisingAtOnce, RaisingLater, RaisingInOrder])
async def test_whatever_a_handler_raises_the_session_goes_on(
    cls: type[Raising], caplog: pytest.LogCaptureFixture
) -> None:
    lines = [*(kind.__name__.encode() for kind in RAISED), b"fine"]
    async with served(cls) as server, raw_client(server) as raw:
        raw.send(*lines)
        peer = await the_peer(server)
        await until(lambda: len(peer.seen) == len(lines) and peer.stats.running == 0)
        assert peer.seen == lines or cls is RaisingLater
        assert peer.stats.errors == len(RAISED)
        assert not peer.is_closing()
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1, "one a second"


async def test_ordered_ones_that_take_too_long_make_way() -> None:
    async with served(Ordered, limits=Limits(handler_timeout=0.03)) as server, raw_client(server) as raw:
        raw.send(b"a", b"b")
        peer = await the_peer(server)
        await until(lambda: peer.cancelled == [b"a", b"b"])
        await until(lambda: peer.stats.running == 0)
        assert not peer.is_closing()


class Stubborn(Waiting):
    """Does not let itself be cancelled."""

    async def handle_message(self, message: bytes) -> None:
        gate = self.gates.setdefault(message, aio.Event())
        self.begun.append(message)
        while not gate.is_set():
            try:
                await gate.wait()
            except aio.Cancelled:
                self.cancelled.append(message)
        self.seen.append(message)


@pytest.mark.row("H61")
async def test_one_that_ignores_being_cancelled_keeps_nobody_waiting() -> None:
    async with served(Stubborn, limits=Limits(handler_timeout=0.01)) as server, raw_client(server) as raw:
        raw.send(b"a")
        peer = await the_peer(server)
        await until(lambda: len(peer.cancelled) > 2)
        await aio.wait_for(peer.aclose(force_after=0.01), 5)
        await aio.wait_for(peer.wait_closed(), 5)
        assert not server.sessions
        assert peer.seen == []
        peer.open(b"a")
        await until(lambda: peer.seen == [b"a"])


class Fragile(NewlineFramer):
    """A framer of a user's own, with a fault in it."""

    def messages(self, data: bytes) -> Any:
        for line in super().messages(data):
            if line == b"bug":
                raise KeyError(line)
            yield line


async def end_by(end: str, server: Server, raw: RawPeer) -> ref[Any]:
    """Have the session of *server* handle two lines, bring it to its end, and return what tells whether it is left."""
    raw.send(b"a", b"b")
    peer = await the_peer(server)
    if isinstance(peer, Waiting):
        await until(lambda: peer.begun)
        if end in ("eof", "close", "fault"):
            peer.open(b"a", b"b")
    await until(lambda: peer.seen or end in ("reset", "abort"))
    match end:
        case "eof":
            raw.writer.write_eof()
        case "reset":
            raw.reset()
        case "fault":
            raw.send(b"bug")
        case _:
            getattr(peer, end)()
    return ref(peer)


@pytest.mark.parametrize("cls", [Lines, Waiting, Ordered, Undecided])
@pytest.mark.parametrize("end", ["eof", "reset", "abort", "close", "fault"])
async def test_nothing_of_a_session_is_left_for_the_garbage_collector(cls: type[Lines], end: str) -> None:
    async with served(cls, framer=Fragile) as server:
        gc.collect()
        gc.disable()
        try:
            async with raw_client(server) as raw:
                watched = await end_by(end, server, raw)
                await until(lambda: not server.sessions)
            await turns(20)
            assert watched() is None
        finally:
            gc.enable()


class Text(FramerBase[str]):
    """Frames text as text, which no socket takes."""

    def frame(self, messages: Any) -> Any:
        return "".join(messages)

    def messages(self, data: bytes) -> Any:
        yield data.decode()


async def test_a_framer_that_makes_no_bytes_fails_the_sender_and_nobody_else() -> None:
    async with served(Lines, framer=Text) as server, Lines(server.url, framer=Text) as client:
        with pytest.raises(TypeError):
            await client.send_message("text")
        assert not client.is_closing()
        peer = await the_peer(server)
        assert peer.seen == []


@pytest.mark.parametrize("kind", [Waiting, Ordered])
async def test_handlers_that_are_cancelled_before_they_begin_are_done_with(kind: type[Waiting]) -> None:
    """Else their messages would count as being handled for ever, and so many of them stop the reading."""
    async with served(kind, limits=Limits(max_pending=4)) as server, raw_client(server) as peer:
        session = await the_peer(server)
        engine = session._engine
        started = [b"one"] if kind is Ordered else [b"one", b"two"]
        engine.link.data_received(b"one\ntwo\n")
        begins_at_once = engine.host.starts_eagerly
        assert engine.handling.unstarted == (0 if begins_at_once else len(started))
        for handle in list(engine.handling.running):
            handle.cancel()  # in the same moment
        if kind is Ordered:
            await until(lambda: session.begun[-1:] == [b"two"])
            session.open(b"two")
        await until(lambda: not engine.handling.running)
        assert engine.handling.unstarted == engine.machine.unanswered == 0
        assert session.cancelled == started * begins_at_once
        session.open(b"three")
        peer.send(b"three")
        await until(lambda: session.seen[-1:] == [b"three"])
