# SPDX-License-Identifier: MIT
"""Where to connect or listen, as frozen values, and the URLs that name them.

All checks happen when a value is made, before any I/O, so whoever holds an endpoint holds a possible one. What it
resolves to, and whether anybody is there, is for the runtimes.

Here are the endpoints of streams. Those of datagrams are in their own file, which other programs need not load.
"""

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.tcp import TCP
from tieline.endpoints.tls import TLS
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import (
    Endpoint,
    StreamEndpoint,
    carrier_of,
    connection_endpoint,
    parse,
)
from tieline.endpoints.websocket import WebSocket

__all__ = [
    "TCP",
    "TLS",
    "Command",
    "Endpoint",
    "Stdio",
    "StreamEndpoint",
    "UnixStream",
    "WebSocket",
    "carrier_of",
    "connection_endpoint",
    "parse",
]
