# SPDX-License-Identifier: MIT
"""Users' protocol classes: when the machine goes through them, and what it makes of their items."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, connection
from tests.wire.jsonrpc.tables import BAD
from tieline.errors import RPCError
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc import paths
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.dialects import V2
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.other_codecs import StdlibCodec
from tieline.wire.jsonrpc.paths import MOST_KNOWN, ways_of, ways_to_read
from tieline.wire.jsonrpc.protocols import JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.limits import Limits
from tieline.wire.states import State

CALL = b'{"jsonrpc":"2.0","method":"echo","params":[%d],"id":%d}'


class Shouting(JSONRPCv2):
    """Lower-cases the names of methods."""

    @classmethod
    def message_to_item(cls, message: bytes) -> RPCRequest | RPCResponse | RPCBatch:
        item = super().message_to_item(message)
        for member in item if isinstance(item, RPCBatch) else [item]:
            if isinstance(member, RPCRequest) and isinstance(member.method, str):
                member.method = member.method.lower()
        return item


@pytest.mark.row("H40")
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_a_batch_of_items_is_measured_by_its_members_too(size: int) -> None:
    driver = Driver(connection(Shouting, max_batch=3))
    driver.feed(b"[" + b",".join([b"0"] * size) + b"]\n")
    assert driver.seen.replies == [[[-32600, None]] * size if size <= 3 else [-32600, None]]


class Codes(JSONRPCv2):
    PARSE_ERROR = 1
    INVALID_REQUEST = 2
    INVALID_ARGS = 3


def test_only_plain_2_0_takes_the_fast_path() -> None:
    class OtherCodec(JSONRPCv2):
        codec = StdlibCodec()

    class OwnCodec(MsgspecCodec):
        pass

    class DerivedCodec(JSONRPCv2):
        codec = OwnCodec()

    class OtherDialect(JSONRPCv2):
        dialect = replace(V2, version="3")

    for plain in (JSONRPCv2, Codes):
        assert ways_to_read(plain)[:2] == (True, None)
    for other in (OtherCodec, DerivedCodec):
        assert ways_to_read(other)[:2] == (True, other.codec.decode)
    for protocol in (JSONRPCv1, JSONRPCLoose, JSONRPCAutoDetect, OtherDialect, Shouting):
        assert not ways_to_read(protocol)[0]


def test_only_classes_with_a_way_of_their_own_read_items() -> None:
    class Static(JSONRPCv2):
        @staticmethod
        def message_to_item(message: bytes) -> RPCRequest:
            return RPCRequest("m")

    assert ways_to_read(Shouting)[2]
    assert ways_to_read(Static)[2]
    for protocol in (JSONRPCv1, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect, Codes):
        assert not ways_to_read(protocol)[2]


@pytest.mark.row("J1")
def test_a_users_class_sees_every_message() -> None:
    driver = Driver(connection(Shouting), calls=1)
    driver.feed(CALL.replace(b"echo", b"ECHO") % (5, 1) + b"\n")
    driver.feed(b"[" + CALL.replace(b"echo", b"Echo") % (6, 2) + b"]\n")
    driver.feed(b'{"jsonrpc":"2.0","result":7,"id":0}\n')
    assert driver.seen.replies == [["=", 5, 1], [["=", 6, 2]]]
    assert driver.seen.ended == [["call 0", ["=", 7]]]


@pytest.mark.row("J2")
@pytest.mark.parametrize("protocol", [JSONRPCv2, Shouting])
def test_an_ill_formed_answer_is_the_peers_fault_whoever_reads_it(protocol: type[JSONRPCv2]) -> None:
    driver = Driver(connection(protocol, accepted=False), calls=2)
    driver.feed(b'{"jsonrpc":"2.0","error":7,"id":0}\n{"jsonrpc":"2.0","error":{"code":5,"message":"no"}}\n')
    assert [ended[1] for ended in driver.seen.ended] == [BAD]
    driver.handle(driver.machine.receive_eof(1.0))
    driver.handle(driver.machine.connection_lost(None))
    reason = driver.machine.close_reason
    assert reason is not None
    assert repr(reason.__cause__) == repr(RPCError(5, "no"))


@pytest.mark.row("J1")
@pytest.mark.parametrize("own", [False, True])
def test_the_codes_of_a_users_class_are_answered(own: bool) -> None:
    protocol = type("Own", (Codes,), {"message_to_item": classmethod(_super)}) if own else Codes
    driver = Driver(connection(protocol))
    driver.feed(b"{\n7\n" + CALL.replace(b"[%d]", b"7") % 1 + b"\n")
    assert driver.seen.replies == [[1, None], [2, None], [3, 1]]
    assert driver.machine.faults == 2, "parameters that are wrong are no fault, whatever their code"


def _super(cls: Any, message: bytes) -> Any:
    return super(cls, cls).message_to_item(message)


class Failing(JSONRPCv2):
    """Breaks the promise of `message_to_item`."""

    outcome: Any = ZeroDivisionError()

    @classmethod
    def message_to_item(cls, message: bytes) -> Any:
        if isinstance(cls.outcome, Exception):
            raise cls.outcome
        return cls.outcome


@pytest.mark.row("J2", "S6")
@pytest.mark.parametrize(
    "outcome",
    [ZeroDivisionError(), RecursionError(), None, 7, [RPCRequest("m")], object()],
    ids=lambda o: type(o).__name__,
)
def test_a_users_class_that_fails_has_its_peer_answered_all_the_same(outcome: object) -> None:
    protocol = type("Own", (Failing,), {"outcome": outcome})
    driver = Driver(connection(protocol))
    driver.feed(CALL % (1, 1) + b"\n")
    assert driver.seen.replies == [[-32600, None]]
    assert driver.machine.faults == 1
    assert driver.machine.state is State.OPEN


def test_items_that_a_user_makes_are_taken_for_what_they_say() -> None:
    items: list[tuple[Any, list[Any]]] = [
        (RPCRequest("echo", [1], 5), [["=", 1, 5]]),
        (RPCRequest("nothing", None, None, answer_null_id=True), [["=", None, None]]),
        (RPCRequest("nothing"), []),
        (RPCRequest(RPCError(42, "own", data=[1]), None, 6), [[42, 6]]),
        (RPCRequest(RPCError(42, "own"), None, "x" * 2000), [[42, None]]),
        (RPCRequest(RPCError(-32602, "own"), answer_null_id=False), []),
        (RPCRequest(RPCError(42, "\ud800", data=object()), None, 6), [[42, 6]]),
        (RPCBatch([RPCRequest("echo", [1], 5), RPCRequest(RPCError(42, "own"))]), [[["=", 1, 5], [42, None]]]),
    ]
    for item, replies in items:
        protocol = type("Own", (Failing,), {"outcome": item})
        driver = Driver(connection(protocol))
        driver.feed(b"x\n")
        assert sorted(map(json.dumps, driver.seen.replies)) == sorted(json.dumps(reply) for reply in replies) or (
            sorted(driver.seen.replies[0], key=json.dumps) == sorted(replies[0], key=json.dumps)
        )


@pytest.mark.row("J11", "H40", "H42")
def test_limits_of_batches_hold_for_users_classes_too() -> None:
    driver = Driver(connection(Shouting, max_batch=3, max_bad_items=1))
    for size in (2, 3, 4):
        driver.feed(b"[" + b",".join(CALL % (number, number) for number in range(size)) + b"]\n")
    assert [len(reply) for reply in driver.seen.replies[:2]] == [2, 3]
    assert driver.seen.replies[2] == [-32600, None]
    driver.feed(b"[1]\n[1,2]\n")
    assert driver.seen.replies[3:] == [[[-32600, None]], [-32600, None]]


def test_commas_alone_make_no_batch() -> None:
    driver = Driver(connection(Shouting, max_batch=3))
    driver.feed(b'{"jsonrpc":"2.0","method":"args","params":[1,2,3,4,5],"id":1}\n')
    driver.feed(b"[1,,,,,\n")
    assert driver.seen.replies == [["=", [1, 2, 3, 4, 5], 1], [-32700, None]]


class Wrapping(JSONRPCv2):
    """Writes in a way of its own."""

    @classmethod
    def encode_payload(cls, payload: object) -> bytes:
        return super().encode_payload(payload)


@pytest.mark.row("J1", "S5")
def test_errors_through_a_users_class_carry_the_id_of_the_request() -> None:
    driver = Driver(connection(Wrapping))
    for request_id in (1, 2):
        driver.feed(CALL.replace(b"echo", b"fails") % (1, request_id) + b"\n")
        driver.feed(CALL.replace(b"echo", b"x") % (1, request_id) + b"\n")
        driver.feed(CALL.replace(b"echo", b"gives_object") % (1, request_id) + b"\n")
    assert driver.seen.replies == [[code, number] for number in (1, 2) for code in (7, -32601, -32603)]


@pytest.mark.row("S6")
def test_a_users_class_that_cannot_write_has_its_peer_told_all_the_same() -> None:
    class Broken(JSONRPCv2):
        @classmethod
        def response_message(cls, item: RPCResponse) -> bytes:
            raise ZeroDivisionError

    driver = Driver(connection(Broken))
    driver.feed(CALL % (1, 1) + b"\n{\n")
    assert sorted(driver.seen.replies, key=str) == [[-32603, 1], [-32700, None]]
    assert driver.machine.unanswered == 0


class Picky(MsgspecCodec):
    """Reads what it does not write."""

    def encode(self, obj: object) -> bytes:
        if obj == "unspeakable":
            raise KeyError(obj)
        return super().encode(obj)


@pytest.mark.row("J2", "S6")
def test_an_id_that_cannot_be_sent_back_is_refused() -> None:
    class Own(JSONRPCv2):
        codec = Picky()

    driver = Driver(connection(Own))
    driver.feed(b'{"jsonrpc":"2.0","method":"echo","params":[1],"id":"unspeakable"}\n')
    driver.feed(b'{"jsonrpc":"2.0","method":7,"id":"unspeakable"}\n')
    driver.feed(CALL % (1, 1) + b"\n")
    assert driver.seen.replies == [[-32600, None], [-32600, None], ["=", 1, 1]]


def test_what_a_class_a_framing_and_limits_come_to_is_found_out_once() -> None:
    limits = Limits().resolved(accepted=True)
    ways = ways_of(JSONRPCv2, NewlineFramer, limits)
    assert ways_of(JSONRPCv2, NewlineFramer, limits) is ways
    assert ways_of(Shouting, NewlineFramer, limits) is not ways
    assert not ways_of(JSONRPCv2, JSONStreamFramer, limits).frames_lines
    assert ways_of(JSONRPCv2, NewlineFramer, Limits(max_message=7).resolved(accepted=True)).max_message == 7


def test_a_class_that_is_patched_is_looked_at_anew() -> None:
    class Patched(JSONRPCv2):
        pass

    limits = Limits().resolved(accepted=True)
    assert ways_of(Patched, NewlineFramer, limits).takes_batches
    Patched.dialect = replace(V2, batches=False)
    assert not ways_of(Patched, NewlineFramer, limits).takes_batches
    assert ways_of(Patched, NewlineFramer, limits).decode is None
    codec = Patched.codec = StdlibCodec()
    assert ways_of(Patched, NewlineFramer, limits).decode == codec.decode
    assert ways_of(Patched, NewlineFramer, limits).writer is ways_of(Patched, NewlineFramer, limits).writer


def test_limits_that_are_gone_are_not_taken_for_others() -> None:
    for size in range(1, 3 * MOST_KNOWN):
        limits = Limits(max_message=size, max_response=size)
        assert ways_of(JSONRPCv2, NewlineFramer, limits).max_response == size
        assert len(paths._known) <= MOST_KNOWN
