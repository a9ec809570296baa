# SPDX-License-Identifier: MIT
"""`tieline notify` and `tieline listen`: both ways of what is not answered."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

import tieline as library
from tests.cli.conftest import Served
from tests.cli.programs import PATIENCE, CommandLine, answering, started


def test_what_a_peer_sends_is_shown_until_it_ends(tieline: CommandLine, served: Served) -> None:
    done = tieline("listen", served.tcp, "--call", "news", "tea", '"12"')
    assert done.code == 0
    told = [line.partition("  ")[2] for line in done.out.splitlines()]
    assert told == [
        'news ["tea"]',
        'news ["12"]',
        'are_you_there {"really": true}  (a request: answered with an error)',
        'was_told ["tieline listen answers no requests"]',
        "news returned 2",
    ]
    assert done.error == f"listening to {served.tcp}; Ctrl+C stops"


def test_for_programs_there_is_a_line_of_json_for_each(tieline: CommandLine, served: Served) -> None:
    done = tieline("listen", served.tcp, "--call", "news", "tea", "--json")
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"method": "news", "params": ["tea"]},
        {"method": "are_you_there", "params": {"really": True}, "id": 0},
        {"method": "was_told", "params": ["tieline listen answers no requests"]},
    ]


async def test_it_says_something_first_unless_told_not_to() -> None:
    heard = asyncio.Queue[str]()

    class Heard(library.ServerSession):
        async def handle_request(self, request: library.RPCRequest) -> object:
            heard.put_nowait(str(request.method))
            raise library.RPCError(1, "who cares")

    async with library.serve(Heard, "tcp://127.0.0.1:0") as server:
        with started("listen", server.url, "--json") as listener:
            assert await heard.get() == "rpc.discover"
            await server.broadcast("tea")
            assert await asyncio.to_thread(listener.line) == '{"method":"tea","params":[]}'
            done = await asyncio.to_thread(listener.end, signal.SIGINT)
            assert (done.code, done.out, done.err) == (0, "", "")
        with started("listen", server.url, "--no-hello") as listener:
            assert listener.process.stderr is not None
            assert "listening to" in await asyncio.to_thread(listener.process.stderr.readline)
            await server.shutdown()
            assert (await asyncio.to_thread(listener.ended)).code == 0
    assert heard.empty()


async def test_it_ends_in_order_while_the_first_call_is_unanswered() -> None:
    methods = library.Methods()
    called = asyncio.Event()

    @methods.method
    async def subscribe() -> None:
        called.set()
        await asyncio.Event().wait()

    async with library.serve(methods, "tcp://127.0.0.1:0") as server:
        with started("listen", server.url, "--call", "subscribe") as listener:
            await called.wait()
            done = await asyncio.to_thread(listener.end, signal.SIGINT)
        await server.shutdown(0)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_it_ends_in_silence_when_nobody_reads_it_any_more(served: Served) -> None:
    with started("listen", served.tcp, "--call", "news", *["tea"] * 2000) as listener:
        assert listener.line().endswith('news ["tea"]')
        assert listener.process.stdout is not None
        listener.process.stdout.close()
        assert listener.process.wait(PATIENCE) == 141
        assert listener.process.stderr is not None
        assert "Traceback" not in listener.process.stderr.read()


def test_a_connection_that_breaks_is_told(tieline: CommandLine) -> None:
    with answering(b'{"jsonrpc": "2.0", "meth') as port:
        done = tieline("listen", f"tcp://127.0.0.1:{port}")
    assert (done.code, done.out) == (6, "")
    assert "stream ended in the middle of a message (24 bytes of it received)" in done.err.splitlines()[-1]


async def test_a_notification_is_sent_and_nothing_is_printed(tmp_path: Path) -> None:
    methods = library.Methods()
    heard = asyncio.Queue[tuple[object, ...]]()
    methods.method(name="log")(lambda *args, **named: heard.put_nowait((args, named)))
    async with library.serve(methods, f"unix:{tmp_path}/s") as server:
        for words, expected in ((("it works", "1"), (("it works", 1), {})), (("a=1",), ((), {"a": 1}))):
            with started("notify", server.url, "log", *words) as command:
                assert await heard.get() == expected
                done = await asyncio.to_thread(command.ended)
                assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("command", ["notify", "listen"])
def test_arguments_that_cannot_be_sent(tieline: CommandLine, served: Served, command: str) -> None:
    words = ("--call", "news") if command == "listen" else ("news",)
    done = tieline(command, served.tcp, *words, '"\\ud800"')
    assert done.code == 2
    assert "the arguments cannot be sent" in done.error


def test_the_first_call_may_fail(tieline: CommandLine, served: Served) -> None:
    done = tieline("listen", served.tcp, "--call", "nothing")
    assert done.code == 7
    assert 'unknown method "nothing"' in done.error
