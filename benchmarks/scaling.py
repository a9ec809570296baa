# SPDX-License-Identifier: MIT
"""Scaling: one service in one process and in two that share a port (`reuse_port`), against a preformatted load.

Each worker keeps to a core of its own. The client goes where the system puts it, which is on the same cores: what it
takes is missing to the workers as soon as they are as many as there are cores. So the ratio is what two cores give for
all of it, and less than what two more cores would give to a server.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from benchmarks.cases import CASES
from benchmarks.harness import Figure, Program, warm_up

__all__ = ["CONNECTIONS", "FORMS", "Form", "measure_scaling"]

# Which worker gets a connection is chance (a hash of both addresses). With eight it is about 1 in 128 that one of two
# workers gets none; and what one cannot do the other does, since each connection has requests under way all the time.
CONNECTIONS: Final = 8


@dataclass(frozen=True)
class Form:
    """A case of `benchmarks.cases`, in so many processes."""

    case: str
    workers: int

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{CASES[self.case].title}, {self.workers} worker{'s' if self.workers > 1 else ''}"

    @property
    def single(self) -> str:
        """The name of the same in one process."""
        return f"{self.case}*1"


FORMS: Final = {
    f"{case}*{workers}": Form(case, workers) for case in ("tieline", "tieline-uvloop") for workers in (1, 2)
}


def measure_scaling(form: Form, seconds: float, operations: int | None = None) -> tuple[Figure, list[int]]:
    """Measure for about so many seconds, or so many operations; the CPU time of all workers counts as the server's.

    Returns:
        The figure, and how many connections each worker had; zeros where the system cannot tell.

    Raises:
        ProgramFailed: A worker or the client failed.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    case = CASES[form.case]
    with ExitStack() as stack:
        held = stack.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))  # and does not listen: the port is all that it is for
        options = ("server", *case.options, "--shared-port", str(held.getsockname()[1]))
        workers = [
            stack.enter_context(Program(f"benchmarks.peers.{case.module}", *options, core=cores[number % len(cores)]))
            for number in range(form.workers)
        ]
        client = stack.enter_context(Program("benchmarks.peers.load", "client"))
        addresses = [worker.hear()["address"] for worker in workers]  # all of them are ready now
        idle = [worker.ask(do="sockets")["sockets"] for worker in workers]
        client.ask(do="open", workload="s2", address=addresses[0], connections=CONNECTIONS)
        if operations is None:
            operations = warm_up(client, seconds)
        before = sum(worker.ask(do="cpu")["cpu"] for worker in workers)
        told = client.ask(do="run", operations=operations)
        after = sum(worker.ask(do="cpu")["cpu"] for worker in workers)
        busy = [worker.ask(do="sockets")["sockets"] for worker in workers]
        client.ask(do="close")
    figure = Figure(told["operations"], told["seconds"], told["cpu"], after - before)
    return figure, [now - then for now, then in zip(busy, idle, strict=True)]
