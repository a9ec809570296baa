# SPDX-License-Identifier: MIT
"""A tiny language server: `python language_server.py [URL]`; editors connect over TCP, or start it with `stdio:`.

It knows no language: it marks to-do comments and trailing blanks, and shows how often a word occurs. Specification:
https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/

Shows: another framing, methods whose names are not Python names, Structs as type hints, notifications that change state
and cause others, and a required order of calls.
"""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

import tieline

SERVER_NOT_INITIALIZED = -32002

WARNING, INFORMATION = 2, 3

MARK = re.compile(r"\b(?:TODO|FIXME)\b.*")
WORD = re.compile(r"\w+")

# An editor sends whole documents here.
LIMITS = tieline.Limits(max_message=16 * 1024 * 1024)

methods = tieline.Methods()


# --- what is sent and received ---------------------------------------------------------------------------------------


class Position(msgspec.Struct):
    """A place in a document. Both count from 0, and characters in units of UTF-16."""

    line: int
    character: int


class Range(msgspec.Struct):
    start: Position
    end: Position


class Diagnostic(msgspec.Struct):
    range: Range
    message: str
    severity: int
    source: str = "tiny"


class Document(msgspec.Struct):
    uri: str
    text: str = ""
    version: int | None = None


class Change(msgspec.Struct):
    """The new text as a whole: no other changes were asked for."""

    text: str


# --- texts -----------------------------------------------------------------------------------------------------------


def lines_of(text: str) -> list[str]:
    return re.split(r"\r\n|\n|\r", text)  # LSP knows these ends of lines; str.splitlines() knows others as well


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def range_of(number: int, line: str, start: int, end: int) -> Range:
    return Range(Position(number, units(line[:start])), Position(number, units(line[:end])))


def diagnostics_of(text: str) -> Iterator[Diagnostic]:
    for number, line in enumerate(lines_of(text)):
        if found := MARK.search(line):
            yield Diagnostic(range_of(number, line, *found.span()), f"to do: {found[0].strip()}", INFORMATION)
        end = len(line.rstrip(" \t"))
        if end < len(line):
            yield Diagnostic(range_of(number, line, end, len(line)), "blanks at the end of the line", WARNING)


# --- sessions --------------------------------------------------------------------------------------------------------


def not_initialized(**_: object) -> None:
    raise tieline.RPCError(SERVER_NOT_INITIALIZED, "initialize first")


class Editor(tieline.ServerSession):
    """An editor and the documents that are open in it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(methods=methods, **kwargs)
        self.documents: dict[str, Document] = {}
        self.is_initialized = False

    def request_handler(self, name: str) -> tieline.Method | Callable[..., object] | None:
        return super().request_handler(name) if self.is_initialized or name == "initialize" else not_initialized

    def notification_handler(self, name: str) -> tieline.Method | Callable[..., object] | None:
        return super().notification_handler(name) if self.is_initialized or name == "exit" else None

    def document(self, uri: str) -> Document:
        try:
            return self.documents[uri]
        except KeyError:
            raise tieline.RPCError(tieline.JSONRPCv2.INVALID_ARGS, "no such document is open") from None

    async def publish(self, document: Document) -> None:
        found = list(diagnostics_of(document.text))
        await self.notify(
            "textDocument/publishDiagnostics", uri=document.uri, version=document.version, diagnostics=found
        )


# --- methods ---------------------------------------------------------------------------------------------------------

# Editors may send more arguments than are used here, and newer ones than are known: **_ takes them.


@methods.method
def initialize(editor: Editor, **_: object) -> object:
    editor.is_initialized = True
    return {
        "capabilities": {"textDocumentSync": {"openClose": True, "change": 1}, "hoverProvider": True},
        "serverInfo": {"name": "tiny"},
    }


@methods.method(name="textDocument/didOpen")
async def did_open(editor: Editor, textDocument: Document, **_: object) -> None:
    editor.documents[textDocument.uri] = textDocument
    await editor.publish(textDocument)


@methods.method(name="textDocument/didChange")
async def did_change(editor: Editor, textDocument: Document, contentChanges: list[Change], **_: object) -> None:
    document = editor.document(textDocument.uri)
    document.text, document.version = contentChanges[-1].text, textDocument.version
    await editor.publish(document)


@methods.method(name="textDocument/didClose")
async def did_close(editor: Editor, textDocument: Document, **_: object) -> None:
    if editor.documents.pop(textDocument.uri, None):
        await editor.publish(Document(textDocument.uri))  # none of its marks may stay


@methods.method(name="textDocument/hover")
def hover(editor: Editor, textDocument: Document, position: Position, **_: object) -> object:
    text = editor.document(textDocument.uri).text
    lines = lines_of(text)
    line = lines[position.line] if 0 <= position.line < len(lines) else ""
    for found in WORD.finditer(line):
        place = range_of(position.line, line, *found.span())
        if place.start.character <= position.character <= place.end.character:
            number = sum(word == found[0] for word in WORD.findall(text))
            return {"contents": f"{found[0]!r} occurs {number} times", "range": place}
    return None


@methods.method
def shutdown(editor: Editor) -> None:
    editor.documents.clear()


@methods.method(name="exit")
def leave(editor: Editor) -> None:
    editor.close()


async def main(url: str) -> None:
    async with tieline.serve(Editor, url, framer=tieline.ContentLengthFramer, limits=LIMITS) as server:
        print(server.url, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:2087"))
    except KeyboardInterrupt:
        print("stopped")
