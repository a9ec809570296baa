# SPDX-License-Identifier: MIT
"""The example of several processes on one port: each dies in every way, and the others serve on."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

import tieline
from tests.example_programs import PATIENCE, end_of, line_of, run, started

needs_reuse_port = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system spreads no connections")


def workers_of(parent: subprocess.Popen[str], count: int) -> tuple[str, set[int]]:
    """Return the URL and the process ids of so many workers that are about to listen."""
    found = [line_of(parent.stdout).split(" listens on ") for _ in range(count)]
    assert len({url for _, url in found}) == 1
    return found[0][1], {int(worker.removeprefix("worker ")) for worker, _ in found}


@contextlib.asynccontextmanager
async def session_of(
    url: str, worker: int, methods: tieline.Methods | None = None
) -> AsyncIterator[tieline.ClientSession]:
    """Connect until this worker has it."""
    for _ in range(1000):
        async with tieline.connect(url, methods) as session:
            if await session.call("who") == worker:
                yield session
                return
    raise AssertionError(f"1000 connections, and not one went to worker {worker}")


async def nobody_listens(url: str) -> None:
    """Return when no worker listens any more. (The port is still the parent's; but that does not listen.)"""
    with contextlib.suppress(ConnectionRefusedError):
        async with asyncio.timeout(PATIENCE):
            while True:
                # Reset: it had not been accepted yet when a worker closed its socket.
                with contextlib.suppress(ConnectionResetError):
                    async with tieline.connect(url):
                        pass


@needs_reuse_port
async def test_a_worker_that_dies_is_replaced_and_the_others_serve_on() -> None:
    with started("worker_server.py", "2", "0") as parent:
        url, workers = workers_of(parent, 2)
        victim, other = workers
        async with session_of(url, victim) as lost, session_of(url, other) as kept:
            os.kill(victim, signal.SIGKILL)
            assert line_of(parent.stdout) == f"worker {victim} ended (-9): another one takes its place"
            with pytest.raises(tieline.ConnectionLost):
                await lost.call("who")
            assert await kept.call("count_primes", 100) == 25
            again, (new,) = workers_of(parent, 1)
            assert again == url
            assert new not in workers
            async with session_of(url, new) as session:
                assert await session.call("who") == new
        parent.terminate()
        assert end_of(parent) == (0, "", "")


@needs_reuse_port
@pytest.mark.row("H55")
@pytest.mark.parametrize("way", ["SIGTERM", "Ctrl+C", "SIGTERM to the group", "SIGKILL of the parent"])
async def test_each_worker_answers_what_it_accepted_when_the_parent_is_ended(way: str) -> None:
    questions = asyncio.Queue[str]()
    answers = asyncio.Queue[str]()
    methods = tieline.Methods()

    @methods.method
    async def answer(question: str) -> str:
        questions.put_nowait(question)
        return await answers.get()

    with started("worker_server.py", "2", "0") as parent:
        url, workers = workers_of(parent, 2)
        async with contextlib.AsyncExitStack() as stack:
            calls = []
            for worker in workers:
                session = await stack.enter_async_context(session_of(url, worker, methods))
                calls.append(session.send_request("ask", ["ready?"]))
                assert await questions.get() == "ready?"
            number = {"Ctrl+C": signal.SIGINT, "SIGKILL of the parent": signal.SIGKILL}.get(way, signal.SIGTERM)
            if way in {"Ctrl+C", "SIGTERM to the group"}:
                for worker in workers:
                    os.kill(worker, number)
            parent.send_signal(number)
            await nobody_listens(url)
            for _ in workers:
                answers.put_nowait("yes")
            assert [await call for call in calls] == ["yes", "yes"]
        # Where its output ends, the last worker has gone.
        assert end_of(parent) == (-9 if number == signal.SIGKILL else 0, "", "")


@needs_reuse_port
async def test_a_second_signal_kills_workers_that_are_still_at_it() -> None:
    asked, too_late = asyncio.Event(), asyncio.Event()
    methods = tieline.Methods()

    @methods.method
    async def answer(question: str) -> None:
        asked.set()
        await too_late.wait()

    with started("worker_server.py", "1", "0") as parent:
        url, (worker,) = workers_of(parent, 1)
        async with session_of(url, worker, methods) as session:
            call = session.send_request("ask", ["ready?"])
            await asked.wait()
            parent.terminate()
            await nobody_listens(url)
            parent.terminate()
            with pytest.raises(tieline.ConnectionLost):
                await call
            too_late.set()  # closing waits for handlers of our own
        assert end_of(parent) == (1, "", "")


@needs_reuse_port
def test_a_second_copy_gets_no_share_of_the_port() -> None:
    with started("worker_server.py", "1", "0") as parent:
        url, _ = workers_of(parent, 1)
        second = run("worker_server.py", "1", url.rpartition(":")[2])
        assert (second.returncode, second.stdout) == (1, "")
        assert "cannot have the port" in second.stderr
        parent.terminate()
        assert end_of(parent) == (0, "", "")
