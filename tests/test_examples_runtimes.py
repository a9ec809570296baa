# SPDX-License-Identifier: MIT
"""One example program is the same on three event loops, and its twin without `async` prints the same."""

import pytest

from tests.example_programs import EXAMPLES, output_of, run
from tests.loops import runtimes

LINES = [
    "7 / 2 is 3.5",
    "about to be greeted: Ann",
    "hello Ann",
    "no half: 3 is odd (code 1)",
    "halves: (1, 2, 3)",
]


@pytest.mark.parametrize("loop", [*map(str, runtimes()), "trio"])
def test_one_program_prints_the_same_on_every_loop(loop: str) -> None:
    assert output_of("any_loop.py", loop) == [*LINES, "closed, as the `async with` has ended"]


def test_its_twin_without_a_loop_prints_the_same() -> None:
    assert output_of("no_loop.py") == [*LINES, "closed, as the `with` has ended"]


def test_another_loop_is_refused() -> None:
    done = run("any_loop.py", "curio")
    assert (done.returncode, done.stderr) == (1, "asyncio, uvloop or trio?\n")


def test_above_the_last_lines_no_loop_is_named() -> None:
    above, _, _ = (EXAMPLES / "any_loop.py").read_text(encoding="utf-8").partition("if __name__")
    assert not {"import asyncio", "import trio", "import uvloop"} & set(above.splitlines())


def test_the_twins_differ_in_what_waits_and_in_nothing_else() -> None:
    def body(name: str) -> list[str]:
        text = (EXAMPLES / name).read_text(encoding="utf-8").partition("import tieline\n")[2]
        for word in ("async with", "`async ", "async def", "await ", "tieline.blocking."):
            text = text.replace(word, {"async with": "with", "`async ": "`", "async def": "def"}.get(word, ""))
        text = text.replace("tieline.ServerSession", "ServerSession").replace("tieline.serve", "serve")
        return [line for line in text.replace("tieline.connect", "connect").splitlines() if line]

    ours, twins = body("any_loop.py"), body("no_loop.py")
    end = ours.index('if __name__ == "__main__":')
    twins.remove("import tieline.blocking")
    assert ours[:end] == twins[: twins.index('if __name__ == "__main__":')]
