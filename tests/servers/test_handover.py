# SPDX-License-Identifier: MIT
"""Packets between the thread of a server and those of its handlers: nothing is lost, and nothing waits for a call."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest

from tests.servers.scene import ANY, DATAGRAMS, JSON, LINES, address_of
from tieline import Limits
from tieline.clients import TCPNetworkClient
from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    EndOfStream,
    LocalProtocolError,
    StreamProtocolParseError,
    StreamTruncated,
)
from tieline.protocol import StreamProtocol
from tieline.runtimes.asyncio.streams import SelectorStream
from tieline.runtimes.asyncio.threads import LoopThread
from tieline.servers import TCPNetworkServer, UDPNetworkServer, handover
from tieline.wire.default import NOTHING
from tieline.wire.flow import MUCH_OUTPUT
from tieline.wire.packets import MAX_AHEAD, PacketConnection

PATIENCE = 30


class Handled:
    """A server whose handler hands its client to the test, and stays until the test is done with it."""

    def __init__(self, protocol: StreamProtocol[Any], limits: Limits | None) -> None:
        self.server: Any = TCPNetworkServer(self._handle, ANY, protocol, limits=limits)
        self.has_come, self.is_done = threading.Event(), threading.Event()
        self.client: Any = None

    def _handle(self, client: Any) -> None:
        self.client = client
        self.has_come.set()
        self.is_done.wait(PATIENCE)

    @property
    def machine(self) -> Any:
        return self.client._connection.machine


@contextmanager
def served(protocol: StreamProtocol[Any] = LINES, limits: Limits | None = None) -> Generator[tuple[Handled, Any]]:
    """Yield what is on the side of a server, and the client at the other end."""
    handled = Handled(protocol, limits)
    with handled.server, TCPNetworkClient[Any](address_of(handled.server), protocol) as peer:
        assert handled.has_come.wait(PATIENCE)
        try:
            peer.send_packet("first")  # who has sent one is no stranger
            assert handled.client.recv_packet(timeout=PATIENCE) == "first"
            yield handled, peer
        finally:
            handled.is_done.set()


class Thread(threading.Thread):
    """Calls *function*, and keeps what becomes of it."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as exc:
            self.error = exc

    def ended(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def stands_in_line(handled: Handled, count: int = 1) -> None:
    """Wait until so many stand in line to receive."""
    called = threading.Event()
    while len(handled.client._connection.receivers) < count:
        handled.client._thread.call_soon(called.set)  # let others run
        assert called.wait(PATIENCE)
        called.clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads have called in that of the server, and waited for."""
    seen: list[Any] = []
    call = LoopThread.call

    def counted(self: LoopThread, function: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(function)
        return call(self, function, *args, **kwargs)

    monkeypatch.setattr(LoopThread, "call", counted)
    return seen


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_a_stream_takes_a_call_for_many_packets(calls: list[Any]) -> None:
    with served() as (handled, peer):
        packets = [f"packet {number}" for number in range(1000)]
        client = handled.client
        echoing = Thread(lambda: [client.send_packet(client.recv_packet()) for _ in packets])
        calls.clear()
        peer.send_packets(packets)
        assert [peer.recv_packet(timeout=PATIENCE) for _ in packets] == packets
        echoing.ended()
        assert len(calls) <= 3 * len(packets) / MAX_AHEAD


def test_what_was_sent_long_ago_takes_no_room(calls: list[Any]) -> None:
    """More in all than what may be sent and not be written."""
    with served() as (handled, peer):
        packet = "x" * (MUCH_OUTPUT // 4)
        for _ in range(8):
            calls.clear()
            handled.client.send_packet(packet)
            assert calls == []
            assert peer.recv_packet(timeout=PATIENCE) == packet


def test_one_packet_at_a_time_takes_no_call(calls: list[Any]) -> None:
    with served() as (handled, peer):
        for number in range(20):
            answering = Thread(lambda: handled.client.send_packet(handled.client.recv_packet()))
            stands_in_line(handled)
            calls.clear()
            peer.send_packet(str(number))
            assert peer.recv_packet(timeout=PATIENCE) == str(number)
            answering.ended()
            assert not calls


# --- receiving -------------------------------------------------------------------------------------------------------


def test_a_fault_stays_in_its_place_among_packets_that_come_together() -> None:
    with served(JSON) as (handled, peer):
        os.write(peer.fileno(), b"1\n2\n}\n3\n4\n")
        client = handled.client
        assert [client.recv_packet(timeout=PATIENCE) for _ in range(2)] == [1, 2]
        with pytest.raises(StreamProtocolParseError):
            client.recv_packet(timeout=PATIENCE)
        assert [client.recv_packet(timeout=PATIENCE) for _ in range(2)] == [3, 4]


def test_who_stands_in_line_is_told_of_a_fault_and_of_the_end() -> None:
    with served(JSON) as (handled, peer):
        client = handled.client
        waiting = Thread(client.recv_packet)
        stands_in_line(handled)
        os.write(peer.fileno(), b"}\n")
        with pytest.raises(StreamProtocolParseError):
            waiting.ended()
        threads = [Thread(client.recv_packet) for _ in range(3)]
        stands_in_line(handled, 3)
        peer.send_eof()
        for thread in threads:
            with pytest.raises(EndOfStream):
                thread.ended()


def test_several_threads_get_each_packet_once() -> None:
    with served() as (handled, peer):
        packets = [str(number) for number in range(2000)]

        def take() -> list[str]:
            return list(handled.client)

        threads = [Thread(take) for _ in range(4)]
        for at in range(0, len(packets), 50):
            peer.send_packets(packets[at : at + 50])
        peer.send_eof()
        taken = [thread.ended() for thread in threads]
        assert sorted((packet for some in taken for packet in some), key=int) == packets
        assert all(some == sorted(some, key=int) for some in taken)


def test_nothing_more_is_read_while_packets_wait_to_be_taken() -> None:
    with served() as (handled, peer):
        client, machine = handled.client, handled.machine
        before = machine.packets_received
        # More than is read ahead, in what is decoded at once.
        flooding = Thread(lambda: peer.send_packets(["x" * 1000] * 20_000))
        taken = 0
        while taken < 1000:
            client.recv_packet(timeout=PATIENCE)
            taken += 1
            assert machine.packets_received - before <= taken + MAX_AHEAD
        client.abort()
        with pytest.raises(ConnectionError):
            flooding.ended()


def test_a_time_limit_that_is_over_loses_nothing() -> None:
    with served() as (handled, peer):
        for _ in range(20):
            with pytest.raises(TimeoutError):
                handled.client.recv_packet(timeout=0.001)
        assert handled.client._connection.receivers == [], "nobody who has left is in line"
        peer.send_packets(["a", "b"])
        assert [handled.client.recv_packet(timeout=PATIENCE) for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "behind"])
def test_an_interrupt_loses_no_packet(is_late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = handover.Place.wait

    def interrupted(self: Any, seconds: float | None) -> None:
        monkeypatch.undo()
        if is_late:  # it has been handed over
            wait(self, seconds)
        raise KeyboardInterrupt

    with served() as (handled, peer):
        monkeypatch.setattr(handover.Place, "wait", interrupted)
        waiting = Thread(handled.client.recv_packet)
        if is_late:
            stands_in_line(handled)
            peer.send_packet("a")
        with pytest.raises(KeyboardInterrupt):
            waiting.ended()
        peer.send_packet("b")
        expected = ["a", "b"] if is_late else ["b"]
        assert [handled.client.recv_packet(timeout=PATIENCE) for _ in expected] == expected


def test_an_interrupt_behind_a_packet_that_was_ahead_does_not_lose_it() -> None:
    class Interrupted:
        """The lock, whose holder is interrupted when it is left."""

        def __enter__(self) -> None:
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            incoming._lock = lock
            lock.release()
            raise KeyboardInterrupt

    with served() as (handled, peer):
        client = handled.client
        incoming = client._incoming
        lock = incoming._lock
        peer.send_packets("abc")
        turn = threading.Event()
        while len(handled.machine.received) < 3:
            client._thread.call_soon(turn.set)  # let others run
            assert turn.wait(PATIENCE)
            turn.clear()
        incoming._lock = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            incoming.next_ahead()
        assert [client.recv_packet(timeout=PATIENCE) for _ in "abc"] == ["a", "b", "c"]


@pytest.mark.parametrize("sent", [b"1\n2\n", b"}\n2\n"], ids=["packets", "fault"])
@pytest.mark.parametrize("many", [False, True], ids=["one", "all"])
def test_an_interrupt_behind_a_call_loses_nothing(sent: bytes, many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    call = LoopThread.call

    def interrupted(self: LoopThread, *args: Any) -> None:
        monkeypatch.undo()
        with suppress(StreamProtocolParseError):
            call(self, *args)
        raise KeyboardInterrupt

    with served(JSON) as (handled, peer):
        client = handled.client
        os.write(peer.fileno(), sent)
        monkeypatch.setattr(LoopThread, "call", interrupted)
        receive = (
            client.recv_packets
            if many
            else partial(client._receive, partial(client._take_within, client._next_alone, None))
        )
        with pytest.raises(KeyboardInterrupt):
            Thread(receive).ended()
        if sent.startswith(b"}"):
            with pytest.raises(StreamProtocolParseError):
                client.recv_packet(timeout=PATIENCE)
        else:
            assert client.recv_packet(timeout=PATIENCE) == 1
        assert client.recv_packet(timeout=PATIENCE) == 2


def test_what_was_told_to_nobody_is_not_lost_by_another_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    call = LoopThread.call

    def interrupted(self: LoopThread, *args: Any) -> None:
        monkeypatch.undo()
        with suppress(StreamProtocolParseError):
            call(self, *args)
        raise KeyboardInterrupt

    with served(JSON) as (handled, _):
        handled.client._incoming.untold = fault = StreamProtocolParseError("none")
        monkeypatch.setattr(LoopThread, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            handled.client.recv_packet(timeout=PATIENCE)
        with pytest.raises(StreamProtocolParseError) as caught:
            handled.client.recv_packet(timeout=PATIENCE)
        assert caught.value is fault


@pytest.mark.parametrize("sent", [b"1\n2\n3\n", b"}\n2\n3\n"], ids=["packet", "fault"])
def test_what_one_who_is_interrupted_has_got_is_still_the_next(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = handover.Place.wait
    goes_on = threading.Event()

    def interrupted(self: Any, seconds: float | None) -> None:
        monkeypatch.undo()
        is_held = threading.Event()

        def hold() -> None:  # the server's thread has yet to put back what was got
            is_held.set()
            goes_on.wait(PATIENCE)

        wait(self, seconds)
        handled.client._thread.call_soon(hold)
        assert is_held.wait(PATIENCE)
        raise KeyboardInterrupt

    def receive() -> Any:
        with pytest.raises(KeyboardInterrupt):
            handled.client.recv_packet()
        ahead = handled.client._incoming.next_ahead()
        goes_on.set()
        return ahead

    with served(JSON) as (handled, peer):
        monkeypatch.setattr(handover.Place, "wait", interrupted)
        receiving = Thread(receive)
        stands_in_line(handled)
        os.write(peer.fileno(), sent)
        assert receiving.ended() is NOTHING
        if sent.startswith(b"}"):
            with pytest.raises(StreamProtocolParseError):
                handled.client.recv_packet(timeout=PATIENCE)
        else:
            assert handled.client.recv_packet(timeout=PATIENCE) == 1
        assert [handled.client.recv_packet(timeout=PATIENCE) for _ in range(2)] == [2, 3]


@pytest.mark.parametrize("by_call", [False, True], ids=["place", "call"])
def test_what_one_who_was_interrupted_was_not_told_is_told_to_who_stands_in_line(by_call: bool) -> None:
    with served(JSON) as (handled, _):
        incoming = handled.client._incoming
        fault = StreamProtocolParseError("none")
        left = handover.Taken()
        left.error = fault
        waiting = Thread(handled.client.recv_packets if by_call else handled.client.recv_packet)
        stands_in_line(handled)
        incoming.put_back(left)
        with pytest.raises(StreamProtocolParseError) as caught:
            waiting.ended()
        assert caught.value is fault
        assert not incoming._is_behind


@pytest.mark.row("K15")
def test_closing_wakes_all_who_receive() -> None:
    with served() as (handled, _):
        threads = [Thread(handled.client.recv_packet) for _ in range(3)]
        stands_in_line(handled, 3)
        handled.client.close()
        for thread in threads:
            with pytest.raises(ClientClosedError):
                thread.ended()


def test_the_end_of_the_server_wakes_all_who_receive() -> None:
    with served() as (handled, _):
        threads = [Thread(handled.client.recv_packet) for _ in range(3)]
        stands_in_line(handled, 3)
        handled.server.shutdown(0)
        for thread in threads:
            with pytest.raises(ClientClosedError):
                thread.ended()


def test_who_waits_when_the_thread_stops_is_told() -> None:
    with served() as (handled, _):
        waiting = Thread(handled.client.recv_packet)
        stands_in_line(handled)
        for tell in list(handled.client._thread.at_end):
            tell()  # as it is when the loop stops before the connection has told its end
        with pytest.raises(ClientClosedError, match="not running"):
            waiting.ended()


# --- sending ---------------------------------------------------------------------------------------------------------


def test_packets_arrive_in_order_whether_there_was_room_or_not() -> None:
    with served(limits=Limits(write_high_water=2000, write_low_water=500)) as (handled, peer):
        packets = [f"{number} " + "x" * (number % 7 * 400) for number in range(3000)]
        client = handled.client

        def send() -> None:
            for packet in packets:
                client.send_packet(packet)
            client.send_packets(packets)
            client.send_eof()

        sending = Thread(send)
        assert list(peer) == packets * 2
        sending.ended()


@pytest.mark.parametrize("end", ["close", "send_eof", "return"])
def test_an_end_comes_behind_all_that_was_sent(end: str) -> None:
    packets = [str(number) for number in range(50)]

    def handle(client: Any) -> None:
        for packet in packets:
            client.send_packet(packet)
        if end != "return":
            getattr(client, end)()

    server: Any = TCPNetworkServer(handle, ANY, LINES)
    with server, TCPNetworkClient[str](address_of(server), LINES) as peer:
        assert list(peer) == packets


def test_what_was_sent_before_the_handler_returned_arrives_also_when_another_thread_is_about_to_call() -> None:
    is_calling, has_closed = threading.Event(), threading.Event()
    others: list[Thread] = []

    def handle(client: Any) -> None:
        call_soon = client._thread.call_soon

        class Switched:
            """The server's thread, but that whoever calls it first is switched off before."""

            def __getattr__(self, name: str) -> Any:
                return getattr(client._thread, name)

            def call_soon(self, function: Any) -> Any:
                is_calling.set()
                has_closed.wait(PATIENCE)
                return call_soon(function)

        client._outgoing._thread = Switched()
        others.append(Thread(lambda: client.send_packet("another's")))
        assert is_calling.wait(PATIENCE)
        client.send_packet("last")

    server: Any = TCPNetworkServer(handle, ANY, LINES)
    with server, TCPNetworkClient[str](address_of(server), LINES) as peer:
        try:
            assert list(peer) == ["another's", "last"]
        finally:
            has_closed.set()
        others[0].ended()


@pytest.mark.parametrize("is_followed", [True, False])
def test_an_interrupt_of_one_who_sends_makes_nobody_mute(is_followed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_self: LoopThread, _function: Any) -> bool:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with served() as (handled, peer):
        outgoing, frame = handled.client._outgoing, handled.machine.framed
        outgoing.is_answer = False
        monkeypatch.setattr(LoopThread, "call_soon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            outgoing.put(frame, "a")
        monkeypatch.undo()
        if is_followed:
            assert outgoing.put(frame, "b")
        turn = threading.Event()
        handled.client._thread.call_soon(turn.set)
        assert turn.wait(PATIENCE)
        assert not outgoing._framed
        expected = ["a", "b"] if is_followed else ["a"]
        assert [peer.recv_packet(timeout=PATIENCE) for _ in expected] == expected


def test_nothing_follows_an_answer_of_which_nobody_knows_how_much_was_sent() -> None:
    with served() as (handled, peer):
        outgoing = handled.client._outgoing
        send = outgoing._send

        def interrupted(framed: bytes) -> int:
            send(framed[:3])
            raise KeyboardInterrupt

        outgoing._send = interrupted
        outgoing.is_answer = True
        with pytest.raises(KeyboardInterrupt):
            outgoing.put(handled.machine.framed, "answer")
        with pytest.raises((StreamTruncated, ConnectionLost)):  # the connection is aborted
            peer.recv_packet(timeout=PATIENCE)


def test_who_sends_while_the_server_stops_is_told_that_the_client_is_closed() -> None:
    with served() as (handled, _):
        is_calling, has_stopped = threading.Event(), threading.Event()
        loop = handled.client._thread._loop
        call_soon = loop.call_soon_threadsafe

        def switched_off(function: Any, *args: Any, **kwargs: Any) -> Any:
            if function == handled.client._outgoing.write:
                is_calling.set()
                assert has_stopped.wait(PATIENCE)
            return call_soon(function, *args, **kwargs)

        loop.call_soon_threadsafe = switched_off
        sending = Thread(lambda: handled.client.send_packet("x"))
        assert is_calling.wait(PATIENCE)
        handled.server.shutdown(0)
        has_stopped.set()
        with pytest.raises(ClientClosedError, match="not running"):
            sending.ended()


def test_what_was_sent_and_is_not_written_is_bounded() -> None:
    with served() as (handled, peer):
        client = handled.client
        is_held, goes_on = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            goes_on.wait(PATIENCE)

        client._thread.call_soon(hold)
        assert is_held.wait(PATIENCE)
        count = 0
        while client._outgoing.put(client._connection.machine.framed, "x" * 999):
            count += 1
        assert 60 <= count <= 70
        goes_on.set()
        assert [peer.recv_packet(timeout=PATIENCE) for _ in range(count)] == ["x" * 999] * count


@pytest.mark.parametrize("many", [False, True], ids=["one", "none"])
def test_nothing_can_be_sent_behind_the_end(many: bool) -> None:
    with served() as (handled, _):
        client = handled.client

        def send() -> None:
            if many:
                client.send_packets([])
            else:
                client.send_packet("x")

        client.send_eof()
        with pytest.raises(LocalProtocolError):
            send()
        client.close()
        with pytest.raises(ClientClosedError):
            send()


@pytest.mark.parametrize("packets", [["x"], []], ids=["one", "none"])
def test_nothing_can_be_sent_when_the_connection_is_gone(packets: list[str]) -> None:
    with served() as (handled, peer):
        peer.abort()
        with pytest.raises(ConnectionLost):
            send_on(handled.client)
        with pytest.raises(ConnectionLost):
            handled.client.send_packets(packets)


def send_on(client: Any) -> None:
    while True:
        client.send_packet("x")


def end_in_another_thread(handled: Handled, end: str) -> Thread:
    """Have another thread end the stream, and return that once it has: it may wait on, for the peer."""
    ending = Thread(getattr(handled.client, end))
    machine = handled.machine
    called = threading.Event()
    while not (machine.refuses or machine.has_ended):
        handled.client._thread.call_soon(called.set)  # let others run
        assert called.wait(PATIENCE)
        called.clear()
    return ending


ENDS: list[Any] = [("send_eof", LocalProtocolError), ("close", ClientClosedError)]


@pytest.mark.parametrize("is_answer", [False, True], ids=["plain", "answer"])
@pytest.mark.parametrize(("end", "error"), ENDS)
@pytest.mark.parametrize("many", [False, True], ids=["one", "several"])
def test_who_sends_while_another_thread_ends_the_stream_is_told_and_nothing_counts(
    end: str, error: type[Exception], many: bool, is_answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served() as (handled, peer):
        client, machine = handled.client, handled.machine
        framed = PacketConnection.framed
        endings: list[Thread] = []

        def framed_at_the_end(self: Any, packet: Any) -> bytes:
            data = framed(self, packet)
            if packet == "last":  # as if this thread had been switched off here
                endings.append(end_in_another_thread(handled, end))
            return data

        monkeypatch.setattr(PacketConnection, "framed", framed_at_the_end)
        client._outgoing.is_answer = is_answer
        before = machine.packets_sent
        sending = Thread(lambda: client.send_packets(["a", "b", "last"]) if many else client.send_packet("last"))
        with pytest.raises(error):
            sending.ended()
        assert machine.packets_sent == before
        assert not client._outgoing._framed
        assert client._outgoing._put == client._outgoing._written
        assert list(peer) == []
        peer.close()
        endings[0].ended()


@pytest.mark.parametrize(("end", "error"), ENDS)
def test_who_sends_between_the_last_write_and_the_end_is_told(
    end: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served() as (handled, peer):
        client, machine = handled.client, handled.machine
        write, add = handover.Outgoing.write, handover.Outgoing._add
        is_put = threading.Event()
        sendings: list[Thread] = []

        def added(self: Any, framed: Any) -> None:
            add(self, framed)
            is_put.set()

        def written(self: Any) -> None:
            write(self)
            if not sendings:
                sendings.append(Thread(lambda: client.send_packet("x")))
                assert is_put.wait(PATIENCE)

        client._outgoing.is_answer = False
        before = machine.packets_sent
        monkeypatch.setattr(handover.Outgoing, "_add", added)
        monkeypatch.setattr(handover.Outgoing, "write", written)
        ending = end_in_another_thread(handled, end)
        with pytest.raises(error):
            sendings[0].ended()
        assert machine.packets_sent == before
        assert list(peer) == []
        peer.close()
        ending.ended()


@pytest.mark.parametrize("end", ["send_eof", "close"])
def test_what_was_put_before_another_thread_ends_the_stream_is_sent(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as (handled, peer):
        client, machine = handled.client, handled.machine
        add = handover.Outgoing._add
        endings: list[Thread] = []

        def added(self: Any, framed: Any) -> None:
            add(self, framed)
            endings.append(end_in_another_thread(handled, end))

        client._outgoing.is_answer = False
        before = machine.packets_sent
        monkeypatch.setattr(handover.Outgoing, "_add", added)
        client.send_packet("x")
        assert machine.packets_sent == before + 1
        assert list(peer) == ["x"]
        peer.close()
        endings[0].ended()


def test_the_thread_of_the_server_cannot_wait_for_itself() -> None:
    with served() as (handled, peer):
        seen: list[BaseException] = []
        called = threading.Event()

        def look() -> None:
            for call in (handled.client.recv_packet, lambda: handled.client.send_packet("x")):
                try:
                    call()
                except LocalProtocolError as exc:
                    seen.append(exc)
            called.set()

        handled.client._thread.call_soon(look)
        assert called.wait(PATIENCE)
        assert len(seen) == 2
        peer.send_packet("y")
        assert handled.client.recv_packet(timeout=PATIENCE) == "y"


def answered_alone(handled: Handled, peer: Any, *answers: str) -> Thread:
    """Have one packet come alone, and be answered."""

    def answer() -> None:
        handled.client.recv_packet()
        for packet in answers:
            handled.client.send_packet(packet)

    thread = Thread(answer)
    stands_in_line(handled)
    peer.send_packet("x")
    return thread


def test_the_answer_to_a_packet_that_came_alone_needs_nothing_of_the_server_s_thread() -> None:
    with served() as (handled, peer):
        is_held, goes_on = threading.Event(), threading.Event()
        place_wait = handover.Place.outcome

        def hold() -> None:
            is_held.set()
            goes_on.wait(PATIENCE)

        def outcome(self: Any) -> Any:
            handled.client._thread.call_soon(hold)
            assert is_held.wait(PATIENCE)
            return place_wait(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(handover.Place, "outcome", outcome)
            answering = answered_alone(handled, peer, "answer")
            try:
                assert peer.recv_packet(timeout=PATIENCE) == "answer"
            finally:
                goes_on.set()
        answering.ended()


def plans(handled: Handled, patch: pytest.MonkeyPatch) -> list[Any]:
    """Return what the server's thread is asked to call from now on, while nobody waits for it."""
    planned: list[Any] = []
    plan = handled.client._thread.call_soon

    def noted(function: Any, *args: Any) -> Any:
        planned.append(function)
        return plan(function, *args)

    patch.setattr(handled.client._thread, "call_soon", noted)
    return planned


def test_such_an_answer_wakes_nobody_and_what_is_sent_behind_it_is_left_for_the_server_s_thread() -> None:
    with served() as (handled, peer), pytest.MonkeyPatch.context() as patch:
        answering = answered_alone(handled, peer)
        answering.ended()
        planned = plans(handled, patch)
        handled.client.send_packet("answer")
        assert planned == []
        handled.client.send_packet("more")
        assert planned == [handled.client._outgoing.write]
        assert [peer.recv_packet(timeout=PATIENCE) for _ in range(2)] == ["answer", "more"]


def test_an_answer_by_a_transport_that_does_not_lend_its_socket_is_written_by_it() -> None:
    """As that of TLS."""
    with served() as (handled, peer), pytest.MonkeyPatch.context() as patch:
        outgoing = handled.client._outgoing
        outgoing._send = None
        outgoing.is_answer = True
        planned = plans(handled, patch)
        handled.client.send_packet("answer")
        assert planned == [outgoing.write]
        assert peer.recv_packet(timeout=PATIENCE) == "answer"


def test_an_answer_does_not_overtake_what_is_yet_to_be_written() -> None:
    with served() as (handled, peer):
        is_held, goes_on = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            goes_on.wait(PATIENCE)

        handled.client._thread.call_soon(hold)
        try:
            assert is_held.wait(PATIENCE)
            for packet, is_answer in [("one", False), ("two", True)]:
                handled.client._outgoing.is_answer = is_answer
                handled.client.send_packet(packet)
        finally:
            goes_on.set()
        assert [peer.recv_packet(timeout=PATIENCE) for _ in range(2)] == ["one", "two"]


def test_an_answer_that_the_system_takes_in_part_arrives_whole_with_nothing_behind_it() -> None:
    with served() as (handled, peer):
        handled.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        answering = answered_alone(handled, peer, "a" * 300_000)
        assert peer.recv_packet(timeout=PATIENCE) == "a" * 300_000
        answering.ended()


def test_an_answer_that_the_system_takes_in_part_arrives_whole_and_before_the_next() -> None:
    with served() as (handled, peer):
        handled.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        answers = [letter * 300_000 for letter in "ab"]
        before = handled.machine.bytes_sent
        answering = answered_alone(handled, peer, *answers, "c")
        for answer in [*answers, "c"]:
            assert peer.recv_packet(timeout=PATIENCE) == answer
        answering.ended()
        assert handled.machine.bytes_sent - before == 600_004  # each has its newline


def test_an_answer_when_the_peer_has_reset_the_connection_is_told_as_ever() -> None:
    with served() as (handled, peer):
        answering = answered_alone(handled, peer, "a")
        assert peer.recv_packet(timeout=PATIENCE) == "a"
        answering.ended()
        peer.abort()

        def send() -> None:
            while True:
                handled.client._outgoing.is_answer = True
                handled.client.send_packet("x")

        with pytest.raises(ConnectionError):
            send()


def test_a_socket_is_not_closed_while_a_thread_sends() -> None:
    with served() as (handled, _):
        connection, thread = handled.client._connection, handled.client._thread
        sock = connection.link.transport.get_extra_info("socket")
        turn = threading.Event()
        with handled.client._outgoing._writing:
            thread.call_soon(connection.abort)
            thread.call_soon(lambda: thread.call_soon(turn.set))  # behind the end of the transport
            assert not turn.wait(0.05)
            assert sock.fileno() >= 0
        assert turn.wait(PATIENCE)
        assert sock.fileno() == -1


def may_write(client: Any) -> bool:
    """Return whether another thread could write just now."""

    def take() -> bool:
        is_free: bool = client._outgoing._writing.acquire(blocking=False)
        if is_free:
            client._outgoing._writing.release()
        return is_free

    is_free: bool = Thread(take).ended()
    return is_free


@pytest.mark.parametrize("other", ["send_packet", "send_eof", "close"])
def test_nothing_comes_between_an_answer_that_was_sent_in_part_and_its_rest(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(limits=Limits(write_high_water=4_000_000, linger=0.2)) as (handled, peer):
        client = handled.client
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        add = handover.Outgoing._add
        others: list[Thread] = []

        def go_between() -> None:
            if other == "send_packet":  # as when there was no room
                client._thread.call(client._send_within, client._connection.machine.framed, "b", 1, None)
            else:
                getattr(client, other)()

        def held(self: Any, framed: Any) -> None:
            others.append(Thread(go_between))
            if may_write(client):
                others[0].ended()
            add(self, framed)

        monkeypatch.setattr(handover.Outgoing, "_add", held)
        answering = answered_alone(handled, peer, "a" * 1_000_000)
        expected = ["a" * 1_000_000, "b"] if other == "send_packet" else ["a" * 1_000_000]
        assert [peer.recv_packet(timeout=PATIENCE) for _ in expected] == expected
        answering.ended()
        others[0].ended()


def test_the_server_s_thread_waits_for_nobody_who_frames_and_keeps_nobody_waiting_while_it_frames() -> None:
    with served() as (handled, peer):
        client = handled.client
        seen: list[bool] = []

        def frame(packet: str) -> bytes:
            seen.append(may_write(client))
            seen.append(client._outgoing.put(frame, packet))  # as by a serializer that sends; it is to be told
            return packet.encode() + b"\n"

        with client._outgoing._framing:
            sending = Thread(lambda: client._thread.call(client._send_within, frame, "a", 1, None))
            sending.ended()
        assert seen == [True, False]
        assert peer.recv_packet(timeout=PATIENCE) == "a"


def test_no_thread_sends_while_the_transport_writes_on_or_says_that_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with served(limits=Limits(write_high_water=4_000_000)) as (handled, peer):
        client = handled.client
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        may_send: list[bool] = []
        check_room = SelectorStream._check_room

        def look(self: SelectorStream) -> None:
            may_send.append(may_write(client))
            check_room(self)

        monkeypatch.setattr(SelectorStream, "_check_room", look)
        client.send_packet("x" * 1_000_000)
        assert peer.recv_packet(timeout=PATIENCE) == "x" * 1_000_000
        assert may_send
        assert not any(may_send)


def test_what_is_unsent_is_seen_until_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(deque[Any]):
        """Keeps how little was in it, between any two changes."""

        least = 1

        def popleft(self) -> Any:
            piece = super().popleft()
            self.least = min(self.least, len(self))
            return piece

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        unsent = Watched([b"x" * 1_000_000])
        stream: Any = object.__new__(SelectorStream)
        stream._sock, stream._unsent, stream._unsent_size, stream._is_full = ours, unsent, 1_000_000, False
        stream._write_some()
        assert 0 < stream._unsent_size < 1_000_000
        assert len(unsent[0]) == stream._unsent_size
        assert unsent.least == 1


# --- datagrams -------------------------------------------------------------------------------------------------------


@contextmanager
def heard() -> Generator[tuple[Any, socket.socket]]:
    """Yield a peer of a server of datagrams, and the socket that it stands for."""
    peers: list[Any] = []
    has_come = threading.Event()

    def handle(_packet: Any, peer: Any) -> None:
        peers.append(peer)
        has_come.set()

    with (
        UDPNetworkServer(handle, ANY, DATAGRAMS) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(PATIENCE)
        sock.connect(address_of(server))
        sock.send(b"1")
        assert has_come.wait(PATIENCE)
        yield peers[0], sock


def test_an_answer_takes_no_call(calls: list[Any]) -> None:
    with heard() as (peer, sock):
        calls.clear()
        peer.send_packet("x")
        assert sock.recv(100) == b'"x"'
        assert not calls


def test_a_datagram_that_cannot_be_sent_is_told_as_ever() -> None:
    with heard() as (peer, sock):
        with pytest.raises(OSError, match="too long") as caught:
            peer.send_packet("x" * 100_000)
        assert caught.value.errno == errno.EMSGSIZE
        with pytest.raises(RuntimeError) as told:
            peer.send_packet(object())
        assert told.value.__cause__ is not None
        peer.send_packet("x")
        assert sock.recv(100) == b'"x"'
    with pytest.raises(ClientClosedError):
        peer.send_packet("x")


def test_a_socket_of_datagrams_is_not_closed_while_a_thread_sends() -> None:
    with heard() as (peer, _):
        service, thread = peer._peer._service, peer._thread
        turn = threading.Event()
        with service._sending:
            thread.call_soon(service.abort)
            thread.call_soon(lambda: thread.call_soon(turn.set))  # behind the end of the transport
            assert not turn.wait(0.05)
            assert service.transport.get_extra_info("socket").fileno() >= 0
        assert turn.wait(PATIENCE)
        assert service.is_over
