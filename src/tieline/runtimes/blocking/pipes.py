# SPDX-License-Identifier: MIT
"""Pipes to a child process in blocking code: moved by whoever waits, but for standard error, which a thread reads."""

from __future__ import annotations

import select
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.runtimes.blocking.readiness import Readiness
from tieline.runtimes.children import Child
from tieline.runtimes.pipes import PipeTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.command import Command
    from tieline.runtimes.blocking.host import BlockingHost

__all__ = ["BlockingPipes", "run_command"]

# poll(2) takes an int of milliseconds.
_LONGEST: Final = 3600.0


class BlockingPipes(PipeTransport):
    """See `tieline.runtimes.pipes.PipeTransport`. All of its methods are called with the pump's lock held."""

    reads = None  # for a pump: no thread waits in a read, since a pipe cannot be read with a time limit
    send = None  # and nothing goes past the transport
    failed_with = None  # the protocol is told of that at once
    _child: Child
    _host: BlockingHost

    def new_readiness(self) -> Readiness:
        """Return what the leader waits by."""
        return PipeReadiness(self)

    def read_some(self) -> None:
        if self._child.exit_fd >= 0 and self._child.look():
            self._child.close_one("exit_fd")
            self.child_ended()
        else:
            super().read_some()

    def descriptors(self) -> tuple[int, int, int]:
        """Return what is to be watched: reader, writer, and what tells of the end; -1 = nothing."""
        return self._reader, self._writer, self._child.exit_fd

    def _steer(self) -> None:
        self._host.has_changed()
        if not self.unsent:
            self._host.has_emptied()

    def _let_go(self) -> None:
        self._host.transport_ended()

    @property
    def is_deaf(self) -> bool:
        """As of a socket's transport: pipes are read out anyway, where there is a child at their other end."""
        return self.is_gone

    def shut_down(self) -> None:
        """Nothing: those who wait are called in another way, or wait for moments only."""


class PipeReadiness(Readiness):
    """What one thread at a time waits for: pipes, the end of a child, and the call of another thread."""

    __slots__ = ("_pipes",)

    def __init__(self, pipes: BlockingPipes) -> None:
        self._pipes = pipes
        super().__init__(None)

    def wait(self, *, reading: bool, writing: bool, seconds: float) -> tuple[bool, bool]:
        reader, writer, exit_fd = self._pipes.descriptors()
        poll = select.poll()
        poll.register(self._event if self._waker is None else self._waker[0], select.POLLIN)
        if reading:
            poll.register(reader, select.POLLIN)
        if writing and writer >= 0:
            poll.register(writer, select.POLLOUT)
        if exit_fd >= 0:
            poll.register(exit_fd, select.POLLIN)
        readable = writable = False
        for fd, _ in poll.poll(None if seconds == inf else int(min(seconds, _LONGEST) * 1000 + 0.999)):
            if fd in {reader, exit_fd}:
                readable = True
            elif fd == writer:
                writable = True
            else:
                self._calm()
        return readable, writable


def run_command(host: BlockingHost, protocol_factory: Callable[[], Any], command: Command) -> tuple[Any, Any]:
    """Start a child process, and return the transport to it and the protocol, after `connection_made`.

    Raises:
        OSError: It cannot be started.
    """
    protocol = protocol_factory()
    child = Child(command)
    try:
        child.read_stderr_in_thread()
    except BaseException:  # there are no more threads or descriptors
        child.give_up()
        raise
    transport = BlockingPipes(host, child.stdout, child.stdin, protocol, child)
    host.transport = cast("Any", transport)  # it has what the pump asks of a socket's
    try:
        host.do(protocol.connection_made, transport)
    except BaseException:
        host.do(transport.abort)
        raise
    return transport, protocol
