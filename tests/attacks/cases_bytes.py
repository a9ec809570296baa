# SPDX-License-Identifier: MIT
"""Cases 1-10: bytes and framing."""

import random

from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.raw import Peer, line
from tests.attacks.table import BRISK, Case, Error, Outcome, Result, check_answers, fits, shown

HALF_CLOSING = ("tcp", "unix")  # over TLS the end of one direction ends both

TEXT = "Grüße, 世界 \U0001f600"
GREETING = line("echo", TEXT)


def one_byte_per_segment(peer: Peer, _server: AttackedServer) -> None:
    for index in range(len(GREETING)):
        assert peer.send(GREETING[index : index + 1])
        peer.pause(0.002)


def every_cut(peer: Peer, _server: AttackedServer) -> None:
    for cut in range(1, len(GREETING)):
        assert peer.send(GREETING[:cut])
        peer.pause(0.0005)
        assert peer.send(GREETING[cut:])
        check_answers(peer, Result(TEXT))


def many_calls(method: str) -> Case:
    def play(peer: Peer, _server: AttackedServer) -> None:
        assert peer.send(b"".join(line(method, number, 1, id=number) for number in range(2000)))
        answers = [peer.answer() for _ in range(2000)]
        found = {answer["id"]: answer["result"] for answer in answers}
        assert found == {number: number + 1 for number in range(2000)}

    return Case(2, f"2000 calls of {method} in one write", play)


def endless_line(peer: Peer, _server: AttackedServer) -> None:
    """Send 100 MB without a delimiter; the error comes when the limit is passed, while the client is still sending."""
    chunk = b"x" * (1 << 18)
    told_after = 0
    while peer.sent < 100_000_000 and peer.send(chunk):
        told_after = told_after or (peer.received and peer.sent)
    # The kernel's buffers hold some MB more than the server has seen.
    assert 0 < told_after < 30_000_000, f"the answer came after {told_after} of {peer.sent} bytes"
    check_answers(peer, Error(-32600, text="message too large (limit 1048576)"))
    assert peer.ended, "no EOF while the client was sending"


def too_long_then_good(peer: Peer, server: AttackedServer) -> None:
    server.ask("marked")
    assert peer.send(b"y" * 5_000_000 + b"\n" + line("mark", "behind"))
    check_answers(peer, Error(-32600, text="message too large (limit 1048576)"))
    assert server.ask("marked") == []


FRAME = len(line("size_of", "")) - 1


def sized(size: int) -> bytes:
    """Return a call whose line is so many bytes long, the newline not counted."""
    return line("size_of", "z" * (size - FRAME))


def big_echo(peer: Peer, _server: AttackedServer) -> None:
    text = "e" * 800_000
    assert peer.call("echo", text) == text


def half_a_message(*, reset: bool) -> Case:
    def play(peer: Peer, server: AttackedServer) -> None:
        assert peer.call("marked") is not None  # so the connection is accepted
        before = server.figures()
        assert peer.send(line("mark", "half")[:-5])
        if reset:
            peer.reset()
        else:
            peer.shutdown_write()
            assert peer.rest() == []
        after = server.settled_like({**before, "sessions": before["sessions"] - 1})
        assert after["tracebacks"] == before["tracebacks"]
        assert server.ask("marked") == []

    return Case(8, f"half a message, then {'RST' if reset else 'FIN'}", play, outcome=Outcome.GONE)


def full_line_half_closed(method: str, *params: object, wanted: object, extra: int = 0) -> Case:
    def play(peer: Peer, _server: AttackedServer) -> None:
        assert peer.send(line(method, *params))
        peer.shutdown_write()
        *notifications, answer = peer.rest()
        assert fits(answer, Result(wanted)), shown(answer)
        assert [one["params"] for one in notifications] == [[number] for number in range(extra)]

    return Case(9, f"{method}, then FIN: the answer, then EOF", play, outcome=Outcome.GONE, transports=HALF_CLOSING)


def many_calls_half_closed(peer: Peer, _server: AttackedServer) -> None:
    assert peer.send(b"".join(line("add_later", number, 1, id=number) for number in range(20_000)))
    peer.shutdown_write()
    found = peer.rest(30)
    assert len(found) == 20_000
    assert {one["id"]: one["result"] for one in found} == {number: number + 1 for number in range(20_000)}


def random_bytes(peer: Peer, _server: AttackedServer) -> None:
    peer.send(random.Random(10).randbytes(1_000_000))
    answers = peer.rest()
    assert len(answers) == 51, len(answers)
    assert all(fits(answer, Error(-32700)) for answer in answers), shown(answers)


CASES = [
    Case(1, "one byte per segment, 2 ms apart", one_byte_per_segment, (Result(TEXT),)),
    Case(1, "cut at every offset", every_cut),
    many_calls("add"),
    many_calls("add_later"),
    Case(3, "100 MB without a delimiter", endless_line, outcome=Outcome.END, growth=6 * MEGA, wait=BRISK),
    Case(4, "a line of 5 MB, then a valid call", too_long_then_good, outcome=Outcome.END),
    Case(5, "a message of max - 1 bytes", sized(MEGA - 1), (Result(MEGA - 1 - FRAME),)),
    Case(5, "a message of max bytes", sized(MEGA), (Result(MEGA - FRAME),)),
    Case(5, "a message of max + 1 bytes", sized(MEGA + 1), (Error(-32600, text="limit 1048576"),), Outcome.END),
    Case(5, "an echo of 800 KB", big_echo),
    Case(
        6, "an answer over the limit", line("text_of", MEGA), (Error(-32600, 1, "response too large (limit 1048576)"),)
    ),
    Case(7, "CRLF", line("add", 1, 2).replace(b"\n", b"\r\n"), (Result(3),)),
    Case(7, "1000 empty lines", b"\n" * 1000 + b"\r\n" * 1000 + line("add", 1, 2), (Result(3),), seconds=0.5),
    half_a_message(reset=False),
    half_a_message(reset=True),
    full_line_half_closed("add", 1, 2, wanted=3),
    full_line_half_closed("add_later", 1, 2, wanted=3),
    full_line_half_closed("sleep", 0.05, wanted="slept"),
    full_line_half_closed("text_of", 900_000, wanted="x" * 900_000),
    full_line_half_closed("notify_back", 20, wanted=20, extra=20),
    Case(9, "20k calls, then FIN", many_calls_half_closed, outcome=Outcome.GONE, transports=HALF_CLOSING),
    Case(10, "1 MB of random bytes", random_bytes, outcome=Outcome.GONE),
    Case(10, "UTF-16", line("add", 1, 2).decode().encode("utf-16-le") + b"\n", (Error(-32700), Error(-32700))),
    Case(10, "a byte order mark", b"\xef\xbb\xbf" + line("add", 1, 2), (Error(-32700),)),
    Case(10, "500 NULs", b"\0" * 500 + b"\n", (Error(-32700),)),
]
