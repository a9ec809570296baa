# SPDX-License-Identifier: MIT
"""What a connection machine reports.

The events of nearly all traffic have no class of their own: a request or notification is the `Request`
itself, and the end of a call is a tuple ``(token, value, error)``, where *error* is None for a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from tieline.wire.jsonrpc.outgoing import BatchMember
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieline.errors import RemoteProtocolError

__all__ = ["Answers", "CallEnded", "Event", "ProtocolViolation"]


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The peer broke the rules beyond repair: an error reply is queued, and the connection ends behind it."""

    error: RemoteProtocolError


CallEnded = tuple[Any, Any, Exception | None]  # the token is the caller's, the value the peer's

Event = Request | CallEnded | ProtocolViolation


class Answers(Sequence[CallEnded]):
    """The ends of several calls, all with results, as a sequence of `CallEnded`.

    Tokens and values are kept apart: those of a batch need not be put together only to be taken apart again.
    """

    __slots__ = ("_tokens", "_values")

    def __init__(self, tokens: list[Any], values: list[Any]) -> None:
        self._tokens = tokens
        self._values = values

    def __len__(self) -> int:
        return len(self._tokens)

    def __iter__(self) -> Iterator[CallEnded]:
        return zip(self._tokens, self._values, repeat(None), strict=False)

    def __getitem__(self, index: Any, /) -> Any:
        return [*self][index] if isinstance(index, slice) else (self._tokens[index], self._values[index], None)

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Return the tokens, each with its value."""
        return zip(self._tokens, self._values, strict=True)

    def end_batch(self) -> bool:
        """End the calls, if they are all that were asked in one batch; else do nothing, and return False."""
        first = self._tokens[0]
        return first.__class__ is BatchMember and first.outcomes.all_answered(self._tokens, self._values)
