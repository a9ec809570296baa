# SPDX-License-Identifier: MIT
"""A loop in a thread of its own, and what it has done by its pool."""

from __future__ import annotations

import gc
import threading
from asyncio import CancelledError, Event, Task, create_task, gather, get_running_loop
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import contextmanager
from functools import partial

import pytest

from tieline.errors import ClosedError
from tieline.runtimes.asyncio import threads
from tieline.runtimes.asyncio.threads import LoopThread


@contextmanager
def loop_thread(workers: int) -> Iterator[LoopThread]:
    thread = LoopThread("test", workers)
    try:
        yield thread
    finally:
        thread.stop()


class Waiting(threading.Thread):
    """Waits, by a call that has begun, for what never ends, and keeps what it is told."""

    def __init__(self, thread: LoopThread) -> None:
        super().__init__(daemon=True)
        self._loop_thread = thread
        self._has_begun = threading.Event()
        self.told: list[str] = []
        self.start()
        assert self._has_begun.wait(10)

    async def work(self) -> None:
        self._has_begun.set()
        await Event().wait()

    def run(self) -> None:
        try:
            self._loop_thread.call(self.work)
        except ClosedError as exc:
            self.told.append(str(exc))


def test_each_gets_what_its_own_function_has_come_to() -> None:
    def work(number: int) -> int:
        if number % 3 == 0:
            raise LookupError(number)
        return number

    with loop_thread(4) as thread:

        async def all_of_them() -> list[object]:
            return [*await gather(*[thread.in_pool(work, number) for number in range(200)], return_exceptions=True)]

        for number, outcome in enumerate(thread.call(all_of_them)):
            if number % 3 == 0:
                assert isinstance(outcome, LookupError)
                assert outcome.args == (number,)
            else:
                assert outcome == number


def test_who_calls_while_the_loop_stops_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with loop_thread(1) as thread:
        assert thread.call_soon(lambda: None)
        call_soon = thread._loop.call_soon_threadsafe

        def behind_the_end(function: Callable[[], object]) -> object:
            monkeypatch.undo()  # for the stop
            thread.stop()
            return call_soon(function)

        monkeypatch.setattr(thread._loop, "call_soon_threadsafe", behind_the_end)
        assert not thread.call_soon(lambda: None)
        assert not thread.call_soon(lambda: None)


@pytest.mark.parametrize("when", ["before", "while it waits", "behind"])
def test_an_interrupt_cancels_the_coroutine_and_never_holds_up_the_loop(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = threads._Call.wait
    ended: list[str] = []
    is_running = threading.Event()

    def interrupted(call: threads._Call) -> None:
        monkeypatch.undo()
        if when == "while it waits":
            assert is_running.wait(10)
        elif when == "behind":
            wait(call)
        raise KeyboardInterrupt

    async def work() -> None:
        try:
            is_running.set()
            if when != "behind":
                await Event().wait()
            ended.append("done")
        except CancelledError:
            ended.append("cancelled")
            raise

    async def look() -> list[str]:
        return [*ended]

    with loop_thread(1) as thread:
        monkeypatch.setattr(threads._Call, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            thread.call(work)
        assert thread.call(look) in (["done"] if when == "behind" else ["cancelled"], [])
        assert thread.call(look) == ended
        assert not thread.at_end


def test_who_waits_when_the_loop_stops_is_told_so() -> None:
    with loop_thread(1) as thread:
        waiting = Waiting(thread)
        thread.stop()
        waiting.join(10)
        assert waiting.told == ["the server is not running"]
        with pytest.raises(ClosedError, match="not running"):
            thread.call(waiting.work)


def test_arguments_may_have_any_names() -> None:
    async def named(**names: int) -> dict[str, int]:
        return names

    with loop_thread(1) as thread:
        names = {"self": 1, "function": 2, "args": 3}
        assert thread.call(named, **names) == names


def test_a_stop_that_was_interrupted_can_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with loop_thread(1) as thread:
        monkeypatch.setattr(thread._pool, "shutdown", interrupted)
        with pytest.raises(KeyboardInterrupt):
            thread.stop()
        thread.stop()
        assert not thread._thread.is_alive()


def test_those_who_wait_for_a_loop_that_ends_by_itself_are_told() -> None:
    async def leave() -> None:
        get_running_loop().stop()

    with loop_thread(1) as thread:
        waiting = Waiting(thread)
        thread.call(leave)
        waiting.join(10)
        assert waiting.told == ["the server is not running"]
        with pytest.raises(ClosedError, match="not running"):
            thread.call(waiting.work)
        assert not thread.is_elsewhere


def test_what_a_coroutine_raises_refers_to_nothing_of_the_call() -> None:
    async def fail() -> None:
        raise LookupError

    with loop_thread(1) as thread:
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(LookupError):
                thread.call(fail)
            assert not [one for one in gc.get_objects() if isinstance(one, threads._Call)]
        finally:
            gc.enable()


@pytest.mark.row("H58")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_leaves_the_loop_running_and_is_raised_once(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    async def serve() -> None:
        create_task(thread.in_pool(fail)).add_done_callback(Task.exception)
        await Event().wait()

    with loop_thread(1) as thread:
        thread.raise_ending()
        with pytest.raises(FutureCancelledError):
            thread.call(thread.until_ending, serve)
        thread.call(thread.until_ending, serve)  # not any more
        thread.call(thread.in_pool, int)
        with pytest.raises(error):
            thread.raise_ending()
        thread.raise_ending()


class OfItsOwn(BaseException):
    pass


@pytest.mark.parametrize("error", [StopIteration, OfItsOwn, CancelledError])
def test_what_no_future_could_carry_is_told_as_the_cause_of_another(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with loop_thread(1) as thread:
        with pytest.raises(RuntimeError, match=f"a handler raised {error.__name__}") as caught:
            thread.call(thread.in_pool, fail)
        assert isinstance(caught.value.__cause__, error)


def test_what_is_cancelled_before_it_begins_never_does_and_what_has_begun_goes_on() -> None:
    free = threading.Event()
    ran: list[str] = []

    def hold(begun: Callable[[], object]) -> None:
        begun()
        free.wait(10)
        ran.append("first")

    with loop_thread(1) as thread:

        async def cancel_both() -> None:
            begun, loop = Event(), get_running_loop()
            first = thread.in_pool(hold, partial(loop.call_soon_threadsafe, begun.set))
            tasks = [create_task(first), create_task(thread.in_pool(ran.append, "second"))]
            await begun.wait()
            for task in tasks:
                task.cancel()
            for outcome in await gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, CancelledError)
            free.set()
            await thread.in_pool(ran.append, "third")

        thread.call(cancel_both)
    assert ran == ["first", "third"]
