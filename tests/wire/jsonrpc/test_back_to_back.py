# SPDX-License-Identifier: MIT
"""Two machines that flood each other: nothing stalls, every call ends once, and memory stays bounded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.jsonrpc.ends import End, chunk, two_ends
from tieline.errors import RPCError
from tieline.wire.flow import MAX_EXCESS

if TYPE_CHECKING:
    from tieline.wire.jsonrpc.reading import Request

CALLS = 120
HIGH, LOW = 64 * 1024, 16 * 1024


class Caller:
    """What keeps one end calling, as sessions do: it waits for room, and says that it waits."""

    def __init__(self, end: End, rng: random.Random, size: int, window: int, notifies: bool) -> None:
        self.end, self.rng, self.size, self.window, self.notifies = end, rng, size, window, notifies
        self.left = CALLS if window else 0

    def step(self) -> bool:
        machine = self.end.machine
        machine.flow.senders_waiting = int(self.left > 0 and not machine.has_room)
        if not self.left or not machine.has_room or machine.open_calls >= self.window:
            return False
        self.left -= 1
        self.end.call(0.0, ["x" * self.size, self.left])
        if self.notifies and machine.has_room:
            machine.send_notification("note", ["y" * self.size])
        return True


def flood(seed: int, size: int, **how: Any) -> tuple[End, End]:
    """Have both ends call each other until all calls have ended; fail when nothing moves any more."""
    rng = random.Random(seed)
    ends = two_ends(how.pop("capacity", 50_000), write_high_water=HIGH, write_low_water=LOW, **how.pop("limits", {}))
    windows = how.pop("windows", (1000, 1000))
    callers = [
        Caller(end, rng, size, window, how.get("notifies", False)) for end, window in zip(ends, windows, strict=True)
    ]
    most_running = how.get("slow", 0)
    while True:
        moved = False
        order: list[Any] = [0, 1]
        rng.shuffle(order)
        for which in order:
            end, caller = ends[which], callers[which]
            moved |= caller.step()
            moved |= end.write(chunk(rng), 0.0)
            moved |= end.read(chunk(rng), 0.0)
            if end.running and (rng.random() < 0.3 or len(end.running) > most_running):
                end.answer(rng.randrange(len(end.running)))
                moved = True
        if moved:
            continue
        if any(end.running for end in ends):
            for end in ends:
                while end.running:
                    end.answer(rng.randrange(len(end.running)))
            continue
        break
    assert [caller.left for caller in callers] == [0, 0], "it stalled"
    for end in ends:
        check(end, size)
    return ends


def check(end: End, size: int) -> None:
    """Every call ended once, with its own arguments or a refusal; nothing is left; memory was bounded."""
    assert set(end.ended) == set(end.made)
    for number, token in enumerate(end.made):
        (outcome,) = end.ended[token]
        if isinstance(outcome, RPCError):
            assert outcome.code == -102
        else:
            assert outcome == ["x" * size, CALLS - 1 - number]
    machine = end.machine
    assert (machine.open_calls, machine.unanswered, machine.has_output, machine.has_more) == (0, 0, False, False)
    assert (machine.wants_data, machine.has_room, machine.flow.paused) == (True, True, False)
    # What waits: up to the mark, a reply to each request that was accepted, refusals, and one turn of our own calls.
    message = size + 200
    assert end.most_unsent <= HIGH + (2 * machine.limits.max_pending + 8) * message + MAX_EXCESS * 150


@pytest.mark.row("S10")
@pytest.mark.parametrize("size", [10, 3000, 100_000])
@pytest.mark.parametrize("seed", range(4))
def test_two_ends_that_flood_each_other_never_stall(seed: int, size: int) -> None:
    flood(seed, size)


@pytest.mark.row("S10")
@pytest.mark.parametrize("seed", range(4))
def test_nor_do_they_with_notifications_and_slow_handlers(seed: int) -> None:
    flood(seed, 30_000, notifies=True, slow=20)


@pytest.mark.row("S10")
@pytest.mark.parametrize("seed", range(4))
def test_nor_do_they_where_few_requests_are_accepted(seed: int) -> None:
    flood(seed, 20_000, limits={"max_pending": 2}, notifies=True, slow=2)


@pytest.mark.row("S10")
@pytest.mark.parametrize("seed", range(4))
def test_nor_do_they_over_a_pipe_that_holds_next_to_nothing(seed: int) -> None:
    flood(seed, 3000, capacity=100, limits={"max_pending": 3}, slow=3)


@pytest.mark.row("S10")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("windows", [(1000, 0), (0, 1000)])
def test_a_flood_in_one_direction_is_throttled_and_never_refused(seed: int, windows: tuple[int, int]) -> None:
    ends = flood(seed, 50_000, windows=windows, slow=20)
    made = [outcomes for end in ends for outcomes in end.ended.values()]
    assert len(made) == CALLS
    assert not any(isinstance(outcome, RPCError) for (outcome,) in made)


@pytest.mark.row("S10")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [100, 5000])
def test_64_handlers_that_each_call_back_over_the_same_connection(seed: int, size: int) -> None:
    rng = random.Random(seed)
    client, server = two_ends(10_000)
    for number in range(64):
        client.call(0.0, ["x" * size, number])
    waiting: dict[str, Request] = {}
    for _ in range(20_000):
        for end in (client, server):
            end.write(chunk(rng), 0.0)
            end.read(chunk(rng), 0.0)
        while server.running:  # each handler calls its caller back first
            request = server.running.pop()
            server.call(0.0, request.params)
            waiting[server.made[-1]] = request
        while client.running:
            client.answer(rng.randrange(len(client.running)))
        for token in [token for token in waiting if token in server.ended]:
            (outcome,) = server.ended[token]
            if isinstance(outcome, RPCError):
                server.machine.fail(waiting.pop(token), outcome)
            else:
                server.machine.reply(waiting.pop(token), outcome)
        if len(client.ended) == 64:
            break
    for number in range(64):
        (outcome,) = client.ended[f"call {number}"]
        if isinstance(outcome, RPCError):  # refused, since over 64 KiB of replies waited: no stall, and told
            assert size == 5000
            assert outcome.code == -102
        else:
            assert outcome == ["x" * size, number]
    assert (server.machine.unanswered, server.machine.open_calls) == (0, 0)


@pytest.mark.row("S10")
def test_an_end_that_reads_nothing_is_sent_no_more_than_the_bound() -> None:
    client, server = two_ends(50_000)
    for number in range(1000):
        client.call(0.0, ["x" * 5000, number])
    for _ in range(100_000):
        moved = client.write(20_000, 0.0)
        moved |= server.read(20_000, 0.0)
        moved |= server.write(20_000, 0.0)
        while server.running:
            server.answer(0)
        if not moved:
            break
    machine = server.machine
    assert not machine.wants_data, "it is parked: replies wait, and nobody takes them"
    assert len(server.unsent) + machine.output_size <= HIGH + 65 * 5200
    assert machine.deadline <= 20.0
    while not machine.must_abort:
        server.tick(machine.deadline)
