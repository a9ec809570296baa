# SPDX-License-Identifier: MIT
"""Limits of time on asyncio that begin when there is first something to wait for."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tieline.runtimes.asyncio.time_limits import TimeLimitOver, within

pytestmark = pytest.mark.asyncio_only("it is asyncio's part of dialling")


async def test_what_never_waits_is_never_late() -> None:
    async def work() -> int:
        return 3

    assert await within(0, work()) == 3


async def test_what_never_waits_may_fail() -> None:
    async def work() -> int:
        raise TimeoutError("the system's")

    with pytest.raises(TimeoutError, match="the system's"):
        await within(0, work())


async def test_it_goes_on_in_the_same_task_and_returns() -> None:
    seen: list[object] = [asyncio.current_task()]

    async def work() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
        return await asyncio.get_running_loop().run_in_executor(None, str, 5)

    assert await within(60, work()) == "5"
    assert len(set(seen)) == 1


@pytest.mark.parametrize("timeout", [60, None])
async def test_it_goes_on_and_fails(timeout: float | None) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise TimeoutError("the system's")

    with pytest.raises(TimeoutError, match="the system's") as caught:
        await within(timeout, work())
    assert not isinstance(caught.value, TimeLimitOver)


async def test_over_the_limit_it_is_cancelled_and_may_clean_up() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            done.append("cleaned up")

    with pytest.raises(TimeLimitOver):
        await within(0.01, work())
    assert done == ["cleaned up"]


async def test_cancelled_it_is_cancelled_and_no_limit_is_over() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            done.append("cleaned up")

    task = asyncio.ensure_future(within(60, work()))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert done == ["cleaned up"]


def test_where_there_is_no_task_nothing_is_left_running() -> None:
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def main() -> None:
        limited = within(60, work())
        outcome: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def step() -> None:
            try:
                limited.send(None)
            except BaseException as exc:
                outcome.set_result(exc)

        asyncio.get_running_loop().call_soon(step)
        assert isinstance(await outcome, RuntimeError)

    asyncio.run(main())
    assert closed == [True]


async def test_a_cancellation_that_comes_in_the_first_step_is_not_taken_for_the_limit() -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async def limited() -> None:
        await within(0, work())

    task = asyncio.create_task(limited())
    with pytest.raises(asyncio.CancelledError):
        await task
