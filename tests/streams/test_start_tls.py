# SPDX-License-Identifier: MIT
"""TLS that starts on an open connection, for protocols of users' own and for streams (D6)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns, until
from tests.runtimes.sockets import open_sockets
from tests.streams.scene import Echo, Story, connect, open_streams, serving, tls_client, tls_server
from tieline import ClosedError, start_server, start_tls
from tieline.errors import TLSTruncated

pytestmark = pytest.mark.row("D6")

PATIENCE = 30.0


class Paused(Story):
    """Remembers when it was told to pause and to resume writing."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[str] = []

    def pause_writing(self) -> None:
        self.pauses.append("pause")

    def resume_writing(self) -> None:
        self.pauses.append("resume")


@contextmanager
def listening() -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """Give a listening socket and its address; behind the body no socket is open that was not open before."""
    held = open_sockets()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, listener.getsockname()
    assert open_sockets() == held


def accepted(listener: socket.socket) -> socket.socket:
    peer, _ = listener.accept()
    peer.settimeout(PATIENCE)
    return peer


def over_tls(peer: socket.socket, certificates: Certificates) -> ssl.SSLSocket:
    """Shake hands, as the server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    return context.wrap_socket(peer, server_side=True)


async def test_both_sides_of_users_own_protocols_go_over_to_tls(certificates: Certificates) -> None:
    async with serving(Echo) as served:
        transport, client = await connect(Paused, "127.0.0.1", served.port)
        transport.write(b"plain")
        await until(lambda: client.data == b"plain")
        (server,) = served.protocols
        await until(lambda: server.transport)
        shaking = aio.create_task(start_tls(server.transport, server, tls_server(certificates), server_side=True))
        await turns(3)  # it is to be there before the client says anything
        upgraded = await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        server.transport = await shaking
        assert upgraded is not transport
        assert upgraded.get_protocol() is client
        assert upgraded.get_extra_info("peername") == transport.get_extra_info("peername")
        assert ("DNS", "localhost") in upgraded.get_extra_info("peercert")["subjectAltName"]
        assert server.transport.get_extra_info("ssl_object").version() >= "TLSv1.2"
        upgraded.write(b" and safe")
        await until(lambda: client.data == b"plain and safe")
        assert client.pauses == ["pause", "resume"]  # until hands were shaken
        upgraded.close()
        await until(lambda: client.lost_with)
        await served.lost()
        assert client.lost_with == server.lost_with == [None]
        assert client.told.count("made") == server.told.count("made") == 1


async def test_a_client_with_much_unsent_is_told_in_pairs(certificates: Certificates) -> None:
    """What was written before goes out in plain text before the handshake, however much it is."""
    plain = b"x" * (8 << 20)
    with listening() as (listener, address):
        transport, client = await connect(Paused, *address)
        peer = accepted(listener)

        def answer() -> bytes:
            found = bytearray()
            while len(found) < len(plain):
                found += peer.recv(len(plain) - len(found))
            with over_tls(peer, certificates) as safe:
                safe.sendall(b"hello")
                while data := safe.recv(1 << 16):
                    found += data
                return bytes(found)

        transport.write(plain)
        assert client.pauses == ["pause"]
        answering = aio.create_task(aio.to_thread(answer))
        safe = await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        await until(lambda: client.pauses == ["pause", "resume"])
        await until(lambda: client.data == b"hello")
        safe.write(b"!")
        safe.close()
        assert await answering == plain + b"!"
        await until(lambda: client.lost_with)


async def test_a_few_bytes_unsent_are_told_of_in_pairs_as_well(certificates: Certificates) -> None:
    """Under the mark a protocol has not been told to pause, and has to be, once."""
    with listening() as (listener, address):
        transport, client = await connect(Paused, *address)
        peer = accepted(listener)
        transport.set_write_buffer_limits(high=64 << 20)
        sent = 0
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 65536)
            sent += 65536
            await aio.sleep(0)
        assert client.pauses == []

        def answer() -> None:
            count = sent
            while count:
                count -= len(peer.recv(min(count, 1 << 16)))
            with over_tls(peer, certificates) as safe:
                safe.sendall(b"hello")
                assert safe.recv(1) == b""

        answering = aio.create_task(aio.to_thread(answer))
        safe = await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        await until(lambda: client.pauses == ["pause", "resume"])
        assert safe.get_write_buffer_limits()[1] == 64 << 20
        safe.close()
        await answering
        await until(lambda: client.lost_with)


async def test_a_protocol_that_reads_nothing_still_reads_nothing(certificates: Certificates) -> None:
    with listening() as (listener, address):
        transport, client = await connect(Story, *address)
        peer = accepted(listener)

        def answer() -> bytes:
            with over_tls(peer, certificates) as safe:
                safe.sendall(b"hello")
                return safe.recv(10)

        transport.pause_reading()
        answering = aio.create_task(aio.to_thread(answer))
        safe = await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        assert not safe.is_reading()
        safe.write(b"heard you")
        assert await aio.wait_for(_done(answering), PATIENCE) == b"heard you"
        await turns()
        assert client.data == b""
        safe.resume_reading()
        await until(lambda: client.data == b"hello")
        safe.abort()
        await until(lambda: client.lost_with)


async def _done(task: Any) -> Any:
    return await task


async def test_no_data_comes_before_the_new_transport_is_known(certificates: Certificates) -> None:
    """What stands right behind the handshake is delivered when `start_tls` has returned."""

    class Asks(Story):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"got it")

    with listening() as (listener, address):
        transport, client = await connect(Asks, *address)
        peer = accepted(listener)

        def answer() -> bytes:
            with over_tls(peer, certificates) as safe:
                safe.sendall(b"hello")
                return safe.recv(10)

        answering = aio.create_task(aio.to_thread(answer))
        client.transport = await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        assert client.data == b""
        assert await answering == b"got it"
        client.transport.abort()
        await until(lambda: client.lost_with)


async def test_tls_inside_of_tls(certificates: Certificates) -> None:
    async with serving(Echo, ssl=tls_server(certificates)) as served:
        transport, client = await connect(
            Story, "127.0.0.1", served.port, ssl=tls_client(certificates), server_hostname="localhost"
        )
        (server,) = served.protocols
        await until(lambda: server.transport)
        shaking = aio.create_task(start_tls(server.transport, server, tls_server(certificates), server_side=True))
        await turns(3)  # it is to be there before the client says anything
        twice = await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        server.transport = await shaking
        twice.write(b"hello")
        await until(lambda: client.data == b"hello")
        twice.close()
        await until(lambda: client.lost_with)
        await served.lost()
        assert client.lost_with == [None]


@pytest.mark.parametrize("how", ["stranger", "no TLS", "hangs up", "late", "cancelled"])
async def test_a_handshake_that_fails_ends_the_connection(certificates: Certificates, how: str) -> None:
    expected: dict[str, Any] = {
        "stranger": ssl.SSLCertVerificationError,
        "no TLS": ssl.SSLError,
        "hangs up": OSError,
        "late": TimeoutError,
        "cancelled": aio.CancelledError,
    }
    with listening() as (listener, address):
        transport, client = await connect(Story, *address)
        with accepted(listener) as peer:
            tls = tieline.TLS() if how == "stranger" else tls_client(certificates)
            limit = 0.05 if how == "late" else PATIENCE
            shaking = aio.create_task(
                start_tls(transport, client, tls, server_hostname="localhost", ssl_handshake_timeout=limit)
            )
            await turns(3)
            match how:
                case "stranger":
                    with pytest.raises(ssl.SSLError):
                        await aio.to_thread(over_tls, peer, certificates)
                case "no TLS":
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                case "hangs up":
                    peer.close()
                case "cancelled":
                    shaking.cancel()
            with pytest.raises(expected[how]) as caught:
                await shaking
            if how not in ("cancelled", "late"):
                assert "cannot start TLS with" in str(caught.value)
            await until(lambda: client.lost_with)
            assert client.told == ["made", "lost"]
            assert transport.is_closing()


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"sslcontext": None}, ValueError, "start_tls takes True"),
    ({"sslcontext": "yes"}, TypeError, "sslcontext must be True"),
    ({"sslcontext": True}, ValueError, "give server_hostname"),
    ({"sslcontext": True, "server_side": True}, ValueError, "certificate"),
    ({"sslcontext": True, "server_hostname": "a", "ssl_handshake_timeout": 0}, ValueError, "ssl_handshake_timeout"),
    ({"sslcontext": True, "server_hostname": "a", "ssl_shutdown_timeout": -1}, ValueError, "ssl_shutdown_timeout"),
    ({"sslcontext": tieline.TLS(server_hostname="a"), "server_hostname": "b"}, ValueError, "given twice"),
]


async def test_wrong_arguments_are_told_before_anything_is_said(certificates: Certificates) -> None:
    async with serving(Echo) as served:
        transport, client = await connect(Story, "127.0.0.1", served.port)
        for arguments, error, text in WRONG:
            with pytest.raises(error, match=text):
                await start_tls(transport, client, **arguments)
        tls = tls_server(certificates)
        with pytest.raises(ValueError, match="client's side"):
            await start_tls(transport, client, tls, server_side=True, server_hostname="localhost")
        transport.write(b"still plain")
        await until(lambda: client.data == b"still plain")
        transport.close()
        with pytest.raises(ClosedError, match="closed"):
            await start_tls(transport, client, True, server_hostname="localhost")
        await until(lambda: client.lost_with)


async def test_what_is_no_transport_of_a_stream_is_refused() -> None:
    transport, protocol = await tieline.create_datagram_endpoint(
        tieline.transports.DatagramCallbacks, local_addr=("127.0.0.1", 0), nursery=aio.nursery()
    )
    with pytest.raises(TypeError, match="the transport of a stream"):
        await start_tls(transport, protocol, True, server_hostname="localhost")
    transport.close()


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("T8")
@pytest.mark.parametrize("by_value", [False, True], ids=["contexts", "values"])
@pytest.mark.parametrize("is_secured", [False, True], ids=["plain", "TLS"])
async def test_streams_go_over_to_tls_on_both_sides(
    certificates: Certificates, by_value: bool, is_secured: bool
) -> None:
    """Over plain connections and within TLS, which the standard library refuses."""
    over = aio.Event()
    ours, theirs = tls_client(certificates), tls_server(certificates)

    async def talk(reader: Any, writer: Any) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(theirs if by_value else theirs.server_context())
        writer.write(b"safe: " + await reader.readline())
        await writer.drain()
        writer.close()
        over.set()

    settings: dict[str, Any] = {"ssl": ours, "server_hostname": "localhost"} if is_secured else {}
    with listening() as (listener, address):
        server = await start_server(talk, sock=listener, ssl=theirs if is_secured else None, nursery=aio.nursery())
        async with server:
            reader, writer = await open_streams(*address, **settings)
            before = writer.transport
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go ahead\n"
            await writer.start_tls(ours if by_value else ours.client_context(), server_hostname="localhost")
            assert writer.transport is not before
            assert writer.get_extra_info("ssl_object") is not None
            writer.write(b"hello\n")
            assert await reader.readline() == b"safe: hello\n"
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await over.wait()


@pytest.mark.row("T8")
async def test_what_the_reader_holds_counts_as_the_beginning_of_tls(certificates: Certificates) -> None:
    """So text that somebody has put behind the answer, to have it taken for safe, breaks the handshake."""
    with listening() as (listener, address):
        reader, writer = await open_streams(*address)
        with accepted(listener) as peer:
            peer.sendall(b"go ahead\ninjected\n")
            assert await reader.readline() == b"go ahead\n"
            with pytest.raises(ssl.SSLError):
                await writer.start_tls(tls_client(certificates), server_hostname="localhost")
            with pytest.raises(ssl.SSLError):
                await reader.readline()
            with pytest.raises(ssl.SSLError):
                await writer.wait_closed()


@pytest.mark.row("T8")
async def test_a_hello_that_has_come_already_is_taken_and_who_waits_for_a_line_gets_that_behind_it(
    certificates: Certificates,
) -> None:
    async def talk(reader: Any, writer: Any) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        await until(lambda: reader._buffer)
        await writer.start_tls(tls_server(certificates))
        writer.write((await reader.readline()).upper())
        writer.close()

    with listening() as (listener, address):
        server = await start_server(talk, sock=listener, nursery=aio.nursery())
        async with server:
            reader, writer = await open_streams(*address)
            writer.write(b"STARTTLS\n")
            waiting = aio.create_task(reader.readline())
            await turns(2)
            await writer.start_tls(tls_client(certificates), server_hostname="localhost")
            writer.write(b"hello\n")
            assert await waiting == b"HELLO\n"
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await turns(50)  # for the server's end to end


@pytest.mark.row("T8")
async def test_a_reader_that_is_full_pauses_the_tls_not_what_is_below_it(certificates: Certificates) -> None:
    size = 400_000

    async def talk(_reader: Any, writer: Any) -> None:
        await writer.start_tls(tls_server(certificates))
        writer.write(bytes(size))
        await writer.drain()
        writer.close()

    with listening() as (listener, address):
        server = await start_server(talk, sock=listener, nursery=aio.nursery())
        async with server:
            reader, writer = await open_streams(*address, limit=1000)
            await writer.start_tls(tls_client(certificates), server_hostname="localhost")
            await until(lambda: not writer.transport.is_reading())
            assert await reader.readexactly(size) == bytes(size)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await turns(50)  # for the server's end to end


class StaysOpen(Story):
    """Keeps its half of the connection open when the peer ends the other."""

    def eof_received(self) -> bool:
        super().eof_received()
        return True


@pytest.mark.row("T7")
async def test_an_end_that_has_come_before_ends_the_handshake_at_once(certificates: Certificates) -> None:
    with listening() as (listener, address):
        transport, client = await connect(StaysOpen, *address)
        with accepted(listener) as peer:
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: "eof" in client.told)
            with pytest.raises(TLSTruncated, match="in the middle of the TLS handshake"):
                await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
            await until(lambda: client.lost_with)
        assert client.told == ["made", "eof", "lost"]
        assert isinstance(client.lost_with[0], TLSTruncated)


async def test_an_end_without_a_goodbye_is_told(certificates: Certificates) -> None:
    with listening() as (listener, address):
        transport, client = await connect(Story, *address)
        peer = accepted(listener)

        def answer() -> None:
            over_tls(peer, certificates).detach()  # the descriptor is closed below, TLS never

        fd = peer.fileno()
        answering = aio.create_task(aio.to_thread(answer))
        await start_tls(transport, client, tls_client(certificates), server_hostname="localhost")
        await answering
        socket.socket(fileno=fd).close()
        await until(lambda: client.lost_with)
        assert isinstance(client.lost_with[0], TLSTruncated)
