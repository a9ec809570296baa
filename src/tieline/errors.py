# SPDX-License-Identifier: MIT
"""The tree of errors, as far as any connection may meet them: each class says by whose fault and by which cause.

Every class derives from `TielineError` and from the builtin that people already catch for such a fault, so
``except ConnectionError`` and ``except OSError`` do what their names promise. Texts say what was seen and what was
expected, and hold no payloads and no secrets. Of tieline this module imports only what a number must be.

Two branches are in files of their own, which not every program loads: those of packets and plain streams of bytes in
``wire/packet_errors.py``, and those of proxies, WebSockets, TLS and child processes in ``wire/carrier_errors.py``.
`tieline.exceptions` has all of them.
"""

from __future__ import annotations

from tieline.finite import finite_number

__all__ = [
    "ClosedError",
    "ConnectionLost",
    "EndOfStream",
    "ExcessiveResourceUsage",
    "LocalProtocolError",
    "MessageTooLarge",
    "OutgoingMessageTooLarge",
    "RPCError",
    "RemoteProtocolError",
    "SessionBusy",
    "StreamReset",
    "StreamTruncated",
    "TielineError",
    "UnsupportedOperation",
]


class TielineError(Exception):
    """The root of all errors that tieline defines."""


# --- who broke the rules -----------------------------------------------------------------------------------------


class LocalProtocolError(TielineError, RuntimeError):
    """You asked for something that is illegal in this state; nothing was sent."""


class RemoteProtocolError(TielineError):
    """The peer sent something that its protocol forbids."""


class ExcessiveResourceUsage(RemoteProtocolError):
    """The peer has cost more than `Governance.cost_hard_limit` allows; its connection ends.

    Args:
        cost: What it has cost, with the others of its group.
        limit: The limit.
    """

    def __init__(self, cost: float, limit: float) -> None:
        super().__init__(f"excessive resource usage (cost {cost:.0f}, limit {limit:g})")
        self.cost = cost
        self.limit = limit


class MessageTooLarge(RemoteProtocolError, MemoryError):
    """The peer sent a message over the size limit.

    Attributes:
        limit: The limit in bytes.
        seen: How many bytes of the message had arrived when it was refused; it may have been longer.
        announced: Its size as the peer announced it, where that was enough to refuse it; else None.
    """

    def __init__(self, limit: int, seen: int, *, announced: int | None = None) -> None:
        why = f"at least {seen} bytes received" if announced is None else f"{announced} bytes announced"
        super().__init__(f"message too large (limit {limit}): {why}")
        self.limit = limit
        self.seen = seen
        self.announced = announced


class OutgoingMessageTooLarge(LocalProtocolError, ValueError):
    """A message of yours is over the size limit; it was refused before a byte of it was sent.

    Attributes:
        limit: The limit in bytes.
        size: The size of the message in bytes.
    """

    def __init__(self, limit: int, size: int) -> None:
        super().__init__(f"outgoing message of {size} bytes is over the limit of {limit} bytes")
        self.limit = limit
        self.size = size


# --- the connection ended ----------------------------------------------------------------------------------------


class ClosedError(TielineError, ConnectionError):
    """This side had closed the session, or closed it while the operation was under way."""


class ConnectionLost(TielineError, ConnectionAbortedError):
    """The connection went away; the cause is chained where there is one (``__cause__``)."""


class EndOfStream(ConnectionLost, EOFError):
    """The peer ended its stream cleanly, between two messages."""


class StreamTruncated(ConnectionLost, EOFError):
    """The peer ended its stream in the middle of a message.

    Attributes:
        pending: How many bytes of the unfinished message had arrived.
    """

    def __init__(self, pending: int) -> None:
        super().__init__(f"stream ended in the middle of a message ({pending} bytes of it received)")
        self.pending = pending


class StreamReset(ConnectionLost, ConnectionResetError):
    """The peer, or something between, reset the connection."""


# --- too much at once --------------------------------------------------------------------------------------------


class SessionBusy(TielineError, RuntimeError):
    """The window of unanswered outgoing calls is full; nothing was sent.

    Attributes:
        limit: How many calls may be unanswered at once.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} calls are unanswered, which is the limit")
        self.limit = limit


# --- answers -----------------------------------------------------------------------------------------------------


class RPCError(TielineError):
    """An error answer of JSON-RPC: received from the peer, or raised by a handler to be sent to it.

    Compared by identity, and hashable.

    Args:
        code: The error code, an integer (JSON-RPC 2.0, section 5.1).
        message: One line for people.
        request_id: The id of the request that it answers; None when that is unknown or not yet set.
        data: Anything that JSON can carry, sent in the member ``data``; None leaves the member out.
        cost: What the error adds to the session's cost, over the base cost of any error.

    Raises:
        TypeError: *code* is no integer, *message* no string, or *cost* no number.
        ValueError: *cost* is not finite.
    """

    def __init__(
        self, code: int, message: str, request_id: object = None, *, data: object = None, cost: float = 0.0
    ) -> None:
        known_type: object = type(code)  # users pass anything, and swap the two
        if known_type is bool or not isinstance(code, int):
            raise TypeError(f"RPCError takes (code, message): code must be an int, not {type(code).__name__}")
        if not isinstance(message, str):
            raise TypeError(f"RPCError takes (code, message): message must be a str, not {type(message).__name__}")
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.request_id = request_id
        self.data = data
        self.cost = finite_number("cost", cost)

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"

    def __repr__(self) -> str:
        return f"RPCError({self.code}, {self.message!r})"


class UnsupportedOperation(TielineError, NotImplementedError):
    """This kind of connection cannot do that."""
