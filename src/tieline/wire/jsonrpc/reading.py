# SPDX-License-Identifier: MIT
"""From a decoded JSON value to a message, by the rules of a dialect.

`read_message` judges one message, `read_batch` an array of them. Both accept any JSON value and never raise: what is
wrong with a message is a value too. They know nothing of ids in flight, limits or connections.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import UNSET, UnsetType

from tieline.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.wire.jsonrpc.dialects import Dialect

__all__ = [
    "FLAT_ID",
    "FLAT_METHOD",
    "PLAIN_IDS",
    "REQUESTS",
    "REQUESTS_DECODER",
    "REQUEST_DECODER",
    "RESULTS_DECODER",
    "RESULT_DECODER",
    "BadResponse",
    "Fault",
    "FaultName",
    "PlainRequest",
    "PlainResult",
    "Refusal",
    "Request",
    "Response",
    "estimated_size",
    "is_flat",
    "is_nested_deeper",
    "is_response",
    "plain_requests",
    "plain_results",
    "read_batch",
    "read_message",
]


class Request(msgspec.Struct, gc=False):
    """A request or a notification of the peer, as it is on the wire. An id of UNSET marks a notification."""

    method: str
    params: list[Any] | dict[str, Any] | UnsetType = UNSET
    id: Any = UNSET


class Response(msgspec.Struct, gc=False):
    """A response of the peer: an id with a result, or with the `RPCError` that it tells; the other is UNSET."""

    id: Any
    result: Any = UNSET
    error: Any = UNSET


# The plain messages of 2.0, which nearly all traffic is. The types are the validation, and C does it: booleans are
# refused as ids, big integers stay exact, the version must be there. What does not fit, unknown members included, is
# not therefore wrong: it takes the longer way through `read_message`, which comes to the same for what does fit.


class PlainRequest(Request, gc=False, forbid_unknown_fields=True, kw_only=True):
    """A plain request or notification."""

    id: int | str | UnsetType = UNSET
    jsonrpc: Literal["2.0"]


class PlainResult(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A plain response with a result; our ids are integers."""

    jsonrpc: Literal["2.0"]
    id: int
    result: Any


# In a batch there may be many, so what of it is plain must be known without a look at each member: values are flat, and
# names and ids so short that they are within the limits on them (`FLAT_METHOD` characters, `FLAT_ID` bytes).

FLAT_METHOD: Final = 64
FLAT_ID: Final = 6 * 64 + 2  # 64 characters, each as an escape

_Flat = int | float | str | bool | None
_FlatID = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, msgspec.Meta(max_length=64)]


class FlatRequest(PlainRequest, gc=False, forbid_unknown_fields=True, kw_only=True):
    """A plain request or notification in a batch."""

    method: Annotated[str, msgspec.Meta(max_length=FLAT_METHOD)]
    params: list[_Flat] | dict[str, _Flat] | UnsetType = UNSET
    id: _FlatID | UnsetType = UNSET


class FlatResult(PlainResult, gc=False, forbid_unknown_fields=True):
    """A plain result in a batch."""

    result: _Flat


# All classes of requests; to ask for them so takes half of what `isinstance` takes.
REQUESTS: Final[frozenset[object]] = frozenset({Request, PlainRequest, FlatRequest})
# The classes of the ids of plain requests; UNSET, which notifications have, is none of them.
PLAIN_IDS: Final = frozenset({int, str})

REQUEST_DECODER: Final = msgspec.json.Decoder(PlainRequest)
RESULT_DECODER: Final = msgspec.json.Decoder(PlainResult)
REQUESTS_DECODER: Final = msgspec.json.Decoder(list[FlatRequest])
RESULTS_DECODER: Final = msgspec.json.Decoder(list[FlatResult])

FEW: Final = 64


# One of those in `Fault`.
FaultName: TypeAlias = Literal["PARSE_ERROR", "INVALID_REQUEST", "INVALID_ARGS"]


class Fault:
    """What is wrong with a message; the names are those of the error codes in `RPCProtocolBase`."""

    PARSE_ERROR: Final = "PARSE_ERROR"
    INVALID_REQUEST: Final = "INVALID_REQUEST"
    INVALID_ARGS: Final = "INVALID_ARGS"


class Refusal:
    """A message that is no valid request.

    Attributes:
        fault: What is wrong with it, one of those in `Fault`.
        text: The same for people, without payload.
        id: Its id where that could be read, else None.
        answered: Whether the peer is to be told; faulty parameters of a notification are not answered.
        error: The error to answer, where a user's protocol class made one; else it follows from the fault.
        is_foreign: It is an object with neither method, result nor error: some servers send events of their own so.
        answer: What it is if it names a call of ours; None where it can be no answer.
    """

    __slots__ = ("answer", "answered", "error", "fault", "id", "is_foreign", "text")

    def __init__(self, fault: FaultName, text: str, id: object = None, *, answered: bool = True) -> None:
        self.fault: FaultName = fault
        self.text = text
        self.id = id
        self.answered = answered
        self.error: RPCError | None = None
        self.is_foreign = False
        self.answer: Response | BadResponse | None = None


class BadResponse:
    """A message that was recognisably meant as a response, and is none.

    Attributes:
        text: What is wrong with it, without payload.
        id: Its id, any JSON value; None when it has none.
        error: The error that it meant to tell, where it has one of any shape.
    """

    __slots__ = ("error", "id", "text")

    def __init__(self, text: str, id: object, error: RPCError | None = None) -> None:
        self.text = text
        self.id = id
        self.error = error


def estimated_size(line: bytes) -> int:
    """Return how many bytes of memory the JSON text *line* takes when it is decoded, by its values and containers.

    On the high side: a value takes 56 bytes (a short text), a list 88 more (with room for four items, which msgspec
    takes for the first), an object 184 more (with its table of one key). What stands in strings is counted too. Only
    short texts beyond Latin-1 may take more: up to 1.4 times as much.
    """
    return len(line) + 56 * line.count(b",") + 88 * line.count(b"[") + 184 * line.count(b"{")


def is_flat(content: object) -> bool:
    """Return whether *content* is a value, or a few values in one list or object: no more than its text tells.

    So it is known at once of a long text or blob, where counting brackets would take longer than decoding did.
    """
    children: Iterable[object] = ()
    if content.__class__ is list:
        children = cast("list[object]", content)
    elif content.__class__ is dict:
        children = cast("dict[str, object]", content).values()
    else:
        return True
    return len(cast("list[object]", content)) <= FEW and not any(
        child.__class__ is list or child.__class__ is dict for child in children
    )


def is_nested_deeper(value: object, depth: int) -> bool:
    """Return whether more than *depth* brackets of *value* are open at once.

    Walks containers only, a level at a time, so it needs no stack however deep *value* is.
    """
    level: list[Any] = [value] if value.__class__ is list or value.__class__ is dict else []
    for step in range(depth):
        if not level:
            return False
        is_last = step == depth - 1  # before that an empty one is of no consequence, and there may be very many
        level = [
            child
            for container in level
            for child in (container.values() if container.__class__ is dict else container)
            if (child or is_last) and (child.__class__ is list or child.__class__ is dict)
        ]
    return bool(level)


def is_response(payload: object) -> bool:
    """Return whether a decoded message is recognisably meant as a response."""
    if payload.__class__ is not dict:
        return False
    members = cast("dict[str, object]", payload)
    return "method" not in members and ("result" in members or "error" in members)


# --- plain messages of other codecs ------------------------------------------------------------------------------


def plain_requests(payloads: Iterable[object]) -> list[Request] | None:
    """Return the requests and notifications that *payloads* are; None when one of them needs a closer look."""
    found: list[Request] = []
    for payload in payloads:
        if payload.__class__ is not dict:
            return None
        members: Any = payload
        method, params = members.get("method"), members.get("params", UNSET)
        request_id = members.get("id", UNSET)
        if (
            method.__class__ is not str
            or members.get("jsonrpc") != "2.0"
            or (params is not UNSET and params.__class__ is not list and params.__class__ is not dict)
            or not (request_id is UNSET or request_id.__class__ in PLAIN_IDS)
        ):
            return None
        found.append(Request(method, params, request_id))
    return found


def plain_results(payloads: Iterable[object]) -> list[Response] | None:
    """Return the responses with results that *payloads* are; None when one of them needs a closer look."""
    found: list[Response] = []
    for payload in payloads:
        if payload.__class__ is not dict:
            return None
        members: Any = payload
        response_id = members.get("id")
        if (
            response_id.__class__ is not int
            or "result" not in members
            or "error" in members
            or "method" in members
            or members.get("jsonrpc") != "2.0"
        ):
            return None
        found.append(Response(response_id, members["result"]))
    return found


# --- one message -------------------------------------------------------------------------------------------------


def read_message(payload: object, dialect: Dialect) -> Request | Response | Refusal | BadResponse:
    """Judge one decoded message by the rules of *dialect*."""
    if payload.__class__ is not dict:
        return Refusal(Fault.INVALID_REQUEST, f"a message must be an object, not {_kind(payload)}")
    members = cast("dict[str, object]", payload)
    if "method" in members:
        return _read_request(members, dialect)
    if is_response(members):
        return _read_response(members, dialect)
    refusal = cast("Refusal", _read_request(members, dialect))  # without a method it can be nothing else
    refusal.is_foreign = True
    if refusal.id is not None:
        # Some programs leave out a result of null, and say nothing but to which call it is.
        refusal.answer = BadResponse(_NEITHER_NOR_BOTH, refusal.id)
    return refusal


_NEITHER_NOR_BOTH: Final = "a response must have either a result or an error"


def _read_request(members: dict[str, object], dialect: Dialect) -> Request | Refusal:
    request_id = members.get("id", UNSET)
    if request_id is not UNSET and not dialect.any_id and not _is_id(request_id):
        return Refusal(Fault.INVALID_REQUEST, f"an id must be a string, a number or null, not {_kind(request_id)}")
    known_id = None if request_id is UNSET else request_id
    if dialect.version_required and members.get("jsonrpc") != dialect.version:
        return Refusal(Fault.INVALID_REQUEST, f'"jsonrpc" is not "{dialect.version}"', known_id)
    if dialect.id_required and request_id is UNSET:
        return Refusal(Fault.INVALID_REQUEST, "a request must have an id")
    method = members.get("method", UNSET)
    if method.__class__ is not str:
        seen = "absent" if method is UNSET else _kind(method)
        return Refusal(Fault.INVALID_REQUEST, f"the method must be a string, it is {seen}", known_id)
    if request_id is None and (dialect.null_id_notifies or (not dialect.version_required and "jsonrpc" not in members)):
        request_id = UNSET
    params = members.get("params", UNSET)
    if params is None and dialect.null_params:
        params = UNSET
    if params is not UNSET and params.__class__ is not list and not (params.__class__ is dict and dialect.named_params):
        wanted = "an array or an object" if dialect.named_params else "an array"
        text = f"params must be {wanted}, not {_kind(params)}"
        return Refusal(Fault.INVALID_ARGS, text, known_id, answered=request_id is not UNSET)
    return Request(cast("Any", method), cast("Any", params), cast("Any", request_id))


def _read_response(members: dict[str, object], dialect: Dialect) -> Response | BadResponse:
    response_id = members.get("id")
    result, error = members.get("result", UNSET), members.get("error", UNSET)
    meant = None if error is UNSET or error is None else _read_error(error, response_id, any_shape=True)
    if "id" not in members:
        return BadResponse("a response must have an id", None, meant)
    if dialect.version_required and members.get("jsonrpc") != dialect.version:
        return BadResponse(f'"jsonrpc" of a response is not "{dialect.version}"', response_id, meant)
    if dialect.any_error:
        # 1.0 sends both members, one of them null; some servers leave out the null one.
        if error is None:
            error = UNSET
            result = None if result is UNSET else result
        elif error is not UNSET and result is None:
            result = UNSET
    if (result is UNSET) is (error is UNSET):
        return BadResponse(_NEITHER_NOR_BOTH, response_id, meant)
    if error is UNSET:
        return Response(response_id, result)
    rpc_error = meant if dialect.any_error else _read_error(error, response_id, any_shape=False)
    if rpc_error is None:
        return BadResponse("an error must be an object with an integer code and a string message", response_id, meant)
    return Response(response_id, error=rpc_error)


UNKNOWN_CODE: Final = -100  # RPCProtocolBase.ERROR_CODE_UNAVAILABLE


def _read_error(error: object, response_id: object, *, any_shape: bool) -> RPCError | None:
    """Return the error of a response; None when it must have the shape of 2.0 and has another."""
    code: object = None
    message: object = None
    data: object = None
    if error.__class__ is dict:
        members = cast("dict[str, object]", error)
        code, message, data = members.get("code"), members.get("message"), members.get("data")
    elif error.__class__ is int:
        code = error
    elif error.__class__ is str:
        message = error
    else:
        data = error
    if not any_shape and (code.__class__ is not int or message.__class__ is not str):
        return None
    known_code = code if code.__class__ is int else UNKNOWN_CODE
    known_message = message if message.__class__ is str else "no error message provided"
    return RPCError(cast("Any", known_code), cast("Any", known_message), response_id, data=data)


def _is_id(value: object) -> bool:
    return value is None or value.__class__ in _ID_TYPES


# Decimal: a codec of the user's may read numbers as such. A bool is an int for isinstance, and no id.
_ID_TYPES: Final = frozenset({int, str, float, Decimal})

_KINDS: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS.get(value.__class__, "a number")


# --- a batch -----------------------------------------------------------------------------------------------------


def read_batch(payload: list[object], dialect: Dialect) -> list[Request | Response | Refusal | BadResponse]:
    """Judge every member of a non-empty array. The answer holds either requests and refusals, or responses only.

    An array in which nothing asks for anything (no member has a method) but some member is a response is an array of
    responses; else it is one of requests, and a response among them is refused, unless it names a call of ours.
    """
    members = [read_message(member, dialect) for member in payload]
    if any(_is_response(member) for member in members) and not any(_has_method(member) for member in payload):
        return [_as_response(member) if isinstance(member, Refusal) else member for member in members]
    return [_among_requests(member) if isinstance(member, BadResponse | Response) else member for member in members]


def _is_response(member: Request | Response | Refusal | BadResponse) -> bool:
    return isinstance(member, BadResponse | Response)


def _as_response(refusal: Refusal) -> Response | BadResponse:
    return refusal.answer or BadResponse(refusal.text, refusal.id)


def _among_requests(response: Response | BadResponse) -> Refusal:
    refusal = Refusal(Fault.INVALID_REQUEST, "a response stands among requests")
    if response.id is not None or isinstance(response.error, RPCError):  # without an id, an error may tell something
        refusal.answer = response
    return refusal


def _has_method(payload: object) -> bool:
    return payload.__class__ is dict and "method" in cast("dict[str, object]", payload)
