# SPDX-License-Identifier: MIT
"""One message, one verdict: through `message_to_item`, through the machine, on its fast path and on its slow one."""

from __future__ import annotations

import json
import sys
from traceback import walk_stack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from tests.wire.jsonrpc.driving import Driver, Seen, answer_of, connection, exactly, outcome_of
from tests.wire.jsonrpc.messages import chunks_of, lines, values
from tests.wire.jsonrpc.test_tables import TABLES
from tieline.errors import ConnectionLost, RPCError
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.states import State
from tieline.wire.strangers import foreign_line, foreign_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.wire.jsonrpc.tables import Row
    from tieline.wire.jsonrpc.connection import Connection

PROTOCOLS: list[type[JSONRPC]] = [JSONRPCv1, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect]
# `message_to_item` knows no limits but nesting.
LIFTED: dict[str, Any] = {
    "max_batch": None,
    "max_errors": None,
    "max_id": None,
    "max_method": None,
    "max_message": None,
}
LIFTED |= {"max_bad_items": 10**9, "max_pending": 10**9}
CALLS = 2  # open calls of this side: 0 and 1
BAD = "RemoteProtocolError"


def by_item(protocol: type[JSONRPC], line: bytes) -> tuple[list[str], int]:
    """Return what the items of *line* mean for a new machine, and how many faults there are."""
    item = protocol.message_to_item(line)
    verdicts: list[Any] = []
    faults = 0
    taken: set[str] = set()
    for member in item if isinstance(item, RPCBatch) else [item]:
        response = member if isinstance(member, RPCResponse) else answer_in(member, taken)
        if response is not None:
            call_id = response.request_id
            if is_issued(call_id):
                if f"call {call_id}" not in taken:
                    error = response.result if isinstance(response.result, RPCError) else None
                    verdicts.append(["ends", call_id, outcome_of(response.result, error)])
                taken.add(f"call {call_id}")
            else:
                faults += 1
            continue
        assert isinstance(member, RPCRequest)
        ident = "none" if member.is_notification() else exactly(member.request_id)
        if isinstance(member.method, RPCError):
            faults += member.method.code != JSONRPC.INVALID_ARGS
            if ident != "none":
                verdicts.append(["refused", member.method.code, json.loads(ident)])
        elif ident in taken and ident not in ("none", "null"):
            faults += 1
            verdicts.append(["refused", JSONRPC.INVALID_REQUEST, None])
        else:
            taken.add(ident)
            verdicts.append(["asks", member.method, member.args, ident])
    return sorted(map(exactly, verdicts)), faults


def is_issued(call_id: object) -> bool:
    return type(call_id) is int and 0 <= call_id < CALLS


def answer_in(request: RPCRequest, taken: set[str]) -> RPCResponse | None:
    """Return the answer that an ill-formed *request* is to one of our calls, of which some are *taken*."""
    answer = request.answer
    if answer is None:
        return None
    call_id = answer.request_id
    if call_id is None:
        is_ours = any(f"call {number}" not in taken for number in range(CALLS))
    else:
        is_ours = is_issued(call_id) and not (request.is_foreign and f"call {call_id}" in taken)
    return answer if is_ours else None


def by_machine(protocol: type[JSONRPC], line: bytes) -> tuple[list[str], int]:
    """Return the same by a new machine that gets *line*."""
    machine = connection(protocol, **LIFTED)
    Driver(machine, calls=CALLS)
    verdicts: list[Any] = []
    events = list(machine.receive_data(line + b"\n", 0.0))
    while machine.has_more:
        events += machine.next_events(0.0)
    for event in events:
        if isinstance(event, Request):
            args = None if event.params is UNSET else event.params
            ident = "none" if event.id is UNSET else exactly(event.id)
            verdicts.append(["asks", event.method, args, ident])
        elif isinstance(event, tuple) and not isinstance(event[2], ConnectionLost):
            outcome = outcome_of(event[1], event[2])
            # A response that is none: an item cannot say so but by the code.
            verdicts.append(["ends", int(str(event[0])[5:]), JSONRPC.INVALID_REQUEST if outcome == BAD else outcome])
    # Refusals in a batch wait for its other answers.
    for event in events:
        if isinstance(event, Request) and machine.state is State.OPEN:
            machine.reply(event, "answered")
    for text in machine.data_to_send().splitlines() if machine.has_output else ():
        reply = json.loads(text)
        answers = map(answer_of, reply if isinstance(reply, list) else [reply])
        verdicts += [["refused", *answer] for answer in answers if answer[:2] != ["=", "answered"]]
    return sorted(map(exactly, verdicts)), machine.faults


def is_blank(line: bytes) -> bool:
    return line in (b"", b"\r")


def is_foreign(line: bytes) -> bool:
    """Return whether a machine takes its peer for one of another protocol, which an item cannot tell."""
    return bool(foreign_start(line) or foreign_line(line))


def lines_of(row: Row) -> set[bytes]:
    """Return the lines of a row, but for arrays of many members: a batch of 1000 shows as much."""
    return {line for line in row.wire.split(b"\n") if not is_blank(line) and line.count(b",") < 10_000}


@pytest.mark.row("J1", "J2")
@pytest.mark.parametrize("rows", [rows for rows, _ in TABLES])
def test_items_and_machine_agree_on_every_line_of_the_tables(rows: list[Row]) -> None:
    for line in {line for row in rows for line in lines_of(row)}:
        for protocol in PROTOCOLS:
            assert by_machine(protocol, line) == by_item(protocol, line)


@pytest.mark.row("J2")
@settings(max_examples=300)
@given(st.sampled_from(PROTOCOLS), lines.filter(lambda line: not is_blank(line) and not is_foreign(line)))
def test_items_and_machine_agree_on_made_up_lines(protocol: type[JSONRPC], line: bytes) -> None:
    assert by_machine(protocol, line) == by_item(protocol, line)


# --- the fast path and the slow ones ---------------------------------------------------------------------------------


class Items(JSONRPCv2):
    """Has the machine read by items."""

    @classmethod
    def message_to_item(cls, message: bytes) -> RPCRequest | RPCResponse | RPCBatch:
        return super().message_to_item(message)


def fast(**more: Any) -> Connection:
    return connection(JSONRPCv2, **more)


def slow(**more: Any) -> Connection:
    machine = connection(JSONRPCv2, **more)
    assert machine._is_plain
    machine._is_plain = False
    return machine


def by_items(**more: Any) -> Connection:
    machine = connection(Items, **more)
    assert not machine._is_plain
    return machine


def played(make: Callable[..., Connection], chunks: list[bytes], **more: Any) -> tuple[Seen, int, State, int]:
    driver = Driver(make(**more), calls=CALLS, is_careful=make is not fast)
    for chunk in chunks:
        driver.feed(chunk)
    machine = driver.machine
    return driver.seen, machine.faults, machine.state, machine.unanswered


@pytest.mark.parametrize("rows", [rows for rows, _ in TABLES])
def test_fast_and_slow_paths_agree_on_every_row(rows: list[Row]) -> None:
    for row in rows:
        if row.protocol is JSONRPCv2:
            more = {"accepted": row.accepted, **row.limits}
            wanted = played(fast, [row.wire], **more)
            assert played(slow, [row.wire], **more) == wanted, row.name
            assert played(by_items, [row.wire], **more) == wanted, row.name


@settings(max_examples=150)
@given(st.lists(lines, max_size=8), st.lists(st.floats(0, 1), max_size=4), st.booleans())
def test_fast_and_slow_paths_agree_on_made_up_lines(texts: list[bytes], cuts: list[float], accepted: bool) -> None:
    chunks = chunks_of(b"".join(text + b"\n" for text in texts), cuts)
    more = {"accepted": accepted, "max_errors": 3, "max_pending": 2}
    seen = [played(make, chunks, **more) for make in (fast, slow, by_items)]
    for one, *_ in seen:
        one.replies.sort(
            key=exactly
        )  # a refusal may overtake answers: the one reads on at the bound, the other does not
    assert seen[0] == seen[1] == seen[2]


# --- message_to_item alone -------------------------------------------------------------------------------------------


@pytest.mark.row("J2")
@settings(max_examples=250)
@given(st.sampled_from(PROTOCOLS), lines | values.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_any_bytes_are_an_item(protocol: type[JSONRPC], data: bytes) -> None:
    assert isinstance(protocol.message_to_item(data), RPCRequest | RPCResponse | RPCBatch)


def _depth() -> int:
    return sum(1 for _ in walk_stack(sys._getframe()))


def _from_below(frames: int, function: Callable[[], object]) -> object:
    return function() if not frames else _from_below(frames - 1, function)


@pytest.mark.row("J2", "H19")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc":"2.0","method":"a","params":[1],"id":1}',
        b'{"jsonrpc":"2.0","method":"a","params":' + b"[" * 127 + b"]" * 127 + b',"id":1}',
        b'{"jsonrpc":"2.0","method":"a","params":' + b"[" * 128 + b"]" * 128 + b',"id":1}',
        b'[{"jsonrpc":"2.0","method":"a","id":1},{"id":1,"result":2,"jsonrpc":"2.0"},5]',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}',
        b"{",
    ],
)
def test_a_verdict_does_not_depend_on_the_call_stack(protocol: type[JSONRPC], message: bytes) -> None:
    limit = sys.getrecursionlimit()
    wanted = repr(protocol.message_to_item(message))
    for room in range(1, 60):
        entered = False

        def judge() -> object:
            nonlocal entered
            entered = True
            return protocol.message_to_item(message)

        try:
            item = _from_below(limit - _depth() - room, judge)
        except RecursionError:
            # Nothing can be promised on the last frames, but that no limit stays lifted.
            assert room < 20 or not entered
        else:
            assert room < 20 or repr(item) == wanted
        assert sys.getrecursionlimit() == limit


def test_every_item_of_the_tables_can_be_shown() -> None:
    for rows, _ in TABLES:
        for line in {line for row in rows for line in lines_of(row)}:
            assert len(repr(JSONRPCv2.message_to_item(line))) < 200
