# SPDX-License-Identifier: MIT
"""Event loops for tests: run one coroutine function on a fresh loop, and fail for all that it leaves behind."""

import asyncio
import gc
import importlib.util
import io
import logging
import warnings
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import trio

from tests.aio import TestTasks, tasks_of_test

T = TypeVar("T")

LIMIT = 60.0  # seconds; a test that needs more is stuck
GRACE = 20  # turns of the loop that finished work may take to end


def _stacks(tasks: Iterable[asyncio.Task[Any] | None]) -> str:
    out = io.StringIO()
    for task in filter(None, tasks):
        task.print_stack(file=out)
    return out.getvalue()


def _context_text(context: dict[str, Any]) -> str:
    """Tell one report of the loop's exception handler, with the traceback's last place."""
    text = str(context.get("message"))
    if (exc := context.get("exception")) is not None:
        text += f": {exc!r}"
        trace = exc.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            text += f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return text + "".join(
        f"\n    {key}: {value!r}" for key, value in context.items() if key in ("task", "future", "handle")
    )


async def _supervise(async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...], limit: float) -> T:
    """Run the test in a task of its own, so that neither it nor its cancellation can stop the limit."""
    __tracebackhide__ = True

    async def test() -> T:
        return await async_fn(*args)

    own = asyncio.current_task()
    task = asyncio.create_task(test(), name="the test")
    await asyncio.wait({task}, timeout=limit)
    if not task.done():
        stuck = _stacks(asyncio.all_tasks() - {own})
        pytest.fail(f"not done after {limit} s; its tasks:\n{stuck}", pytrace=False)
    result = task.result()
    del task
    for _ in range(GRACE):
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0)
    if left := asyncio.all_tasks() - {own}:
        pytest.fail(f"tasks left behind by the test:\n{_stacks(left)}", pytrace=False)
    gc.collect()  # only now do futures say that nobody retrieved their exception
    return result


@dataclass(frozen=True)
class Runtime:
    """One kind of event loop of asyncio. A test body is the same on all of them."""

    name: str
    loop_factory: Callable[[], asyncio.AbstractEventLoop]

    def __str__(self) -> str:
        return self.name

    def run(self, async_fn: Callable[..., Awaitable[T]], *args: Any, limit: float = LIMIT) -> T:
        """Run `async_fn(*args)` on a fresh loop and return its result.

        Fails when it takes longer than *limit* seconds (with the stacks of all tasks), leaves a task behind, or when
        the loop's exception handler was called: an exception that nobody retrieved or caught.
        """
        __tracebackhide__ = True
        contexts: list[str] = []
        with ExitStack() as quiet, asyncio.Runner(debug=False, loop_factory=self.loop_factory) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _loop, context: contexts.append(_context_text(context)))
            try:
                result = runner.run(_supervise(async_fn, args, limit))
            except BaseException:
                # What a failed test leaves open is no news; and uvloop 0.23 hangs for ever in loop.close() when its
                # ResourceWarning about that is an error.
                quiet.enter_context(warnings.catch_warnings())
                warnings.simplefilter("default", ResourceWarning)
                raise
        if contexts:
            pytest.fail("unhandled in the event loop:\n" + "\n".join(contexts), pytrace=False)
        return result


class _Errors(logging.Handler):
    """Collect what the runtime logs as gone wrong; on asyncio the loop's exception handler hears it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@dataclass(frozen=True)
class TrioRuntime:
    """trio, on its own clock unless another one is given."""

    name: str = "trio"
    new_clock: Callable[[], trio.abc.Clock | None] = lambda: None

    def __str__(self) -> str:
        return self.name

    def run(self, async_fn: Callable[..., Awaitable[T]], *args: Any, limit: float = LIMIT) -> T:
        """Do as `Runtime.run` does."""
        __tracebackhide__ = True
        errors = _Errors()
        log = logging.getLogger("tieline.trio")
        log.addHandler(errors)
        try:
            result, unseen = trio.run(self._supervise, async_fn, args, limit, clock=self.new_clock())
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the test's own failure, from the nursery that its tasks live in
                raise group.exceptions[0] from None
            raise
        finally:
            log.removeHandler(errors)
        if errors.texts or unseen:
            pytest.fail("unhandled on trio:\n" + "\n".join([*errors.texts, *map(repr, unseen)]), pytrace=False)
        return result

    async def _supervise(
        self, async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...], limit: float
    ) -> tuple[T, list[BaseException]]:
        __tracebackhide__ = True
        async with trio.open_nursery() as nursery:
            tasks = TestTasks(nursery)
            tasks_of_test.set(tasks)
            with trio.move_on_after(limit) as scope:
                result = await async_fn(*args)
            if scope.cancelled_caught:
                pytest.fail(f"not done after {limit} s", pytrace=False)
            for _ in range(GRACE):
                if not tasks.tasks and not nursery.child_tasks:
                    break
                await trio.lowlevel.checkpoint()
            if nursery.child_tasks:
                pytest.fail(f"tasks left behind by the test: {nursery.child_tasks}", pytrace=False)
        gc.collect()  # only now do tasks say that nobody retrieved their exception
        return result, tasks.unseen


def runtimes() -> list[Runtime]:
    """Return the loops of this platform."""
    found = [Runtime("asyncio", asyncio.new_event_loop)]
    if importlib.util.find_spec("uvloop"):  # not made for Windows
        import uvloop

        found.append(Runtime("uvloop", uvloop.new_event_loop))
    return found
