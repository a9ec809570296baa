# SPDX-License-Identifier: MIT
"""The I/O-free path in blocking code: sockets that only take and give. The turns are for `iofree.py`."""

from __future__ import annotations

import time
from itertools import repeat
from typing import Any, cast

import tieline
import tieline.blocking
from benchmarks.iofree_transport import Turn
from benchmarks.workloads import PACKET
from tieline.clients import TCPNetworkClient
from tieline.clients.client import Client
from tieline.clients.engine import PacketEngine
from tieline.protocol import StreamProtocol
from tieline.runtimes.blocking.backend import BlockingBackend
from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.blocking.lone_packets import PacketHost
from tieline.runtimes.blocking.transport import SocketTransport
from tieline.runtimes.link import Link
from tieline.serializers import JSONSerializer
from tieline.wire.packets import PacketConnection

__all__ = ["blocking_packet_turn", "blocking_turn"]


class Socket:
    """A socket as far as a transport asks for one."""

    def ignore(self, *_: object) -> None: ...

    setblocking = setsockopt = getsockname = getpeername = close = shutdown = ignore


class AnsweringSocket(Socket):
    """Takes what is sent, and has the answer to the next call each time that it is read from."""

    def __init__(self) -> None:
        self._calls = 0

    def send(self, data: bytes, _flags: int) -> int:
        return len(data)

    def recv(self, _size: int) -> bytes:
        self._calls += 1
        return b'{"jsonrpc":"2.0","id":%d,"result":3}\n' % (self._calls - 1)


class EchoingSocket(Socket):
    """Has all that was sent when it is read from."""

    def __init__(self) -> None:
        self._sent: list[bytes] = []

    def send(self, data: bytes, _flags: int) -> int:
        self._sent.append(data)
        return len(data)

    def recv(self, _size: int) -> bytes:
        data = b"".join(self._sent)
        self._sent.clear()
        return data


def connect(link: Link, host: BlockingHost, socket: Socket) -> None:
    """Connect a link to a socket."""
    host.transport = transport = SocketTransport(cast("Any", socket), link, host)
    host.do(link.connection_made, transport)


def blocking_turn(count: int) -> Turn:
    """Return what makes so many calls, one after the other, in blocking code."""
    # A thread that has a timer to run soon reads in another way, and counting takes its time.
    limits = tieline.Limits(call_timeout=3600)
    session, host = tieline.blocking.ClientSession("tcp://nowhere:1", limits=limits), BlockingHost()
    connect(session.new_link(host, accepted=False), host, AnsweringSocket())

    async def turn() -> float:
        call = session.call
        began = time.perf_counter()
        results = {call("add", 1, 2) for _ in range(count)}
        took = time.perf_counter() - began
        if results != {3}:
            raise ValueError(f"wrong answers: {results}")
        return took

    return turn


def blocking_packet_turn(count: int, at_once: int) -> Turn:
    """Return what sends and receives so many packets in blocking code: so many one by one, then received one by one."""
    protocol: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
    host = PacketHost()
    limits = tieline.Limits().resolved(accepted=False)
    engine = PacketEngine(BlockingBackend(host), PacketConnection(protocol, limits, accepted=False))
    connect(engine.link, host, EchoingSocket())
    host.drives(engine)
    client: TCPNetworkClient[Any] = TCPNetworkClient.__new__(TCPNetworkClient)  # as if it had connected
    Client.__init__(client, "nowhere")  # nobody is to be told that it was not closed
    client._host, client._engine = host, engine

    async def turn() -> float:
        send, receive = client.send_packet, client.recv_packet
        packets = repeat(PACKET, at_once)
        results: list[Any] = []
        began = time.perf_counter()
        for _ in range(count // at_once):
            for packet in repeat(PACKET, at_once):
                send(packet)
            results = [receive() for _ in range(at_once)]
        took = time.perf_counter() - began
        if results != list(packets):
            raise ValueError("the packets did not come back")
        return took

    return turn
