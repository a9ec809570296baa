# SPDX-License-Identifier: MIT
"""Programs of the system that a file of tests runs beside itself, for all of its tests.

Each listens at an address of this process alone (Linux has all of 127.0.0.0/8), so that no stranger takes a port
between the moment when it was found free and the one when the program wants it.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from tests.peers.programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["OWN_HOST", "Daemon", "daemon", "free_place", "me", "wait_until"]

_PID = os.getpid()  # at most 2**22
OWN_HOST = f"127.{64 + (_PID >> 16)}.{(_PID >> 8) & 255}.{_PID & 255}"


def me() -> str:
    """Return the name of whoever runs the tests: as them the programs run, so that none needs root."""
    return pwd.getpwuid(os.geteuid()).pw_name


def free_place() -> tuple[str, int]:
    """Return host and port that are free for TCP and for UDP."""
    while True:
        with ExitStack() as stack:
            tcp = stack.enter_context(socket.create_server((OWN_HOST, 0)))
            host, port = tcp.getsockname()
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with suppress(OSError):  # taken for UDP: the next one
                udp.bind((host, port))
                return host, port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for what cannot be waited for otherwise; fail after `PATIENCE`."""
    patience = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < patience, f"it never came to: {what}"
        time.sleep(0.005)


class Daemon:
    """A running program. What it says goes to a file, so that nobody has to read it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self, text: str) -> list[str]:
        """Return the lines so far with *text* in them."""
        return [line for line in self._log.read_text(errors="replace").splitlines() if text in line]

    def says(self, text: str) -> str:
        """Wait for a line with *text* in it, and return the first one."""
        wait_until(lambda: self.said(text) or self._process.poll() is not None, text)
        found = self.said(text)
        assert found, f"it has ended and never said {text!r}:\n{self._log.read_text(errors='replace')}"
        return found[0]

    def kill(self) -> None:
        """Kill it without a chance to say goodbye, and wait until it is gone."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def ended(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self._process.wait(PATIENCE)


@contextmanager
def daemon(log: Path, *command: str | Path) -> Iterator[Daemon]:
    """Start a program in a process group of its own; kill that and wait for it at the end, whatever happens."""
    with log.open("wb") as words:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            cwd=log.parent,
            start_new_session=True,
        )
    program = Daemon(process, log)
    try:
        yield program
    finally:
        program.kill()
