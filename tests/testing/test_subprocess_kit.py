# SPDX-License-Identifier: MIT
"""The kit for transports of child processes, over the loops' own; and each deliberate fault fails it."""

from __future__ import annotations

import asyncio as stock
from collections.abc import Sequence
from typing import Any

import pytest

import tieline
from tests import aio
from tieline.testing import SUBPROCESS_CASES, Case, ContractBroken, SubprocessRig


class LoopRig(SubprocessRig):
    patience = 5.0

    def __init__(self, wrap: Any = None) -> None:
        module = type(stock.get_running_loop()).__module__
        self.implementation = "uvloop" if module.startswith("uvloop") else "asyncio"
        self._wrap = wrap or (lambda protocol: protocol)

    async def spawn(self, protocol: Any, argv: Sequence[str]) -> None:
        await stock.get_running_loop().subprocess_exec(lambda: self._wrap(protocol), *argv)

    async def turn(self) -> None:
        await stock.sleep(0.001)


class OurRig(LoopRig):
    """What `tieline.subprocess_exec` gives: the loop's own on asyncio, ours on trio."""

    def __init__(self) -> None:
        if not aio.on_trio():
            super().__init__()

    async def spawn(self, protocol: Any, argv: Sequence[str]) -> None:
        await tieline.subprocess_exec(lambda: protocol, *argv, nursery=aio.nursery())

    async def turn(self) -> None:
        await aio.sleep(0.001)


@pytest.mark.row("T6")
@pytest.mark.parametrize("case", SUBPROCESS_CASES, ids=str)
async def test_our_transports(case: Case) -> None:
    await case.check(OurRig())


@pytest.mark.row("T6")
@pytest.mark.asyncio_only("the transports of asyncio's loops")
@pytest.mark.parametrize("case", SUBPROCESS_CASES, ids=str)
async def test_the_transports_of_the_loop(case: Case) -> None:
    await case.check(LoopRig())


class Between(stock.SubprocessProtocol):
    """Hands everything on, as it is."""

    def __init__(self, upper: Any) -> None:
        self.upper = upper
        for name in ("pipe_data_received", "pipe_connection_lost", "process_exited", "connection_lost"):
            if name not in vars(type(self)):
                setattr(self, name, getattr(upper, name))

    def connection_made(self, transport: Any) -> None:
        self.upper.connection_made(transport)


class ExitsTwice(Between):
    def process_exited(self) -> None:
        self.upper.process_exited()
        self.upper.process_exited()


class ForgetsAPipe(Between):
    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd != 2:
            self.upper.pipe_connection_lost(fd, exc)


class MixesDescriptors(Between):
    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.upper.pipe_data_received(3 - fd, data)


class NeverExits(Between):
    def process_exited(self) -> None: ...


class LosesWithAnError(Between):
    def connection_lost(self, exc: Exception | None) -> None:
        self.upper.connection_lost(OSError("gone"))


class Facts:
    """A transport with facts of its own."""

    def __init__(self, lower: Any, **facts: Any) -> None:
        self.lower, self.facts = lower, facts

    def __getattr__(self, name: str) -> Any:
        return self.facts.get(name, getattr(self.lower, name))


class AlwaysRuns(Between):
    def connection_made(self, transport: Any) -> None:
        self.upper.connection_made(Facts(transport, get_returncode=lambda: None))


class HasAllPipes(Between):
    def connection_made(self, transport: Any) -> None:
        self.upper.connection_made(Facts(transport, get_pipe_transport=lambda _fd: transport.get_pipe_transport(0)))


class KillsSilently(Between):
    def connection_made(self, transport: Any) -> None:
        def kill() -> None:
            try:
                transport.kill()
            except ProcessLookupError:
                pass

        self.upper.connection_made(Facts(transport, kill=kill))


BROKEN: list[tuple[type, str]] = [
    (ExitsTwice, "a_conversation"),
    (ForgetsAPipe, "a_conversation"),
    (MixesDescriptors, "a_conversation"),
    (NeverExits, "facts"),
    (LosesWithAnError, "facts"),
    (AlwaysRuns, "signals[kill]"),
    (HasAllPipes, "facts"),
    (KillsSilently, "signals[kill]"),
]


@pytest.mark.asyncio_only("one runtime will do")
@pytest.mark.parametrize(("broken", "name"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
async def test_a_broken_transport_fails(broken: Any, name: str) -> None:
    (case,) = [case for case in SUBPROCESS_CASES if case.name == name]
    rig = LoopRig(broken)
    rig.patience = 5.0
    with pytest.raises(ContractBroken):
        await case.check(rig)
