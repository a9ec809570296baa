# SPDX-License-Identifier: MIT
"""Sessions of messages in blocking code."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.promptness import prompt
from tests.rpc.blocking.peers import RawServer, Task, until
from tests.runtimes.scripted_proxies import Good, listening
from tests.runtimes.sockets import open_sockets
from tieline import (
    TLS,
    ClosedError,
    ConnectionLost,
    FramerBase,
    Limits,
    LocalProtocolError,
    NewlineFramer,
    OutgoingMessageTooLarge,
    RemoteProtocolError,
)
from tieline.blocking import MessageSession
from tieline.errors import EndOfStream, StreamReset, TLSTruncated
from tieline.runtimes.blocking.moved import Awaited
from tieline.runtimes.blocking.pump import Pump
from tieline.wire.framing.bitcoin import BitcoinFramer

pytestmark = pytest.mark.row("S14")


class Lines(MessageSession):
    """Keeps lines, and sends back those that ask for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[bytes] = []
        self.losses = 0

    def default_framer(self) -> FramerBase[Any]:
        return NewlineFramer.with_limit(self._max_message())

    def handle_message(self, message: bytes) -> None:
        self.seen.append(message)
        if message.startswith(b"echo"):
            self.send_message(b"back " + message)

    def connection_lost(self) -> None:
        self.losses += 1


class Node(MessageSession):
    """Answers a ping."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.seen.append(message)
        if message[0] == b"ping":
            self.send_message((b"pong", message[1]))


@contextmanager
def raw(cls: type[Lines] = Lines, **settings: Any) -> Iterator[tuple[Any, RawServer]]:
    """Give a session, and the bare socket that it is connected to."""
    held = open_sockets()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        session = cls(*listener.getsockname(), **settings)
        session.create_connection()
        accepted, _ = listener.accept()
    peer = RawServer(accepted)
    try:
        yield session, peer
    finally:
        session.abort()
        peer.close()
    assert session.losses == 1
    assert nothing_left(session)
    assert open_sockets() == held


@contextmanager
def both(cls: type[Any], **settings: Any) -> Iterator[tuple[Any, Any]]:
    """Give two sessions that are connected to each other."""
    first, second = (cls(sock=sock, **settings) for sock in socket.socketpair())
    for session in (first, second):
        session.create_connection()
    try:
        yield first, second
    finally:
        for session in (first, second):
            session.abort()


def nothing_left(session: MessageSession) -> bool:
    engine = session._engine
    assert engine is not None
    host = engine.host
    waits = (host._followers, host.jobs, host.activity, host.emptied, host.moves, host._timers, host.soon)
    return not any(waits) and not engine.handling.running and not engine.machine.unanswered


def unsent(session: Any) -> int:
    size: int = session._engine.link.transport.get_write_buffer_size()
    return size


def poll_until_lost(session: MessageSession) -> None:
    try:
        while session.poll(10):
            pass
    except (ConnectionLost, ClosedError):
        return
    raise AssertionError("nothing has come for 10 s")


def test_two_ends_talk_and_what_waits_handles_what_comes() -> None:
    with both(Node) as (one, other):
        one.send_message((b"ping", b"12345678"))
        assert other.poll(10)
        assert other.seen == [(b"ping", b"12345678")]
        assert one.poll(10)
        assert one.seen == [(b"pong", b"12345678")]
        assert not one.poll(0)
        assert (one.stats.messages_out, one.stats.messages_in) == (1, 1)
        assert nothing_left(one)


@pytest.mark.row("D4", "P1")
@pytest.mark.parametrize("way", ["tcp", "unix", "tls", "proxy"])
def test_it_dials_over_every_transport(way: str, tmp_path: Path, certificates: Certificates) -> None:
    if way == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        url = f"unix://{tmp_path}/s"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"{'tls' if way == 'tls' else 'tcp'}://127.0.0.1:{listener.getsockname()[1]}"

    def answer() -> None:
        sock, _ = listener.accept()
        sock.settimeout(10)
        if way == "tls":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates.server)
            sock = context.wrap_socket(sock, server_side=True)
        with sock, sock.makefile("rb") as file:
            assert file.readline() == b"hello\n"
            sock.sendall(b"echo me\n")
            assert file.readline() == b"back echo me\n"

    with listener, listening(Good({})) as scripted:
        task = Task(answer)
        by_way: dict[str, dict[str, Any]] = {
            "tls": {"ssl": TLS(ca=certificates.ca)},
            "proxy": {"proxy": f"socks5://127.0.0.1:{scripted.port}"},
        }
        settings = by_way.get(way, {})
        with Lines(url, **settings) as session:
            session.send_message(b"hello")
            while not session.seen:
                session.poll(10)
            assert session.seen == [b"echo me"]
            poll_until_lost(session)
        task.result()


def test_what_is_impossible_is_refused_before_any_io() -> None:
    class Async(Lines):
        async def handle_message(self, message: bytes) -> None:  # type: ignore[override]  # wrong on purpose
            ...

    class AsyncEnd(Lines):
        async def connection_lost(self) -> None: ...  # type: ignore[override]  # wrong on purpose

    for cls, name in ((Async, "handle_message"), (AsyncEnd, "connection_lost")):
        with pytest.raises(TypeError, match=rf"{cls.__name__}\.{name} is async"):
            cls("127.0.0.1", 1)
    with pytest.raises(ValueError, match="must be given"):
        Lines()
    with pytest.raises(LocalProtocolError):
        Lines("127.0.0.1", 1).send_message(b"x")


def test_one_session_serves_one_connection() -> None:
    with raw() as (session, _):
        with pytest.raises(LocalProtocolError, match="make a new session"):
            session.create_connection()
        session.close(0)
        with pytest.raises(ClosedError):
            session.send_message(b"late")
        with pytest.raises(ClosedError):
            session.poll()
        session.wait_closed(10)


# --- handlers --------------------------------------------------------------------------------------------------------


@pytest.mark.row("S9")
def test_handlers_run_in_order_one_at_a_time_whoever_waits() -> None:
    busy = threading.Lock()

    class Careful(Lines):
        def handle_message(self, message: bytes) -> None:
            assert busy.acquire(blocking=False)
            self.seen.append(message)
            busy.release()

    with raw(Careful) as (session, peer):
        sent = [b"%d" % number for number in range(500)]
        tasks = [Task(poll_until_lost, session) for _ in range(4)]
        peer.send(*sent)
        peer.close()
        for task in tasks:
            task.result()
        assert session.seen == sent
        assert isinstance(session.close_reason, EndOfStream)


def test_a_handler_that_fails_is_logged_and_the_session_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Lines):
        def handle_message(self, message: bytes) -> None:
            super().handle_message(message)
            if message == b"bad":
                raise ValueError("the reason")

    with raw(Failing) as (session, peer), caplog.at_level(logging.ERROR):
        peer.send(b"bad", b"good")
        while len(session.seen) < 2:
            session.poll(10)
        assert session.poll(0) in (True, False)
    assert [record.getMessage() for record in caplog.records if "handle_message" in record.getMessage()]


@pytest.mark.row("H58")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("in_group", [False, True])
def test_what_ends_the_program_comes_out_of_what_waits(error: type[BaseException], in_group: bool) -> None:
    class Ending(Lines):
        def handle_message(self, message: bytes) -> None:
            raise BaseExceptionGroup("", [ValueError(), error()]) if in_group else error

    with raw(Ending) as (session, peer):
        peer.send(b"x")
        with pytest.raises(error):
            session.poll(10)


@pytest.mark.parametrize("ordered", [False, True])
def test_one_that_waits_lets_others_run_inside_of_it_unless_they_are_ordered(ordered: bool) -> None:
    class Nesting(Lines):
        def handle_message(self, message: bytes) -> None:
            self.seen.append(b"begin " + message)
            if message == b"outer":
                self.poll(0.2)
                self.poll(0)
            self.seen.append(b"end " + message)

    Nesting.ordered = ordered
    with raw(Nesting) as (session, peer):
        peer.send(b"outer")
        task = Task(lambda: [session.poll(10), session.poll(0)])
        until(lambda: session.seen)
        peer.send(b"inner")
        task.result()
        nested = [b"begin outer", b"begin inner", b"end inner", b"end outer"]
        in_turn = [b"begin outer", b"end outer", b"begin inner", b"end inner"]
        assert session.seen == (in_turn if ordered else nested)


def test_a_handler_may_close_its_own_session_and_nothing_is_handled_behind_it() -> None:
    class Quitting(Lines):
        def handle_message(self, message: bytes) -> None:
            super().handle_message(message)
            if message == b"quit":
                self.close()

    with raw(Quitting) as (session, peer):
        peer.send(b"one", b"quit", b"three")
        poll_until_lost(session)
        session.wait_closed(10)
        assert session.seen == [b"one", b"quit"]
        assert peer.ended()


# --- limits and faults -----------------------------------------------------------------------------------------------


@pytest.mark.row("F1")
def test_a_message_over_the_limit_is_refused_here_and_ends_the_session_there() -> None:
    with raw(limits=Limits(max_message=10)) as (session, peer):
        with pytest.raises(OutgoingMessageTooLarge):
            session.send_message(b"x" * 11)
        session.send_message(b"x" * 10)
        assert peer.sock.recv(100) == b"x" * 10 + b"\n"
        peer.send(b"fine")
        assert session.poll(10)
        peer.send(b"y" * 11, b"z")
        poll_until_lost(session)
        assert session.seen == [b"fine"]
        assert isinstance(session.close_reason, RemoteProtocolError)


def test_a_bad_checksum_costs_one_message_and_bad_magic_the_session(caplog: pytest.LogCaptureFixture) -> None:
    framer = BitcoinFramer()
    good = framer.frame([(b"ping", b"12345678")])
    bad = good[:-1] + b"!"
    ours, sock = socket.socketpair()
    with sock, Node(sock=ours) as session, caplog.at_level(logging.WARNING):
        sock.sendall(bad + good)
        while not session.seen:
            session.poll(10)
        assert session.seen == [(b"ping", b"12345678")]
        sock.sendall(b"\0" * 24)
        poll_until_lost(session)
        assert isinstance(session.close_reason, RemoteProtocolError)


@pytest.mark.row("S10")
def test_messages_that_nobody_handles_yet_are_bounded() -> None:
    """One handler runs and does not return: what comes behind it waits in the system, not here."""
    gate = threading.Event()

    class Slow(Lines):
        def handle_message(self, message: bytes) -> None:
            self.seen.append(message)
            gate.wait(30)

    with raw(Slow, limits=Limits(max_pending=10)) as (session, peer):
        runner = Task(poll_until_lost, session)
        reader = Task(poll_until_lost, session)
        flood = Task(peer.sock.sendall, b"x\n" * 3_000_000)
        until(lambda: not session._engine.machine.wants_data)
        assert session._engine.machine.unanswered == 10
        assert len(session.seen) == 1
        session.abort()
        gate.set()
        peer.reset()
        assert isinstance(flood.error(), OSError)
        for task in (runner, reader):
            task.result()


@pytest.mark.row("S10", "K13")
def test_a_sender_waits_for_a_slow_peer_and_is_told_when_it_goes() -> None:
    with raw() as (session, peer):
        message = b"x" * 1_000_000

        def send() -> None:
            while True:
                session.send_message(message)

        task = Task(send)
        until(lambda: unsent(session))
        assert unsent(session) <= 2 * len(message)
        peer.reset()
        assert isinstance(task.error(), ConnectionLost)


@pytest.mark.parametrize("ordered", [False, True])
def test_both_ends_may_flood_each_other_and_neither_stands_still(ordered: bool) -> None:
    """Each answers whatever comes, by its handler, while it sends without reading."""

    class Flooding(Lines):
        pass

    Flooding.ordered = ordered
    count, size = 60, 50_000
    with both(Flooding) as pair:

        def talk(session: Any) -> None:
            for number in range(count):
                session.send_message(b"echo %d " % number + b"x" * size)
            # Nobody else moves what this end has still to send, so it goes on until the other one has all as well.
            while any(len(each.seen) < 2 * count for each in pair):
                session.poll(0.01)

        for task in [Task(talk, session) for session in pair]:
            task.result()
        for session in pair:
            for kind in (b"echo", b"back"):
                came = [line for line in session.seen if line.startswith(kind)]
                assert [int(line.split(b" ")[-2]) for line in came] == list(range(count))


@pytest.mark.row("K15")
def test_messages_of_many_threads_arrive_whole() -> None:
    with raw() as (session, peer):
        count = 200

        def send(letter: bytes) -> None:
            for number in range(count):
                session.send_message(letter * (number + 1) * 20)

        tasks = [Task(send, bytes([letter])) for letter in b"abcdefgh"]
        lines = [peer._file.readline().rstrip() for _ in range(8 * count)]
        for task in tasks:
            task.result()
        for letter in b"abcdefgh":
            mine = [line for line in lines if line[0] == letter]
            assert mine == [bytes([letter]) * (number + 1) * 20 for number in range(count)]


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("S6", "S12")
def test_what_the_peer_said_before_its_end_is_handled() -> None:
    with raw() as (session, peer):
        peer.send(b"one", b"echo two")
        peer.sock.shutdown(socket.SHUT_WR)
        poll_until_lost(session)
        assert session.seen == [b"one", b"echo two"]
        assert peer.sock.recv(100) == b"back echo two\n"
        assert isinstance(session.close_reason, EndOfStream)


def test_a_reset_is_told_to_whoever_waits() -> None:
    with raw() as (session, peer):
        tasks = [Task(poll_until_lost, session) for _ in range(3)]
        peer.reset()
        for task in tasks:
            task.result()
        assert isinstance(session.close_reason, StreamReset)
        with pytest.raises(ConnectionLost) as told:
            session.send_message(b"late")
        assert told.value.__cause__ is session.close_reason or told.value is session.close_reason


def test_closing_flushes_what_was_sent_and_wakes_other_threads() -> None:
    with raw() as (session, peer):
        waiting = Task(poll_until_lost, session)
        until(lambda: session._engine.host._is_led)
        sending = Task(session.send_message, b"x" * 5_000_000)
        until(lambda: unsent(session))
        closing = Task(session.close, 10)
        assert len(peer._file.readline()) == 5_000_001
        assert peer.ended()
        peer.close()
        closing.result()
        sending.result()
        waiting.result()


def test_a_peer_that_never_reads_is_cut_when_the_time_to_close_is_over() -> None:
    with raw() as (session, _):
        sending = Task(session.send_message, b"x" * 20_000_000)
        until(lambda: unsent(session))
        began = time.monotonic()
        session.close(0.05)
        assert time.monotonic() - began < prompt(2.5)
        sending.error()


def test_a_timer_set_between_the_look_at_the_timers_and_the_sleep_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Pump._watch
    is_set, called = threading.Event(), threading.Event()

    def watch_later(pump: Pump, waiter: Awaited, seconds: float) -> None:
        if not is_set.is_set():
            is_set.set()
            pump.do(pump.call_at, pump.now() + 0.01, called.set)
        watch(pump, waiter, seconds)

    monkeypatch.setattr(Pump, "_watch", watch_later)
    with raw() as (session, _):
        polling = Task(session.poll, 25)
        assert called.wait(10)
        session.abort()
        polling.thread.join(10)


@pytest.mark.row("D6")
def test_a_stream_of_tls_that_is_cut_is_no_clean_end(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)

    def serve(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with context.wrap_socket(sock, server_side=True) as peer:
            peer.sendall(b"one\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = Task(serve, listener)
        with Lines(*listener.getsockname(), ssl=TLS(ca=certificates.ca)) as session:
            poll_until_lost(session)
            assert session.seen == [b"one"]
            assert isinstance(session.close_reason, TLSTruncated)
        task.result()
