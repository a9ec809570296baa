# SPDX-License-Identifier: MIT
"""`tieline top`: live on a real terminal, in lines for programs, and what it says when it cannot."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.cli.conftest import Served
from tests.cli.programs import PATIENCE, CommandLine, argv, started
from tieline import Methods, Statistics
from tieline.blocking import serve
from tieline.cli.terminal import restored

ALTERNATE = "\x1b[?1049"  # the screen of its own that full-screen programs have: h = taken, l = left


class Terminal:
    """A program on a real pseudo-terminal, and all that it has drawn."""

    def __init__(self, process: subprocess.Popen[bytes], primary: int) -> None:
        self.process = process
        self.drawn = ""
        self._primary = primary

    def until(self, is_there: Callable[[str], object]) -> None:
        """Read until what is drawn is as wanted."""
        end = time.monotonic() + PATIENCE
        while not is_there(self.drawn):
            assert select.select([self._primary], [], [], max(0, end - time.monotonic()))[0], self.drawn[-2000:]
            self.drawn += os.read(self._primary, 65536).decode("utf-8", "replace")

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._primary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ended(self) -> int:
        """Read to the end, and return the exit code."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other side open
            while data := os.read(self._primary, 65536):
                self.drawn += data.decode("utf-8", "replace")
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def terminal(*words: str, rows: int = 40, columns: int = 120) -> Iterator[Terminal]:
    primary, secondary = pty.openpty()
    env = {**{name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}, "TERM": "xterm"}
    try:
        fcntl.ioctl(primary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(argv(*words), stdin=secondary, stdout=secondary, stderr=secondary, env=env)
        os.close(secondary)
        try:
            yield Terminal(process, primary)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(primary)


def last_screen(drawn: str) -> str:
    """Return what was drawn last, from the home of the cursor on, without what colours it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.rpartition("\x1b[H")[2])


def calls_of(method: str) -> Callable[[str], int]:
    """Return what finds how many calls of a method a screen shows; 0 = it shows none."""

    def find(drawn: str) -> int:
        found = re.search(rf"^{method} +[0-9.,]+ +([0-9,]+) ", last_screen(drawn), re.MULTILINE)
        return int(found[1].replace(",", "")) if found else 0

    return find


def test_a_terminal_shows_it_live(tieline: CommandLine, served: Served) -> None:
    assert tieline("call", served.tcp, "add", "1", "2").code == 0
    calls = calls_of("add")
    with terminal("top", served.tcp, "--interval", "0.1") as seen:
        seen.until(calls)
        before = calls(seen.drawn)
        for _ in range(5):
            assert tieline("call", served.tcp, "add", "1", "2").code == 0
        seen.until(lambda drawn: calls(drawn) == before + 5)
        words = (served.tcp, "calls/s", "p99", "connections", "refused", "received", "limit", "127.0.0.1")
        seen.until(lambda drawn: all(word in last_screen(drawn) for word in words))
        seen.process.send_signal(signal.SIGINT)
        assert seen.ended() == 0
    assert seen.drawn.count(f"{ALTERNATE}h") == seen.drawn.count(f"{ALTERNATE}l") == 1
    assert seen.drawn.rfind("\x1b[?25h") > seen.drawn.rfind("\x1b[?25l")  # the cursor is back
    assert "Traceback" not in seen.drawn


@pytest.mark.parametrize("words", [("top", "--interval", "0.1"), ("bench", "add", "1", "--duration", "60")])
def test_a_terminal_that_is_drawn_on_is_left_as_it_was_at_sigterm(words: tuple[str, ...], served: Served) -> None:
    with terminal(words[0], served.tcp, *words[1:]) as seen:
        seen.until(lambda drawn: "calls/s" in drawn)
        seen.process.terminate()
        assert seen.ended() == -signal.SIGTERM
    assert seen.drawn.count(f"{ALTERNATE}h") == seen.drawn.count(f"{ALTERNATE}l") == (words[0] == "top")
    assert seen.drawn.rfind("\x1b[?25h") > seen.drawn.rfind("\x1b[?25l") >= 0


def test_sigterm_that_is_ignored_stays_so_while_a_terminal_is_drawn_on() -> None:
    seen: list[object] = []

    async def draw() -> None:
        with restored(lambda: seen.append("stopped")):
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        asyncio.run(draw())
        seen.append(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIG_IGN, signal.SIG_IGN]


def test_a_small_terminal_shows_what_fits(tieline: CommandLine, served: Served) -> None:
    for name in ("add", "echo", "nobody", "nobody-else"):
        tieline("call", served.tcp, name, "1")
    with terminal("top", served.tcp, "--interval", "0.1", rows=14, columns=60) as seen:
        seen.until(lambda drawn: "more methods" in last_screen(drawn))
        seen.resize(60, 120)
        seen.until(lambda drawn: "nobody-else" in last_screen(drawn) and "more methods" not in last_screen(drawn))
        seen.process.send_signal(signal.SIGINT)
        assert seen.ended() == 0


def test_a_server_that_goes_away_is_told_on_the_screen_as_it_was(tmp_path: Path) -> None:
    with started("serve", "tieline.cli.demo_service", "--stats", "-l", "unix:s", cwd=tmp_path) as server:
        server.lines_until("Ctrl+C")
        with terminal("top", f"unix:{tmp_path}/s", "--interval", "0.1") as seen:
            seen.until(lambda drawn: "calls/s" in drawn)
            server.process.kill()
            assert seen.ended() == 6
    drawn, _, behind = seen.drawn.rpartition(f"{ALTERNATE}l")
    assert "calls/s" in drawn
    assert "tieline: unix:" in behind
    assert "Traceback" not in seen.drawn


def test_where_there_is_no_terminal_it_looks_once(tieline: CommandLine, served: Served) -> None:
    assert tieline("call", served.tcp, "add", "1", "2").code == 0
    done = tieline("top", served.tcp)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"{served.tcp}  process ")
    assert calls_of("add")(done.out) >= 1
    assert "\x1b" not in done.out
    assert "calls/s" in lines[5]
    again = tieline("top", served.tcp, "--once").out.splitlines()
    assert [line.split()[0] for line in again if line] == [line.split()[0] for line in lines if line]


def test_programs_get_a_line_of_json(tieline: CommandLine, served: Served) -> None:
    assert tieline("call", served.tcp, "add", "1", "2").code == 0
    done = tieline("top", served.tcp, "--once", "--json")
    assert done.code == 0
    assert done.out.count("\n") == 1
    found = json.loads(done.out)
    [add] = [method for method in found["methods"] if method["name"] == "add"]
    assert add["calls"] >= 1
    assert 0 < add["p50"] <= add["p99"] <= add["longest"]
    assert found["connections"]["open"] >= 1
    assert found["uptime"] == found["seconds"] > 0
    assert [group["group"] for group in found["groups"]][:1] != []
    names = [method["name"] for method in found["methods"]]
    assert names == sorted(names)


def test_programs_get_a_line_at_each_look_until_ctrl_c(served: Served) -> None:
    with started("top", served.tcp, "--json", "--interval", "0.1") as seen:
        looks = [json.loads(seen.line()) for _ in range(3)]
        done = seen.end(signal.SIGINT)
    assert (done.code, done.err) == (0, "")
    assert looks[0]["seconds"] == looks[0]["uptime"]
    assert looks[2]["seconds"] < looks[2]["uptime"]
    [asked] = [method for method in looks[2]["methods"] if method["name"] == "rpc.statistics"]
    assert asked["calls_per_second"] > 0


class Stuck(Statistics):
    """Answers some looks, and no more."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.answers = answers
        self.is_stuck = threading.Event()

    async def told(self) -> dict[str, Any]:
        if not self.answers:
            self.is_stuck.set()
            await asyncio.Event().wait()
        self.answers -= 1
        return self.snapshot()


@pytest.mark.parametrize(("answers", "code"), [(1, 0), (0, 130)])
def test_ctrl_c_ends_it_while_an_answer_is_awaited(answers: int, code: int) -> None:
    methods = Methods()
    stuck = Stuck(answers)
    methods.offer_statistics(stuck)
    words = ("--json", "--interval", "0.1", "--timeout", "300")
    with serve(methods, "tcp://127.0.0.1:0") as server, started("top", server.url, *words) as seen:
        assert stuck.is_stuck.wait(PATIENCE)
        done = seen.end(signal.SIGINT)
        server.shutdown(0)  # which would wait for the answer
    assert (done.code, done.err) == (code, "")


@pytest.mark.parametrize("order", ["calls", "errors", "p99"])
def test_the_highest_come_first(tieline: CommandLine, served: Served, order: str) -> None:
    for name in ("add", "nobody"):
        tieline("call", served.tcp, name, "1")
    key = {"calls": "calls_per_second"}.get(order, order)
    found = json.loads(tieline("top", served.tcp, "--once", "--json", "--sort", order).out)
    values = [method[key] or 0 for method in found["methods"]]
    assert values == sorted(values, reverse=True)
    assert len(values) > 1


def test_over_tls_and_unix_sockets(tieline: CommandLine, served: Served, certificates: Certificates) -> None:
    for words in ((served.tls, "--tls-ca", certificates.ca), (served.unix,)):
        done = tieline("top", *words, "--once", "--json")
        assert (done.code, done.err) == (0, "")
        groups = {group["group"] for group in json.loads(done.out)["groups"] if group["connections"]}
        assert ("127.0.0.1" if "--tls-ca" in words else f"user {os.getuid()}") in groups


def test_a_server_that_does_not_tell(tieline: CommandLine, tmp_path: Path) -> None:
    with started("serve", "tieline.cli.demo_service", "-l", "unix:s", cwd=tmp_path) as server:
        server.lines_until("Ctrl+C")
        done = tieline("top", f"unix:{tmp_path}/s")
    assert done.code == 7
    assert "offers no statistics (no rpc.statistics); tieline serve --stats does" in done.error


CLASS = """
import tieline

class Mine(tieline.ServerSession):
    pass
"""


def test_a_class_of_sessions_cannot_be_asked(tieline: CommandLine, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "classes.py").write_text(CLASS)
    monkeypatch.chdir(tmp_path)
    done = tieline("serve", "classes.py:Mine", "--stats", "-l", "unix:s")
    assert (done.code, done.error) == (2, "--stats is for methods, and classes.py:Mine is a class of sessions")
