# SPDX-License-Identifier: MIT
"""The host of an asyncio loop: time, turns, waiting, starting; and the links it makes."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import weakref
from collections.abc import Awaitable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest

import tieline
from tests.loops import Runtime, runtimes
from tests.rpc.sessions import until
from tieline import RPCRequestOut
from tieline.runtimes.asyncio import host as host_module
from tieline.runtimes.asyncio.host import AsyncioHost, BufferedLink, PlainLink, RequestFuture, current_host

VARIABLE: ContextVar[int] = ContextVar("VARIABLE", default=0)


async def test_a_loop_has_one_host_and_gone_loops_have_none():
    host = current_host()
    assert current_host() is host
    assert isinstance(host, AsyncioHost)

    async def other() -> weakref.ref[AsyncioHost]:
        assert current_host() is not host
        return weakref.ref(current_host())

    def in_a_thread() -> list[weakref.ref[AsyncioHost]]:
        return [asyncio.run(other()) for _ in range(5)]

    gone = await asyncio.to_thread(in_a_thread)
    gc.collect()
    assert [one() for one in gone] == [None] * 5
    assert current_host() is host


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("runtime", runtimes(), ids=str)
def test_what_is_forgotten_on_a_loop_that_is_closed_is_closed(runtime: Runtime):
    async def forget() -> tuple[socket.socket, int]:
        server = tieline.serve(tieline.Methods(), "tcp://127.0.0.1:0")
        port = (await server.listen()).sockets[0].getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        await until(lambda: server.sessions)
        return client, port

    async def listen_again(port: int) -> None:
        (await tieline.create_server(asyncio.Protocol, "127.0.0.1", port)).close()

    with asyncio.Runner(loop_factory=runtime.loop_factory) as runner:
        client, port = runner.run(forget())
    del runner
    with client:
        gc.collect()
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with asyncio.Runner(loop_factory=runtime.loop_factory) as runner:
        runner.run(listen_again(port))


def test_without_a_loop_there_is_no_host():
    with pytest.raises(RuntimeError):
        current_host()


async def test_time_turns_and_timers_are_the_loop_s():
    loop = asyncio.get_running_loop()
    host = current_host()
    assert abs(host.now() - loop.time()) < 0.1
    told: list[str] = []
    done = loop.create_future()
    host.call_soon(lambda: told.append("soon"))
    host.call_soon(lambda: told.append("sooner or later"))
    timer = host.call_at(host.now(), lambda: told.append("never"))
    timer.cancel()
    timer.cancel()
    host.call_at(host.now() + 0.001, lambda: done.set_result("then"))
    assert told == []
    assert await done == "then"
    assert told == ["soon", "sooner or later"]


async def test_a_waiter_is_completed_once_and_cancelled_with_its_task():
    host = current_host()
    waiter = host.new_waiter()
    assert not waiter.done()
    host.call_soon(lambda: waiter.set_result("value"))
    assert await waiter == "value"
    assert waiter.done()
    failing = host.new_waiter()
    host.call_soon(lambda: failing.set_exception(LookupError()))
    with pytest.raises(LookupError):
        await failing
    left = host.new_waiter()

    async def wait() -> None:
        await left

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.done()


async def _waiting(waiter: Awaitable[object], told: list[str]) -> asyncio.Task[object]:
    """Return a task that waits."""

    async def wait() -> object:
        try:
            result = await waiter
        except BaseException as exc:
            told.append(type(exc).__name__)
            raise
        told.append(f"goes on with {result}")
        return result

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_a_callback_of_the_loop_wakes_a_task_before_it_goes_on_itself():
    host = current_host()
    told: list[str] = []
    waiter = host.new_prompt_waiter()
    task = await _waiting(waiter, told)

    def wake() -> None:
        host.wake(waiter, "a result")
        assert waiter.done()
        told.append("the callback goes on")

    host.call_soon(wake)
    assert await task == "a result"
    assert told == ["goes on with a result", "the callback goes on"]
    assert host.current() is asyncio.current_task()


async def test_a_task_wakes_another_for_the_next_turn():
    host = current_host()
    told: list[str] = []
    waiter = host.new_prompt_waiter()
    task = await _waiting(waiter, told)
    host.wake(waiter, 1)
    told.append("the waker goes on")
    assert await task == 1
    assert told == ["the waker goes on", "goes on with 1"]


async def test_a_waiter_may_be_woken_before_anybody_waits():
    host = current_host()
    waiter = host.new_prompt_waiter()
    host.wake(waiter, "early")
    assert await waiter == "early"
    task = await _waiting(waiter, [])
    assert await task == "early"


async def test_what_a_waiter_has_failed_with_is_raised_once_and_a_second_look_is_no_result():
    waiter = current_host().new_prompt_waiter()
    waiter.set_exception(LookupError())
    with pytest.raises(LookupError):
        await waiter
    for _ in range(2):
        with pytest.raises(asyncio.InvalidStateError, match="was raised already"):
            await waiter
    cancelled = current_host().new_prompt_waiter()
    cancelled.cancel()
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await cancelled


@pytest.mark.parametrize("end", ["set_result", "set_exception", "cancel", "cancel the task"])
async def test_what_is_completed_otherwise_wakes_in_the_next_turn(end: str):
    host = current_host()
    told: list[str] = []
    waiter = host.new_prompt_waiter()
    task = await _waiting(waiter, told)

    def complete() -> None:
        match end:
            case "set_result":
                waiter.set_result("this")
            case "set_exception":
                waiter.set_exception(LookupError())
            case "cancel":
                assert waiter.cancel()
                assert not waiter.cancel()
            case _:
                assert task.cancel()
        told.append("the callback goes on")

    host.call_soon(complete)
    await asyncio.gather(task, return_exceptions=True)
    expected = {"set_result": "goes on with this", "set_exception": "LookupError"}.get(end, "CancelledError")
    assert told == ["the callback goes on", expected]
    assert waiter.done()


async def test_a_waiter_is_completed_once():
    waiter = current_host().new_prompt_waiter()
    waiter.set_result(1)
    with pytest.raises(asyncio.InvalidStateError, match="complete already"):
        waiter.set_result(2)
    with pytest.raises(asyncio.InvalidStateError, match="complete already"):
        waiter.set_exception(LookupError())
    assert await waiter == 1


async def test_a_time_limit_ends_a_wait_and_says_so():
    """A task is cancelled through what it waits for; with its message, and taken back by who has asked for it."""
    waiter = current_host().new_prompt_waiter()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await waiter
    assert waiter.done()
    task = await _waiting(current_host().new_prompt_waiter(), [])
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task


async def test_a_task_whose_context_is_in_use_goes_on_in_the_next_turn():
    host = current_host()
    told: list[str] = []
    waiter, context = host.new_prompt_waiter(), copy_context()

    async def wait() -> None:
        VARIABLE.set(await waiter)
        told.append("goes on")

    task = asyncio.get_running_loop().create_task(wait(), context=context)
    await asyncio.sleep(0)

    def wake() -> None:
        context.run(host.wake, waiter, 7)
        told.append("the callback goes on")

    host.call_soon(wake)
    await task
    assert told == ["the callback goes on", "goes on"]
    assert context[VARIABLE] == 7


def test_what_ends_the_program_comes_out_of_the_loop_not_of_who_woke_the_task():
    told: list[str] = []

    async def main() -> None:
        waiter = current_host().new_prompt_waiter()

        async def end() -> None:
            await waiter
            raise KeyboardInterrupt

        task = asyncio.create_task(end())
        await asyncio.sleep(0)

        def wake() -> None:
            current_host().wake(waiter, None)
            told.append("the callback goes on")

        current_host().call_soon(wake)
        try:
            await asyncio.Event().wait()
        finally:
            assert isinstance(task.exception(), KeyboardInterrupt)
            told.append("main ends")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert told == ["the callback goes on", "main ends"]


async def test_a_waiter_that_was_woken_is_no_garbage():
    host = current_host()
    gc.collect()
    gc.disable()
    try:
        waiter = host.new_prompt_waiter()
        task = await _waiting(waiter, [])
        gone = weakref.ref(waiter)
        host.call_soon(partial(host.wake, waiter, 1))
        await task
        del task, waiter
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("message", [None, "enough"])
async def test_a_wait_that_was_given_up_is_no_garbage(message: str | None):
    gc.collect()
    gc.disable()
    try:
        task = await _waiting(current_host().new_prompt_waiter(), [])
        task.cancel(message)
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await asyncio.sleep(0)
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_an_event_is_the_runtime_s_own():
    event = current_host().new_event()
    assert isinstance(event, asyncio.Event)
    assert not event.is_set()


class Watcher:
    """Notes of which requests it is told, and what."""

    def __init__(self, told: list[object]) -> None:
        self.told = told

    def request_ended(self, request: Any, is_answered: bool, error: BaseException | None, /) -> None:
        self.told.append((request, is_answered, error))


async def test_a_request_is_a_future_and_forgets_itself_when_it_is_cancelled():
    request = current_host().new_request("method", [1])
    assert isinstance(request, RPCRequestOut)
    assert isinstance(request, asyncio.Future)
    assert (request.method, request.args) == ("method", [1])
    forgotten: list[object] = []
    request.watcher = Watcher(forgotten)
    assert request.cancel()
    assert not request.cancel()
    assert forgotten == [(request, False, None)]
    with pytest.raises(asyncio.CancelledError):
        await request
    unsent = current_host().new_request("method", None)
    assert unsent.cancel()
    answered = current_host().new_request("method", None)
    answered.watcher = Watcher(forgotten)
    answered.set_result(5)
    assert not answered.cancel()
    assert forgotten[1:] == [(answered, False, None)], "completed by hand, it is forgotten as well"
    assert await answered == 5
    assert "method" in repr(answered)
    assert isinstance(answered, RequestFuture)


async def test_a_cancelled_task_cancels_the_request_it_awaits():
    request = current_host().new_request("method", None)
    forgotten: list[object] = []
    request.watcher = Watcher(forgotten)

    async def wait() -> None:
        await request

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel("for a reason")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert request.cancelled()
    assert forgotten == [(request, False, None)]


@pytest.mark.row("S9")
async def test_started_coroutines_start_in_their_order_and_at_once_where_python_can():
    host = current_host()
    assert host.starts_eagerly is (sys.version_info >= (3, 12))
    told: list[str] = []

    async def run(name: str, turns: int) -> None:
        told.append(f"{name} starts")
        assert host.current() is asyncio.current_task()
        for _ in range(turns):
            await asyncio.sleep(0)
        told.append(f"{name} ends")

    ready, slow, last = (host.start(run(*args), copy_context()) for args in (("ready", 0), ("slow", 2), ("last", 1)))
    starts = ["ready starts", "ready ends", "slow starts", "last starts"]
    assert told == (starts if host.starts_eagerly else [])
    assert (ready is None) is host.starts_eagerly
    ended = asyncio.get_running_loop().create_future()
    assert slow is not None
    assert last is not None
    slow.add_done_callback(ended.set_result)
    assert await ended is slow
    assert told == [*starts, "last ends", "slow ends"]


@pytest.mark.row("S9")
async def test_a_started_coroutine_has_a_context_of_its_own():
    host = current_host()
    VARIABLE.set(1)

    async def run() -> None:
        assert VARIABLE.get() == 1
        VARIABLE.set(2)
        await asyncio.sleep(0)
        assert VARIABLE.get() == 2

    handle = host.start(run(), copy_context())
    assert VARIABLE.get() == 1
    assert isinstance(handle, asyncio.Task)
    await handle
    assert VARIABLE.get() == 1


async def test_a_handle_that_is_cancelled_ends():
    host = current_host()

    async def run() -> None:
        await asyncio.Event().wait()

    handle = host.start(run(), copy_context())
    assert isinstance(handle, asyncio.Task)
    handle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handle


async def test_outside_of_tasks_nothing_runs():
    host = current_host()
    seen = asyncio.get_running_loop().create_future()
    host.call_soon(lambda: seen.set_result(host.current()))
    assert await seen is None
    assert await asyncio.to_thread(host.current) is None


@pytest.mark.row("R6")
async def test_links_read_into_one_buffer_where_the_loop_is_a_selector_loop():
    loop = asyncio.get_running_loop()
    host = current_host()
    buffered = isinstance(loop, asyncio.SelectorEventLoop)
    link = host.new_link(None, None)  # type: ignore[type-var,arg-type]  # only its class is looked at
    assert type(link) is (BufferedLink if buffered else PlainLink)
    assert isinstance(link, asyncio.BufferedProtocol) is buffered
    assert isinstance(link, asyncio.Protocol) is not buffered
    assert len(host.buffer) == (host_module.RECEIVE_BUFFER if buffered else 0)
    if isinstance(link, BufferedLink):
        other = host.new_link(None, None)  # type: ignore[type-var,arg-type]  # wrong on purpose
        assert isinstance(other, BufferedLink)
        assert link.get_buffer(-1) is other.get_buffer(1 << 20) is host.buffer


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_out_of_the_loop(error: type[BaseException]):
    async def main() -> None:
        current_host().end_program(error("now"))
        await asyncio.Event().wait()

    with pytest.raises(error, match="now"):
        asyncio.run(main())
