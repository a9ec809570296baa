# SPDX-License-Identifier: MIT
"""Child processes for protocols of users' own, on trio: they live in a nursery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint, enable_ki_protection, wait_readable

from tieline.runtimes.processes import ProcessTransport
from tieline.runtimes.trio.pipes import TrioPipes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.trio.host import TrioHost

__all__ = ["subprocess_exec"]


class TrioProcess(ProcessTransport):
    """See `tieline.runtimes.processes.ProcessTransport`. A nursery that is cancelled kills the process."""

    def __init__(self, host: TrioHost, protocol: Any, given: dict[str, Any]) -> None:
        self._host = host
        super().__init__(protocol, self._new_pipe, host.call_soon, given)

    def _new_pipe(self, reader: int, writer: int, protocol: Any) -> TrioPipes:
        return TrioPipes(self._host, reader, writer, protocol)

    def start(self) -> None:
        """Tell the protocol, and begin."""
        self._host.enter(self._wait_for_exit)
        self._host.hold()
        try:
            self._protocol.connection_made(self)
        except BaseException:
            self._begin()
            self.close()
            raise
        self._begin()

    def _begin(self) -> None:
        for pipe in self.pipes.values():
            if isinstance(pipe, TrioPipes):
                pipe.start()

    @enable_ki_protection
    async def _wait_for_exit(self) -> None:
        try:
            while not self.ended():
                await wait_readable(self.exit_fd)
        except trio.Cancelled:
            self._host.is_collapsing = True
            self.close()
            self.wait()
            raise

    def forgotten(self) -> None:
        self._host.release()


async def subprocess_exec(
    host: TrioHost, protocol_factory: Callable[[], Any], given: dict[str, Any]
) -> tuple[TrioProcess, Any]:
    """Start a process; return its transport, and the protocol after `connection_made`.

    Raises:
        LocalProtocolError: The nursery is over: nothing was started.
        OSError: It cannot be started.
    """
    await checkpoint()
    protocol = host.make(protocol_factory)
    host.enter(checkpoint)
    transport = TrioProcess(host, protocol, given)
    transport.start()
    return transport, protocol
