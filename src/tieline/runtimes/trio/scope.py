# SPDX-License-Identifier: MIT
"""The nurseries that connections on trio live in where their user gives none.

That is the nursery behind an ``async with`` of a session or a server; and where no ``async with`` owns them, one in a
system task, up to the run's end. What fails in that one would end the whole run, so it is for transports alone, which
fail in no way but by their connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import RunVar, spawn_system_task

from tieline.runtimes.trio.host import TrioHost, host_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Scope", "open_scope", "stray_nursery"]


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


class _Strays:
    """The nursery of one run, once it is open."""

    __slots__ = ("is_open", "nursery")

    def __init__(self) -> None:
        self.is_open = trio.Event()
        self.nursery: trio.Nursery | None = None

    async def keep(self) -> None:
        """Keep it open until the run ends."""
        async with trio.open_nursery() as nursery:
            host = host_of(nursery)
            host.hold()
            self.nursery = nursery
            self.is_open.set()
            try:
                await trio.sleep_forever()
            finally:
                host.finish()
                host.release()


_strays: Final[RunVar[_Strays]] = RunVar("tieline_strays")


async def stray_nursery() -> trio.Nursery:
    """Return the nursery of this run."""
    try:
        strays = _strays.get()
    except LookupError:
        strays = _Strays()
        _strays.set(strays)
        spawn_system_task(strays.keep)
    await strays.is_open.wait()
    assert strays.nursery is not None
    return strays.nursery
