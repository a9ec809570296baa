# SPDX-License-Identifier: MIT
"""Child processes where the system offers less: no descriptor for the end of a process, no thread to be had."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

import tieline.blocking
from tests.rpc.children import command, is_known
from tieline import ConnectionLost, connect, subprocess_exec
from tieline.runtimes import children, processes
from tieline.transports import SubprocessProtocol

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an old kernel, in a sandbox, or on macOS: a thread waits for the process instead."""

    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse)


class Recorder(SubprocessProtocol):
    """Writes down what it hears of the end."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def process_exited(self) -> None:
        self.heard.append("exited")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.heard.append("lost")


@pytest.mark.usefixtures("no_pidfd")
async def test_the_end_of_a_child_is_noticed_without_a_descriptor_for_it() -> None:
    async with connect(command()) as session:
        assert await session.call("add", 1, 2) == 3
        with pytest.raises(ConnectionLost, match="ended with exit code 3"):
            await session.call("leave", 3)
    async with connect(command()) as session:
        pid = await session.call("pid")
    assert not is_known(pid)


@pytest.mark.usefixtures("no_pidfd")
def test_the_end_of_a_child_is_noticed_in_blocking_code_too() -> None:
    with tieline.blocking.connect(command()) as session:
        assert session.call("add", 1, 2) == 3
        with pytest.raises(ConnectionLost, match="ended with exit code 3"):
            session.call("leave", 3)
    with tieline.blocking.connect(command()) as session:
        pid = session.call("pid")
    assert not is_known(pid)


@pytest.mark.usefixtures("no_pidfd")
@pytest.mark.parametrize(("argv", "is_closed", "code"), [(["true"], False, 0), (["cat"], True, -signal.SIGKILL)])
def test_so_is_that_of_a_process_with_a_protocol_of_ones_own(argv: list[str], is_closed: bool, code: int) -> None:
    async def on_trio() -> Any:
        async with trio.open_nursery() as nursery:
            transport, protocol = await subprocess_exec(Recorder, *argv, nursery=nursery)
            if is_closed:
                transport.close()
        return transport, protocol

    polled, heard = tieline.blocking.subprocess_exec(Recorder, *argv)
    if is_closed:
        polled.close()
    polled.wait_closed(60)
    for transport, protocol in [(polled, heard), trio.run(on_trio)]:
        assert transport.get_returncode() == code
        assert protocol.heard == ["exited", "lost"]


@pytest.mark.usefixtures("no_pidfd")
@pytest.mark.parametrize("kind", ["session", "protocol"])
def test_a_child_that_cannot_be_watched_is_ended(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no thread to be had either; the search for leaks does the rest."""
    started: list[Any] = []
    watch = children.exit_descriptor

    def note(process: Any) -> int:
        started.append(process)
        return watch(process)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(children if kind == "session" else processes, "exit_descriptor", note)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    if kind == "session":
        start: Callable[[], object] = tieline.blocking.connect(command()).__enter__
    else:
        start = partial(tieline.blocking.subprocess_exec, Recorder, "sleep", "600")
    with pytest.raises(RuntimeError, match="new thread"):
        start()
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_a_pipe_that_cannot_be_had_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of three; the search for leaks does the rest."""
    copy, left = os.dup, [2]

    def dup(fd: int) -> int:
        if not left[0]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        left[0] -= 1
        return copy(fd)

    monkeypatch.setattr(os, "dup", dup)
    with pytest.raises(OSError, match="open files"):
        tieline.blocking.subprocess_exec(Recorder, "sleep", "600")
    assert left == [0]


def test_whoever_has_got_the_number_of_a_child_that_is_gone_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    child = children.Child(command())
    try:
        child.close_one("stdin")
        child.process.wait(60)
        assert child.is_over()
        signalled: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "killpg", lambda group, number: signalled.append((group, number)))
        monkeypatch.setattr(children, "groups_of_session", lambda session: {session})
        child.terminate()
        child.kill()
        assert child.look()
        assert child.is_over()
        child.kill()
        assert signalled == []
    finally:
        child.close()


def test_a_child_that_takes_its_time_to_die_is_waited_for_by_a_thread() -> None:
    child = children.Child(command())
    try:
        child.close_one("exit_fd")  # so `kill` cannot see when it has ended
        child.kill()
        for thread in threading.enumerate():
            if thread.name == "tieline reaps a child":
                thread.join(60)
        assert child.process.returncode == -signal.SIGKILL
    finally:
        child.close()
