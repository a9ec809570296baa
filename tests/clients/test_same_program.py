# SPDX-License-Identifier: MIT
"""One client program for both worlds: taking `async` and `await` out of it is all that it takes."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.datagram_peers import udp_peer
from tests.runtimes.sockets import closed_port, tcp_listener
from tieline import clients, errors, protocol, serializers

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM = """
async def program(address, dead):
    seen = []
    lines = StreamProtocol(JSONSerializer())
    async with AsyncTCPNetworkClient(address, lines) as client:
        await client.send_packet({"first": 1})
        await client.send_packets([2, 3])
        seen.append(await client.recv_packet())
        async for packet in client.iter_received_packets(timeout=30):
            seen.append(packet)
            if packet == 3:
                await client.send_packet("not JSON, please")
                break
        try:
            await client.recv_packet()
        except StreamProtocolParseError:
            seen.append("no packet")
        seen.append(await client.recv_packet())
        await client.send_eof()
        for _ in range(2):
            try:
                await client.recv_packet()
            except EndOfStream:
                seen.append("end")
        seen.append(client.get_remote_address() == address)
    try:
        await client.send_packet(4)
    except ClientClosedError:
        seen.append("closed")
    try:
        async with AsyncTCPNetworkClient(dead, lines):
            pass
    except ConnectionRefusedError as exc:
        seen.append(type(exc) is ConnectionRefusedError)
    return seen
"""
STREAM_SAW = [{"first": 1}, 2, 3, "no packet", "still here", "end", "end", True, "closed", True]

DATAGRAM = """
async def program(address):
    seen = []
    async with AsyncUDPNetworkClient(address, DatagramProtocol(JSONSerializer())) as client:
        await client.send_packet("echo")
        seen.append(await client.recv_packet())
        await client.send_packets(["noise", "echo"])
        try:
            await client.recv_packet()
        except DatagramProtocolParseError:
            seen.append("no packet")
        seen.append(await client.recv_packet())
        seen.append([packet async for packet in client.iter_received_packets()])
    return seen
"""
DATAGRAM_SAW = ["echo", "no packet", "echo", []]


def compiled(text: str, *, blocking: bool) -> Callable[..., Any]:
    if blocking:
        for word in ("await ", "async ", "Async"):
            text = text.replace(word, "")
    space: dict[str, Any] = {**vars(errors), **vars(protocol), **vars(serializers)}
    space |= {name: getattr(clients, name) for name in clients.__all__}
    exec(text, space)
    program: Callable[..., Any] = space["program"]
    return program


def echo_lines(listener: socket.socket) -> None:
    """Send back each line; what is no JSON and one word more for the one that asks for it."""
    sock, _ = listener.accept()
    with sock, sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(b"{\n" + b'"still here"\n' if line.startswith(b'"not JSON') else line)


def echo_datagrams(peer: socket.socket) -> None:
    for _ in range(3):
        data, where = peer.recvfrom(100)
        peer.sendto(b"{" if b"noise" in data else data, where)


@pytest.mark.row("K6", "K7", "K9", "K10", "K11", "K14")
async def test_over_tcp() -> None:
    with tcp_listener() as (listener, port), closed_port() as dead:
        peer = threading.Thread(target=echo_lines, args=(listener,))
        peer.start()
        assert await compiled(STREAM, blocking=False)(("127.0.0.1", port), ("127.0.0.1", dead)) == STREAM_SAW
        peer.join()


@pytest.mark.row("K6", "K7", "K9", "K10", "K11", "K14")
def test_over_tcp_in_blocking_code() -> None:
    with tcp_listener() as (listener, port), closed_port() as dead:
        peer = threading.Thread(target=echo_lines, args=(listener,))
        peer.start()
        assert compiled(STREAM, blocking=True)(("127.0.0.1", port), ("127.0.0.1", dead)) == STREAM_SAW
        peer.join()


@pytest.mark.row("K7", "K11", "K14")
async def test_over_udp() -> None:
    with udp_peer() as peer:
        thread = threading.Thread(target=echo_datagrams, args=(peer,))
        thread.start()
        assert await compiled(DATAGRAM, blocking=False)(peer.getsockname()) == DATAGRAM_SAW
        thread.join()


@pytest.mark.row("K7", "K11", "K14")
def test_over_udp_in_blocking_code() -> None:
    with udp_peer() as peer:
        thread = threading.Thread(target=echo_datagrams, args=(peer,))
        thread.start()
        assert compiled(DATAGRAM, blocking=True)(peer.getsockname()) == DATAGRAM_SAW
        thread.join()
