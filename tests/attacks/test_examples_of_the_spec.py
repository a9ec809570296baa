# SPDX-License-Identifier: MIT
"""The example of the issue, and the worked examples of the two specifications of JSON-RPC, through a bare socket."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tieline
from tests import aio
from tests.attacks.attacked import ROOT
from tests.attacks.raw import Peer
from tests.attacks.table import Answer, Error, Result, Together, fits, shown

EXAMPLE = """
import asyncio, tieline

methods = tieline.Methods()

@methods.method
async def add(a: int, b: int) -> int:
    return a + b

async def main():
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server:
        async with tieline.connect(server.url) as session:
            assert await session.call("add", 1, 2) == 3

asyncio.run(main())
"""
ON_TRIO = EXAMPLE.replace("asyncio.run(main())", "trio.run(main)").replace("import asyncio", "import trio")


@pytest.mark.parametrize("example", [EXAMPLE, ON_TRIO], ids=["asyncio", "trio"])
def test_the_example_runs_as_it_is_written(example: str, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(example + "print('ran to its end')\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran to its end\n", "")


async def test_the_example_in_a_running_loop() -> None:
    space: dict[str, object] = {}
    exec(EXAMPLE.replace("asyncio.run(main())", ""), space)
    main = space["main"]
    assert callable(main)
    await main()


# --- worked examples -------------------------------------------------------------------------------------------------

# Every server of these examples offers the methods that they call.
SERVER = """
import sys, tieline
from tests import aio

methods = tieline.Methods()

@methods.method
def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend

@methods.method(name="sum")
async def total(*numbers: int) -> int:
    return sum(numbers)

@methods.method
def get_data() -> list[object]:
    return ["hello", 5]

@methods.method
def update(*numbers: int) -> None:
    pass

@methods.method
async def notify_hello(number: int) -> None:
    pass

@methods.method
def notify_sum(*numbers: int) -> None:
    pass

@methods.method
def echo(text: str) -> str:
    return text

async def main():
    protocol = getattr(tieline, sys.argv[1])
    async with tieline.serve(methods, "tcp://127.0.0.1:0", rpc_protocol=protocol) as server:
        print(server.url, flush=True)
        await aio.to_thread(sys.stdin.read)

aio.run(main, loop=sys.argv[2])
"""
LOOPS = ["asyncio", "trio"]


@contextmanager
def server_of(protocol: str, loop: str) -> Iterator[str]:
    """Run the server in a process of its own, on the loop of that name, and give its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, protocol, loop],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=20)


@pytest.fixture(scope="module", params=LOOPS)
def v2_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with server_of("JSONRPCv2", request.param) as url:
        yield url


@pytest.fixture(scope="module", params=LOOPS)
def v1_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with server_of("JSONRPCv1", request.param) as url:
        yield url


def one_line(*parts: object) -> bytes:
    return json.dumps(parts[0] if len(parts) == 1 else list(parts)).encode() + b"\n"


def v2(method: object, params: object = None, **members: object) -> dict[str, object]:
    given = {} if params is None else {"params": params}
    return {"jsonrpc": "2.0", "method": method, **given, **members}


SECTION_7: list[tuple[str, bytes, Answer | None]] = [
    ("positional 1", one_line(v2("subtract", [42, 23], id=1)), Result(19, 1)),
    ("positional 2", one_line(v2("subtract", [23, 42], id=2)), Result(-19, 2)),
    ("named 1", one_line(v2("subtract", {"subtrahend": 23, "minuend": 42}, id=3)), Result(19, 3)),
    ("named 2", one_line(v2("subtract", {"minuend": 42, "subtrahend": 23}, id=4)), Result(19, 4)),
    ("notification 1", one_line(v2("update", [1, 2, 3, 4, 5])), None),
    ("notification 2", one_line(v2("foobar")), None),
    ("no such method", one_line(v2("foobar", id="1")), Error(-32601, "1")),
    ("invalid JSON", b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]\n', Error(-32700)),
    ("invalid request object", one_line(v2(1, "bar")), Error(-32600)),
    (
        "batch, invalid JSON",
        b'[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method" ]\n',
        Error(-32700),
    ),
    ("empty array", b"[]\n", Error(-32600)),
    ("invalid batch, not empty", b"[1]\n", Together(Error(-32600))),
    ("invalid batch", b"[1,2,3]\n", Together(Error(-32600), Error(-32600), Error(-32600))),
    (
        "batch",
        one_line(
            v2("sum", [1, 2, 4], id="1"),
            v2("notify_hello", [7]),
            v2("subtract", [42, 23], id="2"),
            {"foo": "boo"},
            v2("foo.get", {"name": "myself"}, id="5"),
            v2("get_data", id="9"),
        ),
        Together(Result(7, "1"), Result(19, "2"), Error(-32600), Error(-32601, "5"), Result(["hello", 5], "9")),
    ),
    ("batch of notifications", one_line(v2("notify_sum", [1, 2, 4]), v2("notify_hello", [7])), None),
]


@pytest.mark.row("J4", "J10")
@pytest.mark.parametrize(("name", "input", "wanted"), SECTION_7, ids=[row[0] for row in SECTION_7])
def test_the_examples_of_section_7_of_version_2(name: str, input: bytes, wanted: Answer | None, v2_url: str) -> None:
    assert len(SECTION_7) == 15
    assert input.count(b"\n") == 1
    # From an address of its own: what all of them cost together would have the last ones delayed.
    source = f"127.0.7.{[row[0] for row in SECTION_7].index(name) + 1}"
    with Peer(v2_url, source) as peer:
        peer.send(input + one_line(v2("subtract", [2, 1], id="behind")))
        seen = [peer.answer()]
        if wanted is not None:
            seen.append(peer.answer())
        # A batch with an async handler may be answered behind what came later.
        behind = next(one for one in seen if fits(one, Result(1, "behind")))
        seen.remove(behind)
        assert len(seen) == (wanted is not None), f"{name}: {shown(seen)}"
        assert wanted is None or fits(seen[0], wanted), shown(seen)
        peer.shutdown_write()
        assert peer.rest() == []


def v1(method: object, params: object, id: object) -> dict[str, object]:
    return {"method": method, "params": params, "id": id}


# Section 3 of the specification of 1.0: requests of both directions, then a notification (its id is null).
VERSION_1: list[tuple[str, bytes, Answer | None]] = [
    ("echo", one_line(v1("echo", ["Hello JSON-RPC"], 1)), Result("Hello JSON-RPC", 1)),
    ("notification", one_line(v1("update", ["Hello all!"], None)), None),
    ("notification of no method", one_line(v1("userJoined", ["fred", "in the room"], None)), None),
    ("a string id", one_line(v1("echo", ["x"], "a")), Result("x", "a")),
    ("a list as id", one_line(v1("echo", ["x"], [1, {"a": None}])), Result("x", [1, {"a": None}])),
    ("false as id", one_line(v1("echo", ["x"], False)), Result("x", False)),
    ("no such method", one_line(v1("nope", [], 99)), Error(-32601, 99)),
    ("arguments that do not fit", one_line(v1("subtract", [1], 99)), Error(-32602, 99)),
]


@pytest.mark.row("J5")
@pytest.mark.parametrize(("name", "input", "wanted"), VERSION_1, ids=[row[0] for row in VERSION_1])
def test_the_examples_of_version_1(name: str, input: bytes, wanted: Answer | None, v1_url: str) -> None:
    with Peer(v1_url) as peer:
        peer.send(input + one_line(v1("subtract", [2, 1], "behind")))
        if wanted is not None:
            seen = peer.answer()
            assert fits(seen, wanted, "v1"), f"{name}: {shown(seen)}"
        assert fits(peer.answer(), Result(1, "behind"), "v1")


FATAL_IN_V1: list[tuple[str, bytes, Error]] = [
    ("no JSON", b"{broken\n", Error(-32700)),
    ("no id", one_line({"method": "echo", "params": ["x"]}), Error(-32600)),
    ("a batch", one_line(v1("echo", ["x"], 1), v1("echo", ["y"], 2)), Error(-32600)),
    ("no method", one_line({"params": [], "id": 7}), Error(-32600, 7)),
]


@pytest.mark.row("J5")
@pytest.mark.parametrize(("name", "input", "wanted"), FATAL_IN_V1, ids=[row[0] for row in FATAL_IN_V1])
def test_a_fault_ends_a_connection_of_version_1_behind_its_answer(
    name: str, input: bytes, wanted: Error, v1_url: str
) -> None:
    with Peer(v1_url) as peer:
        peer.send(input + one_line(v1("echo", ["never"], 3)))
        seen = peer.rest()
        assert len(seen) == 1, f"{name}: {shown(seen)}"
        assert fits(seen[0], wanted, "v1"), shown(seen)


async def test_version_1_calls_itself() -> None:
    methods = tieline.Methods()
    methods.method(name="echo")(lambda text: text)
    v1_class = tieline.JSONRPCv1
    async with (
        tieline.serve(methods, "tcp://127.0.0.1:0", rpc_protocol=v1_class) as server,
        tieline.connect(server.url, rpc_protocol=v1_class) as session,
    ):
        assert await aio.gather(*(session.call("echo", number) for number in range(10))) == list(range(10))
