# SPDX-License-Identifier: MIT
"""Cases 40-44: batches."""

from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.raw import Peer, line
from tests.attacks.table import BRISK, Case, Error, Play, Result, Together, check_answers, fits, shown


def batch(*members: bytes) -> bytes:
    return b"[%b]\n" % b",".join(member.rstrip(b"\n") for member in members)


def calls(count: int) -> bytes:
    return batch(*(b'{"jsonrpc":"2.0","method":"mark","params":[1],"id":%d}' % number for number in range(count)))


def notifications(count: int) -> bytes:
    return batch(*[b'{"jsonrpc":"2.0","method":"mark","params":[1]}'] * count)


def nothing_is_executed(input: bytes) -> Play:
    def play(peer: Peer, server: AttackedServer) -> None:
        server.ask("marked")
        assert peer.send(input)
        peer.read_more(10)
        assert server.ask("marked") == []

    return play


def quiet_batch(peer: Peer, server: AttackedServer) -> None:
    """Send 1000 notifications, as many as a batch may hold: all are executed, none is answered."""
    server.ask("marked")
    assert peer.send(notifications(1000))
    assert peer.call("echo", 1) == 1
    assert len(server.ask("marked")) == 1000
    assert peer.received == len(b'{"jsonrpc":"2.0","result":1,"id":"call"}\n')


def swarm_of_ones(peer: Peer, _server: AttackedServer) -> None:
    data = b"[" + b"1," * 299_999 + b"1]\n"
    assert peer.send(data)
    check_answers(peer, Error(-32600))
    assert peer.received <= 4 * len(data)


def cancelled_member(peer: Peer, _server: AttackedServer) -> None:
    assert peer.send(
        batch(line("cancels_itself", id=1), line("add", 1, 2, id=2), line("raises", "CancelledError", id=3))
    )
    check_answers(peer, Together(Error(-32603, 1), Result(3, 2), Error(-32603, 3)))


def mixed_with_bad(peer: Peer, server: AttackedServer) -> None:
    """An invalid member beside notifications is still answered."""
    server.ask("marked")
    assert peer.send(batch(line("mark", 1, id=None), b"7", line("mark", 2, id=None)))
    seen = peer.answer()
    assert fits(seen, Together(Error(-32600))), shown(seen)
    assert server.ask("marked") == [1, 2]


HUGE = (Error(-32600, text="batch too large (limit 1000)"),)

CASES = [
    Case(
        40,
        "100k calls",
        nothing_is_executed(calls(100_000)),
        HUGE,
        kind="big",
        growth=110 * MEGA,
        seconds=1.0,
        wait=BRISK,
    ),
    Case(40, "15k calls", nothing_is_executed(calls(15_000)), HUGE, growth=30 * MEGA, seconds=0.1, wait=BRISK),
    Case(40, "1001 calls", nothing_is_executed(calls(1001)), HUGE, seconds=0.1),
    Case(41, "15k notifications", nothing_is_executed(notifications(15_000)), HUGE, seconds=0.1),
    Case(41, "1000 notifications", quiet_batch),
    Case(42, "300k ones", swarm_of_ones, growth=30 * MEGA),
    Case(42, "1000 ones", batch(*[b"1"] * 1000), (Error(-32600, text="1000"),)),
    Case(42, "17 ones", batch(*[b"1"] * 17), (Error(-32600, text="17"),)),
    Case(42, "16 ones", batch(*[b"1"] * 16), (Together(*[Error(-32600)] * 16),)),
    Case(43, "[]", b"[]\n", (Error(-32600),)),
    Case(43, "[[]]", b"[[]]\n", (Together(Error(-32600)),)),
    Case(43, "[[[call]]]", nothing_is_executed(b"[[[%b]]]\n" % line("mark", 1)[:-1]), (Together(Error(-32600)),)),
    *(
        Case(
            44,
            f"one result of a batch is no JSON: {name}",
            batch(line("add", 1, 2, id=1), line("returns", name, id=2), line("add_later", 3, 4, id=3)),
            (Together(Result(3, 1), Error(-32603, 2), Result(7, 3)),),
        )
        for name in ("object", "circular", "10^5000")
    ),
    Case(44, "handlers of a batch are cancelled", cancelled_member, records=2),
    Case(44, "an invalid member beside notifications", mixed_with_bad),
]
