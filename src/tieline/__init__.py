# SPDX-License-Identifier: MIT
"""tieline: JSON-RPC calls and typed packets over any connection.

Start here: `connect` and `serve`, with a registry of `Methods`; `tieline.blocking` has the same without ``await``.
Packet clients and servers are in ``tieline.clients`` and ``tieline.servers``, formats in ``tieline.serializers`` and
``tieline.protocol``, all errors in ``tieline.exceptions``. Public names are imported when they are first used.
"""

# Type checkers take this name for true. It is not imported from typing, which takes 10 ms to load: this module alone
# is to cost next to nothing, so it imports nothing at all.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tieline.endpoints.command import Command, Stdio
    from tieline.endpoints.datagrams import UDP, DatagramEndpoint, UnixDatagram
    from tieline.endpoints.proxy_auth import SOCKSRandomAuth, SOCKSUserAuth
    from tieline.endpoints.tcp import TCP
    from tieline.endpoints.tls import TLS
    from tieline.endpoints.unix import UnixStream
    from tieline.endpoints.urls import Endpoint, parse
    from tieline.endpoints.websocket import WebSocket
    from tieline.errors import (
        ClosedError,
        ConnectionLost,
        EndOfStream,
        ExcessiveResourceUsage,
        HTTPConnectError,
        LocalProtocolError,
        MessageTooLarge,
        OutgoingMessageTooLarge,
        ProcessEnded,
        RemoteProtocolError,
        RPCError,
        SessionBusy,
        SOCKSError,
        SOCKSFailure,
        SOCKSProtocolError,
        StreamReset,
        StreamTruncated,
        TielineError,
        WebSocketClosed,
        WebSocketRefused,
    )
    from tieline.rpc.client import ClientSession, connect
    from tieline.rpc.messages import MessageSession
    from tieline.rpc.methods import Method, Methods
    from tieline.rpc.outcomes import ReplyAndDisconnect
    from tieline.rpc.securing import ReplyAndStartTLS
    from tieline.rpc.server import Server, ServerSession
    from tieline.rpc.serving import serve
    from tieline.rpc.session import SessionBase
    from tieline.rpc.session_stats import SessionStats
    from tieline.rpc.statistics import Statistics
    from tieline.rpc.telemetry import OpenTelemetryMetrics
    from tieline.runtimes.admission import GroupCost
    from tieline.runtimes.datagram_endpoints import create_datagram_endpoint
    from tieline.runtimes.hooks import Counts, Hooks, MethodCounts
    from tieline.runtimes.inherited import inherited_sockets
    from tieline.runtimes.proxies import HTTPConnectProxy, SOCKSProxy, check_proxy, proxy_from_environment
    from tieline.runtimes.stream_shapes import StreamReader, StreamWriter
    from tieline.streams.dialling import create_connection, create_unix_connection
    from tieline.streams.opening import open_connection, open_unix_connection, start_server, start_unix_server
    from tieline.streams.processes import subprocess_exec
    from tieline.streams.securing import start_tls
    from tieline.streams.server import StreamServer, create_server, create_unix_server
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.framing.bitcoin import BitcoinFramer
    from tieline.wire.framing.content_length import ContentLengthFramer
    from tieline.wire.framing.json_stream import JSONStreamFramer
    from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
    from tieline.wire.framing.netstring import NetstringFramer
    from tieline.wire.framing.newline import NewlineFramer
    from tieline.wire.framing.record_separator import RecordSeparatorFramer
    from tieline.wire.framing.varint import VarintFramer
    from tieline.wire.governance import Governance
    from tieline.wire.jsonrpc.codecs import Codec, MsgspecCodec
    from tieline.wire.jsonrpc.dialects import CancelRule, Dialect
    from tieline.wire.jsonrpc.items import RPCBatch, RPCRequest, RPCResponse
    from tieline.wire.jsonrpc.other_codecs import DecimalCodec, StdlibCodec, StrictCodec
    from tieline.wire.jsonrpc.outgoing import RPCRequestOut
    from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut
    from tieline.wire.jsonrpc.protocols import (
        JSONRPC,
        JSONRPCAutoDetect,
        JSONRPCLoose,
        JSONRPCv1,
        JSONRPCv2,
        RPCProtocolBase,
    )
    from tieline.wire.limits import DEFAULT, Limits
    from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
    from tieline.wire.proxies.socks5 import SOCKS5
    from tieline.wire.proxies.survey import ProxyFinding, ProxyReport

_MODULES = {
    "tieline.endpoints.command": ("Command", "Stdio"),
    "tieline.endpoints.datagrams": ("UDP", "DatagramEndpoint", "UnixDatagram"),
    "tieline.endpoints.proxy_auth": ("SOCKSRandomAuth", "SOCKSUserAuth"),
    "tieline.endpoints.tcp": ("TCP",),
    "tieline.endpoints.tls": ("TLS",),
    "tieline.endpoints.unix": ("UnixStream",),
    "tieline.endpoints.urls": ("Endpoint", "parse"),
    "tieline.endpoints.websocket": ("WebSocket",),
    "tieline.errors": (
        "ClosedError",
        "ConnectionLost",
        "EndOfStream",
        "ExcessiveResourceUsage",
        "HTTPConnectError",
        "LocalProtocolError",
        "MessageTooLarge",
        "OutgoingMessageTooLarge",
        "ProcessEnded",
        "RPCError",
        "RemoteProtocolError",
        "SOCKSError",
        "SOCKSFailure",
        "SOCKSProtocolError",
        "SessionBusy",
        "StreamReset",
        "StreamTruncated",
        "TielineError",
        "WebSocketClosed",
        "WebSocketRefused",
    ),
    "tieline.rpc.client": ("ClientSession", "connect"),
    "tieline.rpc.messages": ("MessageSession",),
    "tieline.rpc.methods": ("Method", "Methods"),
    "tieline.rpc.outcomes": ("ReplyAndDisconnect",),
    "tieline.rpc.securing": ("ReplyAndStartTLS",),
    "tieline.rpc.server": ("Server", "ServerSession"),
    "tieline.rpc.serving": ("serve",),
    "tieline.rpc.session": ("SessionBase",),
    "tieline.rpc.session_stats": ("SessionStats",),
    "tieline.rpc.statistics": ("Statistics",),
    "tieline.rpc.telemetry": ("OpenTelemetryMetrics",),
    "tieline.runtimes.admission": ("GroupCost",),
    "tieline.runtimes.inherited": ("inherited_sockets",),
    "tieline.runtimes.datagram_endpoints": ("create_datagram_endpoint",),
    "tieline.runtimes.hooks": ("Counts", "Hooks", "MethodCounts"),
    "tieline.runtimes.proxies": ("HTTPConnectProxy", "SOCKSProxy", "check_proxy", "proxy_from_environment"),
    "tieline.runtimes.stream_shapes": ("StreamReader", "StreamWriter"),
    "tieline.streams.dialling": ("create_connection", "create_unix_connection"),
    "tieline.streams.opening": ("open_connection", "open_unix_connection", "start_server", "start_unix_server"),
    "tieline.streams.processes": ("subprocess_exec",),
    "tieline.streams.securing": ("start_tls",),
    "tieline.streams.server": ("StreamServer", "create_server", "create_unix_server"),
    "tieline.wire.framing.base": ("FramerBase",),
    "tieline.wire.framing.bitcoin": ("BitcoinFramer",),
    "tieline.wire.framing.content_length": ("ContentLengthFramer",),
    "tieline.wire.framing.json_stream": ("JSONStreamFramer",),
    "tieline.wire.framing.length_prefixed": ("LengthPrefixedFramer",),
    "tieline.wire.framing.netstring": ("NetstringFramer",),
    "tieline.wire.framing.newline": ("NewlineFramer",),
    "tieline.wire.framing.record_separator": ("RecordSeparatorFramer",),
    "tieline.wire.framing.varint": ("VarintFramer",),
    "tieline.wire.jsonrpc.codecs": ("Codec", "MsgspecCodec"),
    "tieline.wire.jsonrpc.dialects": ("CancelRule", "Dialect"),
    "tieline.wire.jsonrpc.items": ("RPCBatch", "RPCRequest", "RPCResponse"),
    "tieline.wire.jsonrpc.other_codecs": ("DecimalCodec", "StdlibCodec", "StrictCodec"),
    "tieline.wire.jsonrpc.outgoing": ("RPCRequestOut",),
    "tieline.wire.jsonrpc.outgoing_batches": ("RPCBatchOut",),
    "tieline.wire.jsonrpc.protocols": (
        "JSONRPC",
        "JSONRPCAutoDetect",
        "JSONRPCLoose",
        "JSONRPCv1",
        "JSONRPCv2",
        "RPCProtocolBase",
    ),
    "tieline.wire.governance": ("Governance",),
    "tieline.wire.limits": ("DEFAULT", "Limits"),
    "tieline.wire.proxies.socks4": ("SOCKS4", "SOCKS4a"),
    "tieline.wire.proxies.socks5": ("SOCKS5",),
    "tieline.wire.proxies.survey": ("ProxyFinding", "ProxyReport"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DEFAULT",
    "JSONRPC",
    "SOCKS4",
    "SOCKS5",
    "TCP",
    "TLS",
    "UDP",
    "BitcoinFramer",
    "CancelRule",
    "ClientSession",
    "ClosedError",
    "Codec",
    "Command",
    "ConnectionLost",
    "ContentLengthFramer",
    "Counts",
    "DatagramEndpoint",
    "DecimalCodec",
    "Dialect",
    "EndOfStream",
    "Endpoint",
    "ExcessiveResourceUsage",
    "FramerBase",
    "Governance",
    "GroupCost",
    "HTTPConnectError",
    "HTTPConnectProxy",
    "Hooks",
    "JSONRPCAutoDetect",
    "JSONRPCLoose",
    "JSONRPCv1",
    "JSONRPCv2",
    "JSONStreamFramer",
    "LengthPrefixedFramer",
    "Limits",
    "LocalProtocolError",
    "MessageSession",
    "MessageTooLarge",
    "Method",
    "MethodCounts",
    "Methods",
    "MsgspecCodec",
    "NetstringFramer",
    "NewlineFramer",
    "OpenTelemetryMetrics",
    "OutgoingMessageTooLarge",
    "ProcessEnded",
    "ProxyFinding",
    "ProxyReport",
    "RPCBatch",
    "RPCBatchOut",
    "RPCError",
    "RPCProtocolBase",
    "RPCRequest",
    "RPCRequestOut",
    "RPCResponse",
    "RecordSeparatorFramer",
    "RemoteProtocolError",
    "ReplyAndDisconnect",
    "ReplyAndStartTLS",
    "SOCKS4a",
    "SOCKSError",
    "SOCKSFailure",
    "SOCKSProtocolError",
    "SOCKSProxy",
    "SOCKSRandomAuth",
    "SOCKSUserAuth",
    "Server",
    "ServerSession",
    "SessionBase",
    "SessionBusy",
    "SessionStats",
    "Statistics",
    "Stdio",
    "StdlibCodec",
    "StreamReader",
    "StreamReset",
    "StreamServer",
    "StreamTruncated",
    "StreamWriter",
    "StrictCodec",
    "TielineError",
    "UnixDatagram",
    "UnixStream",
    "VarintFramer",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketRefused",
    "check_proxy",
    "connect",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "inherited_sockets",
    "open_connection",
    "open_unix_connection",
    "parse",
    "proxy_from_environment",
    "serve",
    "start_server",
    "start_tls",
    "start_unix_server",
    "subprocess_exec",
]


if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

    def __getattr__(name: str) -> object:
        from tieline.loading import FACES, loaded  # here, since `import tieline` alone needs none of it

        return loaded(globals(), FACES | _HOMES, name)


def __dir__() -> list[str]:
    from tieline.loading import FACES  # as above

    return sorted({*globals(), *__all__, *FACES})
