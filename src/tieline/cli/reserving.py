# SPDX-License-Identifier: MIT
"""What a parent of workers holds for them: TCP ports, and sockets that listen on Unix paths.

A TCP port is held by sockets that are bound with SO_REUSEPORT and do not listen: port 0 is chosen once, and the port
stays ours while a worker is replaced. A Unix path has one socket, which all workers inherit.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import not_listening
from tieline.cli.serving import Plan, carrier_of, with_carrier

__all__ = ["reserve"]


def reserve(plan: Plan, stack: ExitStack) -> Plan:
    """Return *plan* as workers need it: with the ports that the system chose, and descriptors for Unix sockets.

    What is held for them is given back by *stack*.

    Raises:
        Failure: A URL cannot be listened on, or this system cannot share it.
    """
    urls: list[str] = []
    descriptors: dict[int, int] = {}
    for place, endpoint in enumerate(plan.endpoints()):
        try:
            carrier = carrier_of(endpoint)
            if isinstance(carrier, tieline.UnixStream):
                descriptors[place] = _listening(carrier, stack)
                urls.append(endpoint.url)
            elif isinstance(carrier, tieline.TCP):
                urls.append(with_carrier(endpoint, _held_port(carrier, stack)).url)
            else:
                raise Failure(Exit.USAGE, f"{endpoint} cannot be shared by workers")
        except OSError as exc:
            raise not_listening(_named(exc, endpoint), str(endpoint)) from exc
    return replace(plan, listen=tuple(urls), descriptors=descriptors, reuse_port=True)


def _named(exc: OSError, endpoint: tieline.Endpoint) -> OSError:
    return type(exc)(exc.errno, f"cannot listen on {endpoint}: {exc.strerror or exc}")


def _held_port(endpoint: tieline.TCP, stack: ExitStack) -> tieline.TCP:
    """Hold the port on all hosts of *endpoint*, and return it with the real one."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise Failure(Exit.USAGE, "this system cannot share a port among workers: leave --workers out")
    port = endpoint.port
    for host in endpoint.hosts:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            # Whoever shares a port shares it with all programs of this user that do: first ask as one who does not.
            wanted = (address[0], port, *address[2:])
            try:
                _bound(family, wanted, shared=False).close()
                held = stack.enter_context(_bound(family, wanted, shared=True))
            except OSError as exc:
                raise OSError(exc.errno, f"{os.strerror(exc.errno or 0)} ({address[0]}:{port})") from exc
            port = held.getsockname()[1]
    return replace(endpoint, port=port)


def _bound(family: int, address: tuple[str | int, ...], *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if not shared:
            sock.listen()  # with SO_REUSEADDR alone, two may be bound, but only one may listen
    except BaseException:
        sock.close()
        raise
    return sock


def _listening(endpoint: tieline.UnixStream, stack: ExitStack) -> int:
    """Listen on a Unix path, and return the descriptor."""
    if not hasattr(socket, "AF_UNIX"):
        raise Failure(Exit.USAGE, f"this system has no Unix sockets: {endpoint}")
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    if not endpoint.is_abstract:
        _remove_dead(endpoint.address)
        os.fchmod(sock.fileno(), endpoint.mode)  # the file gets it when it is made, so nobody else can connect
    sock.bind(endpoint.address)
    if not endpoint.is_abstract:
        os.chmod(endpoint.address, endpoint.mode)  # before it listens, nobody can connect at all
        stack.callback(_removal(os.path.abspath(endpoint.address)))
    sock.listen(endpoint.backlog)
    return sock.fileno()


def _remove_dead(path: str) -> None:
    """Remove the socket of a server that is no more; nothing else.

    Raises:
        OSError: A server listens there, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EADDRINUSE, "Address already in use, by something that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "Address already in use, by a server that listens there")


def _removal(path: str) -> Callable[[], None]:
    """Return what removes the socket file at *path*, if it is still the one that is there now."""
    ours = os.lstat(path)

    def remove() -> None:
        try:
            if os.path.samestat(os.lstat(path), ours):
                os.unlink(path)
        except OSError:
            pass  # it has gone, or cannot be removed: a dead socket's file harms nobody

    return remove
