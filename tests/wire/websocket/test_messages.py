# SPDX-License-Identifier: MIT
"""wire/websocket: messages, frames that bring nothing, and faults of the peer, in both directions and at every cut."""

from __future__ import annotations

import os
import tracemalloc
import zlib

import pytest

from tests.wire.websocket.pairs import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_code,
    frame,
    framed,
    messages,
    new_client,
    opened,
    told,
)
from tieline.errors import MessageTooLarge, RemoteProtocolError, WebSocketClosed
from tieline.wire.websocket.reading import MAX_FRAMES, MAX_IDLE_FRAMES

SENT = [b"{}", b"", "grüße".encode(), b"x" * 125, b"y" * 126, b"z" * 70_000]


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_messages_pass_in_both_directions(*, compression: bool, binary: bool) -> None:
    client, server = opened(
        {"compression": compression, "binary": binary}, {"compression": compression, "binary": binary}
    )
    assert told(server, client.send(framed(*SENT))) == SENT
    assert told(client, server.send(framed(*SENT))) == SENT
    assert not client.has_output
    assert not server.has_output


def test_messages_are_found_wherever_the_stream_is_cut() -> None:
    client, _ = opened()
    sent = [b"[1]", "ü".encode(), b"", b"q" * 200]
    stream = client.send(framed(*sent)) + frame(PING, b"p") + frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")
    for cut in range(len(stream) + 1):
        _, server = opened()
        found = told(server, stream[:cut]) + told(server, stream[cut:])
        assert found == [*sent, b"ab"], cut
        assert server.error is None
        assert server.data_to_send() == frame(PONG, b"p", masked=False)


def test_a_message_in_fragments_comes_as_one_and_pings_may_come_between_them() -> None:
    _, server = opened()
    parts = frame(TEXT, "grü"[:3].encode()[:3], fin=False) + frame(PING) + frame(CONTINUATION, b"\xbc", fin=False)
    assert told(server, parts) == []
    assert told(server, frame(CONTINUATION, b"!")) == ["grü!".encode()]
    assert told(server, frame(TEXT, b"next")) == [b"next"]


@pytest.mark.parametrize("content", [b"\xff", b"ab\xc3", "\ud800".encode("utf-8", "surrogatepass")])
@pytest.mark.row("H72")
def test_text_that_is_no_utf8_ends_the_connection_with_1007(content: bytes) -> None:
    _, server = opened()
    assert told(server, frame(TEXT, b"before") + frame(TEXT, content) + frame(TEXT, b"behind")) == [b"before"]
    assert isinstance(server.error, RemoteProtocolError)
    assert "UTF-8" in str(server.error)
    assert close_code(server.data_to_send()) == 1007
    assert told(server, frame(TEXT, b"later")) == []


@pytest.mark.row("H72")
def test_text_that_is_no_utf8_is_found_in_whatever_it_comes() -> None:
    bad = b"x" * 200 + b"\xff"
    long, fragments = frame(TEXT, bad), frame(TEXT, bad[:9], fin=False) + frame(CONTINUATION, bad[9:])
    for pieces in ([long], [long[:50], long[50:]], [fragments], [frame(TEXT, b"[1]"), frame(TEXT, b"\xff")]):
        _, server = opened()
        found = [one for piece in pieces for one in told(server, piece)]
        assert found == ([b"[1]"] if len(pieces[-1]) < 20 else [])
        assert close_code(server.data_to_send()) == 1007


def test_bytes_may_come_as_a_view() -> None:
    client, server = opened()
    assert messages(server.receive(memoryview(client.send(framed(b"[1]", b"[2]"))))) == [b"[1]", b"[2]"]


def test_binary_messages_may_be_anything() -> None:
    _, server = opened()
    assert told(server, frame(BINARY, b"\xff\xfe")) == [b"\xff\xfe"]


@pytest.mark.row("H72")
@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_flood_of_pings_is_cut(opcode: int) -> None:
    _, server = opened()
    assert told(server, frame(opcode) * MAX_IDLE_FRAMES) == []
    assert server.error is None
    assert told(server, frame(TEXT, b"real") + frame(opcode) * MAX_IDLE_FRAMES) == [b"real"]
    assert server.error is None
    told(server, frame(opcode))
    assert "bring nothing" in str(server.error)
    assert close_code(server.data_to_send()) == 1008


@pytest.mark.row("H72")
def test_a_thousand_empty_fragments_are_cut() -> None:
    _, server = opened()
    stream = frame(TEXT, b"x", fin=False) + frame(CONTINUATION, fin=False) * 1000 + frame(CONTINUATION)
    assert told(server, stream) == []
    assert "bring nothing" in str(server.error)
    assert close_code(server.data_to_send()) == 1008


@pytest.mark.row("H72")
def test_a_message_in_many_fragments_that_bring_something_is_one() -> None:
    _, server = opened()
    count = 2 * MAX_IDLE_FRAMES
    stream = frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * count + frame(CONTINUATION)
    assert told(server, stream) == [b"x" * (count + 1)]
    assert server.error is None


@pytest.mark.row("H72")
@pytest.mark.parametrize("piece", [6, 11, 1 << 16])
def test_in_a_stream_empty_messages_bring_nothing(piece: int) -> None:
    _, server = opened({"carriage": "stream"}, {"carriage": "stream"})
    some = frame(BINARY) * MAX_IDLE_FRAMES
    stream = frame(BINARY, b"a") + some + frame(BINARY, b"b") + some + frame(BINARY) + frame(BINARY, b"never")
    found = b"".join(server.receive(stream[at : at + piece]) for at in range(0, len(stream), piece))
    assert found == b"ab"
    assert server.has_more is (piece > len(stream))  # the end comes in a turn of its own
    server.receive(b"")
    assert "bring nothing" in str(server.error)
    assert close_code(server.data_to_send()) == 1008


@pytest.mark.row("H72")
@pytest.mark.parametrize(
    ("nothing", "frames"),
    [
        pytest.param(frame(BINARY, b"\0", rsv=4), 1, id="compressed"),
        pytest.param(frame(BINARY, fin=False) + frame(CONTINUATION), 2, id="in fragments"),
    ],
)
def test_in_a_stream_empty_messages_bring_nothing_in_whatever_they_come(nothing: bytes, frames: int) -> None:
    settings = {"carriage": "stream", "compression": True}
    _, server = opened(settings, settings)
    assert server.receive(nothing * (MAX_IDLE_FRAMES // frames)) == b""
    assert server.error is None
    server.receive(nothing)
    assert "bring nothing" in str(server.error)
    assert close_code(server.data_to_send()) == 1008


def deflated(content: bytes) -> bytes:
    """Return what a compressed message is (RFC 7692, section 7.2.1)."""
    deflating = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (deflating.compress(content) + deflating.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def last_block(content: bytes) -> bytes:
    """Return *content*, compressed into blocks of which the last is marked so (RFC 7692, section 7.2.3.4)."""
    deflating = zlib.compressobj(9, zlib.DEFLATED, -12)
    return deflating.compress(content) + deflating.flush()


@pytest.mark.parametrize("padding", [b"", b"\0"])
@pytest.mark.parametrize("size", [3, 9000])
def test_each_message_may_end_with_a_last_block(padding: bytes, size: int) -> None:
    _, server = opened({"compression": True}, {"compression": True})
    sent = [os.urandom(size) for _ in range(3)]
    whole = [last_block(one) + padding for one in sent]
    parts = b"".join(
        frame(BINARY, one[:2], fin=False, rsv=4) + frame(CONTINUATION, one[2:], fin=False) + frame(CONTINUATION)
        for one in whole
    )
    assert told(server, b"".join(frame(BINARY, one, rsv=4) for one in whole) + parts) == [*sent, *sent]
    assert told(server, frame(TEXT, deflated(b"{}"), rsv=4)) == [b"{}"]
    assert server.error is None


@pytest.mark.row("H72", "H75")
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(frame(BINARY, last_block(b"{}") + b"x" * 90, rsv=4), id="one frame"),
        pytest.param(frame(BINARY, last_block(b"{}") + last_block(b"{}"), rsv=4), id="twice"),
        pytest.param(
            frame(BINARY, last_block(b"{}"), rsv=4, fin=False) + frame(CONTINUATION, b"x" * 90, fin=False), id="behind"
        ),
        pytest.param(frame(BINARY, last_block(b"{}"), rsv=4, fin=False) + frame(CONTINUATION, b"x"), id="at the end"),
    ],
)
def test_what_stands_behind_a_last_block_is_not_kept(stream: bytes) -> None:
    _, server = opened({"compression": True}, {"compression": True})
    assert told(server, frame(TEXT, b"before") + stream + frame(TEXT, b"behind")) == [b"before"]
    assert "behind the end of its data" in str(server.error)
    assert close_code(server.data_to_send()) == 1002


@pytest.mark.row("H72")
@pytest.mark.parametrize("compression", [False, True])
def test_nothing_is_kept_of_a_message_that_was_handed_up(*, compression: bool) -> None:
    _, server = opened({"compression": compression}, {"compression": compression})
    size = 1_000_000
    stream = (
        frame(BINARY, deflated(bytes(size)), rsv=4)
        if compression
        else frame(BINARY, b"x", fin=False) + frame(CONTINUATION, bytes(size))
    )
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert len(server.receive(stream)) > size
        assert tracemalloc.get_traced_memory()[0] - before < size // 4
    finally:
        tracemalloc.stop()


def test_empty_messages_are_messages_where_messages_are_kept_apart() -> None:
    _, server = opened()
    assert told(server, frame(BINARY) * 500) == [b""] * 500
    assert server.error is None
    client, server = opened({"compression": True}, {"compression": True})
    assert told(server, client.send(framed(b"") * 500)) == [b""] * 500
    assert server.error is None


@pytest.mark.row("H72")
def test_what_inflates_to_more_than_a_message_may_have_is_refused_before_it_is_inflated() -> None:
    _, server = opened({"compression": True}, {"compression": True, "max_message": 1 << 20})
    deflated = zlib.compressobj(9, zlib.DEFLATED, -12)
    # Behind a full flush nothing refers to what was before: so one piece stands for all 200 MB.
    bomb = (deflated.compress(bytes(1 << 20)) + deflated.flush(zlib.Z_FULL_FLUSH)) * 200
    assert 100_000 < len(bomb) < 400_000
    told(server, frame(TEXT, bomb.removesuffix(b"\0\0\xff\xff"), rsv=4))
    assert isinstance(server.error, MessageTooLarge)
    assert server.error.limit == 1 << 20
    assert (server.error.seen, server.error.announced) == ((1 << 20) + 1, None)
    assert close_code(server.data_to_send()) == 1009


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(frame(TEXT, b"x" * 101), id="one frame"),
        pytest.param(frame(TEXT, b"x" * 60, fin=False) + frame(CONTINUATION, b"x" * 41), id="fragments"),
    ],
)
def test_a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not(stream: bytes) -> None:
    _, server = opened(server={"max_message": 100})
    assert told(server, frame(TEXT, b"x" * 100)) == [b"x" * 100]
    told(server, stream)
    assert isinstance(server.error, MessageTooLarge)
    assert server.error.limit == 100
    assert server.error.announced == 101  # with the fragments before the one that is too much
    assert close_code(server.data_to_send()) == 1009


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(frame(TEXT, b"{}", masked=False), 1002, id="not masked"),
        pytest.param(frame(3), 1002, id="unknown opcode"),
        pytest.param(frame(TEXT, rsv=1), 1002, id="reserved bit"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="continuation of nothing"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002, id="message in message"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(frame(PING, fin=False), 1002, id="fragmented ping"),
    ],
)
def test_what_rfc_6455_forbids_ends_the_connection(fault: bytes, code: int) -> None:
    _, server = opened()
    assert told(server, frame(TEXT, b"before") + fault) == [b"before"]
    assert isinstance(server.error, RemoteProtocolError)
    assert "breaks the WebSocket protocol" in str(server.error)
    assert close_code(server.data_to_send()) == code
    assert server.is_over


ENDS = {
    "closed": (frame(CLOSE, b"\x03\xe9"), 1001),
    "not masked": (frame(TEXT, b"{}", masked=False), 1002),
    "not masked, control": (frame(PING, masked=False), 1002),
    "unknown opcode": (frame(3), 1002),
    "unknown control opcode": (frame(11), 1002),
    "reserved bit": (frame(TEXT, b"x", rsv=1), 1002),
    "reserved bit, control": (frame(PONG, rsv=4), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "message in message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "fragmented ping": (frame(PING, fin=False), 1002),
    "too long": (frame(BINARY, b"x" * 1001), 1009),
    "too long, in fragments": (frame(TEXT, b"x" * 1000, fin=False) + frame(CONTINUATION, b"x"), 1009),
    "no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "no UTF-8, long": (frame(TEXT, b"x" * 200 + b"\xff"), 1007),
    "no UTF-8, in fragments": (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"\xff"), 1007),
    "pings": (frame(PING) * (MAX_IDLE_FRAMES + 1), 1008),
    "inflates to no UTF-8": (frame(TEXT, deflated(b"\xff"), rsv=4), 1007),
    "cannot be inflated": (frame(TEXT, b"\xff" * 10, rsv=4), 1002),
    "cannot be inflated, in fragments": (
        frame(TEXT, b"", fin=False, rsv=4) + frame(CONTINUATION, b"\xff" * 10, fin=False),
        1002,
    ),
    "inflates to too much": (frame(TEXT, deflated(b"x" * 1001), rsv=4), 1009),
    "a length told too long": (b"\x81\xfe\x00\x7d" + bytes(4 + 125), 1002),
    "a length told much too long": (b"\x89\xff" + bytes(7) + b"\x01" + bytes(5), 1002),
}


@pytest.mark.row("H1", "H72")
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize(("end", "code"), ENDS.values(), ids=ENDS)
def test_what_came_before_the_end_can_be_answered_though_both_came_together(
    end: bytes, code: int, *, compression: bool
) -> None:
    settings = {"compression": compression}
    is_compressed = end[0] & 0x7F == 0x41
    if is_compressed and not compression:
        code = 1002  # a reserved bit, then
    elif compression and end[0] & 0x40 and not is_compressed:
        end = bytes([end[0] | 0x20]) + end[1:]  # what is reserved still
    for piece in (1 << 20, 1):
        client, server = opened(settings, settings | {"max_message": 1000})
        stream, found = client.send(framed(b"call")) + end + frame(TEXT, b"behind"), []
        for at in range(0, len(stream), piece):
            found = messages(server.receive(stream[at : at + piece]))
            if found:
                assert not server.is_over
                server.data_to_send()  # answers to pings
                assert told(client, server.send(framed(b"answer"))) == [b"answer"]
            found = [*found, *told(server, b"")]
            assert b"behind" not in found
        assert server.is_over
        assert close_code(server.data_to_send()) == code


def test_a_read_full_of_small_frames_takes_several_turns() -> None:
    _, server = opened()
    count = 3 * MAX_FRAMES
    stream = frame(TEXT, b"7") * count
    found = messages(server.receive(stream))
    assert server.has_more
    assert len(found) == MAX_FRAMES
    assert found + told(server, b"") == [b"7"] * count
    assert not server.has_more


@pytest.mark.row("H72")
def test_what_inflates_much_is_handed_up_in_many_turns() -> None:
    client, server = opened({"compression": True}, {"compression": True, "max_message": 1 << 20})
    stream = client.send(framed(*[bytes(1 << 20)] * 20))
    assert len(stream) < 100_000
    first = server.receive(stream)
    assert server.has_more
    assert len(first) < 4 << 20
    assert messages(first) + told(server, b"") == [bytes(1 << 20)] * 20


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [(b"", 1005, ""), (b"\x03\xe8", 1000, ""), (b"\x03\xe9away", 1001, "away"), (b"\x0f\xa0own", 4000, "own")],
)
def test_the_peer_closes_and_says_why(content: bytes, code: int, reason: str) -> None:
    _, server = opened()
    assert told(server, frame(TEXT, b"last") + frame(CLOSE, content) + frame(TEXT, b"behind")) == [b"last"]
    assert server.peer_closed
    assert server.is_over
    assert isinstance(server.end, WebSocketClosed)
    assert (server.end.code, server.end.reason) == (code, reason)
    assert str(code) in str(server.end)
    assert server.error is None
    assert server.data_to_send() == frame(CLOSE, content, masked=False)  # the answer
    assert server.close() == b""  # has been said
    assert server.send(framed(b"more")) == b""
    assert server.ping() == b""


def test_closing_says_why_and_the_answer_ends_it() -> None:
    client, server = opened()
    last = client.close(1001, "bye")
    assert client.close() == b""
    assert client.send(framed(b"more")) == b""
    assert client.ping() == b""
    assert told(client, server.send(framed(b"still"))) == [b"still"]
    assert told(server, last) == []
    assert server.end is not None
    assert (server.end.code, server.end.reason) == (1001, "bye")
    assert told(client, server.data_to_send()) == []
    assert client.is_over
    assert client.error is None


def test_what_says_nothing_else_closes_in_order() -> None:
    for closing, told_so in (opened(), opened()[::-1]):
        seen = [closing.end, told_so.end]
        told(told_so, closing.close())
        assert isinstance(told_so.end, WebSocketClosed)
        assert (*seen, told_so.end.code, told_so.end.reason) == (None, None, 1000, "")


def test_a_ping_of_ours_is_answered() -> None:
    client, server = opened()
    assert told(server, client.ping()) == []
    assert told(client, server.data_to_send()) == []
    assert client.error is None


def test_before_the_handshake_nothing_is_sent() -> None:
    client, server = opened()
    fresh = type(server)()
    assert fresh.send(framed(b"x")) == b""
    assert fresh.ping() == b""
    assert fresh.close() == b""
    assert fresh.get_extra_info("websocket", "none") == "none"
    assert client.get_extra_info("websocket") is client.info
    assert client.get_extra_info("other", 7) == 7


def test_bytes_that_are_not_handed_up_are_counted() -> None:
    assert new_client("server.example", 80).overhead == 0
    _, server = opened()
    short, long = frame(TEXT, b"x"), frame(TEXT, b"x" * 70_000)
    assert told(server, short) == [b"x"]
    server.overhead = 0
    assert told(server, short) == [b"x"]
    assert server.overhead == len(short) - len(framed(b"x"))
    server.overhead = 0
    ping = frame(PING, b"p" * 100)
    assert told(server, ping + long[:50_000]) == []
    assert server.overhead == len(ping) + 50_000
    assert told(server, long[50_000:]) == [b"x" * 70_000]
    assert server.overhead == len(ping + long) - len(framed(b"x" * 70_000))


def test_a_lone_line_is_handed_up_but_for_its_head() -> None:
    client, server = opened({"carriage": "lines"}, {"carriage": "lines"})
    for sender, receiver in ((client, server), (server, client)):
        for _ in range(2):
            receiver.overhead = 0
            data = sender.send(b"[1]\n")
            assert receiver.receive(data) == b"[1]\n"
            assert receiver.overhead == len(data) - len(b"[1]\n")


def test_what_is_compressed_counts_as_what_it_holds() -> None:
    client, server = opened({"compression": True}, {"compression": True})
    client.overhead = server.overhead = 0
    assert told(server, client.send(framed(b"x" * 10_000))) == [b"x" * 10_000]
    assert server.overhead == 0


def test_a_side_that_has_let_go_says_nothing_more_and_keeps_what_was_told() -> None:
    for side in opened():
        info = side.info
        side.let_go()
        assert not vars(side._core), "it refers to itself"
        assert not side.is_smooth
        assert side.send(framed(b"x")) == side.ping() == side.close() == b""
        assert (side.error, side.info) == (None, info)
        side.let_go()  # harmless
