# SPDX-License-Identifier: MIT
"""All conversations that a seed decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.seeds import calls, messages, sessions

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """One kind of conversation.

    Attributes:
        name: Its name, also on the command line.
        play: Plays the conversation of a seed; raises what is wrong about it.
        known: Seeds that have found something, and are played in every `make test`.
    """

    name: str
    play: Callable[[int], None]
    known: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name


TARGETS = (
    Target("calls", calls.play),
    Target("messages", messages.play),
    Target("sessions-asyncio", sessions.play_on_asyncio),
    Target("sessions-trio", sessions.play_on_trio),
)
