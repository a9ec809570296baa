# SPDX-License-Identifier: MIT
"""What `connect`, `serve`, `ClientSession` and `Server` make of tls=, ssl= and server_hostname=, before any I/O."""

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tieline import TCP, TLS, ClientSession, Methods, Server, ServerSession, UnixStream, connect, serve

CLIENT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
GIVEN = TLS(ca="ca.pem")
NAMED = TLS(server_hostname="name.example")
CERTIFIED = TLS(certificate="a.pem")
HERE = TCP("host", 1)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """Give a socket, connected to nothing: no test here gets that far."""
    with socket.socket() as sock:
        yield sock


# (what is given, the endpoint that it means)
DIALLED: list[tuple[Callable[[socket.socket], ClientSession], object]] = [
    (lambda sock: connect("tls://host:1"), TCP("host", 1, tls=TLS())),
    (lambda sock: connect("tls://host:1", tls=True), TCP("host", 1, tls=TLS())),
    (lambda sock: connect("tls://host:1", tls=GIVEN), TCP("host", 1, tls=GIVEN)),
    (lambda sock: connect("tcp://host:1", tls=True), TCP("host", 1, tls=TLS())),
    (lambda sock: connect("tcp://host:1", tls=False), HERE),
    (lambda sock: connect("tcp://host:1", tls=CLIENT), TCP("host", 1, tls=TLS(context=CLIENT))),
    (lambda sock: connect(HERE, tls=GIVEN), TCP("host", 1, tls=GIVEN)),
    (lambda sock: connect(TCP("host", 1, tls=GIVEN)), TCP("host", 1, tls=GIVEN)),
    (lambda sock: connect(TCP("host", 1, tls=GIVEN), tls=True), TCP("host", 1, tls=GIVEN)),
    (lambda sock: connect("unix:s", tls=NAMED), UnixStream("s", tls=NAMED)),
    (lambda sock: connect("unix:s", tls=TLS(server_hostname="")), UnixStream("s", tls=TLS(server_hostname=""))),
    (lambda sock: connect("unix:s", tls=SERVER), UnixStream("s", tls=TLS(context=SERVER))),  # it matches no names
    (lambda sock: ClientSession("host", 1, ssl=True), TCP("host", 1, tls=TLS())),
    (lambda sock: ClientSession("host", 1, ssl=False), HERE),
    (lambda sock: ClientSession("host", 1, ssl=CLIENT, family=2), TCP("host", 1, family=2, tls=TLS(context=CLIENT))),
    (lambda sock: ClientSession("host", 1, ssl=GIVEN), TCP("host", 1, tls=GIVEN)),
    (lambda sock: ClientSession("host", 1, tls=GIVEN), TCP("host", 1, tls=GIVEN)),
    (lambda sock: ClientSession("host", 1, ssl=True, server_hostname="name.example"), TCP("host", 1, tls=NAMED)),
    (
        lambda sock: ClientSession("tls://host:1", ssl=CLIENT, server_hostname="a"),
        TCP("host", 1, tls=TLS(context=CLIENT, server_hostname="a")),
    ),
    (lambda sock: ClientSession(sock=sock, ssl=True, server_hostname="a"), None),
    (lambda sock: ClientSession(sock=sock, ssl=True, server_hostname=""), None),
    (lambda sock: ClientSession(sock=sock, ssl=NAMED), None),
]


@pytest.mark.row("D1", "D6", "S3")
@pytest.mark.parametrize(("make", "endpoint"), DIALLED)
def test_a_client_s_arguments_mean_an_endpoint(
    sock: socket.socket, make: Callable[[socket.socket], ClientSession], endpoint: object
) -> None:
    assert make(sock).endpoint == endpoint


# (what is given, the endpoint that it means)
LISTENED: list[tuple[Callable[[socket.socket], Server], object]] = [
    (lambda sock: serve(Methods(), "tls://:0", tls=CERTIFIED), TCP(None, 0, tls=CERTIFIED)),
    (lambda sock: serve(Methods(), "tcp://:0", tls=CERTIFIED), TCP(None, 0, tls=CERTIFIED)),
    (lambda sock: serve(Methods(), "tcp://:0", tls=SERVER), TCP(None, 0, tls=TLS(context=SERVER))),
    (lambda sock: serve(Methods(), UnixStream("s", tls=CERTIFIED)), UnixStream("s", tls=CERTIFIED)),
    (lambda sock: Server(ServerSession, None, 0, ssl=SERVER), TCP(None, 0, tls=TLS(context=SERVER))),
    (lambda sock: Server(ServerSession, "tcp://:0", ssl=CERTIFIED), TCP(None, 0, tls=CERTIFIED)),
    (lambda sock: Server(ServerSession, sock=sock, ssl=CERTIFIED), TCP(None, 0, tls=CERTIFIED)),
]


@pytest.mark.row("D6", "S3")
@pytest.mark.parametrize(("make", "endpoint"), LISTENED)
def test_a_server_s_arguments_mean_an_endpoint(
    sock: socket.socket, make: Callable[[socket.socket], Server], endpoint: object
) -> None:
    assert make(sock).endpoint == endpoint


wrong: Any = "yes"

# (what is given, error, its text)
REFUSED: list[tuple[Callable[[socket.socket], object], type[Exception], str]] = [
    (lambda sock: connect("tls://host:1", tls=False), ValueError, "tls is False, but tls://host:1 is with TLS"),
    (lambda sock: connect(TCP("host", 1, tls=GIVEN), tls=NAMED), ValueError, "TLS is given twice: by tls, and in the"),
    (
        lambda sock: connect("tcp://host:1", tls=wrong),
        TypeError,
        "tls must be True, a TLS value, an ssl.SSLContext or None",
    ),
    (lambda sock: connect("unix:s", tls=True), ValueError, "give server_hostname"),
    (lambda sock: connect(UnixStream("s", tls=TLS(context=CLIENT))), ValueError, "give server_hostname"),
    (lambda sock: ClientSession("host", 1, ssl=wrong), TypeError, "ssl must be True, a TLS value, .* or None, not str"),
    (
        lambda sock: ClientSession("host", 1, server_hostname="a"),
        ValueError,
        "server_hostname is for TLS, so it needs ssl",
    ),
    (lambda sock: ClientSession("host", 1, ssl=False, server_hostname="a"), ValueError, "so it needs ssl"),
    (
        lambda sock: ClientSession("host", 1, ssl=NAMED, server_hostname="a"),
        ValueError,
        "server_hostname is given twice",
    ),
    (lambda sock: ClientSession("host", 1, ssl=True, server_hostname="a b"), ValueError, "spaces"),
    (
        lambda sock: ClientSession("host", 1, ssl=CLIENT, server_hostname=""),
        ValueError,
        "set its check_hostname to False",
    ),
    (lambda sock: ClientSession("host", 1, ssl=NAMED, tls=GIVEN), ValueError, "given twice"),
    (lambda sock: ClientSession(sock=sock, ssl=True), ValueError, "with a given sock, ssl needs server_hostname"),
    (lambda sock: ClientSession(sock=sock, ssl=wrong), TypeError, "ssl must be True"),
    (lambda sock: serve(Methods(), "tls://:0"), ValueError, "a TLS server needs a certificate"),
    (lambda sock: serve(Methods(), "tcp://:0", tls=True), ValueError, "a TLS server needs a certificate"),
    (lambda sock: serve(Methods(), "tcp://:0", tls=wrong), TypeError, "tls must be True"),
    (lambda sock: serve(Methods(), "tls://:0", tls=False), ValueError, "tls is False, but tls://:0 is with TLS"),
    (lambda sock: Server(ServerSession, None, 0, ssl=True), ValueError, "a TLS server needs a certificate"),
    (lambda sock: Server(ServerSession, None, 0, ssl=wrong), TypeError, "ssl must be True"),
]


@pytest.mark.row("D1", "D6", "H69")
@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_what_contradicts_itself_is_told_before_any_io(
    sock: socket.socket, make: Callable[[socket.socket], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make(sock)


@pytest.mark.row("H80")
def test_no_representation_of_a_session_or_server_shows_the_password() -> None:
    secret = TLS(certificate="a.pem", password="correct horse")
    for shown in (connect("tcp://host:1", tls=secret), serve(Methods(), "tcp://:0", tls=secret)):
        assert "correct horse" not in f"{shown!r}{shown}{shown.endpoint!r}"
