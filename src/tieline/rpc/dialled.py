# SPDX-License-Identifier: MIT
"""Sessions that this side dials: where to, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints import TCP
from tieline.rpc.dialling import ToBeDialled
from tieline.rpc.facts import EngineT
from tieline.rpc.life import SessionLife
from tieline.runtimes.detect import current_backend

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Dialled"]


class Dialled(ToBeDialled[EngineT], SessionLife[EngineT]):
    """The dialling part of a session; an async context manager that connects and closes.

    Attributes:
        endpoint: Where it connects to; None with a given socket, or when it is to be served and not to dial.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes.
    """

    async def create_connection(self) -> tuple[Any, Self]:
        """Connect and return the transport and the session itself. Cancelling leaves nothing behind.

        Raises:
            OSError: Nobody there, or no way to get there.
            TimeoutError: Not within `connect_timeout` seconds.
            ClosedError: The session was closed, before that or meanwhile.
            LocalProtocolError: The session has or had a connection, or is connecting.
        """
        self._check_fresh()
        self._check_wanted()
        backend = current_backend()
        sock, self._sock = self._sock, None
        self._is_dialling = True
        try:
            transport, _link = await backend.dial(
                lambda: self.new_link(accepted=False),
                self.endpoint or TCP("given-socket", 0, tls=self._tls),  # the name in errors
                timeout=self.connect_timeout,
                sock=sock,
                proxy=self._proxy,
                tls_shutdown_timeout=self.limits.tls_shutdown_timeout,
            )
            self._check_wanted()
        except BaseException:
            if self._engine is not None:
                self._engine.link.abort()
                self._engine.never_made()
            raise
        finally:
            self._is_dialling = False
        return transport, self

    async def __aenter__(self) -> Self:
        await self.create_connection()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
