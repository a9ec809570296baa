# SPDX-License-Identifier: MIT
"""The nursery behind an ``async with`` of a session or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tieline.runtimes.trio.host import TrioHost, host_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Scope", "open_scope"]


class Scope:
    """See `tieline.runtimes.backend.Scope`. Made by `open_scope`."""

    __slots__ = ("_manager", "host", "nursery")

    def __init__(self, manager: Any, nursery: trio.Nursery) -> None:
        self._manager = manager
        self.nursery = nursery
        self.host: TrioHost = host_of(nursery)
        self.host.hold()

    async def leave(self, close: Callable[[], Awaitable[object]], error: BaseException | None) -> bool:
        """Close what lives in the scope, end what is left, and wait until it is gone."""
        failure = error
        try:
            await close()
        except BaseException as exc:
            failure = exc
        self.host.finish()
        self.host.release()
        self.nursery.cancel_scope.cancel()
        # Only what tells of being cancelled is the nursery's affair. It would wrap anything else, and copy groups.
        given = failure if _tells_of_cancelling(failure) else None
        what = failure
        try:
            kind, trace = (None, None) if given is None else (type(given), given.__traceback__)
            if await self._manager.__aexit__(kind, given, trace) and given is not None:
                return error is not None
        except BaseExceptionGroup as group:
            errors = [*([] if failure is None or failure is given else [failure]), *group.exceptions]
            what = errors[0] if len(errors) == 1 else group.derive(errors)
        if what is None or what is error:
            return False
        context = what.__context__
        try:
            raise what
        finally:
            what.__context__ = context  # that it came in a group is nobody's concern
            del what, context, failure, given, error


def _tells_of_cancelling(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None  # pyright: ignore[reportUnknownMemberType]  # of whatever
    return isinstance(error, trio.Cancelled)


async def open_scope() -> Scope:
    """Return a new scope, whose nursery is open."""
    manager = trio.open_nursery(strict_exception_groups=True)
    return Scope(manager, await manager.__aenter__())
