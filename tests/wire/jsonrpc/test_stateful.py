# SPDX-License-Identifier: MIT
"""Two connected machines under any sequence of orders, bytes, time and losses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET

from tests.wire.jsonrpc.driving import columns
from tests.wire.jsonrpc.ends import End, two_ends
from tests.wire.jsonrpc.messages import lines
from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError, RemoteProtocolError, RPCError, SessionBusy
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.limits import DEFAULT
from tieline.wire.states import State

PROTOCOLS: list[type[JSONRPC]] = [JSONRPCv2, JSONRPCv2, JSONRPCv1, JSONRPCLoose, JSONRPCAutoDetect]
MAX_CALLS, MAX_PENDING = 5, 3
LIMITS: dict[str, Any] = {
    "max_calls": MAX_CALLS,
    "max_pending": MAX_PENDING,
    "max_errors": 3,
    "max_message": 3000,
    "call_timeout": 8.0,
    "write_timeout": 16.0,
    "write_high_water": 2000,
    "write_low_water": 500,
}
sides = st.integers(0, 1)
timeouts = st.sampled_from([DEFAULT, DEFAULT, None, 0.0, 3.0, 100.0])
params = st.sampled_from([None, [], [1], ["x" * 300], ["y" * 1500]])
ENDINGS = (RPCError, TimeoutError, ConnectionLost, ClosedError, RemoteProtocolError)


class TwoEnds(RuleBasedStateMachine):
    """Each rule is something that a session, a transport or a peer may do at any time."""

    ends: tuple[End, End]

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.forgotten: list[set[str]] = [set(), set()]
        self.ids: list[list[tuple[int, str]]] = [[], []]

    @initialize(protocol=st.sampled_from(PROTOCOLS), capacity=st.sampled_from([50, 1000, 10**6]))
    def connect(self, protocol: type[JSONRPC], capacity: int) -> None:
        self.ends = two_ends(capacity, protocol, **LIMITS)

    # --- sessions ------------------------------------------------------------------------------------------------

    @rule(side=sides, timeout=timeouts, args=params)
    def call(self, side: int, timeout: Any, args: Any) -> None:
        end = self.ends[side]
        try:
            call_id = end.call(self.now, args, timeout)
        except SessionBusy:
            assert end.machine.open_calls == MAX_CALLS
        except (ClosedError, ConnectionLost):
            assert end.machine.state is not State.OPEN
        else:
            self.ids[side].append((call_id, end.made[-1]))

    @rule(side=sides, args=params)
    def notify(self, side: int, args: Any) -> None:
        try:
            self.ends[side].machine.send_notification("note", args)
        except (ClosedError, ConnectionLost):
            assert self.ends[side].machine.state is not State.OPEN

    @rule(side=sides, timeout=timeouts, kinds=st.lists(st.booleans(), max_size=4))
    def batch(self, side: int, timeout: Any, kinds: list[bool]) -> None:
        end = self.ends[side]
        tokens = [
            f"batched {self.now} {number} of {len(end.made)}" if kind else None for number, kind in enumerate(kinds)
        ]
        try:
            ids = end.machine.send_batch(*columns([("echo", [1], token) for token in tokens]), self.now, timeout)
        except LocalProtocolError:
            assert not kinds or not end.machine.protocol.dialect.batches
        except SessionBusy:
            assert end.machine.open_calls + sum(kinds) > MAX_CALLS
        except (ClosedError, ConnectionLost):
            assert end.machine.state is not State.OPEN
        else:
            made = [token for token in tokens if token is not None]
            end.made += made
            self.ids[side] += zip(ids, made, strict=True)

    @rule(side=sides, number=st.integers(0, 10))
    def forget(self, side: int, number: int) -> None:
        if number < len(self.ids[side]):
            call_id, token = self.ids[side].pop(number)
            self.ends[side].machine.forget(call_id)
            if token not in self.ends[side].ended:
                self.forgotten[side].add(token)

    @rule(side=sides, waiting=st.booleans())
    def wait_for_room(self, side: int, waiting: bool) -> None:
        self.ends[side].machine.flow.senders_waiting = int(waiting)

    @precondition(lambda self: any(end.running for end in self.ends))
    @rule(side=sides, number=st.integers(0, 5), how=st.sampled_from(["answer", "answer", "fail", "junk", "abandon"]))
    def handle(self, side: int, number: int, how: str) -> None:
        end = self.ends[side] if self.ends[side].running else self.ends[1 - side]
        number %= len(end.running)
        is_over = end.machine.state > State.DRAINING
        if how == "answer":
            end.answer(number)
        elif how == "fail":
            end.fail(number)
        elif how == "junk":
            request = end.running.pop(number)
            problem = end.machine.reply(request, object())
            wants_answer = request.id is not UNSET
            assert isinstance(problem, TypeError) is (wants_answer and not is_over)
        else:
            end.machine.abandon(end.running.pop(number))

    @rule(side=sides)
    def close(self, side: int) -> None:
        self.ends[side].machine.close()

    # --- transports ----------------------------------------------------------------------------------------------

    @rule(side=sides, size=st.sampled_from([1, 7, 60, 500, 10**6]))
    def write(self, side: int, size: int) -> None:
        self.ends[side].write(size, self.now)

    @rule(side=sides, size=st.sampled_from([1, 7, 60, 500, 10**6]))
    def read(self, side: int, size: int) -> None:
        self.ends[side].read(size, self.now)

    @rule(side=sides, size=st.sampled_from([60, 10**6]))
    def turn(self, side: int, size: int) -> None:
        """Have all that waits in one direction arrive."""
        self.ends[side].write(size, self.now)
        while self.ends[1 - side].read(size, self.now):
            pass

    @rule(side=sides)
    def half_close(self, side: int) -> None:
        end = self.ends[side]
        if not end.unsent and not end.machine.has_output and end.machine.state is not State.OPEN:
            end.outward.ended = True

    @rule(side=sides)
    def finish(self, side: int) -> None:
        """What a link does: close the transport of a machine that has nothing more to say."""
        end = self.ends[side]
        if end.machine.must_abort or (
            end.machine.state >= State.FINISHED and not end.unsent and not end.machine.has_output
        ):
            end.lose(None)

    @rule(side=sides, error=st.sampled_from([None, ConnectionResetError("reset"), OSError("broken")]))
    def lose(self, side: int, error: BaseException | None) -> None:
        self.ends[side].lose(error)

    @rule(side=sides, line=lines)
    def inject(self, side: int, line: bytes) -> None:
        """A peer that sends anything."""
        self.ends[side].inward.data += line + b"\n"

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0, 50.0, -1.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends:
            end.tick(self.now)

    # --- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def every_call_ends_once(self) -> None:
        for end, forgotten in zip(self.ends, self.forgotten, strict=True):
            for token, outcomes in end.ended.items():
                assert token in end.made
                assert len(outcomes) == 1
                assert token not in forgotten
                assert not isinstance(outcomes[0], BaseException) or isinstance(outcomes[0], ENDINGS)
            assert end.machine.open_calls == len(end.made) - len(end.ended) - len(forgotten)
            assert len(end.violations) <= 1

    @invariant()
    def tables_are_bounded(self) -> None:
        for end in self.ends:
            machine = end.machine
            assert machine.open_calls <= MAX_CALLS
            asked = sum(request.id is not UNSET for request in end.running)
            assert asked <= MAX_PENDING + 6 or machine.state > State.DRAINING, "one batch may be over the bound"
            assert machine.unanswered <= MAX_PENDING + 1024 + 6
            assert machine.unanswered in (0, len(end.running)) or machine.state > State.DRAINING
            if machine.state is State.CLOSED:
                assert (machine.open_calls, machine.unanswered, machine.output_size) == (0, 0, 0)
                assert machine.deadline == float("inf")
            if machine.state >= State.FINISHED:
                assert not machine.has_more

    def teardown(self) -> None:
        for side, end in enumerate(self.ends if hasattr(self, "ends") else ()):
            while end.read(1000, self.now):
                pass
            end.lose(None)
            assert set(end.ended) | self.forgotten[side] == set(end.made)
            machine = end.machine
            assert (machine.open_calls, machine.unanswered, machine.has_output) == (0, 0, False)
            assert not machine.calls._explicit
            assert not machine._held


TwoEnds.TestCase.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)


@pytest.mark.row("J11", "S6", "S7", "S10", "S13")
class TestTwoEnds(TwoEnds.TestCase):  # type: ignore[misc,valid-type]  # made at run time
    """Run by pytest."""
