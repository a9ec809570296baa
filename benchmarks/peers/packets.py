# SPDX-License-Identifier: MIT
"""What the clients of packets have in common: a server that echoes bytes, and what is done with a client.

The server blocks, with a thread for each connection, and parses nothing: what is seen is nearly all the client's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import Any, Protocol

from benchmarks.peers.program import Options, tell_address
from benchmarks.workloads import BULK, PACKET, STREAM, Job, Jobs, Workload, checked

__all__ = ["LARGE", "AsyncPackets", "BlockingPackets", "Packets", "jobs", "place", "serve"]

SIZE = 256 * 1024
LARGE = b"x" * BULK


def serve(options: Options) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        tell_address(f"127.0.0.1:{listener.getsockname()[1]}")
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # One buffer, not a new one each time: where the memory of that came from would decide what is measured.
        buffer = memoryview(bytearray(SIZE))
        while size := connection.recv_into(buffer):
            connection.sendall(buffer[:size])


def place(address: str) -> tuple[str, int]:
    """Return the host and port of an address that the server has told."""
    host, _, port = address.partition(":")
    return host, int(port)


# --- asynchronous clients --------------------------------------------------------------------------------------------


class AsyncPackets(Protocol):
    """What an asynchronous client has to offer."""

    async def send_packet(self, packet: Any, /) -> None: ...

    async def recv_packet(self) -> Any: ...


def jobs(small: AsyncPackets, bulk: AsyncPackets | None = None) -> Jobs:
    """Return what can be done with a client of JSON and one of bytes."""

    async def exchange(client: AsyncPackets, packet: object) -> Any:
        await client.send_packet(packet)
        return await client.recv_packet()

    async def stream() -> list[Any]:
        for packet in repeat(PACKET, STREAM):
            await small.send_packet(packet)
        return [await small.recv_packet() for _ in range(STREAM)]

    found = {"packet": Job(partial(exchange, small, PACKET), PACKET), "stream": Job(stream, [PACKET] * STREAM)}
    if bulk is not None:
        found["bulk"] = Job(partial(exchange, bulk, LARGE), LARGE)
    return found


# --- blocking clients ------------------------------------------------------------------------------------------------


class Packets(Protocol):
    """What a blocking client has to offer."""

    def send_packet(self, packet: Any, /) -> None: ...

    def recv_packet(self) -> Any: ...

    def close(self) -> None: ...


class BlockingPackets:
    """Plays workloads with a blocking client."""

    _client: Packets

    def connect(self, address: str, *, is_bulk: bool) -> Packets:
        """Return a client of bytes, or one of JSON."""
        raise NotImplementedError

    def open(self, workload: Workload, address: str) -> None:
        self._client = self.connect(address, is_bulk=workload.job == "bulk")
        self._packet: object = LARGE if workload.job == "bulk" else PACKET
        self._burst = STREAM if workload.job == "stream" else 1
        checked(self._exchange(), [self._packet] * self._burst)

    def _exchange(self) -> Sequence[object]:
        send, receive = self._client.send_packet, self._client.recv_packet
        for packet in repeat(self._packet, self._burst):
            send(packet)
        return [receive() for _ in range(self._burst)]

    def run(self, operations: int) -> int:
        if self._burst > 1:
            for _ in range(operations):
                self._exchange()
            return operations
        send, receive = self._client.send_packet, self._client.recv_packet
        for packet in repeat(self._packet, operations):
            send(packet)
            receive()
        return operations

    def close(self) -> None:
        self._client.close()
