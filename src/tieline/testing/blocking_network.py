# SPDX-License-Identifier: MIT
"""A network in memory for blocking code: servers listen on it, clients dial by it, and no socket is opened."""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from tieline.endpoints.tcp import TCP
from tieline.errors import LocalProtocolError, TielineError
from tieline.rpc.blocking.pooled import ServerSession
from tieline.rpc.blocking.session import SessionBase
from tieline.runtimes.blocking.dialling import dial
from tieline.runtimes.blocking.host import BlockingHost
from tieline.testing.sockets import MemorySocket, memory_sockets
from tieline.testing.wires import CAPACITY

if TYPE_CHECKING:
    from types import TracebackType

    from tieline.rpc.methods import Methods

__all__ = ["BlockingMemoryNetwork", "BlockingMemoryServer"]

_NOBODY: Final = "nobody listens at {}:{} in this network in memory"


class BlockingMemoryNetwork:
    """An in-memory network for blocking code: servers listen at a host and port, and any thread connects to them.

    Pass it to sessions of ``tieline.blocking`` as their *proxy*, and create servers with `serve`. For asyncio and trio
    there is `MemoryNetwork`.

    Clients behave as with sockets; so do connections on the server's side, and their limits. But a server on this
    network has no thread pool: the handlers of a connection run in its own thread, one at a time; they must be plain
    functions, and `Limits.handler_timeout` does not apply. There is no TLS, there are no hooks (and so no statistics)
    and no limits for all connections together, and of `tieline.blocking.Server` only what `BlockingMemoryServer` has.

    Args:
        capacity: The number of unread bytes in each direction of a connection at which sending waits.
    """

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, int], BlockingMemoryServer] = {}

    def __repr__(self) -> str:
        return f"<BlockingMemoryNetwork of {len(self._servers)} servers>"

    def serve(
        self, methods: Methods | None = None, host: str = "memory", port: int = 1, **settings: Any
    ) -> BlockingMemoryServer:
        """Return a server at *host* and *port*; ``with`` makes it listen.

        Each connection gets a session with these *methods*, and a thread in which its handlers run; they get it by a
        parameter that is annotated with `tieline.blocking.ServerSession`. *settings* are ``rpc_protocol``, ``framer``,
        ``limits``, ``codec`` and ``dialect``, as of `tieline.blocking.serve`.

        Raises:
            ValueError: The host or the port is none.
            TypeError: One of *methods* is async, or a setting is of the wrong type, or none of these.
        """
        all_settings = {"methods": methods, **settings}
        _MemoryServerSession(**all_settings)  # judged here and now, and not where somebody dials
        return BlockingMemoryServer(self, TCP(host, port), all_settings)

    def create_connection(self, address: tuple[str, int], timeout: float | None = None) -> MemorySocket:
        """Dial *address* and return the connected end, as `socket.create_connection` does; nothing waits.

        Raises:
            ConnectionRefusedError: Nobody listens there.
        """
        with self._lock:
            server = self._servers.get(address)
        if server is None:
            raise _refused(address)
        ours, theirs = memory_sockets(capacity=self._capacity)
        server.accept(theirs)
        return ours

    # --- for servers ---------------------------------------------------------------------------------------------

    def add(self, server: BlockingMemoryServer) -> None:
        """Let *server* have what is dialled at its address. For servers.

        Raises:
            OSError: Somebody else listens there.
        """
        with self._lock:
            if server.address in self._servers:
                host, port = server.address
                raise OSError(errno.EADDRINUSE, f"somebody listens at {host}:{port} in this network in memory already")
            self._servers[server.address] = server

    def remove(self, server: BlockingMemoryServer) -> None:
        """Undo `add`."""
        with self._lock:
            if self._servers.get(server.address) is server:
                del self._servers[server.address]


class _MemoryServerSession(SessionBase, ServerSession):
    """What a handler knows as a `ServerSession`, moved by the thread of its connection."""

    logger = logging.getLogger("tieline.ServerSession")

    # `ServerSession` compares what it stands for, and this one stands for itself.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def accept(self, sock: MemorySocket, endpoint: TCP) -> None:
        """Serve the other end of *sock*; *endpoint* is for errors."""
        host = BlockingHost()
        dial(
            lambda: self.new_link(host, accepted=True),
            endpoint,
            host,
            timeout=None,
            sock=sock,
            shutdown_timeout=self.limits.tls_shutdown_timeout,
        )


class BlockingMemoryServer:
    """A server on a `BlockingMemoryNetwork`, which creates it: one session and one thread per connection.

    Attributes:
        address: The host and the port.
    """

    def __init__(self, network: BlockingMemoryNetwork, endpoint: TCP, settings: dict[str, Any]) -> None:
        self.address = (str(endpoint.host), endpoint.port)
        self._network = network
        self._endpoint = endpoint
        self._settings = settings
        self._lock = threading.Lock()
        self._open: dict[_MemoryServerSession, threading.Thread] = {}
        self._is_listening = False

    def __repr__(self) -> str:
        return f"<BlockingMemoryServer at {self.url} with {len(self._open)} sessions>"

    @property
    def url(self) -> str:
        """The URL to connect to."""
        return str(self._endpoint)

    @property
    def sessions(self) -> tuple[ServerSession, ...]:
        """The sessions that are alive."""
        with self._lock:
            return tuple(self._open)

    def accept(self, sock: MemorySocket) -> None:
        """Serve the other end of *sock*. For the network.

        Raises:
            ConnectionRefusedError: It listens no more.
            RuntimeError: There are too many threads.
        """
        session = _MemoryServerSession(**self._settings)
        session.accept(sock, self._endpoint)
        thread = threading.Thread(target=self._move, args=(session,), name=f"session at {self.url}", daemon=True)
        try:
            with self._lock:
                if not self._is_listening:
                    raise _refused(self.address)
                self._open[session] = thread
                try:
                    thread.start()  # with the lock held: `close` joins what is in there
                except BaseException:
                    del self._open[session]
                    raise
        except BaseException:
            session.abort()
            raise

    def _move(self, session: _MemoryServerSession) -> None:
        try:
            while True:
                session.poll(None)
        except TielineError:  # it is over: ConnectionLost or ClosedError
            pass
        finally:
            session.close()
            with self._lock:
                self._open.pop(session, None)

    def close(self) -> None:
        """Stop to listen, close all sessions, and wait for their threads. Harmless at any time."""
        self._network.remove(self)
        with self._lock:
            self._is_listening = False
            threads = dict(self._open)
        for session in threads:
            session.close()
        for thread in threads.values():
            if thread is not threading.current_thread():
                thread.join()

    def __enter__(self) -> Self:
        if self._is_listening:
            raise LocalProtocolError("the server is listening already")
        self._is_listening = True
        try:
            self._network.add(self)
        except BaseException:
            self._is_listening = False
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _refused(address: tuple[str, int]) -> ConnectionRefusedError:
    return ConnectionRefusedError(errno.ECONNREFUSED, _NOBODY.format(*address))
