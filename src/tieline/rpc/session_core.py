# SPDX-License-Identifier: MIT
"""What sessions of all runtimes share: settings, methods, and all orders that wait for nothing.

`session.py` adds what is awaited, `blocking/session.py` the same for blocking code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.errors import LocalProtocolError
from tieline.rpc.binding import Caller
from tieline.rpc.facts import SessionFacts
from tieline.rpc.methods import Methods
from tieline.wire.framing.base import FramerBase, fresh_framer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.outgoing import RPCBatchOut, RPCRequestOut
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2, derived
from tieline.wire.limits import DEFAULT, Default, checked_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.rpc.methods import Method
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.limits import Limits

__all__ = ["SessionCore"]


class SessionCore(SessionFacts, Caller):
    """One side of a JSON-RPC connection, but for what waits.

    Attributes:
        methods: What the peer may call.
        limits: What the connection may cost.
    """

    __slots__ = ("_framer", "_is_unwanted", "_loop", "limits", "methods")

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
        self.limits = checked_limits(limits)
        super().__init__(protocol if codec is None else derived(protocol, protocol, codec))
        self._framer = framer
        self._loop = loop
        self._is_unwanted = False  # closed, perhaps before it was connected

    # --- for subclasses ------------------------------------------------------------------------------------------

    def default_rpc_protocol(self) -> type[JSONRPC]:
        """Return the protocol class for sessions that were given none."""
        return JSONRPCv2

    def default_framer(self) -> FramerBase:
        """Return a new framer for sessions that were given none. The limits are resolved by then."""
        return NewlineFramer.with_limit(self._max_message())

    def request_handler(self, name: str) -> Method | Callable[..., object] | None:
        """Return what handles requests of the method *name*; None = nobody. Override it to decide by name."""
        return self.methods.get(name)

    def notification_handler(self, name: str) -> Method | Callable[..., object] | None:
        """Return what handles notifications of the method *name*; None = nobody. Override it to decide by name."""
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

    # --- the end -------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Close at once: what is queued is dropped, open calls fail with `ClosedError`, handlers are cancelled."""
        self._is_unwanted = True
        if self._engine is not None:
            self._engine.link.abort()

    # --- for the engine, servers and clients ---------------------------------------------------------------------

    def begin_shutdown(self) -> None:
        """Begin to close as `aclose` does, without waiting: for servers.

        A handler of this session that shuts down the server gives up its own answer, which nobody could wait for.
        """
        self._is_unwanted = True
        if self._engine is not None and self._engine.started is not None:
            self._engine.begin_close()

    def cut(self) -> None:
        """Abort, and let nobody wait for handlers any longer, not even for those that ignore it: for servers."""
        self._is_unwanted = True
        if self._engine is not None:
            self._engine.force()

    def _check_unconnected(self) -> None:
        if self._engine is not None:
            raise LocalProtocolError("a session serves one connection, and this one has had it: make a new session")

    def _new_machine(self, *, accepted: bool) -> Connection:
        """Return the machine of the connection that is about to be made; the limits are resolved with it."""
        self.limits = self.limits.resolved(accepted=accepted)
        return Connection(self._protocol, self._new_framer(), self.limits, accepted=accepted)

    def _dialled_host(self) -> str | None:
        return None

    def _new_framer(self) -> FramerBase:
        framer = self._framer
        if framer is None:
            return self.default_framer()
        if isinstance(framer, FramerBase):
            return framer  # pyright: ignore[reportUnknownVariableType]  # isinstance does not tell what it frames
        return fresh_framer(framer, self._max_message())

    def _max_message(self) -> int:
        """Return the limit of messages as framers have it: 0 = none."""
        max_message = self.limits.max_message
        return max_message if isinstance(max_message, int) else 0
