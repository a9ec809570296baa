# SPDX-License-Identifier: MIT
"""Handlers that run in a pool of threads, and what they get as their session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tieline.finite import finite_number
from tieline.rpc.blocking.accepted import Accepted
from tieline.rpc.blocking.batching import Batching
from tieline.rpc.methods import Method, Methods
from tieline.rpc.session_classes import Caller
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tieline.rpc.server import ServerSession as AsyncServerSession
    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["PooledMethods", "ServerSession"]


class ServerSession(Accepted, Caller):
    """A session that a server accepted, for code in any thread except the server's own.

    Handlers get it by a parameter that is annotated with this class; `Server.sessions` has all of them.
    """

    _session: AsyncServerSession

    def __init__(self, session: AsyncServerSession, thread: LoopThread) -> None:
        self.attach(session, thread)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServerSession) and other._session is self._session

    def __hash__(self) -> int:
        return hash(self._session)

    @property
    def methods(self) -> Methods:
        """The registry that is served, and so what the peer may call."""
        methods = self._session.methods
        return methods.served if isinstance(methods, PooledMethods) else methods

    @property
    def limits(self) -> Limits:
        """The limits of the connection."""
        return self._session.limits

    @property
    def protocol(self) -> type[JSONRPC]:
        """The protocol class in use; with auto-detection it changes when the peer's dialect is known."""
        return self._session.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport knows; see `tieline.SessionBase.get_extra_info`."""
        return self._session.get_extra_info(name, default)

    def call(self, method: str, /, *args: object, timeout: float | Default | None = DEFAULT, **kwargs: object) -> Any:
        """Call *method* on the peer and return its result; see `tieline.SessionBase.call`."""
        return self._thread.call(self._session.call, method, *args, timeout=timeout, **kwargs)

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a notification; see `tieline.SessionBase.notify`."""
        self._thread.call(self._session.notify, method, *args, **kwargs)

    def send_notification(self, method: str, args: object = None) -> None:
        """Send a notification without waiting for room; see `tieline.SessionBase.send_notification`."""
        self._thread.call(self._send_notification, method, args)

    async def _send_notification(self, method: str, args: object) -> None:
        self._session.send_notification(method, args)

    def batch(
        self, raise_errors: bool = False, timeout: float | Default | None = DEFAULT
    ) -> AbstractContextManager[RPCBatchOut, None]:
        """Collect a batch in the body of a ``with``; send it, and wait for its replies, at the end.

        See `tieline.blocking.SessionBase.batch`. The *on_done* of its requests is called in the server's own thread.
        """

        def exchange(batch: RPCBatchOut) -> None:
            self._thread.call(self._exchange, batch, timeout)

        def fail(batch: RPCBatchOut, error: BaseException) -> None:
            self._thread.call_soon(partial(batch.never_send, error))

        return Batching(self._session.new_batch, exchange, fail, raise_errors)

    async def _exchange(self, batch: RPCBatchOut, timeout: float | Default | None) -> None:
        self._session.send_batch(batch, timeout=timeout)
        await batch

    def bump_cost(self, delta: float) -> None:
        """Charge the peer for work; see `tieline.SessionBase.bump_cost`. Takes effect soon."""
        self._thread.call_soon(partial(self._session.bump_cost, finite_number("delta", delta)))


class PooledMethod(Method):
    """A plain method as an async one, which runs it in the pool."""

    __slots__ = ("plain",)

    def __init__(self, plain: Method, thread: LoopThread) -> None:
        # Not Method.__init__: the function has been judged and bound.
        self.plain = plain
        self.name, self.function, self.ordered, self.callers = plain.name, plain.function, plain.ordered, plain.callers
        self.is_async, self.is_plain, self.is_walked = True, False, not plain.ordered

        def invoke(params: object, session: Any, convert: Any = msgspec.convert) -> Any:
            return thread.in_pool(plain.invoke, params, ServerSession(session, thread), convert)

        self.invoke: Callable[..., Any] = invoke


class PooledMethods(Methods):
    """A registry whose plain methods run in the pool. What is registered in *methods* later counts as well."""

    __slots__ = ("_pooled", "_thread", "served")

    def __init__(self, methods: Methods, thread: LoopThread) -> None:
        super().__init__()
        self.served = methods
        self.statistics = methods.statistics
        self._thread = thread
        self._pooled: dict[str, PooledMethod] = {}

    def get(self, name: str) -> Method | None:
        method = self.served.get(name)
        if method is None or method.is_async:
            return method
        pooled = self._pooled.get(name)
        if pooled is None or pooled.plain is not method:
            pooled = self._pooled[name] = PooledMethod(method, self._thread)
        return pooled

    def __contains__(self, name: object) -> bool:
        return name in self.served

    def __iter__(self) -> Iterator[str]:
        return iter(self.served)

    def __len__(self) -> int:
        return len(self.served)
