# SPDX-License-Identifier: MIT
"""pylsp (python-lsp-server) as our server over TCP: an editor's life with it, from `initialize` to `exit`."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests.peers.carriers import Carrier, carrier
from tests.peers.language_client import LSP, Editor
from tests.peers.programs import free_port
from tieline import ConnectionLost, ContentLengthFramer, RPCError

pytestmark = pytest.mark.peers

# The letters before it take two bytes, or four and two units of UTF-16: whoever counts wrongly loses the rest.
GREETING = '"""Grüße \U0001f600."""'
WRONG = f'{GREETING}\n\n\ndef greet():\n    """Say Grüße."""\n    return nahme\n\n\ngreet()\n'
RIGHT = WRONG.replace("nahme", '"name"')


@pytest.fixture
def pylsp(need) -> tuple[str | Path, ...]:
    """Give the command that runs pylsp, without what to listen on."""
    found: Path = need("pylsp", "pip install python-lsp-server[pyflakes,pycodestyle], or make test-peers")
    return (sys.executable, "-m", "pylsp") if found.suffix == ".py" else (found,)


@asynccontextmanager
async def served(pylsp, editor: Editor) -> AsyncIterator[tuple[tieline.ClientSession, Carrier]]:
    """Give a session of ours with a pylsp, which ends with its first connection."""
    port = free_port()
    command = (*pylsp, "--tcp", "--port", str(port), "--check-parent-process", "-v")
    async with carrier(*command) as server:
        await server.says("Serving PythonLSPServer")
        url = f"tcp://127.0.0.1:{port}"
        async with tieline.connect(url, editor.methods(), rpc_protocol=LSP, framer=ContentLengthFramer) as session:
            yield session, server


async def initialized(session: tieline.ClientSession, folder: Path) -> dict[str, Any]:
    """Introduce ourselves as an editor that shows progress, and return what pylsp said of itself."""
    told: dict[str, Any] = await session.call(
        "initialize",
        processId=os.getpid(),
        rootUri=folder.as_uri(),
        capabilities={"window": {"workDoneProgress": True}},
    )
    await session.notify("initialized")
    return told


async def opened(session: tieline.ClientSession, uri: str, text: str) -> None:
    document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
    await session.notify("textDocument/didOpen", textDocument=document)


def messages(diagnostics: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(each["source"], each["message"], each["range"]["start"]["line"]) for each in diagnostics]


@pytest.mark.row("F4", "J7", "S1", "S3")
async def test_an_editor_of_ours_lives_with_pylsp(pylsp, tmp_path):
    editor = Editor()
    uri = (tmp_path / "grüße.py").as_uri()
    async with served(pylsp, editor) as (session, server):
        told = await initialized(session, tmp_path)
        assert told["serverInfo"]["name"] == "pylsp"
        assert told["capabilities"]["hoverProvider"] is True

        await opened(session, uri, WRONG)
        assert messages(await editor.diagnostics(uri, 1)) == [("pyflakes", "undefined name 'nahme'", 5)]

        # It asked whether it may show progress, waited for our answer and went on.
        tokens = [params["token"] for method, params in editor.asked if method == "window/workDoneProgress/create"]
        assert tokens
        assert {params["token"] for params in editor.told["$/progress"]} == set(tokens)
        assert not [line for line in server.said if "error while trying to initialize progress" in line]

        document = {"uri": uri}
        at_call = {"line": 8, "character": 2}
        hover = await session.call("textDocument/hover", textDocument=document, position=at_call)
        assert "Say Grüße." in str(hover["contents"])
        (definition,) = await session.call("textDocument/definition", textDocument=document, position=at_call)
        assert (definition["uri"], definition["range"]["start"]) == (uri, {"line": 3, "character": 4})

        newer = {"uri": uri, "version": 2}
        await session.notify("textDocument/didChange", textDocument=newer, contentChanges=[{"text": RIGHT}])
        assert await editor.diagnostics(uri, 2) == []

        assert await session.call("shutdown") is None
        with pytest.raises(RPCError) as caught:
            await session.call("textDocument/hover", textDocument=document, position=at_call)
        assert caught.value.code == -32600
        await session.notify("exit")
        await session.wait_closed()
        assert isinstance(session.close_reason, tieline.EndOfStream)
        assert await server.program.ended() == 0
        assert session.stats.errors == 0


@pytest.mark.row("F4", "J4", "S3")
async def test_faults_cost_pylsp_and_us_nothing_but_themselves(pylsp, tmp_path):
    async with served(pylsp, Editor()) as (session, _server):
        await initialized(session, tmp_path)
        with pytest.raises(RPCError) as caught:
            await session.call("nothing/of/that/name", a=1)
        assert caught.value.code == -32601
        with pytest.raises(RPCError) as caught:
            await session.call("textDocument/hover")  # it looks into the document that it was not told
        assert caught.value.code == -32602
        assert "TypeError" in caught.value.message
        assert "traceback" in str(caught.value.data)
        await session.notify("nothing/of/that/name/either")
        assert await session.call("shutdown") is None


@pytest.mark.row("F4")
async def test_messages_over_64_kilobytes_go_to_pylsp_and_back(pylsp, tmp_path):
    editor = Editor()
    uri = (tmp_path / "long.py").as_uri()
    lines = 1500
    text = f"{GREETING}\n" + "".join(f"nahme_{n}  # {'ü' * 40}\n" for n in range(lines))
    async with served(pylsp, editor) as (session, _server):
        await initialized(session, tmp_path)
        await opened(session, uri, text)
        found = await editor.diagnostics(uri, 1)
        assert [each["message"] for each in found] == [f"undefined name 'nahme_{n}'" for n in range(lines)]
        assert session.stats.bytes_in > 2**16 < session.stats.bytes_out


@pytest.mark.row("F4", "S7")
async def test_callers_hear_that_pylsp_was_killed(pylsp, tmp_path):
    async with served(pylsp, Editor()) as (session, server):
        await initialized(session, tmp_path)
        server.program.pause()  # so that these stay open
        calls = [session.send_request("shutdown") for _ in range(5)]
        server.program.kill()
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert caught.value.__cause__ is session.close_reason
        await session.wait_closed()
        with pytest.raises(ConnectionLost):
            await session.call("shutdown")
        assert session.stats.pending == 0
