# SPDX-License-Identifier: MIT
"""Cases 50, 61 and 9 in time: peers that are slow, silent, or leave a handler behind that never returns."""

import ssl
import time

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases_load import accepted, gone_after, patience
from tests.attacks.raw import Peer, fresh, line
from tests.attacks.table import Answer, Case, Error, Outcome, Result, fits, shown
from tests.promptness import is_slow_box

FOR_EVER = 10**200  # seconds
IDLE_SIZE = 16 * 1024
# OpenSSL alone keeps 16.7 KB for a server's side of a connection, 34.2 from 3.5 on (which brought keys of more bytes).
TLS_SIZE = (26 if ssl.OPENSSL_VERSION_INFO < (3, 5) else 44) * 1024


def tricklers(peer: Peer, server: AttackedServer) -> None:
    """Many peers send a byte of one message now and then; the message_timeout of 0.3 s cuts each of them."""
    before = server.figures()
    crowd = []
    data = line("add", 1, 2)
    for number in range(server.size(300, 40)):
        crowd.append(Peer(peer.url, peer.source))
        crowd[-1].send(data * (number % 2) + data[:10])
    start = time.monotonic()
    for index in range(10, len(data) - 1):
        for one in crowd:
            if not one.is_refused:
                one.send(data[index : index + 1])
        peer.pause(0.03)
        if server.figures()["sessions"] <= before["sessions"]:
            break
    took = gone_after(server, before) + time.monotonic() - start
    assert took < patience(1.5), f"cut after {took:.1f} s"
    for number, one in enumerate(crowd):
        with one:
            # A slow box may take longer for a round of bytes than the server lingers: 0.2 s. Who sends then is reset.
            found = one.rest(may_be_reset=is_slow_box())
            # Who has never called may be cut by the idle_timeout before, without a word.
            wanted: list[Answer] = [Result(3), Error(-32600)]
            if not number % 2:
                wanted = wanted[1 : len(found) + 1]
            assert len(found) == len(wanted), shown(found)
            assert all(fits(seen, want) for seen, want in zip(found, wanted, strict=True)), shown(found)


def crowd_of_idlers(peer: Peer, server: AttackedServer) -> None:
    """Many connections that do nothing take 16 KB each."""
    count = server.size(500, 200)
    assert peer.call("add", 1, 2) == 3
    before = server.ask("trimmed")
    crowd = [Peer(peer.url, peer.source) for _ in range(count)]
    try:
        for one in crowd:
            assert one.call("add", 1, 2) == 3
        limit = TLS_SIZE if peer.url.startswith("tls") else IDLE_SIZE
        size = (server.ask("trimmed")["rss"] - before["rss"]) / count
        assert size <= limit, f"{size / 1024:.1f} KB each"
    finally:
        for one in crowd:
            one.close()


def silent_and_slow_ones(peer: Peer, server: AttackedServer) -> None:
    """Who says nothing is cut, here after 0.4 s; nobody else is.

    Not who called once and listens, not who waits for its first call, and not who has always begun a message but never
    takes 0.3 s, the message_timeout, for one.
    """
    gate = fresh("first call")
    data = line("echo", "x" * 1000)
    with Peer(peer.url) as nobody, Peer(peer.url) as waiting, Peer(peer.url) as busy:
        start = time.monotonic()
        assert peer.call("add", 1, 2) == 3
        assert waiting.send(line("wait_at", gate))
        assert busy.send(data[:1])
        while time.monotonic() < start + 0.6:
            busy.pause(0.05)
            assert busy.send(data[1:] + data[:1])
            assert busy.answer()["result"] == "x" * 1000
            nobody.read_more(0.0)
            assert not nobody.ended or time.monotonic() > start + 0.35, "cut before its time"
        nobody.rest(patience(0.5))  # an error may come before the end
        assert not peer.read_more(0.0), "the silent subscriber was cut"
        assert not waiting.read_more(0.0), "the waiting caller was cut"
        server.ask("open_gate", gate)
        assert waiting.answer()["result"] == gate


def leaves_all(peer: Peer, server: AttackedServer) -> None:
    """Call what never returns and leave in order; the handler_timeout is 0.3 s here."""
    before = accepted(server, peer)
    assert peer.send(SLEEPS * 64)
    peer.shutdown_write()
    peer.close()
    assert gone_after(server, before) < patience(1.0)
    assert gone_after(server, before, "running") < patience(0.1)


SLEEPS = line("sleep", FOR_EVER)

CASES = [
    Case(50, "300 tricklers", tricklers, kind="brief", records=310, source="127.0.0.50", outcome=Outcome.GONE),
    Case(50, "500 idle connections", crowd_of_idlers, source="127.0.0.50"),
    Case(50, "silent peers and slow ones", silent_and_slow_ones, kind="brief", records=2),
    Case(61, "a handler that never returns", SLEEPS, (Error(-102, 1),), kind="impatient"),
    Case(61, "64 of them, and their caller has left", leaves_all, kind="impatient", outcome=Outcome.GONE),
]
