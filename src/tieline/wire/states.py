# SPDX-License-Identifier: MIT
"""The life of a connection, as a table: an absent cell is illegal."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, TypeAlias

from tieline.errors import LocalProtocolError

__all__ = ["DRAINING", "FINISHED", "LINGERING", "OPEN", "Cause", "CauseName", "State", "next_state"]

# One of those in `Cause`.
CauseName: TypeAlias = Literal[
    "CLOSE_CALLED", "PEER_EOF", "LAST_REPLY", "VIOLATION", "LINGERED", "LOST", "LAST_WORD"
]  # fmt: skip


class State(IntEnum):
    """Where a connection is in its life. Ordered: it never goes back."""

    OPEN = 0
    DRAINING = 1  # no new work; what was accepted is still answered
    LINGERING = 2  # the last word is said, and the peer is given time to read it: what still comes in is thrown away
    FINISHED = 3  # nothing more to say: the transport is to be closed once its output is out
    CLOSED = 4  # the transport is gone


class Cause:
    """What moves a connection on. (No enum: its members take longer to look up, and it takes 0.07 ms to make.)"""

    CLOSE_CALLED: Final = "CLOSE_CALLED"
    PEER_EOF: Final = "PEER_EOF"
    LAST_REPLY: Final = "LAST_REPLY"
    VIOLATION: Final = "VIOLATION"
    LINGERED: Final = "LINGERED"
    LOST: Final = "LOST"
    LAST_WORD: Final = "LAST_WORD"  # as LAST_REPLY, where the peer would lose what was said if it were closed at once


# To look a member up in its class takes as long as ten other names: these are for what each connection asks.
OPEN: Final = State.OPEN
DRAINING: Final = State.DRAINING
LINGERING: Final = State.LINGERING
FINISHED: Final = State.FINISHED

_S, _C = State, Cause

TRANSITIONS: Final[dict[State, dict[CauseName, State]]] = {
    _S.OPEN: {
        _C.CLOSE_CALLED: _S.DRAINING,
        _C.PEER_EOF: _S.DRAINING,
        _C.VIOLATION: _S.LINGERING,
        _C.LOST: _S.CLOSED,
    },
    _S.DRAINING: {
        _C.CLOSE_CALLED: _S.DRAINING,
        _C.PEER_EOF: _S.DRAINING,
        _C.LAST_REPLY: _S.FINISHED,
        _C.LAST_WORD: _S.LINGERING,
        _C.VIOLATION: _S.LINGERING,
        _C.LOST: _S.CLOSED,
    },
    _S.LINGERING: {
        _C.CLOSE_CALLED: _S.LINGERING,
        _C.PEER_EOF: _S.FINISHED,
        _C.LINGERED: _S.FINISHED,
        _C.LOST: _S.CLOSED,
    },
    _S.FINISHED: {_C.CLOSE_CALLED: _S.FINISHED, _C.LOST: _S.CLOSED},
    _S.CLOSED: {_C.CLOSE_CALLED: _S.CLOSED, _C.LOST: _S.CLOSED},
}


def next_state(state: State, cause: CauseName) -> State:
    """Return where *cause* moves a connection in *state*.

    Raises:
        LocalProtocolError: It must not happen in that state; the text names both.
    """
    try:
        return TRANSITIONS[state][cause]
    except KeyError:
        raise LocalProtocolError(f"{cause} is illegal in state {state.name}") from None
