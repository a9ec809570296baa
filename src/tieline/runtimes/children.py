# SPDX-License-Identifier: MIT
"""A child process: started with pipes, watched, its standard error kept within bounds, ended with its whole session.

It waits for nothing: each runtime watches its descriptors, and calls it when there is something to do.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.errors import ConnectionLost, EndOfStream, ProcessEnded, UnsupportedOperation
from tieline.runtimes.memory import READ_SIZE
from tieline.runtimes.process_groups import groups_of_session, has_living_members, reap_members

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.command import Command

__all__ = ["Child", "exit_descriptor", "has_code"]

# How much of its standard error is kept, and how much of that goes into the text of an error.
KEPT_STDERR: Final = 16 * 1024
TOLD_STDERR: Final = 1000
# A line of standard error that is longer is given out in parts.
LONGEST_LINE: Final = 64 * 1024
# Seconds that a process which was killed gets to be gone before somebody else waits for it.
DYING: Final = 0.1

_HAS_PIDFD: Final = hasattr(os, "pidfd_open")
# Whether it can be seen that a process has ended while the system still knows it; and how to leave it so.
_TELLS_OF_ENDED: Final = hasattr(os, "waitid")
_LEAVE: Final = os.WEXITED | os.WNOWAIT if _TELLS_OF_ENDED else 0
_NULL: Final = subprocess.DEVNULL


class Child:
    """A process that was started, with its end of the pipes.

    Args:
        command: What to start.

    Attributes:
        command: What was started.
        process: The process.
        stdin: The descriptor to write to; -1 when it is closed.
        stdout: The descriptor to read from.
        stderr: The descriptor to read standard error from; -1 when there is none.
        stderr_is_over: Nothing more comes from there.
        exit_fd: A descriptor that can be read once the process has ended; -1 when that has been seen.

    Raises:
        OSError: It cannot be started. FileNotFoundError: there is no such program or folder; the error names it.
        UnsupportedOperation: Not on this system.
    """

    # Those of all children. Were one garbage together with its child, it would complain that nobody waits for it,
    # before the child has seen to that.
    _processes: ClassVar[set[subprocess.Popen[bytes]]] = set()

    def __init__(self, command: Command) -> None:
        if os.name != "posix":
            raise UnsupportedOperation("child processes as connections need a Unix system")
        self.command = command
        self._owner = os.getpid()
        self._tail = bytearray()
        self._line = b""
        self._is_seen = False  # that it has ended
        self._is_code_lost = False
        self._looks = 0  # at what is left of its groups
        self.stderr_is_over = False
        self._stderr_thread: threading.Thread | None = None
        self._stop_stderr = -1
        opened: list[int] = []
        try:
            ours = self._pipes(opened)
            theirs = opened[::2]
            self.process: subprocess.Popen[bytes] = _started(command, theirs)
            self._processes.add(self.process)
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise
        for fd in theirs:
            os.close(fd)
        self.stdin, self.stdout, self.stderr = ours
        self.exit_fd = -1
        # What is to be ended: its own group, and later those that it has made and left behind.
        self._groups: set[int] = {self.process.pid}
        try:
            for fd in ours:
                if fd >= 0:
                    os.set_blocking(fd, False)
            self.exit_fd = exit_descriptor(self.process)
        except BaseException:
            self.give_up()
            raise

    def __del__(self) -> None:
        if hasattr(self, "process"):
            if getattr(self, "stdout", -1) >= 0:  # its event loop was closed before its client: nothing else ends it
                self.kill()
                self.close()
            self._processes.discard(self.process)

    def _pipes(self, opened: list[int]) -> tuple[int, int, int]:
        """Make the pipes, and put their ends into *opened*: the child's and ours by turns. Return ours."""
        reader, writer = os.pipe()
        opened += [reader, writer]
        stdin = writer
        reader, writer = os.pipe()
        opened += [writer, reader]
        stdout, stderr = reader, -1
        if self.command.stderr not in {"inherit", "discard"}:
            reader, writer = os.pipe()
            opened += [writer, reader]
            stderr = reader
        return stdin, stdout, stderr

    # --- its end -------------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to have ended."""
        return self.process.returncode is not None

    def look(self) -> bool:
        """See whether the process has ended, and if so let the system forget it; return whether it has."""
        if not self._is_seen and os.getpid() == self._owner and self._has_code() and self.process.poll() is not None:
            # Now, while its number cannot be another's: it is free when nothing is left.
            self._is_seen = True
            pid = self.process.pid
            own: set[int] = {pid} if _signal(pid, 0) else set()
            self._groups = own | groups_of_session(pid)
        return self.process.returncode is not None

    def _has_code(self) -> bool:
        """Return whether the system has the exit code of the process for us, or has none any more."""
        state = has_code(self.process)
        if state is False:
            self._is_code_lost = True
        return state is not None

    def is_over(self) -> bool:
        """Return whether the process has ended, and nothing is left of its session either, but for what is dead."""
        if self.look() and os.getpid() == self._owner:
            self._looks += 1
            # To look at all processes of a large machine takes milliseconds: at the 1st, 2nd, 4th, 8th ... time.
            is_thorough = not self._looks & (self._looks - 1)
            for group in tuple(self._groups):
                reap_members(group)
                has_some = _signal(group, 0)
                if has_some and is_thorough and not has_living_members(group):
                    reap_members(group)  # who has died between the two looks
                    has_some = False
                if not has_some:
                    self._groups.discard(group)
        return not self._groups

    def terminate(self) -> None:
        """Ask all that it has started to end."""
        self._signal_all(signal.SIGTERM)

    def kill(self) -> None:
        """End all that it has started, and see that the system forgets the process."""
        self._signal_all(signal.SIGKILL)
        if os.getpid() != self._owner:
            return
        if self.exit_fd >= 0:
            # Moments, since nothing can put it off but the system itself.
            poll = select.poll()
            poll.register(self.exit_fd, select.POLLIN)
            poll.poll(int(DYING * 1000))
        if not self.look():
            threading.Thread(target=self.process.wait, name="tieline reaps a child", daemon=True).start()

    def give_up(self) -> None:
        """End it where it could not even begin to serve: killed, waited for, its descriptors closed."""
        self._signal_all(signal.SIGKILL)
        self.process.wait()
        self.close()

    def _signal_all(self, number: int) -> None:
        if not self._groups or os.getpid() != self._owner:  # in a process that was forked from ours it is not ours
            return
        # While a process of a session is left, the system gives its number to nobody else; but that of a group that has
        # emptied since may be another's by now. So only those count that there are at this moment.
        pid = self.process.pid
        self._groups = ({pid} & self._groups) | groups_of_session(pid)
        for group in self._groups:
            _signal(group, number)

    def close(self) -> None:
        """Give all descriptors back."""
        for name in ("stdin", "stdout", "stderr", "exit_fd", "_stop_stderr"):
            self.close_one(name)

    def close_one(self, name: str) -> None:
        """Give one descriptor back; harmless when it is closed."""
        fd = getattr(self, name)
        setattr(self, name, -1)
        if fd >= 0:
            os.close(fd)

    # --- standard error ------------------------------------------------------------------------------------------

    def read_stderr(self) -> bool:
        """Read once what there is of standard error; return whether there may be more now."""
        if self.stderr < 0 or self.stderr_is_over:
            return False
        try:
            data = os.read(self.stderr, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.finish_stderr()
            return False
        self._keep(data)
        return True

    def drain_stderr(self) -> None:
        """Read what is left of standard error, when the process has ended: what a pipe holds, and not more."""
        if self._stderr_thread is not None:
            if self._stderr_thread is threading.current_thread():
                return  # what was told of a line has it all ended
            self._stderr_thread.join(DYING)  # longer only if a process that was left behind has the pipe as well
            return
        for _ in range(32):
            if not self.read_stderr():
                return

    def read_stderr_in_thread(self) -> None:
        """Have a thread read standard error from now on, for whom nobody watches descriptors all the time."""
        fd = self.stderr
        if fd < 0:
            return
        stopped, self._stop_stderr = os.pipe()
        name = f"tieline reads the standard error of {self.process.pid}"
        thread = threading.Thread(target=self._read_on, args=(fd, stopped), name=name, daemon=True)
        try:
            self.stderr = -1  # the thread's from now on
            thread.start()
        except BaseException:
            self.stderr = fd
            os.close(stopped)
            raise
        self._stderr_thread = thread

    def _read_on(self, fd: int, stopped: int) -> None:
        poll = select.poll()
        for one in (fd, stopped):
            poll.register(one, select.POLLIN)
        while not any(one == stopped for one, _ in poll.poll()):
            try:
                data = os.read(fd, READ_SIZE)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                break
            if not data:
                break
            self._keep(data)
        self.finish_stderr()
        os.close(fd)
        os.close(stopped)

    def finish_stderr(self) -> None:
        """Take note that no more of standard error is read."""
        self.stderr_is_over = True
        line, self._line = self._line, b""
        if line:
            self._tell([line])

    def _keep(self, data: bytes) -> None:
        self._tail += data[-KEPT_STDERR:]
        del self._tail[:-KEPT_STDERR]
        if callable(self.command.stderr):
            *lines, self._line = (self._line + data).split(b"\n")
            if len(self._line) > LONGEST_LINE:
                lines.append(self._line)
                self._line = b""
            self._tell(lines)

    def _tell(self, lines: list[bytes]) -> None:
        tell: Any = self.command.stderr
        if not callable(tell):
            return
        for line in lines:
            try:
                tell(line.decode("utf-8", "replace").rstrip("\r"))
            except Exception:
                import logging  # lazily: this is no part of any plan

                logging.getLogger("tieline.children").exception("%r failed, given a line of standard error", tell)

    def stderr_tail(self) -> str:
        """Return the end of what it wrote to standard error, as far as that was kept."""
        return self._tail[-KEPT_STDERR:].decode("utf-8", "replace")

    # --- texts ---------------------------------------------------------------------------------------------------

    def ended_by(self, closed: str = "output") -> ConnectionLost:
        """Return what its end means for those who wait for it; *closed* is the first pipe that it has closed."""
        code = self.process.returncode
        tail = self.stderr_tail()
        told = tail.rstrip()[-TOLD_STDERR:]
        end = f"; its standard error ended with: {told}" if told else ""
        if code is None:
            still = f"the child process {self.command.program!r} closed its {closed}, and still runs{end}"
            return EndOfStream(still) if closed == "output" else ConnectionLost(still)
        if self._is_code_lost:
            lost = (
                "ended, and with which exit code is not known: somebody else has waited for it, or SIGCHLD is ignored"
            )
            return ConnectionLost(f"the child process {self.command.program!r} {lost}{end}")
        text = f"the child process {self.command.program!r} {_outcome(code)}{end}"
        return ProcessEnded(text, code, tail) if code else EndOfStream(text)


def has_code(process: subprocess.Popen[bytes], *, waits: bool = False) -> bool | None:
    """Return whether the system has the exit code of *process* for us: None = it runs, False = nobody has it any more.

    Nobody has it where SIGCHLD is ignored, or somebody else in this program waits for all children. `subprocess` takes
    that for an exit code of 0, so it is to be asked before. With *waits* it is waited for the end of the process.
    """
    if process.returncode is not None or not _TELLS_OF_ENDED:
        return True
    try:
        return True if os.waitid(os.P_PID, process.pid, _LEAVE | (0 if waits else os.WNOHANG)) is not None else None
    except ChildProcessError:
        return False


def exit_descriptor(process: subprocess.Popen[bytes]) -> int:
    """Return a new descriptor that can be read once *process* has ended: a pidfd, or a pipe that a thread closes."""
    if _HAS_PIDFD:
        try:
            return os.pidfd_open(process.pid)
        except OSError:  # a kernel, or a sandbox, without it
            pass
    reader, writer = os.pipe()

    def wait() -> None:
        if _TELLS_OF_ENDED:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, _LEAVE)
        else:
            process.wait()
        os.close(writer)

    try:
        threading.Thread(target=wait, name=f"tieline waits for {process.pid}", daemon=True).start()
    except BaseException:
        os.close(reader)
        os.close(writer)
        raise
    return reader


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether there is one that is ours to signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _outcome(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _started(command: Command, theirs: list[int]) -> subprocess.Popen[bytes]:
    """Start it with the ends of pipes that are the child's."""
    stdin, stdout, *others = theirs
    stderr = others[0] if others else _NULL if command.stderr == "discard" else None
    start: Callable[..., Any] = subprocess.Popen
    started: subprocess.Popen[bytes] = start(
        list(command.argv),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=command.environment,
        cwd=command.cwd,
        start_new_session=True,
    )
    return started
