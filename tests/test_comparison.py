# SPDX-License-Identifier: MIT
"""The table in README.md, row by row, on aiorpcX 0.25 and on tieline: the same bytes to both."""

import asyncio
import importlib.util
import inspect
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiorpcx
import pytest

import tieline
import tieline.clients

ROOT = Path(__file__).resolve().parent.parent

AIORPCX_SERVER = """
import asyncio, aiorpcx

async def add(a: int, b: int): return a + b
async def unsendable(): return object()
async def cancelled(): raise asyncio.CancelledError

class Session(aiorpcx.RPCSession):
    async def handle_request(self, request):
        return await aiorpcx.handler_invocation(globals().get(request.method), request)()

async def main():
    server = await aiorpcx.serve_rs(Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

TIELINE_SERVER = """
import asyncio, tieline

methods = tieline.Methods()

@methods.method
async def add(a: int, b: int): return a + b

@methods.method
async def unsendable(): return object()

@methods.method
async def cancelled(): raise asyncio.CancelledError

@methods.method
async def forever(): await asyncio.Event().wait()

async def main():
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server:
        print(server.get_addresses()[0].port, flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def serving(program: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server in a process of its own; what it logs about its faults is of no interest here."""
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def request(method: str, *params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode()


def answer_of(port: int, line: bytes) -> Any:
    """Return what *line* is answered with; None when nothing came although later work was done, and more than once.

    No clock is asked: that the server has had its time is shown by round trips on other connections.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as asking:
        asking.sendall(line + b"\n")
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as other, other.makefile("rb") as answers:
                other.sendall(request("add", 1, 2) + b"\n")
                assert json.loads(answers.readline())["result"] == 3
        asking.setblocking(False)
        try:
            seen = asking.recv(65536)
        except BlockingIOError:
            return None
        assert seen.endswith(b"\n"), seen  # b"" would be a closed connection
        return json.loads(seen)


def code_of(answer: Any) -> int | None:
    if isinstance(answer, list):
        (answer,) = answer  # a batch: nothing else is answered in it
    return None if answer is None else answer["error"]["code"]


ROWS = [
    ("an argument does not fit its hint", request("add", 1, "x"), -32603, -32602),
    ("a handler returns what JSON cannot carry", request("unsendable"), None, -32603),
    ("a handler raises `CancelledError`", request("cancelled"), None, -32603),
    ("a message of 100 000 brackets", b"[" * 100_000, None, -32600),
    (
        "an integer of 5000 digits",
        b'{"jsonrpc":"2.0","method":"add","params":[' + b"9" * 5000 + b',1],"id":1}',
        None,
        -32700,
    ),
    (
        "a batch of a notification and an invalid member",
        b'[{"jsonrpc":"2.0","method":"add","params":[1,2]},1]',
        None,
        -32600,
    ),
]


def test_each_row_of_the_readme_holds() -> None:
    with serving(AIORPCX_SERVER) as (_, theirs), serving(TIELINE_SERVER) as (_, ours):
        for title, line, their_code, our_code in ROWS:
            assert (title, code_of(answer_of(theirs, line))) == (title, their_code)
            answer = answer_of(ours, line)
            assert (title, code_of(answer)) == (title, our_code)
            if our_code == -32602:
                assert "'b'" in answer["error"]["message"]


@pytest.mark.row("S7")
async def test_a_caller_whose_server_is_killed_is_told_so_not_cancelled() -> None:
    with serving(TIELINE_SERVER) as (process, port):
        async with (
            aiorpcx.connect_rs("127.0.0.1", port) as theirs,
            tieline.connect(f"tcp://127.0.0.1:{port}") as ours,
        ):
            calls = [
                asyncio.create_task(theirs.send_request("forever")),
                asyncio.create_task(ours.call("forever")),
            ]
            assert await theirs.send_request("add", [1, 2]) == await ours.call("add", 1, 2) == 3
            process.kill()
            await asyncio.wait(calls, timeout=10)
            assert calls[0].cancelled()
            assert isinstance(calls[1].exception(), tieline.ConnectionLost)


def cell_says(cell: str, code: int | None) -> bool:
    """Return whether a cell tells that a message was answered with *code*; None = not at all."""
    codes = [int(found) for found in re.findall(r"-\d{5}", cell)]
    return codes == ([] if code is None else [code]) and ("no reply, and the connection stays open" in cell) == (
        code is None
    )


def test_the_readme_has_these_rows_and_no_others_and_says_of_each_what_is_so() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.partition("## Compared with aiorpcX")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    killed, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert killed == [
        "the server is killed while a call is open",
        "the caller gets `CancelledError`",
        "`ConnectionLost`, an `OSError`",
    ]
    assert [title for title, _, _ in rows] == [title for title, *_ in ROWS]
    for (title, theirs, ours), (_, _, their_code, our_code) in zip(rows, ROWS, strict=True):
        assert cell_says(theirs, their_code), title
        assert cell_says(ours, our_code), title


def is_an_endpoint(url: str) -> bool:
    try:
        tieline.parse(url)
    except ValueError:
        return False
    return True


# What the pages say is coming, and how it is known to be there.
COMING: dict[str, Callable[[], bool]] = {
    "packets in datagrams": lambda: hasattr(tieline.clients, "AsyncUDPNetworkClient"),
    "servers of packets": lambda: importlib.util.find_spec("tieline.servers") is not None,
    "cost accounting": lambda: hasattr(tieline.SessionBase, "bump_cost"),
    "trio": lambda: importlib.util.find_spec("tieline.runtimes.trio") is not None,
    "blocking": lambda: importlib.util.find_spec("tieline.blocking") is not None,
    "WebSocket": lambda: is_an_endpoint("ws://localhost:4000"),
    "stdio": lambda: is_an_endpoint("stdio:"),
    "pipes": lambda: is_an_endpoint("cmd:cat"),
    "UDP": lambda: is_an_endpoint("udp://localhost:4000"),
    "proxies": lambda: hasattr(tieline, "SOCKSProxy"),
}


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_what_is_said_to_come_is_not_there_and_the_other_way_round(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    line = re.search(r"^\*\*Coming, and not there yet:\*\* (.*)\.$", text, re.MULTILINE)
    assert line is not None
    for word, is_there in COMING.items():
        assert (re.search(rf"\b{word}\b", line[1]) is not None) is not is_there(), f"{page}: {word}"


@pytest.mark.parametrize("name", ["ConnectionLost", "ClosedError"])
def test_the_end_of_a_connection_is_an_oserror(name: str) -> None:
    assert issubclass(getattr(tieline, name), OSError)


AIORPCX_NAMES_OF_THE_PAGE = [
    "BitcoinFramer",
    "JSONRPCAutoDetect",
    "JSONRPCConnection",
    "JSONRPCLoose",
    "JSONRPCv1",
    "JSONRPCv2",
    "MessageSession",
    "NewlineFramer",
    "RPCSession",
    "ReplyAndDisconnect",
    "SOCKSProxy",
    "TaskGroup",
    "connect_rs",
    "connect_us",
    "connect_ws",
    "handler_invocation",
    "ignore_after",
    "serve_rs",
    "serve_us",
    "timeout_after",
]


def test_what_the_pages_say_aiorpcx_has_is_there() -> None:
    assert [name for name in AIORPCX_NAMES_OF_THE_PAGE if not hasattr(aiorpcx, name)] == []
    assert hasattr(aiorpcx.RPCSession, "cost_soft_limit")
    for method in ("handle_request", "connection_lost", "send_request", "send_notification"):
        assert inspect.iscoroutinefunction(getattr(aiorpcx.RPCSession, method))
    for method in ("handle_message", "send_message"):
        assert inspect.iscoroutinefunction(getattr(aiorpcx.MessageSession, method))
        assert hasattr(tieline.MessageSession, method)
    assert list(inspect.signature(aiorpcx.BitcoinFramer).parameters) == ["magic", "max_block_size"]
    magics = [inspect.signature(owner.BitcoinFramer).parameters["magic"].default for owner in (aiorpcx, tieline)]
    assert magics == [bytes.fromhex("e3e1f3e8"), bytes.fromhex("f9beb4d9")]


def test_what_the_pages_say_is_the_same_in_both_is_there_in_tieline() -> None:
    for name in ("JSONRPCAutoDetect", "JSONRPCLoose", "JSONRPCv1", "JSONRPCv2", "NewlineFramer", "ReplyAndDisconnect"):
        assert hasattr(tieline, name)
