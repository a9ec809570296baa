# SPDX-License-Identifier: MIT
"""Sessions of blocking code on connections in memory: all of them that sockets carry, and no descriptor is opened."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tieline.blocking
from tests.certificates import Certificates
from tests.rpc.blocking.peers import RawServer, Task, entries, followers, is_led, no_entries, until
from tieline import TLS, ClosedError, ConnectionLost, Limits, LocalProtocolError, Methods, RPCError, StreamTruncated
from tieline.blocking import ClientSession, MessageSession, ServerSession, SessionBase, connect
from tieline.clients import TCPNetworkClient
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer
from tieline.testing import BlockingMemoryNetwork, BlockingMemoryServer, MemorySocket, memory_sockets
from tieline.transports import Protocol

METHODS = Methods()


@METHODS.method
def add(a: Any, b: Any) -> Any:
    return a + b


@METHODS.method
def ask_back(session: ServerSession, method: str, args: list[object]) -> object:
    """Call the client while it waits for this."""
    return session.call(method, *args)


@pytest.fixture
def network() -> BlockingMemoryNetwork:
    return BlockingMemoryNetwork()


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_calls_both_ways_batches_and_notifications(network: BlockingMemoryNetwork) -> None:
    got: list[int] = []
    ours = Methods()
    ours.method(name="double")(lambda number: 2 * number)
    methods = Methods()
    methods.method(add)
    methods.method(ask_back)
    methods.method(name="take")(got.append)
    server = network.serve(methods)
    with server, connect(server.url, ours, proxy=network) as session:
        assert session.call("add", 1, 2) == 3
        assert session.call("add", "x" * 300_000, "y", timeout=30) == "x" * 300_000 + "y"
        assert session.call("ask_back", "double", [21]) == 42
        session.notify("take", 1)
        with session.batch() as batch:
            batch.add_request("take", [2])
            batch.add_request("add", [3, 4])
        assert batch.results == (None, 7)
        assert got == [1, 2]
        with pytest.raises(RPCError, match="unknown method"):
            session.call("nothing")
        assert session.remote_address() == ("memory", 1)
        assert (repr(network), repr(server)) == (
            "<BlockingMemoryNetwork of 1 servers>",
            "<BlockingMemoryServer at tcp://memory:1 with 1 sessions>",
        )
        assert no_entries(session), entries(session)
    assert server.sessions == ()
    assert repr(network) == "<BlockingMemoryNetwork of 0 servers>"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing to count descriptors by")
def test_no_descriptor_is_opened_by_calls_however_many_threads_wait(network: BlockingMemoryNetwork) -> None:
    threads, calls = 8, 250
    server = network.serve(METHODS)
    with server, connect(server.url, proxy=network) as session:
        session.call("add", 0, 0)
        before = fds()

        def work(number: int) -> list[int]:
            return [session.call("add", number, value) for value in range(calls)]

        tasks = [Task(work, number) for number in range(threads)]
        assert [task.result() for task in tasks] == [[n + value for value in range(calls)] for n in range(threads)]
        assert session.stats.messages_in == session.stats.messages_out == 1 + threads * calls
        assert fds() == before
        assert no_entries(session), entries(session)


def raw(session_of: Any = ClientSession, **settings: Any) -> tuple[Any, RawServer]:
    """Return a session that is connected, and the bare socket that it is connected to."""
    ours, theirs = memory_sockets()
    session = session_of(sock=ours, **settings)
    session.create_connection()
    return session, RawServer(theirs)


@pytest.mark.row("S13")
@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_from_another_thread_wakes_everybody(way: str) -> None:
    session, server = raw()
    with server.sock:
        tasks = [Task(session.call, "never", timeout=None) for _ in range(3)]
        tasks.append(Task(session.poll, None))
        until(lambda: is_led(session) and followers(session, 3))
        getattr(session, way)()
        assert [type(task.error()) for task in tasks[:-1]] == [ClosedError] * 3
        assert tasks[-1].error() is None
        assert [server.line()["method"] for _ in range(3)] == ["never"] * 3
        assert server.ended()
        session.wait_closed(10)
        server.close()


def test_deadlines_are_kept_whoever_reads() -> None:
    session, server = raw()
    with server.sock:
        for timeout in (0.01, 0.06):  # shorter and longer than one plain read
            with pytest.raises(TimeoutError):
                session.call("late", timeout=timeout)
        leader = Task(session.call, "leads", timeout=None)
        until(lambda: is_led(session))
        with pytest.raises(TimeoutError):
            session.call("late", timeout=0.01)
        assert [server.line()["method"] for _ in range(4)] == ["late", "late", "leads", "late"]
        server.send({"jsonrpc": "2.0", "id": 2, "result": "got it"})
        assert leader.result() == "got it"
        assert no_entries(session), entries(session)
        session.close()
        server.close()


@pytest.mark.parametrize(("way", "error"), [("reset", ConnectionLost), ("close", StreamTruncated)])
def test_what_became_of_the_peer_is_told(way: str, error: type[Exception]) -> None:
    session, server = raw()
    task = Task(session.call, "never", timeout=None)
    server.line()
    server.sock.sendall(b'{"cut')
    server._file.close()
    getattr(server.sock, way)()
    with pytest.raises(ConnectionLost) as seen:
        task.result()
    assert isinstance(seen.value.__cause__ or seen.value, error | ConnectionResetError)
    session.close()


def test_both_ends_may_send_more_than_there_is_room_for() -> None:
    """Trap 12: a sender reads while it waits."""
    size = 1_000_000
    ours, theirs = memory_sockets(capacity=1000)
    methods = Methods()
    methods.method(name="echo")(lambda value: value)
    with ClientSession(sock=ours, methods=methods) as session, ClientSession(sock=theirs, methods=methods) as other:
        tasks = [Task(one.call, "echo", "x" * size) for one in (session, other)]
        until(lambda: not any(task.thread.is_alive() for task in tasks) or (session.poll(0), other.poll(0), False)[2])
        assert [len(task.result()) for task in tasks] == [size, size]


def test_sessions_of_messages_packets_and_tls_go_over_it_too(certificates: Certificates) -> None:
    session, server = raw(MessageSession, limits=Limits(linger=0.05))
    session.send_message((b"ping", b"payload"))
    assert server.sock.recv(100)[4:8] == b"ping"
    session.close()
    server.close()

    ours, theirs = memory_sockets()
    with theirs, TCPNetworkClient(ours, StreamProtocol(JSONSerializer())) as client:
        client.send_packet({"a": 1})
        theirs.sendall(theirs.recv(100).replace(b"1", b"2"))
        assert client.recv_packet() == {"a": 2}
        assert client.get_remote_address()[:2] == ("memory", 2)

    ours, theirs = memory_sockets()
    tls = TLS(ca=certificates.ca)
    accepted = Task(_accept_tls, theirs, certificates.server)  # made here: one thread at a time may make them
    with ClientSession(sock=ours, ssl=tls, server_hostname="localhost") as secured:
        assert secured.call("anything") == "over TLS"
    accepted.result()


def _accept_tls(sock: MemorySocket, certificate: str) -> None:
    """Answer one call over TLS, by the standard library's own engine."""
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = TLS(certificate=certificate).server_context().wrap_bio(incoming, outgoing, server_side=True)

    def step(fn: Any, *args: Any) -> Any:
        while True:
            try:
                result = fn(*args)
                sock.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))

    with sock:
        step(engine.do_handshake)
        assert b'"anything"' in step(engine.read, 1000)
        step(engine.write, b'{"jsonrpc":"2.0","id":0,"result":"over TLS"}\n')
        try:
            step(engine.read, 1000)  # its goodbye, which the engine answers
        except ssl.SSLError:
            pass


def test_a_protocol_of_ones_own() -> None:
    told: list[bytes] = []

    class Keeps(Protocol):
        def data_received(self, data: bytes) -> None:
            told.append(data)

    ours, theirs = memory_sockets()
    transport, _ = tieline.blocking.create_connection(Keeps, sock=ours)
    theirs.sendall(b"hello")
    assert transport.poll(10)
    transport.write(b"answer")
    assert (told, theirs.recv(100)) == ([b"hello"], b"answer")
    transport.close()
    transport.wait_closed(10)
    assert theirs.recv(1) == b""
    theirs.close()


def test_who_is_there_and_who_is_not(network: BlockingMemoryNetwork) -> None:
    server = network.serve(METHODS, "there", 7)
    with pytest.raises(ConnectionRefusedError, match=r"nobody listens at there:7") as refused:
        connect(server.url, proxy=network).create_connection()
    with server:
        with pytest.raises(LocalProtocolError, match="listening already"), server:
            pass
        with pytest.raises(OSError, match=r"somebody listens at there:7") as taken, network.serve(METHODS, "there", 7):
            pass
        assert (refused.value.errno, taken.value.errno) == (errno.ECONNREFUSED, errno.EADDRINUSE)
        with connect(server.url, proxy=network) as session:
            assert session.call("add", 1, 2) == 3
            server.close()
            with pytest.raises(ConnectionLost):
                session.call("add", 1, 2)
        with pytest.raises(ConnectionRefusedError):
            network.create_connection(server.address)
        with pytest.raises(ConnectionRefusedError):  # one that was on its way when the server closed
            server.accept(memory_sockets()[0])
    with server, connect(server.url, proxy=network) as session:  # again
        assert session.call("add", 1, 2) == 3
    assert not [thread for thread in threading.enumerate() if "there:7" in thread.name]


@pytest.mark.skipif(sys.platform == "win32", reason="threads alone are looked at")
def test_a_session_that_leaves_is_forgotten(network: BlockingMemoryNetwork) -> None:
    with network.serve(METHODS) as server:
        for _ in range(3):
            with connect(server.url, proxy=network) as session:
                session.call("add", 1, 2)
        until(lambda: server.sessions == ())


def test_a_server_speaks_to_strangers_as_all_servers_do(network: BlockingMemoryNetwork) -> None:
    seen: list[ServerSession] = []
    methods = Methods()

    @methods.method
    def look(session: ServerSession) -> None:
        seen.append(session)

    with network.serve(methods) as server, network.create_connection(server.address) as sock:
        raw_server = RawServer(sock)
        raw_server.send({"foo": 1})  # no event here: it came from a stranger
        assert raw_server.line()["error"]["code"] == -32600
        raw_server.send({"jsonrpc": "2.0", "id": 1, "method": "look"})
        assert raw_server.line()["result"] is None
        (session,) = server.sessions
        assert seen == [session]
        assert isinstance(session, ServerSession)
        assert isinstance(session, SessionBase)
        assert session.limits == Limits().resolved(accepted=True)
        assert repr(session).startswith("<_MemoryServerSession memory:1 open")
        raw_server.close()
        until(lambda: server.sessions == ())


def test_what_a_server_cannot_use_is_refused_before_anybody_dials(network: BlockingMemoryNetwork) -> None:
    methods = Methods()

    @methods.method
    async def later() -> None: ...

    with pytest.raises(TypeError, match="'later' is async"):
        network.serve(methods)
    with pytest.raises(TypeError, match="ssl"):
        network.serve(METHODS, ssl=True)


@pytest.fixture
def session_threads(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return a list of what is to be called before the thread of a session starts."""
    before: list[Callable[[], None]] = []
    start = threading.Thread.start

    def watched(thread: threading.Thread) -> None:
        if thread.name.startswith("session at"):
            for fn in before:
                fn()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", watched)
    return before


def test_a_server_may_close_while_somebody_dials(
    network: BlockingMemoryNetwork, session_threads: list[Callable[[], None]]
) -> None:
    server = network.serve(METHODS)
    closing: list[Task] = []

    def close() -> None:
        closing.append(Task(server.close))
        # It has begun; it must not get to the thread that has not.
        until(lambda: not closing[0].thread.is_alive() or (repr(network).endswith(" 0 servers>") and in_lock(server)))

    session_threads.append(close)
    with server, connect(server.url, proxy=network) as session:
        closing[0].result()
        assert server.sessions == ()
        with pytest.raises(ConnectionLost):
            session.call("add", 1, 2)


def in_lock(server: BlockingMemoryServer) -> bool:
    return server._lock.locked()


def test_a_thread_that_cannot_start_leaves_nothing_behind(
    network: BlockingMemoryNetwork, session_threads: list[Callable[[], None]]
) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    with network.serve(METHODS) as server:
        session_threads.append(fail)
        with pytest.raises(RuntimeError, match="can't start"):
            connect(server.url, proxy=network).create_connection()
        assert server.sessions == ()
        session_threads.clear()
        with connect(server.url, proxy=network) as session:
            assert session.call("add", 1, 2) == 3
