# SPDX-License-Identifier: MIT
"""The packet forms of cases 1-10, 45, 50-52 and 71: the same against servers that send packets back."""

import array
import json
import os
import random
import select
import socket
import time
from contextlib import ExitStack
from typing import Any

from tests.attacks.attacked import MEGA, AttackedServer, Figures
from tests.attacks.cases_bytes import HALF_CLOSING
from tests.attacks.cases_crowds import come_and_go
from tests.attacks.cases_load import gone_after, patience
from tests.attacks.cases_waits import IDLE_SIZE, TLS_SIZE
from tests.attacks.raw import Peer
from tests.attacks.table import BRISK, Case, Outcome, Play

TEXT = json.dumps({"text": "Grüße, 世界 \U0001f600"}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
TOO_LONG = "LimitOverrunError: "


def check_echo(peer: Peer, wire: bytes = b'"probe"\n', wanted: bytes | None = None, patience: float = 10.0) -> None:
    """See that *wire* comes back, or *wanted* in its place, and nothing else before."""
    wanted = wire if wanted is None else wanted
    assert peer.send(wire)
    seen = peer.take(len(wanted), patience)
    assert seen == wanted, f"{seen[:100]!r} in place of {wanted[:100]!r}"


def accepted(server: AttackedServer, peer: Peer) -> Figures:
    """Return the figures as they were without the peer, which has been accepted by now."""
    check_echo(peer)
    figures = server.figures()
    return {**figures, "sessions": figures["sessions"] - 1}


def packets_seen(server: AttackedServer) -> dict[str, int]:
    """Return what the servers have seen go wrong since the last look."""
    found: dict[str, int] = server.ask("packets_seen")
    return found


def faults(server: AttackedServer, count: int) -> dict[str, int]:
    """Return so many faults, once all of them have been seen; the ends of other connections are none."""
    found: dict[str, int] = {}
    until = time.monotonic() + 10
    while sum(found.values()) < count:
        assert time.monotonic() < until, found
        for name, more in packets_seen(server).items():
            if ":" in name:
                found[name] = found.get(name, 0) + more
    return found


# --- 1-10 ------------------------------------------------------------------------------------------------------------


def one_byte_per_segment(peer: Peer, _server: AttackedServer) -> None:
    for index in range(len(TEXT)):
        assert peer.send(TEXT[index : index + 1])
        peer.pause(0.002)
    assert peer.take(len(TEXT)) == TEXT


def every_cut(peer: Peer, _server: AttackedServer) -> None:
    for cut in range(1, len(TEXT)):
        assert peer.send(TEXT[:cut])
        peer.pause(0.0005)
        check_echo(peer, TEXT[cut:], TEXT)


def many_at_once(peer: Peer, _server: AttackedServer) -> None:
    check_echo(peer, b"".join(b"[%d]\n" % number for number in range(2000)))


def endless_packet(peer: Peer, _server: AttackedServer) -> None:
    """Send 100 MB without a delimiter; the server closes when the limit is passed."""
    chunk = b"x" * (1 << 18)
    while peer.sent < 100_000_000 and not (peer.ended or peer.was_reset) and peer.send(chunk):
        pass
    # The kernel's buffers hold some MB more than the server has seen.
    assert peer.sent < 30_000_000, f"{peer.sent} bytes were taken"
    assert not peer.received


def too_long_then_good(peer: Peer, server: AttackedServer) -> None:
    packets_seen(server)
    check_echo(peer, b"y" * 5_000_000 + b"\n[1]\n", b"[1]\n")
    (fault,) = faults(server, 1)
    assert fault.startswith(TOO_LONG), fault


def around_the_limit(peer: Peer, server: AttackedServer) -> None:
    packets_seen(server)
    longest = b'"' + b"z" * (MEGA - 2) + b'"'
    check_echo(peer, longest[1:].replace(b"z", b'"', 1) + b"\n")  # max - 1
    check_echo(peer, longest + b"\n")
    check_echo(peer, b" " + longest + b"\n[2]\n", b"[2]\n")
    (fault,) = faults(server, 1)
    assert fault.startswith(TOO_LONG), fault


def too_long_an_answer(peer: Peer, _server: AttackedServer) -> None:
    check_echo(peer, b"\x08too much", b"\x07refused")
    check_echo(peer, b"\xff" + bytes(255))


def empty_lines(peer: Peer, _server: AttackedServer) -> None:
    check_echo(peer, b"\r\n" * 1000)
    check_echo(peer, b"line\r\n")


def half_a_packet(*, reset: bool) -> Play:
    def play(peer: Peer, server: AttackedServer) -> None:
        before = accepted(server, peer)
        packets_seen(server)
        assert peer.send(TEXT[:-5])
        if reset:
            peer.reset()
        else:
            peer.shutdown_write()
            assert peer.rest() == []
        gone_after(server, before)
        ends = packets_seen(server)
        assert not any(":" in name for name in ends), ends  # it was no packet, and no faulty one
        assert sum(ends.values()) == 1, ends

    return play


def half_closed(peer: Peer, _server: AttackedServer) -> None:
    packets = b"".join(b"[%d]\n" % number for number in range(20_000))
    assert peer.send(packets)
    peer.shutdown_write()
    assert peer.take(len(packets), 30) == packets
    assert peer.rest() == []


NONSENSE = {
    "1 MB of random bytes": random.Random(10).randbytes(1_000_000) + b"\n",
    "UTF-16": '{"a": 1}\n'.encode("utf-16-le") * 500,
    "byte order marks": b"\xef\xbb\xbf{}\n" * 500,
    "500 times 500 NULs": (b"\0" * 500 + b"\n") * 500,
}


def nonsense(data: bytes) -> Play:
    def play(peer: Peer, server: AttackedServer) -> None:
        packets_seen(server)
        peer.send(data)
        while not (peer.ended or peer.was_reset):
            assert peer.read_more(10), "still open"
        assert not peer.received
        found = faults(server, 50)
        assert not any(name.startswith("LimitOverrunError") for name in found), found

    return play


# --- 45, 50-52, 71 ---------------------------------------------------------------------------------------------------


def asks_for_much(peer: Peer, server: AttackedServer) -> None:
    """Ask for 400 MB of packets and read none; the write_timeout is 0.5 s here."""
    before = accepted(server, peer)
    assert peer.send(b'"flood"\n', reads=False)
    assert gone_after(server, before) < patience(2.0)


def tricklers(peer: Peer, server: AttackedServer) -> None:
    """Many peers send a byte of one packet now and then; the message_timeout of 0.3 s cuts each of them."""
    before = server.figures()
    with ExitStack() as stack:
        crowd: list[Peer] = []
        for number in range(server.size(300, 40)):
            crowd.append(stack.enter_context(Peer(peer.url, peer.source)))
            crowd[-1].send(b"[1]\n" * (number % 2) + b'"')
        start = time.monotonic()
        while server.figures()["sessions"] > before["sessions"]:
            assert time.monotonic() < start + patience(1.5), "they are still there"
            for one in crowd:
                if not one.is_refused:
                    one.send(b"x")
            peer.pause(0.03)
        for number, one in enumerate(crowd):
            while not (one.ended or one.was_reset):
                assert one.read_more(10), "still open"
            assert one.received <= 4 * (number % 2)  # what had come goes down with a reset


def crowd_of_idlers(peer: Peer, server: AttackedServer) -> None:
    """Many connections that do nothing take 16 KB each."""
    count = server.size(500, 200)
    check_echo(peer)
    before = server.ask("trimmed")
    with ExitStack() as stack:
        crowd = [stack.enter_context(Peer(peer.url, peer.source)) for _ in range(count)]
        for one in crowd:
            check_echo(one)
        limit = TLS_SIZE if peer.url.startswith("tls") else IDLE_SIZE
        size = (server.ask("trimmed")["rss"] - before["rss"]) / count
        assert size <= limit, f"{size / 1024:.1f} KB each"


def thousands_of_connects(peer: Peer, server: AttackedServer) -> None:
    """Come and go thousands of times, hundreds at once, and leave nothing; none is refused."""
    before = accepted(server, peer)
    before["sessions"] += 1
    for _ in range(server.size(20, 4)):
        come_and_go(peer, 250)
        assert gone_after(server, before) < patience(1.0)
    check_echo(peer)


def no_descriptors_left(peer: Peer, server: AttackedServer) -> None:
    """Take every descriptor that the server may open; it may open 20 here, and those that come wait to be accepted."""
    check_echo(peer)
    before = server.ask("record_count")
    with ExitStack() as stack:
        crowd = [stack.enter_context(Peer(peer.url, peer.source, handshake=False)) for _ in range(40)]
        start, spent = time.monotonic(), server.ask("cpu")
        select.select([], [], [], server.size(20, 5) / 10)
        share = (server.ask("cpu") - spent) / (time.monotonic() - start)
        assert share < 0.2, f"{share:.0%} of a core while no descriptor is left"
        check_echo(peer)
        for one in crowd[:30]:
            one.close()
        start = time.monotonic()
        check_echo(stack.enter_context(Peer(peer.url, peer.source)))
        took = time.monotonic() - start
        assert took <= patience(1.0), f"served {took:.1f} s after descriptors came back"
    told = [record for record in server.ask("records", before) if "no TLS" not in record and " DEBUG: " not in record]
    assert len(told) == 1, told


def passes_descriptors(peer: Peer, server: AttackedServer) -> None:
    """Pass 250 descriptors with a packet: nobody asked for them, and none is received."""
    check_echo(peer)
    before = server.figures()["fds"]
    given = [os.dup(0) for _ in range(250)]
    try:
        peer.sock.sendmsg([b"[71]\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))])
    finally:
        for fd in given:
            os.close(fd)
    assert peer.take(5) == b"[71]\n"
    assert server.figures()["fds"] == before
    check_echo(peer)


def case(number: int, name: str, play: Play, kind: str = "packets", **rest: Any) -> Case:
    """Return a case that plays all of the attack by itself.

    Four records are written of each connection: that it came, why it was cut, that it went, that its handler ended.
    """
    settings: dict[str, Any] = {"outcome": Outcome.GONE, "records": 4, **rest}
    return Case(number, name, play, kind=kind, **settings)


CASES = [
    case(1, "a packet, one byte per segment", one_byte_per_segment),
    case(1, "a packet cut at every offset", every_cut),
    case(2, "2000 packets in one write", many_at_once),
    case(3, "a packet of 100 MB", endless_packet, "packets-strict", growth=6 * MEGA, wait=BRISK),
    case(4, "a packet of 5 MB, then a good one", too_long_then_good),
    case(5, "packets of max - 1, max, max + 1 bytes", around_the_limit),
    case(6, "an answer over the limit", too_long_an_answer, "packets-short"),
    case(7, "1000 empty lines", empty_lines, "packets-text", seconds=0.5),
    case(8, "half a packet, then FIN", half_a_packet(reset=False)),
    case(8, "half a packet, then RST", half_a_packet(reset=True)),
    case(9, "20k packets, then FIN", half_closed, transports=HALF_CLOSING),
    *(case(10, f"{name} for packets", nonsense(data)) for name, data in NONSENSE.items()),
    case(45, "400 MB of packets", asks_for_much, "packets-hasty"),
    case(50, "300 tricklers of packets", tricklers, "packets-brief", records=1300, source="127.0.0.50"),
    case(50, "500 idle packet clients", crowd_of_idlers, records=2100, source="127.0.0.50"),
    case(51, "5000 connects of packet clients", thousands_of_connects, records=21_000, source="127.0.0.51"),
    case(
        52,
        "no descriptors left for packet clients",
        no_descriptors_left,
        is_alone=True,
        files=20,
        records=200,
        source="127.0.0.52",
    ),
    case(71, "250 descriptors beside a packet", passes_descriptors, transports=("unix",)),
]
