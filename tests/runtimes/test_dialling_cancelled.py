# SPDX-License-Identifier: MIT
"""Dialling that is cancelled, or out of time, at any moment: on asyncio, with real sockets."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import aio
from tests.runtimes.sockets import (
    V4,
    V6,
    Recorder,
    black_hole,
    closed,
    closed_port,
    full_unix_listener,
    linux_only,
    name,
    open_sockets,
    settled,
    tcp_listener,
)
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import StreamEndpoint

Scene = Callable[[ExitStack, pytest.MonkeyPatch, Path], StreamEndpoint]


def _numeric(stack: ExitStack, _patch: pytest.MonkeyPatch, _path: Path) -> StreamEndpoint:
    return TCP("127.0.0.1", stack.enter_context(tcp_listener(backlog=99))[1])


def _refused_then_live(stack: ExitStack, patch: pytest.MonkeyPatch, _path: Path) -> StreamEndpoint:
    dead, (_, port) = stack.enter_context(closed_port(V6)), stack.enter_context(tcp_listener(backlog=99))
    name(patch, "name", (V6, "::1", dead), (V4, "127.0.0.1", port))
    return TCP("name", 1, local_addr=None)


def _two_live(stack: ExitStack, patch: pytest.MonkeyPatch, _path: Path) -> StreamEndpoint:
    (_, six), (_, four) = (
        stack.enter_context(tcp_listener(V6, backlog=99)),
        stack.enter_context(tcp_listener(backlog=99)),
    )
    name(patch, "name", (V6, "::1", six), (V4, "127.0.0.1", four))
    return TCP("name", 1, happy_eyeballs_delay=0)


def _silent_then_live(stack: ExitStack, patch: pytest.MonkeyPatch, _path: Path) -> StreamEndpoint:
    silent, (_, port) = stack.enter_context(black_hole(V6)), stack.enter_context(tcp_listener(backlog=99))
    name(patch, "name", (V6, "::1", silent), (V4, "127.0.0.1", port))
    return TCP("name", 1, happy_eyeballs_delay=0)


def _unix(stack: ExitStack, _patch: pytest.MonkeyPatch, path: Path) -> StreamEndpoint:
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path / "s"))
    listener.listen(99)
    return UnixStream(path / "s")


def _full_unix(stack: ExitStack, _patch: pytest.MonkeyPatch, path: Path) -> StreamEndpoint:
    stack.enter_context(full_unix_listener(str(path / "s")))
    return UnixStream(path / "s")


@linux_only
@pytest.mark.row("D2", "H60")
@pytest.mark.parametrize(
    "scene",
    [_numeric, _refused_then_live, _two_live, _silent_then_live, _unix, _full_unix],
    ids=lambda one: one.__name__,
)
async def test_cancelled_in_any_turn_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scene: Scene
) -> None:
    with ExitStack() as stack:
        endpoint = scene(stack, monkeypatch, tmp_path)
        held, tasks = open_sockets(), aio.all_tasks()
        for turns in range(25):
            dialling = aio.create_task(aio.dial(Recorder, endpoint, timeout=10))
            for _ in range(turns):
                await aio.sleep(0)
            cancelled = dialling.cancel()
            await aio.wait({dialling})
            # What was asked to end has ended so: a cancellation is never swallowed.
            assert dialling.cancelled() == cancelled
            if not cancelled:
                await closed(dialling.result()[1])
            del dialling
            assert await settled(held) == held
            assert await aio.settled_tasks(tasks) == tasks


@linux_only
@pytest.mark.row("D2", "H60")
async def test_cancelled_twice_in_a_race_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        endpoint = _two_live(stack, monkeypatch, Path())
        held, tasks = open_sockets(), aio.all_tasks()
        for turns in range(12):
            for more in range(4):
                dialling = aio.create_task(aio.dial(Recorder, endpoint, timeout=10))
                for count in (turns, more):
                    for _ in range(count):
                        await aio.sleep(0)
                    dialling.cancel()
                await aio.wait({dialling})
                if not dialling.cancelled():
                    await closed(dialling.result()[1])
                del dialling
                assert await settled(held) == held
                assert await aio.settled_tasks(tasks) == tasks


@linux_only
@pytest.mark.row("D2", "H60")
async def test_a_deadline_at_any_moment_gives_a_connection_or_a_timeout_and_leaves_nothing() -> None:
    with tcp_listener(backlog=99) as (_, port):
        held, tasks = open_sockets(), aio.all_tasks()
        for step in range(50):
            try:
                _, protocol = await aio.dial(Recorder, TCP("127.0.0.1", port), timeout=step * 10e-6)
            except TimeoutError:
                pass
            else:
                await closed(protocol)
            assert await settled(held) == held
            assert await aio.settled_tasks(tasks) == tasks
