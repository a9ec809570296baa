# SPDX-License-Identifier: MIT
"""Cases 51-53: more connections than a server has room or descriptors for."""

import select
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.cases_load import accepted, gone_after, patience, wait_until
from tests.attacks.raw import Peer
from tests.attacks.table import BRISK, Case, Error, Outcome, Play, check_keep, fits, shown


def refused(peer: Peer) -> None:
    """See that a newcomer is told that there is no room, and closed in order."""
    found = peer.rest()
    assert len(found) == 1, shown(found)
    assert fits(found[0], Error(-102)), shown(found)


# --- 51: coming and going --------------------------------------------------------------------------------------------


def come_and_go(peer: Peer, count: int, while_there: Callable[[], object] = lambda: None) -> None:
    """Connect so many times at once, and leave: half by RST. A refused connection is an OSError."""
    burst = [Peer(peer.url, peer.source, handshake=False) for _ in range(count)]
    while_there()
    for number, one in enumerate(burst):
        (one.reset if number % 2 else one.close)()


def thousands_of_connects(peer: Peer, server: AttackedServer) -> None:
    """Come and go thousands of times, hundreds at once; the second half takes no memory any more."""
    before = accepted(server, peer)
    before["sessions"] += 1
    # Of handshakes that do not begin, a hundred are there at once.
    all_there = before["fds"] + (90 if peer.url.startswith("tls") else 250)
    # What so many take at once stays in the process: so they all stay, the first time.
    come_and_go(peer, 250, lambda: wait_until(server, "fds", lambda fds: fds >= all_there))
    sizes: list[float] = []
    for _ in range(server.size(20, 6)):
        come_and_go(peer, 250)
        assert gone_after(server, before) < patience(1.0)
        sizes.append(server.ask("trimmed")["rss"])
    grown = max(sizes[len(sizes) // 2 :]) - max(sizes[: len(sizes) // 2])
    limit = 8 * MEGA if peer.url.startswith("tls") else MEGA  # OpenSSL's memory grows in steps
    assert grown <= limit, f"{grown / MEGA:.1f} MiB in the second half"


# --- 52: no descriptors left -----------------------------------------------------------------------------------------


def no_descriptors_left(peer: Peer, server: AttackedServer) -> None:
    """Take every descriptor that the server may open; it may open 20 here, and those that come wait to be accepted."""
    check_keep(peer)
    before = server.ask("record_count")
    with ExitStack() as stack:
        crowd = [stack.enter_context(Peer(peer.url, peer.source, handshake=False)) for _ in range(40)]
        start, spent = time.monotonic(), server.ask("cpu")
        select.select([], [], [], server.size(20, 5) / 10)
        share = (server.ask("cpu") - spent) / (time.monotonic() - start)
        assert share < 0.2, f"{share:.0%} of a core while no descriptor is left"
        check_keep(peer)
        late = stack.enter_context(Peer(peer.url, peer.source, handshake=False))
        assert not late.read_more(0.0)
        for one in crowd[:30]:
            one.close()
        start = time.monotonic()
        if peer.url.startswith("tls"):
            late = stack.enter_context(Peer(peer.url, peer.source))
        assert late.call("add", 1, 2) == 3
        took = time.monotonic() - start
        assert took <= patience(1.0), f"served {took:.1f} s after descriptors came back"
    told = [record for record in server.ask("records", before) if "no TLS" not in record]
    assert len(told) == 1, told


# --- 53: limits of connections ---------------------------------------------------------------------------------------


def one_too_many(limit: int) -> Play:
    """Fill a server that has room for so many connections: one more is told; when one has left, the next is served."""

    def play(peer: Peer, server: AttackedServer) -> None:
        with ExitStack() as stack:
            check_keep(peer)
            inside = [stack.enter_context(Peer(peer.url, peer.source)) for _ in range(limit - 1)]
            for one in inside:
                check_keep(one)
            for _ in range(server.size(200, 20)):
                with Peer(peer.url, peer.source) as newcomer:
                    refused(newcomer)
            if peer.source is not None and limit == 4:  # that of one address
                check_keep(stack.enter_context(Peer(peer.url, "127.0.0.153")))
            before = server.figures()
            inside[0].close()
            gone_after(server, {**before, "sessions": before["sessions"] - 1})
            check_keep(stack.enter_context(Peer(peer.url, peer.source)))
            for one in inside[1:]:
                check_keep(one)

    return play


def crowd_of_newcomers(peer: Peer, server: AttackedServer) -> None:
    """Hundreds come at once where there is room for 8: as many are served, 100 or so are told, all others cut."""
    with ExitStack() as stack:
        check_keep(peer)
        crowd = [stack.enter_context(Peer(peer.url, peer.source)) for _ in range(server.size(300, 40))]
        for one in crowd[:7]:
            check_keep(one)
        told = 0
        for one in crowd[7:]:
            while not (one.ended or one.was_reset):
                assert one.read_more(10), "kept waiting"
            told += bool(one.received)
        assert told >= min(90, len(crowd) - 7), f"{told} were told why"
        check_keep(peer)


CASES = [
    Case(51, "5000 connects, half of them reset", thousands_of_connects, source="127.0.0.51", records=5300, wait=BRISK),
    Case(
        52,
        "no descriptors left",
        no_descriptors_left,
        is_alone=True,
        files=20,
        source="127.0.0.52",
        outcome=Outcome.GONE,
        records=50,
    ),
    Case(53, "max_connections + 1", one_too_many(8), kind="few", source="127.0.0.53", records=300),
    Case(53, "max_connections_per_peer + 1", one_too_many(4), kind="fair", source="127.0.0.53", records=300),
    Case(53, "300 newcomers at once", crowd_of_newcomers, kind="few", source="127.0.0.53", records=300),
]
