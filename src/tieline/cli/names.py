# SPDX-License-Identifier: MIT
"""Framings and protocols by the names that the command line has for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import tieline
from tieline.cli.exits import Exit, Failure

__all__ = ["DialectName", "Framing", "Protocol", "dialect_of", "framer_of", "protocol_of"]


class Framing(StrEnum):
    """How messages are told apart on the connection."""

    NEWLINE = "newline"
    CONTENT_LENGTH = "content-length"
    LENGTH_PREFIXED = "length-prefixed"
    VARINT = "varint"
    NETSTRING = "netstring"
    RECORD_SEPARATOR = "record-separator"
    JSON_STREAM = "json-stream"


class Protocol(StrEnum):
    """Which JSON-RPC is spoken."""

    V2 = "2.0"
    V1 = "1.0"
    LOOSE = "loose"
    AUTO = "auto"


class DialectName(StrEnum):
    """Which protocol over JSON-RPC is spoken, its framing included."""

    ACP = "acp"
    ARIA2 = "aria2"
    BITCOIN = "bitcoin"
    DEVTOOLS = "devtools"
    ELECTRUM = "electrum"
    ETHEREUM = "ethereum"
    LSP = "lsp"
    MCP = "mcp"
    OVSDB = "ovsdb"
    STRICT_V1 = "strict_v1"
    STRICT_V2 = "strict_v2"
    LOOSE = "loose"
    AUTO = "auto"


_FRAMERS: Final = {
    Framing.NEWLINE: "NewlineFramer",
    Framing.CONTENT_LENGTH: "ContentLengthFramer",
    Framing.LENGTH_PREFIXED: "LengthPrefixedFramer",
    Framing.VARINT: "VarintFramer",
    Framing.NETSTRING: "NetstringFramer",
    Framing.RECORD_SEPARATOR: "RecordSeparatorFramer",
    Framing.JSON_STREAM: "JSONStreamFramer",
}
_PROTOCOLS: Final = {
    Protocol.V2: "JSONRPCv2",
    Protocol.V1: "JSONRPCv1",
    Protocol.LOOSE: "JSONRPCLoose",
    Protocol.AUTO: "JSONRPCAutoDetect",
}


def dialect_of(name: DialectName | None, framing: Framing, protocol: Protocol) -> tieline.Dialect | None:
    """Return the dialect of that name; None without one.

    Raises:
        Failure: The other two options say something as well.
    """
    if name is None:
        return None
    if framing is not Framing.NEWLINE or protocol is not Protocol.V2:
        option = "--framing" if framing is not Framing.NEWLINE else "--protocol"
        raise Failure(Exit.USAGE, f"--dialect {name} says by itself what {option} is for: leave one of the two out")
    from tieline import dialects  # lazily: for those who name one

    found: tieline.Dialect = getattr(dialects, name)
    return found


def framer_of(framing: Framing) -> Any:
    """Return the framer class; None for the one that sessions take by themselves.

    Raises:
        Failure: This tieline has none of that name.
    """
    if framing is Framing.NEWLINE:
        return None
    framer = getattr(tieline, _FRAMERS[framing], None)
    if framer is None:
        raise Failure(Exit.USAGE, f"this version of tieline has no framing {framing.value!r}")
    return framer


def protocol_of(protocol: Protocol) -> type[tieline.JSONRPC] | None:
    """Return the protocol class; None for the one that sessions take by themselves."""
    if protocol is Protocol.V2:
        return None
    found: type[tieline.JSONRPC] = getattr(tieline, _PROTOCOLS[protocol])
    return found
