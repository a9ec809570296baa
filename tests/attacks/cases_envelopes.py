# SPDX-License-Identifier: MIT
"""Cases 29-39: envelopes and ids."""

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases_json import request
from tests.attacks.raw import Peer, fresh, line
from tests.attacks.table import Answer, Case, Error, Outcome, Result, Together, check_answers, check_end, fits, shown

BAD_ENVELOPES: list[tuple[bytes, Answer]] = [
    (b'{"jsonrpc":"2.0"', Error(-32700)),
    (b"1", Error(-32600)),
    (b'"echo"', Error(-32600)),
    (b"null", Error(-32600)),
    (b"{}", Error(-32600)),
    (b'{"jsonrpc":"2.0","id":1}', Error(-32600, 1)),
    (b'{"method":"echo","id":1}', Error(-32600, 1)),
    (b'{"jsonrpc":"1.0","method":"echo","id":1}', Error(-32600, 1)),
    (b'{"jsonrpc":2.0,"method":"echo","id":1}', Error(-32600, 1)),
    (b'{"jsonrpc":"2.0","method":1,"id":1}', Error(-32600, 1)),
    (b'{"jsonrpc":"2.0","method":["echo"],"id":1}', Error(-32600, 1)),
    (b'{"jsonrpc":"2.0","method":null,"id":"x"}', Error(-32600, "x")),
    (b'{"jsonrpc":"2.0","method":"echo","params":"x","id":1}', Error(-32602, 1)),
    (b'{"jsonrpc":"2.0","method":"echo","params":null,"id":1}', Error(-32602, 1)),
    (b'{"jsonrpc":"2.0","method":"nope","id":1}', Error(-32601, 1)),
    (b'{"jsonrpc":"2.0","method":"add","params":[1],"id":1}', Error(-32602, 1, "b")),
    (b'{"jsonrpc":"2.0","method":"add","params":[1,2,3],"id":1}', Error(-32602, 1)),
    (b'{"jsonrpc":"2.0","method":"add","params":{"a":1,"c":2},"id":1}', Error(-32602, 1)),
    (b'{"jsonrpc":"2.0","method":"add","params":[1,"2"],"id":1}', Error(-32602, 1, "b")),
    (b'{"jsonrpc":"2.0","method":"echo","id":1} {}', Error(-32700)),
]

IDS: list[tuple[bytes, Answer]] = [
    (b"[]", Error(-32600)),
    (b"{}", Error(-32600)),
    (b"[[1]]", Error(-32600)),
    (b"true", Error(-32600)),
    (b"false", Error(-32600)),
    (b"null", Result(7, None)),
    (b"1.5", Result(7, 1.5)),
    (b"0", Result(7, 0)),
    (b"-1", Result(7, -1)),
    (b'""', Result(7, "")),
    (b'"x"', Result(7, "x")),
    (b"18446744073709551616", Result(7, 1 << 64)),
    (b"-18446744073709551617", Result(7, -(1 << 64) - 1)),
    (b'"%b"' % (b"i" * 100_000), Error(-32600, text="id too long (limit 1024 bytes)")),
    (b'"%b"' % (b"i" * 1022), Result(7, "i" * 1022)),
    (b'"%b"' % (b"i" * 1023), Error(-32600)),
    (b"9" * 1025, Error(-32600)),
]


def same_id_twice(peer: Peer, server: AttackedServer) -> None:
    gate = fresh("twice")
    assert peer.send(line("wait_at", gate, id=5) + line("add", 1, 2, id=5))
    check_answers(peer, Error(-32600, None, "in flight"))
    server.ask("open_gate", gate)
    check_answers(peer, Result(gate, 5))
    assert peer.send(line("add", 1, 2, id=5))
    check_answers(peer, Result(3, 5))


def never_issued(response: bytes) -> Case:
    def play(peer: Peer, _server: AttackedServer) -> None:
        assert peer.send(response * 45)
        assert peer.call("add", 1, 1) == 2
        assert peer.send(response * 20)
        check_answers(peer, Error(-32600, None, "never issued"))
        check_end(peer)

    return Case(32, f"responses to ids never issued: {response[16:50].decode()}", play, outcome=Outcome.GONE)


def late_replies(peer: Peer, _server: AttackedServer) -> None:
    """Answer 100 calls of the server after it gave them up: none of that is a fault."""
    for number in range(100):
        assert peer.send(line("call_back", "x", 1, 0.001, id=f"c{number}"))
        asked = peer.answer()
        check_answers(peer, Result("TimeoutError", f"c{number}"))
        assert peer.send(b'{"jsonrpc":"2.0","result":1,"id":%d}\n' % asked["id"])


def odd_response(response: bytes) -> Case:
    def play(peer: Peer, _server: AttackedServer) -> None:
        assert peer.send(line("call_back", "x", 1, 0.02, id="c") + response + b"\n")
        found = [peer.answer(), peer.answer()]
        assert found[0]["method"] == "x"
        assert fits(found[1], Result("TimeoutError", "c")), shown(found)

    return Case(33, f"an odd response: {response.decode()}", play)


def thousand_broken_lines(peer: Peer, _server: AttackedServer) -> None:
    peer.send(b"{broken\n" * 1000)
    answers = peer.rest()
    assert 51 <= len(answers) <= 52, len(answers)  # 50 are borne, and one is forgiven a second
    assert all(fits(answer, Error(-32700)) for answer in answers), shown(answers)


def long_name(peer: Peer, _server: AttackedServer) -> None:
    for length in (65, 256, 257, 1_000_000):
        assert peer.send(line("m" * length))
        told = peer.answer()
        assert fits(told, Error(-32601, 1, "unknown method")), shown(told)
        assert "m" * 65 not in told["error"]["message"]


def guess_is_kept(first: bytes, *answers: Answer, then: str) -> Case:
    """The answer to the first message, and which version the connection speaks ever after."""

    def play(peer: Peer, _server: AttackedServer) -> None:
        assert peer.send(first)
        found = [peer.answer() for _ in answers]
        for seen, wanted in zip(found, answers, strict=True):
            assert fits(seen, wanted, "v1" if then == "v1" and isinstance(seen, dict) else "v2"), shown(seen)
        for call in (
            b'{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}\n',
            b'{"method":"add","params":[1,2],"id":1}\n',
        ):
            assert peer.send(call)
            seen = peer.answer()
            strict = then == "v2" and b"jsonrpc" not in call
            wanted = Error(-32600, 1) if strict else Result(3)
            assert fits(seen, wanted, "v1" if then == "v1" else "v2"), (call, seen)

    return Case(39, f"detection: {first[:70].decode().strip()}", play, kind="auto")


V1_CALL = b'{"method":"add","params":[1,2],"id":1}'
V2_CALL = b'{"jsonrpc":"2.0","method":"add","params":[1,2],"id":2}'

CASES = [
    *(Case(29, f"envelope {input.decode()}", input + b"\n", (answer,)) for input, answer in BAD_ENVELOPES),
    *(Case(30, f"id {id[:30].decode()}, {len(id)} bytes", request(b"[7]", id), (answer,)) for id, answer in IDS),
    Case(31, "two calls in flight with one id", same_id_twice),
    never_issued(b'{"jsonrpc":"2.0","result":1,"id":99}\n'),
    never_issued(b'{"jsonrpc":"2.0","result":1,"id":null}\n'),
    never_issued(b'{"jsonrpc":"2.0","result":1,"id":[]}\n'),
    never_issued(b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"},"id":{}}\n'),
    never_issued(b'{"jsonrpc":"2.0","error":{"code":"x"},"id":[[]]}\n'),
    never_issued(b'[{"jsonrpc":"2.0","result":1,"id":"a"}]\n'),
    Case(32, "late replies are no faults", late_replies),
    *(
        odd_response(response)
        for response in (
            b'{"jsonrpc":"2.0","result":1,"id":[]}',
            b'{"jsonrpc":"2.0","result":1,"id":{}}',
            b'{"jsonrpc":"2.0","result":1,"id":[[]]}',
            b'{"jsonrpc":"2.0","result":1,"id":0.0}',
            b'{"jsonrpc":"2.0","result":1,"id":false}',
            b'{"jsonrpc":"2.0","result":1,"id":"0"}',
            b'[{"jsonrpc":"2.0","result":1,"id":"0"},{"jsonrpc":"2.0","result":1,"id":[]},{"jsonrpc":"2.0","result":1,"id":1}]',
        )
    ),
    Case(33, "{} is no response", b"{}\n", (Error(-32600),)),
    Case(37, "1000 broken lines at once", thousand_broken_lines, outcome=Outcome.GONE),
    *(
        Case(38, f"method {name}", line(name, 1), (Error(-32601, 1, name),))
        for name in ("__init__", "echo.__globals__", "rpc.x", "__class__", "methods", "add.__call__", "")
    ),
    Case(38, "a name of 1 MB", long_name),
    guess_is_kept(b"[%b,%b]\n" % (V1_CALL, V2_CALL), Together(Error(-32600, 1), Result(3, 2)), then="v2"),
    guess_is_kept(b"[]\n", Error(-32600), then="loose"),
    guess_is_kept(b"[1]\n", Together(Error(-32600)), then="loose"),
    guess_is_kept(V2_CALL + b"\n", Result(3, 2), then="v2"),
    guess_is_kept(V1_CALL + b"\n", Result(3, 1), then="loose"),
    guess_is_kept(b'{"jsonrpc":"1.0","method":"add","params":[1,2],"id":1}\n', Result(3, 1), then="v1"),
    guess_is_kept(b'{"result":1,"error":null,"id":77}\n', then="v1"),
    guess_is_kept(b'{"jsonrpc":"2.0","result":1,"id":77}\n', then="v2"),
    guess_is_kept(b"{broken\n" + V2_CALL + b"\n", Error(-32700), Result(3, 2), then="v2"),
]
