# SPDX-License-Identifier: MIT
"""What a connection leaves for the garbage collector whose opening handshake was never finished: nothing.

So it is with one that was never made, and with one that was whole.

Thousands of such connections may come and go; found as garbage, they would hold all others up while they are collected.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import until
from tests.runtimes.sockets import closed_port, full_unix_listener
from tieline import (
    TLS,
    ConnectionLost,
    Counts,
    Limits,
    Methods,
    ReplyAndDisconnect,
    RPCError,
    Server,
    TielineError,
    blocking,
    connect,
    serve,
)
from tieline.protocol import StreamProtocol
from tieline.runtimes.layers.layer import Layer
from tieline.serializers import StringLineSerializer

HASTY = Limits(handshake_timeout=0.05, linger=0.05)
WHOLE = b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


@contextmanager
def nothing_left(*, of_ours: bool = True) -> Iterator[None]:
    """Have the garbage collector find nothing *of_ours*, or of websockets, when the body has ended; or nothing."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        left = Counter(
            f"{type(one).__module__}.{type(one).__name__}"
            for one in gc.garbage
            if not of_ours or type(one).__module__.startswith(("tieline.", "websockets."))
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == {}


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def come_and_go(port: int, end: str) -> socket.socket:
    """Connect to a WebSocket server, and end the opening handshake before its end. Return the socket."""
    sock = socket.create_connection(("127.0.0.1", port))
    match end:
        case "nothing said":
            sock.close()
        case "eof":
            sock.send(b"GET / HTT")
            sock.close()
        case "reset":
            sock.send(b"GET / HTTP/1.1\r\nHost: loc")
            reset(sock)
        case "quiet":
            pass
        case "silence":
            sock.send(b"GET / HTTP/1.1\r\nHost: loc")
        case "no HTTP":
            sock.send(b'{"id":0}\n')
        case "refused":
            sock.send(b"GET / HTTP/1.1\r\n" + WHOLE.replace(b"13", b"12") + KEY)
        case "foreign page":
            sock.send(b"GET / HTTP/1.1\r\nOrigin: http://evil.example\r\n" + WHOLE + KEY)
        case _:
            sock.send(b"GET / HTTP/1.1\r\n" + WHOLE + b"\r\n")  # no key
    return sock


def layers() -> int:
    return sum(isinstance(one, Layer) for one in gc.get_objects())


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2].rstrip("/"))


ENDS_OF_CLIENTS = ["nothing said", "eof", "reset", "quiet", "silence", "no HTTP", "refused", "foreign page", "faulty"]


async def all_go(server: Server, ends: Iterable[str], **settings: Any) -> None:
    """Have clients come and go, and wait until nothing is left of them in the server."""
    before = layers()
    socks = [come_and_go(port_of(server), end) for end in ends]
    async with connect(server.url, **settings):  # it came last
        pass
    await until(lambda: layers() == before, "their time is not over, or they are garbage")
    for sock in socks:
        sock.close()


@pytest.mark.parametrize("end", ENDS_OF_CLIENTS)
async def test_a_server_is_left_with_nothing_of_an_opening_handshake(end: str) -> None:
    async with serve(Methods(), "ws://127.0.0.1:0", limits=HASTY) as server:
        await all_go(server, ENDS_OF_CLIENTS)  # which loads what is loaded late
        with nothing_left():
            await all_go(server, [end] * 3)


@pytest.mark.parametrize("url", ["tls://127.0.0.1:0", "wss://127.0.0.1:0"], ids=["tls", "wss"])
async def test_nor_with_anything_of_a_handshake_of_tls(url: str, certificates: Certificates) -> None:
    own, trusted = TLS(certificate=certificates.server), TLS(ca=certificates.ca)
    ends = ["nothing said", "quiet", "no HTTP"]
    async with serve(Methods(), url, tls=own, limits=HASTY) as server:
        await all_go(server, ends, tls=trusted)
        with nothing_left():
            await all_go(server, ends, tls=trusted)


@pytest.mark.parametrize("end", ["eof", "silence"])
def test_so_it_is_with_a_server_of_blocking_code(end: str) -> None:
    with blocking.serve(Methods(), "ws://127.0.0.1:0", limits=HASTY) as server:

        def go() -> None:
            with come_and_go(port_of(server), end), blocking.connect(server.url):
                patience = time.monotonic() + 5
                while layers() > 2:  # those of the two sides of the session
                    assert time.monotonic() < patience, "its time is not over, or it is garbage"

        go()
        with nothing_left():
            go()


@contextmanager
def ending(end: str) -> Iterator[str]:
    """Give the URL of a server that ends opening handshakes before their end."""
    socks: list[socket.socket] = []

    def serve_all(listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            socks.append(sock)
            if not sock.recv(10_000):
                return
            match end:
                case "eof":
                    sock.send(b"HTTP/1.1 10")
                    sock.close()
                case "reset":
                    reset(sock)
                case "refused":
                    sock.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                case "no HTTP":
                    sock.send(b"SSH-2.0\r\n")
                case "faulty":
                    sock.send(b"HTTP/1.1 101 Yes\r\nUpgrade: nothing\r\n\r\n")
                case _:  # silence
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_all, args=(listener,))
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            socket.create_connection(listener.getsockname()).close()
            thread.join()
            for sock in socks:
                sock.close()


ENDS_OF_SERVERS = ["eof", "reset", "silence", "refused", "no HTTP", "faulty"]


@pytest.mark.parametrize(
    "settings", [{}, {"protocol": StreamProtocol(StringLineSerializer())}], ids=["calls", "packets"]
)
@pytest.mark.parametrize("end", ENDS_OF_SERVERS)
async def test_a_client_is_left_with_nothing_of_an_opening_handshake(end: str, settings: dict[str, Any]) -> None:
    async def attempt(url: str) -> None:
        try:
            async with connect(url, connect_timeout=0.05 if end == "silence" else 10, **settings):
                raise AssertionError("connected")
        except (OSError, TielineError):
            pass

    with ending(end) as url:
        await attempt(url)
        with nothing_left():
            await attempt(url)


@pytest.mark.parametrize("end", ENDS_OF_SERVERS)
def test_nor_is_one_of_blocking_code(end: str) -> None:
    def attempt(url: str) -> None:
        try:
            with blocking.connect(url, connect_timeout=0.05 if end == "silence" else 10):
                raise AssertionError("connected")
        except (OSError, TielineError):
            pass

    with ending(end) as url:
        attempt(url)
        with nothing_left():
            attempt(url)


async def test_nothing_is_left_of_whole_sessions_either() -> None:
    async with serve(Methods(), "ws://127.0.0.1:0") as server:

        async def session() -> None:
            before = layers()
            async with connect(server.url):
                pass
            await until(lambda: layers() <= before, "it is garbage")

        await session()
        with nothing_left():
            await session()


def test_nor_of_those_of_blocking_code() -> None:
    with blocking.serve(Methods(), "tcp://127.0.0.1:0") as server:

        def session(url: str) -> None:
            with blocking.connect(url):
                pass

        session(server.url)
        with nothing_left():
            session(server.url)


async def test_nor_of_those_over_tcp() -> None:
    async with serve(Methods(), "tcp://127.0.0.1:0") as server:

        async def session() -> None:
            async with connect(server.url):
                pass
            await until(lambda: not server.sessions, "the server has not heard of the end")

        await session()
        with nothing_left(of_ours=False):
            await session()


@contextmanager
def cutting(end: str) -> Iterator[str]:
    """Give the URL of a server that ends each connection instead of an answer."""

    def serve_all(listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            with sock:
                if not sock.recv(10 if end == "nonsense" else 10_000):
                    return
                if end == "reset":
                    reset(sock)
                elif end == "nonsense":
                    sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # and a reset behind it: not all was read

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_all, args=(listener,))
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            socket.create_connection(listener.getsockname()).close()
            thread.join()


async def fail_to_call(session: Any) -> None:
    await session.call("add", 1, 2)


async def fail_to_call_beside_others(session: Any) -> None:
    async def fail() -> None:
        with contextlib.suppress(ConnectionLost):
            await session.call("add", 1, 2)

    for task in [aio.create_task(fail()) for _ in range(3)]:
        await task
    await session.call("add", 1, 2)


async def fail_in_a_batch(session: Any) -> None:
    async with session.batch() as batch:
        for _ in range(3):
            batch.add_request("add", [1, 2])


async def fail_in_a_batch_that_is_awaited(session: Any) -> None:
    batch = session.new_batch()
    for _ in range(3):
        batch.add_request("add", [1, 2])
    session.send_batch(batch)
    await batch


async def fail_for_a_request(session: Any) -> None:
    await session.send_request("add", [1, 2])


@pytest.mark.parametrize("end", ["eof", "reset", "nonsense"])
@pytest.mark.parametrize(
    "ask",
    [
        fail_to_call,
        fail_to_call_beside_others,
        fail_in_a_batch,
        fail_in_a_batch_that_is_awaited,
        fail_for_a_request,
    ],
)
async def test_a_lost_connection_leaves_nothing_of_what_was_asked_on_it(
    ask: Callable[[Any], Awaitable[None]], end: str
) -> None:
    async def attempt(url: str) -> None:
        try:
            async with connect(url) as session:
                await ask(session)
        except ConnectionLost:
            return
        raise AssertionError("answered")

    with cutting(end) as url:
        await attempt(url)
        with nothing_left(of_ours=False):
            await attempt(url)


def fail_to_call_in_blocking_code(session: blocking.ClientSession) -> None:
    session.call("add", 1, 2)


def fail_in_a_batch_in_blocking_code(session: blocking.ClientSession) -> None:
    with session.batch() as batch:
        for _ in range(3):
            batch.add_request("add", [1, 2])


def fail_for_a_request_in_blocking_code(session: blocking.ClientSession) -> None:
    session.send_request("add", [1, 2]).result()


@pytest.mark.parametrize("end", ["eof", "reset", "nonsense"])
@pytest.mark.parametrize(
    "ask",
    [fail_to_call_in_blocking_code, fail_in_a_batch_in_blocking_code, fail_for_a_request_in_blocking_code],
)
def test_nor_does_one_of_blocking_code(ask: Callable[[blocking.ClientSession], None], end: str) -> None:
    def attempt(url: str) -> None:
        try:
            with blocking.connect(url) as session:
                ask(session)
        except ConnectionLost:
            return
        raise AssertionError("answered")

    with cutting(end) as url:
        attempt(url)
        with nothing_left(of_ours=False):
            attempt(url)


def unsendable_methods() -> Methods:
    """Methods whose answers cannot be sent: each in a way of its own."""
    methods = Methods()
    methods.method(name="nothing JSON")(lambda: [object()])
    methods.method(name="too many digits")(lambda: 10**5000)
    methods.method(name="an error")(lambda: RPCError(1, "returned"))

    @methods.method(name="async")
    async def later() -> object:
        await aio.sleep(0)
        return object()

    @methods.method(name="an error with such data")
    def fail() -> None:
        raise RPCError(1, "no", data=object())

    @methods.method(name="the last one")
    def hang_up() -> None:
        raise ReplyAndDisconnect(object())

    return methods


@pytest.mark.row("S5", "H59")
@pytest.mark.parametrize("hooks", [None, Counts()], ids=["no hooks", "hooks"])
@pytest.mark.parametrize("name", [*unsendable_methods()])
async def test_an_answer_that_cannot_be_sent_leaves_nothing(name: str, hooks: Counts | None) -> None:
    async with serve(unsendable_methods(), "tcp://127.0.0.1:0", hooks=hooks) as server:

        async def ask() -> None:
            async with connect(server.url) as session:
                if name != "the last one":
                    await refused(session.call(name))
                    await session.notify(name)
                async with session.batch() as batch:
                    for _ in range(3):
                        batch.add_request(name)
                assert any(isinstance(one, RPCError) for one in batch.results)
            await until(lambda: not server.sessions, "the server has not heard of the end")

        await ask()
        with nothing_left(of_ours=False):
            await ask()


async def refused(call: Awaitable[Any]) -> None:
    try:
        await call
    except (RPCError, TimeoutError):
        return
    raise AssertionError("answered")


@pytest.mark.row("S10")
async def test_a_call_that_has_waited_for_room_in_vain_leaves_nothing() -> None:
    methods = Methods()

    @methods.method
    async def never() -> None:
        await aio.sleep(1000)

    async with serve(methods, "tcp://127.0.0.1:0") as server:

        async def attempt() -> None:
            async with connect(server.url, limits=Limits(max_calls=1)) as session:
                request = session.send_request("never")
                await refused(session.call("never", timeout=0.01))
                request.cancel()
                session.abort()
            for other in [*server.sessions]:
                other.abort()  # it cannot know that nobody waits for the answer
            del other
            await until(lambda: not server.sessions, "a session is left")

        await attempt()
        with nothing_left(of_ours=False):
            await attempt()


@contextmanager
def failing(way: str, directory: Path) -> Iterator[tuple[str, float]]:
    """Give a URL to which no connection can be made, and for how many seconds to try."""
    path = str(directory / "socket")
    with closed_port() as port, full_unix_listener(path):
        match way:
            case "refused":
                yield f"tcp://127.0.0.1:{port}", 10
            case "refused, for TLS":
                yield f"tls://127.0.0.1:{port}", 10
            case "several refused":
                yield f"tcp://several:{port}", 10
            case "no file":
                yield f"unix:{directory}/none", 10
            case _:  # no time
                yield f"unix:{path}", 0.01


WAYS_TO_FAIL = ["refused", "refused, for TLS", "several refused", "no file", "no time"]


def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the name "several" looked up, to two addresses."""

    def found(host: str, port: int, *_: object, **_settings: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
async def test_a_dial_that_fails_leaves_nothing(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_addresses(monkeypatch)

    async def attempt(url: str, seconds: float) -> None:
        try:
            async with connect(url, connect_timeout=seconds):
                raise AssertionError("connected")
        except OSError:
            pass

    with failing(way, tmp_path) as where:
        await attempt(*where)
        with nothing_left(of_ours=False):
            await attempt(*where)


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_nor_does_one_in_blocking_code(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_addresses(monkeypatch)

    def attempt(url: str, seconds: float) -> None:
        try:
            with blocking.connect(url, connect_timeout=seconds):
                raise AssertionError("connected")
        except OSError:
            pass

    with failing(way, tmp_path) as where:
        attempt(*where)
        with nothing_left(of_ours=False):
            attempt(*where)


@pytest.mark.asyncio_only("trio's own way of looking names up in a thread leaves garbage when that fails")
async def test_nor_does_a_name_that_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_: object, **_settings: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    monkeypatch.setattr(socket, "getaddrinfo", found)

    async def attempt() -> None:
        try:
            async with connect("tcp://nobody:1"):
                raise AssertionError("connected")
        except OSError:
            pass

    await attempt()
    with nothing_left(of_ours=False):
        await attempt()
