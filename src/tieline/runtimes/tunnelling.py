# SPDX-License-Identifier: MIT
"""Through proxies: from a route to a socket that leads to the target, on any runtime that awaits.

What is said is decided in ``wire.proxies``, and to whom in ``endpoints.proxies``. The runtime lends what it connects,
resolves and talks with; its own part is in its ``tunnels.py``.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.socket_streams import SocketStream
from tieline.wire.addresses import combined_error, named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.tcp import TCP
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.wire.addresses import Address
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["advance", "take", "tell_target", "tunnel"]

# So much of a reply is looked at in one go: most are shorter.
_LOOK: Final = 1024


def take(sock: socket.socket, dialogue: Dialogue[Any]) -> None:
    """Have *dialogue* take what has come on *sock* of a reply; what follows the reply stays in the socket.

    It is looked at first, since how much of it belongs to the reply can only be told byte by byte.

    Raises:
        OSError: Nothing has come, or nothing more will.
    """
    seen = sock.recv(_LOOK, socket.MSG_PEEK)
    if not seen:
        dialogue.receive_eof()
        return
    taken = dialogue.receive_data(seen)
    while taken:
        taken -= len(sock.recv(taken))


def advance(sock: socket.socket, dialogue: Dialogue[Any]) -> bytes:
    """Go on with *dialogue* on a non-blocking *sock*, and return what of ours finds no room in it yet.

    Otherwise there is nothing to do until the proxy answers, or the dialogue has ended.
    """
    try:
        while dialogue.wanted:
            output = dialogue.data_to_send()
            if output:
                return output[_sent(sock, output) :]
            take(sock, dialogue)
    except (BlockingIOError, InterruptedError):
        pass
    except OSError as exc:
        dialogue.receive_eof(exc)
    return b""


def _sent(sock: socket.socket, output: bytes) -> int:
    try:
        return sock.send(output)
    except (BlockingIOError, InterruptedError):
        return 0


def tell_target(transport: Any, route: Any) -> None:
    """Let *transport*, that of a socket, know where *route* leads: its ``get_extra_info("proxy_target")``.

    The transports of asyncio's own loops keep such facts in a dict. Those of uvloop cannot be told; sessions and
    clients know it all the same.
    """
    target = getattr(route, "target", None)
    if isinstance(transport, SocketStream):
        transport.proxy_target = target
        return
    known = getattr(transport, "_extra", None)
    if isinstance(known, dict) and target is not None:
        known["proxy_target"] = target


async def tunnel(
    route: Route,
    endpoint: TCP,
    *,
    connect: Callable[[StreamEndpoint], Awaitable[socket.socket]],
    resolve: Callable[..., Awaitable[list[Address]]],
    talk: Callable[[socket.socket, Dialogue[Any]], Awaitable[Any]],
    failures: list[OSError],
) -> socket.socket:
    """Return a socket that leads to *endpoint* by *route*.

    *connect* makes the one to the nearest proxy, *resolve* looks names up where the proxies cannot, *talk* has a
    dialogue on a socket. *failures* collects what went wrong on the way, for whoever stops waiting. There is no limit
    of time. Cancelled or failed, it leaves no socket behind.

    Raises:
        OSError: No way to get there: a `SOCKSError`, an `HTTPConnectError`, or what *connect* raises.
        ValueError: The proxies cannot be asked for *endpoint*; nothing was sent.
    """
    host, port = route.place(endpoint)
    if not route.resolves:
        return await _to(host, port, route, endpoint, connect, talk)
    found = await resolve(host, port, family=endpoint.family, proto=endpoint.proto, flags=endpoint.flags)
    errors: list[OSError] = []
    for address in found:
        try:
            return await _to(*address.sockaddr[:2], route, endpoint, connect, talk)
        except OSError as exc:
            errors.append(exc)
        except ValueError as exc:  # the protocol has no such addresses, but the next one may be of another family
            errors.append(OSError(str(exc)))
        failures[:] = errors
    try:
        raise errors[0] if len(errors) == 1 else combined_error(errors, f"cannot connect to {endpoint}")
    finally:
        errors.clear()  # their frames know it: else only the garbage collector would find them


async def _to(
    host: str,
    port: int,
    route: Route,
    endpoint: TCP,
    connect: Callable[[StreamEndpoint], Awaitable[socket.socket]],
    talk: Callable[[socket.socket, Dialogue[Any]], Awaitable[Any]],
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
