# SPDX-License-Identifier: MIT
"""The blocking packet client over Unix stream sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import check_retry_interval, check_stream, unix_endpoint
from tieline.clients.facts import CredentialFacts, UnixFacts
from tieline.clients.stream import StreamClient

if TYPE_CHECKING:
    from tieline.endpoints.socket_addresses import UnixSocketAddress
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["UnixStreamClient"]


class UnixStreamClient(CredentialFacts, UnixFacts, StreamClient[SentT_contra, ReceivedT_co]):
    """Sends and receives packets over a Unix stream socket, in blocking code. Safe for any number of threads.

    The constructor connects.

    Args:
        path: The path, with a NUL in front for an abstract name; or a connected socket, which the client then owns.
        protocol: What packets are.
        connect_timeout: Seconds for connecting; None = as long as it takes.
        max_recv_size: Kept for programs that give it: the runtime knows best how much to read at once.
        retry_interval: Kept for programs that give it: whoever waits is woken at once.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also *connect_timeout*.
        ValueError: A path that no socket can have, or a socket of another kind.
        OSError: Nobody there (FileNotFoundError: no such path); or the given socket is not connected (ENOTCONN).
        TimeoutError: Not within that time.
        UnsupportedOperation: This system has no Unix sockets.
    """

    __slots__ = ()

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | UnixSocketAddress | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        connect_timeout: float | None = None,
        max_recv_size: int | None = None,
        retry_interval: float = 1.0,
    ) -> None:
        sock = path if isinstance(path, socket.socket) else None
        self._is_closed = True  # until it is connected
        try:
            check_stream(protocol, max_recv_size)
            check_retry_interval(retry_interval)
            endpoint = unix_endpoint(path, {"connect_timeout": connect_timeout})
            super().__init__(endpoint, sock, protocol, timeout=connect_timeout)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
