# SPDX-License-Identifier: MIT
"""The life of a session of any kind in blocking code: hearing what the peer sends, and the end."""

from __future__ import annotations

from abc import abstractmethod
from inspect import iscoroutinefunction
from math import inf
from typing import TYPE_CHECKING, Any, cast

from tieline.errors import ConnectionLost
from tieline.finite import check_timeout, finite_number
from tieline.rpc.core import SessionCore
from tieline.rpc.facts import EngineT

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tieline.rpc.engine import Engine
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.link import Link

__all__ = ["BlockingLife", "check_plain"]


def check_plain(what: object, name: str) -> None:
    """Refuse what is async.

    Raises:
        TypeError: It is.
    """
    if iscoroutinefunction(what):
        raise TypeError(f"{name} is async, and blocking code runs plain functions only")


class BlockingLife(SessionCore[EngineT]):
    """The part of a session that waits, whatever is said on it.

    Attributes:
        limits: The limits of the connection.
    """

    __slots__ = ()

    def connection_lost(self) -> Any:
        """Called exactly once when the connection is gone, for whatever reason. Override it to clean up."""

    @abstractmethod
    def _new_engine(self, host: BlockingHost, *, accepted: bool) -> EngineT:
        """Return a new engine, which *host* will move."""

    def new_link(self, host: BlockingHost, *, accepted: bool) -> Link[Any]:
        """Return the protocol object for a connection that is about to be made, which *host* will move.

        Raises:
            LocalProtocolError: The session has or had a connection.
        """
        self._check_unconnected()
        self.limits = self.limits.resolved(accepted=accepted)
        self._engine = self._new_engine(host, accepted=accepted)
        return self._engine.link

    # --- what the peer sends -------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Handle what the peer sends, and return whether anything arrived.

        Waits until something has arrived and is handled, or for *timeout* seconds; 0 = handle only what is there, None
        = wait without limit. Replies to calls that other threads wait for count as well.

        Raises:
            ConnectionLost: The connection is gone; see ``__cause__``.
            ClosedError: This side has closed the session.
        """
        engine = self._connected()
        host = _host(engine)
        waiter = host.new_waiter()
        has_jobs = bool(host.jobs)
        with host.lock:
            if engine.link.is_lost and not has_jobs:
                raise engine.machine.why_not_open()
            host.activity.append(waiter)
        try:
            return host.wait_for(waiter, 0.0 if has_jobs else timeout) or has_jobs
        finally:
            with host.lock:
                if waiter in host.activity:
                    host.activity.remove(waiter)

    # --- what the peer costs -------------------------------------------------------------------------------------

    def bump_cost(self, delta: float) -> None:
        cost = finite_number("delta", delta)
        if self._engine is not None:
            _host(self._engine).do(super().bump_cost, cost)

    def recalc_concurrency(self) -> None:
        if self._engine is not None:
            _host(self._engine).do(super().recalc_concurrency)

    # --- the end -------------------------------------------------------------------------------------------------

    def _want_no_more(self) -> None:
        """Take note that the session is closed, if need be before it has connected: a handshake ends at once."""
        self._is_unwanted = True

    def close(self, force_after: float = 5.0) -> None:
        """Close the session cleanly: running handlers finish and their replies are sent, then the connection is closed.

        After *force_after* seconds the connection is aborted: queued messages are dropped, and handlers are not waited
        for. Pending calls of this side fail with `ClosedError`. It may be called anywhere (in any thread, and in a
        handler of this session, whose own reply is then lost), at any time, any number of times. When interrupted, it
        aborts the connection.
        """
        self._want_no_more()
        engine = self._engine
        if engine is not None and engine.started is not None:
            host = _host(engine)
            _run_to_the_end(host, engine.close(force_after))
            host.run_jobs()

    def abort(self) -> None:
        """Close at once: queued messages are dropped, pending calls fail with `ClosedError`, in all threads."""
        self._want_no_more()
        engine = self._engine
        if engine is not None:
            host = _host(engine)
            host.do(engine.abort)
            host.run_jobs()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the connection is gone and `connection_lost` has run (so do not wait in there).

        Raises:
            TimeoutError: It is not, within *timeout* seconds.
        """
        timeout = check_timeout("timeout", timeout)
        engine = self._engine
        if engine is not None:
            host = _host(engine)
            _run_to_the_end(host, engine.wait_closed(), inf if timeout is None else host.now() + timeout)


def _run_to_the_end(host: BlockingHost, coroutine: Coroutine[Any, Any, None], until: float = inf) -> None:
    """Run what waits for the end of a connection."""
    try:
        host.run(coroutine, until)
    except ConnectionLost:  # it is down, and whoever was to tell of it was interrupted
        pass


def _host(engine: Engine[Any, Any, Any]) -> BlockingHost:
    return cast("BlockingHost", engine.host)
