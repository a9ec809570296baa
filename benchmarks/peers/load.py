# SPDX-License-Identifier: MIT
"""A client that costs nearly nothing: lines of JSON-RPC made beforehand, sent by blocking sockets, answers counted.

For servers of any peer that frames by newlines; so the server is the bottleneck, and its time is all that is seen.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from typing import cast

from benchmarks.peers.program import Options, main
from benchmarks.workloads import Workload

BLOCK = 500  # requests; two blocks are under way
PATIENCE = 60.0  # seconds
LINE = '{"jsonrpc":"2.0","id":%d,"method":"add","params":[1,2]}\n'


def serve(options: Options) -> None:
    raise SystemExit("this is a client for the servers of others")


class Client:
    """Keeps two blocks of requests under way on each connection."""

    def __init__(self, options: Options) -> None:
        self._blocks = [
            b"".join((LINE % number).encode() for number in range(first, first + BLOCK)) for first in (0, BLOCK)
        ]

    def open(self, workload: Workload, address: str) -> None:
        self._connections = [_connected(address) for _ in range(workload.connections)]

    def run(self, operations: int) -> int:
        """Send about so many requests: whole blocks, one for each connection at least."""
        blocks = max(len(self._connections), round(operations / BLOCK))
        # What is left is shared by all, so that all are busy up to the end.
        left = iter(range(blocks))
        with selectors.DefaultSelector() as selector:
            received = dict.fromkeys(self._connections, 0)
            for connection in self._connections:
                selector.register(connection, selectors.EVENT_READ)
            for number in (0, 1):
                for connection in self._connections:
                    self._send(connection, number, left)
            while sum(received.values()) < blocks * BLOCK:
                ready = selector.select(PATIENCE)
                if not ready:
                    raise TimeoutError("the server does not answer")
                for key, _ in ready:
                    connection = cast("socket.socket", key.fileobj)
                    data = connection.recv(256 * 1024)
                    if not data:
                        raise ConnectionError("the server has closed the connection")
                    done = received[connection] // BLOCK
                    received[connection] += data.count(b"\n")
                    for number in range(done, received[connection] // BLOCK):
                        self._send(connection, number, left)
        return blocks * BLOCK

    def _send(self, connection: socket.socket, number: int, left: Iterator[int]) -> None:
        """Send the next block, if one is left."""
        for _ in left:
            connection.sendall(self._blocks[number & 1])
            return

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def _connected(address: str) -> socket.socket:
    scheme, _, place = address.rpartition("://")
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place)
    else:
        host, port = place.split(":")
        connection = socket.create_connection((host, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(PATIENCE)
    return connection


if __name__ == "__main__":
    main(serve, Client)
