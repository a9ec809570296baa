# SPDX-License-Identifier: MIT
"""Every cell of the table of states, and every absent one."""

from typing import get_args

import pytest

from tieline.errors import LocalProtocolError
from tieline.wire.states import Cause, CauseName, State, next_state

CELLS: dict[tuple[State, CauseName], State] = {
    (State.OPEN, Cause.CLOSE_CALLED): State.DRAINING,
    (State.OPEN, Cause.PEER_EOF): State.DRAINING,
    (State.OPEN, Cause.VIOLATION): State.LINGERING,
    (State.OPEN, Cause.LOST): State.CLOSED,
    (State.DRAINING, Cause.CLOSE_CALLED): State.DRAINING,
    (State.DRAINING, Cause.PEER_EOF): State.DRAINING,
    (State.DRAINING, Cause.LAST_REPLY): State.FINISHED,
    (State.DRAINING, Cause.LAST_WORD): State.LINGERING,
    (State.DRAINING, Cause.VIOLATION): State.LINGERING,
    (State.DRAINING, Cause.LOST): State.CLOSED,
    (State.LINGERING, Cause.CLOSE_CALLED): State.LINGERING,
    (State.LINGERING, Cause.PEER_EOF): State.FINISHED,
    (State.LINGERING, Cause.LINGERED): State.FINISHED,
    (State.LINGERING, Cause.LOST): State.CLOSED,
    (State.FINISHED, Cause.CLOSE_CALLED): State.FINISHED,
    (State.FINISHED, Cause.LOST): State.CLOSED,
    (State.CLOSED, Cause.CLOSE_CALLED): State.CLOSED,
    (State.CLOSED, Cause.LOST): State.CLOSED,
}
CAUSES: tuple[CauseName, ...] = get_args(CauseName)
ABSENT = [(state, cause) for state in State for cause in CAUSES if (state, cause) not in CELLS]


def test_each_cause_is_known_to_type_checkers() -> None:
    assert {name for name in vars(Cause) if name.isupper()} == set(CAUSES)


@pytest.mark.parametrize(("cell", "then"), CELLS.items(), ids=str)
def test_a_cause_moves_a_connection_on(cell: tuple[State, CauseName], then: State) -> None:
    assert next_state(*cell) is then
    assert then >= cell[0], "a connection never goes back"


@pytest.mark.parametrize(("state", "cause"), ABSENT, ids=str)
def test_an_absent_cell_is_illegal_and_names_both(state: State, cause: CauseName) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{cause} is illegal in state {state.name}$"):
        next_state(state, cause)


def test_a_lost_connection_is_closed_from_everywhere() -> None:
    assert {next_state(state, Cause.LOST) for state in State} == {State.CLOSED}
