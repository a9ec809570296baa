# SPDX-License-Identifier: MIT
"""On trio whoever waits may read the connection in its own task: how that begins, ends, and is handed on."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from tests import aio
from tests.cancelling import run_cancelled
from tests.clients.test_async_streams import tcp_pair
from tests.loops import TrioRuntime
from tests.servers.scene import JSON, address_of
from tieline.clients import AsyncTCPNetworkClient
from tieline.errors import EndOfStream, StreamProtocolParseError
from tieline.runtimes.link import Link
from tieline.runtimes.trio import leading, streams
from tieline.runtimes.trio.host import TrioHost
from tieline.runtimes.trio.leading import FEW
from tieline.runtimes.trio.streams import StreamTransport
from tieline.runtimes.trio.waiting import Waiter
from tieline.servers import AsyncTCPNetworkServer

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")
LONG = 5_000_000  # bytes; more than a pair of sockets holds


class Scene:
    """A connection in a nursery; as its protocol it completes a waiter for each byte, the oldest first."""

    def __init__(self, nursery: trio.Nursery) -> None:
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.host = TrioHost(nursery)
        self.received = bytearray()
        self.tasks: list[trio.lowlevel.Task] = []  # who read each time
        self.variables: list[str] = []
        self.lost: list[BaseException | None] = []
        self.waiters: list[Waiter] = []
        self.ends = 0
        self.stays_open = False  # when the peer has ended its side
        self.news = trio.Event()
        self.on_data: Callable[[bytes], object] = lambda data: None
        self.transport = StreamTransport(self.host, ours, self)
        self.transport.start()

    # --- callbacks -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None: ...

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.tasks.append(trio.lowlevel.current_task())
        self.variables.append(VARIABLE.get())
        self.on_data(data)
        for _ in range(min(len(data), len(self.waiters))):
            waiter = self.waiters.pop(0)
            if not waiter.done():
                waiter.set_result(data)
        self.news.set()

    def eof_received(self) -> bool:
        self.ends += 1
        return self.stays_open

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("lost"))
        self.news.set()

    # --- what tests do -------------------------------------------------------------------------------------------

    def waiter(self) -> Waiter:
        waiter = self.host.new_waiter()
        self.waiters.append(waiter)
        return waiter

    async def trip(self) -> Any:
        """Wait for a byte that has come already, as an answer does."""
        self.peer.send(b".")
        return await self.waiter()

    async def begin(self) -> None:
        """Make round trips until whoever waits reads, and forget what came of them."""
        for _ in range(FEW + 1):
            await self.trip()
        assert self.host.lead is not None, "between two waits it is still left to whoever waits"
        assert self.tasks[-1] is trio.lowlevel.current_task()
        self.received.clear()
        self.tasks.clear()
        self.variables.clear()
        self.news = trio.Event()

    async def came(self, data: bytes) -> None:
        """Wait for data without a waiter of the host: who does that does not read."""
        with trio.fail_after(50):
            while bytes(self.received) != data:
                await self.news.wait()
                self.news = trio.Event()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        found = Scene(nursery)
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield found
        finally:
            found.transport.abort()
            found.peer.close()
            nursery.cancel_scope.cancel()


def run(test: Callable[[Scene], Awaitable[None]], **given: Any) -> None:
    async def main() -> None:
        with trio.fail_after(50):
            async with scene() as found:
                await test(found)

    trio.run(main, **given)


def parked(waiter: Waiter) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await waiter

    return wait


# --- beginning and end -----------------------------------------------------------------------------------------------


def test_whoever_waits_again_and_again_reads_by_itself_and_a_reader_does_otherwise() -> None:
    async def test(scene: Scene) -> None:
        mine = trio.lowlevel.current_task()
        for _ in range(FEW):
            assert await scene.trip() == b"."
        assert mine not in scene.tasks
        for _ in range(5):
            assert await scene.trip() == b"."
        assert scene.tasks[FEW:] == [mine] * 5
        for _ in range(2):  # the first time trio asks whether anything has come, and does not mean to sleep
            await trio.testing.wait_all_tasks_blocked()
        assert scene.host.lead is None, "when nothing runs a task of its own waits for data"
        await scene.trip()
        assert scene.tasks[-1] is scene.tasks[0]

    run(test)


def clocks() -> list[Any]:
    return [None, trio.testing.MockClock(), trio.testing.MockClock(autojump_threshold=0)]


@pytest.mark.parametrize("clock", range(3), ids=["real", "standing", "jumping"])
def test_what_nobody_waits_for_is_read_at_once_whatever_the_clock(clock: int) -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.peer.send(b"unasked")
        began = trio.current_time()
        await scene.came(b"unasked")
        assert clock == 0 or trio.current_time() == began
        assert trio.lowlevel.current_task() not in scene.tasks
        scene.peer.send(b" again")
        await scene.came(b"unasked again")

    run(test, clock=clocks()[clock])


def test_what_nobody_waits_for_is_read_in_a_few_turns_while_others_never_stop() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.peer.send(b"unasked")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert scene.received == b"unasked"

    run(test)


def test_one_turn_between_two_waits_changes_nothing() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            await scene.trip()
        assert set(scene.tasks) == {trio.lowlevel.current_task()}

    run(test)


def test_the_longer_it_does_not_pay_the_more_seldom_it_is_done() -> None:
    async def test(scene: Scene) -> None:
        begun = 0
        for _ in range(40 * FEW):
            await scene.trip()
            begun += scene.host.lead is not None
            await trio.testing.wait_all_tasks_blocked()
        assert begun == 5  # after 8, 16, 32, 64 and 128 waits

    run(test)


def test_what_watches_is_there_only_while_it_is_needed() -> None:
    calls: list[object] = []

    async def test(scene: Scene) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(leading, "add_instrument", calls.append)
            patch.setattr(leading, "remove_instrument", calls.append)
            await scene.begin()
            assert len(calls) == 1
            scene.transport.pause_reading()
            await trio.testing.wait_all_tasks_blocked()
            assert len(calls) == 2

    run(test)


def test_as_a_guest_it_is_the_same() -> None:
    program = """
import asyncio, trio, tieline

async def guest():
    methods = tieline.Methods()
    methods.method(name="double")(lambda n: 2 * n)
    heard = trio.Event()
    client_methods = tieline.Methods()
    client_methods.method(name="news")(lambda: heard.set())
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server:
        async with tieline.connect(server.url, methods=client_methods) as client:
            for n in range(50):
                assert await client.call("double", n) == 2 * n
            (session,) = server.sessions
            await session.notify("news")
            await heard.wait()
    return "heard"

async def host():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    trio.lowlevel.start_guest_run(
        guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result)
    print((await done).unwrap())

asyncio.run(host())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "heard\n", done.stderr


# --- who reads is none of anybody's business ------------------------------------------------------------------------


def test_data_is_handled_in_the_context_of_the_connection() -> None:
    async def test(scene: Scene) -> None:
        VARIABLE.set("of whoever waits")
        await scene.begin()
        await scene.trip()
        assert scene.tasks == [trio.lowlevel.current_task()]
        assert scene.variables == ["unset"]

    run(test)


def test_whoever_handles_an_exception_does_not_read_since_that_would_become_the_context_of_others() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        try:
            raise LookupError  # what is handled is the point
        except LookupError:
            await scene.trip()
        assert trio.lowlevel.current_task() not in scene.tasks

    run(test)


def test_others_run_while_more_data_is_always_there() -> None:
    async def test(scene: Scene) -> None:
        turns = 0
        reads = 20

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        await scene.begin()
        waiter = scene.host.new_waiter()

        def more(_data: bytes) -> None:
            if len(scene.received) == reads:
                waiter.set_result(turns)
            else:
                scene.peer.send(b".")

        scene.on_data = more
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            scene.peer.send(b".")
            assert await waiter >= reads - 2
            assert set(scene.tasks) == {trio.lowlevel.current_task()}
            nursery.cancel_scope.cancel()

    run(test)


def test_a_second_connection_in_the_nursery_ends_it() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        one, other = socket.socketpair()
        one.setblocking(False)
        with other:
            second = StreamTransport(scene.host, one, aio.Protocol())
            second.start()
            for _ in range(5 * FEW):
                await scene.trip()
            assert trio.lowlevel.current_task() not in scene.tasks
            second.abort()
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            await scene.trip()
        assert scene.tasks[-1] is trio.lowlevel.current_task()

    run(test)


# --- handing on ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comes", ["before", "with", "after"])
def test_a_leader_that_is_cancelled_loses_nothing(comes: str) -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        waiter = scene.waiter()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    if comes == "before":
                        scene.peer.send(b"data")
                        await trio.lowlevel.checkpoint()  # the leader is, or was, ready to read it
                    scope.cancel()
                    if comes == "with":
                        scene.peer.send(b"data")

                nursery.start_soon(cancel)
                await waiter
        assert waiter.done()
        if comes == "after":
            scene.peer.send(b"data")
        if scene.received != b"data":
            await scene.came(b"data")
        assert await scene.trip() == b"."

    for _ in range(5):  # trio runs what is ready in any order
        run(test)


@pytest.mark.parametrize("writes", [False, True], ids=["idle", "writing"])
@pytest.mark.parametrize("fails", [False, True], ids=["result", "error"])
def test_a_leader_whose_waiter_is_completed_by_others_goes_on_at_once(fails: bool, writes: bool) -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        if writes:
            scene.transport.write(b"x" * LONG)
            assert scene.transport.get_write_buffer_size()
        waiter = scene.waiter()
        if fails:
            scene.host.call_at(scene.host.now() + 0.001, lambda: waiter.set_exception(TimeoutError("in time")))
            with pytest.raises(TimeoutError, match="in time"):
                await waiter
        else:
            scene.host.call_at(scene.host.now() + 0.001, lambda: waiter.set_result("given"))
            assert await waiter == "given"
        scene.waiters.clear()
        assert not scene.received
        assert await scene.trip() == b"."
        scene.peer.send(b"more")
        await scene.came(b".more")
        taken = 0
        while taken < LONG * writes:  # it was not taken for the end by whoever writes
            await trio.lowlevel.wait_readable(scene.peer)
            taken += len(scene.peer.recv(1 << 20))
        assert not scene.lost

    run(test)


def test_a_waiter_that_is_completed_in_the_turn_in_which_data_comes_costs_nothing() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        for expected in range(1, 20):
            waiter = scene.host.new_waiter()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(parked(waiter))
                await trio.testing.wait_all_tasks_blocked()
                scene.peer.send(b".")
                await trio.lowlevel.checkpoint()
                waiter.set_result(None)
            await scene.came(b"." * expected)
        assert await scene.trip() == b"."

    run(test)


def test_others_that_wait_get_theirs_from_the_leader_and_after_it() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        told: list[int] = []

        async def wait(number: int) -> None:
            await scene.waiter()
            told.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(wait, number)
                await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                scene.peer.send(b".")
                await trio.testing.wait_all_tasks_blocked()
                while len(told) <= number:
                    await trio.lowlevel.checkpoint()
        assert told == [0, 1, 2, 3, 4]

    run(test)


@pytest.mark.parametrize("within", [False, True], ids=["meanwhile", "in the callback"])
def test_a_leader_reads_nothing_while_reading_is_paused(within: bool) -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        transport = scene.transport
        last = scene.host.new_waiter()
        if within:
            scene.on_data = lambda data: transport.pause_reading()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parked(last))
            await trio.testing.wait_all_tasks_blocked()
            if within:
                scene.peer.send(b"one")
                await scene.came(b"one")
            else:
                transport.pause_reading()
            before = bytes(scene.received)
            scene.peer.send(b"two")
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert scene.received == before
            scene.on_data = lambda data: last.set_result(None)
            transport.resume_reading()
        assert scene.received == before + b"two"
        assert await last is None

    run(test)


@pytest.mark.parametrize("why", ["paused", "two"])
def test_a_leader_that_is_to_read_no_more_has_the_reader_take_over(why: str) -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        waiter = scene.waiter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parked(waiter))
            await trio.testing.wait_all_tasks_blocked()
            if why == "paused":
                scene.transport.pause_reading()
                scene.transport.resume_reading()
            else:
                one, other = socket.socketpair()
                one.setblocking(False)
                other.close()
                StreamTransport(scene.host, one, aio.Protocol()).start()
            await trio.testing.wait_all_tasks_blocked()
            scene.peer.send(b".")
        assert scene.received == b"."
        assert scene.tasks[0] not in (trio.lowlevel.current_task(), *nursery.child_tasks)
        assert await scene.trip() == b"."

    run(test)


def test_reading_that_the_last_read_before_has_paused_is_left_to_nobody() -> None:
    async def test(scene: Scene) -> None:
        scene.on_data = lambda data: scene.transport.pause_reading()
        for _ in range(3 * FEW):
            scene.transport.resume_reading()
            await scene.trip()
            assert scene.host.lead is None

    run(test)


# --- ends and errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["eof", "abort", "close"])
def test_a_leader_hears_of_the_end_of_the_connection_as_all_do(ending: str) -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        end = {
            "eof": scene.peer.close,
            "abort": scene.transport.abort,
            "close": scene.transport.close,
        }[ending]

        async with trio.open_nursery() as nursery:

            async def end_it() -> None:
                await trio.testing.wait_all_tasks_blocked()
                end()

            nursery.start_soon(end_it)
            with pytest.raises(ConnectionResetError, match="lost"):
                await scene.waiter()
        assert scene.lost == [None]
        assert scene.host.lead is None
        assert (scene.host.streams, repr(scene.transport)[:22]) == (0, "<StreamTransport lost ")

    run(test)


def test_a_peer_that_has_ended_its_side_is_heard_once_and_the_wait_goes_on() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.stays_open = True
        waiter = scene.host.new_waiter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parked(waiter))
            await trio.testing.wait_all_tasks_blocked()
            scene.peer.shutdown(socket.SHUT_WR)
            while not scene.ends:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert not waiter.done()
            waiter.set_result(None)
        assert (scene.ends, scene.lost) == (1, [])

    run(test)


def test_a_leader_reads_nothing_behind_a_close_that_is_still_to_write() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        waiter = scene.waiter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parked(waiter))
            await trio.testing.wait_all_tasks_blocked()
            scene.transport.write(b"x" * LONG)
            scene.transport.close()
            scene.peer.send(b"unwanted")
            await trio.testing.wait_all_tasks_blocked()
            assert not scene.received
            waiter.set_result(None)

    run(test)


def test_an_end_that_nobody_waits_for_is_seen() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.peer.close()
        with trio.fail_after(50):
            await scene.news.wait()
        assert scene.lost == [None]

    run(test)


def test_what_a_callback_raises_ends_the_connection_and_not_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_data: bytes) -> None:
        raise KeyError

    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.on_data = fail
        with pytest.raises(ConnectionResetError, match="lost"):
            await scene.trip()
        assert trio.lowlevel.current_task() in scene.tasks
        assert [type(error) for error in scene.lost] == [KeyError]

    run(test)
    assert [record.name for record in caplog.records] == ["tieline.trio"]


def test_what_ends_the_program_comes_out_of_the_nursery_and_not_out_of_the_wait() -> None:
    def leave(_data: bytes) -> None:
        raise SystemExit(7)

    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.on_data = leave
        try:
            await scene.trip()
        except BaseException as exc:
            told.append(type(exc))
            raise
        finally:
            assert trio.lowlevel.current_task() in scene.tasks

    told: list[type[BaseException]] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        run(test)
    assert told in ([trio.Cancelled], [ConnectionResetError])  # whichever comes first
    found, _ = caught.value.split(SystemExit)
    assert found is not None
    (error,) = found.exceptions
    assert isinstance(error, SystemExit)
    assert error.code == 7


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal to raise that trio waits for")
def test_control_c_in_a_callback_does_not_tear_it_apart() -> None:
    done: list[str] = []

    def interrupt(_data: bytes) -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("handled")

    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.on_data = interrupt
        await scene.trip()
        assert trio.lowlevel.current_task() in scene.tasks
        done.append("told")
        await trio.sleep_forever()

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # alone, or in a group
        run(test)
    found = caught.value
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    assert isinstance(found, KeyboardInterrupt)
    assert done == ["handled", "told"]


def test_a_connection_whose_nursery_is_cancelled_ends_the_wait_of_a_leader_elsewhere() -> None:
    async def main() -> None:
        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as inner:
                scene = Scene(inner)
                await trio.testing.wait_all_tasks_blocked()
                await scene.begin()

                async def wait() -> None:
                    with pytest.raises(ConnectionResetError, match="lost"):
                        await scene.waiter()
                    assert scene.host.lead is None

                outer.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                inner.cancel_scope.cancel()
            scene.peer.close()

    trio.run(main)


# --- packets ---------------------------------------------------------------------------------------------------------


class Straight:
    """A client whose receivers read by themselves, its peer, and what its link was given, in which contexts."""

    def __init__(self, client: Any, peer: socket.socket, given: list[bytes], contexts: list[str]) -> None:
        self.client = client
        self.peer = peer
        self.link = client._engine.link
        self.given = given
        self.contexts = contexts

    def send(self, data: bytes) -> None:
        self.peer.sendall(data)

    async def exchange(self) -> None:
        await self.client.send_packet("out")
        assert self.peer.recv(100) == b'"out"\n'
        self.send(b'"in"\n')
        assert await self.client.recv_packet() == "in"

    async def begin(self) -> None:
        for _ in range(FEW + 1):
            await self.exchange()
        assert self.link.transport.host.lead is not None


@asynccontextmanager
async def straight(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Straight]:
    given: list[bytes] = []
    contexts: list[str] = []
    data_received = Link.data_received

    def receive(link: Any, data: bytes) -> None:
        given.append(data)
        contexts.append(VARIABLE.get())
        data_received(link, data)

    with monkeypatch.context() as patch, tcp_pair() as (ours, theirs):
        patch.setattr(Link, "data_received", receive)
        async with AsyncTCPNetworkClient(ours, JSON) as client:
            scene = Straight(client, theirs, given, contexts)
            await scene.begin()
            assert given, "before whoever waits reads, all goes by the link"
            given.clear()
            contexts.clear()
            yield scene


def test_who_reads_gets_a_packet_that_comes_alone_past_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with straight(monkeypatch) as scene:
            machine = scene.client._engine.machine
            before = machine.packets_received, machine.bytes_received
            for _ in range(20):
                await scene.exchange()
            assert not scene.given
            assert (machine.packets_received, machine.bytes_received) == (before[0] + 20, before[1] + 100)

    trio.run(main)


def test_what_is_not_just_one_packet_is_left_to_the_link_and_nothing_is_out_of_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with straight(monkeypatch) as scene:
            VARIABLE.set("of whoever waits")
            client = scene.client
            for data, packets in (
                (b"1\n2\n3\n", [1, 2, 3]),
                (b"4\n", [4]),
                (b"null\n", [None]),
                (b"5\n6", [5]),
                (b"\n7\n", [6, 7]),
            ):
                scene.send(data)
                assert [await client.recv_packet() for _ in packets] == packets
            assert scene.given == [b"1\n2\n3\n", b"5\n6", b"\n7\n"]
            assert set(scene.contexts) == {"unset"}, "in the context of the connection"
            scene.send(b"{\n")
            with pytest.raises(StreamProtocolParseError):
                await client.recv_packet()
            await scene.exchange()
            scene.peer.close()
            with pytest.raises(EndOfStream):
                await client.recv_packet()

    trio.run(main)


def test_what_a_packet_is_made_of_is_read_in_the_context_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with straight(monkeypatch) as scene:
            VARIABLE.set("of whoever waits")
            seen: list[str] = []
            decode = type(scene.client._engine.machine._decoder).decode_alone

            def decode_alone(decoder: Any, data: bytes) -> Any:
                seen.append(VARIABLE.get())
                return decode(decoder, data)

            monkeypatch.setattr(type(scene.client._engine.machine._decoder), "decode_alone", decode_alone)
            for number in range(3):
                scene.send(b"%d\n" % number)
                assert await scene.client.recv_packet() == number
            assert seen == ["unset"] * 3

    trio.run(main)


def test_those_in_line_behind_the_one_who_reads_get_theirs_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[int, Any]] = []

    async def main() -> None:
        async with straight(monkeypatch) as scene:

            async def receive(number: int) -> None:
                got.append((number, await scene.client.recv_packet()))

            with trio.fail_after(50):
                async with trio.open_nursery() as nursery:
                    for number in range(4):
                        nursery.start_soon(receive, number)
                        await trio.testing.wait_all_tasks_blocked()
                    for number in range(4):
                        scene.send(b"%d\n" % number)
                        while len(got) <= number:
                            await trio.lowlevel.checkpoint()
            await scene.exchange()

    trio.run(main)
    assert got == [(number, number) for number in range(4)]


def test_a_packet_that_comes_while_its_receiver_is_cancelled_is_left_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(comes_first: bool) -> None:
        async with straight(monkeypatch) as scene:
            got: list[Any] = []

            async def receive() -> None:
                got.append(await scene.client.recv_packet())

            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await trio.testing.wait_all_tasks_blocked()
                    if comes_first:
                        scene.send(b"1\n")
                        await trio.lowlevel.checkpoint()
                        scope.cancel()
                    else:
                        scope.cancel()
                        scene.send(b"1\n")
            with trio.fail_after(50):
                while got != [1]:
                    await receive()
            await scene.exchange()

    for _ in range(5):  # trio runs what is ready in any order
        for comes_first in (True, False):
            trio.run(main, comes_first)


def test_what_lies_between_the_socket_and_the_packets_reads_all_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with straight(monkeypatch) as scene:
            transport = scene.link.transport
            told: list[bytes] = []

            class Layer(aio.Protocol):
                def data_received(self, data: bytes) -> None:
                    told.append(data)
                    scene.link.data_received(b"1\n")

            transport.set_protocol(Layer())
            scene.send(b"2\n")
            assert await scene.client.recv_packet() == 1
            assert told == [b"2\n"]
            transport.set_protocol(scene.link)

    trio.run(main)


# --- sessions --------------------------------------------------------------------------------------------------------


async def echo(client: Any) -> None:
    async for packet in client:
        await client.send_packet(packet)


@pytest.mark.parametrize("together", [False, True], ids=["while", "together"])
def test_a_client_whose_task_reads_works_after_it_was_cancelled_at_any_suspension(
    together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((streams, "FEW"), (leading, "FEW"), (leading, "MANY")):
        monkeypatch.setattr(module, name, 1)

    async def exchange(client: Any, number: int) -> None:
        for _ in range(3):
            await client.send_packet(number)
            assert await client.recv_packet() == number

    async def main() -> None:
        async with AsyncTCPNetworkServer(echo, ("127.0.0.1", 0), JSON) as server:
            for step in itertools.count():
                async with AsyncTCPNetworkClient(address_of(server), JSON) as client:
                    await exchange(client, 0)
                    went_on = await run_cancelled(lambda client=client: exchange(client, 1), step, together=together)  # type: ignore[misc]  # this client
                    await client.send_packet(2)
                    with trio.fail_after(50):
                        while await client.recv_packet() != 2:
                            pass
                if not went_on:
                    break
            assert step >= 3

    TrioRuntime().run(main)


def test_who_waits_with_no_time_in_a_busy_program_hears_all_the_same() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        scene.peer.send(b".")
        waiter: Waiter | None = None
        with trio.fail_after(50):
            while not scene.received:
                if waiter is None or waiter.done():
                    waiter = scene.waiter()
                with trio.move_on_after(0):
                    await waiter
                await aio.sleep(0)
        assert scene.received == b"."

    run(test)


def test_what_somebody_reads_is_not_looked_after() -> None:
    async def test(scene: Scene) -> None:
        await scene.begin()
        lead: Any = scene.host.lead
        watch = lead._watch
        assert list(watch.unread) == [lead]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait, scene.waiter())
            await trio.testing.wait_all_tasks_blocked()
            assert not watch.unread
            scene.peer.send(b".")
        assert scene.received == b"."

    async def _wait(waiter: Waiter) -> None:
        await waiter

    run(test)
