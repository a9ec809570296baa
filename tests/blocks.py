# SPDX-License-Identifier: MIT
"""Run the code of Markdown pages: what a reader copies must work, and must give what the page says it gives.

Blocks of a page run in order, as at the prompt of `python -m asyncio` (``await`` at the top level), and see what the
blocks before them defined. Two kinds of comment behind a statement are checked, also inside functions:

    await session.call("add", 1, 2)  # -> 3                    the repr of the value; "..." stands for anything
    await session.call("nope")       # raises RPCError: ...    the class of the exception, and its text

(or on a line of its own, below the statement).

A block with a caption is a file of that name; a block that calls `asyncio.run` or `trio.run` is a program. A file can
grow through a page, as the reader's does, by blocks with these captions:

    shop.py, above main()       goes in front of `async def main`
    shop.py, the new main()     takes the place of it, down to `if __name__`
    shop.py, all of it          changes nothing: it must be what the file has become

A `console` block starts programs, `python` or `tieline`: each line behind ``$ `` is run, and what follows is what it
prints. `cat` shows a file, which is made if it is not there. A program of `tieline` may fail, if ``echo $?`` comes next
and says how. Ports 4000 to 4009 stand for some that are free. Behind a program, ``&`` leaves it running, as job %1,
%2, ... in the order of their starts; ``kill %1`` is SIGTERM, and ``wait %1`` waits for its end. Both expect what it has
still printed, and that it ends with 0. What runs when the page ends is killed. A `console` block without ``$ `` has a
caption with the number of a job (%2), and waits for that to print so many lines.
"""

import ast
import inspect
import io
import random
import re
import shlex
import socket
import subprocess
import sys
import tokenize
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests import aio
from tieline import Server, SessionBase

FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"^:(?P<name>[a-z-]+): *(?P<value>.*)\n", re.MULTILINE)
PATIENCE = 60.0


@dataclass(frozen=True)
class Block:
    """One code block of a page, with the number of its first line of code there."""

    page: str
    line: int
    language: str
    code: str
    caption: str | None = None


def blocks_of(path: Path) -> list[Block]:
    """Return the code blocks of a page: ```` ```python ```` as well as MyST's ```` ```{code-block} python ````."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        info, body = match["info"].strip(), match["body"]
        line = text.count("\n", 0, match.start("body")) + 1
        caption = None
        if info.startswith("{code-block}"):
            info = info.removeprefix("{code-block}").strip()
            while option := OPTION.match(body):
                caption = option["value"] if option["name"] == "caption" else caption
                body = body[option.end() :]
                line += 1
            line += len(body) - len(body.lstrip("\n"))
            body = body.lstrip("\n")
        found.append(Block(path.name, line, info, body, caption))
    return found


# --- expectations ----------------------------------------------------------------------------------------------------


def expectations(code: str) -> dict[int, tuple[str, str]]:
    """Return what the comments promise: line number -> (kind, text)."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT and (match := re.fullmatch(r"# (->|raises) (.+)", token.string)):
            stands_alone = token.line.strip() == token.string
            found[token.start[0] - stands_alone] = (match[1], match[2])
    return found


def matches(expected: str, seen: str) -> bool:
    """Compare; ``...`` in *expected* stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), seen, re.DOTALL) is not None


class Checks(ast.NodeTransformer):
    """Puts the expectations of a block into its syntax tree."""

    def __init__(self, promised: dict[int, tuple[str, str]]) -> None:
        self.promised = promised
        self.placed: set[int] = set()

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        self.generic_visit(node)
        line = node.end_lineno or node.lineno
        if line not in self.promised:
            return node
        self.placed.add(line)
        kind, expected = self.promised[line]
        if kind == "->":
            text = f"_check_({line}, {expected!r}, None)"
            call = ast.parse(text, mode="eval").body
            assert isinstance(call, ast.Call)
            call.args[2] = node.value
            return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))
        caught = ast.parse(
            f"try:\n    pass\nexcept Exception as _error_:\n    _raised_({line}, {expected!r}, _error_)\n"
            f"else:\n    _raised_({line}, {expected!r}, None)\n"
        ).body[0]
        assert isinstance(caught, ast.Try)
        caught.body = [node]
        return ast.fix_missing_locations(ast.copy_location(caught, node))


# --- running ---------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    """The namespace and the folder in which the blocks of a page run. Close it at the end."""

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__page__"})
    running: dict[int, subprocess.Popen[str]] = field(default_factory=dict)
    checked: int = 0
    ports: dict[str, str] = field(default_factory=dict)  # free ones, for those of the page

    async def run(self, block: Block) -> None:
        """Run one block, whatever it is; blocks in languages that are not run here are left alone."""
        if block.language == "console":
            self._console(block)
        elif block.language != "python":
            return
        elif block.caption is not None:
            self._file(block, block.caption)
        elif "asyncio.run(" in block.code or "trio.run(" in block.code:
            self._program(block)
        else:
            await self._snippet(block)

    def _file(self, block: Block, caption: str) -> None:
        name, _, change = caption.partition(", ")
        path = self.folder / name
        if not change:
            path.write_text(block.code, encoding="utf-8")
            return
        old = path.read_text(encoding="utf-8")
        head, main, tail = re.split(r"^(async def main\(.*?)(?=^if __name__)", old, flags=re.MULTILINE | re.DOTALL)
        if change == "all of it":
            assert old == block.code, f"{block.page}:{block.line}: by now the file is\n{old}"
        elif change == "above main()":
            path.write_text(f"{head}{block.code}\n\n{main}{tail}", encoding="utf-8")
        else:
            assert change == "the new main()", f"{block.page}:{block.line}: {change}?"
            path.write_text(f"{head}{block.code}\n\n{tail}", encoding="utf-8")

    async def _snippet(self, block: Block) -> None:
        promised = expectations(block.code)
        tree = ast.parse(block.code)
        ast.increment_lineno(tree, block.line - 1)
        checks = Checks({line + block.line - 1: promise for line, promise in promised.items()})
        tree = checks.visit(tree)
        assert checks.placed == set(checks.promised), f"{block.page}: comments without a statement to check"
        seen: set[int] = set()

        def check(line: int, expected: str, value: object) -> None:
            seen.add(line)
            assert matches(expected, repr(value)), f"{block.page}:{line}: {value!r}, not {expected}"

        def raised(line: int, expected: str, error: Exception | None) -> None:
            seen.add(line)
            text = "nothing" if error is None else f"{type(error).__name__}: {error}".removesuffix(": ")
            assert matches(expected, text), f"{block.page}:{line}: raised {text}, not {expected}"

        self.names.update(_check_=check, _raised_=raised)
        code = compile(tree, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, self.names)
        if inspect.iscoroutine(result):
            await result
        assert seen == set(checks.promised), f"{block.page}: not reached: lines {sorted(set(checks.promised) - seen)}"
        self.checked += len(seen)

    def _program(self, block: Block) -> None:
        done = self._finished([sys.executable, "-W", "error", "-c", block.code])
        assert (done.returncode, done.stderr) == (0, ""), f"{block.page}:{block.line}: {done.stderr}"

    def _finished(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def _console(self, block: Block) -> None:
        if job := re.search(r"%(\d+)", block.caption or ""):
            printed = self._lines(self.running[int(job[1])], block.code)
            assert matches(block.code, printed), f"{block.page}:{block.line}: it printed\n{printed}"
            self.checked += 1
            return
        commands = [part.partition("\n") for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]]
        assert commands, f"{block.page}:{block.line}: no command"
        code = 0
        for command, _, expected in commands:
            assert code == 0 or command == "echo $?", f"{block.page}: a command before {command} failed: {code}"
            printed, code = (str(code), 0) if command == "echo $?" else self._printed(block, command, expected)
            assert matches(expected.rstrip(), printed.rstrip()), f"{block.page}: {command} printed\n{printed}"
            self.checked += 1
        assert code == 0, f"{block.page}: the last command failed: {code}"

    def _printed(self, block: Block, command: str, expected: str) -> tuple[str, int]:
        """Run one command and return what it printed, with the ports of the page, and its exit code."""
        program, *args = shlex.split(command.removesuffix("&"))
        if program in {"kill", "wait"}:
            return self._ended_job(int(args[0].removeprefix("%")), is_killed=program == "kill"), 0
        if program == "cat":
            path = self.folder / args[0]
            if not path.exists():
                path.write_text(expected, encoding="utf-8")
            return path.read_text(encoding="utf-8"), 0
        assert program in {"python", "tieline"}, f"{block.page}: {command} is not run by the tests"
        argv = [sys.executable, "-W", "error", *(["-m", "tieline"] if program == "tieline" else [])]
        argv += [re.sub(r"(?<=:)400\d\b", self._free_port, arg) for arg in args]
        if command.endswith("&"):
            process = subprocess.Popen(argv, cwd=self.folder, stdout=subprocess.PIPE, text=True)
            self.running[next(number for number in count(1) if number not in self.running)] = process
            return self._with_ports_of_page(self._lines(process, expected)), 0
        done = self._finished(argv)
        if program == "tieline":
            return self._with_ports_of_page(done.stdout + done.stderr), done.returncode
        assert done.returncode == 0, done.stderr
        return done.stdout, 0

    def _free_port(self, shown: re.Match[str]) -> str:
        """Return a port below those that the system gives to whoever connects, who could take it before its server."""
        while shown[0] not in self.ports:
            port = random.randrange(20_000, 32_000)
            with suppress(OSError), socket.socket() as sock:
                sock.bind(("127.0.0.1", port))
                self.ports[shown[0]] = str(port)
        return self.ports[shown[0]]

    def _with_ports_of_page(self, text: str) -> str:
        for shown, port in self.ports.items():
            text = text.replace(f":{port}", f":{shown}")
        return text

    @staticmethod
    def _lines(process: subprocess.Popen[str], expected: str) -> str:
        """Return as many lines of what a process prints as are expected."""
        assert process.stdout is not None
        return "".join(process.stdout.readline() for _ in expected.splitlines())

    def _ended_job(self, number: int, *, is_killed: bool) -> str:
        """Return what a job has still printed, when it has ended; its number goes to the next one, as in a shell."""
        process = self.running.pop(number)
        if is_killed:
            process.terminate()
        printed, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, f"job {number} ended with {process.returncode}"
        return printed

    async def close(self) -> None:
        """End what still runs, in a page that was left in the middle too: uvloop hangs over what is open at its end."""
        for process in self.running.values():
            process.kill()
            process.communicate()
        for value in list(self.names.values()):
            if isinstance(value, SessionBase):
                value.abort()
            elif isinstance(value, Server):
                value.close()
        await aio.sleep(0)
