# SPDX-License-Identifier: MIT
"""Connections on trio that no ``async with`` owns: they live in one nursery of a system task, up to the run's end.

What fails there would end the whole run, so it is for transports alone, which fail in no way but by their connection.
"""

from __future__ import annotations

from typing import Final

import trio
from trio.lowlevel import RunVar, spawn_system_task

from tieline.runtimes.trio.host import host_of

__all__ = ["stray_nursery"]


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
