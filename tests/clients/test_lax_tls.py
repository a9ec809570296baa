# SPDX-License-Identifier: MIT
"""Packet clients over TLS without its closing handshake, asynchronous and blocking."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import aio
from tests.runtimes.sockets import tcp_listener
from tieline import TLS
from tieline.clients import AsyncTCPNetworkClient, TCPNetworkClient
from tieline.errors import EndOfStream, StreamTruncated, TLSTruncated
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.certificates import Certificates

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())


@contextmanager
def peer(
    certificates: Certificates, *, says: bytes, ends: bool, when: threading.Event | None = None
) -> Iterator[tuple[Any, dict[str, Any], list[str]]]:
    """Give the address of a peer that speaks TLS, what a client needs for it, and what it saw at the end.

    It *says* something, and *ends* the connection without close_notify, *when* it is to; or waits for the client.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    seen: list[str] = []

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        plain.settimeout(30)
        with context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as sock:
            sock.sendall(says)
            if ends:
                if when is not None:
                    assert when.wait(30)
                return  # `with` closes the socket, and says nothing
            try:
                while sock.recv(100):
                    pass
                seen.append("close_notify")
            except (ssl.SSLEOFError, ConnectionResetError):
                seen.append("cut")

    with tcp_listener() as (listener, port):
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        settings = {"ssl": TLS(ca=certificates.ca), "server_hostname": "localhost"}
        yield ("127.0.0.1", port), settings, seen
        thread.join()


CUTS = [
    (None, b"one\n", TLSTruncated),
    (True, b"one\n", TLSTruncated),
    (False, b"one\n", EndOfStream),
    (False, b"one\ntw", StreamTruncated),
]
LAST_WORDS = [(None, "close_notify"), (True, "close_notify"), (False, "cut")]


@pytest.mark.row("K2", "K10")
@pytest.mark.parametrize(("compatible", "says", "error"), CUTS)
async def test_a_peer_that_does_not_say_that_it_ends(
    certificates: Certificates, compatible: bool | None, says: bytes, error: type[Exception]
) -> None:
    with peer(certificates, says=says, ends=True) as (address, settings, _):
        async with AsyncTCPNetworkClient(address, LINES, ssl_standard_compatible=compatible, **settings) as client:
            assert await client.recv_packet() == "one"
            for _ in range(2):
                with pytest.raises(error) as told:
                    await client.recv_packet()
                assert type(told.value) is error


@pytest.mark.row("K2", "K10")
@pytest.mark.parametrize(("compatible", "says", "error"), CUTS)
def test_a_peer_that_does_not_say_that_it_ends_in_blocking_code(
    certificates: Certificates, compatible: bool | None, says: bytes, error: type[Exception]
) -> None:
    with (
        peer(certificates, says=says, ends=True) as (address, settings, _),
        TCPNetworkClient(address, LINES, ssl_standard_compatible=compatible, **settings) as client,
    ):
        assert client.recv_packet() == "one"
        for _ in range(2):
            with pytest.raises(error) as told:
                client.recv_packet()
            assert type(told.value) is error


@pytest.mark.row("K2", "K16")
@pytest.mark.parametrize(("compatible", "saw"), LAST_WORDS)
async def test_this_side_says_that_it_ends_unless_it_is_not_to(
    certificates: Certificates, compatible: bool | None, saw: str
) -> None:
    with peer(certificates, says=b"one\n", ends=False) as (address, settings, seen):
        async with AsyncTCPNetworkClient(address, LINES, ssl_standard_compatible=compatible, **settings) as client:
            assert await client.recv_packet() == "one"
            await client.send_packet("all of it")
        await aio.sleep(0)
    assert seen == [saw]


@pytest.mark.row("K2", "K16")
@pytest.mark.parametrize(("compatible", "saw"), LAST_WORDS)
def test_this_side_says_that_it_ends_unless_it_is_not_to_in_blocking_code(
    certificates: Certificates, compatible: bool | None, saw: str
) -> None:
    with (
        peer(certificates, says=b"one\n", ends=False) as (address, settings, seen),
        TCPNetworkClient(address, LINES, ssl_standard_compatible=compatible, **settings) as client,
    ):
        assert client.recv_packet() == "one"
        client.send_packet("all of it")
    assert seen == [saw]


@pytest.mark.row("K2")
def test_without_tls_there_is_nothing_to_choose() -> None:
    for kind in (AsyncTCPNetworkClient, TCPNetworkClient):
        with pytest.raises(ValueError, match="ssl_standard_compatible is for TLS, so it needs ssl"):
            kind(("127.0.0.1", 1), LINES, ssl_standard_compatible=True)
