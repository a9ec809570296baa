# SPDX-License-Identifier: MIT
"""What a peer says before it ends: notifications are handled to their end, however the connection ends behind them."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import ProxyType

import pytest
import trio

from tests import aio
from tests.certificates import Certificates
from tests.rpc.message_sessions import Waiting, served, the_peer
from tests.rpc.sessions import until
from tests.wire.websocket.pairs import CLOSE, TEXT, frame
from tieline import (
    TLS,
    ClientSession,
    ClosedError,
    Command,
    Governance,
    Hooks,
    Limits,
    Methods,
    Server,
    ServerSession,
    SessionBase,
    connect,
    serve,
)
from tieline.rpc import gate

COUNT = 30
ALL = list(range(COUNT))
NOTES = [json.dumps({"jsonrpc": "2.0", "method": "note", "params": [number]}).encode() for number in ALL]
CALLS = [json.dumps({"jsonrpc": "2.0", "method": "wait", "id": number}).encode() for number in range(3)]
KEY = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
OPENING = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n%bSec-WebSocket-Version: 13\r\n\r\n" % KEY

pytestmark = pytest.mark.row("H9", "S9")


class Heard:
    """Methods that wait until they are let go, and what became of them."""

    def __init__(self) -> None:
        self.gate = aio.Event()
        self.begun: list[int] = []
        self.done: list[int] = []
        self.cancelled: list[str] = []
        self.then: Any = None  # what they do when they are let go
        self.methods = Methods()
        self.methods.add(self)

    async def note(self, number: int, session: SessionBase) -> None:
        self.begun.append(number)
        try:
            await self.gate.wait()
        except BaseException:
            self.cancelled.append("note")
            raise
        if self.then is not None:
            await self.then(number, session)
        self.done.append(number)

    async def wait(self) -> None:
        try:
            await aio.Event().wait()
        except BaseException:
            self.cancelled.append("call")
            raise


def say_and_end(kind: str, port: int, context: ssl.SSLContext | None) -> None:
    """Ask, say the last words, and end, all in one segment where that can be."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as bare:
        if kind == "tls":
            assert context is not None
            with context.wrap_socket(bare, server_hostname="localhost") as sock:
                sock.sendall(b"".join(line + b"\n" for line in CALLS + NOTES))
                sock.unwrap()
        elif kind == "tcp":
            bare.sendall(b"".join(line + b"\n" for line in NOTES))
            bare.shutdown(socket.SHUT_WR)
            while bare.recv(100):
                pass
        else:
            bare.sendall(OPENING)
            head = b""
            while b"\r\n\r\n" not in head:
                head += bare.recv(100)
            last = frame(CLOSE, b"\x03\xe8") if kind == "closed" else b""
            bare.sendall(b"".join(frame(TEXT, line) for line in CALLS + NOTES) + last)
            bare.shutdown(socket.SHUT_WR)
            while bare.recv(100):
                pass


@asynccontextmanager
async def heard_out(
    kind: str, certificates: Certificates, *, hooks: Hooks | None = None, **limits: Any
) -> AsyncIterator[tuple[Heard, Any]]:
    """Give what has been asked by a peer that has ended since, and the server."""
    heard = Heard()
    inside = TLS(certificate=certificates.server) if kind == "tls" else None
    scheme = {"tls": "tls", "tcp": "tcp"}.get(kind, "ws")
    async with serve(
        heard.methods, f"{scheme}://127.0.0.1:0", tls=inside, limits=Limits(**limits), hooks=hooks
    ) as server:
        context = ssl.create_default_context(cafile=str(certificates.ca)) if kind == "tls" else None
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        ending = aio.ensure_future(aio.to_thread(say_and_end, kind, port, context))
        await until(lambda: server.sessions)
        (session,) = server.sessions
        await until(lambda: session.close_reason is not None)
        yield heard, session
        await aio.wait({ending})


KINDS = ["closed", "ended", "tls", "tcp"]


@pytest.mark.parametrize("kind", KINDS)
async def test_notifications_are_handled_to_their_end_and_calls_are_cancelled(
    kind: str, certificates: Certificates
) -> None:
    async with heard_out(kind, certificates) as (heard, session):
        await until(lambda: heard.begun)
        assert heard.done == []
        assert not session.closed_event.is_set()
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 10)
        assert sorted(heard.done) == ALL
        assert heard.begun == ALL
        assert "note" not in heard.cancelled
        await until(lambda: not session._engine.handling.running)  # no call either, which nobody has let go


@pytest.mark.parametrize("how", ["abort", "force"])
@pytest.mark.parametrize("kind", KINDS)
async def test_they_can_be_cut_all_the_same(kind: str, how: str, certificates: Certificates) -> None:
    async with heard_out(kind, certificates) as (heard, session):
        await until(lambda: heard.begun)
        assert not session.closed_event.is_set()
        if how == "abort":
            session.abort()
        else:
            await session.aclose(force_after=0.01)
        await aio.wait_for(session.wait_closed(), 5)
        await until(lambda: heard.cancelled.count("note") == len(heard.begun))
        assert heard.done == []


async def test_they_have_the_time_of_handlers_and_no_more(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with heard_out("closed", certificates, handler_timeout=0.1) as (heard, session):
        await aio.wait_for(session.wait_closed(), 10)
        assert heard.cancelled.count("note") == len(heard.begun)
    assert "handler cancelled (limit 0.1 s)" in caplog.text


async def test_what_fails_behind_the_end_is_logged(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(number: int, session: ServerSession) -> None:
        if number == 1:
            await session.call("gone")
        raise LookupError(number)

    async with heard_out("closed", certificates) as (heard, session):
        heard.then = fail
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 10)
    assert "LookupError" in caplog.text
    assert "ClosedError" not in caplog.text
    assert "ConnectionLost" not in caplog.text


async def test_a_handler_may_close_its_session_behind_the_end(certificates: Certificates) -> None:
    async def close(_number: int, session: ServerSession) -> None:
        await session.aclose(1000)

    async with heard_out("closed", certificates) as (heard, session):
        heard.then = close
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 10)
        await until(lambda: sorted(heard.done) == ALL)


async def end_and_vanish(sock: socket.socket, session: Any) -> None:
    """End our direction of a connection, and then cut it."""
    sock.shutdown(socket.SHUT_WR)
    await until(lambda: session.close_reason is not None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("others", [0, 1])
async def test_the_end_does_not_wait_for_a_handler_that_waits_for_the_end(others: int) -> None:
    heard = Heard()
    watching: list[str] = []

    @heard.methods.method
    async def watch(session: ServerSession) -> None:
        watching.append("begun")
        try:
            await session.wait_closed()
        finally:
            watching.append("ended")

    async with serve(heard.methods, "ws://127.0.0.1:0") as server:
        async with connect(server.url) as client:
            await client.notify("watch")
            for number in range(others):
                await client.notify("note", number)
            await until(lambda: watching and len(heard.begun) == others)
            (session,) = server.sessions
        if others:
            await until(lambda: session._engine._is_finishing)
            assert watching == ["begun"]
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 5)
        await until(lambda: watching == ["begun", "ended"])
        assert len(heard.done) == others


async def test_the_end_of_messages_does_not_wait_for_a_handler_that_waits_for_it() -> None:
    class Watching(Waiting):
        async def handle_message(self, message: bytes) -> None:
            self.begun.append(message)
            await self.wait_closed()

    async with served(Watching) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            sock.sendall(b"1\n")
            session = await the_peer(server)
            await until(lambda: session.begun)
            await end_and_vanish(sock, session)
        await aio.wait_for(session.wait_closed(), 5)


class Watching:
    """A peer whose handler waits for the end of its session, called or told, and a socket to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.methods = Methods()
        self.methods.add(self)

    async def watch(self, session: ServerSession) -> None:
        self.seen.append("begun")
        await session.wait_closed()
        self.seen.append("ended")

    async def answer(self, session: ServerSession) -> int:
        """Answer while a task beside it watches."""
        watcher = aio.ensure_future(self.watch(session))
        await until(lambda: session.close_reason is not None)
        for _ in range(5):
            await aio.sleep(0)
        watcher.cancel()
        return 5

    async def turn_away(self, session: ServerSession) -> int:
        """Answer when it has waited for the end in vain, and the end comes behind that."""
        with contextlib.suppress(TimeoutError):
            async with aio.timeout(0):
                await session.wait_closed()
        self.seen.append("goes on")
        await until(lambda: session.close_reason is not None)
        for _ in range(5):
            await aio.sleep(0)
        return 5


WATCH = {
    "call": b'{"jsonrpc":"2.0","method":"watch","id":1}\n',
    "notification": b'{"jsonrpc":"2.0","method":"watch"}\n',
}


@asynccontextmanager
async def watched(watching: Watching, line: bytes) -> AsyncIterator[tuple[socket.socket, ServerSession]]:
    async with serve(watching.methods, "tcp://127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=10) as sock:
            sock.sendall(line)
            await until(lambda: watching.seen)
            (session,) = server.sessions
            yield sock, session


@pytest.mark.parametrize("asked", ["call", "notification"])
async def test_half_an_end_does_not_wait_for_a_handler_that_waits_for_the_end(asked: str) -> None:
    watching = Watching()
    async with watched(watching, WATCH[asked]) as (sock, session):
        sock.shutdown(socket.SHUT_WR)
        await aio.wait_for(session.wait_closed(), 5)
        await until(lambda: watching.seen == ["begun", "ended"])
        assert sock.recv(1) == b""


@pytest.mark.parametrize("asked", ["call", "notification"])
@pytest.mark.parametrize("how", ["aclose", "close"])
async def test_no_end_of_ours_waits_for_it_either(how: str, asked: str) -> None:
    watching = Watching()
    async with watched(watching, WATCH[asked]) as (sock, session):
        if how == "aclose":
            await aio.wait_for(session.aclose(1000), 5)
        else:
            session.close()
        await until(lambda: watching.seen == ["begun", "ended"])
        assert sock.recv(1) == b""


@pytest.mark.parametrize("method", ["answer", "turn_away"])
async def test_half_an_end_waits_for_the_answer_of_a_handler_that_does_not_wait_for_it_itself(method: str) -> None:
    watching = Watching()
    line = f'{{"jsonrpc":"2.0","method":"{method}","id":1}}\n'
    async with watched(watching, line.encode()) as (sock, session):
        sock.shutdown(socket.SHUT_WR)
        await aio.wait_for(session.wait_closed(), 5)
        assert b'"result":5' in sock.recv(100)


async def test_half_an_end_of_messages_does_not_wait_for_a_handler_that_waits_for_it() -> None:
    class Watched(Waiting):
        async def handle_message(self, message: bytes) -> None:
            self.begun.append(message)
            await self.wait_closed()

    async with served(Watched) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            sock.sendall(b"1\n")
            session = await the_peer(server)
            await until(lambda: session.begun)
            sock.shutdown(socket.SHUT_WR)
            await aio.wait_for(session.wait_closed(), 5)


@pytest.mark.parametrize("how", ["wait_closed", "aclose"])
@pytest.mark.parametrize("is_plain", [True, False])
async def test_what_has_waited_for_a_place_is_the_last_and_the_session_ends(
    is_plain: bool, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOOK_AGAIN", 1000)  # the place is told of
    heard = Heard()
    ran: list[int] = []

    async def give_up(_number: int, session: Any) -> None:
        await getattr(session, how)()

    def plain(number: int) -> None:
        ran.append(number)

    async def quick(number: int) -> None:
        ran.append(number)

    heard.methods.method(name="behind")(plain if is_plain else quick)
    limits = Limits(governance=Governance(initial_concurrent=1))
    async with serve(heard.methods, "tcp://127.0.0.1:0", limits=limits) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            behind = [NOTES[number].replace(b"note", b"behind") for number in range(2)]
            sock.sendall(b"".join(line + b"\n" for line in [NOTES[0], *behind]))
            session = await the_peer(server)
            await until(lambda: session._engine.handling.waiting == 2)
            await end_and_vanish(sock, session)
        await until(lambda: session._engine._is_finishing)
        heard.then = give_up
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 5)
        assert ran == [0, 1]
        await until(lambda: heard.done)


@pytest.mark.parametrize("ordered", [True, False])
async def test_messages_behind_one_that_has_given_up_are_the_last(ordered: bool) -> None:
    class First(Waiting):
        async def handle_message(self, message: bytes) -> None:
            if message == b"1":
                await super().handle_message(message)
                await self.aclose()

    First.ordered = ordered
    limits = Limits(governance=Governance(initial_concurrent=1))
    async with served(First, limits=limits) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            sock.sendall(b"1\n2\n3\n")
            session = await the_peer(server)
            await until(lambda: session._engine.handling.waiting == 2)
            await end_and_vanish(sock, session)
        await until(lambda: session._engine._is_finishing)
        session.gates[b"1"].set()
        await aio.wait_for(session.wait_closed(), 5)


@pytest.mark.parametrize("others", [0, 1])
async def test_what_waits_out_its_delay_is_refused_in_time_and_the_session_ends(
    others: int, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    clean_up = aio.Event()

    async def call() -> None:
        try:
            await aio.Event().wait()
        finally:
            with trio.CancelScope(shield=True) if aio.on_trio() else contextlib.nullcontext():
                await clean_up.wait()

    heard.methods.method(call)
    governance = Governance(cost_soft_limit=100, cost_hard_limit=600, cost_sleep=1000, cost_decay_per_sec=0)
    limits = Limits(handler_timeout=0.3, governance=governance)
    async with serve(heard.methods, "tcp://127.0.0.1:0", limits=limits) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            sock.sendall(NOTES[0] + b"\n")
            session = await the_peer(server)
            await until(lambda: heard.begun)
            sock.sendall(b'{"jsonrpc":"2.0","method":"call","id":1}\n' * others)
            await until(lambda: session.stats.running == 1 + others)
            session.bump_cost(590)
            sock.sendall(NOTES[1] + b"\n")
            await until(lambda: session._engine.handling.waiting)
            await end_and_vanish(sock, session)
        heard.gate.set()
        await until(lambda: heard.done)
        await aio.wait_for(session.wait_closed(), 5)
        assert heard.begun == [0]
        clean_up.set()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("is_call", [True, False])
async def test_a_handler_may_fail_when_the_session_that_it_has_closed_is_gone(
    is_call: bool, caplog: pytest.LogCaptureFixture
) -> None:
    methods = Methods()
    free = aio.Event()
    ended: list[bool] = []

    @methods.method
    async def stop() -> None:
        await server.shutdown(5)
        await free.wait()
        ended.append(True)
        raise LookupError("mine")

    async with serve(methods, "tcp://127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            call = CALLS[0] if is_call else NOTES[0].replace(b"[0]", b"[]")
            sock.sendall(call.replace(b"wait", b"stop").replace(b"note", b"stop") + b"\n")
            engine = (await the_peer(server))._engine
        await until(lambda: engine.is_over)
        free.set()
        await until(lambda: ended and engine.handling.has_ended)
        assert type(engine.session) is ProxyType
    assert "ReferenceError" not in caplog.text
    assert ("mine" in caplog.text) is not is_call


@pytest.mark.parametrize("cancels_nursery", [True, False])
@pytest.mark.parametrize("is_client", [True, False])
def test_a_nursery_that_is_cancelled_does_not_wait_for_what_is_handled_behind_the_end(
    is_client: bool, cancels_nursery: bool
) -> None:
    lost: list[bool] = []

    class Client(ClientSession):
        async def connection_lost(self) -> None:
            lost.append(True)
            if cancels_nursery:
                await trio.sleep_forever()  # it is not to be outlived by this either

    async def play() -> None:
        heard = Heard()
        servers: list[Server] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with trio.open_nursery() as nursery:
                if is_client:
                    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
                    session: Any = connect(url, heard.methods, session_factory=Client)
                    await session.create_connection(nursery=nursery)
                    sock, _ = listener.accept()
                else:
                    server = serve(heard.methods, "tcp://127.0.0.1:0")
                    servers.append(server)
                    await server.listen(nursery=nursery)
                    sock = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
                    session = await the_peer(server)
                with sock:
                    sock.sendall(NOTES[0] + b"\n")
                    await until(lambda: heard.begun)
                    await end_and_vanish(sock, session)
                await until(lambda: session._engine._is_finishing)
                if cancels_nursery:
                    nursery.cancel_scope.cancel()
                else:
                    heard.gate.set()
                    await session.wait_closed()
                    for server in servers:
                        await server.shutdown()
            assert heard.cancelled == ["note"] * cancels_nursery
            assert heard.done == [0] * (not cancels_nursery)
            assert lost == [True] * is_client
            assert session._engine.is_over

    async def in_time() -> None:
        with trio.fail_after(5):
            await play()

    trio.run(in_time)


@pytest.mark.parametrize("others", [0, 1])
async def test_a_call_whose_peer_has_ended_is_cancelled_once_and_may_clean_up(others: int) -> None:
    heard = Heard()
    clean = aio.Event()
    seen: list[str] = []

    @heard.methods.method
    async def tidy() -> None:
        seen.append("begun")
        try:
            await aio.Event().wait()
        except aio.Cancelled:
            seen.append("cancelled")
            if not aio.on_trio():  # where a scope is cancelled, and each wait in it is
                await clean.wait()
            seen.append("clean")
            raise

    async with serve(heard.methods, "tcp://127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as sock:
            sock.sendall(b"".join(line + b"\n" for line in [CALLS[0].replace(b"wait", b"tidy"), *NOTES[:others]]))
            session = await the_peer(server)
            await until(lambda: seen and len(heard.begun) == others)
            await end_and_vanish(sock, session)
        await until(lambda: "cancelled" in seen)
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 5)
        clean.set()
        await until(lambda: not session._engine.handling.running)
        assert seen == ["begun", "cancelled", "clean"]


async def test_hooks_are_told_that_a_call_ended_by_the_loss_of_the_connection(certificates: Certificates) -> None:
    ends: list[tuple[str, str]] = []

    class Told(Hooks):
        def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
            ends.append((method, type(error).__name__))

    async with heard_out("closed", certificates, hooks=Told()) as (heard, session):
        await until(lambda: heard.begun)
        heard.gate.set()
        await aio.wait_for(session.wait_closed(), 10)
    assert sorted(ends) == [("note", "NoneType")] * COUNT + [("wait", "ConnectionLost")] * len(CALLS)


async def test_a_session_that_another_has_closed_is_a_failure_also_behind_the_end_of_the_peer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = Heard()

    @heard.methods.method
    async def hand_on() -> None:
        heard.begun.append(0)
        await heard.gate.wait()
        raise ClosedError("another session is closed")

    async with serve(heard.methods, "tcp://127.0.0.1:0") as server:
        reader, writer = await aio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        writer.write(CALLS[0].replace(b"wait", b"hand_on") + b"\n")
        writer.write_eof()
        session = await the_peer(server)
        await until(lambda: session.close_reason is not None and heard.begun)
        heard.gate.set()
        answer = json.loads(await reader.readline())
        writer.close()
    assert answer["error"]["message"] == "internal error processing request"
    assert "another session is closed" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="what a child has said when it ends is Unix")
async def test_the_last_lines_of_a_child_are_handled() -> None:
    heard = Heard()
    lines = b"\n".join(CALLS + NOTES).decode()
    child = Command([sys.executable, "-S", "-c", f"print({lines!r}, flush=True)"])
    async with connect(child, heard.methods) as session:
        await until(lambda: session.close_reason is not None)
        assert heard.done == []
        heard.gate.set()
        await until(lambda: sorted(heard.done) == ALL)
        await aio.wait_for(session.wait_closed(), 10)
        assert "note" not in heard.cancelled
