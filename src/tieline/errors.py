# SPDX-License-Identifier: MIT
"""The whole error tree: each class says by whose fault and by which cause.

Every class derives from `TielineError` and from the builtin that people already catch for such a fault, so
``except ConnectionError`` and ``except OSError`` do what their names promise. Texts say what was seen and what was
expected, and hold no payloads and no secrets. Of tieline this module imports only what a number must be.
"""

from __future__ import annotations

from tieline.finite import finite_number

__all__ = [
    "BaseProtocolParseError",
    "BusyResourceError",
    "ClientClosedError",
    "ClosedError",
    "ConnectionLost",
    "DatagramProtocolParseError",
    "DeserializeError",
    "EndOfStream",
    "ExcessiveResourceUsage",
    "HTTPConnectError",
    "IncompleteReadError",
    "IncrementalDeserializeError",
    "LimitOverrunError",
    "LocalProtocolError",
    "MessageTooLarge",
    "OutgoingMessageTooLarge",
    "PacketConversionError",
    "ProcessEnded",
    "RPCError",
    "ReadLimitError",
    "RemoteProtocolError",
    "SOCKSError",
    "SOCKSFailure",
    "SOCKSProtocolError",
    "SendTimeout",
    "SessionBusy",
    "StreamProtocolParseError",
    "StreamReset",
    "StreamTruncated",
    "TLSTruncated",
    "TielineError",
    "UnsupportedOperation",
    "WebSocketClosed",
    "WebSocketRefused",
]


class TielineError(Exception):
    """The root of all errors that tieline defines. All can be copied and pickled, with what they tell."""

    def __reduce__(self) -> tuple[object, ...]:
        """Say how to make the same error again: not by its constructor, as Python would, for that makes the text."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[TielineError], args: tuple[object, ...]) -> TielineError:
    """Return an error with *args*, made without its constructor; its attributes are set by who unpickles it."""
    builtin = OSError if issubclass(kind, OSError) else Exception  # the one whose objects have more than args: errno
    error: TielineError = builtin.__new__(kind, *args)
    super(TielineError, error).__init__(*args)
    return error


# --- who broke the rules -----------------------------------------------------------------------------------------


class LocalProtocolError(TielineError, RuntimeError):
    """You asked for something that the protocol, or the current state, does not allow; nothing was sent."""


class RemoteProtocolError(TielineError):
    """The peer violated the protocol."""


class ExcessiveResourceUsage(RemoteProtocolError):
    """The peer has cost more than `Governance.cost_hard_limit` allows; its connection ends.

    Args:
        cost: What it has cost, together with the others of its group.
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
    """A message of yours exceeds the size limit; nothing of it was sent.

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
    """This side had closed the session, or closed it during the operation."""


class ClientClosedError(ClosedError):
    """This side had closed the packet client, or closed it during the operation."""


class ConnectionLost(TielineError, ConnectionAbortedError):
    """The connection was lost; ``__cause__`` is the reason, if one is known."""


class EndOfStream(ConnectionLost, EOFError):
    """The peer ended its stream cleanly, between two messages."""


class StreamTruncated(ConnectionLost, EOFError):
    """The peer ended its stream in the middle of a message.

    Attributes:
        pending: How many bytes of the unfinished message had arrived; 0 where it was over the limit, and thrown away as
            it came.
    """

    def __init__(self, pending: int) -> None:
        received = f"{pending} bytes of it received" if pending else "which was thrown away as it came"
        super().__init__(f"stream ended in the middle of a message ({received})")
        self.pending = pending


class ProcessEnded(ConnectionLost):
    """The child process at the other end has failed: it was killed by a signal, or exited with a code other than 0.

    One that exits with 0, or closes its output and lives on, is an `EndOfStream`.

    Attributes:
        returncode: Its exit code; -N if it was killed by signal N.
        stderr: The end of what it wrote to standard error, if that was kept.
    """

    def __init__(self, message: str, returncode: int, stderr: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stderr = stderr


class StreamReset(ConnectionLost, ConnectionResetError):
    """The connection was reset, by the peer or by something in between."""


class TLSTruncated(ConnectionLost, EOFError):
    """The TLS stream ended without a close_notify alert (RFC 8446, 6.1): somebody may have cut it."""


class WebSocketClosed(ConnectionLost):
    """The peer closed the WebSocket, usually with a reason (RFC 6455, section 7.4).

    Attributes:
        code: The close code: 1000 is a normal end, 1001 means that the peer goes away, 1005 that it gave no code, and
            1006 that the connection ended without a close frame.
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
        """Whether the peer closed normally or goes away, without reporting a fault."""
        return self.code in (1000, 1001, 1005)


# --- streams of bytes --------------------------------------------------------------------------------------------


class IncompleteReadError(TielineError, EOFError):
    """A stream of bytes ended before all that was asked for had come. (On asyncio: ``asyncio.IncompleteReadError``.)

    Attributes:
        partial: What had come.
        expected: How many bytes were asked for; None where that was up to a separator.
    """

    def __init__(self, partial: bytes, expected: int | None) -> None:
        wanted = "a separator" if expected is None else f"{expected} bytes"
        super().__init__(f"the stream ended after {len(partial)} bytes, and {wanted} had not come")
        self.partial = partial
        self.expected = expected


class ReadLimitError(TielineError, ValueError):
    """The separator that was looked for is further away than the limit. (On asyncio: ``asyncio.LimitOverrunError``.)

    Attributes:
        consumed: How many bytes there are before it, as far as they have come.
    """

    def __init__(self, message: str, consumed: int) -> None:
        super().__init__(message)
        self.consumed = consumed


# --- too much at once --------------------------------------------------------------------------------------------


class BusyResourceError(TielineError, RuntimeError):
    """Two tasks used something at the same time that only one may use."""


class SessionBusy(TielineError, RuntimeError):
    """Too many calls of this side are pending; nothing was sent.

    Attributes:
        limit: How many calls may be pending at once.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} calls are unanswered, which is the limit")
        self.limit = limit


# --- answers -----------------------------------------------------------------------------------------------------


TYPE_CHECKING = False  # checkers take this name for true; `typing` itself takes longer to load than all of this

_LEFT_OUT = {"code": None, "message": None, "request_id": None, "data": None, "cost": 0.0}


class RPCError(TielineError):
    """An error reply of JSON-RPC: received from the peer, or raised by a handler to be sent to it.

    Compared by identity, and hashable.

    Args:
        code: The error code, an integer (JSON-RPC 2.0, section 5.1). -32768 to -32000 are reserved by JSON-RPC.
        message: One line for people.
        request_id: The id of the request that it answers; None if that is unknown or not yet set.
        data: Anything that JSON can carry, sent in the member ``data``; None leaves the member out.
        cost: What the error adds to the session's cost, on top of the base cost of any error.

    Raises:
        TypeError: *code* is not an integer, *message* not a string, or *cost* not a number.
        ValueError: *cost* is not finite.
    """

    code: int
    message: str
    request_id: object
    data: object
    cost: float

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

    if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

        def __getattr__(self, name: str) -> object:
            """Return what takes the place of what a user's constructor, which does not call that above, has left out.

            So it is no error that can be sent, and that is logged. Attributes of the class would do, but for
            dataclasses that are derived from it: they take such for the defaults of their own fields.
            """
            if name in _LEFT_OUT:
                return _LEFT_OUT[name]
            return super().__getattribute__(name)  # raises as ever

    def __str__(self) -> str:
        text = f"{self.message} (code {self.code})"
        return text.encode("utf-8", "backslashreplace").decode()  # no log could print a lone surrogate

    def __repr__(self) -> str:
        return f"RPCError({self.code}, {self.message!r})"


# --- proxies -----------------------------------------------------------------------------------------------------


class SOCKSError(TielineError, OSError):
    """A connection through a SOCKS proxy failed."""


class SOCKSProtocolError(SOCKSError):
    """The proxy violated the SOCKS protocol, or closed the connection before the end of its reply."""


class SOCKSFailure(SOCKSError):
    """The proxy refused the connection, or failed to make it.

    Attributes:
        code: The reply code, including those of Tor; 0xFF if no authentication method was accepted, and the status of
            RFC 1929 if the password was not.
        meaning: What that means, in a few words; "unknown code" if it is not defined.
    """

    def __init__(self, *args: object, code: int | None = None, meaning: str = "") -> None:
        super().__init__(*args)
        self.code = code
        self.meaning = meaning


class HTTPConnectError(TielineError, OSError):
    """A connection through an HTTP proxy failed.

    Attributes:
        status: The status of its response (407: it requires a user name and a password); None = it sent no valid
            response.
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


# --- packets -----------------------------------------------------------------------------------------------------


class DeserializeError(TielineError):
    """The peer's bytes are not a valid packet of the serializer in use.

    Attributes:
        error_info: Additional information from your own serializer. tieline's serializers leave it empty: it would
            contain the peer's bytes.
    """

    def __init__(self, message: str = "", error_info: object = None) -> None:
        super().__init__(message)
        self.error_info = error_info


def _checked_rest(error: Exception, remaining_data: bytes) -> bytes:
    """Return *remaining_data*, which serializers and protocols of users make.

    Raises:
        TypeError: It is no bytes.
    """
    given: object = remaining_data  # users pass anything, and swap the two
    if not isinstance(given, bytes | bytearray | memoryview):
        takes = f"{type(error).__name__} takes (message, remaining_data)"
        raise TypeError(f"{takes}: remaining_data must be bytes, not {type(given).__name__}")
    return remaining_data


class IncrementalDeserializeError(DeserializeError):
    """Bytes in a stream are not a valid packet.

    Attributes:
        remaining_data: The bytes after the invalid ones, which are still to be read.
    """

    def __init__(self, message: str, remaining_data: bytes = b"", error_info: object = None) -> None:
        super().__init__(message, error_info)
        self.remaining_data = _checked_rest(self, remaining_data)


class LimitOverrunError(IncrementalDeserializeError):
    """A packet in a stream exceeds the serializer's limit.

    Attributes:
        limit: The limit in bytes.
    """

    def __init__(self, message: str, remaining_data: bytes = b"", *, limit: int) -> None:
        super().__init__(message, remaining_data)
        self.limit = limit


class SendTimeout(TielineError, TimeoutError):
    """A blocking client could not send in time.

    Attributes:
        sent: Whether the packet will be sent all the same: then it is sent whole, before all later packets.
        sent_before: How many packets of the same ``send_packets`` were sent before, one datagram each. 0 over streams,
            where all of them are sent together.
    """

    def __init__(self, *args: object, sent: bool = False, sent_before: int = 0) -> None:
        super().__init__(*args)
        self.sent = sent
        self.sent_before = sent_before


class PacketConversionError(TielineError):
    """A converter cannot convert what was deserialized into a packet, or the other way round.

    Attributes:
        error_info: Additional information from the converter.
    """

    def __init__(self, message: str = "", error_info: object = None) -> None:
        super().__init__(message)
        self.error_info = error_info


class BaseProtocolParseError(TielineError):
    """The peer sent something that is not a valid packet; reading goes on after it. The base of the next two."""

    @property
    def error(self) -> BaseException | None:
        """The error of the serializer or the converter, which is the cause (``__cause__``).

        That is a `DeserializeError` or a `PacketConversionError`; None if your own protocol gives no cause.
        """
        return self.__cause__

    def __reduce__(self) -> tuple[object, ...]:
        """Say how to make the same error again; with its cause, which is what there is to know."""
        again, args, told = super().__reduce__()
        return again, args, told if self.__cause__ is None else {**self.__dict__, "__cause__": self.__cause__}


class StreamProtocolParseError(BaseProtocolParseError):
    """A stream contained something that is not a valid packet; reading goes on after it.

    Attributes:
        remaining_data: If your own protocol raises it: the bytes after the invalid ones, which are still to be read.
            When a client raises it, it is empty.
    """

    def __init__(self, message: str = "", remaining_data: bytes = b"") -> None:
        super().__init__(message)
        self.remaining_data = _checked_rest(self, remaining_data)


class DatagramProtocolParseError(BaseProtocolParseError):
    """A datagram was not a valid packet; reading goes on with the next one."""


class UnsupportedOperation(TielineError, NotImplementedError):
    """This kind of connection does not support that."""
