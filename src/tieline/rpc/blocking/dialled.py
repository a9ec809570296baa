# SPDX-License-Identifier: MIT
"""Sessions that this side dials: how they connect and leave, in blocking code. Where to is in ``rpc/dialling.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints.tcp import TCP
from tieline.rpc.blocking.life import BlockingLife
from tieline.rpc.dialling import ToBeDialled
from tieline.rpc.facts import EngineT
from tieline.runtimes.blocking.backend import BlockingBackend
from tieline.runtimes.blocking.host import BlockingHost

if TYPE_CHECKING:
    import socket
    from types import TracebackType

__all__ = ["Dialled"]


class Dialled(ToBeDialled[EngineT], BlockingLife[EngineT]):
    """The dialling part of a session; a context manager that connects and closes.

    Attributes:
        endpoint: Where it connects to; None with a given socket.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes.
    """

    _dialling: BlockingHost | None = None  # of the connection, while that is being made

    def create_connection(self) -> tuple[Any, Self]:
        """Connect and return the transport and the session itself. When interrupted it leaves nothing behind.

        The look-up of a name cannot be interrupted by `connect_timeout`: the system's resolver has its own.

        Raises:
            OSError: Nobody there, or no way to get there.
            TimeoutError: Not within `connect_timeout` seconds.
            ClosedError: The session was closed, before that or meanwhile.
            LocalProtocolError: The session has or had a connection, or is connecting.
            UnsupportedOperation: A proxy was given that dials in asynchronous code only.
        """
        self._check_fresh()
        self._check_wanted()
        host = BlockingHost()
        sock, self._sock = self._sock, None
        self._is_dialling = True
        self._dialling = host
        try:
            transport = self._dial(host, sock)
            self._check_wanted()
        except BaseException:
            if self._engine is not None:
                host.do(self._engine.abort)
                self._engine.link.never_made()
            raise
        finally:
            self._is_dialling = False
            self._dialling = None
        return transport, self

    def _want_no_more(self) -> None:
        super()._want_no_more()
        host = self._dialling  # once: the thread that connects may be done with it at any time
        transport = None if host is None else host.transport
        if host is not None and transport is not None:  # what is waited for is a handshake
            host.do(transport.abort)

    def _dial(self, host: BlockingHost, sock: socket.socket | None) -> Any:
        """Connect, and return the transport."""
        endpoint = self.endpoint or TCP("given-socket", 0, tls=self._tls)  # the name in errors
        return BlockingBackend(host).dial(
            lambda: self.new_link(host, accepted=False),
            endpoint,
            timeout=self.connect_timeout,
            sock=sock,
            route=self._proxy,
            shutdown_timeout=self.limits.tls_shutdown_timeout,
        )[0]

    def __enter__(self) -> Self:
        self.create_connection()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(self._closing_time())
