# SPDX-License-Identifier: MIT
"""Case 73: datagrams of every size, from more addresses than there is room for, and from peers that are gone."""

import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases_load import gone_after
from tests.attacks.cases_packets import case
from tests.attacks.raw import PATIENCE, Peer

LONGEST = 65507  # bytes of a UDP datagram
MAX_PEERS = 1024


def check_datagram(peer: Peer, packet: bytes = b"probe", wanted: bytes | None = None) -> None:
    """See that *packet* comes back, or *wanted* in its place."""
    peer.sock.setblocking(True)
    peer.sock.settimeout(PATIENCE)
    peer.sock.send(packet)
    seen = peer.sock.recv(1 << 16)
    assert seen == (packet if wanted is None else wanted), f"{len(seen)} bytes: {seen[:50]!r}"


def every_size(peer: Peer, _server: AttackedServer) -> None:
    for size in (0, 1, 1472, 1473, 9000, LONGEST):
        check_datagram(peer, b"x" * size)
    # The server's own is refused where it is sent.
    check_datagram(peer, b"too much", b"EMSGSIZE")
    check_datagram(peer)


def one_that_is_cut_off(peer: Peer, server: AttackedServer) -> None:
    """On a Unix socket one may be longer than there is room for: it is dropped and counted, and never handed out."""
    path = server.urls["datagrams"]["unix"].removeprefix("unix-dgram://")
    before = server.ask("datagram_figures", "unix")
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(Path(folder) / "attacker"))
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # as much as the system lets it have
        sock.connect(path)
        sock.send(b"y" * 300_000)
        sock.send(b"behind it")
        assert sock.recv(1 << 17) == b"behind it"
    after = server.ask("datagram_figures", "unix")
    assert after["dropped"] == before["dropped"] + 1, after
    check_datagram(peer)


def received(server: AttackedServer, before: dict[str, int], count: int) -> dict[str, int]:
    """Return the figures of the server when it has received so many more than *before*."""
    until = time.monotonic() + PATIENCE
    while (now := server.ask("datagram_figures", "udp"))["received"] - before["received"] < count:
        assert time.monotonic() < until, now
    found: dict[str, int] = now
    return found


def flood(peer: Peer, server: AttackedServer) -> None:
    """Come from 10 000 ports, each with a packet whose handler waits: no more than 1024 are remembered at once."""
    before, figures = server.ask("datagram_figures", "udp"), server.figures()
    host, _, port = peer.url.removeprefix("udp://").rpartition(":")
    count = server.size(10_000, 3000)
    server.ask("hold_datagrams")
    now = before
    try:
        for number in range(1, count + 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"wait", (host, int(port)))
            if not number % 100:  # the system has room for some hundreds that the server has not read
                now = received(server, before, number)
        assert now["peers"] == MAX_PEERS, now
        assert now["dropped"] - before["dropped"] > 100, now
    finally:
        server.ask("let_datagrams_go")
    gone_after(server, figures)
    check_datagram(peer)  # and what was refused to them is given to others again


def gone_before_the_answer(peer: Peer, server: AttackedServer) -> None:
    """Leave before the answer comes: the ICMP error that it meets is nobody else's trouble."""
    host, _, port = peer.url.removeprefix("udp://").rpartition(":")
    for _ in range(200):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"nobody hears the answer", (host, int(port)))
    check_datagram(peer)
    assert server.ask("datagram_figures", "udp")["faulty"] == 0


def too_many_of_one(peer: Peer, server: AttackedServer) -> None:
    """Send 1000 at once from one address, of which the first waits: 16 wait behind it, the others are dropped."""
    before, figures = server.ask("datagram_figures", "udp"), server.figures()
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        host, _, port = peer.url.removeprefix("udp://").rpartition(":")
        sock.connect((host, int(port)))
        server.ask("hold_datagrams")
        sock.send(b"wait")
        try:
            for number in range(1000):
                sock.send(b"%d" % number)
                if not number % 100:
                    received(server, before, number + 2)
            check_datagram(peer)  # another one is not kept waiting
        finally:
            server.ask("let_datagrams_go")
        gone_after(server, figures)
        sock.settimeout(PATIENCE)
        # On trio the first has to wait as well until its handler starts.
        assert [sock.recv(100) for _ in range(16)] == [b"wait", *(b"%d" % number for number in range(15))]
    assert server.ask("datagram_figures", "udp")["dropped"] > before["dropped"]


UDP: dict[str, Any] = {"kind": "datagrams", "transports": ("udp",), "records": 4}
CASES = [
    case(73, "datagrams of every size", every_size, **UDP),
    case(73, "one longer than there is room for", one_that_is_cut_off, **UDP),
    case(73, "10k source ports", flood, **UDP),
    case(73, "senders that are gone before the answer", gone_before_the_answer, **UDP),
    case(73, "1000 at once from one address", too_many_of_one, **UDP),
]
