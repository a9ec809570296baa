# SPDX-License-Identifier: MIT
"""Cases 45-49, 62 and a flood of errors: more than a server can or should do at once."""

import itertools
import select
import time
from collections.abc import Callable

from tests.attacks.attacked import MEGA, AttackedServer, Figures
from tests.attacks.raw import Peer, fresh, line, lines
from tests.attacks.table import BRISK, Case, Error, Outcome, check_keep, fits, shown
from tests.promptness import is_slow_box

# Stock asyncio keeps unsent output in one bytearray up to CPython 3.11, with some of what it has sent; when that grows,
# there are two of them.
BYTEARRAYS = 60 * MEGA
QUIET = 0.05  # how long a bystander may wait, in seconds, where the spec asks for turns


def patience(seconds: float) -> float:
    return seconds * (4 if is_slow_box() else 1)


def gone_after(server: AttackedServer, before: Figures, name: str = "sessions") -> float:
    """Wait until the server has as few sessions, or handlers at work, as before; return how long that took."""
    start = time.monotonic()
    while True:
        now = server.figures()[name]
        took = time.monotonic() - start
        if now <= before[name]:
            return took
        assert took < 15, f"{now:.0f} {name}, and {before[name]:.0f} before"
        select.select([], [], [], 0.002)


def wait_until(server: AttackedServer, name: str, holds: Callable[[float], bool]) -> None:
    """Return when a figure of the server is as it should be."""
    until = time.monotonic() + 15
    while not holds(now := server.figures()[name]):
        assert time.monotonic() < until, f"{name} is {now:.0f}"


def accepted(server: AttackedServer, peer: Peer) -> Figures:
    """Return the figures as they were without the peer, which has been accepted by now."""
    assert peer.call("add", 1, 2) == 3
    figures = server.figures()
    return {**figures, "sessions": figures["sessions"] - 1}


# --- 45: replies that nobody reads -----------------------------------------------------------------------------------


def asks_for_much(peer: Peer, server: AttackedServer) -> None:
    """Ask for 400 MB of replies and read none; the write_timeout is 0.5 s here."""
    before = accepted(server, peer)
    assert peer.send(lines("text_of", range(400), 1_000_000), reads=False)
    assert gone_after(server, before) < patience(2.0)


def reads_in_the_end(peer: Peer, server: AttackedServer) -> None:
    """Ask for replies, read none for a while, then all: each comes once."""
    count = server.size(1600, 160)
    assert peer.send(lines("text_of", range(count), 250_000), reads=False)
    peer.pause(0.2)
    assert sorted(peer.answer()["id"] for _ in range(count)) == list(range(count))


# --- 46, 49: more calls than it accepts ------------------------------------------------------------------------------


def parks(peer: Peer, server: AttackedServer) -> Figures:
    """Pour calls of a slow method until the server takes no more; return the figures without the peer."""
    before = accepted(server, peer)
    assert not peer.pour(lines("sleep", range(server.size(200_000, 100_000)), 30)), "all was taken"
    assert server.figures()["running"] - before["running"] == 64
    return before


def parked_then_reset(peer: Peer, server: AttackedServer) -> None:
    before = parks(peer, server)
    server.check_rest()
    peer.reset()
    took = gone_after(server, before)
    assert took <= patience(1.0), f"noticed after {took:.2f} s"
    assert gone_after(server, before, "running") < patience(0.1)


def slow_calls_answered_in_the_end(peer: Peer, server: AttackedServer) -> None:
    """Send ten times as many calls as are accepted at once; each is answered once, when its turn has come."""
    gate = fresh("turn")
    assert peer.send(lines("wait_at", range(640), gate))
    wait_until(server, "running", lambda running: running >= 64)
    server.ask("open_gate", gate)
    found = [peer.answer() for _ in range(640)]
    assert sorted(one["id"] for one in found) == list(range(640))
    assert all(one["result"] == gate for one in found)


# --- 47: flat out ----------------------------------------------------------------------------------------------------


def notifications_then_a_call(peer: Peer, server: AttackedServer) -> None:
    name = fresh("notifications")
    count = server.size(100_000, 30_000)
    assert peer.send(line("tick", name, id=None) * count, patience=30)
    assert peer.call("ticks", name, patience=30) == count


def flat_out(peer: Peer, server: AttackedServer) -> None:
    """Keep a thousand calls in flight; every answer comes once and in order, and others do not wait."""
    seconds = server.size(50, 4) / 10
    until = time.monotonic() + seconds
    done = sent = 0
    while done < sent or time.monotonic() < until:
        if time.monotonic() < until:
            assert peer.send(lines("add", range(sent, sent + 500), 40, 2))
            sent += 500
        while done < sent - 500 or (done < sent and time.monotonic() >= until):
            found = peer.take_line()
            assert found == b'{"jsonrpc":"2.0","result":42,"id":%d}' % done, found
            done += 1
    assert done > 1000 * seconds


# --- 48: clients that leave ------------------------------------------------------------------------------------------


def leaving(peer: Peer, gate: str, source: str | None) -> bool:
    """Come from an address, have the server begin with what it accepts of 200 calls, and leave by RST.

    Return whether the address was served.
    """
    with Peer(peer.url, source) as other:
        assert other.send(line("add", 1, 2) + lines("wait_at", range(2, 202), gate))
        told = other.answer()
        if "error" in told:
            assert fits(told, Error(-102, text="abandoned")), shown(told)
            assert other.rest() == []
            return False
        assert told["result"] == 3
        other.reset()
        return True


def three_hundred_resets(peer: Peer, server: AttackedServer) -> None:
    """Leave from an address each time anew, so that none of them is refused."""
    gate = fresh("resets")
    before = server.figures()
    count = server.size(300, 40)
    for number in range(count):
        assert leaving(peer, gate, f"127.1.{number // 250}.{number % 250 + 1}")
    took = gone_after(server, before, "running")
    assert took <= patience(0.1), f"handlers were cancelled after {took:.2f} s"
    entered = server.ask("has_entered", gate)
    # A handler that is cancelled before its task has run does nothing at all: on trio that is seen.
    # Of the 64 that are accepted 20 run at once.
    assert 0 < entered <= 20 * count if server.starts_later else entered == 20 * count, entered
    assert server.ask("has_left", gate) == entered


def abandons(peer: Peer, _server: AttackedServer) -> None:
    """Leave from one address until it is refused; others are not (but all users of a Unix socket are one)."""
    gate = fresh("abandons")
    rounds = 0
    while leaving(peer, gate, peer.source):
        rounds += 1
        assert rounds < 30, f"a client that abandoned {64 * rounds} calls is still served"
        peer.pause(rounds / 100)  # a loss may be noticed late
    if peer.source is not None:
        with Peer(peer.url, "127.0.0.149") as stranger:
            check_keep(stranger)
    check_keep(peer)


# --- 62: gone while a write is blocked -------------------------------------------------------------------------------


def reset_while_writing(peer: Peer, server: AttackedServer) -> None:
    before = accepted(server, peer)
    assert peer.send(line("pour", 100_000), reads=False)
    wait_until(server, "running", lambda running: running > before["running"])
    peer.pause(0.1)  # the buffers of the system fill
    peer.reset()
    took = gone_after(server, before, "running")
    assert took <= patience(0.05), f"the sender was told after {took:.3f} s"


# --- errors ----------------------------------------------------------------------------------------------------------


def errors_for_six_seconds(peer: Peer, server: AttackedServer) -> None:
    """Cause 81 MB of errors in six seconds, coming again when cut, and leave: nobody waits longer then.

    Calls of unknown methods are answered, broken lines end the connection: each connection sends both, in turn.
    """
    quiet = quiet_wait(server)
    records = server.ask("record_count")
    whole = server.size(81_000_000, 4_050_000)
    until = time.monotonic() + server.size(60, 3) / 10
    sent = connections = 0
    while sent < whole and time.monotonic() < until:
        with Peer(peer.url, peer.source) as flood:
            for what in itertools.cycle((UNKNOWN, BROKEN)):
                if not flood.send(what, patience=max(0.0, until - time.monotonic())) or flood.ended:
                    break
                flood.forget()
            sent += flood.sent
        connections += 1
        peer.pause(0.001)
    after = quiet_wait(server)
    # A Unix socket takes so little ahead that most of the six seconds go into waiting for it.
    least = whole // (10 if is_slow_box() else server.size(2, 4))
    assert sent >= least, f"sent {sent} bytes in place of {whole}"
    assert server.ask("record_count") - records <= connections
    more = 0.05 if is_slow_box() else 0.001  # on a busy machine a few stalls make what is usual
    assert after <= 2 * quiet + more, f"others waited {quiet:.4f} s before, and {after:.4f} s after"


def quiet_wait(server: AttackedServer) -> float:
    """Return how long a bystander waits as a rule when nothing is done to the server."""
    assert server.bystander is not None
    start = time.monotonic()
    select.select([], [], [], server.size(15, 3) / 10)
    return server.bystander.usual_since(start)


UNKNOWN = line("nope") * 500
BROKEN = b"{broken\n" * 36_000

GONE = Outcome.GONE

CASES = [
    # 64 replies of 1 MB, and the 16 MB that stay free for the next long message (runtimes/memory.py).
    Case(45, "400 MB of replies, none read", asks_for_much, (), GONE, "hasty", growth=(70 + 16) * MEGA, wait=BRISK),
    Case(45, "400 MB of replies, read late", reads_in_the_end, growth=BYTEARRAYS, wait=BRISK),
    Case(46, "200k calls of sleep(30), RST (49)", parked_then_reset, (), GONE, also=49, growth=16 * MEGA, wait=BRISK),
    Case(46, "640 slow calls", slow_calls_answered_in_the_end),
    Case(47, "100k notifications, then a call", notifications_then_a_call, wait=QUIET),
    Case(47, "calls flat out", flat_out, wait=QUIET),
    Case(
        48,
        "300 x (200 calls, RST)",
        three_hundred_resets,
        records=0,
        wait=BRISK,
        transports=("tcp", "tls"),
        source="127.0.0.48",
    ),
    Case(48, "a client that abandons its calls", abandons, source="127.0.0.148", is_alone=True),
    Case(62, "RST while a write is blocked", reset_while_writing, outcome=Outcome.GONE),
    Case(37, "81 MB of errors in 6 s", errors_for_six_seconds, records=400, wait=BRISK, source="127.0.0.37"),
]
