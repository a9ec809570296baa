# SPDX-License-Identifier: MIT
"""Sessions in blocking code: what waits does so in the thread that asks for it, and reads meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tieline.finite import check_timeout
from tieline.rpc.blocking.batching import Batching
from tieline.rpc.blocking.engine import BlockingEngine
from tieline.rpc.blocking.life import BlockingLife, check_plain
from tieline.rpc.calls import CallCore, check_frames_bytes, new_connection
from tieline.rpc.outcomes import unknown_method
from tieline.rpc.securing import ask_for_tls, client_settings
from tieline.rpc.session_classes import overrides
from tieline.runtimes.blocking.backend import BlockingBackend
from tieline.runtimes.blocking.lone_calls import UNANSWERED, UNSENT
from tieline.runtimes.blocking.transport import LONGEST_READ
from tieline.runtimes.blocking.waiters import BlockingBatch, Waiter
from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tieline.endpoints.secured import TLSChoice
    from tieline.rpc.roles import CallOwner
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.blocking.waiters import BlockingRequest
    from tieline.wire.jsonrpc.items import RPCRequest
    from tieline.wire.jsonrpc.lone import LoneConnection
    from tieline.wire.jsonrpc.outgoing import RPCRequestOut

__all__ = ["SessionBase"]

_OVERRIDABLE: Final = ("handle_request", "request_handler", "notification_handler", "connection_lost")
_BOTH_WAYS: Final = "give the arguments by position or by name, not both: JSON-RPC has no way to say both"


class SessionBase(CallCore[BlockingEngine], BlockingLife[BlockingEngine]):
    """One side of a JSON-RPC connection, for blocking code. Both sides can call each other, at the same time.

    Any number of threads may use it at once. It has no thread of its own: whatever the peer sends is read and handled
    by the threads that wait for something on it (`call`, `poll`, the ``result`` of a request, ...), and by nobody while
    none of them waits.

    Attributes:
        methods: The methods that the peer may call: plain functions. They run one at a time, in the order of their
            requests, in one of the threads that wait. One that calls the peer lets others run nested inside it.
        limits: The limits of this connection.
    """

    __slots__ = ()

    def __init__(self, **kwargs: Any) -> None:
        """Prepare a session; see `tieline.SessionBase` for the arguments.

        Raises:
            TypeError: A handler is async, or an argument is of the wrong type.
        """
        super().__init__(**kwargs)
        for name in self.methods:
            method = self.methods.get(name)
            if method is not None and method.is_async:
                raise TypeError(f"method {name!r} is async, and blocking code runs plain functions only")
        overridden = overrides(type(self), SessionBase)  # nearly always nothing
        for name in _OVERRIDABLE:
            if name in overridden:
                check_plain(getattr(type(self), name), f"{type(self).__name__}.{name}")

    # --- for subclasses ------------------------------------------------------------------------------------------

    def handle_request(self, request: RPCRequest) -> Any:
        """Handle a request or notification, and return its result. Override it to handle all of them yourself.

        Raise `RPCError` to reply with an error, or `ReplyAndDisconnect` to close the session after the reply; any other
        exception becomes an internal error, without its text.
        """
        name = str(request.method)
        handling = self._connected().handling
        method = handling.find(name, is_notification=request.is_notification())
        if method is None:
            raise self.protocol.method_not_found(unknown_method(name))
        if method.is_async:
            raise TypeError(f"the handler of {name!r} is async, and blocking code runs plain functions only")
        return handling.invoke(method, request.args)

    # --- calls ---------------------------------------------------------------------------------------------------

    def call(self, method: str, /, *args: object, timeout: float | Default | None = DEFAULT, **kwargs: object) -> Any:
        """Call *method* on the peer and return its result.

        Arguments are passed by position or by name, not both. If the peer is slow, or `Limits.max_calls` calls are
        pending, this first waits for room; the timeout includes that. Meanwhile this thread handles what the peer
        sends, unless another one does; a slow handler delays the call.

        If it is interrupted (Ctrl-C), the call is forgotten, and a late reply is dropped; the session stays usable, or
        is closed. The peer may have run the method, or may still run it.

        Args:
            method: The method's name.
            args: Its arguments, by position.
            timeout: Seconds to wait; None = unlimited; DEFAULT = `Limits.call_timeout` (30 s, up to an eighth later).
            kwargs: Its arguments, by name. (For one that is called ``timeout`` use `send_request`.)

        Raises:
            RPCError: The peer replied with an error.
            TimeoutError: No reply in time; the session stays open.
            ConnectionLost: The connection was lost first; see ``__cause__``.
            ClosedError: This side has closed the session.
            RemoteProtocolError: The reply violates the protocol.
            OutgoingMessageTooLarge: The encoded call is over `Limits.max_message`; nothing was sent.
            TypeError: Arguments by position and by name, or of a type that JSON cannot carry; nothing was sent.
            ValueError: *timeout* is negative, or NaN; nothing was sent.
        """
        engine = self._engine
        if engine is None or engine.started is None:
            engine = self._connected()  # which says what is wrong
        if args and kwargs:
            raise TypeError(_BOTH_WAYS)
        host = engine.host
        waiter = Waiter(host)
        try:
            result = host.exchange(engine.link, waiter, method, kwargs or args, timeout)
            if result is UNSENT:
                if not host.ask(waiter, engine.send_call, method, kwargs or args, waiter, timeout):
                    host.run(_call_with_room(engine, method, kwargs or args, waiter, timeout))
                    host.wait(waiter)
            elif result is UNANSWERED:
                host.wait(waiter)
            else:
                return result
            return waiter.result()
        except BaseException as exc:
            if not waiter.is_done:
                host.do(engine.forget_call_of, waiter)
            if isinstance(exc, TypeError | OverflowError) and not isinstance(timeout, Default):  # it may be of that
                check_timeout("timeout", timeout)
            raise

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a notification: a call without a reply.

        Waits for room when the peer is slow, and returns when the system has taken it; whether it arrives is not
        reported. Raises what `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        if args and kwargs:
            raise TypeError(_BOTH_WAYS)
        engine.host.run(_notify_with_room(engine, method, kwargs or args))
        engine.host.flush()

    def send_request(
        self,
        method: str,
        args: object = None,
        on_done: Callable[[RPCRequestOut], object] | None = None,
        *,
        timeout: float | Default | None = DEFAULT,
    ) -> BlockingRequest:
        """Send a request without waiting for room or a reply; return an object to wait for, to cancel, or to watch.

        Whatever the system does not take at once is sent when somebody waits on this session. *on_done* is called with
        the request when it is answered or has failed, by one of the threads that wait.

        Raises:
            SessionBusy: `Limits.max_calls` calls are pending; nothing was sent.
            TypeError: *on_done* is not callable; nothing was sent.
            Exception: What `call` raises for a message that cannot be sent.
        """
        do = self._connected().host.do
        return cast("BlockingRequest", do(super().send_request, method, args, on_done, timeout=timeout))

    def send_notification(self, method: str, args: object = None) -> None:
        """Send a notification at once, without waiting for room. Otherwise as `notify`.

        *args* is a list or tuple (by position), or a dict, dataclass or Struct (by name); None = no arguments.
        """
        self._connected().host.do(super().send_notification, method, args)

    # --- batches -------------------------------------------------------------------------------------------------

    def new_batch(self, on_done: Callable[[RPCBatchOut], object] | None = None) -> BlockingBatch:
        """Return an empty batch, to be filled and passed to `send_batch`.

        *on_done* is called with the batch when it is complete.

        Raises:
            TypeError: *on_done* is not callable.
        """
        engine = self._connected()
        return BlockingBatch(engine.host.new_outcomes(engine.note_early), on_done, engine.machine.calls.next_id)

    def send_batch(
        self,
        batch: RPCBatchOut,
        on_done: Callable[[RPCBatchOut], object] | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> None:
        """Send a batch at once, without waiting; ``batch.result()`` waits for its replies.

        If this raises, nothing was sent, and the batch is unchanged: it may be sent again, and threads that wait for
        its requests keep waiting, until ``batch.cancel()``.

        Raises:
            LocalProtocolError: The batch is empty or was sent before, or the protocol has no batches.
            SessionBusy: With it more than `Limits.max_calls` calls would be open; nothing was sent.
            TypeError: *on_done* is not callable.
            Exception: What `call` raises for a message that cannot be sent.
        """
        self._connected().host.do(self._send_batch, batch, on_done, timeout)

    def _send_batch(
        self, batch: RPCBatchOut, on_done: Callable[[RPCBatchOut], object] | None, timeout: float | Default | None
    ) -> None:
        try:
            super().send_batch(batch, on_done, timeout)
        except Exception:
            raise
        except BaseException as exc:  # Ctrl-C: the pump gives the connection up, and nobody knows what was sent
            if isinstance(batch, RPCBatchOut):
                batch.broken_off(exc)
            raise

    def batch(
        self, raise_errors: bool = False, timeout: float | Default | None = DEFAULT
    ) -> AbstractContextManager[BlockingBatch, None]:
        """Collect a batch in the body of a ``with``; send it, and wait for its replies, at the end.

        Afterwards ``batch.results`` has a value or an exception for each request, in order. If the body raises, nothing
        is sent, and waiting for one of the requests raises `LocalProtocolError`. With *raise_errors*, the first error
        among the results is raised, as a copy. If it is interrupted (Ctrl-C) while it waits, its calls are forgotten.

        Leaving the block does not wait for room, as `call` does: it raises `SessionBusy`, and nothing is sent, when
        more than `Limits.max_calls` calls would be pending with the batch. Otherwise it raises what `send_batch` does.
        """

        def exchange(batch: BlockingBatch) -> None:
            self.send_batch(batch, timeout=timeout)
            batch.result()

        return Batching(self.new_batch, exchange, _give_up_batch, raise_errors)

    # --- start TLS -----------------------------------------------------------------------------------------------

    def start_tls(self, tls: TLSChoice, *, server_hostname: str | None = None) -> None:
        """Switch an open connection to TLS, as the TLS client; returns after the handshake.

        See `tieline.SessionBase.start_tls` for the conditions and the exceptions.
        """
        engine = self._connected()
        settings = client_settings(tls, server_hostname)
        engine.host.run(
            ask_for_tls(
                engine.link, engine.host, engine.backend, settings, dialled=self._dialled_host(), peer=self._target()
            )
        )

    def _new_machine(self, *, accepted: bool) -> LoneConnection:
        framer = self._new_framer()
        check_frames_bytes(framer)
        return new_connection(self._protocol, framer, self.limits, accepted=accepted, longest_read=LONGEST_READ)

    def _new_engine(self, host: BlockingHost, *, accepted: bool) -> BlockingEngine:
        machine = self._new_machine(accepted=accepted)
        # It takes cached properties for what they are, not for what they give.
        owner = cast("CallOwner", self)
        return BlockingEngine(owner, BlockingBackend(host), machine, overrides(type(self), SessionBase), None)


def _give_up_batch(batch: BlockingBatch, error: BaseException) -> None:
    batch.never_send(error)
    if batch.is_sent and not isinstance(error, Exception):  # Ctrl-C
        batch.cancel()


async def _call_with_room(
    engine: BlockingEngine, method: str, params: object, waiter: Waiter, timeout: float | Default | None
) -> None:
    timeout = await engine.room.wait_for_call(timeout)
    engine.machine.send_request(method, params, waiter, engine.host.now(), timeout)
    engine.link.flush_soon()


async def _notify_with_room(engine: BlockingEngine, method: str, params: object) -> None:
    if not engine.has_free_room(for_call=False):
        await engine.room.wait(None, for_call=False)
    engine.machine.send_notification(method, params)
    engine.link.flush_soon()
