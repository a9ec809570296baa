# SPDX-License-Identifier: MIT
"""What a peer says before it leaves is received, also when a send of ours is what finds out that it has left."""

from __future__ import annotations

import errno
import gc
import os
import socket
import ssl
import struct
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from tests import aio
from tests.clients.test_async_streams import LINES, pair, tcp_pair
from tests.clients.test_descriptors import beside, some_file
from tests.clients.test_lax_tls import peer
from tests.rpc.blocking.peers import Task, for_ever, until
from tests.runtimes.blocking.recorder import scene
from tests.runtimes.sockets import tcp_listener
from tieline import TLS
from tieline.clients import AsyncTCPNetworkClient, AsyncUnixStreamClient, TCPNetworkClient, UnixStreamClient
from tieline.errors import ClientClosedError, ConnectionLost, EndOfStream, StreamReset, StreamTruncated, TLSTruncated
from tieline.runtimes import hangups
from tieline.runtimes.blocking import transport
from tieline.runtimes.memory import READ_SIZE
from tieline.socket import SocketAncillary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.certificates import Certificates

SAID = b"too many users\nbye\n"
Pair = tuple[socket.socket, socket.socket]

KINDS: dict[str, tuple[Callable[[], AbstractContextManager[Pair]], Any, Any]] = {
    "tcp": (tcp_pair, TCPNetworkClient, AsyncTCPNetworkClient),
    "unix": (pair, UnixStreamClient, AsyncUnixStreamClient),
}


def send_until_lost(client: Any) -> ConnectionLost:
    """Send to a peer that is gone until that is told, and return how."""
    while True:
        try:
            client.send_packet("hello")
        except ConnectionLost as exc:
            return exc


async def send_until_lost_async(client: Any) -> None:
    while True:
        try:
            await client.send_packet("hello")
        except ConnectionLost:
            return
        await aio.sleep(0)


@contextmanager
def leaver(
    certificates: Certificates, says: bytes, *, in_order: bool = True
) -> Iterator[tuple[Any, dict[str, Any], Task]]:
    """Give the address of a peer that *says* something and leaves, what a client needs, and its thread.

    *in_order* = it ends TLS before.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)

    def serve() -> None:
        plain, _ = listener.accept()
        plain.settimeout(30)
        with plain, context.wrap_socket(plain, server_side=True) as sock:
            sock.sendall(says)
            if in_order:
                sock.unwrap().close()  # fails when anything comes before the client's goodbye

    with tcp_listener() as (listener, port):
        settings = {"ssl": TLS(ca=certificates.ca), "server_hostname": "localhost"}
        yield ("127.0.0.1", port), settings, Task(serve)


@pytest.mark.row("K10")
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_received_behind_a_send_that_failed(kind: str) -> None:
    new_pair, new_client, _ = KINDS[kind]
    with new_pair() as (ours, theirs), new_client(ours, LINES) as client:
        theirs.sendall(SAID)
        theirs.close()
        told = send_until_lost(client)
        assert isinstance(told.__cause__, ConnectionLost)
        assert isinstance(told.__cause__.__cause__, BrokenPipeError)
        assert client.recv_packet(timeout=30) == "too many users"
        assert client.recv_packet(timeout=30) == "bye"
        for _ in range(2):
            with pytest.raises(EndOfStream):
                client.recv_packet(timeout=30)
        with pytest.raises(ConnectionLost):
            client.send_packet("again")


@pytest.mark.row("K10")
@pytest.mark.parametrize("kind", KINDS)
async def test_so_it_is_asynchronously(kind: str) -> None:
    new_pair, _, new_client = KINDS[kind]
    with new_pair() as (ours, theirs):
        async with new_client(ours, LINES) as client:
            theirs.sendall(SAID)
            theirs.close()
            await send_until_lost_async(client)
            assert [await client.recv_packet() for _ in range(2)] == ["too many users", "bye"]
            for _ in range(2):
                with pytest.raises(EndOfStream):
                    await client.recv_packet()
            assert not client.is_connected()


@pytest.mark.row("K10")
def test_over_tls_too_and_that_it_was_cut_is_told(certificates: Certificates) -> None:
    with (
        leaver(certificates, SAID, in_order=False) as (address, settings, peers),
        TCPNetworkClient(address, LINES, **settings) as client,
    ):
        peers.result()
        send_until_lost(client)
        assert [client.recv_packet(timeout=30) for _ in range(2)] == ["too many users", "bye"]
        with pytest.raises(TLSTruncated):
            client.recv_packet(timeout=30)


@pytest.mark.row("K10", "K14")
def test_without_waiting_the_end_behind_what_else_tls_says_is_found(certificates: Certificates) -> None:
    with (
        leaver(certificates, b"", in_order=False) as (address, settings, peers),
        TCPNetworkClient(address, LINES, **settings) as client,
    ):
        peers.result()
        with pytest.raises(TLSTruncated):
            list(client.iter_received_packets())  # its tickets for further sessions come before


@pytest.mark.row("K10")
def test_a_reset_is_none_the_less_told_as_one() -> None:
    with tcp_pair() as (ours, theirs), TCPNetworkClient(ours, LINES) as client:
        client.send_packet("which the peer does not read")
        theirs.sendall(SAID)
        assert theirs.recv(1)  # the rest has come by now as well
        theirs.close()
        send_until_lost(client)
        assert [client.recv_packet(timeout=30) for _ in range(2)] == ["too many users", "bye"]
        with pytest.raises(StreamReset) as told:
            client.recv_packet(timeout=30)
        assert isinstance(told.value.__cause__, ConnectionResetError)


def test_behind_a_send_with_descriptors_too() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        theirs.sendall(SAID)
        theirs.close()
        with pytest.raises(ConnectionLost):
            client.send_packet("x", ancillary_data=beside(one))
        assert client.recv_packet(timeout=30, ancillary_data=SocketAncillary()) == "too many users"
        assert client.recv_packet(timeout=30) == "bye"
        with pytest.raises(EndOfStream):
            client.recv_packet(timeout=30)


async def test_and_so_asynchronously() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(SAID)
            theirs.close()
            with pytest.raises(ConnectionLost):
                await client.send_packet("x", ancillary_data=beside(one))
            assert await client.recv_packet(ancillary_data=SocketAncillary()) == "too many users"
            assert await client.recv_packet() == "bye"
            with pytest.raises(EndOfStream):
                await client.recv_packet()


# --- nothing goes out behind the end of TLS -------------------------------------------------------------------------


@pytest.mark.parametrize(("says", "error"), [(b"one\n", EndOfStream), (b"one\ntw", StreamTruncated)])
async def test_whoever_is_told_of_the_end_of_tls_can_send_no_more(
    says: bytes, error: type[ConnectionLost], certificates: Certificates
) -> None:
    with leaver(certificates, says) as (address, settings, peers):
        async with AsyncTCPNetworkClient(address, LINES, **settings) as client:
            assert await client.recv_packet() == "one"
            with pytest.raises(error):
                await client.recv_packet()
            assert not client.is_connected()
            for _ in range(2):
                with pytest.raises(ConnectionLost, match="the connection is down"):
                    await client.send_packet("too late")
        await aio.to_thread(peers.result)


# --- a direction that takes nothing, where nobody has gone ----------------------------------------------------------


@contextmanager
def reset_pair() -> Iterator[Pair]:
    """Give a connection that the other side has reset, as both know."""
    with tcp_pair() as (ours, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with pytest.raises(OSError, match="not connected"):
            for_ever(ours.getpeername)
        yield ours, theirs


@pytest.mark.row("K1", "K10")
def test_a_given_socket_that_was_reset_was_connected_and_its_first_use_tells() -> None:
    with reset_pair() as (ours, _), TCPNetworkClient(ours, LINES) as client:
        with pytest.raises(OSError, match="the socket has no such address any more") as unknown:
            client.get_remote_address()
        assert unknown.value.errno == errno.ENOTCONN
        for _ in range(2):
            with pytest.raises(StreamReset):
                client.recv_packet(timeout=30)
        with pytest.raises(ConnectionLost) as told:
            client.send_packet("x")
        assert isinstance(told.value.__cause__, StreamReset)
    with reset_pair() as (ours, _), TCPNetworkClient(ours, LINES) as client:
        with pytest.raises(ConnectionLost) as told:
            client.send_packet("x")
        assert isinstance(told.value.__cause__, StreamReset)


@pytest.mark.row("K1", "K10")
async def test_so_it_does_asynchronously() -> None:
    with reset_pair() as (ours, _):
        async with AsyncTCPNetworkClient(ours, LINES) as client:
            with pytest.raises(StreamReset):
                await client.recv_packet()
            with pytest.raises(ConnectionLost):
                await client.send_packet("x")
    with reset_pair() as (ours, _):
        async with AsyncTCPNetworkClient(ours, LINES) as client:
            await send_until_lost_async(client)
            with pytest.raises(StreamReset):
                await client.recv_packet()


@contextmanager
def mute() -> Iterator[Pair]:
    """Give a pair of which our socket can send nothing."""
    with pair() as (ours, theirs):
        ours.shutdown(socket.SHUT_WR)
        yield ours, theirs


def test_a_socket_that_can_only_receive_is_not_said_to_be_reset() -> None:
    with mute() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.sendall(b"yo\n")
        assert isinstance(send_until_lost(client).__cause__, ConnectionLost)
        assert client.recv_packet(timeout=30) == "yo"
        with pytest.raises(ConnectionLost, match="takes nothing more that is sent") as told:
            client.recv_packet(timeout=30)
        assert type(told.value) is ConnectionLost


async def test_nor_is_one_asynchronously() -> None:
    with mute() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(b"yo\n")
            await send_until_lost_async(client)
            assert await client.recv_packet() == "yo"
            with pytest.raises(ConnectionLost, match="takes nothing more that is sent") as told:
                await client.recv_packet()
            assert type(told.value) is ConnectionLost


@pytest.mark.parametrize("count", [1, 2])
def test_a_send_that_fails_while_others_receive_ends_their_waiting(count: int) -> None:
    with mute() as (ours, _), UnixStreamClient(ours, LINES) as client:

        def receive() -> str:
            with pytest.raises(ConnectionLost) as told:
                client.recv_packet(timeout=30)
            return str(told.value)

        tasks = [Task(receive) for _ in range(count)]
        until(lambda: len(client._engine.receivers) + client._host._is_led >= count)
        told = send_until_lost(client)  # which may be before who reads has found that out
        assert isinstance(told.__cause__, ConnectionLost)
        assert isinstance(told.__cause__.__cause__, BrokenPipeError)
        assert [task.result() for task in tasks] == ["the connection takes nothing more that is sent"] * count


def test_no_more_is_read_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_BEHIND", 1)
    with scene(stays=True) as s:
        s.transport._sock.shutdown(socket.SHUT_WR)
        s.peer.sendall(b"x" * (READ_SIZE + 1))
        s.do(s.transport.write, b"one")
        assert s.protocol.data == b"x" * READ_SIZE
        assert s.protocol.told[-1] == "lost"
        assert isinstance(s.protocol.error, BrokenPipeError)


def test_what_a_protocol_does_not_want_is_not_read() -> None:
    with scene(stays=True) as s:
        s.transport._sock.shutdown(socket.SHUT_WR)
        s.do(s.transport.pause_reading)
        s.peer.sendall(b"x")
        s.do(s.transport.write, b"one")
        assert s.protocol.told == ["made", "lost"]


# --- several who receive --------------------------------------------------------------------------------------------


def ends_of(client: Any, end: Callable[[], object]) -> list[str]:
    """Return what three threads that receive are told when *end* has come."""

    def receive() -> str:
        try:
            client.recv_packet(timeout=30)
        except OSError as exc:
            return type(exc).__name__
        return "a packet"

    tasks = [Task(receive) for _ in range(3)]
    until(lambda: len(client._engine.receivers) + client._host._is_led >= 3)
    end()
    return [task.result() for task in tasks]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_all_who_receive_are_told_that_the_client_is_closed(how: str) -> None:
    for _ in range(20):
        with pair() as (ours, _), UnixStreamClient(ours, LINES) as client:
            assert ends_of(client, getattr(client, how)) == [ClientClosedError.__name__] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_all_are_told_how_the_stream_has_ended(kind: str) -> None:
    new_pair, new_client, _ = KINDS[kind]
    for _ in range(20):
        with new_pair() as (ours, theirs), new_client(ours, LINES) as client:
            assert ends_of(client, partial(theirs.shutdown, socket.SHUT_WR)) == [EndOfStream.__name__] * 3
            client.send_packet("x")


def test_all_are_told_that_tls_was_cut(certificates: Certificates) -> None:
    for _ in range(20):
        go_on = threading.Event()
        with (
            peer(certificates, says=b"", ends=True, when=go_on) as (address, settings, _),
            TCPNetworkClient(address, LINES, **settings) as client,
        ):
            assert ends_of(client, go_on.set) == [TLSTruncated.__name__] * 3


# --- behind transports that leave it to the system, and what is left behind -------------------------------------------


class Left:
    """What `rest_of` asks a loop's transport for that has given up its socket."""

    def __init__(self, sock: socket.socket, **told: object) -> None:
        self._told = {"socket": sock, **told}

    def get_extra_info(self, name: str) -> Any:
        return self._told.get(name)


def rest(sock: socket.socket, *, wanted: bool = True, **told: object) -> list[bytes]:
    transport: Any = Left(sock, **told)
    return list(hangups.rest_of(transport, lambda: wanted))


def test_the_rest_is_read_without_waiting_for_more() -> None:
    before = socket.getdefaulttimeout()
    with closing_both(*socket.socketpair()) as (ours, theirs):
        ours.setblocking(False)
        theirs.send(SAID)
        socket.setdefaulttimeout(3600)
        try:
            assert rest(ours) == [SAID]
        finally:
            socket.setdefaulttimeout(before)
        theirs.close()
        assert rest(ours) == [b""]
        assert rest(ours, wanted=False) == []


def test_of_what_tls_holds_the_rest_is_left_alone() -> None:
    with closing_both(*socket.socketpair()) as (ours, theirs):
        theirs.send(b"a record")
        assert rest(ours, sslcontext=object()) == []
        assert ours.recv(100) == b"a record"


def test_of_the_rest_no_more_is_read_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hangups, "MOST_BEHIND", 2)
    monkeypatch.setattr(hangups, "READ_SIZE", 2)
    with closing_both(*socket.socketpair()) as (ours, theirs):
        theirs.send(b"1234")
        assert rest(ours) == [b"12"]


def test_a_reset_that_the_rest_ends_with_is_told() -> None:
    with closing_both(*socket.socketpair()) as (ours, theirs):
        ours.setblocking(False)
        theirs.send(SAID)
        ours.send(b"which nobody reads")
        theirs.close()
        transport: Any = Left(ours)
        with pytest.raises(ConnectionResetError):
            list(hangups.rest_of(transport, lambda: True))


def test_where_no_descriptor_is_free_the_rest_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_free(_fd: int) -> int:
        raise OSError(errno.EMFILE, "no descriptor is free")

    with closing_both(*socket.socketpair()) as (ours, theirs):
        theirs.send(SAID)
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", none_free)
            assert rest(ours) == []
        assert ours.recv(100) == SAID


@contextmanager
def closing_both(ours: socket.socket, theirs: socket.socket) -> Iterator[Pair]:
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_is_closed_leaves_no_circle(kind: str) -> None:
    made, client_class, _ = KINDS[kind]
    gc.collect()
    gc.disable()
    try:
        with made() as (ours, theirs):
            client = client_class(ours, LINES)
            client.send_packet("hello")
            theirs.close()
            with pytest.raises(StreamReset):
                client.recv_packet()
            client.close()
            engine = ref(client._engine)
            del client
        assert engine() is None
    finally:
        gc.enable()
