# SPDX-License-Identifier: MIT
"""What sessions of calls have alike on all runtimes: settings, methods, and the orders that wait for nothing.

`session.py` adds what is awaited, `blocking/session.py` the same for blocking code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tieline.errors import LocalProtocolError
from tieline.rpc.call_engine import CallEngine
from tieline.rpc.core import SessionCore
from tieline.rpc.methods import Methods
from tieline.rpc.session_classes import Caller
from tieline.wire.framing.base import FramerBase
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc.codecs import CheckedCodec
from tieline.wire.jsonrpc.dialects import Dialect
from tieline.wire.jsonrpc.lone import LoneConnection
from tieline.wire.jsonrpc.outgoing import OF_A_CALL, RPCRequestOut, check_on_done
from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2, derived, protocol_for
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.rpc.methods import Method
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.limits import Limits

__all__ = ["CallCore", "CallEngineT", "check_frames_bytes", "check_spoken", "new_connection", "spoken_dialect"]

CallEngineT = TypeVar("CallEngineT", bound=CallEngine)


class CallCore(SessionCore[CallEngineT], Caller):
    """The part of a session of calls that waits for nothing.

    Attributes:
        methods: What the peer may call.
    """

    __slots__ = ("_protocol", "methods")

    def __init__(
        self,
        *,
        rpc_protocol: type[JSONRPC] | None = None,
        framer: FramerBase | type[FramerBase] | Callable[[], FramerBase] | None = None,
        scheduler: None = None,
        loop: object = None,
        methods: Methods | None = None,
        limits: Limits | None = None,
        codec: Codec | None = None,
        dialect: Dialect | str | None = None,
    ) -> None:
        """Prepare a session. No I/O happens here.

        Args:
            rpc_protocol: The JSON-RPC version, as a protocol class; None = `default_rpc_protocol`.
            framer: How messages are separated on the wire, for this session alone; None = `default_framer`.
            scheduler: Must be None.
            loop: None, or the running asyncio loop.
            methods: The methods that the peer may call; None = none.
            limits: None = the defaults.
            codec: How JSON is encoded and decoded; None = that of the protocol class, which is msgspec.
            dialect: Conventions of a known protocol, in place of *rpc_protocol*: a `Dialect`, or the name of a known
                one, such as ``"lsp"``. *framer* takes precedence over that of the dialect.
        """
        if scheduler is not None:
            raise TypeError("scheduler must be None")
        if dialect is not None:
            dialect = spoken_dialect(dialect, rpc_protocol)
            rpc_protocol = protocol_for(dialect)
        protocol = self.default_rpc_protocol() if rpc_protocol is None else rpc_protocol
        check_spoken(protocol, codec)
        if methods is not None and not isinstance(methods, Methods):
            raise TypeError(f"methods must be a Methods registry, not {type(methods).__name__}")
        self.methods = Methods() if methods is None else methods
        self._protocol = protocol if codec is None else derived(protocol, protocol, codec)
        super().__init__(framer, limits, loop)
        if dialect is not None:
            self._dialect_framer = dialect.framer

    @property
    def protocol(self) -> type[JSONRPC]:
        """The protocol class in use; with auto-detection it changes when the peer's version is known."""
        return self._protocol if self._engine is None else self._engine.machine.protocol

    # --- for subclasses ------------------------------------------------------------------------------------------

    def default_rpc_protocol(self) -> type[JSONRPC]:
        """Return the protocol class for sessions that were given none."""
        return JSONRPCv2

    def default_framer(self) -> FramerBase:
        """Return a new framer for sessions that were given none. Limits are resolved by then."""
        return NewlineFramer(self._max_message())

    def request_handler(self, name: str) -> Method | Callable[..., object] | None:
        """Return the handler for requests of the method *name*; None = unknown. Override it to choose dynamically."""
        return self.methods.get(name)

    def notification_handler(self, name: str) -> Method | Callable[..., object] | None:
        """Return the handler for notifications of *name*; None = ignore them. Override it to choose dynamically."""
        return self.methods.get(name)

    # --- calls ---------------------------------------------------------------------------------------------------

    def send_request(
        self,
        method: str,
        args: object = None,
        on_done: Callable[[RPCRequestOut], object] | None = None,
        *,
        timeout: float | Default | None = DEFAULT,
    ) -> RPCRequestOut:
        """Send a request at once, without waiting, and return an object to await, to cancel, or to watch.

        Args:
            method: The name of the method.
            args: A list or tuple (by position), a dict, dataclass or Struct (by name); None = no arguments.
            on_done: Called with the request when it is answered or has failed.
            timeout: As for `call`.

        Raises:
            SessionBusy: `Limits.max_calls` calls are pending; nothing was sent.
            TypeError: *on_done* is not callable; nothing was sent.
            Exception: What `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        request = engine.host.new_request(method, args)
        if on_done is not None:
            check_on_done(on_done, OF_A_CALL)
            request.add_done_callback(on_done)
        request.request_id = engine.machine.send_request(method, args, request, engine.host.now(), timeout)
        request.watcher = engine
        engine.link.flush_soon()
        return request

    def send_notification(self, method: str, args: object = None) -> None:
        """Send a notification at once, without waiting for room. Otherwise as `notify`.

        *args* is a list or tuple (by position), or a dict, dataclass or Struct (by name); None = no arguments.
        """
        engine = self._connected()
        engine.machine.send_notification(method, args)
        engine.link.flush_soon()

    # --- batches -------------------------------------------------------------------------------------------------

    def new_batch(self, on_done: Callable[[RPCBatchOut], object] | None = None) -> RPCBatchOut:
        """Return an empty batch, to be filled and passed to `send_batch`.

        *on_done* is called with the batch when it is complete.

        Raises:
            TypeError: *on_done* is not callable.
        """
        engine = self._connected()
        return RPCBatchOut(engine.host.new_outcomes(engine.note_early), on_done, engine.machine.calls.next_id)

    def send_batch(
        self,
        batch: RPCBatchOut,
        on_done: Callable[[RPCBatchOut], object] | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> None:
        """Send a batch at once, without waiting; await the batch for its results.

        If this raises, nothing was sent, and the batch is unchanged: it may be sent again, and tasks that await its
        requests keep waiting, until ``batch.cancel()``.

        Raises:
            LocalProtocolError: The batch is empty or was sent before, or the protocol has no batches.
            SessionBusy: More than `Limits.max_calls` calls would be pending with it; nothing was sent.
            TypeError: *on_done* is not callable.
            Exception: What `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        if not isinstance(batch, RPCBatchOut):
            raise TypeError(f"send_batch takes what new_batch returned, not {type(batch).__name__}")
        if batch.is_sent:
            raise LocalProtocolError("the batch has been sent")
        if on_done is not None:
            check_on_done(on_done)
        if batch.has_ended_requests:
            raise LocalProtocolError("a request of the batch is complete or cancelled already")
        machine = engine.machine
        is_alone = not machine.calls.open and not machine.requests.count
        ids = engine.ask_batch_alone(batch.plain_members) if is_alone and timeout is DEFAULT else None
        if ids is None:
            methods, params, tokens = batch.columns()
            ids = machine.send_batch(methods, params, tokens, engine.host.now(), timeout)
            engine.link.flush_soon(is_alone=is_alone)
        batch.sent(ids, engine.forget, on_done)

    # --- for the engine ------------------------------------------------------------------------------------------

    def _new_machine(self, *, accepted: bool) -> LoneConnection:
        """Return the machine of the connection that is about to be made."""
        framer = self._new_framer()
        if not framer.frames_bytes:
            check_frames_bytes(framer)
        return new_connection(self._protocol, framer, self.limits, accepted=accepted, longest_read=0.0)


def spoken_dialect(dialect: Dialect | str, rpc_protocol: object) -> Dialect:
    """Return the dialect that *dialect* is or names; there must be no *rpc_protocol* then.

    Raises:
        TypeError: There is one, or *dialect* is neither.
        ValueError: No dialect has that name.
    """
    if rpc_protocol is not None:
        raise TypeError("dialect excludes rpc_protocol: both say what is spoken")
    if isinstance(dialect, Dialect):
        return dialect
    from tieline.wire.jsonrpc.named_dialects import chosen_dialect  # lazily: most sessions have none

    return chosen_dialect(dialect)


def check_spoken(protocol: object, codec: Any = None) -> None:
    """Refuse what is no protocol class, or no codec; a codec of None is that of the class.

    Raises:
        TypeError: It is none.
    """
    if not (isinstance(protocol, type) and issubclass(protocol, JSONRPC)):
        raise TypeError(f"rpc_protocol must be a subclass of JSONRPC, not {protocol!r}")
    if codec is None:
        return
    lacking = [name for name in ("encode", "decode", "convert") if not callable(getattr(codec, name, None))]
    if lacking:
        raise TypeError(f"codec must be a Codec, and {codec!r} has no {lacking[0]}")
    if isinstance(codec, type) and issubclass(codec, CheckedCodec):
        raise TypeError(f"codec must be an object, not the class {codec.__name__}: did you mean {codec.__name__}()?")


def check_frames_bytes(framer: FramerBase[Any]) -> None:
    """Refuse a framer whose messages are no bytes, which JSON could be read from.

    Raises:
        TypeError: It is such a one.
    """
    if not framer.frames_bytes:
        name = type(framer).__name__
        raise TypeError(f"the messages of a {name} are not bytes: it is for a MessageSession, not for calls")


def new_connection(
    protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool, longest_read: float
) -> LoneConnection:
    """Return the machine of a new connection that speaks *protocol*; the arguments are those of `LoneConnection`."""
    rule = protocol.dialect.cancel
    connection = LoneConnection
    if rule is not None and rule.never:
        from tieline.wire.jsonrpc.handshaking import HandshakingConnection  # lazily: for such dialects alone

        connection = HandshakingConnection
    return connection(protocol, framer, limits, accepted=accepted, longest_read=longest_read)
