# SPDX-License-Identifier: MIT
"""The stream kit: what goes out, and how much of it may wait."""

from __future__ import annotations

from typing import Any, Final

from tieline.testing.contracts import ContractBroken, checked, numbered
from tieline.testing.stream_rigs import Scene, StreamRig, scene

__all__ = ["WRITING"]

PIECE: Final = b"x" * 16384


async def _fill(s: Scene) -> int:
    """Write to a peer that reads nothing until the protocol is told to pause for good; return how many bytes."""
    high = s.transport.get_write_buffer_limits()[1]
    written = 0
    while True:
        before = s.told.count("pause")
        while s.told.count("pause") == before:
            size = s.transport.get_write_buffer_size()
            s.expect(size <= high, f"{size} bytes unsent and no pause_writing", f"pause_writing over {high} bytes")
            s.do("write", PIECE)
            written += len(PIECE)
            s.expect(written < 64 << 20, f"{written} bytes written", "pause_writing while the peer reads nothing")
        size = s.transport.get_write_buffer_size()
        s.expect(size > high, f"pause_writing at {size} bytes", f"not before there are more than {high}")
        await s.turns()
        if s.told[-1] == "pause":  # else what lies between the two ends has taken more
            return written


@checked("T3 T1", "what was written is sent before the transport closes", how=["close", "write_eof"])
async def what_was_written_is_sent_before_the_end(rig: StreamRig, how: str) -> None:
    async with scene(rig) as s:
        data = bytes(rig.big)
        s.do("write", data)
        unsent = s.transport.get_write_buffer_size()
        s.expect(unsent > 0, "nothing unsent", "a part that waits")
        if how == "write_eof" and not rig.half_closes:
            return
        s.do(how)
        s.expect(
            s.transport.is_closing() is (how == "close"), s.transport.is_closing(), "is_closing behind close alone"
        )
        got = await s.receive_to_end()
        s.expect(got == data, f"{len(got)} bytes", f"{len(data)} bytes, then the end")
        s.do("close")
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")


@checked("T3", "write_eof closes one direction alone and can be repeated; writing behind it is a RuntimeError")
async def the_end_of_writing(rig: StreamRig) -> None:
    async with scene(rig) as s:
        can = s.transport.can_write_eof()
        s.expect(can is rig.half_closes, f"can_write_eof() is {can}", f"{rig.half_closes}")
        if not can:
            _raises(s, NotImplementedError, "write_eof")
            return
        s.do("write_eof")
        s.do("write_eof")
        s.expect(await s.receive_to_end() == b"", bytes(s.got[:50]), "the end at the peer")
        _raises(s, RuntimeError, "write", b"x")
        await s.send(b"still heard")
        await s.until(lambda: s.story.data == b"still heard", "data from the peer behind write_eof")


def _raises(s: Scene, error: type[Exception], order: str, *args: Any) -> None:
    try:
        s.do(order, *args)
    except error:
        return
    except Exception as exc:
        raise ContractBroken(f"seen: {order} raised {exc!r}; expected: {error.__name__}") from exc
    raise ContractBroken(f"seen: {order} raised nothing; expected: {error.__name__}")


@checked("T3", "pieces of any kind and size arrive in order; nothing is nothing; what is no bytes is a TypeError")
async def pieces_arrive_in_order(rig: StreamRig) -> None:
    async with scene(rig) as s:
        big = bytes(rig.big)
        s.do("write", big)
        for number in range(300):  # more than one system call takes
            s.do("write", b"%d," % number)
        s.do("write", b"")
        s.do("write", memoryview(b"-view-")[1:5])
        s.do("writelines", [b"one", bytearray(b"two"), memoryview(b"three")])
        s.do("writelines", [])
        _raises(s, TypeError, "write", "text")
        s.do("close")
        expected = big + b"".join(b"%d," % number for number in range(300)) + b"viewonetwothree"
        got = await s.receive_to_end()
        s.expect(got == expected, f"{len(got)} bytes ending in {got[-20:]!r}", f"{len(expected)} bytes as written")


@checked("T3", "what waits is a copy: a buffer may be used again as soon as write returns")
async def what_waits_is_a_copy(rig: StreamRig) -> None:
    async with scene(rig) as s:
        big = bytes(rig.big)
        s.do("write", big)
        changing = bytearray(b"abc" * 1000)
        s.do("write", changing)
        s.do("write", memoryview(changing)[:3])
        changing[:] = b"z" * len(changing)
        s.do("close")
        got = await s.receive_to_end()
        s.expect(got[len(big) :] == b"abc" * 1001, got[len(big) :][:20], "the bytes as they were when written")


@checked("T3", "writelines counts as write does: over the limit the protocol is told to pause")
async def writelines_gives_backpressure(rig: StreamRig) -> None:
    async with scene(rig) as s:
        s.do("writelines", [PIECE] * (rig.big // len(PIECE) + 1))
        high = s.transport.get_write_buffer_limits()[1]
        size = s.transport.get_write_buffer_size()
        s.expect(size > high, f"{size} bytes unsent", f"more than {high}")
        s.expect("pause" in s.told, f"{size} bytes unsent and no pause_writing", "pause_writing")


@checked("T3", "limits: 0 <= low <= high, else ValueError; low is a part of high; high=0 means low=0")
async def limits_of_the_write_buffer(rig: StreamRig) -> None:
    async with scene(rig) as s:
        limits = s.transport.get_write_buffer_limits
        s.do("set_write_buffer_limits", 4000)
        low, high = limits()
        s.expect((low < high) == (high == 4000), limits(), "a low limit under a high one of 4000")
        s.do("set_write_buffer_limits", 0)
        s.expect(limits() == (0, 0), limits(), "(0, 0)")
        s.do("set_write_buffer_limits", None, 100)
        s.expect(limits()[0] == 100 <= limits()[1], limits(), "a low limit of 100 and a high one over it")
        for high_low in ((1, 2), (-1, None), (5, -1)):
            _raises(s, ValueError, "set_write_buffer_limits", *high_low)
        s.expect(limits()[0] == 100, limits(), "limits that are refused change nothing")


@checked("T4", "pause_writing once over high, resume_writing once at low, in pairs", limits=["", "1048576-0", "0-0"])
async def pausing_and_resuming_are_paired(rig: StreamRig, limits: str) -> None:
    async with scene(rig) as s:
        if limits:
            high, low = map(int, limits.split("-"))
            s.do("set_write_buffer_limits", min(high, rig.big // 8), low)
        low = s.transport.get_write_buffer_limits()[0]
        written = 0
        for _ in range(3):
            written += await _fill(s) + 1
            count = s.told.count("pause")
            s.do("write", b"x")
            s.expect(s.told.count("pause") == count, "pause_writing again", "one until it is resumed")
            await s.turns(3)
            s.expect(s.told.count("resume") == count - 1, "resume_writing", "none while the peer reads nothing")
            await s.until(lambda: s.receive_some() or s.told[-1] == "resume", "resume_writing as the peer reads")
            size = s.transport.get_write_buffer_size()
            s.expect(size <= low, f"resume_writing at {size} bytes", f"not before there are {low} or less")
            s.expect(s.told.count("resume") == count, "resume_writing more than once", "one for each pause")
        await s.until(lambda: s.receive_some() or len(s.got) == written, "all that was written")


@checked("T4 T1", "a peer that never reads makes the protocol pause once; abort ends it all the same")
async def a_peer_that_never_reads(rig: StreamRig) -> None:
    async with scene(rig) as s:
        await _fill(s)
        count = s.told.count("pause")
        await s.turns()
        s.expect(s.told.count("pause") == count and s.told[-1] == "pause", "more", "one pause_writing and no more")
        s.do("abort")
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")


@checked("T3", "abort drops what is unsent at once, and connection_lost(None) comes, not from inside of it")
async def abort_drops_what_is_unsent(rig: StreamRig) -> None:
    async with scene(rig) as s:
        s.do("write", bytes(rig.big))
        inside: list[str] = []

        def abort() -> None:
            s.transport.abort()
            inside.extend(name for name in s.told if name == "lost")

        rig.do(abort)
        size = s.transport.get_write_buffer_size()
        s.expect(not inside or rig.tells_at_once, "connection_lost from inside abort()", "it in a later turn")
        s.expect(size == 0, f"{size} bytes unsent", "none behind abort()")
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")
        got = await s.receive_to_end()
        s.expect(len(got) < rig.big, f"{len(got)} bytes", "less than was written")


@checked("T7", "writing to a peer that is gone ends the connection with its error, and raises nothing")
async def writing_to_a_peer_that_is_gone(rig: StreamRig) -> None:
    if not rig.half_closes:
        return  # the end has closed the transport already
    async with scene(rig, eof=lambda _transport: True) as s:
        s.peer.close()
        await s.until(lambda: "eof" in s.told, "eof_received")

        def write_on() -> bool:
            s.do("write", b"x")
            return bool(s.story.is_lost)

        await s.until(write_on, "connection_lost")
        error = s.story.lost_with[0]
        is_right = isinstance(error, ConnectionResetError | BrokenPipeError)
        s.expect(is_right, repr(error), "ConnectionResetError or BrokenPipeError")


WRITING: Final = numbered(
    what_was_written_is_sent_before_the_end,
    the_end_of_writing,
    pieces_arrive_in_order,
    what_waits_is_a_copy,
    writelines_gives_backpressure,
    limits_of_the_write_buffer,
    pausing_and_resuming_are_paired,
    a_peer_that_never_reads,
    abort_drops_what_is_unsent,
    writing_to_a_peer_that_is_gone,
)
