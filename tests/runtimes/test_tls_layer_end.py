# SPDX-License-Identifier: MIT
"""runtimes/tls: how TLS connections end, in order, by a cut, by a fault and by force, in memory."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.runtimes.tls_scene import Scene, Upper, opened, scene, server_context
from tieline.errors import ClosedError, TLSTruncated
from tieline.runtimes.tls.layer import TLSLayer

RESET = ConnectionResetError(104, "Connection reset by peer")


def has_timer(stage: Scene, layer: TLSLayer) -> bool:
    return any(getattr(timer.fn, "__self__", None) is layer for timer in stage.host.timers if not timer.cancelled)


# --- in order --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "T1", "T7")
@pytest.mark.parametrize("closes", [0, 1])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_either_side_closes_cleanly_and_what_was_written_arrives(
    certificates: Certificates, closes: int, version: ssl.TLSVersion
) -> None:
    context = server_context(certificates)
    context.maximum_version = version
    stage = opened(certificates, server=context)
    ours, theirs = stage.ends()[closes], stage.ends()[1 - closes]
    ours.layer.write(b"last words" * 20_000)
    ours.layer.close()
    assert ours.layer.is_closing()
    ours.layer.write(b"too late")
    ours.layer.close()
    stage.run(1000)
    assert theirs.upper.data == b"last words" * 20_000
    assert theirs.told[-2:] == ["eof", "lost"]
    assert ours.told == ["made", "full", "room", "lost"]
    assert ours.upper.error is theirs.upper.error is None
    assert stage.host.armed() == []
    for end in stage.ends():
        end.layer.close()
        end.layer.abort()
        end.layer.write(b"much too late")
        assert end.told.count("lost") == 1


@pytest.mark.row("D6")
def test_both_sides_may_close_at_the_same_moment(certificates: Certificates) -> None:
    stage = opened(certificates)
    for end in stage.ends():
        end.layer.close()
    stage.run()
    for end in stage.ends():
        assert end.told == ["made", "lost"]
        assert end.upper.error is None


@pytest.mark.row("T7")
@pytest.mark.parametrize("order", ["close", "abort"])
def test_the_peers_end_may_be_answered_by_closing(certificates: Certificates, order: str) -> None:
    stage = opened(certificates)
    stage.server.upper.on_eof = getattr(stage.server.layer, order)
    stage.client.layer.close()
    stage.run()
    assert stage.server.told == ["made", "eof", "lost"]
    assert stage.server.upper.error is None


@pytest.mark.row("D6")
def test_what_is_written_on_hearing_the_peers_end_goes_out_before_ours(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.server.upper.on_eof = lambda: stage.server.layer.write(b"parting words")
    stage.client.layer.close()
    before = len(stage.server.pipe.said)
    stage.run()
    assert len(stage.server.pipe.said) - before > len(b"parting words") + 20  # and a close_notify


@pytest.mark.row("D6", "T1")
def test_what_comes_while_closing_is_thrown_away(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.client.layer.close()
    stage.server.layer.write(b"x" * 300_000)
    stage.client.pipe.is_blocked = True  # close_notify is on its way
    for _ in range(20):
        stage.server.pipe.move(50_000)
    assert stage.client.upper.data == b""
    stage.client.pipe.is_blocked = False
    stage.run()
    assert stage.client.told == ["made", "lost"]


@pytest.mark.row("T2")
def test_closing_while_reading_is_paused_still_hears_the_peers_answer(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.server.layer.pause_reading()
    stage.client.layer.write(b"data")
    stage.run()
    stage.server.layer.close()
    stage.run()
    assert stage.server.told == ["made", "lost"]
    assert stage.client.told == ["made", "eof", "lost"]


@pytest.mark.row("T2", "T7")
@pytest.mark.parametrize("clean", [True, False])
def test_the_end_waits_while_reading_is_paused(certificates: Certificates, clean: bool) -> None:
    stage = opened(certificates)
    server = stage.server
    server.upper.on_data = lambda _: server.layer.pause_reading()
    stage.client.layer.write(b"data")
    if clean:
        stage.client.layer.close()
    stage.client.pipe.move(1 << 20)
    server.pipe.is_paused = False  # so that the end of the stream comes, as it may from transports that read ahead
    stage.client.layer.abort()
    stage.client.pipe.move(1)
    server.pipe.is_paused = True
    assert server.told == ["made", "data"]
    server.layer.resume_reading()
    assert server.told == ["made", "data"]
    stage.run()
    assert server.told == ["made", "data", "eof", "lost"] if clean else ["made", "data", "lost"]
    assert isinstance(server.upper.error, TLSTruncated) is not clean


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "H68")
def test_a_peer_that_never_answers_close_notify_is_waited_for_in_time(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.client.layer.close()
    stage.client.pipe.move(1000)
    stage.server.pipe.is_blocked = True
    stage.host.turn()
    stage.host.move_to(stage.host.time + 4.9)
    stage.host.turn()
    assert stage.client.told == ["made"]
    stage.host.move_to(stage.host.time + 5.2)  # up to twice: first for our words to go out, then for the answer
    stage.host.turn()
    assert stage.client.told == ["made", "lost"]
    assert stage.client.upper.error is None


@pytest.mark.row("H45", "D6")
def test_a_peer_that_takes_nothing_is_cut_and_one_that_is_slow_is_not(certificates: Certificates) -> None:
    stage = opened(certificates)
    client = stage.client
    client.layer.write(b"x" * 50_000)
    client.layer.close()
    for _ in range(10):
        client.pipe.move(1000)
        stage.host.move_to(stage.host.time + 4.9)
        stage.host.turn()
    assert client.told == ["made"]
    stage.host.move_to(stage.host.time + 5.1)
    stage.host.turn()
    assert client.told == ["made", "lost"]
    assert isinstance(client.upper.error, TimeoutError)
    assert "took no byte for 5 s" in str(client.upper.error)


@pytest.mark.row("D6")
def test_an_alert_that_nobody_takes_does_not_keep_the_connection(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.client.layer.data_received(b"\x17\x03\x03\x00\x30" + bytes(48))
    assert stage.client.pipe.unsent
    assert stage.client.told == ["made"]
    stage.host.move_to(stage.host.time + 5.1)
    stage.host.turn()
    assert stage.client.told == ["made", "lost"]
    assert isinstance(stage.client.upper.error, ssl.SSLError)


# --- cuts and faults -------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "H68")
@pytest.mark.parametrize("cut", [0, 1])
def test_an_end_without_close_notify_is_truncation(certificates: Certificates, cut: int) -> None:
    whole = opened(certificates)
    sent = len(whole.ends()[cut].pipe.said)
    whole.ends()[cut].layer.write(b"data")
    size = len(whole.ends()[cut].pipe.unsent)
    assert sent
    for kept in range(size + 1):  # between records, and at each place within one
        stage = opened(certificates)
        ours, theirs = stage.ends()[cut], stage.ends()[1 - cut]
        ours.layer.write(b"data")
        if kept:
            ours.pipe.move(kept)
        ours.layer.abort()
        stage.run()
        # What it would write is to wait for the end: it could go nowhere.
        assert theirs.told == [*(["made", "data"] if kept == size else ["made"]), "full", "lost"]
        assert isinstance(theirs.upper.error, TLSTruncated)
        assert (ours.told[-1], ours.upper.error) == ("lost", None)


@pytest.mark.row("D6", "T7")
def test_broken_records_end_the_connection_and_the_peer_is_told(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.client.layer.write(b"good")
    stage.client.layer.write(b"bad")
    stage.client.pipe.unsent[-1] ^= 1
    stage.run()
    assert stage.server.told == ["made", "data", "lost"]
    assert stage.server.upper.data == b"good"
    assert isinstance(stage.server.upper.error, ssl.SSLError)
    assert not isinstance(stage.server.upper.error, ssl.SSLEOFError)  # its words are OpenSSL's, and change
    assert stage.client.told == ["made", "lost"]
    assert "alert bad record mac" in str(stage.client.upper.error)
    stage.server.layer.write(b"dropped")


@pytest.mark.row("D6", "T7")
@pytest.mark.parametrize("when", ["open", "closing, unsent", "closing, flushed"])
def test_a_reset_stays_a_reset_unless_all_had_been_said(certificates: Certificates, when: str) -> None:
    stage = opened(certificates)
    client = stage.client
    if when != "open":
        client.layer.close()
    if when == "closing, flushed":
        client.pipe.move(1000)
        stage.host.turn()
    client.pipe.lose(RESET)
    stage.host.turn()
    assert client.told == ["made", "lost"]
    assert client.upper.error is (None if when == "closing, flushed" else RESET)
    assert not has_timer(stage, client.layer)


@pytest.mark.row("T7")
def test_a_transport_that_breaks_in_the_turn_of_closing_has_sent_nothing(certificates: Certificates) -> None:
    stage = opened(certificates)
    client = stage.client
    client.layer.write(b"unsent")
    client.layer.close()
    client.pipe.unsent.clear()
    client.pipe.is_going = True
    stage.host.turn()
    client.layer.connection_lost(RESET)
    assert client.upper.error is RESET


@pytest.mark.row("D6")
def test_a_peer_that_only_closes_its_socket_while_we_close_is_fine(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.client.layer.close()
    stage.client.pipe.move(1000)
    stage.server.pipe.unsent.clear()
    stage.client.layer.eof_received()
    stage.run()
    assert stage.client.told == ["made", "lost"]
    assert stage.client.upper.error is None


# --- by force --------------------------------------------------------------------------------------------------------


def nothing(stage: Scene) -> None:
    pass


def begun(stage: Scene) -> None:
    stage.begin()


def closing(stage: Scene) -> None:
    stage.begin().run()
    stage.client.layer.write(b"x" * 100_000)
    stage.client.layer.close()


def broken(stage: Scene) -> None:
    stage.begin().run()
    stage.client.layer.data_received(b"garbage")


def refused(stage: Scene) -> None:
    stage.begin()
    stage.client.layer.data_received(b"garbage")


def gone(stage: Scene) -> None:
    closing(stage)
    stage.run()


STATES: list[tuple[Any, list[str], type[BaseException] | None]] = [
    (nothing, [], ClosedError),
    (begun, [], ClosedError),
    (refused, [], ssl.SSLError),
    (lambda stage: stage.begin().run(), ["made", "lost"], None),
    (closing, ["made", "full", "lost"], None),
    (broken, ["made", "lost"], None),
    (gone, ["made", "full", "room", "lost"], None),
]


@pytest.mark.row("T1", "T7", "H61")
@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize(("reach", "told", "shaken"), STATES, ids=lambda value: getattr(value, "__name__", None))
def test_abort_ends_every_state_once(
    certificates: Certificates, reach: Any, told: list[str], shaken: type[BaseException] | None, prompt: bool
) -> None:
    stage = scene(certificates, prompt=prompt)
    reach(stage)
    for _ in range(3):
        stage.client.layer.abort()
    assert stage.client.layer.is_closing()
    if reach is nothing:
        stage.client.layer.connection_made(stage.client.pipe)
    stage.host.turn()
    stage.host.turn()
    assert stage.client.pipe.is_lost
    assert stage.client.told == told
    assert [type(error) for error in stage.client.shaken] == [type(None) if shaken is None else shaken]
    assert not has_timer(stage, stage.client.layer)


@pytest.mark.row("T7")
@pytest.mark.parametrize("order", ["abort", "close"])
@pytest.mark.parametrize("callback", ["on_made", "on_data"])
def test_the_loss_is_never_told_from_inside_another_callback(
    certificates: Certificates, order: str, callback: str
) -> None:
    server = Upper()
    setattr(server, callback, lambda *_: getattr(server.transport, order)())  # `Upper` refuses what is nested
    stage = scene(certificates, uppers=(Upper(), server), prompt=True).begin().run()
    stage.client.layer.write(b"data")
    stage.run()
    assert server.told == (["made", "lost"] if callback == "on_made" else ["made", "data", "lost"])


@pytest.mark.row("T7")
def test_what_a_protocol_raises_in_a_turn_of_ours_ends_its_connection(certificates: Certificates) -> None:
    stage = opened(certificates)
    server = stage.server

    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    server.layer.pause_reading()
    server.pipe.is_paused = False
    stage.client.layer.write(b"data")
    stage.client.pipe.move(1000)
    server.pipe.is_paused = True
    server.upper.on_data = fail
    server.layer.resume_reading()
    with pytest.raises(ZeroDivisionError):
        stage.host.turn()
    stage.host.turn()
    assert server.told == ["made", "data", "lost"]
    assert isinstance(server.upper.error, ZeroDivisionError)


@pytest.mark.row("T7")
def test_the_handshake_is_reported_also_when_the_protocol_fails_on_it(certificates: Certificates) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    stage = scene(certificates, uppers=(Upper(on_made=fail), Upper())).begin()
    with pytest.raises(ZeroDivisionError):
        stage.run()
    (told,) = stage.client.shaken
    assert isinstance(told, ZeroDivisionError)


# --- taking over a transport -----------------------------------------------------------------------------------------


@pytest.mark.row("D6", "T4")
def test_a_protocol_that_was_there_before_tls_waits_with_what_it_writes(certificates: Certificates) -> None:
    stage = scene(certificates, is_made=True)
    for end in stage.ends():
        end.upper.transport = end.layer
        end.upper.told.append("made")
    stage.begin()
    stage.client.layer.write(b"x" * 300_000)
    stage.client.layer.write(b"y")
    assert stage.client.told == ["made", "full"]
    assert stage.client.layer.get_write_buffer_size() > 300_000
    stage.run(100)
    assert stage.client.told == ["made", "full", "room"]
    assert stage.server.upper.data == b"x" * 300_000 + b"y"


@pytest.mark.row("D6")
def test_a_protocol_that_was_there_before_tls_hears_that_there_will_be_none(certificates: Certificates) -> None:
    stage = scene(certificates, is_made=True)
    stage.client.upper.transport = stage.client.layer
    stage.client.upper.told.append("made")
    stage.begin()
    stage.client.layer.write(b"secret")
    stage.client.layer.data_received(b"plain text of a peer\n")
    stage.run()
    assert stage.client.told == ["made", "full", "lost"]
    assert isinstance(stage.client.upper.error, ssl.SSLError)
    assert b"secret" not in stage.client.pipe.said
