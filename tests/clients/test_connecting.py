# SPDX-License-Identifier: MIT
"""`connect` with a protocol of packets: the client for each kind of URL, asynchronous and blocking."""

from __future__ import annotations

import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.clients.datagram_peers import BYTES, udp_peer, unix_peer
from tests.clients.test_over_websocket import echo, served
from tests.runtimes.sockets import black_hole, closed_port, tcp_listener
from tieline import clients
from tieline.clients.async_stream import AsyncStreamClient
from tieline.clients.stream import StreamClient
from tieline.endpoints.command import Stdio
from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

if TYPE_CHECKING:
    from pathlib import Path

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
ECHO = f"cmd:{shlex.quote(sys.executable)} -c 'import sys; [print(line, end=\"\", flush=True) for line in sys.stdin]'"

KINDS: list[tuple[Any, Any, str]] = [
    ("tcp://h:1", LINES, "TCPNetworkClient"),
    ("tls://h:1", LINES, "TCPNetworkClient"),
    (TCP("h", 1, local_addr=("127.0.0.1", 0)), LINES, "TCPNetworkClient"),
    ("unix:/a/b", LINES, "UnixStreamClient"),
    (UnixStream("@name"), LINES, "UnixStreamClient"),
    ("udp://h:1", BYTES, "UDPNetworkClient"),
    (UDP("h", 1), BYTES, "UDPNetworkClient"),
    ("unix-dgram:@name", BYTES, "UnixDatagramClient"),
    (UnixDatagram("/a/b", local_path="/c"), BYTES, "UnixDatagramClient"),
]


@pytest.mark.parametrize(("where", "protocol", "name"), KINDS)
def test_each_kind_of_endpoint_has_its_client(where: Any, protocol: Any, name: str) -> None:
    client = tieline.connect(where, protocol=protocol)
    assert type(client) is getattr(clients, f"Async{name}")
    assert repr(client).endswith(" not connected>")


async def test_over_tcp_and_from_an_endpoint() -> None:
    with tcp_listener() as (listener, port):
        async with tieline.connect(f"tcp://127.0.0.1:{port}", protocol=LINES) as client:
            peer, _ = listener.accept()
            with peer:
                await client.send_packet("hello")
                assert peer.recv(100) == b"hello\n"
        with tieline.blocking.connect(TCP("127.0.0.1", port), protocol=LINES) as blocking:
            assert type(blocking) is clients.TCPNetworkClient
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"hello\n")
                assert blocking.recv_packet() == "hello"


async def test_over_unix_streams(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        async with tieline.connect(f"unix:{tmp_path}/s", protocol=LINES) as client:
            with listener.accept()[0] as peer:
                peer.sendall(b"hello\n")
                assert await client.recv_packet() == "hello"
        with tieline.blocking.connect(f"unix:{tmp_path}/s", protocol=LINES) as blocking:
            assert type(blocking) is clients.UnixStreamClient
            with listener.accept()[0] as peer:
                peer.sendall(b"hello\n")
                assert blocking.recv_packet() == "hello"


async def test_over_datagrams(tmp_path: Path) -> None:
    with udp_peer() as peer, unix_peer(tmp_path) as (unix, path):
        url = f"udp://127.0.0.1:{peer.getsockname()[1]}"
        async with tieline.connect(url, protocol=BYTES) as client:
            await client.send_packet(b"x")
            assert peer.recv(10) == b"x"
        with tieline.blocking.connect(url, protocol=BYTES) as blocking:
            assert type(blocking) is clients.UDPNetworkClient
            blocking.send_packet(b"y")
            assert peer.recv(10) == b"y"
        with tieline.blocking.connect(f"unix-dgram:{path}", protocol=BYTES) as named:
            assert type(named) is clients.UnixDatagramClient
            named.send_packet(b"z")
            assert unix.recv(10) == b"z"


async def test_over_the_pipes_of_a_child_process() -> None:
    async with tieline.connect(ECHO, protocol=LINES) as client:
        assert type(client) is AsyncStreamClient
        await client.send_packets(["one", "two"])
        assert [await client.recv_packet(), await client.recv_packet()] == ["one", "two"]
        assert not hasattr(client, "socket")


def test_over_the_pipes_of_a_child_process_in_blocking_code() -> None:
    with tieline.blocking.connect(ECHO, protocol=LINES) as client:
        assert type(client) is StreamClient
        client.send_packets(["one", "two"])
        assert [client.recv_packet(timeout=30), client.recv_packet(timeout=30)] == ["one", "two"]
        assert client.fileno() == -1
        assert not hasattr(client, "socket")


# What a child does behind two lines, and how that is told.
ENDS: list[tuple[str, type[Exception], str]] = [
    ("exit 3", tieline.ProcessEnded, "ended with exit code 3"),
    ("kill -9 $$", tieline.ProcessEnded, "was ended by SIGKILL"),
    ("exit 0", tieline.EndOfStream, "ended with exit code 0"),
    ("exec >&-; sleep 60", tieline.EndOfStream, "closed its output, and still runs"),
]


def ending(how: str) -> tieline.Command:
    return tieline.Command(["sh", "-c", f"echo one; echo two; {how}"], grace=0.1)


@pytest.mark.row("H79")
@pytest.mark.parametrize(("how", "kind", "text"), ENDS)
async def test_a_child_that_fails_is_no_end_of_its_stream(how: str, kind: type[Exception], text: str) -> None:
    async with tieline.connect(ending(how), protocol=LINES) as client:
        packets = client.iter_received_packets(timeout=None)
        assert [await packets.__anext__(), await packets.__anext__()] == ["one", "two"]
        with pytest.raises(StopAsyncIteration if kind is tieline.EndOfStream else kind):
            await packets.__anext__()
        for _ in range(2):
            with pytest.raises(tieline.ConnectionLost, match=text) as caught:
                await client.recv_packet()
            assert type(caught.value) is kind


@pytest.mark.row("H79")
@pytest.mark.parametrize(("how", "kind", "text"), ENDS)
def test_a_child_that_fails_is_no_end_of_its_stream_in_blocking_code(
    how: str, kind: type[Exception], text: str
) -> None:
    with tieline.blocking.connect(ending(how), protocol=LINES) as client:
        packets = client.iter_received_packets(timeout=None)
        assert [next(packets), next(packets)] == ["one", "two"]
        with pytest.raises(StopIteration if kind is tieline.EndOfStream else kind):
            next(packets)
        for _ in range(2):
            with pytest.raises(tieline.ConnectionLost, match=text) as caught:
                client.recv_packet()
            assert type(caught.value) is kind


@pytest.mark.row("H79")
def test_an_exit_code_that_nobody_tells_is_no_end_of_its_stream() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so the system forgets children by itself
    try:
        with tieline.blocking.connect(ending("exit 0"), protocol=LINES) as client:
            assert [client.recv_packet(), client.recv_packet()] == ["one", "two"]
            with pytest.raises(tieline.ConnectionLost, match="with which exit code is not known") as caught:
                client.recv_packet()
        assert type(caught.value) is tieline.ConnectionLost
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize(("how", "kind", "text"), ENDS[:3])
async def test_to_send_to_a_child_that_has_ended_tells_how_it_has(how: str, kind: type[Exception], text: str) -> None:
    async with tieline.connect(ending(how), protocol=LINES) as client:
        while client.is_connected():
            await aio.sleep(0)
        with pytest.raises(tieline.ConnectionLost) as caught:
            await client.send_packet("x")
    assert type(caught.value.__cause__) is kind
    assert text in str(caught.value.__cause__)


@pytest.mark.parametrize(("how", "kind", "text"), ENDS[:3])
def test_blocking_code_that_sends_to_a_child_that_has_ended_is_told_how(
    how: str, kind: type[Exception], text: str
) -> None:
    with tieline.blocking.connect(ending(how), protocol=LINES) as client:
        assert [client.recv_packet(), client.recv_packet()] == ["one", "two"]
        with pytest.raises(kind):
            client.recv_packet()
        with pytest.raises(tieline.ConnectionLost) as caught:
            client.send_packet("x")
    assert type(caught.value.__cause__) is kind
    assert text in str(caught.value.__cause__)


async def test_over_websocket() -> None:
    with served(echo) as endpoint:
        async with tieline.connect(endpoint.url, protocol=LINES) as client:
            await client.send_packet("hello")
            assert await client.recv_packet() == "hello"

        def talk() -> str:
            with tieline.blocking.connect(endpoint.url, protocol=LINES) as client:
                client.send_packet("hello")
                return client.recv_packet(timeout=30)

        assert await aio.to_thread(talk) == "hello"


@pytest.mark.row("K6")
async def test_nobody_there_is_told_as_by_the_clients(tmp_path: Path) -> None:
    with closed_port() as port:
        with pytest.raises(ConnectionRefusedError):
            await tieline.connect(f"tcp://127.0.0.1:{port}", protocol=LINES).wait_connected()
        with pytest.raises(ConnectionRefusedError):
            tieline.blocking.connect(f"tcp://127.0.0.1:{port}", protocol=LINES)
    with pytest.raises(FileNotFoundError):
        tieline.blocking.connect(f"unix:{tmp_path}/missing", protocol=LINES)
    with black_hole() as port, pytest.raises(TimeoutError):
        await tieline.connect(f"tcp://127.0.0.1:{port}", protocol=LINES, connect_timeout=0.01).wait_connected()


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("udp://h:1", {"protocol": LINES}, TypeError, "must be a DatagramProtocol, not StreamProtocol"),
    ("tcp://h:1", {"protocol": BYTES}, TypeError, "must be a StreamProtocol or BufferedStreamProtocol, not Dat"),
    ("ws+unix:/a", {"protocol": LINES}, ValueError, "a URL must start with one of"),
    (Stdio(), {"protocol": LINES}, ValueError, "is for serving"),
    ("udp://h:1", {"protocol": BYTES, "tls": True}, ValueError, "tls is for streams"),
    ("unix:/a", {"protocol": LINES, "tls": True}, ValueError, "server_hostname"),
    ("unix:/a", {"protocol": LINES, "proxy": "socks5://h:1"}, ValueError, "a proxy takes TCP and UDP only"),
    ("unix-dgram:/a", {"protocol": BYTES, "proxy": "socks5://h:1"}, ValueError, "a proxy takes UDP only"),
    ("tcp://h:1", {"protocol": LINES, "methods": {}, "framer": object}, TypeError, "methods, framer: for sessions"),
    ("tcp://h:1", {"protocol": LINES, "session_factory": object}, TypeError, "session_factory: for sessions"),
    (5, {"protocol": LINES}, TypeError, "an endpoint or a URL is needed, not int"),
    ("udp://h:1", {}, ValueError, "a connection is needed here"),
]


@pytest.mark.parametrize(("where", "given", "error", "text"), REFUSED)
def test_what_makes_no_sense_is_refused(where: Any, given: dict[str, Any], error: type[Exception], text: str) -> None:
    for connect in (tieline.connect, tieline.blocking.connect):
        with pytest.raises(error, match=text):
            connect(where, **given)
