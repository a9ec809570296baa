# SPDX-License-Identifier: MIT
"""Closing: from anywhere, by anybody, any number of times; in order first, by force in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests import aio
from tests.promptness import prompt
from tests.rpc.sessions import TCP_URL, no_entries, pair, raw_client, raw_server, turns, until
from tieline import (
    ClientSession,
    ClosedError,
    ConnectionLost,
    EndOfStream,
    Governance,
    Limits,
    Methods,
    ServerSession,
    connect,
    serve,
)
from tieline.runtimes.asyncio.host import AsyncioHost


def hanging() -> tuple[Methods, aio.Event, list[str]]:
    """Return methods that hang until the event is set, and what has happened in them."""
    methods = Methods()
    gate = aio.Event()
    told: list[str] = []

    @methods.method
    async def hang() -> str:
        told.append("started")
        try:
            await gate.wait()
        except aio.Cancelled:
            told.append("cancelled")
            raise
        told.append("finished")
        return "answer"

    @methods.method
    async def ignore() -> None:
        while not gate.is_set():
            try:
                told.append("started")
                await gate.wait()
            except aio.Cancelled:
                told.append("ignored")

    @methods.method(name="bye")
    async def bye(session: ServerSession) -> str:
        told.append("bye")
        await session.aclose()
        told.append("closed")
        return "never seen"

    @methods.method(name="bye later")
    async def bye_later(session: ServerSession) -> None:
        await aio.sleep(0)
        await bye(session)

    @methods.method(name="bye in order", ordered=True)
    async def bye_in_order(session: ServerSession, n: int) -> None:
        told.append(f"note {n}")
        if n:
            await aio.sleep(0)
            await bye(session)

    @methods.method(name="give up")
    async def give_up(session: ServerSession) -> str:
        try:
            async with aio.timeout(0.01):
                await session.aclose()
        except TimeoutError:
            told.append("gave up")
        return "never seen"

    return methods, gate, told


def quick() -> Callable[[], None]:
    """Return what fails when a second has gone by since."""
    started = aio.now()

    def check() -> None:
        assert aio.now() - started < 1, "it took too long: something was waited for in vain"

    return check


@pytest.mark.row("S13", "S3")
async def test_leaving_the_context_closes_both_ways(tmp_path: Path):
    for url in (TCP_URL, f"unix://{tmp_path}/s"):
        async with serve(Methods(), url) as server, connect(server.url) as client:
            assert not client.is_closing()
        assert client.is_closing()
        assert not server.sessions
        assert client.close_reason is None
        with pytest.raises(ClosedError):
            await client.call("late")


@pytest.mark.row("S13")
async def test_handlers_finish_and_their_answers_go_out_before_the_connection_closes():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        call = aio.create_task(both.client.call("hang"))
        await until(lambda: told)
        closing = aio.create_task(both.peer.aclose())
        await turns()
        assert not closing.done()
        assert both.peer.is_closing()
        gate.set()
        assert await call == "answer"
        await closing
        assert told == ["started", "finished"]
        await both.client.wait_closed()


@pytest.mark.row("S13")
async def test_while_it_closes_new_requests_are_refused_and_not_run():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        call = aio.create_task(both.client.call("hang"))
        await until(lambda: told)
        both.peer.close()
        late = both.client.send_request("hang")
        with pytest.raises(Exception, match="shutting down"):
            await late
        gate.set()
        assert await call == "answer"
        assert told == ["started", "finished"]


@pytest.mark.row("S13", "H61")
async def test_a_handler_that_ignores_cancellation_does_not_hold_up_closing():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        call = both.client.send_request("ignore")
        await until(lambda: told)
        started = aio.now()
        await both.peer.aclose(force_after=0.05)
        assert 0.04 < aio.now() - started < prompt(1)
        with pytest.raises(ConnectionLost):
            await call
        await until(lambda: "ignored" in told)
        gate.set()


@pytest.mark.row("S13")
async def test_after_the_time_for_closing_handlers_are_cancelled():
    methods, _gate, told = hanging()
    async with pair(methods) as both:
        call = both.client.send_request("hang")
        await until(lambda: told)
        await both.peer.aclose(force_after=0)
        with pytest.raises(ConnectionLost):
            await call
        await until(lambda: told == ["started", "cancelled"])
        await until(lambda: no_entries(both.peer))


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("method", ["bye", "bye later"])
async def test_a_handler_may_close_its_own_session_and_gives_up_its_answer(method: str):
    methods, _gate, told = hanging()
    done_in_time = quick()
    async with pair(methods) as both:
        with pytest.raises(ConnectionLost):
            await both.client.call(method)
        await until(lambda: told == ["bye", "closed"])
        done_in_time()
        assert no_entries(both.peer)


@pytest.mark.row("S13", "H61")
async def test_a_handler_that_closes_its_session_waits_for_the_others():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        other = both.client.send_request("hang")
        bye = both.client.send_request("bye")
        await until(lambda: told == ["started", "bye"])
        await turns()
        gate.set()
        assert await other == "answer"
        with pytest.raises(ConnectionLost):
            await bye
        await until(lambda: told == ["started", "bye", "finished", "closed"])


@pytest.mark.row("S13", "H61")
async def test_an_ordered_notification_may_close_its_session():
    methods, _gate, told = hanging()
    done_in_time = quick()
    async with pair(methods) as both:
        for n in (0, 1, 2):
            await both.client.notify("bye in order", n)
        await both.client.wait_closed()
        await until(lambda: told == ["note 0", "note 1", "bye", "closed"])
        done_in_time()
        assert no_entries(both.peer)


@pytest.mark.row("S13", "H61")
async def test_ordered_notifications_are_handled_though_another_handler_closes_the_session():
    methods = Methods()
    told: list[int] = []
    gate = aio.Event()

    @methods.method(ordered=True)
    async def note(number: int) -> None:
        await gate.wait()
        told.append(number)

    @methods.method
    async def bye(session: ServerSession) -> None:
        await session.aclose(force_after=30)

    async with pair(methods) as both:
        for number in range(3):
            await both.client.notify("note", number)
        await both.client.notify("bye")
        await until(both.peer.is_closing)
        gate.set()
        await both.client.wait_closed()
        await until(lambda: told == [0, 1, 2])


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("at_once", [1, 20], ids=["behind the gate", "behind its first step"])
@pytest.mark.parametrize("in_batch", [False, True], ids=["lines", "a batch"])
async def test_an_ordered_notification_that_closes_its_session_does_not_wait_for_the_next(at_once: int, in_batch: bool):
    methods = Methods()
    told: list[str] = []

    @methods.method(ordered=True)
    async def bye(session: ServerSession) -> None:
        await session.aclose(force_after=30)
        told.append("closed")

    @methods.method(ordered=True)
    async def note() -> None:
        told.append("note")

    @methods.method
    def other() -> str:
        return "other"

    messages: list[dict[str, object]] = [{"jsonrpc": "2.0", "method": name} for name in ("bye", "note", "note")]
    messages.append({"jsonrpc": "2.0", "id": 1, "method": "other"})
    limits = Limits(governance=Governance(initial_concurrent=at_once))
    done_in_time = quick()
    async with serve(methods, TCP_URL, limits=limits) as server, raw_client(server) as peer:
        peer.send(messages) if in_batch else peer.send(*messages)
        answer = await peer.line()
        assert (answer[0] if in_batch else answer)["result"] == "other"
        assert await peer.ended()
        await until(lambda: told)
        done_in_time()
        await until(lambda: not server.sessions)
    assert told == ["closed"]


@pytest.mark.row("S13", "H61")
async def test_a_handler_that_gives_up_closing_has_aborted_the_session():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        other = both.client.send_request("ignore")
        with pytest.raises(ConnectionLost):
            await both.client.call("give up")
        with pytest.raises(ConnectionLost):
            await other
        assert "gave up" in told
        gate.set()


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("waits", [False, True])
async def test_a_handler_may_wait_for_the_end_that_it_has_begun_and_gives_up_its_answer(waits: bool):
    methods = Methods()
    told: list[str] = []

    @methods.method
    async def bye(session: ServerSession) -> None:
        if waits:
            await aio.sleep(0)
        session.close()
        await session.wait_closed()
        told.append("closed")

    done_in_time = quick()
    async with pair(methods) as both:
        with pytest.raises(ConnectionLost):
            await both.client.call("bye")
        await until(lambda: told == ["closed"])
        done_in_time()
        assert no_entries(both.peer)


@pytest.mark.row("S13", "H61")
async def test_a_handler_that_waits_for_an_end_that_has_not_begun_is_answered():
    methods = Methods()

    @methods.method
    async def watch(session: ServerSession) -> str:
        try:
            async with aio.timeout(0.01):
                await session.wait_closed()
        except TimeoutError:
            return "still there"
        return "gone"

    async with pair(methods) as both:
        assert await both.client.call("watch") == "still there"
        assert await both.client.call("watch") == "still there"


@pytest.mark.row("S13", "H61")
async def test_a_plain_handler_may_begin_to_close_its_session_and_is_still_answered():
    methods = Methods()

    @methods.method
    def last_words(session: ServerSession) -> str:
        session.close()
        return "bye"

    async with pair(methods) as both:
        assert await both.client.call("last_words") == "bye"
        await both.client.wait_closed()


@pytest.mark.row("S13", "H61")
async def test_a_plain_handler_may_abort_its_session():
    methods = Methods()

    @methods.method
    def cut(session: ServerSession) -> str:
        session.abort()
        return "never seen"

    async with pair(methods) as both:
        with pytest.raises(ConnectionLost):
            await both.client.call("cut")


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("more", [b"more", b"more_later", b"other"])
@pytest.mark.parametrize("stop", [b"stop", b"stop_later"])
@pytest.mark.parametrize("first", [b"more", b"more_later"])
async def test_behind_an_abort_nothing_of_the_same_read_begins(first: bytes, stop: bytes, more: bytes) -> None:
    methods = Methods()
    told: list[str] = []

    class Session(ServerSession):
        async def connection_lost(self) -> None:
            told.append("lost")

    @methods.method(name="stop")
    def stop_now(session: ServerSession) -> None:
        told.append("stop")
        session.abort()

    @methods.method
    async def stop_later(session: ServerSession) -> None:
        stop_now(session)

    @methods.method(name="more")
    def more_now() -> None:
        told.append("more")

    @methods.method(name="more_later")
    async def more_later() -> None:
        told.append("more")

    @methods.method
    async def other() -> None:
        told.append("more")
        await aio.sleep(0)

    async with serve(lambda: Session(methods=methods), TCP_URL) as server, raw_client(server) as peer:
        names = [first, stop, more, more]
        asked = [b'{"jsonrpc":"2.0","method":"%s","id":%d}' % (name, at) for at, name in enumerate(names)]
        asked += [b'{"jsonrpc":"2.0","method":"%s"}' % more, b"[" + asked[-1].replace(b"3", b"4") + b"]"]
        peer.writer.write(b"\n".join([*asked, b""]))
        await until(lambda: "lost" in told)
        await turns()
    assert told == ["more", "stop", "lost"]


@pytest.mark.row("S13", "H61")
async def test_ten_tasks_may_close_at_once_and_all_return_when_it_is_done():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        call = both.client.send_request("hang")
        await until(lambda: told)
        closing = [aio.create_task(both.peer.aclose()) for _ in range(10)]
        await turns()
        assert not any(task.done() for task in closing)
        gate.set()
        await aio.gather(*closing)
        assert await call == "answer"
        await both.peer.aclose()  # and once more


@pytest.mark.row("S13", "S7")
async def test_closing_fails_our_own_open_calls_and_says_who_closed():
    methods, _gate, told = hanging()
    async with pair(methods) as both:
        calls = [aio.create_task(both.client.call("hang")) for _ in range(3)]
        await until(lambda: len(told) == 3)
        await both.client.aclose()
        for error in await aio.gather(*calls, return_exceptions=True):
            assert isinstance(error, ClosedError)
        assert both.client.close_reason is None
        assert no_entries(both.client)


@pytest.mark.row("S13", "H60")
async def test_a_cancelled_close_is_a_close_all_the_same():
    methods, gate, told = hanging()
    async with pair(methods) as both:
        call = both.client.send_request("ignore")
        await until(lambda: told)
        closing = aio.create_task(both.peer.aclose())
        await turns()
        closing.cancel()
        with pytest.raises(aio.Cancelled):
            await closing
        with pytest.raises(ConnectionLost):
            await call
        await both.peer.wait_closed()
        gate.set()


@pytest.mark.row("S13")
async def test_closing_after_a_loss_returns_at_once():
    async with pair() as both:
        both.peer.abort()
        await both.client.wait_closed()
        done_in_time = quick()
        await both.client.aclose()
        await both.client.aclose()
        both.client.close()
        both.client.abort()
        done_in_time()


@pytest.mark.row("S13")
async def test_a_session_that_never_connected_closes_at_once():
    client = ClientSession("127.0.0.1", 1)
    await client.aclose()
    client.close()
    client.abort()
    await client.wait_closed()
    assert client.is_closing()


class CleansUp(ServerSession):
    """Closes itself once more when it is told that it is closed."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # wrong on purpose
        self.told = 0

    async def connection_lost(self) -> None:
        await aio.sleep(0)
        await self.aclose()
        self.told += 1


@pytest.mark.row("S1", "S13")
async def test_connection_lost_runs_once_before_closing_returns_and_may_close_the_session():
    done_in_time = quick()
    async with pair(session_class=CleansUp) as both:
        assert isinstance(both.peer, CleansUp)
        event = both.peer.closed_event
        await both.peer.aclose()
        assert both.peer.told == 1
        assert event.is_set()
        assert both.peer.closed_event.is_set()
        await both.peer.wait_closed()
    assert both.peer.told == 1
    done_in_time()


class Hears(ClientSession):
    told = ""

    async def connection_lost(self) -> None:
        self.told = f"lost {self.close_reason}"


@pytest.mark.asyncio_only("trio has checkpoints")
@pytest.mark.row("S13")
async def test_closing_behind_an_answer_is_done_within_the_turn_that_has_read_it():
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop) or not AsyncioHost.starts_eagerly:
        pytest.skip("the end is told in a later turn")
    methods = Methods()
    methods.method(name="echo")(lambda n: n)
    async with pair(methods) as both:
        session = connect(both.server.url, session_factory=Hears)
        await session.create_connection()
        assert await session.call("echo", 1) == 1
        in_next_turn: list[str] = []
        loop.call_soon(in_next_turn.append, "turned")
        await session.aclose()
        assert not in_next_turn
        assert session.told == "lost None"
        assert session.closed_event.is_set()
        await session.aclose()
        await until(lambda: len(both.server.sessions) == 1)


@pytest.mark.row("S13")
async def test_a_peer_that_reads_nothing_is_cut_when_the_time_for_closing_is_over():
    async with raw_server() as (client, peer):
        peer.writer.transport.pause_reading()
        while client.has_room():
            client.send_notification("fill", ["x" * 1_000_000])
            await aio.sleep(0)
        started = aio.now()
        await client.aclose(force_after=0.05)
        assert 0.04 < aio.now() - started < prompt(1)
        await client.wait_closed()


@pytest.mark.row("S13", "H61")
async def test_server_and_client_may_close_each_other_at_the_same_time():
    for _ in range(20):
        async with pair() as both:
            done_in_time = quick()
            await aio.gather(both.client.aclose(), both.peer.aclose(), both.server.shutdown())
            done_in_time()
            assert not both.server.sessions


@pytest.mark.row("S13")
async def test_what_was_sent_before_closing_still_arrives():
    methods = Methods()
    seen: list[int] = []

    @methods.method
    def note(n: int, _text: str) -> None:
        seen.append(n)

    async with serve(methods, TCP_URL) as server:
        async with connect(server.url) as client:
            for n in range(50):
                client.send_notification("note", [n, "x" * 50_000])
        await until(lambda: len(seen) == 50)
        assert seen == list(range(50))


@pytest.mark.row("S13")
async def test_a_peer_that_has_half_closed_still_gets_its_answers():
    methods, gate, told = hanging()
    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        peer.send({"jsonrpc": "2.0", "id": 1, "method": "hang"})
        peer.writer.write_eof()
        await until(lambda: told)
        gate.set()
        assert await peer.line() == {"jsonrpc": "2.0", "result": "answer", "id": 1}
        assert await peer.ended()


async def test_what_was_sent_before_closing_arrives_though_the_peer_is_busy_sending() -> None:
    """Closing a socket that the peer still sends to resets it, and what the peer has not read by then was lost."""
    heard: list[int] = []
    server_methods = Methods()

    @server_methods.method
    def note(number: int, text: str) -> None:
        heard.append(number)

    async def flood(session: ServerSession) -> None:
        with contextlib.suppress(ClosedError, ConnectionLost):
            while True:
                await session.notify("noise", "x" * 1000)
                await aio.sleep(0)

    async with serve(server_methods, TCP_URL) as server, aio.TaskGroup() as tasks:
        async with connect(server.url, limits=Limits(linger=60)) as client:
            await until(lambda: server.sessions)
            (peer,) = server.sessions
            flooding = tasks.create_task(flood(peer))
            for number in range(2000):
                await client.notify("note", number, "x" * 5000)
            await client.aclose(60)
        await aio.wait_for(peer.wait_closed(), 30)
        await flooding
    assert heard == list(range(2000))
    assert isinstance(peer.close_reason, EndOfStream)


async def _batch(client: ClientSession) -> None:
    async with client.batch() as batch:
        batch.add_notification("note")


async def _at_once(client: ClientSession) -> None:
    client.send_notification("note")


AFTER_ABORT: list[Callable[[ClientSession], Awaitable[object]]] = [
    lambda client: client.notify("note"),
    lambda client: client.call("note"),
    _at_once,
    _batch,
]


@pytest.mark.parametrize("say", AFTER_ABORT, ids=["notify", "call", "send_notification", "batch"])
async def test_after_abort_nothing_is_silently_dropped(say: Callable[[ClientSession], Awaitable[object]]) -> None:
    """Also in the turn of the abort itself, in which the transport has not told of the end yet."""
    async with pair() as both:
        both.client.abort()
        with pytest.raises(ClosedError, match="closed"):
            await say(both.client)
