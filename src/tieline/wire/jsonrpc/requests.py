# SPDX-License-Identifier: MIT
"""The table of the peer's requests that are accepted and not yet answered, and the batches they came in."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from msgspec import UNSET

from tieline.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tieline.wire.flow import Flow
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.reading import Request
    from tieline.wire.jsonrpc.writing import Reply

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
        codec: Encodes ids.
        flow: Is told what large requests weigh.

    Attributes:
        count: How many there are.
        in_batches: How many have come in batches, those included that are answered.
        in_flight: Those that are to be answered, by a key that an integer or a string is itself.
        is_simple: Whether none of them is large or came in a batch.
    """

    __slots__ = (
        "_batches",
        "_codec",
        "_flow",
        "_sizes",
        "_whole",
        "_whole_size",
        "count",
        "in_batches",
        "in_flight",
        "is_simple",
    )

    def __init__(self, codec: Codec, flow: Flow) -> None:
        self.count = self.in_batches = 0
        # What nearly no connection has any of is made when it is needed.
        self._batches: dict[object, IncomingBatch] | None = None
        # A batch that came when nothing else was in flight, whose members, so many and the first of those in flight,
        # are not among `_batches`: most are answered before anything else comes.
        self._whole: IncomingBatch | None = None
        self._whole_size = 0
        self._flow = flow
        self._sizes: dict[int, int] | None = None  # of the large ones only, by their identity
        self.in_flight: dict[object, Request] = {}
        self.is_simple = True
        self._codec = codec

    def enter(self, request: Request, batch: IncomingBatch | None = None) -> bool:
        """Accept a request or notification; return False, and change nothing, when its id is in flight."""
        request_id = request.id
        if request_id is not UNSET:
            key = request_id if request_id.__class__ is int or request_id.__class__ is str else self._odd_key(request)
            if key in self.in_flight:
                return False
            self.in_flight[key] = request
            if batch is not None:
                self._note_batch((key,), batch)
                batch.open += 1
                self.in_batches += 1
        self.count += 1
        return True

    def enter_all(self, requests: Sequence[Request], batch: IncomingBatch | None = None) -> int | None:
        """Accept all of *requests*, as `enter` does one by one, and return how many of them are to be answered.

        None, and nothing is changed, when it cannot.
        """
        fresh: dict[object, Request] = {request.id: request for request in requests}
        count = len(requests)
        if UNSET in fresh:
            del fresh[UNSET]
            if len(fresh) + sum(request.id is UNSET for request in requests) != count:
                return None
        elif len(fresh) != count:
            return None
        is_alone = not self.in_flight
        if is_alone:
            self.in_flight = fresh
        elif self.in_flight.keys().isdisjoint(fresh):
            self.in_flight.update(fresh)
        else:
            return None
        self.count += count
        size = len(fresh)
        if batch is not None and size:
            if is_alone:
                self._whole, self._whole_size = batch, size
                self.is_simple = False
            else:
                self._note_batch(fresh, batch)
            batch.open += size
            self.in_batches += size
        return size

    def find(self, request_id: object) -> Request | None:
        """Return the unanswered request with that id, matched by type and value; None = there is none."""
        simple = request_id.__class__ is int or request_id.__class__ is str
        key = request_id if simple else (request_id.__class__.__name__, self._codec.encode(request_id))
        return self.in_flight.get(key)

    @property
    def calls(self) -> int:
        """How many of them are to be answered."""
        return len(self.in_flight)

    @property
    def only_batch(self) -> IncomingBatch | None:
        """The batch that came when nothing else was in flight, if all its requests are unanswered, and no others."""
        return self._whole if len(self.in_flight) == self._whole_size else None

    def is_in_batch(self, request: Request) -> bool:
        """Return whether a request that is not answered yet came in a batch."""
        if self._whole is not None:
            self._note_whole(self._whole)
        return bool(self._batches and request.id is not UNSET and self._key(request) in self._batches)

    def batch_of(self, key: object) -> IncomingBatch | None:
        """Return the batch that the unanswered request of that key came in; None = it came by itself."""
        if self._whole is not None:
            self._note_whole(self._whole)
        return self._batches.get(key) if self._batches else None

    def weigh(self, request: Request, size: int) -> None:
        """Count an accepted request with *size* bytes of memory until it leaves."""
        if self._sizes is None:
            self._sizes = {}
        self._sizes[id(request)] = size
        self.is_simple = False
        self._flow.accepted(size)

    def leave(self, request: Request) -> IncomingBatch | None:
        """Take out a request that is answered, or a notification that is done; return the batch it came in.

        Raises:
            LocalProtocolError: The request had been answered before.
        """
        batch = None
        if request.id is not UNSET:
            if self._whole is not None:
                self._note_whole(self._whole)
            key = self._key(request)
            if self.in_flight.pop(key, None) is None:
                raise LocalProtocolError("the request has been answered before")
            if self._batches:
                batch = self._batches.pop(key, None)
        self.count -= 1
        if self._sizes:
            self._flow.released(self._sizes.pop(id(request), 0))
        if not self.is_simple:
            self.is_simple = not (self._sizes or self._batches or self._whole)
        return batch

    def take(self, replies: Sequence[Reply]) -> list[Request]:
        """Return the requests that *replies* answer; they stay in the table."""
        return [self.in_flight[reply.id] for reply in replies]

    def leave_all(self, replies: Sequence[Reply]) -> None:
        """Take out the requests that *replies* answer."""
        if self._sizes:
            for request in self.take(replies):
                self.leave(request)
            return
        self.count -= len(replies)
        if len(replies) == len(self.in_flight):
            self.in_flight.clear()
            self._batches = self._whole = None
        else:
            if self._whole is not None:
                self._note_whole(self._whole)
            batches = self._batches or {}
            for reply in replies:
                del self.in_flight[reply.id]
                batches.pop(reply.id, None)
        self.is_simple = not self._batches

    def clear(self) -> set[IncomingBatch]:
        """Forget all of them, since nobody is left to answer, and return the batches that are incomplete now."""
        batches = set((self._batches or {}).values())
        if self._whole is not None:
            batches.add(self._whole)
        self.count = 0
        self.in_flight.clear()
        if self._sizes is not None:
            self._flow.released(sum(self._sizes.values()))
        self._batches = self._sizes = self._whole = None
        self.is_simple = True
        return batches

    def _note_batch(self, keys: Iterable[object], batch: IncomingBatch) -> None:
        noted = dict.fromkeys(keys, batch)
        if self._batches is None:
            self._batches = noted
        else:
            self._batches.update(noted)
        self.is_simple = False

    def _note_whole(self, whole: IncomingBatch) -> None:
        """Note the batch that came when nothing else was in flight: its members are about to be told apart."""
        self._whole = None
        self._note_batch([*islice(self.in_flight, self._whole_size)], whole)

    def _key(self, request: Request) -> object:
        request_id = request.id
        return request_id if request_id.__class__ is int or request_id.__class__ is str else self._odd_key(request)

    def _odd_key(self, request: Request) -> tuple[str, object]:
        """Return a key that keeps types apart and serves for the unhashable ids of 1.0."""
        if request.id is None:
            return "null", id(request)  # null answers nothing in particular, so any number of them may be in flight
        return request.id.__class__.__name__, self._codec.encode(request.id)
