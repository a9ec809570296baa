# SPDX-License-Identifier: MIT
"""Streams: a reader and a writer for each connection, dialled or accepted, on every asynchronous runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from tieline.runtimes.detect import current_backend
from tieline.streams.arguments import check_callable, take_route
from tieline.streams.dialling import create_connection, create_unix_connection
from tieline.streams.server import create_server, create_unix_server

if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.stream_shapes import StreamCallback, StreamReader, StreamWriter
    from tieline.streams.server import StreamServer
    from tieline.wire.limits import Default

__all__ = ["open_connection", "open_unix_connection", "start_server", "start_unix_server"]

LIMIT = 65536


class _OfBoth(TypedDict, total=False):
    ssl: TLSChoice
    sock: socket.socket | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    nursery: object


class _UnixDialling(_OfBoth, total=False):
    server_hostname: str | None
    connect_timeout: float | None


class _Dialling(_UnixDialling, total=False):
    family: int
    proto: int
    flags: int
    local_addr: tuple[str, int] | None
    happy_eyeballs_delay: float | Default | None
    interleave: int | None
    proxy: Any


class _AnyListening(_OfBoth, total=False):
    backlog: int
    start_serving: bool


class _UnixListening(_AnyListening, total=False):
    mode: int


class _Listening(_AnyListening, total=False):
    family: int
    flags: int
    fd: int | None
    reuse_port: bool | None


async def open_connection(
    host: str | Endpoint | None = None,
    port: int | None = None,
    *,
    limit: int = LIMIT,
    **settings: Unpack[_Dialling],
) -> tuple[StreamReader, StreamWriter]:
    """Connect, and return a stream reader and a stream writer.

    On asyncio they are those of the standard library (of derived classes, which add `start_tls`), on every kind of
    connection, including proxies and TLS. On trio they have the same methods; the connection lives in *nursery*.

    Args:
        host: As for `create_connection`, like all other arguments.
        port: The port.
        limit: The maximum size of what ``readline`` and ``readuntil`` return, in bytes.
        settings: ``ssl``, ``family``, ``proto``, ``flags``, ``sock``, ``local_addr``, ``server_hostname``,
            ``ssl_handshake_timeout``, ``ssl_shutdown_timeout``, ``happy_eyeballs_delay``, ``interleave``, ``proxy``,
            ``connect_timeout`` and ``nursery``.

    Raises:
        ValueError: As `create_connection`, or *limit* is not over 0.
        Exception: As `create_connection`.
    """
    streams = current_backend().new_streams(_checked(limit), nursery=settings.get("nursery"))
    take_route(settings)
    transport, _ = await create_connection(lambda: streams.protocol, host, port, **settings)
    return streams.reader, streams.writer(transport)


async def open_unix_connection(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
    *,
    limit: int = LIMIT,
    **settings: Unpack[_UnixDialling],
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a Unix socket, and return a stream reader and a stream writer; otherwise as `open_connection`.

    Args:
        path: As for `create_unix_connection`, like all others.
        limit: As for `open_connection`.
        settings: ``ssl``, ``sock``, ``server_hostname``, ``ssl_handshake_timeout``, ``ssl_shutdown_timeout``,
            ``connect_timeout`` and ``nursery``.
    """
    streams = current_backend().new_streams(_checked(limit), nursery=settings.get("nursery"))
    transport, _ = await create_unix_connection(lambda: streams.protocol, path, **settings)
    return streams.reader, streams.writer(transport)


async def start_server(
    client_connected_cb: StreamCallback,
    host: str | Sequence[str] | Endpoint | None = None,
    port: int | None = None,
    *,
    limit: int = LIMIT,
    **settings: Unpack[_Listening],
) -> StreamServer:
    """Listen, and call *client_connected_cb* with a stream reader and a stream writer for each connection.

    A plain function is called; an ``async def`` runs as a task, on trio in *nursery*. If it fails, its connection is
    closed and the error is reported, as for other callbacks. The callback must close the writer itself.

    Args:
        client_connected_cb: The callback.
        host: As for `create_server`, like all other arguments.
        port: The port.
        limit: As for `open_connection`.
        settings: ``family``, ``flags``, ``sock``, ``fd``, ``backlog``, ``ssl``, ``reuse_port``,
            ``ssl_handshake_timeout``, ``ssl_shutdown_timeout``, ``start_serving`` and ``nursery``.

    Raises:
        ValueError: As `create_server`, or *limit* is not over 0.
        Exception: As `create_server`.
    """
    return await create_server(_factory(client_connected_cb, limit, settings.get("nursery")), host, port, **settings)


async def start_unix_server(
    client_connected_cb: StreamCallback,
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
    *,
    limit: int = LIMIT,
    **settings: Unpack[_UnixListening],
) -> StreamServer:
    """Listen on a Unix socket; otherwise as `start_server`.

    Args:
        client_connected_cb: As there.
        path: As for `create_unix_server`, like all others.
        limit: As for `open_connection`.
        settings: ``sock``, ``mode``, ``backlog``, ``ssl``, ``ssl_handshake_timeout``, ``ssl_shutdown_timeout``,
            ``start_serving`` and ``nursery``.
    """
    return await create_unix_server(_factory(client_connected_cb, limit, settings.get("nursery")), path, **settings)


def _factory(callback: StreamCallback, limit: int, nursery: object) -> Callable[[], Any]:
    check_callable("client_connected_cb", callback)
    _checked(limit)
    backend = current_backend()
    return lambda: backend.new_streams(limit, callback, nursery).protocol


def _checked(limit: int) -> int:
    if limit <= 0:
        raise ValueError(f"limit must be over 0, not {limit!r}")
    return limit
