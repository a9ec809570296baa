# SPDX-License-Identifier: MIT
"""Bare sockets of datagrams to be clients' peers."""

from __future__ import annotations

import array
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tieline.protocol import DatagramProtocol
from tieline.serializers import BytesSerializer, JSONSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON: DatagramProtocol[Any] = DatagramProtocol(JSONSerializer())
BYTES: DatagramProtocol[bytes] = DatagramProtocol(BytesSerializer())


@contextmanager
def udp_peer(family: int = socket.AF_INET) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        peer.settimeout(10)
        yield peer


@contextmanager
def unix_peer(folder: Path) -> Iterator[tuple[socket.socket, str]]:
    path = str(folder / "peer")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(path)
        peer.settimeout(10)
        yield peer, path


def send_fds(sock: socket.socket, data: bytes, fds: list[int], addr: Any) -> None:
    """Do what `socket.send_fds` does, which forgets the address."""
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))], 0, addr)
