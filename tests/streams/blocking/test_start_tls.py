# SPDX-License-Identifier: MIT
"""TLS that starts on an open connection in blocking code: of protocols of users' own, and of streams (D6)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import Task
from tests.runtimes.sockets import open_sockets
from tests.streams.scene import Story
from tieline import TLS, ClosedError, LocalProtocolError
from tieline.blocking import create_connection, open_connection, start_tls
from tieline.errors import TLSTruncated

pytestmark = pytest.mark.row("D6")

PATIENCE = 30.0


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


def server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    return context


def over_tls(peer: socket.socket, certificates: Certificates) -> ssl.SSLSocket:
    return server_context(certificates).wrap_socket(peer, server_side=True)


def poll_until(transport: Any, story: Story, data: bytes) -> None:
    while story.data != data:
        assert transport.poll(PATIENCE)


def test_a_protocol_goes_over_to_tls_on_the_transport_that_it_has(certificates: Certificates) -> None:
    with listening() as (listener, address):
        transport, client = create_connection(Story, *address)
        peer = accepted(listener)

        def answer() -> bytes:
            assert peer.recv(5) == b"plain"
            peer.sendall(b"go ahead")
            with over_tls(peer, certificates) as safe:
                safe.sendall(b"hello")
                return safe.recv(10) + safe.recv(10)

        answering = Task(answer)
        transport.write(b"plain")
        poll_until(transport, client, b"go ahead")
        client.data = b""
        assert start_tls(transport, client, TLS(ca=certificates.ca), server_hostname="localhost") is transport
        assert transport.get_extra_info("ssl_object") is not None
        assert transport.get_protocol() is client
        poll_until(transport, client, b"hello")
        transport.write(b"got it")
        transport.close()
        transport.wait_closed(PATIENCE)
        assert answering.result() == b"got it"
        assert client.told == ["made", "data", "data", "lost"]
        assert client.lost_with == [None]


def test_the_side_that_answers_the_handshake(certificates: Certificates) -> None:
    with listening() as (listener, address):
        transport, client = create_connection(Story, *address)
        peer = accepted(listener)
        context = ssl.create_default_context(cafile=certificates.ca)

        def ask() -> bytes:
            with context.wrap_socket(peer, server_hostname="localhost") as safe:
                return safe.recv(10)

        asking = Task(ask)
        start_tls(transport, client, TLS(certificate=certificates.server), server_side=True)
        transport.write(b"hello")
        transport.close()
        transport.wait_closed(PATIENCE)
        assert asking.result() == b"hello"


def test_megabytes_that_are_unsent_leave_before(certificates: Certificates) -> None:
    plain = b"x" * (8 << 20)
    with listening() as (listener, address):
        transport, client = create_connection(Story, *address)
        peer = accepted(listener)

        def answer() -> int:
            count = 0
            while count < len(plain):
                count += len(peer.recv(len(plain) - count))
            with over_tls(peer, certificates) as safe:
                assert safe.recv(10) == b"safe"
                safe.sendall(b"hello")
                return count

        transport.write(plain)
        assert transport.get_write_buffer_size()
        answering = Task(answer)
        start_tls(transport, client, TLS(ca=certificates.ca), server_hostname="localhost")
        transport.write(b"safe")
        poll_until(transport, client, b"hello")
        transport.close()
        transport.wait_closed(PATIENCE)
        assert answering.result() == len(plain)


@pytest.mark.parametrize("how", ["stranger", "no TLS", "hangs up", "late"])
def test_a_handshake_that_fails_ends_the_connection(certificates: Certificates, how: str) -> None:
    expected: dict[str, Any] = {
        "stranger": ssl.SSLCertVerificationError,
        "no TLS": ssl.SSLError,
        "hangs up": OSError,
        "late": TimeoutError,
    }
    with listening() as (listener, address):
        transport, client = create_connection(Story, *address)
        with accepted(listener) as peer:
            tls = TLS() if how == "stranger" else TLS(ca=certificates.ca)
            task: Task | None = None
            match how:
                case "stranger":
                    task = Task(over_tls, peer, certificates)
                case "no TLS":
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                case "hangs up":
                    peer.close()
            limit = 0.05 if how == "late" else PATIENCE
            with pytest.raises(expected[how], match=r"handshake|cannot start TLS with"):
                start_tls(transport, client, tls, server_hostname="localhost", ssl_handshake_timeout=limit)
            if task is not None:
                assert isinstance(task.error(), ssl.SSLError)
            transport.wait_closed(PATIENCE)
            assert client.told == ["made", "lost"]


def test_an_end_that_has_come_before_ends_the_handshake_at_once(certificates: Certificates) -> None:
    class StaysOpen(Story):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    with listening() as (listener, address):
        transport, client = create_connection(StaysOpen, *address)
        with accepted(listener) as peer:
            peer.shutdown(socket.SHUT_WR)
            while "eof" not in client.told:
                transport.poll(PATIENCE)
            with pytest.raises(TLSTruncated, match="in the middle of the TLS handshake"):
                start_tls(transport, client, TLS(ca=certificates.ca), server_hostname="localhost")
            transport.wait_closed(PATIENCE)
    assert client.told == ["made", "eof", "lost"]


def test_wrong_calls_are_told_before_anything_is_said() -> None:
    class Starts(Story):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            with pytest.raises(LocalProtocolError, match="within a callback"):
                start_tls(self.transport, self, True, server_hostname="localhost")

    with listening() as (listener, address):
        transport, client = create_connection(Starts, *address)
        with accepted(listener) as peer:
            with pytest.raises(ValueError, match="give server_hostname"):
                start_tls(transport, client, True)
            with pytest.raises(ValueError, match="start_tls takes True"):
                start_tls(transport, client, None)
            inner: Any = transport.inner
            with pytest.raises(TypeError, match="the transport of a stream"):
                start_tls(inner, client, True, server_hostname="localhost")
            peer.sendall(b"plain")
            poll_until(transport, client, b"plain")
            transport.close()
            with pytest.raises(ClosedError, match="closed"):
                start_tls(transport, client, True, server_hostname="localhost")
            transport.wait_closed(PATIENCE)


# --- streams ---------------------------------------------------------------------------------------------------------


def test_streams_go_over_to_tls(certificates: Certificates) -> None:
    with listening() as (listener, address):
        reader, writer = open_connection(*address)
        peer = accepted(listener)

        def answer() -> None:
            assert peer.recv(100) == b"STARTTLS\n"
            peer.sendall(b"go ahead\n")
            with over_tls(peer, certificates) as safe:
                safe.sendall(b"safe: " + safe.recv(100))

        answering = Task(answer)
        writer.write(b"STARTTLS\n")
        assert reader.readline(PATIENCE) == b"go ahead\n"
        writer.start_tls(TLS(ca=certificates.ca), server_hostname="localhost")
        writer.write(b"hello\n")
        assert reader.readline(PATIENCE) == b"safe: hello\n"
        writer.close()
        writer.wait_closed(PATIENCE)
        answering.result()


def test_what_the_reader_holds_counts_as_the_beginning_of_tls(certificates: Certificates) -> None:
    """So text that somebody has put behind the answer, to have it taken for safe, breaks the handshake."""
    with listening() as (listener, address):
        reader, writer = open_connection(*address)
        with accepted(listener) as peer:
            peer.sendall(b"go ahead\ninjected\n")
            assert reader.readuntil(b"\n", PATIENCE) == b"go ahead\n"
            with pytest.raises(ssl.SSLError):
                writer.start_tls(TLS(ca=certificates.ca), server_hostname="localhost")
            with pytest.raises(ssl.SSLError):
                reader.readline(PATIENCE)
