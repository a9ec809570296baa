# SPDX-License-Identifier: MIT
"""Running the command line: in this process (`tieline`), or as users do (`program`, `started`)."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tieline.cli.main import run

PATIENCE = 60.0  # seconds; a program that needs more is stuck

# What the servers of these tests serve.
SERVICE = '''
import asyncio
import tieline

methods = tieline.Methods()


@methods.method
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    There is more to say.
    """
    return a + b


@methods.method
def echo(value):
    return value


@methods.method(name="the-name")
def named(*words: str, **more: int) -> dict[str, int]:
    """Take anything."""
    return more


@methods.method
def fail(code: int, message: str) -> None:
    raise tieline.RPCError(code, message, data={"seen": [1, 2]})


@methods.method
async def hang() -> None:
    await asyncio.Event().wait()


@methods.method
def hang_up(session: tieline.ServerSession) -> None:
    session.abort()


@methods.method
async def ask(session: tieline.ServerSession, question: str) -> str:
    return await session.call(question)


@methods.method
async def news(session: tieline.ServerSession, *items: str) -> int:
    """Notify the caller of all, ask it something, and end the session when it has answered."""
    for item in items:
        await session.notify("news", item)
    try:
        await session.call("are_you_there", really=True)
    except tieline.RPCError as exc:
        await session.notify("was_told", exc.message)
    session.close()
    return len(items)
'''


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that it said, without the name of the program."""
        assert self.err.startswith("tieline: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.out + self.err
        return self.err.removeprefix("tieline: ").removesuffix("\n")


class CommandLine:
    """Runs commands in this process, which takes 20 times less time than a process each."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Done:
        self._capture.readouterr()
        code = run(words)
        return Done(int(code), *self._capture.readouterr())


def argv(*words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "tieline", *words]


def program(*words: str, cwd: Path | None = None, stdin: str = "", variables: Mapping[str, str] | None = None) -> Done:
    """Run a command as a process of its own, to its end; *variables* are for its environment."""
    env = {**os.environ, "COLUMNS": "100", **(variables or {})}
    done = subprocess.run(
        argv(*words), cwd=cwd, input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False, env=env
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """A command that runs as a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def lines_until(self, end: str) -> list[str]:
        """Return its next lines, up to one that begins with *end*."""
        lines = [self.line()]
        while not lines[-1].startswith(end):
            assert self.process.poll() is None or lines[-1], lines
            lines.append(self.line())
        return lines

    def urls(self) -> list[str]:
        """Return where it listens, from its first lines."""
        lines = self.lines_until("Ctrl+C stops")
        return [line.removeprefix("listening on ") for line in lines if line.startswith("listening on ")]

    def end(self, number: int = signal.SIGTERM) -> Done:
        """End it by a signal, and return how it ended."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> Done:
        out, err = self.process.communicate(timeout=PATIENCE)
        return Done(self.process.returncode, out, err)


@contextlib.contextmanager
def started(*words: str, cwd: Path | None = None) -> Iterator[Running]:
    """Start a command, and go on while it runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv(*words), cwd=cwd, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@contextlib.contextmanager
def answering(what: bytes) -> Iterator[int]:
    """Give the port of a server that says *what* to the first bytes of a connection, and hangs up."""

    def serve() -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.recv(1000)
            accepted.sendall(what)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def plain(text: str) -> str:
    """Return *text* without boxes, colours and line breaks: what a terminal's width cannot change."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))
