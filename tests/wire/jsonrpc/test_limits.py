# SPDX-License-Identifier: MIT
"""Each limit of a connection at one below it, at it and at one above."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from tests.ids import plain_repr
from tests.wire.jsonrpc.driving import Driver, columns, connection, exactly
from tests.wire.jsonrpc.tables import batch, call, line, note
from tieline.errors import OutgoingMessageTooLarge, SessionBusy
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.protocols import JSONRPCv2
from tieline.wire.jsonrpc.reading import Refusal
from tieline.wire.limits import DEFAULT, Limits, ceiling, checked_limits
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1 << 20
AROUND = [-1, 0, 1]

pytestmark = pytest.mark.row("J11")


def fed(wire: bytes, **limits: Any) -> Driver:
    driver = Driver(connection(**limits))
    driver.feed(wire)
    return driver


# --- the value -------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_documented_ones() -> None:
    assert dataclasses.asdict(Limits()) == {
        "max_message": DEFAULT,
        "max_response": DEFAULT,
        "max_batch": 1000,
        "max_bad_items": 16,
        "max_pending": 64,
        "max_pending_size": 16 * MEBIBYTE,
        "max_calls": 1000,
        "max_nesting": 128,
        "max_id": 1024,
        "max_method": 256,
        "max_errors": 50,
        "error_decay": 1.0,
        "connect_timeout": 10.0,
        "handshake_timeout": 10.0,
        "tls_shutdown_timeout": 5.0,
        "message_timeout": 30.0,
        "idle_timeout": 300.0,
        "handler_timeout": 30.0,
        "call_timeout": 30.0,
        "write_timeout": 20.0,
        "linger": 1.0,
        "write_high_water": 65536,
        "write_low_water": 16384,
        "max_connections": 1000,
        "max_connections_per_peer": None,
        "max_handshakes": 100,
        "max_peers": 1024,
        "max_waiting_per_peer": 16,
        "abandon_penalty": 60.0,
        "governance": {  # its own tests: tests/wire/test_governance.py
            "bw_cost_per_byte": DEFAULT,
            "cost_soft_limit": 2000.0,
            "cost_hard_limit": DEFAULT,
            "cost_decay_per_sec": DEFAULT,
            "cost_sleep": 2.0,
            "error_base_cost": 100.0,
            "initial_concurrent": 20,
            "processing_timeout": DEFAULT,
            "target_response_time": 3.0,
            "group": None,
        },
    }


def test_a_public_server_bounds_each_peer_as_well() -> None:
    assert Limits.public() == Limits(max_connections_per_peer=100)
    mine = Limits.public(max_connections_per_peer=5, linger=2)
    assert mine == Limits(max_connections_per_peer=5, linger=2)
    with pytest.raises(TypeError):
        Limits.public(max_anything=5)


def test_strangers_may_send_1_mib_and_those_that_we_dialled_64() -> None:
    accepted, dialled = Limits().resolved(accepted=True), Limits().resolved(accepted=False)
    assert (accepted.max_message, accepted.max_response) == (MEBIBYTE, MEBIBYTE)
    assert (dialled.max_message, dialled.max_response) == (64 * MEBIBYTE, 64 * MEBIBYTE)
    mine = Limits(max_message=5).resolved(accepted=True)
    assert (mine.max_message, mine.max_response) == (5, 5)
    mine = Limits(max_response=5).resolved(accepted=True)
    assert (mine.max_message, mine.max_response) == (MEBIBYTE, 5)
    lifted = Limits(max_message=None).resolved(accepted=True)
    assert (lifted.max_message, lifted.max_response) == (None, None)


def test_connections_with_equal_limits_share_one_resolved_value() -> None:
    assert Limits(max_batch=7).resolved(accepted=True) is Limits(max_batch=7).resolved(accepted=True)
    assert Limits(max_batch=7).resolved(accepted=True) != Limits(max_batch=7).resolved(accepted=False)
    # Not all fields go into the hash: equality has the last word.
    one, other = Limits(max_batch=7), Limits(max_batch=8)
    assert hash(one) == hash(other)
    assert (one.resolved(accepted=True).max_batch, other.resolved(accepted=True).max_batch) == (7, 8)
    assert checked_limits(None) is checked_limits(None)


LIFTED = {"max_message", "max_response", "max_batch", "max_nesting", "max_id", "max_method", "max_errors"}
LIFTED |= {"connect_timeout", "call_timeout", "write_timeout", "handshake_timeout", "message_timeout", "idle_timeout"}
LIFTED |= {
    "abandon_penalty",
    "handler_timeout",
    "max_pending_size",
    "max_connections",
    "max_connections_per_peer",
    "max_handshakes",
}


BEYOND_FLOATS = pytest.param(10**400, id="beyond floats")
NUMBERS = [field.name for field in dataclasses.fields(Limits) if field.name != "governance"]


@pytest.mark.parametrize("name", NUMBERS)
def test_none_lifts_only_what_can_be_lifted(name: str) -> None:
    lifted: dict[str, Any] = {name: None}
    if name in LIFTED:
        assert getattr(Limits(**lifted), name) is None
    else:
        with pytest.raises(ValueError, match=f"^{name} must be a finite (whole )?number >= [01], not None"):
            Limits(**lifted)


@pytest.mark.parametrize("name", ["max_message", "max_pending", "max_bad_items"])
def test_sizes_and_counts_are_whole_numbers(name: str) -> None:
    broken: dict[str, Any] = {name: 1e3}
    with pytest.raises(ValueError, match=f"^{name} must be a finite whole number"):
        Limits(**broken)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"max_batch": -1}, "max_batch must be a finite whole number >= 0, not -1"),
        ({"max_pending": 0}, "max_pending must be a finite whole number >= 1, not 0"),
        ({"linger": -1}, "linger must be a finite number >= 0, not -1"),
        ({"max_batch": DEFAULT}, "max_batch must be a finite whole number >= 0, not DEFAULT"),
        ({"call_timeout": DEFAULT}, "call_timeout must be a finite number >= 0, not DEFAULT"),
    ],
    ids=plain_repr,
)
def test_what_a_limit_must_be_is_said(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Limits(**given)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", [-1, float("nan"), float("inf"), BEYOND_FLOATS, "5", True, [], object()], ids=plain_repr
)
def test_a_limit_is_a_finite_number(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a finite (whole )?number >= [01], not "):
        Limits(**{name: value})


@pytest.mark.parametrize(
    "limits", [{"max_pending": 0}, {"max_calls": 0}, {"write_low_water": 5, "write_high_water": 4}]
)
def test_limits_that_let_nothing_through_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Limits(**limits)


def test_writers_may_go_on_where_they_wait() -> None:
    limits = Limits(write_low_water=5, write_high_water=5)
    assert (limits.write_low_water, limits.write_high_water) == (5, 5)


def test_a_lifted_limit_is_endless_and_an_unresolved_one_a_mistake() -> None:
    assert [ceiling(0), ceiling(5), ceiling(None)] == [0, 5, float("inf")]
    with pytest.raises(ValueError, match="resolved"):
        ceiling(DEFAULT)
    assert repr(DEFAULT) == "DEFAULT"


# --- each of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("cut", [None, 1, 90, 100, 101])
def test_max_message(by: int, cut: int | None) -> None:
    wire = call("1", params='["' + "x" * (100 + by - len(call("1", params='[""]'))) + '"]')
    assert len(wire) == 100 + by
    driver = Driver(connection(max_message=100))
    for piece in [wire + b"\n"] if cut is None else [wire[:cut], wire[cut:] + b"\n"]:
        driver.feed(piece)
    if by <= 0:
        assert [reply[2] for reply in driver.seen.replies] == [1]
        assert driver.machine.state is State.OPEN
    else:
        assert driver.seen.replies == [[-32600, None]]
        assert b'"message too large (limit 100)"' in driver.sent
        assert driver.seen.violations == ["MessageTooLarge"]
        assert driver.machine.state is State.LINGERING


@pytest.mark.row("H6")
@pytest.mark.parametrize("by", AROUND)
def test_max_message_of_our_own(by: int) -> None:
    machine = connection(max_message=100)

    def text(frame: bytes) -> str:
        return "x" * (100 + by - len(frame))

    request, notification, pair = (
        call("0", "m", '[""]'),
        note("m", '[""]'),
        b"[%b,%b]" % (call("1", "m"), note("m", '[""]')),
    )
    orders: list[Callable[[], object]] = [
        lambda: machine.send_request("m", [text(request)], "token", 0.0),
        lambda: machine.send_notification("m", [text(notification)]),
        lambda: machine.send_batch(*columns([("m", [1], "token"), ("m", [text(pair)], None)]), 0.0),
    ]
    for order in orders:
        if by <= 0:
            order()
            assert machine.output_size == 100 + by
            machine.data_to_send()
        else:
            with pytest.raises(OutgoingMessageTooLarge) as caught:
                order()
            assert (caught.value.limit, caught.value.size) == (100, 101)
            assert not machine.has_output
            assert machine.open_calls == 0
    assert machine.state is State.OPEN


@pytest.mark.parametrize("by", AROUND)
def test_max_response_of_one(by: int) -> None:
    empty = len(b'{"jsonrpc":"2.0","result":"","id":1}')
    driver = fed(line(call("1", params='["' + "x" * (100 + by - empty) + '"]')), max_response=100)
    assert driver.seen.replies[0][0] == ("=" if by <= 0 else -32600)
    assert driver.seen.replies[0][-1] == 1
    if by > 0:
        assert b"response too large (limit 100)" in driver.sent


@pytest.mark.parametrize("by", AROUND)
def test_max_response_of_a_batch(by: int) -> None:
    empty = len(b'[{"jsonrpc":"2.0","result":"","id":1},{"jsonrpc":"2.0","result":1,"id":2}]')
    wire = batch(call("1", params='["' + "x" * (150 + by - empty) + '"]'), call("2"))
    driver = fed(wire, max_response=150)
    if by <= 0:
        assert len(driver.sent) == 150 + by + 1
        assert len(driver.seen.replies[0]) == 2
    else:
        assert driver.seen.replies == [[-32600, None]]


def test_a_member_over_max_response_is_replaced_alone() -> None:
    driver = fed(batch(call("1", params='["' + "x" * 300 + '"]'), call("2")), max_response=300)
    assert sorted(map(exactly, driver.seen.replies[0])) == sorted(map(exactly, [[-32600, 1], ["=", 1, 2]]))


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("member", [call("%d"), note()], ids=["calls", "notifications"])
def test_max_batch(by: int, member: bytes) -> None:
    wire = batch(*(member.replace(b"%d", b"%d" % number) for number in range(5 + by)))
    driver = fed(wire, max_batch=5)
    assert len(driver.seen.ran) == (5 + by if by <= 0 else 0)
    assert (driver.seen.replies == [[-32600, None]]) is (by > 0)
    assert driver.machine.faults == (by > 0)


@pytest.mark.parametrize("by", AROUND)
def test_max_batch_is_not_for_the_answers_to_our_own_calls(by: int) -> None:
    driver = Driver(connection(max_batch=2, accepted=False), calls=5)
    driver.feed(batch(*(b'{"jsonrpc":"2.0","result":1,"id":%d}' % number for number in range(5 + by))))
    assert len(driver.seen.ended) == (5 + by if by <= 0 else 0)
    assert (driver.seen.replies == [[-32600, None]]) is (by > 0)


@pytest.mark.parametrize("by", AROUND)
def test_max_bad_items(by: int) -> None:
    driver = fed(batch(*[b"7"] * (5 + by), note()), max_bad_items=5)
    assert driver.seen.replies == ([[[-32600, None]] * (5 + by)] if by <= 0 else [[-32600, None]])
    assert driver.seen.ran == (["update"] if by <= 0 else [])


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("kind", [call("%d", "hold"), note("hold")], ids=["calls", "notifications"])
def test_max_pending(by: int, kind: bytes) -> None:
    driver = fed(line(*(kind.replace(b"%d", b"%d" % number) for number in range(5 + by))), max_pending=5)
    assert len(driver.held) == min(5, 5 + by)
    assert driver.machine.wants_data is (by < 0)
    assert not driver.machine.has_more
    assert driver.seen.replies == []


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("as_batch", [False, True])
def test_max_calls(by: int, as_batch: bool) -> None:
    machine = connection(max_calls=5)
    for number in range(4):
        machine.send_request("m", None, f"call {number}", 0.0)
    machine.data_to_send()
    orders: dict[bool, Callable[[], object]] = {
        False: lambda: [machine.send_request("m", None, "more", 0.0) for _ in range(1 + by)],
        True: lambda: machine.send_batch(*columns([("m", None, None), *[("m", None, "more")] * (1 + by)]), 0.0),
    }
    if by <= 0:
        orders[as_batch]()
        assert machine.open_calls == 5 + by
        assert machine.has_room is (by < 0)
    else:
        with pytest.raises(SessionBusy) as caught:
            orders[as_batch]()
        assert caught.value.limit == 5
        assert machine.open_calls == (4 if as_batch else 5)  # of a batch all is sent or nothing
        assert machine.has_output is not as_batch
        machine.send_notification("m", None)  # needs no place


@pytest.mark.parametrize("by", AROUND)
def test_max_nesting(by: int) -> None:
    wire = call("1", "args", "[" * (9 + by) + "]" * (9 + by))
    driver = fed(line(wire), max_nesting=10)
    assert driver.seen.replies[0][0] == ("=" if by <= 0 else -32600)
    deep = call("1", "nothing", "[" * 500 + "]" * 500)
    assert fed(line(deep), max_nesting=None).seen.replies == [["=", None, 1]]


class Shallow(MsgspecCodec):
    """Goes no deeper than the stack holds, which is nothing."""

    def decode(self, data: bytes) -> object:
        raise RecursionError


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (None, "nested too deep for the decoder"),
        (1000, "nested too deep for the decoder"),
        (999, "nested too deep (limit 999)"),
    ],
)
def test_max_nesting_is_told_where_it_is_what_was_reached(limit: int | None, text: str) -> None:
    class Protocol(JSONRPCv2):
        codec = Shallow()

    refusal = Protocol.decode_payload(b"[" * 600 + b'{"":' * 400 + b"1" + b"}" * 400 + b"]" * 600, limit)
    assert isinstance(refusal, Refusal)
    assert refusal.text == text


@pytest.mark.parametrize("members", [1, 2, 3])
def test_max_nesting_of_a_batch(members: int) -> None:
    wire = batch(*(call(str(number), "args", "[" * 9 + "]" * 9) for number in range(members)))
    driver = fed(wire + b"\n", max_nesting=10, max_batch=2)
    assert driver.seen.replies == [[-32600, None]]
    assert (b"nested too deep" in driver.sent) is (members <= 2)  # else it is not looked into
    assert driver.seen.ran == []


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("limit", [10, 300])
def test_max_id(by: int, limit: int) -> None:
    text = "x" * (limit - 2 + by)
    driver = fed(line(call(f'"{text}"')), max_id=limit)
    assert driver.seen.replies == ([["=", 1, text]] if by <= 0 else [[-32600, None]])
    number = 10 ** (limit - 1 + by)
    driver = fed(line(call(str(number))), max_id=limit)
    assert driver.seen.replies == ([["=", 1, number]] if by <= 0 else [[-32600, None]])


def test_max_id_counts_bytes_as_they_go_out() -> None:
    assert fed(line(call('"\\u00e9"')), max_id=4).seen.replies == [["=", 1, "é"]]
    assert fed(line(call('"\u00e9x"')), max_id=4).seen.replies == [[-32600, None]]
    assert fed(line(call("1e300")), max_id=4).seen.replies == [[-32600, None]]
    assert fed(line(call("null")), max_id=0).seen.replies == [["=", 1, None]]


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("limit", [10, 300])
def test_max_method(by: int, limit: int) -> None:
    driver = fed(line(call("1", "é" * (limit + by)), note("é" * (limit + by))), max_method=limit)
    assert driver.seen.replies == [[-32601, 1]]
    assert (b"over %d characters" % limit in driver.sent) is (by > 0)
    assert driver.machine.faults == 0


@pytest.mark.parametrize("by", AROUND)
def test_max_errors(by: int) -> None:
    driver = fed(b"{\n" * (5 + by), max_errors=5)
    assert (driver.machine.state is State.LINGERING) is (by > 0)
    assert driver.seen.replies == [[-32700, None]] * (5 + by)


def test_faults_are_forgiven_with_time() -> None:
    driver = Driver(connection(max_errors=2, error_decay=0.5))
    for driver.now in (100.0, 100.0, 102.0, 104.0, 106.0):
        driver.feed(b"{\n")
        assert driver.seen.violations == []
    driver.now = 107.9
    driver.feed(b"{\n")
    assert driver.seen.violations == ["RemoteProtocolError"]
    assert driver.machine.faults == 6


@pytest.mark.parametrize("by", AROUND)
def test_error_decay(by: int) -> None:
    driver = Driver(connection(max_errors=1, error_decay=0.5 + by / 100))
    for driver.now in (100.0, 102.0, 104.0):  # one fault in two seconds
        driver.feed(b"{\n")
    assert (driver.machine.state is State.LINGERING) is (by < 0)


# --- times -----------------------------------------------------------------------------------------------------------


def passing(driver: Driver, now: float) -> None:
    """Let the time be *now*, with all deadlines on the way."""
    while (deadline := driver.machine.deadline) <= now:
        driver.now = deadline
        driver.handle(driver.machine.handle_deadline(deadline))
    driver.now = now
    driver.run()


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("own", [True, False], ids=["of its own", "by the limits"])
def test_call_timeout(by: int, own: bool) -> None:
    driver = Driver(connection(call_timeout=999.0 if own else 8.0))
    timeout = 8.0 if own else DEFAULT
    driver.machine.send_request("m", None, "early", 0.0, timeout)
    passing(driver, 0.5)
    driver.machine.send_request("m", None, "late", 0.5, timeout)
    # By the limits a call ends up to one eighth late: with the one that came just before the next look.
    due = {"early": 8.0, "late": 8.5} if own else {"early": 9.0, "late": 9.0}
    for token, when in due.items():
        passing(driver, when + by / 100)
        assert ([token, "TimeoutError"] in driver.seen.ended) is (by >= 0)
    assert driver.machine.state is State.OPEN


@pytest.mark.parametrize("by", AROUND)
def test_write_timeout(by: int) -> None:
    driver = Driver(connection(write_timeout=20.0))
    driver.machine.writing_paused(1000, 10.0)
    driver.machine.writing_progressed(1000, 25.0)  # none
    passing(driver, 30.0 + by / 100)
    assert driver.machine.must_abort is (by >= 0)
    assert (str(driver.machine.close_reason) == "the peer took no byte for 20.0 s") is (by >= 0)


@pytest.mark.parametrize("by", AROUND)
def test_linger(by: int) -> None:
    driver = Driver(connection(max_errors=0, linger=2.0), now=10.0)
    driver.feed(b"{\n")
    passing(driver, 12.0 + by / 100)
    assert driver.machine.state is (State.LINGERING if by < 0 else State.FINISHED)


# --- water marks: see tests/runtimes/test_water_marks.py for transports -----------------------------------------------


@pytest.mark.parametrize("by", AROUND)
def test_write_high_water_of_replies(by: int) -> None:
    driver = Driver(connection(write_high_water=100, write_low_water=0))
    driver.machine.writing_paused(1, 0.0)
    empty = len(b'{"jsonrpc":"2.0","result":"","id":1}')
    driver.feed(line(call("1", params='["' + "x" * (100 + by - empty) + '"]')))
    assert len(driver.sent) == 100 + by + 1
    assert driver.machine.wants_data is (by <= 0)
    driver.machine.writing_resumed()
    assert driver.machine.wants_data


def test_what_users_give_as_limits_is_a_value_of_the_class() -> None:
    mine = Limits(linger=3)
    assert checked_limits(mine) is mine
    assert checked_limits(None) == Limits()
    for wrong, seen in ((Limits, "the class itself"), ({}, "dict"), (5, "int")):
        with pytest.raises(TypeError, match=f"limits must be a Limits value or None, not {seen}"):
            checked_limits(wrong)
