# SPDX-License-Identifier: MIT
"""Case 58: a handler that raises KeyboardInterrupt or SystemExit shuts the whole server down, in order."""

from pathlib import Path

import pytest

from tests.attacks.attacked import AttackedServer
from tests.attacks.conftest import LOOPS
from tests.attacks.raw import line
from tests.attacks.table import Error, fits, shown

# Loops take turns: starting a server costs more than all else here.
ENDS = [
    (name, method, LOOPS[(row + column) % len(LOOPS)])
    for row, name in enumerate(("KeyboardInterrupt", "SystemExit"))
    for column, method in enumerate(("raises", "raises_async", "raises_late"))
]


@pytest.mark.row("H58")
@pytest.mark.parametrize(("name", "method", "loop"), ENDS)
def test_what_ends_the_program_ends_it_in_order(name: str, method: str, loop: str, tmp_path: Path) -> None:
    with AttackedServer(tmp_path, loop, has_bystander=False, ends_itself=True) as server:
        with server.peer() as caller, server.peer(transport="unix") as busy, server.peer() as idle:
            assert busy.send(line("sleep", 30))
            assert idle.call("add", 1, 2) == 3
            assert server.ask("figures")["running"] >= 1
            assert caller.send(line(method, name))
            for peer, wanted in ((caller, [Error(-32603, 1)]), (busy, [Error(-32603, 1)]), (idle, [])):
                seen = peer.rest()
                assert len(seen) == len(wanted), shown(seen)
                assert all(map(fits, seen, wanted)), shown(seen)
        code = server.process.wait(10)
        assert code == 3 if name == "SystemExit" else code in (-2, 130), code
        assert not (tmp_path / "v2").exists()
        trace = server.stderr()
        assert "Task was destroyed" not in trace
        assert "never" not in trace
