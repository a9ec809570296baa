# SPDX-License-Identifier: MIT
"""What a connection owes and says: the answers to the peer's requests, batches of answers, and the output.

The first of four layers that make up the machine: answering, then `judging.py`, `receiving.py` and `connection.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from tieline.errors import RPCError
from tieline.wire.jsonrpc.flow import Flow
from tieline.wire.jsonrpc.requests import RequestTable
from tieline.wire.jsonrpc.states import Cause, State, next_state
from tieline.wire.jsonrpc.writing import TemplateWriter, writer_for
from tieline.wire.limits import ceiling

if TYPE_CHECKING:
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.jsonrpc.reading import Message
    from tieline.wire.jsonrpc.requests import IncomingBatch
    from tieline.wire.limits import Limits

__all__ = ["Answering"]


class Answering:
    """The answering side of a connection.

    Attributes:
        state: Where the connection is in its life.
        protocol: The protocol class that it speaks; AutoDetect replaces it once it knows.
        limits: The limits, resolved.
        flow: How much is owed.
        bytes_sent: How many bytes `data_to_send` gave.
        messages_sent: How many messages went out (a batch is one).
        output_size: How many bytes of messages wait for `data_to_send`.
    """

    __slots__ = (
        "_framer",
        "_max_response",
        "_out",
        "_requests",
        "_writer",
        "bytes_sent",
        "flow",
        "limits",
        "messages_sent",
        "output_size",
        "protocol",
        "state",
    )

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits) -> None:
        self.state = State.OPEN
        self.protocol = protocol
        self.limits = limits
        self.flow = Flow(limits.max_pending, ceiling(limits.max_pending_size), limits.write_high_water)
        self.bytes_sent = self.messages_sent = 0
        self._framer = framer
        self._writer = writer_for(protocol)
        self._requests = RequestTable(protocol.codec.encode, self.flow)
        self._max_response = ceiling(limits.max_response)
        self._out: list[bytes] = []
        self.output_size = 0

    @property
    def unanswered(self) -> int:
        """How many requests of the peer are being handled, notifications included."""
        return self._requests.count

    @property
    def owes_answers(self) -> bool:
        """Whether the peer waits for an answer."""
        return self._requests.calls > 0

    def is_in_batch(self, request: Message) -> bool:
        """Return whether the answer to *request* is to go out with others."""
        return self._requests.is_in_batch(request)

    # --- output --------------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything to give."""
        return bool(self._out)

    def _put(self, encoded: bytes) -> None:
        self._out.append(encoded)
        self.output_size += len(encoded)

    def data_to_send(self) -> bytes:
        """Return, once, the bytes that are to be written now."""
        out = self._out
        self._out = []
        self.output_size = 0
        self.messages_sent += len(out)
        data = self._framer.frame(out)
        self.bytes_sent += len(data)
        return data

    # --- answers -------------------------------------------------------------------------------------------------

    def reply(self, request: Message, result: object) -> Exception | None:
        """Answer *request* with *result*; for a notification, take note that it is done.

        Returns what the codec had against the result: the peer then got an internal error in its place.

        Raises:
            LocalProtocolError: The request had been answered before.
        """
        if self.state > State.DRAINING:
            return None
        batch = self._requests.leave(request)
        problem = None
        if request.id is not UNSET:
            try:
                encoded = self._writer.result(result, request.id)
            except Exception as exc:  # whatever a user's codec or protocol class raises, the peer gets its answer
                problem = exc
                encoded = self._encoded_error(self.protocol.internal_error(request.id), request.id)
            self._queue_reply(encoded, request.id, batch)
        self._after_reply()
        return problem

    def fail(self, request: Message, error: RPCError) -> Exception | None:
        """Answer *request* with *error*; for a notification, take note that it is done. Otherwise as `reply`."""
        if self.state > State.DRAINING:
            return None
        batch = self._requests.leave(request)
        problem = None
        if request.id is not UNSET:
            try:
                encoded = self._writer.error(error, request.id)
            except Exception as exc:  # as above
                problem = exc
                encoded = self._encoded_error(self.protocol.internal_error(request.id), request.id)
            self._queue_reply(encoded, request.id, batch)
        self._after_reply()
        return problem

    def _after_reply(self) -> None:
        """Called when a request has been dealt with; the layers above know when the last one was."""

    def abandon(self, request: Message) -> None:
        """Take note that *request* will never be answered, because this side ends the connection."""
        if self.state <= State.DRAINING:
            batch = self._requests.leave(request)
            if batch is not None:
                self._close_part(batch)
            self._after_reply()

    def _move(self, cause: Cause) -> None:
        self.state = next_state(self.state, cause)

    def _encoded_error(self, error: RPCError, request_id: object) -> bytes:
        """Return an error; if it cannot be encoded, one of the same code. The id came in and was looked at."""
        try:
            return self._writer.error(error, request_id)
        except Exception:  # a user's class fails, or made an error of what cannot be sent
            message = error.message.encode(errors="replace").decode()
            return TemplateWriter(self.protocol).error(RPCError(error.code, message), request_id)

    def _queue_reply(self, encoded: bytes, request_id: object, batch: IncomingBatch | None) -> None:
        if len(encoded) > self._max_response:
            error = self.protocol.invalid_request(f"response too large (limit {self.limits.max_response})", request_id)
            encoded = self._encoded_error(error, request_id)
        if batch is None:
            self._put(encoded)
            if self.flow.paused:
                self.flow.reply_queued(len(encoded))
        else:
            batch.add(encoded, self._max_response)
            self._close_part(batch)

    def _close_part(self, batch: IncomingBatch) -> None:
        """Take note that a member is answered, or that the batch has been read; send it when that was the last."""
        batch.open -= 1
        if batch.open or batch.size == 1:
            return
        if batch.size > self._max_response:
            error = self.protocol.invalid_request(f"response too large (limit {self.limits.max_response})")
            encoded = self._encoded_error(error, None)
        else:
            encoded = self.protocol.join_batch(batch.parts)
        batch.size = 1
        self._put(encoded)
        if self.flow.paused:
            self.flow.reply_queued(len(encoded))
