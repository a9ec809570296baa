# SPDX-License-Identifier: MIT
"""Asynchronous packet clients of given sockets, where the attempt to connect is cancelled."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests import aio
from tests.clients.datagram_peers import BYTES, udp_peer
from tests.runtimes.sockets import tcp_listener
from tieline.clients import AsyncTCPNetworkClient, AsyncUDPNetworkClient, AsyncUnixDatagramClient, AsyncUnixStreamClient
from tieline.errors import ClientClosedError
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())


def unix(kind: int, new_client: Callable[[socket.socket], Any]) -> tuple[Any, socket.socket, list[socket.socket]]:
    ours, theirs = socket.socketpair(type=kind)
    return new_client(ours), ours, [theirs]


def tcp() -> tuple[Any, socket.socket, list[socket.socket]]:
    with tcp_listener() as (listener, port):
        ours = socket.create_connection(("127.0.0.1", port))
        theirs, _ = listener.accept()
    return AsyncTCPNetworkClient(ours, LINES), ours, [theirs]


def udp() -> tuple[Any, socket.socket, list[socket.socket]]:
    with udp_peer() as peer:
        ours = socket.socket(type=socket.SOCK_DGRAM)
        ours.connect(peer.getsockname())
    return AsyncUDPNetworkClient(ours, BYTES), ours, []


KINDS: dict[str, Callable[[], tuple[Any, socket.socket, list[socket.socket]]]] = {
    "tcp": tcp,
    "udp": udp,
    "unix": lambda: unix(socket.SOCK_STREAM, lambda sock: AsyncUnixStreamClient(sock, LINES)),
    "unix-dgram": lambda: unix(socket.SOCK_DGRAM, lambda sock: AsyncUnixDatagramClient(sock, BYTES)),
}


@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_attempt_closes_the_given_socket_and_the_client(
    kind: str, turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as impostor:  # as the placeholder is called
        impostor.bind("given-socket")
        impostor.listen()
        client, sock, peers = KINDS[kind]()
        waiting = aio.create_task(client.wait_connected())
        for _ in range(turns):
            await aio.sleep(0)
        waiting.cancel()
        try:
            await waiting
        except aio.CancelledError:
            pass
        why = "its given socket went with the attempt to connect, which was cancelled"
        if client.is_connected():  # it was done by then
            await client.aclose()
            why = "the client is closed$"
        assert client.is_closing()
        for call in (client.wait_connected, client.recv_packet):
            with pytest.raises(ClientClosedError, match=why):
                await call()
        for _ in range(20):  # what was begun ends
            await aio.sleep(0)
        assert sock.fileno() == -1
        for peer in peers:
            peer.close()
        impostor.setblocking(False)
        with pytest.raises(BlockingIOError):
            impostor.accept()
