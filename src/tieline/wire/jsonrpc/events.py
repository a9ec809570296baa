# SPDX-License-Identifier: MIT
"""What a connection machine reports.

The events of nearly all traffic have no class of their own: a request or notification is the `Request`
itself, and the end of a call is a tuple ``(token, value, error)``, where *error* is None for a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from tieline.wire.jsonrpc.reading import Request
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieline.errors import RemoteProtocolError

__all__ = ["Answers", "CallEnded", "Event", "PlainCalls", "ProtocolViolation"]


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The peer broke the rules beyond repair: an error reply is queued, and the connection ends behind it."""

    error: RemoteProtocolError


CallEnded = tuple[Any, Any, Exception | None]  # the token is the caller's, the value the peer's

Event = Request | CallEnded | ProtocolViolation


class Answers(Sequence[CallEnded]):
    """The ends of several calls, all with results, as a sequence of `CallEnded`.

    Attributes:
        tokens: Those of the calls. They are kept apart from the values: those of a batch need not be put together only
            to be taken apart again.
        values: Their results.
    """

    __slots__ = ("tokens", "values")

    def __init__(self, tokens: list[Any], values: list[Any]) -> None:
        self.tokens = tokens
        self.values = values

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[CallEnded]:
        return zip(self.tokens, self.values, repeat(None), strict=False)

    def __getitem__(self, index: Any, /) -> Any:
        return [*self][index] if isinstance(index, slice) else (self.tokens[index], self.values[index], None)


class PlainCalls(list[Request]):
    """Requests that are all to be answered, each by an id that is an integer or a string: so none needs to be asked."""

    __slots__ = ()
