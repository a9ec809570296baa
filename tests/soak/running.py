# SPDX-License-Identifier: MIT
"""One soak: a server, honest clients here, hostile ones in a process that is killed now and then, and the figures."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tieline
from tests import aio
from tests.attacks.attacked import ROOT, left_over
from tests.attacks.server_process import PAGE
from tests.certificates import Certificates
from tests.soak.figures import Outcome, Sample
from tests.soak.honest import World, be_cut, live

__all__ = ["Plan", "served", "soak"]

LONGEST_WARM_UP = 600.0
EBBS, SHORTEST_TIDE = 12, 30.0
PATIENCE = 60.0  # seconds that what was left behind may take to go, on a busy machine

Tell = Callable[[str, float, World], object]


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        loop: What both sides run on: asyncio, uvloop or trio.
        clients: How many there are; a tenth is hostile.
        seconds: How long.
        seed: Of all that clients do.
        pause: How many seconds a client rests between two orders or attacks, on the average.
    """

    loop: str
    clients: int
    seconds: float
    seed: int
    pause: float = 2.0

    @property
    def hostile(self) -> int:
        return max(1, self.clients // 10)

    @property
    def warm_up(self) -> float:
        """After how many seconds memory is judged. In the first half of it there are no hostile clients."""
        return min(LONGEST_WARM_UP, self.seconds / 3)

    @property
    def between_samples(self) -> float:
        return min(10.0, max(0.25, self.seconds / 120))

    @property
    def between_ebbs(self) -> float:
        """After how many seconds all clients leave for a moment, behind the warm-up."""
        return max(SHORTEST_TIDE, (self.seconds - self.warm_up) / EBBS)


def soak(plan: Plan, tell: Tell) -> Outcome:
    """Do it, and return what it came to; *tell* is called every now and then with the phase, the time and the world."""
    outcome = Outcome(warm_up=plan.warm_up)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = Certificates(folder)
        with served(plan.loop, folder, certificates.server, outcome) as (server, urls):
            world = World(urls, certificates.ca, outcome.ledger, plan.pause)
            aio.run(Soak(plan, world, outcome, server, folder, tell).run, loop=plan.loop)
    return outcome


@contextmanager
def served(
    loop: str, folder: Path, certificate: str, outcome: Outcome, *options: str, python: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Give the process of the server and its URLs; the process is killed at the end.

    *options* are further ones of `server_process`, *python* those of the interpreter.
    """
    errors = folder / "stderr"
    command = [sys.executable, *python, "-m", "tests.soak.server_process", "--folder", str(folder), "--loop", loop]
    with errors.open("wb") as stderr:
        server = subprocess.Popen(
            [*command, "--certificate", certificate, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=ROOT,
        )
        assert server.stdout is not None
        try:
            started, _, _ = select.select([server.stdout], [], [], PATIENCE)
            first = server.stdout.readline() if started else b""
            assert first, f"the server did not start: {errors.read_text()}"
            yield server, json.loads(first)
        finally:
            server.kill()
            server.communicate()
    outcome.stderr = errors.read_text()


class Hostile:
    """All hostile clients, in a process."""

    def __init__(self, plan: Plan, urls: dict[str, str], seed: int, told: Path) -> None:
        self._told = told
        command = [sys.executable, "-m", "tests.soak.hostile", "--urls", json.dumps(urls), "--seed", str(seed)]
        with told.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--count", str(plan.hostile), "--pause", str(plan.pause)],
                stdin=subprocess.PIPE,
                stdout=out,
                cwd=ROOT,
            )

    def kill(self) -> Counter[str]:
        """Kill them all with -9, and return what they have done."""
        code = self.process.poll()
        assert code is None, f"the hostile clients ended with {code}"
        self.process.kill()
        self.process.communicate()
        *_, last, _ = [b"{}", b"{}", *self._told.read_bytes().split(b"\n")]  # the last line may not be whole
        return Counter(json.loads(last or b"{}"))


def own_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Soak:
    """The run of a plan, on a loop."""

    def __init__(
        self, plan: Plan, world: World, outcome: Outcome, server: subprocess.Popen[bytes], folder: Path, tell: Tell
    ) -> None:
        self.plan, self.world, self.outcome = plan, world, outcome
        self.server, self.folder, self.tell = server, folder, tell
        self.rng = random.Random(plan.seed)
        self.start = time.monotonic()
        self.clients: list[Any] = []
        self.hostile: Hostile | None = None
        self.before: dict[str, float] = {}  # what the server held when nobody had come yet

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    async def run(self) -> None:
        limits = tieline.Limits(call_timeout=300.0)
        async with tieline.connect(self.world.urls["control"], limits=limits) as control:
            self.before = await control.call("memory")
            self.start_clients()
            try:
                await self.meanwhile(control)
            finally:
                self.kill_hostile()
            await self.leave(control)
            self.world.pause /= 10
            self.start_clients()
            await self.be_killed()
        self.outcome.seconds = self.elapsed

    def start_clients(self) -> None:
        self.world.is_over = False
        rng, count = self.rng, self.plan.clients - self.plan.hostile
        self.clients = [
            aio.create_task(live(number, self.world, random.Random(rng.randrange(1 << 60)))) for number in range(count)
        ]

    def start_hostile(self) -> None:
        self.hostile = Hostile(self.plan, self.world.urls, self.rng.randrange(1 << 30), self.folder / "told")

    def kill_hostile(self) -> None:
        if self.hostile is not None:
            self.outcome.attacks += self.hostile.kill()
            self.outcome.kills += 1
        self.hostile = None

    async def meanwhile(self, control: tieline.ClientSession) -> None:
        """Let all clients live for the time of the plan, first without the hostile ones; measure."""
        plan, outcome, world = self.plan, self.outcome, self.world
        next_ebb, next_kill, kill_every = plan.warm_up, 0.0, min(60.0, max(1.0, plan.seconds / 10))
        is_quiet, came = True, 0
        while (
            self.elapsed < plan.seconds
            or not outcome.ebbs
            or len(outcome.judged) < 2
            or world.came - came < len(self.clients)  # so that something could have stayed since the last ebb
        ):
            if not is_quiet and self.elapsed >= next_ebb:
                await self.ebb(control)
                if len(outcome.ebbs) == 1:
                    await control.call("grown")  # so that it knows later what there was
                next_ebb = self.elapsed + plan.between_ebbs
                world.waits, came = outcome.loaded, world.came
                self.start_clients()
            now = self.elapsed
            if now >= plan.warm_up / 2 and (self.hostile is None or now >= next_kill):
                if is_quiet:
                    outcome.quiet, world.waits, is_quiet = world.waits, type(world.waits)(), False
                self.kill_hostile()
                self.start_hostile()
                next_kill = now + kill_every * self.rng.uniform(0.5, 1.5)
            figures = await control.call("memory")
            outcome.samples.append(Sample(now, figures["rss"], figures["in_use"], own_memory()))
            outcome.figures.append({"at": now, "slowness": world.slowness, **figures})
            outcome.present = max(outcome.present, world.present)
            self.tell("quiet" if is_quiet else "with hostile clients", now, world)
            await aio.sleep(plan.between_samples)

    async def leave(self, control: tieline.ClientSession) -> None:
        """Let the honest clients leave, and see that the server is as it was."""
        figures = await self.ebb(control)
        outcome = self.outcome
        outcome.grown = await control.call("grown")
        outcome.records = int(figures["records"])
        outcome.tracebacks = int(figures["tracebacks"])
        outcome.refused = self.world.refused
        if not outcome.ledger.is_balanced or self.world.refused:
            outcome.log = (await control.call("records"))[-10:]

    async def ebb(self, control: tieline.ClientSession) -> dict[str, float]:
        """Kill the hostile clients and let the honest ones leave, and see that the server is as it was; measure."""
        self.kill_hostile()
        self.world.is_over = True
        await self.until_done()
        until = time.monotonic() + PATIENCE
        while True:
            figures: dict[str, float] = await control.call("memory")
            left = left_over(self.before, figures)
            if not left or time.monotonic() > until:
                break
            await aio.sleep(0.1)
        self.outcome.left |= left
        self.outcome.ebbs.append(Sample(self.elapsed, int(figures["rss"]), int(figures["in_use"]), own_memory()))
        return figures

    async def be_killed(self) -> None:
        """Kill the server while the clients are busy: each of them is told, and each order has ended."""
        wanted = max(2, len(self.clients) // 20)
        self.clients += [aio.create_task(be_cut(number, self.world)) for number in range(wanted)]
        while self.outcome.ledger.open_orders < wanted:
            self.tell("before the server is killed", self.elapsed, self.world)
            await aio.sleep(0.01)
        self.world.is_killed = True
        os.kill(self.server.pid, signal.SIGKILL)
        await self.until_done()

    async def until_done(self) -> None:
        ended = await aio.gather(*self.clients, return_exceptions=True)
        self.outcome.crashes += [repr(one) for one in ended if one is not None]
