# SPDX-License-Identifier: MIT
"""The hooks of servers for blocking code: they are told of the sessions that handlers see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.rpc.blocking.pooled import ServerSession
from tieline.rpc.blocking.pooled_messages import PooledMessages
from tieline.rpc.server import ServerSession as AsyncServerSession
from tieline.runtimes.hooks import Hooks, checked_hooks

if TYPE_CHECKING:
    from tieline.runtimes.asyncio.threads import LoopThread

__all__ = ["seen_by"]


class _Seen(Hooks):
    """Tells *hooks* what it is told, with the session as code in other threads has it."""

    def __init__(self, hooks: Hooks, thread: LoopThread) -> None:
        self._hooks = hooks
        self._thread = thread

    def _seen(self, session: Any) -> Any:
        if isinstance(session, AsyncServerSession):
            return ServerSession(session, self._thread)
        # A session that a factory of the user's has made is asynchronous for its handlers as well.
        return session.seen if isinstance(session, PooledMessages) else session

    def server_made(self, server: Any) -> None:
        self._hooks.server_made(server)

    def connection_opened(self, session: Any) -> None:
        self._hooks.connection_opened(self._seen(session))

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        self._hooks.connection_closed(self._seen(session), reason)

    def connection_refused(self, session: Any, reason: str) -> None:
        self._hooks.connection_refused(self._seen(session), reason)

    def call_started(self, session: Any, method: str) -> None:
        self._hooks.call_started(self._seen(session), method)

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        self._hooks.call_ended(self._seen(session), method, seconds, error)

    def limit_hit(self, session: Any, error: Exception) -> None:
        self._hooks.limit_hit(self._seen(session), error)


def seen_by(hooks: object, thread: LoopThread | None, but: Hooks | None = None) -> list[Hooks] | None:
    """Return what tells *hooks*, *but* left out; without a thread, where they are judged only, None.

    Raises:
        TypeError: They are no hooks.
    """
    found = checked_hooks(hooks)
    return None if thread is None else [_Seen(each, thread) for each in found if each is not but]
