# SPDX-License-Identifier: MIT
"""Cases 19-28: JSON."""

from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.raw import Peer, fresh, line
from tests.attacks.table import BRISK, Case, Error, Result, check_answers, shown
from tests.promptness import is_slow_box

MODULUS = (1 << 61) - 1  # ints that differ by multiples of it have equal hashes


def request(params: bytes = b"[]", id: bytes = b"1", method: bytes = b'"echo"') -> bytes:
    return b'{"jsonrpc":"2.0","method":%b,"params":%b,"id":%b}\n' % (method, params, id)


def nested(levels: int) -> bytes:
    """Return a call in which so many brackets are open at once, the message's own and that of its params included."""
    return request(b"[" * (levels - 1) + b"]" * (levels - 1))


def nested_value(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def surrogate(input: bytes) -> Case:
    def play(peer: Peer, _server: AttackedServer) -> None:
        assert peer.send(input)
        found = peer.take_line()
        assert found is not None
        # Escaped, or refused.
        assert b'"error"' in found or b'"result":"\\ud800"' in found, found

    return Case(26, f"a lone surrogate: {input[33:60]!r}", play)


def swarm_of_objects(peer: Peer, server: AttackedServer) -> None:
    """Send 1 MB of `{},{},...`; it is freed afterwards."""
    before = server.ask("trimmed")
    count = 349_000
    assert peer.send(b'{"jsonrpc":"2.0","method":"size_of","id":1,"params":[[' + b"{}," * (count - 1) + b"{}]]}\n")
    check_answers(peer, Result(count))
    after = server.ask("trimmed")
    assert after["rss"] - before["rss"] <= 4 * MEGA, f"{(after['rss'] - before['rss']) / MEGA:.1f} MiB are kept"


def equal_hashes(peer: Peer, server: AttackedServer) -> None:
    """Send 20k calls whose ids all have one hash; they cost what 20k calls with other ids cost."""
    count = server.size(20_000, 10_000)
    seconds = []
    for step in (MODULUS, MODULUS + 1):
        data = b"".join(request(b"[7]", b"%d" % (number * step)) for number in range(1, count + 1))
        start = server.figures()["cpu"]
        assert peer.send(data)
        for number in range(1, count + 1):
            found = peer.take_line()
            assert found == b'{"jsonrpc":"2.0","result":7,"id":%d}' % (number * step)
        seconds.append(server.figures()["cpu"] - start)
    assert seconds[0] - seconds[1] < 0.1 * (4 if is_slow_box() else 1), seconds


def equal_hashes_in_flight(peer: Peer, server: AttackedServer) -> None:
    """Send a batch of 1000 calls with ids of one hash that are all unanswered at once."""
    gate = fresh("hashes")
    start = server.figures()["cpu"]
    calls = [
        request(b'["%b"]' % gate.encode(), b"%d" % (number * MODULUS), b'"wait_at"')[:-1] for number in range(1, 1001)
    ]
    assert peer.send(b"[" + b",".join(calls) + b"]\n")
    server.ask("open_gate", gate)
    answers = peer.answer()
    assert len(answers) == 1000, shown(answers)
    spent = server.figures()["cpu"] - start
    assert spent < (0.5 if is_slow_box() else 0.25), f"{spent} s of CPU"


CASES = [
    Case(19, "100k brackets", b"[" * 100_000 + b"\n", (Error(-32600, text="nested too deep"),), wait=BRISK),
    Case(19, "100k braces", b'{"a":' * 100_000 + b"\n", (Error(-32600, text="nested too deep"),)),
    Case(19, "arrays nested 100k deep in params", nested(100_000), (Error(-32600, text="(limit 128)"),)),
    Case(
        19,
        "objects nested 100k deep in params",
        request(b"[" + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]"),
        (Error(-32600, text="nested too deep"),),
    ),
    Case(19, "nested 129 deep", nested(129), (Error(-32600, text="nested too deep (limit 128)"),)),
    Case(19, "nested 128 deep", nested(128), (Result(nested_value(126)),)),
    Case(20, "a result nested 100k deep", line("returns", "deep"), (Error(-32603, 1),), growth=40 * MEGA),
    Case(20, "params nested 900 deep", nested(900), (Error(-32600),)),
    *(
        Case(21, f"an integer of {digits} digits as {place}", input, (Error(-32700),), seconds=0.05, wait=BRISK)
        for digits in (5000, 900_000)
        for place, input in (
            ("param", request(b"[" + b"9" * digits + b"]")),
            ("id", request(b"[1]", b"9" * digits)),
            ("negative param", request(b"[-" + b"9" * digits + b"]")),
        )
    ),
    Case(21, "4300 digits are exact", request(b"[" + b"9" * 4300 + b"]"), (Result(10**4300 - 1),)),
    Case(
        22,
        "4300 digits + 4300 digits",
        request(b"[%b,%b]" % (b"9" * 4300, b"9" * 4300), method=b'"add"'),
        (Error(-32603, 1),),
    ),
    *(
        Case(23, f"{value.decode()} in params", request(b"[%b]" % value), (Error(-32700),))
        for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999")
    ),
    Case(23, "1e999 as id", request(b"[1]", b"1e999"), (Error(-32700),)),
    Case(23, "a handler returns nan", line("returns", "nan"), (Result(None),)),
    Case(23, "a handler returns nan, strict codec", line("returns", "nan"), (Error(-32603, 1),), kind="strict"),
    Case(24, "two ids", b'{"jsonrpc":"2.0","method":"echo","params":[1],"id":1,"id":2}\n', (Result(1, 2),)),
    Case(24, "two methods", b'{"jsonrpc":"2.0","method":"nope","method":"echo","params":[1],"id":1}\n', (Result(1),)),
    Case(
        24,
        "two ids, strict codec",
        b'{"jsonrpc":"2.0","method":"echo","id":1,"id":2}\n',
        (Error(-32700),),
        kind="strict",
    ),
    *(
        Case(25, f"{name} in a string", request(b'["%b"]' % bad), (Error(-32700),))
        for name, bad in (
            ("0xff", b"\xff"),
            ("an overlong slash", b"\xc0\xaf"),
            ("an encoded surrogate", b"\xed\xa0\x80"),
            ("a cut sequence", b"\xe4\xb8"),
            ("a code point over 10FFFF", b"\xf4\x90\x80\x80"),
            ("a raw tab", b"\t"),
        )
    ),
    Case(25, "0xff in the method", request(method=b'"ec\xffho"'), (Error(-32700),)),
    surrogate(request(b'["\\ud800"]')),
    surrogate(request(method=b'"\\ud800"')),
    surrogate(request(b"[1]", b'"\\ud800"')),
    Case(26, "a handler returns a lone surrogate", line("returns", "surrogate"), (Error(-32603, 1),)),
    Case(26, "an error message with a lone surrogate", line("error", "surrogate message"), (Error(-32603, 1),)),
    Case(27, "1 MB of empty objects", swarm_of_objects, growth=40 * MEGA),
    Case(28, "20k ids of one hash", equal_hashes),
    Case(28, "1000 ids of one hash in flight", equal_hashes_in_flight),
]
