# SPDX-License-Identifier: MIT
"""What all servers and clients have in common: they answer questions, one line of JSON each, until standard input ends.

A server tells its address first. It is asked from a thread of its own that sleeps in a read and costs nothing
meanwhile, so that blocking servers and those on any loop are asked alike.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import resource
import sys
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.workloads import WORKLOADS, Connect, Player, Workload

__all__ = ["AsyncClient", "Client", "Options", "TrioClient", "answer_cpu_of", "async_client", "main", "tell_address"]

Serve = Callable[["Options"], AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Options:
    """How a program is to run, from its command line.

    Attributes:
        role: "server" or "client".
        loop: "asyncio", "uvloop" or "trio".
        transport: "tcp", "unix" or "ws", a WebSocket over TCP.
        variant: What else the peer offers, by a name of its own; empty = its ordinary form.
        traced: Trace allocations, so that "memory" can tell them.
        folder: Where socket files go.
        shared_port: The TCP port that this server listens on beside others; 0 = a port of its own.
    """

    role: str
    loop: str
    transport: str
    variant: str
    traced: bool
    folder: str
    shared_port: int

    @property
    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop]:
        """What makes the loop."""
        if self.loop == "uvloop":
            import uvloop

            return uvloop.new_event_loop
        return asyncio.new_event_loop

    @property
    def url(self) -> str:
        """Where to listen."""
        if self.transport == "unix":
            return f"unix://{self.folder}/{os.getpid()}"
        return f"{self.transport}://127.0.0.1:0"


class Client(Protocol):
    """What plays workloads against a server."""

    def open(self, workload: Workload, address: str) -> None: ...

    def run(self, operations: int) -> int:
        """Do about so many operations and return how many it were."""
        ...

    def close(self) -> None: ...


class AsyncClient:
    """Plays workloads with a peer's asynchronous client, on one loop."""

    def __init__(self, connect: Connect, options: Options) -> None:
        self._connect = connect
        self._runner = asyncio.Runner(loop_factory=options.loop_factory)
        self._player: Player | None = None

    def open(self, workload: Workload, address: str) -> None:
        self._player = Player(workload, self._connect, address, _gather)
        self._runner.run(self._player.open())

    def run(self, operations: int) -> int:
        assert self._player is not None
        self._runner.run(self._player.run(operations))
        return operations

    def close(self) -> None:
        assert self._player is not None
        self._runner.run(self._player.close())


async def _gather(workers: Sequence[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*workers)


class TrioClient:
    """Plays workloads with a peer's asynchronous client, on trio."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._player: Player | None = None

    async def open(self, workload: Workload, address: str) -> None:
        self._player = Player(workload, self._connect, address, _in_nursery)
        await self._player.open()

    async def run(self, operations: int) -> int:
        assert self._player is not None
        await self._player.run(operations)
        return operations

    async def close(self) -> None:
        assert self._player is not None
        await self._player.close()


async def _in_nursery(workers: Sequence[Coroutine[Any, Any, None]]) -> None:
    import trio

    async def run(worker: Coroutine[Any, Any, None]) -> None:
        await worker

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(run, worker)


def async_client(connect: Connect, options: Options) -> AsyncClient | TrioClient:
    """Return a client for the loop that the command line names."""
    return TrioClient(connect) if options.loop == "trio" else AsyncClient(connect, options)


def main(serve: Serve | Callable[[Options], None], new_client: Callable[[Options], Client | TrioClient]) -> None:
    """Run as the server or the client that the command line asks for.

    Args:
        serve: An async context manager that serves and yields its address; or a plain function that serves for ever.
        new_client: What makes the client.
    """
    options = _parse()
    _allow_many_files()
    if options.traced:
        tracemalloc.start()
    if options.role == "client":
        client = new_client(options)
        if isinstance(client, TrioClient):
            _run_on_trio(_answer_on_trio, client)
        else:
            _answer_as_client(client)
        return
    served = serve(options)  # of a plain function nothing comes back
    assert served is not None
    if options.loop == "trio":
        _run_on_trio(_serve_on_trio, served)
        return
    with asyncio.Runner(loop_factory=options.loop_factory) as runner:
        runner.run(_serve(served))


def _parse() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    parser.add_argument("--transport", choices=("tcp", "unix", "ws"), default="tcp")
    parser.add_argument("--variant", default="")
    parser.add_argument("--traced", action="store_true")
    parser.add_argument("--folder", default="")
    parser.add_argument("--shared-port", type=int, default=0)
    return Options(**vars(parser.parse_args()))


def _allow_many_files() -> None:
    """Let the process open as many connections as the system allows it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# --- answering -------------------------------------------------------------------------------------------------------


def _tell(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


async def _serve(serving: AbstractAsyncContextManager[str]) -> None:
    async with serving as address:
        tell_address(address)
        await asyncio.Event().wait()


def _run_on_trio(function: Callable[[Any], Awaitable[object]], argument: object) -> None:
    import trio

    trio.run(function, argument)


async def _serve_on_trio(serving: AbstractAsyncContextManager[str]) -> None:
    import trio

    async with serving as address:
        tell_address(address)
        await trio.sleep_forever()


def tell_address(address: str) -> None:
    """Tell where the server listens, and answer questions from now on. When there are no more the process ends."""
    threading.Thread(target=_answer_as_server, daemon=True).start()
    _tell(address=address)


def _answer_as_server() -> None:
    for line in sys.stdin:
        match json.loads(line)["do"]:
            case "cpu":
                _tell(cpu=_cpu())
            case "sockets":
                _tell(sockets=_sockets())
            case _:
                _tell(**_memory())
    os._exit(0)  # nobody is left to be told anything


_serving: Path | None = None  # where the process that serves in our place tells who it is


def answer_cpu_of(path: Path) -> None:
    """Answer for another process from now on, which writes its number to *path*: a child of the client's."""
    global _serving
    _serving = path


def _cpu() -> float:
    """Return how many seconds of processor time the server has used; 0 where the system does not tell."""
    if _serving is None:
        return time.process_time()
    with suppress(OSError):
        fields = Path(f"/proc/{_serving.read_text()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _sockets() -> int:
    """Return how many sockets the process has; 0 where the system does not tell."""
    found = 0
    for path in Path("/proc/self/fd").glob("*"):
        with suppress(FileNotFoundError):  # the descriptor that listed the folder
            found += str(path.readlink()).startswith("socket:")
    return found


def _memory() -> dict[str, int]:
    """Return the bytes that the process holds, and those that Python's allocators handed out (0 when not traced)."""
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0]
    statm = Path("/proc/self/statm")
    if not statm.exists():  # not Linux: the largest that it ever was
        return {"rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "traced": traced}
    with suppress(OSError, AttributeError):  # other C libraries have none
        ctypes.CDLL(None).malloc_trim(0)
    return {"rss": int(statm.read_text().split()[1]) * resource.getpagesize(), "traced": traced}


def _answer_as_client(client: Client) -> None:
    for line in sys.stdin:
        question = json.loads(line)
        match question["do"]:
            case "open":
                client.open(_resized(WORKLOADS[question["workload"]], question.get("connections")), question["address"])
                _tell()
            case "run":
                _tell(**_timed(client, question["operations"]))
            case "memory":
                _tell(**_memory())
            case _:
                client.close()
                _tell()


async def _answer_on_trio(client: TrioClient) -> None:
    """As `_answer_as_client`. All in one task, to which the nurseries of its sessions belong."""
    import trio

    while line := await trio.to_thread.run_sync(sys.stdin.readline):  # the thread sleeps while the client runs
        question = json.loads(line)
        match question["do"]:
            case "open":
                workload = _resized(WORKLOADS[question["workload"]], question.get("connections"))
                await client.open(workload, question["address"])
                _tell()
            case "run":
                gc.collect()
                cpu, began = time.process_time(), time.perf_counter()
                done = await client.run(question["operations"])
                _tell(operations=done, seconds=time.perf_counter() - began, cpu=time.process_time() - cpu)
            case "memory":
                _tell(**_memory())
            case _:
                await client.close()
                _tell()


def _resized(workload: Workload, connections: int | None) -> Workload:
    """Return the workload, with another number of connections where one is given."""
    if connections is None:
        return workload
    return replace(workload, connections=connections)


def _timed(client: Client, operations: int) -> dict[str, float]:
    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    done = client.run(operations)
    ended = time.perf_counter()
    return {"operations": done, "seconds": ended - began, "cpu": time.process_time() - cpu}
