# SPDX-License-Identifier: MIT
"""pylsp as editors have it: a child process, spoken to over its standard streams, on every runtime."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.language_client import LSP
from tieline import Command, ConnectionLost, ContentLengthFramer, Methods, ProcessEnded, blocking

pytestmark = pytest.mark.peers

WRONG = '"""Grüße \U0001f600."""\n\n\ndef greet():\n    """Say Grüße."""\n    return nahme\n\n\ngreet()\n'
AT_CALL = {"line": 8, "character": 2}
# Its answer to the first question may take long: it loads all it has.
PATIENCE = 30.0


@pytest.fixture
def pylsp(need) -> Command:
    """Give the command that runs pylsp."""
    found: Path = need("pylsp", "pip install python-lsp-server[pyflakes,pycodestyle], or make test-peers")
    words = [sys.executable, "-m", "pylsp"] if found.suffix == ".py" else [str(found)]
    return Command([*words, "-v"], grace=10)


def introduction(folder: Path) -> dict[str, Any]:
    capabilities = {"window": {"workDoneProgress": True}}
    return {"processId": None, "rootUri": folder.as_uri(), "capabilities": capabilities}


def document(uri: str) -> dict[str, Any]:
    return {"textDocument": {"uri": uri, "languageId": "python", "version": 1, "text": WRONG}}


@pytest.mark.row("F4", "H79")
async def test_a_language_server_is_driven_over_its_standard_streams(pylsp: Command, tmp_path: Path) -> None:
    uri = (tmp_path / "grüße.py").as_uri()
    methods = Methods()
    asked: list[str] = []
    found: list[dict[str, Any]] = []
    published = aio.Event()

    @methods.method(name="window/workDoneProgress/create")
    def create(token: object, **_: object) -> None:
        asked.append("window/workDoneProgress/create")

    @methods.method(name="textDocument/publishDiagnostics")
    def publish(diagnostics: list[dict[str, Any]], **_: object) -> None:
        found.extend(diagnostics)
        published.set()

    async with tieline.connect(pylsp, methods, rpc_protocol=LSP, framer=ContentLengthFramer) as session:
        told = await session.call("initialize", timeout=PATIENCE, **introduction(tmp_path))
        assert told["serverInfo"]["name"] == "pylsp"
        await session.notify("initialized")
        await session.notify("textDocument/didOpen", **document(uri))
        await aio.wait_for(published.wait(), PATIENCE)
        assert [each["message"] for each in found] == ["undefined name 'nahme'"]
        assert asked, "its question was answered"
        hover = await session.call("textDocument/hover", textDocument={"uri": uri}, position=AT_CALL)
        assert "Say Grüße." in str(hover["contents"])
        assert await session.call("shutdown") is None
        await session.notify("exit")
        await session.wait_closed()
        assert isinstance(session.close_reason, tieline.EndOfStream)
        assert "ended with exit code 0" in str(session.close_reason)
        assert session.stats.errors == 0


@pytest.mark.row("H79")
async def test_callers_hear_how_it_died(pylsp: Command, tmp_path: Path) -> None:
    async with tieline.connect(pylsp, rpc_protocol=LSP, framer=ContentLengthFramer) as session:
        await session.call("initialize", timeout=PATIENCE, **introduction(tmp_path))
        process = session.get_extra_info("subprocess")
        process.send_signal(signal.SIGSTOP)
        calls = [session.send_request("shutdown") for _ in range(5)]
        process.kill()
        for call in calls:
            with pytest.raises(ConnectionLost, match="was ended by SIGKILL"):
                await call
        assert isinstance(session.close_reason, ProcessEnded)


@pytest.mark.row("F4", "H79")
def test_a_blocking_script_drives_it_by_its_url(pylsp: Command, tmp_path: Path) -> None:
    uri = (tmp_path / "grüße.py").as_uri()
    methods = Methods()
    found: list[dict[str, Any]] = []

    @methods.method(name="textDocument/publishDiagnostics")
    def publish(diagnostics: list[dict[str, Any]], **_: object) -> None:
        found.extend(diagnostics)

    url = f"cmd:{shlex.join(map(str, pylsp.argv))}"
    with blocking.connect(url, methods, rpc_protocol=LSP, framer=ContentLengthFramer) as session:
        session.call("initialize", timeout=PATIENCE, **introduction(tmp_path))
        session.notify("initialized")
        session.notify("textDocument/didOpen", **document(uri))
        hover = session.call("textDocument/hover", textDocument={"uri": uri}, position=AT_CALL, timeout=PATIENCE)
        assert "Say Grüße." in str(hover["contents"])
        assert session.call("shutdown") is None
        session.notify("exit")
        session.wait_closed(timeout=10)
    assert isinstance(session.close_reason, tieline.EndOfStream)
