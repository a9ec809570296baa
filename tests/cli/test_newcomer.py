# SPDX-License-Identifier: MIT
"""The way of a newcomer: a file of one's own, served, listed and called, by what the programs themselves say."""

import shlex
from pathlib import Path

from tests.cli.programs import program, started

SERVICE = '''
import tieline

methods = tieline.Methods()


@methods.method
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b
'''


def test_a_service_of_ones_own_is_served_listed_and_called(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with started("serve", "service.py", "--listen", "tcp://127.0.0.1:0", cwd=tmp_path) as server:
        lines = server.lines_until("Ctrl+C stops")
        tried = [shlex.split(line.removeprefix("try: tieline ")) for line in lines if line.startswith("try: ")]
        listed, called = (program(*words, cwd=tmp_path) for words in tried)
        assert (listed.code, listed.err) == (0, "")
        assert "add     a: integer, b: integer  integer  Add two numbers." in listed.out
        assert tried[1][2:] == ["add", "1", "1"]
        assert (called.code, called.out) == (0, "2\n")
        mistake = program("call", tried[1][1], "ad", "1", "1")
        assert mistake.code == 7
        assert "did you mean 'add'?" in mistake.error
        assert server.end().code == 0
