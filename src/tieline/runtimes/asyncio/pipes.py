# SPDX-License-Identifier: MIT
"""Pipes on asyncio: to a child process, and of this process itself. The loop watches the descriptors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.children import Child
from tieline.runtimes.pipes import PipeTransport
from tieline.runtimes.stdio import StandardStreams, StdioListener

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.command import Command

__all__ = ["AsyncioPipes", "run_command", "serve_stdio"]


class AsyncioPipes(PipeTransport):
    """See `tieline.runtimes.pipes.PipeTransport`."""

    def __init__(self, *args: Any, **given: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._reads = self._writes = self._listens = False
        super().__init__(current_host(), *args, **given)

    def start(self) -> None:
        """Tell the protocol of the connection, and begin to read."""
        if self._child is not None:
            self._watch(self._child)
        try:
            self._protocol.connection_made(self)
            self._steer()
        except BaseException as exc:
            self._end(exc)
            raise

    def _watch(self, child: Child) -> None:
        try:
            self._loop.add_reader(child.exit_fd, self._exited)
            if child.stderr >= 0:
                self._loop.add_reader(child.stderr, self._read_stderr)
        except BaseException:  # the system can watch no more descriptors; the protocol has heard of nothing yet
            self.is_gone = self._is_closing = True
            self._loop.remove_reader(child.exit_fd)
            child.give_up()
            raise

    def _steer(self) -> None:
        if self.wants_data is not self._reads and self._reader >= 0:
            self._reads = self.wants_data
            if self._reads:
                self._loop.add_reader(self._reader, self.read_some)
            else:
                self._loop.remove_reader(self._reader)
        if bool(self.unsent) is not self._writes and self._writer >= 0:
            self._writes = not self._writes
            if self._writes:
                self._loop.add_writer(self._writer, self.flush_some)
            else:
                self._loop.remove_writer(self._writer)
        if self.watches_output is not self._listens and self._writer >= 0:
            self._listens = self.watches_output
            if self._listens:
                self._loop.add_reader(self._writer, self.output_told)
            else:
                self._loop.remove_reader(self._writer)

    def _exited(self) -> None:
        child = self._child
        assert child is not None
        if child.look():
            self._loop.remove_reader(child.exit_fd)
            child.close_one("exit_fd")
            self.child_ended()

    def _read_stderr(self) -> None:
        child = self._child
        assert child is not None
        fd = child.stderr
        child.read_stderr()
        if fd >= 0 and child.stderr_is_over:
            self._loop.remove_reader(fd)
            child.close_one("stderr")

    def _let_go(self) -> None:
        child = self._child
        if child is not None:
            for fd in (child.exit_fd, child.stderr):
                if fd >= 0:
                    self._loop.remove_reader(fd)
        self._steer()
        self.release()


async def run_command(protocol_factory: Callable[[], Any], command: Command) -> tuple[Any, Any]:
    """Start a child process, and return the transport to it and the protocol, after `connection_made`.

    Raises:
        OSError: It cannot be started.
    """
    protocol = protocol_factory()
    child = Child(command)
    transport = AsyncioPipes(child.stdout, child.stdin, protocol, child)
    transport.start()
    return transport, protocol


def serve_stdio(protocol_factory: Callable[[], Any]) -> StdioListener:
    """Have a protocol of *protocol_factory* speak over standard input and output, from now on.

    Raises:
        OSError, BusyResourceError: See `StandardStreams`.
    """
    streams = StandardStreams()
    listener = StdioListener(streams, asyncio.Event())
    transport: AsyncioPipes | None = None
    try:
        transport = AsyncioPipes(
            streams.reader,
            streams.writer,
            protocol_factory(),
            None,
            listener.ended,
            watches_output=streams.output_is_nameless,
        )
        transport.start()
    except BaseException:
        if transport is None:  # else it gives them back
            streams.give_up()
        raise
    return listener
