# SPDX-License-Identifier: MIT
"""Sockets as transports in blocking code: asyncio's contract, moved by whoever waits."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import pytest

from tests.runtimes.blocking.recorder import Recorder, Scene, scene
from tieline import TCP
from tieline.runtimes.blocking.dialling import dial
from tieline.runtimes.blocking.host import BlockingHost

FULL = bytes(1_000_000)


@pytest.mark.row("T7")
def test_data_is_delivered_in_order_and_the_end_once() -> None:
    with scene() as s:
        s.peer.sendall(b"one")
        s.pump_until(lambda: s.protocol.data == b"one")
        s.peer.sendall(b"two")
        s.peer.close()
        s.pump_until(lambda: s.transport.is_gone)
        assert s.protocol.data == b"onetwo"
        assert s.protocol.told[-2:] == ["eof", "lost"]
        assert s.protocol.error is None


@pytest.mark.row("T7")
def test_after_the_peers_end_one_that_stays_may_write() -> None:
    with scene(stays=True) as s:
        s.peer.shutdown(socket.SHUT_WR)
        s.pump_until(lambda: "eof" in s.protocol.told)
        assert not s.transport.is_reading()
        s.do(s.transport.write, b"answer")
        assert s.peer.recv(100) == b"answer"
        s.pump()
        assert not s.transport.is_closing()
        s.do(s.transport.close)
        assert s.peer.recv(100) == b""
        assert s.protocol.told == ["made", "eof", "lost"]


@pytest.mark.row("T2")
def test_while_reading_is_paused_nothing_is_delivered() -> None:
    with scene() as s:
        for _ in range(2):
            s.do(s.transport.pause_reading)
        assert not s.transport.is_reading()
        s.peer.sendall(b"waits")
        s.pump(0.01)
        assert s.protocol.data == b""
        for _ in range(2):
            s.do(s.transport.resume_reading)
        assert s.transport.is_reading()
        assert s.protocol.told == ["made"]  # not from inside of the order
        s.pump_until(lambda: s.protocol.data == b"waits")


@pytest.mark.row("T3", "T4", "R10")
def test_what_the_socket_does_not_take_is_kept_and_told_by_the_marks() -> None:
    with scene(small=True) as s:
        s.do(s.transport.set_write_buffer_limits, 100_000, 50_000)
        assert s.transport.get_write_buffer_limits() == (50_000, 100_000)
        data = bytearray(FULL)
        s.do(s.transport.write, data)
        data[:10] = b"changed..."  # what was kept is a copy
        size = s.transport.get_write_buffer_size()
        assert 0 < size < len(FULL)
        assert s.protocol.told == ["made", "pause"]
        s.do(s.transport.write, b"more")
        assert s.protocol.told == ["made", "pause"]
        got = b""
        while len(got) < len(FULL) + 4:
            got += s.peer.recv(65536)
            s.pump()
        assert got == FULL + b"more"
        assert s.protocol.told == ["made", "pause", "resume"]
        assert s.transport.get_write_buffer_size() == 0


@pytest.mark.row("T3")
def test_the_marks_are_checked_and_derived_as_in_asyncio() -> None:
    with scene() as s:
        limits = s.transport.set_write_buffer_limits
        for high, low in ((-1, None), (10, 11), (None, -1)):
            with pytest.raises(ValueError, match="high"):
                s.do(limits, high, low)
        s.do(limits, 1000)
        assert s.transport.get_write_buffer_limits() == (250, 1000)
        s.do(limits, None, 100)
        assert s.transport.get_write_buffer_limits() == (100, 400)
        s.do(limits, 0)
        assert s.transport.get_write_buffer_limits() == (0, 0)
        s.do(limits)
        assert s.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)


@pytest.mark.row("T1")
def test_close_sends_what_is_left_and_drops_what_comes() -> None:
    with scene(small=True) as s:
        s.do(s.transport.write, FULL)
        s.do(s.transport.close)
        s.do(s.transport.close)
        s.do(s.transport.write, b"dropped")
        s.peer.sendall(b"too late")
        assert s.transport.is_closing()
        got = b""
        while len(got) < len(FULL):
            got += s.peer.recv(65536)
            s.pump()
        assert got == FULL
        assert [what for what in s.protocol.told if what not in ("pause", "resume")] == ["made", "lost"]
        assert s.protocol.error is None
        assert s.protocol.data == b""


@pytest.mark.row("T3")
def test_the_end_of_writing_stands_behind_what_was_written() -> None:
    with scene(small=True) as s:
        assert s.transport.can_write_eof()
        s.do(s.transport.write, FULL)
        for _ in range(2):
            s.do(s.transport.write_eof)
        s.do(s.transport.write, b"dropped")
        got = b""
        while chunk := s.peer.recv(65536):
            got += chunk
            s.pump()
        assert got == FULL
        s.peer.sendall(b"still heard")
        s.pump_until(lambda: s.protocol.data == b"still heard")


@pytest.mark.row("T3", "T1")
def test_abort_drops_what_is_left_and_is_told_once() -> None:
    with scene(small=True) as s:
        s.do(s.transport.write, FULL)
        for _ in range(2):
            s.do(s.transport.abort)
        assert s.transport.get_write_buffer_size() == 0
        assert s.protocol.told[-1] == "lost"
        assert s.protocol.error is None
        s.do(s.transport.flush_some)
        s.do(s.transport.write, b"dropped")
        s.do(s.transport.write_eof)


@pytest.mark.row("T7")
@pytest.mark.parametrize("way", ["close", "abort"])
def test_the_end_is_never_told_within_another_callback(way: str) -> None:
    with scene() as s:
        s.protocol.on_data = getattr(s.transport, way)
        s.peer.sendall(b"end it")
        s.pump_until(lambda: s.transport.is_gone)
        assert s.protocol.told == ["made", "data", "lost"]


def test_a_reset_is_told_as_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = BlockingHost()
        _, protocol = dial(Recorder, TCP("127.0.0.1", listener.getsockname()[1]), host, timeout=10, shutdown_timeout=1)
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        Scene(host, protocol, peer).pump_until(lambda: "lost" in protocol.told)
        assert isinstance(protocol.error, ConnectionResetError)
        assert protocol.told == ["made", "lost"]


def test_a_peer_that_is_gone_is_told_by_the_write() -> None:
    with scene() as s:
        s.peer.close()
        s.do(s.transport.write, b"one")
        assert s.protocol.told == ["made", "eof", "lost"]
        assert isinstance(s.protocol.error, BrokenPipeError)


def test_a_protocol_that_fails_ends_the_connection() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with scene() as s:
        s.protocol.on_data = fail
        s.peer.sendall(b"x")
        with pytest.raises(ZeroDivisionError):
            s.pump_until(lambda: s.transport.is_gone)
        assert s.protocol.told == ["made", "data", "lost"]
        assert isinstance(s.protocol.error, ZeroDivisionError)


@pytest.mark.row("T1")
def test_what_a_transport_tells() -> None:
    with scene() as s:
        assert s.transport.get_extra_info("peername") is None
        assert s.transport.get_extra_info("socket").fileno() >= 0
        assert s.transport.get_extra_info("cipher", "none") == "none"
        assert s.transport.get_protocol() is s.protocol
        assert repr(s.transport) == "<SocketTransport open to a local peer>"
        s.do(s.transport.writelines, [b"a", b"b"])
        assert s.peer.recv(10) == b"ab"
    assert repr(s.transport) == "<SocketTransport gone to a local peer>"
    assert s.transport.get_protocol() is None


# --- time ------------------------------------------------------------------------------------------------------------


def test_timers_run_in_their_order_and_cancelled_ones_do_not() -> None:
    with scene() as s:
        seen: list[int] = []
        now = s.host.now()
        timers = [s.do(s.host.call_at, now + 0.001 * delay, partial(seen.append, delay)) for delay in (3, 1, 2, 4)]
        timers[2].cancel()
        timers[2].cancel()
        s.pump_until(lambda: len(seen) == 3)
        assert seen == [1, 3, 4]
        timers[0].cancel()


def test_a_timer_may_cancel_another_that_is_due() -> None:
    with scene() as s:
        seen: list[str] = []
        now = s.host.now()
        second: Any = s.do(s.host.call_at, now - 1, lambda: seen.append("second"))

        def first() -> None:
            seen.append("first")
            second.cancel()

        s.do(s.host.call_at, now - 2, first)
        s.pump(0.001)
        assert seen == ["first"]


def test_timers_are_not_put_off_for_ever_by_a_peer_that_always_has_more() -> None:
    with scene() as s:
        seen: list[int] = []
        s.protocol.on_data = lambda: s.peer.send(b"x")
        s.do(s.host.call_at, s.host.now(), lambda: seen.append(len(s.protocol.data)))
        s.peer.send(b"x")
        s.pump_until(lambda: seen)
        assert seen[0] > 1
