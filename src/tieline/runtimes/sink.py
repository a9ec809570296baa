# SPDX-License-Identifier: MIT
"""What a link reports to: the upper side of `tieline.runtimes.link`. For type checkers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sink"]


class Sink(Protocol):
    """What a link reports to. Plain functions that must not fail and must not wait."""

    def link_made(self, link: Any, /) -> None:
        """The transport is there."""

    def never_made(self) -> None:
        """The transport will not come. Called instead of all else."""

    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        """Handle what one turn caused, in order, and return how many events that were.

        Once the host's clock is past *until* the others are left to the next turn. At least one is handled.
        """
        ...

    def handle_one(self, event: Any, /) -> bytes | None:
        """Handle the event that `receive_one` gave. Return its answer if that is to be written now, past the machine.

        None or empty when there is no answer yet, or it is queued.
        """
        ...

    def room_made(self) -> None:
        """The transport has room again, or never will."""

    def end_begun(self) -> None:
        """The connection ends as soon as what is being handled is done. May be called again."""

    def results_unsent(self, unsent: Sequence[tuple[Any, Exception]], /) -> None:
        """Results that had been accepted could not be encoded, for these reasons; the peer was told."""

    def link_lost(self, error: BaseException | None, /) -> None:
        """The transport is gone. Called once, after the last events."""
