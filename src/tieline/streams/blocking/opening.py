# SPDX-License-Identifier: MIT
"""`open_connection` in blocking code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from tieline.streams.arguments import take_route
from tieline.streams.blocking.dialling import create_connection, create_unix_connection
from tieline.streams.blocking.streams import Streams, StreamWriter

if TYPE_CHECKING:
    import os
    import socket

    from typing_extensions import Unpack  # type checkers know it, and it is not asked for at run time

    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.streams.blocking.streams import StreamReader
    from tieline.wire.limits import Default

__all__ = ["open_connection", "open_unix_connection"]

LIMIT = 65536


class _UnixDialling(TypedDict, total=False):
    ssl: TLSChoice
    sock: socket.socket | None
    server_hostname: str | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    connect_timeout: float | None


class _Dialling(_UnixDialling, total=False):
    family: int
    proto: int
    flags: int
    local_addr: tuple[str, int] | None
    happy_eyeballs_delay: float | Default | None
    interleave: int | None
    proxy: Any


def open_connection(
    host: str | Endpoint | None = None, port: int | None = None, *, limit: int = LIMIT, **settings: Unpack[_Dialling]
) -> tuple[StreamReader, StreamWriter]:
    """Connect, and return a stream reader and a stream writer, whose methods take a timeout if they wait.

    Args:
        host: As for `tieline.blocking.create_connection`, like all others.
        port: The port.
        limit: The maximum size of what ``readline`` and ``readuntil`` return, in bytes.
        settings: ``ssl``, ``family``, ``proto``, ``flags``, ``sock``, ``local_addr``, ``server_hostname``,
            ``ssl_handshake_timeout``, ``ssl_shutdown_timeout``, ``happy_eyeballs_delay``, ``interleave``, ``proxy`` and
            ``connect_timeout``.

    Raises:
        ValueError: As `create_connection`, or *limit* is not over 0.
        Exception: As `create_connection`.
    """
    streams = Streams(limit)
    take_route(settings)
    transport, _ = create_connection(lambda: streams, host, port, **settings)
    return streams.reader, StreamWriter(transport, streams.reader)


def open_unix_connection(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
    *,
    limit: int = LIMIT,
    **settings: Unpack[_UnixDialling],
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a Unix socket, and return a stream reader and a stream writer; otherwise as `open_connection`.

    Args:
        path: As for `tieline.blocking.create_unix_connection`, like all others.
        limit: As for `open_connection`.
        settings: ``ssl``, ``sock``, ``server_hostname``, ``ssl_handshake_timeout``, ``ssl_shutdown_timeout`` and
            ``connect_timeout``.
    """
    streams = Streams(limit)
    transport, _ = create_unix_connection(lambda: streams, path, **settings)
    return streams.reader, StreamWriter(transport, streams.reader)
