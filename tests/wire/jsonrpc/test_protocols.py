# SPDX-License-Identifier: MIT
"""The protocol classes: users' view of messages, one at a time and without a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import exactly
from tieline.errors import LocalProtocolError, RPCError
from tieline.wire.jsonrpc import protocols
from tieline.wire.jsonrpc.codecs import Codec, MsgspecCodec
from tieline.wire.jsonrpc.dialects import AUTODETECT, LOOSE, V1, V2
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.other_codecs import StdlibCodec
from tieline.wire.jsonrpc.protocols import (
    JSONRPC,
    JSONRPCAutoDetect,
    JSONRPCLoose,
    JSONRPCv1,
    JSONRPCv2,
    RPCProtocolBase,
    derived,
    detected_protocol,
)
from tieline.wire.jsonrpc.reading import Fault

V2_LIKE: list[type[JSONRPC]] = [JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect]


@pytest.mark.row("J1")
def test_the_codes_are_the_documented_ones() -> None:
    codes = {name: value for name, value in vars(RPCProtocolBase).items() if name.isupper()}
    assert codes == {
        "PARSE_ERROR": -32700,
        "INVALID_REQUEST": -32600,
        "METHOD_NOT_FOUND": -32601,
        "INVALID_ARGS": -32602,
        "INTERNAL_ERROR": -32603,
        "ERROR_CODE_UNAVAILABLE": -100,
        "EXCESSIVE_RESOURCE_USAGE": -101,
        "SERVER_BUSY": -102,
    }


@pytest.mark.row("J1")
def test_helpers_return_errors_with_the_codes_of_the_class() -> None:
    class Own(JSONRPCv2):
        INTERNAL_ERROR = 1
        INVALID_ARGS = 2
        METHOD_NOT_FOUND = 3
        INVALID_REQUEST = 4
        PARSE_ERROR = 5

    for error, code, message, request_id in [
        (Own.internal_error(7), 1, "internal error processing request", 7),
        (Own.args_error("a"), 2, "a", None),
        (Own.method_not_found("b"), 3, "b", None),
        (Own.invalid_request("c"), 4, "c", None),
        (Own.invalid_request("c", 8), 4, "c", 8),
        (Own.fault_error(Fault.PARSE_ERROR, "d"), 5, "d", None),
        (Own.fault_error(Fault.INVALID_ARGS, "d", 9), 2, "d", 9),
    ]:
        assert type(error) is RPCError
        assert (error.code, error.message, error.request_id) == (code, message, request_id)
    item = Own.message_to_item(b"{")
    assert isinstance(item, RPCRequest)
    assert isinstance(item.method, RPCError)
    assert item.method.code == 5


@pytest.mark.row("J1")
def test_each_class_declares_its_dialect() -> None:
    assert [cls.dialect for cls in (JSONRPCv1, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect)] == [
        V1,
        V2,
        LOOSE,
        AUTODETECT,
    ]
    assert not hasattr(JSONRPC, "dialect"), "abstract"


# --- bytes to items --------------------------------------------------------------------------------------------------


def shown(item: object) -> object:
    """Return all that an item says, in JSON."""
    if isinstance(item, RPCBatch):
        return [shown(member) for member in item]
    if isinstance(item, RPCResponse):
        if isinstance(item.result, RPCError):
            assert exactly(item.result.request_id) == exactly(item.request_id)
            return ["error", item.result.code, item.result.message, item.result.data, item.request_id]
        return ["result", item.result, item.request_id]
    assert isinstance(item, RPCRequest)
    kind = "notification" if item.is_notification() else "request"
    if isinstance(item.method, RPCError):
        assert exactly(item.method.request_id) == exactly(item.request_id)
        return [kind, item.method.code, item.request_id]
    return [kind, item.method, item.args, item.request_id]


@pytest.mark.row("J1", "J3", "J4")
@pytest.mark.parametrize(
    ("message", "item"),
    [
        (b'{"jsonrpc":"2.0","method":"m","id":1}', ["request", "m", None, 1]),
        (b'{"jsonrpc":"2.0","method":"m","params":[],"id":"a"}', ["request", "m", [], "a"]),
        (b'{"jsonrpc":"2.0","method":"m","params":{"a":1}}', ["notification", "m", {"a": 1}, None]),
        (b'{"jsonrpc":"2.0","method":"m","id":null}', ["request", "m", None, None]),
        (b'{"jsonrpc":"2.0","method":"m","params":1,"id":1}', ["request", -32602, 1]),
        (b'{"jsonrpc":"2.0","method":"m","params":1}', ["notification", -32602, None]),
        (b'{"jsonrpc":"2.0","method":1}', ["request", -32600, None]),
        (b'{"jsonrpc":"2.0","result":[1],"id":1}', ["result", [1], 1]),
        (b'{"jsonrpc":"2.0","error":{"code":1,"message":"m","data":2},"id":1}', ["error", 1, "m", 2, 1]),
        (b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"},"id":null}', ["error", 1, "m", None, None]),
        (b"[]", ["request", -32600, None]),
        (b"", ["request", -32700, None]),
        (b'[{"jsonrpc":"2.0","method":"m"},7]', [["notification", "m", None, None], ["request", -32600, None]]),
        (b'[{"jsonrpc":"2.0","result":1,"id":1}]', [["result", 1, 1]]),
    ],
)
def test_a_message_of_2_0_is_an_item(message: bytes, item: object) -> None:
    for protocol in V2_LIKE:
        if protocol is not JSONRPCLoose or b'"params":1' not in message:
            assert exactly(shown(protocol.message_to_item(message))) == exactly(item)


@pytest.mark.row("J5", "J6", "J7")
@pytest.mark.parametrize(
    ("message", "loose", "v1"),
    [
        (b'{"method":"m","params":[],"id":1}', ["request", "m", [], 1], ["request", "m", [], 1]),
        (b'{"method":"m","params":[],"id":null}', ["notification", "m", [], None], ["notification", "m", [], None]),
        (b'{"method":"m","id":[1]}', ["request", -32600, None], ["request", "m", None, [1]]),
        (b'{"method":"m","params":[]}', ["notification", "m", [], None], ["request", -32600, None]),
        (b'{"method":"m","params":null,"id":1}', ["request", "m", None, 1], ["request", -32602, 1]),
        (b'{"method":"m","params":{},"id":1}', ["request", "m", {}, 1], ["request", -32602, 1]),
        (b'{"result":1,"error":null,"id":1}', ["result", 1, 1], ["result", 1, 1]),
        (b'{"error":"text","id":1}', ["error", -100, "text", None, 1], ["error", -100, "text", None, 1]),
        (
            b'{"result":null,"error":12,"id":1}',
            ["error", 12, "no error message provided", None, 1],
            ["error", 12, "no error message provided", None, 1],
        ),
        (
            b'{"result":null,"error":{"code":"x","message":7,"data":3},"id":1}',
            ["error", -100, "no error message provided", 3, 1],
            ["error", -100, "no error message provided", 3, 1],
        ),
        (
            b'{"result":null,"error":[1],"id":1}',
            ["error", -100, "no error message provided", [1], 1],
            ["error", -100, "no error message provided", [1], 1],
        ),
    ],
)
def test_a_message_of_1_0_is_an_item(message: bytes, loose: object, v1: object) -> None:
    assert exactly(shown(JSONRPCLoose.message_to_item(message))) == exactly(loose)
    assert exactly(shown(JSONRPCv1.message_to_item(message))) == exactly(v1)
    expected = v1 if b'"result"' in message and b'"error"' in message else loose
    assert exactly(shown(JSONRPCAutoDetect.message_to_item(message))) == exactly(expected)


class Raising:
    """A codec that keeps no promise."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode(self, obj: object) -> bytes:
        return MsgspecCodec().encode(obj)

    def decode(self, data: bytes) -> object:
        raise self.error

    def convert(self, obj: object, type: object) -> object:
        return obj


@pytest.mark.row("J2")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError(), -32700),
        (TypeError(), -32700),
        (KeyError(), -32700),
        (MemoryError(), -32700),
        (RecursionError(), -32600),
    ],
    ids=repr,
)
def test_whatever_a_codec_raises_is_an_item(error: Exception, code: int) -> None:
    codec: Codec = Raising(error)
    own: type[JSONRPC] = type("Own", (JSONRPCv2,), {"codec": codec})
    assert shown(own.message_to_item(b"{}")) == ["request", code, None]


def test_decode_payload_without_a_limit_reads_what_the_decoder_can() -> None:
    depth = 300
    value: Any = JSONRPCv2.decode_payload(b"[" * depth + b"]" * depth, None)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


# --- items to bytes --------------------------------------------------------------------------------------------------


@pytest.mark.row("J1", "J9")
@pytest.mark.parametrize(
    ("item", "v2", "v1"),
    [
        (
            RPCRequest("m", [1], 0),
            {"jsonrpc": "2.0", "method": "m", "params": [1], "id": 0},
            {"method": "m", "params": [1], "id": 0},
        ),
        (RPCRequest("m", None, 1), {"jsonrpc": "2.0", "method": "m", "id": 1}, {"method": "m", "params": [], "id": 1}),
        (RPCRequest("m"), {"jsonrpc": "2.0", "method": "m"}, {"method": "m", "params": [], "id": None}),
        (RPCResponse([1], 7), {"jsonrpc": "2.0", "result": [1], "id": 7}, {"result": [1], "error": None, "id": 7}),
        (
            RPCResponse(None, None),
            {"jsonrpc": "2.0", "result": None, "id": None},
            {"result": None, "error": None, "id": None},
        ),
        (
            RPCResponse(RPCError(1, "no"), 7),
            {"jsonrpc": "2.0", "error": {"code": 1, "message": "no"}, "id": 7},
            {"result": None, "error": {"code": 1, "message": "no"}, "id": 7},
        ),
    ],
)
def test_an_item_is_a_message(item: Any, v2: object, v1: object) -> None:
    expected: list[tuple[type[JSONRPC], object]] = [(JSONRPCv1, v1), *((protocol, v2) for protocol in V2_LIKE)]
    for protocol, payload in expected:
        write = protocol.request_message if isinstance(item, RPCRequest) else protocol.response_message
        assert exactly(json.loads(write(item))) == exactly(payload)


def test_an_explicit_null_id_goes_out_again() -> None:
    item = JSONRPCv2.message_to_item(b'{"jsonrpc":"2.0","method":"m","id":null}')
    assert isinstance(item, RPCRequest)
    assert json.loads(JSONRPCv2.request_message(item)) == {"jsonrpc": "2.0", "method": "m", "id": None}


@pytest.mark.row("J1")
def test_an_error_is_a_message_with_its_own_id() -> None:
    error = RPCError(5, "no", 7, data={"a": 1})
    payload = {"code": 5, "message": "no", "data": {"a": 1}}
    assert json.loads(JSONRPCv2.error_message(error)) == {"jsonrpc": "2.0", "error": payload, "id": 7}
    assert json.loads(JSONRPCv1.error_message(error)) == {"result": None, "error": payload, "id": 7}


@pytest.mark.row("J1", "J10")
def test_a_batch_is_an_array() -> None:
    requests = RPCBatch([RPCRequest("a", [1], 1), RPCRequest("b")])
    assert json.loads(JSONRPCv2.batch_message(requests)) == [
        {"jsonrpc": "2.0", "method": "a", "params": [1], "id": 1},
        {"jsonrpc": "2.0", "method": "b"},
    ]
    responses = RPCBatch([RPCResponse(5, 1), RPCResponse(RPCError(1, "no"), 2)])
    assert [member["id"] for member in json.loads(JSONRPCLoose.batch_message(responses))] == [1, 2]


@pytest.mark.row("J5")
def test_what_1_0_cannot_express_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="no batches"):
        JSONRPCv1.batch_message(RPCBatch([RPCRequest("a", [1], 1)]))
    with pytest.raises(LocalProtocolError, match="no named arguments"):
        JSONRPCv1.request_message(RPCRequest("a", {"x": 1}, 1))


@pytest.mark.row("J1", "J9")
@pytest.mark.parametrize(
    ("payload", "request_id"),
    [
        ({"id": 7, "result": object()}, 7),
        ({"id": "a", "result": 10**5000}, "a"),
        ({"id": object(), "result": 1}, None),
        ({"id": "\ud800"}, None),
        ({"result": object()}, None),
        ([object()], None),
        (object(), None),
    ],
    ids=["object", "digits", "id", "surrogate", "no-id", "list", "alone"],
)
@pytest.mark.parametrize("protocol", [JSONRPCv1, *V2_LIKE])
def test_a_payload_that_cannot_be_encoded_becomes_an_internal_error(
    protocol: type[JSONRPC], payload: object, request_id: object
) -> None:
    message = json.loads(protocol.encode_payload(payload))
    assert message["error"] == {"code": -32603, "message": "internal error processing request"}
    assert message["id"] == request_id
    assert ("jsonrpc" in message) is (protocol is not JSONRPCv1)


def test_a_payload_that_can_be_encoded_is() -> None:
    assert JSONRPCv2.encode_payload({"a": [1, None]}) == b'{"a":[1,null]}'


# --- detection -------------------------------------------------------------------------------------------------------


@pytest.mark.row("J7", "H39")
@pytest.mark.parametrize(
    ("payload", "stock"),
    [
        ({"jsonrpc": "2.0"}, JSONRPCv2),
        ({"jsonrpc": "2.0", "result": 1, "error": None}, JSONRPCv2),
        ({"jsonrpc": "1.0"}, JSONRPCv1),
        ({"jsonrpc": "1.0", "result": 1}, JSONRPCv1),
        ({"result": None, "error": None}, JSONRPCv1),
        ({"jsonrpc": 2.0, "result": None, "error": None}, JSONRPCv1),
        ({"result": 1}, JSONRPCLoose),
        ({"error": 1}, JSONRPCLoose),
        ({"method": "m"}, JSONRPCLoose),
        ({"jsonrpc": []}, JSONRPCLoose),
        ({}, JSONRPCLoose),
        (7, JSONRPCLoose),
        (None, JSONRPCLoose),
        ([], JSONRPCLoose),
        ([7, None], JSONRPCLoose),
        ([{"jsonrpc": "2.0"}] * 2, JSONRPCv2),
        ([{"jsonrpc": "1.0"}] * 2, JSONRPCv1),
        ([{"method": "m"}] * 2, JSONRPCLoose),
        ([{}, {"jsonrpc": "1.0"}, {"jsonrpc": "2.0"}, 7], JSONRPCv2),
        ([{"jsonrpc": "2.0"}, {"jsonrpc": "1.0"}], JSONRPCv2),
        ([{"jsonrpc": "1.0"}, {}, 7], JSONRPCv1),
        ([7, {"result": 1, "error": None}], JSONRPCv1),
    ],
    ids=repr,
)
def test_the_first_message_tells_the_dialect(payload: object, stock: type[JSONRPC]) -> None:
    assert detected_protocol(JSONRPCAutoDetect, payload) is stock


@pytest.mark.row("J7")
def test_what_was_detected_keeps_the_codes_and_the_codec_of_the_users_class() -> None:
    class Own(JSONRPCAutoDetect):
        """Ours."""

        PARSE_ERROR = -1
        codec = StdlibCodec()

    found = detected_protocol(Own, {"jsonrpc": "1.0"})
    assert issubclass(found, JSONRPCv1)
    assert (found.PARSE_ERROR, found.codec, found.__name__) == (-1, Own.codec, "JSONRPCv1")
    assert found.INVALID_REQUEST == JSONRPCv1.INVALID_REQUEST
    assert JSONRPCv1.PARSE_ERROR == -32700


def test_a_codec_can_be_given_to_a_class_that_has_another() -> None:
    codec = StdlibCodec()
    found = derived(JSONRPCv2, JSONRPCv2, codec)
    assert found.codec is codec
    assert issubclass(found, JSONRPCv2)
    assert derived(JSONRPCv2, JSONRPCv2) is JSONRPCv2


def test_connections_with_one_codec_share_one_class() -> None:
    class Unhashable(StdlibCodec):
        __hash__ = None  # type: ignore[assignment]  # as a dataclass of a user's may have it

    codec = Unhashable()
    found = derived(JSONRPCv2, JSONRPCv2, codec)
    assert derived(JSONRPCv2, JSONRPCv2, codec) is found
    assert derived(JSONRPCv1, JSONRPCv1, codec) is not found
    assert derived(JSONRPCv2, JSONRPCv2, Unhashable()) is not found
    # However many codecs there are, what is kept of them is bounded, and none gets the class of another.
    for _ in range(3 * protocols._MOST_DERIVED):
        own = StdlibCodec()
        assert derived(JSONRPCv2, JSONRPCv2, own).codec is own
    assert len(protocols._derived) <= protocols._MOST_DERIVED
