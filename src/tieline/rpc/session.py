# SPDX-License-Identifier: MIT
"""Sessions: calls, notifications and batches over one connection, in both directions.

`SessionBase` is what client and server sessions share; users derive from those (`client.py`, `server.py`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from tieline.errors import LocalProtocolError
from tieline.rpc.binding import Caller
from tieline.rpc.call_engine import CallEngine
from tieline.rpc.hints import unknown_method
from tieline.rpc.life import SessionLife
from tieline.rpc.methods import Methods
from tieline.rpc.overrides import overrides
from tieline.rpc.securing import ask_for_tls, client_settings
from tieline.wire.framing.base import FramerBase
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.outgoing import RPCBatchOut, RPCRequestOut
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2, derived
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tieline.endpoints.secured import TLSChoice
    from tieline.rpc.methods import Method
    from tieline.rpc.owner import CallOwner
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.items import RPCRequest
    from tieline.wire.limits import Limits

__all__ = ["SessionBase", "check_frames_bytes"]


class SessionBase(SessionLife[CallEngine], Caller):
    """One side of a JSON-RPC connection. Both sides can call each other, at the same time.

    Use it in the event loop that it was connected in, from any number of tasks; it is not thread-safe.

    Attributes:
        methods: What the peer may call.
        limits: What the connection may cost.
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
    ) -> None:
        """Prepare a session. No I/O happens here.

        Args:
            rpc_protocol: The protocol class to speak; None = `default_rpc_protocol`.
            framer: How messages are framed, for this session alone; None = `default_framer`.
            scheduler: Must be None.
            loop: None, or the running asyncio loop.
            methods: What the peer may call; None = nothing.
            limits: None = the defaults.
            codec: How JSON is read and written; None = that of the protocol class, which is msgspec.
        """
        if scheduler is not None:
            raise TypeError("scheduler must be None")
        protocol = self.default_rpc_protocol() if rpc_protocol is None else rpc_protocol
        if not issubclass(protocol, JSONRPC):
            raise TypeError(f"rpc_protocol must be a subclass of JSONRPC, not {protocol!r}")
        if methods is not None and not isinstance(methods, Methods):
            raise TypeError(f"methods must be a Methods registry, not {type(methods).__name__}")
        self.methods = Methods() if methods is None else methods
        self._protocol = protocol if codec is None else derived(protocol, protocol, codec)
        super().__init__(framer, limits, loop)

    @property
    def protocol(self) -> type[JSONRPC]:
        """The protocol class in use; with auto-detection it changes when the peer's dialect is known."""
        return self._protocol if self._engine is None else self._engine.machine.protocol

    # --- for subclasses ------------------------------------------------------------------------------------------

    def default_rpc_protocol(self) -> type[JSONRPC]:
        """Return the protocol class for sessions that were given none."""
        return JSONRPCv2

    def default_framer(self) -> FramerBase:
        """Return a new framer for sessions that were given none. The limits are resolved by then."""
        return NewlineFramer.with_limit(self._max_message())

    async def handle_request(self, request: RPCRequest) -> object:
        """Handle a request or notification of the peer and return its result. Override it to see all of them.

        May be plain or async. Raise `RPCError` to answer with an error, `ReplyAndDisconnect` to end the session
        behind the answer; anything else becomes an internal error, without its text.
        """
        name = str(request.method)
        handling = self._connected().handling
        method = handling.find(name, is_notification=request.is_notification())
        if method is None:
            raise self.protocol.method_not_found(unknown_method(name))
        result = handling.invoke(method, request.args)
        return await result if method.is_async else result

    def request_handler(self, name: str) -> Method | Callable[..., object] | None:
        """Return what handles requests of the method *name*; None = nobody. Override it to decide by name."""
        return self.methods.get(name)

    def notification_handler(self, name: str) -> Method | Callable[..., object] | None:
        """Return what handles notifications of the method *name*; None = nobody. Override it to decide by name."""
        return self.methods.get(name)

    # --- calls ---------------------------------------------------------------------------------------------------

    async def call(
        self, method: str, /, *args: object, timeout: float | Default | None = DEFAULT, **kwargs: object
    ) -> Any:
        """Call *method* on the peer and return its result.

        Arguments go by position or by name, not both. Waits for room first when the peer is slow or
        `Limits.max_calls` calls are open; the timeout counts from the start. Cancelling is safe for the connection:
        the call is forgotten and a late reply dropped. It is not undone: the peer may have run the method, or may
        still run it.

        Args:
            method: The method's name.
            args: Its arguments, by position.
            timeout: Seconds to wait; None = for ever; DEFAULT = `Limits.call_timeout` (30 s, up to an eighth later).
            kwargs: Its arguments, by name. (For one that is called ``timeout`` use `send_request`.)

        Raises:
            RPCError: The peer answered with an error.
            TimeoutError: No answer in time; the session stays open.
            ConnectionLost: The connection went down first; see ``__cause__``.
            ClosedError: The session is closed by this side.
            RemoteProtocolError: The answer is none by the rules of the protocol.
            OutgoingMessageTooLarge: The encoded call is over `Limits.max_message`; nothing was sent.
            TypeError: Arguments by position and by name, or of a type that JSON cannot carry; nothing was sent.
        """
        engine = self._engine
        if engine is None or engine.started is None:
            engine = self._connected()  # which says what is wrong
        if args and kwargs:
            raise TypeError("give the arguments by position or by name, not both: JSON-RPC has no way to say both")
        machine = engine.machine
        if not machine.has_free_room and not engine.has_free_room():
            timeout = await self._wait_for_room(engine, timeout)
        host = engine.host
        waiter = host.new_waiter()
        call_id = machine.send_request(method, kwargs or args, waiter, host.now(), timeout)
        engine.link.flush_soon()
        try:
            return await waiter
        except BaseException:
            engine.forget(call_id)
            raise

    async def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a notification: a call without an answer.

        Waits for room when the peer is slow. Returns when the notification is queued; whether it arrives is not told.
        Raises what `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        if args and kwargs:
            raise TypeError("give the arguments by position or by name, not both: JSON-RPC has no way to say both")
        if not engine.has_free_room(for_call=False):
            await engine.room.wait(None, for_call=False)
        self.send_notification(method, kwargs or args)

    async def _wait_for_room(self, engine: CallEngine, timeout: float | Default | None) -> float | None:
        """Wait for room and return how much of the timeout is left."""
        seconds = self.limits.call_timeout if isinstance(timeout, Default) else timeout
        start = engine.host.now()
        await engine.room.wait(seconds)
        return None if seconds is None else max(0.0, seconds - (engine.host.now() - start))

    def send_request(
        self,
        method: str,
        args: object = None,
        on_done: Callable[[RPCRequestOut], object] | None = None,
        *,
        timeout: float | Default | None = DEFAULT,
    ) -> RPCRequestOut:
        """Send a request at once, without waiting, and return it: something to await, to cancel, or to watch.

        Args:
            method: The method's name.
            args: A list, tuple, dict, dataclass or Struct; None = no arguments.
            on_done: Called with the request when it is answered or has failed.
            timeout: As for `call`.

        Raises:
            SessionBusy: `Limits.max_calls` calls are open; nothing was sent.
            Exception: What `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        request = engine.host.new_request(method, args)
        call_id = engine.machine.send_request(method, args, request, engine.host.now(), timeout)
        request.request_id = call_id
        request.forget = engine.forget
        if on_done is not None:
            request.add_done_callback(on_done)
        engine.link.flush_soon()
        return request

    def send_notification(self, method: str, args: object = None) -> None:
        """Send a notification at once, without waiting for room. Otherwise as `notify`.

        *args* is a list, tuple, dict, dataclass or Struct; None = no arguments.
        """
        engine = self._connected()
        engine.machine.send_notification(method, args)
        engine.link.flush_soon()

    # --- batches -------------------------------------------------------------------------------------------------

    def new_batch(self, on_done: Callable[[RPCBatchOut], object] | None = None) -> RPCBatchOut:
        """Return an empty batch, to be filled and given to `send_batch`.

        *on_done* is called with it when it is complete.
        """
        host = self._connected().host
        return RPCBatchOut(host.new_request, host.new_request("", None), on_done)

    def send_batch(
        self,
        batch: RPCBatchOut,
        on_done: Callable[[RPCBatchOut], object] | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> None:
        """Send a batch at once, without waiting; await the batch for its results.

        Raises:
            LocalProtocolError: The batch is empty or was sent before, or the protocol has no batches.
            SessionBusy: With it more than `Limits.max_calls` calls would be open; nothing was sent.
            Exception: What `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        if not isinstance(batch, RPCBatchOut):
            raise TypeError(f"send_batch takes what new_batch returned, not {type(batch).__name__}")
        if batch.is_sent:
            raise LocalProtocolError("the batch has been sent")
        requests = batch.requests()
        if any(request.done() for request in requests):
            raise LocalProtocolError("a request of the batch is complete or cancelled already")
        members = [(item.method, item.args, item if isinstance(item, RPCRequestOut) else None) for item in batch.items]
        ids = engine.machine.send_batch(members, engine.host.now(), timeout)
        forget = engine.forget
        for call_id, request in zip(ids, requests, strict=True):
            request.request_id = call_id
            request.forget = forget
        engine.link.flush_soon()
        batch.sent(on_done)

    @asynccontextmanager
    async def batch(
        self, raise_errors: bool = False, timeout: float | Default | None = DEFAULT
    ) -> AsyncGenerator[RPCBatchOut]:
        """Collect a batch in the body of an ``async with``; send it and wait for its answers at the end.

        Afterwards ``batch.results`` has a value or an exception for each request, in order. When the body raises,
        nothing is sent. With *raise_errors* the first error among the results is raised.
        """
        batch = self.new_batch()
        yield batch
        self.send_batch(batch, timeout=timeout)
        await batch
        if raise_errors:
            for result in batch.results:
                if isinstance(result, BaseException):
                    raise result

    # --- start TLS -----------------------------------------------------------------------------------------------

    async def start_tls(self, tls: TLSChoice, *, server_hostname: str | None = None) -> None:
        """Speak TLS from here on, as its client, on the connection that is open; returns when the handshake is done.

        To be called when the peer has agreed to it, in whichever way its protocol has (on tieline's side a handler
        raises `ReplyAndStartTLS`), and before anything else is sent. What this side sends meanwhile waits. What came
        before came from whomever, so ask again for what matters.

        When the handshake fails, takes longer than `Limits.handshake_timeout`, or is cancelled, the connection is lost.

        Args:
            tls: A `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``.
            server_hostname: As `TLS.server_hostname`; None = what *tls* says, else the host that was dialled.

        Raises:
            OSError: No handshake: an ``ssl.SSLError``, or the connection was lost.
            LocalProtocolError: TLS is spoken already, or calls are in flight or running; all stays as it was.
            RemoteProtocolError: The peer, or whoever stands between, has said more in plain text; the session ends.
            ConnectionLost, ClosedError: The session is not open.
            ValueError: The settings contradict each other, or there is no name to match.
            TypeError: *tls* is of the wrong type.
        """
        engine = self._connected()
        settings = client_settings(tls, server_hostname)
        await ask_for_tls(engine.link, engine.host, settings, dialled=self._dialled_host(), peer=self._target())

    # --- for servers and clients ---------------------------------------------------------------------------------

    def _new_engine(self, backend: AsyncBackend, **where: Any) -> CallEngine:
        framer = self._new_framer()
        check_frames_bytes(framer)
        machine = Connection(self._protocol, framer, self.limits, accepted=where.pop("accepted"))
        # It takes cached properties for what they are, not for what they give.
        owner = cast("CallOwner", self)
        return CallEngine(owner, backend, machine, overrides(type(self), SessionBase), **where)


def check_frames_bytes(framer: FramerBase[Any]) -> None:
    """Refuse a framer whose messages are no bytes, which JSON could be read from.

    Raises:
        TypeError: It is such a one.
    """
    if not framer.frames_bytes:
        name = type(framer).__name__
        raise TypeError(f"the messages of a {name} are no bytes: it is for a MessageSession, not for calls")
