# SPDX-License-Identifier: MIT
"""Listening sockets as every runtime takes them: one that was given, and where one really listens."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from tieline.endpoints import TCP, Command, Stdio, UnixStream
from tieline.runtimes import tcp_sockets
from tieline.wire.values import replace

if TYPE_CHECKING:
    from tieline.endpoints import StreamEndpoint

__all__ = ["endpoint_of", "given_socket"]


def given_socket(sock: socket.socket, endpoint: StreamEndpoint) -> socket.socket:
    """Return *sock* as a listening socket, or close it."""
    try:
        if sock.type != socket.SOCK_STREAM:
            raise ValueError(f"a stream socket is needed to listen, not one of {sock.type!r}")
        if not sock.getsockname():
            raise ValueError("the socket must be bound to a path before it can listen")
        if isinstance(endpoint, TCP) and endpoint.reuse_port and not _reuses_port(sock):
            raise ValueError("the socket is bound without SO_REUSEPORT, and it is too late for reuse_port=True")
        if isinstance(endpoint, Command | Stdio):
            raise ValueError(f"{endpoint} has no socket")
        sock.setblocking(False)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            tcp_sockets.set_options(sock)
        sock.listen(endpoint.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _reuses_port(sock: socket.socket) -> bool:
    option: int | None = getattr(socket, "SO_REUSEPORT", None)  # Windows has none
    return option is not None and sock.getsockopt(socket.SOL_SOCKET, option) != 0


def endpoint_of(sock: socket.socket, asked: StreamEndpoint) -> StreamEndpoint:
    """Return where *sock* is bound, with the other settings of what was *asked* for where they fit."""
    name: tuple[str, int] | tuple[str, int, int, int] | str | bytes = sock.getsockname()
    if isinstance(name, tuple):
        host, port = name[:2]
        if len(name) == 4 and name[3] and "%" not in host:
            host = f"{host}%{socket.if_indextoname(name[3])}"
        return replace(asked, host=host, port=port) if isinstance(asked, TCP) else TCP(host, port, tls=asked.tls)
    path = os.fsdecode(name)
    return replace(asked, path=path) if isinstance(asked, UnixStream) else UnixStream(path, tls=asked.tls)
