# SPDX-License-Identifier: MIT
"""The kit for machines: bytes and time in, events and bytes out, and no surprises."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.testing.contracts import checked, expect, numbered
from tieline.testing.cuts import cuts_of, in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["MACHINE_CASES", "MachineRig"]

GARBAGE_SEEDS: Final = 20
MOST_DEADLINES: Final = 100


@dataclass(frozen=True)
class MachineRig:
    """A sans-I/O protocol machine under test.

    Its methods are ``receive_data(data, now)``, ``receive_eof(now)``, ``handle_deadline(now)`` and ``data_to_send()``,
    and it has an attribute ``deadline``: seconds, or inf or None for never.

    Attributes:
        make: Returns a new machine; called with the time at which it starts.
        conversation: All that a correct peer sends, as one byte string.
        respond: Handles an event as an application does; called with the machine and the event.
        shown: Returns what is compared of an event between two runs; None = nothing.
        output: Returns what is compared of the output, if its order may vary; by default all of it.
        garbage: Invalid input, which must cause an event, and no exception.
        more: Returns further events of the data received, for machines that return them in portions.
    """

    make: Callable[[float], Any]
    conversation: bytes
    respond: Callable[[Any, Any], object] = field(default=lambda _machine, _event: None)
    shown: Callable[[Any], object] = repr
    output: Callable[[bytes], object] = bytes
    garbage: Sequence[bytes] = field(default=())
    more: Callable[[Any, float], Sequence[Any]] = field(default=lambda _machine, _now: ())

    def __repr__(self) -> str:
        return f"MachineRig({type(self.make(0.0)).__name__})"

    def feed(self, machine: Any, data: bytes, now: float = 0.0) -> tuple[list[object], bytes]:
        """Return what of the events of *data* is to be compared, and the bytes that follow from it."""
        seen: list[object] = []
        sent = bytearray()
        events = machine.receive_data(data, now)
        while events:
            for event in events:
                shown = self.shown(event)
                if shown is not None:
                    seen.append(shown)
                self.respond(machine, event)
            sent += machine.data_to_send()
            events = self.more(machine, now)
        return seen, bytes(sent + machine.data_to_send())

    def is_same(self, one: tuple[list[object], bytes], other: tuple[list[object], bytes]) -> bool:
        """Return whether two runs came to the same."""
        return one[0] == other[0] and self.output(one[1]) == self.output(other[1])

    def played(self, pieces: Iterable[bytes]) -> tuple[list[object], bytes]:
        """Return the same of a new machine and a stream in *pieces*."""
        machine = self.make(0.0)
        seen: list[object] = []
        sent = b""
        for piece in pieces:
            events, bytes_out = self.feed(machine, piece)
            seen += events
            sent += bytes_out
        return seen, sent


@checked("M1", "wherever what comes is cut, the same events follow, and the same bytes")
async def the_same_at_every_cut(rig: MachineRig) -> None:
    told = rig.played([rig.conversation])
    expect(told[0], "no events", "some of the conversation")
    for pieces in cuts_of(rig.conversation):
        seen = rig.played(pieces)
        expect(rig.is_same(seen, told), f"{seen} behind {len(pieces[0])} bytes", f"{told}")


@checked("M1", "nothing comes of nothing, and data_to_send gives each byte once")
async def nothing_of_nothing(rig: MachineRig) -> None:
    machine = rig.make(0.0)
    expect(not machine.receive_data(b"", 0.0), "events", "none of no bytes")
    rig.feed(machine, rig.conversation)
    again = machine.data_to_send()
    expect(again == b"", f"{len(again)} bytes again", "none behind the last data_to_send()")


@checked("M1", "a peer's fault is an event, at once or a fault of the machine's own state; never an exception")
async def garbage_raises_nothing(rig: MachineRig) -> None:
    for garbage in rig.garbage:
        for before in (b"", rig.conversation):
            base = rig.played([before])
            seen = rig.played([before + garbage])
            expect(seen != base, f"nothing of {garbage[:20]!r}", "an event or an answer")
            for pieces in cuts_of(before + garbage):
                again = rig.played(pieces)
                expect(rig.is_same(again, seen), f"others behind {len(pieces[0])} bytes", "the same at every cut")


@checked("M1", "whatever comes, cut anywhere, nothing is raised", seed=range(GARBAGE_SEEDS))
async def any_bytes_raise_nothing(rig: MachineRig, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(rig.conversation)
    for _ in range(chance.randrange(1, 10)):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(0, 4)] = chance.randbytes(chance.randrange(1, 5))
    for size in (len(data), 1, 5):
        rig.played(in_pieces(bytes(data), size))


@checked("M2", "handle_deadline may come early and then does nothing; behind it the deadline is later, or never")
async def deadlines(rig: MachineRig) -> None:
    machine = rig.make(0.0)
    rig.feed(machine, rig.conversation)
    now = 0.0
    for _ in range(MOST_DEADLINES):
        deadline = _deadline(machine)
        if deadline == inf:
            return
        early = now + (deadline - now) / 2
        if early < deadline:
            events = machine.handle_deadline(early)
            expect(not events, f"{events!r} before the deadline", "nothing")
        now = max(now, deadline)
        machine.handle_deadline(now)
        later = _deadline(machine)
        expect(later > now, f"a deadline of {later:g} behind handle_deadline({now:g})", "a later one, or never")


def _deadline(machine: Any) -> float:
    return inf if machine.deadline is None else float(machine.deadline)


@checked("M1", "the end of the stream is handled anywhere, and nothing is raised")
async def the_end_anywhere(rig: MachineRig) -> None:
    for place in sorted({0, 1, len(rig.conversation) // 2, len(rig.conversation) - 1, len(rig.conversation)}):
        machine = rig.make(0.0)
        rig.feed(machine, rig.conversation[:place])
        machine.receive_eof(0.0)
        machine.data_to_send()


MACHINE_CASES: Final = numbered(
    the_same_at_every_cut,
    nothing_of_nothing,
    garbage_raises_nothing,
    any_bytes_raise_nothing,
    deadlines,
    the_end_anywhere,
)
