# SPDX-License-Identifier: MIT
"""HTTP CONNECT: a tunnel through an HTTP proxy (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import ClassVar, Final

from tieline.errors import HTTPConnectError
from tieline.wire.proxies.dialogue import Dialogue, Talk
from tieline.wire.proxies.hosts import as_ip, check_port, name_bytes

__all__ = ["MAX_HEAD", "HTTPConnect"]

# The most bytes of heads that are read, those of 1xx replies included.
MAX_HEAD: Final = 16 * 1024

# RFC 9112, section 4. Where there is no reason phrase, some leave out the space before it too. What is in it does not
# matter: nobody is shown it.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: .*)?", re.DOTALL)

_BEGINNING: Final = b"HTTP/1."

# The shortest head: a status line without a reason, and two bare line ends.
_SHORTEST: Final = len(b"HTTP/1.1 200\n\n")


class HTTPConnect(Dialogue[int]):
    """CONNECT; its result is the status, one of 2xx.

    Args:
        host: A name, which the proxy looks up, or an address.
        port: The port.
        credentials: User name and password, for Basic authentication (RFC 7617); None = none.

    Raises:
        ValueError: *host* is neither, or a user name has a colon in it.
    """

    __slots__ = ()

    title: ClassVar[str] = "HTTP"
    cut_error = HTTPConnectError

    def __init__(self, host: str, port: int, *, credentials: tuple[bytes, bytes] | None = None) -> None:
        check_port(port)
        address = as_ip(host)
        name = name_bytes(host) if address is None else str(address).encode()
        place = b"%b:%d" % (b"[%b]" % name if b":" in name else name, port)
        request = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (place, place)
        if credentials is not None:
            user, password = credentials
            if b":" in user:
                raise ValueError("a user name for an HTTP proxy must hold no colon")
            request += b"Proxy-Authorization: Basic %b\r\n" % b64encode(b"%b:%b" % (user, password))
        super().__init__(_spoken(request + b"\r\n", credentials is not None))


def _spoken(output: bytes, has_credentials: bool) -> Talk[int]:
    room = MAX_HEAD
    while True:
        head = yield from _head(output, room, has_credentials)
        status = _status(head)
        if status >= 200:
            return status
        # 1xx comes before the reply.
        room -= len(head)
        output = b""


def _head(output: bytes, room: int, has_credentials: bool) -> Talk[bytearray]:
    """Read one head to its end, or as far as its status, if that refuses.

    Never is more asked for than must belong to the head, so it takes many small reads; heads are short.
    """
    head = bytearray((yield output, len(_BEGINNING)))
    if bytes(head) != _BEGINNING:
        raise HTTPConnectError(f"the HTTP proxy did not begin its reply with HTTP/1. but with 0x{head[0]:02X}...")
    head += yield b"", _SHORTEST - len(_BEGINNING)
    _check_status(_status(head), has_credentials)
    while not head.endswith((b"\n\n", b"\n\r\n")):
        if len(head) >= room:
            raise HTTPConnectError(f"the head of the HTTP proxy's reply is over the limit of {MAX_HEAD} bytes")
        # Behind a line end one byte may be all that is missing. Within any line, two line ends must follow.
        head += yield b"", 1 if head.endswith((b"\n", b"\n\r")) else 2
    return head


def _status(head: bytearray) -> int:
    """Return the status that the first line of *head* tells, whose reason may be incomplete."""
    line, _, _ = head.partition(b"\n")
    found = _STATUS_LINE.fullmatch(line.removesuffix(b"\r"))
    if found is None:
        raise HTTPConnectError("the first line of the HTTP proxy's reply is not a status line")
    return int(found[1])


def _check_status(status: int, has_credentials: bool) -> None:
    """Refuse what is neither 2xx nor comes before it; 101 is the reply, and to another question."""
    if 100 <= status < 300 and status != 101:
        return
    from http import HTTPStatus  # lazily: for the phrases, which those of the proxy are not to be trusted with

    meaning = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "unknown status"
    text = f"the HTTP proxy refuses: status {status} ({meaning})"
    if status == 407:
        text += ": it does not accept the user name and the password" if has_credentials else ": it wants a user name"
    raise HTTPConnectError(text, status=status)
