# SPDX-License-Identifier: MIT
"""Child processes with protocols of users' own in blocking code: the kit, and what is special to polling."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

import tieline.blocking
from tieline import LocalProtocolError
from tieline.testing import SUBPROCESS_CASES, Case, SubprocessRig
from tieline.transports import SubprocessProtocol

ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.flush()"
PATIENCE = 30.0


class PolledRig(SubprocessRig):
    def __init__(self) -> None:
        self._transport: Any = None

    async def spawn(self, protocol: Any, argv: Sequence[str]) -> None:
        self._transport, _ = tieline.blocking.subprocess_exec(lambda: protocol, *argv)

    async def turn(self) -> None:
        self._transport.poll(0.01)


@pytest.mark.row("T6")
@pytest.mark.asyncio_only("blocking code runs on neither")
@pytest.mark.parametrize("case", SUBPROCESS_CASES, ids=str)
async def test_the_contract(case: Case) -> None:
    await case.check(PolledRig())


class Recorder(SubprocessProtocol):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard: list[Any] = []
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.data += data

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        self.heard.append((fd, exc))

    def process_exited(self) -> None:
        self.heard.append("exited")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.heard.append(("lost", exc))


def start(*words: str, **settings: Any) -> tuple[Any, Recorder]:
    program, *args = words or (sys.executable, "-S", "-c", ECHO)
    return tieline.blocking.subprocess_exec(Recorder, program, *args, **settings)


def poll_until_read(transport: Any, one: Recorder, data: bytes) -> None:
    while one.data != data:
        assert transport.poll(PATIENCE)


@pytest.mark.row("T6")
def test_lines_go_there_and_back_while_it_is_polled() -> None:
    transport, one = start()
    assert one.transport is transport
    stdin = transport.get_pipe_transport(0)
    for line in (b"one\n", b"two\n"):
        one.data = b""
        stdin.write(line)
        poll_until_read(transport, one, line)
    assert transport.get_returncode() is None
    stdin.write_eof()
    transport.wait_closed(PATIENCE)
    assert transport.get_returncode() == 0
    assert one.heard[-1] == ("lost", None)
    assert sorted(map(str, one.heard[:-1])) == sorted(map(str, [(0, None), (1, None), (2, None), "exited"]))
    assert not transport.poll(None)  # nothing can come any more
    transport.wait_closed()
    transport.close()


@pytest.mark.row("T6")
def test_megabytes_pass_with_pauses_in_pairs() -> None:
    transport, one = start()
    data = (b"x" * 1023 + b"\n") * 4096
    stdin = transport.get_pipe_transport(0)
    stdin.write(data)
    assert one.heard == ["pause"]
    stdin.write_eof()
    transport.wait_closed(PATIENCE)
    assert one.data == data
    assert one.heard[:2] == ["pause", "resume"]


def test_time_limits_are_kept_and_the_process_goes_on() -> None:
    transport, one = start()
    assert not transport.poll(0)
    assert not transport.poll(0.01)
    with pytest.raises(TimeoutError, match=r"not closed after 0\.01 s"):
        transport.wait_closed(0.01)
    with pytest.raises(ValueError, match="timeout must be 0 or more"):
        transport.poll(-1)
    transport.get_pipe_transport(0).write(b"still there\n")
    poll_until_read(transport, one, b"still there\n")
    transport.close()
    transport.wait_closed(PATIENCE)
    assert transport.get_returncode() == -signal.SIGKILL


def test_what_is_paused_is_not_waited_for_without_end() -> None:
    transport, one = start(sys.executable, "-S", "-c", "print('words')", stdin=subprocess.DEVNULL, stderr=None)
    stdout = transport.get_pipe_transport(1)
    stdout.pause_reading()
    with pytest.raises(LocalProtocolError, match="would never be closed"):
        transport.wait_closed()
    assert one.heard == ["exited"]
    assert one.data == b""
    stdout.resume_reading()
    transport.wait_closed(PATIENCE)
    assert one.data == b"words\n"


def test_what_a_callback_raises_comes_out_of_poll_and_closes_the_pipe() -> None:
    class Fails(Recorder):
        def pipe_data_received(self, fd: int, data: bytes) -> None:
            with pytest.raises(LocalProtocolError, match="within a callback"):
                self.transport.poll()
            raise ZeroDivisionError

    transport, one = tieline.blocking.subprocess_exec(Fails, sys.executable, "-S", "-c", ECHO)
    transport.get_pipe_transport(0).write(b"line\n")
    with pytest.raises(ZeroDivisionError):
        transport.wait_closed(PATIENCE)
    transport.get_pipe_transport(0).write_eof()
    transport.wait_closed(PATIENCE)
    assert transport.get_returncode() == 0
    (error,) = [exc for fd, exc in (heard for heard in one.heard if isinstance(heard, tuple)) if fd == 1]
    assert isinstance(error, ZeroDivisionError)


def test_a_protocol_that_fails_at_the_start_ends_the_process() -> None:
    ours = set(os.listdir("/proc/self/fd"))
    made: list[Fails] = []

    class Fails(Recorder):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            made.append(self)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tieline.blocking.subprocess_exec(Fails, "sleep", "60")
    assert made[0].transport.get_returncode() == -signal.SIGKILL
    assert made[0].heard[-1] == ("lost", None)
    assert set(os.listdir("/proc/self/fd")) <= ours


@pytest.mark.row("T6")
@pytest.mark.parametrize("order", ["end", "close", "signal"])
def test_an_exit_code_that_nobody_tells_is_not_taken_for_a_success(
    order: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so the system forgets children by itself
    try:
        transport, one = start("cat")
        if order == "end":
            transport.get_pipe_transport(0).write_eof()
        elif order == "close":
            transport.close()
        else:
            transport.get_pipe_transport(0).write_eof()
            poll_until_ended(transport)
            transport.terminate()  # whom nobody has seen end
        transport.wait_closed(PATIENCE)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert one.heard.count("exited") == 1
    assert one.heard[-1] == ("lost", None)
    assert transport.get_returncode() == 255  # as asyncio tells it
    assert "ended with 255" in repr(transport)
    assert caplog.text.count("is not known: somebody else has waited for it, or SIGCHLD is ignored") == 1


def poll_until_ended(transport: Any) -> None:
    """Wait until the process has ended, without the transport's knowledge."""
    poll = select.poll()
    poll.register(transport.exit_fd, select.POLLIN)
    assert poll.poll(PATIENCE * 1000)


def test_nothing_is_left_open_at_the_end() -> None:
    ours = set(os.listdir("/proc/self/fd"))
    transport, _ = start("true")
    transport.wait_closed(PATIENCE)
    assert set(os.listdir("/proc/self/fd")) <= ours


def test_what_cannot_be_started_is_told() -> None:
    with pytest.raises(FileNotFoundError, match="tieline-has-no-such-program"):
        start("tieline-has-no-such-program")
    with pytest.raises(ValueError, match="carry bytes"):
        start("cat", text=True)
    with pytest.raises(ValueError, match="bufsize must be 0"):
        start("cat", bufsize=1)
    with pytest.raises(TypeError, match="protocol_factory must be callable"):
        tieline.blocking.subprocess_exec(None, "cat")  # type: ignore[arg-type]  # what is refused
