# SPDX-License-Identifier: MIT
"""The stream kit: how a connection ends, at any point, and in a storm."""

from __future__ import annotations

import random
from typing import Any, Final

from tieline.testing.contracts import checked, numbered
from tieline.testing.stream_rigs import StreamRig, scene

__all__ = ["ENDING"]

HOW: Final = ("close", "abort")
POINTS: Final = 12  # turns in which the exchange of `ended_at_any_point` is interrupted


@checked("T1", "behind close nothing is delivered or written; to close or abort again is nothing")
async def behind_close_nothing_happens(rig: StreamRig) -> None:
    async with scene(rig, data=lambda transport: transport.close()) as s:
        s.expect(not s.transport.is_closing(), "is_closing() is True", "False at first")
        await s.send(b"one")
        s.peer.end()
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")
        s.expect(s.transport.is_closing(), "is_closing() is False", "True to the end")
        s.do("write", b"late")
        s.do("close")
        s.do("abort")
        await s.turns()
        s.expect(s.told.count("data") == 1 and s.told[-1] == "lost", "more", "no callback behind close")
        s.expect(await s.receive_to_end() == b"", bytes(s.got[:50]), "nothing at the peer")


@checked("T1 T7", "close and abort are told in a later turn, once", how=HOW)
async def the_end_is_not_told_from_inside_the_order(rig: StreamRig, how: str) -> None:
    async with scene(rig) as s:
        inside: list[str] = []

        def order() -> None:
            getattr(s.transport, how)()
            inside.extend(name for name in s.told if name == "lost")

        rig.do(order)
        s.expect(not inside or rig.tells_at_once, f"connection_lost from inside {how}()", "it in a later turn")
        s.expect(s.transport.is_closing(), "is_closing() is False", "True at once")
        s.peer.end()
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")


@checked(
    "T7", "ended within a callback, the connection is told so behind it, once",
    moment=["made", "data", "eof", "pause", "resume"], how=HOW,
)  # fmt: skip
async def ended_within_a_callback(rig: StreamRig, moment: str, how: str) -> None:
    def order(transport: Any) -> None:
        getattr(transport, how)()

    async with scene(rig, **{moment: order}) as s:
        if moment in ("pause", "resume"):
            s.do("write", bytes(rig.big))
        elif moment == "data":
            await s.send(b"x")
        elif moment == "eof":
            s.peer.end()
        if moment == "resume":
            await s.until(lambda: s.receive_some() or "resume" in s.told, "resume_writing")
        await s.until(s.receive_some, "the end at the peer")
        if not rig.half_closes:
            s.peer.end()
        error = await s.lost()
        s.expect(error is None, repr(error), "connection_lost(None)")


@checked("T7 T1", "whenever it is ended, in the middle of an exchange, connection_lost comes once", how=HOW)
async def ended_at_any_point(rig: StreamRig, how: str) -> None:
    for point in range(POINTS):
        async with scene(rig, data=lambda transport: transport.write(b"y" * 3000)) as s:
            for turn in range(POINTS):
                if turn == point:
                    s.do(how)
                _send_if_possible(s.peer, b"x" * 1000)
                if turn == POINTS - 2:
                    s.peer.end()
                s.receive_some()
                await rig.turn()
            s.peer.end()
            await s.receive_to_end()
            await s.lost()


def _send_if_possible(peer: Any, data: bytes) -> None:
    try:
        peer.send(data)
    except OSError:  # the transport has closed
        pass


@checked("T7", "a reset is told with its error, and is no end of the stream")
async def a_reset(rig: StreamRig) -> None:
    if not rig.resets:
        return
    async with scene(rig) as s:
        s.peer.reset()
        error = await s.lost()
        s.expect(isinstance(error, ConnectionResetError), repr(error), "ConnectionResetError")
        s.expect("eof" not in s.told, "eof_received", "no end of the stream")


@checked("T7", "a callback that fails ends its connection with the error, and is reported")
async def a_callback_that_fails(rig: StreamRig) -> None:
    def fail(_transport: object) -> None:
        raise ZeroDivisionError("as the kit has it")

    async with scene(rig, data=fail) as s:
        await s.send(b"x")
        error = await s.lost()
        s.expect(isinstance(error, ZeroDivisionError), repr(error), "connection_lost with what was raised")
        if rig.reports_failures:
            reported = rig.reports()
            s.expect([type(one) for one in reported] == [ZeroDivisionError], reported, "one report of what was raised")


@checked(
    "T7", "whatever is ordered in callbacks, whatever the peer does: told once, in order, nothing left", seed=range(20)
)
async def a_storm(rig: StreamRig, seed: int) -> None:
    chance = random.Random(seed)
    part = bytes(max(1, rig.big // 8))

    def order(transport: Any) -> bool:
        for _ in range(chance.randrange(3)):
            what = chance.choice(["write", "write", "pause_reading", "resume_reading", "close", "abort", "big"])
            if what == "write":
                transport.write(b"y" * chance.randrange(1, 5000))
            elif what == "big":
                transport.write(part)
            elif what not in HOW or chance.random() < 0.2:
                getattr(transport, what)()
        return chance.random() < 0.5

    async with scene(rig, **dict.fromkeys(["data", "eof", "pause", "resume"], order)) as s:
        for _ in range(chance.randrange(5, 40)):
            try:
                match chance.randrange(4):
                    case 0:
                        s.peer.send(b"z" * chance.randrange(1, 3000))
                    case 1:
                        s.peer.receive(1 << 20)
                    case 2 if chance.random() < 0.1:
                        s.peer.end()
                    case _:
                        await s.turns(chance.randrange(4))
            except OSError:
                pass


ENDING: Final = numbered(
    behind_close_nothing_happens,
    the_end_is_not_told_from_inside_the_order,
    ended_within_a_callback,
    ended_at_any_point,
    a_reset,
    a_callback_that_fails,
    a_storm,
)
