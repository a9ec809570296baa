# SPDX-License-Identifier: MIT
"""Which runtime is the caller on?

The one module of this folder that knows the runtimes, lazily: nothing is imported that is not running already.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.backend import AsyncBackend

__all__ = ["backend_named", "current_backend"]


def current_backend() -> AsyncBackend:
    """Return the backend of the runtime that the caller runs on.

    Raises:
        RuntimeError: No supported asynchronous runtime is running in this thread.
    """
    # trio first: as a guest it runs within a loop of asyncio, and then both are there.
    if "trio" in sys.modules:
        is_running, backend = _trio()
        if is_running():
            return backend
    if "asyncio" in sys.modules:
        is_running, backend = _asyncio()
        if is_running():
            return backend
    raise RuntimeError(
        "tieline must be used from a coroutine that asyncio (or uvloop) or trio runs; neither is running in this thread"
    )


@cache
def _asyncio() -> tuple[Callable[[], bool], AsyncBackend]:
    from tieline.runtimes.asyncio import backend  # lazily: a blocking script never gets here

    return backend.is_running, backend.BACKEND


@cache
def _trio() -> tuple[Callable[[], bool], AsyncBackend]:
    from tieline.runtimes.trio import backend  # lazily: trio is an extra

    return backend.is_running, backend.BACKEND


def backend_named(name: str) -> AsyncBackend:
    """Return the backend of the runtime of that name.

    Raises:
        NotImplementedError: There is none, or its package is not installed.
    """
    try:
        if name == "asyncio":
            return _asyncio()[1]
        if name == "trio":
            return _trio()[1]
    except ImportError as exc:
        raise NotImplementedError(f"the runtime {name} is not installed") from exc
    raise NotImplementedError(f"there is no runtime {name!r}: it is 'asyncio' or 'trio'")
