# SPDX-License-Identifier: MIT
"""A connection with short ways: for a call, or a request of the peer's, that nothing else goes on beside, and for calls
that leave together.

What is here comes to the same as the orders and the reading of `Connection`, which it leaves all to that is not plain.
So a call costs half as much, where it is the only thing that goes on, and two thirds where it is one of many.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from tieline.wire.default import NOTHING
from tieline.wire.flow import MUCH_OUTPUT
from tieline.wire.jsonrpc.calls import NO_CALLS
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.depth import is_too_deep
from tieline.wire.jsonrpc.items import PLAIN_PARAMS
from tieline.wire.jsonrpc.paths import LONGEST_LONE
from tieline.wire.jsonrpc.reading import REQUEST_DECODER, RESULT_DECODER
from tieline.wire.jsonrpc.writing import NEWLINE, REPLY_ENCODER, Call, Reply, encoded_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.batch_members import BatchMember
    from tieline.wire.jsonrpc.events import Event
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.jsonrpc.reading import Request
    from tieline.wire.limits import Default, Limits

__all__ = ["LoneConnection"]

_decode_request: Final = REQUEST_DECODER.decode
_decode_result: Final = RESULT_DECODER.decode
_encode: Final = REPLY_ENCODER.encode


class LoneConnection(Connection):
    """One JSON-RPC connection, both roles, with short ways for what nothing else goes on beside.

    Args:
        longest_read: For how many seconds the driver waits for the answer before it gives the call a time by
            `give_time`. Where `Limits.call_timeout` is no longer than that, no call goes the short way. 0 = a driver
            that does not wait, and has a look planned at once where none is (`CallTable.is_idle`, `plan_look`).
    """

    __slots__ = ("_batch_below", "_lone_below", "_longest_lone", "_most_queued")

    def __init__(
        self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool, longest_read: float
    ) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted)
        ways = self._ways
        # A read shorter than this that is one line needs not be cut.
        self._lone_below: float = ways.lone_below
        self._batch_below: float = 0  # likewise, of a read that is one batch
        if ways.lone_below:
            self._batch_below = (getattr(framer, "max_size", 0) or inf) + 2
            if self._batch_below < ways.lone_below:
                self._lone_below = self._batch_below
        self._longest_lone = ways.longest_lone
        # With more bytes queued than this no call is queued beside others; where messages are no lines, none ever is.
        self._most_queued = MUCH_OUTPUT if ways.frames_lines else -1
        if limits.call_timeout is not None and limits.call_timeout <= longest_read:
            self._longest_lone = -inf

    def ask(self, method: str, params: object, token: object) -> bytes | None:
        """Enter a call, and return the bytes to be sent for it at once; see `send_request`.

        It has the default timeout if the table of calls is looked at, and none yet if that is idle. The driver counts
        the bytes as sent.

        None, and nothing is done, when anything else goes on or the call is a long one: then that is the way.

        Raises:
            LocalProtocolError: The dialect cannot express it.
            TypeError, ValueError: The arguments cannot be encoded.
        """
        calls = self.calls
        if not self.is_smooth or calls.open or self.queued or self.replies or self.flow.senders_waiting:
            return None
        if calls is NO_CALLS:
            calls = self._begin_calls()
        call_id = calls.next_id
        encoded = self._writer.request(method, params, call_id)
        if len(encoded) > self._longest_lone:
            return None
        calls.next_id = call_id + 1
        calls.open[call_id] = token
        self.messages_sent += 1
        return encoded + b"\n"

    def ask_batch(self, members: list[BatchMember]) -> bytes | None:
        """Enter a batch of calls, and return the bytes to be sent for it at once; see `send_batch`, and `ask`.

        None, and nothing is done, when anything else goes on, or has been sent since it was made, or it is a long one,
        or it is not plain: then that is the way.

        Args:
            members: What is asked, and the tokens of the calls. Their methods are texts, their arguments of classes in
                `PLAIN_PARAMS`.
        """
        calls = self.calls
        if (
            not self.is_smooth
            or calls is NO_CALLS
            or calls.open
            or self.queued
            or self.replies
            or self.flow.senders_waiting
            or not (self._ways.takes_batches and self.plain_params is PLAIN_PARAMS)
            or not 0 < len(members) <= self.max_calls
            or members[0].number != calls.next_id
        ):
            return None
        encoded = encoded_batch(members)
        if encoded is None or len(encoded) > self._longest_lone:
            return None
        calls.add_whole(members, [member.number for member in members])
        self.messages_sent += 1
        return encoded + b"\n"

    def ask_with_others(self, method: str, params: tuple[object, ...] | dict[str, object], token: object) -> int | None:
        """Queue a call with the default timeout, for a driver that is to write soon, and return its id; see
        `send_request`.

        None, and nothing is done, when it is not one of several open calls, or the call is not plain or a long one, or
        so much is queued that the driver is to write now: then that is the way.
        """
        calls = self.calls
        open_calls = calls.open
        if (
            not self.is_smooth
            or calls.is_idle
            or len(open_calls) >= self.max_calls
            or self.output_size > self._most_queued
            or self.replies
            or self.flow.senders_waiting
        ):
            return None
        call_id = calls.next_id
        try:
            if params.__class__ in self.plain_params and method.__class__ is str:
                encoded = _encode(Call(method, params, call_id))
            else:
                encoded = self._writer.request(method, params, call_id)
        except Exception:  # the longer way is to tell what is wrong
            return None
        size = len(encoded)
        if size > self._longest_lone or NEWLINE in encoded:
            return None
        calls.next_id = call_id + 1
        open_calls[call_id] = token
        if self.queued is None:
            self.queued = [encoded]
        else:
            self.queued.append(encoded)
        self.output_size += size
        return call_id

    def answer(self, data: bytes, token: object, now: float) -> Any:
        """Return the result of the call that was entered with *token*, when *data* is nothing but its answer.

        Else `NOTHING`, and nothing is done: then *data* is to be given to `receive_data`.
        """
        size = len(data)
        if (
            not self.is_smooth
            or size >= self._lone_below
            or self.flow.senders_waiting
            or self.bytes_received + size > self._look_received
            or not self._framer.is_between
            or data.find(b"\n") != size - 1
        ):
            return NOTHING
        try:
            response = _decode_result(data)
        except (ValueError, RecursionError):
            return NOTHING
        open_calls, call_id = self.calls.open, response.id
        if open_calls.get(call_id) is not token:
            return NOTHING
        del open_calls[call_id]
        self.bytes_received += size
        self.last_received = now
        self._expects_results = True
        if self._is_stranger:
            self._is_known()
        # It causes no event, so what has been an event before is the last one no more.
        self._answered_at = self._silent_at = self.messages_received = self.messages_received + 1
        return response.result

    def receive_one(self, data: bytes, now: float) -> Any:
        """Take in a read that is one short and plain message, and return its event.

        `NOTHING`, and nothing is done, when it is not: then *data* is for `receive_data`.
        """
        size = len(data)
        received = self.bytes_received + size
        if (
            not self.is_smooth
            or size >= self._lone_below
            or received > self._look_received
            or not self._framer.is_between
            or data.find(b"\n") != size - 1
        ):
            return NOTHING
        try:
            message: Any = _decode_result(data) if self._expects_results else _decode_request(data)
        except (ValueError, RecursionError):
            return NOTHING
        number = self.messages_received + 1
        if self._expects_results:
            token = self.calls.pop(message.id)
            if token is None:
                return NOTHING
            self._answered_at = number
            message = (token, message.result, None)
        else:
            requests, request_id = self.requests, message.id
            if request_id is not UNSET:
                if request_id in requests.in_flight:
                    return NOTHING
                requests.in_flight[request_id] = message
            requests.count += 1
            if requests.count >= self.flow.parks_at:
                self.is_smooth = False
        self.messages_received = number
        self.bytes_received = received
        self.last_received = now
        return message

    def receive_first(self, data: bytes, now: float) -> Any:
        """As `receive_one`, for what a stranger says first."""
        event = self.receive_one(data, now)
        if event is not NOTHING and self._is_stranger:
            self._is_known()
        return event

    def receive_data(self, data: bytes, now: float) -> Sequence[Event]:
        size = len(data)
        if (
            size >= self._batch_below
            or data[:1] != b"["
            or not self.is_smooth
            or self.bytes_received + size > self._look_received
            or self.last_received is None
            or not self._framer.is_between
            or data.find(b"\n") != size - 1
        ):
            return super().receive_data(data, now)
        # One batch and nothing else: it needs not be cut either.
        self.bytes_received += size
        self.messages_received += 1
        self.last_received = now
        try:
            events = self._read_batch_plainly(data)
        except (ValueError, RecursionError):
            events = None
        return self._go_through([bytes(data[:-1])], None, now) if events is None else events

    def answer_one(self, request: Request, result: object) -> bytes | None:
        """Answer a *request* that `receive_one` gave, and return the bytes to be sent for it at once; see `reply`.

        Empty when it is a long answer, which is queued. None, and nothing is done, when anything else goes on or the
        answer is not plain: then that is the way.
        """
        request_id = request.id
        if (
            not self.plain_results  # a class of a user's may write otherwise
            or not self.is_smooth
            or self.queued
            or request_id is UNSET
            or result is UNSET  # which would be left out
        ):
            return None
        try:
            encoded = _encode(Reply(result, request_id))
        except Exception:  # the longer way is to tell what is wrong
            return None
        size = len(encoded)
        if size > self._max_response or NEWLINE in encoded or (size > LONGEST_LONE and is_too_deep(encoded)):
            return None
        requests = self.requests
        del requests.in_flight[request_id]
        requests.count -= 1
        if size > LONGEST_LONE:
            self._put(encoded)
            return b""
        self.messages_sent += 1
        self.bytes_sent += size + 1
        return encoded + b"\n"

    def plan_look(self, now: float) -> None:
        """Have the open calls looked at from now on, as calls with the default timeout are: the table was idle."""
        calls = self.calls
        calls.plan_look(now)
        if calls.deadline < self.timers.calls:
            self._set_timer("calls", calls.deadline)

    def give_time(self, token: object, since: float, timeout: float | Default | None) -> None:
        """Let the call that was entered with *token* time out so many seconds after *since*, if it is open still."""
        for call_id, held in self.calls.open.items():
            if held is token:
                self.calls.give_time(call_id, since, timeout)
                if self.calls.deadline < self.timers.calls:
                    self._set_timer("calls", self.calls.deadline)
                break
