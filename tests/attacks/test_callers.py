# SPDX-License-Identifier: MIT
"""Case 60: callers that are cancelled at any moment of any operation; and case 61 from the caller's side."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.attacks.conftest import ways
from tests.attacks.test_hostile_server import scripted
from tests.certificates import Certificates
from tests.promptness import prompt

methods = tieline.Methods()


@methods.method
async def add_later(a: int, b: int) -> int:
    await aio.sleep(0)
    return a + b


@methods.method
async def stubborn(seconds: float) -> None:
    until = aio.now() + seconds
    while (left := until - aio.now()) > 0:
        try:
            await aio.sleep(left)
        except aio.Cancelled:
            continue


@dataclass(frozen=True)
class Place:
    """Where a server of these methods listens, and how it is reached."""

    url: str
    inside: tieline.TLS | None = None
    outside: tieline.TLS | None = None

    def serve(self) -> tieline.Server:
        return tieline.serve(methods, self.url, tls=self.inside)

    def connect(self, server: tieline.Server, *args: Any, **kwargs: Any) -> tieline.ClientSession:
        session: tieline.ClientSession = tieline.connect(server.url, *args, tls=self.outside, **kwargs)
        return session


@pytest.fixture
def place(transport: str, tmp_path: Path, certificates: Certificates) -> Place:
    if transport != "tls":
        return Place(f"unix://{tmp_path / 's'}")
    inside, outside = tieline.TLS(certificate=certificates.server), tieline.TLS(ca=certificates.ca)
    return Place("tls://127.0.0.1:0", inside, outside)


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until something holds that nobody tells of."""
    async with aio.timeout(5):
        while not holds():  # each turn counts
            await aio.sleep(0)


async def call(session: tieline.ClientSession) -> None:
    assert await session.call("add_later", 1, 2) == 3


async def notify(session: tieline.ClientSession) -> None:
    await session.notify("add_later", 1, 2)
    await aio.sleep(0)


async def request(session: tieline.ClientSession) -> None:
    assert await session.send_request("add_later", [1, 2]) == 3


async def batch(session: tieline.ClientSession) -> None:
    async with session.batch() as calls:
        calls.add_request("add_later", [1, 2])
        await aio.sleep(0)
        calls.add_request("add_later", [3, 4])
    assert calls.results == (3, 7)


async def full_window(session: tieline.ClientSession) -> None:
    """Call when the window is full, so that the call waits for room first."""
    async with aio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(session.call("add_later", 1, 2))


async def cancelled_at(operation: Awaitable[None], turns: int) -> bool:
    """Run an operation for so many turns of the loop, then cancel it; return whether it had ended before."""
    task = aio.ensure_future(operation)
    for _ in range(turns):
        await aio.sleep(0)
        if task.done():
            task.result()
            return True
    task.cancel()
    with pytest.raises(aio.Cancelled):
        await task
    return False


OPERATIONS = [call, notify, request, batch, full_window]


@pytest.mark.row("H60", "S7")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@ways("unix")
async def test_an_operation_may_be_cancelled_in_any_turn(
    operation: Callable[[tieline.ClientSession], Awaitable[None]], place: Place
) -> None:
    limits = tieline.Limits(max_calls=4)
    async with (
        place.serve() as server,
        place.connect(server, limits=limits) as session,
    ):
        tasks = len(aio.all_tasks())
        turns = 0
        # The end may come a turn earlier or later, as the kernel likes: go on until it came ten times.
        ended = 0
        while ended < 10:
            ended += await cancelled_at(operation(session), turns)
            turns += 1
            assert turns < 2000
            assert session.stats.pending == 0
            assert await session.call("add_later", 20, 22) == 42
            assert session.stats.pending == 0
        assert session.has_room()
        for _ in range(20):
            await aio.sleep(0)
        assert len(aio.all_tasks()) <= tasks
        assert session.stats.errors == 0


@pytest.mark.row("H60")
@ways("unix")
async def test_connecting_may_be_cancelled_in_any_turn(place: Place) -> None:
    async def connect_and_close() -> None:
        async with place.connect(server) as session:
            assert await session.call("add_later", 1, 2) == 3

    async with place.serve() as server:
        turns = ended = 0
        while ended < 10:
            ended += await cancelled_at(connect_and_close(), turns)
            turns += 1
            assert turns < 2000
        await until(lambda: not server.sessions)


@pytest.mark.row("H60", "S13")
@ways("unix")
async def test_closing_may_be_cancelled_in_any_turn(place: Place) -> None:
    async with place.serve() as server:
        ended = 0
        turns = 1  # in none the task does not even begin
        while ended < 5:
            session = place.connect(server)
            await session.create_connection(nursery=aio.nursery())
            waiting = aio.create_task(session.call("add_later", 1, 2))
            await aio.sleep(0)
            ended += await cancelled_at(session.aclose(), turns)
            turns += 1
            assert turns < 2000
            # Closed or cancelled, the session is closed, and the caller is told.
            assert session.is_closing()
            outcome = (await aio.gather(waiting, return_exceptions=True))[0]
            assert outcome == 3 or isinstance(outcome, tieline.ClosedError | tieline.ConnectionLost), outcome
            await session.wait_closed()
        await until(lambda: not server.sessions)


@pytest.mark.row("H60", "S10")
async def test_senders_that_wait_for_room_may_be_cancelled() -> None:
    async def deaf(_reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await aio.sleep(60)

    async with scripted(deaf) as url, tieline.connect(url) as session:
        text = "x" * 1_000_000
        while session.has_room():
            await session.notify("drop", text)
        waiting = [aio.create_task(session.notify("drop", text)) for _ in range(50)]
        waiting += [aio.create_task(session.call("drop", text)) for _ in range(50)]
        await aio.sleep(0)
        with pytest.raises(TimeoutError):
            await session.call("drop", text, timeout=0.01)
        with pytest.raises(TimeoutError):
            async with aio.timeout(0.01):
                await session.notify("drop", text)
        sent = session.stats.messages_out
        for task in waiting:
            task.cancel()
        outcomes = await aio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {aio.CancelledError}
        assert session.stats.pending == 0
        assert session.stats.messages_out == sent
        session.abort()


@pytest.mark.row("H61", "S13")
@ways("unix")
async def test_closing_ends_in_time_whatever_the_handlers_of_either_side_do(place: Place) -> None:
    async with place.serve() as server:
        async with place.connect(server, methods) as session:
            ours = aio.create_task(session.call("stubborn", 0.5))
            await until(lambda: bool(server.sessions))
            (accepted,) = server.sessions
            theirs = aio.create_task(accepted.call("stubborn", 0.5))
            await until(lambda: bool(session.stats.running and accepted.stats.running))
            start = aio.now()
            await aio.gather(*(session.aclose(force_after=0.1) for _ in range(10)))
            await session.aclose(force_after=0.1)
            assert aio.now() - start < prompt(0.45)
            with pytest.raises(tieline.ClosedError):
                await ours
            with pytest.raises(tieline.ConnectionLost):
                await theirs
        await server.shutdown(deadline=0.1)
        await until(lambda: len(aio.all_tasks()) <= 2)  # the stubborn handlers have ended
