# SPDX-License-Identifier: MIT
"""A network in memory for blocking code: servers listen on it, clients dial by it, and no socket is opened."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

from tieline.endpoints import TCP
from tieline.errors import LocalProtocolError, TielineError
from tieline.rpc.blocking.client import ClientSession
from tieline.testing.sockets import MemorySocket, memory_sockets
from tieline.testing.wires import CAPACITY

if TYPE_CHECKING:
    from types import TracebackType

    from tieline.rpc.methods import Methods

__all__ = ["BlockingMemoryNetwork", "BlockingMemoryServer"]

_NOBODY: Final = "nobody listens at {}:{} in this network in memory"


class BlockingMemoryNetwork:
    """A network within one program: what listens on it at a host and port can be dialled there, by any thread.

    Give it to sessions of `tieline.blocking` as their *proxy*, and make servers by `serve`: all else is as with
    sockets. It is the twin of `MemoryNetwork`, which is for asyncio and trio.

    Args:
        capacity: How many bytes may be unread in each direction of a connection, before sends wait.
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

        Each connection gets a session with these *methods*, and a thread in which its handlers run. *settings* are
        those of `tieline.blocking.ClientSession`, such as ``limits`` and ``dialect``.

        Raises:
            ValueError: The host or the port is none.
        """
        return BlockingMemoryServer(self, TCP(host, port), {"methods": methods, **settings})

    def create_connection(self, address: tuple[str, int], timeout: float | None = None) -> MemorySocket:
        """Dial *address* and return the connected end, as `socket.create_connection` does; nothing waits.

        Raises:
            ConnectionRefusedError: Nobody listens there.
        """
        with self._lock:
            server = self._servers.get(address)
        if server is None:
            raise ConnectionRefusedError(111, _NOBODY.format(*address))
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
                raise OSError(98, f"somebody listens at {host}:{port} in this network in memory already")
            self._servers[server.address] = server

    def remove(self, server: BlockingMemoryServer) -> None:
        """Undo `add`."""
        with self._lock:
            if self._servers.get(server.address) is server:
                del self._servers[server.address]


class BlockingMemoryServer:
    """A server on a `BlockingMemoryNetwork`, which makes it: a session and a thread for each connection.

    Attributes:
        address: The host and the port.
    """

    def __init__(self, network: BlockingMemoryNetwork, endpoint: TCP, settings: dict[str, Any]) -> None:
        self.address = (str(endpoint.host), endpoint.port)
        self._network = network
        self._endpoint = endpoint
        self._settings = settings
        self._lock = threading.Lock()
        self._open: dict[ClientSession, threading.Thread] = {}
        self._is_listening = False

    def __repr__(self) -> str:
        return f"<BlockingMemoryServer at {self.url} with {len(self._open)} sessions>"

    @property
    def url(self) -> str:
        """The URL to connect to."""
        return str(self._endpoint)

    @property
    def sessions(self) -> tuple[ClientSession, ...]:
        """The sessions that are alive."""
        with self._lock:
            return tuple(self._open)

    def accept(self, sock: MemorySocket) -> None:
        """Serve the other end of *sock*. For the network.

        Raises:
            ConnectionRefusedError: It listens no more.
        """
        session = ClientSession(sock=sock, **self._settings)
        session.create_connection()
        thread = threading.Thread(target=self._move, args=(session,), name=f"session at {self.url}", daemon=True)
        with self._lock:
            is_open = self._is_listening
            if is_open:
                self._open[session] = thread
        if not is_open:
            session.abort()
            raise ConnectionRefusedError(111, _NOBODY.format(*self.address))
        thread.start()

    def _move(self, session: ClientSession) -> None:
        try:
            while True:
                session.poll(None)
        except TielineError:  # it is over: ConnectionLost or ClosedError
            pass
        finally:
            session.close()
            with self._lock:
                del self._open[session]

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
