# SPDX-License-Identifier: MIT
"""Attacks that the list of cases does not name: peers that read nothing, that vanish, that never end."""

import json
import time
from contextlib import ExitStack, suppress
from functools import cache

import pytest

from tests.attacks.attacked import MEGA, AttackedServer, Figures
from tests.attacks.cases_batches import batch
from tests.attacks.raw import Peer, fresh, line
from tests.attacks.table import Error, Result, check_answers, fits, shown
from tests.promptness import is_slow_box

BIG_REPLIES = b"".join(line("text_of", 300_000, id=number) for number in range(20))
TOO_LONG = b"x" * (MEGA + 100_000)


def cut_after(server: AttackedServer, before: Figures, patience: float = 10.0) -> float:
    """Wait until the server has closed what was opened since *before*; return how long that took."""
    start = time.monotonic()
    after = server.settled_like(before, patience)
    assert after["sessions"] <= before["sessions"], "still open"
    assert after["tasks"] <= before["tasks"]
    return time.monotonic() - start


def accepted(server: AttackedServer, peer: Peer) -> None:
    """Return when the server has accepted the peer; its answer is read."""
    assert peer.call("add", 1, 2) == 3
    assert server.figures()["sessions"] >= 3


@cache
def unread() -> list[tuple[str, bytes]]:
    """Return what has the server say much; 20 MB, and so made only when they are sent."""
    return [
        ("answers", BIG_REPLIES),
        ("answers, then a line that is too long", BIG_REPLIES + TOO_LONG),
        ("notifications", line("pour", 100_000)),
        ("notifications, then a line that is too long", line("pour", 100_000) + TOO_LONG),
        ("a last answer", BIG_REPLIES + line("disconnect", "y" * 900_000)),
        ("answers to a flood", b"".join(line("echo", "e" * 50, id=number) for number in range(100_000))),
        (
            "refusals to a flood, calls of the server open",
            line("call_back", "x", 1) + b"".join(line("sleep", 30, id=number) for number in range(60_000)),
        ),
    ]


@pytest.mark.row("S10")
def test_peers_that_read_nothing_are_cut(transport: str, server: AttackedServer) -> None:
    """All of them at once, each twice: with its sending side open, and closed. The write_timeout is 0.5 s here."""
    with server.standing(growth=100 * MEGA, records=4), ExitStack() as stack:
        before = server.figures()
        poured = {}
        for _what, data in unread() * 2:
            peer = stack.enter_context(server.peer("hasty", transport))
            accepted(server, peer)
            poured[peer] = data
        Peer.pour_all(poured, stuck=0.3 if is_slow_box() else 0.15)
        for peer in list(poured)[len(unread()) :]:
            with suppress(OSError):  # it has been cut already
                peer.shutdown_write()
        took = cut_after(server, before)
        assert took < (5.0 if is_slow_box() else 2.0), f"cut after {took:.1f} s"


def test_a_peer_that_holds_on_behind_the_end_is_dropped(server: AttackedServer, transport: str) -> None:
    with server.standing():
        before = server.figures()
        with server.peer("hasty", transport) as peer:
            accepted(server, peer)
            assert peer.send(TOO_LONG)
            check_answers(peer, Error(-32600))
            assert peer.rest() == []
            assert cut_after(server, before) < (3.0 if is_slow_box() else 1.0)  # its linger is 0.3 s


def test_handlers_of_a_peer_that_breaks_the_protocol_are_cancelled(server: AttackedServer, transport: str) -> None:
    with server.standing():
        gate = fresh("broken")
        with server.peer(transport=transport) as peer:
            assert peer.send(b"".join(line("wait_at", gate, id=number) for number in range(5)) + TOO_LONG)
            check_answers(peer, Error(-32600))
            assert peer.rest() == []
        until = time.monotonic() + 10
        while server.ask("has_left", gate) < 5:
            assert time.monotonic() < until, "they still run"


def test_a_member_that_closes_the_session_silences_nobody_else(server: AttackedServer, transport: str) -> None:
    """Another connection goes on; this one ends, in order."""
    with server.standing(), server.peer(transport=transport) as peer, server.peer(transport=transport) as other:
        assert peer.send(batch(line("add", 1, 2, id=1), line("close_own", id=2), line("add_later", 3, 4, id=3)))
        peer.rest()
        assert other.call("add", 1, 2) == 3


def test_ids_of_all_types_are_in_flight_at_once(server: AttackedServer, transport: str) -> None:
    ids = [1, 1.5, "1", "", -1, 0, "null", 1 << 70, -(1 << 70), 1e300, None, None]
    gate = fresh("ids")
    with server.standing(), server.peer(transport=transport) as peer:
        for one in ids:
            assert peer.send(line("wait_at", gate).replace(b'"id": 1}', b'"id": %b}' % json.dumps(one).encode()))
        assert server.ask("open_gate", gate) is None
        found = [peer.answer() for _ in ids]
        for one in ids:
            answer = next(seen for seen in found if fits(seen, Result(gate, one)))
            found.remove(answer)
        assert not found, shown(found)
