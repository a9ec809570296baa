# SPDX-License-Identifier: MIT
"""The straight way of packets in blocking code: it is left in time, and nobody is forgotten on the way.

What happens while a thread is in its one read is done by the socket itself, in that thread, at that very moment: so
nothing here is a matter of luck.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.clients.test_async_streams import LINES, reset, tcp_pair
from tests.clients.test_tails import KINDS
from tests.interrupting import InItsRead, Stop, interrupted_at, interrupted_behind
from tests.rpc.blocking.peers import until
from tieline.clients import TCPNetworkClient, UnixStreamClient
from tieline.clients import ancillary_streams as clients_ancillary_streams
from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    EndOfStream,
    SendTimeout,
    StreamProtocolParseError,
    StreamReset,
)
from tieline.protocol import StreamProtocol
from tieline.runtimes import ancillary_streams
from tieline.runtimes.blocking.lone_packets import PacketHost
from tieline.runtimes.blocking.transport import SocketTransport
from tieline.serializers import StringLineSerializer
from tieline.socket import SocketAncillary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future


class Scene(InItsRead):
    """A client that has received, so that its next packet comes the straight way; and the other end."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        super().__init__()
        self.peer = theirs
        self.client: TCPNetworkClient[str] = TCPNetworkClient(ours, LINES)
        self.host = self.client._host
        self.transport = cast("Any", self.host.transport)
        theirs.sendall(b"first\n")
        assert self.client.recv_packet() == "first"
        self.watch(self.transport, ours)

    def comes(self, data: bytes) -> None:
        """Let *data* come in the next plain read."""
        self.meanwhile = partial(self.peer.sendall, data)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with tcp_pair() as (ours, theirs):
        it = Scene(ours, theirs)
        try:
            yield it
        finally:
            it.client.abort()


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[Any]:
    """Do *work* in another thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


@pytest.mark.row("K13")
@pytest.mark.parametrize("packets", [b"1\n", b"1\n2\n", b"1\n2\n3\n"])
def test_who_reads_was_there_before_those_who_stand_in_line_by_then(scene: Scene, packets: bytes) -> None:
    client = scene.client
    with ThreadPoolExecutor(1) as pool:
        others: list[Future[str]] = []

        def another_comes() -> None:
            others.append(pool.submit(client.recv_packet))
            until(lambda: client._engine.receivers)
            scene.peer.sendall(packets)

        scene.meanwhile = another_comes
        assert client.recv_packet() == "1"
        if len(packets) == 2:
            scene.peer.sendall(b"2\n")
        assert others[0].result(30) == "2"
        if len(packets) > 4:
            assert client.recv_packet() == "3"


def test_a_serializer_that_ends_the_program_leaves_the_client_to_others() -> None:
    class Ends(StringLineSerializer):
        def deserialize(self, data: bytes) -> str:
            if data == b"end":
                raise SystemExit
            return super().deserialize(data)

    with tcp_pair() as (ours, theirs):
        client: TCPNetworkClient[str] = TCPNetworkClient(ours, StreamProtocol(Ends()))
        for _ in range(2):  # from the second one on it is the straight way
            theirs.sendall(b"more\n")
            assert client.recv_packet() == "more"
        theirs.sendall(b"end\n")
        with pytest.raises(SystemExit):
            client.recv_packet()
        with beside(client.close) as closing:
            closing.result(30)


@pytest.mark.row("K13")
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_packet_takes_one_read_and_is_counted(scene: Scene, timeout: float | None) -> None:
    machine = scene.client._engine.machine
    for number in range(1, 4):
        scene.comes(b"more\n")
        assert scene.client.recv_packet(timeout=timeout) == "more"
        assert scene.reads == number
        assert machine.packets_received == number + 1
        assert machine.bytes_received == len("first\n") + number * len("more\n")
    assert not machine.has_unread


@pytest.mark.row("K11")
@pytest.mark.parametrize(
    "data", [b"one\ntwo\n", b"one\ntw", b"on", b"\xff\n", b"one\n\xff\n", b"\n"], ids=lambda data: repr(data)[2:-1]
)
def test_what_is_not_one_packet_is_received_like_everything_else(scene: Scene, data: bytes) -> None:
    scene.comes(data)

    def receive() -> str:
        try:
            return scene.client.recv_packet()
        except StreamProtocolParseError:
            return "faulty"

    wanted = ["faulty" if line == b"\xff" else line.decode() for line in data.split(b"\n")]
    begun = wanted.pop()
    if not wanted:
        with pytest.raises(TimeoutError):
            scene.client.recv_packet(timeout=0.1)
    seen = [receive() for _ in wanted]
    scene.peer.sendall(b"end\nlast\n")
    seen += [receive(), receive()]
    assert seen == [*wanted, f"{begun}end", "last"]


@pytest.mark.row("K9")
@pytest.mark.parametrize("way", ["close", "abort"])
def test_a_client_that_is_closed_while_it_reads_gives_no_packet_that_came_too_late(scene: Scene, way: str) -> None:
    with ThreadPoolExecutor(1) as pool:

        def end() -> None:
            pool.submit(getattr(scene.client, way))  # which may wait for this read to end
            until(lambda: scene.client._engine.machine.refuses)
            scene.peer.sendall(b"late\n")

        scene.meanwhile = end
        with pytest.raises(ClientClosedError):
            scene.client.recv_packet()


@pytest.mark.row("K10")
def test_a_packet_and_the_end_in_one_read(scene: Scene) -> None:
    def end() -> None:
        scene.peer.sendall(b"last\n")
        scene.peer.shutdown(socket.SHUT_WR)

    scene.meanwhile = end
    assert scene.client.recv_packet() == "last"
    for _ in range(2):
        with pytest.raises(EndOfStream):
            scene.client.recv_packet()
    scene.client.send_packet("to the half that is open")
    assert scene.peer.recv(100) == b"to the half that is open\n"


@pytest.mark.row("K10")
def test_a_reset_in_the_place_of_a_packet(scene: Scene) -> None:
    scene.meanwhile = partial(reset, scene.peer)
    with pytest.raises(StreamReset):
        scene.client.recv_packet()


@pytest.mark.row("K15")
def test_a_thread_that_comes_meanwhile_is_not_forgotten(scene: Scene) -> None:
    """It stands in line while the first one reads: both get a packet."""
    others: list[Future[str]] = []
    with ThreadPoolExecutor(1) as pool:

        def come() -> None:
            others.append(pool.submit(scene.client.recv_packet, timeout=30))
            until(lambda: bool(scene.host._followers))
            scene.peer.sendall(b"one\ntwo\n")

        scene.meanwhile = come
        assert {scene.client.recv_packet(timeout=30), others[0].result(30)} == {"one", "two"}


@pytest.mark.row("K15")
def test_a_thread_may_send_while_another_one_reads(scene: Scene) -> None:
    def answer() -> None:
        with beside(partial(scene.client.send_packet, "question")) as sending:
            sending.result(30)
        assert scene.peer.recv(100) == b"question\n"
        scene.peer.sendall(b"answer\n")

    scene.meanwhile = answer
    assert scene.client.recv_packet() == "answer"


@pytest.mark.row("K13")
def test_a_short_packet_that_the_system_takes_in_part_goes_out_whole(scene: Scene) -> None:
    packet = "x" * 30_000
    late: list[bool] = []
    sent = 0
    while not late:
        sent += 1
        try:
            scene.client.send_packet(packet, timeout=0)
        except SendTimeout as exc:
            late.append(exc.sent)
    assert late == [True]
    wanted = (packet + "\n") * sent + "behind\n"
    with beside(partial(scene.client.send_packet, "behind")) as sending:
        got = bytearray()
        while len(got) < len(wanted):
            got += scene.peer.recv(1 << 20)
        sending.result(30)
    assert got == wanted.encode()


def test_a_send_that_is_interrupted_in_the_middle_gives_the_connection_up(scene: Scene) -> None:
    def interrupt(_data: bytes, _flags: int) -> int:
        raise Stop

    scene.transport.send = interrupt
    with pytest.raises(Stop):
        scene.client.send_packet("x")
    with pytest.raises(ConnectionLost):
        scene.client.send_packet("x")
    with pytest.raises(ConnectionLost):
        scene.client.recv_packet()


def test_a_receive_that_is_interrupted_in_its_read_loses_nothing(scene: Scene) -> None:
    def interrupt() -> None:
        scene.peer.sendall(b"kept\n")
        raise Stop

    scene.meanwhile = interrupt
    with pytest.raises(Stop):
        scene.client.recv_packet()
    assert scene.client.recv_packet() == "kept"


# --- packets that are laid out ---------------------------------------------------------------------------------------


@pytest.fixture
def laid(scene: Scene) -> Scene:
    """A client that has received the first of three packets that came at once."""
    scene.comes(b"1\n2\n3\n")
    assert scene.client.recv_packet() == "1"
    assert scene.client._engine.machine.received == []
    return scene


@pytest.mark.row("K13", "K15")
@pytest.mark.parametrize("timeout", [None, 0.0])
def test_packets_that_came_together_are_taken_without_the_lock(laid: Scene, timeout: float | None) -> None:
    receive = partial(laid.client.recv_packet, timeout=timeout)
    with laid.host.lock, ThreadPoolExecutor(1) as pool:
        assert [pool.submit(receive).result(30) for _ in range(2)] == ["2", "3"]
    laid.comes(b"4\n")
    assert laid.client.recv_packet() == "4"
    assert laid.reads == 2


def test_a_time_that_is_none_is_refused_where_a_packet_is_there(laid: Scene) -> None:
    with pytest.raises(ValueError, match="timeout"):
        laid.client.recv_packet(timeout=-1)
    assert laid.client.recv_packet() == "2"


@pytest.mark.row("K14")
def test_all_that_came_together_can_be_taken_together(laid: Scene) -> None:
    assert laid.client.recv_packets() == ["2", "3"]
    laid.comes(b"4\n5\n")
    assert laid.client.recv_packets() == ["4", "5"]


@pytest.mark.row("K14")
@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 129, 300])
def test_however_many_come_together_they_come_in_order(scene: Scene, count: int) -> None:
    for _ in range(2):
        packets = [str(number) for number in range(count)]
        scene.comes("".join(f"{packet}\n" for packet in packets).encode())
        reads = scene.reads
        assert [scene.client.recv_packet() for _ in packets] == packets
        assert scene.reads == reads + 1


@pytest.mark.row("K14")
def test_reading_stops_while_far_more_has_come_than_is_decoded() -> None:
    """What has come of a long packet counts as well, whichever read brings the end of it and the many behind."""
    long = "x" * 300_000
    with tcp_pair() as (ours, theirs):
        client: TCPNetworkClient[str] = TCPNetworkClient(ours, StreamProtocol(StringLineSerializer(limit=len(long))))
        transport = cast("Any", client._host.transport)
        with client:
            with beside(partial(theirs.sendall, long.encode())):
                while client._engine.machine.bytes_received < len(long):
                    with pytest.raises(TimeoutError):
                        client.recv_packet(timeout=0.06)  # by plain reads
            theirs.sendall(b"\n" + b"short\n" * 100)
            assert client.recv_packet() == long
            assert not transport.wants_data
            assert [client.recv_packet() for _ in range(100)] == ["short"] * 100
            assert transport.wants_data
            theirs.sendall(b"last\n")
            assert client.recv_packet() == "last"


@pytest.mark.row("K13", "K15")
def test_who_looks_further_finds_what_was_laid_out_meanwhile(laid: Scene) -> None:
    """As one does who found nothing there, and comes to look with the lock when another one has read."""
    engine = laid.client._engine
    assert laid.host.receive_straight(engine, 0.0) == "2"
    assert laid.client._receive(engine, engine.put_next, 0.0) == ["3"]
    laid.comes(b"4\n5\n")
    assert laid.client.recv_packet() == "4"
    hand: list[str] = []
    laid.host.run(laid.client._receive_in_turn(engine, engine.put_next, hand), 0.0)
    assert hand == ["5"]


@pytest.mark.row("K15")
def test_nothing_is_laid_out_while_others_stand_in_line(scene: Scene) -> None:
    others: list[Future[str]] = []
    with ThreadPoolExecutor(1) as pool:

        def come() -> None:
            others.append(pool.submit(scene.client.recv_packet, timeout=30))
            until(lambda: bool(scene.host._followers))
            scene.peer.sendall(b"1\n2\n3\n")

        scene.meanwhile = come
        assert scene.client.recv_packet(timeout=30) == "1"
        assert others[0].result(30) == "2"
    assert scene.client.recv_packet(timeout=30) == "3"


@pytest.mark.row("K9")
@pytest.mark.parametrize("way", ["close", "abort"])
def test_what_is_laid_out_is_dropped_when_the_client_is_closed(laid: Scene, way: str) -> None:
    getattr(laid.client, way)()
    for _ in range(2):
        with pytest.raises(ClientClosedError):
            laid.client.recv_packet()


@pytest.mark.row("K10")
@pytest.mark.parametrize("is_reset", [False, True])
def test_the_end_comes_behind_what_is_laid_out(laid: Scene, is_reset: bool) -> None:
    if is_reset:
        reset(laid.peer)
    else:
        laid.peer.shutdown(socket.SHUT_WR)
    assert [laid.client.recv_packet() for _ in range(2)] == ["2", "3"]
    with pytest.raises(StreamReset if is_reset else EndOfStream):
        laid.client.recv_packet()


@pytest.mark.row("K11")
def test_a_fault_comes_behind_what_is_laid_out(scene: Scene) -> None:
    scene.comes(b"1\n2\n\xff\n3\n")
    assert [scene.client.recv_packet() for _ in range(2)] == ["1", "2"]
    with pytest.raises(StreamProtocolParseError):
        scene.client.recv_packet()
    assert scene.client.recv_packet() == "3"


# --- several threads --------------------------------------------------------------------------------------------------


@pytest.mark.row("K15")
def test_who_leads_is_called_when_another_thread_completes_what_it_waits_for(scene: Scene) -> None:
    host = scene.host
    host._is_shared = True
    waiter = host.new_waiter()
    with beside(partial(host.wait, waiter)) as waiting:
        until(lambda: host._waits_until > -inf)
        host.do(waiter.set_result, None)
        assert waiting.result(30)


@pytest.mark.row("K15")
def test_who_is_about_to_lead_sees_that_what_it_waits_for_is_complete(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = scene.host
    host._is_shared = True
    waiter = host.new_waiter()
    new_readiness = SocketTransport.new_readiness

    def meanwhile(self: SocketTransport) -> Any:
        waiter.set_result(None)
        return new_readiness(self)

    monkeypatch.setattr(SocketTransport, "new_readiness", meanwhile)
    with beside(partial(host.wait, waiter)) as waiting:
        assert waiting.result(30)


@pytest.mark.row("K13", "K15")
def test_each_packet_goes_to_one_of_many_threads_in_order(scene: Scene) -> None:
    """However many come at once, and whether or not somebody leads in a way in which others can call."""

    def receive() -> list[int]:
        got: list[int] = []
        try:
            while True:
                got += map(int, scene.client.recv_packets() if len(got) % 9 == 8 else [scene.client.recv_packet()])
        except EndOfStream:
            return got

    count = 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            receiving = [pool.submit(receive) for _ in range(4)]
            for many in (1, 2, 3, 70, 1, 300, 10, 1000) * 5:
                scene.peer.sendall(b"".join(b"%d\n" % number for number in range(count, count + many)))
                count += many
            scene.peer.shutdown(socket.SHUT_WR)
            seen = [one.result(30) for one in receiving]
    finally:
        sys.setswitchinterval(interval)
    assert all(got == sorted(got) for got in seen)
    assert sorted(number for got in seen for number in got) == list(range(count))


# --- interrupts ------------------------------------------------------------------------------------------------------


def interrupted(
    work: Callable[[TCPNetworkClient[str]], object], place: int, came: bytes = b"1\n"
) -> tuple[list[str], bool]:
    """Interrupt *work* at a place; return what is received behind it until the client is lost, and whether it was.

    Its peer echoes, and has sent a packet already, or several.
    """
    with tcp_pair() as (ours, theirs), TCPNetworkClient(ours, LINES) as client:
        theirs.sendall(b"0\n")
        assert client.recv_packet() == "0"
        theirs.sendall(came)
        was_interrupted = interrupted_at(partial(work, client), place)
        got: list[str] = []
        try:
            client.send_packet("end")
            while not got or got[-1] != "end":
                sent = theirs.recv(100) if not got else b""
                theirs.sendall(sent)
                got.append(client.recv_packet(timeout=30))
        except ConnectionLost:
            assert client._engine.is_over
            got.append("lost")
        return got, was_interrupted


def test_a_receive_may_be_interrupted_at_every_line() -> None:
    """Behind it comes that packet again, or the next where none could come; or the client is lost."""
    was_interrupted, place, got = True, -1, [""]
    while was_interrupted:
        place += 1
        got, was_interrupted = interrupted(TCPNetworkClient.recv_packet, place)
        assert got in (["1", "end"], ["end"], ["1", "lost"], ["lost"]), place
    assert got == ["end"]
    assert place > 20


@pytest.mark.parametrize("count", [1, 2, 3])
def test_receives_of_what_came_together_may_be_interrupted_at_every_line(count: int) -> None:
    """None is lost but the one that was about to be returned, and none comes twice; or the client is lost."""
    had: list[str] = []
    was_interrupted, place = True, -1
    while was_interrupted:
        place += 1
        had.clear()
        got, was_interrupted = interrupted(
            lambda client: had.extend(client.recv_packet() for _ in range(count)), place, b"1\n2\n3\n4\n"
        )
        wanted = ["1", "2", "3", "4", "end"][len(had) :]
        assert got in (wanted, wanted[1:]) or (got[-1] == "lost" and got[:-1] == wanted[: len(got) - 1]), place
    assert had == ["1", "2", "3"][:count]


@pytest.mark.parametrize("came", [b"\xff\n", b"\xff\n2\n", b"1\n\xff\n2\n"], ids=["alone", "first", "second"])
def test_a_receive_of_what_is_no_packet_may_be_interrupted_at_every_line(came: bytes) -> None:
    """Whatever comes of it, that thread does not keep the connection to itself."""
    was_interrupted, place = True, -1
    while was_interrupted:
        place += 1
        with tcp_pair() as (ours, theirs), TCPNetworkClient(ours, LINES) as client:
            theirs.sendall(b"0\n")
            assert client.recv_packet() == "0"
            theirs.sendall(came)

            def receive(client: TCPNetworkClient[str] = client) -> None:
                for _ in came.splitlines():
                    with suppress(StreamProtocolParseError):
                        client.recv_packet()

            was_interrupted = interrupted_at(receive, place)
            host = client._host
            assert not host.is_moving(), place
            assert not host._is_led, place
            with beside(client.abort) as aborting:
                aborting.result(30)
    assert place > 20


def test_a_wait_with_a_time_limit_that_is_interrupted_leaves_the_client_as_it_was(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(PacketHost, "_watch", stop)
        with pytest.raises(Stop):
            scene.client.recv_packet(timeout=0)
    scene.peer.sendall(b"more\n")
    assert scene.client.recv_packet(timeout=30) == "more"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it was interrupted before that
def test_who_is_interrupted_does_not_stay_in_line() -> None:
    was_interrupted, place = True, -1
    while was_interrupted:
        place += 1
        with tcp_pair() as (ours, _), TCPNetworkClient(ours, LINES) as client:

            def receive(client: TCPNetworkClient[str] = client) -> None:
                with suppress(TimeoutError):
                    client.recv_packet(timeout=0)

            was_interrupted = interrupted_at(receive, place)
            assert not client._engine.receivers, place
    assert place > 20


@pytest.fixture
def plain_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have second sockets made by code of a test, which is not interrupted: a descriptor could be left behind."""

    def second(transport: Any) -> socket.socket:
        return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))

    for module in (ancillary_streams, clients_ancillary_streams):
        monkeypatch.setattr(module, "second", second)


WAYS: dict[str, Callable[[Any], list[str]]] = {
    "one": lambda client: [client.recv_packet()],
    "timed": lambda client: [client.recv_packet(timeout=30)],
    "all": lambda client: client.recv_packets(),
    "beside": lambda client: [client.recv_packet(ancillary_data=SocketAncillary())],
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it was interrupted before that
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # or in a `__del__`
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # or between a socket and its name
@pytest.mark.parametrize("came", [b"1\n", b"1\n2\n3\n"], ids=["alone", "together"])
@pytest.mark.parametrize("is_first", [False, True], ids=["again", "first"])
@pytest.mark.parametrize(
    ("kind", "way"), [(kind, way) for kind in KINDS for way in WAYS if (kind, way) != ("tcp", "beside")]
)
@pytest.mark.usefixtures("plain_seconds")
def test_no_signal_behind_an_instruction_loses_a_packet(kind: str, way: str, is_first: bool, came: bytes) -> None:
    """Nor do two change places. When the connection is lost by it, what comes is what was next, up to somewhere."""
    new_pair, new_client, _ = KINDS[kind]
    sent = [*came.decode().split(), "end"]
    receive = WAYS[way]
    was_interrupted, place = True, -1
    while was_interrupted:
        place += 1
        with new_pair() as (ours, theirs), new_client(ours, LINES) as client:
            if not is_first:
                theirs.sendall(b"0\n")
                assert receive(client) == ["0"]
            theirs.sendall(came)
            had: list[str] = []

            def work(client: Any = client, had: list[str] = had) -> None:
                while len(had) < len(sent) - 1:
                    had += receive(client)

            was_interrupted = interrupted_behind(work, place)
            if client._engine.is_over:
                with suppress(ConnectionLost):
                    while True:
                        had += receive(client)
                assert had == sent[: len(had)], place
            else:
                theirs.sendall(b"end\n")
                while len(had) < len(sent):
                    had += receive(client)
                assert had == sent, place
            assert not client._host.is_moving(), place
    assert place > 3
    gc.collect()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it was interrupted before that
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # or in a `__del__`
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # or between a socket and its name
@pytest.mark.usefixtures("plain_seconds")
def test_no_signal_leaves_a_receiver_or_a_sender_behind_that_is_gone() -> None:
    """Of those who want what goes beside packets there may be one alone, and it holds the line of senders."""

    def send(client: UnixStreamClient[str]) -> None:
        client.send_packet("sent", ancillary_data=SocketAncillary())

    for work in (WAYS["beside"], send):
        was_interrupted, place = True, -1
        while was_interrupted:
            place += 1
            with KINDS["unix"][0]() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
                theirs.sendall(b"1\n")
                was_interrupted = interrupted_behind(partial(work, client), place)
                with suppress(ConnectionLost, BrokenPipeError):
                    theirs.sendall(b"2\n")
                    # Who is interrupted may have taken the first. What is left unread would have `close` linger.
                    got = client.recv_packet(timeout=30)
                    assert got == "2" or (got, client.recv_packet(timeout=30)) == ("1", "2"), place
                    client.send_packet("behind", timeout=30)
        assert place > 20
    gc.collect()


def test_what_an_interrupted_thread_gives_back_is_for_the_next_in_line(scene: Scene) -> None:
    host = scene.host
    with beside(partial(scene.client.recv_packet, timeout=30)) as receiving:
        until(lambda: bool(scene.client._engine.receivers) and host._waits_until > -inf)
        host.give_back(["1"])
        assert receiving.result(30) == "1"


def test_what_an_interrupted_thread_gives_back_is_dropped_when_the_client_is_closed(scene: Scene) -> None:
    scene.client.abort()
    scene.host.give_back(["1"])
    with pytest.raises(ClientClosedError):
        scene.client.recv_packet()


def test_a_send_may_be_interrupted_at_every_line() -> None:
    """The packet is sent whole or not at all, and others behind it are; or the client is lost."""
    was_interrupted, place, got = True, -1, [""]
    while was_interrupted:
        place += 1
        got, was_interrupted = interrupted(lambda client: client.send_packet("2"), place)
        assert got in (["1", "2", "end"], ["1", "end"], ["1", "lost"], ["lost"]), place
    assert got == ["1", "2", "end"]
    assert place > 20
