# SPDX-License-Identifier: MIT
"""The machine that every dialogue with a proxy is.

How a driver uses it, on a bare socket, before any transport exists::

    while dialogue.wanted:
        send_all(dialogue.data_to_send())
        received = receive(dialogue.wanted)  # at most so many
        dialogue.receive_data(received) if received else dialogue.receive_eof()
    result = dialogue.result()

Since it never reads more than is wanted, what follows the proxy's reply stays in the socket, for the tunnel. A driver
that is given bytes as they come (on pipes, or in TLS) keeps what `receive_data` did not take. Time is the driver's
affair: one deadline for the connection, all its dialogues and TLS.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar, Generic, TypeAlias, TypeVar

from tieline.errors import HTTPConnectError, LocalProtocolError, SOCKSError
from tieline.wire.anew import told_anew

__all__ = ["Address", "Dialogue", "Talk"]

ResultT = TypeVar("ResultT")

# A host, as text without brackets, and a port.
Address: TypeAlias = tuple[str, int]

# What a dialogue is inside: it yields what to send and how many bytes it needs next, and is sent just these.
Talk: TypeAlias = Generator[tuple[bytes, int], bytes, ResultT]


class Dialogue(Generic[ResultT]):
    """One dialogue, from our first byte to the last that belongs to the proxy's reply.

    Attributes:
        wanted: The most bytes that may be read now: so many at least belong to the dialogue. 0 = it has ended.
        error: What is wrong, once something is: the proxy's fault, or its refusal. No exception leaves the methods that
            take bytes.
    """

    __slots__ = ("_buffer", "_has_begun", "_output", "_result", "_talk", "error", "wanted")

    title: ClassVar[str]
    """What it is called in texts."""

    cut_error: ClassVar[type[SOCKSError | HTTPConnectError]]
    """Of which class it is when the connection ends too early."""

    def __init__(self, talk: Talk[ResultT]) -> None:
        self._talk = talk
        self._buffer = b""
        self._has_begun = False  # the reply to what was sent last
        self._result: list[ResultT] = []
        self._output = b""
        self.wanted = 0
        self.error: SOCKSError | HTTPConnectError | None = None
        self._go_on(None)

    @classmethod
    def name(cls) -> str:
        """Return the protocol's name."""
        return cls.title

    def data_to_send(self) -> bytes:
        """Return what must be sent before anything else can come, once; in one write, as some proxies need it."""
        output, self._output = self._output, b""
        return output

    def receive_data(self, data: bytes | bytearray | memoryview) -> int:
        """Take of *data* what belongs to the dialogue, and return how many bytes that was.

        What follows them is the tunnel's, or of no use after an error. While there is something to send nothing is
        taken: what has come by then answers nothing yet.
        """
        taken = 0
        while self.wanted and not self._output and taken < len(data):
            piece = bytes(data[taken : taken + self.wanted])
            taken += len(piece)
            self._has_begun = True
            self.wanted -= len(piece)
            if self.wanted:
                self._buffer += piece
            else:
                complete, self._buffer = self._buffer + piece, b""
                self._go_on(complete)
        return taken

    def receive_eof(self, reason: OSError | None = None) -> None:
        """Take note that nothing more will come: a clean end, or the *reason* why the connection broke."""
        if not self.wanted:
            return
        how = "closed the connection" if reason is None else "broke the connection"
        where = "in the middle of a reply" if self._has_begun else "without a reply"
        self.error = self.cut_error(f"the {self.title} proxy {how} {where}")
        # What has failed is told; where, is of no use, and in those frames stands what was sent.
        self.error.__cause__ = None if reason is None else reason.with_traceback(None)
        self.wanted = 0
        self._talk.close()

    def result(self) -> ResultT:
        """Return what the dialogue was for; raise an error like `error`, a new one each time.

        Raises:
            SOCKSFailure: The proxy refuses, or fails.
            SOCKSProtocolError: It does not follow its protocol, or went away.
            HTTPConnectError: The same of an HTTP proxy.
            LocalProtocolError: The dialogue has not ended.
        """
        if self.error is not None:
            raise told_anew(self.error)
        if not self._result:
            raise LocalProtocolError("the dialogue with the proxy has not ended")
        return self._result[0]

    def _go_on(self, received: bytes | None) -> None:
        try:
            output, self.wanted = next(self._talk) if received is None else self._talk.send(received)
        except StopIteration as done:
            self._result.append(done.value)
        except (SOCKSError, HTTPConnectError) as exc:
            self.error = exc.with_traceback(None)  # user names and passwords stand in the frames of a talk
        else:
            if output:
                self._output += output
                self._has_begun = False
