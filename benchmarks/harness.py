# SPDX-License-Identifier: MIT
"""The processes of a run: a server and a client for each measurement, started, asked, and stopped whatever happens."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import Case
from benchmarks.workloads import WORKLOADS

__all__ = [
    "ANY_CORES",
    "Cores",
    "Figure",
    "Memory",
    "Pair",
    "Program",
    "ProgramFailed",
    "bytecode",
    "measure",
    "measure_heap",
    "measure_memory",
    "warm_up",
]

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0  # seconds for an answer
WARM_UP = 0.1  # seconds


class ProgramFailed(Exception):
    """A server or client has ended, or does not answer."""


@dataclass(frozen=True)
class Figure:
    """What one measurement of a workload showed, for so many requests."""

    requests: int
    seconds: float
    client_cpu: float
    server_cpu: float


@dataclass(frozen=True)
class Memory:
    """What an idle connection costs a server, in bytes, and what the server process holds without any.

    `client` is what the other side's allocators handed out for it.
    """

    rss: float
    traced: float
    base: float
    client: float


class Cores(NamedTuple):
    """The cores that a server and a client must keep to; None = the system chooses."""

    server: int | None
    client: int | None

    @classmethod
    def choose(cls, workload: str, round_number: int, *, apart: bool) -> Cores:
        """Return the cores for a round: one for both, another one in the next round; or one each.

        On one core a request takes the time that both sides work for it, which repeats. Apart, they also wait for
        each other to wake up, and how much a read holds is chance. Left to the system they are now this and now that.
        A preformatted load is always apart from the server, of which alone it is to tell.
        """
        if not hasattr(os, "sched_getaffinity"):
            return ANY_CORES
        cores = sorted(os.sched_getaffinity(0))
        server, client = (cores[(round_number + offset) % len(cores)] for offset in (0, 1))
        return cls(server, client if apart or WORKLOADS[workload].preformatted else server)


ANY_CORES = Cores(None, None)


class Program:
    """A child process that answers questions, one line of JSON each. A context manager that ends it.

    It is run by the interpreter *python*, which has to have what the module imports.
    """

    def __init__(self, module: str, *arguments: str, core: int | None = None, python: str = sys.executable) -> None:
        self.name = module.rpartition(".")[2]
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the program
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for the harness, which ends the others
        )
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, {core})  # its threads are still to come, and inherit it

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            ProgramFailed: There is none.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("has ended") from None
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Return what the program tells next.

        Raises:
            ProgramFailed: It tells nothing.
        """
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        if not readable:
            raise self._failed(f"has not answered in {PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._failed("has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self, how: str) -> ProgramFailed:
        """Return the error, with the last line that the program complained in."""
        self._complaints.seek(0)
        *_, last = ["no word", *self._complaints.read().splitlines()]
        return ProgramFailed(f"{self.name} {how} ({last})")


class Pair:
    """A server and its clients, running.

    Attributes:
        case: The peer.
        server: The server.
        address: Where it listens.
    """

    def __init__(
        self, case: Case, stack: ExitStack, folder: str, cores: Cores, *options: str, python: str = sys.executable
    ) -> None:
        self.case = case
        self._python = python
        self._client_core = cores.client
        self._stack = stack
        self._options = (*case.options, "--folder", folder)
        self._clients: dict[str, Program] = {}
        module = f"benchmarks.peers.{case.module}"
        self.server = stack.enter_context(
            Program(module, "server", *self._options, *options, core=cores.server, python=python)
        )
        self.address = ""

    @classmethod
    @contextmanager
    def start(
        cls, case: Case, workload: str, *options: str, cores: Cores = ANY_CORES, python: str = sys.executable
    ) -> Iterator[Pair]:
        """Start a server, and a client that is fit for the workload; *options* are for both."""
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
            pair = cls(case, stack, folder, cores, *options, python=python)
            pair.client(workload, *options)  # the two start at the same time
            pair.address = pair.server.hear()["address"]
            yield pair

    def client(self, workload: str, *options: str) -> Program:
        """Return the client that plays the workload; the first time it is started, with *options*."""
        module = "load" if workload in WORKLOADS and WORKLOADS[workload].preformatted else self.case.module
        if module not in self._clients:
            name = f"benchmarks.peers.{module}"
            program = Program(name, "client", *self._options, *options, core=self._client_core, python=self._python)
            self._clients[module] = self._stack.enter_context(program)
        return self._clients[module]


@contextmanager
def bytecode() -> Iterator[None]:
    """Let all programs keep their bytecode, in a folder of its own for as long as this lasts.

    Where the environment forbids that, imports would compile all that they import, each time.
    """
    before = os.environ.copy()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def measure(pair: Pair, workload: str, seconds: float, operations: int | None = None) -> Figure:
    """Measure a workload for about so many seconds, or for so many operations.

    Raises:
        ProgramFailed: The server or the client failed.
    """
    client = pair.client(workload)
    client.ask(do="open", workload=workload, address=pair.address)
    if operations is None:
        operations = warm_up(client, seconds)
    before = pair.server.ask(do="cpu")["cpu"]
    told = client.ask(do="run", operations=operations)
    after = pair.server.ask(do="cpu")["cpu"]
    client.ask(do="close")
    return Figure(told["operations"] * WORKLOADS[workload].counts, told["seconds"], told["cpu"], after - before)


def warm_up(client: Program, seconds: float) -> int:
    """Let the client run, and return how many operations take about so many seconds."""
    operations = 4
    while True:
        took: float = client.ask(do="run", operations=operations)["seconds"]
        if took >= WARM_UP:
            return max(1, round(operations / took * seconds))
        operations = round(operations * min(10.0, 1.3 * WARM_UP / took))


def measure_memory(case: Case, connections: int) -> Memory:
    """Measure what idle connections cost both sides, each of which was used for one call or packet.

    Raises:
        ProgramFailed: The server or the client failed.
    """
    rss, base, _ = _idle(case, connections, "rss")
    traced, client = measure_heap(case, connections)
    return Memory(rss, traced, base, client)


def measure_heap(case: Case, connections: int) -> tuple[float, float]:
    """Measure how many bytes of Python's heap an idle connection takes of the server, and of the client.

    Raises:
        ProgramFailed: The server or the client failed.
    """
    server, _, client = _idle(case, connections, "traced", "--traced")
    return server, client


def _idle(case: Case, connections: int, quantity: str, *options: str) -> tuple[float, float, float]:
    """Return what a connection costs the server, what that has before there are any, and what one costs the client."""
    with Pair.start(case, "W3", *options) as pair:
        client = pair.client("W3")
        client.ask(do="open", workload="W3", address=pair.address, connections=1)
        client.ask(do="close")  # whatever a first call brings with it is there now
        before, held = pair.server.ask(do="memory"), client.ask(do="memory")
        client.ask(do="open", workload="W3", address=pair.address, connections=connections)
        after = pair.server.ask(do="memory")
        cost = (after[quantity] - before[quantity]) / connections
        return cost, before[quantity], (client.ask(do="memory")["traced"] - held["traced"]) / connections
