# SPDX-License-Identifier: MIT
"""Dialects of JSON-RPC: one value for each known protocol, for ``dialect=``; more are made by `dataclasses.replace`."""

from __future__ import annotations

from tieline.wire.jsonrpc.dialects import CancelRule, Dialect
from tieline.wire.jsonrpc.known_dialects import (
    acp,
    aria2,
    auto,
    bitcoin,
    devtools,
    electrum,
    ethereum,
    loose,
    lsp,
    mcp,
    ovsdb,
    strict_v1,
    strict_v2,
)

__all__ = [
    "CancelRule",
    "Dialect",
    "acp",
    "aria2",
    "auto",
    "bitcoin",
    "devtools",
    "electrum",
    "ethereum",
    "loose",
    "lsp",
    "mcp",
    "ovsdb",
    "strict_v1",
    "strict_v2",
]
