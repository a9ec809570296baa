# SPDX-License-Identifier: MIT
"""Asynchronous packet servers of streams, against bare sockets and our own clients, on every runtime."""

from __future__ import annotations

import functools
import gc
import logging
import os
import pickle
import socket
from contextlib import ExitStack, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import trio

from tests import aio
from tests.certificates import Certificates
from tests.servers.scene import ANY, JSON, LINES, address_of, all_of, echo, heard, peer_of, reset, told, until
from tieline import TCP, TLS, Limits, UnixStream
from tieline.clients import AsyncTCPNetworkClient, AsyncUnixStreamClient
from tieline.errors import (
    ClientClosedError,
    ClosedError,
    EndOfStream,
    LocalProtocolError,
    StreamProtocolParseError,
    StreamReset,
)
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.runtimes.listening import FULL_ROUNDS
from tieline.runtimes.socket_streams import SocketStream
from tieline.serializers import JSONSerializer
from tieline.servers import AsyncTCPNetworkServer, AsyncUnixStreamServer
from tieline.socket import SocketAncillary


async def nothing(_client: Any) -> None: ...


# --- construction ----------------------------------------------------------------------------------------------------


class Callable:
    async def __call__(self, client: Any) -> None:
        await echo(client)


@pytest.mark.parametrize(
    "handler",
    [echo, functools.partial(echo), Callable(), functools.partial(Callable())],
    ids=["function", "partial", "object", "partial of an object"],
)
async def test_a_handler_is_an_async_function_of_whatever_kind(handler: Any) -> None:
    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as peer:
            await told(peer, b"hello\n")
            assert await heard(peer, 6) == b"hello\n"


async def two(_packet: object, peer: object) -> None: ...


async def nobody() -> None: ...


async def asking(_client: object) -> Any:
    """Do as handlers of other libraries."""
    yield


def asking_plainly(_client: object) -> Any:
    yield


class Asking:
    async def __call__(self, _client: object) -> Any:
        yield


def driven(function: Any) -> Any:
    """Have a generator do something: it is not refused."""

    @functools.wraps(function)
    async def handler(client: Any) -> None:
        async for _ in function(client):
            await echo(client)

    return handler


async def test_a_handler_made_of_a_generator_is_none() -> None:
    async with AsyncTCPNetworkServer(driven(asking), ANY, LINES) as server:
        with peer_of(server) as peer:
            await told(peer, b"hello\n")
            assert await heard(peer, 6) == b"hello\n"


@pytest.mark.parametrize("function", [echo, asking, asking_plainly])
async def test_what_a_handler_only_makes_and_does_not_do_is_told(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(client: Any) -> Any:
        return function(client)  # and is not awaited

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as peer:
            assert await all_of(peer) == b""
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert "the handler returned a" in str(record.exc_info[1])


WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ((None, ANY, LINES), {}, TypeError, "handler must be an async function, not NoneType"),
    ((lambda _client: None, ANY, LINES), {}, TypeError, "servers for plain ones are in tieline.blocking"),
    ((asking, ANY, LINES), {}, TypeError, "handler must not be a generator: .* by a loop over that"),
    ((asking_plainly, ANY, LINES), {}, TypeError, "handler must not be a generator"),
    ((Asking(), ANY, LINES), {}, TypeError, "handler must not be a generator"),
    ((functools.partial(Asking()), ANY, LINES), {}, TypeError, "handler must not be a generator"),
    ((asynccontextmanager(asking), ANY, LINES), {}, TypeError, "handler must not be a generator"),
    ((two, ANY, LINES), {}, TypeError, "handler is called with the client, and missing a required argument: 'peer'"),
    ((nobody, ANY, LINES), {}, TypeError, "handler is called with the client, and too many positional arguments"),
    ((nothing, "127.0.0.1:0", LINES), {}, TypeError, "takes .host, port., an endpoint or a bound socket, not str"),
    ((nothing, ("127.0.0.1", "0"), LINES), {}, TypeError, "takes .host, port.*, not .str, str.: the host is"),
    ((nothing, ("127.0.0.1", 70000), LINES), {}, ValueError, "port"),
    ((nothing, ANY, DatagramProtocol(JSONSerializer())), {}, TypeError, "protocol must be a StreamProtocol"),
    ((nothing, ANY, LINES), {"ssl": True}, ValueError, "certificate"),
    ((nothing, ANY, LINES), {"limits": 5}, TypeError, "limits must be a Limits value"),
    ((nothing, TCP("127.0.0.1", 0), LINES), {"backlog": 5}, TypeError, "backlog: the TCP endpoint"),
]


@pytest.mark.parametrize(("args", "settings", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_told_before_any_io(
    args: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        AsyncTCPNetworkServer(*args, **settings)


def test_a_socket_of_another_kind_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="SOCK_STREAM"):
        AsyncTCPNetworkServer(nothing, sock, LINES)
    with (
        socket.socket(socket.AF_UNIX) as sock,
        pytest.raises(ValueError, match="AF_UNIX, expected AF_INET or AF_INET6"),
    ):
        AsyncTCPNetworkServer(nothing, sock, LINES)
    with pytest.raises(TypeError, match="takes a path, an endpoint or a bound socket, not int"):
        AsyncUnixStreamServer(nothing, 5, LINES)  # type: ignore[arg-type]  # that is the point


# --- serving ---------------------------------------------------------------------------------------------------------


async def test_packets_go_both_ways_over_tcp() -> None:
    async with AsyncTCPNetworkServer(echo, ANY, JSON) as server:
        async with AsyncTCPNetworkClient(address_of(server), JSON) as client:
            packets: list[Any] = [{"a": 1}, [], None, "text"]
            for packet in packets:
                await client.send_packet(packet)
                assert await client.recv_packet() == packet
        await until(lambda: server.connections == 0)


async def test_packets_go_both_ways_over_tls(certificates: Certificates) -> None:
    tls = TLS(certificate=certificates.server)
    async with (
        AsyncTCPNetworkServer(echo, ANY, JSON, ssl=tls) as server,
        AsyncTCPNetworkClient(
            address_of(server), JSON, ssl=TLS(ca=certificates.ca), server_hostname="localhost"
        ) as client,
    ):
        await client.send_packet([1])
        assert await client.recv_packet() == [1]


@pytest.mark.parametrize("path", ["file", "@abstract"])
async def test_packets_go_both_ways_over_unix_sockets(path: str, tmp_path: Path) -> None:
    where = f"@tieline-{tmp_path.name}-{aio.on_trio()}" if path.startswith("@") else str(tmp_path / "socket")
    async with AsyncUnixStreamServer(echo, where, JSON) as server:
        assert isinstance(server.get_addresses()[0], UnixStream)
        async with AsyncUnixStreamClient(where.replace("@", "\0", 1), JSON) as client:
            await client.send_packet([1])
            assert await client.recv_packet() == [1]
    assert not (tmp_path / "socket").exists()


async def test_a_bound_socket_is_listened_on_once() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    server = AsyncTCPNetworkServer(echo, sock, LINES)
    async with server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            assert await heard(peer, 2) == b"x\n"
    with pytest.raises(LocalProtocolError, match="has been used"):
        async with server:
            pass
    await server.serve_forever()  # which returns at once: what was refused has begun nothing


async def test_a_bound_unix_socket_is_listened_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong, pytest.raises(ValueError, match="SOCK_STREAM"):
        AsyncUnixStreamServer(echo, wrong, LINES)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "socket"))
    async with (
        AsyncUnixStreamServer(echo, sock, LINES),
        AsyncUnixStreamClient(tmp_path / "socket", LINES) as client,
    ):
        await client.send_packet("x")
        assert await client.recv_packet() == "x"
    assert sock.fileno() == -1


async def test_a_server_can_listen_again_after_it_was_shut_down() -> None:
    server = AsyncTCPNetworkServer(echo, ANY, LINES)
    for _ in range(2):
        async with server:
            with pytest.raises(LocalProtocolError, match="listening already"):
                await server.listen()
            with peer_of(server) as peer:
                await told(peer, b"x\n")
                assert await heard(peer, 2) == b"x\n"


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with AsyncTCPNetworkServer(echo, ANY, LINES) as server:
        with pytest.raises(OSError, match="cannot listen on"):
            async with AsyncTCPNetworkServer(echo, address_of(server), LINES):
                pass


async def test_a_handler_may_speak_first_and_its_end_closes_the_connection_behind_what_it_sent() -> None:
    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        await client.send_packet("welcome")
        await client.send_packet(await client.recv_packet())

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as peer:
            assert await heard(peer, 8) == b"welcome\n"
            await told(peer, b"one\ntwo\nthree\n")  # more than is read
            assert await all_of(peer) == b"one\n"  # and no reset that would eat it


@pytest.mark.row("K7", "K9")
async def test_what_a_handler_gets_is_a_connected_packet_client() -> None:
    seen: list[Any] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        seen.append(client)
        assert isinstance(client, AsyncTCPNetworkClient)
        assert client.is_connected()
        assert not client.is_closing()
        await client.wait_connected()
        assert client.get_extra_info("peername")[0] == "127.0.0.1"
        host, port = client.get_remote_address()[:2]
        assert repr(client) == f"<ServedTCPClient {host}:{port} connected>"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(client)
        async with client as same:
            assert same is client
            await client.send_packets(["a", "b"])
            assert await client.recv_packets() == ["c", "d"]
            await client.send_eof()
            with pytest.raises(LocalProtocolError):
                await client.send_packet("e")
        with pytest.raises(ClientClosedError):
            await client.recv_packet()

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as peer:
            await told(peer, b"c\nd\n")
            assert await all_of(peer) == b"a\nb\n"
        await until(lambda: server.connections == 0)
    assert seen[0].is_closing()
    with pytest.raises(ClientClosedError):
        await seen[0].send_packet("late")


@pytest.mark.row("K10", "K11")
async def test_a_handler_learns_how_a_connection_ended() -> None:
    ends: list[Any] = []

    async def handler(client: AsyncTCPNetworkClient[Any]) -> None:
        while True:
            try:
                ends.append(await client.recv_packet())
            except StreamProtocolParseError as exc:
                ends.append(type(exc))
            except Exception as exc:
                ends.append(type(exc))
                raise

    async with AsyncTCPNetworkServer(handler, ANY, JSON) as server:
        with peer_of(server) as peer:
            await told(peer, b"1\nx\n2\n")
        await until(lambda: len(ends) == 4)
        assert ends == [1, StreamProtocolParseError, 2, EndOfStream]
        reset(peer_of(server))
        await until(lambda: len(ends) == 5)
        assert ends[4:] == [StreamReset]
        await until(lambda: server.connections == 0)


async def test_packets_that_came_before_a_connection_was_lost_are_still_handled() -> None:
    seen: list[str] = []
    goes_on = aio.Event()

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        async for packet in client:
            seen.append(packet)
            await goes_on.wait()

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        peer = peer_of(server)
        await told(peer, b"1\n2\n3\n")
        await until(lambda: seen == ["1"])
        peer.close()
        goes_on.set()
        await until(lambda: server.connections == 0)
    assert seen == ["1", "2", "3"]


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.row("H57", "H58")
@pytest.mark.parametrize(
    "error",
    [ValueError("secret"), StopAsyncIteration(), TimeoutError(), ExceptionGroup("secret", [ValueError()]), EOFError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_handler_that_fails_hurts_its_own_connection_only(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        async for packet in client:
            if packet == "fail":
                raise error
            await client.send_packet(packet)

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as one, peer_of(server) as other:
            await told(other, b"a\n")
            assert await heard(other, 2) == b"a\n"
            await told(one, b"answered\nfail\nx\n")
            assert await all_of(one) == b"answered\n"
            await told(other, b"b\n")
            assert await heard(other, 2) == b"b\n"
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert record.getMessage().startswith("the handler of 127.0.0.1:")


async def test_failures_are_logged_once_a_second_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_client: Any) -> None:
        raise ValueError("again")

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        for _ in range(20):
            with peer_of(server) as peer:
                assert await all_of(peer) == b""
    logged = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert 1 <= len(logged) < 20


@pytest.mark.row("H10")
async def test_a_handler_that_lets_a_parse_error_out_is_not_to_blame(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncTCPNetworkServer(echo, ANY, JSON) as server:
        with peer_of(server) as peer:
            await told(peer, b'["secret"\n')
            assert await all_of(peer) == b""
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.exc_info is None
    assert record.getMessage().endswith("sent something that is not a valid packet")
    assert "secret" not in caplog.text


@pytest.mark.row("K11")
async def test_a_handler_that_relays_is_not_mistaken_for_its_peer(caplog: pytest.LogCaptureFixture) -> None:
    async def relay(client: Any) -> None:
        with pytest.raises(StreamProtocolParseError):
            await client.recv_packet()
        raise StreamProtocolParseError("of another peer")

    async with AsyncTCPNetworkServer(relay, ANY, JSON) as server:
        with peer_of(server) as peer:
            await told(peer, b"nonsense\n")
            assert await all_of(peer) == b""
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_connections_are_logged_without_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tieline")
    async with AsyncTCPNetworkServer(echo, ANY, LINES) as server:
        with peer_of(server) as peer:
            name = "{}:{}".format(*peer.getsockname())
            await told(peer, b"password\n")
            await heard(peer, 9)
        await until(lambda: server.connections == 0)
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("tieline.Async")]
    assert lines[1:] == [
        f"{name} connected",
        f"{name}: the handler ended with the connection",
        f"{name} disconnected",
    ] or (lines[1:] == [f"{name} connected", f"{name} disconnected"])
    assert "password" not in caplog.text


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.row("H53")
@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(max_connections=2), "limit 2 connections)"),
        (Limits(max_connections_per_peer=2), "limit 2 connections per peer)"),
    ],
    ids=["total", "per peer"],
)
async def test_one_connection_too_many_is_turned_away(
    limits: Limits, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncTCPNetworkServer(echo, ANY, LINES, limits=limits) as server:
        with peer_of(server) as one, peer_of(server) as other:
            for peer in (one, other):
                await told(peer, b"x\n")
                assert await heard(peer, 2) == b"x\n"
            with peer_of(server) as third:
                assert await all_of(third) == b""
            await told(one, b"y\n")
            assert await heard(one, 2) == b"y\n"
        await until(lambda: server.connections == 0)
        with peer_of(server) as peer:
            await told(peer, b"z\n")
            assert await heard(peer, 2) == b"z\n"
    assert text in caplog.text


async def test_a_handler_that_outlives_its_connection_keeps_its_place() -> None:
    goes_on = aio.Event()

    async def handler(_client: Any) -> None:
        await goes_on.wait()

    async with AsyncTCPNetworkServer(handler, ANY, LINES, limits=Limits(max_connections=1)) as server:
        peer_of(server).close()
        await until(lambda: server.connections == 1)
        with peer_of(server) as second:
            assert await all_of(second) == b""
        goes_on.set()
        await until(lambda: server.connections == 0)


@pytest.mark.row("H50")
@pytest.mark.parametrize(
    ("limits", "said", "text"),
    [
        (Limits(idle_timeout=0.05), b"", "no packet came within 0.05 s"),
        (Limits(message_timeout=0.05), b"half a packet", "packet not complete after 0.05 s"),
    ],
    ids=["idle", "trickler"],
)
async def test_a_peer_that_takes_too_long_is_cut(
    limits: Limits, said: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncTCPNetworkServer(echo, ANY, LINES, limits=limits) as server:
        with peer_of(server) as peer:
            await told(peer, said)
            assert await all_of(peer) == b""
        await until(lambda: server.connections == 0)
    assert text in caplog.text


@pytest.mark.row("H45")
async def test_a_peer_that_reads_nothing_is_waited_for_and_then_cut(caplog: pytest.LogCaptureFixture) -> None:
    sent = 0

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        nonlocal sent
        while True:
            await client.send_packet("x" * 100_000)
            sent += 1

    async with AsyncTCPNetworkServer(handler, ANY, LINES, limits=Limits(write_timeout=0.2)) as server:
        with peer_of(server):
            await until(lambda: sent)
            await until(lambda: server.connections == 0)
    assert sent < 400  # what the system buffers, and our own mark
    assert "the peer took no byte for 0.2 s" in caplog.text


async def test_a_flood_of_packets_does_not_keep_others_waiting() -> None:
    flooded = 0

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        nonlocal flooded
        async for packet in client:
            if packet == "ping":
                await client.send_packet("pong")
            else:
                flooded += 1

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as flooder, peer_of(server) as bystander:
            flood = aio.create_task(told(flooder, b"x\n" * 200_000))
            for _ in range(5):
                before = flooded
                await told(bystander, b"ping\n")
                assert await heard(bystander, 5) == b"pong\n"
                assert flooded - before < 150_000
            await flood
            await until(lambda: flooded == 200_000)


@pytest.mark.row("K15")
async def test_receivers_get_their_turn_in_the_order_in_which_they_came() -> None:
    seen: list[Any] = []

    async def handler(client: Any) -> None:
        await until(lambda: len(client._engine.machine.received) > 1)
        for _ in range(150):
            both = aio.in_order(client.recv_packet, client.recv_packet)
            seen.append([await task for task in both])

    async with AsyncTCPNetworkServer(handler, ANY, JSON) as server:
        with peer_of(server) as peer:
            await told(peer, b"".join(b"%d\n" % number for number in range(300)))
            await until(lambda: len(seen) == 150)
    assert seen == [[number, number + 1] for number in range(0, 300, 2)]


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("H55")
async def test_a_shutdown_lets_handlers_finish_what_they_are_at() -> None:
    at_work, goes_on = aio.Event(), aio.Event()
    ended: list[str] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        async for packet in client:
            at_work.set()
            await goes_on.wait()
            await client.send_packet(packet)
        ended.append("in order")

    server = AsyncTCPNetworkServer(handler, ANY, LINES)
    async with server:
        with peer_of(server) as busy, peer_of(server) as idle:
            await told(busy, b"1\n2\n")
            await at_work.wait()
            await until(lambda: server.connections == 2)
            down = aio.create_task(server.shutdown(30))
            assert await all_of(idle) == b""
            idle.close()
            assert not server.is_serving()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(busy.getpeername()).close()
            goes_on.set()
            assert await all_of(busy) == b"1\n"  # what came behind is not begun
            busy.close()
            await down
    assert ended == ["in order"] * 2


@pytest.mark.row("H55")
async def test_after_the_deadline_what_is_left_is_cancelled() -> None:
    cancelled: list[str] = []
    at_work = aio.Event()

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        await client.recv_packet()
        try:
            at_work.set()
            await aio.Event().wait()
        except aio.Cancelled:
            cancelled.append("yes")
            raise

    server = AsyncTCPNetworkServer(handler, ANY, LINES)
    async with server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            await at_work.wait()
            await server.shutdown(0.05)
            assert await all_of(peer) == b""
            await until(lambda: cancelled)
    assert server.connections == 0


@pytest.mark.row("H55")
async def test_no_time_at_all_waits_for_no_handler() -> None:
    at_work, goes_on = aio.Event(), aio.Event()

    async def handler(_client: AsyncTCPNetworkClient[str]) -> None:
        try:
            at_work.set()
            await aio.Event().wait()
        finally:
            with trio.CancelScope(shield=True) if aio.on_trio() else nullcontext():
                await goes_on.wait()

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as peer:
            await at_work.wait()
            await server.shutdown(0)
            assert await all_of(peer) == b""
        assert server.connections == 1
        goes_on.set()
        await until(lambda: server.connections == 0)


async def test_a_deadline_must_be_a_time() -> None:
    server = AsyncTCPNetworkServer(echo, ANY, LINES)
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match=f"deadline must be 0 or more seconds or None, not {wrong}"):
            await server.shutdown(wrong)
        with pytest.raises(ValueError, match=f"grace must be 0 or more seconds or None, not {wrong}"):
            await server.serve_forever(grace=wrong)
    text: Any = "1"
    with pytest.raises(TypeError, match="deadline must be a number or None, not str"):
        await server.shutdown(text)
    with pytest.raises(TypeError, match="grace must be a number or None, not str"):
        await server.serve_forever(grace=text)
    assert not server.is_serving()


@pytest.mark.row("H61")
async def test_a_handler_may_shut_its_server_down() -> None:
    done = aio.Event()
    left: list[int] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        sock = client.get_extra_info("socket")
        await client.recv_packet()
        await server.shutdown(30)
        left.append(sock.fileno())
        done.set()

    server = AsyncTCPNetworkServer(handler, ANY, LINES)
    async with server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            await done.wait()
            assert await all_of(peer) == b""
    assert left == [-1]  # by then its connection was over as well


@pytest.mark.row("H61")
async def test_a_handler_that_cuts_its_server_is_not_cut_itself() -> None:
    done = aio.Event()

    async def handler(_client: AsyncTCPNetworkClient[str]) -> None:
        await server.shutdown(0)
        await aio.sleep(0)
        done.set()

    server = AsyncTCPNetworkServer(handler, ANY, LINES)
    async with server:
        with peer_of(server) as peer:
            await aio.wait_for(done.wait(), 10)
            assert await all_of(peer) == b""


@pytest.mark.row("H61")
async def test_a_handler_is_not_cut_by_the_deadline_of_its_own_shutdown() -> None:
    ended: list[str] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        packet = await client.recv_packet()
        try:
            if packet == "hang":
                ended.append("begun")
                await aio.Event().wait()
            await server.shutdown(0.02)
            await aio.sleep(0)
            ended.append("goes on")
        except aio.Cancelled:
            ended.append(f"{packet} is cancelled")
            raise

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as one, peer_of(server) as other:
            await told(one, b"hang\n")
            await until(lambda: ended)
            await told(other, b"end\n")
            await until(lambda: len(ended) == 3)
    assert sorted(ended) == ["begun", "goes on", "hang is cancelled"]


@pytest.mark.row("H61")
@pytest.mark.parametrize("deadline", [0, 30])
async def test_the_client_of_a_handler_that_shuts_its_server_down_says_that_it_is_closing(deadline: float) -> None:
    seen: list[bool] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        await client.recv_packet()
        seen.append(client.is_closing())
        await server.shutdown(deadline)
        seen.append(client.is_closing())
        with pytest.raises(ClientClosedError):
            await client.send_packet("too late")

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as peer:
            await told(peer, b"end\n")
            await until(lambda: len(seen) == 2)
    assert seen == [False, True]


@pytest.mark.row("H61")
@pytest.mark.parametrize("peer_first", [False, True])
async def test_handlers_that_shut_their_server_down_do_not_wait_for_each_other(peer_first: bool) -> None:
    goes_on = aio.Event()
    seen: list[str] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        seen.append(await client.recv_packet())
        await goes_on.wait()
        await server.shutdown(None)
        seen.append("back")

    async with AsyncTCPNetworkServer(handler, ANY, LINES) as server:
        with peer_of(server) as one, peer_of(server) as other:
            for peer in (one, other):
                await told(peer, b"x\n")
            await until(lambda: len(seen) == 2)
            if peer_first:
                for peer in (one, other):
                    reset(peer)
                await until(lambda: all(each.is_over for each in server._at_work))
            goes_on.set()
            if not peer_first:
                for peer in (one, other):
                    assert await all_of(peer) == b""
        await until(lambda: seen[2:] == ["back"] * 2)


@pytest.mark.row("H61")
async def test_connections_that_were_accepted_when_the_server_was_shut_down_are_turned_away_and_do_not_count() -> None:
    handled: list[Any] = []

    async def handler(client: AsyncTCPNetworkClient[str]) -> None:
        handled.append(client)
        if len(handled) > FULL_ROUNDS:  # from then on two are accepted at once
            await server.shutdown(0)

    server: Any = AsyncTCPNetworkServer(handler, ANY, LINES)
    async with server:
        with ExitStack() as stack:
            peers = [stack.enter_context(peer_of(server)) for _ in range(FULL_ROUNDS + 2)]
            for peer in peers:
                with suppress(ConnectionResetError):
                    assert await all_of(peer) == b""
    assert len(handled) > FULL_ROUNDS
    await until(lambda: server.connections == server._hub.admission.connections == 0)


async def test_serve_forever_listens_and_ends_with_a_shutdown() -> None:
    server = AsyncTCPNetworkServer(echo, ANY, LINES)
    serving = aio.create_task(server.serve_forever())
    await until(server.is_serving)
    with peer_of(server) as peer:
        await told(peer, b"x\n")
        assert await heard(peer, 2) == b"x\n"
        down = aio.create_task(server.shutdown(30))
        assert await all_of(peer) == b""
    await down
    await serving
    await server.serve_forever()  # it has ended: returns at once


async def test_to_close_leaves_connections_alone() -> None:
    async with AsyncTCPNetworkServer(echo, ANY, LINES) as server:
        with peer_of(server) as peer:
            await until(lambda: server.connections)
            server.close()
            server.close()
            assert server.get_addresses() == ()
            with pytest.raises(LocalProtocolError, match="not listening"):
                _ = server.url
            await told(peer, b"x\n")
            assert await heard(peer, 2) == b"x\n"


async def test_the_body_of_a_server_may_fail() -> None:
    server = AsyncTCPNetworkServer(echo, ANY, LINES)

    async def body() -> None:
        async with server:
            with peer_of(server):
                await until(lambda: server.connections)
                raise KeyError("body")

    with pytest.raises(KeyError):
        await body()
    assert server.connections == 0


async def test_a_server_that_is_closed_while_it_begins_says_so() -> None:
    began, goes_on = aio.Event(), aio.Event()

    class Slow(AsyncTCPNetworkServer[Any, Any]):
        async def _open(self, backend: Any, nursery: object) -> Any:
            began.set()
            await goes_on.wait()
            return await super()._open(backend, nursery)

    server = Slow(echo, ANY, LINES)

    async def listen() -> None:
        async with server:
            pass

    task = aio.create_task(listen())
    await began.wait()
    server.close()
    goes_on.set()
    with pytest.raises(ClosedError, match="while it began"):
        await task


@pytest.mark.row("H51")
async def test_connections_that_come_and_go_leave_nothing() -> None:
    async with AsyncTCPNetworkServer(echo, ANY, LINES) as server:
        for number in range(300):
            peer = peer_of(server)
            if number % 3 == 0:
                reset(peer)
            elif number % 3 == 1:
                peer.close()
            else:
                await told(peer, b"x\n")
                assert await heard(peer, 2) == b"x\n"
                peer.close()
        await until(lambda: server.connections == 0)
        assert server._hub.admission.connections == 0


async def lets_errors_out(client: Any) -> None:
    while True:
        await client.send_packet(await client.recv_packet())


@pytest.mark.parametrize("handler", [echo, lets_errors_out])
@pytest.mark.parametrize("end", ["eof", "reset", "fault", "fault of a text"])
async def test_nothing_of_a_connection_is_left_for_the_garbage_collector(handler: Any, end: str) -> None:
    links: list[ref[Any]] = []

    async def watched(client: Any) -> None:
        links.append(ref(client._engine.link))
        await handler(client)

    def transports() -> int:
        return sum(isinstance(one, SocketStream) for one in gc.get_objects())

    protocol: StreamProtocol[Any] = LINES if end == "fault of a text" else JSON
    async with AsyncTCPNetworkServer(watched, ANY, protocol) as server:
        gc.collect()
        gc.disable()
        try:
            before = transports()
            sock = peer_of(server)
            sock.send(b"1\n")
            assert await heard(sock, 2) == b"1\n"
            match end:
                case "eof":
                    sock.close()
                case "reset":
                    reset(sock)
                case _:
                    sock.send(b"{\n" if protocol is JSON else b"\xff\n")
                    assert await all_of(sock) == b""
                    sock.close()
            await until(lambda: links[0]() is None)
            await until(lambda: transports() == before)
        finally:
            gc.enable()


async def test_a_protocol_of_users_works_as_well() -> None:
    class Upper(StreamProtocol[str]):
        def generate_chunks(self, packet: str, /) -> Any:
            yield packet.upper().encode() + b"\n"

    async with AsyncTCPNetworkServer(echo, ANY, Upper(LINES.serializer)) as server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            assert await heard(peer, 2) == b"X\n"


@pytest.mark.row("K19")
async def test_descriptors_and_credentials_go_both_ways(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def handler(client: AsyncUnixStreamClient[str]) -> None:
        seen.append(client.get_peer_credentials())
        received, sent = SocketAncillary(), SocketAncillary()
        packet = await client.recv_packet(ancillary_data=received)
        fds = list(received.iter_fds())
        sent.add_fds(fds)
        await client.send_packet(packet, ancillary_data=sent)
        for fd in fds:
            os.close(fd)
        await client.recv_packet()

    client: AsyncUnixStreamClient[str]
    async with (
        AsyncUnixStreamServer(handler, tmp_path / "socket", LINES) as server,
        AsyncUnixStreamClient(address_of(server), LINES) as client,
    ):
        sent, received = SocketAncillary(), SocketAncillary()
        reading, writing = os.pipe()
        sent.add_fds([writing])
        await client.send_packet("take this", ancillary_data=sent)
        os.close(writing)
        assert await client.recv_packet(ancillary_data=received) == "take this"
        (back,) = received.iter_fds()
        os.write(back, b"by way of the server")
        os.close(back)
        assert os.read(reading, 100) == b"by way of the server"
        os.close(reading)
        await client.send_packet("done")
    assert seen[0].pid == os.getpid()
