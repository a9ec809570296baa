# SPDX-License-Identifier: MIT
"""The side of a WebSocket that is asked to open it; what else comes by HTTP gets a short answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import WebSocketRefused
from tieline.wire.websocket.facts import WebSocketInfo
from tieline.wire.websocket.stream import MAX_HEAD, SILENT_LOGGER, WebSocketStream, deflate_factories, fault_text
from tieline.wire.websocket.visitors import Visitors, is_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from websockets.http11 import Request, Response
    from websockets.server import ServerProtocol

    from tieline.wire.carriage import Carriage

__all__ = ["WebSocketServer"]

_PHRASES: Final = {
    200: b"OK",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
}
_SWITCHING_PROTOCOLS: Final = 101
# RFC 6455, section 4.2.2: who speaks another version is told ours.
_OUR_VERSION: Final = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
_ALLOWED: Final = b"Allow: GET, HEAD\r\n"
# What a request for a proxy asks for, which servers must take as well (RFC 9112, section 3.2.2).
_ABSOLUTE: Final = re.compile(r"(?:https?|wss?)://([^/?]*)(.*)", re.IGNORECASE)
# What a request line looks like (RFC 9112, section 3), and what the beginning of one does.
_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [!-~]+ HTTP/1\.[01]\r\n")
_BEGINNING: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}( [!-~]*( [!-~]*\r?)?)?")


class WebSocketServer(WebSocketStream):
    """A server's side.

    What is no handshake of WebSocket gets a short answer of HTTP, and nothing that follows it is read: 404 for another
    path, 426 for a plain request, 403 for a visitor who may not come, 400 and 431 for a head that is none.

    Args:
        path: The only path that there is, without query; None = any.
        health_path: A path that is answered with status 200, for those who ask whether the server lives; None = none.
        visitors: Who may come.
        headers: More headers of ours in the answer, in their order.
        subprotocols: Those that we speak, the best one first; a client that offers only others is refused, and one
            that offers none is not.
        compression: Whether to agree to permessage-deflate.
        max_message: As for `WebSocketStream`.
        binary: As for `WebSocketStream`.
        carriage: As for `WebSocketStream`.
    """

    __slots__ = ("_extra_headers", "_health_path", "_path", "_visitors")

    _core: ServerProtocol

    def __init__(
        self,
        *,
        path: str | None = None,
        health_path: str | None = None,
        visitors: Visitors = Visitors(),  # noqa: B008  # a frozen value
        headers: Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        compression: bool = False,
        max_message: int | None = None,
        binary: bool = False,
        carriage: Carriage = "counted",
    ) -> None:
        from websockets.server import ServerProtocol

        spoken: Any = list(subprotocols) or None
        core = ServerProtocol(
            extensions=deflate_factories("server") if compression else None,
            subprotocols=spoken,
            select_subprotocol=_select_subprotocol,
            max_size=max_message,
            logger=SILENT_LOGGER,
        )
        super().__init__(core, max_message=max_message, binary=binary, carriage=carriage)
        self._path = path
        self._health_path = health_path
        self._visitors = visitors
        self._extra_headers = tuple(headers)

    def start(self) -> None:
        """Do nothing: the client begins."""

    def _begins_well(self, head: bytes) -> bool:
        line, end, _ = head.partition(b"\n")
        if not end:
            return _BEGINNING.fullmatch(line) is not None
        return _REQUEST_LINE.fullmatch(line.removesuffix(b"\r") + b"\r\n") is not None

    def _speaks_no_http(self) -> None:
        self._answer(400, "this is not an HTTP request")

    def _bare_newline(self) -> None:
        self._answer(400, "a line of the head does not end with CR LF")

    def _head_too_long(self) -> None:
        self._answer(431, f"the head of the request is over the limit of {MAX_HEAD} bytes")

    def _judge_head(self, head: bytes) -> None:
        if not _REQUEST_LINE.match(head):
            self._speaks_no_http()
            return
        method, target, _ = head.decode("latin-1").split(" ", 2)
        absolute = _ABSOLUTE.fullmatch(target)
        host = None if absolute is None else absolute[1]
        if absolute is not None:
            target = absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
        if not target.startswith("/") or "#" in target:
            # Such go to proxies, or to nobody (RFC 9112, section 3.2); others may read another path in them.
            self._answer(400, "the target of the request is no path")
            return
        path = target.partition("?")[0]
        if path == self._health_path:
            self._answer_watcher(method)
            return
        if self._path is not None and path != self._path:
            self._answer(404, "there is nothing at this path")
            return
        self._core.receive_data(head)
        events: list[Any] = self._core.events_received()
        if not events:
            self._refuse_head(b"".join(self._core.data_to_send()))
            return
        events[0].path = target
        self._judge_request(events[0], host)

    def _answer_watcher(self, method: str) -> None:
        """Answer who asks by *method* whether the server lives."""
        if method in ("GET", "HEAD"):
            self._answer(200, "in good health", has_body=method == "GET")
        else:
            self._answer(405, "this is to be asked by GET", _ALLOWED)

    def _refuse_head(self, refusal: bytes) -> None:
        """Refuse what websockets cannot read; it has a *refusal* of its own where there are too many headers."""
        if refusal:
            status = int(refusal.split(b" ", 2)[1])
            self._output.append(refusal)
            text = "too many headers, or too long ones"
            self.error = WebSocketRefused(f"answered with status {status}: {text}", status=status)
        else:
            # A body, for one, which an opening handshake has not.
            self._answer(400, "this request does not open a WebSocket")

    def _judge_request(self, request: Request, host: str | None) -> None:
        """Judge a *request*, whose target names a *host*, or none; one that does is right, and the header is not."""
        headers = request.headers
        received = tuple(headers.raw_items())
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        if len(hosts) > 1 or len(origins) > 1:
            self._answer(400, "the headers Host and Origin must come once at most")
            return
        if not hosts or not is_host(hosts[0]):
            self._answer(400, "the header Host is missing, or is not a host")  # RFC 9112, section 3.2
            return
        if host is not None and not is_host(host):
            self._answer(400, "the target of the request names no host")
            return
        objection = self._visitors.objection(host or hosts[0], origins[0] if origins else None)
        if "Upgrade" in headers:
            if objection is not None:
                self._answer(403, objection)
                return
            if headers.get_all("Sec-WebSocket-Version") not in ([], ["13"]):
                self._answer(426, "this server speaks version 13 of WebSocket", _OUR_VERSION)
                return
            offers = ",".join(headers.get_all("Upgrade")).split(",")
            if any(one.strip().lower() == "websocket" for one in offers):
                # It is enough that it is among them (RFC 6455, section 4.2.1), and for the core it is to be alone.
                del headers["Upgrade"]
                headers["Upgrade"] = "websocket"
        response: Response = self._core.accept(request)
        accepted = response.status_code == _SWITCHING_PROTOCOLS
        if accepted:
            for name, value in self._extra_headers:
                response.headers[name] = value
        self._core.send_response(response)
        self._collect()
        if not accepted:
            status = response.status_code
            is_told = status in (400, 426)
            text = fault_text(self._core.handshake_exc) if is_told else response.reason_phrase
            self.error = WebSocketRefused(f"refused with status {status}: {text}", status=status)
            return
        info = WebSocketInfo(
            path=request.path,
            headers=received,
            subprotocol=self._core.subprotocol,
            origin=origins[0] if origins else None,
        )
        self._opened(info)

    def _answer(self, status: int, text: str, headers: bytes = b"", *, has_body: bool = True) -> None:
        """Answer with *status* and a line of *text*, and read nothing more. *headers* are more of them.

        Without a body there is only what would stand before it (RFC 9110, section 9.3.2).
        """
        body = text.encode() + b"\n"
        self._output.append(
            b"HTTP/1.1 %d %b\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\n%b\r\n%b"
            % (status, _PHRASES[status], len(body), headers, body if has_body else b"")
        )
        self.error = WebSocketRefused(f"answered with status {status}: {text}", status=status)


def _select_subprotocol(core: ServerProtocol, offered: Sequence[Any]) -> Any:
    """Return the one of ours that is best, among those that are *offered*."""
    from websockets.exceptions import NegotiationError

    ours = core.available_subprotocols or ()
    if not ours or not offered:
        return None
    for name in ours:
        if name in offered:
            return name
    raise NegotiationError("none of the subprotocols that are offered is spoken here")
