# SPDX-License-Identifier: MIT
"""Child processes for protocols of users' own, in blocking code: nothing happens but while somebody calls `poll`."""

from __future__ import annotations

import select
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import LocalProtocolError
from tieline.finite import check_timeout
from tieline.runtimes.pipes import PipeTransport
from tieline.runtimes.processes import ProcessTransport

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PolledProcess", "start_polled"]

# poll(2) takes an int of milliseconds.
_LONGEST: Final = 3600.0


class _Turns:
    """What pipes and their process ask of a host: to have something called soon."""

    __slots__ = ("soon",)

    def __init__(self) -> None:
        self.soon: deque[Callable[[], object]] = deque()

    def call_soon(self, fn: Callable[[], object]) -> None:
        self.soon.append(fn)

    def drain(self) -> None:
        """Call what was planned. What is interrupted in there (Ctrl-C) stays planned."""
        while self.soon:
            try:
                self.soon[0]()
            except Exception:
                self.soon.popleft()
                raise
            self.soon.popleft()


class _PolledPipe(PipeTransport):
    """One pipe of a process that is polled: each `poll` asks what it is to be watched for."""

    def _steer(self) -> None: ...

    def _let_go(self) -> None:
        self.release()  # at once: nobody waits for it meanwhile

    @property
    def watched(self) -> list[tuple[int, int]]:
        """What it is to be watched for: descriptors and events of poll(2)."""
        reading = [(self._reader, select.POLLIN)] if self.wants_data else []
        return [*reading, (self._writer, select.POLLOUT)] if self.unsent else reading


class PolledProcess(ProcessTransport):
    """The transport of a child process in blocking code: asyncio's contract, where the loop is `poll`.

    There is no thread and no loop behind it. `poll` and `wait_closed` move it: they read the pipes, send what is left,
    notice the end of the process, and call the protocol. Nothing else does, but for ``pause_writing`` and
    ``resume_writing``, which ``write`` calls as well. It belongs, with the transports of its pipes, to one thread at
    a time.

    What ``pipe_data_received``, ``pause_writing`` and ``resume_writing`` raise comes out of what called them, and the
    pipe is closed. What the callbacks for an end raise is logged: the others are still to come.
    """

    def __init__(self, protocol: Any, given: dict[str, Any]) -> None:
        self._turns = _Turns()
        self._is_polled = False
        super().__init__(protocol, self._new_pipe, self._turns.call_soon, given)

    def _new_pipe(self, reader: int, writer: int, protocol: Any) -> _PolledPipe:
        return _PolledPipe(self._turns, reader, writer, protocol)

    # --- moving it -----------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Let the process and its pipes move on by one step, and return whether they did.

        False means that nothing came in time; or, at once, that nothing can come, since all is over and told.

        Args:
            timeout: Seconds to wait for something to do; 0 = only look; None = without end.

        Raises:
            Exception: What a callback raised.
            LocalProtocolError: Called from within a callback.
            ValueError: *timeout* is negative.
        """
        timeout = check_timeout("timeout", timeout)
        if self._is_polled:
            raise LocalProtocolError("poll() and wait_closed() must not be called from within a callback")
        self._is_polled = True
        try:
            has_moved = bool(self._turns.soon) or self._move(timeout)
            self._turns.drain()
        finally:
            self._is_polled = False
        return has_moved

    def _move(self, timeout: float | None) -> bool:
        """Wait for what there is to do, and do it."""
        poll = select.poll()
        found: dict[int, Callable[[], object]] = {}
        for pipe in self.pipes.values():
            assert isinstance(pipe, _PolledPipe)
            for fd, events in pipe.watched:
                poll.register(fd, events)
                found[fd] = pipe.read_some if events == select.POLLIN else pipe.flush_some
        if self.exit_fd >= 0:
            poll.register(self.exit_fd, select.POLLIN)
            found[self.exit_fd] = self.ended
        if not found:
            return False
        ready = poll.poll(None if timeout is None else int(min(timeout, _LONGEST) * 1000 + 0.999))
        for fd, _ in ready:
            found[fd]()  # one that has been closed meanwhile does nothing
        return bool(ready)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Move it until the process has ended, its pipes are closed, and the protocol has been told.

        Raises:
            TimeoutError: It is not so within *timeout* seconds; `close` ends it.
            LocalProtocolError: Reading a pipe is paused and nothing else is left, so it would be waited for without
                end.
            Exception: What `poll` raises.
        """
        timeout = check_timeout("timeout", timeout)
        until = inf if timeout is None else time.monotonic() + timeout
        while self._turns.soon or not self._is_lost:
            seconds = until - time.monotonic()
            if self.poll(None if seconds == inf else max(0.0, seconds)):
                continue
            if seconds == inf:
                raise LocalProtocolError("nothing is read or sent, so the pipes would never be closed")
            if seconds <= 0:
                raise TimeoutError(f"the process and its pipes are not closed after {timeout:g} s")


def start_polled(protocol_factory: Callable[[], Any], given: dict[str, Any]) -> tuple[PolledProcess, Any]:
    """Start a process; return its transport, and the protocol after `connection_made`.

    When that fails, the process is killed, and what it raised comes out.
    """
    protocol = protocol_factory()
    transport = PolledProcess(protocol, given)
    try:
        protocol.connection_made(transport)
    except BaseException:
        transport.close()
        transport.wait()
        transport.wait_closed()
        raise
    return transport, protocol
