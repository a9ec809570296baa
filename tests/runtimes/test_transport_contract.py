# SPDX-License-Identifier: MIT
"""asyncio's contract of stream transports, on all that there are: the public kit, case by case."""

from __future__ import annotations

import pytest

from tests.certificates import Certificates
from tests.testing.pipe_rigs import PipeRig
from tests.testing.rigs import (
    BlockingMemoryRig,
    BlockingRig,
    LoopRig,
    MemoryNetworkRig,
    MemoryRig,
    PolledMemoryRig,
    PolledRig,
    PolledUnixRig,
    SelectorRig,
    TLSRig,
    UnixRig,
)
from tieline.testing import STREAM_CASES, Case, ContractBroken, Faults

pytestmark = pytest.mark.row("T1", "T2", "T3", "T4", "T7", "R10")

# What the transport below sessions does otherwise, in blocking code. The public one, over it, keeps all of it.
KNOWN_OF_BLOCKING_CODE = {
    "the_end_of_writing": "write behind write_eof is dropped, and raises nothing",
}


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
async def test_the_transports_of_the_loop(case: Case) -> None:
    await case.check(LoopRig())


@pytest.mark.asyncio_only("trio's are the loop's own above")
@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
async def test_the_transports_of_links_on_stock_loops(case: Case) -> None:
    await case.check(SelectorRig())


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
async def test_unix_sockets(case: Case) -> None:
    await case.check(UnixRig())


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
async def test_pipes(case: Case) -> None:
    await case.check(PipeRig())


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
async def test_tls_over_them(case: Case, certificates: Certificates) -> None:
    await case.check(TLSRig(LoopRig(), certificates))


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
async def test_transports_in_memory_on_a_runtime(case: Case) -> None:
    await case.check(MemoryNetworkRig())


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_transports_in_memory(case: Case) -> None:
    case.run(MemoryRig())


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_transports_in_memory_with_faults(case: Case) -> None:
    for seed in range(2):
        case.run(MemoryRig(Faults(seed, chunk=1024)))


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_tls_over_transports_in_memory(case: Case, certificates: Certificates) -> None:
    case.run(TLSRig(MemoryRig(), certificates))


@pytest.mark.parametrize("rig", [BlockingRig, BlockingMemoryRig])
@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_the_transport_below_sessions_in_blocking_code(case: Case, rig: type[BlockingRig]) -> None:
    if str(case) in KNOWN_OF_BLOCKING_CODE:
        with pytest.raises(ContractBroken):
            case.run(rig())
    else:
        case.run(rig())


@pytest.mark.parametrize("rig", [PolledRig, PolledMemoryRig])
@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_the_public_transport_of_blocking_code(case: Case, rig: type[PolledRig]) -> None:
    case.run(rig())


@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_unix_sockets_of_blocking_code(case: Case) -> None:
    case.run(PolledUnixRig())


@pytest.mark.parametrize("rig", [BlockingRig, BlockingMemoryRig])
@pytest.mark.parametrize("case", STREAM_CASES, ids=str)
def test_tls_over_it(case: Case, rig: type[BlockingRig], certificates: Certificates) -> None:
    case.run(TLSRig(rig(), certificates))
