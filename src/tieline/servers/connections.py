# SPDX-License-Identifier: MIT
"""One connection of a packet server: the packet client for its handler, the task that runs it, and their end."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import ref

from tieline.clients.engine import PacketEngine
from tieline.clients.lines import wait_in, wake_first
from tieline.errors import ClientClosedError, ConnectionLost, RemoteProtocolError, StreamProtocolParseError
from tieline.runtimes.fatal import fatal_in
from tieline.runtimes.peers import peer_group
from tieline.servers.failures import peer_name
from tieline.servers.serving import check_done
from tieline.wire.default import NOTHING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractContextManager

    from tieline.runtimes.admission import Admission, Visit
    from tieline.runtimes.backend import Backend
    from tieline.runtimes.hooks import Hooks, Teller
    from tieline.runtimes.host import Handle, Waiter
    from tieline.servers.failures import ServerLog
    from tieline.servers.served import ServedClient
    from tieline.wire.packets import PacketConnection

__all__ = ["Hub", "ServedConnection"]

# After so many packets it is looked how long others have waited: a handler that always finds one would not stop.
PACKETS_BETWEEN: Final = 64
# Seconds that one handler may keep all others waiting.
TURN_SECONDS: Final = 0.02

# The connection whose handler is running, or has started the task that is.
_current: ContextVar[ServedConnection | None] = ContextVar("tieline_served", default=None)


class HeldBack(Protocol):
    """What threads of a plain handler have sent, which the server has yet to write."""

    def held_back(self) -> AbstractContextManager[None]:
        """Write it, and let no thread send more meanwhile."""
        ...


class Hub:
    """What the connections of one server share.

    Args:
        handler: What runs for each.
        new_client: Makes what it gets.
        admission: Who is let in.
        log: What is logged.
        at_work: The connections that are alive; each puts itself in, and out.
        hooks: Who is told of the connections.

    Attributes:
        is_ending: The server is shut down: nobody is let in.
    """

    __slots__ = ("admission", "at_work", "handler", "hooks", "is_ending", "log", "new_client")

    def __init__(
        self,
        handler: Callable[..., Awaitable[object]],
        new_client: Callable[[ServedConnection], ServedClient[Any, Any]],
        admission: Admission,
        log: ServerLog,
        at_work: set[Any],
        hooks: tuple[Hooks, ...] = (),
    ) -> None:
        self.handler = handler
        self.new_client = new_client
        self.admission = admission
        self.log = log
        self.at_work = at_work
        self.hooks = hooks
        self.is_ending = False


class ServedConnection(PacketEngine):
    """The private side of one connection that was accepted.

    It lives until both are over, the connection and its handler: so long it counts.

    Attributes:
        client: What the handler gets; None when all is over.
        address: The address of the peer.
        outgoing: What threads of a plain handler have sent, which is written before the connection is closed.
    """

    __slots__ = (
        "_ended",
        "_handle",
        "_has_begun",
        "_hub",
        "_is_given_up",
        "_is_handled",
        "_look_at",
        "_teller",
        "_told",
        "_turn_until",
        "_visit",
        "address",
        "client",
        "outgoing",
    )

    def __init__(self, backend: Backend, machine: PacketConnection, hub: Hub) -> None:
        super().__init__(backend, machine)
        self._hub = hub
        self.client: ServedClient[Any, Any] | None = None
        self.address: object = None
        self.outgoing: HeldBack | None = None
        self._visit: Visit | None = None
        self._handle: Handle | None = None
        self._has_begun = self._is_handled = False
        self._is_given_up = False  # the handler has asked for the end of the server: it is neither waited for nor cut
        self._ended: list[Waiter] | None = None
        self._teller: Teller | None = None  # where somebody wants to be told
        self._told: ref[Exception] | None = None  # the fault of the peer's that the handler was told last
        self._look_at = PACKETS_BETWEEN
        self._turn_until = 0.0

    # --- the beginning -------------------------------------------------------------------------------------------

    def link_made(self, link: Any, /) -> None:
        hub, now = self._hub, self.host.now()
        self.address = link.transport.get_extra_info("peername")
        self._visit = visit = hub.admission.arrive(peer_group(link.transport), now)
        if visit.refusal is not None or hub.is_ending:
            self._is_handled = True
            self._turn_away(visit.refusal, now)
            return
        self.client = hub.new_client(self)
        hub.at_work.add(self)
        hub.log.logger.debug("%s connected", self)
        if hub.hooks:
            self._teller = self._new_teller(self.client)
            self._teller.tell("connection_opened")
            if self.is_over or self.client.is_closing():  # a hook has cut it
                self._is_handled = True
                self._check_over()
                return
        self._handle = self.host.start(self._run(), copy_context())

    def _new_teller(self, client: ServedClient[Any, Any]) -> Teller:
        from tieline.runtimes.hooks import Teller  # lazily: few servers have such

        return Teller(self._hub.hooks, client, self._hook_failed)

    def _hook_failed(self, name: str, error: BaseException) -> None:
        self._hub.log.hook_failed(name, error, self.host.now())
        if (fatal := fatal_in(error)) is not None:
            self.host.end_program(fatal)

    def _turn_away(self, refusal: str | None, now: float) -> None:
        if refusal is not None:
            if self._hub.hooks:
                client = self._hub.new_client(self)
                self._new_teller(client).tell("connection_refused", refusal or "server busy")
                client.let_go()
            untold = self._hub.admission.to_tell(now)
            if untold is not None:
                more = f" ({untold} more since the last line)" if untold else ""
                self._hub.log.logger.warning("%s was turned away: %s%s", self, refusal or "server busy", more)
        self.link.abort()  # packets have no way to say why

    def __str__(self) -> str:
        return peer_name(self.address)

    # --- the handler ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        client = self.client
        if self._is_handled or client is None:  # cut before its first step
            return
        self._has_begun = True
        _current.set(self)
        error: BaseException | None = None
        try:
            check_done(await self._hub.handler(client))
        except BaseException as exc:
            error = exc
        self._handled(error)
        del error  # this frame is one of its traceback

    def _handled(self, error: BaseException | None) -> None:
        """The handler is done: close the connection."""
        self._is_handled = True
        self._handle = None
        if error is not None:
            self._judge(error)
        if self.client is not None:
            self.client.let_go()
        if not self.is_over:
            self._close_link()
            wake_first(self.receivers)  # tasks of the handler that go on behind it
        self._check_over()

    def _close_link(self) -> None:
        if self.outgoing is None:
            super()._close_link()
        else:
            with self.outgoing.held_back():
                super()._close_link()

    def _judge(self, error: BaseException) -> None:
        """Log how a handler has failed; that there was nobody to talk to any more is no failure of its own."""
        log, now = self._hub.log, self.host.now()
        is_cancelled = not isinstance(error, Exception)
        told = None if self._told is None else self._told()
        if (fatal := fatal_in(error)) is not None:
            self.host.end_program(fatal)
        elif told is not None and error is told:
            log.peer_erred(str(self), "sent something that is not a valid packet", now)
            self._tell_limit(told)
        elif isinstance(error, ConnectionLost | ClientClosedError) and (self.is_over or self.machine.end() is not None):
            log.logger.debug("%s: the handler ended with the connection", self)
        elif not (is_cancelled and (self.is_over or self._hub.is_ending)):
            log.handler_failed(str(self), error, now)

    def _tell_limit(self, error: Exception) -> None:
        if self._teller is not None:
            self._teller.tell("limit_hit", error)

    def take(self, take: Callable[[], Any]) -> Any:
        try:
            return super().take(take)
        except StreamProtocolParseError as exc:
            self._told = ref(exc)  # whether the handler fails by this one, or by one of another peer of its own
            raise

    def next_at_once(self) -> Any:
        return NOTHING if self.machine.packets_received >= self._look_at else super().next_at_once()

    def wait_for_packet(self, seconds: float | None = None, *, is_first: bool = False) -> Coroutine[Any, Any, None]:
        if self.machine.packets_received >= self._look_at and not is_first:
            self._look_at = self.machine.packets_received + PACKETS_BETWEEN
            if self.host.now() >= self._turn_until:
                return self._wait_behind_others(seconds)
        return super().wait_for_packet(seconds, is_first=is_first)

    async def _wait_behind_others(self, seconds: float | None) -> None:
        """Wait in line as ever, but let others have a turn first: this handler may have taken too much of one."""
        until = None if seconds is None else self.host.now() + seconds
        await wait_in(self.receivers, self.host, self._has_news, until, self.has_unread, lets_others_run=True)
        self._turn_until = self.host.now() + TURN_SECONDS

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or the stream has come to its end."""
        return self._has_news()

    # --- the end -------------------------------------------------------------------------------------------------

    def link_lost(self, error: BaseException | None, /) -> None:
        super().link_lost(error)
        log, reason = self._hub.log, self.machine.close_reason
        if isinstance(reason, RemoteProtocolError | TimeoutError):
            log.peer_erred(str(self), f"was cut: {reason}", self.host.now())
            self._tell_limit(reason)
        log.logger.debug("%s disconnected", self)
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.tell("connection_closed", reason)
        self._check_over()

    def _check_over(self) -> None:
        """Give up the place when both are over, the connection and its handler."""
        if not self.is_over:
            return
        if not self._is_handled:
            if self._is_given_up:
                self._release()
            return
        if self._visit is not None:
            self._visit.leave(self.host.now(), accepted=0, abandoned=0)
        self._hub.at_work.discard(self)
        self.client = self.outgoing = None  # they would keep each other alive until the garbage is collected
        self._release()

    def _release(self) -> None:
        for waiter in self._ended or ():
            if not waiter.done():
                waiter.set_result(None)
        self._ended = None

    # --- for the end of the server: see `tieline.runtimes.ending.Ended` ------------------------------------------

    def begin_shutdown(self) -> None:
        is_own = self._note_own()
        if self._is_handled or self.is_over:
            self._check_over()  # others may wait for the handler that has just been given up
        elif is_own:
            self._close_link()
        else:
            self.machine.stop_receiving()
            wake_first(self.receivers)
            self.link.settle()

    def _note_own(self) -> bool:
        """Return whether this runs in the handler of this connection, and if so, give that up."""
        is_own = _current.get() is self
        if is_own:
            self._is_given_up = True
            if self.client is not None:
                self.client.let_go()
        return is_own

    async def aclose(self, force_after: float = inf) -> None:
        if force_after <= 0:
            self.cut()
        elif not (self.is_over and (self._is_handled or self._is_given_up)):
            waiter = self.host.new_waiter()
            self._ended = [*(self._ended or ()), waiter]
            await waiter

    def cut(self) -> None:
        self._note_own()
        handle = self._handle
        self.abort()
        if handle is not None and not self._is_given_up:
            handle.cancel()
            if not self._has_begun:  # and so it never does
                self._handled(None)
        self._release()
