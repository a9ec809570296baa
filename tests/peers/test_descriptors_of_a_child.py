# SPDX-License-Identifier: MIT
"""A child process that passes descriptors and credentials, with packet clients of Unix sockets on our side."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.programs import HERE, PATIENCE
from tieline.errors import EndOfStream
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import BytesSerializer, StringLineSerializer
from tieline.socket import SCMCredentials, SCMRights, SocketAncillary, UnixCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
DATAGRAMS: DatagramProtocol[Any, bytes] = DatagramProtocol(BytesSerializer())


@contextmanager
def child(kind: str) -> Iterator[tuple[socket.socket, int]]:
    """Run the child; give our end of the pair of sockets between us, for a client to own, and its process id."""
    ours, theirs = socket.socketpair(type=socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with theirs:
        command = [sys.executable, str(HERE / "descriptor_child.py"), kind]
        process = subprocess.Popen(command, stdin=theirs.fileno())
    try:
        yield ours, process.pid
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        ours.close()


def file_of_ours() -> int:
    fd = os.memfd_create("ours")
    os.write(fd, b"file of ours")
    return fd


def taken(container: SocketAncillary) -> tuple[list[bytes], list[UnixCredentials]]:
    """Take everything out: what is in the files, and who has sent them."""
    contents: list[bytes] = []
    credentials: list[UnixCredentials] = []
    for message in container.messages():
        match message:
            case SCMRights(fds=fds):
                for fd in fds:
                    contents.append(os.pread(fd, 100, 0))
                    os.close(fd)
            case SCMCredentials(credentials=who):
                credentials.append(who)
    container.clear()
    return contents, credentials


async def exchange(side: Side, kind: str, ours: socket.socket, pid: int) -> None:
    me = f"from {os.getpid()} {os.getuid()} {os.getgid()}"
    is_stream = kind == "stream"
    fd = file_of_ours()

    def packet(text: str) -> Any:
        return text if is_stream else text.encode() + b"\n"

    async with side.unix_stream(ours, LINES) if is_stream else side.unix_datagram(ours, DATAGRAMS) as client:
        container = SocketAncillary()
        assert await client.recv_packet(ancillary_data=container) == packet("ready")
        contents, (who,) = taken(container)  # the system says who it is, asked for by SO_PASSCRED
        assert (contents, who) == ([], UnixCredentials(pid, os.getuid(), os.getgid()))
        for number in range(20):
            beside = SocketAncillary()
            beside.add_fds([fd] * (number % 3))
            beside.add_creds()
            await client.send_packet(packet(f"packet {number}"), ancillary_data=beside)
            answer = await client.recv_packet(ancillary_data=container)
            assert answer == packet(f"packet {number} {me}" + " with file of ours" * (number % 3))
            assert taken(container) == ([b"file of the child"] * 2, [who])
        # Beside packets that nobody asks for with a container nothing comes in: the leak test sees what would.
        await client.send_packet(packet("plain"))
        assert await client.recv_packet() == packet(f"plain {me}")
        await client.send_packet(packet("bye"))
        if is_stream:
            with pytest.raises(EndOfStream):
                await client.recv_packet(ancillary_data=container)
    os.close(fd)


@pytest.mark.row("K1", "K19", "H71")
@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_files_and_credentials_go_both_ways(side: Side, kind: str) -> None:
    with child(kind) as (ours, pid):
        side.run(exchange, side, kind, ours, pid)
