# SPDX-License-Identifier: MIT
"""`tieline serve --workers`: processes that share where they listen, are replaced when they die, and end in order."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

import tieline as library
from tests.cli.programs import CommandLine, Running, program, started

SERVICE = """
import os
import tieline

methods = tieline.Methods()
methods.method(name="who")(os.getpid)


@methods.method
async def ask(session: tieline.ServerSession, question: str) -> str:
    return await session.call("answer", question)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="SO_REUSEPORT is missing elsewhere, or gives one process all connections"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def first_lines(server: Running) -> tuple[list[str], set[int]]:
    """Return where the workers listen, and who they are."""
    lines = server.lines_until("Ctrl+C stops")
    (workers,) = [line for line in lines if line.startswith("by 2 workers: processes ")]
    urls = [line.removeprefix("listening on ") for line in lines if line.startswith("listening on ")]
    return urls, {int(pid) for pid in workers.removeprefix("by 2 workers: processes ").split(", ")}


async def answering(url: str, wanted: int, methods: library.Methods | None = None) -> list[library.ClientSession]:
    """Return sessions with so many different workers."""
    found: dict[int, library.ClientSession] = {}
    while len(found) < wanted:
        session = library.connect(url, methods)
        await session.create_connection()
        who = await session.call("who")
        if who in found:
            await session.aclose()
        else:
            found[who] = session
    return list(found.values())


async def test_all_answer_and_each_ends_what_it_accepted(folder: Path) -> None:
    questions, answers = asyncio.Queue[str](), asyncio.Queue[str]()
    methods = library.Methods()

    @methods.method
    async def answer(question: str) -> str:
        questions.put_nowait(question)
        return await answers.get()

    words = ("serve", "service.py", "--workers", "2", "-l", "tcp://127.0.0.1:0", "-l", "unix:s")
    with started(*words, cwd=folder) as server:
        (tcp, unix), workers = await asyncio.to_thread(first_lines, server)
        assert unix == "unix:s"
        assert (folder / "s").stat().st_mode & 0o777 == 0o600
        sessions = await answering(tcp, 2, methods) + await answering(f"unix:{folder}/s", 2, methods)
        assert {await session.call("who") for session in sessions} == workers
        calls = [session.send_request("ask", ["ready?"]) for session in sessions]
        for _ in calls:
            assert await questions.get() == "ready?"
        for worker in workers:
            os.kill(worker, signal.SIGINT)  # at a terminal, Ctrl+C reaches them too
        server.process.send_signal(signal.SIGINT)
        assert (await asyncio.to_thread(server.line)).startswith("stopping: ")
        for _ in calls:
            answers.put_nowait("yes")
        assert [await call for call in calls] == ["yes"] * 4
        for session in sessions:
            await session.aclose()
        done = await asyncio.to_thread(server.ended)
        assert (done.code, done.out, done.err) == (0, "", "")
    assert not (folder / "s").exists()


async def test_a_second_signal_kills_those_that_are_still_at_it(folder: Path) -> None:
    asked, never = asyncio.Event(), asyncio.Event()
    methods = library.Methods()

    @methods.method
    async def answer(question: str) -> None:
        asked.set()
        await never.wait()

    with started("serve", "service.py", "--workers", "2", "-l", "unix:s", cwd=folder) as server:
        await asyncio.to_thread(first_lines, server)
        async with library.connect(f"unix:{folder}/s", methods) as session:
            call = session.send_request("ask", ["ready?"])
            await asked.wait()
            server.process.terminate()
            await asyncio.to_thread(server.line)
            server.process.terminate()
            with pytest.raises(library.ConnectionLost):
                await call
            never.set()
        done = await asyncio.to_thread(server.ended)
        assert (done.code, done.out, done.err) == (1, "", "")


def test_a_worker_that_dies_is_replaced_and_one_can_be_renewed(folder: Path, tieline: CommandLine) -> None:
    with started("serve", "service.py", "--workers", "2", "-l", "tcp://127.0.0.1:0", cwd=folder) as server:
        (url,), workers = first_lines(server)
        for number, way in ((signal.SIGKILL, "SIGKILL"), (signal.SIGTERM, "exit code 0")):
            gone = workers.pop()
            os.kill(gone, number)
            assert server.line() == f"worker {gone} ended ({way}): another one takes its place"
            new = int(server.line().removeprefix("worker ").removesuffix(" listens"))
            assert new not in {gone, *workers}
            workers.add(new)
        assert int(tieline("call", url, "who").out) in workers
        assert server.end().code == 0


def test_they_do_not_outlive_their_parent(folder: Path) -> None:
    with started("serve", "service.py", "--workers", "2", "-l", "unix:s", cwd=folder) as server:
        first_lines(server)
        done = server.end(signal.SIGKILL)  # returns when the last process that holds its output has ended
        assert done.code == -signal.SIGKILL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_one_that_is_not_ready_when_its_parent_ends_ends_too(folder: Path, number: signal.Signals, code: int) -> None:
    os.mkfifo(folder / "gate")
    # Both write to one pipe, and where Python keeps nothing (PYTHONUNBUFFERED), `print` writes the end of a line alone.
    wait = 'import os\nos.write(1, b"loading\\n")\nopen("gate").close()\n'  # it opens when somebody writes to it
    (folder / "slow.py").write_text(wait + SERVICE)
    with started("serve", "slow.py:methods", "--workers", "2", "-l", "unix:s", cwd=folder) as server:
        assert [server.line(), server.line()] == ["loading", "loading"]
        server.process.send_signal(number)
        if number == signal.SIGINT:
            assert server.line().startswith("stopping: ")
        else:
            server.process.wait()
        gate = os.open(folder / "gate", os.O_RDWR)
        done = server.ended()  # returns when the last process that holds its output has ended
        os.close(gate)
        assert (done.code, done.out, done.err) == (code, "", "")


def test_workers_that_cannot_begin_end_it_all(folder: Path) -> None:
    done = program("serve", "service:nothing", "--workers", "2", "-l", "tcp://127.0.0.1:0", cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert set(done.err.splitlines()) == {"tieline: service has no 'nothing' (it has: methods, ask)"}


def test_a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not(
    folder: Path, tieline: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(folder / "s"))
        sock.listen()
        for taken, text in (
            ("unix:s", "by a server that listens there"),
            ("unix:service.py", "by something that is no"),
        ):
            done = tieline("serve", "service.py", "--workers", "2", "-l", taken)
            assert (done.code, done.out) == (3, "")
            assert text in done.error
    with started(
        "serve", "service.py", "--workers", "2", "-l", "unix:s", "-l", "unix:@tieline-test", cwd=folder
    ) as server:
        urls, _ = first_lines(server)
        assert urls == ["unix:s", "unix:@tieline-test"]
        assert server.end().code == 0
