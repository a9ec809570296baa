# SPDX-License-Identifier: MIT
"""What is waited for on trio before there is any transport: names that are looked up, and sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio.socket
from trio.lowlevel import wait_readable, wait_writable

from tieline.runtimes.tcp_sockets import resolve_by

if TYPE_CHECKING:
    from tieline.wire.addresses import Address

__all__ = ["resolve", "wait_ready"]


async def resolve(host: str, port: int, **wanted: int) -> list[Address]:
    """Look *host* up through trio's resolver; see `resolve_by`."""
    return await resolve_by(trio.socket.getaddrinfo, host, port, **wanted)


async def wait_ready(fd: int, writing: bool) -> None:
    """Wait until *fd* can be written, or read."""
    await (wait_writable if writing else wait_readable)(fd)
