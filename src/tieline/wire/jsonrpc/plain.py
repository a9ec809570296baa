# SPDX-License-Identifier: MIT
"""Plain messages, which nearly all traffic is, read in one go: all those of a read, or a batch.

The third of the six layers of the machine. It takes what a typed decoder accepts, or what another codec makes of plain
messages, and what there is room for, and leaves everything else, untouched, to `receiving.py`, which would come to the
same for what is taken here, more slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tieline.wire.jsonrpc.events import Answers, PlainCalls
from tieline.wire.jsonrpc.judging import Judging
from tieline.wire.jsonrpc.paths import HEAVY
from tieline.wire.jsonrpc.reading import (
    REQUEST_DECODER,
    REQUESTS_DECODER,
    RESULT_DECODER,
    RESULTS_DECODER,
    plain_requests,
    plain_results,
)
from tieline.wire.jsonrpc.requests import IncomingBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.events import Event
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.jsonrpc.reading import PlainResult, Request, Response
    from tieline.wire.limits import Limits

__all__ = ["PlainReading"]

_decode_request: Final = REQUEST_DECODER.decode
_decode_result: Final = RESULT_DECODER.decode
_decode_requests: Final = REQUESTS_DECODER.decode
_decode_results: Final = RESULTS_DECODER.decode


class PlainReading(Judging):
    """The part of a connection that reads plain messages."""

    __slots__ = ("_answered_at", "_careful_from", "_decoded", "_expects_results", "_silent_at")

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted)
        self._careful_from = self._ways.careful_from
        self._expects_results = not accepted  # which kind of message is tried first: the one that came last
        self._decoded: Sequence[object] = ()  # what another codec has made of the lines of this turn, from its first on
        # As of which `messages_read` a message has caused no event, and one has answered a call of ours.
        self._silent_at = self._answered_at = -1

    def _read_single(self, line: bytes) -> Sequence[Event] | None:
        """Read a line that nothing else is read with; None, and nothing is done, when it is not plain."""
        if len(line) < self._careful_from and (line[:1] != b"[" or self._ways.decode is not None):
            return self._read_plain((line,))
        try:
            return self._read_batch_plainly(line)
        except (ValueError, RecursionError):
            return None

    def _read_plain(self, lines: Sequence[bytes]) -> Sequence[Event] | None:
        """Read *lines* if all of them are requests that there is room for, or all are results.

        None, and nothing is done, when they are not; or when they are not of the kind that came last, and the typed
        decoders, of which each reads one kind, did not try the other.
        """
        if max(map(len, lines)) >= self._careful_from:
            return None
        decode = self._ways.decode
        if decode is not None:
            return self._read_decoded(lines, decode)
        try:
            if self._expects_results:
                return self._end_calls([*map(_decode_result, lines)])
            requests = [*map(_decode_request, lines)]
        except (ValueError, RecursionError):
            return None
        return self._accept_all(requests)

    def _read_decoded(self, lines: Sequence[bytes], decode: Callable[[bytes], object]) -> Sequence[Event] | None:
        """Do as `_read_plain` with what another codec makes of *lines*.

        What it has made of them is kept in `_decoded` for the longer way: to decode is most of the work.
        """
        payloads: list[object] = []
        self._decoded = payloads
        try:
            payloads += map(decode, lines)
        except Exception:  # users write codecs; the longer way tells what is wrong with the line behind the last
            return None
        results = plain_results(payloads)
        if results is not None:
            return self._end_calls(results)
        requests = plain_requests(payloads)
        if requests is None or any(self._id_problem(one.id) for one in requests if one.id.__class__ is str):
            return None
        return self._accept_all(requests)

    def _accept_all(self, requests: Sequence[Request]) -> Sequence[Event] | None:
        """Accept *requests*; None, and nothing is done, when one of them needs a closer look."""
        return None if self._refuses else self._enter(requests, None)

    def _enter(self, requests: Sequence[Request], batch: IncomingBatch | None) -> Sequence[Event] | None:
        """Enter *requests*; None, and nothing is done, when an id is in flight."""
        table = self.requests
        calls = table.enter_all(requests, batch)
        if calls is None:
            return None
        if table.count >= self.flow.parks_at:
            self.is_smooth = False
        return PlainCalls(requests) if calls == len(requests) else requests

    def _read_batch_plainly(self, line: bytes) -> Sequence[Event] | None:
        """Read a batch of flat requests, or of flat results."""
        if line[:1] != b"[" or not self._ways.takes_batches:
            return None
        if self._expects_results:
            results = _decode_results(line)
            return self._end_calls(results) if results else None
        requests = _decode_requests(line)
        has_room = not self._refuses and self.requests.count < self.flow.bound
        if not has_room or not 0 < len(requests) <= self._ways.max_batch or len(line) >= HEAVY * len(requests):
            return None
        batch = IncomingBatch()
        events = self._enter(requests, batch)
        if events is not None:
            self._close_part(batch)
        return events

    def _end_calls(self, results: Sequence[PlainResult | Response]) -> Sequence[Event] | None:
        """End the calls that *results* answer; None, and nothing is done, when one of those is not open."""
        tokens = self.calls.pop_all([result.id for result in results])
        if tokens is None:
            return None
        self._answered_at = self.messages_read
        if len(tokens) == 1:
            return [(tokens[0], results[0].result, None)]
        return Answers(tokens, [result.result for result in results])
