# SPDX-License-Identifier: MIT
"""A client that costs nearly nothing: lines of JSON-RPC made beforehand, sent by a blocking socket, answers counted.

For servers of any peer that frames by newlines; so the server is the bottleneck, and its time is all that is seen.
"""

from __future__ import annotations

import socket

from benchmarks.peers.program import Options, main
from benchmarks.workloads import Workload

BLOCK = 500  # requests; two blocks are under way
LINE = '{"jsonrpc":"2.0","id":%d,"method":"add","params":[1,2]}\n'


def serve(options: Options) -> None:
    raise SystemExit("this is a client for the servers of others")


class Client:
    """Keeps two blocks of requests under way."""

    def __init__(self, options: Options) -> None:
        self._blocks = [
            b"".join((LINE % number).encode() for number in range(first, first + BLOCK)) for first in (0, BLOCK)
        ]

    def open(self, workload: Workload, address: str) -> None:
        scheme, _, place = address.rpartition("://")
        if scheme == "unix":
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.connect(place)
        else:
            host, port = place.split(":")
            self._connection = socket.create_connection((host, int(port)))
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.settimeout(60)

    def run(self, operations: int) -> int:
        """Send about so many requests: whole blocks, one at least."""
        blocks = max(1, round(operations / BLOCK))
        connection, received = self._connection, 0
        connection.sendall(self._blocks[0])
        for number in range(1, blocks + 1):
            if number < blocks:
                connection.sendall(self._blocks[number & 1])
            while received < number * BLOCK:
                data = connection.recv(256 * 1024)
                if not data:
                    raise ConnectionError("the server has closed the connection")
                received += data.count(b"\n")
        return blocks * BLOCK

    def close(self) -> None:
        self._connection.close()


if __name__ == "__main__":
    main(serve, Client)
