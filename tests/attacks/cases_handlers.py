# SPDX-License-Identifier: MIT
"""Cases 57-61: what handlers do; their callers' side is in test_callers.py."""

from tests.attacks.attacked import AttackedServer
from tests.attacks.raw import Peer, line
from tests.attacks.table import Case, Error, Outcome, Result, check_answers, check_end, check_keep, fits, shown
from tests.promptness import prompt

EXCEPTIONS = ("ValueError", "StopIteration", "StopAsyncIteration", "TimeoutError", "MemoryError", "RecursionError")
OTHERS = ("ExceptionGroup", "ConnectionLost", "ClosedError")
BASES = ("CancelledError", "GeneratorExit", "OwnBase")
WAYS = ("raises", "raises_async", "raises_late")


def raising(number: int, method: str, name: str) -> Case:
    def play(peer: Peer, server: AttackedServer) -> None:
        before = server.figures()
        with server.peer() as other:
            assert other.send(line("sleep", 0.01, id="other"))
            assert peer.send(line("add_later", 1, 2, id=0) + line(method, name, id=1) + line("sleep", 0.01, id=2))
            found = [peer.answer() for _ in range(3)]
            check_answers(other, Result("slept", "other"))
            check_keep(other)
        for wanted in (Result(3, 0), Error(-32603, 1, "internal error"), Result("slept", 2)):
            assert any(fits(seen, wanted) for seen in found), shown(found)
        assert "secret" not in str(found)
        # At most one a second per method, whoever calls; tests/rpc/test_outcomes.py shows what is in it.
        assert server.figures()["records"] - before["records"] in (0, 1)

    return Case(number, f"{method} {name}", play, growth=40 << 20)


def closes_own(peer: Peer, server: AttackedServer) -> None:
    assert peer.send(line("close_own"))
    check_end(peer)


def disconnects(peer: Peer, _server: AttackedServer) -> None:
    assert peer.send(line("sleep", 0.02, id=1) + line("disconnect", "bye", id=2) + line("add", 1, 2, id=3))
    found = peer.rest()
    assert any(fits(seen, Result("bye", 2)) for seen in found), shown(found)
    assert any(fits(seen, Result("slept", 1)) for seen in found), shown(found)


def closed_by_ten(peer: Peer, server: AttackedServer) -> None:
    """A stubborn handler runs; ten tasks close the session at once, each with 0.2 s of grace."""
    server.ask("marked")
    assert peer.send(line("ignores_cancelling", 0.4, id=1) + line("close_by_ten", id=2))
    check_answers(peer, Result(0.2, 2))
    while not (peer.ended or peer.was_reset):  # cut, which TLS tells from an end in order
        assert peer.read_more(10)
    assert peer.take_line() is None
    took = server.ask("marked")
    while not took:
        took = server.ask("marked")
    assert 0.2 <= took[0] < prompt(0.5), took


RETURNED = ("object", "circular", "10^5000", "exception", "class")
STRICT = ("bytes", "set", "mixed keys", "nan")

CASES = [
    *(raising(57, method, name) for name in EXCEPTIONS + OTHERS for method in WAYS),
    *(raising(58, method, name) for name in BASES for method in WAYS),
    Case(58, "a handler cancels itself", line("cancels_itself"), (Error(-32603, 1),)),
    *(
        Case(59, f"{method} {name}", line(method, name), (Error(-32603, 1),))
        for name in RETURNED
        for method in ("returns", "returns_async")
    ),
    *(
        Case(59, f"returns {name}, strict codec", line("returns", name), (Error(-32603, 1),), kind="strict")
        for name in STRICT
    ),
    *(
        Case(59, f"returns {name}, {kind} codec", line("returns", name), (Error(-32603, 1),), kind=kind)
        for name in RETURNED
        for kind in ("strict", "decimal", "stdlib")
    ),
    Case(59, "returns bytes", line("returns", "bytes"), (Result("Ynl0ZXM="),)),
    Case(59, "returns a set", line("returns", "set"), (Result([1, 2]),)),
    Case(59, "a plain handler returns a coroutine", line("returns_coroutine"), (Error(-32603, 1),)),
    *(
        Case(59, f"an error with a {shape}", line("error", shape), (Error(-32603, 1),))
        for shape in ("bad code", "bool code", "bad data")
    ),
    Case(59, "an error in order", line("error", "fine"), (Error(7, 1, "told"),), records=0),
    Case(61, "a handler closes its own session", closes_own, outcome=Outcome.GONE),
    Case(61, "a handler aborts its own session", line("abort_own"), outcome=Outcome.GONE),
    Case(61, "ReplyAndDisconnect", disconnects, outcome=Outcome.GONE),
    Case(61, "closed by ten tasks beside a stubborn handler", closed_by_ten, outcome=Outcome.GONE),
]
