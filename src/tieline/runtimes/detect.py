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

__all__ = ["current_backend"]


def current_backend() -> AsyncBackend:
    """Return the backend of the runtime that the caller runs on.

    Raises:
        RuntimeError: No supported asynchronous runtime is running in this thread.
    """
    if "asyncio" in sys.modules:
        is_running, backend = _asyncio()
        if is_running():
            return backend
    raise RuntimeError("tieline must be used from a coroutine that asyncio (or uvloop) runs; no event loop is running")


@cache
def _asyncio() -> tuple[Callable[[], bool], AsyncBackend]:
    from tieline.runtimes.asyncio import backend  # lazily: a blocking script never gets here

    return backend.is_running, backend.BACKEND
