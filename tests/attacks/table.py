# SPDX-License-Identifier: MIT
"""How a hostile case is written down, and how it is played."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from tests.attacks.attacked import MEGA, AttackedServer, Waited
from tests.attacks.raw import Peer
from tests.promptness import is_slow_box

# Cases in which handlers fail: only they may have tracebacks logged.
FAILING = {20, 22, 23, 26, 44, 57, 58, 59, 61, 80}
STREAMS = ("tcp", "unix", "tls")
WEBSOCKETS = ("ws", "wss")
TRANSPORTS = (*STREAMS, *WEBSOCKETS, "udp")
# How long a bystander may wait, in seconds, on a quiet machine: in any case, and in those that anybody can think of.
WAIT, BRISK = 0.25, 0.1


class Outcome(Enum):
    """What becomes of the connection."""

    KEEP = "KEEP"  # it answers the next good call
    END = "END"  # the answers, then EOF, and no reset
    DROP = "DROP"  # closed or reset, and nothing said
    GONE = "GONE"  # the attacker left


@dataclass(frozen=True)
class Result:
    """A result is wanted; type-exact."""

    value: object
    id: object = 1


@dataclass(frozen=True)
class Error:
    """An error is wanted; *text* is part of its message."""

    code: int
    id: object = None
    text: str = ""


@dataclass(frozen=True)
class Together:
    """One array with these members is wanted, in any order."""

    members: tuple[Result | Error, ...]

    def __init__(self, *members: Result | Error) -> None:
        object.__setattr__(self, "members", members)


Answer = Result | Error | Together
Play = Callable[[Peer, AttackedServer], object]


@dataclass(frozen=True)
class Case:
    """One row: what is sent, and what has to come of it.

    Attributes:
        number: That of the case in the spec.
        name: What is special about it.
        play: The bytes to send, or a function that plays the attack and checks what it can.
        answers: What comes back then, in order; nothing else may.
        outcome: What becomes of the connection.
        kind: Which server is attacked.
        growth: How far the server's memory may grow, in bytes.
        records: How many log records the server may write.
        seconds: How long the answers may take.
        wait: How many seconds a bystander may wait; more on a slow box.
        transports: Over what it makes sense.
        source: The address that the attacker comes from, where a whole address is refused afterwards.
        is_alone: The attack would spoil the server for others: it gets one of its own.
        ends_server: The attack ends the server: it gets one of its own, and nothing is measured.
        files: With `is_alone`, how many files that one may open once it listens; 0 = as usual.
        also: The number of one more case of the spec that this plays.
    """

    number: int
    name: str
    play: bytes | Play
    answers: tuple[Answer, ...] = ()
    outcome: Outcome = Outcome.KEEP
    kind: str = "v2"
    growth: int = 24 * MEGA
    records: int = 1
    seconds: float = 10.0
    wait: float = WAIT
    transports: tuple[str, ...] = STREAMS
    source: str | None = None
    is_alone: bool = False
    ends_server: bool = False
    files: int = 0
    also: int | None = None

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def numbers(self) -> set[int]:
        return {self.number} if self.also is None else {self.number, self.also}


def loop_of(number: int, transport: str, loops: Sequence[str]) -> str:
    """Return on which loop a case is played over a transport when it is not to be played on all of them."""
    return loops[(number + TRANSPORTS.index(transport)) % len(loops)]


def exactly(seen: object, wanted: object) -> bool:
    """Return whether two JSON values are equal in value and in type, all the way down."""
    if type(seen) is not type(wanted):
        return False
    if isinstance(seen, dict) and isinstance(wanted, dict):
        return seen.keys() == wanted.keys() and all(exactly(seen[key], wanted[key]) for key in seen)
    if isinstance(seen, list) and isinstance(wanted, list):
        return len(seen) == len(wanted) and all(map(exactly, seen, wanted))
    return seen == wanted


def fits(seen: Any, wanted: Answer, kind: str = "v2") -> bool:
    """Return whether *seen* is the answer that is wanted."""
    if isinstance(wanted, Together):
        if not isinstance(seen, list) or len(seen) != len(wanted.members):
            return False
        left = list(seen)
        for member in wanted.members:
            found = next((one for one in left if fits(one, member, kind)), None)
            if found is None:
                return False
            left.remove(found)
        return True
    if not isinstance(seen, dict) or not exactly(seen.get("id", "missing"), wanted.id):
        return False
    if kind == "v1":
        other = "error" if isinstance(wanted, Result) else "result"
        if seen.keys() != {"result", "error", "id"} or seen[other] is not None:
            return False
    elif seen.keys() != {"jsonrpc", "id", "result" if isinstance(wanted, Result) else "error"}:
        return False
    if isinstance(wanted, Result):
        return exactly(seen["result"], wanted.value)
    return exactly(seen["error"].get("code"), wanted.code) and wanted.text in seen["error"]["message"]


def shown(seen: object) -> str:
    text = repr(seen)
    return text if len(text) < 500 else f"{text[:500]}... ({len(text)} characters)"


def check_answers(peer: Peer, *wanted: Answer, kind: str = "v2", patience: float = 10.0) -> None:
    """Read as many messages as are wanted, and see that they are these."""
    for one in wanted:
        seen = peer.answer(patience)
        assert fits(seen, one, kind), f"wanted {one}, got {shown(seen)}"


def check_keep(peer: Peer, kind: str = "v2") -> None:
    """See that the connection answers the next good call, and says nothing else before."""
    version = b"" if kind == "v1" else b'"jsonrpc":"2.0",'
    assert peer.send(peer.wrapped(b'{%b"method":"add","params":[40,2],"id":"probe"}\n' % version))
    seen = peer.answer()
    assert fits(seen, Result(42, "probe"), "v1" if "error" in seen and "result" in seen else "v2"), shown(seen)


def check_end(peer: Peer) -> None:
    """See that the connection is closed in order, with nothing else said."""
    seen = peer.rest()
    assert seen == [], f"wanted EOF, got {shown(seen)}"


def check_drop(peer: Peer) -> None:
    """See that the connection is closed or reset without a word; over TLS an alert may be one."""
    while not (peer.ended or peer.was_reset):
        assert peer.read_more(10), "still open"
    assert not peer.received, f"{peer.received} bytes came back"


def play_case(case: Case, server: AttackedServer, transport: str, *, rests: bool = False) -> dict[str, float]:
    """Play a case and check all that it asks for; return what was measured.

    When a bystander waited too long it is played once more: what a case does, it does again, and other programs of this
    machine do not.
    """
    try:
        return play_once(case, server, transport, rests=rests)
    except Waited:
        return play_once(case, server, transport, rests=rests)


def play_once(case: Case, server: AttackedServer, transport: str, *, rests: bool) -> dict[str, float]:
    if case.ends_server:
        start = time.monotonic()
        with server.another(is_doomed=True) as doomed, doomed.peer(case.kind, transport) as peer:
            assert callable(case.play)
            case.play(peer, doomed)
        return {"growth": 0, "seconds": time.monotonic() - start}
    if case.is_alone:
        with server.another(files=case.files, has_packets=case.kind.startswith(("packets", "datagrams"))) as other:
            return play_once(replace(case, is_alone=False), other, transport, rests=rests)
    with (
        server.standing(growth=case.growth, records=case.records, wait=case.wait, rests=rests) as seen,
        server.peer(case.kind, transport, case.source) as peer,
    ):
        start = time.monotonic()
        if isinstance(case.play, bytes):
            peer.send(case.play)
        else:
            case.play(peer, server)
        check_answers(peer, *case.answers, kind=case.kind)
        took = time.monotonic() - start
        assert took <= case.seconds * (4 if is_slow_box() else 1), f"answered after {took * 1000:.0f} ms"
        if case.outcome is Outcome.KEEP:
            check_keep(peer, case.kind)
        elif case.outcome is Outcome.END:
            check_end(peer)
        elif case.outcome is Outcome.DROP:
            check_drop(peer)
    if case.number not in FAILING:
        assert not seen["tracebacks"], server.ask("records")[-5:]
    return {**seen, "seconds": took}
