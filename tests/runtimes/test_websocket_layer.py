# SPDX-License-Identifier: MIT
"""runtimes/websocket: two layers back to back in memory: handshake, messages, turns, pings and the end."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.runtimes.link_scene import FakeHost
from tests.runtimes.tls_scene import End, Pipe, Scene, Upper
from tests.wire.websocket.pairs import CONTINUATION, PING, TEXT, frame, framed, messages, new_client
from tieline.errors import ClosedError, RemoteProtocolError, WebSocketClosed, WebSocketRefused
from tieline.runtimes.host import Host
from tieline.runtimes.layers.layer import MAX_ANSWERS
from tieline.runtimes.websocket.layer import WebSocketLayer
from tieline.wire.websocket.reading import MAX_FRAMES
from tieline.wire.websocket.server import WebSocketServer


def scene(*, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None, **settings: Any) -> Scene:
    """Return a scene before its handshake."""
    host = FakeHost()
    ends = []
    for side in (new_client("h", 80, **(client or {})), WebSocketServer(**(server or {}))):
        shaken: list[BaseException | None] = []
        chosen: dict[str, Any] = {"handshake_timeout": 10.0, "shutdown_timeout": 5.0} | settings
        upper = Upper()
        layer = WebSocketLayer(upper, side, cast("Host", host), on_handshake=shaken.append, **chosen)
        pipe = Pipe(host)
        pipe.protocol = layer
        ends.append(End(upper, cast("Any", layer), pipe, shaken))
    first, second = ends
    first.pipe.peer, second.pipe.peer = second.pipe, first.pipe
    return Scene(host, first, second)


def opened(**settings: Any) -> Scene:
    stage = scene(**settings).begin().run()
    assert [end.shaken for end in stage.ends()] == [[None], [None]]
    return stage


def lost_with(end: End) -> WebSocketClosed:
    assert isinstance(end.upper.error, WebSocketClosed)
    return end.upper.error


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_messages_pass_whole_however_the_bytes_are_cut(size: int) -> None:
    stage = opened()
    sent = [b"{}", b"x" * 300, b""]
    stage.client.layer.write(framed(*sent))
    stage.server.layer.write(framed(*sent))
    stage.run(size)
    for end in stage.ends():
        assert messages(end.upper.data) == sent
        assert end.layer.get_extra_info("websocket").path == "/"
        assert end.layer.get_extra_info("peername") == "somebody"
        assert not end.layer.can_write_eof()


def test_a_message_of_megabytes_stays_whole() -> None:
    stage = opened(server={"max_message": 3_000_000})
    stage.client.layer.write(framed(b"m" * 3_000_000))
    stage.run()
    assert messages(stage.server.upper.data) == [b"m" * 3_000_000]


def test_a_read_full_of_small_frames_leaves_turns_to_others() -> None:
    stage = opened()
    count = 5 * MAX_FRAMES
    stage.server.layer.data_received(frame(TEXT, b"7") * count)
    first = len(messages(stage.server.upper.data))
    assert first == MAX_FRAMES < count
    assert stage.server.pipe.is_paused
    stage.run()
    assert messages(stage.server.upper.data) == [b"7"] * count
    assert not stage.server.pipe.is_paused


def test_what_is_held_back_comes_before_the_end() -> None:
    stage = opened()
    stage.server.layer.data_received(frame(TEXT, b"7") * 3 * MAX_FRAMES)
    stage.server.layer.eof_received()
    stage.run()
    assert messages(stage.server.upper.data) == [b"7"] * 3 * MAX_FRAMES
    assert lost_with(stage.server).code == 1006


def test_a_paused_protocol_gets_nothing_until_it_wants_some() -> None:
    stage = opened()
    stage.server.layer.pause_reading()
    stage.server.layer.data_received(frame(TEXT, b"7") * 3 * MAX_FRAMES)
    stage.run()
    assert stage.server.upper.data == b""
    stage.server.layer.resume_reading()
    stage.run()
    assert messages(stage.server.upper.data) == [b"7"] * 3 * MAX_FRAMES


# --- the handshake ---------------------------------------------------------------------------------------------------


def test_a_refusal_is_told_to_whoever_waits_and_to_nobody_else() -> None:
    stage = scene(client={"path": "/a"}, server={"path": "/b"}).begin().run()
    for end in stage.ends():
        (error,) = end.shaken
        assert isinstance(error, WebSocketRefused)
        assert error.status == 404
        assert end.told == []
        assert end.pipe.is_lost


def test_a_handshake_that_does_not_end_is_cut() -> None:
    stage = scene()
    stage.client.pipe.is_blocked = True
    stage.begin()
    stage.host.move_to(stage.host.time + 10.0)
    stage.run()
    (error,) = stage.server.shaken
    assert isinstance(error, TimeoutError)
    assert "no WebSocket handshake within 10 s" in str(error)


def test_a_connection_that_ends_in_the_handshake_is_a_refusal() -> None:
    stage = scene().begin()
    stage.client.layer.eof_received()
    stage.run()
    (error,) = stage.client.shaken
    assert isinstance(error, WebSocketRefused)
    assert "in the middle of the WebSocket handshake" in str(error)


def test_closing_in_the_handshake_is_no_fault_of_the_peer() -> None:
    stage = scene().begin()
    stage.client.layer.close()
    stage.run()
    (error,) = stage.client.shaken
    assert isinstance(error, ClosedError)


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closes", [0, 1])
def test_either_side_closes_and_what_was_written_arrives(closes: int) -> None:
    stage = opened()
    ours, theirs = stage.ends()[closes], stage.ends()[1 - closes]
    ours.layer.write(framed(b"last"))
    ours.layer.close()
    ours.layer.write(framed(b"too late"))
    stage.run(3)
    assert messages(theirs.upper.data) == [b"last"]
    assert lost_with(theirs).code == 1000
    assert ours.upper.error is None
    assert [end.told[-1] for end in stage.ends()] == ["lost", "lost"]
    assert "eof" not in theirs.told
    assert stage.host.armed() == []


def test_both_sides_may_close_at_the_same_moment() -> None:
    stage = opened()
    for end in stage.ends():
        end.layer.close()
    stage.run()
    assert [end.upper.error for end in stage.ends()] == [None, None]


def test_a_stream_without_a_close_frame_was_cut() -> None:
    stage = opened()
    stage.server.layer.eof_received()
    stage.run()
    assert lost_with(stage.server).code == 1006
    assert "without a close frame" in str(stage.server.upper.error)


def test_a_peer_that_never_answers_the_close_frame_is_cut() -> None:
    stage = opened()
    stage.server.pipe.is_blocked = True
    stage.client.layer.close()
    stage.run()
    stage.host.move_to(stage.host.time + 5.0)
    stage.run()
    assert stage.client.told[-1] == "lost"
    assert stage.client.upper.error is None


def test_what_breaks_the_protocol_is_told_to_both() -> None:
    stage = opened()
    stage.server.layer.data_received(frame(TEXT, b"x", masked=False))
    stage.run()
    assert isinstance(stage.server.upper.error, RemoteProtocolError)
    assert lost_with(stage.client).code == 1002


@pytest.mark.row("H72")
def test_a_peer_that_pings_and_reads_nothing_is_cut() -> None:
    stage = opened()
    stage.server.pipe.is_blocked = True
    stage.server.layer.pause_writing()
    size = 0
    while not stage.server.pipe.is_going:
        stage.server.layer.data_received(frame(PING, b"p" * 100) + frame(TEXT, b"7"))
        size += 102
        assert size < 2 * MAX_ANSWERS
    stage.run()
    assert "WebSocket answers without end" in str(stage.server.upper.error)


# --- faults of the peer ------------------------------------------------------------------------------------------


def test_a_peer_whose_fault_ends_it_can_read_why_while_it_still_sends() -> None:
    stage = opened(linger=1.0)
    stage.server.layer.data_received(frame(TEXT, b"x", masked=False))
    assert stage.server.told == ["made"]
    assert stage.server.layer.is_closing()
    stage.server.layer.data_received(frame(TEXT, b"not heard") * 100)
    assert not stage.server.pipe.is_going
    stage.run()
    assert lost_with(stage.client).code == 1002
    assert stage.server.told == ["made", "lost"]
    assert isinstance(stage.server.upper.error, RemoteProtocolError)
    assert stage.host.armed() == []


def test_a_peer_that_does_not_leave_then_is_cut() -> None:
    stage = opened(linger=1.0)
    stage.client.pipe.is_blocked = stage.server.pipe.is_blocked = True
    stage.server.layer.data_received(frame(TEXT, b"x", masked=False))
    stage.host.move_to(stage.host.time + 0.9)
    stage.run()
    assert stage.server.told == ["made"]
    stage.host.move_to(stage.host.time + 0.1)
    stage.run()
    assert stage.server.told == ["made", "lost"]
    assert isinstance(stage.server.upper.error, RemoteProtocolError)


def test_who_is_refused_can_read_why_while_it_still_sends() -> None:
    stage = scene(linger=1.0)
    stage.server.layer.connection_made(cast("Any", stage.server.pipe))
    stage.server.layer.data_received(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
    stage.server.layer.data_received(b"{}\n" * 1000)
    assert stage.server.pipe.unsent.startswith(b"HTTP/1.1 400 ")
    assert not stage.server.pipe.is_going
    stage.client.pipe.is_going = True  # it hears nothing, and leaves
    stage.server.layer.eof_received()
    stage.run()
    (error,) = stage.server.shaken
    assert isinstance(error, WebSocketRefused)
    assert stage.server.told == []


def test_what_passes_before_the_handshake_can_begin_is_a_part_of_its_time() -> None:
    stage = scene()
    stage.client.pipe.is_blocked = True
    stage.host.move_to(stage.host.time + 9.0)  # TLS below has its handshake
    stage.begin().run()
    assert stage.server.shaken == []
    stage.host.move_to(stage.host.time + 1.0)
    stage.run()
    (error,) = stage.server.shaken
    assert "no WebSocket handshake within 10 s" in str(error)


@pytest.mark.parametrize("beginning", [frame(TEXT, b"[1]")[:1], frame(TEXT, b"[1]")[:7], frame(TEXT, b"[", fin=False)])
def test_a_message_that_does_not_end_is_cut(beginning: bytes) -> None:
    stage = opened(message_timeout=30.0)
    stage.server.layer.data_received(frame(TEXT, b"[1]") + beginning)
    stage.host.move_to(stage.host.time + 29.0)
    assert stage.server.told == ["made", "data"]
    stage.host.move_to(stage.host.time + 1.0)
    stage.run()
    assert "not complete after 30 s" in str(stage.server.upper.error)
    assert lost_with(stage.client).code == 1008


def test_a_message_that_ends_in_time_is_not_cut_and_neither_is_one_that_is_not_read() -> None:
    stage = opened(message_timeout=30.0)
    whole = frame(TEXT, b"[1]")
    for _ in range(5):
        stage.server.layer.data_received(whole[:4])
        stage.host.move_to(stage.host.time + 20.0)
        stage.server.layer.data_received(whole[4:])
    assert stage.host.armed() == []
    stage.server.layer.pause_reading()
    stage.server.layer.data_received(whole * 20_000 + whole[:4])
    assert stage.server.pipe.is_paused
    stage.host.move_to(stage.host.time + 100.0)
    stage.run()
    assert "lost" not in stage.server.told
    stage.server.layer.resume_reading()
    stage.run()
    stage.server.layer.data_received(whole[4:])
    assert messages(stage.server.upper.data) == [b"[1]"] * 20_006


def test_each_message_has_its_own_time_where_each_read_ends_in_the_middle_of_one() -> None:
    stage = opened(message_timeout=30.0)
    whole = frame(TEXT, b"[1]" * 100)
    stage.server.layer.data_received(whole[:99])
    for _ in range(10):
        stage.host.move_to(stage.host.time + 20.0)
        stage.server.layer.data_received(whole[99:] + whole[:99])
    assert len(messages(stage.server.upper.data)) == 10
    stage.host.move_to(stage.host.time + 29.0)
    assert "lost" not in stage.server.told
    stage.host.move_to(stage.host.time + 1.0)
    stage.run()
    assert "not complete after 30 s" in str(stage.server.upper.error)
    assert lost_with(stage.client).code == 1008
    assert stage.host.armed() == []


def test_a_message_that_was_not_read_on_for_long_has_its_time_anew_when_it_is() -> None:
    stage = opened(message_timeout=30.0)
    stage.server.layer.data_received(frame(TEXT, b"8", fin=False))
    stage.server.layer.pause_reading()
    stage.server.layer.data_received(frame(CONTINUATION, b"8" * 1000) + frame(TEXT, b"7" * 70_000) * 2)
    stage.server.layer.data_received(frame(TEXT, b"9", fin=False))
    was_paused = stage.server.pipe.is_paused
    stage.host.move_to(stage.host.time + 29.0)
    stage.server.layer.resume_reading()
    stage.run()
    assert (was_paused, stage.server.pipe.is_paused) == (True, False)
    stage.host.move_to(stage.host.time + 29.0)
    stage.run()
    assert "lost" not in stage.server.told
    stage.server.layer.data_received(frame(CONTINUATION, b"9"))
    assert messages(stage.server.upper.data)[-1] == b"99"


def test_what_is_left_in_a_later_turn_has_its_time_as_well() -> None:
    stage = opened(message_timeout=30.0)
    stage.server.layer.data_received(frame(TEXT, b"7") * (MAX_FRAMES + 1) + frame(TEXT, b"8", fin=False))
    stage.run()
    assert len(messages(stage.server.upper.data)) == MAX_FRAMES + 1
    stage.host.move_to(stage.host.time + 30.0)
    stage.run()
    assert "not complete after 30 s" in str(stage.server.upper.error)


def test_a_server_that_goes_down_says_so() -> None:
    is_down = False
    stage = opened(is_leaving=lambda: is_down)
    is_down = True
    stage.server.layer.close()
    stage.run()
    assert lost_with(stage.client).code == 1001


# --- pings -----------------------------------------------------------------------------------------------------------


def test_a_silent_peer_is_asked_and_its_answer_is_enough() -> None:
    stage = opened(ping_interval=20.0, ping_timeout=7.0)
    for _ in range(50):
        stage.host.move_to(stage.host.time + 5.0)
        stage.run()
    assert [end.told for end in stage.ends()] == [["made"], ["made"]]


def test_a_peer_that_answers_no_ping_is_cut() -> None:
    stage = opened(ping_interval=20.0, ping_timeout=7.0)
    stage.client.pipe.is_blocked = True
    stage.host.move_to(stage.host.time + 20.0)
    stage.run()
    assert stage.server.told == ["made"]
    stage.host.move_to(stage.host.time + 7.0)
    stage.run()
    assert isinstance(stage.server.upper.error, TimeoutError)
    assert "answered no WebSocket ping within 7 s" in str(stage.server.upper.error)
    stage.client.pipe.is_blocked = False
    stage.run()
    assert lost_with(stage.client).code == 1011  # as it reads when it comes back


def test_a_protocol_that_reads_nothing_does_not_take_its_peer_for_silent() -> None:
    stage = opened(ping_interval=20.0, ping_timeout=7.0)
    stage.server.layer.pause_reading()
    stage.client.layer.write(framed(*[b"waits" * 1000] * 20))
    stage.run()
    assert stage.server.pipe.is_paused
    for _ in range(50):
        stage.host.move_to(stage.host.time + 5.0)
        stage.run()
    assert stage.server.told == ["made"]
    stage.server.layer.resume_reading()
    stage.run()
    assert messages(stage.server.upper.data) == [b"waits" * 1000] * 20


def test_a_protocol_that_is_busy_still_answers_pings() -> None:
    stage = opened(ping_interval=20.0, ping_timeout=7.0)
    stage.server.layer.pause_reading()
    stage.client.layer.write(framed(b"waits"))
    for _ in range(50):
        stage.host.move_to(stage.host.time + 5.0)
        stage.run()
    assert stage.client.told == ["made"]
    assert stage.server.upper.data == b""
    stage.server.layer.resume_reading()
    stage.run()
    assert messages(stage.server.upper.data) == [b"waits"]


def test_pings_end_with_the_connection() -> None:
    stage = opened(ping_interval=20.0)
    stage.client.layer.abort()
    stage.run()
    assert stage.host.armed() == []
