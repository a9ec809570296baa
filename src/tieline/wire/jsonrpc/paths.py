# SPDX-License-Identifier: MIT
"""Which way a message takes through a machine: the fast path, the rules of its dialect, or a user's class."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import UNSET

from tieline.errors import RPCError
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.dialects import is_like_v2
from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect
from tieline.wire.jsonrpc.reading import FLAT_ID, FLAT_METHOD, BadResponse, Fault, Refusal, Request, Response
from tieline.wire.jsonrpc.writing import NO_CLASSES, PLAIN_RESULTS, writer_for
from tieline.wire.limits import ceiling

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.reading import FaultName
    from tieline.wire.limits import Limits

__all__ = [
    "HEAVY",
    "LONGEST_LONE",
    "MOST_KNOWN",
    "Ways",
    "read_items",
    "refuse_size",
    "ways_of",
    "ways_to_read",
]

# From this size on it is counted what a request takes in memory. Below, `max_pending` of them are no burden: JSON of
# 8 KiB grows to 200 KiB at most. In a batch it is the size of all by their number: each is one of those pending.
HEAVY: Final = 8192
# Longer calls and answers leave like all others, and not by the short ways of what comes alone.
LONGEST_LONE: Final = 16 * 1024
# How many protocol classes, framings and limits it is remembered of what they come to.
MOST_KNOWN: Final = 64


_STOCK: Final = [stock.message_to_item.__func__ for stock in (JSONRPC, JSONRPCAutoDetect)]  # type: ignore[attr-defined]  # class methods have it

_DECODE: Final = getattr(JSONRPC.decode_payload, "__func__", None)


def ways_to_read(protocol: type[JSONRPC]) -> tuple[bool, Callable[[bytes], object] | None, bool]:
    """Return how messages are read that come in *protocol*.

    Returns:
        Whether plain messages of 2.0 need not go through the protocol class; what decodes them, None = the typed
        decoders, since the codec is msgspec; and whether a user's class reads messages in a way of its own.
    """
    reads_items = getattr(protocol.message_to_item, "__func__", None) not in _STOCK
    is_plain = is_like_v2(protocol.dialect) and not reads_items
    if protocol.codec.__class__ is MsgspecCodec:
        return is_plain, None, reads_items
    is_plain = is_plain and getattr(protocol.decode_payload, "__func__", None) is _DECODE
    return is_plain, protocol.codec.decode if is_plain else None, reads_items


class Ways:
    """What a protocol class, a kind of framing and limits come to for a machine: all that have them share it.

    Attributes:
        dialect, codec: What the class had then.
        writer: What writes messages.
        frames_lines: Whether a message is framed by its newline alone.
        takes_settled: Whether results that are encoded already may leave with others, whatever the codec is.
        plain_params: The classes of arguments that a plain call may have; none where calls are not written plainly.
        plain_results: The classes of results that may be encoded together later, by msgspec; none likewise.
        is_plain: Whether plain messages of 2.0 need not go through the protocol class.
        decode: What decodes them; None = the typed decoders.
        reads_items: Whether a user's class reads messages in a way of its own.
        takes_batches: Whether batches are read by the typed decoders: what these take needs no weighing.
        careful_from: From which size on a line needs weighing. A shorter one can hold no too deep nesting and no too
            long id or method.
        max_batch: The most members of a batch.
        max_message: The longest message that is sent.
        max_response: The longest response.
        lone_below: A read shorter than this that is one line needs not be cut; 0 = each is.
        longest_lone: Up to which size a call may leave by the short way; -inf = none.
    """

    __slots__ = (
        "_limits",
        "careful_from",
        "codec",
        "decode",
        "dialect",
        "frames_lines",
        "is_plain",
        "lone_below",
        "longest_lone",
        "max_batch",
        "max_message",
        "max_response",
        "plain_params",
        "plain_results",
        "reads_items",
        "takes_batches",
        "takes_settled",
        "writer",
    )

    def __init__(self, protocol: type[JSONRPC], framing: type[FramerBase], limits: Limits) -> None:
        self._limits = limits  # kept, so that `ways_of` meets no others of their identity
        self.dialect, self.codec = protocol.dialect, protocol.codec
        is_typed = protocol.codec.__class__ is MsgspecCodec
        self.writer = writer_for(protocol)
        self.frames_lines = framing.frame is NewlineFramer.frame
        writes_plainly = self.frames_lines and self.writer.is_plain
        self.takes_settled = self.frames_lines and self.writer.is_like_v2
        self.plain_params: frozenset[object] = self.writer.plain_params if writes_plainly else NO_CLASSES
        self.plain_results = PLAIN_RESULTS if writes_plainly else NO_CLASSES
        self.is_plain, self.decode, self.reads_items = ways_to_read(protocol)
        nesting, longest_id = ceiling(limits.max_nesting), ceiling(limits.max_id)
        longest_method = ceiling(limits.max_method)
        takes_flat = nesting >= 3 and longest_id >= FLAT_ID and longest_method >= FLAT_METHOD
        self.takes_batches = takes_flat and protocol.dialect.batches and is_typed
        self.careful_from = min(2 * nesting + 1, longest_id, longest_method, HEAVY)
        self.max_batch = ceiling(limits.max_batch)
        self.max_message = ceiling(limits.max_message)
        self.max_response = ceiling(limits.max_response)
        # Only what is framed as lines goes the short ways.
        cuts_lines = self.frames_lines and issubclass(framing, NewlineFramer) and framing.take is NewlineFramer.take
        self.lone_below = self.careful_from if cuts_lines and is_typed else 0
        self.longest_lone = min(LONGEST_LONE, self.max_message) if cuts_lines else -inf


_known: Final[dict[tuple[type[JSONRPC], type[FramerBase], int], Ways]] = {}


def ways_of(protocol: type[JSONRPC], framing: type[FramerBase], limits: Limits) -> Ways:
    """Return what a protocol class, a framing and limits come to: the same object as for others that have them."""
    # Each connection asks. So limits, of which few are in use, are told apart by their identity: their hash takes
    # longer than all else here. A class may have been patched since.
    place = protocol, framing, id(limits)
    ways = _known.get(place)
    if ways is None or ways.dialect is not protocol.dialect or ways.codec is not protocol.codec:
        ways = Ways(protocol, framing, limits)
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[place] = ways
    return ways


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


def _message_of(protocol: type[JSONRPC], item: RPCRequest | RPCResponse) -> Request | Response | Refusal | BadResponse:
    if isinstance(item, RPCResponse):
        return _response_of(item)
    if isinstance(item.method, RPCError):
        fault: FaultName = Fault.INVALID_ARGS if item.method.code == protocol.INVALID_ARGS else Fault.INVALID_REQUEST
        refusal = Refusal(fault, item.method.message, item.request_id, answered=not item.is_notification())
        refusal.error = item.method
        refusal.is_foreign = item.is_foreign
        refusal.answer = None if item.answer is None else _response_of(item.answer)
        return refusal
    request_id = UNSET if item.is_notification() else item.request_id
    params = UNSET if item.args is None else item.args
    return Request(item.method, cast("Any", params), cast("Any", request_id))


def _response_of(item: RPCResponse) -> Response | BadResponse:
    if isinstance(item.result, RPCError):
        if item.is_faulty:
            return BadResponse(item.result.message, item.request_id, item.meant)
        return Response(item.request_id, error=item.result)
    return Response(item.request_id, item.result)
