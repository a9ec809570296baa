# SPDX-License-Identifier: MIT
"""Peers that speak another protocol are dropped at their first words, and nothing of theirs is carried out."""

from __future__ import annotations

import pytest

from tests.wire.jsonrpc.driving import Driver, connection
from tests.wire.jsonrpc.tables import call
from tests.wire.message_machines import machine_of
from tieline.wire.framing.base import FramerBase
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.protocols import JSONRPCAutoDetect, JSONRPCv2
from tieline.wire.limits import Limits
from tieline.wire.messages import MessageReceived
from tieline.wire.states import State

LINE = call("1", "echo", "[7]") + b"\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n" + LINE
HELLO = bytes.fromhex("16030100c4010000c00303")

TLS = [HELLO, HELLO[:1], HELLO + LINE, b"\x15\x03\x01\x00\x02\x02\x46"]
HTTP = [
    POST,
    b"GET /%s HTTP/1.0\r\n\r\n" % LINE.strip().replace(b" ", b""),
    b"OPTIONS * HTTP/1.1\r\n" + LINE,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + LINE,
    b"HTTP/1.1 400 Bad Request\r\n" + LINE,
    b"patch / HTTP/1.1\r\n\r\n" + LINE,
    b"M-SEARCH * HTTP/1.1\r\n\r\n" + LINE,
    b"POST\t /  HTTP/1.1\r\n\r\n" + LINE,
    b"\r\n\r\n" + POST,
]


@pytest.mark.row("H17")
@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("wire", TLS)
def test_tls_at_a_plain_port_is_dropped_at_its_first_byte(wire: bytes, accepted: bool) -> None:
    driver = Driver(connection(accepted=accepted), calls=0 if accepted else 1)
    sent = driver.sent
    driver.feed(wire[:1])
    assert driver.machine.state is State.FINISHED
    driver.feed(wire[1:] + LINE)
    assert (driver.sent, driver.seen.ran) == (sent, [])
    assert str(driver.machine.close_reason) == "the peer speaks TLS, not JSON-RPC"
    assert driver.seen.violations == ["RemoteProtocolError"]
    assert driver.seen.ended == ([] if accepted else [["call 0", "ConnectionLost"]])


@pytest.mark.row("H18")
@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("protocol", [JSONRPCv2, JSONRPCAutoDetect])
@pytest.mark.parametrize("wire", HTTP)
def test_http_is_dropped_at_its_first_line_and_its_body_is_not_executed(
    wire: bytes, protocol: type[JSONRPCv2], step: int
) -> None:
    driver = Driver(connection(protocol))
    for start in range(0, len(wire), step):
        driver.feed(wire[start : start + step])
    driver.feed(LINE)
    assert (driver.sent, driver.seen.ran) == (b"", [])
    assert driver.machine.state is State.FINISHED
    assert str(driver.machine.close_reason) == "the peer speaks HTTP, not JSON-RPC"


@pytest.mark.parametrize(
    "wire",
    [b"POST\n", b"GET / \n", b"hello HTTP/1.1\n", b'"GET / HTTP/1.1\n', b"\x17\n", b"\x00\x16\n", b"\xef\xbb\xbf{}\n"],
)
def test_other_rubbish_is_answered_as_ever(wire: bytes) -> None:
    driver = Driver()
    driver.feed(wire + LINE)
    assert [reply[0] for reply in driver.seen.replies] == [-32700, "="]


@pytest.mark.row("H17", "H53")
def test_who_is_turned_away_may_speak_whatever_it_likes() -> None:
    driver = Driver()
    driver.machine.turn_away("server busy", 0.0)
    driver.feed(HELLO + POST)
    assert driver.seen.violations == []
    assert driver.machine.state is State.LINGERING


def test_http_behind_a_first_message_is_rubbish_like_any_other() -> None:
    driver = Driver()
    driver.feed(LINE + b"GET / HTTP/1.1\n" + LINE)
    assert sorted(reply[0] for reply in map(list, driver.seen.replies) if reply[0] != "=") == [-32700]
    assert len(driver.seen.ran) == 2
    assert driver.machine.state is State.OPEN


class OneByte(FramerBase):
    """Each byte tells how long the message behind it is."""

    def __init__(self) -> None:
        self.held = b""

    def frame(self, messages: object) -> bytes:
        raise NotImplementedError

    def messages(self, data: bytes) -> object:  # type: ignore[override]  # an iterator all the same
        self.held += data
        while self.held and len(self.held) > self.held[0]:
            size = self.held[0] + 1
            message, self.held = self.held[1:size], self.held[size:]
            yield message


def test_a_binary_framing_may_begin_with_any_byte() -> None:
    machine = Connection(JSONRPCv2, OneByte(), Limits().resolved(accepted=True), accepted=True)
    message = b'{"jsonrpc":"2.0","method":"m"}'[:0x16]
    machine.receive_data(b"\x16" + message, 0.0)
    assert machine.state is State.OPEN
    assert machine.messages_received == 1
    packets = machine_of(OneByte())
    (event,) = packets.receive_data(b"\x16" + message, 0.0)
    assert isinstance(event, MessageReceived)
    assert event.message == message


@pytest.mark.parametrize("accepted", [True, False])
def test_an_object_that_is_no_message_is_passed_over_when_a_server_says_it(accepted: bool) -> None:
    driver = Driver(connection(accepted=accepted))
    driver.feed(b'{"event":"heartbeat"}\n')
    assert driver.seen.replies == ([[-32600, None]] if accepted else [])
    assert driver.machine.faults == 1
    assert driver.machine.state is State.OPEN
