# SPDX-License-Identifier: MIT
"""The standard streams of this process, taken away for a protocol, and given back.

Meanwhile descriptor 1 is standard error, and descriptor 0 reads nothing, so that neither a `print` nor a library in C
gets between the messages. Pipes and sockets are used as they are, without waiting; anything else (files, terminals,
/dev/null), which no loop can watch, by a thread of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import threading
from typing import TYPE_CHECKING, Final

from tieline.endpoints.command import Stdio
from tieline.errors import BusyResourceError, UnsupportedOperation
from tieline.runtimes.memory import READ_SIZE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.host import Event

__all__ = ["StandardStreams", "StdioListener"]

# Seconds that a file or a terminal gets to take the last answers.
PATIENCE: Final = 5.0

_taken = threading.Lock()


class StandardStreams:
    """Descriptors 0 and 1, taken.

    Attributes:
        reader: What to read from, without waiting; owned by whoever speaks.
        writer: What to write to, without waiting; owned by whoever speaks.
        output_is_nameless: Whether nobody will read the output any more once nobody does: a pipe with a name can be
            opened by others.

    Raises:
        BusyResourceError: They are served on already.
        OSError: One of them is not open.
        UnsupportedOperation: Not on this system.
    """

    def __init__(self) -> None:
        if os.name != "posix":
            raise UnsupportedOperation("serving on standard input and output needs a Unix system")
        if not _taken.acquire(blocking=False):
            raise BusyResourceError("standard input and output are served on already")
        self._kept: list[int] = []
        self.reader = self.writer = -1
        self._blocking: list[int] = []  # those that have to wait again afterwards
        self._writing: threading.Thread | None = None
        self._reading: threading.Thread | None = None
        self._stop_reading = -1
        try:
            for fd in (0, 1):
                self._kept.append(_duplicate(fd))
            self.reader = self._watchable(self._kept[0], os.O_RDONLY)
            self.writer = self._watchable(self._kept[1], os.O_WRONLY)
            self.output_is_nameless = not _has_name(self._kept[1])
            _point_elsewhere()
        except BaseException:
            for fd in self._blocking:
                os.set_blocking(fd, True)
            for fd in (*self._kept, self.reader, self.writer, self._stop_reading):
                if fd >= 0:
                    os.close(fd)
            _taken.release()
            raise

    def _watchable(self, fd: int, mode: int) -> int:
        """Return a descriptor for the same, or for a pipe to a thread that serves it, that does not wait."""
        kind = os.fstat(fd).st_mode
        if stat.S_ISFIFO(kind):
            # Opened anew: whether the present one waits is the affair of all who have it, standard error perhaps.
            with contextlib.suppress(OSError):
                return os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            if os.get_blocking(fd):
                os.set_blocking(fd, False)
                self._blocking.append(fd)
            return os.dup(fd)
        opened: list[int] = []
        try:
            opened += os.pipe()
            opened.append(os.dup(fd))
            return self._served_by_thread(mode, *opened)
        except BaseException:
            for one in opened:
                os.close(one)
            raise

    def _served_by_thread(self, mode: int, near: int, far: int, copy: int) -> int:
        """Have a thread move what goes between *copy* and a pipe; return the end of the pipe that is ours."""
        if mode == os.O_RDONLY:
            os.set_blocking(near, False)
            stopped, self._stop_reading = os.pipe()
            try:
                self._reading = _start("tieline reads standard input", lambda: _read_on(copy, far, stopped))
            except BaseException:
                os.close(stopped)
                raise
            return near
        os.set_blocking(far, False)
        self._writing = _start("tieline writes standard output", lambda: _pass_on(near, copy))
        return far

    def give_up(self) -> None:
        """Nobody will speak: close what was to be spoken over, and give the streams back."""
        os.close(self.reader)
        os.close(self.writer)
        self.give_back()

    def give_back(self) -> None:
        """Make descriptors 0 and 1 what they were. What was written is out by then."""
        if self._writing is not None:
            self._writing.join(PATIENCE)
        if self._reading is not None:
            # Before the streams are others' again: a thread that still waits for a line would take theirs.
            os.close(self._stop_reading)
            self._reading.join(PATIENCE)
        _flush()  # what was printed meanwhile, and waits, is not for the peer
        for fd in self._blocking:
            with contextlib.suppress(OSError):
                os.set_blocking(fd, True)
        for fd, kept in enumerate(self._kept):
            os.dup2(kept, fd)
            os.close(kept)
        _taken.release()


def _duplicate(fd: int) -> int:
    # One that was closed when the program began may be another file's by now: the loop's own, say.
    was_open = (sys.__stdin__ if fd == 0 else sys.__stdout__) is not None
    try:
        if was_open:
            return os.dup(fd)
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except OSError as exc:
        name = "standard input" if fd == 0 else "standard output"
        raise OSError(exc.errno, f"cannot serve on stdio: {name} (descriptor {fd}) is not open") from exc


def _has_name(fd: int) -> bool:
    """Return whether *fd* is a pipe in the file system. Where that cannot be told, it is taken for none."""
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
    except OSError:
        return False


def _point_elsewhere() -> None:
    _flush_to_error()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(null, 0)
        os.dup2(2 if _has_error() else null, 1)
    finally:
        os.close(null)


def _has_error() -> bool:
    """Return whether descriptor 2 is standard error; closed when the program began, it may be another file's by now."""
    if sys.__stderr__ is None:
        return False
    try:
        os.fstat(2)
    except OSError:
        return False
    return True


def _flush_to_error() -> None:
    """Have what was printed before, and still waits in a buffer, come out where prints go from now on."""
    if not _has_error():
        return
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        _flush()
    except OSError:
        pass
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]  # without a console it is None
            sys.stdout.flush()


def _start(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def _pass_on(source: int, sink: int) -> None:
    """Copy until the source ends or the sink takes nothing more, then close both."""
    try:
        while _copy_some(source, sink):
            pass
    except OSError:  # which the other end finds out
        pass
    finally:
        os.close(source)
        os.close(sink)


def _copy_some(source: int, sink: int) -> bool:
    """Copy what there is, or what comes next; return False at the end of the source."""
    data = os.read(source, READ_SIZE)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]
    return bool(data)


def _read_on(source: int, sink: int, stopped: int) -> None:
    """As `_pass_on`, until *stopped* ends at the latest; nothing is read then that nobody would get."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(stopped, select.POLLIN)
    try:
        # What cannot be polled, as some terminals of some systems, is said to be ready: reading waits then.
        while stopped not in {fd for fd, _ in poll.poll()} and _copy_some(source, sink):
            pass
    except OSError:
        pass
    finally:
        for fd in (source, sink, stopped):
            os.close(fd)


class StdioListener:
    """What serves one connection: the one that was there when the process began.

    Args:
        streams: The streams, in use.
        closed: An event of the runtime, to be set by `close`.

    Attributes:
        endpoints: Where it listens.
        sockets: Empty.
        on_ended: Called when the connection is gone; None = nobody. Set by whoever listens.
        is_over: The connection is gone.
    """

    def __init__(self, streams: StandardStreams, closed: Event) -> None:
        self.endpoints = (Stdio(),)
        self.sockets: tuple[socket.socket, ...] = ()
        self.on_ended: Callable[[], object] | None = None
        self.is_over = False
        self._streams = streams
        self._closed = closed

    def __repr__(self) -> str:
        return f"<StdioListener {'serving' if self.is_serving() else 'closed'}>"

    def ended(self) -> None:
        """The connection is gone: give the streams back."""
        self.is_over = True
        self._streams.give_back()
        if self.on_ended is not None:
            self.on_ended()

    def is_serving(self) -> bool:
        """Return whether there is a connection, and nobody has closed this."""
        return not (self._closed.is_set() or self.is_over)

    def start(self) -> None:
        """Nothing: the peer is there already, and is heard from the first moment on."""

    def close(self) -> None:
        """Take note that no further connection is wanted; there is none. The one that there is lives on."""
        self._closed.set()

    def abort_handshakes(self) -> None:
        """Nothing: there are none."""

    async def wait_closed(self) -> None:
        """Wait until `close` was called."""
        await self._closed.wait()
