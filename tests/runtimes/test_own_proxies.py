# SPDX-License-Identifier: MIT
"""Proxies of users' own in blocking code: plain functions that connect a socket, like `socket.create_connection`."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

import tieline
from tests.certificates import Certificates
from tests.rpc.blocking.peers import METHODS
from tests.runtimes.scripted_proxies import listening, silent
from tests.runtimes.sockets import tcp_listener
from tieline import blocking
from tieline.clients import TCPNetworkClient
from tieline.errors import UnsupportedOperation
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

pytestmark = pytest.mark.row("P7")


class Tunnel:
    """Knows where names lead to, and writes down what it was asked for."""

    password = "staple-7"

    def __init__(self, port: int, connect: Callable[..., Any] = socket.create_connection) -> None:
        self._port = port
        self._connect = connect
        self.asked: list[tuple[str, int]] = []
        self.timeouts: list[float | None] = []

    def create_connection(self, address: tuple[str, int], timeout: float | None) -> Any:
        self.asked.append(address)
        self.timeouts.append(timeout)
        return self._connect(("127.0.0.1", self._port), timeout)

    def __repr__(self) -> str:
        return f"Tunnel({self.password})"


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2])


def test_calls_packets_streams_and_websockets_go_by_it() -> None:
    with blocking.serve(METHODS, "tcp://127.0.0.1:0") as server:
        tunnel = Tunnel(port_of(server))
        with blocking.connect("tcp://wallet.example:7", proxy=tunnel, connect_timeout=10) as session:
            assert session.call("add", 1, 2) == 3
            assert session.proxy() is tunnel
            assert session.remote_address() == ("wallet.example", 7)
        assert tunnel.asked == [("wallet.example", 7)]
        (timeout,) = tunnel.timeouts
        assert timeout is not None
        assert 0 < timeout <= 10
    with tcp_listener() as (listener, port):
        tunnel = Tunnel(port)
        lines: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
        with TCPNetworkClient(("meter.example", 7), lines, proxy=tunnel) as client:
            peer, _ = listener.accept()
            with peer:
                client.send_packet("hello")
                assert peer.recv(100) == b"hello\n"
            assert client.get_extra_info("proxy_target") == ("meter.example", 7)
        reader, writer = blocking.open_connection("host.example", 7, proxy=tunnel, connect_timeout=None)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"hello\n")
            assert reader.readline(timeout=10) == b"hello\n"
            writer.close()
            writer.wait_closed(timeout=10)
        assert tunnel.asked == [("meter.example", 7), ("host.example", 7)]
        assert tunnel.timeouts == [None, None]
    with blocking.serve(METHODS, "ws://127.0.0.1:0") as server:
        tunnel = Tunnel(int(server.url.rpartition(":")[2].strip("/")))
        with blocking.connect("ws://localhost:7", proxy=tunnel) as session:
            assert session.call("add", 1, 2) == 3


def test_the_module_of_sockets_is_one() -> None:
    with (
        blocking.serve(METHODS, "tcp://127.0.0.1:0") as server,
        blocking.connect(server.url, proxy=socket) as session,
    ):
        assert session.call("add", 1, 2) == 3


@pytest.mark.row("H69")
def test_tls_is_with_the_target(certificates: Certificates) -> None:
    tls = tieline.TLS(certificate=certificates.server)
    with blocking.serve(METHODS, "tls://127.0.0.1:0", tls=tls) as server:
        tunnel = Tunnel(port_of(server))
        trusting = tieline.TLS(ca=certificates.ca)
        with blocking.connect("tls://host.example:7", proxy=tunnel, tls=trusting) as session:
            assert session.call("add", 1, 2) == 3
        with pytest.raises(ssl.SSLCertVerificationError, match=r"elsewhere\.example"):
            blocking.connect("tls://elsewhere.example:7", proxy=tunnel, tls=trusting).create_connection()


def test_what_it_raises_comes_out_as_it_is() -> None:
    class Refused(ConnectionRefusedError):
        pass

    def refuse(*_: Any) -> Any:
        raise Refused("not for you")

    with pytest.raises(Refused, match="not for you"):
        blocking.create_connection(object, "h", 7, proxy=Tunnel(1, refuse))

    def late(*_: Any) -> Any:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        blocking.create_connection(object, "h", 7, proxy=Tunnel(1, late))


@pytest.mark.row("P2")
def test_the_deadline_is_the_one_of_the_connection_and_no_text_shows_the_object() -> None:
    def too_long(_: Any, timeout: float) -> Any:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            time.sleep(0.01)  # as long as it was given, and so too long
        raise TimeoutError("timed out")

    with pytest.raises(TimeoutError, match=r"cannot connect to tcp://h:7 through Tunnel within 0\.05 s") as caught:
        blocking.connect("tcp://h:7", proxy=Tunnel(1, too_long), connect_timeout=0.05).create_connection()
    assert Tunnel.password not in str(caught.value)
    with listening(silent) as scripted:  # nobody who speaks TLS
        session = blocking.connect("tls://h:7", proxy=Tunnel(scripted.port), connect_timeout=0.05)
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            session.create_connection()
    with pytest.raises(TimeoutError, match="within 0 s"):
        blocking.connect("tcp://h:7", proxy=Tunnel(1), connect_timeout=0).create_connection()


def test_one_for_asynchronous_code_is_refused_by_name() -> None:
    class Asynchronous:
        async def create_connection(self, *_: Any) -> Any: ...

    for dial in (
        lambda: blocking.connect("tcp://h:7", proxy=Asynchronous()).create_connection(),
        lambda: blocking.create_connection(object, "h", 7, proxy=Asynchronous()),
    ):
        with pytest.raises(UnsupportedOperation, match="Asynchronous dials in asynchronous code only: in blocking"):
            dial()


class Closable:
    closed = False

    def close(self) -> None:
        self.closed = True


async def _coroutine() -> None: ...


@pytest.mark.parametrize(
    "made",
    [None, "text", (1, 2), Closable, _coroutine, socket.SOCK_DGRAM],
    ids=["None", "str", "tuple", "closable", "coroutine", "datagrams"],
)
def test_what_is_no_connected_socket_is_refused_and_closed(made: Any) -> None:
    returned = socket.socket(type=made) if made is socket.SOCK_DGRAM else made() if callable(made) else made
    with pytest.raises(TypeError, match=r"returns a connected socket, and that of Tunnel returned a \w+"):
        blocking.create_connection(object, "h", 7, proxy=Tunnel(1, lambda *_: returned))
    if isinstance(returned, Closable):
        assert returned.closed
    if isinstance(returned, socket.socket):
        assert returned.fileno() == -1


@pytest.mark.parametrize("endpoint", ["unix:/tmp/nobody", "cmd:true", tieline.TCP("one", 0)], ids=str)
def test_it_is_asked_for_hosts_and_ports_alone(endpoint: Any) -> None:
    tunnel = Tunnel(1)
    with pytest.raises(ValueError, match="a proxy takes TCP endpoints"):
        blocking.connect(endpoint, proxy=tunnel).create_connection()
    assert tunnel.asked == []
