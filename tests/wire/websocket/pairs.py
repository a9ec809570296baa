# SPDX-License-Identifier: MIT
"""Two sides of a WebSocket back to back, and the frames of a peer who keeps to no rule."""

from __future__ import annotations

import os
from typing import Any

from tieline.wire.websocket.client import WebSocketClient
from tieline.wire.websocket.framing import CountedMessages
from tieline.wire.websocket.server import WebSocketServer
from tieline.wire.websocket.stream import WebSocketStream

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def new_client(host: str, port: int, **settings: Any) -> WebSocketClient:
    """Return a client's side before its handshake."""
    return WebSocketClient(host, port, random_bytes=os.urandom, **settings)


def opened(
    client: dict[str, Any] | None = None, server: dict[str, Any] | None = None
) -> tuple[WebSocketClient, WebSocketServer]:
    """Return both sides behind a handshake that must succeed."""
    ours = new_client("server.example", 80, **(client or {}))
    theirs = WebSocketServer(**(server or {}))
    shake(ours, theirs)
    assert (ours.error, theirs.error) == (None, None)
    assert ours.is_ready
    assert theirs.is_ready
    return ours, theirs


def shake(client: WebSocketClient, server: WebSocketServer) -> None:
    """Let both sides say what they have to say in the opening handshake."""
    client.start()
    server.start()
    assert server.receive(client.data_to_send()) == b""
    assert client.receive(server.data_to_send()) == b""


def framed(*messages: bytes) -> bytes:
    """Return *messages* as the layer above hands them down."""
    return CountedMessages().frame(messages)


def messages(data: bytes) -> list[bytes]:
    """Return the messages in what a side has handed up."""
    found, error = CountedMessages(0).take(data)
    assert error is None
    return found


def told(side: WebSocketStream, data: bytes) -> list[bytes]:
    """Return the messages that *side* finds in *data*, in as many turns as it takes."""
    found = messages(side.receive(data))
    while side.has_more:
        found += messages(side.receive(b""))
    return found


def frame(
    opcode: int, content: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0, mask: bytes = bytes(4)
) -> bytes:
    """Return a frame (RFC 6455, section 5.2), in whatever order it is; a mask of zeros changes nothing."""
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    size = len(content)
    mark = 0x80 if masked else 0
    if size < 126:
        head.append(mark | size)
    elif size < 1 << 16:
        head.append(mark | 126)
        head += size.to_bytes(2, "big")
    else:
        head.append(mark | 127)
        head += size.to_bytes(8, "big")
    if not masked:
        return bytes(head) + content
    if not any(mask):
        return bytes(head) + mask + content
    return bytes(head) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


def close_code(output: bytes) -> int:
    """Return the code of the close frame of a server that *output* ends with."""
    at = output.rindex(b"\x88")
    return int.from_bytes(output[at + 2 : at + 4], "big")
