# SPDX-License-Identifier: MIT
"""A lossy scheduler: it moves two machines, the bytes between them and the time, all as one seed has it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Literal

from tests.wire.jsonrpc.ends import End, Pipe, chunk
from tieline.wire.states import State

__all__ = ["PATIENCE", "Ending", "Scheduler"]

Ending = Literal["after all", "any time", "cut"]
# That nothing but the scheduler itself ends a connection.
PATIENCE: dict[str, Any] = {"linger": 1e6, "idle_timeout": None, "message_timeout": None, "write_timeout": 1e6}
MOST_ROUNDS = 50_000
MOST_PIECES = 20  # that are on their way in one direction
START = 100.0


class Channel:
    """One direction between two ends: what leaves one pipe arrives in the other, later, in order, in other pieces."""

    def __init__(self, source: Pipe, target: Pipe, rng: random.Random, delay: float) -> None:
        self.source, self.target = source, target
        self._rng, self._delay = rng, delay
        self._on_way: deque[tuple[float, bytes]] = deque()  # when each piece arrives; b"" = the end
        self._is_ended = self._is_cut = False
        self._last = 0.0

    @property
    def next_arrival(self) -> float:
        """When the next piece arrives; inf = there is none, or no room for it."""
        has_room = len(self.target.data) < self.target.capacity
        return self._on_way[0][0] if self._on_way and has_room else inf

    def carry(self, now: float) -> bool:
        """Take some bytes, or the end behind them, on their way."""
        if self._is_cut or len(self._on_way) >= MOST_PIECES:
            return False
        piece = self.source.take(chunk(self._rng))
        if not piece and (self._is_ended or not self.source.ended):
            return False
        self._is_ended = not piece
        self._last = max(self._last, now + self._rng.choice((0.0, self._rng.random() * self._delay)))
        self._on_way.append((self._last, piece))
        return True

    def arrive(self, now: float) -> bool:
        """Let the next piece arrive, if it is time and there is room."""
        if self.next_arrival > now:
            return False
        _, piece = self._on_way.popleft()
        self.target.data += piece
        self.target.ended = not piece
        return True

    def cut(self) -> None:
        """Lose all that is on its way, and all that will be; the end is all that arrives."""
        self._is_cut = True
        self._on_way.clear()
        self.target.ended = True


class Scheduler:
    """Two ends and what is between them.

    Args:
        ends: Two ends that share their pipes; they get pipes of their own.
        rng: Decides everything.
        speak: Makes an end say the next thing; returns whether there was one.
        work: Does a part of what an end has been asked for; returns whether there was any.
        ending: When the connection ends: when all is said and done, at any time by one side, or by being cut.

    Attributes:
        now: The time in seconds, which passes only when nothing else can happen.
        has_closed: Which ends were told to close.
        is_cut: The connection was cut.
    """

    def __init__(
        self,
        ends: Sequence[End],
        rng: random.Random,
        speak: Callable[[End, float], bool],
        work: Callable[[End], bool],
        ending: Ending,
    ) -> None:
        self.now = START
        self.ends, self.rng, self.ending = tuple(ends), rng, ending
        self.has_closed = [False, False]
        self.is_cut = False
        self._speak, self._work = speak, work
        delay = rng.choice((0.0, 0.1, 3.0))
        self._channels: list[Channel] = []
        for end, other in (ends, ends[::-1]):
            other.inward = Pipe(end.outward.capacity)
            self._channels.append(Channel(end.outward, other.inward, rng, delay))
        self._rounds_left = rng.randrange(2000) if ending != "after all" else 0
        self._moves = [*(self._end_moves(0)), *(self._end_moves(1)), *(self._channel_moves())]

    def _end_moves(self, side: int) -> list[Callable[[], bool]]:
        end = self.ends[side]
        return [
            lambda: self._speak(end, self.now) if end.machine.state is State.OPEN else False,
            lambda: end.write(chunk(self.rng), self.now),
            lambda: end.read(chunk(self.rng), self.now),
            lambda: self._work(end),
            lambda: self._finish(side),
        ]

    def _channel_moves(self) -> list[Callable[[], bool]]:
        moves: list[Callable[[], bool]] = []
        for channel in self._channels:
            moves += [lambda channel=channel: channel.carry(self.now), lambda channel=channel: channel.arrive(self.now)]  # type: ignore[misc]  # lambdas with defaults
        return moves

    def run(self) -> None:
        """Move until both ends are closed. Fails when nothing can move any more before that."""
        for _ in range(MOST_ROUNDS):
            if self.ending != "after all":
                self._break_off()
            if all(end.is_lost for end in self.ends):
                return
            chosen = self.rng.sample(self._moves, self.rng.randrange(1, len(self._moves) + 1))
            if sum(move() for move in chosen) or any(move() for move in self._moves):
                continue
            if not self._pass_time():
                self._close_one()
        raise AssertionError(f"it stalled: {[end.machine.state.name for end in self.ends]} at {self.now:g}")

    def _pass_time(self) -> bool:
        """Let the next thing happen that time brings. Fails when all ends are idle."""
        deadlines = [end.machine.deadline for end in self.ends if not end.is_lost]
        when = min([*deadlines, *(channel.next_arrival for channel in self._channels)])
        if when == inf:
            return False
        self.now = max(self.now, when)
        for end in self.ends:
            if not end.is_lost:
                end.tick(self.now)
        return True

    # --- ends --------------------------------------------------------------------------------------------------------

    def _break_off(self) -> None:
        """Close one end, or cut the connection, when its time has come."""
        self._rounds_left -= 1
        if self._rounds_left == 0:
            if self.ending == "cut":
                self._cut()
            elif not any(self.has_closed):
                self._close_one()

    def _close_one(self) -> None:
        """All is said and done: close one end; the other one follows."""
        side = self.rng.randrange(2)
        assert not any(self.has_closed), "both ends wait for each other"
        self.has_closed[side] = True
        self.ends[side].machine.close()

    def _cut(self) -> None:
        """Cut the connection: by a reset, or by an end in the middle of what is said."""
        self.is_cut = True
        by_reset = self.rng.random() < 0.5
        for channel in self._channels:
            channel.cut()
        for end in self.ends:
            if by_reset:
                end.lose(ConnectionResetError("cut"))

    def _finish(self, side: int) -> bool:
        """Do what a link does at the end: close the transport of a machine that has nothing more to say."""
        end, other = self.ends[side], self.ends[1 - side]
        machine: Any = end.machine
        if self.is_cut and end.outward.data and not end.is_lost:
            end.lose(BrokenPipeError("it writes to nobody"))
            return True
        if end.is_lost:
            if not (end.inward.data or other.is_lost) or self.is_cut:
                return False
            other.lose(ConnectionResetError("it writes to nobody"))
            return True
        has_said_all = not end.unsent and not machine.has_output
        if machine.must_abort or (machine.state is State.FINISHED and has_said_all):
            end.lose(None)
            return True
        if machine.state is State.LINGERING and has_said_all and not end.outward.ended:
            end.outward.ended = True
            return True
        return False
