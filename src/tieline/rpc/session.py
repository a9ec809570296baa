# SPDX-License-Identifier: MIT
"""Sessions: calls, notifications and batches over one connection, in both directions.

`SessionBase` is what client and server sessions share; users derive from those (`client.py`, `server.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.errors import LocalProtocolError
from tieline.rpc.call_engine import CallEngine
from tieline.rpc.calls import CallCore
from tieline.rpc.hints import unknown_method
from tieline.rpc.life import SessionLife
from tieline.rpc.securing import ask_for_tls, client_settings
from tieline.rpc.session_classes import overrides
from tieline.wire.anew import told_anew
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSet
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.admission import Admission
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.jsonrpc.items import RPCRequest
    from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut

__all__ = ["SessionBase"]


class SessionBase(CallCore[CallEngine], SessionLife[CallEngine]):
    """One side of a JSON-RPC connection. Both sides can call each other, at the same time.

    Use it in the event loop that it was connected in, from any number of tasks; it is not thread-safe.

    Attributes:
        methods: What the peer may call.
        limits: What the connection may cost.
    """

    __slots__ = ()

    # --- for subclasses ------------------------------------------------------------------------------------------

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
            ValueError: *timeout* is negative, or NaN; nothing was sent.
        """
        engine = self._engine
        if engine is None or engine.started is None:
            engine = self._connected()  # which says what is wrong
        if args and kwargs:
            raise TypeError("give the arguments by position or by name, not both: JSON-RPC has no way to say both")
        host, machine = engine.host, engine.machine
        is_alone = not machine.calls.open
        waiter = host.new_prompt_waiter() if is_alone else host.new_waiter()
        call_id = None
        if timeout is DEFAULT:
            if is_alone:
                call_id = engine.ask_alone(method, kwargs or args, waiter)
            elif engine.link.is_corked:
                call_id = machine.ask_with_others(method, kwargs or args, waiter)
        if call_id is None:
            if not machine.has_free_room and not engine.has_free_room():
                timeout = await engine.room.wait_for_call(timeout)
            call_id = machine.send_request(method, kwargs or args, waiter, host.now(), timeout)
            engine.link.flush_soon()
        try:
            return await waiter
        except BaseException:
            engine.forget(call_id)
            del waiter  # a future keeps its error, whose traceback refers to this frame
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

    def batch(
        self, raise_errors: bool = False, timeout: float | Default | None = DEFAULT
    ) -> AbstractAsyncContextManager[RPCBatchOut, None]:
        """Collect a batch in the body of an ``async with``; send it and wait for its answers at the end.

        Afterwards ``batch.results`` has a value or an exception for each request, in order. When the body raises,
        nothing is sent, and whoever waits for one of the requests gets a `LocalProtocolError`. With *raise_errors* the
        first error among the results is raised, as a copy of it.
        """
        return _Batching(self, self._connected, raise_errors, timeout)

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
            LocalProtocolError: TLS is spoken already, calls are in flight or running, or it is a WebSocket; all stays
                as it was.
            RemoteProtocolError: The peer, or whoever stands between, has said more in plain text; the session ends.
            ConnectionLost, ClosedError: The session is not open.
            ValueError: The settings contradict each other, or there is no name to match.
            TypeError: *tls* is of the wrong type.
        """
        engine = self._connected()
        settings = client_settings(tls, server_hostname)
        await ask_for_tls(
            engine.link, engine.host, engine.backend, settings, dialled=self._dialled_host(), peer=self._target()
        )

    # --- for servers and clients ---------------------------------------------------------------------------------

    def _new_engine(
        self,
        backend: AsyncBackend,
        accepted: bool,
        sessions: set[Any] | None,
        coming: MutableSet[Any] | None,
        admission: Admission | None,
    ) -> CallEngine:
        owner: Any = self  # mypy takes cached properties for what they are, not for what they give
        machine = self._new_machine(accepted=accepted)
        return CallEngine(owner, backend, machine, overrides(type(self), SessionBase), sessions, coming, admission)


class _Batching:
    """Collects a batch, then sends it and waits for it; see `SessionBase.batch`.

    An async generator would do the same, and have the loop enter it among those that it closes at its end.
    """

    __slots__ = ("_batch", "_engine", "_raise_errors", "_session", "_timeout")

    _batch: RPCBatchOut

    def __init__(
        self,
        session: SessionBase,
        engine: Callable[[], CallEngine],
        raise_errors: bool,
        timeout: float | Default | None,
    ) -> None:
        self._session = session
        self._engine = engine
        self._raise_errors = raise_errors
        self._timeout = timeout

    async def __aenter__(self) -> RPCBatchOut:
        if hasattr(self, "_batch"):
            raise LocalProtocolError("this block has been entered before: call batch() anew")
        batch = self._batch = self._session.new_batch()
        return batch

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        batch = self._batch
        if error is not None:
            batch.never_send(error)
            return
        try:
            self._session.send_batch(batch, timeout=self._timeout)
        except BaseException as exc:
            batch.never_send(exc)
            raise
        await batch.wait_promptly(self._engine().host.new_prompt_waiter())
        if self._raise_errors:
            for result in batch.results:
                if isinstance(result, BaseException):
                    raise told_anew(result)
