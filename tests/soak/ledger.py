# SPDX-License-Identifier: MIT
"""What honest clients have asked for, and what became of it: each order ends once, and as it must."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["End", "Ledger"]

MOST_FAULTS = 20  # of which the text is kept


class End(StrEnum):
    """How an order may end."""

    ANSWERED = "answered"
    GIVEN_UP = "given up"  # by its caller, on purpose
    CUT = "cut"  # told so when the server was killed


@dataclass
class Ledger:
    """The orders of all honest clients.

    An order is a key that is used once: a client's name and a number. Only those that are open are held, so a ledger
    that is kept for days is as small as one for a minute.

    Attributes:
        made: How many orders there were.
        ends: How many ended so.
        lost: How many ended without an answer, and for no reason that is one.
        doubled: How many answers came to what had ended, or had never been ordered.
        wrong: How many answers were those of something else.
        faults: The texts of the first of these.
    """

    made: int = 0
    ends: Counter[End] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)
    _open: dict[tuple[str, int], object] = field(default_factory=dict)

    def enter(self, key: tuple[str, int], wanted: object) -> None:
        """Take note of an order, and of the answer that it must get."""
        assert key not in self._open, f"the order {key} is made twice"
        self.made += 1
        self._open[key] = wanted

    def answer(self, key: tuple[str, int], seen: object) -> None:
        """Take note of an answer."""
        if key not in self._open:
            self.doubled += 1
            self._tell(f"{key} was answered, and is not open")
            return
        wanted = self._open.pop(key)
        self.ends[End.ANSWERED] += 1
        if seen != wanted:
            self.wrong += 1
            self._tell(f"{key} got {seen!r:.200} and not {wanted!r:.200}")

    def end(self, key: tuple[str, int], how: End) -> None:
        """Take note that an order has ended without an answer, as it may."""
        if self._open.pop(key, None) is None:
            self.doubled += 1
            self._tell(f"{key} was {how}, and is not open")
        else:
            self.ends[how] += 1

    def lose(self, key: tuple[str, int], why: object) -> None:
        """Take note that an order has ended without an answer, as it must not."""
        self._open.pop(key, None)
        self.lost += 1
        self._tell(f"{key} was lost: {why!r:.200}")

    def check(self, what: str, seen: object, wanted: object) -> None:
        """Compare what the other side has counted: fewer is a loss, more is a double."""
        if seen == wanted:
            return
        if isinstance(seen, int) and isinstance(wanted, int) and seen > wanted:
            self.doubled += seen - wanted
        else:
            self.lost += 1
        self._tell(f"{what}: {seen!r:.200} and not {wanted!r:.200}")

    @property
    def open_orders(self) -> int:
        """How many orders have not ended."""
        return len(self._open)

    @property
    def is_balanced(self) -> bool:
        """Whether nothing was lost, doubled or wrong, and nothing is open."""
        return not (self.lost or self.doubled or self.wrong or self._open)

    def _tell(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)
