# SPDX-License-Identifier: MIT
"""Sessions with child processes in blocking code."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import pytest

from tests.promptness import prompt
from tests.rpc.children import PROGRAM, Watched, command, few_descriptors, is_known, resident
from tieline import Command, ConnectionLost, EndOfStream, ProcessEnded
from tieline.blocking import ClientSession, connect
from tieline.runtimes import pipes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


# Bytes of standard error; TIELINE_LONG=1 has the gigabyte that is promised.
FLOOD = 1 << 30 if os.environ.get("TIELINE_LONG") else 64 << 20


def process_of(session: Any) -> subprocess.Popen[bytes]:
    process = session.get_extra_info("subprocess")
    assert isinstance(process, subprocess.Popen)
    return process


def test_a_child_is_called_and_ends_with_its_session() -> None:
    with connect(command()) as session:
        assert session.call("add", 1, 2) == 3
        process = process_of(session)
        assert session.call("pid") == process.pid
    assert process.returncode == 0
    assert not is_known(process.pid)


def test_a_child_by_its_url() -> None:
    with ClientSession(f"cmd:{shlex.join([sys.executable, '-S', str(PROGRAM), '', 'two words'])}") as session:
        assert session.call("environment")[2] == ["two words"]


def test_messages_of_megabytes_go_both_ways_at_once() -> None:
    text = "ä" * 2_000_000
    with connect(command()) as session:
        requests = [session.send_request("echo", (text,)) for _ in range(4)]
        for request in requests:
            assert request.result() == text


def test_many_threads_call_one_child() -> None:
    with connect(command()) as session:
        results: list[object] = []

        def call(n: int) -> None:
            results.extend(session.call("add", n, k) for k in range(50))

        threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results, key=repr) == sorted((n + k for n in range(8) for k in range(50)), key=repr)


def test_a_program_that_is_not_there_is_named() -> None:
    session = connect("cmd:tieline-has-no-such-program --flag")
    with pytest.raises(FileNotFoundError, match="tieline-has-no-such-program"), session:
        pytest.fail("connected")


@pytest.mark.row("H79")
def test_callers_in_all_threads_hear_within_a_moment_that_the_child_was_killed() -> None:
    with connect(command()) as session:
        session.call("say", "last words\n")
        errors: list[BaseException] = []
        waiting = threading.Barrier(5)

        def call() -> None:
            request = session.send_request("hang")
            waiting.wait()
            try:
                request.result()
            except ConnectionLost as exc:
                errors.append(exc)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        waiting.wait()
        began = time.monotonic()
        process_of(session).kill()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < prompt(0.15)
        assert len(errors) == 4
        assert all("was ended by SIGKILL" in str(error) and "last words" in str(error) for error in errors)
        assert isinstance(session.close_reason, ProcessEnded)


@pytest.mark.row("H79")
@pytest.mark.parametrize(("code", "kind"), [(3, ProcessEnded), (0, EndOfStream)])
def test_the_exit_code_is_told(code: int, kind: type[ConnectionLost]) -> None:
    with connect(command()) as session:
        with pytest.raises(ConnectionLost, match=f"ended with exit code {code}"):
            session.call("leave", code)
        assert type(session.close_reason) is kind


@pytest.mark.row("H79")
def test_a_child_that_closes_its_input_and_stays_is_given_up_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "BETWEEN", 0.1)
    with (
        connect(Command(["sh", "-c", "exec <&-; sleep 60"], grace=0.1)) as session,
        pytest.raises(ConnectionLost, match="closed its input, and still runs"),
    ):
        session.call("add", "x" * 1_000_000)  # more than the pipe holds before it is closed


@pytest.mark.row("H79")
def test_an_exit_code_that_nobody_tells_is_not_taken_for_a_success() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so the system forgets children by itself
    try:
        with connect(command()) as session:
            with pytest.raises(ConnectionLost, match="ended, and with which exit code is not known"):
                session.call("leave", 3)
            assert type(session.close_reason) is ConnectionLost
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.row("H79")
def test_a_child_that_dies_at_once_says_why() -> None:
    with connect(command("dead")) as session:
        with pytest.raises(ConnectionLost):
            session.call("add", 1, 2)
        session.wait_closed()
        assert "exit code 1; its standard error ended with: never was" in str(session.close_reason)


@pytest.mark.row("H79")
@pytest.mark.parametrize(
    ("mode", "code"), [("stays", -signal.SIGTERM), ("stubborn", -signal.SIGKILL), ("deaf", -signal.SIGTERM)]
)
def test_a_child_that_does_not_end_is_ended(mode: str, code: int) -> None:
    with connect(command(mode, grace=0.15)) as session:
        process = process_of(session)
        if mode != "deaf":
            assert session.call("add", 1, 2) == 3
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert process.returncode == code
    assert not is_known(process.pid)


@pytest.mark.row("H79")
def test_a_child_that_reads_nothing_does_not_hold_us_for_longer_than_its_grace() -> None:
    with connect(command("deaf", grace=0.1)) as session:
        request = session.send_request("echo", ("x" * 50_000,))
        with pytest.raises(TimeoutError):
            request.result(timeout=0.1)


@pytest.mark.row("H79")
def test_a_child_that_dies_and_leaves_its_pipes_to_another_is_noticed() -> None:
    with connect(command(grace=0.1)) as session:
        left = Watched(session.call("grandchild"))
        request = session.send_request("hang")
        began = time.monotonic()
        os.kill(process_of(session).pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost, match="SIGKILL"):
            request.result()
        # The thread that reads standard error waits a moment for its end, which does not come.
        assert time.monotonic() - began < prompt(0.3)
    assert left.ends()


@pytest.mark.row("H79")
def test_a_child_that_floods_standard_error_is_answered_within_bounded_memory() -> None:
    with connect(command()) as session:
        session.call("stderr", 1 << 20)
        before = resident()
        assert session.call("stderr", FLOOD) == FLOOD
        assert session.call("add", 1, 2) == 3
        assert resident() - before < 24 << 20
        assert len(session.get_extra_info("stderr")) <= 16 * 1024


@pytest.mark.row("H79")
def test_a_child_whose_standard_error_cannot_be_read_leaves_nothing() -> None:
    """Whichever descriptor is the one too many, those of the thread that reads standard error included."""
    with connect(command()) as session:
        session.call("add", 1, 2)
    outcomes: list[object] = []
    for spare in range(12):
        with few_descriptors(spare):
            try:
                with connect(command()) as session:
                    outcomes.append(session.call("add", 1, 2))
            except OSError as exc:
                outcomes.append(exc.errno)
    first = outcomes.index(3)
    assert outcomes == [errno.EMFILE] * first + [3] * (12 - first)


@pytest.mark.row("H79")
def test_a_child_without_a_thread_for_its_standard_error_is_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"), connect(command()):
        pytest.fail("connected")


def test_standard_error_is_read_while_nobody_waits() -> None:
    lines: list[str] = []
    done = threading.Event()

    def take(line: str) -> None:
        lines.append(line)
        if len(lines) == 1024:
            done.set()

    with connect(command(stderr=take)) as session:
        session.notify("stderr", 1 << 20)
        assert done.wait(5)
        assert session.call("add", 1, 2) == 3


def test_the_last_line_of_standard_error_is_handed_on_when_that_ends() -> None:
    """The child goes on without it."""
    lines: list[str] = []
    is_told = threading.Event()

    def take(line: str) -> None:
        lines.append(line)
        is_told.set()

    with connect(command(stderr=take)) as session:
        session.call("say", "no newline")
        session.call("close_stderr")
        assert is_told.wait(60)
        assert session.call("add", 1, 2) == 3
    assert lines == ["no newline"]


def test_a_function_for_lines_may_close_the_session(caplog: pytest.LogCaptureFixture) -> None:
    """It is called in the thread that reads standard error, for whose end the session waits otherwise."""
    is_closed = threading.Event()

    def take(line: str) -> None:
        session.close()
        is_closed.set()

    with connect(command(stderr=take)) as session:
        session.notify("say", "enough\n")
        assert is_closed.wait(60)
    assert caplog.text == ""


def test_lines_that_are_no_protocol_are_errors_by_default() -> None:
    with connect(command()) as session:
        session.call("print", "Welcome!\n\n  debug: 1\n")
        assert session.stats.errors == 2


def test_lines_that_are_no_protocol_are_skipped_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with connect(command(stray_lines="skip")) as session:
        for _ in range(2):
            session.call("print", "Welcome!\n\n  debug: 1\n")
        assert session.call("add", 1, 2) == 3
        assert session.stats.errors == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


SLOW_SERVER = """
import asyncio
import tieline

methods, told = tieline.Methods(), []

@methods.method
async def work() -> None:
    told.append("begun")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        told.append("cancelled")
        raise

@methods.method
def tell() -> list[str]:
    return told

asyncio.run(tieline.serve(methods, "stdio:", dialect="lsp").serve_forever())
"""


def test_a_call_is_taken_back_from_a_child_in_its_dialect() -> None:
    with connect(f"cmd:{shlex.join([sys.executable, '-c', SLOW_SERVER])}", dialect="lsp") as session:
        assert session.call("tell") == []  # it is there
        request = session.send_request("work")
        while session.call("tell") != ["begun"]:
            pass
        with pytest.raises(TimeoutError):
            request.result(timeout=0.01)
        request.cancel()
        while session.call("tell") != ["begun", "cancelled"]:
            pass
        assert session.stats.errors == 0


def test_lines_that_are_no_protocol_are_handed_to_a_function() -> None:
    lines: list[str] = []
    with connect(command(stray_lines=lines.append)) as session:
        session.call("print", "Welcome!\n\n  debug: 1\n")
        assert session.call("add", 1, 2) == 3
        assert session.stats.errors == 0
    assert lines == ["Welcome!", "  debug: 1"]


def test_a_forked_process_leaves_the_child_to_its_parent() -> None:
    with connect(command()) as session:
        assert session.call("add", 1, 2) == 3
        with warnings.catch_warnings():
            # A thread reads the child's standard error; what that may lead to is what is looked at here.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            code = 1
            try:
                session.call("add", 1, 2)
            except ConnectionLost:
                session.abort()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert session.call("add", 3, 4) == 7
