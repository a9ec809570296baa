# SPDX-License-Identifier: MIT
"""Any bytes whatever: an answer, an event or the end; never an exception, and never much work or output for little."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.jsonrpc.driving import Driver, connection
from tests.wire.jsonrpc.messages import chunks_of, lines
from tests.wire.jsonrpc.tables import COLLIDING, batch, call, line, note
from tests.wire.jsonrpc.tables_batches import CALLS_100K
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnItems(JSONRPCv2):
    """Reads and writes through a users' class."""

    @classmethod
    def message_to_item(cls, message: bytes) -> RPCRequest | RPCResponse | RPCBatch:
        return super().message_to_item(message)

    @classmethod
    def response_message(cls, item: RPCResponse) -> bytes:
        return super().response_message(item)


PROTOCOLS: list[type[JSONRPC]] = [JSONRPCv1, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect, OwnItems]
small = st.sampled_from([0, 1, 2, 10])
odd_limits = st.fixed_dictionaries(
    {},
    optional={
        "max_message": st.sampled_from([60, 100, None]),
        "max_response": st.sampled_from([1, 60, None]),
        "max_batch": small | st.none(),
        "max_bad_items": small,
        "max_pending": st.sampled_from([1, 2]),
        "max_nesting": small | st.none(),
        "max_id": small | st.none(),
        "max_method": small | st.none(),
        "max_errors": small | st.none(),
        "write_high_water": st.sampled_from([0, 100]),
    },
)


@pytest.mark.row("J2", "S6", "H10")
@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(PROTOCOLS),
    st.booleans(),
    odd_limits,
    st.lists(lines | st.binary(max_size=300), max_size=12),
    st.lists(st.floats(0, 1), max_size=6),
    st.booleans(),
)
def test_any_bytes_are_answered_or_end_the_connection(
    protocol: type[JSONRPC], accepted: bool, limits: Any, texts: list[bytes], cuts: list[float], paused: bool
) -> None:
    driver = Driver(connection(protocol, accepted=accepted, write_low_water=0, **limits), calls=2)
    if paused:
        driver.machine.writing_paused(10, 0.0)
    for data in chunks_of(b"\n".join(texts), cuts):
        driver.feed(data)
        for request in driver.held:
            driver.machine.reply(request, None)
        driver.held.clear()
        driver.run()
    machine = driver.machine
    assert machine.state in (State.OPEN, State.LINGERING, State.FINISHED)  # the last: of another protocol
    assert machine.unanswered == 0
    assert (machine.state is not State.OPEN) == bool(driver.seen.violations)
    driver.handle(machine.receive_eof(1.0))
    driver.handle(machine.connection_lost(None))
    assert sorted(token for token, _ in driver.seen.ended) == ["call 0", "call 1"]


# --- proportion ------------------------------------------------------------------------------------------------------

SHORT = b'{"jsonrpc":"2.0","method":"","id":%d}'
MANY: dict[str, Any] = {
    "junk": lambda n: b"1",
    "nothing": lambda n: b"{}",
    "one id": lambda n: SHORT % 7,
    "unknown methods": lambda n: SHORT % n,
    "bad params": lambda n: SHORT.replace(b"}", b',"params":1}') % n,
    "no method": lambda n: b'{"jsonrpc":"2.0","id":%d}' % n,
    "notifications": lambda n: b'{"jsonrpc":"2.0","method":""}',
    "responses": lambda n: b'{"jsonrpc":"2.0","result":1,"id":%d}' % n,
    "unencodable": lambda n: call(str(n), "gives_object"),
}


@pytest.mark.row("H42")
@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("size", [17, 100, 1000])
@pytest.mark.parametrize("busy", [False, True])
def test_a_batch_is_answered_with_no_more_than_four_times_its_size(kind: str, size: int, busy: bool) -> None:
    driver = Driver(connection(max_errors=None, max_pending=1), calls=1)
    if busy:
        driver.feed(line(call('"held"', "hold")))
    wire = batch(*(MANY[kind](number) for number in range(size)))
    before = len(driver.sent)
    driver.feed(wire)
    assert len(driver.sent) - before <= 4 * len(wire)


# --- work ------------------------------------------------------------------------------------------------------------


def cpu_of(work: Callable[[], object]) -> float:
    """Return what *work* takes of the processor in seconds: the best of some, since other programs are in the way."""
    best = 1e9
    for _ in range(5):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
        if best < 0.02:
            break
    return best


def read(wire: bytes) -> None:
    """Have a machine read *wire*."""
    machine = connection(max_message=None, max_errors=None)
    machine.receive_data(wire, 0.0)
    while machine.has_more:
        machine.next_events(0.0)


def decode(wire: bytes) -> None:
    """Decode *wire* and nothing more."""
    JSONRPCv2.decode_payload(wire, None)


WORK: dict[str, bytes] = {
    "an id of 900 000 digits": line(call("7" * 900_000)),
    "a parameter of 900 000 digits": line(call("1", params="[" + "7" * 900_000 + "]")),
    "a fraction of 900 000 digits": line(call("1", params="[0." + "7" * 900_000 + "]")),
    "an exponent of 900 000 digits": line(call("1", params="[1e" + "7" * 900_000 + "]")),
    "a bomb of 1 MB": b"[" * 1_000_000 + b"\n",
    "a bomb of objects": b'{"a":' * 200_000 + b"\n",
    "300 000 bad members": batch(*[b"1"] * 300_000),
    "100 000 calls": CALLS_100K,
    "20 000 names of equal hashes": line(call("1", params=json.dumps(dict.fromkeys(map(str, COLLIDING))))),
    "1000 ids of equal hashes": batch(*(call(str(number)) for number in COLLIDING[:1000])),
    "1000 notifications": batch(*[note()] * 1000),
    "1 MB of text": line(call("1", params=json.dumps(["\u00e9" * 160_000]))),
    "a name of 1 MB": line(call("1", "x" * 1_000_000)),
    "1 MB of blank lines": b"\r\n" * 500_000,
}


@pytest.mark.row("H7", "H19", "H21", "H28", "H38", "H40", "H42")
@pytest.mark.parametrize("name", WORK)
def test_the_work_for_a_message_is_bounded(name: str) -> None:
    wire = WORK[name]
    # Less than 100 ms; on a slow machine, not much more than the mere decoding.
    assert cpu_of(lambda: read(wire)) < max(0.1, 2 * cpu_of(lambda: decode(wire)))


@pytest.mark.row("H28")
def test_ids_of_equal_hashes_cost_what_others_cost() -> None:
    colliding = line(*(call(str(number)) for number in COLLIDING[:2000]))
    others = line(*(call(str(number + 10**22)) for number in range(2000)))
    assert cpu_of(lambda: read(colliding)) < 5 * cpu_of(lambda: read(others)) + 0.01


@pytest.mark.row("H27")
def test_a_megabyte_of_empty_objects_takes_less_than_40_and_gives_them_back() -> None:
    wire = b"[" + b"{}," * 349_000 + b"{}]\n"
    machine = connection()
    tracemalloc.start()
    try:
        machine.receive_data(wire, 0.0)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert machine.faults == 1
    assert peak < 40e6
    assert left < 1e5
