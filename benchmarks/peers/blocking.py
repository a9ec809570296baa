# SPDX-License-Identifier: MIT
"""Lines echoed by blocking sockets, one connection at a time: what the system can do at most, in ping-pong."""

from __future__ import annotations

import socket

from benchmarks.peers.program import Options, main, tell_address
from benchmarks.peers.raw import LARGE, SMALL
from benchmarks.workloads import Workload

SIZE = 256 * 1024


def serve(options: Options) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        tell_address(f"127.0.0.1:{listener.getsockname()[1]}")
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while data := connection.recv(SIZE):
                    connection.sendall(data)


class Client:
    """Calls, and reads until the line is back."""

    def __init__(self, options: Options) -> None: ...

    def open(self, workload: Workload, address: str) -> None:
        host, port = address.split(":")
        self._address = (host, int(port))
        self._line = LARGE if workload.job == "bulk" else SMALL
        self._connection = None if workload.connects else self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def run(self, operations: int) -> int:
        for _ in range(operations):
            if self._connection is None:
                with self._connect() as connection:
                    _call(connection, self._line)
            else:
                _call(self._connection, self._line)
        return operations

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _call(connection: socket.socket, line: bytes) -> None:
    connection.sendall(line)
    while not connection.recv(SIZE).endswith(b"\n"):
        pass


if __name__ == "__main__":
    main(serve, Client)
