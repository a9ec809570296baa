# SPDX-License-Identifier: MIT
"""Faults by chance, all from one seed: what a network may do to bytes, and to whoever waits for them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Faults"]

T = TypeVar("T")

Cut = Literal["end", "half", "reset"]


class Faults:
    """Random faults of in-memory connections, from one seed: short reads and writes, delays, order, lost connections.

    The same seed with the same sequence of operations gives the same run. As a context manager, it adds the seed to any
    exception raised within the block, so that a failure can be reproduced.

    Args:
        seed: The seed; None = a random one, which is then in `seed`.
        chunk: The maximum size of a read or write in bytes; 0 = no limit. Each has a random size up to this.
        delay: The maximum delay of data in seconds of virtual time; 0 = it arrives in the next turn. Within a
            direction the order is kept.
        blocked: The probability that a write is accepted later (0 to 1).
        reorder: Whether the ends that are woken in one turn are woken in random order, and sometimes a turn later.
        cut: The probability that a connection is lost: by its end, by the end of one direction, or by a reset (0 to 1).
        cut_within: The maximum number of bytes, in both directions together, after which it is lost.

    Attributes:
        seed: The seed.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        chunk: int = 64,
        delay: float = 0.1,
        blocked: float = 0.2,
        reorder: bool = True,
        cut: float = 0.0,
        cut_within: int = 1000,
    ) -> None:
        if not (0 <= blocked < 1 and 0 <= cut <= 1 and delay >= 0 and chunk >= 0 and cut_within > 0):
            raise ValueError(
                "faults need 0 <= blocked < 1, 0 <= cut <= 1, delay >= 0, chunk >= 0 and cut_within > 0, "
                f"not blocked={blocked!r}, cut={cut!r}, delay={delay!r}, chunk={chunk!r}, cut_within={cut_within!r}"
            )
        self.seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        self._chance = random.Random(self.seed)
        self._chunk = chunk
        self._delay = delay
        self._blocked = blocked
        self._reorder = reorder
        self._cut = cut
        self._cut_within = cut_within

    def __repr__(self) -> str:
        return f"Faults({self.seed})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None:
            exc.add_note(f"faults of seed {self.seed}: {self!r} gives the same run")

    # --- for transports ------------------------------------------------------------------------------------------

    def piece(self, size: int) -> int:
        """Return how many of *size* bytes one read gives, or one write takes: 1 at least."""
        most = min(size, self._chunk) if self._chunk else size
        return self._chance.randint(1, most) if most > 1 else most

    def is_blocked(self) -> bool:
        """Return whether a write is to be taken later."""
        return self._chance.random() < self._blocked

    def pause(self) -> float:
        """Return how many seconds something is on its way."""
        return self._chance.choice([0.0, self._chance.random() * self._delay]) if self._delay else 0.0

    def in_any_order(self, ready: list[T]) -> tuple[list[T], list[T]]:
        """Return who of *ready* is woken now, in that order, and who only in the next turn. Somebody is woken now."""
        if not self._reorder or len(ready) < 2:
            return ready, []
        mixed = ready[:]
        self._chance.shuffle(mixed)
        count = self._chance.randint(1, len(mixed))
        return mixed[:count], mixed[count:]

    def new_cut(self) -> tuple[int, Cut] | None:
        """Return behind how many bytes a new connection is cut, and how; None = it is not."""
        if self._chance.random() >= self._cut:
            return None
        return self._chance.randrange(self._cut_within), self._chance.choice(("end", "half", "reset"))

    def is_first(self) -> bool:
        """Return which of two it is that something happens to."""
        return self._chance.random() < 0.5

    def choice(self, *those: Any) -> Any:
        """Return one of *those*, for decisions of a test's own."""
        return self._chance.choice(those)
