# SPDX-License-Identifier: MIT
"""Which way a message takes through a machine: the fast path, the rules of its dialect, or a user's class."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import UNSET

from tieline.errors import RPCError
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.dialects import is_like_v2
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect
from tieline.wire.jsonrpc.reading import Fault, Refusal, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.jsonrpc.reading import BadResponse, FaultName

__all__ = ["read_items", "refuse_size", "ways_to_read"]


_STOCK: Final = [stock.message_to_item.__func__ for stock in (JSONRPC, JSONRPCAutoDetect)]  # type: ignore[attr-defined]  # class methods have it

_DECODE: Final = getattr(JSONRPC.decode_payload, "__func__", None)


def ways_to_read(protocol: type[JSONRPC]) -> tuple[bool, Callable[[bytes], object] | None, bool]:
    """Return how messages are read that come in *protocol*.

    Returns:
        Whether plain messages of 2.0 need not go through the protocol class; what decodes them, None = the typed
        decoders, since the codec is msgspec; and whether a user's class reads messages in a way of its own.
    """
    hashable: Any = protocol  # mypy takes classes for unhashable
    return _ways_to_read(hashable)


@lru_cache(maxsize=64)  # each connection asks, and few classes are in use
def _ways_to_read(protocol: type[JSONRPC]) -> tuple[bool, Callable[[bytes], object] | None, bool]:
    reads_items = getattr(protocol.message_to_item, "__func__", None) not in _STOCK
    is_plain = is_like_v2(protocol.dialect) and not reads_items
    if protocol.codec.__class__ is MsgspecCodec:
        return is_plain, None, reads_items
    is_plain = is_plain and getattr(protocol.decode_payload, "__func__", None) is _DECODE
    return is_plain, protocol.codec.decode if is_plain else None, reads_items


def refuse_size(size: int, largest: float) -> Refusal | None:
    """Refuse a batch of more than *largest* members."""
    return None if size <= largest else Refusal(Fault.INVALID_REQUEST, f"batch too large (limit {largest})")


def read_items(
    protocol: type[JSONRPC], line: bytes, largest: float
) -> Request | Response | Refusal | BadResponse | list[Request | Response | Refusal | BadResponse]:
    """Return what a user's `JSONRPC.message_to_item` reads, in the form in which the machine reads itself."""
    if line.count(b",") >= largest:  # perhaps an array of so many members, of which no items are to be made
        payload = protocol.decode_payload(line, None)
        refusal = refuse_size(len(cast("list[object]", payload)), largest) if isinstance(payload, list) else None
        if refusal is not None:
            return refusal
    try:
        item = protocol.message_to_item(line)
        if isinstance(item, RPCBatch):
            return [_message_of(protocol, member) for member in item]
        return _message_of(protocol, item)
    except Exception:  # a user's class may fail on what a peer sends: the peer is answered all the same
        return Refusal(Fault.INVALID_REQUEST, "the message cannot be read")


def _message_of(protocol: type[JSONRPC], item: RPCRequest | RPCResponse) -> Request | Response | Refusal:
    if isinstance(item, RPCResponse):
        if isinstance(item.result, RPCError):
            return Response(item.request_id, error=item.result)
        return Response(item.request_id, item.result)
    if isinstance(item.method, RPCError):
        fault: FaultName = Fault.INVALID_ARGS if item.method.code == protocol.INVALID_ARGS else Fault.INVALID_REQUEST
        refusal = Refusal(fault, item.method.message, item.request_id, answered=not item.is_notification())
        refusal.error = item.method
        refusal.is_foreign = item.is_foreign
        return refusal
    request_id = UNSET if item.is_notification() else item.request_id
    params = UNSET if item.args is None else item.args
    return Request(item.method, cast("Any", params), cast("Any", request_id))
