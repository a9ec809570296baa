# SPDX-License-Identifier: MIT
"""Through proxies in blocking code: their dialogues on a bare socket, before there is any transport.

What is said is decided in ``wire.proxies``, and to whom in ``endpoints.proxies``. This file only sends and receives.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from tieline.runtimes.blocking.resolving import resolve
from tieline.wire.addresses import combined_error, named

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints import TCP, Endpoint
    from tieline.endpoints.proxies import Route
    from tieline.wire.proxies import Dialogue

__all__ = ["Late", "talk", "tunnel"]

ResultT = TypeVar("ResultT")


class Late(Exception):
    """The time for dialling is over."""


def tunnel(
    route: Route,
    endpoint: TCP,
    connect: Callable[[Endpoint], socket.socket],
    failures: list[OSError],
    deadline: float,
) -> socket.socket:
    """Return a socket that leads to *endpoint* by *route*; *connect* makes the one to the nearest proxy.

    *failures* collects what went wrong on the way, for whoever stops waiting. Interrupted or failed, it leaves no
    socket behind.

    Raises:
        OSError: No way to get there: a `SOCKSError`, an `HTTPConnectError`, or what *connect* raises.
        ValueError: The proxies cannot be asked for *endpoint*; nothing was sent.
        Late: Not before *deadline*.
    """
    host, port = route.check(endpoint)
    if not route.resolves:
        return _to(host, port, route, endpoint, connect, deadline)
    found = resolve(host, port, family=endpoint.family, proto=endpoint.proto, flags=endpoint.flags)
    errors: list[OSError] = []
    for address in found:
        try:
            return _to(*address.sockaddr[:2], route, endpoint, connect, deadline)
        except OSError as exc:
            errors.append(exc)
        except ValueError as exc:  # the protocol has no such addresses, but the next one may be of another family
            errors.append(OSError(str(exc)))
        failures[:] = errors
    if len(errors) == 1:
        raise errors[0]
    raise combined_error(errors, f"cannot connect to {endpoint}")


def _to(
    host: str,
    port: int,
    route: Route,
    endpoint: TCP,
    connect: Callable[[Endpoint], socket.socket],
    deadline: float,
) -> socket.socket:
    dialogues = route.dialogues(host, port)
    try:
        sock = connect(route.first(endpoint))
        try:
            for dialogue in dialogues:
                talk(sock, dialogue, deadline)
            route.note(host, port, sock.getpeername())
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise named(exc, f"cannot connect to {endpoint} through {route}") from exc
    return sock


def talk(sock: socket.socket, dialogue: Dialogue[ResultT], deadline: float) -> ResultT:
    """Have *dialogue* on *sock*, and return its result. What follows the proxy's last reply stays in the socket.

    Raises:
        OSError: As `Dialogue.result`.
        Late: Not before *deadline*.
    """
    while dialogue.wanted:
        try:
            output: Any = dialogue.data_to_send()
            if output:
                _limit(sock, deadline)
                sock.sendall(output)
            _limit(sock, deadline)
            received = sock.recv(dialogue.wanted)
        except TimeoutError as exc:
            if time.monotonic() >= deadline:
                raise Late from exc
            dialogue.receive_eof(exc)  # the system's own
        except OSError as exc:
            dialogue.receive_eof(exc)
        else:
            if received:
                dialogue.receive_data(received)
            else:
                dialogue.receive_eof()
    return dialogue.result()


def _limit(sock: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    sock.settimeout(None if left == inf else left)
