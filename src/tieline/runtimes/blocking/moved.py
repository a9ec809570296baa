# SPDX-License-Identifier: MIT
"""What transports and waiters need of whatever moves them: see `tieline.runtimes.blocking.pump.Pump`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable

__all__ = ["Awaited", "Mover"]


class Awaited(Protocol):
    """Something that threads wait for.

    Attributes:
        is_done: Whether it is complete.
        parkers: The locks in which those wait who do not read themselves; None = nobody.
    """

    is_done: bool
    parkers: list[LockType] | None


class Mover(Protocol):
    """What moves one connection."""

    @property
    def lock(self) -> Any:
        """Guards all state of the connection."""
        ...

    def do(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call *fn* with the lock held."""
        ...

    def call_soon(self, fn: Callable[[], object], /) -> None:
        """Have *fn* called before the lock is given up."""

    def has_changed(self) -> None:
        """What the leader waits for has changed."""

    def has_emptied(self) -> None:
        """Nothing is unsent any more."""

    def transport_ended(self) -> None:
        """The transport is of no use any more."""

    def sending_failed(self, finish: Callable[[], object], /) -> None:
        """The transport takes nothing more: have it *finish*, when nobody reads."""

    def unpark(self, parkers: list[LockType], /) -> None:
        """Wake those who are parked there."""

    def wait_for(self, waiter: Awaited, timeout: float | None, /) -> bool:
        """Wait for so many seconds; return whether it is complete."""
        ...

    def plan(self, job: Callable[[], object], /) -> None:
        """Have *job* run outside of the lock, by one of those who wait."""

    def run_jobs(self) -> None:
        """Run the jobs that there are now, unless another thread does."""

    def call_back(self, fn: Callable[[Any], object], argument: object, /) -> None:
        """Call a user's callback."""
