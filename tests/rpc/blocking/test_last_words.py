# SPDX-License-Identifier: MIT
"""What a peer says before it ends, in blocking code: the end does not overtake what came before it."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from tests.promptness import prompt
from tests.rpc.blocking.peers import Task, until
from tests.wire.websocket.pairs import CLOSE, TEXT, frame
from tieline import ClosedError, Command, ConnectionLost, Methods, SessionBase
from tieline.blocking import ClientSession, connect, serve

pytestmark = pytest.mark.row("H1", "H9", "S9")

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OPENING = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GOODBYE = frame(CLOSE, b"\x03\xe9", masked=False)
# More than run at once, more than may wait, more than one turn of the machine has.
MANY = 1000


def note(number: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": "note", "params": [number]}).encode()


def call(number: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": "double", "params": [number], "id": number}).encode()


def text(message: bytes) -> bytes:
    return frame(TEXT, message, masked=False)


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    return head


def rest_of(sock: socket.socket) -> bytes:
    found = b""
    while piece := sock.recv(1 << 16):
        found += piece
    return found


class Heard:
    def __init__(self) -> None:
        self.notes: list[int] = []
        self.methods = Methods()
        self.methods.add(self)

    def note(self, number: int) -> None:
        self.notes.append(number)

    def double(self, number: int) -> int:
        return 2 * number


@contextmanager
def opened(heard: Heard) -> Iterator[tuple[Any, socket.socket]]:
    """Give a session on a WebSocket, and the bare socket at its other end, behind the handshake."""

    def shake() -> socket.socket:
        sock, _ = listener.accept()
        sock.settimeout(10)
        (key,) = [line for line in read_head(sock).split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
        answer = base64.b64encode(hashlib.sha1(key.split()[1] + GUID).digest())  # as RFC 6455 has it
        sock.sendall(
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % answer
        )
        return sock

    with socket.create_server(("127.0.0.1", 0)) as listener:
        shaking = Task(shake)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with connect(url, heard.methods) as session, shaking.result() as sock:
            yield session, sock


def poll_to_the_end(session: Any) -> None:
    def poll() -> None:
        while session.poll(10):
            pass

    with pytest.raises((ConnectionLost, ClosedError)):
        poll()


def test_all_lines_of_a_child_are_handled() -> None:
    heard = Heard()
    lines = b"\n".join(note(number) for number in range(MANY)).decode()
    with connect(Command([sys.executable, "-S", "-c", f"print({lines!r}, flush=True)"]), heard.methods) as session:
        poll_to_the_end(session)
    assert heard.notes == list(range(MANY))


@pytest.mark.parametrize("ends", ["closed", "faulty", "cut"])
@pytest.mark.parametrize("count", [1, 2, MANY])
def test_all_messages_of_a_websocket_are_handled(count: int, ends: str) -> None:
    heard = Heard()
    last = {"closed": GOODBYE, "faulty": frame(3, masked=False), "cut": b""}[ends]
    with opened(heard) as (session, sock):
        sock.sendall(b"".join(text(note(number)) for number in range(count)) + last)
        sock.shutdown(socket.SHUT_WR)
        poll_to_the_end(session)
        assert heard.notes == list(range(count))


@pytest.mark.parametrize("count", [1, 150])
def test_calls_in_front_of_a_close_frame_are_answered_before_it(count: int) -> None:
    heard = Heard()
    with opened(heard) as (session, sock):
        sock.sendall(b"".join(text(call(number)) for number in range(count)) + GOODBYE)
        poll_to_the_end(session)
        assert rest_of(sock).count(b"\x81") >= count


def test_what_came_before_an_answer_and_the_end_is_handled_when_the_call_returns() -> None:
    heard = Heard()
    with opened(heard) as (session, sock):

        def answer() -> None:
            assert sock.recv(1 << 16)
            sock.sendall(text(note(1)) + text(b'{"jsonrpc":"2.0","result":5,"id":0}') + GOODBYE)

        task = Task(answer)
        assert session.call("x", timeout=10) == 5
        assert heard.notes == [1]
        task.result()


def test_the_end_waits_for_what_another_thread_has_to_run() -> None:
    heard = Heard()
    began, free = threading.Event(), threading.Event()

    @heard.methods.method
    def hold() -> None:
        began.set()
        free.wait(10)

    with opened(heard) as (session, sock):
        holding = Task(session.poll, 10)
        sock.sendall(text(b'{"jsonrpc":"2.0","method":"hold"}'))
        assert began.wait(10)
        reading = Task(poll_to_the_end, session)
        sock.sendall(text(note(1)) + text(call(2)) + GOODBYE)
        until(lambda: session.stats.running == 3)
        free.set()
        holding.result()
        reading.result()
        assert heard.notes == [1]
        assert b"\x81" in rest_of(sock)


class CallingBack(Heard):
    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    def nested(self, session: SessionBase) -> None:
        caller: Any = session  # one of blocking code
        try:
            caller.call("more", timeout=None)
        except ConnectionLost:
            self.lost += 1


def test_whoever_leads_reads_the_end_when_handlers_wait_for_it() -> None:
    # One thread runs handlers that call back; another begins to lead meanwhile, and reads nothing while they are there.
    def ask(session: Any) -> None:
        with pytest.raises(ConnectionLost):
            session.call("x", timeout=None)

    for _ in range(40):
        heard = CallingBack()
        with opened(heard) as (session, sock):
            callers = [Task(ask, session) for _ in range(3)]
            assert sock.recv(1)
            began = monotonic()
            sock.sendall(5 * text(b'{"jsonrpc":"2.0","method":"nested"}') + GOODBYE)
            for caller in callers:
                caller.result()
            assert monotonic() - began < prompt(1)
        assert heard.lost == 5


@pytest.mark.parametrize("end", [frame(CLOSE, b"\x03\xe8"), b""], ids=["closed", "cut"])
def test_a_server_handles_all_that_its_client_said(end: bytes) -> None:
    heard = Heard()
    with serve(heard.methods, "ws://127.0.0.1:0", workers=1) as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(OPENING)
            read_head(sock)
            sock.sendall(b"".join(frame(TEXT, note(number)) for number in range(300)) + end)
            sock.shutdown(socket.SHUT_WR)
            rest_of(sock)
        until(lambda: len(heard.notes) == 300)
    assert sorted(heard.notes) == list(range(300))


def test_the_end_does_not_wait_for_a_handler_that_waits_for_the_end() -> None:
    heard = Heard()
    sessions: list[Any] = []
    began = threading.Event()

    @heard.methods.method
    def watch() -> None:
        began.set()
        sessions[0].wait_closed(10)

    with opened(heard) as (session, sock):
        sessions.append(session)
        polling = Task(poll_to_the_end, session)
        sock.sendall(text(b'{"jsonrpc":"2.0","method":"watch"}'))
        assert began.wait(10)
        until(lambda: session._engine._closed_waiters)
        sock.sendall(GOODBYE)
        sock.shutdown(socket.SHUT_WR)
        session.wait_closed(5)
        polling.result()


@pytest.mark.parametrize("ends", ["half", "closed here"])
@pytest.mark.parametrize("is_call", [True, False])
def test_no_end_waits_for_a_handler_that_waits_for_it(ends: str, is_call: bool) -> None:
    heard = Heard()
    sessions: list[Any] = []

    @heard.methods.method
    def watch() -> None:
        sessions[0].wait_closed(10)
        heard.notes.append(1)

    def waits() -> bool:
        return bool(sessions[0]._engine._closed_waiters)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        with connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}", heard.methods) as session:
            sessions.append(session)
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b'{"jsonrpc":"2.0","method":"watch"%b}\n' % (b',"id":1' if is_call else b""))
                polling = Task(poll_to_the_end, session)
                until(waits)
                began = monotonic()
                if ends == "half":
                    sock.shutdown(socket.SHUT_WR)
                    session.wait_closed(5)
                else:
                    closing = Task(session.close, 10)
                    assert sock.recv(1) == b""
                    sock.close()
                    closing.result()
                assert monotonic() - began < prompt(1)
            polling.result()
        until(lambda: heard.notes)


def test_an_answer_that_lies_in_the_system_is_not_lost_by_a_send_that_fails() -> None:
    ours, peer = socket.socketpair()
    with ClientSession(sock=ours) as session:
        asked = session.send_request("answer")
        with peer:
            assert peer.recv(1000).endswith(b"\n")
            peer.sendall(b'{"jsonrpc":"2.0","id":0,"result":42}\n')
        session.notify("which finds out that the peer has gone")
        assert session._connected().link.is_lost
        assert asked.result(10) == 42
