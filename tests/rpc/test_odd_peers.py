# SPDX-License-Identifier: MIT
"""What real servers answer and no specification foresees: our client gets its answer or a clear error, and lives on.

The servers are named where such an answer was seen; here each is a few bytes, typed by a bare server that hears lines.
"""

from typing import Any, Final

import pytest

from tests import aio
from tests.rpc.typist import AUTO, LOOSE, V1, V2, second_answer, typist
from tieline import RemoteProtocolError, RPCError

# --- answers to one call ---------------------------------------------------------------------------------------------

_RESULTS: Final[list[Any]] = [
    pytest.param([V1, LOOSE], b'{"jsonrpc":"2.0","result":7,"error":null,"id":0}\r\n', 7, id="both-members"),
    pytest.param([V1, LOOSE, AUTO], b'{"result":7,"error":null,"id":0}\r\n', 7, id="v1-CRLF"),
    pytest.param([V1, LOOSE, AUTO], b'{"result":7,"id":0}\n', 7, id="v1-without-error"),
    pytest.param([V1, LOOSE, AUTO], b'{"result":null,"error":null,"id":0}\n', None, id="v1-nothing"),
    pytest.param([V2, LOOSE, AUTO], b'{"jsonrpc":"2.0","result":null,"id":0}\n', None, id="v2-nothing"),
    pytest.param([V2, LOOSE, AUTO], b'{"id":0,"result":7,"jsonrpc":"2.0"}\r\n', 7, id="snapserver-CRLF"),
    pytest.param([V2, LOOSE, AUTO], b'\n\r\n \t{"jsonrpc":"2.0","result":7,"id":0} \n\n', 7, id="blanks-around"),
    pytest.param(
        [V2, LOOSE, AUTO],
        b'{"jsonrpc":"2.0","result":7,"id":0,"usIn":1,"usOut":2,"testnet":false}\n',
        7,
        id="deribit-like-extra-members",
    ),
]
RESULTS = [
    pytest.param(protocol, *case.values[1:], id=f"{protocol.__name__}-{case.id}")
    for case in _RESULTS
    for protocol in case.values[0]
]

_ERRORS: Final[list[Any]] = [
    # (protocols, what is typed, code, message, data)
    pytest.param(
        [V2, LOOSE, AUTO], b'{"jsonrpc":"2.0","error":{"code":0,"message":"no"},"id":0}', 0, "no", None, id="gopls"
    ),
    pytest.param([V2], b'{"jsonrpc":"2.0","error":{"code":500,"message":"no"},"id":0}', 500, "no", None, id="kamailio"),
    pytest.param([V2], b'{"jsonrpc":"2.0","error":{"code":1,"message":"no"},"id":0}', 1, "no", None, id="aria2"),
    pytest.param(
        [V2], b'{"jsonrpc":"2.0","error":{"code":-32004,"message":"no"},"id":0}', -32004, "no", None, id="hardhat"
    ),
    pytest.param(
        [V2, LOOSE, AUTO],
        b'{"id":0,"jsonrpc":"2.0","error":{"message":"no","stack":"at f","code":-32700,"data":{"a":[1]}}}',
        -32700,
        "no",
        {"a": [1]},
        id="ganache-stack",
    ),
    pytest.param(
        [V2],
        b'{"jsonrpc":"2.0","error":{"code":-32603,"message":"no","data":"text"},"id":0}',
        -32603,
        "no",
        "text",
        id="data-a-string",
    ),
    pytest.param(
        [V1, LOOSE, AUTO],
        b'{"id":0,"error":"unknown method"}',
        -100,
        "unknown method",
        None,
        id="ovsdb",
    ),
    pytest.param(
        [V1, LOOSE, AUTO],
        b'{"result":null,"error":"unknown method","id":0}',
        -100,
        "unknown method",
        None,
        id="string-beside-null",
    ),
    pytest.param(
        [V1, LOOSE, AUTO],
        b'{"id":0,"error":{"code":-32601,"message":"Method not found"}}',
        -32601,
        "Method not found",
        None,
        id="jayson-v1",
    ),
    pytest.param(
        [V1, LOOSE, AUTO],
        b'{"result":null,"error":{"message":"Method not found: x.","code":-32601},"id":0}',
        -32601,
        "Method not found: x.",
        None,
        id="bcoin",
    ),
    pytest.param(
        [V1, LOOSE, AUTO],
        b'{"result":null,"error":{"error":"referential integrity","details":"row"},"id":0}',
        -100,
        "no error message provided",
        None,
        id="ovsdb-error-object",
    ),
    pytest.param(
        [V1, LOOSE, AUTO], b'{"result":null,"error":23,"id":0}', 23, "no error message provided", None, id="number"
    ),
    pytest.param(
        [V1, LOOSE, AUTO],
        b'{"result":null,"error":["no",1],"id":0}',
        -100,
        "no error message provided",
        ["no", 1],
        id="array",
    ),
]
ERRORS = [
    pytest.param(protocol, *case.values[1:], id=f"{protocol.__name__}-{case.id}")
    for case in _ERRORS
    for protocol in case.values[0]
]


@pytest.mark.row("J4", "J5", "J6", "J7")
@pytest.mark.parametrize(("protocol", "typed", "value"), RESULTS)
async def test_results_come_in_many_shapes(protocol, typed, value):
    async with typist(typed, second_answer(protocol), protocol=protocol) as (session, _peer):
        assert await session.call("first", 1) == value
        assert await session.call("second", 2) == "still here"


@pytest.mark.row("J4", "J5", "J6", "J7")
@pytest.mark.parametrize(("protocol", "typed", "code", "message", "data"), ERRORS)
async def test_errors_come_in_many_shapes(protocol, typed, code, message, data):
    async with typist(typed + b"\n", second_answer(protocol), protocol=protocol) as (session, _peer):
        with pytest.raises(RPCError) as caught:
            await session.call("first", 1)
        assert (caught.value.code, caught.value.message, caught.value.data) == (code, message, data)
        assert caught.value.request_id == 0
        assert await session.call("second", 2) == "still here"


# --- answers that are none -------------------------------------------------------------------------------------------


@pytest.mark.row("J4", "H35")
@pytest.mark.parametrize(
    ("protocol", "typed"),
    [
        (V2, b'{"result":7,"error":null,"id":0}'),
        (V2, b'{"jsonrpc":"2.0","result":7,"error":null,"id":0}'),
        (AUTO, b'{"jsonrpc":"2.0","result":7,"error":null,"id":0}'),
        (V2, b'{"result":null,"error":{"code":-32601,"message":"Method not found: x."},"id":0}'),
        (V2, b'{"jsonrpc":"2.0","error":"unknown method","id":0}'),
        (V2, b'{"jsonrpc":"2.0","error":{"code":"x","message":"no"},"id":0}'),
        (V2, b'{"jsonrpc":"2.0","error":{"code":1.5,"message":"no"},"id":0}'),
        (V2, b'{"jsonrpc":"2.0","error":{"code":-32000},"id":0}'),
        (V2, b'{"jsonrpc":"1.0","result":7,"id":0}'),
        (V1, b'{"result":7,"error":"both","id":0}'),
        (LOOSE, b'{"result":7,"error":{"code":1,"message":"both"},"id":0}'),
        (AUTO, b'{"jsonrpc":"2.0","result":7,"error":{"code":1,"message":"both"},"id":0}'),
    ],
)
async def test_a_reply_in_another_shape_fails_its_call_and_no_other(protocol, typed):
    async with typist(typed + b"\n", second_answer(protocol), protocol=protocol) as (session, _peer):
        with pytest.raises(RemoteProtocolError, match="invalid response"):
            await session.call("first", 1)
        assert await session.call("second", 2) == "still here"


UNMATCHED: Final = [
    pytest.param(V2, b'{"error":{"code":-32601,"message":"no"}}', id="CDP-error-without-id"),
    pytest.param(LOOSE, b'{"error":{"code":-32601,"message":"no"}}', id="CDP-error-without-id-loose"),
    pytest.param(AUTO, b'{"error":{"code":-32601,"message":"no"}}', id="CDP-error-without-id-auto"),
    pytest.param(V1, b'{"error":"syntax error"}', id="v1-error-without-id"),
    pytest.param(V2, b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"},"id":null}', id="error-with-null-id"),
    pytest.param(V1, b'{"result":null,"error":{"code":-32600,"message":"no"},"id":null}', id="v1-error-with-null-id"),
    pytest.param(V2, b'{"jsonrpc":"2.0","result":{}}', id="kamailio-result-without-id"),
    pytest.param(LOOSE, b'{"jsonrpc":"2.0","result":{}}', id="kamailio-result-without-id-loose"),
    pytest.param(V2, b'{"jsonrpc":"2.0","result":7,"id":"0"}', id="id-as-a-string"),
    pytest.param(V2, b'{"jsonrpc":"2.0","result":7,"id":0.0}', id="id-as-a-float"),
    pytest.param(V2, b'{"jsonrpc":"2.0","result":7,"id":false}', id="id-as-a-boolean"),
    pytest.param(V1, b'{"result":7,"error":null,"id":[0]}', id="v1-id-as-an-array"),
    pytest.param(V2, b'{"jsonrpc":"2.0","result":7,"id":{"n":0}}', id="id-as-an-object"),
    pytest.param(V2, b'{"jsonrpc":"2.0","result":7,"id":99}', id="an-id-of-the-future"),
    pytest.param(V2, b'{"notification":"tick","params":[1]}', id="rpc-websockets-event"),
    pytest.param(LOOSE, b'{"notification":"tick","params":[1]}', id="rpc-websockets-event-loose"),
    pytest.param(AUTO, b'{"notification":"tick","params":[1]}', id="rpc-websockets-event-auto"),
    pytest.param(V2, b"{}", id="nothing-in-it"),
    pytest.param(V2, b"[]", id="aria2-empty-array"),
    pytest.param(V2, b"true", id="a-scalar"),
    pytest.param(V2, b"Welcome to the server!", id="a-greeting"),
    pytest.param(V2, b'{"jsonrpc":"2.0","method":"unasked","params":{"a":1}}', id="an-unknown-notification"),
    pytest.param(V1, b'{"method":"unasked","params":[1],"id":null}', id="v1-an-unknown-notification"),
]


@pytest.mark.row("J8", "H34")
@pytest.mark.parametrize(("protocol", "typed"), UNMATCHED)
async def test_what_answers_nothing_ends_no_call_and_no_session(protocol, typed):
    async with typist(typed + b"\n", second_answer(protocol), protocol=protocol) as (session, _peer):
        first = session.send_request("first", [1])
        assert await session.call("second", 2) == "still here"
        assert not first.done()
        first.cancel()


@pytest.mark.parametrize(
    "typed",
    [
        b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"},"id":null}\n',
        b'{"jsonrpc":"2.0","result":7,"id":"unasked"}\n',
        b'{"error":{"code":-32601,"message":"no"}}\n',
        b'{"jsonrpc":"2.0","result":{}}\n',
    ],
)
async def test_a_stream_of_shapes_that_are_not_ours_does_not_end_the_session(typed):
    async with typist(typed * 500 + b'{"jsonrpc":"2.0","result":7,"id":0}\n', second_answer(V2)) as (session, _peer):
        assert await session.call("first") == 7
        assert await session.call("second") == "still here"


@pytest.mark.row("J4")
async def test_an_error_for_a_notification_is_dropped():
    refusal = b'{"id":null,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}\n'  # aria2
    async with typist(refusal, b'{"jsonrpc":"2.0","result":7,"id":0}\n') as (session, peer):
        await session.notify("tell", 1)
        assert await session.call("first", 1) == 7
        assert peer.heard[0] == b'{"jsonrpc":"2.0","method":"tell","params":[1]}\n'


@pytest.mark.row("H35")
@pytest.mark.parametrize("protocol", [V1, V2, LOOSE, AUTO])
async def test_an_answer_that_leaves_out_its_result_ends_the_call_at_once(protocol):
    async with typist(b'{"jsonrpc":"2.0","id":0}\n', second_answer(V2), protocol=protocol) as (session, _peer):
        with pytest.raises(RemoteProtocolError, match="either a result or an error"):
            await session.call("first", timeout=None)
        assert await session.call("second") == "still here"


@pytest.mark.row("H35")
async def test_the_first_of_two_answers_counts():
    twice = b'{"jsonrpc":"2.0","result":1,"id":0}\n{"jsonrpc":"2.0","result":2,"id":0}\n'
    async with typist(twice, second_answer(V2)) as (session, _peer):
        assert await session.call("first") == 1
        assert await session.call("second") == "still here"


async def test_replies_find_their_calls_in_any_order():
    replies = b"".join(b'{"jsonrpc":"2.0","result":"r%d","id":%d}\n' % (n, n) for n in (2, 0, 3, 1))
    async with typist(b"", b"", b"", replies) as (session, _peer):
        async with aio.TaskGroup() as group:
            calls = [group.create_task(session.call("wait", n)) for n in range(4)]
        assert [call.result() for call in calls] == ["r0", "r1", "r2", "r3"]
