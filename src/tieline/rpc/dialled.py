# SPDX-License-Identifier: MIT
"""Sessions that this side dials: how they connect and leave, on asyncio and trio. Where to is in `dialling.py`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints.tcp import TCP
from tieline.rpc.dialling import ToBeDialled
from tieline.rpc.facts import EngineT
from tieline.rpc.life import SessionLife
from tieline.runtimes.detect import current_backend

if TYPE_CHECKING:
    from types import TracebackType

    from tieline.runtimes.backend import Scope
    from tieline.runtimes.tasks import CancelScope

__all__ = ["Dialled"]


class Dialled(ToBeDialled[EngineT], SessionLife[EngineT]):
    """The dialling part of a session; an async context manager that connects and closes.

    Attributes:
        endpoint: Where it connects to; None with a given socket, or when it is to be served and not to dial.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes.
    """

    _scope: Scope | None = None  # of the `async with`, where the runtime has such
    _dialling: CancelScope | None = None  # while it connects

    async def create_connection(self, *, nursery: object = None) -> tuple[Any, Self]:
        """Connect, and return the transport and the session itself. Cancelling leaves nothing behind.

        Usually ``async with`` calls this.

        Args:
            nursery: On trio, the nursery for the connection and its handlers: it does not end before the session does,
                and cancelling it aborts the connection. (``async with`` brings its own.) None elsewhere.

        Raises:
            OSError: The peer cannot be reached.
            TimeoutError: Not connected within `connect_timeout` seconds.
            ClosedError: The session was closed, before or meanwhile.
            LocalProtocolError: The session has or had a connection, or is connecting; or on trio, *nursery* is missing
                or closed.
        """
        self._check_fresh()
        self._check_wanted()
        backend = current_backend()
        sock = self._sock
        if sock is not None:
            self._sock = None
        self._is_dialling = True
        dialling = self._dialling = backend.cancel_scope()
        transport: Any = None
        try:
            with dialling:
                transport, _link = await backend.dial(
                    partial(self.new_link, accepted=False, backend=backend),
                    self.endpoint or TCP("given-socket", 0, tls=self._tls),  # the name in errors
                    timeout=self.connect_timeout,
                    sock=sock,
                    proxy=self._proxy,
                    tls_shutdown_timeout=self.limits.tls_shutdown_timeout,
                    nursery=nursery,
                )
            self._check_wanted()
        except BaseException:
            if self._engine is not None:
                self._engine.link.abort()
                self._engine.link.never_made()
            raise
        finally:
            self._is_dialling = False
            self._dialling = None
        return transport, self

    def _want_no_more(self) -> None:
        super()._want_no_more()
        if self._dialling is not None:
            self._dialling.cancel()

    async def __aenter__(self) -> Self:
        scope = await current_backend().open_scope()
        if scope is None:
            await self.create_connection()
            return self
        try:
            await self.create_connection(nursery=scope.nursery)
        except BaseException as exc:
            await scope.leave(self._never_connected, exc)
            raise
        self._scope = scope
        return self

    async def _leave(self) -> None:
        await self.aclose(self._closing_time())

    async def _never_connected(self) -> None: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        if scope is not None:
            return await scope.leave(self._leave, exc)
        await self.aclose(self._closing_time())
        return False
