# SPDX-License-Identifier: MIT
"""W8: how long imports take, each in an interpreter of its own. The harness lets them keep their bytecode."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from benchmarks.harness import ROOT

__all__ = ["IMPORTS", "measure_import"]

IMPORTS = {
    "import msgspec": "import msgspec",
    "import asyncio": "import asyncio",
    "import tieline": "import tieline",
    # All that a program has loaded when it has called and served; nothing is left for later but TLS, signals and the
    # like. What is named behind `serve` is loaded by the first that registers a method, dials or listens. A test makes
    # a call, and sees that nothing of ours is left to be loaded for it.
    "tieline with asyncio": "import asyncio, tieline; tieline.connect; tieline.serve; "
    "from tieline.rpc import binding; from tieline.runtimes.asyncio import backend, dialling, listening",
    # Likewise for a blocking client, beside what it cannot do without.
    "msgspec, socket, selectors, threading": "import msgspec, socket, selectors, threading",
    "tieline in blocking code": "import tieline.blocking; tieline.blocking.connect('tcp://host:1')",
    "import aiorpcx": "import aiorpcx",
    "import grpc.aio": "import grpc.aio",
    "pjrpc, websockets": "import pjrpc.client, pjrpc.server, websockets.asyncio.client, websockets.asyncio.server",
    "pygls.server": "import pygls.server",
}
_NEEDS = {"import aiorpcx": "aiorpcx", "import grpc.aio": "grpc", "pjrpc, websockets": "pjrpc", "pygls.server": "pygls"}
_TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def measure_import(name: str, repeats: int) -> float | None:
    """Return the seconds that an import takes, the best of so many; None when it is not installed."""
    if name in _NEEDS and importlib.util.find_spec(_NEEDS[name]) is None:
        return None
    command = [sys.executable, "-c", _TIMED.format(IMPORTS[name])]
    return min(
        float(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout) for _ in range(repeats)
    )
