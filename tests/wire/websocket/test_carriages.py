# SPDX-License-Identifier: MIT
"""wire/websocket: how messages pass to and from the layer above: in lines, behind their lengths, or as a stream."""

from __future__ import annotations

import json
import os
from typing import Any, get_args

import pytest

from tests.wire.websocket.pairs import BINARY, TEXT, frame, opened
from tieline import JSONRPCv2, Limits, NewlineFramer
from tieline.wire.carriage import Carriage
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.websocket.carrying import STREAM_MESSAGE
from tieline.wire.websocket.framing import MessageLines
from tieline.wire.websocket.server import WebSocketServer

LINES: dict[str, Any] = {"carriage": "lines"}
STREAM: dict[str, Any] = {"carriage": "stream"}
LONG = b"[" + b"1," * 2000 + b"1]"
PRETTY = json.dumps({"a": [1, {"b": "c"}]}, indent=2).encode()


def lines_in(server: WebSocketServer, data: bytes) -> list[bytes]:
    """Return the lines that the layer above reads, however many turns it takes."""
    found = server.receive(data)
    while server.has_more:
        found += server.receive(b"")
    messages, fault = MessageLines(0).take(found)
    assert fault is None
    return messages


@pytest.mark.parametrize("messages", [[b"1"], [b"1", b"[2]"], [LONG], [b"1", LONG, b"2", LONG], [LONG, LONG, b"3"]])
def test_lines_become_messages_and_messages_lines(messages: list[bytes]) -> None:
    client, server = opened(LINES, LINES)
    written = b"".join(message + b"\n" for message in messages)
    for sender, receiver in ((client, server), (server, client)):
        for data in (written, memoryview(written)):
            assert receiver.receive(sender.send(data)) == written


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("first", [b"", frame(TEXT, b"1")], ids=["at first", "later"])
def test_json_over_several_lines_is_one_message_still(first: bytes, *, together: bool) -> None:
    _, server = opened(LINES, LINES)
    server.receive(first)
    data = frame(TEXT, PRETTY) + (frame(TEXT, b"2") if together else b"")
    found = lines_in(server, data)
    assert [json.loads(line) for line in found] == [json.loads(PRETTY)] + [2] * together


def test_a_newline_in_a_string_stays_the_fault_that_it_is() -> None:
    _, server = opened(LINES, LINES)
    assert lines_in(server, frame(TEXT, b"1")) == [b"1"]
    (line,) = lines_in(server, frame(TEXT, b'"a\nb"'))
    with pytest.raises(ValueError, match="control character"):
        json.loads(line)


@pytest.mark.parametrize("message", [b"", b"\r", b"\n", b"\r\n\r\n"])
@pytest.mark.parametrize("together", [False, True])
def test_a_message_without_anything_is_no_blank_line(message: bytes, *, together: bool) -> None:
    _, server = opened(LINES, LINES)
    found = lines_in(server, frame(TEXT, message) + (frame(TEXT, b"2") if together else b""))
    assert found == [b" "] + [b"2"] * together


@pytest.mark.parametrize("message", [b"", b"\n", b"nonsense", b"\x16\x03\x01"])
def test_what_is_no_json_gets_its_answer_by_a_session(message: bytes) -> None:
    _, server = opened(LINES, LINES)
    machine = Connection(JSONRPCv2, MessageLines(), Limits().resolved(accepted=True), accepted=True)
    machine.start(0.0)
    machine.receive_data(server.receive(frame(TEXT, message)), 0.0)
    answer = json.loads(machine.data_to_send())
    assert answer["error"]["code"] == -32700


def test_a_stream_is_cut_nowhere_and_joined_anywhere() -> None:
    client, server = opened(STREAM, STREAM)
    assert server.receive(client.send(b"ab\ncd")) == b"ab\ncd"
    assert server.receive(client.send(b"\xff") + client.send(memoryview(b"\xfe"))) == b"\xff\xfe"
    assert client.receive(server.send(b"\xff")) == b"\xff"
    assert server.receive(frame(TEXT, b"text") + frame(BINARY, b"bytes")) == b"textbytes"


def test_a_stream_is_sent_in_messages_that_most_peers_take() -> None:
    client, server = opened(STREAM, STREAM | {"max_message": STREAM_MESSAGE})
    data = os.urandom(2 * STREAM_MESSAGE + 7)
    for sent in (data, memoryview(data)):
        found = server.receive(client.send(sent))
        while server.has_more:
            found += server.receive(b"")
        assert found == data
    assert server.error is None
    assert server.send(data[:STREAM_MESSAGE]).count(data[:STREAM_MESSAGE]) == 1


@pytest.mark.parametrize("carriage", get_args(Carriage))
def test_what_a_stream_sends_is_binary_and_what_others_send_is_text(carriage: Carriage) -> None:
    _, server = opened(server={"carriage": carriage})
    sent = {"lines": b"1\n", "stream": b"1", "counted": (1).to_bytes(8, "big") + b"1"}[carriage]
    assert server.send(sent) == frame(BINARY if carriage == "stream" else TEXT, b"1", masked=False)


def test_lines_of_a_session_are_no_lines_of_text_to_be_judged_as_a_stream() -> None:
    assert not MessageLines.is_text
    assert NewlineFramer.is_text
