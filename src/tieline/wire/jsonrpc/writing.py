# SPDX-License-Identifier: MIT
"""Writers: from method names, results and errors to the bytes of a message.

`TemplateWriter` joins the encoded parts by the templates of a dialect; it serves all protocol classes that write as
the stock ones do. `ProtocolWriter` asks a user's class, whose methods differ. A writer raises what the codec raises
(`TypeError`, `ValueError`, `RecursionError`) and leaves the policy to the connection.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import UNSET

from tieline.errors import LocalProtocolError
from tieline.wire.jsonrpc.batch_members import TAKEN_OUT
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.depth import DEEP_FROM, check_depth, is_too_deep
from tieline.wire.jsonrpc.dialects import is_like_v2
from tieline.wire.jsonrpc.items import PLAIN_PARAMS, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.protocols import JSONRPC, error_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.errors import RPCError
    from tieline.wire.jsonrpc.batch_members import BatchMember

__all__ = [
    "LONGEST_SETTLED",
    "NO_CLASSES",
    "PLAIN_RESULTS",
    "REPLY_ENCODER",
    "Call",
    "ProtocolWriter",
    "Reply",
    "Settled",
    "TemplateWriter",
    "Writer",
    "encoded_batch",
    "writer_for",
]

# A program that makes up method names without end must not fill the memory with their prefixes.
MAX_PREFIXES = 1000

# Their bytes: to compare or search integers is much quicker than to do so with bytes objects.
NEWLINE: Final = 0x0A
LIST: Final = ord("[")
OBJECT: Final = ord("{")

# They encode as arrays, and would put the arguments in any order.
UNORDERED: Final = (set, frozenset)


# The classes of results that may be encoded later: nobody can change such a value, and it is small.
PLAIN_RESULTS: Final[frozenset[object]] = frozenset({int, float, bool, type(None)})
NO_CLASSES: Final[frozenset[object]] = frozenset()
# How long others may be, in bytes, that wait for the end of a turn: as many as a turn may bring are 64 KiB then.
LONGEST_SETTLED: Final = 1024


class Reply(msgspec.Struct, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A response of 2.0 with a result, to be encoded together with others by `REPLY_ENCODER`."""

    result: Any
    id: Any  # an integer or a string


class Settled:
    """A result that is encoded already. (Codecs may refuse `msgspec.Raw`, which says the same.)"""

    __slots__ = ("encoded",)

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded


class Call(msgspec.Struct, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A request of 2.0, to be encoded together with others."""

    method: str
    params: Any
    id: int


class Notice(msgspec.Struct, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A notification of 2.0, to be encoded together with others."""

    method: str
    params: Any


REPLY_ENCODER: Final = msgspec.json.Encoder()
_encode: Final = REPLY_ENCODER.encode

_PLAIN_NAMED_PARAMS: Final[frozenset[object]] = frozenset({dict})
_PLAIN_NAMES: Final[frozenset[object]] = frozenset({str})


class TemplateWriter:
    """Writes the messages of a stock protocol class, as fast as can be.

    `%b` takes bytes, `%d` an id that is an int, which the ids of nearly all traffic are.
    """

    __slots__ = (
        "_encode",
        "_encode_quickly",
        "_error",
        "_named",
        "_needs_id",
        "_no_params",
        "_positional",
        "_prefixes",
        "_protocol",
        "_result",
        "_version",
        "is_like_v2",
        "is_plain",
        "plain_params",
    )

    def __init__(self, protocol: type[JSONRPC]) -> None:
        dialect = protocol.dialect
        self._protocol = protocol
        self._encode = protocol.codec.encode
        # The same without translating errors: what it does not take is given to the other, which tells why.
        self._encode_quickly = REPLY_ENCODER.encode if protocol.codec.__class__ is MsgspecCodec else self._encode
        is_stock = self.__class__ is TemplateWriter
        self.is_like_v2 = is_stock and is_like_v2(dialect)
        self.is_plain = self.is_like_v2 and protocol.codec.__class__ is MsgspecCodec
        version = b"" if dialect.version is None else self._encode(dialect.version).replace(b"%", b"%%")
        self._version = version and b'"jsonrpc":%b,' % version
        self._named = dialect.named_params
        self._positional = dialect.positional_params
        self.plain_params = PLAIN_PARAMS if dialect.positional_params else _PLAIN_NAMED_PARAMS
        self._no_params: Any = () if dialect.positional_params else {}
        self._needs_id = dialect.id_required
        self._prefixes: dict[str, bytes] = {}
        both = dialect.both_members
        self._result = b"{%b" % self._version + (
            b'"result":%b,"error":null,"id":%b}' if both else b'"result":%b,"id":%b}'
        )
        self._error = b"{%b" % self._version + (
            b'"result":null,"error":%b,"id":%b}' if both else b'"error":%b,"id":%b}'
        )

    def request(self, method: str, params: object, call_id: int) -> bytes:
        """Return a request; *params* is what `params` accepts."""
        if self.is_plain and params.__class__ in self.plain_params and method.__class__ is str:
            try:
                encoded = _encode(Call(method, params, call_id))
            except Exception:  # the longer way is to tell what is wrong
                encoded = b"\n"
            # As `is_line` asks, which would be one call more.
            if NEWLINE not in encoded and (len(encoded) < DEEP_FROM or not is_too_deep(encoded)):
                return encoded
        prefix = self._prefixes.get(method)
        if prefix is None:
            prefix = self._new_prefix(method)
        return b'%b%b,"id":%d}' % (prefix, self.params(params), call_id)

    def plain_batch(
        self, methods: Sequence[Any], params: Sequence[object], tokens: Sequence[object] | None, call_id: int
    ) -> bytes | None:
        """Return a batch of calls, ids from *call_id* on; those whose token is None are notifications.

        None when it needs a closer look.
        """
        kinds = {*map(type, params)}
        if NoneType in kinds:  # by class: to compare arguments would be to run code of theirs
            params = [self._no_params if one is None else one for one in params]
            kinds.discard(NoneType)
        if not (_PLAIN_NAMES.issuperset({*map(type, methods)}) and self.plain_params.issuperset(kinds)):
            return None
        ids = range(call_id, call_id + len(methods))
        messages: list[Call | Notice]
        if tokens is None:
            messages = [*map(Call, methods, params, ids)]
        else:
            next_ids = iter(ids)
            messages = [
                Notice(method, one) if token is None else Call(method, one, next(next_ids))
                for method, one, token in zip(methods, params, tokens, strict=True)
            ]
        try:
            encoded = REPLY_ENCODER.encode(messages)
        except Exception:  # one by one it is told which
            return None
        return encoded if is_line(encoded) else None

    def notification(self, method: str, params: object) -> bytes:
        """Return a notification."""
        if self.is_plain and params.__class__ in self.plain_params and method.__class__ is str:
            encoded = _at_once(Notice(method, params))
            if encoded is not None:
                return encoded
        prefix = self._prefixes.get(method)
        if prefix is None:
            prefix = self._new_prefix(method)
        return b"%b%b%b" % (prefix, self.params(params), b',"id":null}' if self._needs_id else b"}")

    def params(self, params: object) -> bytes:
        """Return *params* encoded: a list, a tuple, a dict, a dataclass, a Struct, or None for no arguments.

        Raises:
            TypeError: They encode as something else, or not at all.
            LocalProtocolError: They are named, and the dialect has no named arguments; or it has no others.
        """
        encoded = self._one_line(self._no_params if params is None else params)
        if encoded == b"[]" and not self._positional:
            return b"{}"
        if encoded[0] != LIST or params.__class__ in UNORDERED:
            if encoded[0] != OBJECT:
                raise TypeError(
                    f"arguments must be a list, tuple, dict, dataclass or Struct, not {type(params).__name__}"
                )
            if not self._named:
                raise LocalProtocolError(f"{self._protocol.dialect.name} has no named arguments")
        elif not self._positional:
            raise LocalProtocolError(f"{self._protocol.dialect.name} has named arguments only")
        return encoded

    def result(self, result: object, request_id: object) -> bytes:
        """Return the response with a result."""
        if self.is_plain and result is not UNSET and result.__class__ is not Settled:  # UNSET would be left out
            encoded = _at_once(Reply(result, request_id))
            if encoded is not None:
                return encoded
        encoded_id = b"%d" % request_id if request_id.__class__ is int else self._encode(request_id)
        encoded = result.encoded if isinstance(result, Settled) else self._one_line(result)
        return self._result % (encoded, encoded_id)

    def settled(self, result: object) -> bytes | None:
        """Return *result* encoded as it is now; None when the longer way is to tell what is wrong with it.

        A `Reply` may hold it as `msgspec.Raw`, and wait with others if it is no longer than `LONGEST_SETTLED`.
        """
        try:
            encoded = self._encode_quickly(result)
            if not self.is_plain:
                encoded = bytes(encoded)  # a codec of a user's may use its memory again
        except Exception:
            return None
        return encoded if is_line(encoded) else None

    def error(self, error: RPCError, request_id: object) -> bytes:
        """Return the response with an error."""
        return self._error % (self._one_line(error_payload(error)), self._encode(request_id))

    def _one_line(self, value: object) -> bytes:
        """Return *value* encoded, without line breaks: ready-made JSON that a user passes through may hold some."""
        try:
            encoded = self._encode_quickly(value)
        except Exception:
            encoded = None
        if encoded is None:  # not above: what it raises would tell of the other as well
            encoded = self._encode(value)
        if NEWLINE in encoded:
            raise ValueError("encoded JSON must not hold line breaks: it would be taken for several messages")
        check_depth(encoded)
        return encoded

    def _new_prefix(self, method: str) -> bytes:
        if not isinstance(method, str):
            raise TypeError(f"a method name must be a str, not {type(method).__name__}")
        prefix = b'{%b"method":%b,"params":' % (self._version.replace(b"%%", b"%"), self._encode(method))
        if len(self._prefixes) < MAX_PREFIXES:
            self._prefixes[method] = prefix
        return prefix


def _at_once(message: Call | Notice | Reply) -> bytes | None:
    """Return *message* encoded, without a copy of its content; None when the longer way is to tell what is wrong."""
    try:
        encoded = REPLY_ENCODER.encode(message)
    except Exception:
        return None
    return encoded if is_line(encoded) else None


def encoded_batch(members: Sequence[BatchMember]) -> bytes | None:
    """Return the message that *members* make; None when the longer way is to tell what is wrong with it."""
    seal = members[0].seal
    TAKEN_OUT[id(seal)] = outcomes = seal[0]
    try:
        seal.clear()
        encoded = _encode(members)
    except Exception:
        return None
    finally:
        seal.append(outcomes)
        del TAKEN_OUT[id(seal)]
    # By mistake one may stand among the arguments of another of the batch, and is not sealed either.
    return encoded if encoded.count(b'{"jsonrpc":"2') == len(members) and is_line(encoded) else None


def is_line(encoded: bytes) -> bool:
    """Return whether what was encoded can leave as it is: on one line, and not too deep for whoever reads it."""
    return NEWLINE not in encoded and (len(encoded) < DEEP_FROM or not is_too_deep(encoded))


class ProtocolWriter(TemplateWriter):
    """Writes through the class methods of a user's protocol class."""

    __slots__ = ()

    def request(self, method: str, params: object, call_id: int) -> bytes:
        self._check(method, params)
        return self._whole(self._protocol.request_message(RPCRequest(method, cast("Any", params), call_id)))

    def notification(self, method: str, params: object) -> bytes:
        self._check(method, params)
        return self._whole(self._protocol.request_message(RPCRequest(method, cast("Any", params))))

    def result(self, result: object, request_id: object) -> bytes:
        self._encode(result)  # as in `_check`
        self._encode(request_id)
        return self._whole(self._protocol.response_message(RPCResponse(result, request_id)))

    def error(self, error: RPCError, request_id: object) -> bytes:
        self._encode(error_payload(error))
        self._encode(request_id)
        return self._whole(self._protocol.response_message(RPCResponse(error, request_id)))

    def _check(self, method: str, params: object) -> None:
        """Raise where `encode_payload` would put an internal error in the place of the request, unseen."""
        self.params(params)
        if method not in self._prefixes:
            self._new_prefix(method)

    def _whole(self, encoded: bytes) -> bytes:
        if NEWLINE in encoded:
            raise ValueError("a message must not hold line breaks: it would be taken for several messages")
        return encoded


Writer = TemplateWriter

_WRITING = (
    "request_message",
    "request_payload",
    "response_message",
    "error_message",
    "_response_payload",
    "encode_payload",
)


def writer_for(protocol: type[JSONRPC]) -> Writer:
    """Return a writer for a protocol class: its own methods are used where they differ from the stock ones."""
    # A method of another kind than a class method has no __func__, and is none of ours.
    is_stock = all(
        getattr(getattr(protocol, name), "__func__", None) is getattr(JSONRPC, name).__func__ for name in _WRITING
    )
    return TemplateWriter(protocol) if is_stock else ProtocolWriter(protocol)
