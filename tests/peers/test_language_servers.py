# SPDX-License-Identifier: MIT
"""clangd and bash-language-server as editors have them: child processes that ask their client back, and wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.language_client import Editor
from tieline import Command, Methods, blocking

pytestmark = [pytest.mark.peers, pytest.mark.row("F4")]

PATIENCE = 60.0  # seconds; either loads much before it answers at all
C = "int answer(void) { return 42 }\n"  # the semicolon is missing
C_URI = "file:///answer.c"
SHELL = "greet() { echo hi; }\ngreet\n"
SHELL_URI = "file:///greet.sh"
AT_CALL = {"line": 1, "character": 1}


@pytest.fixture
def clangd(need) -> Command:
    return Command([str(need("clangd", "apt-get install clangd, or make test-peers")), "--log=error"], grace=10)


@pytest.fixture
def bash(need) -> Command:
    node = need("node", "install Node.js")
    package: Path = need("bash-language-server", "make test-peers installs it into .peers/")
    return Command([str(node), str(package / "out" / "cli.js"), "start"], grace=10)


def introduction(**capabilities: object) -> dict[str, Any]:
    return {"processId": None, "rootUri": None, "capabilities": capabilities}


def document(uri: str, language: str, text: str) -> dict[str, Any]:
    return {"textDocument": {"uri": uri, "languageId": language, "version": 1, "text": text}}


def question(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask what can be done about what was found."""
    return {"textDocument": {"uri": C_URI}, "range": found[0]["range"], "context": {"diagnostics": found}}


async def ended_in_order(session: tieline.ClientSession) -> None:
    assert await session.call("shutdown") is None
    assert session.stats.errors == session.stats.pending == 0
    await session.notify("exit")
    await session.wait_closed()
    assert isinstance(session.close_reason, tieline.EndOfStream)
    assert "ended with exit code 0" in str(session.close_reason)


async def test_clangd_has_its_client_apply_what_it_mends(clangd: Command) -> None:
    editor = Editor()
    methods = editor.methods()
    edits: list[dict[str, Any]] = []

    @methods.method(name="workspace/applyEdit")
    async def apply(session: tieline.ClientSession, edit: dict[str, Any]) -> dict[str, bool]:
        edits.append(edit)
        # Asked while it waits for our answer: both directions are in use.
        assert await session.call("textDocument/hover", textDocument={"uri": C_URI}, position=AT_CALL) is None
        return {"applied": True}

    async with tieline.connect(clangd, methods, dialect="lsp") as session:
        told = await session.call("initialize", timeout=PATIENCE, **introduction())
        assert told["serverInfo"]["name"] == "clangd"
        await session.notify("initialized")
        await session.notify("textDocument/didOpen", **document(C_URI, "c", C))
        found = await editor.diagnostics(C_URI, 1)
        assert "Expected ';'" in found[0]["message"]
        (action,) = await session.call("textDocument/codeAction", **question(found))
        order = {"command": action["command"], "arguments": action["arguments"]}
        assert await session.call("workspace/executeCommand", **order) == "Fix applied."
        assert [each["newText"] for each in edits[0]["changes"][C_URI]] == [";"]
        await ended_in_order(session)


async def test_bash_language_server_asks_for_its_configuration_and_waits(bash: Command) -> None:
    editor = Editor()
    capabilities = {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}
    async with tieline.connect(bash, editor.methods(), dialect="lsp") as session:
        await session.call("initialize", timeout=PATIENCE, **introduction(workspace=capabilities))
        await session.notify("initialized")
        await editor.until(lambda: len(editor.asked) == 2)
        assert {name for name, _ in editor.asked} == {"client/registerCapability", "workspace/configuration"}
        await session.notify("textDocument/didOpen", **document(SHELL_URI, "shellscript", SHELL))
        symbols = await session.call("textDocument/documentSymbol", textDocument={"uri": SHELL_URI})
        assert [symbol["name"] for symbol in symbols] == ["greet"]
        (place,) = await session.call("textDocument/definition", textDocument={"uri": SHELL_URI}, position=AT_CALL)
        assert place["range"]["start"]["line"] == 0
        await ended_in_order(session)


def test_a_blocking_script_drives_clangd_and_answers_it(clangd: Command) -> None:
    methods = Methods()
    found: list[dict[str, Any]] = []
    edits: list[dict[str, Any]] = []

    @methods.method(name="textDocument/publishDiagnostics")
    def publish(diagnostics: list[dict[str, Any]], **_: object) -> None:
        found.extend(diagnostics)

    @methods.method(name="workspace/applyEdit")
    def apply(edit: dict[str, Any]) -> dict[str, bool]:
        edits.append(edit)
        return {"applied": True}

    with blocking.connect(clangd, methods, dialect="lsp") as session:
        session.call("initialize", timeout=PATIENCE, **introduction())
        session.notify("initialized")
        session.notify("textDocument/didOpen", **document(C_URI, "c", C))
        while not found:  # what it tells is heard while we wait for anything
            session.call("textDocument/documentSymbol", textDocument={"uri": C_URI}, timeout=PATIENCE)
        (action,) = session.call("textDocument/codeAction", **question(found))
        order = {"command": action["command"], "arguments": action["arguments"]}
        assert session.call("workspace/executeCommand", **order) == "Fix applied."
        assert [each["newText"] for each in edits[0]["changes"][C_URI]] == [";"]
        assert session.call("shutdown") is None
        session.notify("exit")
        session.wait_closed(timeout=PATIENCE)
    assert isinstance(session.close_reason, tieline.EndOfStream)


def test_a_blocking_script_drives_bash_language_server_and_answers_it(bash: Command) -> None:
    methods = Methods()
    asked: list[str] = []

    @methods.method(name="workspace/configuration")
    def configuration(items: list[object]) -> list[None]:
        asked.append("workspace/configuration")
        return [None] * len(items)

    @methods.method(name="client/registerCapability")
    def register(**_: object) -> None:
        asked.append("client/registerCapability")

    methods.method(name="textDocument/publishDiagnostics")(lambda **_: None)
    capabilities = {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}
    with blocking.connect(bash, methods, dialect="lsp") as session:
        session.call("initialize", timeout=PATIENCE, **introduction(workspace=capabilities))
        session.notify("initialized")
        while len(asked) < 2:  # what it asks is answered while we wait for anything
            session.call("textDocument/documentSymbol", textDocument={"uri": SHELL_URI}, timeout=PATIENCE)
        session.notify("textDocument/didOpen", **document(SHELL_URI, "shellscript", SHELL))
        symbols = session.call("textDocument/documentSymbol", textDocument={"uri": SHELL_URI}, timeout=PATIENCE)
        assert [symbol["name"] for symbol in symbols] == ["greet"]
        assert session.call("shutdown") is None


async def test_a_call_is_taken_back_from_clangd(clangd: Command) -> None:
    """It answers with an error of its own or with a result, whichever it comes to: nobody waits for it any more."""
    async with tieline.connect(clangd, Editor().methods(), dialect="lsp") as session:
        await session.call("initialize", timeout=PATIENCE, **introduction())
        await session.notify("initialized")
        await session.notify("textDocument/didOpen", **document(C_URI, "c", C))
        request: dict[str, Any] = {"textDocument": {"uri": C_URI}}
        tasks = [aio.create_task(session.call("textDocument/documentSymbol", **request)) for _ in range(20)]
        await aio.sleep(0)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with pytest.raises(aio.CancelledError):
                await task
        symbols = await session.call("textDocument/documentSymbol", timeout=PATIENCE, **request)
        assert [symbol["name"] for symbol in symbols] == ["answer"]
        await ended_in_order(session)
