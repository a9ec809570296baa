# SPDX-License-Identifier: MIT
"""What a connection owes and says: the answers to the peer's requests, batches of answers, and the output.

The first of six layers that make up the machine: answering, then `judging.py`, `plain.py`, `receiving.py`, `ahead.py`
and `connection.py`.

There are two ways to answer with a result. `Answering.reply` takes any result and encodes it at once: the handler may
change it later. What cannot change and is small (`PLAIN_RESULTS`) may be put into `Answering.replies` instead, as a
`Reply`: those of a turn are encoded together, which takes a third of the time. They stand behind what was queued
before and in front of what is queued later, so the order on the wire is that of the orders given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import UNSET, Raw

from tieline.errors import LocalProtocolError, OutgoingMessageTooLarge, RPCError
from tieline.finite import finite_number
from tieline.wire.governed import Governed
from tieline.wire.jsonrpc.paths import ways_of
from tieline.wire.jsonrpc.requests import RequestTable
from tieline.wire.jsonrpc.writing import NO_CLASSES, REPLY_ENCODER, Settled, TemplateWriter
from tieline.wire.states import DRAINING, next_state

if TYPE_CHECKING:
    from tieline.wire.carriage import Carriage
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.jsonrpc.reading import Request
    from tieline.wire.jsonrpc.requests import IncomingBatch
    from tieline.wire.jsonrpc.writing import Reply
    from tieline.wire.limits import Limits
    from tieline.wire.states import CauseName

__all__ = ["Answering"]

_encode: Final = REPLY_ENCODER.encode
_encode_lines: Final = REPLY_ENCODER.encode_lines


class Answering(Governed):
    """The answering side of a connection.

    Attributes:
        protocol: The protocol class that it speaks; AutoDetect replaces it once it knows.
        requests: The peer's unanswered requests.
        queued: The messages that are to be sent, in order; None for none. They are framed, except for lines: those are
            joined.
        takes_settled: Whether results may be put there that are encoded, as `msgspec.Raw`: whatever the codec is.
        plain_params: The classes of arguments that a plain call may have; none where calls are not written plainly.
        plain_results: The classes of results that may be put into `replies` as they are; none where the codec is not
            msgspec.
        replies: Answers that are still to be encoded, in order. Each is to a request that is in flight, with an id that
            is an integer or a string.
        unsent: The requests whose results turned out not to be encodable, with the reason; for the driver to take out.
            The peer got internal errors in their place.
        instead: What the peer was told in the place of the answer that was given last; None = it got that, or nothing.
        messages_sent: How many messages went out (a batch is one).
        output_size: How many bytes of messages wait for `data_to_send`, those in `replies` not counted.
    """

    __slots__ = (
        "_framer",
        "_frames_lines",
        "_is_plain",
        "_max_response",
        "_ways",
        "_writer",
        "messages_sent",
        "output_size",
        "plain_params",
        "plain_results",
        "protocol",
        "queued",
        "replies",
        "requests",
        "takes_settled",
    )

    carriage: ClassVar[Carriage] = "lines"
    unsent: list[tuple[Request, Exception]] | None = None
    instead: RPCError | None = None

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits) -> None:
        super().__init__(limits)
        self.messages_sent = 0
        self._framer = framer
        self.requests = RequestTable(protocol.codec, self.flow)
        self.replies: list[Reply] = []
        self.queued: list[bytes] | None = None
        self.output_size = 0
        self._speak(protocol)

    def _speak(self, protocol: type[JSONRPC]) -> None:
        """Read and write as *protocol* has it from now on."""
        self.protocol = protocol
        ways = self._ways = ways_of(protocol, type(self._framer), self.limits)
        self._is_plain = ways.is_plain
        self._writer = ways.writer
        self._frames_lines = ways.frames_lines
        self._max_response = ways.max_response
        self.plain_results = ways.plain_results
        self.takes_settled = ways.takes_settled
        self.plain_params = ways.plain_params

    @property
    def unanswered(self) -> int:
        """How many requests of the peer are being handled, notifications included."""
        return self.requests.count - len(self.replies)

    @property
    def owes_answers(self) -> bool:
        """Whether the peer waits for an answer."""
        return self.requests.calls > 0

    def is_in_batch(self, request: Request) -> bool:
        """Return whether the answer to *request* is to go out with others."""
        return self.requests.is_in_batch(request)

    # --- output --------------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything to do; it gives nothing for members of a batch that is incomplete."""
        return bool(self.queued or self.replies)

    def _framed(self, encoded: bytes) -> bytes:
        """Return a message as it goes into `queued`. Raises what the framer has against it.

        It is framed when it is queued, not when it is sent: who caused it can still be told.
        """
        return encoded if self._frames_lines else self._framer.frame((encoded,))

    def _put(self, framed: bytes) -> None:
        if self.replies:
            self._settle_replies()
        if self.queued is None:
            self.queued = [framed]
        else:
            self.queued.append(framed)
        self.output_size += len(framed)

    def _put_answer(self, encoded: bytes, request_id: object) -> Exception | None:
        """Queue an answer. One that the framer refuses becomes an error; returns why, where its size was not it."""
        try:
            self._put(self._framed(encoded))
        except Exception as exc:  # users write framers
            return self._put_refused(exc, request_id)
        return None

    def _put_refused(self, problem: Exception, request_id: object) -> Exception | None:
        """Queue an error in the place of an answer that the framer refuses; return its *problem*, as `_put_answer`."""
        # An id may be what makes an answer too long, so the last try is without it.
        for error_id in (request_id, None):
            if isinstance(problem, OutgoingMessageTooLarge):
                error = self.protocol.invalid_request(f"response too large (limit {problem.limit})", error_id)
            else:
                error = self.protocol.internal_error(error_id)
            try:
                self._put(self._framed(self._in_its_place(error, error_id)))
            except Exception:
                continue
            return None if isinstance(problem, OutgoingMessageTooLarge) else problem
        self._cannot_answer(problem)
        return problem

    def _cannot_answer(self, problem: Exception) -> None:
        """End the connection: nobody would ever hear from us, and nobody could be told why."""
        if self.close_reason is None:
            self.close_reason = LocalProtocolError(f"the framer frames no reply: {type(problem).__name__}")
            self.close_reason.__cause__ = problem
        self.must_abort = True
        self.is_smooth = False  # there is a deadline to be seen: now
        self._set_timer("write", 0.0)

    def data_to_send(self) -> bytes:
        """Return, once, the bytes that are to be written now."""
        data = b""
        if self.replies:
            if self.queued:
                self._settle_replies()
            else:
                data = self._encode_replies()
        if self.queued:
            queued, self.queued = self.queued, None
            self.output_size = 0
            self.messages_sent += len(queued)
            if self._frames_lines:
                queued.append(b"")  # no writer lets through what holds a newline, so nothing is left to be checked
                data = b"\n".join(queued)
            else:
                data = b"".join(queued)
        self.bytes_sent += len(data)
        if not self.is_smooth:
            self._after_output()
        return data

    def _after_output(self) -> None:
        """Called when what was queued has left; the layers above know whether there is anything left to do."""

    # --- answers -------------------------------------------------------------------------------------------------

    def _settle_replies(self) -> None:
        """Encode what is in `replies`, and take note that those requests are answered."""
        before = self._take_queued()
        lines = self._encode_replies()
        queued = before + self._take_queued()
        if lines:
            queued.append(lines[:-1])  # many lines at once, where each other item is one
            self.output_size += len(lines)
            self.messages_sent -= 1
        self.queued = queued or None

    def _take_queued(self) -> list[bytes]:
        queued, self.queued = self.queued or [], None
        return queued

    def _encode_replies(self) -> bytes:
        """Take what is in `replies`, and return it framed; nothing when it went into `queued` otherwise."""
        replies, requests = self.replies, self.requests
        if not requests.is_simple:
            line = self._encode_batch(replies)
            if not line:
                self._sort_replies()
            return line
        try:
            encoded = _encode_lines(replies)
        except Exception:  # one by one it is told which
            encoded = b""
        if not 0 < len(encoded) <= self._max_response:
            self._reply_one_by_one(replies)
            return b""
        count = len(replies)
        requests.count -= count
        if count == len(requests.in_flight):
            requests.in_flight.clear()
        else:
            for reply in replies:
                del requests.in_flight[reply.id]
        replies.clear()  # not a new list: drivers may hold this one
        self.messages_sent += count
        if self.flow.paused:
            self.flow.replies_queued(count, len(encoded) - count)
        return encoded

    def _encode_batch(self, replies: list[Reply]) -> bytes:
        """Take *replies* when they are the answers to one batch, and all that is owed, and return them framed.

        Empty, and nothing is done, when they are not.
        """
        requests = self.requests
        batch = requests.only_batch
        if batch is None or batch.open != len(replies):
            return b""
        try:
            encoded = _encode(replies)
        except Exception:  # one by one it is told which
            return b""
        if len(encoded) > self._max_response:
            return b""
        requests.leave_all(replies)
        replies.clear()
        self.messages_sent += 1
        if self.flow.paused:
            self.flow.replies_queued(1, len(encoded))
        return encoded + b"\n"

    def _reply_one_by_one(self, replies: list[Reply]) -> None:
        """Settle *replies* that are too long together, or of which some cannot be encoded."""
        one_by_one = replies[:]
        self.replies.clear()
        for request, reply in zip(self.requests.take(one_by_one), one_by_one, strict=True):
            result = reply.result
            settled = Settled(bytes(result)) if isinstance(result, Raw) else result
            self._note_unsent(request, self.reply(request, settled))

    def _note_unsent(self, request: Request, problem: Exception | None) -> None:
        if problem is not None:
            self.unsent = [*(self.unsent or ()), (request, problem)]

    def _sort_replies(self) -> None:
        """Settle replies of which some are members of batches, or answer large requests."""
        replies, requests = self.replies[:], self.requests
        self.replies.clear()
        by_batch: dict[IncomingBatch | None, list[Reply]] = {}
        for reply in replies:
            by_batch.setdefault(requests.batch_of(reply.id), []).append(reply)
        for batch, members in by_batch.items():
            try:
                encoded = _encode_lines(members)
            except Exception:  # as above
                encoded = b""
            if not 0 < len(encoded) <= self._max_response:
                self._reply_one_by_one(members)
                continue
            requests.leave_all(members)
            if batch is None:
                self.messages_sent += len(members) - 1
                self._put(encoded[:-1])
                if self.flow.paused:
                    self.flow.replies_queued(len(members), len(encoded) - len(members))
            else:
                batch.add(encoded[:-1].replace(b"\n", b","), self._max_response)
                self._close_part(batch, len(members))

    def settled(self, result: object, request_id: object) -> bytes | None:
        """Return *result* encoded as it is now, to wait in `replies`, or longer ones to be replied as `Settled`.

        None when it has to go the way of all: see `reply`.
        """
        if request_id.__class__ is int or (request_id.__class__ is str and self.plain_results):
            return self._writer.settled(result) if self.takes_settled else None
        return None  # notifications have none; and a codec may write texts in a way of its own

    def reply(self, request: Request, result: object) -> Exception | None:
        """Answer *request* with *result*; for a notification, take note that it is done.

        Returns what the codec or framer had against the result: the peer then got an internal error in its place.

        Raises:
            LocalProtocolError: The request had been answered before.
        """
        if self.instead is not None:
            self.instead = None
        if self.state > DRAINING:
            return None
        batch = self.requests.leave(request)
        # What is wrong goes into no variable here: it refers to this frame by its traceback.
        try:
            if request.id is UNSET:
                return None
            try:
                encoded = self._writer.result(result, request.id)
            except Exception as exc:  # whatever a user's codec or protocol class raises, the peer gets its answer
                return self._queue_instead(exc, request.id, batch)
            return self._queue_reply(encoded, request.id, batch)
        finally:
            self._after_reply()

    def fail(self, request: Request, error: RPCError, *, costs: bool = True) -> Exception | None:
        """Answer *request* with *error*; for a notification, take note that it is done. Otherwise as `reply`.

        The peer pays for it, unless it does not *cost*. An `RPCError.cost` that is no finite number, as can be set
        behind its constructor, counts as none and is returned as a problem.
        """
        if self.instead is not None:
            self.instead = None
        if self.state > DRAINING:
            return None
        if costs:
            try:
                extra = finite_number("cost", error.cost)
            except Exception as exc:  # whatever a user has made of it, the peer gets its answer
                self.charge_error(0.0)
                return self._fail(request, error) or exc
            self.charge_error(extra)
        return self._fail(request, error)

    def _fail(self, request: Request, error: RPCError) -> Exception | None:
        batch = self.requests.leave(request)
        try:  # as in `reply`
            if request.id is UNSET:
                return None
            try:
                encoded = self._writer.error(error, request.id)
            except Exception as exc:
                return self._queue_instead(exc, request.id, batch)
            return self._queue_reply(encoded, request.id, batch)
        finally:
            self._after_reply()

    def _queue_instead(self, problem: Exception, request_id: object, batch: IncomingBatch | None) -> Exception:
        """Queue an internal error in the place of an answer that cannot be encoded; return what is wrong."""
        encoded = self._in_its_place(self.protocol.internal_error(request_id), request_id)
        return self._queue_reply(encoded, request_id, batch) or problem

    def _after_reply(self) -> None:
        """Called when a request has been dealt with; the layers above know when the last one was."""

    def abandon(self, request: Request) -> None:
        """Take note that *request* will never be answered, because this side ends the connection."""
        if self.state <= DRAINING:
            batch = self.requests.leave(request)
            if batch is not None:
                self._close_part(batch)
            self._after_reply()

    def _move(self, cause: CauseName) -> None:
        if self.replies:
            self._settle_replies()
        self.state = next_state(self.state, cause)
        # It is not open any more, and each answer may be the last.
        self.plain_results = NO_CLASSES
        self.takes_settled = self.is_smooth = False

    def _encoded_error(self, error: RPCError, request_id: object) -> bytes:
        """Return an error; if it cannot be encoded, one of the same code. The id came in and was looked at."""
        try:
            return self._writer.error(error, request_id)
        except Exception:  # a user's class fails, or made an error of what cannot be sent
            message = error.message.encode(errors="replace").decode()
            return TemplateWriter(self.protocol).error(RPCError(error.code, message), request_id)

    def _in_its_place(self, error: RPCError, request_id: object) -> bytes:
        """Return *error*, which the peer is told in the place of an answer that it cannot get."""
        self.instead = error
        return self._encoded_error(error, request_id)

    def _queue_reply(self, encoded: bytes, request_id: object, batch: IncomingBatch | None) -> Exception | None:
        if len(encoded) > self._max_response:
            error = self.protocol.invalid_request(f"response too large (limit {self.limits.max_response})", request_id)
            encoded = self._in_its_place(error, request_id)
        if batch is not None:
            if self.replies:
                self._settle_replies()  # they were given before
            batch.add(encoded, self._max_response)
            self._close_part(batch)
            return None
        if self.flow.paused:
            self.flow.replies_queued(1, len(encoded))
        if not self._frames_lines:
            return self._put_answer(encoded, request_id)
        self._put(encoded)
        return None

    def _close_part(self, batch: IncomingBatch, count: int = 1) -> None:
        """Take note that members are answered, or that the batch has been read; send it when those were the last."""
        batch.open -= count
        if batch.open or batch.size == 1:
            return
        if batch.size > self._max_response:
            error = self.protocol.invalid_request(f"response too large (limit {self.limits.max_response})")
            encoded = self._encoded_error(error, None)
        else:
            encoded = self.protocol.join_batch(batch.parts)
        batch.size = 1
        self._put_answer(encoded, None)
        if self.flow.paused:
            self.flow.replies_queued(1, len(encoded))
