# SPDX-License-Identifier: MIT
"""WebSocket as one more connection: calls and packets, in TLS and without, over TCP and Unix sockets, on every runtime.

In each test servers of the running loop and of blocking code are each called by clients of both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect as foreign_connect

import tieline
from tests import aio
from tieline import TCP, TLS, UnixStream, WebSocket, blocking
from tieline.errors import ConnectionLost, EndOfStream, WebSocketClosed
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer, LengthPrefixedSerializer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.certificates import Certificates

PACKETS: StreamProtocol[Any] = StreamProtocol(LengthPrefixedSerializer(JSONSerializer(), limit=1 << 22))
LONG = "x" * 900_000
VALUES = [1, "grüße", {"a": [1.5, None]}, LONG]
CARRIERS = ("ws", "wss", "ws over a Unix socket", "wss over a Unix socket")


def methods() -> tieline.Methods:
    made = tieline.Methods()
    made.method(name="echo")(lambda value: value)
    return made


async def echo(client: Any) -> None:
    async for packet in client:
        await client.send_packet(packet)


def echo_in_thread(client: Any) -> None:
    for packet in client.iter_received_packets(timeout=None):
        client.send_packet(packet)


class Carrier:
    """Makes endpoints to listen at, and to connect to."""

    def __init__(self, name: str, folder: Path, certificates: Certificates) -> None:
        self._is_unix = "Unix" in name
        self._folder = folder
        is_secure = name.startswith("wss")
        self._own = TLS(certificate=certificates.server) if is_secure else None
        self._trust = TLS(ca=certificates.ca, server_hostname="localhost") if is_secure else None

    def to_listen(self, name: str) -> WebSocket:
        under = UnixStream(self._folder / name) if self._is_unix else TCP("127.0.0.1", 0)
        return WebSocket(replace(under, tls=self._own), "/rpc")

    def to_dial(self, server: Any) -> WebSocket:
        (found,) = server.get_addresses()
        assert isinstance(found, WebSocket)
        return replace(found, under=replace(found.under, tls=self._trust))


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates) -> Carrier:
    return Carrier(request.param, tmp_path, certificates)


# --- both kinds of messages, over all that carries them --------------------------------------------------------------


async def test_calls(carrier: Carrier) -> None:
    def talk(endpoint: WebSocket) -> list[object]:
        with blocking.connect(endpoint) as session:
            assert session.get_extra_info("websocket").path == "/rpc"
            return [session.call("echo", value) for value in VALUES]

    with blocking.serve(methods(), carrier.to_listen("blocking")) as other:
        async with tieline.serve(methods(), carrier.to_listen("async")) as server:
            for endpoint in (carrier.to_dial(server), carrier.to_dial(other)):
                async with tieline.connect(endpoint) as session:
                    assert [await session.call("echo", value) for value in VALUES] == VALUES
                    assert session.get_extra_info("websocket").path == "/rpc"
                assert await aio.to_thread(talk, endpoint) == VALUES


async def test_packets(carrier: Carrier) -> None:
    def talk(endpoint: WebSocket) -> list[object]:
        with blocking.connect(endpoint, protocol=PACKETS) as client:
            client.send_packets(VALUES)
            return [client.recv_packet(timeout=30) for _ in VALUES]

    with blocking.serve(echo_in_thread, carrier.to_listen("blocking"), protocol=PACKETS) as other:
        async with tieline.serve(echo, carrier.to_listen("async"), protocol=PACKETS) as server:
            for endpoint in (carrier.to_dial(server), carrier.to_dial(other)):
                async with tieline.connect(endpoint, protocol=PACKETS) as client:
                    await client.send_packets(VALUES)
                    async with aio.timeout(30):
                        assert [await client.recv_packet() for _ in VALUES] == VALUES
                    assert client.get_extra_info("websocket").path == "/rpc"
                assert await aio.to_thread(talk, endpoint) == VALUES


# --- servers of packets ----------------------------------------------------------------------------------------------


async def test_a_packet_server_tells_what_it_is_and_who_came() -> None:
    seen: list[Any] = []

    async def look(client: Any) -> None:
        info = client.get_extra_info("websocket")
        seen.append((info.path, info.header("Host"), client.get_extra_info("peername")[0]))
        await client.send_packet("seen")

    async with tieline.serve(look, "ws://127.0.0.1:0/meter", protocol=PACKETS) as server:
        assert repr(server).startswith("<AsyncWebSocketServer ws://127.0.0.1:")
        assert server.url.endswith("/meter")
        async with tieline.connect(server.url, protocol=PACKETS) as client:
            assert await client.recv_packet() == "seen"
            with pytest.raises(EndOfStream) as caught:  # the handler is done
                await client.recv_packet()
        cause = caught.value.__cause__
        assert isinstance(cause, WebSocketClosed)
        assert (cause.code, cause.is_orderly) == (1000, True)
        host = server.url.split("/")[2]
    assert seen == [("/meter", host, "127.0.0.1")]


async def test_a_packet_server_that_goes_down_ends_the_loop_of_its_client() -> None:
    async with (
        tieline.serve(echo, "ws://127.0.0.1:0/", protocol=PACKETS) as server,
        tieline.connect(server.url, protocol=PACKETS) as client,
    ):
        await client.send_packet(1)
        assert await client.recv_packet() == 1
        await server.shutdown()
        assert [packet async for packet in client] == []
        with pytest.raises(EndOfStream) as caught:
            await client.recv_packet()
    cause = caught.value.__cause__
    assert isinstance(cause, WebSocketClosed)
    assert cause.code == 1001


async def test_a_handler_of_packets_that_fails_closes_its_own_connection_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def picky(client: Any) -> None:
        async for packet in client:
            await client.send_packet(10 // packet)

    async with (
        tieline.serve(picky, "ws://127.0.0.1:0/", protocol=PACKETS) as server,
        tieline.connect(server.url, protocol=PACKETS) as client,
        tieline.connect(server.url, protocol=PACKETS) as bystander,
    ):
        await client.send_packet(0)
        with pytest.raises(ConnectionLost):
            await client.recv_packet()
        await bystander.send_packet(5)
        assert await bystander.recv_packet() == 2
    assert "ZeroDivisionError" in caplog.text


async def test_a_foreign_client_speaks_packets_with_our_server() -> None:
    def talk(url: str) -> tuple[bytes, Any]:
        with foreign_connect(url, max_size=None) as peer:
            whole = b"".join(PACKETS.generate_chunks([1, 2, 3]))
            for piece in (whole[:1], whole[1:3].decode(), whole[3:]):  # where a message ends is nothing
                peer.send(piece)
            found = b""
            while len(found) < len(whole):
                message = peer.recv(30)
                assert isinstance(message, bytes)
                found += message
            return found, whole

    async with tieline.serve(echo, "ws://127.0.0.1:0/", protocol=PACKETS) as server:
        found, sent = await aio.to_thread(talk, server.url)
        assert found == sent


async def test_a_packet_over_the_limit_of_a_message_is_sent_in_several() -> None:
    packet = "x" * 3_000_000
    async with (
        tieline.serve(echo, "ws://127.0.0.1:0/", protocol=PACKETS) as server,
        tieline.connect(server.url, protocol=PACKETS) as client,
    ):
        await client.send_packet(packet)
        async with aio.timeout(60):
            assert await client.recv_packet() == packet


async def test_packets_that_are_sent_together_are_no_longer_than_each_of_them(carrier: Carrier) -> None:
    """How a stream is cut into messages of WebSocket says nothing of what is in it."""
    limits = tieline.Limits(max_message=100_000)
    packets = ["x" * 1000] * 300
    async with (
        tieline.serve(echo, carrier.to_listen("s"), protocol=PACKETS, limits=limits) as server,
        tieline.connect(carrier.to_dial(server), protocol=PACKETS) as client,
    ):
        await client.send_packets(packets)
        assert [await client.recv_packet() for _ in packets] == packets
