# SPDX-License-Identifier: MIT
"""What a message is, as plain objects: a request, a response, or a batch of either.

Owns what follows from an item alone: whether it wants an answer, whose id an error carries, what a batch may hold.
Refuses to know dialects, bytes and connections.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Final, cast

from tieline.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PLAIN_PARAMS", "RPCBatch", "RPCRequest", "RPCResponse"]

# Arguments of these classes encode as an array or an object, whatever they hold.
PLAIN_PARAMS: Final[frozenset[object]] = frozenset({list, tuple, dict})


class RPCRequest:
    """A call or a notification.

    Without ``__slots__``, so that a subclass can also derive from `asyncio.Future`.

    Attributes:
        method: The method's name; or the `RPCError` to answer with, when the request was received and is ill-formed.
        args: The arguments: a list or tuple (by position), a dict, dataclass or Struct (by name), or None (none).
        request_id: The id that the answer must carry; None for a notification. `answer_null_id` tells apart the rest.
        answer_null_id: Whether an answer is wanted although the id is null or unknown. JSON-RPC 2.0 (section 4)
            means a missing member by a notification, so ``"id": null`` is answered; and an ill-formed request is
            answered with a null id (section 5). Left out: True for an ill-formed request, False for others.
        is_foreign: Whether it was received and has neither method, result nor error: no JSON-RPC at all.
        answer: The response that it is if it names a call of ours, where it was received and is ill-formed; else None.
    """

    is_foreign = False
    answer: RPCResponse | None = None

    def __init__(
        self,
        method: str | RPCError,
        args: object = None,
        request_id: object = None,
        *,
        answer_null_id: bool | None = None,
    ) -> None:
        self.method = method
        self.args = args
        self.request_id = request_id
        self.answer_null_id = isinstance(method, RPCError) if answer_null_id is None else answer_null_id

    def is_notification(self) -> bool:
        """Return whether no answer is wanted."""
        return self.request_id is None and not self.answer_null_id

    def __repr__(self) -> str:
        # Arguments may be secrets, and large: their number says enough.
        ident = "notification" if self.is_notification() else f"id={_short(self.request_id)}"
        if isinstance(self.method, RPCError):
            return f"<{type(self).__name__} ill-formed {ident}: {_short_error(self.method)}>"
        return f"<{type(self).__name__} {_short(self.method)} {ident} ({_count_args(self.args)})>"


class RPCResponse:
    """The answer to a request.

    Attributes:
        result: The result, or an `RPCError`, whose ``request_id`` is then that of the response. An error that has
            another request's id already (a constant of the handler's module, raised twice) is copied, so that
            neither response changes the other.
        request_id: The id of the request; None where the answered request's id could not be read.
        is_faulty: Whether it was received and is ill-formed: its result is an `RPCError` that says how, and no word of
            the peer's.
        meant: The error that it meant to tell, where it was received, is ill-formed and has one of any shape; else
            None.
    """

    is_faulty = False
    meant: RPCError | None = None

    def __init__(self, result: object, request_id: object) -> None:
        if isinstance(result, RPCError):
            result = _with_id(result, request_id)
        self.result = result
        self.request_id = request_id

    def __repr__(self) -> str:
        outcome = _short_error(self.result) if isinstance(self.result, RPCError) else type(self.result).__name__
        return f"<{type(self).__name__} id={_short(self.request_id)}: {outcome}>"


class RPCBatch:
    """Several requests, or several responses, in one message.

    Args:
        items: At least one `RPCRequest`, or at least one `RPCResponse`, and not both kinds.

    Attributes:
        items: The same, as a list.

    Raises:
        ValueError: *items* is empty or holds both kinds.
        TypeError: *items* holds anything else.
    """

    items: list[RPCRequest] | list[RPCResponse]

    def __init__(self, items: Iterable[RPCRequest | RPCResponse]) -> None:
        kept: list[object] = list(items)
        if not kept:
            raise ValueError("a batch must not be empty")
        for item in kept:
            if not isinstance(item, RPCRequest | RPCResponse):
                raise TypeError(f"a batch holds RPCRequest or RPCResponse objects, not {type(item).__name__}")
        if len({isinstance(item, RPCRequest) for item in kept}) > 1:
            raise ValueError("a batch holds requests or responses, not both")
        self.items = cast("list[RPCRequest] | list[RPCResponse]", kept)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[RPCRequest | RPCResponse]:
        return iter(self.items)

    def is_request_batch(self) -> bool:
        """Return whether the items are requests. True for a batch that is still empty, as a subclass may start."""
        return all(isinstance(item, RPCRequest) for item in self.items[:1])

    def requests(self) -> list[RPCRequest]:
        """Return the requests that want an answer, in order; none for a batch of responses."""
        return [item for item in self.items if isinstance(item, RPCRequest) and not item.is_notification()]

    def request_ids(self) -> frozenset[object]:
        """Return the ids of the requests that want an answer, or of the responses.

        Ids that cannot be hashed (lists and dicts, which JSON-RPC 1.0 allows, and 1.0 has no batches) are left out.
        A set takes 0, 0.0 and False for one: to match ids, compare the type as well, item by item.
        """
        items = self.requests() if self.is_request_batch() else self.items
        return frozenset(item.request_id for item in items if _is_hashable(item.request_id))

    def __repr__(self) -> str:
        kind = "request" if self.is_request_batch() else "response"
        return f"<{type(self).__name__} of {len(self.items)} {kind}{'' if len(self.items) == 1 else 's'}>"


def _with_id(error: RPCError, request_id: object) -> RPCError:
    """Return *error* if it has that id or none yet, else a copy with that id."""
    known = error.request_id
    if known is None:
        error.request_id = request_id
    elif type(known) is not type(request_id) or known != request_id:
        error = RPCError(error.code, error.message, request_id, data=error.data, cost=error.cost)
    return error


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


# --- what reprs show ---------------------------------------------------------------------------------------------

_LONGEST = 60

_BOUNDED = reprlib.Repr()
_BOUNDED.maxstring = _BOUNDED.maxother = _LONGEST


def _short(value: object) -> str:
    """Return the repr of what a peer or a user chose, in bounded time and space; never raises."""
    try:
        text = _BOUNDED.repr(value)
    except Exception:
        # An integer of over 4300 digits cannot be printed, for one.
        return f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _short_error(error: RPCError) -> str:
    return f"error {_short(error.code)} {_short(error.message)}"


def _count_args(args: object) -> str:
    match args:
        case None:
            return "no args"
        case list() | tuple():
            return f"{len(cast('list[object]', args))} args"
        case dict():
            return f"{len(cast('dict[object, object]', args))} named args"
        case _:
            return type(args).__name__
