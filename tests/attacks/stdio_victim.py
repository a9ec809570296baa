# SPDX-License-Identifier: MIT
"""A server on standard input and output that is attacked through its pipes, in a process of its own."""

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.attacks.attacked import ROOT
from tests.attacks.framings import FRAMERS
from tests.attacks.raw import PATIENCE, Peer

# Seconds that a server which has closed its output may take no more bytes, until nobody is thought to read them. It
# lingers for one; its process may live on, with a pipe that is full.
UNREAD = 5.0


class PipePeer(Peer):
    """An attacker that has the other ends of a server's pipes."""

    def __init__(self, process: "subprocess.Popen[bytes]", kind: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        for file in (process.stdin, process.stdout):
            os.set_blocking(file.fileno(), False)
        self.sent = self.received = 0
        self.ended = self.was_reset = self.is_refused = False
        self._buffer = bytearray()
        framer: Any = FRAMERS.get(kind)
        self._framer = None if framer is None else framer()
        self._messages = deque()

    def close(self) -> None:
        self._stdin.close()
        self._stdout.close()

    def shutdown_write(self) -> None:
        self._stdin.close()

    def send(self, data: bytes | memoryview, *, patience: float = PATIENCE, reads: bool = True) -> bool:
        view = memoryview(data)
        until = time.monotonic() + patience
        while view:
            left = until - time.monotonic()
            if left <= 0:
                return False
            wanted = [self._stdout] if reads and not self.ended else []
            has_ended = self.ended
            readable, writable, _ = select.select(wanted, [self._stdin], [], min(left, UNREAD) if has_ended else left)
            if readable:
                self._read()
            elif has_ended and not writable:
                return False
            if writable:
                try:
                    count = os.write(self._stdin.fileno(), view[: 1 << 16])
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    self.is_refused = True
                    return False
                self.sent += count
                view = view[count:]
        return True

    def _receive(self) -> bytes | None:
        try:
            return os.read(self._stdout.fileno(), 1 << 18)
        except BlockingIOError:
            return None

    def read_more(self, patience: float) -> bool:
        if self.ended:
            return True
        readable, _, _ = select.select([self._stdout], [], [], max(0.0, patience))
        if readable:
            self._read()
        return bool(readable)


class StdioVictim:
    """What a play asks of the server that it attacks, as far as one with a single connection can tell.

    Attributes:
        process: The server.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", control: Peer) -> None:
        self.process = process
        self._control = control

    def ask(self, method: str, *params: object) -> Any:
        """Ask the server about itself, over a connection of its own."""
        return self._control.call(method, *params)

    def memory(self) -> int:
        """Return how many bytes it has in use, when all that it does not need is given back."""
        return int(self.ask("trimmed")["rss"])


def is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return not probe.connect_ex(str(path))


@contextmanager
def victim(kind: str, loop: str, folder: Path, *, is_lenient: bool = False) -> Iterator[tuple[PipePeer, StdioVictim]]:
    """Run a server of that kind on that loop; it is killed if it does not end with its input.

    A lenient one bears any number of faults, and may log those of its handlers.
    """
    path = folder / "control"
    argv = [sys.executable, "-m", "tests.attacks.stdio_server", kind, str(path), "--loop", loop]
    argv += ["--lenient"] if is_lenient else []
    errors = (folder / "stderr").open("w+b")
    with errors, subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=errors, cwd=ROOT) as process:
        try:
            patience = time.monotonic() + 60
            while not is_listened_on(path):  # nothing else tells
                select.select([], [], [], 0.02)
                assert process.poll() is None, "the server did not start"
                assert time.monotonic() < patience, "the server does not start"
            with PipePeer(process, kind) as peer, Peer(f"unix://{path}") as control:
                yield peer, StdioVictim(process, control)
                control.close()
                peer.close()
                assert process.wait(30) == 0
                path.unlink(missing_ok=True)
        finally:
            process.kill()
    said = (folder / "stderr").read_bytes()
    assert is_lenient or b"Traceback" not in said, said.decode()
