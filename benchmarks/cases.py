# SPDX-License-Identifier: MIT
"""Who takes part: peers in the forms in which they are measured, and in which workloads."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CASES", "Case", "is_installed"]

_ALL = ("W1", "W2-64", "W2-1000", "s2", "W3", "W4", "W6", "W7", "memory")
_NO_BATCHES = tuple(name for name in _ALL if name != "W4")
_STDIO = ("W1", "W2-64")
_ON_TRIO = ("W1", "W2-64", "W2-1000", "W3", "memory")


@dataclass(frozen=True)
class Case:
    """One peer in one form.

    Attributes:
        name: Its short name, also on the command line.
        title: What it is, for people.
        module: Its module in `benchmarks.peers`.
        needs: The modules that must be installed.
        workloads: Those that it takes part in.
        options: What its server and client are started with.
    """

    name: str
    title: str
    module: str
    needs: tuple[str, ...] = ()
    workloads: Sequence[str] = _ALL
    options: tuple[str, ...] = ()


_UVLOOP = ("--loop", "uvloop")
_TRIO = ("--loop", "trio")
_UNIX = ("--transport", "unix")


def _variant(name: str) -> tuple[str, ...]:
    return "--variant", name


CASES = {
    case.name: case
    for case in (
        Case("tieline", "tieline", "tieline_rpc"),
        Case("tieline-uvloop", "tieline, uvloop", "tieline_rpc", ("uvloop",), options=_UVLOOP),
        Case("tieline-unix", "tieline, Unix socket", "tieline_rpc", options=_UNIX),
        Case(
            "tieline-unix-uvloop",
            "tieline, uvloop, Unix socket",
            "tieline_rpc",
            ("uvloop",),
            options=(*_UVLOOP, *_UNIX),
        ),
        Case("tieline-async", "tieline, async handlers", "tieline_rpc", options=("--variant", "async")),
        Case("tieline-stdlib", "tieline, stdlib json", "tieline_rpc", options=("--variant", "stdlib")),
        Case(
            "tieline-trio",
            "tieline, trio",
            "tieline_rpc",
            ("trio",),
            workloads=_ON_TRIO,
            options=_TRIO,
        ),
        Case(
            "tieline-trio-async",
            "tieline, trio, async handlers",
            "tieline_rpc",
            ("trio",),
            workloads=_ON_TRIO,
            options=(*_TRIO, "--variant", "async"),
        ),
        Case("trio-streams", "raw trio streams echo", "trio_streams", ("trio",), workloads=_ON_TRIO, options=_TRIO),
        Case(
            "anyio-streams",
            "raw anyio streams echo, on trio",
            "trio_streams",
            ("trio", "anyio"),
            workloads=_ON_TRIO,
            options=(*_TRIO, "--variant", "anyio"),
        ),
        Case("aiorpcx", "aiorpcX (stdlib json)", "aiorpcx_rpc", ("aiorpcx",)),
        Case("aiorpcx-uvloop", "aiorpcX, uvloop", "aiorpcx_rpc", ("aiorpcx", "uvloop"), options=_UVLOOP),
        Case("streams", "asyncio streams by hand, stdlib json", "streams", workloads=_NO_BATCHES),
        Case(
            "streams-msgspec",
            "asyncio streams by hand, msgspec",
            "streams",
            workloads=_NO_BATCHES,
            options=("--variant", "msgspec"),
        ),
        Case("protocol", "raw asyncio Protocol echo", "raw", workloads=_NO_BATCHES),
        Case(
            "buffered",
            "raw asyncio BufferedProtocol echo",
            "raw",
            workloads=_NO_BATCHES,
            options=("--variant", "buffered"),
        ),
        Case("uvloop", "raw uvloop echo", "raw", ("uvloop",), workloads=_NO_BATCHES, options=_UVLOOP),
        Case("tieline-blocking", "tieline, blocking client", "tieline_blocking", workloads=("W1", "W6", "W7")),
        Case(
            "tieline-blocking-uvloop",
            "tieline, blocking client, server on uvloop",
            "tieline_blocking",
            ("uvloop",),
            workloads=("W1",),
            options=_UVLOOP,
        ),
        Case("blocking", "blocking socket echo", "blocking", workloads=("W1", "W6", "W7")),
        Case("grpc", "grpc.aio (bytes)", "grpc_aio", ("grpc",), workloads=("W1", "W2-64", "W2-1000", "W6", "W7")),
        Case(
            "pjrpc",
            "pjrpc on websockets",
            "pjrpc_ws",
            ("pjrpc", "websockets"),
            workloads=("W1", "W2-64", "W2-1000", "W3", "W4", "W6", "W7", "memory"),
        ),
        Case("pygls", "pygls", "pygls_rpc", ("pygls",), workloads=("W1", "W2-64", "W2-1000", "W6")),
        Case("tieline-stdio", "tieline, LSP over stdio", "stdio_rpc", workloads=_STDIO, options=_variant("tieline")),
        Case("pygls-stdio", "pygls over stdio", "stdio_rpc", ("pygls",), workloads=_STDIO, options=_variant("pygls")),
        Case("tieline-mcp", "tieline, MCP over stdio", "stdio_rpc", workloads=_STDIO, options=_variant("tieline-mcp")),
        Case("mcp", "official MCP SDK over stdio", "stdio_rpc", ("mcp",), workloads=_STDIO, options=_variant("mcp")),
    )
}


def is_installed(case: Case) -> bool:
    """Return whether this interpreter has what the case needs."""
    return all(importlib.util.find_spec(name) for name in case.needs)
