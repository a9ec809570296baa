# SPDX-License-Identifier: MIT
"""WebSocket (RFC 6455) without I/O: the core of the package websockets, bounded, and as a filter of bytes."""

from tieline.wire.websocket.client import WebSocketClient
from tieline.wire.websocket.facts import WebSocketInfo
from tieline.wire.websocket.framing import CountedMessages, MessageLines
from tieline.wire.websocket.server import WebSocketServer
from tieline.wire.websocket.visitors import Visitors

__all__ = ["CountedMessages", "MessageLines", "Visitors", "WebSocketClient", "WebSocketInfo", "WebSocketServer"]
