# SPDX-License-Identifier: MIT
"""tieline's blocking client, against its ordinary server. All limits and deadlines are at their defaults."""

from __future__ import annotations

import tieline.blocking
from benchmarks.peers.program import Options, main
from benchmarks.peers.tieline_rpc import serve
from benchmarks.workloads import TEXT, Workload


class Client:
    """Calls, one after the other."""

    def __init__(self, options: Options) -> None: ...

    def open(self, workload: Workload, address: str) -> None:
        self._address = address
        self._is_bulk = workload.job == "bulk"
        self._session = None if workload.connects else self._connect()

    def _connect(self) -> tieline.blocking.ClientSession:
        session = tieline.blocking.connect(self._address)
        session.create_connection()
        return session

    def run(self, operations: int) -> int:
        for _ in range(operations):
            if self._session is None:
                with tieline.blocking.connect(self._address) as session:
                    self._call(session)
            else:
                self._call(self._session)
        return operations

    def _call(self, session: tieline.blocking.ClientSession) -> None:
        result, expected = (session.call("echo", TEXT), TEXT) if self._is_bulk else (session.call("add", 1, 2), 3)
        assert result == expected

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


if __name__ == "__main__":
    main(serve, Client)
