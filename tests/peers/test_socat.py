# SPDX-License-Identifier: MIT
"""Lines typed by socat: into a server of ours in a process of its own, and as answers to a client of ours."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests.peers.our_side import our_methods
from tests.peers.programs import HERE, Program, python, running
from tieline import ConnectionLost, RPCError

pytestmark = pytest.mark.peers


@pytest.fixture
def socat(need) -> Path:
    path: Path = need("socat", "apt-get install socat, or make test-peers")
    return path


@pytest.fixture(params=["tcp", "unix", "abstract"])
def url(request, tmp_path) -> str:
    return {
        "tcp": "tcp://127.0.0.1:0",
        "unix": f"unix://{tmp_path}/socket",
        "abstract": f"unix:@tieline-{os.getpid()}-{tmp_path.name}",
    }[request.param]


def address(url: str) -> str:
    """Return a URL of ours as socat says it."""
    if url.startswith("tcp://"):
        return f"TCP:{url.removeprefix('tcp://')}"
    if url.startswith("unix:@"):
        return f"ABSTRACT-CONNECT:{url.removeprefix('unix:@')}"
    return f"UNIX-CONNECT:{url.removeprefix('unix://')}"


@asynccontextmanager
async def _serving(loop: str, url: str, protocol: str = "JSONRPCv2") -> AsyncIterator[tuple[str, Program]]:
    """Give the address of a server of ours in a process of its own, for socat, and the program."""
    async with running(*python("line_server.py"), loop, url, protocol) as server:
        yield address(await server.line()), server


@pytest.fixture
def serving(runtime) -> Callable[..., AbstractAsyncContextManager[tuple[str, Program]]]:
    """Give `serving(url, protocol)`: see `_serving`; its server runs on the same kind of loop as the test."""
    return partial(_serving, runtime.name)


async def typed(socat: Path, to: str, data: bytes) -> list[Any]:
    """Type *data*, end the input, and return what came back until the server closed."""
    async with running(socat, "-t", "30", "-", to) as typist:
        typist.type(data)
        typist.end_of_input()
        lines = await typist.rest()
        assert await typist.ended() == 0
    return [json.loads(line) for line in lines]


# --- the examples of the specification -------------------------------------------------------------------------------


def result(value: Any, request_id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": value, "id": request_id}


def error(code: int, request_id: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": code, "id": request_id}


# JSON-RPC 2.0, section 7, each on one line, in its order. Of errors only code and id are told.
EXAMPLES: list[tuple[bytes, Any]] = [
    (b'{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', result(19, 1)),
    (b'{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}', result(-19, 2)),
    (
        b'{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        result(19, 3),
    ),
    (
        b'{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        result(19, 4),
    ),
    (b'{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    (b'{"jsonrpc": "2.0", "method": "foobar"}', None),
    (b'{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', error(-32601, "1")),
    (b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', error(-32700)),
    (b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}', error(-32600)),
    (
        b'[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        error(-32700),
    ),
    (b"[]", error(-32600)),
    (b"[1]", [error(-32600)]),
    (b"[1,2,3]", [error(-32600), error(-32600), error(-32600)]),
    (
        b'[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        b' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        b' {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},'
        b' {"foo": "boo"},'
        b' {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        b' {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
        [result(7, "1"), result(19, "2"), error(-32600), error(-32601, "5"), result(["hello", 5], "9")],
    ),
    (
        b'[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        b' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
]


def bare(answer: Any) -> Any:
    """Return an answer with its errors cut down to their codes, and batches in a fixed order."""
    if isinstance(answer, list):
        return sorted(map(bare, answer), key=lambda member: str(member["id"]))
    if "error" in answer:
        assert isinstance(answer["error"].pop("message"), str)
        return answer | {"error": answer["error"].pop("code")}
    return answer


def ordered(expected: Any) -> Any:
    return sorted(expected, key=lambda member: str(member["id"])) if isinstance(expected, list) else expected


@pytest.mark.row("J4", "J10")
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_the_examples_of_the_specification_typed_into_a_socket(socat, serving, url, line_end):
    async with serving(url) as (to, server):
        for line, expected in EXAMPLES:
            answers = await typed(socat, to, line + line_end)
            assert [bare(answer) for answer in answers] == ([] if expected is None else [ordered(expected)])
        assert [await server.line() for _ in range(3)] == ["update 1 2 3 4 5", "notify_hello 7", "notify_hello 7"]


@pytest.mark.row("J4", "J10", "F3")
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n\r\n\n"])
async def test_all_examples_in_one_connection_that_is_half_closed_behind_the_last(socat, serving, url, line_end):
    examples = EXAMPLES.copy()
    # Typed at once, two examples would have the id "1" in flight together.
    assert examples[6][0].endswith(b'"id": "1"}')
    examples[6] = (examples[6][0].replace(b'"id": "1"', b'"id": "one"'), error(-32601, "one"))
    async with serving(url) as (to, _server):
        answers = await typed(socat, to, b"".join(line + line_end for line, _expected in examples))
    # The one batch with a handler that is async may come last.
    expected = [ordered(expected) for _line, expected in examples if expected is not None]
    assert sorted(map(str, map(bare, answers))) == sorted(map(str, expected))


def v1(value: Any, request_id: Any) -> dict[str, Any]:
    return {"result": value, "error": None, "id": request_id}


def v1_error(code: int, request_id: Any = None) -> dict[str, Any]:
    return {"result": None, "error": code, "id": request_id}


V1_EXAMPLES: list[tuple[bytes, Any]] = [
    (b'{"method": "echo", "params": ["Hello JSON-RPC"], "id": 1}', v1("Hello JSON-RPC", 1)),
    (b'{"method": "subtract", "params": [42, 23], "id": "a"}', v1(19, "a")),
    (b'{"method": "subtract", "params": [42, 23], "id": [1, {"b": false}]}', v1(19, [1, {"b": False}])),
    (b'{"method": "subtract", "params": [42, 23], "id": false}', v1(19, False)),
    (b'{"method": "update", "params": [1, 2], "id": null}', None),
    (b'{"method": "foobar", "params": [], "id": 1}', v1_error(-32601, 1)),
    (b'{"method": "foobar", "params": [], "id": null}', None),
    (b'{"method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 1}', v1_error(-32602, 1)),
    (b'{"method": "subtract", "params": [42, 23]}', v1_error(-32600)),
    (b'[{"method": "subtract", "params": [42, 23], "id": 1}]', v1_error(-32600)),
    (b'{"method": 1, "params": [42, 23], "id": 1}', v1_error(-32600, 1)),
    (b'{"method": "subtract', v1_error(-32700)),
]


@pytest.mark.row("J5")
async def test_lines_of_1_0_typed_into_a_socket(socat, serving):
    async with serving("tcp://127.0.0.1:0", "JSONRPCv1") as (to, server):
        for line, expected in V1_EXAMPLES:
            answers = await typed(socat, to, line + b"\n")
            assert [bare_v1(answer) for answer in answers] == ([] if expected is None else [expected])
        assert await server.line() == "update 1 2"


def bare_v1(answer: Any) -> Any:
    assert answer.keys() == {"result", "error", "id"}
    return answer if answer["error"] is None else answer | {"error": answer["error"]["code"]}


# --- how lines come --------------------------------------------------------------------------------------------------


async def test_a_line_typed_in_pieces_is_one_line(socat, serving, url):
    call = '{"jsonrpc":"2.0","method":"echo","params":["Grüße"],"id":%d}\n'
    cuts = [1, 20, *(index for index, byte in enumerate(call.encode()) if byte > 127), len(call.encode()) - 3]
    async with serving(url) as (to, _server), running(socat, "-t", "30", "-", to) as typist:
        rest = b""
        for number, cut in enumerate(cuts):
            line = (call % number).encode()
            # Each piece ends a line, whose answer proves that it has arrived, and begins the next one.
            typist.type(rest + line + line[:cut])
            rest = line[cut:]
            answers = [json.loads(await typist.line()) for _ in range(2 if number else 1)]
            assert answers[-1] == result("Grüße", number)
        typist.type(rest)
        assert json.loads(await typist.line()) == result("Grüße", len(cuts) - 1)


@pytest.mark.row("J4")
async def test_garbage_lines_are_answered_and_the_good_one_behind_them_too(socat, serving, url):
    garbage = [b"garbage", b"\xff\xfe\x00", b'{"jsonrpc":"2.0"', b"\x00" * 500, b'"', b"nul"]
    good = b'{"jsonrpc":"2.0","method":"echo","params":["good"],"id":1}'
    async with serving(url) as (to, _server):
        answers = await typed(socat, to, b"\n".join([*garbage, good, b""]))
    assert [bare(answer) for answer in answers] == [error(-32700)] * len(garbage) + [result("good", 1)]


@pytest.mark.row("H9")
async def test_replies_of_handlers_that_still_run_arrive_behind_a_half_close(socat, serving, url):
    calls = [b'{"jsonrpc":"2.0","method":"slow","params":[%d],"id":%d}' % (n, n) for n in range(50)]
    async with serving(url) as (to, _server):
        answers = await typed(socat, to, b"\n".join([*calls, b""]))
    assert sorted(answers, key=lambda answer: answer["id"]) == [result(n, n) for n in range(50)]


async def test_an_unfinished_line_before_a_half_close_is_not_executed(socat, serving):
    async with serving("tcp://127.0.0.1:0") as (to, server):
        good = b'{"jsonrpc":"2.0","method":"update","params":[1],"id":1}'
        unfinished = b'{"jsonrpc":"2.0","method":"update","params":[2],"id":2}'
        assert await typed(socat, to, good + b"\n" + unfinished) == [result(None, 1)]
        assert await typed(socat, to, good + b"\n") == [result(None, 1)]
        assert [await server.line(), await server.line()] == ["update 1", "update 1"]


async def test_a_line_of_800_kilobytes_comes_back(socat, serving, url):
    big = "x" * 800_000
    async with serving(url) as (to, _server):
        line = b'{"jsonrpc":"2.0","method":"echo","params":["%b"],"id":1}\n' % big.encode()
        assert await typed(socat, to, line) == [result(big, 1)]


@pytest.mark.row("F3")
async def test_a_line_over_the_limit_is_answered_then_the_connection_ends(socat, serving, url):
    good = b'{"jsonrpc":"2.0","method":"echo","params":["good"],"id":1}\n'
    # Its input stays open: it is the server that ends this, and -t is how long socat outlives that.
    async with serving(url) as (to, _server), running(socat, "-t", "0.01", "-", to) as typist:
        typist.type(good + b"x" * 1_100_000 + b"\n" + good)
        answers = [json.loads(line) for line in await typist.rest()]
        assert [bare(answer) for answer in answers] == [result("good", 1), error(-32600)]
        await typist.ended()


# --- our client ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def answered_by_socat(socat: Path, listen: str) -> AsyncIterator[str]:
    """Give the URL of a script behind socat, which starts it for each connection."""
    script = f"EXEC:{sys.executable} {HERE / 'line_answers.py'}"
    async with running(socat, "-d", "-d", f"{listen},fork", script, errors_too=True) as program:
        while (found := LISTENING.search(line := await program.line())) is None:
            print(line)
        path, port = found.groups()
        yield f"unix://{path}" if path else f"tcp://127.0.0.1:{port}"


# What socat says when it can be connected to.
LISTENING = re.compile(r'listening on (?:AF=1 "(.+)"|AF=2 127\.0\.0\.1:(\d+))')


@pytest.mark.row("J4", "J10", "F3", "S1", "S3", "S7")
@pytest.mark.parametrize("listen", ["TCP-LISTEN:0,bind=127.0.0.1", "UNIX-LISTEN:{tmp_path}/answers"])
async def test_our_client_talks_with_a_script_behind_socat(socat, listen, tmp_path):
    async with (
        answered_by_socat(socat, listen.format(tmp_path=tmp_path)) as url,
        tieline.connect(url, our_methods()) as session,
    ):
        assert await session.call("echo", 1, "Grüße") == [1, "Grüße"]
        assert await session.call("echo", a=1) == {"a": 1}
        with pytest.raises(RPCError) as caught:
            await session.call("fail")
        assert (caught.value.code, caught.value.message) == (-5, "no")
        await session.notify("tell", 1)
        assert await session.call("ask") == 42
        async with session.batch() as batch:
            for n in range(3):
                batch.add_request("echo", [n])
                batch.add_notification("tell", [n])
        assert batch.results == ([0], [1], [2])
        big = "x" * 800_000
        assert await session.call("echo", big) == [big]
        with pytest.raises(ConnectionLost):
            await session.call("leave")
        await session.wait_closed()
