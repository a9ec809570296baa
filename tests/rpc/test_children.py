# SPDX-License-Identifier: MIT
"""Sessions with child processes: started, spoken to over their standard streams, ended with all that they started."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests import aio
from tests.promptness import prompt
from tests.rpc.children import PROGRAM, command, is_known, resident
from tieline import (
    ClientSession,
    ClosedError,
    Command,
    ConnectionLost,
    ContentLengthFramer,
    EndOfStream,
    Limits,
    MessageSession,
    Methods,
    NewlineFramer,
    ProcessEnded,
    RPCRequestOut,
    StreamTruncated,
    connect,
    serve,
)
from tieline.runtimes import pipes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


# Bytes of standard error; TIELINE_LONG=1 has the gigabyte that is promised.
FLOOD = 1 << 30 if os.environ.get("TIELINE_LONG") else 64 << 20


def process_of(session: Any) -> subprocess.Popen[bytes]:
    process = session.get_extra_info("subprocess")
    assert isinstance(process, subprocess.Popen)
    return process


# --- talking ---------------------------------------------------------------------------------------------------------


async def test_a_child_is_called_and_ends_with_its_session() -> None:
    async with connect(command()) as session:
        assert await session.call("add", 1, 2) == 3
        process = process_of(session)
        assert await session.call("pid") == process.pid
        assert os.getpgid(process.pid) == process.pid, "a group of its own"
        assert "open" in repr(session)
        assert session.remote_address() is None
    assert process.returncode == 0
    assert not is_known(process.pid)
    with pytest.raises(ClosedError):
        await session.call("add", 1, 2)


async def test_a_child_by_its_url_and_by_a_session_of_ones_own() -> None:
    class Mine(ClientSession):
        pass

    url = f"cmd:{shlex.join([sys.executable, '-S', str(PROGRAM), '', 'two words'])}"
    async with Mine(url) as session:
        _variable, _folder, rest = await session.call("environment")
        assert rest == ["two words"]


async def test_environment_and_folder_are_as_the_command_says(tmp_path) -> None:
    own = command(env={"TIELINE_TEST": "yes"}, cwd=tmp_path)
    async with connect(own) as session:
        assert await session.call("environment") == ["yes", str(tmp_path), []]


async def test_messages_of_megabytes_go_both_ways_at_once() -> None:
    text = "ä" * 2_000_000
    async with connect(command()) as session:
        requests = [session.send_request("echo", (text,)) for _ in range(4)]
        for request in requests:
            assert await request == text
        assert session.stats.pending == 0


async def test_a_thousand_calls_in_flight() -> None:
    async with connect(command()) as session:
        requests = [session.send_request("add", (n, 1)) for n in range(1000)]
        assert [await request for request in requests] == list(range(1, 1001))


async def test_messages_without_replies() -> None:
    class Lines(MessageSession):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, framer=NewlineFramer, **given)
            self.heard: list[bytes] = []
            self.done = aio.Event()

        def handle_message(self, message: bytes) -> None:
            self.heard.append(message)
            if message == b"last":
                self.done.set()

    async with Lines(Command(["cat"])) as session:
        for line in (b"first", b"second", b"last"):
            await session.send_message(line)
        await aio.wait_for(session.done.wait(), 5)
        process = process_of(session)
    assert session.heard == [b"first", b"second", b"last"]
    assert process.returncode == 0


# --- what cannot be --------------------------------------------------------------------------------------------------


async def test_a_program_that_is_not_there_is_named() -> None:
    session = connect("cmd:tieline-has-no-such-program --flag")
    with pytest.raises(FileNotFoundError, match="tieline-has-no-such-program"):
        async with session:
            pytest.fail("connected")


async def test_a_folder_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        async with connect(command(cwd=tmp_path / "nowhere")):
            pytest.fail("connected")


async def test_a_command_cannot_be_listened_on_and_stdio_not_dialled() -> None:
    with pytest.raises(ValueError, match="can only be connected to"):
        serve(Methods(), "cmd:cat")
    with pytest.raises(ValueError, match="is for serving"):
        connect("stdio:")
    with pytest.raises(ValueError, match="tls is for sockets"):
        connect("cmd:cat", tls=True)


async def test_cancelled_while_it_connects_it_leaves_nothing() -> None:
    session = connect(command("deaf", grace=0.1))

    async def dial() -> None:
        async with session:
            await session.call("add", 1, 2)

    task = aio.create_task(dial())
    await aio.sleep(0)
    task.cancel()
    with pytest.raises(aio.CancelledError):
        await task
    # The search for leaks does the rest: no process, no descriptor.


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.row("H79")
async def test_callers_hear_within_a_moment_that_the_child_was_killed() -> None:
    async with connect(command()) as session:
        await session.call("say", "last words\n")
        calls: list[RPCRequestOut] = [session.send_request("hang") for _ in range(100)]
        process = process_of(session)
        await aio.sleep(0.05)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        for call in calls:
            with pytest.raises(ConnectionLost, match=r"was ended by SIGKILL; .*last words") as caught:
                await call
            assert caught.value.__cause__ is session.close_reason
        assert time.monotonic() - began < prompt(0.1)
        reason = session.close_reason
        assert isinstance(reason, ProcessEnded)
        assert (reason.returncode, reason.stderr) == (-signal.SIGKILL, "last words\n")
    assert not is_known(process.pid)


@pytest.mark.row("H79")
@pytest.mark.parametrize(("code", "kind"), [(3, ProcessEnded), (0, EndOfStream)])
async def test_the_exit_code_is_told(code: int, kind: type[ConnectionLost]) -> None:
    async with connect(command()) as session:
        with pytest.raises(ConnectionLost, match=f"'python[^']*' ended with exit code {code}"):
            await session.call("leave", code)
        assert type(session.close_reason) is kind


@pytest.mark.row("H79")
async def test_a_child_that_dies_at_once_says_why() -> None:
    async with connect(command("dead")) as session:
        with pytest.raises(ConnectionLost) as caught:
            await session.call("add", 1, 2)
        await session.wait_closed()
        assert str(session.close_reason).endswith("ended with exit code 1; its standard error ended with: never was")
        assert isinstance(caught.value, ConnectionLost)


async def test_half_a_message_is_told_with_the_exit_code() -> None:
    async with connect(command()) as session:
        await session.notify("print", '{"half": ')
        with pytest.raises(ConnectionLost, match="ended with exit code 0"):
            await session.call("leave", 0)
        assert isinstance(session.close_reason, StreamTruncated)
        assert session.close_reason.pending == 9
        assert isinstance(session.close_reason.__cause__, EndOfStream)


@pytest.fixture
def _given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that has closed a pipe is given less than half a second to end."""
    monkeypatch.setattr(pipes, "BETWEEN", 0.1)


@pytest.mark.row("H79")
@pytest.mark.usefixtures("_given_up_soon")
async def test_a_child_that_closes_its_output_and_stays_is_given_up() -> None:
    async with connect(command(grace=0.1)) as session:
        with pytest.raises(ConnectionLost, match="closed its output, and still runs"):
            await session.call("close_stdout")
        process = process_of(session)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.row("H79")
@pytest.mark.usefixtures("_given_up_soon")
async def test_a_child_that_closes_its_input_and_stays_is_given_up_for_that() -> None:
    async with connect(Command(["sh", "-c", "exec <&-; sleep 60"], grace=0.1)) as session:
        with pytest.raises(ConnectionLost, match="closed its input, and still runs"):
            await session.call("add", "x" * 1_000_000)  # more than the pipe holds before it is closed
    assert process_of(session).returncode == -signal.SIGTERM


@pytest.mark.row("H79")
async def test_an_exit_code_that_nobody_tells_is_not_taken_for_a_success() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so the system forgets children by itself
    try:
        async with connect(command()) as session:
            with pytest.raises(ConnectionLost, match="ended, and with which exit code is not known"):
                await session.call("leave", 3)
            assert type(session.close_reason) is ConnectionLost
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.row("H79")
@pytest.mark.parametrize(
    ("mode", "code"), [("stays", -signal.SIGTERM), ("stubborn", -signal.SIGKILL), ("deaf", -signal.SIGTERM)]
)
async def test_a_child_that_does_not_end_is_ended(mode: str, code: int) -> None:
    session = connect(command(mode, grace=0.15))
    async with session:
        process = process_of(session)
        if mode != "deaf":
            assert await session.call("add", 1, 2) == 3
        else:
            await session.notify("echo", "x" * 1_000_000)  # which it does not read
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert process.returncode == code
    assert not is_known(process.pid)


async def test_abort_kills_at_once() -> None:
    session = connect(command("stubborn", grace=60))
    async with session:
        await session.call("add", 1, 2)
        process = process_of(session)
        began = time.monotonic()
        session.abort()
        await session.wait_closed()
        assert time.monotonic() - began < prompt(0.5)
    assert process.returncode == -signal.SIGKILL


async def test_closing_by_force_cuts_the_grace() -> None:
    session = connect(command("stubborn", grace=60))
    async with session:
        await session.call("add", 1, 2)
        began = time.monotonic()
        await session.aclose(force_after=0.05)
        assert time.monotonic() - began < prompt(1)


# --- standard error --------------------------------------------------------------------------------------------------


@pytest.mark.row("H79")
async def test_a_child_that_floods_standard_error_is_answered_within_bounded_memory() -> None:
    async with connect(command()) as session:
        await session.call("stderr", 1 << 20)
        before = resident()
        flood = session.send_request("stderr", (FLOOD,))
        assert await flood == FLOOD
        assert await session.call("add", 1, 2) == 3
        assert resident() - before < 24 << 20
        kept = session.get_extra_info("stderr")
        assert len(kept) <= 16 * 1024
        assert set(kept) == {"x", "\n"}


async def test_lines_of_standard_error_are_handed_on() -> None:
    lines: list[str] = []
    async with connect(command(stderr=lines.append)) as session:
        await session.call("say", "one\ntwo\r\nand ")
        await session.call("say", "a half\nno newline")
        with pytest.raises(ConnectionLost, match="no newline"):
            await session.call("leave", 1)
    assert lines == ["one", "two", "and a half", "no newline"]


async def test_the_last_line_of_standard_error_is_handed_on_when_that_ends() -> None:
    """The child goes on without it."""
    lines: list[str] = []
    is_told = aio.Event()

    def take(line: str) -> None:
        lines.append(line)
        is_told.set()

    async with connect(command(stderr=take)) as session:
        await session.call("say", "no newline")
        await session.call("close_stderr")
        await aio.wait_for(is_told.wait(), 60)
        assert await session.call("add", 1, 2) == 3
    assert lines == ["no newline"]


async def test_a_function_for_lines_that_fails_hurts_nobody(caplog) -> None:
    def fail(line: str) -> None:
        raise ZeroDivisionError

    async with connect(command(stderr=fail)) as session:
        await session.call("say", "one\n")
        assert await session.call("add", 1, 2) == 3
        await session.aclose()
    assert "given a line of standard error" in caplog.text


async def test_what_is_no_utf_8_is_replaced() -> None:
    async with connect(Command(["sh", "-c", r"printf '\377 bad\n' >&2; exit 4"])) as session:
        await session.wait_closed()
        assert "\ufffd bad" in str(session.close_reason)


async def test_standard_error_may_be_ours_or_nobodys(capfd) -> None:
    async with connect(command(stderr="inherit")) as session:
        await session.call("say", "inherited")
    async with connect(command(stderr="discard")) as session:
        await session.call("say", "discarded")
        assert session.get_extra_info("stderr") == ""
    assert capfd.readouterr().err == "inherited"


# --- stray lines -----------------------------------------------------------------------------------------------------

BANNER = "Welcome!\n\n  debug: 1\n"


async def test_lines_that_are_no_protocol_are_errors_by_default() -> None:
    async with connect(command()) as session:
        await session.call("print", BANNER)
        assert session.stats.errors == 2


async def test_lines_that_are_no_protocol_are_skipped_with_one_warning(caplog) -> None:
    async with connect(command(stray_lines="skip")) as session:
        await session.call("print", BANNER)
        await session.call("print", BANNER)
        assert await session.call("add", 1, 2) == 3
        assert session.stats.errors == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "not messages: they are skipped" in caplog.text
    assert "Welcome" not in caplog.text


async def test_lines_that_are_no_protocol_are_handed_to_a_function(caplog) -> None:
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        if line == "Welcome!":
            raise ZeroDivisionError

    async with connect(command(stray_lines=take)) as session:
        await session.call("print", BANNER)
        assert await session.call("add", 1, 2) == 3
        assert session.stats.errors == 0
    assert lines == ["Welcome!", "  debug: 1"]
    assert "given a stray line" in caplog.text


async def test_stray_lines_need_lines() -> None:
    with pytest.raises(ValueError, match="not for ContentLengthFramer"):
        async with connect(command(stray_lines="skip"), framer=ContentLengthFramer):
            pytest.fail("connected")


# --- reading stops ---------------------------------------------------------------------------------------------------


async def test_a_child_that_ends_while_nothing_is_read_is_noticed() -> None:
    """It asks more than is taken at once, and dies: handlers are cancelled soon, nothing is waited for."""
    asks = '{"jsonrpc":"2.0","method":"wait","id":%d}\n'
    started = aio.Event()
    ended: list[str] = []

    class Host(ClientSession):
        async def handle_request(self, request: Any) -> object:
            started.set()
            try:
                await aio.sleep(60)
            finally:
                ended.append(request.method)
            return None

    limits = Limits(max_pending=4)
    async with Host(command(), limits=limits) as session:
        text = "".join(asks % n for n in range(40))
        session.send_request("print", (text,))
        await aio.wait_for(started.wait(), 5)
        process_of(session).kill()
        await aio.wait_for(session.wait_closed(), 5)
    assert ended
