# SPDX-License-Identifier: MIT
"""The table of the peer's requests that are accepted and not yet answered, and the batches they came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from tieline.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.jsonrpc.flow import Flow
    from tieline.wire.jsonrpc.reading import Message

__all__ = ["IncomingBatch", "RequestTable"]


class IncomingBatch:
    """A batch of the peer's while its members are being answered.

    Attributes:
        busy: Its requests are refused, since too many were unanswered when it came.
        open: How many answers are still to come; one more while the batch is being read.
        parts: The encoded answers so far.
        size: Their size in bytes, with commas and brackets; 1 = there are none.
    """

    __slots__ = ("busy", "open", "parts", "size")

    def __init__(self, *, busy: bool = False) -> None:
        self.busy = busy
        self.open = 1
        self.parts: list[bytes] = []
        self.size = 1

    def add(self, part: bytes, limit: float) -> None:
        """Enter an answer. What would be over *limit* bytes as a whole is not kept: it will not be sent."""
        self.size += len(part) + 1
        if self.size > limit:
            self.parts.clear()
        else:
            self.parts.append(part)


class RequestTable:
    """The unanswered requests of one connection, running notifications included.

    Ids match by type and value: ``1``, ``1.0`` and ``"1"`` are three ids.

    Args:
        encode: Encodes an id.
        flow: Is told what large requests weigh.

    Attributes:
        count: How many there are.
        in_batches: How many have come in batches, those included that are answered.
    """

    __slots__ = ("_encode", "_flow", "_in_flight", "_sizes", "count", "in_batches")

    def __init__(self, encode: Callable[[object], bytes], flow: Flow) -> None:
        self.count = self.in_batches = 0
        self._flow = flow
        self._sizes: dict[int, int] = {}  # of the large ones only, by their identity
        self._in_flight: dict[object, IncomingBatch | None] = {}
        self._encode = encode

    def enter(self, request: Message, batch: IncomingBatch | None = None) -> bool:
        """Accept a request or notification; return False, and change nothing, when its id is in flight."""
        request_id = request.id
        if request_id is not UNSET:
            key = request_id if request_id.__class__ is int or request_id.__class__ is str else self._odd_key(request)
            if key in self._in_flight:
                return False
            self._in_flight[key] = batch
            if batch is not None:
                batch.open += 1
                self.in_batches += 1
        self.count += 1
        return True

    @property
    def calls(self) -> int:
        """How many of them are to be answered."""
        return len(self._in_flight)

    def is_in_batch(self, request: Message) -> bool:
        """Return whether a request that is not answered yet came in a batch."""
        request_id = request.id
        if request_id is UNSET:
            return False
        key = request_id if request_id.__class__ is int or request_id.__class__ is str else self._odd_key(request)
        return self._in_flight.get(key) is not None

    def weigh(self, request: Message, size: int) -> None:
        """Count an accepted request with *size* bytes of memory until it leaves."""
        self._sizes[id(request)] = size
        self._flow.accepted(size)

    def leave(self, request: Message) -> IncomingBatch | None:
        """Take out a request that is answered, or a notification that is done; return the batch it came in.

        Raises:
            LocalProtocolError: The request had been answered before.
        """
        request_id = request.id
        batch = None
        if request_id is not UNSET:
            key = request_id if request_id.__class__ is int or request_id.__class__ is str else self._odd_key(request)
            try:
                batch = self._in_flight.pop(key)
            except KeyError:
                raise LocalProtocolError("the request has been answered before") from None
        self.count -= 1
        if self._sizes:
            self._flow.released(self._sizes.pop(id(request), 0))
        return batch

    def clear(self) -> set[IncomingBatch]:
        """Forget all of them, since nobody is left to answer, and return the batches that are incomplete now."""
        batches = {batch for batch in self._in_flight.values() if batch is not None}
        self.count = 0
        self._in_flight.clear()
        self._flow.released(sum(self._sizes.values()))
        self._sizes.clear()
        return batches

    def _odd_key(self, request: Message) -> tuple[str, object]:
        """Return a key that keeps types apart and serves for the unhashable ids of 1.0."""
        if request.id is None:
            return "null", id(request)  # null answers nothing in particular, so any number of them may be in flight
        return request.id.__class__.__name__, self._encode(request.id)
