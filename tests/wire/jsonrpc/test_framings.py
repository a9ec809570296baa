# SPDX-License-Identifier: MIT
"""JSON-RPC over every framing: the same rules, an end to what breaks it, an answer to what it cannot carry."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.jsonrpc.driving import Driver, columns, connection, pieces
from tests.wire.jsonrpc.tables import call, note
from tests.wire.jsonrpc.test_tables import ROWS, check, some_cuts
from tieline.errors import (
    EndOfStream,
    LocalProtocolError,
    OutgoingMessageTooLarge,
    RemoteProtocolError,
    RPCError,
    StreamTruncated,
)
from tieline.wire.framing.content_length import ContentLengthFramer
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
from tieline.wire.framing.netstring import NetstringFramer
from tieline.wire.framing.record_separator import RecordSeparatorFramer
from tieline.wire.framing.varint import VarintFramer
from tieline.wire.jsonrpc.dialects import CancelRule
from tieline.wire.jsonrpc.protocols import JSONRPCv2
from tieline.wire.states import State
from tieline.wire.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.wire.jsonrpc.tables import Row
    from tieline.wire.framing.base import FramerBase

PARSE, INVALID, INTERNAL = -32700, -32600, -32603

OF_BYTES: list[type[FramerBase]] = [ContentLengthFramer, LengthPrefixedFramer, NetstringFramer, VarintFramer]
OF_TEXTS: list[type[FramerBase]] = [JSONStreamFramer, RecordSeparatorFramer]


def driver_over(framer: type[FramerBase], *, calls: int = 0, **options: Any) -> Driver:
    return Driver(connection(framer=framer, **options), calls=calls, reader=framer.with_limit(0))


def is_text(message: bytes) -> bool:
    """Return whether *message* is an object or an array, which are what framers of JSON texts carry as they are."""
    try:
        return isinstance(json.loads(message.decode()), dict | list)
    except (ValueError, RecursionError):
        return False


@pytest.mark.row("F4", "F5", "F6")
@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_tables_causes_the_same_over_each_framing(row: Row) -> None:
    messages = [each for each in row.wire.split(b"\n") if each.strip(b"\r")]
    texts = messages if all(map(is_text, messages)) else []
    for framer in (*OF_BYTES, *OF_TEXTS):
        # Of blank lines alone, or of texts that are none, nothing is framed.
        if wire := framer.with_limit(0).frame(texts if framer in OF_TEXTS else messages):
            try:
                check_framed(framer, wire, row)
            except AssertionError as exc:
                exc.add_note(f"over {framer.__name__}")
                raise


def check_framed(framer: type[FramerBase], wire: bytes, row: Row) -> None:
    chunkings: list[Sequence[bytes]] = [[wire]]
    if len(wire) < 20_000:
        chunkings += [pieces(wire, [cut]) for cut in some_cuts(len(wire))[::7]]
    for chunks in chunkings:
        driver = driver_over(framer, protocol=row.protocol, accepted=row.accepted, calls=row.calls, **row.limits)
        for chunk in chunks:
            driver.feed(chunk)
        check(driver, row)


@pytest.mark.row("F2", "H5")
@pytest.mark.parametrize("framer", [*OF_BYTES, *OF_TEXTS])
def test_the_limit_of_messages_is_the_limit_of_the_framing(framer: type[FramerBase]) -> None:
    for size in (199, 200, 201):
        message = call("1", params='["' + "x" * (size - len(call("1", params='[""]'))) + '"]')
        assert len(message) == size
        driver = driver_over(framer, max_message=200)
        driver.feed(framer.with_limit(0).frame([message]))
        assert [reply[-1] for reply in driver.seen.replies] == [1 if size <= 200 else None]
        assert driver.machine.state is (State.OPEN if size <= 200 else State.LINGERING)


# --- what breaks a framing ---------------------------------------------------------------------------------------

GOOD = call("1")
HEADER = b"Content-Length: %d\r\n\r\n" % len(GOOD)
prefixed_whole = partial(LengthPrefixedFramer, includes_header=True)


class CountsItself(LengthPrefixedFramer):
    """A prefix that counts itself."""

    def __init__(self) -> None:
        super().__init__(includes_header=True)


# The framing, the bytes, the code of the error, what its message says. No call of these is ever carried out.
Break = tuple[type["FramerBase"], bytes, int, str]

LENGTHS: list[Break] = [
    *(
        (ContentLengthFramer, b"Content-Length: " + value + b"\r\n\r\n" + GOOD, PARSE, "Content-Length must be 1 to 10")
        for value in (b"-5", b"abc", b"+17", b"1_7", b"0x11", b"0" * 4998 + b"%d" % len(GOOD), b"")
    ),
    (ContentLengthFramer, HEADER[:-2] + b"Content-Length: 2\r\n\r\n" + GOOD, PARSE, "Content-Length came twice"),
    (ContentLengthFramer, HEADER[:-2] + HEADER + GOOD, PARSE, "Content-Length came twice"),
    (ContentLengthFramer, b"\r\n" + GOOD, PARSE, "no Content-Length"),
    (ContentLengthFramer, b"Content-Type: application/json\r\n\r\n" + GOOD, PARSE, "no Content-Length"),
]
TOO_LARGE: list[Break] = [
    (ContentLengthFramer, b"Content-Length: 99999999999\r\n\r\n", PARSE, "Content-Length must be 1 to 10 digits"),
    (ContentLengthFramer, b"Content-Length: 9999999999\r\n\r\n", INVALID, "message too large (limit 1048576)"),
    (ContentLengthFramer, b"Content-Length: 1048577\r\n\r\n", INVALID, "message too large (limit 1048576)"),
    (VarintFramer, b"\xff\xff\xff\xff\x0f", INVALID, "message too large (limit 1048576)"),
    (NetstringFramer, b"4294967295:", INVALID, "message too large (limit 1048576)"),
]
BLOCKS: list[Break] = [
    (ContentLengthFramer, b"X: " + b"y" * 5_000_000, PARSE, "header block over 8192 bytes"),
    (ContentLengthFramer, b"X: y\r\n" * 10_000, PARSE, "over 32 headers"),
    (ContentLengthFramer, HEADER.replace(b"\r\n", b"\n") + GOOD, PARSE, "bare LF"),
    (ContentLengthFramer, HEADER.replace(b":", b" :") + GOOD, PARSE, "before the colon of 'content-length'"),
    (ContentLengthFramer, b"X: 1\r\n " + HEADER + GOOD, PARSE, "continued"),
    # Strangers: a browser, and a peer that speaks by lines.
    (ContentLengthFramer, b"POST / HTTP/1.1\r\n" + HEADER + GOOD, PARSE, "not 'Name: value'"),
    (ContentLengthFramer, GOOD + b"\n" + HEADER + GOOD, PARSE, "not with 0x7b"),
]
SMALLER: list[Break] = [
    # The rest of a message is not taken for a header, and what follows is not searched for one.
    (ContentLengthFramer, b"Content-Length: 40\r\n\r\n" + GOOD + HEADER + GOOD, PARSE, "header"),
    (NetstringFramer, b"9:" + GOOD + b"," + NetstringFramer().frame([GOOD]), PARSE, "must end with a comma"),
]
TYPES: list[Break] = [
    (ContentLengthFramer, b"Content-Type: " + value + b"\r\n" + HEADER + GOOD, PARSE, why)
    for value, why in [
        (b"application/json; charset=utf-7", "Content-Type must have the charset utf-8, not 'utf-7'"),
        (b"application/vscode-jsonrpc; charset=utf-16", "Content-Type must have the charset utf-8, not 'utf-16'"),
        (b"text/html", "Content-Type must be one of JSON, not 'text/html'"),
    ]
]
PREFIXES: list[Break] = [
    (LengthPrefixedFramer, b"\xff\xff\xff\xff" + GOOD, INVALID, "message too large (limit 1048576)"),
    (CountsItself, b"\0\0\0\0" + GOOD, PARSE, "a length must count the 4 bytes of its prefix; it is 0"),
    (VarintFramer, b"\x80\x00" + GOOD, PARSE, "more bytes than it needs"),
]
OTHERS: list[Break] = [
    (NetstringFramer, b"007:" + GOOD, PARSE, "no zeros in front"),
    (JSONStreamFramer, b"POST / HTTP/1.1\r\nX: y\r\n\r\n" + GOOD, PARSE, "cannot begin with 0x50"),
    (JSONStreamFramer, b"}" + GOOD, PARSE, "cannot begin with 0x7d"),
    (RecordSeparatorFramer, b"\x1e12\x1e" + GOOD + b"\n", PARSE, "cut off"),
    (RecordSeparatorFramer, GOOD + b"\n", PARSE, "behind RS"),
]
# A mark for each table, as tests/rows.py reads them.
TABLES = [
    (LENGTHS, pytest.mark.row("F4", "H11")),
    (TOO_LARGE, pytest.mark.row("F4", "F5", "H12")),
    (BLOCKS, pytest.mark.row("F4", "H13", "H18")),
    (SMALLER, pytest.mark.row("F4", "F5", "H14")),
    (TYPES, pytest.mark.row("F4", "H15")),
    (PREFIXES, pytest.mark.row("F5", "H16")),
    (OTHERS, pytest.mark.row("F5", "F6", "H10", "H18")),
]
BREAKS = [pytest.param(row, marks=mark) for rows, mark in TABLES for row in rows]


@pytest.mark.parametrize("row", BREAKS)
def test_what_breaks_the_framing_is_answered_and_ends_the_connection(row: Break) -> None:
    framer, wire, code, text = row
    behind = framer.with_limit(0).frame([call('"behind"')])
    cuts = range(1, len(wire)) if len(wire) < 200 else [*range(1, 40), len(wire) // 2, len(wire) - 1]
    for chunks in ([wire], [wire + behind], [wire, behind], *(pieces(wire, [cut]) for cut in cuts)):
        driver = driver_over(framer)
        for chunk in chunks:
            driver.feed(chunk)
        # What a length that is too small cuts off of a message is a message, and refused.
        assert driver.seen.replies in ([[code, None]], [[PARSE, None], [code, None]])
        assert text.encode() in driver.sent
        assert driver.seen.ran == []
        assert driver.machine.state is State.LINGERING
        assert driver.seen.violations in (["RemoteProtocolError"], ["MessageTooLarge"])
        assert GOOD[:20] not in driver.sent
        assert str(driver.machine.close_reason).startswith(text.split(" (")[0]) or text in str(
            driver.machine.close_reason
        )


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.row("F4")
def test_what_breaks_the_framing_behind_plain_messages_ends_the_connection_behind_them(calls: int) -> None:
    driver = driver_over(ContentLengthFramer)
    ids = range(1, 2 + calls)
    first, *behind = [ContentLengthFramer().frame([call(str(number))]) for number in ids]
    driver.feed(first)  # by which it is known
    driver.feed(b"".join(behind) + b"Content-Length: x\r\n\r\n")
    assert [reply for reply in driver.seen.replies if reply[0] == "="] == [["=", 1, number] for number in ids]
    assert [PARSE, None] in driver.seen.replies
    assert driver.seen.violations == ["RemoteProtocolError"]


@pytest.mark.row("F4", "F5", "F6", "H8", "H14")
@pytest.mark.parametrize("framer", [*OF_BYTES, *OF_TEXTS])
def test_a_message_that_does_not_come_in_full_is_never_delivered(framer: type[FramerBase]) -> None:
    wire = framer.with_limit(0).frame([call("1")])
    for cut in range(1, len(wire) - (framer is not NetstringFramer)):
        driver = driver_over(framer)
        driver.feed(wire[:cut])
        driver.handle(driver.machine.receive_eof(0.0))
        driver.run()
        assert driver.seen.ran == []
        assert driver.seen.replies == []
        assert isinstance(driver.machine.close_reason, StreamTruncated)
        assert driver.machine.state is State.FINISHED


@pytest.mark.row("F4", "F5", "F6", "H14", "H50")
@pytest.mark.parametrize("framer", [*OF_BYTES, *OF_TEXTS])
def test_a_message_that_never_comes_in_full_ends_the_connection_in_time(framer: type[FramerBase]) -> None:
    wire = framer.with_limit(0).frame([call("1")])
    driver = driver_over(framer, message_timeout=5.0)
    driver.feed(wire[:1])
    driver.now = 4.0
    driver.feed(wire[1:-2])
    assert driver.machine.deadline == 5.0
    driver.handle(driver.machine.handle_deadline(5.0))
    driver.run()
    assert driver.seen.replies == [[INVALID, None]]
    assert driver.seen.ran == []
    assert driver.machine.state is State.LINGERING


@pytest.mark.row("F4", "F5", "H16")
@pytest.mark.parametrize("framer", OF_BYTES)
def test_an_empty_message_is_no_json_and_the_connection_goes_on(framer: type[FramerBase]) -> None:
    for messages in ([b""], [b"", call("1")], [call("1"), b""], [b"", b""]):
        driver = driver_over(framer)
        driver.feed(framer.with_limit(0).frame([call("0")]))  # from here on the way of the plain is taken
        driver.feed(framer.with_limit(0).frame(messages))
        driver.feed(framer.with_limit(0).frame([call("2")]))
        empty = messages.count(b"")
        assert driver.seen.replies.count([PARSE, None]) == driver.machine.faults == empty
        assert driver.seen.replies.count(["=", 1, 1]) == len(messages) - empty
        assert driver.seen.replies[-1] == ["=", 1, 2]
        assert driver.machine.state is State.OPEN


@pytest.mark.row("H17")
@pytest.mark.parametrize("framer", [ContentLengthFramer, NetstringFramer, JSONStreamFramer, RecordSeparatorFramer])
def test_a_tls_handshake_at_a_port_of_text_is_dropped_at_its_first_byte(framer: type[FramerBase]) -> None:
    driver = driver_over(framer)
    driver.feed(b"\x16")
    assert driver.machine.state is State.FINISHED
    assert driver.sent == b""
    assert "TLS" in str(driver.machine.close_reason)


# --- what a framing cannot carry ---------------------------------------------------------------------------------


class Short(LengthPrefixedFramer):
    """Messages of up to 255 bytes."""

    def __init__(self) -> None:
        super().__init__(1)

    @classmethod
    def with_limit(cls, max_size: int) -> Short:
        return cls()


@pytest.mark.row("F5", "H6")
def test_a_call_that_the_framing_cannot_carry_fails_at_once_and_nothing_is_sent() -> None:
    driver = driver_over(Short)
    machine = driver.machine
    for order in (
        lambda params: machine.send_request("m", params, "token", 0.0),
        lambda params: machine.send_request("m", params, "token", 0.0, timeout=3.0),
        lambda params: machine.send_notification("m", params),
        lambda params: machine.send_batch(*columns([("m", params, "token"), ("m", [], None)]), 0.0),
    ):
        with pytest.raises(OutgoingMessageTooLarge) as caught:
            order(["x" * 300])
        assert caught.value.limit == 255
        assert caught.value.size > 300
        assert machine.open_calls == 0
        assert not machine.has_output
    assert machine.output_size == 0
    assert machine.send_request("m", [1], "token", 0.0) == 0
    driver.flush()
    assert [request["params"] for request in driver.requests] == [[1]]
    driver.feed(Short().frame([b'{"jsonrpc":"2.0","result":1,"id":0}']))
    assert driver.seen.ended == [["token", ["=", 1]]]


@pytest.mark.row("F5", "H6", "S5")
def test_an_answer_that_the_framing_cannot_carry_becomes_an_error() -> None:
    driver = driver_over(Short)
    for number in range(3):
        driver.feed(Short().frame([call(str(number), "hold")]))
    result, error, exact = driver.held
    machine = driver.machine
    assert machine.reply(result, "x" * 300) is None
    assert machine.fail(error, RPCError(5, "x" * 300)) is None
    assert machine.reply(exact, "x" * (255 - len(b'{"jsonrpc":"2.0","result":"","id":2}'))) is None
    driver.flush()
    assert driver.seen.replies[:2] == [[INVALID, 0], [INVALID, 1]]
    assert driver.sent.count(b"response too large (limit 255)") == 2
    assert driver.seen.replies[2][2] == 2
    assert machine.state is State.OPEN
    assert machine.faults == 0


@pytest.mark.row("F5", "H6", "H30")
def test_an_id_that_makes_every_answer_too_long_is_answered_without_it() -> None:
    long = json.dumps("x" * 180)
    driver = driver_over(Short)
    driver.feed(Short().frame([b'{"jsonrpc":"2.0","method":"hold","id":' + long.encode() + b"}"]))
    assert driver.machine.reply(driver.held[0], "y" * 100) is None
    driver.flush()
    assert driver.seen.replies == [[INVALID, None]]
    driver.feed(Short().frame([call("1")]))
    assert driver.seen.replies[1] == ["=", 1, 1]


@pytest.mark.row("F5", "H6", "H44", "J10")
def test_a_batch_of_answers_that_the_framing_cannot_carry_becomes_one_error() -> None:
    driver = driver_over(Short)
    members = [{"jsonrpc": "2.0", "method": "hold", "id": number} for number in range(4)]
    driver.feed(Short().frame([json.dumps(members).encode()]))
    for request in driver.held:
        assert driver.machine.reply(request, "y" * 60) is None
    driver.flush()
    assert driver.seen.replies == [[INVALID, None]]
    assert driver.machine.state is State.OPEN


class Picky(ContentLengthFramer):
    """Refuses some messages, as users' framers may."""

    refused = b"!"

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        kept = [bytes(message) for message in messages]
        if any(self.refused in message for message in kept):
            raise KeyError("a fault of the user's own")
        return super().frame(kept)


@pytest.mark.row("F1", "S5")
def test_what_a_users_framer_refuses_is_told_to_who_sent_it() -> None:
    driver = Driver(connection(framer=Picky), reader=ContentLengthFramer())
    machine = driver.machine
    with pytest.raises(KeyError):
        machine.send_request("m", ["!"], "token", 0.0)
    with pytest.raises(KeyError):
        machine.send_notification("m", ["!"])
    assert machine.open_calls == 0
    driver.feed(ContentLengthFramer().frame([call("1", "hold"), call("2", "hold")]))
    assert isinstance(machine.reply(driver.held[0], "!"), KeyError)
    assert isinstance(machine.fail(driver.held[1], RPCError(1, "!")), KeyError)
    driver.flush()
    assert driver.seen.replies == [[INTERNAL, 1], [INTERNAL, 2]]
    assert machine.state is State.OPEN


class Silent(Picky):
    refused = b""


@pytest.mark.row("F1", "S5")
@pytest.mark.parametrize("wire", [call("1"), call("1", "unknown"), b"junk"])
def test_a_framer_that_frames_nothing_at_all_ends_the_connection_and_with_it_our_calls(wire: bytes) -> None:
    driver = Driver(connection(framer=Picky), reader=ContentLengthFramer(), calls=1)
    machine = driver.machine
    machine._framer = Silent()
    driver.feed(ContentLengthFramer().frame([wire]))
    assert machine.must_abort
    assert machine.deadline == 0.0
    assert list(machine.handle_deadline(0.0)) == []
    assert not machine.has_output
    driver.handle(machine.connection_lost(None))
    assert driver.seen.ended == [["call 0", "ConnectionLost"]]
    reason = machine.close_reason
    assert isinstance(reason, LocalProtocolError)
    assert str(reason) == "the framer frames no reply: KeyError"
    assert isinstance(reason.__cause__, KeyError)


@pytest.mark.row("F1")
def test_a_framer_that_frames_nothing_any_more_does_not_hide_why_the_connection_ends() -> None:
    driver = Driver(connection(framer=Silent))
    driver.feed(b"junk\n")
    assert driver.machine.must_abort
    assert driver.machine.state is State.LINGERING
    assert isinstance(driver.machine.close_reason, RemoteProtocolError)

    driver = Driver(connection(framer=Silent))
    driver.feed(ContentLengthFramer().frame([call("1", "hold")]))
    driver.handle(driver.machine.receive_eof(0.0))
    assert isinstance(driver.machine.reply(driver.held[0], 1), KeyError)
    assert driver.machine.must_abort
    assert isinstance(driver.machine.close_reason, EndOfStream)


@pytest.mark.row("F1")
def test_a_cancel_message_that_cannot_be_framed_is_left_out() -> None:
    class Protocol(JSONRPCv2):
        dialect = replace(JSONRPCv2.dialect, cancel=CancelRule(method="$/cancelRequest", id_name="id"))

    class NoCancel(Picky):
        refused = b"$/cancelRequest"

    driver = Driver(connection(Protocol, framer=NoCancel), reader=ContentLengthFramer(), calls=1)
    driver.machine.forget(0)
    driver.flush()
    assert [request["method"] for request in driver.requests] == ["ask"]
    assert driver.machine.state is State.OPEN
    driver.feed(ContentLengthFramer().frame([b'{"jsonrpc":"2.0","result":1,"id":0}']))
    assert driver.seen.ended == []
    assert driver.machine.faults == 0


@pytest.mark.row("F1", "F2")
def test_each_message_is_framed_once_and_in_order() -> None:
    class Numbered(ContentLengthFramer):
        """A framer with a state: each frame has the number of its message."""

        def __init__(self, max_size: int = 0) -> None:
            super().__init__(max_size)
            self.sent = 0

        @classmethod
        def with_limit(cls, max_size: int) -> Numbered:
            return cls(max_size)

        def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
            framed = b""
            for message in messages:
                framed += b"X-Number: %d\r\n" % self.sent + super().frame([message])
                self.sent += 1
            return framed

    driver = Driver(connection(framer=Numbered), reader=ContentLengthFramer())
    driver.machine.send_notification("a", [])
    driver.machine.send_batch(*columns([("b", [], None)]), 0.0)
    driver.feed(ContentLengthFramer().frame([call("1"), call("2", "args"), note()]))
    driver.machine.send_request("c", [], "token", 0.0)
    driver.flush()
    numbers = [int(part.split(b"\r\n")[0]) for part in driver.sent.split(b"X-Number: ")[1:]]
    assert numbers == [0, 1, 2, 3, 4]
