# SPDX-License-Identifier: MIT
"""Tasks and what they wait for, as programs use them by `client.backend()`: alike on each runtime."""

from __future__ import annotations

import math
import socket
import threading
from typing import Any

import pytest

from tests import aio
from tieline.backend import AsyncBackend, backend_named, current_backend
from tieline.clients import AsyncTCPNetworkClient
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer
from tieline.socket import IPv4SocketAddress, IPv6SocketAddress

PATIENCE = 60.0


@pytest.fixture
def backend(runtime: object) -> AsyncBackend:
    return backend_named("trio" if str(runtime) == "trio" else "asyncio")


async def too_long(backend: AsyncBackend, seconds: float) -> None:
    with backend.timeout(seconds):
        await backend.sleep(math.inf)


@pytest.mark.row("K3")
async def test_a_client_gives_the_backend_that_it_runs_on(backend: AsyncBackend) -> None:
    client: AsyncTCPNetworkClient[Any] = AsyncTCPNetworkClient(("localhost", 1), StreamProtocol(JSONSerializer()))
    assert client.backend() is backend is current_backend()
    assert backend.name == ("trio" if aio.on_trio() else "asyncio")
    await client.aclose()


# --- time ------------------------------------------------------------------------------------------------------------


async def test_to_sleep_takes_so_long(backend: AsyncBackend) -> None:
    begun = backend.now()
    await backend.sleep(0)
    await backend.sleep(0.01)
    assert backend.now() - begun >= 0.009  # clocks are no finer


async def test_a_limit_that_is_not_reached_changes_nothing(backend: AsyncBackend) -> None:
    for seconds in (None, math.inf, PATIENCE):
        with backend.timeout(seconds):
            await backend.sleep(0)
    with pytest.raises(KeyError), backend.timeout(PATIENCE):
        raise KeyError


async def test_what_takes_longer_is_cancelled_and_said_so(backend: AsyncBackend) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await backend.sleep(math.inf)
        except aio.Cancelled:
            ended.append("cleaned up")
            raise

    with pytest.raises(TimeoutError, match=r"not done within 0\.01 s"), backend.timeout(0.01):
        await work()
    assert ended == ["cleaned up"]
    await backend.sleep(0)  # nothing of it is left


async def test_of_two_limits_the_shorter_one_ends(backend: AsyncBackend) -> None:
    for inner, outer in ((0.01, PATIENCE), (PATIENCE, 0.01)):
        with pytest.raises(TimeoutError, match=r"0\.01"), backend.timeout(outer):
            await too_long(backend, inner)


async def test_who_is_cancelled_within_a_limit_is_cancelled(backend: AsyncBackend) -> None:
    waiting = backend.event()
    ended: list[object] = []

    async def work() -> None:
        try:
            with backend.timeout(PATIENCE):
                waiting.set()
                await backend.sleep(math.inf)
        except aio.Cancelled:
            ended.append("cancelled")
            raise

    async with backend.task_group() as group:
        group.start_soon(work)
        await waiting.wait()
        group.cancel()
    assert ended == ["cancelled"]


@pytest.mark.parametrize(
    ("seconds", "error", "text"),
    [
        (-1, ValueError, "seconds must be 0 or more seconds.*, not -1"),
        (math.nan, ValueError, "seconds must be 0 or more seconds.*, not nan"),
        ("1", TypeError, "seconds must be a number.*, not str"),
    ],
)
async def test_what_is_no_time_is_refused(
    backend: AsyncBackend, seconds: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await backend.sleep(seconds)
    with pytest.raises(error, match=text):
        backend.timeout(seconds)


# --- tasks -----------------------------------------------------------------------------------------------------------


async def test_a_group_ends_when_its_tasks_have(backend: AsyncBackend) -> None:
    done: list[int] = []
    gate = backend.event()

    async def work(number: int) -> None:
        await gate.wait()
        done.append(number)

    async with backend.task_group() as group:
        group.start_soon(work, 1)
        group.start_soon(work, 2)
        await backend.sleep(0)
        assert not done
        gate.set()
    assert sorted(done) == [1, 2]
    with pytest.raises(RuntimeError):
        group.start_soon(work, 3)


async def test_the_error_of_a_task_cancels_the_others_and_comes_out(backend: AsyncBackend) -> None:
    async def fail() -> None:
        raise KeyError("why")

    async def work() -> None:
        async with backend.task_group() as group:
            group.start_soon(backend.sleep, math.inf)
            group.start_soon(fail)
            await backend.sleep(math.inf)

    with pytest.raises(ExceptionGroup) as caught:
        await work()
    (error,) = caught.value.exceptions
    assert isinstance(error, KeyError)


async def test_the_tasks_of_a_group_are_cancelled_without_its_body(backend: AsyncBackend) -> None:
    async with backend.task_group() as group:
        for _ in range(3):
            group.start_soon(backend.sleep, math.inf)
        await backend.sleep(0)
        group.start_soon(backend.sleep, math.inf)  # not begun when it is cancelled
        group.cancel()
        await backend.sleep(0)
        gone = backend.event()

        async def say() -> None:
            gone.set()

        group.start_soon(say)
        await gone.wait()


async def test_a_scope_is_cancelled_by_others(backend: AsyncBackend) -> None:
    scope = backend.cancel_scope()

    async def cancel() -> None:
        scope.cancel()

    async with backend.task_group() as group:
        with scope:
            group.start_soon(cancel)
            await backend.sleep(math.inf)


async def test_one_task_has_a_lock_at_a_time(backend: AsyncBackend) -> None:
    lock, seen = backend.lock(), list[str]()

    async def work(name: str) -> None:
        async with lock:
            seen.append(name)
            await backend.sleep(0)
            seen.append(name)

    await lock.acquire()
    assert lock.locked()
    async with backend.task_group() as group:
        group.start_soon(work, "a")
        group.start_soon(work, "b")
        await backend.sleep(0)
        assert not seen
        lock.release()
    assert seen in (["a", "a", "b", "b"], ["b", "b", "a", "a"])
    assert not lock.locked()


async def test_an_event_happens_once(backend: AsyncBackend) -> None:
    event = backend.event()
    assert not event.is_set()
    event.set()
    await event.wait()
    assert event.is_set()


# --- what is not cancelled -------------------------------------------------------------------------------------------


async def test_what_is_shielded_returns_and_fails_as_ever(backend: AsyncBackend) -> None:
    async def work(value: int) -> int:
        await backend.sleep(0)
        return 10 // value

    assert await backend.shield(work, 5) == 2
    with pytest.raises(ZeroDivisionError):
        await backend.shield(work, 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_shielded_ends_before_its_caller_is_cancelled(backend: AsyncBackend, fails: bool) -> None:
    begun, gate, seen = backend.event(), backend.event(), list[str]()

    async def work() -> None:
        begun.set()
        await gate.wait()
        seen.append("done")
        if fails:
            raise KeyError

    async def call() -> None:
        try:
            await backend.shield(work)
        except aio.Cancelled:
            seen.append("cancelled")
            raise
        except KeyError:
            seen.append("failed")

    async with backend.task_group() as group:
        group.start_soon(call)
        await begun.wait()
        group.cancel()
        await backend.sleep(0)
        group.cancel()  # again: no harm
        await backend.sleep(0)
        assert not seen
        gate.set()
    assert seen == ["done", "failed" if fails else "cancelled"]


async def test_blocking_code_runs_in_a_thread_up_to_its_end(backend: AsyncBackend) -> None:
    here = threading.get_ident()
    assert await backend.run_in_thread(threading.get_ident) != here
    with pytest.raises(ZeroDivisionError):
        await backend.run_in_thread(divmod, 1, 0)
    begun, gate, done = threading.Event(), threading.Event(), list[bool]()

    def block() -> None:
        begun.set()
        done.append(gate.wait(PATIENCE))

    async with backend.task_group() as group:
        group.start_soon(backend.run_in_thread, block)
        assert await backend.run_in_thread(begun.wait, PATIENCE)
        group.cancel()
        await backend.sleep(0)
        assert not done
        gate.set()
    assert done == [True]


async def test_a_host_has_addresses_or_none(backend: AsyncBackend) -> None:
    assert await backend.resolve("127.0.0.1", 80) == [IPv4SocketAddress("127.0.0.1", 80)]
    assert await backend.resolve("::1", 80) == [IPv6SocketAddress("::1", 80)]
    with pytest.raises(socket.gaierror):
        await backend.resolve("nobody.invalid", 80)
