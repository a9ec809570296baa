# SPDX-License-Identifier: MIT
"""The errors of what carries a connection, or leads to it: child processes, TLS, WebSockets, proxies.

They are a branch of the tree in `tieline.errors`.
"""

from __future__ import annotations

from tieline.errors import ConnectionLost, TielineError

__all__ = [
    "HTTPConnectError",
    "ProcessEnded",
    "SOCKSError",
    "SOCKSFailure",
    "SOCKSProtocolError",
    "TLSTruncated",
    "WebSocketClosed",
    "WebSocketRefused",
]


class ProcessEnded(ConnectionLost):
    """The child process at the other end has failed: it has ended by a signal or with an exit code other than 0.

    One that ends with 0 is an `EndOfStream`.

    Attributes:
        returncode: Its exit code; -N when signal N ended it.
        stderr: The end of what it wrote to standard error, where that was kept.
    """

    def __init__(self, message: str, returncode: int, stderr: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stderr = stderr


class TLSTruncated(ConnectionLost, EOFError):
    """The TLS stream ended without a close_notify alert (RFC 8446, 6.1): somebody may have cut it."""


class WebSocketClosed(ConnectionLost):
    """The peer closed the WebSocket, as a rule saying why (RFC 6455, section 7.4).

    Attributes:
        code: The close code: 1000 is a normal end, 1001 that the peer goes away, 1005 that it gave none, and 1006 that
            the connection ended without a close frame.
        reason: The reason in the peer's words; may be empty.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        if code == 1006:
            text = "the connection ended without a close frame of WebSocket"
        else:
            text = f"the peer closed the WebSocket with code {code}" + (f": {reason!r}" if reason else "")
        super().__init__(text)
        self.code = code
        self.reason = reason

    @property
    def is_orderly(self) -> bool:
        """Whether the peer just ended, or goes away, and says of no fault."""
        return self.code in (1000, 1001, 1005)


# --- on the way to the peer ---------------------------------------------------------------------------------------


class SOCKSError(TielineError, OSError):
    """No connection through a SOCKS proxy."""


class SOCKSProtocolError(SOCKSError):
    """The proxy does not follow the SOCKS protocol, or went away before the end of its reply."""


class SOCKSFailure(SOCKSError):
    """The proxy follows the protocol, and refuses or fails.

    Attributes:
        code: The reply code, Tor's included; 0xFF where no authentication was accepted, and the status of RFC 1929
            where the password was not.
        meaning: What that means, in a few words; "unknown code" for those that nobody has defined.
    """

    def __init__(self, *args: object, code: int | None = None, meaning: str = "") -> None:
        super().__init__(*args)
        self.code = code
        self.meaning = meaning


class HTTPConnectError(TielineError, OSError):
    """No connection through an HTTP proxy.

    Attributes:
        status: The status of its reply (407: it wants a user name and a password); None = it sent no proper reply.
    """

    def __init__(self, *args: object, status: int | None = None) -> None:
        super().__init__(*args)
        self.status = status


class WebSocketRefused(TielineError, OSError):
    """The opening handshake of a WebSocket failed.

    Attributes:
        status: The HTTP status of the refusal; None = there was none, or this side refused.
    """

    def __init__(self, *args: object, status: int | None = None) -> None:
        super().__init__(*args)
        self.status = status
