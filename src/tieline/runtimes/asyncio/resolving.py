# SPDX-License-Identifier: MIT
"""From a host to its addresses, through the loop's resolver."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from tieline.runtimes.tcp_sockets import numeric_address, resolved_addresses
from tieline.wire.addresses import named

if TYPE_CHECKING:
    from tieline.wire.addresses import Address

__all__ = ["resolve"]


async def resolve(
    host: str,
    port: int,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    kind: int = socket.SOCK_STREAM,
) -> list[Address]:
    """Return the addresses of *host* for sockets of that *kind*, in the resolver's order; a numeric one needs none.

    Cancelling abandons the look-up: its thread may go on for a while, its answer goes nowhere.

    Raises:
        OSError: It cannot be looked up. A socket.gaierror: the host has no address.
    """
    numeric = numeric_address(host, port, family=family, proto=proto)
    if numeric is not None:
        return [numeric]
    # uvloop encodes names as they are, stock asyncio as IDNA: settle it here.
    name = host if host.isascii() else host.encode("idna").decode("ascii")
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(name, port, family=family, type=kind, proto=proto, flags=flags)
    except OSError as exc:  # a socket.gaierror; or there is no descriptor to ask with
        raise named(exc, f"cannot resolve host {host!r}") from exc
    return resolved_addresses(infos)
