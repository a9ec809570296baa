# SPDX-License-Identifier: MIT
"""Case 56: peers that cost more than they may. The server keeps the default policy; each case has one of its own."""

from collections.abc import Sequence
from typing import Any

from tests.attacks.attacked import AttackedServer
from tests.attacks.raw import Peer, fresh, lines
from tests.attacks.table import BRISK, Case, Error, Outcome, check_keep, fits, shown

EXCESSIVE = Error(-101, text="excessive resource usage (limit 10000)")
PARSE_ERROR = Error(-32700)
BROKEN = b"{broken\n"
SOURCE = "127.0.0.156"


def check_told(found: Sequence[Any]) -> None:
    """See that the hard limit was told as the last word, behind parse errors alone."""
    assert found, "cut without a word"
    assert fits(found[-1], EXCESSIVE), shown(found)
    assert all(fits(one, PARSE_ERROR) for one in found[:-1] if one["id"] is None), shown(found)


def parse_errors(peer: Peer, _server: AttackedServer) -> None:
    """Send 300 parse errors, one by one: the twelfth read is the last that is looked at."""
    found = []
    for _ in range(300):
        if not peer.send(BROKEN):
            break
        found.append(peer.answer())
        if not fits(found[-1], PARSE_ERROR):
            break
    check_told(found)
    assert len(found) == 12, shown(found)


def all_slots_busy(peer: Peer, _server: AttackedServer) -> None:
    """Have every slot of the connection busy, and more calls wait, while the limit is crossed."""
    gate = fresh("slots")
    peer.send(lines("wait_at", range(1, 41), gate))
    for _ in range(30):
        peer.send(BROKEN)
    check_told(peer.rest())


def reconnecting(peer: Peer, _server: AttackedServer) -> None:
    """Send a few parse errors and come again, in a loop: four times, and nobody of that address gets in any more."""
    for number in range(30):
        with Peer(peer.url, peer.source) as one:
            for _ in range(3):
                one.send(BROKEN)
            if number < 3:
                assert all(fits(one.answer(), PARSE_ERROR) for _ in range(3))
                continue
            found = one.rest()
            check_told(found)
            assert number == 3 or len(found) == 1, shown(found)
    with Peer(peer.url, "127.0.0.157") as other:
        check_keep(other)


CASES = [
    Case(
        56,
        "300 parse errors",
        parse_errors,
        outcome=Outcome.END,
        kind="governed",
        source=SOURCE,
        is_alone=True,
        wait=BRISK,
    ),
    Case(
        56,
        "all slots busy while the hard limit is crossed",
        all_slots_busy,
        outcome=Outcome.GONE,
        kind="governed",
        source=SOURCE,
        is_alone=True,
        wait=BRISK,
    ),
    Case(
        56,
        "reconnecting in a loop",
        reconnecting,
        outcome=Outcome.GONE,
        kind="governed",
        source=SOURCE,
        transports=("tcp", "tls"),  # on a Unix socket all are one user
        records=10,
        is_alone=True,
        wait=BRISK,
    ),
]
