# SPDX-License-Identifier: MIT
"""The dialects of known protocols, each from its own published text and from what its programs were seen to do.

They say how messages look and what becomes of them. What the methods are is for their users.
"""

from __future__ import annotations

from typing import Final

from tieline.wire.framing.content_length import ContentLengthFramer
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.jsonrpc.dialects import AUTODETECT, LOOSE, V1, V2, CancelRule
from tieline.wire.values import replace

__all__ = [
    "acp", "aria2", "auto", "bitcoin", "devtools", "electrum", "ethereum", "loose", "lsp", "mcp", "ovsdb", "strict_v1",
    "strict_v2",
]  # fmt: skip

strict_v2: Final = V2
"""JSON-RPC 2.0 to the letter (jsonrpc.org/specification)."""

strict_v1: Final = V1
"""JSON-RPC 1.0 to the letter (jsonrpc.org/specification_v1)."""

loose: Final = LOOSE
"""Reads 1.0 and 2.0, writes 2.0."""

auto: Final = AUTODETECT
"""Speaks what the peer's first message says that it is written in; as `loose` where it does not say, and before."""

lsp: Final = replace(
    V2,
    name="Language Server Protocol",
    batches=False,
    cancel=CancelRule(method="$/cancelRequest", id_name="id", code=-32800),
    framer=ContentLengthFramer,
)
"""Language Server Protocol 3.17, "Base Protocol": a cancelled request is still answered (RequestCancelled)."""

mcp: Final = replace(
    V2,
    name="Model Context Protocol",
    positional_params=False,
    batches=False,
    cancel=CancelRule(method="notifications/cancelled", id_name="requestId", never=("initialize",)),
    ping="ping",
)
"""Model Context Protocol, revisions 2025-06-18 to 2026-07-28: one message a line, parameters are objects, no batches; a
cancelled request gets no answer, a ``ping`` an empty object. An ``initialize``, which the older revisions have, is
never taken back: they forbid it."""

acp: Final = replace(
    V2,
    name="Agent Client Protocol",
    positional_params=False,
    batches=False,
    cancel=CancelRule(method="$/cancel_request", id_name="requestId", code=-32800),
)
"""Agent Client Protocol, version 1: one message a line; a cancelled request is still answered. What a user cancels is a
prompt, by a method of its own (``session/cancel``)."""

electrum: Final = replace(LOOSE, name="Electrum")
"""Electrum protocol 1.4: one message a line, 2.0; old servers leave the version out."""

ethereum: Final = replace(LOOSE, name="Ethereum JSON-RPC")
"""Ethereum's execution API: 2.0; some nodes put more into their errors than the specification has."""

bitcoin: Final = replace(LOOSE, name="Bitcoin RPC", version=None, both_members=True)
"""Bitcoin Core: 1.0, with no version in its messages, with batches and named parameters, and error objects as in 2.0.
Calls of 2.0, which it speaks since 28.0, are `strict_v2`."""

ovsdb: Final = replace(
    V1,
    name="OVSDB",
    cancel=CancelRule(method="cancel", id_name=None, code=-100),
    echo="echo",
    framer=JSONStreamFramer,
)
"""Open vSwitch Database Management Protocol, RFC 7047: 1.0 with no byte between messages. Each side asks ``echo`` of
the other (section 4.1.11) and leaves when that is not answered. ``cancel`` (4.1.4) takes back a ``transact``, and
nothing else; the error that answers is an object here, where its programs have a string."""

aria2: Final = replace(
    LOOSE,
    name="aria2",
    named_params=False,
    codes=(("METHOD_NOT_FOUND", 1), ("INVALID_ARGS", 1), ("INTERNAL_ERROR", 1)),
)
"""aria2's RPC interface: 2.0 with batches, and no named parameters; whatever fails has the code 1."""

devtools: Final = replace(LOOSE, name="Chrome DevTools Protocol", version=None, batches=False)
"""Chrome DevTools Protocol 1.3, as Chromium speaks it: it refuses messages that have a version."""
