# SPDX-License-Identifier: MIT
"""Words to take a request back, found while so much is unanswered that nothing else is read.

While `Limits.max_pending` requests are unanswered, reading stops (`tieline.wire.flow`), and with it would stop the one
message that could change this soonest. So where the dialect has such a message (`CancelRule`), a bounded piece of what
the peer sends is taken in all the same, and looked through. A request that is found there together with the message
that takes it back is never accepted at all: it is answered at once as the dialect says, or not. What takes back a
request that is being handled is handed on, ahead of its turn. All else waits for its turn as it would otherwise.

The fifth of the six layers of the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import UNSET

from tieline.errors import RPCError
from tieline.wire.jsonrpc.reading import Request, read_message
from tieline.wire.jsonrpc.receiving import TAKEN, Receiving
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.dialects import CancelRule
    from tieline.wire.jsonrpc.events import Event
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["MAX_AHEAD", "ReadingAhead", "id_taken_back"]

# Bytes of messages that wait for their turn, from which on nothing more is read.
MAX_AHEAD: Final = 64 * 1024


def id_taken_back(rule: CancelRule, params: object) -> object:
    """Return the id that the *params* of a message name which takes a request back; UNSET where they name none."""
    if rule.id_name is None:
        ids = cast("list[object]", params) if isinstance(params, list) else []
        return ids[0] if len(ids) == 1 else UNSET
    return cast("dict[str, object]", params).get(rule.id_name, UNSET) if isinstance(params, dict) else UNSET


class ReadingAhead(Receiving):
    """The reading side of a connection, with an eye on what takes requests back.

    Attributes:
        takes_back: Whether it looks for such messages. Whoever handles them in another way than the dialect says sets
            it to False.
    """

    __slots__ = ("takes_back",)

    # As of `messages_read`, so that nothing has to be counted anew when messages have been read:
    _looked_at: int = 0  # the message up to which was looked
    _waiting: dict[tuple[type, str], int] | None = None  # the requests that were seen, by their ids

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase[Any], limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted)
        self.takes_back = protocol.dialect.cancel is not None

    @property
    def wants_data(self) -> bool:
        if not self.takes_back or self.state >= State.LINGERING or not self._is_parked():
            return super().wants_data
        if self._violation is not None or self._fault is not None or self._ways.reads_items:
            return False
        return sum(map(len, self._held[self._at :])) < MAX_AHEAD

    def next_events(self, now: float) -> Sequence[Event]:
        events = super().next_events(now)
        rule = self.protocol.dialect.cancel
        is_at_rest = not self.takes_back or self._at >= len(self._held) or self._is_ending() or not self._is_parked()
        if rule is None or is_at_rest or self._ways.reads_items:
            return events
        return [*events, *self._look_ahead(rule)]

    def _look_ahead(self, rule: CancelRule) -> list[Event]:
        """Look through what waits and was not looked at yet; return what takes back requests that are in flight."""
        held = self._held = list(self._held)
        read = self.messages_read - self._at  # how many were read before the first that is held
        waiting = self._waiting = {key: at for key, at in (self._waiting or {}).items() if at >= self.messages_read}
        events: list[Event] = []
        for index in range(max(self._at, self._looked_at - read), len(held)):
            message = self._glimpse(held[index])
            if message is None:
                continue
            if message.id is not UNSET:
                waiting[message.id.__class__, repr(message.id)] = read + index
            elif message.method == rule.method:
                held[index] = TAKEN
                wanted = id_taken_back(rule, message.params)
                if wanted is UNSET:
                    continue
                if self.requests.find(wanted) is not None:
                    self.requests.enter(message)
                    events.append(message)
                elif (at := waiting.pop((wanted.__class__, repr(wanted)), None)) is not None:
                    held[at - read] = TAKEN
                    if rule.code is not None:
                        self._answer(RPCError(rule.code, "request cancelled"), wanted, None)
        self._looked_at = read + len(held)
        return events

    def _glimpse(self, line: bytes) -> Request | None:
        """Return the request or notification that *line* is; None when it is something else, or faulty."""
        payload = self.protocol.decode_payload(line, self.limits.max_nesting)
        message = read_message(payload, self.protocol.dialect) if payload.__class__ is dict else None
        if not isinstance(message, Request) or self._id_problem(message.id) is not None:
            return None
        return message
