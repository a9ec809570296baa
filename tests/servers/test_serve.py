# SPDX-License-Identifier: MIT
"""`tieline.serve` with a protocol: the packet server that is for the endpoint."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.certificates import Certificates
from tests.servers.scene import DATAGRAMS, LINES, echo, heard, peer_of, told
from tieline import TLS, Limits, NewlineFramer
from tieline.clients import AsyncTCPNetworkClient
from tieline.serializers import JSONSerializer
from tieline.servers import (
    AsyncTCPNetworkServer,
    AsyncUDPNetworkServer,
    AsyncUnixDatagramServer,
    AsyncUnixStreamServer,
    DatagramPeer,
)


async def answer(packet: Any, peer: DatagramPeer[Any]) -> None:
    await peer.send_packet(packet)


KINDS: list[tuple[str, type[Any]]] = [
    ("tcp://127.0.0.1:0", AsyncTCPNetworkServer),
    ("unix:{}/socket", AsyncUnixStreamServer),
    ("udp://127.0.0.1:0", AsyncUDPNetworkServer),
    ("unix-dgram:{}/socket", AsyncUnixDatagramServer),
]


@pytest.mark.parametrize(("url", "kind"), KINDS, ids=[kind.__name__ for _, kind in KINDS])
async def test_the_scheme_says_which_server_it_is(url: str, kind: type[Any], tmp_path: Path) -> None:
    url = url.format(tmp_path)
    is_stream = kind in (AsyncTCPNetworkServer, AsyncUnixStreamServer)
    serve: Any = tieline.serve
    server = serve(echo if is_stream else answer, url, protocol=LINES if is_stream else DATAGRAMS)
    assert type(server) is kind
    async with server:
        assert server.url.split(":")[0] == url.split(":")[0]
        if is_stream:
            with peer_of(server) as peer:
                await told(peer, b"x\n")
                assert await heard(peer, 2) == b"x\n"


async def test_a_tls_url_and_an_endpoint_serve_as_well(certificates: Certificates) -> None:
    tls = TLS(certificate=certificates.server)
    async with tieline.serve(echo, "tls://127.0.0.1:0", protocol=LINES, tls=tls) as server:
        port = server.get_addresses()[0].port  # type: ignore[union-attr]  # of TCP it is
        client: AsyncTCPNetworkClient[str]
        async with AsyncTCPNetworkClient(("127.0.0.1", port), LINES, ssl=TLS(ca=certificates.ca)) as client:
            await client.send_packet("x")
            assert await client.recv_packet() == "x"
    async with tieline.serve(answer, tieline.UDP("127.0.0.1", 0), protocol=DATAGRAMS) as udp:
        with peer_of(udp, socket.SOCK_DGRAM) as peer:
            peer.send(b"1")
            while True:
                try:
                    assert peer.recv(100) == b"1"
                    break
                except BlockingIOError:
                    await aio.sleep(0.001)


JSON = JSONSerializer()
WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("tcp://127.0.0.1:0", {"protocol": "lines"}, TypeError, "must be a StreamProtocol or BufferedStreamProtocol"),
    (
        "tcp://127.0.0.1:0",
        {"protocol": JSON},
        TypeError,
        r"not JSONSerializer: did you mean StreamProtocol\(serial",
    ),
    ("udp://127.0.0.1:0", {"protocol": JSON}, TypeError, r"not JSONSerializer: did you mean DatagramProtocol\(serial"),
    ("tcp://127.0.0.1:0", {"protocol": DATAGRAMS}, TypeError, "must be a StreamProtocol or BufferedStreamProtocol"),
    ("udp://127.0.0.1:0", {"protocol": LINES}, TypeError, "must be a DatagramProtocol, not StreamProtocol"),
    ("udp://127.0.0.1:0", {"protocol": DATAGRAMS, "tls": True}, ValueError, "tls is for streams"),
    ("tls://127.0.0.1:0", {"protocol": LINES}, ValueError, "certificate"),
    ("stdio:", {"protocol": LINES}, ValueError, "packets are served over TCP, UDP, Unix sockets and WebSocket"),
    ("ws://127.0.0.1:0/", {"protocol": DATAGRAMS}, TypeError, "must be a StreamProtocol or BufferedStreamProtocol"),
    (5, {"protocol": LINES}, TypeError, "an endpoint or a URL is needed"),
    ("tcp://127.0.0.1:0", {"protocol": LINES, "framer": NewlineFramer}, TypeError, "framer: for calls"),
    ("tcp://127.0.0.1:0", {"protocol": LINES, "limits": 5}, TypeError, "limits must be"),
    ("nothing", {"protocol": LINES}, ValueError, "a URL must start with"),
    ("udp://127.0.0.1:0", {}, ValueError, "a connection is needed here.*with protocol=DatagramProtocol"),
    (
        "tcp://127.0.0.1:0",
        {},
        TypeError,
        r"echo is not a factory .*'client'\): .* packets goes with protocol=",
    ),
]


@pytest.mark.parametrize(("where", "given", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_is_told_at_once(where: Any, given: dict[str, Any], error: type[Exception], text: str) -> None:
    handler: Any = echo
    with pytest.raises(error, match=text):
        tieline.serve(handler, where, **given)


class Picky(tieline.ServerSession):
    def __init__(self, name: str) -> None:
        super().__init__()


async def make() -> None: ...


NO_FACTORIES: list[tuple[Any, str]] = [
    (Picky, r"^Picky is not a factory of sessions \(missing a required argument: 'name'\)$"),
    (
        make,
        r"^make is not a factory of sessions \(it is async\): functions that peers may call go into Methods, and a ",
    ),
]


@pytest.mark.parametrize(("factory", "text"), NO_FACTORIES, ids=["class", "async"])
def test_what_makes_no_sessions_is_told_before_anybody_connects(factory: Any, text: str) -> None:
    for serve in (tieline.serve, tieline.blocking.serve):
        with pytest.raises(TypeError, match=text):
            serve(factory, "tcp://127.0.0.1:0")


class Wrapped(Picky):
    def __init__(self) -> None:
        super().__init__("wrapped")


functools.update_wrapper(Wrapped.__init__, Picky.__init__)


@functools.wraps(Picky)
def wrapper() -> tieline.ServerSession:
    return Picky("wrapped")


@functools.wraps(make)
def wrapper_of_async() -> tieline.ServerSession:
    return Picky("wrapped")


class Secretive:
    """Makes sessions, and tells by no signature what it takes: as one whose hints are not there when it runs."""

    def __init__(self, signature: object) -> None:
        self._signature = signature

    @property
    def __signature__(self) -> object:
        if isinstance(self._signature, Exception):
            raise self._signature
        return self._signature

    def __call__(self) -> tieline.ServerSession:
        return Picky("secretive")


FACTORIES: list[Any] = [Wrapped, wrapper, wrapper_of_async, Secretive(NameError("a hint")), Secretive("none at all")]


@pytest.mark.parametrize("factory", FACTORIES, ids=["class", "function", "of async", "error", "no signature"])
async def test_a_factory_is_asked_for_what_it_takes_itself(factory: Any) -> None:
    async with tieline.serve(factory, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as client:
        with pytest.raises(tieline.RPCError, match="unknown method"):
            await client.call("absent")


async def test_limits_reach_the_server() -> None:
    async with tieline.serve(echo, "tcp://127.0.0.1:0", protocol=LINES, limits=Limits(max_connections=0)) as server:
        with peer_of(server) as peer:
            assert await heard(peer, 1) == b""
