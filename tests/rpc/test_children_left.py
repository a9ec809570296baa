# SPDX-License-Identifier: MIT
"""What child processes leave: all that they have started is ended, and of one that cannot start nothing is left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests import aio
from tests.promptness import prompt
from tests.rpc.children import PROGRAM, Watched, command, few_descriptors
from tieline import ConnectionLost, Methods, connect
from tieline.runtimes import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def process_of(session: Any) -> subprocess.Popen[bytes]:
    process = session.get_extra_info("subprocess")
    assert isinstance(process, subprocess.Popen)
    return process


def expecting_jobs() -> tuple[Methods, aio.Event]:
    """Return methods for the child that makes groups of their own, and what is set when it has made them."""
    ready: list[None] = []
    are_ready = aio.Event()
    methods = Methods()

    @methods.method(name="ready")
    def one_more() -> None:
        ready.append(None)
        if len(ready) == 2:
            are_ready.set()

    return methods, are_ready


# --- what a child has started ----------------------------------------------------------------------------------------


@pytest.mark.row("H79")
async def test_what_a_child_started_is_ended_with_it() -> None:
    async with connect(command(grace=0.1)) as session:
        left = Watched(await session.call("grandchild"))
    assert left.ends()


@pytest.mark.row("H79")
async def test_a_child_that_dies_and_leaves_its_pipes_to_another_is_noticed() -> None:
    async with connect(command(grace=0.1)) as session:
        left = Watched(await session.call("grandchild"))
        call = session.send_request("hang")
        process = process_of(session)
        began = time.monotonic()
        process.send_signal(signal.SIGKILL)
        with pytest.raises(ConnectionLost, match="SIGKILL"):
            await call
        assert time.monotonic() - began < prompt(0.1)
    assert left.ends()


@pytest.mark.row("H79")
@pytest.mark.parametrize("is_killed", [False, True])
async def test_what_a_child_started_in_groups_of_their_own_is_ended_with_it(is_killed: bool) -> None:
    """A shell with job control makes such, and `timeout` is one."""
    methods, are_ready = expecting_jobs()
    async with connect(command(grace=0.1), methods) as session:
        left = [Watched(pid) for pid in await session.call("jobs")]
        await aio.wait_for(are_ready.wait(), 60)
        if is_killed:
            process_of(session).kill()
            await session.wait_closed()
    assert [one.ends() for one in left] == [True, True]


@pytest.mark.row("H79")
async def test_such_groups_are_asked_to_end_before_they_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a child that is yet to end itself: else what it has started could not clean up."""
    signalled: list[tuple[int, int]] = []
    send = os.killpg

    def note(group: int, number: int) -> None:
        signalled.append((group, number))
        send(group, number)

    methods, are_ready = expecting_jobs()
    async with connect(command("stays", grace=0.1), methods) as session:
        jobs = await session.call("jobs")
        left = [Watched(pid) for pid in jobs]
        await aio.wait_for(are_ready.wait(), 60)
        monkeypatch.setattr(os, "killpg", note)
    assert [one.ends() for one in left] == [True, True]
    for job in jobs:
        assert next(number for group, number in signalled if group == job) == signal.SIGTERM


@pytest.mark.row("H79")
async def test_those_that_a_dead_child_has_left_may_write_for_ever() -> None:
    methods = Methods()
    methods.method(name="flood")(lambda: None)
    async with connect(command(grace=0.1), methods) as session:
        await session.call("flooders")
        call = session.send_request("hang")
        process_of(session).kill()
        with pytest.raises(ConnectionLost, match="SIGKILL"):
            await aio.wait_for(call, 60)


@pytest.mark.parametrize(("heir", "is_left"), [("ours", False), ("others", True)])
def test_an_orphan_that_is_dead_is_not_waited_for(heir: str, is_left: bool) -> None:
    """It counts as one of the group for as long as nobody waits for it: for ever, where the heir waits for nobody."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM.with_name("orphans_program.py")), heir],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[2]), *sys.path])},
    )
    assert (done.stdout.split(), done.returncode) == (["1", str(int(is_left))], 0), done.stderr


# --- what cannot start -----------------------------------------------------------------------------------------------


@pytest.mark.row("H79")
async def test_a_child_that_there_are_no_descriptors_for_leaves_nothing() -> None:
    """Whichever of them is the one too many; the search for leaks does the rest."""
    async with connect(command()) as session:
        await session.call("add", 1, 2)  # what is imported when the first one starts is there
    outcomes: list[object] = []
    for spare in range(12):
        with few_descriptors(spare):
            try:
                async with connect(command()) as session:
                    outcomes.append(await session.call("add", 1, 2))
            except OSError as exc:
                outcomes.append(exc.errno)
    first = outcomes.index(3)
    assert outcomes == [errno.EMFILE] * first + [3] * (12 - first)
    assert first > 5, "three pipes have six ends"


@pytest.mark.row("H79")
@pytest.mark.parametrize("is_refused_at_once", [True, False])
async def test_a_child_whose_end_cannot_be_watched_is_ended(is_refused_at_once: bool, monkeypatch) -> None:
    """The system gives no descriptor for that, or one that it cannot watch; the search for leaks does the rest."""
    started: list[subprocess.Popen[bytes]] = []

    def unwatchable(process: subprocess.Popen[bytes]) -> int:
        started.append(process)
        if is_refused_at_once:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return os.open(__file__, os.O_RDONLY)  # epoll takes no files

    monkeypatch.setattr(children, "exit_descriptor", unwatchable)
    with pytest.raises((OSError, ConnectionLost)) as caught:
        async with connect(command()) as session:
            await session.call("hang")
    seen: BaseException | None = caught.value
    while isinstance(seen, ConnectionLost):
        seen = seen.__cause__
    assert isinstance(seen, OSError)
    assert seen.errno == (errno.EMFILE if is_refused_at_once else errno.EPERM)
    assert [process.wait(60) for process in started] == [-signal.SIGKILL]
