# SPDX-License-Identifier: MIT
"""Two machines of message sessions over a lossy scheduler: what is said is heard, in order, once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, cast

from tests.seeds.lossy import PATIENCE, Ending, Scheduler
from tests.wire.jsonrpc.ends import End, Pipe
from tests.wire.message_machines import machine_of
from tieline.wire.framing.base import FramerBase
from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
from tieline.wire.framing.netstring import NetstringFramer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.framing.varint import VarintFramer
from tieline.wire.messages import MessageReceived

__all__ = ["play"]

FRAMERS: list[Callable[[], FramerBase[Any]]] = [NewlineFramer, LengthPrefixedFramer, VarintFramer, NetstringFramer]
ENDINGS: list[Ending] = ["after all", "after all", "any time", "cut"]


class Speaker(End):
    """An end that says something, and takes its time with what it hears.

    Attributes:
        left: How much it still has to say.
        said: What it has said.
        heard: What it has heard.
        at_work: What it is not done with.
        faults: What else it was told.
    """

    def __init__(self, machine: Any, inward: Pipe, outward: Pipe, rng: random.Random) -> None:
        super().__init__(machine, inward, outward)
        self.rng = rng
        self.left = rng.randrange(100)
        self.size = min(rng.choice((1, 100, 5000, 60_000)), 20 * inward.capacity)
        self.said: list[bytes] = []
        self.heard: list[bytes] = []
        self.at_work: list[MessageReceived] = []
        self.faults: list[object] = []

    def handle(self, events: Iterable[Any]) -> None:
        for event in events:
            if isinstance(event, MessageReceived):
                self.heard.append(bytes(event.message))
                self.at_work.append(event)
            else:
                self.faults.append(event)

    def speak(self, _now: float) -> bool:
        machine = cast("Any", self.machine)
        machine.flow.senders_waiting = int(self.left > 0 and not machine.has_room)
        if not self.left or not machine.has_room:
            return False
        self.left -= 1
        message = b"%d " % len(self.said) + b"x" * self.rng.randrange(self.size)
        machine.send_message(message)
        self.said.append(message)
        return True

    def work(self) -> bool:
        if not self.at_work:
            return False
        cast("Any", self.machine).done(self.at_work.pop(self.rng.randrange(len(self.at_work))))
        return True


def play(seed: int) -> None:
    """Play one conversation, and fail with what is wrong about it."""
    rng = random.Random(seed)
    ending = rng.choice(ENDINGS)
    make = rng.choice(FRAMERS)
    capacity = rng.choice((50, 1000, 60_000))
    limits: dict[str, Any] = {
        "max_pending": rng.choice((1, 3, 64)),
        "write_high_water": rng.choice((100, 64 * 1024)),
        "write_low_water": 50,
        **PATIENCE,
    }
    there, back = Pipe(capacity), Pipe(capacity)
    ends = [
        Speaker(machine_of(make(), accepted=False, **limits), back, there, rng),
        Speaker(machine_of(make(), accepted=True, **limits), there, back, rng),
    ]
    scheduler = Scheduler(ends, rng, cast("Any", Speaker.speak), cast("Any", Speaker.work), ending)
    for end in ends:
        cast("Any", end.machine).start(scheduler.now)
    scheduler.run()
    for side in (0, 1):
        check(ends[side], ends[1 - side], scheduler, has_closed=scheduler.has_closed[1 - side])


def check(end: Speaker, other: Speaker, scheduler: Scheduler, *, has_closed: bool) -> None:
    """See that the *other* end has heard what *end* said; *has_closed* tells whether that one did not want to."""
    assert not end.faults, end.faults
    assert other.heard == end.said[: len(other.heard)], "messages out of order, changed, or twice"
    if scheduler.ending == "after all" or (scheduler.ending == "any time" and not has_closed):
        assert len(other.heard) == len(end.said), f"{len(end.said) - len(other.heard)} messages were lost"
    machine = cast("Any", end.machine)
    assert (machine.has_output, machine.has_more) == (False, False)
