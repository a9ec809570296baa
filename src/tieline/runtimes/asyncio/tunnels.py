# SPDX-License-Identifier: MIT
"""Through proxies on asyncio: their dialogues on a bare socket, before there is any transport.

What is said is decided in ``wire.proxies``, and to whom in ``endpoints.proxies``. This file only sends and receives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from tieline.runtimes.asyncio.resolving import resolve
from tieline.wire.addresses import combined_error, named

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from tieline.endpoints import TCP, Endpoint
    from tieline.endpoints.proxies import Route
    from tieline.wire.proxies import Dialogue

__all__ = ["talk", "tunnel"]

ResultT = TypeVar("ResultT")


async def tunnel(
    route: Route, endpoint: TCP, connect: Callable[[Endpoint], Awaitable[socket.socket]], failures: list[OSError]
) -> socket.socket:
    """Return a socket that leads to *endpoint* by *route*; *connect* makes the one to the nearest proxy.

    *failures* collects what went wrong on the way, for whoever stops waiting. There is no limit of time. Cancelled or
    failed, it leaves no socket behind.

    Raises:
        OSError: No way to get there: a `SOCKSError`, an `HTTPConnectError`, or what *connect* raises.
        ValueError: The proxies cannot be asked for *endpoint*; nothing was sent.
    """
    host, port = route.check(endpoint)
    if not route.resolves:
        return await _to(host, port, route, endpoint, connect)
    found = await resolve(host, port, family=endpoint.family, proto=endpoint.proto, flags=endpoint.flags)
    errors: list[OSError] = []
    for address in found:
        try:
            return await _to(*address.sockaddr[:2], route, endpoint, connect)
        except OSError as exc:
            errors.append(exc)
        except ValueError as exc:  # the protocol has no such addresses, but the next one may be of another family
            errors.append(OSError(str(exc)))
        failures[:] = errors
    if len(errors) == 1:
        raise errors[0]
    raise combined_error(errors, f"cannot connect to {endpoint}")


async def _to(
    host: str, port: int, route: Route, endpoint: TCP, connect: Callable[[Endpoint], Awaitable[socket.socket]]
) -> socket.socket:
    dialogues = route.dialogues(host, port)
    try:
        sock = await connect(route.first(endpoint))
        try:
            for dialogue in dialogues:
                await talk(sock, dialogue)
            route.note(host, port, sock.getpeername())
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise named(exc, f"cannot connect to {endpoint} through {route}") from exc
    return sock


async def talk(sock: socket.socket, dialogue: Dialogue[ResultT]) -> ResultT:
    """Have *dialogue* on *sock*, and return its result. What follows the proxy's last reply stays in the socket.

    Raises:
        OSError: As `Dialogue.result`.
    """
    loop = asyncio.get_running_loop()
    while dialogue.wanted:
        try:
            output: Any = dialogue.data_to_send()
            if output:
                await loop.sock_sendall(sock, output)
            received = await loop.sock_recv(sock, dialogue.wanted)
        except OSError as exc:
            dialogue.receive_eof(exc)
        else:
            if received:
                dialogue.receive_data(received)
            else:
                dialogue.receive_eof()
    return dialogue.result()
