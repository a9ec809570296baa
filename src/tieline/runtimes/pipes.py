# SPDX-License-Identifier: MIT
"""A transport of asyncio's kind over two descriptors that go one way each, to a child or of this process itself.

All but the waiting: each runtime derives from it, watches the descriptors, and calls `read_some`, `flush_some` and
`child_ended`. Nothing here ever waits.
"""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ConnectionLost
from tieline.runtimes.contract import fill_buffers, is_buffered
from tieline.runtimes.memory import READ_SIZE
from tieline.runtimes.pipe_writing import PipeWriting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.children import Child
    from tieline.runtimes.host import Timer

__all__ = ["PipeTransport"]

# Seconds from the end of a child's output, or of its input, to the end of the child, if that is what it means.
BETWEEN: Final = 0.5
# Seconds from one look at what is left of a child's group to the next; the system tells of the child itself only.
LOOK: Final = 0.02
# Of what a child has left in its output so much is read, which is more than a pipe holds unless the administrator says
# otherwise: those that it has started may write on for ever.
LAST_BYTES: Final = 1024 * 1024


class PipeTransport(PipeWriting):
    """The transport of a reader and a writer.

    Args:
        host: Tells the time and plans calls.
        reader: A descriptor to read from; both must not block. Owned from the call on. -1 = there is none.
        writer: One to write to. -1 = there is none.
        protocol: Hears what comes; plain or buffered.
        child: The process at the other end, whose descriptors these are; None = there is none of ours.
        on_closed: Called when the descriptors are closed.
        watches_output: Whether the end of who reads what is written is the end of the connection.

    Attributes:
        unsent: What was written and is not sent yet: the runtime watches the writer while there is any.
        watches_output: Whether the runtime is to watch for that end, see `PipeWriting`.
        wants_data: Whether the runtime is to watch the reader.
        peer_has_ended: The end of what there is to read has come.
        is_gone: The protocol has been told that the connection is lost, or is about to be.
    """

    def __init__(
        self,
        host: Any,
        reader: int,
        writer: int,
        protocol: Any,
        child: Child | None = None,
        on_closed: Callable[[], object] | None = None,
        *,
        watches_output: bool = False,
    ) -> None:
        super().__init__(reader, writer, child, watches_output=watches_output)
        self._host = host
        self._on_closed = on_closed
        self.wants_data = reader >= 0
        self._is_paused = False  # the protocol wants no data
        self.peer_has_ended = reader < 0
        self._last_bytes = LAST_BYTES  # how many more are read behind the end of the other side
        self._eof_told = reader < 0
        self._eof_waits = False  # for the protocol to want data: there is some before it that it has not handled
        self._timer: Timer | None = None
        self._step = 0  # of the end of the child
        self._step_at = 0.0
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "closing" if self._is_closing else "open"
        whom = "standard streams" if self._child is None else f"{self._child.command}"
        return f"<{type(self).__name__} {state} {whom}>"

    # --- for runtimes --------------------------------------------------------------------------------------------

    @abstractmethod
    def _let_go(self) -> None:
        """Watch nothing any more, then have `release` called."""

    def _call_soon(self, fn: Callable[[], object]) -> None:
        self._host.call_soon(fn)

    def release(self) -> None:
        """Close the descriptors. Nobody may wait for them any more."""
        if self._child is not None:
            self._child.close()
        else:
            for fd in {self._reader, self._writer} - {-1}:
                os.close(fd)
        self._reader = self._writer = -1
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()

    # --- facts ---------------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* receive everything from now on."""
        self._protocol = protocol
        self._is_buffered = is_buffered(protocol)

    def get_protocol(self) -> Any:
        """Return the protocol; None when the connection is gone."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact.

        ``pipe``: the descriptors; ``subprocess``: the process; ``stderr``: the end of its standard error;
        ``has_ended``: whether the other side is known to have ended; ``ended_by``: what that means for those who wait.
        """
        if name == "pipe":
            return max(self._reader, self._writer) if self._goes_one_way else (self._reader, self._writer)
        child = self._child
        if name == "has_ended":
            return self._other_has_ended
        if name == "ended_by" and child is None and self._is_deaf:
            return ConnectionLost("nobody reads the output any more")
        if child is None:
            return default
        if name == "subprocess":
            return child.process
        if name == "stderr":
            return child.stderr_tail()
        if name == "ended_by":
            return child.ended_by("output" if self.peer_has_ended else "input")
        return default

    @property
    def _other_has_ended(self) -> bool:
        """Whether the other side is gone: what it has left is read, and nothing more is waited for."""
        return self._is_deaf if self._child is None else self._child.has_ended

    # --- reading -------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether data is delivered."""
        return not (self._is_paused or self._is_closing or self.peer_has_ended)

    def pause_reading(self) -> None:
        """Deliver nothing from now on."""
        self._is_paused = True
        self._steer_reading()

    def resume_reading(self) -> None:
        """Deliver data again, in a later turn."""
        self._is_paused = False
        self._steer_reading()
        if self._eof_waits:
            self._call_soon(self._tell_eof)
        if self._other_has_ended:
            self._call_soon(self.read_some)  # it may be that nothing comes which the runtime could notice

    def _steer_reading(self) -> None:
        # What a child says while it is being ended is read and thrown away: it is not to hang in there.
        wants = not (self.is_gone or self.peer_has_ended) and (self._is_closing or not self._is_paused)
        if self._is_closing and self._child is None:
            wants = False
        if wants is not self.wants_data:
            self.wants_data = wants
            self._steer()

    def read_some(self) -> None:
        """Read what there is, once, and deliver it; behind the end of the other side all that it has left."""
        if not self.wants_data:
            return
        has_ended = self._other_has_ended
        read: list[bytes] = []
        is_over = is_empty = False
        while not is_over and (not read or (has_ended and self._last_bytes > 0)):
            try:
                data = os.read(self._reader, READ_SIZE)
            except (BlockingIOError, InterruptedError):
                is_empty = True
                break
            except OSError as exc:
                if exc.errno != errno.EIO:  # which is how terminals end
                    self._end(exc)
                    return
                data = b""
            is_over = not data
            if data:
                read.append(data)
            if has_ended:
                self._last_bytes -= len(data)
        self.deliver(b"".join(read), is_over=is_over or (has_ended and (is_empty or self._last_bytes <= 0)))
        if has_ended and self.is_reading():
            self._call_soon(self.read_some)

    def deliver(self, data: bytes, *, is_over: bool = False) -> None:
        """Hand on what was read; with *is_over*, nothing comes behind it."""
        try:
            if data and self.is_reading():
                if self._is_buffered:
                    fill_buffers(self._protocol, data, lambda: not self._is_closing)
                else:
                    self._protocol.data_received(data)
            if is_over and not self.peer_has_ended:
                self.peer_has_ended = True
                self._steer_reading()
                if self._child is None:
                    self._tell_eof()
                elif self._child.look():
                    self.child_ended()  # whose last words are still to be read
                else:
                    self._expect_end()
        except BaseException as exc:
            self.fail(exc)
            raise

    def _tell_eof(self) -> None:
        if self._eof_told or self._is_closing:
            return
        self._eof_waits = self._is_paused
        if self._is_paused:
            return
        self._eof_told = True
        self._stop_timer()
        if not self._protocol.eof_received():
            self.close()

    # --- the end of a child --------------------------------------------------------------------------------------

    def child_ended(self) -> None:
        """The process may have ended: look."""
        child = self._child
        if child is None or self.is_gone or not child.look():
            return
        child.drain_stderr()
        child.finish_stderr()
        if self._is_closing:
            self._go_on_ending()
        elif self.peer_has_ended:
            self._tell_eof()
        else:
            self.read_some()

    def _expect_end(self, error: OSError | None = None) -> None:
        """A pipe was closed, as a child does when it ends. If it does not, the connection is of no use either.

        Without a child that is the end, behind what has come before it.
        """
        if self._child is None:
            if self._eof_told:
                self._end(error)
            else:
                self._call_soon(self.read_some)
            return
        if self._timer is None and not self._is_closing:
            self._timer = self._host.call_at(self._host.now() + BETWEEN, self._not_ended)

    def _not_ended(self) -> None:
        self._timer = None
        self.child_ended()
        if not (self._is_closing or self.is_gone):
            self._tell_eof()

    def _begin_ending(self) -> None:
        """End the child, step by step: each has its time."""
        assert self._child is not None
        self._stop_timer()
        self._step_at = self._host.now() + self._child.command.grace
        if not self.unsent:
            self._close_writer()
        self._call_soon(self._go_on_ending)

    def _go_on_ending(self) -> None:
        """Look how far the child is."""
        child = self._child
        if child is None or self.is_gone or not self._is_closing:
            return
        self._stop_timer()
        if child.is_over():
            self._end(None)
            return
        now = self._host.now()
        if self._step == 0 and (child.has_ended or now >= self._step_at):
            self._step = 1
            self._step_at = now + child.command.grace
            self.unsent = bytearray()
            self._emptied()
            child.terminate()
        elif self._step == 1 and now >= self._step_at:
            self._end(None)  # which kills what is left
            return
        # The system tells when the child itself ends. Of what it has left behind it does not.
        self._timer = self._host.call_at(
            min(self._step_at, now + LOOK) if child.has_ended else self._step_at, self._tick
        )

    def _tick(self) -> None:
        self._timer = None
        self._go_on_ending()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Deliver nothing more, send what was written, then close; a child is ended first, as its command says."""
        if self._is_closing:
            return
        self._is_closing = True
        self._steer_reading()
        if self._child is not None:
            self._begin_ending()
        elif not self.unsent:
            self._end(None)

    def abort(self) -> None:
        """Close at once; what is unsent is dropped, and a child is killed."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """Close at once because of *error*."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self.is_gone:
            return
        self.is_gone = self._is_closing = True
        self._stop_timer()
        self.unsent = bytearray()
        self.wants_data = self.watches_output = False
        if self._child is not None and not self._child.is_over():
            self._child.kill()

        def tell() -> None:
            protocol = self._protocol
            if protocol is not None:
                protocol.connection_lost(error)  # again, when it was interrupted (Ctrl-C) the first time
                self._protocol = None

        self._call_soon(tell)
        self._let_go()
