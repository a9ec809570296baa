# SPDX-License-Identifier: MIT
"""Commands for the child of the tests, and what becomes of processes."""

from __future__ import annotations

import os
import resource
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tieline import Command

PROGRAM = Path(__file__).with_name("child_program.py")


def command(*args: str, **settings: Any) -> Command:
    """Return the command of the child; see `child_program` for its first argument."""
    return Command([sys.executable, "-S", "-E", str(PROGRAM), *args], **settings)


class Watched:
    """A process that is not our child, watched so that its end can be waited for."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def ends(self) -> bool:
        """Return whether the process has ended, or does soon: the moments of a signal, or more on a busy machine."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        try:
            return bool(poll.poll(60_000))
        finally:
            os.close(self._fd)


def is_known(pid: int) -> bool:
    """Return whether the system knows a process of ours still, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def resident() -> int:
    """Return how many bytes of memory this process has in use."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Leave this process so many descriptors that it may still open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    held: list[int] = []
    try:
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass
        for _ in range(spare):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)
