# SPDX-License-Identifier: MIT
"""The asynchronous packet client over Unix stream sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import check_stream, unix_endpoint
from tieline.clients.async_client import checked_backend
from tieline.clients.async_stream import AsyncStreamClient
from tieline.clients.facts import CredentialFacts, UnixFacts

if TYPE_CHECKING:
    from tieline.endpoints.socket_addresses import UnixSocketAddress
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncUnixStreamClient"]


class AsyncUnixStreamClient(CredentialFacts, UnixFacts, AsyncStreamClient[SentT_contra, ReceivedT_co]):
    """Sends and receives packets over a Unix stream socket, on asyncio or trio.

    It connects in ``async with``, by ``wait_connected``, or when it is first used; the constructor does no I/O.

    Args:
        path: The path, with a NUL in front for an abstract name; or a connected socket, which the client then owns.
        protocol: What packets are.
        backend: "asyncio", "trio" or an ``AsyncBackend``; None = that which runs.
        max_recv_size: Kept for programs that give it: the runtime knows best how much to read at once.

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: A path that no socket can have, or a socket of another kind.
        OSError: The given socket is not connected (ENOTCONN).
        NotImplementedError: There is no runtime of that name.
        UnsupportedOperation: This system has no Unix sockets.
    """

    __slots__ = ()

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | UnixSocketAddress | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | str | None = None,
        *,
        max_recv_size: int | None = None,
    ) -> None:
        sock = path if isinstance(path, socket.socket) else None
        self._sock = None
        try:
            check_stream(protocol, max_recv_size)
            super().__init__(unix_endpoint(path, {}), sock, protocol, checked_backend(backend))
        except BaseException:
            if sock is not None:
                sock.close()
            raise
