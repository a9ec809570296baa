# SPDX-License-Identifier: MIT
"""A language server of pygls over WebSocket. It logs where it serves."""

import logging

from lsprotocol import types
from pygls.lsp.server import LanguageServer

server = LanguageServer("tieline-peer", "1")


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
def opened(params: types.DidOpenTextDocumentParams) -> None:
    problem = types.Diagnostic(
        types.Range(types.Position(0, 0), types.Position(0, 1)), f"{len(params.text_document.text)} characters"
    )
    server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(params.text_document.uri, [problem]))


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hover(params: types.HoverParams) -> types.Hover:
    document = server.workspace.get_text_document(params.text_document.uri)
    return types.Hover(types.MarkupContent(types.MarkupKind.PlainText, document.lines[params.position.line].strip()))


@server.feature("tieline/askBack")
async def ask_back(server: LanguageServer, params: object) -> object:
    return await server.protocol.send_request_async("tieline/double", {"number": 21})


logging.basicConfig(level=logging.INFO)
server.start_ws("127.0.0.1", 0)
