# SPDX-License-Identifier: MIT
"""The protocol classes: messages to bytes and bytes to messages, one at a time and without state.

All methods are class methods, used without an instance. Users subclass a class and redefine constants or methods;
the connection machine then goes through the class instead of its own faster way. What a connection remembers (ids in
flight, what AutoDetect found out) is in `connection.py`.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import msgspec
from msgspec import UNSET

from tieline.errors import LocalProtocolError, RPCError
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.dialects import AUTODETECT, LOOSE, V1, V2
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.reading import (
    BadResponse,
    Fault,
    Refusal,
    Request,
    Response,
    is_nested_deeper,
    is_response,
    read_batch,
    read_message,
)
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.dialects import Dialect
    from tieline.wire.jsonrpc.reading import FaultName

__all__ = [
    "JSONRPC",
    "JSONRPCAutoDetect",
    "JSONRPCLoose",
    "JSONRPCv1",
    "JSONRPCv2",
    "RPCProtocolBase",
    "derived",
    "detected_protocol",
    "error_payload",
    "protocol_for",
]

Item = RPCRequest | RPCResponse | RPCBatch

_MAX_NESTING: Final = Limits().max_nesting
_UNREAD: Final = msgspec.json.Decoder(list[msgspec.Raw])


class RPCProtocolBase:
    """Error codes and helpers that all protocols share. Users redefine the constants in subclasses."""

    PARSE_ERROR: ClassVar[int] = -32700
    INVALID_REQUEST: ClassVar[int] = -32600
    METHOD_NOT_FOUND: ClassVar[int] = -32601
    INVALID_ARGS: ClassVar[int] = -32602
    INTERNAL_ERROR: ClassVar[int] = -32603
    # Codes of this library, outside of the range that JSON-RPC 2.0 (section 5.1) reserves.
    ERROR_CODE_UNAVAILABLE: ClassVar[int] = -100
    EXCESSIVE_RESOURCE_USAGE: ClassVar[int] = -101
    SERVER_BUSY: ClassVar[int] = -102

    dialect: ClassVar[Dialect]
    codec: ClassVar[Codec] = MsgspecCodec()

    @classmethod
    def internal_error(cls, request_id: object) -> RPCError:
        """Return (not raise) the error for a fault of ours."""
        return RPCError(cls.INTERNAL_ERROR, "internal error processing request", request_id)

    @classmethod
    def args_error(cls, message: str) -> RPCError:
        """Return (not raise) the error for arguments that do not fit the method."""
        return RPCError(cls.INVALID_ARGS, message)

    @classmethod
    def method_not_found(cls, message: str) -> RPCError:
        """Return (not raise) the error for an unknown method."""
        return RPCError(cls.METHOD_NOT_FOUND, message)

    @classmethod
    def invalid_request(cls, message: str, request_id: object = None) -> RPCError:
        """Return (not raise) the error for a message that is no request."""
        return RPCError(cls.INVALID_REQUEST, message, request_id)

    @classmethod
    def fault_error(cls, fault: FaultName, text: str, request_id: object = None) -> RPCError:
        """Return (not raise) the error for a message that could not be read."""
        return RPCError(getattr(cls, fault), text, request_id)


class JSONRPC(RPCProtocolBase):
    """What the versions of JSON-RPC share. Abstract: use a subclass, which names its dialect."""

    # --- reading -------------------------------------------------------------------------------------------------

    @classmethod
    def message_to_item(cls, message: bytes) -> Item:
        """Return what *message* holds; never raises, whatever a peer sends.

        A message that is ill-formed becomes an `RPCRequest` whose method is the `RPCError` to answer, or an
        `RPCResponse` whose result is an `RPCError` when it was recognisably meant as a response; either with the
        id, where that could be read.
        """
        payload = cls.decode_payload(message, _MAX_NESTING)
        if isinstance(payload, Refusal | BadResponse):
            return cls._to_item(payload)
        if not isinstance(payload, list):
            return cls._to_item(read_message(payload, cls.dialect))
        members = cast("list[object]", payload)
        refusal = cls.refuse_batch(members)
        if refusal is not None:
            return cls._to_item(refusal)
        return RPCBatch([cls._to_item(member) for member in read_batch(members, cls.dialect)])

    @classmethod
    def decode_payload(cls, message: bytes, max_nesting: int | None, largest: float = inf) -> object:
        """Return the JSON value that *message* is, or what is wrong with it; never raises on anything a peer can send.

        What is wrong is a `Refusal`, or a `BadResponse` for a response that is nested too deep: its call is to end.
        An array of more than *largest* members is returned as it is: nobody will look into it.
        """
        if largest < inf and message[:1] == b"[" and message.count(b",") >= largest:
            members = cls._members_unread(message)
            if len(members) > largest:
                return members
        try:
            try:
                payload: object = cls.codec.decode(message)
            except RecursionError:
                payload = cls._decode_with_room(message, max_nesting or 0)
        except RecursionError:
            is_ours = max_nesting is not None and message.count(b"[") + message.count(b"{") > max_nesting
            bound = f"(limit {max_nesting})" if is_ours else "for the decoder"
            return Refusal(Fault.INVALID_REQUEST, f"nested too deep {bound}")
        except Exception:  # ValueError and TypeError by contract; a user's codec may raise more
            return Refusal(Fault.PARSE_ERROR, "invalid JSON")
        # Few brackets cannot be nested deep, and to count them is much cheaper than to walk what they became.
        if (
            max_nesting is not None
            and message.count(b"[") + message.count(b"{") > max_nesting
            and not (payload.__class__ is list and len(cast("list[object]", payload)) > largest)
            and is_nested_deeper(payload, max_nesting)
        ):
            if is_response(payload):
                response_id = cast("dict[str, object]", payload).get("id")
                shallow_id = None if isinstance(response_id, list | dict) else response_id
                return BadResponse(f"nested too deep (limit {max_nesting})", shallow_id)
            return Refusal(Fault.INVALID_REQUEST, f"nested too deep (limit {max_nesting})")
        return payload

    @classmethod
    def _members_unread(cls, message: bytes) -> list[object]:
        """Return the members of an array without making anything of them, or nothing where they have to be read.

        A batch of 100 000 calls is refused for its size alone, and to read it would hold the loop for 60 ms.
        """
        if cls.codec.__class__ is not MsgspecCodec or cls.dialect.detects:
            return []
        try:
            return cast("list[object]", _UNREAD.decode(message))
        except (ValueError, RecursionError):  # what is wrong is told by who reads it
            return []

    @classmethod
    def _decode_with_room(cls, message: bytes, nesting: int) -> object:
        """Decode once more with room on the stack for *nesting* levels: a limit must not depend on who calls.

        Decoders in C count their recursion against the interpreter's limit (before 3.12 together with the Python
        frames that are open).
        """
        limit = sys.getrecursionlimit()
        # Raises where the limit could not be restored below, which CPython 3.11 refuses on the last frame.
        sys.setrecursionlimit(limit)
        sys.setrecursionlimit(limit + nesting + 100)
        try:
            return cls.codec.decode(message)
        finally:
            sys.setrecursionlimit(limit)

    @classmethod
    def refuse_batch(cls, payload: list[object]) -> Refusal | None:
        """Return why an array is no batch at all in this dialect; None when its members are to be judged."""
        if not cls.dialect.batches:
            return Refusal(Fault.INVALID_REQUEST, f"{cls.dialect.name} has no batches")
        if not payload:
            return Refusal(Fault.INVALID_REQUEST, "a batch must not be empty")
        return None

    @classmethod
    def _to_item(cls, read: Request | Response | Refusal | BadResponse) -> RPCRequest | RPCResponse:
        if isinstance(read, Refusal):
            error = cls.fault_error(read.fault, read.text, read.id)
            request = RPCRequest(error, None, read.id, answer_null_id=read.answered)
            request.is_foreign = read.is_foreign
            if read.answer is not None:
                request.answer = cls._to_response(read.answer)
            return request
        if isinstance(read, BadResponse | Response):
            return cls._to_response(read)
        args = None if read.params is UNSET else read.params
        if read.id is UNSET:
            return RPCRequest(read.method, args)
        return RPCRequest(read.method, args, read.id, answer_null_id=True)

    @classmethod
    def _to_response(cls, read: Response | BadResponse) -> RPCResponse:
        if isinstance(read, BadResponse):
            response = RPCResponse(cls.invalid_request(read.text, read.id), read.id)
            response.is_faulty, response.meant = True, read.error
            return response
        return RPCResponse(read.result if read.error is UNSET else read.error, read.id)

    # --- writing -------------------------------------------------------------------------------------------------

    @classmethod
    def request_message(cls, item: RPCRequest) -> bytes:
        """Return the bytes of a request or a notification.

        Raises:
            LocalProtocolError: The dialect has no named arguments; or the request has no id and must have one.
        """
        return cls.encode_payload(cls.request_payload(item))

    @classmethod
    def response_message(cls, item: RPCResponse) -> bytes:
        """Return the bytes of a response, with a result or with an error."""
        if isinstance(item.result, RPCError):
            return cls.error_message(item.result)
        return cls.encode_payload(cls._response_payload(item.request_id, result=item.result))

    @classmethod
    def error_message(cls, item: RPCError) -> bytes:
        """Return the bytes of the response with the error *item*, to the request that its ``request_id`` names."""
        return cls.encode_payload(cls._response_payload(item.request_id, error=item))

    @classmethod
    def batch_message(cls, item: RPCBatch) -> bytes:
        """Return the bytes of a batch of requests or of responses.

        Raises:
            LocalProtocolError: The dialect has no batches.
        """
        if not cls.dialect.batches:
            raise LocalProtocolError(f"{cls.dialect.name} has no batches")
        parts = [
            cls.request_message(member) if isinstance(member, RPCRequest) else cls.response_message(member)
            for member in item
        ]
        return cls.join_batch(parts)

    @classmethod
    def encode_payload(cls, payload: object) -> bytes:
        """Return *payload* as JSON; of one that cannot be encoded, the bytes of an internal-error response.

        That response carries the payload's ``id`` when the payload is a dict whose id can be encoded, else null.
        """
        try:
            return cls.codec.encode(payload)
        except (TypeError, ValueError, RecursionError):
            request_id = cast("dict[str, object]", payload).get("id") if isinstance(payload, dict) else None
        try:
            return cls.codec.encode(cls._response_payload(request_id, error=cls.internal_error(request_id)))
        except (TypeError, ValueError, RecursionError):
            return cls.codec.encode(cls._response_payload(None, error=cls.internal_error(None)))

    @classmethod
    def request_payload(cls, item: RPCRequest) -> dict[str, object]:
        """Return the members of a request; see `request_message`."""
        args = item.args
        if isinstance(args, dict) and not cls.dialect.named_params:
            raise LocalProtocolError(f"{cls.dialect.name} has no named arguments")
        if args and isinstance(args, list | tuple) and not cls.dialect.positional_params:
            raise LocalProtocolError(f"{cls.dialect.name} has named arguments only")
        payload: dict[str, object] = {} if cls.dialect.version is None else {"jsonrpc": cls.dialect.version}
        payload["method"] = item.method
        if item.args or cls.dialect.id_required:
            nothing: object = [] if cls.dialect.positional_params else {}
            payload["params"] = item.args or nothing
        if not item.is_notification() or cls.dialect.id_required:
            payload["id"] = item.request_id
        return payload

    @classmethod
    def _response_payload(
        cls, request_id: object, *, result: object = None, error: RPCError | None = None
    ) -> dict[str, object]:
        payload: dict[str, object] = {} if cls.dialect.version is None else {"jsonrpc": cls.dialect.version}
        if error is None or cls.dialect.both_members:
            payload["result"] = result
        if error is not None or cls.dialect.both_members:
            payload["error"] = None if error is None else error_payload(error)
        payload["id"] = request_id
        return payload

    @staticmethod
    def join_batch(parts: Sequence[bytes]) -> bytes:
        """Return the array whose members are the messages *parts*."""
        return b"[%b]" % b",".join(parts)


def error_payload(error: RPCError) -> dict[str, object]:
    """Return the error object of JSON-RPC 2.0, section 5.1.

    Raises:
        TypeError: It has become none: its code or message was set behind its constructor.
    """
    RPCError(error.code, error.message)  # which refuses them
    # Codecs refuse classes that are derived from these.
    payload: dict[str, object] = {"code": int(error.code), "message": str.__str__(error.message)}
    if error.data is not None:
        payload["data"] = error.data
    return payload


class JSONRPCv2(JSONRPC):
    """JSON-RPC 2.0, strictly."""

    dialect = V2


class JSONRPCv1(JSONRPC):
    """JSON-RPC 1.0: positional arguments, no batches, ids of any kind, null for notifications."""

    dialect = V1


class JSONRPCLoose(JSONRPC):
    """Reads the messages of 1.0 and 2.0, and writes those of 2.0."""

    dialect = LOOSE


class JSONRPCAutoDetect(JSONRPC):
    """Speaks 2.0 until the peer's first message shows which version it speaks; the connection then stays with that.

    A message that does not show it, such as a request of 1.0, is read as by `JSONRPCLoose`. Without a connection, as in
    the methods of this class, each message is judged by itself.
    """

    dialect = AUTODETECT

    @classmethod
    def message_to_item(cls, message: bytes) -> Item:
        payload = cls.decode_payload(message, _MAX_NESTING)
        if isinstance(payload, Refusal | BadResponse):
            return cls._to_item(payload)
        return detected_protocol(cls, payload).message_to_item(message)


# --- detection ---------------------------------------------------------------------------------------------------


def detected_protocol(protocol: type[JSONRPC], payload: object) -> type[JSONRPC]:
    """Return the class for the dialect that *payload*, the peer's first message, is written in.

    It has the codec and the error codes of *protocol*, which may be a user's subclass of `JSONRPCAutoDetect`.
    """
    if isinstance(payload, list):
        stock: type[JSONRPC] = JSONRPCLoose
        for member in cast("list[object]", payload):
            found = _detect_one(member)
            if found is not JSONRPCLoose:
                stock = found
            if found is JSONRPCv2:
                break
    else:
        stock = _detect_one(payload)
    return derived(stock, protocol)


def _detect_one(payload: object) -> type[JSONRPC]:
    if not isinstance(payload, dict):
        return JSONRPCLoose
    members = cast("dict[str, object]", payload)
    version = members.get("jsonrpc")
    if version == "2.0":
        return JSONRPCv2
    if version == "1.0" or ("result" in members and "error" in members):
        return JSONRPCv1
    return JSONRPCLoose


_CODES: Final = tuple(name for name in vars(RPCProtocolBase) if name.isupper())

# A class takes 20 us and 2 KB to make, and connections share a few. By the identity of the codec, since a user's may
# not be hashable. Emptied when it is full.
_derived: Final[dict[tuple[type[JSONRPC], type[JSONRPC], int], type[JSONRPC]]] = {}
_MOST_DERIVED: Final = 64


def derived(stock: type[JSONRPC], model: type[JSONRPC], codec: Codec | None = None) -> type[JSONRPC]:
    """Return *stock* with the error codes and the codec (or *codec*) of *model*; *stock* itself where none differ."""
    codec = model.codec if codec is None else codec
    key = (stock, model, id(codec))
    found = _derived.get(key)
    if found is None or found.codec is not codec:
        if len(_derived) >= _MOST_DERIVED:
            _derived.clear()
        changes: dict[str, Any] = {"codec": codec, **{name: getattr(model, name) for name in _CODES}}
        changes = {name: value for name, value in changes.items() if getattr(stock, name) is not value}
        members = {"__module__": stock.__module__, "__doc__": stock.__doc__, **changes}
        found = _derived[key] = type(stock.__name__, (stock,), members) if changes else stock
    return found


@lru_cache(maxsize=64)
def protocol_for(dialect: Dialect) -> type[JSONRPC]:
    """Return a protocol class for *dialect*: a stock one where there is one."""
    for stock in (JSONRPCv2, JSONRPCv1, JSONRPCLoose, JSONRPCAutoDetect):
        if stock.dialect is dialect:
            return stock
    base: type[JSONRPC] = JSONRPCAutoDetect if dialect.detects else JSONRPC
    unknown = [name for name, _ in dialect.codes if name not in _CODES]
    if unknown:
        raise ValueError(f"codes of a dialect must be of {', '.join(_CODES)}, not {unknown[0]!r}")
    members: dict[str, Any] = {"__module__": __name__, "__doc__": f"{dialect.name}.", "dialect": dialect}
    made: Any = type("JSONRPC", (base,), members | dict(dialect.codes))
    protocol: type[JSONRPC] = made
    return protocol
