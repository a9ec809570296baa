# SPDX-License-Identifier: MIT
"""Which event loop a command runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar

from tieline.cli.exits import Exit, Failure

__all__ = ["Loop", "run"]

T = TypeVar("T")


class Loop(StrEnum):
    """Which event loop runs."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def run(main: Coroutine[Any, Any, T], loop: str) -> T:
    """Run *main* on the loop of that name (asyncio, uvloop, auto), and return what it returns.

    Raises:
        Failure: uvloop is asked for and not installed.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop != "asyncio":
        try:
            import uvloop
        except ImportError:
            if loop == "uvloop":
                main.close()
                raise Failure(Exit.USAGE, "uvloop is not installed: pip install 'tieline[uvloop]'") from None
        else:
            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
