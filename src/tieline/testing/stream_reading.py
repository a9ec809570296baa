# SPDX-License-Identifier: MIT
"""The stream kit: what comes in, and what a connection tells of itself."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from tieline.testing.contracts import checked, numbered
from tieline.testing.stories import BufferedStory, Story
from tieline.testing.stream_rigs import Scene, StreamRig, scene

__all__ = ["READING"]

KINDS: Final = {"plain": Story, "buffered": BufferedStory}


@checked("T7", "data comes in its order, never empty; the end once, then connection_lost(None)", kind=list(KINDS))
async def data_then_the_end(rig: StreamRig, kind: str) -> None:
    async with scene(rig, KINDS[kind]) as s:
        sent = bytes(range(256)) * 100
        await s.send(sent)
        await s.until(lambda: len(s.story.data) >= len(sent), "all that was sent")
        s.expect(s.story.data == sent, "other bytes", "the bytes as they were sent")
        s.peer.end()
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")
        s.expect(s.told[-2:] == ["eof", "lost"], "another end", "eof_received, then connection_lost")


@checked("T7 T3", "who answers the end of the stream with True may still write, until it closes; not so over TLS")
async def true_behind_the_end_keeps_the_other_direction(rig: StreamRig) -> None:
    async with scene(rig, eof=lambda _transport: True) as s:
        s.peer.end()
        if not rig.half_closes:
            error = await s.lost()
            s.expect(error is None, repr(error), "connection_lost(None), whatever eof_received returned")
            return
        await s.until(lambda: "eof" in s.told, "eof_received")
        await s.turns()
        s.expect(not s.story.is_lost and not s.transport.is_closing(), "a closed transport", "one that may still write")
        s.do("write", b"a last word")
        s.do("close")
        s.expect(await s.receive_to_end() == b"a last word", bytes(s.got[:50]), "what was written behind the end")


@checked("T7", "whatever is not True behind the end of the stream closes the transport")
async def else_the_end_closes(rig: StreamRig) -> None:
    async with scene(rig, eof=lambda _transport: None) as s:
        s.peer.end()
        await s.lost()
        s.expect(s.transport.is_closing(), "is_closing() is False", "a closed transport")
        await s.receive_to_end()


@checked("T7 T2", "the end of the stream is told once, also when reading is paused and resumed behind it")
async def the_end_is_told_once(rig: StreamRig) -> None:
    if not rig.half_closes:
        return
    async with scene(rig, eof=lambda _transport: True) as s:
        s.peer.end()
        await s.until(lambda: "eof" in s.told, "eof_received")
        s.do("pause_reading")
        s.do("resume_reading")
        await s.turns()
        s.expect(s.told.count("eof") == 1, f"{s.told.count('eof')} ends", "one end of the stream")
        s.do("close")
        await s.receive_to_end()


@checked("T2", "reading that is paused in connection_made stays paused behind it")
async def pausing_when_it_is_made(rig: StreamRig) -> None:
    async with scene(rig, made=lambda transport: transport.pause_reading()) as s:
        await s.send(b"x")
        await s.turns()
        s.expect(not s.story.data, "data while paused", "nothing")
        s.do("resume_reading")
        await s.until(lambda: s.story.data == b"x", "data behind resume_reading")


@checked("T2", "while reading is paused nothing comes, not even the end; resuming delivers, and not from inside of it")
async def nothing_comes_while_paused(rig: StreamRig) -> None:
    async with scene(rig) as s:
        s.expect(s.transport.is_reading(), "is_reading() is False", "a new transport reads")
        s.do("pause_reading")
        s.expect(not s.transport.is_reading(), "is_reading() is True", "False while paused")
        await s.send(b"waits")
        s.peer.end()
        await s.turns()
        s.expect(s.told == ["made"], "something came while paused", "nothing")
        inside: list[str] = []

        def resume() -> None:
            s.transport.resume_reading()
            inside.extend(s.told[1:])

        rig.do(resume)
        s.expect(not inside, f"{inside} from inside resume_reading()", "delivery in a later turn")
        await s.lost()
        s.expect(s.story.data == b"waits", "other bytes", "what waited")
        s.expect(s.told[-2:] == ["eof", "lost"], "another end", "the end behind the data")


@checked("T2", "to pause twice is to pause once, to resume twice is to resume once")
async def pausing_and_resuming_again_is_nothing(rig: StreamRig) -> None:
    async with scene(rig) as s:
        s.do("resume_reading")
        for _ in range(2):
            s.do("pause_reading")
        await s.send(b"x")
        await s.turns()
        s.expect(not s.story.data, "data while paused", "nothing")
        s.do("resume_reading")
        await s.until(lambda: s.story.data == b"x", "data behind one resume_reading")
        s.do("resume_reading")
        await s.send(b"y")
        await s.until(lambda: s.story.data == b"xy", "data behind the second resume_reading")


@checked("T2", "reading that is paused in the delivery stays paused behind it")
async def pausing_in_the_delivery(rig: StreamRig) -> None:
    async with scene(rig, data=lambda transport: transport.pause_reading()) as s:
        for count in range(1, 6):
            await s.send(b"x")
            await s.until(partial(_has, s, count), "one byte a round")
            s.expect(not s.transport.is_reading(), "is_reading() is True", "False")
            await s.turns(3)
            s.expect(len(s.story.data) == count, f"{len(s.story.data)} bytes", f"{count} bytes while paused")
            s.do("resume_reading")


def _has(s: Scene, count: int) -> bool:
    return len(s.story.data) == count


@checked("T2 T1", "to pause or resume a transport that is closing or lost is nothing")
async def pausing_behind_the_end(rig: StreamRig) -> None:
    async with scene(rig) as s:
        s.do("close")
        s.expect(not s.transport.is_reading(), "is_reading() is True", "False behind close()")
        s.do("pause_reading")
        s.do("resume_reading")
        s.peer.end()
        await s.lost()
        s.do("resume_reading")
        s.do("pause_reading")
        s.expect(not s.transport.is_reading(), "is_reading() is True", "False when lost")


@checked("T7", "behind set_protocol all that comes goes to the new protocol, connection_lost included")
async def another_protocol_takes_over(rig: StreamRig) -> None:
    async with scene(rig) as s:
        await s.send(b"old")
        await s.until(lambda: s.story.data == b"old", "data at the first protocol")
        first, second = s.story, Story()
        s.expect(s.transport.get_protocol() is first, "another get_protocol()", "the protocol that it was made with")
        second.told.append("made")
        second.transport = first.transport
        s.do("set_protocol", second)
        s.story = second
        s.expect(s.transport.get_protocol() is second, "another get_protocol()", "the new protocol")
        await s.send(b"new")
        await s.until(lambda: second.data == b"new", "data at the second protocol")
        s.peer.end()
        await s.lost()
        s.expect(first.data == b"old" and "eof" not in first.told, first.told, "nothing more at the first protocol")
        first.lost_with.append(None)


@checked("T1", "facts about a connection are there to its end; what is not known is the default")
async def facts(rig: StreamRig) -> None:
    async with scene(rig) as s:
        nothing: Any = object()
        s.expect(s.transport.get_extra_info("nothing", nothing) is nothing, "a fact", "the default")
        s.expect(s.transport.get_extra_info("nothing") is None, "a fact", "None")
        before = s.transport.get_extra_info("peername")
        is_secure = s.transport.get_extra_info("ssl_object") is not None
        s.expect(is_secure is not rig.half_closes, f"ssl_object: {is_secure}", "an ssl_object over TLS alone")
        for name in ("sslcontext", "cipher") if is_secure else ():
            s.expect(s.transport.get_extra_info(name) is not None, f"no {name}", "facts of TLS")
        sock = s.transport.get_extra_info("socket")
        if sock is not None:
            s.expect(sock.getpeername() == before, before, "peername of the socket")
            s.expect(sock.getsockname() == s.transport.get_extra_info("sockname"), "another", "sockname of the socket")
        s.do("abort")
        await s.lost()
        s.expect(s.transport.get_extra_info("peername") == before, "another peername", "the same one when it is lost")


READING: Final = numbered(
    data_then_the_end,
    true_behind_the_end_keeps_the_other_direction,
    else_the_end_closes,
    the_end_is_told_once,
    pausing_when_it_is_made,
    nothing_comes_while_paused,
    pausing_and_resuming_again_is_nothing,
    pausing_in_the_delivery,
    pausing_behind_the_end,
    another_protocol_takes_over,
    facts,
)
