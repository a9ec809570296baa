# SPDX-License-Identifier: MIT
"""Cases 11-16, and some of lines over other framings: Content-Length headers, and a length of four bytes."""

from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.cases_bytes import GREETING, TEXT, sized
from tests.attacks.cases_foreign import BODY, HTTP, client_hello
from tests.attacks.framings import FRAMERS
from tests.attacks.raw import Peer, line
from tests.attacks.table import Case, Error, Outcome, Result, check_answers, check_end

MARK = line("mark", "by a broken frame").removesuffix(b"\n")
HEADER = b"Content-Length: %d\r\n\r\n" % len(MARK)
TOO_LARGE = "message too large (limit 1048576)"


def broken(number: int, name: str, data: bytes, *answers: Error, kind: str = "headers", growth: int = 6 * MEGA) -> Case:
    """Return a case of bytes that end the connection, by the last of the answers, and carry nothing out."""

    def play(peer: Peer, server: AttackedServer) -> None:
        server.ask("marked")
        peer.send(data + peer.wrapped(MARK))
        check_answers(peer, *answers)
        check_end(peer)
        assert server.ask("marked") == []

    return Case(number, name, play, outcome=Outcome.END, kind=kind, growth=growth)


def length(name: str, value: bytes, text: str = "Content-Length must be 1 to 10 digits") -> Case:
    data = b"Content-Length: " + value + b"\r\n\r\n" + MARK
    return broken(11, f"Content-Length: {name}", data, Error(-32700, text=text))


def block(name: str, data: bytes, text: str) -> Case:
    return broken(13, name, data, Error(-32700, text=text))


def content_type(value: bytes, text: str) -> Case:
    data = b"Content-Type: " + value + b"\r\n" + HEADER + MARK
    return broken(15, f"Content-Type: {value.decode()}", data, Error(-32700, text=text))


def cut_off(kind: str) -> Case:
    def play(peer: Peer, server: AttackedServer) -> None:
        server.ask("marked")
        assert peer.call("add", 1, 2) == 3  # so the connection is accepted
        before = server.figures()
        assert peer.send(peer.wrapped(MARK)[:-1])
        peer.shutdown_write()
        assert peer.rest() == []
        server.settled_like({**before, "sessions": before["sessions"] - 1})
        assert server.ask("marked") == []

    return Case(14, f"{kind}: a length larger than what comes, then EOF", play, outcome=Outcome.GONE, kind=kind)


# --- the cases of lines that make sense over any framing -----------------------------------------------------------


def every_cut(peer: Peer, _server: AttackedServer) -> None:
    greeting = peer.wrapped(GREETING)
    for cut in range(1, len(greeting)):
        assert peer.send(greeting[:cut])
        peer.pause(0.0005)
        assert peer.send(greeting[cut:])
        check_answers(peer, Result(TEXT))


def many_calls(peer: Peer, _server: AttackedServer) -> None:
    assert peer.send(peer.wrapped(*(line("add", number, 1, id=number) for number in range(2000))))
    found = {answer["id"]: answer["result"] for answer in (peer.answer() for _ in range(2000))}
    assert found == {number: number + 1 for number in range(2000)}


def at_the_limit(peer: Peer, _server: AttackedServer) -> None:
    for size in (MEGA - 1, MEGA):
        assert peer.send(peer.wrapped(sized(size)))
        assert isinstance(peer.answer()["result"], int)
    text = "e" * 800_000
    assert peer.call("echo", text) == text


def over_the_limit(peer: Peer, server: AttackedServer) -> None:
    server.ask("marked")
    peer.send(peer.wrapped(sized(MEGA + 1), MARK))
    check_answers(peer, Error(-32600, text=TOO_LARGE))
    check_end(peer)
    assert server.ask("marked") == []


def empty_then_good(peer: Peer, _server: AttackedServer) -> None:
    for _ in range(3):
        assert peer.send(peer.wrapped(b""))
        check_answers(peer, Error(-32700))
        assert peer.call("add", 1, 2) == 3


def http(kind: str) -> Case:
    """Return case 18 where the first line alone is no drop, but an end: nothing of it is carried out either way."""

    def play(peer: Peer, server: AttackedServer) -> None:
        server.ask("marked")
        peer.send(HTTP % (len(BODY), BODY))
        check_answers(peer, Error(-32700 if kind == "headers" else -32600))
        check_end(peer)
        assert server.ask("marked") == []

    return Case(18, f"{kind}: HTTP POST with a call as its body", play, outcome=Outcome.END, kind=kind)


def over(kind: str) -> list[Case]:
    return [
        Case(1, f"{kind}: cut at every offset", every_cut, kind=kind),
        Case(2, f"{kind}: 2000 calls in one write", many_calls, kind=kind),
        Case(5, f"{kind}: max - 1, max, an echo of 800 KB", at_the_limit, kind=kind),
        Case(5, f"{kind}: max + 1", over_the_limit, outcome=Outcome.END, kind=kind),
        cut_off(kind),
        Case(16, f"{kind}: length 0, which is no JSON", empty_then_good, kind=kind),
        http(kind),
    ]


CASES = [
    *(case for kind in FRAMERS for case in over(kind)),
    length("-5", b"-5"),
    length("abc", b"abc"),
    length("+17", b"+%d" % len(MARK)),
    length("1_7", b"1_7"),
    length("0x11", b"0x11"),
    length("17 with 5000 leading zeros", b"0" * 5000 + b"17"),
    length("empty", b""),
    length("two, and different", b"2\r\nContent-Length: 3", "Content-Length came twice"),
    length("two, and equal", b"2\r\nContent-Length: 2", "Content-Length came twice"),
    broken(11, "no Content-Length", b"X: y\r\n\r\n" + MARK, Error(-32700, text="no Content-Length")),
    broken(
        12, "Content-Length: 99999999999", b"Content-Length: 99999999999\r\n\r\n", Error(-32700, text="Content-Length")
    ),
    broken(12, "Content-Length: 9999999999", b"Content-Length: 9999999999\r\n\r\n", Error(-32600, text=TOO_LARGE)),
    block("a header block of 5 MB", b"X: " + b"y" * 5_000_000, "header block over 8192 bytes"),
    block("10 000 headers", b"X: y\r\n" * 10_000, "over 32 headers"),
    block("bare LF", HEADER.replace(b"\r\n", b"\n") + MARK, "bare LF"),
    block("a space before the colon", HEADER.replace(b":", b" :") + MARK, "before the colon"),
    block("a header continuation", b"X: y\r\n " + HEADER + MARK, "continued"),
    broken(
        *(14, "a length smaller than the JSON", b"Content-Length: 9\r\n\r\n" + MARK + b"\r\n\r\n"),
        *(Error(-32700), Error(-32700, text="header line")),
    ),
    content_type(b"application/json; charset=utf-7", "utf-7"),
    content_type(b"application/vscode-jsonrpc; charset=utf-16", "utf-16"),
    content_type(b"text/html", "text/html"),
    broken(16, "length 2^32-1", b"\xff\xff\xff\xff" + MARK, Error(-32600, text=TOO_LARGE), kind="prefixed"),
    Case(17, "headers: a TLS ClientHello", client_hello(), outcome=Outcome.DROP, kind="headers"),
]
