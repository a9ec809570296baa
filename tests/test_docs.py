# SPDX-License-Identifier: MIT
"""All code in README.md and docs/ runs, page by page and in order, and gives what the pages say."""

import re
from pathlib import Path
from types import ModuleType

import pytest

import tieline
import tieline.backend
import tieline.blocking
import tieline.clients
import tieline.converter
import tieline.exceptions
import tieline.protocol
import tieline.serializers
import tieline.servers
import tieline.testing
from tests.blocks import Block, Page, blocks_of
from tests.loops import Runtime, TrioRuntime, runtimes

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SECURITY = ROOT / "SECURITY.md"
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
SNIPPETS = [block for block in blocks_of(README) if block.language == "python"]

pytestmark = pytest.mark.asyncio_only("the pages show asyncio, but for those ON_TRIO")

ON_TRIO = {DOCS / "howto" / "trio.md"}
RUNS = [
    pytest.param(runtime, path, id=f"{runtime}-{path.relative_to(ROOT)}")
    for path in PAGES
    for runtime in ([TrioRuntime()] if path in ON_TRIO else runtimes())
]

NOT_RUN = {"sh", "json", "text", "js"}  # shown to people, and checked by them


@pytest.mark.parametrize("block", SNIPPETS, ids=lambda block: f"line {block.line}")
async def test_each_snippet_of_the_readme_runs_on_its_own(block: Block, tmp_path: Path) -> None:
    page = Page(tmp_path)
    exec("import asyncio, tieline", page.names)
    try:
        await page.run(block)
    finally:
        await page.close()


@pytest.mark.parametrize("runtime", runtimes()[:1], ids=str, indirect=True)
async def test_what_the_readme_shows_of_the_shell_is_what_is_printed(tmp_path: Path) -> None:
    page = Page(tmp_path)
    try:
        for block in blocks_of(README):
            if block.language == "console":
                await page.run(block)
    finally:
        await page.close()
    assert page.checked > 3


@pytest.mark.parametrize(("runtime", "path"), RUNS, indirect=["runtime"])
async def test_each_page_runs_from_top_to_bottom(
    path: Path, runtime: Runtime | TrioRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # socket files are made here
    monkeypatch.syspath_prepend(tmp_path)  # as at a prompt: modules of the page can be imported
    page = Page(tmp_path)
    try:
        for block in blocks_of(path):
            assert block.language in {"python", "console", *NOT_RUN} or block.language.startswith("{"), block
            # What is typed into a shell runs in processes of its own: the loop of the page has no part in it.
            if block.language != "console" or str(runtime) != "uvloop":
                await page.run(block)
    finally:
        await page.close()


def test_the_snippets_are_found() -> None:
    """A fence that the finder overlooks would not be run."""
    for path in [README, *PAGES]:
        fences = re.findall(r"^```+\{?(?:python|console|code-block)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == sum(block.language in {"python", "console"} for block in blocks_of(path)), path


# --- what the pages say about names ----------------------------------------------------------------------------------


def documented() -> list[str]:
    """Return the names that the reference documents, with their modules."""
    pages = [path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md")]
    return [name for text in pages for name in re.findall(r"^\.\. auto[a-z]+:: (\S+)$", text, re.MULTILINE)]


def test_the_reference_has_every_public_name_once() -> None:
    of_package = [name.removeprefix("tieline.") for name in documented() if name.count(".") == 1]
    assert sorted(of_package) == sorted(tieline.__all__)


def test_the_reference_has_every_name_of_blocking_code_once() -> None:
    face = "tieline.blocking."
    of_face = [name.removeprefix(face) for name in documented() if name.startswith(face)]
    assert sorted(of_face) == sorted(tieline.blocking.__all__)


@pytest.mark.parametrize(
    "face",
    [
        tieline.clients,
        tieline.servers,
        tieline.serializers,
        tieline.protocol,
        tieline.converter,
        tieline.backend,
    ],
    ids=lambda face: face.__name__,
)
def test_the_reference_has_every_name_of_packets_once(face: ModuleType) -> None:
    start = f"{face.__name__}."
    of_face = [name.removeprefix(start) for name in documented() if name.startswith(start)]
    of_face = [name for name in of_face if "." not in name]  # not those of tieline.clients.abc
    assert sorted(of_face) == sorted(face.__all__)


def test_the_reference_has_every_name_of_the_test_kit_once() -> None:
    face = "tieline.testing."
    of_face = [name.removeprefix(face) for name in documented() if name.startswith(face)]
    of_face = [name for name in of_face if "." not in name]  # not those of tieline.testing.serializers
    assert sorted(of_face) == sorted(tieline.testing.__all__)


def test_the_reference_has_every_error_once() -> None:
    errors = {name for name in documented() if name.split(".")[-1] in tieline.exceptions.__all__}
    assert sorted(name.split(".")[-1] for name in errors) == sorted(tieline.exceptions.__all__)


def test_the_reference_has_the_error_codes() -> None:
    text = (DOCS / "reference" / "protocols.md").read_text(encoding="utf-8")
    told = {name: int(code) for name, code in re.findall(r"^\| `([A-Z_]+)` \| (-\d+) \|", text, re.MULTILINE)}
    assert told == {name: value for name, value in vars(tieline.RPCProtocolBase).items() if name.isupper()}


def test_every_example_has_a_line_and_no_other_is_named() -> None:
    text = (DOCS / "examples.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\w+\.py", text)) == {path.name for path in (ROOT / "examples").glob("*.py")}


def tree_of(page: Path) -> list[str]:
    """Return the pages below *page* in the sidebar."""
    return re.findall(r"^[\w-]+$", page.read_text(encoding="utf-8").partition("```{toctree}")[2], re.MULTILINE)


@pytest.mark.parametrize("folder", ["reference", "explanation"])
def test_every_page_is_in_the_list_of_its_index(folder: str) -> None:
    index = DOCS / folder / "index.md"
    pages = {path.stem for path in index.parent.glob("*.md")} - {"index"}
    assert set(tree_of(index)) == pages
    assert pages <= set(re.findall(r"\(([\w-]+)\.md\)", index.read_text(encoding="utf-8")))


def test_every_how_to_is_in_one_group_and_in_its_table() -> None:
    """A group is a section of the index, and a page that shows this section alone, with its pages in the sidebar."""
    index = DOCS / "howto" / "index.md"
    groups = tree_of(index)
    sections = re.split(r"^## ", index.read_text(encoding="utf-8").partition("```{toctree}")[0], flags=re.MULTILINE)[1:]
    ends = [*(f"## {section.splitlines()[0]}" for section in sections[1:]), "```{toctree}"]
    shown: list[str] = []
    for group, section, end in zip(groups, sections, ends, strict=True):
        page = index.with_name(f"{group}.md")
        title = section.splitlines()[0]
        included = f'```{{include}} index.md\n:start-after: "## {title}"\n:end-before: "{end}"\n```\n'
        assert page.read_text(encoding="utf-8").startswith(f"# {title}\n\n{included}"), page
        assert set(tree_of(page)) <= set(re.findall(r"\(([\w-]+)\.md\)", section)), page
        shown += tree_of(page)
    assert sorted(shown) == sorted({path.stem for path in index.parent.glob("*.md")} - {"index", *groups})


@pytest.mark.parametrize("path", [README, SECURITY, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


# --- the runner itself -----------------------------------------------------------------------------------------------

WRONG = [
    ("1 + 1  # -> 3", "2, not 3"),
    ("1 + 1\n# -> 3", "2, not 3"),
    ("int('x')  # raises ValueError: other", "raised ValueError: invalid literal"),
    ("int('1')  # raises ValueError: ...", "raised nothing"),
    ("def f():\n    1  # -> 1", "not reached"),
    ("x = 1  # -> 1", "without a statement to check"),
    ("import asyncio\nasyncio.run(1)", "(Value|Type)Error"),  # the latter from CPython 3.14 on
]


@pytest.mark.parametrize(("code", "text"), WRONG)
async def test_a_wrong_page_is_found_out(code: str, text: str, tmp_path: Path) -> None:
    page = Page(tmp_path)
    with pytest.raises(AssertionError, match=text):
        await page.run(Block("page.md", 1, "python", code))


async def test_a_wrong_output_of_a_program_is_found_out(tmp_path: Path) -> None:
    page = Page(tmp_path)
    await page.run(Block("page.md", 1, "python", "print(1)", caption="one.py"))
    await page.run(Block("page.md", 1, "console", "$ python one.py\n1\n"))
    with pytest.raises(AssertionError, match="printed"):
        await page.run(Block("page.md", 1, "console", "$ python one.py\n2\n"))


async def test_a_file_grows_and_what_it_became_is_checked(tmp_path: Path) -> None:
    page = Page(tmp_path)
    start = "import sys\n\n\nasync def main():\n    pass\n\n\nif __name__ == '__main__':\n    main().close()\n"
    await page.run(Block("page.md", 1, "python", start, caption="one.py"))
    await page.run(Block("page.md", 1, "python", "def add():\n    pass\n", caption="one.py, above main()"))
    await page.run(Block("page.md", 1, "python", "async def main(x=1):\n    add()\n", caption="one.py, the new main()"))
    grown = (
        "import sys\n\n\ndef add():\n    pass\n\n\nasync def main(x=1):\n    add()\n\n\n"
        "if __name__ == '__main__':\n    main().close()\n"
    )
    await page.run(Block("page.md", 1, "python", grown, caption="one.py, all of it"))
    for caption, code in [("one.py, all of it", start), ("one.py, below main()", "")]:
        with pytest.raises(AssertionError, match=r"by now the file is|below main\(\)\?"):
            await page.run(Block("page.md", 1, "python", code, caption=caption))


JOB = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[1])))
print("one", flush=True), print("two", flush=True), signal.pause()
"""


async def test_what_a_job_prints_is_checked_and_how_it_ends(tmp_path: Path) -> None:
    page = Page(tmp_path)
    try:
        await page.run(Block("page.md", 1, "python", JOB, caption="job.py"))
        await page.run(Block("page.md", 1, "console", "$ python job.py 0 &\none\n$ python job.py 1 &\none\n"))
        await page.run(Block("page.md", 1, "console", "two\n", caption="what job %1 prints"))
        with pytest.raises(AssertionError, match="it printed\ntwo"):
            await page.run(Block("page.md", 1, "console", "three\n", caption="what job %2 prints"))
        await page.run(Block("page.md", 1, "console", "$ kill %1\n"))
        with pytest.raises(AssertionError, match="job 2 ended with 1"):
            await page.run(Block("page.md", 1, "console", "$ kill %2\n"))
        assert page.running == {}
    finally:
        await page.close()


async def test_a_right_page_passes_and_its_checks_are_counted(tmp_path: Path) -> None:
    page = Page(tmp_path)
    await page.run(Block("page.md", 1, "python", "import asyncio\nawait asyncio.sleep(0, 'x...y')  # -> 'x...y'\n"))
    await page.run(Block("page.md", 9, "python", "asyncio.nothing  # raises AttributeError: ...\n7\n# -> 7\n"))
    assert page.checked == 3
