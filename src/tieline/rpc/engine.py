# SPDX-License-Identifier: MIT
"""What moves a session: the sink of its link, the room for outgoing calls, and the end.

A session is what users see and derive from; its engine holds what they must not touch. Made when the connection is
being made, and gone with it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from tieline.rpc.handling import Handling
from tieline.wire.jsonrpc.events import ProtocolViolation
from tieline.wire.jsonrpc.reading import Message
from tieline.wire.jsonrpc.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.rpc.owner import Owner
    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.host import Event, Host, Waiter
    from tieline.runtimes.link import Link
    from tieline.wire.jsonrpc.connection import Connection
    from tieline.wire.jsonrpc.events import Event as MachineEvent

__all__ = ["Engine"]


class Engine:
    """The private side of one session on one connection.

    Attributes:
        host: The host of the loop.
        machine: The machine of the connection.
        link: The link that drives it.
        handling: The handlers at work.
        started: When the connection stood, by the host's clock; None before that.
        is_over: The connection is gone, or was never made, and everybody has been told.
    """

    __slots__ = (
        "_closed_event",
        "_closed_waiters",
        "_idle_waiters",
        "_overrides",
        "_room_waiters",
        "_session",
        "_sessions",
        "handling",
        "host",
        "is_over",
        "link",
        "machine",
        "started",
    )

    def __init__(
        self,
        session: Owner,
        backend: AsyncBackend,
        machine: Connection,
        overrides: frozenset[str],
        sessions: set[Any],
    ) -> None:
        self._session = session
        self._sessions = sessions
        self._overrides = overrides
        self.host: Host = backend.host()
        self.machine = machine
        self.link: Link = backend.new_link(machine, self)
        self.handling = Handling(session, self.link, self.host, overrides=overrides, on_ended=self._handler_ended)
        self.started: float | None = None
        self.is_over = False
        self._closed_event: Event | None = None
        self._room_waiters: deque[Waiter] = deque()
        self._closed_waiters: list[Waiter] = []
        self._idle_waiters: list[Waiter] = []

    # --- the sink of the link ------------------------------------------------------------------------------------

    def link_made(self, _link: Link) -> None:
        self.started = self.host.now()
        self._sessions.add(self._session)

    def handle_events(self, events: Sequence[MachineEvent]) -> None:
        start = self.handling.start
        for event in events:
            if event.__class__ is Message:
                start(event)
            elif event.__class__ is tuple:
                waiter, value, error = event
                _complete(cast("Waiter", waiter), value, error)
            else:
                violation = cast("ProtocolViolation", event)
                self._session.log.warning("%s broke the protocol: %s", self._session.peer_name(), violation.error)
        if self._room_waiters:
            self.room_made()

    def room_made(self) -> None:
        """Wake as many senders as there is room for, in the order in which they came."""
        machine = self.machine
        free = 0 if machine.flow.paused else machine.limits.max_calls - machine.open_calls
        if machine.state is not State.OPEN:
            free = len(self._room_waiters)  # they are to find out
        while self._room_waiters and free > 0:
            waiter = self._room_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
        machine.flow.senders_waiting = len(self._room_waiters)

    def link_lost(self, _error: BaseException | None) -> None:
        self.room_made()
        self.handling.cancel_all()
        if "connection_lost" in self._overrides:
            self.host.start(self._run_connection_lost())
        else:
            self._over()

    async def _run_connection_lost(self) -> None:
        try:
            await self._session.connection_lost()
        except Exception:
            self._session.log.exception("connection_lost of %r failed", self._session)
        finally:
            self._over()

    # --- sending -------------------------------------------------------------------------------------------------

    async def wait_for_room(self, timeout: float | None) -> None:
        """Wait until a call may be sent.

        Raises:
            TimeoutError: There is none within *timeout* seconds.
        """
        host = self.host
        waiter: Waiter = host.new_waiter()
        timer = None
        if timeout is not None:
            timer = host.call_at(host.now() + timeout, lambda: _complete(waiter, None, TimeoutError("no room to send")))
        try:
            while self.machine.state is State.OPEN and not self.machine.has_room:
                self._room_waiters.append(waiter)
                self.machine.flow.senders_waiting = len(self._room_waiters)
                self.link.settle()  # while senders wait, reading goes on
                await host.wait(waiter)
                waiter = host.new_waiter()
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._room_waiters:
                self._room_waiters.remove(waiter)
                self.machine.flow.senders_waiting = len(self._room_waiters)
            elif self._room_waiters:
                self.room_made()  # pass on what a cancelled sender was given

    # --- the end -------------------------------------------------------------------------------------------------

    @property
    def closed_event(self) -> Event:
        """An event that is set when the connection is gone."""
        if self._closed_event is None:
            self._closed_event = self.host.new_event()
            if self.is_over:
                self._closed_event.set()
        return self._closed_event

    def _over(self) -> None:
        """Tell everybody who waits that the connection is gone."""
        self.is_over = True
        self._sessions.discard(self._session)
        if self._closed_event is not None:
            self._closed_event.set()
        for waiter in self._closed_waiters:
            _complete(waiter, None, None)
        self._closed_waiters.clear()
        self._handler_ended()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        if not self.is_over:
            waiter = self.host.new_waiter()
            self._closed_waiters.append(waiter)
            try:
                await self.host.wait(waiter)
            finally:
                if waiter in self._closed_waiters:
                    self._closed_waiters.remove(waiter)

    async def close(self, force_after: float) -> None:
        """Close in order, and by force after so many seconds; wait for it, and for the handlers that run.

        A handler may close its own session: it is not waited for, it gives up its answer instead.
        """
        current = self.host.current()
        own_request = self.handling.running.pop(current, None)  # type: ignore[call-overload]  # any key may be asked
        if own_request is not None and not self.link.is_lost:
            self.machine.abandon(own_request)
        if not self.link.is_lost:
            self.link.close()
        idle = self.host.new_waiter()
        self._idle_waiters.append(idle)
        timer = self.host.call_at(self.host.now() + force_after, self._force)
        try:
            self._handler_ended()
            await self.host.wait(idle)
        except BaseException:
            self.link.abort()  # a cancelled close is a close all the same
            raise
        finally:
            timer.cancel()
            if idle in self._idle_waiters:
                self._idle_waiters.remove(idle)

    def _force(self) -> None:
        """The time to close in order is over: cut the connection, and wait for handlers no longer."""
        self.link.abort()
        self._release_idle()

    def _handler_ended(self) -> None:
        if self.is_over and not self.handling.running:
            self._release_idle()

    def _release_idle(self) -> None:
        for waiter in self._idle_waiters:
            _complete(waiter, None, None)
        self._idle_waiters.clear()


def _complete(waiter: Waiter, value: object, error: Exception | None) -> None:
    if waiter.done():
        return  # whoever waited has been cancelled
    if error is None:
        waiter.set_result(value)
    else:
        waiter.set_exception(error)
