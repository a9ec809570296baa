# SPDX-License-Identifier: MIT
"""The side of a WebSocket that opens it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import WebSocketRefused
from tieline.wire.websocket.facts import WebSocketInfo
from tieline.wire.websocket.stream import SILENT_LOGGER, WebSocketStream, deflate_factories, fault_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from websockets.client import ClientProtocol

    from tieline.wire.carriage import Carriage


__all__ = ["WebSocketClient"]

# RFC 9112, section 4. The reason phrase is the server's own words, so nobody is shown it.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")
_BEGINNING: Final = b"HTTP/1."
_SWITCHING_PROTOCOLS: Final = 101
# How many heads may come before that of the answer, "103 Early Hints" for one.
_MAX_INTERIM_HEADS: Final = 8


class WebSocketClient(WebSocketStream):
    """A client's side.

    Args:
        host: The server's host, for the header ``Host``.
        port: Its port.
        random_bytes: As for `WebSocketStream`.
        secure: Whether there is TLS below, which decides what the usual port is.
        path: What to ask for, the query included.
        headers: More headers of ours, in their order.
        origin: What to say of the page that we belong to; None = nothing, as programs do.
        subprotocols: Those that we would speak, the best one first.
        compression: Whether to offer permessage-deflate.
        max_message: As for `WebSocketStream`.
        binary: As for `WebSocketStream`.
        carriage: As for `WebSocketStream`.
    """

    __slots__ = ("_extra_headers", "_interim_heads")

    _core: ClientProtocol

    def __init__(
        self,
        host: str,
        port: int,
        *,
        random_bytes: Callable[[int], bytes],
        secure: bool = False,
        path: str = "/",
        headers: Iterable[tuple[str, str]] = (),
        origin: str | None = None,
        subprotocols: Sequence[str] = (),
        compression: bool = False,
        max_message: int | None = None,
        binary: bool = False,
        carriage: Carriage = "counted",
    ) -> None:
        from websockets.client import ClientProtocol
        from websockets.uri import WebSocketURI

        place, _, query = path.partition("?")
        self._extra_headers = tuple(headers)
        self._interim_heads = 0
        offered: Any = list(subprotocols) or None
        said: Any = origin
        core = ClientProtocol(
            WebSocketURI(secure, host, port, place, query, None, None),
            origin=said,
            extensions=deflate_factories("client") if compression else None,
            subprotocols=offered,
            max_size=max_message,
            logger=SILENT_LOGGER,
        )
        super().__init__(core, max_message=max_message, binary=binary, carriage=carriage, random_bytes=random_bytes)

    def start(self) -> None:
        request = self._core.connect()
        for name, value in self._extra_headers:
            if name.lower() == "host":
                del request.headers["Host"]
            request.headers[name] = value
        self._core.send_request(request)
        self._collect()

    def _begins_well(self, head: bytes) -> bool:
        line, end, _ = head.partition(b"\n")
        if not end:
            return _BEGINNING.startswith(head[: len(_BEGINNING)])
        return _STATUS_LINE.fullmatch(line.removesuffix(b"\r") + b"\r\n") is not None

    def _speaks_no_http(self) -> None:
        self.error = WebSocketRefused("the response to the WebSocket handshake does not begin with HTTP/1.")

    def _judge_head(self, head: bytes) -> None:
        found = _STATUS_LINE.match(head)
        if found is None:
            self._speaks_no_http()
            return
        status = int(found[1])
        if status < 200 and status != _SWITCHING_PROTOCOLS:
            # RFC 9110, section 15.2: hints before the answer proper, to be passed over by who does not know them.
            self._interim_heads += 1
            if self._interim_heads > _MAX_INTERIM_HEADS:
                self.error = WebSocketRefused("there is no response to the WebSocket handshake, only interim ones")
            return
        if status != _SWITCHING_PROTOCOLS:
            self.error = _refusal(status)
            return
        self._core.receive_data(head)
        events: list[Any] = self._core.events_received()
        fault = self._core.handshake_exc
        if fault is not None or not events:
            self.error = WebSocketRefused(f"the response to the WebSocket handshake is invalid: {fault_text(fault)}")
            return
        info = WebSocketInfo(
            path=self._core.uri.resource_name,
            headers=tuple(events[0].headers.raw_items()),
            subprotocol=self._core.subprotocol,
            origin=self._core.origin,
        )
        self._opened(info)


def _refusal(status: int) -> WebSocketRefused:
    from http import HTTPStatus  # lazily: for the phrases, which those of the server are not to be trusted with

    meaning = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "unknown status"
    text = f"the server refuses the WebSocket: status {status} ({meaning})"
    if 300 <= status < 400:
        text += "; redirections are not followed"
    return WebSocketRefused(text, status=status)
