# SPDX-License-Identifier: MIT
"""What only trio has: nurseries, cancellation by levels, an order of tasks that is nobody's; and its traps.

The numbers of traps are those of the spec of the runtimes.
"""

from __future__ import annotations

import gc
import socket
import struct
import subprocess
import sys
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.loops import TrioRuntime
from tests.runtimes.sockets import open_sockets
from tieline import (
    ClientSession,
    ConnectionLost,
    LocalProtocolError,
    Methods,
    RPCError,
    ServerSession,
    connect,
    serve,
)
from tieline.endpoints.tcp import TCP
from tieline.runtimes.detect import current_backend
from tieline.runtimes.trio.backend import BACKEND
from tieline.runtimes.trio.host import TrioHost, _hosts, host_of
from tieline.runtimes.trio.streams import StreamTransport
from tieline.runtimes.trio.waiting import Waiter

URL = "tcp://127.0.0.1:0"
VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


def run(async_fn: Any) -> Any:
    return TrioRuntime().run(async_fn)


def methods_of(*functions: Any) -> Methods:
    methods = Methods()
    for function in functions:
        methods.method(function)
    return methods


async def hang() -> None:
    await trio.sleep_forever()


# --- which runtime it is ---------------------------------------------------------------------------------------------


def test_trio_is_found_where_it_runs_and_nowhere_else() -> None:
    async def main() -> None:
        assert current_backend() is BACKEND
        assert BACKEND.name == "trio"
        with pytest.raises(ValueError, match="loop must be None"):
            BACKEND.check_loop(object())
        # In another thread nothing runs.
        with pytest.raises(RuntimeError, match="neither is running"):
            await trio.to_thread.run_sync(current_backend)

    run(main)
    with pytest.raises(RuntimeError, match="neither is running"):
        current_backend()


def test_as_a_guest_of_asyncio_it_is_trio_that_counts() -> None:
    program = """
import asyncio, trio, tieline
from tieline.runtimes.detect import current_backend

async def guest():
    methods = tieline.Methods()
    methods.method(name="double")(lambda n: 2 * n)
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as client:
        return current_backend().name, await client.call("double", 4)

async def host():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    trio.lowlevel.start_guest_run(
        guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result)
    outcome = await done
    print(outcome.unwrap(), current_backend().name)

asyncio.run(host())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "('trio', 8) asyncio\n", done.stderr


def test_importing_tieline_needs_no_trio() -> None:
    program = "import sys; sys.modules['trio'] = None; import tieline; tieline.connect('tcp://h:1'); print('ok')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "ok\n", done.stderr


# --- nurseries -------------------------------------------------------------------------------------------------------


def test_without_a_nursery_it_says_what_to_do() -> None:
    async def main() -> None:
        held = open_sockets()
        with pytest.raises(LocalProtocolError, match="async with"):
            await connect("tcp://127.0.0.1:1").create_connection()
        with pytest.raises(LocalProtocolError, match="async with"):
            await serve(Methods(), URL).listen()
        with pytest.raises(TypeError, match="nursery"):
            await serve(Methods(), URL).listen(nursery=5)
        one, other = socket.socketpair()
        with other, pytest.raises(LocalProtocolError, match="async with"):
            await ClientSession(sock=one).create_connection()
        assert open_sockets() == held

    run(main)


@pytest.mark.row("S13")
def test_nothing_outlives_the_context_and_the_users_own_error_comes_out_as_it_is() -> None:
    async def main() -> None:
        tasks, held = trio.lowlevel.current_statistics().tasks_living, open_sockets()
        error = LookupError("mine")
        with pytest.raises(LookupError) as caught:  # noqa: PT012  # what comes out of the contexts is the point
            async with serve(methods_of(hang), URL) as server, connect(server.url) as client:
                client.send_request("hang")
                while not any(session.stats.running for session in server.sessions):
                    await trio.lowlevel.checkpoint()
                await server.shutdown(0)
                raise error
        assert caught.value is error
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert open_sockets() == held
        assert not _hosts
        group = ExceptionGroup("mine too", [error])
        with pytest.raises(ExceptionGroup) as grouped:
            async with serve(Methods(), URL):
                raise group
        assert grouped.value is group

    run(main)


def test_a_server_that_is_cancelled_goes_at_once_and_its_handlers_are_no_failures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        held = open_sockets()
        told: list[str] = []

        async def wait() -> None:
            told.append("handler began")
            try:
                await trio.sleep_forever()
            finally:
                told.append("handler ended")

        class Session(ServerSession):
            async def connection_lost(self) -> None:
                told.append("lost")
                await trio.sleep_forever()  # must not hold up the end

        with trio.testing.assert_checkpoints(), trio.move_on_after(20) as scope:
            async with serve(lambda: Session(methods=methods_of(wait)), URL) as server, connect(server.url) as client:
                requests = [client.send_request("wait") for _ in range(5)]
                while told.count("handler began") < 5:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert told.count("handler ended") == 5
        assert told.count("lost") == 1
        assert all(request.done() for request in requests)
        assert open_sockets() == held

    run(main)
    assert not caplog.records


def test_a_nursery_that_is_cancelled_cuts_what_lives_in_it() -> None:
    async def main() -> None:
        held = open_sockets()
        async with trio.open_nursery() as nursery:
            server = serve(methods_of(hang), URL)
            await server.listen(nursery=nursery)
            client = connect(server.url)
            await client.create_connection(nursery=nursery)
            request = client.send_request("hang")
            while not any(session.stats.running for session in server.sessions):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert open_sockets() == held
        assert client.is_closing()
        assert isinstance(request.exception(), ConnectionLost | Exception)
        assert not server.sessions

    run(main)


def test_a_nursery_ends_when_what_lives_in_it_is_closed() -> None:
    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                server = serve(methods_of(), URL)
                await server.listen(nursery=nursery)
                client = connect(server.url)
                await client.create_connection(nursery=nursery)
                assert host_of(nursery) is host_of(nursery)
                await client.aclose()
                await server.shutdown()

    run(main)


def test_serving_for_ever_without_a_context_has_a_nursery_of_its_own() -> None:
    async def main() -> None:
        server = serve(methods_of(hang), URL)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_forever)
            while server.server is None:
                await trio.lowlevel.checkpoint()
            async with connect(server.url) as client:
                request = client.send_request("hang")
                while not any(session.stats.running for session in server.sessions):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True), pytest.raises((ConnectionLost, RPCError)):
                    await request

    run(main)


def test_a_handler_that_crashes_costs_its_call_only(caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            raise LookupError("secret")

    async def fine() -> str:
        await trio.lowlevel.checkpoint()
        return "fine"

    async def main() -> None:
        async with serve(methods_of(crash, fine), URL) as server, connect(server.url) as client:
            crashing, well = client.send_request("crash"), client.send_request("fine")
            with pytest.raises(RPCError, match="internal error"):
                await crashing
            assert await well == "fine"

    run(main)
    assert len(caplog.records) == 1


# --- starting handlers: traps 1, 3 and 5 -----------------------------------------------------------------------------


@pytest.mark.row("S9", "R1", "R5")
@pytest.mark.parametrize("attempt", range(10))
def test_handlers_start_in_order_however_trio_shuffles_its_tasks(attempt: int) -> None:
    started: list[int] = []

    async def note(n: int) -> int:
        started.append(n)
        if n % 3 == 0:
            await trio.sleep(0.0001 * (n % 5))  # others go on meanwhile, by other workers
        return n

    async def main() -> None:
        async with serve(methods_of(note), URL) as server, connect(server.url) as client:
            requests = [client.send_request("note", [n]) for n in range(50)]
            assert [await request for request in requests] == list(range(50))

    run(main)
    assert started == list(range(50))


@pytest.mark.row("R3")
def test_a_handler_finds_the_variables_as_the_connection_had_them() -> None:
    other: ContextVar[str] = ContextVar("other", default="unset")

    async def look(n: int) -> list[str]:
        seen = [VARIABLE.get(), other.get()]
        VARIABLE.set(f"changed by {n}")
        if n % 4 == 0:
            other.set("new")
        if n % 3 == 0:
            await trio.lowlevel.checkpoint()
            assert VARIABLE.get() == f"changed by {n}"
        return seen

    async def main() -> None:
        VARIABLE.set("outside")
        async with serve(methods_of(look), URL) as server, connect(server.url) as client:
            requests = [client.send_request("look", [n]) for n in range(40)]
            assert [await request for request in requests] == [["outside", "unset"]] * 40
            for n in range(12):
                assert await client.call("look", n) == ["outside", "unset"]

    run(main)


@pytest.mark.row("S9")
def test_one_task_runs_many_handlers_and_a_task_that_was_changed_goes() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def plain() -> None:
        tasks.append(trio.lowlevel.current_task())

    async def marked() -> None:
        tasks.append(trio.lowlevel.current_task())
        ContextVar[int]("of this call alone").set(1)

    async def main() -> None:
        async with serve(methods_of(plain, marked), URL) as server, connect(server.url) as client:
            for _ in range(10):
                for request in [client.send_request("plain") for _ in range(20)]:
                    await request
            assert len(tasks) == 200
            assert len({*tasks}) <= 4, "a task for each costs four times what all else does"
            tasks.clear()
            for _ in range(10):
                await client.call("marked")
            assert len({*tasks}) == 10, "nothing takes a variable away"

    run(main)


def test_handlers_that_are_cancelled_are_none_of_their_neighbours_business() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            host = TrioHost(nursery)
            host.hold()
            told: list[object] = []

            async def work(name: str, waits: bool) -> None:
                if waits:
                    try:
                        await trio.sleep_forever()
                    finally:
                        told.append(f"{name} cancelled")
                else:
                    assert host.current() is handles[-1]
                    await trio.lowlevel.checkpoint()
                    told.append(f"{name} done")

            context = copy_context()
            first = host.start(work("first", True), context)
            never = host.start(work("never", False), context)
            never.cancel()
            handles = [host.start(work("last", False), context)]
            ended: list[Any] = []
            for handle in (first, never, *handles):
                handle.add_done_callback(ended.append)
            await trio.testing.wait_all_tasks_blocked()
            assert told == ["last done"]
            first.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert told == ["last done", "first cancelled"]
            assert set(ended) == {first, never, *handles}
            assert (first.cancelling(), handles[0].cancelling()) == (1, 0)
            assert host.current() is None
            host.release()

    run(main)


# --- turns and timers: traps 8 and 19 --------------------------------------------------------------------------------


@pytest.mark.row("R8")
def test_a_timer_may_be_added_before_the_one_that_is_waited_for() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            host = TrioHost(nursery)
            told: list[str] = []
            late = host.call_at(host.now() + 1000, partial(told.append, "late"))
            await trio.testing.wait_all_tasks_blocked()
            host.call_at(host.now() + 0.02, partial(told.append, "second"))
            host.call_at(host.now() + 0.01, partial(told.append, "first"))
            host.call_at(host.now() - 1, partial(told.append, "at once"))
            host.call_at(host.now() + 0.015, partial(told.append, "never")).cancel()
            with trio.fail_after(5):
                while len(told) < 3:  # noqa: ASYNC110  # as time goes by
                    await trio.sleep(0.001)
            assert told == ["at once", "first", "second"]
            late.cancel()  # and with it the task ends, for which the nursery waits
            late.cancel()

    with_clock = trio.run(main, clock=trio.testing.MockClock(rate=1))
    assert with_clock is None
    run(main)


def test_many_cancelled_timers_are_thrown_out() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            host = TrioHost(nursery)
            kept = host.call_at(host.now() + 1000, lambda: None)
            for _ in range(10_000):
                host.call_at(host.now() + 500, lambda: None).cancel()
            assert len(host._turns._heap) < 200
            kept.cancel()

    run(main)


@pytest.mark.row("R19")
@pytest.mark.parametrize("attempt", range(10))
def test_a_planned_call_comes_behind_those_who_were_woken_together(attempt: int) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            host = TrioHost(nursery)
            host.hold()
            told: list[str] = []
            waiters = [Waiter(host) for _ in range(5)]

            async def wait(waiter: Waiter) -> None:
                await waiter
                told.append("woken")

            for waiter in waiters:
                nursery.start_soon(wait, waiter)
            await trio.testing.wait_all_tasks_blocked()
            host.call_soon(partial(told.append, "called"))
            for waiter in waiters:
                waiter.set_result(None)
            await trio.testing.wait_all_tasks_blocked()
            assert told == ["woken"] * 5 + ["called"]
            host.release()

    run(main)


@pytest.mark.row("R19")
def test_calls_that_one_read_has_ended_go_on_in_one_write() -> None:
    async def main() -> None:
        async with serve(methods_of(sum_of), URL) as server, connect(server.url) as client:
            (transport,) = [client._engine.link.transport]  # type: ignore[union-attr]  # it is connected

            async def calls() -> None:
                for _ in range(20):
                    await client.call("sum_of", 1, 2)

            written: list[int] = []
            write = StreamTransport.write

            def spied_on(self: StreamTransport, data: bytes) -> None:
                if self is transport:
                    written.append(len(data))
                write(self, data)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(StreamTransport, "write", spied_on)
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(calls)
            assert len(written) < 60  # of 200 calls

    def sum_of(a: int, b: int) -> int:
        return a + b

    run(main)


# --- sockets: traps 11, 17 and 20 ------------------------------------------------------------------------------------


@pytest.mark.row("D3", "R11")
def test_dialling_fails_with_an_oserror_and_not_with_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolved(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolved)
    ports: list[int] = []
    with socket.socket() as one, socket.socket() as other:
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))  # and nobody listens
            ports.append(sock.getsockname()[1])

        async def main() -> None:
            with pytest.raises(ConnectionRefusedError) as caught:
                async with connect("tcp://both.example:1"):
                    pass
            assert isinstance(caught.value.__cause__, ExceptionGroup)
            assert len(caught.value.__cause__.exceptions) == 2

        run(main)


@pytest.mark.row("R17")
def test_a_listener_that_is_closed_while_it_accepts_ends_in_silence() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            listener = await BACKEND.listen(lambda: None, TCP("127.0.0.1", 0), nursery=nursery)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()
            listener.close()
            await listener.wait_closed()
            assert listener.sockets[0].fileno() == -1

    run(main)


@pytest.mark.row("D2", "R20")
def test_a_peer_that_resets_at_once_fails_the_dialling_or_the_session_and_leaves_nothing() -> None:
    async def main() -> None:
        held = open_sockets()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(20):
                async with trio.open_nursery() as nursery:

                    def reset() -> None:
                        peer, _ = listener.accept()
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        peer.close()

                    nursery.start_soon(trio.to_thread.run_sync, reset)
                    try:
                        async with connect("tcp://{}:{}".format(*listener.getsockname())) as client:
                            await client.wait_closed()
                            assert client.close_reason is not None
                    except OSError:
                        pass
        assert open_sockets() == held

    run(main)


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request_may_be_awaited_by_several_tasks_and_by_one_that_comes_late() -> None:
    async def main() -> None:
        def double(n: int) -> int:
            return 2 * n

        async with serve(methods_of(double, hang), URL) as server, connect(server.url) as client:
            request = client.send_request("double", [4])
            seen: list[int] = []

            async def wait() -> None:
                seen.append(await request)

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait)
            assert seen == [8, 8, 8]
            assert await request == 8
            hanging = client.send_request("hang")
            with pytest.raises(LocalProtocolError, match="not complete"):
                hanging.result()
            with trio.move_on_after(0.01) as scope:
                await hanging
            assert scope.cancelled_caught
            assert hanging.cancelled()
            with pytest.raises(LocalProtocolError, match="cancelled"):
                await hanging
            with pytest.raises(LocalProtocolError, match="complete already, or was cancelled"):
                hanging.set_result(1)
            assert client.stats.pending == 0
            await server.shutdown(0)

    run(main)


def test_a_session_leaves_no_garbage_behind() -> None:
    async def main() -> None:
        async with serve(methods_of(hang), URL) as server:
            for _ in range(2):
                async with connect(server.url) as client:
                    with trio.move_on_after(0.01):
                        await client.call("hang")
                del client
            await trio.testing.wait_all_tasks_blocked(0.01)
            gc.collect()
            gc.disable()
            try:
                async with connect(server.url) as client:
                    assert client.stats.pending == 0
                del client
                await trio.testing.wait_all_tasks_blocked(0.01)
                left = [one for one in gc.get_objects() if isinstance(one, ClientSession)]
                assert not left
            finally:
                gc.enable()
            await server.shutdown(0)

    run(main)


def test_what_a_waiter_has_failed_with_is_raised_once_and_a_second_look_is_no_result() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            waiter = host_of(nursery).new_waiter()
        waiter.set_exception(LookupError())
        with pytest.raises(LookupError):
            await waiter
        for _ in range(2):
            with pytest.raises(LocalProtocolError, match="was raised already"):
                await waiter

    run(main)
