# SPDX-License-Identifier: MIT
"""Pipes on trio: to a child process, and of this process itself. Tasks of the nursery watch the descriptors."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint, enable_ki_protection, notify_closing, wait_readable, wait_writable

from tieline.runtimes.children import Child
from tieline.runtimes.pipes import PipeTransport
from tieline.runtimes.stdio import StandardStreams, StdioListener
from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.endpoints.command import Command
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["TrioPipes", "run_command", "serve_stdio"]

log = logging.getLogger("tieline.trio")


class TrioPipes(PipeTransport):
    """See `tieline.runtimes.pipes.PipeTransport`. It lives in the nursery of its host."""

    _host: TrioHost

    def __init__(self, host: TrioHost, *args: Any, **given: Any) -> None:
        self._parking = Parking()  # of the task that reads
        self._writes = False  # the task that writes is there
        super().__init__(host, *args, **given)

    def start(self) -> None:
        """Tell the protocol of the connection, and begin to read."""
        self._spawn(self._read)
        self._host.hold()
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._end(exc)
            raise
        if self.watches_output:
            self._spawn(self._watch_output)
        if self._child is not None:
            self._spawn(self._wait_for_exit)
            if self._child.stderr >= 0:
                self._spawn(self._read_stderr)

    def _spawn(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        if not self.is_gone:
            self._host.enter(partial(self._guarded, async_fn))

    @enable_ki_protection
    async def _guarded(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        try:
            await async_fn()
        except trio.ClosedResourceError:
            pass
        except trio.Cancelled:
            self._host.is_collapsing = True
            self._end(None)
            raise
        except Exception as exc:
            log.exception("a callback of %r failed", self._protocol)
            self._end(exc)
        except BaseException as exc:
            self._end(exc)
            raise

    def _steer(self) -> None:
        self._parking.wake()
        if self.unsent and not self._writes and not self.is_gone:
            self._writes = True
            self._spawn(self._write_out)

    async def _wait(self, wait: Callable[[int], Awaitable[None]], fd: int) -> None:
        """Wait for a descriptor; one that the system cannot watch ends it all."""
        try:
            await wait(fd)
        except OSError as exc:
            self._end(exc)

    async def _read(self) -> None:
        while not self.is_gone:
            if not self.wants_data:
                await self._parking.wait()
                continue
            await self._wait(wait_readable, self._reader)
            self.read_some()

    async def _write_out(self) -> None:
        try:
            while self.unsent:
                await self._wait(wait_writable, self._writer)
                self.flush_some()
        finally:
            self._writes = False

    async def _watch_output(self) -> None:
        await self._wait(wait_readable, self._writer)
        self.output_told()

    async def _wait_for_exit(self) -> None:
        child = self._child
        assert child is not None
        while not (self.is_gone or child.look()):
            await self._wait(wait_readable, child.exit_fd)
        self.child_ended()

    async def _read_stderr(self) -> None:
        child = self._child
        assert child is not None
        while not (self.is_gone or child.stderr_is_over):
            await self._wait(wait_readable, child.stderr)
            child.read_stderr()

    def _close_writer(self) -> None:
        if self._writer >= 0:
            notify_closing(self._writer)
        super()._close_writer()

    def _let_go(self) -> None:
        # In the next turn: the protocol has heard of the end by then, and tasks that are done with it may end.
        self._host.call_soon(self._close)

    def _close(self) -> None:
        child = self._child
        watched = {self._reader, self._writer}
        if child is not None:
            watched |= {child.exit_fd, child.stderr}
        for fd in watched - {-1}:
            notify_closing(fd)
        self.release()
        self._parking.wake()
        self._host.release()


async def run_command(host: TrioHost, protocol_factory: Callable[[], Any], command: Command) -> tuple[Any, Any]:
    """Start a child process, and return the transport to it and the protocol, after `connection_made`.

    Raises:
        LocalProtocolError: The nursery is over: nothing was started.
        OSError: It cannot be started.
    """
    await checkpoint()
    protocol = host.make(protocol_factory)
    host.enter(checkpoint)
    child = Child(command)
    transport = TrioPipes(host, child.stdout, child.stdin, protocol, child)
    transport.start()
    return transport, protocol


async def serve_stdio(host: TrioHost, protocol_factory: Callable[[], Any]) -> StdioListener:
    """Have a protocol of *protocol_factory* speak over standard input and output, from now on.

    Raises:
        LocalProtocolError: The nursery is over.
        OSError, BusyResourceError: See `StandardStreams`.
    """
    await checkpoint()
    host.enter(checkpoint)
    streams = StandardStreams()
    listener = StdioListener(streams, trio.Event())
    transport: TrioPipes | None = None
    try:
        transport = TrioPipes(
            host,
            streams.reader,
            streams.writer,
            host.make(protocol_factory),
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
