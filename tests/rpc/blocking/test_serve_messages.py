# SPDX-License-Identifier: MIT
"""Serving sessions of messages, and on sockets that are bound already, from blocking code."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest

import tieline
from tests.certificates import Certificates
from tests.rpc.blocking.peers import METHODS, until
from tieline import TLS, FramerBase, Limits, LocalProtocolError, NewlineFramer
from tieline.blocking import MessageSession, ServerMessageSession, connect, serve

URL = "tcp://127.0.0.1:0"
PATIENCE = 30.0


class Lines(ServerMessageSession):
    """Answers lines, one after the other."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.threads: set[str] = set()
        self.losses = 0

    def default_framer(self) -> FramerBase[Any]:
        return NewlineFramer.with_limit(self.max_message)

    def handle_message(self, message: bytes) -> None:
        self.seen.append(message)
        self.threads.add(threading.current_thread().name)
        if message == b"fail":
            raise ZeroDivisionError
        self.send_message(b"back " + message)

    def connection_lost(self) -> None:
        self.losses += 1


class Client(MessageSession):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[bytes] = []

    def default_framer(self) -> FramerBase[Any]:
        return NewlineFramer.with_limit(self._max_message())

    def handle_message(self, message: bytes) -> None:
        self.seen.append(message)

    def hear(self, count: int) -> list[bytes]:
        while len(self.seen) < count:
            assert self.poll(PATIENCE)
        return self.seen


@pytest.mark.row("S14")
def test_messages_are_handled_in_the_pool_in_order_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    with serve(Lines, URL, limits=Limits(linger=0.05)) as server, Client(server.url) as client:
        words = [b"one", b"fail", b"two", *(b"%d" % number for number in range(50))]
        with caplog.at_level(logging.ERROR):
            for word in words:
                client.send_message(word)
            expected = [b"back " + word for word in words if word != b"fail"]
            assert client.hear(len(expected)) == expected
        assert any("ZeroDivisionError" in str(record.exc_info) for record in caplog.records)
        (session,) = server.sessions
        assert isinstance(session, Lines)
        assert session.server is server
        assert session.seen == words
        assert all("worker" in name for name in session.threads)
        assert session.stats.messages_in == len(words)
        assert session.remote_address() is not None
        assert not session.is_closing()
        session.send_message(b"by itself")
        assert client.hear(len(expected) + 1)[-1] == b"by itself"
        session.close()
        session.wait_closed()
        until(lambda: session.losses == 1)
        assert session.close_reason is None


def test_what_blocking_code_cannot_run_is_refused_at_once() -> None:
    class Wrong(ServerMessageSession):
        async def handle_message(self, message: bytes) -> None: ...  # type: ignore[override]  # what is refused

    with pytest.raises(TypeError, match=r"Wrong\.handle_message is async"):
        serve(Wrong, URL)
    with pytest.raises(TypeError, match="rpc_protocol: for sessions of calls"):
        serve(Lines, URL, rpc_protocol=tieline.JSONRPCv1)


def test_framers_and_limits_may_be_given() -> None:
    class Plain(ServerMessageSession):
        def handle_message(self, message: bytes) -> None:
            self.send_message(message)

    limits = Limits(max_message=100)
    with serve(Plain, URL, framer=NewlineFramer, limits=limits) as server, Client(server.url) as client:
        client.send_message(b"hello")
        assert client.hear(1) == [b"hello"]
        assert client.stats.messages_in == 1
        client.send_message(b"x" * 101)
        client.wait_closed(PATIENCE)


def test_a_socket_that_is_bound_is_listened_on_once() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = serve(METHODS, sock=sock)
    with server, connect(f"tcp://127.0.0.1:{port}") as session:
        assert server.url == f"tcp://127.0.0.1:{port}"
        assert session.call("add", 1, 2) == 3
    assert sock.fileno() == -1
    with pytest.raises(LocalProtocolError, match="has been used"):
        server.listen()


def test_a_socket_that_is_bound_may_serve_tls(certificates: Certificates) -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    with (
        serve(METHODS, sock=bound, tls=TLS(certificate=certificates.server)) as server,
        connect(server.url, tls=TLS(ca=certificates.ca)) as session,
    ):
        assert session.call("add", 1, 2) == 3


@pytest.mark.parametrize("module", [tieline, tieline.blocking], ids=["async", "blocking"])
def test_either_an_address_or_a_socket(module: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        with pytest.raises(ValueError, match="sock excludes host and port"):
            module.serve(METHODS, URL, sock=sock)
        with pytest.raises(ValueError, match="sock must be given"):
            module.serve(METHODS)
        with pytest.raises(ValueError, match="certificate"):
            module.serve(METHODS, sock=sock, tls=TLS())


async def test_the_asynchronous_server_takes_a_socket_too() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    async with tieline.serve(METHODS, sock=sock) as server, tieline.connect(server.url) as session:
        assert await session.call("add", 1, 2) == 3


@pytest.mark.row("H58")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", ["handle_message", "connection_lost"])
def test_what_ends_the_program_comes_out_of_the_server(error: type[BaseException], method: str) -> None:
    def end(*_: Any) -> None:
        raise error

    ending = type("Ending", (Lines,), {method: end})
    with serve(ending, URL) as server:
        with Client(server.url) as client:
            client.send_message(b"x")
        with pytest.raises(error):
            server.serve_forever()
