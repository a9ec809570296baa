# SPDX-License-Identifier: MIT
"""Stream transports on stock selector loops: asyncio's contract over a non-blocking socket, TCP or Unix.

Only for what speaks through protocols of ours. The loops' own transports take two turns of the loop to begin and
twice the instructions to make, since they know neither what is connected already nor that our protocols raise nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.asyncio.host import AsyncioHost, current_host
from tieline.runtimes.contract import OurProtocol
from tieline.runtimes.socket_streams import NOTHING, SocketStream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["SelectorStream", "started"]

# Whether the protocol may hear of the end behind the callback in which that was decided. Where tasks do not start
# eagerly, handlers of what was read in it have yet to take their first step, and the end would cancel them before.
_ENDS_AT_ONCE: Final = AsyncioHost.starts_eagerly


class SelectorStream(SocketStream):
    """The transport of one connected socket.

    Args:
        loop: The running loop, which can wait for sockets.
        sock: A connected non-blocking stream socket; owned by the transport from `start` on.
        protocol: Hears what comes; plain or buffered.
        peername: The peer's address, where it is known already.
        sockname: Our own, likewise.
    """

    __slots__ = ("_fd", "_is_calling", "_loop", "_reads", "_writes")

    _guard: AbstractContextManager[object] | None = None  # who holds it, may send
    _error_at_end: BaseException | None = None  # with what the connection ends behind a callback of the protocol

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: Any,
        peername: Any = None,
        sockname: Any = None,
    ) -> None:
        super().__init__(sock, protocol, peername, sockname)
        self._loop = loop
        self._fd = sock.fileno()
        self._reads = self._writes = False  # the loop is asked whether there is anything to read, or room to write
        self._is_calling = False  # the protocol, about what was read, and it may hear of the end behind that

    def start(self) -> None:
        """Tell the protocol, whose `connection_made` raises nothing, of the connection, and begin to read."""
        self._protocol.connection_made(self)
        self._reading_changed()

    # --- reading -------------------------------------------------------------------------------------------------

    def _reading_changed(self) -> None:
        if self._paused or self._is_closing or self.peer_has_ended:  # as `is_reading` says
            if self._reads:
                self._reads = False
                self._loop.remove_reader(self._fd)
        elif not self._reads:
            self._reads = True
            self._loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        if self._is_closing:
            return  # by another callback of this turn
        self._is_calling = _ENDS_AT_ONCE
        try:
            self._read_some()
        except (SystemExit, KeyboardInterrupt):  # for the loop, which ends by it
            raise
        except BaseException as exc:
            self._failed(exc)
        finally:
            self.end_at_once()  # the protocol is not within a callback any more: this saves a turn
            self._is_calling = False

    def _expect_much(self) -> None:
        if isinstance(self._protocol, asyncio.BufferedProtocol):
            self._buffered = True  # the one buffer of the loop stays in the processor's cache
        else:
            super()._expect_much()

    def _report(self, text: str, error: BaseException) -> None:
        told = {"message": text, "exception": error, "transport": self, "protocol": self._protocol}
        self._loop.call_exception_handler(told)

    # --- writing -------------------------------------------------------------------------------------------------

    def _begin_to_write(self) -> bool:
        if not self._writes:
            self._writes = True
            self._loop.add_writer(self._fd, self._on_writable)
        return True

    def _stop_to_write(self) -> None:
        if self._writes:
            self._writes = False
            self._loop.remove_writer(self._fd)

    def _on_writable(self) -> None:
        if self._guard is None:
            self._write_on()
        else:
            with self._guard:  # also while the protocol hears that there is room, and writes
                self._write_on()

    def _write_on(self) -> None:
        if self._unsent:
            self._write_some()
        if not self._unsent and not self._is_broken:
            self._unsent = NOTHING
            self._stop_to_write()
            self._all_written()

    def lend(self, guard: AbstractContextManager[object]) -> Callable[[bytes], int]:
        """Return what any thread may send with that holds *guard*, without which the socket is not closed.

        It returns how many bytes the system has taken; the rest is for `write`, or all, when the system refuses it.
        Whoever writes otherwise, or ends the stream, holds the guard as well; and so does the transport itself.
        """
        self._guard = guard
        return self._send_at_once

    def _send_at_once(self, data: bytes) -> int:
        if self._unsent or self._is_closing or self._eof_asked:
            return 0
        try:
            return self._sock.send(data)
        except OSError:  # `write` finds it as well, and tells
            return 0

    # --- the end -------------------------------------------------------------------------------------------------

    def _plan_end(self, error: BaseException | None) -> None:
        if self._writes:
            self._stop_to_write()
        if not self._is_calling or self._failed_with is not None:  # there is more to call the protocol for before that
            self._loop.call_soon(self._lose, error)
        elif error is not None:
            self._error_at_end = error

    def end_at_once(self) -> None:
        """Tell the protocol now of an end that was decided within a callback of it: it is behind that, or at its end.

        A protocol may ask for it when all that is left to do in the callback is what bears that.
        """
        if self._is_calling and self._is_broken and self._failed_with is None and self._protocol is not None:
            error = self._error_at_end
            if error is not None:
                self._error_at_end = None  # its frames, perhaps the caller's among them, refer to the transport
            self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        if self._failed_with is not None:
            error = self._read_rest()
        if self._guard is None:
            self._sock.close()  # before others hear of it, who may go on at once
        else:
            guard, self._guard = self._guard, None
            with guard:
                self._sock.close()
        protocol, self._protocol, self._receive = self._protocol, None, None  # they refer to this
        protocol.connection_lost(error)


def started(
    sock: socket.socket,
    protocol: Any,
    peername: Any = None,
    sockname: Any = None,
    *,
    tell: Callable[[Any], object] | None = None,
) -> SelectorStream | None:
    """Return a transport of a connected non-blocking *sock*, and tell *protocol* of it; None when a loop's has to do.

    *tell* is given the transport before that. With None nothing has happened. So it is for protocols that are none of
    ours, and for loops that are none of asyncio's own that wait for sockets.
    """
    if not isinstance(protocol, OurProtocol) or not current_host().buffer:
        return None
    stream = SelectorStream(asyncio.get_running_loop(), sock, protocol, peername, sockname)
    if tell is not None:
        tell(stream)
    stream.start()
    return stream
