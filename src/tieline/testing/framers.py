# SPDX-License-Identifier: MIT
"""The kit for framers: whatever the cuts, the same messages; whatever the bytes, a fault that is told, and bounds."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import MessageTooLarge
from tieline.testing.contracts import checked, expect, numbered
from tieline.testing.cuts import TURNS, cuts_of, in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tieline.wire.framing.base import FramerBase

__all__ = ["FRAMER_CASES", "FramerRig"]

GARBAGE_SEEDS: Final = 20


@dataclass(frozen=True)
class FramerRig:
    """A framer under test.

    Attributes:
        make: Returns a new framer.
        messages: Valid messages: some short, some long, and an empty one if the framing allows it.
        garbage: Invalid streams, each of which must raise an error.
        limit: The maximum size of a message in bytes that *make* sets; 0 = no limit, which is then not checked.
        overhead: How many bytes more than that the framer may buffer for an incomplete message.
        tells_pending: Whether `FramerBase.pending` is supported.
    """

    make: Callable[[], FramerBase[Any]]
    messages: Sequence[Any]
    garbage: Sequence[bytes] = field(default=())
    limit: int = 0
    overhead: int = 1024
    tells_pending: bool = True

    def __repr__(self) -> str:
        return f"FramerRig({type(self.make()).__name__})"

    def played(self, pieces: Iterable[bytes]) -> tuple[list[Any], str | None]:
        """Return what a new framer makes of a stream in *pieces*: messages up to the first fault, and its text."""
        framer, seen = self.make(), list[Any]()
        for piece in pieces:
            taken, fault = framer.take(piece)
            seen += taken
            if fault is not None:
                # How much had come by then is in some texts, and depends on the cuts.
                return seen, type(fault).__name__
        return seen, None


def _stream(rig: FramerRig) -> bytes:
    return rig.make().frame(rig.messages)


@checked("F1", "what was framed comes out again as it was, and nothing is held behind it")
async def round_trip(rig: FramerRig) -> None:
    framer = rig.make()
    taken, fault = framer.take(_stream(rig))
    expect(fault is None, repr(fault), "no fault")
    expect(taken == list(rig.messages), f"{len(taken)} messages", f"the {len(rig.messages)} that were framed")
    kinds = [type(message).__name__ for message in taken]
    expect(not framer.frames_bytes or {*kinds} <= {"bytes"}, kinds, "bytes")
    expect(framer.pending == 0, f"{framer.pending} bytes pending", "none between two messages")
    one_by_one = b"".join(rig.make().frame([message]) for message in rig.messages)
    expect(rig.played([one_by_one])[0] == taken, "other messages", "the same when each is framed by itself")
    expect(rig.make().frame([]) == b"", "bytes", "nothing for no messages")


@checked("F1", "wherever a stream is cut, the same messages come of it, in order")
async def every_cut(rig: FramerRig) -> None:
    whole = _stream(rig)
    for pieces in cuts_of(whole):
        seen, fault = rig.played(pieces)
        expect(fault is None, f"{fault} behind {len(pieces[0])} bytes", "no fault")
        expect(seen == list(rig.messages), f"{len(seen)} others behind {len(pieces[0])} bytes", "the same messages")


@checked("F1", "a message that is not complete is held and told, and completed by what comes")
async def part_of_a_message(rig: FramerRig) -> None:
    whole = rig.make().frame([max(rig.messages, key=lambda message: len(rig.make().frame([message])))])
    framer = rig.make()
    taken, fault = framer.take(whole[:-1])
    expect((taken, fault) == ([], None), (len(taken), fault), "nothing yet")
    if rig.tells_pending:
        expect(framer.pending > 0, "0 bytes pending", "the bytes of an unfinished message")
    taken, fault = framer.take(b"")
    expect((taken, fault) == ([], None), (len(taken), fault), "nothing of nothing")
    taken, fault = framer.take(whole[-1:])
    expect((len(taken), fault, framer.pending) == (1, None, 0), (len(taken), fault, framer.pending), "the message")


@checked("F1 F8", "two framers share nothing, though their bytes come in turns")
async def framers_are_apart(rig: FramerRig) -> None:
    messages = (list(rig.messages), [*reversed(rig.messages)])
    for sizes in TURNS:
        one, other = rig.make(), rig.make()
        expect(one is not other, "the same framer", "a new one each time")
        streams = [in_pieces(rig.make().frame(several), size) for several, size in zip(messages, sizes, strict=True)]
        seen: tuple[list[Any], list[Any]] = ([], [])
        for pieces in zip_longest(*streams, fillvalue=b""):
            for framer, piece, got in zip((one, other), pieces, seen, strict=True):
                taken, fault = framer.take(piece)
                got += taken
                expect(fault is None, repr(fault), "no fault")
        expect(seen == messages, [len(got) for got in seen], "the messages of each, in their order")


@checked("F2", "bytes that are no stream are a fault, behind the messages before them, at every cut")
async def garbage_is_told(rig: FramerRig) -> None:
    good = rig.make().frame(list(rig.messages)[:1])
    for garbage in rig.garbage:
        for before in (b"", good):
            told = rig.played([before + garbage])
            expect(told[1] is not None, f"no fault of {garbage[:20]!r}", "a fault")
            expect(len(told[0]) >= bool(before), "no message", "the message before the fault")
            for pieces in cuts_of(before + garbage):
                seen = rig.played(pieces)
                expect(seen == told, f"{seen[1]} behind {len(pieces[0])} bytes of {garbage[:20]!r}", str(told[1]))


@checked("F2", "whatever comes, cut anywhere: an answer, the same one, and no exception", seed=range(GARBAGE_SEEDS))
async def any_bytes(rig: FramerRig, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(_stream(rig) * 2)
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randrange(1, 20)]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(1, 20))
        data = data or bytearray(b"\0")
    stream = bytes(data[: rig.limit or len(data)])
    told = rig.played([stream])
    for size in (1, 2, 3, 7):
        seen = rig.played(in_pieces(stream, size))
        expect(seen == told, f"{len(seen[0])} messages and {seen[1]} in pieces of {size}", f"{len(told[0])}, {told[1]}")


@checked("F3 F8", "a message over the limit is MessageTooLarge before it is held; one at the limit is taken")
async def the_limit(rig: FramerRig) -> None:
    if not rig.limit:
        return
    framer = rig.make()
    fault: Exception | None = None
    sent = 0
    message = b"1" * (2 * rig.limit + rig.overhead)
    for piece in in_pieces(framer.frame([message]), max(1, rig.limit // 8)):
        taken, fault = framer.take(piece)
        sent += len(piece)
        expect(not taken, "a message over the limit", "none")
        if fault is not None:
            break
        held = rig.limit + rig.overhead
        expect(framer.pending <= held, f"{framer.pending} bytes held", f"{held} at most")
    expect(isinstance(fault, MessageTooLarge), repr(fault), "MessageTooLarge")
    expect(
        sent <= rig.limit + rig.limit // 8 + rig.overhead + 1, f"told behind {sent} bytes", f"a limit of {rig.limit}"
    )
    exact = rig.make()
    taken, fault = exact.take(exact.frame([b"1" * rig.limit]))
    expect((len(taken), fault) == (1, None), (len(taken), fault), f"a message of {rig.limit} bytes")
    over = rig.make()
    taken, fault = over.take(over.frame([b"1" * (rig.limit + 1)]))
    expect(not taken and isinstance(fault, MessageTooLarge), (len(taken), fault), "MessageTooLarge of one byte more")


FRAMER_CASES: Final = numbered(
    round_trip, every_cut, part_of_a_message, framers_are_apart, garbage_is_told, any_bytes, the_limit
)
