# SPDX-License-Identifier: MIT
"""What a connection machine reports.

The events of nearly all traffic have no class of their own: a request or notification is the `Request`
itself, and the end of a call is a tuple ``(token, value, error)``, where *error* is None for a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.wire.jsonrpc.reading import Request
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from tieline.errors import RemoteProtocolError

__all__ = ["CallEnded", "Event", "ProtocolViolation"]


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The peer broke the rules beyond repair: an error reply is queued, and the connection ends behind it."""

    error: RemoteProtocolError


CallEnded = tuple[Any, Any, Exception | None]  # the token is the caller's, the value the peer's

Event = Request | CallEnded | ProtocolViolation
