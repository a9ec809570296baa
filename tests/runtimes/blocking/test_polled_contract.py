# SPDX-License-Identifier: MIT
"""asyncio's contract of stream transports in blocking code, plain and over TLS: the stories of the other runtimes."""

from __future__ import annotations

import random
import signal
import socket
import struct
import sys
import threading
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import Task
from tests.runtimes.blocking.polled_scene import BIG, BufferedTale, polled
from tests.runtimes.stories import Story
from tieline.errors import LocalProtocolError
from tieline.transports import Transport


@pytest.fixture(params=["plain", "tls"])
def over(request: pytest.FixtureRequest) -> Certificates | None:
    """What a connection is made over: nothing, or TLS with these certificates."""
    if request.param == "plain":
        return None
    certificates: Certificates = request.getfixturevalue("certificates")
    return certificates


# --- T7, T1: the order of things -------------------------------------------------------------------------------------


@pytest.mark.row("T7")
@pytest.mark.parametrize("kind", [Story, BufferedTale])
def test_data_keeps_its_order_and_the_end_is_told_once(kind: type[Story], over: Certificates | None) -> None:
    with polled(kind, over) as s:
        sent = bytes(range(256)) * 100
        s.with_peer(s.peer.sendall, sent)
        s.until(lambda: s.story.data == sent)
        if over is None:
            s.peer.shutdown(socket.SHUT_WR)
            s.until(lambda: s.story.lost_with)
        else:
            s.with_peer(s.peer.unwrap)
            s.until(lambda: s.story.lost_with)
        assert s.story.lost_with == [None]
        assert s.story.told[0] == "made"
        assert s.story.told[-2:] == ["eof", "lost"]
        assert set(s.story.told[1:-2]) == {"data"}


@pytest.mark.row("T7", "T3")
def test_who_keeps_the_connection_behind_the_end_of_the_stream_may_still_write() -> None:
    with polled(eof=lambda _transport: True) as s:
        s.peer.shutdown(socket.SHUT_WR)
        s.until(lambda: "eof" in s.story.told)
        s.turns()
        assert not s.story.lost_with
        assert not s.transport.is_closing()
        s.transport.write(b"a last word")
        assert s.transport.can_write_eof()
        s.transport.write_eof()
        with pytest.raises(RuntimeError):
            s.transport.write(b"another one")
        assert s.drain() == b"a last word"
        s.transport.close()
        s.until(lambda: s.story.lost_with)
        assert s.story.told == ["made", "eof", "lost"]


@pytest.mark.row("T3", "D6")
def test_over_tls_one_direction_alone_is_not_closed(certificates: Certificates) -> None:
    with polled(Story, certificates, eof=lambda _transport: True) as s:
        assert not s.transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            s.transport.write_eof()
        s.transport.write(b"goes on")
        assert s.peer.recv(100) == b"goes on"
        s.with_peer(s.peer.unwrap)
        s.until(lambda: s.story.lost_with)  # whatever eof_received has returned
        assert s.story.told == ["made", "eof", "lost"]


@pytest.mark.row("T1", "T3")
@pytest.mark.parametrize("how", ["close", "write_eof"])
def test_close_sends_what_was_written_and_write_eof_stands_behind_it(how: str, over: Certificates | None) -> None:
    if over is not None and how == "write_eof":
        pytest.skip("TLS has none: see the test above")
    with polled(Story, over) as s:
        s.transport.write(BIG)
        assert s.transport.get_write_buffer_size() > 0
        getattr(s.transport, how)()
        assert s.transport.is_closing() is (how == "close")
        assert s.drain() == BIG
        s.peer.close()
        s.transport.close()
        s.until(lambda: s.story.lost_with)
        assert s.story.lost_with == [None]


@pytest.mark.row("T1")
def test_behind_close_nothing_is_delivered_and_nothing_written(over: Certificates | None) -> None:
    with polled(Story, over, data=lambda transport: transport.close()) as s:
        s.peer.sendall(b"one")
        s.until(s.transport.is_closing)
        s.peer.close()
        s.until(lambda: s.story.told[-1] == "lost")
        s.transport.write(b"late")
        s.transport.close()
        s.transport.abort()
        s.turns()
        assert s.story.told.count("data") == 1


@pytest.mark.row("T1", "T3")
def test_abort_drops_what_is_unsent_and_is_told_by_the_next_poll(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        s.transport.write(BIG)
        s.transport.abort()
        assert s.transport.get_write_buffer_size() == 0
        assert not s.story.lost_with
        assert s.transport.poll()
        assert s.story.lost_with == [None]
        assert not s.transport.poll(None)  # nothing can come: at once
        assert s.transport.get_extra_info("socket").fileno() == -1


@pytest.mark.row("T7")
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("moment", ["made", "data", "eof", "pause", "resume"])
def test_whoever_ends_it_in_a_callback_is_told_behind_it(moment: str, how: str) -> None:
    def order(transport: Any) -> None:
        getattr(transport, how)()
        assert transport.is_closing()

    with polled(Story, None, **{moment: order}) as s:
        if moment in ("pause", "resume"):
            s.transport.write(BIG)
        elif moment == "data":
            s.peer.send(b"x")
        elif moment == "eof":
            s.peer.shutdown(socket.SHUT_WR)
        if moment in ("pause", "resume") and (moment, how) != ("pause", "abort"):
            s.drain()
        s.until(lambda: s.story.lost_with)


@pytest.mark.row("T7")
def test_a_reset_is_told_with_its_error(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        s.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.peer.close()
        s.until(lambda: s.story.lost_with)
        assert isinstance(s.story.lost_with[0], ConnectionResetError)
        assert "eof" not in s.story.told


@pytest.mark.row("T7")
def test_writing_to_a_peer_that_is_gone_ends_the_connection() -> None:
    with polled(eof=lambda _transport: True) as s:
        s.peer.close()
        s.until(lambda: "eof" in s.story.told)
        for _ in range(10_000):
            s.transport.write(b"x")
            s.turns(1)
            if s.story.lost_with:
                break
        assert isinstance(s.story.lost_with[0], ConnectionResetError | BrokenPipeError)


@pytest.mark.row("T7")
@pytest.mark.parametrize("kind", [Story, BufferedTale])
def test_what_a_callback_raises_comes_out_of_poll_and_ends_the_connection(
    kind: type[Story], over: Certificates | None
) -> None:
    with polled(kind, over, data=lambda _transport: 1 / 0) as s:
        s.peer.send(b"x")
        s.until(lambda: s.story.lost_with)
        assert isinstance(s.story.lost_with[0], ZeroDivisionError)
        assert [type(error) for error in s.raised] == [ZeroDivisionError]


# --- T2: reading -----------------------------------------------------------------------------------------------------


@pytest.mark.row("T2")
def test_while_reading_is_paused_nothing_comes_and_resuming_delivers_later(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        assert s.transport.is_reading()
        for _ in range(2):
            s.transport.pause_reading()
        assert not s.transport.is_reading()
        s.peer.send(b"waits")
        s.peer.close()
        s.turns(20)
        assert s.story.told == ["made"]
        for _ in range(2):
            s.transport.resume_reading()
        assert s.story.told == ["made"]  # never from inside resume_reading
        s.until(lambda: s.story.lost_with)
        assert s.story.told[:2] == ["made", "data"]
        assert s.story.data == b"waits"


@pytest.mark.row("T2")
@pytest.mark.parametrize("kind", [Story, BufferedTale])
def test_pausing_within_the_delivery_stops_what_is_behind_it(kind: type[Story], over: Certificates | None) -> None:
    with polled(kind, over, data=lambda transport: transport.pause_reading()) as s:
        for number in range(1, 4):
            s.peer.send(b"x" * 7)
            s.until(lambda number=number: len(s.story.data) == 14 * number - 7)  # type: ignore[misc]  # a lambda with a default
            s.peer.send(b"y" * 7)
            s.turns(10)
            assert len(s.story.data) == 14 * number - 7
            s.transport.resume_reading()
            assert len(s.story.data) == 14 * number - 7
            s.until(lambda number=number: len(s.story.data) == 14 * number)  # type: ignore[misc]  # a lambda with a default
            s.transport.resume_reading()


# --- T3, T4: writing -------------------------------------------------------------------------------------------------


@pytest.mark.row("T3")
def test_limits_of_the_write_buffer(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        transport = s.transport
        transport.set_write_buffer_limits(high=4000)
        low, high = transport.get_write_buffer_limits()
        assert 0 < low < high == 4000
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits()[0] == 100
        for high_low in ((1, 2), (-1, None), (5, -1)):
            with pytest.raises(ValueError, match="low <= high"):
                transport.set_write_buffer_limits(*high_low)


@pytest.mark.row("T4")
@pytest.mark.parametrize("limits", [(64 * 1024, None), (1 << 20, 0), (0, 0)])
def test_pausing_and_resuming_are_paired(limits: tuple[int, int | None], over: Certificates | None) -> None:
    with polled(Story, over) as s:
        transport, told = s.transport, s.story.told
        transport.set_write_buffer_limits(*limits)
        low, high = transport.get_write_buffer_limits()
        for round_ in range(1, 3):
            pieces = 0
            while told[-1] != "pause":
                transport.write(b"x" * 65536)
                pieces += 1
                assert (told[-1] == "pause") == (transport.get_write_buffer_size() > high)
            transport.write(b"x")
            assert told.count("pause") == round_
            s.with_peer(_read_exactly, s.peer, pieces * 65536 + 1)
            s.until(lambda: told[-1] == "resume")
            assert transport.get_write_buffer_size() <= low
            assert told.count("resume") == round_


def _read_exactly(peer: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(peer.recv(min(size, 1 << 16)))


@pytest.mark.row("T3")
def test_what_is_written_is_copied_and_arrives_in_order_whatever_it_is(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        transport = s.transport
        transport.write(BIG)
        changing = bytearray(b"abc" * 1000)
        transport.write(changing)
        transport.write(memoryview(changing)[:3])
        transport.write(memoryview(bytes(8)).cast("Q"))  # eight bytes in one item
        transport.writelines([b"1", bytearray(b"2"), memoryview(b"3")])
        changing[:] = b"z" * len(changing)
        transport.write(b"")
        for number in range(300):
            transport.write(b"%d," % number)
        transport.close()
        expected = BIG + b"abc" * 1001 + bytes(8) + b"123" + b"".join(b"%d," % number for number in range(300))
        assert s.drain() == expected
        with pytest.raises(TypeError):
            transport.write("text")


# --- T1: facts -------------------------------------------------------------------------------------------------------


@pytest.mark.row("T1", "T0")
def test_facts_about_a_connection_are_there_to_the_end(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        transport = s.transport
        assert isinstance(s.transport, Transport)
        assert transport.get_protocol() is s.story
        assert transport.get_extra_info("peername") == s.peer.getsockname()
        assert transport.get_extra_info("sockname") == s.peer.getpeername()
        assert transport.get_extra_info("socket").fileno() >= 0
        assert (transport.get_extra_info("ssl_object") is None) == (over is None)
        if over is not None:
            assert transport.get_extra_info("cipher")[0]
            assert ("DNS", "localhost") in transport.get_extra_info("peercert")["subjectAltName"]
            assert transport.get_extra_info("sslcontext").check_hostname
            assert transport.get_extra_info("compression") is None
        assert transport.get_extra_info("nothing", 5) == 5
        transport.abort()
        transport.wait_closed(10)
        assert transport.get_extra_info("peername") == s.peer.getsockname()


def test_another_protocol_takes_the_place_of_the_first_of_whichever_kind(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        s.peer.send(b"one")
        s.until(lambda: s.story.data == b"one")
        other = BufferedTale()
        s.transport.set_protocol(other)
        assert s.transport.get_protocol() is other
        s.peer.send(b"two")
        s.until(lambda: other.data == b"two")
        assert s.story.data == b"one"
        first, s.story = s.story, Story()
        s.transport.set_protocol(s.story)
        s.peer.send(b"three")
        s.until(lambda: s.story.data == b"three")
    assert s.story.told == ["data", "lost"]
    assert "lost" not in [*first.told, *other.told]


# --- polling ---------------------------------------------------------------------------------------------------------


def test_poll_tells_whether_anything_happened(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        while s.turn(0.05):  # what TLS has to say behind its handshake
            pass
        assert s.transport.poll(0) is False
        assert s.transport.poll(0.01) is False
        s.peer.send(b"x")
        assert s.transport.poll(10) is True
        assert s.story.data == b"x"
        s.peer.send(b"y")
        assert s.transport.poll(None) is True
        assert s.story.data == b"xy"
        s.transport.write(BIG)
        before = s.transport.get_write_buffer_size()
        s.with_peer(_read_exactly, s.peer, len(BIG))
        assert s.transport.get_write_buffer_size() == 0 < before
        s.transport.pause_reading()
        assert s.transport.poll(None) is False  # it would wait without end
        with pytest.raises(LocalProtocolError):
            s.transport.wait_closed()
        with pytest.raises(TimeoutError):
            s.transport.wait_closed(0.01)


def test_poll_within_a_callback_is_refused() -> None:
    errors: list[Exception] = []

    def order(transport: Any) -> None:
        for refused in (transport.poll, transport.wait_closed):
            try:
                refused()
            except LocalProtocolError as exc:
                errors.append(exc)

    with polled(made=order, data=order) as s:
        s.peer.send(b"x")
        s.until(lambda: s.story.data)
    assert len(errors) == 4


# --- all at once -----------------------------------------------------------------------------------------------------


@pytest.mark.row("T7")
@pytest.mark.parametrize("seed", range(10))
def test_in_a_storm_of_orders_the_contract_holds(seed: int, over: Certificates | None) -> None:
    """Orders by chance in every callback, against a peer that does what it likes: told once, in order, nothing left."""
    chance = random.Random(seed)

    def order(transport: Any) -> bool:
        for _ in range(chance.randrange(3)):
            what = chance.choice(["write", "write", "pause_reading", "resume_reading", "close", "abort", "write big"])
            if what == "write":
                transport.write(b"y" * chance.randrange(1, 5000))
            elif what == "write big":
                transport.write(BIG[: 1 << 20])
            elif what in ("close", "abort") and chance.random() < 0.8:
                continue
            else:
                getattr(transport, what)()
        return chance.random() < 0.5

    kind = chance.choice([Story, BufferedTale])
    with polled(kind, over, **dict.fromkeys(["data", "eof", "pause", "resume"], order)) as s:
        s.peer.setblocking(False)
        for _ in range(chance.randrange(5, 40)):
            try:
                match chance.randrange(4):
                    case 0:
                        s.peer.send(b"z" * chance.randrange(1, 3000))
                    case 1:
                        s.peer.recv(1 << 20)
                    case 2 if chance.random() < 0.1:
                        s.peer.shutdown(socket.SHUT_WR)
                    case _:
                        s.turns(chance.randrange(4))
            except OSError:
                pass
    told = s.story.told
    assert told.count("eof") <= 1
    assert 0 <= told.count("pause") - told.count("resume") <= 1
    if "eof" in told:
        assert "data" not in told[told.index("eof") :]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.row("T7")
def test_an_interrupt_comes_out_of_poll_and_the_connection_goes_on(over: Certificates | None) -> None:
    with polled(Story, over) as s:
        waiting, noticed = threading.Event(), threading.Event()

        def on_signal(*_: object) -> None:
            if not noticed.is_set():
                noticed.set()
                raise KeyboardInterrupt

        def interrupt() -> None:
            waiting.wait(10)
            while not noticed.wait(0.02):  # CPython misses one that comes just before the system call
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        before = signal.signal(signal.SIGINT, on_signal)
        task = Task(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # it may come as soon as it is waited for
                waiting.set()
                while True:
                    s.transport.poll(None)
            task.result()
        finally:
            signal.signal(signal.SIGINT, before)
        s.peer.send(b"goes on")
        s.until(lambda: s.story.data == b"goes on")
