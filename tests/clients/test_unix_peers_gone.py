# SPDX-License-Identifier: MIT
"""Unix datagram clients whose peer dies: they reach the next one at its path, and listen to no stranger."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.clients.datagram_peers import BYTES
from tieline.clients import AsyncUnixDatagramClient, UnixDatagramClient
from tieline.socket import SocketAncillary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def bound(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(30)
        yield sock


def strange(own: Path, stranger: socket.socket) -> None:
    """Send as a stranger, who can as long as the client is connected to nobody."""
    stranger.sendto(b"strange", str(own))


@pytest.mark.parametrize("is_removed", [False, True], ids=["path stays", "path goes"])
async def test_the_next_peer_is_reached_and_no_stranger_heard(tmp_path: Path, is_removed: bool) -> None:
    path, own = tmp_path / "peer", tmp_path / "own"
    with bound(tmp_path / "stranger") as stranger:
        with bound(path):
            client = AsyncUnixDatagramClient(path, BYTES, local_path=own)
            await client.wait_connected()
        if is_removed:
            path.unlink()
        async with client:
            for _ in range(3):
                with pytest.raises(ConnectionRefusedError):
                    await client.send_packet(b"lost")
            strange(own, stranger)
            assert [packet async for packet in client.iter_received_packets()] == []
            strange(own, stranger)
            with bound(path) as peer:
                peer.sendto(b"hello", str(own))
                container = SocketAncillary()
                assert await client.recv_packet(ancillary_data=container) == b"hello"
                await client.send_packet(b"found")
                assert peer.recv(10) == b"found"
                with pytest.raises(PermissionError):
                    strange(own, stranger)
            assert client.get_extra_info("dropped") == 2


def test_the_same_in_blocking_code(tmp_path: Path) -> None:
    path, own = tmp_path / "peer", tmp_path / "own"
    with bound(tmp_path / "stranger") as stranger:
        with bound(path):
            client = UnixDatagramClient(path, BYTES, local_path=own)
        with client:
            for _ in range(3):
                with pytest.raises(ConnectionRefusedError):
                    client.send_packet(b"lost")
            strange(own, stranger)
            with pytest.raises(TimeoutError):
                client.recv_packet(timeout=0)
            strange(own, stranger)
            with bound(path) as peer:
                client.send_packet(b"found")
                assert peer.recv(10) == b"found"
                peer.sendto(b"hello", str(own))
                assert client.recv_packet(timeout=30) == b"hello"
            assert client.get_extra_info("dropped") == 2


def test_a_peer_that_starts_anew_before_it_is_missed_costs_one_packet(tmp_path: Path) -> None:
    path, own = tmp_path / "peer", tmp_path / "own"
    with bound(path):
        client = UnixDatagramClient(path, BYTES, local_path=own)
    with client, bound(path) as peer, bound(tmp_path / "stranger") as stranger:
        with pytest.raises(ConnectionRefusedError):
            client.send_packet(b"lost")
        with pytest.raises(PermissionError):  # it is connected again already
            strange(own, stranger)
        client.send_packet(b"found")
        assert peer.recv(10) == b"found"


def test_a_peer_without_a_name_is_gone_for_good() -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with UnixDatagramClient(ours, BYTES) as client, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        theirs.send(b"hello")
        assert client.recv_packet(timeout=30) == b"hello"
        theirs.close()
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                client.send_packet(b"lost")
        stranger.sendto(b"strange", os.fsdecode(client.get_local_name().as_raw()))
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=0)
