# SPDX-License-Identifier: MIT
"""Sessions: calls, notifications and batches over one connection, in both directions.

`SessionBase` is what client and server sessions share; users derive from those (`client.py`, `server.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.errors import LocalProtocolError
from tieline.rpc.call_engine import CallEngine
from tieline.rpc.calls import CallCore
from tieline.rpc.life import SessionLife
from tieline.rpc.outcomes import unknown_method
from tieline.rpc.securing import ask_for_tls, client_settings
from tieline.rpc.session_classes import overrides
from tieline.wire.anew import told_anew
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, MutableSet
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Concatenate, ParamSpec, TypeVar

    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.admission import Admission
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.jsonrpc.items import RPCRequest
    from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut

    ParamsT = ParamSpec("ParamsT")
    SelfT = TypeVar("SelfT")

__all__ = ["SessionBase"]


def _plain_or_async(
    method: Callable[Concatenate[SelfT, ParamsT], Coroutine[Any, Any, object]],
) -> Callable[Concatenate[SelfT, ParamsT], Any]:
    """Return *method* as it is, for type checkers declared so that it may be overridden by a plain function as well."""
    return method


class SessionBase(CallCore[CallEngine], SessionLife[CallEngine]):
    """One side of a JSON-RPC connection. Both sides can call each other, at the same time.

    Use it in the event loop in which it was connected, from any number of tasks; it is not thread-safe. For threads
    there is ``tieline.blocking``.

    Attributes:
        methods: The methods that the peer may call.
        limits: The limits of this connection.
    """

    __slots__ = ()

    # --- for subclasses ------------------------------------------------------------------------------------------

    @_plain_or_async
    async def handle_request(self, request: RPCRequest) -> object:
        """Handle a request or notification, and return its result. Override it to handle all of them yourself.

        It may be plain or async. Raise `RPCError` to reply with an error, or `ReplyAndDisconnect` to close the session
        after the reply; any other exception becomes an internal error, without its text.
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
        """Call *method* on the peer and return its result, as decoded from JSON.

        Arguments are passed by position or by name, not both. If the peer is slow, or `Limits.max_calls` calls are
        pending, this first waits for room; the timeout includes that. Cancelling is safe for the connection: the call
        is forgotten, and a late reply is dropped. It is not undone: the peer may have run the method, or may still run
        it.

        Args:
            method: The name of the method.
            args: Its arguments, by position.
            timeout: Seconds to wait; None = unlimited; DEFAULT = `Limits.call_timeout` (30 s, up to an eighth later).
            kwargs: Its arguments, by name. (For one that is named ``timeout``, use `send_request`.)

        Raises:
            RPCError: The peer replied with an error.
            TimeoutError: No reply in time; the session stays open.
            ConnectionLost: The connection was lost first; see ``__cause__``.
            ClosedError: This side has closed the session.
            RemoteProtocolError: The reply violates the protocol.
            OutgoingMessageTooLarge: The encoded request exceeds `Limits.max_message`; nothing was sent.
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
        """Send a notification: a call without a reply.

        Waits for room when the peer is slow, and returns when the notification is queued; whether it arrives is not
        reported. Raises what `call` raises for a message that cannot be sent.
        """
        engine = self._connected()
        if args and kwargs:
            raise TypeError("give the arguments by position or by name, not both: JSON-RPC has no way to say both")
        if not engine.has_free_room(for_call=False):
            await engine.room.wait(None, for_call=False)
        self.send_notification(method, kwargs or args)
        engine.link.check_deaf()

    def batch(
        self, raise_errors: bool = False, timeout: float | Default | None = DEFAULT
    ) -> AbstractAsyncContextManager[RPCBatchOut, None]:
        """Collect a batch in the body of an ``async with``; send it, and wait for its replies, at the end.

        ::

            async with session.batch() as batch:
                batch.add_request("add", [1, 2])
            batch.results  # -> (3,)

        Afterwards ``batch.results`` has a value or an exception for each request, in order. If the body raises, nothing
        is sent, and awaiting one of the requests raises `LocalProtocolError`. With *raise_errors*, the first error
        among the results is raised, as a copy. *timeout* is as for `call`, and applies to each request.

        Leaving the block does not wait for room, as `call` does: it raises `SessionBusy`, and nothing is sent, when
        more than `Limits.max_calls` calls would be pending with the batch. Otherwise it raises what `send_batch` does.
        """
        return _Batching(self, self._connected, raise_errors, timeout)

    # --- start TLS -----------------------------------------------------------------------------------------------

    async def start_tls(self, tls: TLSChoice, *, server_hostname: str | None = None) -> None:
        """Switch an open connection to TLS, as the TLS client; returns after the handshake.

        Call it when the peer has agreed to it, in whichever way its protocol has (with tieline, its handler raises
        `ReplyAndStartTLS`), and before anything else is sent. Messages that this side sends meanwhile wait. Data that
        arrived before TLS may have been forged, so ask again for anything that matters.

        If the handshake fails, takes longer than `Limits.handshake_timeout`, or is cancelled, the connection is lost.

        Args:
            tls: A `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``.
            server_hostname: As `TLS.server_hostname`; None = as *tls* says, else the host that was dialled.

        Raises:
            OSError: The handshake failed (``ssl.SSLError``), or the connection was lost.
            LocalProtocolError: TLS is on already, calls are pending or running, or it is a WebSocket; nothing has
                changed.
            RemoteProtocolError: The peer, or somebody in between, has sent more plain text; the session ends.
            ConnectionLost, ClosedError: The session is not open.
            ValueError: The settings contradict each other, or there is no host name to verify.
            TypeError: *tls* has the wrong type.
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
            raise LocalProtocolError("this block was entered before: call batch() again")
        batch = self._batch = self._session.new_batch()
        batch.outcomes.is_filled_here = self._engine().host.here()
        return batch

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        batch = self._batch
        batch.outcomes.is_filled_here = None
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
