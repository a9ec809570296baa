# SPDX-License-Identifier: MIT
"""How real servers answer batches, what they ask, and how they leave, typed by a bare server as in `test_odd_peers`."""

from typing import Any

import pytest

import tieline
from tests.rpc.typist import AUTO, LOOSE, V1, V2, second_answer, typist
from tieline import ConnectionLost, EndOfStream, RPCError, StreamTruncated

# --- batches ---------------------------------------------------------------------------------------------------------


def _member(n: int) -> bytes:
    return b'{"jsonrpc":"2.0","result":"r%d","id":%d}' % (n, n)


@pytest.mark.row("J10", "H36")
@pytest.mark.parametrize(
    "typed",
    [
        b"[%b,%b,%b]\n" % (_member(0), _member(1), _member(2)),
        b"[%b, %b, %b]\r\n" % (_member(2), _member(0), _member(1)),
        b"[%b]\n[%b,%b]\n" % (_member(1), _member(2), _member(0)),
        b"%b\n%b\n%b\n" % (_member(2), _member(1), _member(0)),
        b"%b\n[%b]\n%b\n" % (_member(2), _member(1), _member(0)),
        b"[%b,%b,%b,%b]\n" % (_member(0), _member(1), _member(2), _member(7)),
    ],
)
async def test_a_batch_may_be_answered_in_any_number_of_pieces(typed):
    async with typist(typed) as (session, peer):
        async with session.batch() as batch:
            for n in range(3):
                batch.add_request("wait", [n])
                batch.add_notification("tell", [n])
        assert batch.results == ("r0", "r1", "r2")
        assert len(peer.heard) == 1


@pytest.mark.row("J10")
@pytest.mark.parametrize(
    ("protocol", "typed", "code"),
    [
        # pjrpc, jsonrpcserver
        (V2, b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"},"id":null}\n', -32600),
        (LOOSE, b'{"result":null,"error":{"code":-32600,"message":"no"},"id":null}\n', -32600),
        (AUTO, b'{"id":null,"error":"no batches here"}\n', -100),
        (V2, b'[{"jsonrpc":"2.0","error":{"code":-32099,"message":"no"},"id":null}]\n', -32099),
    ],
)
async def test_one_refusal_of_a_whole_batch_fails_each_member(protocol, typed, code):
    async with typist(typed, b'{"jsonrpc":"2.0","result":7,"id":2}\n', protocol=protocol) as (session, _peer):
        async with session.batch() as batch:
            batch.add_request("a")
            batch.add_request("b")
        errors = [result for result in batch.results if isinstance(result, RPCError)]
        assert [(error.code, error.request_id) for error in errors] == [(code, 0), (code, 1)]
        assert await session.call("c") == 7


@pytest.mark.row("J10", "H36")
@pytest.mark.parametrize(
    "asks", ['{"jsonrpc":"2.0","method":"tell","params":[3]}', '{"jsonrpc":"2.0","method":"tell","params":[3],"id":0}']
)
@pytest.mark.parametrize("typed", ["[%a,%q,%b]\n", "[%q,%a,%b]\n", "[%a,%b,%q]\n"])
async def test_what_is_asked_in_an_array_of_answers_takes_none_of_them_away(asks, typed):
    told: list[int] = []
    methods = tieline.Methods()
    methods.method(name="tell")(told.append)
    text = typed.replace("%q", asks).replace("%a", _member(0).decode()).replace("%b", _member(1).decode())
    async with typist(text.encode(), methods=methods) as (session, peer):
        async with session.batch(timeout=None) as batch:
            batch.add_request("wait", [0])
            batch.add_request("wait", [1])
        assert batch.results == ("r0", "r1")
        assert told == [3]
        if '"id"' in asks:
            assert (await peer.heard_lines(2))[1] == b'[{"jsonrpc":"2.0","result":null,"id":0}]\n'


@pytest.mark.row("J10", "H36")
@pytest.mark.parametrize(
    ("typed", "answered"),
    [
        (b"[%b,%b]\n" % (_member(2), _member(0)), {0, 2}),  # snapserver drops a member that it does not like
        (b'[%b,{"jsonrpc":"2.0","result":1,"id":"1"},{"jsonrpc":"2.0","result":1,"id":[1]},null]\n' % _member(0), {0}),
        (b'{"jsonrpc":"2.0","result":{}}\n', set()),  # kamailio
        (b"[]\n", set()),
    ],
)
async def test_a_member_without_an_answer_fails_alone(typed, answered):
    async with typist(typed, b'{"jsonrpc":"2.0","result":7,"id":3}\n') as (session, _peer):
        batch = session.new_batch()
        members = [batch.add_request("wait", [n]) for n in range(3)]
        session.send_batch(batch, timeout=None)
        assert await session.call("after") == 7
        assert {n for n, member in enumerate(members) if member.done()} == answered
        assert not batch.done()
        batch.cancel()


# --- servers that ask, and servers that leave ------------------------------------------------------------------------

methods = tieline.Methods()


@methods.method
def echo(*args: object) -> list[object]:
    return list(args)


@methods.method(name="workspace/configuration")
async def configuration(items: list[Any]) -> list[None]:
    return [None for _ in items]


@pytest.mark.row("J5", "J8", "S1")
@pytest.mark.parametrize(
    ("protocol", "asked", "answered"),
    [
        # aiorpcX and vscode-jsonrpc number their requests from 0, as we do; ovsdb calls its own one "echo".
        (V2, b'{"jsonrpc":"2.0","id":0,"method":"echo","params":[1]}', b'{"jsonrpc":"2.0","result":[1],"id":0}'),
        (V2, b'{"jsonrpc":"2.0","id":7.5,"method":"echo"}', b'{"jsonrpc":"2.0","result":[],"id":7.5}'),
        (V2, b'{"jsonrpc":"2.0","id":null,"method":"echo"}', b'{"jsonrpc":"2.0","result":[],"id":null}'),
        (
            V2,
            b'{"jsonrpc":"2.0","id":"c","method":"workspace/configuration","params":{"items":[{}]}}',
            b'{"jsonrpc":"2.0","result":[null],"id":"c"}',
        ),
        (V1, b'{"id":"echo","method":"echo","params":[]}', b'{"result":[],"error":null,"id":"echo"}'),
        (V1, b'{"id":[1,{"a":2}],"method":"echo","params":[]}', b'{"result":[],"error":null,"id":[1,{"a":2}]}'),
    ],
)
async def test_a_server_asks_before_it_answers(protocol, asked, answered):
    own = b'{"result":%b,"id":0,"error":null}\n' if protocol is V1 else b'{"jsonrpc":"2.0","result":%b,"id":0}\n'
    async with typist(asked + b"\n", own % b'"done"', protocol=protocol, methods=methods) as (session, peer):
        assert await session.call("initialize", 1) == "done"
        assert peer.heard[1] == answered + b"\n"


@pytest.mark.row("S7")
async def test_the_last_word_of_a_server_that_hangs_up_is_told():
    # jayson: an error with a null id, then the end
    last_word = b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}\n'
    async with typist(b"", last_word, hangs_up=True) as (session, _peer):
        calls = [session.send_request("wait", [n]) for n in range(3)]
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert isinstance(caught.value.__cause__, EndOfStream)
            assert isinstance(caught.value.__cause__.__cause__, RPCError)
            assert caught.value.__cause__.__cause__.code == -32700
        with pytest.raises(ConnectionLost):
            await session.call("late")


@pytest.mark.row("S7")
async def test_an_answer_that_is_cut_off_is_no_answer():
    async with typist(b'{"jsonrpc":"2.0","result":7,"id":0}', hangs_up=True) as (session, _peer):
        call = session.send_request("wait", [1])
        await session.notify("leave")
        with pytest.raises(ConnectionLost) as caught:
            await call
        assert isinstance(caught.value.__cause__, StreamTruncated)
        assert caught.value.__cause__.pending == 35


@pytest.mark.row("J7")
async def test_a_greeting_that_cannot_be_parsed_leaves_detection_open():
    async with typist(b'hello\n{"result":7,"error":null,"id":0}\n', second_answer(V1), protocol=AUTO) as (
        session,
        peer,
    ):
        assert await session.call("first", 1) == 7
        assert session.protocol is V1
        assert await session.call("second", 2) == "still here"
        lines = await peer.heard_lines(3)
        assert lines[-1] == b'{"method":"second","params":[2],"id":1}\n'
