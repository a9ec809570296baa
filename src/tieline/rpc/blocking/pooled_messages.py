# SPDX-License-Identifier: MIT
"""Sessions of messages that a server accepted, in blocking code: their handlers run in the server's pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tieline.rpc.blocking.accepted import Accepted
from tieline.rpc.blocking.life import check_plain
from tieline.rpc.messages import MessageSession
from tieline.wire.framing.bitcoin import BitcoinFramer

if TYPE_CHECKING:
    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.wire.framing.base import FramerBase

__all__ = ["PooledMessages", "ServerMessageSession", "pooled_messages"]


class ServerMessageSession(Accepted):
    """A session of messages on a connection that a peer dialled; derive from it and override `handle_message`.

    ``tieline.blocking.serve(YourSession, url)`` makes one for each connection, without arguments, in the server's own
    thread: an ``__init__`` of yours is not to block. All else of it is for any other thread.

    What a message is, is the framer's affair; see `tieline.MessageSession`, also for how a session ends. Messages are
    handled in the pool of the server, those of one session one at a time and in the order in which they came. When
    `Limits.max_pending` of them wait, reading stops.
    """

    _session: PooledMessages

    def default_framer(self) -> FramerBase[Any]:
        """Return a new framer, for servers that were given none."""
        return BitcoinFramer.with_limit(self.max_message)

    @property
    def max_message(self) -> int:
        """The most bytes that a message may have; for `default_framer`."""
        return self._session.max_message

    def handle_message(self, message: Any) -> None:
        """Handle a message of the peer. Override it: by default it does nothing.

        Exceptions are logged, and the session goes on. If it takes longer than `Limits.handler_timeout`, the next
        message is handled meanwhile.
        """

    def connection_lost(self) -> None:
        """Called in the pool, once, when the connection is gone, for whatever reason. Override it to clean up."""

    def send_message(self, message: Any) -> None:
        """Send a message, as the framer takes it; waits for room when the peer is slow. Safe in any thread.

        For what is raised see `tieline.MessageSession.send_message`.
        """
        self._thread.call(self._session.send_message, message)


class PooledMessages(MessageSession):
    """The session that does the work, in the server's thread, for the one that its user sees.

    Attributes:
        seen_class: The class of that.
        thread: The server's.
        seen: What its user sees.
    """

    ordered = True

    seen_class: ClassVar[type[ServerMessageSession]]
    thread: ClassVar[LoopThread | None]

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        assert self.thread is not None  # else there is nobody to make sessions
        self.seen = self.seen_class()
        self.seen.attach(self, self.thread)

    @property
    def max_message(self) -> int:
        """The most bytes that a message may have."""
        return self._max_message()

    def default_framer(self) -> FramerBase[Any]:
        return self.seen.default_framer()

    async def handle_message(self, message: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # it may
        await self.seen.in_pool(self.seen.handle_message, message)

    async def connection_lost(self) -> None:
        await self.seen.in_pool(self.seen.connection_lost)


def pooled_messages(seen_class: type[ServerMessageSession], thread: LoopThread | None) -> type[PooledMessages]:
    """Return the class of sessions for which *seen_class* is what users see; *thread* is None to have it judged only.

    Raises:
        TypeError: A method that is to be plain is async.
    """
    for name in ("handle_message", "connection_lost"):
        check_plain(getattr(seen_class, name), f"{seen_class.__name__}.{name}")
    return type(seen_class.__name__, (PooledMessages,), {"seen_class": seen_class, "thread": thread})
