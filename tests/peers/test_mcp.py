# SPDX-License-Identifier: MIT
"""The official SDK of the Model Context Protocol (PyPI `mcp`): its server as our child, and our server as its child."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.programs import HERE
from tieline import Command, Methods, RPCError, blocking

pytestmark = pytest.mark.peers

# Such a program loads for seconds on a busy machine.
PATIENCE = 60.0
BIG = "ü" * 400_000

CLIENT_INFO = {"name": "tieline", "version": "1"}
INTRODUCTION = {"protocolVersion": "2025-06-18", "capabilities": {"roots": {}}, "clientInfo": CLIENT_INFO}
ROOTS = {"roots": [{"uri": "file:///of/ours"}]}
RUNTIMES = ["asyncio", "uvloop", "trio", "blocking"]


@pytest.fixture(autouse=True)
def _sdk(need) -> None:
    need("mcp", "pip install mcp, or make test-peers")


def their_server(**settings: Any) -> Command:
    return Command([sys.executable, str(HERE / "mcp_server.py")], grace=10, **settings)


class Told:
    """What a server tells, and the methods by which it does."""

    def __init__(self) -> None:
        self.progress: list[tuple[Any, float, float]] = []
        self.messages: list[str] = []
        self.lines: list[str] = []  # of standard error
        self.methods = Methods()
        self.methods.method(name="notifications/progress")(self._hear_progress)
        self.methods.method(name="notifications/message")(self._hear_message)
        self.methods.method(name="roots/list")(lambda **_: ROOTS)
        self._changed: aio.Event | None = None

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until *condition* holds; it is asked again whenever the server has told something."""
        async with aio.timeout(PATIENCE):
            while not condition():
                self._changed = aio.Event()
                await self._changed.wait()

    def hear_line(self, line: str) -> None:
        self.lines.append(line)
        self._tell()

    def _hear_progress(self, progressToken: Any, progress: float, total: float, **_: object) -> None:  # noqa: N803  # theirs
        self.progress.append((progressToken, progress, total))
        self._tell()

    def _hear_message(self, data: str, **_: object) -> None:
        self.messages.append(data)
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()


def text_of(result: dict[str, Any]) -> Any:
    return result["content"][0]["text"]


async def introduced(session: tieline.ClientSession) -> dict[str, Any]:
    answer: dict[str, Any] = await session.call("initialize", timeout=PATIENCE, **INTRODUCTION)
    await session.notify("notifications/initialized")
    return answer


async def test_our_client_drives_a_server_of_theirs() -> None:
    told = Told()
    async with tieline.connect(their_server(), told.methods, dialect="mcp") as session:

        async def call(tool: str, /, **arguments: object) -> Any:
            answer = await session.call("tools/call", timeout=PATIENCE, name=tool, arguments=arguments)
            return text_of(answer)

        assert (await introduced(session))["serverInfo"]["name"] == "theirs"
        assert await session.call("ping") == {}
        tools = (await session.call("tools/list"))["tools"]
        assert {"add", "echo", "where", "steps", "wait"} <= {tool["name"] for tool in tools}
        assert await call("add", a=1, b=2) == "3"
        assert await call("echo", text=BIG) == BIG
        assert await call("where") == "file:///of/ours"
        with pytest.raises(RPCError):
            await session.call("no/such/method")
        meta = {"progressToken": "t1"}
        answer = await session.call("tools/call", name="steps", arguments={"count": 3}, _meta=meta)
        assert text_of(answer) == "3"
        await told.until(lambda: len(told.progress) == 3)
        assert told.progress == [("t1", step, 3) for step in (1, 2, 3)]
        assert session.stats.errors == session.stats.pending == 0


async def test_calls_that_are_left_or_late_are_taken_back_from_their_server() -> None:
    told = Told()
    async with tieline.connect(their_server(stderr=told.hear_line), told.methods, dialect="mcp") as session:
        await introduced(session)
        task = aio.create_task(session.call("tools/call", name="wait", arguments={"name": "one"}))
        await told.until(lambda: told.messages == ["one begun"])
        task.cancel()
        await told.until(lambda: "one taken back" in told.lines)
        late = aio.create_task(session.call("tools/call", name="wait", arguments={"name": "two"}, timeout=1.0))
        with pytest.raises(TimeoutError):
            await late
        if "two begun" in told.messages:  # else it was so slow that it had not been asked before
            await told.until(lambda: "two taken back" in told.lines)
        assert text_of(await session.call("tools/call", name="add", arguments={"a": 3, "b": 4}, timeout=60)) == "7"
        assert session.stats.errors == session.stats.pending == 0


def test_a_blocking_script_drives_a_server_of_theirs() -> None:
    told = Told()
    with blocking.connect(their_server(), told.methods, dialect="mcp") as session:
        answer = session.call("initialize", timeout=PATIENCE, **INTRODUCTION)
        assert answer["serverInfo"]["name"] == "theirs"
        session.notify("notifications/initialized")

        def call(tool: str, /, meta: Any = None, **arguments: object) -> Any:
            more = {} if meta is None else {"_meta": meta}
            return text_of(session.call("tools/call", timeout=PATIENCE, name=tool, arguments=arguments, **more))

        assert call("add", a=1, b=2) == "3"
        assert call("echo", text=BIG) == BIG
        assert call("where") == "file:///of/ours"
        assert call("steps", meta={"progressToken": 7}, count=3) == "3"
        with pytest.raises(TimeoutError):
            session.call("tools/call", timeout=0.5, name="wait", arguments={"name": "one"})
        assert call("add", a=3, b=4) == "7"
        assert told.progress == [(7, step, 3) for step in (1, 2, 3)]
        assert session.stats.errors == session.stats.pending == 0


# --- our server, their client ----------------------------------------------------------------------------------------


WANTED = [
    ["server", "ours"],
    ["tools", ["add", "echo", "where", "steps", "wait"]],
    ["add", "3"],
    ["echo", "Grüße \U0001f600"],
    ["big", 400_000],
    ["where", "file:///of/theirs"],
    ["progress", [1, 3]],
    ["progress", [2, 3]],
    ["progress", [3, 3]],
    ["steps", "3"],
    ["unknown", "unknown tool unknown"],
    ["heard", "one begun"],
    ["add", "7"],
]


@pytest.mark.parametrize(("mode", "runner"), [*(("legacy", runner) for runner in RUNTIMES), ("auto", "asyncio")])
def test_their_client_drives_a_server_of_ours(mode: str, runner: str) -> None:
    """By the handshake, and by asking first, as the revision of 2026 does: that is an unknown method for ours."""
    client = [sys.executable, str(HERE / "mcp_client.py"), mode]
    done = subprocess.run(
        [*client, sys.executable, str(HERE / "mcp_tool.py"), runner], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == WANTED
    assert "one taken back" in done.stderr.splitlines()
    assert done.stderr.count("somebody calls") == 8  # what was printed came out there, and not between messages
    assert "Traceback" not in done.stderr
