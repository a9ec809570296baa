# SPDX-License-Identifier: MIT
"""Two machines of JSON-RPC over a lossy scheduler: each call ends once, runs once at most, and gets its own answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

from msgspec import UNSET

from tests.seeds.lossy import PATIENCE, Ending, Scheduler
from tests.wire.jsonrpc.driving import columns
from tests.wire.jsonrpc.ends import End, two_ends
from tieline.errors import ClosedError, ConnectionLost, RPCError, SessionBusy
from tieline.wire.jsonrpc.events import Event
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv2
from tieline.wire.jsonrpc.reading import Request

__all__ = ["play"]

PROTOCOLS: list[type[JSONRPC]] = [JSONRPCv2, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect]
ENDINGS: list[Ending] = ["after all", "after all", "any time", "cut"]
FAILED, BUSY = 7, -102


class Talker(End):
    """An end with callers and handlers.

    Attributes:
        left: How much it still has to say.
        asked: The arguments of each call, by its token.
        forgotten: The tokens of calls that were taken back.
        noted: How many notifications were sent.
        ran: How often each call of the other end came here.
        failed: The calls that were refused here on purpose.
        heard: The numbers of the notifications that came.
    """

    def __init__(self, end: End, rng: random.Random) -> None:
        super().__init__(end.machine, end.inward, end.outward)
        self.rng = rng
        self.left = rng.randrange(40)
        self.size = min(rng.choice((1, 100, 3000, 30_000)), 20 * end.inward.capacity)
        self.asked: dict[str, Any] = {}
        self.open: dict[str, int] = {}
        self.forgotten: set[str] = set()
        self.noted = 0
        self.ran: Counter[str] = Counter()
        self.failed: set[str] = set()
        self.heard: list[int] = []

    def handle(self, events: Iterable[Event]) -> None:
        super().handle(events)
        for event in events:
            if not isinstance(event, Request):
                continue
            if event.id is UNSET:
                self.running.remove(event)
                self.heard.append(cast("Any", event.params)[0])
                self.machine.reply(event, None)
            else:
                self.ran[cast("Any", event.params)[0]] += 1

    def speak(self, now: float) -> bool:
        """Call, notify, send a batch, or take a call back."""
        machine = self.machine
        machine.flow.senders_waiting = int(self.left > 0 and not machine.has_room)
        if not self.left or not machine.has_room:
            return False
        what = self.rng.choice(("call", "call", "call", "note", "batch", "forget"))
        if what == "forget" and self.forget():
            return True
        if what == "note":
            machine.send_notification("note", [self.noted])
            self.noted += 1
        else:
            timeout = self.rng.choice((None, None, 60.0, 0.5))
            count = self.rng.randrange(1, 5) if what == "batch" else 1
            tokens = [f"{len(self.made) + index}" for index in range(count)]
            asked = {token: [token, "x" * self.rng.randrange(self.size)] for token in tokens}
            ids: Sequence[int]
            try:
                if what != "batch":
                    ids = [machine.send_request("echo", asked[tokens[0]], tokens[0], now, timeout)]
                else:
                    ids = machine.send_batch(
                        *columns([("echo", asked[token], token) for token in tokens]), now, timeout
                    )
            except SessionBusy:
                return False
            self.made += tokens
            self.asked |= asked
            self.open |= dict(zip(tokens, ids, strict=True))
        self.left -= 1
        return True

    def forget(self) -> bool:
        candidates = sorted(self.open.keys() - self.ended.keys())
        if not candidates:
            return False
        token = self.rng.choice(candidates)
        self.machine.forget(self.open.pop(token))
        self.forgotten.add(token)
        return True

    def work(self) -> bool:
        """Answer something that was asked, in any order."""
        if not self.running:
            return False
        number = self.rng.randrange(len(self.running))
        if self.rng.random() < 0.1:
            self.failed.add(cast("Any", self.running[number].params)[0])
            self.fail(number)
        else:
            self.answer(number)
        return True


def play(seed: int) -> None:
    """Play one conversation, and fail with what is wrong about it."""
    rng = random.Random(seed)
    ending = rng.choice(ENDINGS)
    pair = two_ends(
        rng.choice((50, 1000, 60_000)),
        rng.choice(PROTOCOLS),
        max_pending=rng.choice((1, 3, 64)),
        max_calls=rng.choice((5, 1000)),
        write_high_water=rng.choice((100, 64 * 1024)),
        write_low_water=50,
        **PATIENCE,
    )
    talkers = [Talker(end, rng) for end in pair]
    speak = cast("Any", Talker.speak)
    scheduler = Scheduler(talkers, rng, speak, cast("Any", Talker.work), ending)
    for end in talkers:
        end.machine.start(scheduler.now)
    scheduler.run()
    for side in (0, 1):
        check(talkers[side], talkers[1 - side], scheduler)


def check(end: Talker, other: Talker, scheduler: Scheduler) -> None:
    """See that each call ended as it may, that nothing is left, and that the other end ran no call twice."""
    assert set(end.ended) | end.forgotten == set(end.made), "calls that never ended"
    assert not set(end.ended) & end.forgotten, "calls that ended though they were taken back"
    assert max(other.ran.values(), default=0) <= 1, "a call that ran twice"
    is_whole = scheduler.ending == "after all"
    for token, outcomes in end.ended.items():
        assert len(outcomes) == 1, f"call {token} ended twice"
        (outcome,) = outcomes
        if isinstance(outcome, RPCError):
            assert outcome.code == (FAILED if token in other.failed else BUSY), outcome
            assert other.ran[token] == (token in other.failed)
        elif isinstance(outcome, Exception):
            allowed = (TimeoutError,) if is_whole else (TimeoutError, ConnectionLost, ClosedError)
            assert isinstance(outcome, allowed), repr(outcome)
        else:
            assert outcome == end.asked[token], f"call {token} got the answer of another"
            assert other.ran[token] == 1
    assert other.heard == list(range(len(other.heard))), "notifications out of order, or twice"
    assert len(other.heard) == end.noted or not is_whole, "notifications that were lost"
    assert not end.violations, end.violations
    machine = end.machine
    assert (machine.open_calls, machine.unanswered, machine.has_output, machine.has_more) == (0, 0, False, False)
