# SPDX-License-Identifier: MIT
"""All code in README.md and docs/ runs, page by page and in order, and gives what the pages say."""

from pathlib import Path

import pytest

from tests.blocks import Block, Page, blocks_of

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
NOT_RUN = {"", "sh", "json", "text", "{toctree}", "{raw} html", "{include} ../CHANGELOG.md"}


def is_run(block: Block) -> bool:
    return block.language in {"python", "console"}


@pytest.mark.parametrize("block", [block for block in blocks_of(README) if is_run(block)], ids=lambda block: block.line)
async def test_each_snippet_of_the_readme_runs_on_its_own(block: Block, tmp_path: Path) -> None:
    page = Page(tmp_path)
    exec("import asyncio, tieline", page.names)
    try:
        await page.run(block)
    finally:
        page.close()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
async def test_each_page_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # socket files are made here
    page = Page(tmp_path)
    try:
        for block in blocks_of(path):
            assert is_run(block) or block.language in NOT_RUN or block.language.startswith("{"), block
            await page.run(block)
    finally:
        page.close()
