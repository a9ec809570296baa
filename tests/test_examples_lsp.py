# SPDX-License-Identifier: MIT
"""The examples of the language server protocol: each alone, and the client with the server."""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests.example_programs import EXAMPLES, end_of, line_of, output_of, run, started


def test_the_language_server_tells_the_client_what_it_finds(tmp_path: Path) -> None:
    path = tmp_path / "tea.py"
    with started("language_server.py", "tcp://127.0.0.1:0") as server:
        url = line_of(server.stdout)
        path.write_text("cup = 1  \n# \N{TEACUP WITHOUT HANDLE} TODO: fill it\n\nok\n", encoding="utf-8")
        done = run("lsp_client.py", str(path), url)
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.splitlines() == [
            f"{path}:1:8: warning: blanks at the end of the line",
            f"{path}:2:5: information: to do: TODO: fill it",
        ]
        path.write_text("cup = 1\n", encoding="utf-8")
        assert output_of("lsp_client.py", str(path), url) == []
        server.terminate()
        assert end_of(server) == (0, "", "")
    nobody = run("lsp_client.py", str(path), url)
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert nobody.stderr.startswith("no reply: ")
    assert "Traceback" not in nobody.stderr


def test_the_client_starts_the_server_itself(tmp_path: Path) -> None:
    path = tmp_path / "tea.py"
    path.write_text("# TODO: fill it\n", encoding="utf-8")
    url = f"cmd:{shlex.join([sys.executable, str(EXAMPLES / 'language_server.py'), 'stdio:'])}"
    done = run("lsp_client.py", str(path), url)
    assert done.stdout.splitlines() == [f"{path}:1:3: information: to do: TODO: fill it"]
    assert (done.returncode, done.stderr) == (1, "")


async def test_the_language_server_does_as_the_protocol_says() -> None:
    published = asyncio.Queue[tuple[object, list[Any]]]()
    methods = tieline.Methods()
    methods.method(name="textDocument/publishDiagnostics")(
        lambda uri, version, diagnostics: published.put_nowait((version, diagnostics))
    )
    with started("language_server.py", "tcp://127.0.0.1:0") as server:
        url = line_of(server.stdout)
        async with tieline.connect(url, methods, framer=tieline.ContentLengthFramer) as session:
            await session.notify(
                "textDocument/didOpen", textDocument={"uri": "u", "text": "TODO"}
            )  # too early: dropped
            with pytest.raises(tieline.RPCError, match=r"initialize first \(code -32002\)"):
                await session.call("shutdown")
            answer = await session.call("initialize", processId=None, capabilities={}, somethingNew=1)
            assert answer["capabilities"]["textDocumentSync"] == {"openClose": True, "change": 1}
            document = {"uri": "u", "languageId": "x", "version": 1, "text": "a \N{TEACUP WITHOUT HANDLE} b\r\nb\t\n"}
            await session.notify("textDocument/didOpen", textDocument=document)
            version, (found,) = await published.get()
            assert version == 1
            assert found["range"] == {"start": {"line": 1, "character": 1}, "end": {"line": 1, "character": 2}}
            for place, expected in [((0, 5), "'b' occurs 2 times"), ((0, 3), None), ((7, 0), None), ((-1, 0), None)]:
                position = dict(zip(("line", "character"), place, strict=True))
                answer = await session.call("textDocument/hover", textDocument={"uri": "u"}, position=position)
                assert (answer and answer["contents"]) == expected
            change = {"textDocument": {"uri": "u", "version": 2}, "contentChanges": [{"text": "b"}, {"text": "FIXME"}]}
            await session.notify("textDocument/didChange", **change)
            version, (found,) = await published.get()
            assert (version, found["message"]) == (2, "to do: FIXME")
            await session.notify("textDocument/didClose", textDocument={"uri": "u"})
            assert await published.get() == (None, [])
            with pytest.raises(tieline.RPCError, match="no such document"):
                await session.call(
                    "textDocument/hover", textDocument={"uri": "u"}, position={"line": 0, "character": 0}
                )
            assert await session.call("shutdown") is None
            await session.notify("exit")
            await session.wait_closed()
            assert isinstance(session.close_reason, tieline.EndOfStream)
        server.terminate()
        assert end_of(server) == (0, "", "")


async def test_the_lsp_client_answers_what_the_server_asks_and_tells_when_it_goes(tmp_path: Path) -> None:
    answers: list[object] = []
    methods = tieline.Methods()

    @methods.method
    async def initialize(session: tieline.ServerSession, **_: object) -> object:
        answers.append(await session.call("workspace/configuration", items=[{}, {}]))
        answers.append(await session.call("client/registerCapability", registrations=[]))
        with pytest.raises(tieline.RPCError, match="unknown method"):
            await session.call("workspace/somethingNew")
        return {"capabilities": {}}

    @methods.method(name="textDocument/didOpen")
    async def did_open(session: tieline.ServerSession, **_: object) -> None:
        session.abort()

    (tmp_path / "empty.txt").touch()
    async with tieline.serve(methods, "tcp://127.0.0.1:0", framer=tieline.ContentLengthFramer) as server:
        done = await asyncio.to_thread(run, "lsp_client.py", str(tmp_path / "empty.txt"), server.url)
    assert answers == [[None, None], None]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no reply: ")
    assert "Traceback" not in done.stderr
