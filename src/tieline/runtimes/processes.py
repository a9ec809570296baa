# SPDX-License-Identifier: MIT
"""Child processes for protocols of users' own: asyncio's contract, for runtimes that bring none themselves.

All but the waiting: each runtime makes the transports of the pipes, and calls `ended` when the process may have ended.
"""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import UnsupportedOperation
from tieline.runtimes.children import exit_descriptor, has_code
from tieline.runtimes.contract import Protocol, SubprocessTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.pipes import PipeTransport

__all__ = ["ProcessTransport"]

# What asyncio says where nobody knows the exit code.
UNKNOWN_CODE: Final = 255

log = logging.getLogger("tieline.processes")


class _Pipe(Protocol):
    """Hears one pipe, and tells the protocol of the process."""

    __slots__ = ("_fd", "_process")

    def __init__(self, process: ProcessTransport, fd: int) -> None:
        self._process = process
        self._fd = fd

    def data_received(self, data: bytes) -> None:
        self._process.get_protocol().pipe_data_received(self._fd, data)

    def pause_writing(self) -> None:
        self._process.get_protocol().pause_writing()

    def resume_writing(self) -> None:
        self._process.get_protocol().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._process.pipe_lost(self._fd, exc)


class ProcessTransport(SubprocessTransport):
    """The transport of a child process and of its pipes.

    Args:
        protocol: Hears the process.
        new_pipe: Makes the transport of a pipe: of (reader, writer, protocol), one of the two -1.
        call_soon: Plans a call.
        given: What `subprocess.Popen` takes.

    Attributes:
        exit_fd: A descriptor that can be read once the process has ended; -1 when that has been seen.
        pipes: The transports of the pipes, by the child's descriptor.

    Raises:
        OSError: It cannot be started.
        UnsupportedOperation: Not on this system.
    """

    def __init__(
        self,
        protocol: Any,
        new_pipe: Callable[[int, int, Any], PipeTransport],
        call_soon: Callable[[Callable[[], object]], object],
        given: dict[str, Any],
    ) -> None:
        if os.name != "posix":
            raise UnsupportedOperation("child processes need a Unix system here")
        self._protocol: Any = protocol
        self._call_soon = call_soon
        self._is_closing = self._is_lost = self._is_code_lost = False
        self._open_pipes: set[int] = set()
        self.pipes: dict[int, PipeTransport] = {}
        start: Callable[..., Any] = subprocess.Popen
        process: Any = start(**given, bufsize=0)
        self.process: subprocess.Popen[bytes] = process
        self.exit_fd = -1
        try:
            self.exit_fd = exit_descriptor(self.process)
            self._take_pipes(new_pipe)
        except BaseException:  # there are no more descriptors; nobody has heard of it yet
            self._give_up()
            raise

    def _take_pipes(self, new_pipe: Callable[[int, int, Any], PipeTransport]) -> None:
        for fd, file in enumerate((self.process.stdin, self.process.stdout, self.process.stderr)):
            if file is not None:
                ours = os.dup(file.fileno())
                file.close()
                os.set_blocking(ours, False)
                ends = (-1, ours) if fd == 0 else (ours, -1)
                self.pipes[fd] = new_pipe(*ends, _Pipe(self, fd))
                self._open_pipes.add(fd)

    def _give_up(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in self.pipes.values():
            pipe.release()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file is not None:
                file.close()
        if self.exit_fd >= 0:
            os.close(self.exit_fd)

    def __repr__(self) -> str:
        state = "running" if self.process.returncode is None else f"ended with {self.get_returncode()}"
        return f"<{type(self).__name__} process {self.process.pid} {state}>"

    # --- facts ---------------------------------------------------------------------------------------------------

    def get_pid(self) -> int:
        return self.process.pid

    def get_returncode(self) -> int | None:
        return UNKNOWN_CODE if self._is_code_lost else self.process.returncode

    def get_pipe_transport(self, fd: int) -> Any:
        return self.pipes.get(fd)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: ``subprocess``."""
        return self.process if name == "subprocess" else default

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    # --- orders --------------------------------------------------------------------------------------------------

    def send_signal(self, signal: int) -> None:
        if self.process.returncode is not None:
            raise ProcessLookupError(f"the process {self.process.pid} has ended")
        self._signal(signal)

    def _signal(self, number: int) -> None:
        if not self._has_ended():
            with suppress(ProcessLookupError):  # it has ended in this moment
                os.kill(self.process.pid, number)

    def terminate(self) -> None:
        import signal  # lazily: for those who ask for it alone

        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        import signal  # lazily, as above

        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes, and kill the process if it runs: ``connection_lost(None)`` comes when it has ended."""
        if self._is_closing:
            return
        self._is_closing = True
        from signal import SIGKILL  # lazily, as above

        self._signal(SIGKILL)  # before its input ends, by which it might end in another way
        for pipe in self.pipes.values():
            pipe.abort()

    # --- for runtimes and pipes ----------------------------------------------------------------------------------

    def ended(self) -> bool:
        """See whether the process has ended, and if so tell; return whether it has."""
        if not self._has_ended():
            return False
        if self.exit_fd >= 0:
            os.close(self.exit_fd)
            self.exit_fd = -1
            self._tell(self._protocol.process_exited)
            stdin = self.pipes.get(0)
            if stdin is not None:
                stdin.abort()  # nobody reads it any more, whoever else may have it open
            self._check_over()
        return True

    def wait(self) -> None:
        """Wait until the process has ended, and tell. To be called behind `close`, which kills it: it takes moments."""
        self._has_ended(waits=True)
        self.ended()

    def _has_ended(self, *, waits: bool = False) -> bool:
        """Return whether the process has ended; if so the system forgets it."""
        if self.process.returncode is not None:
            return True
        state = has_code(self.process, waits=waits)
        if state is None:
            return False
        if not state:
            self._is_code_lost = True
            log.warning(
                "with which exit code process %d has ended is not known: somebody else has waited for it, or SIGCHLD is"
                " ignored; it is told as %d",
                self.process.pid,
                UNKNOWN_CODE,
            )
        if waits:
            self.process.wait()
        return self.process.poll() is not None

    def pipe_lost(self, fd: int, exc: BaseException | None) -> None:
        """A pipe is gone."""
        self._open_pipes.discard(fd)
        self._tell(partial(self._protocol.pipe_connection_lost, fd, exc))
        self._check_over()

    def _check_over(self) -> None:
        if self.exit_fd < 0 and not self._open_pipes and not self._is_lost:
            self._is_lost = self._is_closing = True
            self._call_soon(self._lose)

    def _lose(self) -> None:
        try:
            self._tell(partial(self._protocol.connection_lost, None))
        finally:
            self._protocol = None  # it refers to this
            self.forgotten()

    def forgotten(self) -> None:
        """All is over, and told."""

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception:
            log.exception("%r failed", callback)
