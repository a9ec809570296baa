# SPDX-License-Identifier: MIT
"""What README.md shows over TCP is the same over WebSocket, with nothing changed but the URL."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import tieline
from tests.blocks import Block, Page
from tests.test_docs import SNIPPETS

if TYPE_CHECKING:
    from pathlib import Path

TCP_URL, WEBSOCKET_URL = '"tcp://127.0.0.1:0"', '"ws://127.0.0.1:0/rpc"'
FIRST = SNIPPETS[0]
# A message that is too large ends a stream with an error reply, and a WebSocket with a close code.
OVER_TCP = [block for block in SNIPPETS if TCP_URL in block.code and "message too large" not in block.code]


def over_websocket(block: Block) -> str:
    return block.code.replace(TCP_URL, WEBSOCKET_URL)


async def test_the_first_example_on_every_runtime() -> None:
    code, program = over_websocket(FIRST).rsplit("\n\n\n", 1)
    assert program.strip() == "asyncio.run(main())"  # which `runtime` does here
    assert WEBSOCKET_URL in code
    assert code.count("assert ") == 1
    names: dict[str, Any] = {}
    exec(code, names)
    await names["main"]()


def test_the_first_example_in_blocking_code() -> None:
    code = over_websocket(FIRST).replace("tieline.serve", "tieline.blocking.serve")
    code = re.sub(r"\b(async|await) ", "", code.replace("tieline.connect", "tieline.blocking.connect"))
    code = code.replace("asyncio.run(main())", "main()")
    assert code.count("tieline.blocking.") == 2
    exec(code, {"tieline": tieline})


@pytest.mark.asyncio_only("the page shows asyncio")
@pytest.mark.parametrize("block", OVER_TCP[1:], ids=lambda block: f"line {block.line}")
async def test_each_other_snippet(block: Block, tmp_path: Path) -> None:
    page = Page(tmp_path)
    exec("import asyncio, tieline", page.names)
    try:
        await page.run(replace(block, code=over_websocket(block)))
    finally:
        await page.close()
