# SPDX-License-Identifier: MIT
"""What a server may do to a blocking client: each call ends once and with a clear error, and nothing is left behind."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import time
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import RawServer, Task, entries, for_ever, no_entries, raw_pair
from tieline import (
    TLS,
    ConnectionLost,
    Limits,
    MessageTooLarge,
    Methods,
    RemoteProtocolError,
    RPCError,
    StreamReset,
    StreamTruncated,
    TielineError,
)
from tieline.blocking import ClientSession, connect
from tieline.errors import EndOfStream


def ask(session: ClientSession, server: RawServer, answer: bytes, **settings: Any) -> Any:
    """Call, and have the server type *answer*."""
    request = session.send_request("ask", **settings)
    server.line()
    task = Task(server.sock.sendall, answer)
    try:
        return request.result()
    finally:
        task.error()


ANSWERS: list[Any] = [
    pytest.param(b'{"jsonrpc":"2.0","id":0}\n', RemoteProtocolError, id="neither result nor error"),
    pytest.param(b'{"jsonrpc":"2.0","id":0,"error":{"code":"x"}}\n', RemoteProtocolError, id="error of a wrong shape"),
    pytest.param(b'{"jsonrpc":"2.0","id":0,"error":{"code":5,"message":"no"}}\n', RPCError, id="an error"),
    pytest.param(b'{"jsonrpc":"2.0","id":0,"result":' + b"[" * 500 + b"]" * 500 + b"}\n", TielineError, id="nested"),
]


@pytest.mark.row("H33", "H35", "H19")
@pytest.mark.parametrize(("answer", "error"), ANSWERS)
def test_an_answer_that_is_none_fails_its_call(answer: bytes, error: type[Exception]) -> None:
    with raw_pair(limits=Limits(max_nesting=128)) as (session, server):
        with pytest.raises((error, TimeoutError)):
            ask(session, server, answer, timeout=0.2)
        task = Task(server.answer, "usable")
        assert session.call("next") == "usable"
        task.result()
        assert no_entries(session), entries(session)


@pytest.mark.row("H1", "H32", "H34")
def test_an_answer_in_single_bytes_behind_others_that_are_not_ours() -> None:
    with raw_pair() as (session, server):
        request = session.send_request("ask")
        server.line()
        others = b'{"jsonrpc":"2.0","id":7,"result":1}\n{"jsonrpc":"2.0","id":"0","result":1}\n'
        data = others + '{"jsonrpc":"2.0","id":0,"result":"ä"}\n'.encode()

        def trickle() -> None:
            for index in range(len(data)):
                server.sock.send(data[index : index + 1])

        task = Task(trickle)
        assert request.result() == "ä"
        task.result()


@pytest.mark.row("H10")
@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe" * 500, b"\0" * 500 + b"\n", b"nonsense\n" * 1000], ids=["binary", "zeros", "lines"]
)
def test_garbage_ends_the_session_or_harms_nobody(garbage: bytes) -> None:
    with raw_pair(limits=Limits(linger=0.05)) as (session, server):
        with pytest.raises((TielineError, TimeoutError)):
            ask(session, server, garbage, timeout=0.2)
        if session.is_closing():
            session.wait_closed(10)
            with pytest.raises(ConnectionLost):
                session.call("next")
        assert entries(session)["open calls"] == 0


@pytest.mark.row("H3", "H4")
def test_a_message_without_end_ends_the_session_at_the_limit() -> None:
    with raw_pair(limits=Limits(max_message=1_000_000, linger=0.05)) as (session, server):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def flood() -> int:
            sent = 0
            try:
                while sent < 100_000_000:
                    sent += server.sock.send(b"x" * 1_000_000)
            except OSError:
                pass
            return sent

        task = Task(flood)
        with pytest.raises(ConnectionLost) as caught:
            session.call("ask")
        assert isinstance(caught.value.__cause__, MessageTooLarge) or isinstance(session.close_reason, MessageTooLarge)
        session.close()
        task.result()
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 24 * 1024:
            pytest.fail("it kept what it did not read")


@pytest.mark.row("H8")
@pytest.mark.parametrize("end", ["close", "reset"])
def test_half_an_answer_and_then_the_end(end: str) -> None:
    with raw_pair() as (session, server):
        request = session.send_request("ask")
        server.line()
        server.sock.sendall(b'{"jsonrpc":"2.0","id":0,"resu')
        getattr(server, end)()
        with pytest.raises(ConnectionLost) as caught:
            request.result()
        reason = session.close_reason
        assert isinstance(reason, StreamTruncated | StreamReset)
        assert caught.value is reason or caught.value.__cause__ is reason
        assert no_entries(session), entries(session)


@pytest.mark.row("H45", "H46", "H47")
def test_a_server_that_asks_without_end_is_answered_in_order_and_bounded() -> None:
    methods = Methods()
    seen: list[int] = []
    most = 0

    @methods.method
    def take(value: int) -> int:
        nonlocal most
        seen.append(value)
        assert session._engine is not None
        most = max(most, len(session._engine.host.jobs))
        return value

    count = 20_000
    with raw_pair(methods, limits=Limits(max_pending=64)) as (session, server):

        def flood() -> None:
            lines = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "take", "params": [n]}) for n in range(count)]
            server.sock.sendall(("\n".join(lines) + "\n").encode())

        def listen() -> list[int]:
            return [server.line()["result"] for _ in range(count)]

        flooding, listening = Task(flood), Task(listen)
        while len(seen) < count:
            session.poll(10)
        while listening.thread.is_alive():
            session.poll(0.01)
        flooding.result()
        assert listening.result() == list(range(count)) == seen
        assert most <= 64 + 1024
        assert no_entries(session), entries(session)


@pytest.mark.row("H45")
def test_a_server_that_asks_for_much_and_reads_nothing_is_cut() -> None:
    methods = Methods()
    methods.method(name="much")(lambda: "x" * 100_000)
    with raw_pair(methods, limits=Limits(write_timeout=0.3)) as (session, server):
        for number in range(400):
            server.send({"jsonrpc": "2.0", "id": number, "method": "much"})
        began = time.monotonic()

        def poll() -> None:
            session.poll(1)
            assert session._engine is not None
            if not session._engine.link.is_lost:
                assert session._engine.link.transport.get_write_buffer_size() < 70 * 100_000

        with pytest.raises(ConnectionLost):
            for_ever(poll)
        assert time.monotonic() - began < 10
        assert "took no byte" in str(session.close_reason)


@pytest.mark.row("H49", "H62")
def test_a_reset_while_a_write_is_blocked_is_told_at_once() -> None:
    with raw_pair() as (session, server):
        data = "x" * 1_000_000

        def flood() -> None:
            while True:
                session.notify("note", data)

        task = Task(flood)
        server.sock.recv(1000)
        server.reset()
        began = time.monotonic()
        assert isinstance(task.error(), ConnectionLost)
        assert time.monotonic() - began < 2
        assert no_entries(session), entries(session)


@pytest.mark.row("H41", "H42", "H43")
def test_batches_of_a_server_are_answered_too() -> None:
    methods = Methods()
    methods.method(name="echo")(lambda value: value)
    with raw_pair(methods) as (session, server):
        calls = [{"jsonrpc": "2.0", "id": number, "method": "echo", "params": [number]} for number in range(3)]
        server.send(calls, [])
        answers: list[Any] = []
        while session.stats.messages_out < 2:
            session.poll(10)
        answers = [server.line(), server.line()]
        # The empty one is refused as it is read, before the handlers of the other have run.
        assert {"code", "message"} <= answers[0]["error"].keys()
        assert [(one["id"], one["result"]) for one in answers[1]] == [(0, 0), (1, 1), (2, 2)]


def test_a_server_that_speaks_another_protocol_is_left() -> None:
    with raw_pair() as (session, server), pytest.raises((ConnectionLost, TimeoutError)):
        ask(session, server, b"HTTP/1.1 400 Bad Request\r\n\r\n", timeout=1)


def test_a_server_that_ends_its_side_still_gets_its_answers() -> None:
    methods = Methods()
    methods.method(name="echo")(lambda value: value)
    with raw_pair(methods) as (session, server):
        server.send({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": ["last"]})
        server.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionLost):
            for_ever(session.poll, 1)
        assert server.line()["result"] == "last"
        assert server.ended()


@pytest.mark.row("H9", "D6")
def test_over_tls_a_server_that_ends_its_side_gets_none_and_nobody_hangs(certificates: Certificates) -> None:
    """Trap 15: TLS is not half-closed, whatever the session would like."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    seen: list[object] = []
    methods = Methods()
    methods.method(name="echo")(seen.append)

    def serve(listener: socket.socket) -> bytes:
        sock, _ = listener.accept()
        sock.settimeout(10)
        with context.wrap_socket(sock, server_side=True) as peer:
            peer.sendall(b'{"jsonrpc":"2.0","id":1,"method":"echo","params":["last"]}\n')
            peer.unwrap()
            return sock.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = Task(serve, listener)
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
        with connect(url, methods, tls=TLS(ca=certificates.ca)) as session:
            with pytest.raises(ConnectionLost):
                for_ever(session.poll, 10)
            assert isinstance(session.close_reason, EndOfStream)
            assert no_entries(session), entries(session)
        task.error()
    assert seen in ([], ["last"])
