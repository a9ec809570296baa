# SPDX-License-Identifier: MIT
"""The writing half of a transport over pipes: what the pipe takes at once, the rest when it does, and its end."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from typing import TYPE_CHECKING

from tieline.runtimes.contract import Transport
from tieline.runtimes.hangups import has_hung_up
from tieline.runtimes.water_marks import UnsentBytes

if TYPE_CHECKING:
    from tieline.runtimes.children import Child

__all__ = ["PipeWriting"]


class PipeWriting(UnsentBytes, Transport):
    """What `tieline.runtimes.pipes.PipeTransport` writes with.

    Args:
        reader: The descriptor of the other half; -1 = there is none.
        writer: The descriptor to write to, which must not block; -1 = there is none.
        child: The process at the other end; None = there is none of ours.
        watches_output: Whether the end of who reads what is written is the end of the connection.

    Attributes:
        unsent: What was written and is not sent yet: the runtime watches the writer while there is any.
        watches_output: Whether the runtime is to call `output_told` when the writer can be read. That is how loops tell
            that nobody reads it any more; a pipe is nothing to be read from.
        is_gone: The protocol has been told that the connection is lost, or is about to be.
    """

    def __init__(self, reader: int, writer: int, child: Child | None, *, watches_output: bool) -> None:
        super().__init__(None)
        self.watches_output = watches_output
        self._reader, self._writer = reader, writer
        self._goes_one_way = reader < 0 or writer < 0
        self._child = child
        self.is_gone = False
        self._is_closing = False
        self._is_deaf = False  # the other side reads nothing more
        self._eof_asked = writer < 0

    # --- for the other half --------------------------------------------------------------------------------------

    @abstractmethod
    def _steer(self) -> None:
        """Watch the reader while data is wanted, the writer while there is something `unsent`, and who reads that."""

    @abstractmethod
    def _expect_end(self, error: OSError | None = None) -> None:
        """The other side has closed a pipe, as it does when it ends."""

    @abstractmethod
    def _end(self, error: BaseException | None) -> None:
        """Close at once, because of *error*."""

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, what the pipe takes at once and the rest when it does. Never waits.

        After `close`, `abort` or the loss of the connection it is dropped.

        Raises:
            RuntimeError: After `write_eof`.
            TypeError: *data* is not bytes-like.
        """
        if not isinstance(data, bytes):
            data = memoryview(data).cast("B")
        if self._eof_asked:
            raise RuntimeError("cannot write after write_eof()")
        if self._is_closing or self._is_deaf or not data:
            return
        if not self.unsent:
            try:
                sent = os.write(self._writer, data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._write_failed(exc)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        self.unsent += data
        self._steer()
        self._check_full()

    def flush_some(self) -> None:
        """Send what the pipe takes of what is unsent."""
        if not self.unsent or self.is_gone:
            return
        try:
            sent = os.write(self._writer, self.unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._write_failed(exc)
            return
        del self.unsent[:sent]
        self._check_room()
        if not self.unsent:
            self._emptied()

    def _emptied(self) -> None:
        self._steer()
        if self.is_gone:
            return
        if self._writer >= 0 and (self._eof_asked or self._is_closing):
            self._close_writer()
        if self._is_closing and self._child is None:
            self._end(None)

    def _write_failed(self, error: OSError) -> None:
        """The other side reads nothing more. What it has still said is heard."""
        self._is_deaf = True
        self.unsent = bytearray()
        if self._is_closing or self._eof_asked:
            self._emptied()
        else:
            self._steer()
            self._fill_up()  # whoever sends on and on would leave no turn to the end
            self._expect_end(error)

    def output_told(self) -> None:
        """The writer can be read: most likely nobody reads what is written."""
        if not self.watches_output or self.is_gone:
            return
        self.watches_output = False  # once is enough: a socket on which something has come would say so again and again
        if has_hung_up(self._writer):
            self._write_failed(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        else:
            self._steer()

    def can_write_eof(self) -> bool:
        """Return whether anybody is there to hear it."""
        return not (self._is_deaf or (self._child is not None and self._child.has_ended))

    def write_eof(self) -> None:
        """Close the sending side after everything is sent."""
        if self._is_closing or self._eof_asked:
            return
        self._eof_asked = True
        if not self.unsent:
            self._close_writer()

    def _close_writer(self) -> None:
        self.watches_output = False
        self._steer()
        if self._child is not None:
            self._child.close_one("stdin")
        elif self._writer >= 0 and self._writer != self._reader:
            os.close(self._writer)
        self._writer = -1
        if self._goes_one_way:  # there is nothing else
            self._end(None)
