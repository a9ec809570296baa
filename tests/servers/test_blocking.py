# SPDX-License-Identifier: MIT
"""Packet servers for blocking code, against our own blocking clients and bare sockets."""

from __future__ import annotations

import errno
import gc
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline.blocking
from tests.certificates import Certificates
from tests.rpc.blocking.peers import until
from tests.servers.scene import ANY, DATAGRAMS, LINES, address_of
from tieline import TLS, Limits
from tieline.clients import TCPNetworkClient, UnixDatagramClient, UnixStreamClient
from tieline.clients.abc import AbstractNetworkClient
from tieline.errors import BusyResourceError, ClientClosedError, EndOfStream, LocalProtocolError, SendTimeout
from tieline.servers import TCPNetworkServer, UDPNetworkServer, UnixDatagramServer, UnixStreamServer
from tieline.servers.pooled import PooledPeer, PooledUnixStreamClient
from tieline.socket import SocketAncillary

PATIENCE = 30


def echo(client: Any) -> None:
    for packet in client:
        client.send_packet(packet)


def answer(packet: Any, peer: Any) -> None:
    peer.send_packet(packet)


def asker(server: Any) -> socket.socket:
    """Return a bare socket of datagrams that is connected to a server."""
    address = address_of(server)
    sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    if not isinstance(address, tuple):
        sock.bind(f"{address}-peer")
    sock.connect(address)
    return sock


def ask(server: Any, packet: str = "x") -> Any:
    client: TCPNetworkClient[str]
    with TCPNetworkClient(address_of(server), LINES) as client:
        client.send_packet(packet)
        return client.recv_packet(timeout=PATIENCE)


async def one_packet(client: Any) -> None:
    await client.recv_packet()


# --- construction ----------------------------------------------------------------------------------------------------


async def two(_packet: object, peer: object) -> None: ...


async def asking(_client: object) -> Any:
    """Do as handlers of other libraries."""
    yield


def asking_plainly(_client: object) -> Any:
    yield


WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ((None, ANY, LINES), {}, TypeError, "handler must be a function"),
    ((lambda _packet, peer: peer, ANY, LINES), {}, TypeError, "handler is called with the client, and missing a req"),
    ((two, ANY, LINES), {}, TypeError, "handler is called with the client, and missing a required argument: 'peer'"),
    ((asking, ANY, LINES), {}, TypeError, "handler must not be a generator: .* by a loop over that"),
    ((asking_plainly, ANY, LINES), {}, TypeError, "handler must not be a generator"),
    ((contextmanager(asking_plainly), ANY, LINES), {}, TypeError, "handler must not be a generator"),
    ((echo, ANY, DATAGRAMS), {}, TypeError, "protocol must be a StreamProtocol"),
    ((echo, ANY, LINES), {"workers": 0}, ValueError, "workers must be 1 or more, not 0"),
    ((echo, ANY, LINES), {"workers": "4"}, TypeError, "workers must be an int, not str"),
    ((echo, ANY, LINES), {"workers": 1.5}, TypeError, "workers must be an int, not float"),
    ((echo, ANY, LINES), {"ssl": True}, ValueError, "certificate"),
    ((echo, 5, LINES), {}, TypeError, "takes .host, port."),
]


@pytest.mark.parametrize(("args", "settings", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_told_before_any_io(
    args: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        TCPNetworkServer(*args, **settings)


def test_what_cannot_be_listened_on_is_told_and_leaves_no_thread() -> None:
    with TCPNetworkServer(one_packet, ANY, LINES) as server:
        before = threading.enumerate()
        address = address_of(server)
        other = TCPNetworkServer(one_packet, address, LINES)
        for _ in range(2):  # it may be tried again
            with pytest.raises(OSError, match="in use"):
                other.listen()
            assert threading.enumerate() == before
        assert not other.is_serving()
    other.close()
    with TCPNetworkServer(one_packet, address, LINES), pytest.raises(OSError, match="in use"):
        other.listen()
    serving = threading.Thread(target=other.serve_forever, daemon=True)
    serving.start()  # where nothing has come of the last attempt this is the next one
    until(other.is_serving)
    other.shutdown()
    serving.join(PATIENCE)
    assert not serving.is_alive()


# --- serving ---------------------------------------------------------------------------------------------------------


def test_packets_go_both_ways_over_tcp() -> None:
    with TCPNetworkServer(echo, ANY, LINES) as server:
        assert repr(server).startswith("<TCPNetworkServer tcp://127.0.0.1:")
        assert server.is_serving()
        assert server.url.startswith("tcp://127.0.0.1:")
        assert ask(server) == "x"
    assert not server.is_serving()
    assert server.get_addresses() == ()


def test_packets_go_both_ways_over_tls(certificates: Certificates) -> None:
    client: TCPNetworkClient[str]
    with (
        TCPNetworkServer(echo, ANY, LINES, ssl=TLS(certificate=certificates.server)) as server,
        TCPNetworkClient(address_of(server), LINES, ssl=TLS(ca=certificates.ca)) as client,
    ):
        client.send_packet("x")
        assert client.recv_packet(timeout=PATIENCE) == "x"


def test_packets_go_both_ways_over_unix_sockets(tmp_path: Path) -> None:
    seen: list[Any] = []

    def handler(client: Any) -> None:
        seen.append(client.get_peer_credentials())
        echo(client)

    client: UnixStreamClient[str]
    with (
        UnixStreamServer(handler, tmp_path / "socket", LINES) as server,
        UnixStreamClient(address_of(server), LINES) as client,
    ):
        client.send_packet("x")
        assert client.recv_packet(timeout=PATIENCE) == "x"
    assert len(seen) == 1


@pytest.mark.row("K19")
def test_descriptors_and_credentials_go_both_ways(tmp_path: Path) -> None:
    def handler(client: PooledUnixStreamClient[str]) -> None:
        received, sent = SocketAncillary(), SocketAncillary()
        with pytest.raises(ValueError, match="needs ancillary_data"):
            client.recv_packet(ancillary_bufsize=100)
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=0, ancillary_data=received)
        client.send_packet("ready")
        packet = client.recv_packet(ancillary_data=received, timeout=PATIENCE)
        fds = list(received.iter_fds())
        sent.add_fds(fds)
        client.send_packets(["several", "before"])
        client.send_packet(packet, ancillary_data=sent)
        client.send_packet("behind")
        for fd in fds:
            os.close(fd)
        assert client.recv_packet() == "done"  # plainly, all the same
        client.send_packet("bye")

    with UnixStreamServer(handler, tmp_path / "socket", LINES) as server:
        client: UnixStreamClient[str]
        with UnixStreamClient(address_of(server), LINES) as client:
            sent, received = SocketAncillary(), SocketAncillary()
            assert client.recv_packet(timeout=PATIENCE, ancillary_data=received) == "ready"
            reading, writing = os.pipe()
            sent.add_fds([writing])
            client.send_packet("take this", ancillary_data=sent)
            os.close(writing)
            seen = [client.recv_packet(timeout=PATIENCE, ancillary_data=received) for _ in range(4)]
            assert seen == ["several", "before", "take this", "behind"]
            (back,) = received.iter_fds()
            os.write(back, b"by way of the server")
            os.close(back)
            assert os.read(reading, 100) == b"by way of the server"
            os.close(reading)
            client.send_packet("done")
            assert client.recv_packet(timeout=PATIENCE) == "bye"


@pytest.mark.row("K19", "K15")
def test_who_wants_what_goes_beside_is_the_only_one_who_receives(tmp_path: Path) -> None:
    seen: list[Any] = []
    in_line = threading.Event()

    def handler(client: PooledUnixStreamClient[str]) -> None:
        seen.append(client.recv_packet())
        plain = threading.Thread(target=lambda: seen.append(client.recv_packet()))
        plain.start()
        while not client._connection.receivers:
            in_line.wait(0.001)
        with pytest.raises(BusyResourceError):
            client.recv_packet(ancillary_data=SocketAncillary())
        client.send_packet("busy")
        plain.join()
        either: list[dict[str, Any]] = [{}, {"ancillary_data": SocketAncillary()}]
        for settings in either:  # what was received plainly is no hindrance
            with pytest.raises(TimeoutError):
                client.recv_packet(timeout=0, **settings)
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.send_packet("x", timeout=-1, **settings)
        with pytest.raises(OSError, match=r"too long|fit") as caught:
            client.send_packet("too much", ancillary_data=too_much(client))
        seen.append(caught.value.errno)

    def too_much(client: PooledUnixStreamClient[str]) -> SocketAncillary:
        ancillary = SocketAncillary()
        ancillary.add_fds([client.fileno()] * 1000)
        return ancillary

    client: UnixStreamClient[str]
    with (
        UnixStreamServer(handler, tmp_path / "socket", LINES) as server,
        UnixStreamClient(address_of(server), LINES) as client,
    ):
        client.send_packet("first")
        assert client.recv_packet(timeout=PATIENCE) == "busy"
        client.send_packet("second")
        with pytest.raises(EndOfStream):
            client.recv_packet(timeout=PATIENCE)
    assert seen == ["first", "second", errno.EMSGSIZE]


@pytest.mark.row("K19")
def test_descriptors_go_beside_datagrams_both_ways(tmp_path: Path) -> None:
    def handler(packet: Any, peer: PooledPeer[Any]) -> None:
        received, sent = peer.ancillary_data, SocketAncillary()
        assert received is not None
        fds = list(received.iter_fds())
        sent.add_fds(fds)
        peer.send_packet(packet, ancillary_data=sent)
        for fd in fds:
            os.close(fd)

    reading, writing = os.pipe()
    client: UnixDatagramClient[Any]
    with (
        UnixDatagramServer(handler, tmp_path / "socket", DATAGRAMS, ancillary_bufsize=1000) as server,
        UnixDatagramClient(address_of(server), DATAGRAMS) as client,
    ):
        sent, back = SocketAncillary(), SocketAncillary()
        sent.add_fds([writing])
        client.send_packet("with it", ancillary_data=sent)
        os.close(writing)
        assert client.recv_packet(timeout=PATIENCE, ancillary_data=back) == "with it"
        (fd,) = back.iter_fds()
        os.write(fd, b"by way of the server")
        os.close(fd)
        assert os.read(reading, 100) == b"by way of the server"
    os.close(reading)


def test_datagrams_are_answered(tmp_path: Path) -> None:
    servers: list[Any] = [
        UDPNetworkServer(answer, ANY, DATAGRAMS),
        UnixDatagramServer(answer, tmp_path / "socket", DATAGRAMS),
    ]
    for server in servers:
        with server, asker(server) as peer:
            for number in range(5):
                peer.send(b"%d" % number)
                assert peer.recv(100) == b"%d" % number


def test_servers_count_what_async_ones_do() -> None:
    seen: list[int] = []

    def handler(packet: Any, peer: Any) -> None:
        seen.append(server.peers)
        peer.send_packet(packet)

    with UDPNetworkServer(handler, ANY, DATAGRAMS) as server, asker(server) as peer:
        for data in (b"{", b"1"):
            peer.send(data)
        assert peer.recv(100) == b"1"
        assert (server.received, server.dropped, server.faulty) == (2, 0, 1)
        assert seen == [1]
    with TCPNetworkServer(echo, ANY, LINES) as streams, TCPNetworkClient[str](address_of(streams), LINES) as client:
        client.send_packet("1")
        assert client.recv_packet(timeout=PATIENCE) == "1"
        assert streams.connections == 1


def test_handlers_of_several_connections_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def handler(client: Any) -> None:
        client.recv_packet()
        both.wait()
        client.send_packet("together")

    client: TCPNetworkClient[str]
    with TCPNetworkServer(handler, ANY, LINES) as server:
        clients = [TCPNetworkClient[str](address_of(server), LINES) for _ in range(2)]
        for client in clients:
            client.send_packet("x")
        assert [client.recv_packet(timeout=PATIENCE) for client in clients] == ["together"] * 2
        for client in clients:
            client.close()


def test_an_async_handler_runs_in_the_private_thread() -> None:
    async def handler(client: Any) -> None:
        async for _packet in client:
            await client.send_packet(threading.current_thread().name)

    with TCPNetworkServer(handler, ANY, LINES) as server:
        assert ask(server) == "tieline server"


@pytest.mark.parametrize("kind", [UDPNetworkServer, UnixDatagramServer])
def test_handlers_have_a_time_where_they_can_be_cancelled(kind: type[Any], tmp_path: Path) -> None:
    where = ANY if kind is UDPNetworkServer else tmp_path / "socket"
    limits = Limits(handler_timeout=7)
    assert kind(answer, where, DATAGRAMS, limits=limits).limits.handler_timeout is None
    assert kind(two, where, DATAGRAMS, limits=limits).limits.handler_timeout == 7


def test_what_a_handler_gets_is_a_blocking_packet_client() -> None:
    done = threading.Event()
    failed: list[BaseException] = []

    def check(client: Any) -> None:
        kind: type[Any] = AbstractNetworkClient
        assert isinstance(client, kind)
        assert not client.is_closed()
        assert client.fileno() >= 0
        assert client.socket is client.socket
        assert client.get_local_address() != client.get_remote_address()
        assert client.get_extra_info("peername") == client.get_remote_address()
        host, port = client.get_remote_address()[:2]
        assert repr(client) == f"<PooledTCPClient {host}:{port} connected>"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(client)
        with pytest.raises(TimeoutError) as caught:
            client.recv_packet(timeout=0)
        assert caught.value.errno == errno.ETIMEDOUT
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.recv_packet(timeout=wrong)
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.recv_packets(timeout=wrong)
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.send_packet("x", timeout=wrong)
        client.send_packets(["a", "b"])
        assert client.recv_packets(timeout=PATIENCE) == ["c"]
        with pytest.raises(RuntimeError) as told:
            client.send_packet(5)
        assert told.value.__cause__ is not None
        client.send_eof()
        with pytest.raises(EndOfStream):
            client.recv_packet(timeout=PATIENCE)
        assert list(client) == []
        client.close()
        client.close()
        assert client.is_closed()
        assert client.fileno() == -1
        with pytest.raises(ClientClosedError):
            client.recv_packet()

    def handler(client: Any) -> None:
        try:
            check(client)
        except BaseException as exc:
            failed.append(exc)
        finally:
            done.set()

    client: TCPNetworkClient[str]
    with TCPNetworkServer(handler, ANY, LINES) as server, TCPNetworkClient(address_of(server), LINES) as client:
        assert client.recv_packet(timeout=PATIENCE) == "a"
        assert client.recv_packet(timeout=PATIENCE) == "b"
        client.send_packet("c")
        client.send_eof()
        assert done.wait(PATIENCE)
    if failed:
        raise failed[0]


@pytest.mark.row("K13")
def test_a_send_that_finds_no_room_in_time_has_sent_nothing() -> None:
    seen: list[SendTimeout] = []
    done = threading.Event()

    def handler(client: Any) -> None:
        try:
            while True:
                client.send_packet("x" * 100_000, timeout=0.05)
        except SendTimeout as exc:
            seen.append(exc)
        finally:
            client.abort()
            done.set()

    with TCPNetworkServer(handler, ANY, LINES) as server, TCPNetworkClient[str](address_of(server), LINES):
        assert done.wait(PATIENCE)
    assert not seen[0].sent


def test_a_handler_that_fails_hurts_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    def handler(client: Any) -> None:
        for packet in client:
            if packet == "fail":
                raise ValueError("it failed")
            client.send_packet(packet)

    one: TCPNetworkClient[str]
    with TCPNetworkServer(handler, ANY, LINES) as server, TCPNetworkClient(address_of(server), LINES) as one:
        one.send_packet("fail")
        with pytest.raises(EndOfStream):
            one.recv_packet(timeout=PATIENCE)
        assert ask(server) == "x"
    assert "it failed" in caplog.text
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@pytest.mark.row("H58")
@pytest.mark.parametrize("error", [GeneratorExit, type("OfItsOwn", (BaseException,), {})])
def test_a_plain_handler_ends_no_more_than_its_call(error: Any, caplog: pytest.LogCaptureFixture) -> None:
    def handler(client: Any) -> None:
        packet = client.recv_packet()
        if packet == "end":
            raise error
        client.send_packet(packet)

    one: TCPNetworkClient[str]
    with TCPNetworkServer(handler, ANY, LINES) as server:
        with TCPNetworkClient(address_of(server), LINES) as one:
            one.send_packet("end")
            with pytest.raises(EndOfStream):
                one.recv_packet(timeout=PATIENCE)
        assert ask(server) == "x"
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert f"a handler raised {error.__name__}" in caplog.text
    assert record.name == "tieline.TCPNetworkServer"


@pytest.mark.parametrize("function", [one_packet, asking, asking_plainly])
def test_what_a_plain_handler_only_makes_and_does_not_do_is_told(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(client: Any) -> Any:
        return function(client)

    one: TCPNetworkClient[str]
    with TCPNetworkServer(handler, ANY, LINES) as server:
        one = TCPNetworkClient(address_of(server), LINES)
        with one, pytest.raises(EndOfStream):
            one.recv_packet(timeout=PATIENCE)
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert "the handler returned a" in str(record.exc_info[1])


def test_packets_of_one_peer_are_handled_in_turn_however_long_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    at_work: list[int] = []
    most, go_on, seen = [0], threading.Event(), threading.Semaphore(0)

    def handler(packet: int, _peer: Any) -> None:
        at_work.append(packet)
        most[0] = max(most[0], len(at_work))
        seen.release()
        assert go_on.wait(PATIENCE)
        at_work.remove(packet)

    with UDPNetworkServer(handler, ANY, DATAGRAMS, limits=Limits(handler_timeout=0.02)) as server:
        assert server.limits.handler_timeout is None
        with asker(server) as one, asker(server) as other:
            for packet in (b"1", b"2"):
                one.send(packet)
            assert seen.acquire(timeout=PATIENCE)
            assert not seen.acquire(timeout=0.2)  # many times what an async handler would have
            other.send(b"3")
            assert seen.acquire(timeout=PATIENCE)
            assert most == [2]
            go_on.set()
            assert seen.acquire(timeout=PATIENCE)
    assert most == [2]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_nothing_is_received_behind_an_abort() -> None:
    seen: list[Any] = []
    done = threading.Event()

    def handler(client: Any) -> None:
        client.recv_packet()
        while len(client._connection.machine.received) < 60:  # decoded ahead
            threading.Event().wait(0.001)
        client.abort()
        try:
            seen.append(client.recv_packet())
        except ClientClosedError:
            seen.extend(client)
        done.set()

    with TCPNetworkServer(handler, ANY, LINES) as server, socket.create_connection(address_of(server)) as peer:
        peer.sendall(b"x\n" * 1000)
        assert done.wait(PATIENCE)
    assert seen == []


def test_more_connections_than_workers_wait_for_their_turn() -> None:
    with TCPNetworkServer(echo, ANY, LINES, workers=1) as server:
        first, second = (TCPNetworkClient[str](address_of(server), LINES) for _ in range(2))
        with first, second:
            first.send_packet("1")
            assert first.recv_packet(timeout=PATIENCE) == "1"
            second.send_packet("2")
            with pytest.raises(TimeoutError):
                second.recv_packet(timeout=0.05)
            first.close()
            assert second.recv_packet(timeout=PATIENCE) == "2"


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("H55")
def test_a_shutdown_lets_handlers_finish_what_they_are_at() -> None:
    at_work, goes_on = threading.Event(), threading.Event()

    def handler(client: Any) -> None:
        for packet in client:
            at_work.set()
            goes_on.wait(PATIENCE)
            client.send_packet(packet)

    server: Any = TCPNetworkServer(handler, ANY, LINES)
    client: TCPNetworkClient[str]
    with server, TCPNetworkClient(address_of(server), LINES) as client:
        client.send_packet("x")
        assert at_work.wait(PATIENCE)
        down = threading.Thread(target=server.shutdown)
        down.start()
        goes_on.set()
        assert client.recv_packet(timeout=PATIENCE) == "x"
        with pytest.raises(ConnectionError):
            client.recv_packet(timeout=PATIENCE)
        client.close()  # else it is waited for
        down.join(PATIENCE)
        assert not down.is_alive()


def test_a_handler_that_outlives_the_server_is_told() -> None:
    at_work, goes_on, done = threading.Event(), threading.Event(), threading.Event()
    seen: list[Exception] = []

    def handler(client: Any) -> None:
        at_work.set()
        goes_on.wait(PATIENCE)
        for call in (client.recv_packet, lambda: client.send_packet("x")):
            try:
                call()
            except ClientClosedError as exc:
                seen.append(exc)
        client.close()
        client.abort()
        done.set()

    server = TCPNetworkServer(handler, ANY, LINES)
    with server, TCPNetworkClient[str](address_of(server), LINES):
        assert at_work.wait(PATIENCE)
        server.shutdown(0)
        goes_on.set()
        assert done.wait(PATIENCE)
    assert len(seen) == 2


def test_a_peer_of_datagrams_that_outlives_the_server_is_told() -> None:
    peers: list[Any] = []
    with (
        UDPNetworkServer(lambda _packet, peer: peers.append(peer), ANY, DATAGRAMS) as server,
        asker(server) as sock,
        asker(server) as other,
    ):
        for count, sender in enumerate([sock, other, sock], 1):
            sender.send(b'"x"')
            until(lambda: len(peers) == count)  # noqa: B023  # it is over when the loop goes on
        server.close()
        until(lambda: peers[0]._peer._service.is_over)
        with pytest.raises(ClientClosedError):
            peers[0].send_packet("late")
    one, another, one_again = peers
    assert one == one_again
    assert hash(one) == hash(one_again)
    assert one != another
    assert one != one.address
    with pytest.raises(ClientClosedError):
        one.send_packet("late")


def test_a_server_that_listens_again_does_not_wait_for_what_was_left_to_itself() -> None:
    at_work, goes_on = threading.Event(), threading.Event()

    def handler(packet: Any, peer: Any) -> None:
        if packet == "slow":
            at_work.set()
            goes_on.wait(PATIENCE)
        else:
            peer.send_packet(packet)

    server = UDPNetworkServer(handler, ANY, DATAGRAMS, limits=Limits(max_peers=1))
    try:
        with server, asker(server) as peer:
            peer.send(b'"slow"')
            assert at_work.wait(PATIENCE)
            server.shutdown(0.02)
        with server, asker(server) as peer:
            assert "0 peers at work" in repr(server)
            peer.send(b'"x"')
            assert peer.recv(100) == b'"x"'
            server.shutdown(None)
    finally:
        goes_on.set()


@pytest.mark.parametrize("has_listened", [True, False])
def test_serve_forever_ends_when_another_thread_closes_or_shuts_down(has_listened: bool) -> None:
    for end in ("close", "shutdown"):
        server = TCPNetworkServer(echo, ANY, LINES)
        if has_listened:
            server.listen()
            with pytest.raises(LocalProtocolError, match="listening already"):
                server.listen()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        until(server.is_serving)
        assert ask(server) == "x"
        getattr(server, end)()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        server.shutdown()


@pytest.mark.parametrize("end", ["close", "shutdown"])
@pytest.mark.parametrize("has_listened", [True, False])
def test_serve_forever_ends_at_once_behind_the_end(end: str, has_listened: bool) -> None:
    server = TCPNetworkServer(echo, ANY, LINES)
    if has_listened:
        server.listen()
    getattr(server, end)()
    for _ in range(2):
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        server.shutdown()
    with server:  # it may listen anew
        assert ask(server) == "x"


@pytest.mark.row("H58")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ["streams", "datagrams"])
def test_what_ends_the_program_comes_out_of_the_server(error: type[BaseException], kind: str) -> None:
    def end_streams(client: Any) -> None:
        client.recv_packet()
        raise error

    def end_datagrams(_packet: Any, _peer: Any) -> None:
        raise error

    server: Any
    if kind == "streams":
        server = TCPNetworkServer(end_streams, ANY, LINES)
    else:
        server = UDPNetworkServer(end_datagrams, ANY, DATAGRAMS)
    with server, socket.socket(type=socket.SOCK_STREAM if kind == "streams" else socket.SOCK_DGRAM) as sock:
        sock.connect(address_of(server))
        sock.send(b"x\n" if kind == "streams" else DATAGRAMS.make_datagram("x"))
        with pytest.raises(error):
            server.serve_forever()
        assert server.is_serving()
    assert not server.is_serving()


@pytest.mark.row("H58")
def test_what_ends_the_program_comes_out_of_the_end_of_a_server_that_nobody_has_wait() -> None:
    def end(_packet: Any, _peer: Any) -> None:
        raise SystemExit

    server = UDPNetworkServer(end, ANY, DATAGRAMS)
    server.listen()
    thread: Any = server._thread
    with asker(server) as sock:
        sock.send(b'"x"')
        until(lambda: thread._ending)
    with pytest.raises(SystemExit):
        server.shutdown()
    assert not server.is_serving()


PROGRAM = """
import signal, threading, time
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer
from tieline.servers import TCPNetworkServer

def handle(client):
    for packet in client:
        client.send_packet(packet)

def tell():  # the port, once a signal finds its handler
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.001)
    print(server.get_addresses()[0].port, flush=True)

with TCPNetworkServer(handle, ("127.0.0.1", 0), StreamProtocol(StringLineSerializer())) as server:
    threading.Thread(target=tell).start()
    server.serve_forever()
print("in order", flush=True)
"""


@pytest.mark.row("H55")
def test_a_program_that_serves_ends_in_order_at_sigterm() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline())
        client: TCPNetworkClient[str]
        with TCPNetworkClient(("127.0.0.1", port), LINES) as client:
            client.send_packet("x")
            assert client.recv_packet(timeout=PATIENCE) == "x"
            program.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionError):
                client.recv_packet(timeout=PATIENCE)
        assert program.stdout.readline() == "in order\n"
        assert program.wait(PATIENCE) == 0


# --- serve -----------------------------------------------------------------------------------------------------------

KINDS: list[tuple[str, type[Any]]] = [
    ("tcp://127.0.0.1:0", TCPNetworkServer),
    ("unix:{}/socket", UnixStreamServer),
    ("udp://127.0.0.1:0", UDPNetworkServer),
    ("unix-dgram:{}/socket", UnixDatagramServer),
]


@pytest.mark.parametrize(("url", "kind"), KINDS, ids=[kind.__name__ for _, kind in KINDS])
def test_the_scheme_says_which_server_it_is(url: str, kind: type[Any], tmp_path: Path) -> None:
    is_stream = kind in (TCPNetworkServer, UnixStreamServer)
    serve: Any = tieline.blocking.serve
    server = serve(echo if is_stream else answer, url.format(tmp_path), protocol=LINES if is_stream else DATAGRAMS)
    assert type(server) is kind
    with server:
        assert server.url.split(":")[0] == url.split(":", maxsplit=1)[0]


def test_serve_takes_limits_and_workers_and_nothing_of_calls() -> None:
    with tieline.blocking.serve(
        echo, "tcp://127.0.0.1:0", protocol=LINES, limits=Limits(max_connections=0), workers=3
    ) as server:
        assert server.limits.max_connections == 0
        with TCPNetworkClient[str](address_of(server), LINES) as client, pytest.raises(ConnectionAbortedError):
            client.recv_packet(timeout=PATIENCE)
    serve: Any = tieline.blocking.serve
    with pytest.raises(TypeError, match="framer: for calls"):
        serve(echo, "tcp://127.0.0.1:0", protocol=LINES, framer=tieline.NewlineFramer)
    with pytest.raises(ValueError, match="workers must be 1 or more"):
        serve(echo, "tcp://127.0.0.1:0", protocol=LINES, workers=0)


@pytest.mark.parametrize("is_error", [False, True])
def test_a_server_that_is_forgotten_says_so_and_ends(is_error: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: told.append(seen.exc_type))
    before = set(threading.enumerate())
    server: Any = TCPNetworkServer(echo, ANY, LINES)
    server.listen()
    with socket.create_connection(address_of(server), PATIENCE) as peer, warnings.catch_warnings(record=True) as warned:
        peer.sendall(b"x\n")
        assert peer.recv(10) == b"x\n"
        threads = set(threading.enumerate()) - before
        warnings.simplefilter("error" if is_error else "always")
        del server
        gc.collect()
        assert peer.recv(10) == b"", "it is cut, and closed by the system"
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    texts = [str(one.message) for one in warned]
    assert told == ([ResourceWarning] if is_error else [])
    assert is_error or [text for text in texts if "unclosed server <TCPNetworkServer tcp://127.0.0.1:" in text]


def test_a_server_that_was_shut_down_is_not_told_as_forgotten() -> None:
    server: Any = TCPNetworkServer(echo, ANY, LINES)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with server:
            assert ask(server) == "x"
        del server
        never: Any = TCPNetworkServer(echo, ANY, LINES)
        del never
        gc.collect()
    assert not [one for one in warned if "server" in str(one.message)]
