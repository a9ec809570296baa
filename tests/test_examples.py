# SPDX-License-Identifier: MIT
"""Every example does what its first lines say, each program in a process of its own, as a user would start it."""

import ast
import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

import pytest

import tieline
from tests.certificates import Certificates

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PATIENCE = 60.0  # seconds; a program that needs more is stuck


def command(name: str, *args: str) -> list[str]:
    """Return what starts an example; warnings are errors there as they are here."""
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *args]


def run(name: str, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = command(name, *args)
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False)


def output_of(name: str, *args: str, stdin: str = "") -> list[str]:
    """Run an example to its end, which must be a good one, and return the lines that it printed."""
    done = run(name, *args, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@contextlib.contextmanager
def started(name: str, *args: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start an example and go on while it runs; *variables* are for its environment."""
    pipe, env = subprocess.PIPE, {**os.environ, **variables}
    with subprocess.Popen(command(name, *args), stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().rstrip("\n")


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return how a process ended: exit code, the rest of its output, errors."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_quickstart_runs_in_silence() -> None:
    assert output_of("quickstart.py") == []


@pytest.mark.row("S4")
def test_a_handler_asks_its_caller_and_tells_it_how_far_it_is() -> None:
    assert output_of("two_way.py") == [
        "delete draft.txt? yes",
        "1 of 3",
        "delete notes.txt? no",
        "2 of 3",
        "delete old.txt? yes",
        "3 of 3",
        "deleted: ['draft.txt', 'old.txt']",
    ]


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_the_calculator_answers_other_programs(scheme: str, tmp_path: Path) -> None:
    asked = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/calculator"
    with started("calculator_server.py", asked) as server:
        url = line_of(server.stdout)
        assert output_of("calculator_client.py", url) == [
            "1 + 2 = 3.0",
            "7 / 2 = 3.5",
            "doubled: [2.0, 4.0, 6.0]",
            "batch: (2.5, RPCError(1, 'division by zero'))",
            "refused: parameter 'b': expected `float`, got `str` (code -32602)",
        ]
        server.terminate()
        assert end_of(server) == (0, "", "")
    assert os.listdir(tmp_path) == []


def test_guests_of_the_chat_hear_each_other(tmp_path: Path) -> None:
    with started("chat_server.py", f"unix://{tmp_path}/chat") as server:
        url = line_of(server.stdout)
        with started("chat_client.py", "ann", url) as ann:
            assert [line_of(ann.stdout) for _ in range(2)] == ["* ann came in", "here: nobody yet"]
            heard_by_bob = output_of("chat_client.py", "bob", url, stdin="hi\nho")
            assert heard_by_bob[:2] == ["* bob came in", "here: ann"]
            assert [line_of(ann.stdout) for _ in range(4)] == ["* bob came in", "bob: hi", "bob: ho", "* bob left"]
            refused = run("chat_client.py", "ann", url)
            assert refused.returncode == 1
            assert "there is a 'ann' already (code 1)" in refused.stderr
            server.terminate()
            assert end_of(server) == (0, "", "")
            assert ann.stdin is not None
            ann.stdin.write("anybody?\n")
            assert end_of(ann)[::2] == (1, "the server is gone: the connection is down\n")


@pytest.mark.row("H55")
async def test_a_public_server_answers_what_it_accepted_when_it_is_ended(certificates: Certificates) -> None:
    files = {"CERTIFICATE": certificates.server, "CLIENT_CA": certificates.ca}
    heard = asyncio.Queue[int]()
    methods = tieline.Methods()
    methods.method(name="progress")(lambda number, _of: heard.put_nowait(number))
    with started("public_server.py", "tls://127.0.0.1:0", **files) as server:
        url = line_of(server.stdout)
        with pytest.raises(tieline.ConnectionLost):  # with TLS 1.3 it is connected before it is turned away
            async with tieline.connect(url, tls=tieline.TLS(ca=certificates.ca)) as stranger:
                await stranger.call("who_am_i")
        ann = tieline.TLS(ca=certificates.ca, certificate=certificates.client)
        async with tieline.connect(url, methods, tls=ann) as session:
            assert await session.call("who_am_i") == "ann@client.example"
            with pytest.raises(tieline.RPCError, match="rounds must be 1 to 20"):
                await session.call("stretch", "secret", 1000)
            call = session.send_request("stretch", ["secret", 3])
            assert await heard.get() == 1
            server.terminate()
            key = hashlib.pbkdf2_hmac("sha256", b"secret", b"example", 100_000)
            for _ in range(2):
                key = hashlib.pbkdf2_hmac("sha256", key, b"example", 100_000)
            assert await call == key.hex()
        assert end_of(server) == (0, "done\n", "")


def test_a_public_server_without_a_certificate_says_what_it_needs() -> None:
    done = run("public_server.py")
    assert (done.returncode, done.stderr) == (1, "set CERTIFICATE to the path of a certificate (PEM)\n")


@pytest.mark.parametrize("name", ["calculator_server.py", "chat_server.py"])
def test_control_c_ends_a_server_without_a_traceback(name: str) -> None:
    with started(name, "tcp://127.0.0.1:0") as server:
        assert line_of(server.stdout).startswith("tcp://127.0.0.1:")
        server.send_signal(signal.SIGINT)
        code, out, err = end_of(server)
        assert (code, err) == (0, "")
        assert out in {"stopped\n", "closed\n"}


# --- workers ---------------------------------------------------------------------------------------------------------

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


def test_the_demo_shows_30_steps_and_ends_well() -> None:
    lines = output_of("demo.py")
    assert lines[-1].startswith("All 30 steps went as they should")
    assert [line[:3] for line in lines if line[:3].strip()].count("ok ") == 30


def test_the_demo_fails_when_a_step_does(tmp_path: Path) -> None:
    for name in ("LICENSE", "README.md"):
        (tmp_path / name).write_text("the software and its software\n" * 10, encoding="utf-8")
    done = run("demo.py", str(tmp_path))
    assert done.returncode == 1
    # Over TCP and over Unix: too few words in the licence.
    assert [line.split("  ")[0] for line in done.stdout.splitlines() if line.startswith("NO")] == ["NO a call"] * 2
    assert done.stdout.splitlines()[-1].startswith("2 of 30 steps went wrong")


@pytest.mark.parametrize("name", ["demo_server.py", "demo_client.py"])
def test_the_demo_fails_when_one_of_its_processes_does(name: str, tmp_path: Path) -> None:
    for path in EXAMPLES.glob("demo*.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / name).write_text("raise SystemExit('broken')\n", encoding="utf-8")
    argv = [sys.executable, str(tmp_path / "demo.py"), str(EXAMPLES.parent)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "went wrong" in done.stdout


def test_no_example_is_left_out() -> None:
    """A new example needs a line in this file: its name must stand in a call here."""
    here = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    named = {node.value for node in ast.walk(here) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert {path.name for path in EXAMPLES.glob("*.py")} <= named
