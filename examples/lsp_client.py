# SPDX-License-Identifier: MIT
"""Ask a language server for the problems in a file: `python lsp_client.py FILE [URL]`.

The URL is that of a running server, such as language_server.py, or a command that starts one: `cmd:pylsp`. Problems are
printed in the format of compilers, FILE:LINE:COLUMN; the exit code is 1 if there are any, 2 if there is no reply.
Shows: another framing, a dialect that cancels calls at the peer, and replies to a server that calls its client back.
"""

import asyncio
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

import tieline

PATIENCE = 30  # seconds for all of it: large servers take their time

SEVERITIES = {1: "error", 2: "warning", 3: "information", 4: "hint"}
LANGUAGES = {".c": "c", ".js": "javascript", ".md": "markdown", ".py": "python", ".rs": "rust"}

# --- what is received ------------------------------------------------------------------------------------------------


class Position(msgspec.Struct):
    line: int
    character: int  # in units of UTF-16


class Range(msgspec.Struct):
    start: Position


class Diagnostic(msgspec.Struct):
    range: Range
    message: str
    severity: int = 1


# --- the protocol ----------------------------------------------------------------------------------------------------


class LSP(tieline.JSONRPCv2):
    """JSON-RPC 2.0 as language servers speak it: a call that is cancelled here, or runs into its deadline, is there."""

    dialect = dataclasses.replace(
        tieline.JSONRPCv2.dialect, name="LSP", cancel=tieline.CancelRule(method="$/cancelRequest")
    )


methods = tieline.Methods()


class Editor(tieline.ClientSession):
    """Keeps what the server has found in which document."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, methods=methods, **kwargs)
        self.found = asyncio.Queue[tuple[str, list[Diagnostic]] | None]()

    async def connection_lost(self) -> None:
        self.found.put_nowait(None)

    async def diagnostics_of(self, uri: str) -> list[Diagnostic]:
        """Wait for what the server finds in that document."""
        while (found := await self.found.get()) is not None:
            if found[0] == uri:
                return found[1]
        raise tieline.ConnectionLost(str(self.close_reason))


# What the server may tell and ask. Other requests are answered with an error, other notifications passed over.


@methods.method(name="textDocument/publishDiagnostics")
def publish_diagnostics(editor: Editor, uri: str, diagnostics: list[Diagnostic], **_: object) -> None:
    editor.found.put_nowait((uri, diagnostics))


@methods.method(name="workspace/configuration")
def configuration(items: list[object]) -> list[None]:
    return [None] * len(items)  # one for each: nothing is set


@methods.method(name="client/registerCapability")
@methods.method(name="client/unregisterCapability")
@methods.method(name="window/workDoneProgress/create")
def agree(**_: object) -> None:
    pass


async def ask(url: str, document: dict[str, object]) -> list[Diagnostic]:
    """Open a document on the server, and return what that finds."""
    async with (
        asyncio.timeout(PATIENCE),
        tieline.connect(url, framer=tieline.ContentLengthFramer, rpc_protocol=LSP, session_factory=Editor) as session,
    ):
        assert isinstance(session, Editor)
        await session.call("initialize", processId=os.getpid(), rootUri=None, capabilities={})
        session.send_notification("initialized", {})
        await session.notify("textDocument/didOpen", textDocument=document)
        found = await session.diagnostics_of(str(document["uri"]))
        await session.call("shutdown")
        await session.notify("exit")
    return found


def shown(path: Path, lines: list[str], diagnostic: Diagnostic) -> str:
    """Return a line for people, who count from 1 and in characters."""
    start = diagnostic.range.start
    line = lines[start.line] if start.line < len(lines) else ""
    column = len(line.encode("utf-16-le")[: 2 * start.character].decode("utf-16-le", "ignore"))
    severity = SEVERITIES.get(diagnostic.severity, "error")
    return f"{path}:{start.line + 1}:{column + 1}: {severity}: {diagnostic.message}"


def main(path: Path, url: str) -> int:
    text = path.read_text(encoding="utf-8")
    uri, language = path.resolve().as_uri(), LANGUAGES.get(path.suffix, "plaintext")
    found = asyncio.run(ask(url, {"uri": uri, "languageId": language, "version": 1, "text": text}))
    for diagnostic in sorted(found, key=lambda each: (each.range.start.line, each.range.start.character)):
        print(shown(path, text.split("\n"), diagnostic))
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("say which file: python lsp_client.py FILE [URL]")
    url = sys.argv[2] if len(sys.argv) > 2 else "tcp://127.0.0.1:2087"
    try:
        sys.exit(main(Path(sys.argv[1]), url))
    except TimeoutError:
        print(f"{url} takes too long", file=sys.stderr)
    except (OSError, tieline.RPCError) as exc:
        print(f"no reply: {exc}", file=sys.stderr)
    sys.exit(2)
