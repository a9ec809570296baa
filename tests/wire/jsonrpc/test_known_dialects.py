# SPDX-License-Identifier: MIT
"""The dialects of known protocols: what each says, against messages as they are in the published texts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import columns
from tieline.errors import LocalProtocolError
from tieline.wire.framing.content_length import ContentLengthFramer
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc import known_dialects
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.dialects import AUTODETECT, LOOSE, V1, V2, Dialect, is_like_v2
from tieline.wire.jsonrpc.items import RPCRequest, RPCResponse
from tieline.wire.jsonrpc.paths import ways_to_read
from tieline.wire.jsonrpc.protocols import (
    JSONRPCAutoDetect,
    JSONRPCLoose,
    JSONRPCv1,
    JSONRPCv2,
    protocol_for,
)
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.limits import Limits

KNOWN: list[Dialect] = [getattr(known_dialects, name) for name in known_dialects.__all__]


def machine(dialect: Dialect) -> Connection:
    framer: Any = (dialect.framer or NewlineFramer).with_limit(10_000)
    return Connection(protocol_for(dialect), framer, Limits().resolved(accepted=True), accepted=True)


@pytest.mark.parametrize(
    ("dialect", "stock"), [(V2, JSONRPCv2), (V1, JSONRPCv1), (LOOSE, JSONRPCLoose), (AUTODETECT, JSONRPCAutoDetect)]
)
def test_a_stock_dialect_is_spoken_by_a_stock_class(dialect: Dialect, stock: type) -> None:
    assert protocol_for(dialect) is stock


@pytest.mark.parametrize("dialect", KNOWN, ids=lambda dialect: dialect.name)
def test_each_has_one_class(dialect: Dialect) -> None:
    protocol = protocol_for(dialect)
    assert protocol.dialect is dialect
    assert protocol_for(replace(dialect)) is protocol or protocol.dialect == dialect
    assert dialect.name


def test_one_of_a_users_own_detects_as_well() -> None:
    mine = replace(AUTODETECT, name="mine")
    assert issubclass(protocol_for(mine), JSONRPCAutoDetect)


def test_codes_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"codes of a dialect must be of PARSE_ERROR, .* not 'NO_SUCH'"):
        protocol_for(replace(V2, codes=(("NO_SUCH", 1),)))


def test_a_word_to_take_calls_back_needs_parameters_of_its_kind() -> None:
    with pytest.raises(ValueError, match="needs named_params"):
        replace(V1, cancel=known_dialects.mcp.cancel)
    with pytest.raises(ValueError, match="needs positional_params"):
        replace(known_dialects.mcp, cancel=known_dialects.ovsdb.cancel)


def test_what_differs_from_2_0_in_words_alone_takes_the_quick_way() -> None:
    for dialect in (known_dialects.lsp, known_dialects.mcp, known_dialects.acp):
        assert is_like_v2(dialect)
        assert ways_to_read(protocol_for(dialect))[0]
    for dialect in (known_dialects.electrum, known_dialects.bitcoin, known_dialects.ovsdb, AUTODETECT):
        assert not is_like_v2(dialect)


@pytest.mark.parametrize("dialect", [known_dialects.lsp, known_dialects.mcp, known_dialects.acp])
def test_batches_are_refused_where_there_are_none(dialect: Dialect) -> None:
    one = machine(dialect)
    framer: Any = (dialect.framer or NewlineFramer).with_limit(10_000)
    batch = framer.frame([b'[{"jsonrpc":"2.0","id":1,"method":"f"}]'])
    assert list(one.receive_data(batch, 0.0)) == []
    answer = one.data_to_send()
    assert b"-32600" in answer
    assert dialect.name.encode() in answer


@pytest.mark.parametrize(
    ("dialect", "call", "error"),
    [
        pytest.param(
            known_dialects.bitcoin,
            b'{"jsonrpc":"1.0","id":"curltest","method":"getblockcount","params":[]}',
            b'{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":"curltest"}',
            id="bitcoin",
        ),
        pytest.param(
            known_dialects.ovsdb,
            b'{"id":0,"method":"list_dbs","params":[]}',
            b'{"id":0,"error":"unknown method"}',
            id="ovsdb",
        ),
        pytest.param(
            known_dialects.aria2,
            b'{"jsonrpc":"2.0","id":"q","method":"aria2.tellStatus","params":["token:x","2089b05ecca3d829"]}',
            b'{"id":null,"jsonrpc":"2.0","error":{"code":1,"message":"x"}}',
            id="aria2",
        ),
        pytest.param(
            known_dialects.ethereum,
            b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}',
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"x","stack":"y","data":{"z":1}}}',
            id="ethereum",
        ),
        pytest.param(
            known_dialects.electrum,
            b'{"id":0,"method":"server.version","params":["a",["1.4","1.4"]]}',
            b'{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"bad"}}',
            id="electrum",
        ),
    ],
)
def test_messages_as_their_programs_write_them_are_understood(dialect: Dialect, call: bytes, error: bytes) -> None:
    protocol = protocol_for(dialect)
    request = protocol.message_to_item(call)
    assert isinstance(request, RPCRequest)
    assert request.method == json.loads(call)["method"]
    response = protocol.message_to_item(error)
    assert isinstance(response, RPCResponse)
    assert isinstance(response.result, Exception)


def test_what_ovsdb_hangs_up_on_is_not_written() -> None:
    protocol = protocol_for(known_dialects.ovsdb)
    assert b"jsonrpc" not in protocol.request_message(RPCRequest("echo", [], 1))
    assert protocol_for(known_dialects.ovsdb).dialect.framer is JSONStreamFramer


def test_bitcoin_answers_as_its_programs_do() -> None:
    """By JSONRPCReplyObj of Bitcoin Core: both members, and no version where the request was not of 2.0."""
    protocol = protocol_for(known_dialects.bitcoin)
    assert json.loads(protocol.response_message(RPCResponse(7, "x"))) == {"result": 7, "error": None, "id": "x"}
    assert json.loads(protocol.request_message(RPCRequest("getblock", {"hash": "a"}, 1))) == {
        "method": "getblock",
        "params": {"hash": "a"},
        "id": 1,
    }


def test_aria2s_failures_have_one_code() -> None:
    protocol = protocol_for(known_dialects.aria2)
    assert {protocol.internal_error(1).code, protocol.args_error("").code, protocol.method_not_found("").code} == {1}


def test_aria2_takes_parameters_in_order_alone() -> None:
    """Its processJsonRpcRequest answers an object with "Invalid params."."""
    with pytest.raises(LocalProtocolError, match="aria2 has no named arguments"):
        machine(known_dialects.aria2).send_request("aria2.addUri", {"uris": []}, "token", 0.0)


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        (known_dialects.lsp, b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":0}}'),
        (known_dialects.mcp, b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}'),
        (known_dialects.acp, b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":0}}'),
        (known_dialects.ovsdb, b'{"method":"cancel","params":[0],"id":null}'),
    ],
)
def test_a_call_is_taken_back_in_the_words_of_the_protocol(dialect: Dialect, message: bytes) -> None:
    one = machine(dialect)
    call_id = one.send_request("f", None, "token", 0.0)
    one.data_to_send()
    one.forget(call_id)
    assert one.data_to_send().rstrip(b"\n").endswith(message)


def test_a_request_is_found_by_type_and_value() -> None:
    one = machine(V2)
    for request_id in (b"1", b'"1"', b"1.5"):
        one.receive_data(b'{"jsonrpc":"2.0","id":%b,"method":"f"}\n' % request_id, 0.0)
    for wanted in (1, "1", 1.5):
        found = one.requests.find(wanted)
        assert isinstance(found, Request)
        assert found.id == wanted
        assert type(found.id) is type(wanted)
    for unknown in (2, "2", None, 1.0, True):
        assert one.requests.find(unknown) is None


def test_lsp_is_framed_as_it_says() -> None:
    assert known_dialects.lsp.framer is ContentLengthFramer


def test_ids_count_from_where_the_dialect_says() -> None:
    one = machine(replace(V2, name="mine", first_id=1))
    assert is_like_v2(one.protocol.dialect)
    assert one.send_request("f", None, "token", 0.0) == 1
    one.send_batch(*columns([("f", None, "a"), ("g", None, "b")]), 0.0)
    ids = [json.loads(line) for line in one.data_to_send().splitlines()]
    assert ids[0]["id"] == 1
    assert [each["id"] for each in ids[1]] == [2, 3]
    other = machine(replace(V2, name="mine", first_id=7))
    other.send_batch(*columns([("f", None, "a")]), 0.0)
    assert list(other.receive_data(b'{"jsonrpc":"2.0","result":1,"id":7}\n', 0.0)) == [("a", 1, None)]


@pytest.mark.parametrize("wrong", [-1, True, 1.0, "1", None])
def test_the_first_id_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="mine: first_id must be an int >= 0, not "):
        replace(V2, name="mine", first_id=wrong)


# --- arguments by name only ------------------------------------------------------------------------------------------


BY_NAME = [known_dialects.mcp, known_dialects.acp, replace(LOOSE, name="mine", positional_params=False)]


class OwnWords(JSONRPCv2):
    """Has its messages made by the methods of its class."""

    dialect = replace(V2, name="own words", positional_params=False)

    @classmethod
    def encode_payload(cls, payload: Any) -> bytes:
        return super().encode_payload(payload)


def by_name(dialect: Dialect) -> Connection:
    protocol = OwnWords if dialect is OwnWords.dialect else protocol_for(dialect)
    return Connection(protocol, NewlineFramer(), Limits().resolved(accepted=False), accepted=False)


@pytest.mark.parametrize("dialect", [*BY_NAME, OwnWords.dialect], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("nothing", [None, (), [], {}])
def test_without_arguments_an_object_is_sent_or_nothing(dialect: Dialect, nothing: Any) -> None:
    """The schema of MCP has parameters that are an object or are left out, and its programs refuse others."""
    one = by_name(dialect)
    one.send_request("ping", nothing, "token", 0.0)
    one.send_notification("told", nothing)
    messages = [json.loads(line) for line in one.data_to_send().splitlines()]
    assert [message["method"] for message in messages] == ["ping", "told"]
    assert [message.get("params", {}) for message in messages] == [{}, {}]


@pytest.mark.parametrize("dialect", [*BY_NAME, OwnWords.dialect], ids=lambda dialect: dialect.name)
def test_arguments_by_position_are_refused_before_anything_is_sent(dialect: Dialect) -> None:
    one = by_name(dialect)
    for arguments in ([1], (1, 2), [{"a": 1}]):
        with pytest.raises(LocalProtocolError, match=f"{dialect.name} has named arguments only"):
            one.send_request("add", arguments, "token", 0.0)
        with pytest.raises(LocalProtocolError, match="has named arguments only"):
            one.send_notification("add", arguments)
    assert one.data_to_send() == b""
    one.send_request("add", {"a": 1}, "token", 0.0)
    assert json.loads(one.data_to_send())["params"] == {"a": 1}


def test_batches_of_such_a_dialect_have_objects_too() -> None:
    one = by_name(replace(V2, name="mine", positional_params=False))
    one.send_batch(*columns([("f", None, "token"), ("g", {"a": 1}, None)]), 0.0)
    assert [each["params"] for each in json.loads(one.data_to_send())] == [{}, {"a": 1}]
    one.send_batch(*columns([("f", [], "token")]), 0.0)
    assert [each["params"] for each in json.loads(one.data_to_send())] == [{}]
    with pytest.raises(LocalProtocolError, match="has named arguments only"):
        one.send_batch(*columns([("f", [1], "token")]), 0.0)


def test_arrays_are_read_all_the_same() -> None:
    """Be liberal in what you accept: nobody is confused by it."""
    one = machine(known_dialects.mcp)
    (request,) = one.receive_data(b'{"jsonrpc":"2.0","id":1,"method":"f","params":[1]}\n', 0.0)
    assert isinstance(request, Request)
    assert request.params == [1]


def test_one_that_needs_an_id_sends_an_object_as_well() -> None:
    protocol = protocol_for(replace(V2, name="mine", id_required=True, positional_params=False))
    assert json.loads(protocol.request_message(RPCRequest("f", None, 1)))["params"] == {}
    with pytest.raises(LocalProtocolError, match="mine has named arguments only"):
        protocol.request_message(RPCRequest("f", [1], 1))


def test_a_dialect_has_arguments_of_some_kind() -> None:
    with pytest.raises(ValueError, match="needs named_params or positional_params"):
        replace(V1, positional_params=False)
