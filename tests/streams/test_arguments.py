# SPDX-License-Identifier: MIT
"""What the long signatures refuse: before anything is tried, and with the sockets that they were given left alone."""

import errno
import inspect
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.streams.scene import Story

pytestmark = pytest.mark.row("D1")

SOCK = "a connected socket"
LISTENING = "a bound socket"

# What is given, with which error, and what its text says. Of host and port there is one that nobody may try to reach.
TO_CONNECT: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "host and port, an endpoint, a URL or sock must be given"),
    ({"host": "127.0.0.1"}, ValueError, "'127.0.0.1' goes with a port"),
    ({"port": 0, "host": "127.0.0.1"}, ValueError, "port must be over 0"),
    ({"port": 70000, "host": "127.0.0.1"}, ValueError, "from 0 to 65535"),
    ({"port": "http", "host": "127.0.0.1"}, TypeError, "port must be an int"),
    ({"port": 1, "host": "a b"}, ValueError, "host must hold no spaces"),
    ({"sock": SOCK, "host": "127.0.0.1"}, ValueError, "sock excludes host:"),
    ({"sock": SOCK, "host": "", "port": 0}, ValueError, "sock excludes host, port:"),
    ({"sock": SOCK, "port": 5}, ValueError, "sock excludes port:"),
    ({"sock": SOCK, "family": socket.AF_INET}, ValueError, "sock excludes family:"),
    ({"sock": SOCK, "proto": 6, "flags": 1}, ValueError, "sock excludes proto, flags:"),
    ({"sock": SOCK, "local_addr": ("127.0.0.1", 0)}, ValueError, "sock excludes local_addr:"),
    ({"sock": SOCK, "happy_eyeballs_delay": 0.1}, ValueError, "sock excludes happy_eyeballs_delay:"),
    ({"sock": SOCK, "interleave": 1}, ValueError, "sock excludes interleave:"),
    ({"sock": SOCK, "proxy": "socks5://127.0.0.1:1"}, ValueError, "sock excludes proxy"),
    ({"sock": SOCK, "ssl": True}, ValueError, "with a given sock, ssl needs server_hostname"),
    ({"sock": "no socket"}, TypeError, "sock must be a socket.socket, not str"),
    ({"port": 1, "ssl": True}, ValueError, "with an empty host, ssl needs server_hostname"),
    ({"host": "", "port": 1, "ssl": True}, ValueError, "with an empty host, ssl needs server_hostname"),
    ({"host": "unix:x", "ssl": True}, ValueError, "with a Unix socket, ssl needs server_hostname"),
    ({"host": "h", "port": 1, "server_hostname": "h"}, ValueError, "server_hostname is for TLS, so it needs ssl"),
    ({"host": "h", "port": 1, "server_hostname": ""}, ValueError, "server_hostname is for TLS, so it needs ssl"),
    ({"host": "h", "port": 1, "ssl": "yes"}, TypeError, "ssl must be True, a TLS value, an ssl.SSLContext or None"),
    ({"host": "h", "port": 1, "ssl": tieline.TLS(server_hostname="x"), "server_hostname": "y"}, ValueError, "twice"),
    ({"host": "tls://h:1", "ssl": False}, ValueError, "ssl is False, but tls://h:1 is with TLS"),
    ({"host": "tcp://h:1", "family": 2}, ValueError, "an endpoint excludes family:"),
    ({"host": tieline.TCP("h", 1), "port": 1}, ValueError, "an endpoint excludes port:"),
    ({"host": tieline.TCP(("h", "i"), 1)}, ValueError, "can only listen on"),
    ({"host": tieline.TCP("h", 0)}, ValueError, "can only listen on"),
    ({"host": "h", "port": 1, "ssl_handshake_timeout": 1}, ValueError, "ssl_handshake_timeout is for TLS"),
    ({"host": "h", "port": 1, "ssl_shutdown_timeout": 1}, ValueError, "ssl_shutdown_timeout is for TLS"),
    ({"host": "h", "port": 1, "ssl": True, "ssl_handshake_timeout": 0}, ValueError, "finite number over 0"),
    ({"host": "h", "port": 1, "ssl": True, "ssl_shutdown_timeout": float("inf")}, ValueError, "finite number over 0"),
    ({"host": "h", "port": 1, "connect_timeout": -1}, ValueError, "connect_timeout must be 0 or more seconds or None"),
    ({"host": "h", "port": 1, "connect_timeout": "5"}, TypeError, "connect_timeout must be a number or None, not str"),
    ({"host": "h", "port": 1, "ssl": True, "ssl_handshake_timeout": "5"}, TypeError, "timeout must be a number"),
    ({"host": "h", "port": 1, "ssl": True, "ssl_shutdown_timeout": 10**400}, ValueError, "not one beyond 1e308"),
    ({"host": "h", "port": 1, "happy_eyeballs_delay": "1"}, TypeError, "happy_eyeballs_delay must be a number"),
    ({"host": "h", "port": 1, "happy_eyeballs_delay": -1}, ValueError, "happy_eyeballs_delay"),
    ({"host": "h", "port": 1, "interleave": -1}, ValueError, "interleave"),
    ({"port": 1, "proxy": "socks5://127.0.0.1:1"}, ValueError, "a proxy needs host and port"),
    ({"host": "h", "port": 1, "proxy": 5}, TypeError, "proxy must be a proxy"),
    ({"host": "unix:x", "proxy": "socks5://127.0.0.1:1"}, ValueError, "a proxy takes TCP endpoints only"),
    ({"host": "h", "port": 1, "proxy": []}, ValueError, "proxy must name at least one"),
]  # fmt: skip

TO_CONNECT_UNIX: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "either path or sock"),
    ({"path": "x", "sock": SOCK}, ValueError, "either path or sock"),
    ({"sock": SOCK}, ValueError, "sock must be a Unix socket"),
    ({"path": ""}, ValueError, "must not be empty"),
    ({"path": "x", "ssl": True}, ValueError, "with a Unix socket, ssl needs server_hostname"),
    ({"path": "x", "server_hostname": "h"}, ValueError, "server_hostname is for TLS"),
    ({"path": "x", "ssl_shutdown_timeout": 1}, ValueError, "ssl_shutdown_timeout is for TLS"),
    ({"path": "x", "connect_timeout": float("nan")}, ValueError, "connect_timeout"),
]

TO_LISTEN: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "host and port, an endpoint, a URL, sock or fd must be given"),
    ({"sock": LISTENING, "host": "127.0.0.1"}, ValueError, "sock excludes host:"),
    ({"sock": LISTENING, "port": 0}, ValueError, "sock excludes port:"),
    ({"sock": LISTENING, "family": 2, "flags": 1}, ValueError, "sock excludes family, flags:"),
    ({"sock": LISTENING, "fd": 3}, ValueError, "sock excludes fd:"),
    ({"fd": 3, "port": 1}, ValueError, "fd excludes port:"),
    ({"fd": -1}, ValueError, "fd must be"),
    ({"host": "127.0.0.1", "port": 0, "ssl": True}, ValueError, "a TLS server needs a certificate"),
    ({"host": "tcp://h:1", "reuse_port": True}, ValueError, "an endpoint excludes reuse_port:"),
    ({"host": "tcp://h:1", "port": 1}, ValueError, "host must hold"),
    ({"host": "127.0.0.1", "port": 0, "backlog": -1}, ValueError, "backlog must be"),
    ({"host": "127.0.0.1", "port": 0, "reuse_port": "no"}, TypeError, "reuse_port must be a bool"),
    ({"host": [], "port": 0}, ValueError, "hosts must not be an empty sequence"),
    ({"host": "127.0.0.1", "port": 0, "ssl_handshake_timeout": 5}, ValueError, "ssl_handshake_timeout is for TLS"),
]

TO_LISTEN_UNIX: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "either path or sock"),
    ({"path": "x", "sock": LISTENING}, ValueError, "either path or sock"),
    ({"sock": LISTENING}, ValueError, "sock must be a Unix socket"),
    ({"path": "x", "ssl": True}, ValueError, "a TLS server needs a certificate"),
    ({"path": "x", "mode": 0o1000}, ValueError, "mode must be"),
]

FACES = [
    (tieline.create_connection, Story, TO_CONNECT),
    (tieline.create_unix_connection, Story, TO_CONNECT_UNIX),
    (tieline.create_server, Story, TO_LISTEN),
    (tieline.create_unix_server, Story, TO_LISTEN_UNIX),
    (tieline.open_connection, None, TO_CONNECT),
    (tieline.open_unix_connection, None, TO_CONNECT_UNIX),
    (tieline.start_server, print, TO_LISTEN),
    (tieline.start_unix_server, print, TO_LISTEN_UNIX),
]


@pytest.mark.parametrize(("make", "first", "table"), FACES, ids=lambda one: getattr(one, "__name__", ""))
async def test_what_contradicts_itself_is_refused_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], first: Any, table: list[Any]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("I/O was tried")

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        for one in ("connect", "bind", "listen"):
            monkeypatch.setattr(socket.socket, one, fail)
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        for arguments, error, text in table:
            given = {**arguments, "sock": sock} if arguments.get("sock") in (SOCK, LISTENING) else arguments
            with pytest.raises(error) as told:
                await make(*([] if first is None else [first]), nursery=aio.nursery(), **given)
            assert re.search(text, str(told.value)), arguments
            assert sock.fileno() >= 0


async def test_a_socket_of_datagrams_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for make in (tieline.create_connection, tieline.create_server):
            with pytest.raises(ValueError, match="sock must be a stream socket"):
                await make(Story, sock=sock, nursery=aio.nursery())
        assert sock.fileno() >= 0


async def test_a_socket_that_listens_is_no_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        local.listen()
        for make, given in ((tieline.create_connection, sock), (tieline.create_unix_connection, local)):
            with pytest.raises(ValueError, match="must be a connected socket, and this one listens"):
                await make(Story, sock=given, nursery=aio.nursery())
            assert given.fileno() >= 0


async def test_a_socket_that_is_not_connected_is_no_connection() -> None:
    with socket.socket() as sock, socket.socket(socket.AF_UNIX) as local:
        for make, given in ((tieline.create_connection, sock), (tieline.create_unix_connection, local)):
            with pytest.raises(OSError, match="must be a connected socket, and this one is not connected") as told:
                await make(Story, sock=given, nursery=aio.nursery())
            assert told.value.errno == errno.ENOTCONN
            assert given.fileno() >= 0
        with pytest.raises(OSError, match="and this one is not connected"):
            tieline.blocking.create_connection(Story, sock=sock)


async def test_what_is_to_be_called_must_be_callable() -> None:
    faces: tuple[Any, ...] = (tieline.create_connection, tieline.create_server, tieline.start_server)
    for make in faces:
        with pytest.raises(TypeError, match="must be callable, not NoneType"):
            await make(None, "127.0.0.1", 1, nursery=aio.nursery())


@pytest.mark.row("T8")
@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_must_be_over_0(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be over 0"):
        await tieline.open_connection("127.0.0.1", 1, limit=limit, nursery=aio.nursery())
    with pytest.raises(ValueError, match="limit must be over 0"):
        await tieline.start_server(print, "127.0.0.1", 0, limit=limit, nursery=aio.nursery())


async def test_a_context_that_matches_names_and_an_empty_name_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="server_hostname is ''"):
        await tieline.create_connection(
            Story, "127.0.0.1", 1, ssl=ssl.create_default_context(), server_hostname="", nursery=aio.nursery()
        )


async def test_a_nursery_is_for_trio_and_must_be_there() -> None:
    error = tieline.LocalProtocolError if aio.on_trio() else ValueError
    nursery = None if aio.on_trio() else object()
    with socket.socket() as sock:
        for taking in (tieline.create_connection, tieline.create_server):
            with pytest.raises(error, match="nursery"):
                await taking(Story, sock=sock, nursery=nursery)
            assert sock.fileno() >= 0
    for make in (
        lambda: tieline.create_connection(Story, "127.0.0.1", 1, nursery=nursery),
        lambda: tieline.create_server(Story, "127.0.0.1", 0, nursery=nursery),
        lambda: tieline.open_connection("127.0.0.1", 1, nursery=nursery),
        lambda: tieline.start_server(print, "127.0.0.1", 0, nursery=nursery),
    ):
        with pytest.raises(error, match="nursery"):
            await make()


def test_without_a_runtime_it_is_said_what_is_needed() -> None:
    coroutine = tieline.create_connection(Story, "127.0.0.1", 1)
    with pytest.raises(RuntimeError, match="neither is running in this thread"):
        coroutine.send(None)


@pytest.mark.row("T0")
def test_the_streams_take_what_the_connections_take() -> None:
    """The names that `open_connection` and `start_server` hand on are those of what they hand them on to."""
    from tieline.streams import opening

    def names(make: Any) -> set[str]:
        return {name for name, one in inspect.signature(make).parameters.items() if one.kind is one.KEYWORD_ONLY}

    for make, handed_on in [
        (tieline.create_connection, opening._Dialling),
        (tieline.create_unix_connection, opening._UnixDialling),
        (tieline.create_server, opening._Listening),
        (tieline.create_unix_server, opening._UnixListening),
    ]:
        assert names(make) == set(handed_on.__annotations__) | _inherited(handed_on)


def _inherited(kind: Any) -> set[str]:
    return {name for base in getattr(kind, "__orig_bases__", ()) for name in getattr(base, "__annotations__", {})}
