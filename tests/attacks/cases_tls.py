# SPDX-License-Identifier: MIT
"""Cases 68 and 62 over TLS: no handshake, half a handshake, too many of them, and ends without a close_notify."""

import os
import random
import select
import subprocess
import time
from contextlib import ExitStack, suppress

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases_foreign import client_hello
from tests.attacks.cases_load import accepted, gone_after, patience
from tests.attacks.programs import program
from tests.attacks.raw import Peer, fresh, line
from tests.attacks.table import Case, Outcome, Play, check_keep

TLS = ("tls",)


def ended(peer: Peer, seconds: float) -> None:
    """See that the connection is over within so many seconds, alerts or not."""
    start = time.monotonic()
    while not (peer.ended or peer.was_reset):
        assert peer.read_more(10), "still open"
    took = time.monotonic() - start
    assert took <= patience(seconds), f"cut after {took:.2f} s"


def instead_of_a_handshake(name: str, input: bytes) -> Case:
    def play(peer: Peer, server: AttackedServer) -> None:
        server.ask("marked")
        before = accepted(server, peer)
        before = {**before, "sessions": before["sessions"] + 1}
        with Peer(peer.url, handshake=False) as other:
            other.send(input)
            ended(other, 0.25)
        gone_after(server, before)
        gone_after(server, before, "fds")
        assert server.ask("marked") == []

    return Case(68, name, play, transports=TLS, records=2)


def stalled(input: bytes) -> Play:
    """A hundred handshakes that do not go on: each is cut in time (0.4 s here, 20 at once); others get through."""

    def play(peer: Peer, server: AttackedServer) -> None:
        check_keep(peer)
        before = server.figures()
        start = time.monotonic()
        with ExitStack() as stack:
            crowd = [stack.enter_context(Peer(peer.url, peer.source, handshake=False)) for _ in range(100)]
            for one in crowd:
                one.send(input)
            check_keep(stack.enter_context(Peer(peer.url)))
            for one in crowd:
                ended(one, 1.0)
            took = time.monotonic() - start
            assert took < patience(1.0), f"the last was cut after {took:.2f} s"
        gone_after(server, before)

    return play


def trickled_handshake(peer: Peer, server: AttackedServer) -> None:
    """Send a ClientHello byte by byte: the handshake has its time as a whole."""
    check_keep(peer)
    start = time.monotonic()
    with Peer(peer.url, handshake=False) as other:
        for byte in client_hello():
            if not other.send(bytes([byte])) or other.ended:
                break
            other.read_more(0.01)
        ended(other, 1.0)
    took = time.monotonic() - start
    assert 0.3 < took < patience(1.0), f"cut after {took:.2f} s"


def garbage_behind_the_handshake(peer: Peer, server: AttackedServer) -> None:
    """Break in on the records: nothing of it is taken for data."""
    server.ask("marked")
    check_keep(peer)
    with suppress(OSError), peer.bare() as bare:
        bare.send(b"\x17\x03\x03\x00\x40" + b"g" * 0x40 + line("mark", "garbage"))
    ended(peer, 1.0)
    assert server.ask("marked") == []


def truncated(peer: Peer, server: AttackedServer) -> None:
    """End without a close_notify while the server waits for an answer: its caller learns the difference."""
    for cut, wanted in ((True, "TLSTruncated"), (False, "EndOfStream")):
        server.ask("marked")
        with Peer(peer.url) as other:
            assert other.send(line("mark_the_end"))
            assert "never answered" in [other.answer().get("method") for _ in range(2)]
            if cut:
                other.truncate()
            else:
                other.shutdown_write()
            ended(other, 1.0)
        until = time.monotonic() + 5
        while not (marked := server.ask("marked")):
            assert time.monotonic() < until, "the caller was not told"
        assert marked == [wanted]


def truncated_call(peer: Peer, server: AttackedServer) -> None:
    """End without a close_notify in the middle of a message: it is not executed."""
    server.ask("marked")
    assert peer.send(line("mark", "cut")[:-1])
    peer.truncate()
    ended(peer, 1.0)
    assert server.ask("marked") == []


def no_answer_to_close_notify(peer: Peer, server: AttackedServer) -> None:
    """Let the server close, and hold on: its tls_shutdown_timeout is 0.3 s here."""
    before = accepted(server, peer)
    assert peer.send(line("close_own"), reads=False)
    took = gone_after(server, before)
    assert took < patience(0.6), f"closed after {took:.2f} s"


def reset_while_closing(peer: Peer, server: AttackedServer) -> None:
    """Reset the connection while the server waits for our close_notify (5 s)."""
    before = accepted(server, peer)
    assert peer.send(line("close_own"), reads=False)
    peer.pause(0.1)
    peer.reset()
    took = gone_after(server, before)
    assert took < patience(0.05), f"noticed after {took:.2f} s"


def renegotiation(openssl: str, peer: Peer) -> None:
    """Ask once for a new handshake, by TLS 1.2: refused. The program takes that for a reason to leave."""
    place = peer.url.removeprefix("tls://")
    asking = subprocess.Popen(
        [openssl, "s_client", "-connect", place, "-tls1_2", "-legacy_renegotiation", "-brief"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with asking:
        assert asking.stdin is not None
        assert asking.stdout is not None
        asking.stdin.write(b"R\n")
        asking.stdin.flush()  # and no EOF, by which it would leave before it has the answer
        said = b""
        while select.select([asking.stdout], [], [], 10)[0] and (more := os.read(asking.stdout.fileno(), 65536)):
            said += more
        asking.kill()  # which changes nothing if it has left
    assert b"RENEGOTIATING" in said, said
    assert b"no renegotiation" in said, said
    assert asking.returncode == 1, asking.returncode


def renegotiations(peer: Peer, server: AttackedServer) -> None:
    """Ask for new handshakes, one client after another: each is refused, and that costs hardly more than to come."""
    openssl = program("openssl", "it is a package of that name on every system")
    count = server.size(100, 5)
    spent = server.ask("cpu")
    for _ in range(count):
        renegotiation(openssl, peer)
    share = (server.ask("cpu") - spent) / count
    assert share < patience(0.01), f"{share * 1000:.1f} ms of CPU for each"
    check_keep(peer)


def silent_then_served(peer: Peer, server: AttackedServer) -> None:
    """Handshakes of honest clients go on while a hundred others stall."""
    gate = fresh("honest")
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Peer(peer.url, peer.source, handshake=False))
        for _ in range(10):
            check_keep(stack.enter_context(Peer(peer.url)))
        assert peer.send(line("wait_at", gate))
        server.ask("open_gate", gate)
        assert peer.answer()["result"] == gate


HELLO = client_hello()

CASES = [
    instead_of_a_handshake("plain text at a TLS port", line("mark", "plain")),
    instead_of_a_handshake("HTTP at a TLS port", b"GET / HTTP/1.1\r\n\r\n"),
    instead_of_a_handshake("garbage at a TLS port", random.Random(68).randbytes(100_000)),
    instead_of_a_handshake("a ClientHello, then garbage", HELLO + b"\x16\x03\x03\x00\x20" + b"g" * 0x20),
    instead_of_a_handshake("a ClientHello of zeros", HELLO[:9] + bytes(len(HELLO) - 9)),
    Case(68, "100 handshakes that do not begin", stalled(b""), kind="brief", records=101, transports=TLS),
    Case(68, "100 handshakes that stop midway", stalled(HELLO), kind="brief", records=101, transports=TLS),
    Case(68, "100 handshakes cut within a record", stalled(HELLO[:50]), kind="brief", records=101, transports=TLS),
    Case(68, "honest clients beside 100 stalled ones", silent_then_served, records=101, transports=TLS),
    Case(68, "a handshake byte by byte", trickled_handshake, kind="brief", records=2, transports=TLS),
    Case(68, "garbage behind the handshake", garbage_behind_the_handshake, outcome=Outcome.GONE, transports=TLS),
    Case(68, "close_notify missing", truncated, records=2, transports=TLS),
    Case(68, "close_notify missing within a call", truncated_call, outcome=Outcome.GONE, transports=TLS),
    Case(68, "100 clients that want to renegotiate", renegotiations, transports=TLS),
    Case(62, "no answer to close_notify", no_answer_to_close_notify, (), Outcome.GONE, "hasty", transports=TLS),
    Case(62, "RST while TLS shuts down", reset_while_closing, outcome=Outcome.GONE, transports=TLS),
]
