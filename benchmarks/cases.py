# SPDX-License-Identifier: MIT
"""Who takes part: peers in the forms in which they are measured, and in which workloads."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["CASES", "Case", "is_installed"]

_ALL = ("W1", "W2-64", "W2-1000", "s2", "W3", "W4", "W6", "W7", "memory")
_NO_BATCHES = tuple(name for name in _ALL if name != "W4")
_STDIO = ("W1", "W2-64")
_CARRIED = ("W1", "W2-64", "W2-1000", "W3", "W4", "W6", "W7", "memory")  # by WebSocket
_ECHOED = ("W1", "W2-64", "W2-1000", "W3")
_RAW = (*_NO_BATCHES, "W6-raw")
_PACKETS = ("W5-ping", "W5-stream", "W6-raw")
_SMALL_PACKETS = ("W5-ping", "W5-stream")
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
_WS = ("--transport", "ws")
_BLOCKING = ("--variant", "blocking")


def _packets() -> Iterator[Case]:
    """Yield the clients of packets. Those that are timed have the same server, which echoes bytes."""
    ours, theirs = ("tieline_packets", "easynetwork_packets")
    yield Case("tieline-packets", "tieline packets", ours, workloads=_PACKETS)
    served = "tieline_packet_server"
    yield Case("tieline-packet-server", "tieline packet server and clients", served, workloads=("memory",))
    yield Case("tieline-packet-server-uvloop", "the same, uvloop", served, ("uvloop",), ("memory",), _UVLOOP)
    yield Case("tieline-packet-server-trio", "the same, trio", served, ("trio",), ("memory",), _TRIO)
    yield Case("tieline-packets-uvloop", "tieline packets, uvloop", ours, ("uvloop",), _PACKETS, _UVLOOP)
    yield Case("tieline-packets-trio", "tieline packets, trio", ours, ("trio",), _PACKETS, _TRIO)
    yield Case("tieline-packets-blocking", "tieline packets, blocking", ours, (), _PACKETS, _BLOCKING)
    needed = ("easynetwork",)
    yield Case("easynetwork", "EasyNetwork (stdlib json)", theirs, needed, _PACKETS)
    yield Case("easynetwork-uvloop", "EasyNetwork, uvloop", theirs, (*needed, "uvloop"), _PACKETS, _UVLOOP)
    yield Case("easynetwork-trio", "EasyNetwork, trio", theirs, (*needed, "trio"), _PACKETS, _TRIO)
    yield Case("easynetwork-blocking", "EasyNetwork, blocking", theirs, needed, _PACKETS, _BLOCKING)
    by_hand = "packets_by_hand"
    yield Case("packets-streams", "asyncio streams by hand, stdlib json", by_hand, (), _SMALL_PACKETS)
    raw = ("--variant", "protocol")
    yield Case("packets-protocol", "raw asyncio Protocol, nothing parsed", by_hand, (), _SMALL_PACKETS, raw)
    yield Case("packets-blocking", "blocking socket by hand, stdlib json", by_hand, (), _SMALL_PACKETS, _BLOCKING)


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
        Case("protocol", "raw asyncio Protocol echo", "raw", workloads=_RAW),
        Case(
            "buffered",
            "raw asyncio BufferedProtocol echo",
            "raw",
            workloads=_RAW,
            options=("--variant", "buffered"),
        ),
        Case("uvloop", "raw uvloop echo", "raw", ("uvloop",), workloads=_RAW, options=_UVLOOP),
        Case("tieline-blocking", "tieline, blocking client", "tieline_blocking", workloads=("W1", "W6", "W7")),
        Case(
            "tieline-blocking-uvloop",
            "tieline, blocking client, server on uvloop",
            "tieline_blocking",
            ("uvloop",),
            workloads=("W1",),
            options=_UVLOOP,
        ),
        Case("blocking", "blocking socket echo", "blocking", workloads=("W1", "W6", "W6-raw", "W7")),
        Case("grpc", "grpc.aio (bytes)", "grpc_aio", ("grpc",), workloads=("W1", "W2-64", "W2-1000", "W6", "W7")),
        Case("tieline-ws", "tieline, WebSocket", "tieline_rpc", ("websockets",), _CARRIED, _WS),
        Case(
            "tieline-ws-uvloop",
            "tieline, WebSocket, uvloop",
            "tieline_rpc",
            ("websockets", "uvloop"),
            _ECHOED,
            (*_UVLOOP, *_WS),
        ),
        Case(
            "tieline-ws-trio",
            "tieline, WebSocket, trio",
            "tieline_rpc",
            ("websockets", "trio"),
            _ON_TRIO,
            (*_TRIO, *_WS),
        ),
        Case("pjrpc", "pjrpc on websockets", "pjrpc_ws", ("pjrpc", "websockets"), _CARRIED),
        Case(
            "jsonrpcserver", "jsonrpcserver on websockets", "jsonrpcserver_ws", ("jsonrpcserver", "websockets"), _ECHOED
        ),
        Case("aiorpcx-ws", "aiorpcX, WebSocket", "aiorpcx_rpc", ("aiorpcx", "websockets"), _ECHOED, _WS),
        Case("picows", "raw picows echo, WebSocket", "picows_echo", ("picows",), _ECHOED),
        Case(
            "picows-uvloop", "raw picows echo, WebSocket, uvloop", "picows_echo", ("picows", "uvloop"), _ECHOED, _UVLOOP
        ),
        Case("pygls", "pygls", "pygls_rpc", ("pygls",), workloads=("W1", "W2-64", "W2-1000", "W6")),
        Case("tieline-stdio", "tieline, LSP over stdio", "stdio_rpc", workloads=_STDIO, options=_variant("tieline")),
        Case("pygls-stdio", "pygls over stdio", "stdio_rpc", ("pygls",), workloads=_STDIO, options=_variant("pygls")),
        Case("tieline-mcp", "tieline, MCP over stdio", "stdio_rpc", workloads=_STDIO, options=_variant("tieline-mcp")),
        Case("mcp", "official MCP SDK over stdio", "stdio_rpc", ("mcp",), workloads=_STDIO, options=_variant("mcp")),
        *_packets(),
    )
}


def is_installed(case: Case) -> bool:
    """Return whether this interpreter has what the case needs."""
    return all(importlib.util.find_spec(name) for name in case.needs)
