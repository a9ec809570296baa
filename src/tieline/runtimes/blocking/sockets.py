# SPDX-License-Identifier: MIT
"""What is written as coroutines for all runtimes, in blocking code: they wait by blocking, and so are run at once."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypeVar

from tieline.runtimes.tcp_sockets import resolve_by

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tieline.wire.addresses import Address

__all__ = ["at_once", "resolve"]

ResultT = TypeVar("ResultT")


def at_once(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine that waits in no other way than by blocking, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: ResultT = done.value
        return result
    coroutine.close()
    raise AssertionError("it awaits something")


async def resolve(host: str, port: int, **wanted: int) -> list[Address]:
    """Look *host* up through the system's resolver; see `resolve_by`. It keeps its own time: nothing interrupts it."""
    return await resolve_by(_getaddrinfo, host, port, **wanted)


async def _getaddrinfo(host: str, port: int, **wanted: int) -> Any:
    return socket.getaddrinfo(host, port, **wanted)
