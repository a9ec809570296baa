# SPDX-License-Identifier: MIT
"""vscode-jsonrpc (npm) over standard streams: its server as our child, and our server as its child."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.our_side import Notes, our_methods
from tests.peers.programs import HERE
from tests.peers.test_from_blocking_code import our_methods as our_plain_methods
from tests.peers.test_vscode_jsonrpc import waiting_methods
from tests.peers.test_vscode_jsonrpc_client import EXPECTED, error
from tieline import Command, RPCError, blocking

pytestmark = [pytest.mark.peers, pytest.mark.row("F4")]

BIG = "ü" * 400_000  # 800 000 bytes
PATIENCE = 60.0


@pytest.fixture
def server(vscode) -> Command:
    """Give the command of a server of theirs."""
    return Command([str(word) for word in vscode("vscode_stdio_server.cjs")], grace=10)


async def test_our_client_talks_with_a_server_of_theirs_and_is_called_back(server: Command) -> None:
    notes = Notes()
    async with tieline.connect(server, our_methods(notes), dialect="lsp") as session:
        assert await session.call("add", 1, 2, timeout=PATIENCE) == 3
        assert await session.call("addNamed", a=3, b=4) == 7
        assert await session.call("echo", BIG) == BIG
        with pytest.raises(RPCError) as caught:
            await session.call("fail", -5, "nö", {"more": ["ü", None]})
        assert (caught.value.code, caught.value.message, caught.value.data) == (-5, "nö", {"more": ["ü", None]})
        assert await session.call("ask_back", 21) == 42
        assert await session.call("fail_back") == "-7 from the caller"
        assert await notes.all(1) == ["asking about 21"]
        calls = [session.send_request("ask_back", [n]) for n in range(30)]
        assert [await call for call in calls] == [2 * n for n in range(30)]
        assert session.stats.pending == session.stats.errors == 0


async def test_a_call_is_taken_back_and_its_late_answer_hurts_nobody(server: Command) -> None:
    methods, begun = waiting_methods()
    async with tieline.connect(server, methods, dialect="lsp") as session:
        task = aio.create_task(session.call("wait", "one", timeout=PATIENCE))
        await begun.all(1)
        task.cancel()
        with pytest.raises(aio.CancelledError):
            await task
        assert await session.call("cancelled") == ["one"]  # they answer the other call before this one
        assert session.stats.pending == session.stats.errors == 0


def test_a_blocking_script_talks_with_a_server_of_theirs_and_is_called_back(server: Command) -> None:
    heard: list[Any] = []
    with blocking.connect(server, our_plain_methods(heard), dialect="lsp") as session:
        assert session.call("add", 1, 2, timeout=PATIENCE) == 3
        assert session.call("echo", BIG) == BIG
        assert session.call("ask_back", 21) == 42
        assert session.call("fail_back") == "-7 from the caller"
        assert heard == ["asking about 21"]
        assert session.stats.pending == session.stats.errors == 0


WANTED = {
    **EXPECTED,
    "cancelled": error(-32800, "request cancelled"),
    "ended": {"code": 0, "signal": None},
}


@pytest.mark.parametrize("runner", ["asyncio", "uvloop", "trio", "blocking"])
def test_a_client_of_theirs_drives_a_server_of_ours(runner: str, vscode) -> None:
    ours = [sys.executable, str(HERE / "our_lsp_server.py"), runner]
    done = subprocess.run(
        [*map(str, vscode("vscode_client.cjs")), *ours], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    seen = {line.pop("name"): line for line in map(json.loads, done.stdout.splitlines())}
    seen.pop("closed", None)  # which they tell or not, as their streams end
    assert seen == WANTED
    assert done.stderr.count("adding") == 52  # what was printed came out there, and not between messages
