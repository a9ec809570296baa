# SPDX-License-Identifier: MIT
"""create_connection in blocking code: what it refuses, the order of its steps, ways there, and what failure leaves."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import Task
from tests.runtimes.scripted_proxies import Good, listening, silent
from tests.runtimes.sockets import black_hole, closed_port, open_sockets, tcp_listener
from tests.runtimes.stories import Story
from tests.streams.test_arguments import SOCK, TO_CONNECT, TO_CONNECT_UNIX
from tieline import TLS, blocking
from tieline.errors import UnsupportedOperation

pytestmark = pytest.mark.row("D1")

FACES = [
    (blocking.create_connection, Story, TO_CONNECT),
    (blocking.create_unix_connection, Story, TO_CONNECT_UNIX),
    (blocking.open_connection, None, TO_CONNECT),
    (blocking.open_unix_connection, None, TO_CONNECT_UNIX),
]


@pytest.mark.parametrize(("make", "first", "table"), FACES, ids=lambda one: getattr(one, "__name__", ""))
def test_what_contradicts_itself_is_refused_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], first: Any, table: list[Any]
) -> None:
    """The table is that of asynchronous code."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("I/O was tried")

    with socket.socket() as sock:
        for one in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, one, fail)
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        for arguments, error, text in table:
            given = {**arguments, "sock": sock} if arguments.get("sock") == SOCK else arguments
            with pytest.raises(error) as told:
                make(*([] if first is None else [first]), **given)
            assert re.search(text, str(told.value)), arguments
            assert sock.fileno() >= 0


def test_a_proxy_that_dials_by_itself_is_refused() -> None:
    class Proxy:
        async def create_connection(self, *_: object) -> None: ...

    with pytest.raises(UnsupportedOperation, match="asynchronous code only"):
        blocking.create_connection(Story, "127.0.0.1", 1, proxy=Proxy())


def test_steps_come_in_order_connect_factory_connection_made_return() -> None:
    steps: list[str] = []

    def factory() -> Story:
        steps.append("factory")
        listener.settimeout(10)
        peers.append(listener.accept()[0])  # it is connected by now
        return Story(made=lambda _transport: steps.append("made"))

    peers: list[socket.socket] = []
    with tcp_listener() as (listener, port):
        transport, story = blocking.create_connection(factory, "127.0.0.1", port)
        assert steps == ["factory", "made"]
        assert story.transport is transport
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        transport.abort()
    peers[0].close()


@pytest.mark.parametrize("host", [None, "", "localhost", "127.0.0.1"])
def test_an_empty_host_is_this_machine(host: str | None) -> None:
    with tcp_listener() as (_, port):
        transport, _ = blocking.create_connection(Story, host, port)
        transport.abort()


@pytest.mark.row("D4")
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
def test_unix_sockets_by_path_by_socket_and_as_an_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        given = socket.socket(socket.AF_UNIX)
        given.connect(str(path))
        for transport, story in [
            blocking.create_unix_connection(Story, sock=given),
            blocking.create_unix_connection(Story, path),
            blocking.create_unix_connection(Story, str(path).encode()),
            blocking.create_connection(Story, f"unix://{path}"),
        ]:
            peer, _ = listener.accept()
            with peer:
                peer.send(b"hello")
                assert transport.poll(10)
                assert story.data == b"hello"
                transport.abort()


# --- failure ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("D3")
def test_nobody_there_is_refused_and_leaves_nothing() -> None:
    held = open_sockets()
    with closed_port() as port, pytest.raises(ConnectionRefusedError, match=f"connect to tcp://127.0.0.1:{port}"):
        blocking.create_connection(Story, "127.0.0.1", port)
    assert open_sockets() == held


@pytest.mark.row("D2", "H63")
def test_one_deadline_covers_connecting_proxies_and_the_handshake(certificates: Certificates) -> None:
    held = open_sockets()
    ca = TLS(ca=certificates.ca)
    with black_hole() as hole, tcp_listener() as (_, mute), listening(silent) as proxy:
        cases: list[tuple[int, dict[str, Any]]] = [
            (hole, {}),
            (mute, {"ssl": ca}),
            (mute, {"proxy": f"socks5://127.0.0.1:{proxy.port}"}),
        ]
        for where, settings in cases:
            began = time.monotonic()
            with pytest.raises(TimeoutError, match="cannot connect to"):
                blocking.create_connection(Story, "127.0.0.1", where, connect_timeout=0.05, **settings)
            assert time.monotonic() - began < 5
        with pytest.raises(TimeoutError, match="no TLS handshake within"):
            blocking.create_connection(Story, "127.0.0.1", mute, ssl=ca, ssl_handshake_timeout=0.05)
    assert open_sockets() == held


def test_what_the_factory_or_connection_made_raises_comes_out_and_the_connection_is_closed() -> None:
    held = open_sockets()

    def failing() -> Story:
        raise ArithmeticError("the factory")

    stories: list[Story] = []

    def failing_later() -> Story:
        stories.append(Story(made=lambda _transport: 1 / 0))
        return stories[0]

    with tcp_listener() as (listener, port):
        with pytest.raises(ArithmeticError, match="the factory"):
            blocking.create_connection(failing, "127.0.0.1", port)
        with pytest.raises(ZeroDivisionError):
            blocking.create_connection(failing_later, "127.0.0.1", port)
        for _ in range(2):
            peer, _ = listener.accept()
            with peer:
                assert peer.recv(1) == b""
    assert stories[0].told == ["made", "lost"]
    assert isinstance(stories[0].lost_with[0], ZeroDivisionError)
    assert open_sockets() == held


@pytest.mark.row("D1", "T7")
def test_what_connection_made_raises_behind_a_handshake_comes_out_too(certificates: Certificates) -> None:
    held = open_sockets()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    stories: list[Story] = []

    def failing() -> Story:
        stories.append(Story(made=lambda _transport: 1 / 0))
        return stories[0]

    with tcp_listener() as (listener, port):

        def accept() -> None:
            sock, _ = listener.accept()
            with context.wrap_socket(sock, server_side=True) as safe, contextlib.suppress(OSError):
                while safe.recv(1):
                    pass

        task = Task(accept)
        with pytest.raises(ZeroDivisionError):
            blocking.create_connection(
                failing, "127.0.0.1", port, ssl=TLS(ca=certificates.ca), server_hostname="localhost"
            )
        task.result()
    assert stories[0].told == ["made", "lost"]
    assert isinstance(stories[0].lost_with[0], ZeroDivisionError)
    assert open_sockets() == held


@pytest.mark.row("D6", "H69")
def test_a_server_that_is_not_trusted_is_refused_and_the_protocol_hears_nothing(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    stories: list[Story] = []

    def factory() -> Story:
        stories.append(Story())
        return stories[-1]

    def accept() -> None:
        sock, _ = listener.accept()
        with pytest.raises(ssl.SSLError), context.wrap_socket(sock, server_side=True):
            pass

    with tcp_listener() as (listener, port):
        for settings in ({"ssl": True}, {"ssl": TLS(ca=certificates.ca), "server_hostname": "other.example"}):
            task = Task(accept)
            with pytest.raises(ssl.SSLCertVerificationError):
                blocking.create_connection(factory, "127.0.0.1", port, **settings)
            task.result()
    assert [story.told for story in stories] == [[], []]


@pytest.mark.row("P1")
def test_a_proxy_leads_there_and_names_go_to_it() -> None:
    good = Good({"wallet.example": "127.0.0.1"})
    with tcp_listener() as (listener, port), listening(good) as scripted:
        transport, story = blocking.create_connection(
            Story, "wallet.example", port, proxy=f"socks5://127.0.0.1:{scripted.port}"
        )
        peer, _ = listener.accept()
        with peer:
            peer.send(b"hello")
            assert transport.poll(10)
            assert story.data == b"hello"
        transport.abort()
    assert good.asked == [("wallet.example", port)]


# --- imports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        "import tieline.blocking",
        "from tieline.blocking import *",
        "from tieline.blocking import open_connection as o; reader, writer = o('127.0.0.1', {port});"
        "writer.write(b'x'); writer.drain(); writer.close(); writer.wait_closed()",
        "from tieline.blocking import MessageSession; s = MessageSession('127.0.0.1', {port}); s.create_connection();"
        "s.send_message((b'ping', b'')); s.close(0)",
    ],
)
def test_blocking_code_loads_neither_asyncio_nor_ssl_nor_trio(program: str) -> None:
    check = "import sys; assert not {'asyncio', 'ssl', '_ssl', 'trio', 'uvloop'} & set(sys.modules)"
    with tcp_listener() as (_, port):
        program = program.format(port=port)
        subprocess.run([sys.executable, "-c", f"{program}\n{check}"], check=True, timeout=30)
