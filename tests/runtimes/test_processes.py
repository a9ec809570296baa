# SPDX-License-Identifier: MIT
"""Child processes with protocols of users' own: one contract, kept by the loops of asyncio and by us on trio."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
import trio

from tests import aio
from tieline import LocalProtocolError, subprocess_exec
from tieline.transports import SubprocessProtocol

ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.flush()"


class Recorder(SubprocessProtocol):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard: list[Any] = []
        self.data: dict[int, bytes] = {1: b"", 2: b""}
        self.pauses: list[str] = []
        self.lost = aio.Event()
        self.exited = aio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.heard.append("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        assert data
        self.data[fd] += data

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        self.heard.append((fd, exc))

    def process_exited(self) -> None:
        self.heard.append("exited")
        self.exited.set()

    def pause_writing(self) -> None:
        self.pauses.append("pause")

    def resume_writing(self) -> None:
        self.pauses.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.heard.append(("lost", exc))
        self.lost.set()

    async def end(self) -> None:
        await aio.wait_for(self.lost.wait(), 10)
        self.transport.close()  # stock asyncio wants it, though all is over


async def start(*words: str, **settings: Any) -> Recorder:
    program, *args = words or (sys.executable, "-S", "-c", ECHO)
    transport, protocol = await subprocess_exec(Recorder, program, *args, nursery=aio.nursery(), **settings)
    assert protocol.transport is transport
    return protocol


def test_a_transport_that_is_gone_has_let_go_of_its_protocol() -> None:
    """Ours has, as asyncio's; uvloop's keeps it."""

    async def main() -> Any:
        async with trio.open_nursery() as nursery:
            transport, protocol = await subprocess_exec(Recorder, sys.executable, "-S", "-c", ECHO, nursery=nursery)
            transport.close()
            await protocol.lost.wait()
        return transport

    assert trio.run(main).get_protocol() is None


@pytest.mark.row("T6")
async def test_what_is_written_comes_back_and_the_end_is_told_once() -> None:
    one = await start()
    transport = one.transport
    assert transport.get_pid() > 0
    assert transport.get_returncode() is None
    assert transport.get_pipe_transport(7) is None
    assert transport.get_extra_info("nothing", 5) == 5
    stdin = transport.get_pipe_transport(0)
    assert stdin.can_write_eof()
    stdin.write(b"one\n")
    stdin.writelines([b"two\n", b"three\n"])
    stdin.write_eof()
    await one.end()
    assert one.data == {1: b"one\ntwo\nthree\n", 2: b""}
    assert transport.get_returncode() == 0
    assert one.heard[0] == "made"
    assert one.heard[-1] == ("lost", None)
    assert sorted(map(str, one.heard[1:-1])) == sorted(map(str, [(0, None), (1, None), (2, None), "exited"]))


@pytest.mark.row("T6")
async def test_megabytes_pass_with_pauses_in_pairs() -> None:
    one = await start()
    stdin = one.transport.get_pipe_transport(0)
    data = (b"x" * 1023 + b"\n") * 4096
    stdin.write(data)
    assert one.pauses == ["pause"]
    assert stdin.get_write_buffer_size() > 64 * 1024
    stdin.write_eof()
    await one.end()
    assert one.data[1] == data
    assert one.pauses == ["pause", "resume"]


@pytest.mark.row("T6")
@pytest.mark.parametrize(
    ("order", "number"),
    [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL), ("close", signal.SIGKILL), ("send", signal.SIGUSR1)],
)
async def test_it_is_ended_by_signals_and_by_close(order: str, number: int) -> None:
    one = await start("sleep", "60")
    transport = one.transport
    if order == "send":
        transport.send_signal(number)
    else:
        getattr(transport, order)()
    await one.end()
    assert transport.get_returncode() == -number
    assert one.heard.count("exited") == 1
    if order != "close":  # stock asyncio has forgotten the process by then, and tells nothing
        with pytest.raises(ProcessLookupError):
            transport.kill()
    transport.close()
    transport.close()
    assert transport.is_closing()


@pytest.mark.row("T6")
async def test_pipes_may_be_left_out_and_be_joined() -> None:
    words = "import sys; sys.stderr.write('to stderr'); sys.exit(3)"
    one = await start(
        sys.executable, "-S", "-c", words, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", env={}
    )
    assert one.transport.get_pipe_transport(0) is None
    assert one.transport.get_pipe_transport(2) is None
    await one.end()
    assert one.data[1] == b"to stderr"
    assert one.transport.get_returncode() == 3


@pytest.mark.row("T6")
async def test_reading_a_pipe_can_pause() -> None:
    one = await start()
    stdout = one.transport.get_pipe_transport(1)
    stdout.pause_reading()
    assert not stdout.is_reading()
    one.transport.get_pipe_transport(0).write(b"line\n")
    await aio.sleep(0.05)
    assert one.data[1] == b""
    stdout.resume_reading()
    one.transport.get_pipe_transport(0).write_eof()
    await one.end()
    assert one.data[1] == b"line\n"


@pytest.mark.row("T6")
async def test_a_pipe_that_the_process_does_not_read_breaks() -> None:
    one = await start("true")
    await aio.wait_for(one.exited.wait(), 10)
    await one.end()
    assert one.transport.get_returncode() == 0


async def test_what_cannot_be_started_is_told() -> None:
    with pytest.raises(FileNotFoundError, match="tieline-has-no-such-program"):
        await start("tieline-has-no-such-program")
    with pytest.raises(ValueError, match="carry bytes"):
        await start("cat", text=True)
    with pytest.raises(ValueError, match="bufsize must be 0"):
        await start("cat", bufsize=1)


def test_on_trio_a_protocol_that_fails_at_the_start_ends_the_process() -> None:
    class Fails(Recorder):
        def connection_made(self, transport: Any) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            with pytest.raises(ZeroDivisionError):
                await subprocess_exec(Fails, "sleep", "60", nursery=nursery)

    trio.run(main)


def test_on_trio_a_process_dies_with_its_nursery() -> None:
    async def main() -> Recorder:
        async with trio.open_nursery() as nursery:
            _transport, protocol = await subprocess_exec(Recorder, "sleep", "60", nursery=nursery)
            assert isinstance(protocol.transport.get_extra_info("subprocess"), subprocess.Popen)
            nursery.cancel_scope.cancel()
        return protocol

    one = trio.run(main)
    assert one.transport.get_returncode() == -signal.SIGKILL
    assert one.heard[-1] == ("lost", None)


@pytest.mark.row("T6")
@pytest.mark.parametrize("order", ["end", "close", "cancel"])
def test_on_trio_an_exit_code_that_nobody_tells_is_not_taken_for_a_success(
    order: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Recorder:
        async with trio.open_nursery() as nursery:
            transport, protocol = await subprocess_exec(Recorder, "cat", nursery=nursery)
            assert transport.get_returncode() is None
            if order == "end":
                transport.get_pipe_transport(0).write_eof()
            elif order == "close":
                transport.close()
            else:
                nursery.cancel_scope.cancel()
        return protocol

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so the system forgets children by itself
    try:
        one = trio.run(main)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert one.heard.count("exited") == 1
    assert one.heard[-1] == ("lost", None)
    assert one.transport.get_returncode() == 255  # as asyncio tells it
    assert "ended with 255" in repr(one.transport)
    assert caplog.text.count("is not known: somebody else has waited for it, or SIGCHLD is ignored") == 1
    with pytest.raises(ProcessLookupError):
        one.transport.kill()


async def test_on_trio_alone_it_lives_in_a_nursery() -> None:
    if aio.on_trio():
        with pytest.raises(LocalProtocolError, match="give one as nursery="):
            await subprocess_exec(Recorder, "true")
    else:
        with pytest.raises(ValueError, match="nursery is for trio"):
            await subprocess_exec(Recorder, "true", nursery=object())
