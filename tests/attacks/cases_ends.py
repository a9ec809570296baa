# SPDX-License-Identifier: MIT
"""Cases 54, 55 and 70: how a server process ends, and what another one may take from it."""

import signal
import stat
import time
from contextlib import suppress
from pathlib import Path

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases_load import patience, wait_until
from tests.attacks.raw import Peer, lines
from tests.attacks.table import Case, Error, Outcome, check_keep, fits, shown


def killed(peer: Peer, server: AttackedServer) -> None:
    """Kill it with -9 while a hundred calls wait: the peer sees the end at once, and the next one takes its place."""
    assert peer.send(lines("sleep", range(100), 30))
    wait_until(server, "running", lambda running: running >= 64)
    server.kill()
    start = time.monotonic()
    while not (peer.ended or peer.was_reset):
        assert peer.read_more(5), "no end"
    assert time.monotonic() - start < patience(0.05)
    assert not peer.received
    with server.again(has_port=True) as second:
        assert second.urls["v2"]["tcp"] == server.urls["v2"]["tcp"]
        assert second.urls["v2"]["unix"] == server.urls["v2"]["unix"]
        for transport in server.urls["v2"]:
            with second.peer(transport=transport) as other:
                check_keep(other)


def asked_to_end(peer: Peer, server: AttackedServer) -> None:
    """Send SIGTERM while calls run: their answers arrive, then the end, and the exit code is 0."""
    assert peer.send(lines("sleep", range(20), 0.5))
    wait_until(server, "running", lambda running: running >= 20)
    server.process.send_signal(signal.SIGTERM)
    found = peer.rest()
    assert sorted(one["id"] for one in found) == list(range(20)), shown(found)
    assert all(one["result"] == "slept" for one in found), shown(found)
    peer.shutdown_write()  # over TLS it waits for that, 5 s at most
    assert server.process.wait(5) == 0
    assert not server.stderr()


def told_twice_to_end(peer: Peer, server: AttackedServer) -> None:
    """Send SIGTERM while calls run that take long, and once more: it ends at once, and each call ends once at most."""
    assert peer.send(lines("sleep", range(20), 30))
    wait_until(server, "running", lambda running: running >= 20)
    server.process.send_signal(signal.SIGTERM)
    peer.pause(0.3)
    peer.read_more(0.0)  # TLS has something to read
    assert not peer.received, "a first SIGTERM lets calls end"
    assert not peer.ended
    server.process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    code = server.process.wait(5)
    took = time.monotonic() - start
    assert took < patience(0.5), f"ended after {took:.2f} s"
    assert code == 0
    assert not server.stderr()
    found = []
    while (message := peer.answer_or_end()) is not None:
        found.append(message)
    assert all(fits(one, Error(-32603, one["id"])) for one in found), shown(found)
    assert len({one["id"] for one in found}) == len(found), shown(found)


def path_is_taken(peer: Peer, server: AttackedServer) -> None:
    """Start a second server on the paths of one that lives: it is refused, and nothing is taken from the first."""
    path = Path(peer.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    inode = path.stat().st_ino
    second = server.again(has_port=False)
    has_started = False
    with suppress(AssertionError), second:
        has_started = True
    assert not has_started, "two servers listen on one path"
    assert "a live server listens there" in second.stderr()
    assert path.stat().st_ino == inode
    with Peer(peer.url) as other:
        check_keep(other)


CASES = [
    Case(54, "kill -9, 100 calls waiting", killed, outcome=Outcome.GONE, ends_server=True),
    Case(55, "SIGTERM, 20 calls running", asked_to_end, outcome=Outcome.GONE, ends_server=True),
    Case(55, "SIGTERM twice, 20 calls running", told_twice_to_end, outcome=Outcome.GONE, ends_server=True),
    Case(70, "a second server on its path", path_is_taken, transports=("unix",)),
]
