# SPDX-License-Identifier: MIT
"""A run: all peers in rounds, so that all of them meet the same weather.

In each round every workload goes from peer to peer, each with a server and a client of its own, before the next
workload begins. The smoke form starts each peer once, does little, and times nothing worth reading.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmarks.cases import CASES, Case
from benchmarks.harness import Cores, Pair, ProgramFailed, bytecode, measure, measure_memory
from benchmarks.imports import IMPORTS, measure_import
from benchmarks.results import Key, Results
from benchmarks.scaling import FORMS, measure_scaling
from benchmarks.workloads import WORKLOADS

__all__ = ["SMOKE_CASES", "Plan", "Step", "run", "smoke", "steps", "take"]

# The smoke form: so many operations of each workload. One form of each peer is enough there.
SMOKE_OPERATIONS: Final = {
    "W1": 100, "W2-64": 200, "W2-1000": 1000, "s2": 500, "W3": 100, "W4": 2, "W6": 1, "W7": 3,
    "W5-ping": 20, "W5-stream": 2, "W6-raw": 1,
}  # fmt: skip
SMOKE_CASES: Final = (
    "tieline", "tieline-unix-uvloop", "aiorpcx", "streams-msgspec", "buffered", "blocking", "grpc", "pjrpc", "pygls",
    "tieline-trio", "trio-streams", "anyio-streams", "tieline-ws", "aiorpcx-ws", "jsonrpcserver", "picows",
    "tieline-packets", "tieline-packets-trio", "tieline-packets-blocking", "easynetwork", "packets-streams",
    "packets-protocol", "packets-blocking",
    "tieline-stdio", "pygls-stdio", "tieline-mcp", "mcp",
)  # fmt: skip
SMOKE_CONNECTIONS: Final = 20
SMOKE_SCALING: Final = 4000
IMPORT_REPEATS: Final = 5


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        cases: The peers, in order.
        workloads: The workloads, in order; "memory", "scaling" and "W8" among them.
        rounds: How many rounds.
        seconds: How long each measurement is.
        connections: How many idle connections are weighed.
        apart: Server and client have a core each, where they would share one.
        python: The interpreter of the peers; not of memory, scaling and W8, which are measured with this one.
    """

    cases: Sequence[Case]
    workloads: Sequence[str]
    rounds: int = 5
    seconds: float = 0.5
    connections: int = 1000
    apart: bool = False
    python: str = sys.executable


class Step(NamedTuple):
    """One measurement: a workload of a peer, or an import or a form of `scaling` by its name."""

    round_number: int
    workload: str
    peer: str


def steps(plan: Plan) -> Iterator[Step]:
    """Yield the measurements in their order."""
    for number in range(plan.rounds):
        for workload in plan.workloads:
            if workload == "W8":
                yield from (Step(number, workload, name) for name in IMPORTS)
            elif workload == "scaling":
                names = {case.name for case in plan.cases}
                yield from (Step(number, workload, name) for name, form in FORMS.items() if form.case in names)
            elif workload != "memory" or number == 0:  # what is counted, not timed, needs no second round
                yield from (Step(number, workload, case.name) for case in plan.cases if workload in case.workloads)


def run(plan: Plan, results: Results, *, tell: Callable[[Step], object]) -> None:
    """Measure all that the plan says; what fails is noted in the results, and the rest goes on.

    *tell* is called before each step. An interrupt comes out of here, with all programs ended.
    """
    with bytecode():
        for step in steps(plan):
            tell(step)
            take(step, plan, results)


def take(step: Step, plan: Plan, results: Results) -> None:
    """Measure one step, or note in the results that it failed."""
    try:
        _take(step, plan, results)
    except ProgramFailed as exc:
        results.failures.append(f"{step.workload} of {step.peer}: {exc}")


def _take(step: Step, plan: Plan, results: Results) -> None:
    number, workload, peer = step
    if workload == "W8":
        _import(step, results, IMPORT_REPEATS)
    elif workload == "scaling":
        _scaling(step, results, plan.seconds)
    elif workload == "memory":
        results.add_memory(peer, number, measure_memory(CASES[peer], plan.connections))
    else:
        cores = Cores.choose(workload, number, apart=plan.apart)
        with Pair.start(CASES[peer], workload, cores=cores, python=plan.python) as pair:
            results.add_figure(workload, peer, number, measure(pair, workload, plan.seconds))


def _scaling(step: Step, results: Results, seconds: float, operations: int | None = None) -> None:
    figure, connections = measure_scaling(FORMS[step.peer], seconds, operations)
    results.add_figure("scaling", step.peer, step.round_number, figure)
    results.add(Key("scaling", step.peer, "busiest"), step.round_number, max(connections))


def _import(step: Step, results: Results, repeats: int) -> None:
    seconds = measure_import(step.peer, repeats)
    if seconds is not None:
        results.add(Key("W8", step.peer, "import"), step.round_number, 1e3 * seconds)


def smoke(plan: Plan, results: Results) -> None:
    """See that all that the plan says works, in a few seconds."""
    for case in plan.cases:
        try:
            with Pair.start(case, "W1") as pair:
                for workload in _smoked(case, plan):
                    figure = measure(pair, workload, 0, SMOKE_OPERATIONS[workload])
                    results.add_figure(workload, case.name, 0, figure)
        except ProgramFailed as exc:
            results.failures.append(f"{case.name}: {exc}")
    if "scaling" in plan.workloads:
        for name in ("tieline*1", "tieline*2"):
            try:
                _scaling(Step(0, "scaling", name), results, 0, SMOKE_SCALING)
            except ProgramFailed as exc:
                results.failures.append(f"{name}: {exc}")
    if "memory" in plan.workloads:
        results.add_memory("tieline", 0, measure_memory(CASES["tieline"], SMOKE_CONNECTIONS))
    if "W8" in plan.workloads:
        _import(Step(0, "W8", "import tieline"), results, 1)


def _smoked(case: Case, plan: Plan) -> Iterator[str]:
    """Yield the workloads of a case for the smoke form."""
    for name in plan.workloads:
        # The preformatted load is a program of its own, and alike for all: the first server is enough for it.
        if name in WORKLOADS and name in case.workloads and (name != "s2" or case is plan.cases[0]):
            yield name
