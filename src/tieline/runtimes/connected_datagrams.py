# SPDX-License-Identifier: MIT
"""A connected socket of datagrams that is read and written by whoever waits: all of it but the waiting.

Packet clients use it, where `tieline.create_datagram_endpoint` gives a transport. Nothing is read that nobody asked
for: what comes waits in the system's own queue, which drops what is too much and counts it, so a receiver that is
cancelled loses nothing, and files that come beside a datagram go to whoever wants that datagram. Each runtime has the
waiting in its ``connected_datagrams.py``.
"""

from __future__ import annotations

import errno
import socket
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.endpoints.socket_addresses import socket_address
from tieline.errors import ClientClosedError
from tieline.runtimes.datagram_facts import dropped_by_system, name_of
from tieline.wire.addresses import attempt_error

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.relayed_datagrams import Relayed

__all__ = ["READ", "WRITE", "ConnectedDatagrams"]

# The two lines in which tasks or threads wait for their turn.
READ: Final = 0
WRITE: Final = 1

# So many datagrams may be taken without waiting before others get their turn.
BATCH: Final = 32

_UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)
_TRUNCATED: Final[int] = getattr(socket, "MSG_TRUNC", 0)
# One byte more than any datagram of UDP has.
_UDP_SIZE: Final = 1 << 16
# The same of a Unix socket, where the system does not tell the size of the next one.
_UNIX_SIZE: Final = 1 << 18
# So a Unix socket tells that its peer has gone, and then that it is connected to nobody.
_CUTS: Final = (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET)


def _refusal() -> ConnectionRefusedError:
    return ConnectionRefusedError(errno.ECONNREFUSED, "nobody receives at the peer's path")


class ConnectedDatagrams(ABC):
    """One such socket; a runtime's own class says how to wait, in the methods at the end.

    A system disconnects a Unix socket that sends to a peer that has gone, and lets anybody send to it from then on. So
    it is connected again, where the peer has a name, and nothing is taken from others meanwhile.

    Args:
        sock: The socket, connected and non-blocking; owned.
        relayed: The proxy in between; None = there is none.
        path: What a Unix socket was connected to; None = the name that its peer has.

    Attributes:
        sock: The socket.
        is_closed: This side has closed it.
        dropped: How many datagrams were dropped here, since they were too long or came from elsewhere.
        sockname: The socket's own address.
        peername: The peer's; by a proxy the target.
    """

    __slots__ = (
        "__weakref__",
        "_in_line",
        "_is_cut",
        "_is_unix",
        "_path",
        "_taken",
        "dropped",
        "is_closed",
        "peername",
        "relayed",
        "sock",
        "sockname",
    )

    def __init__(self, sock: socket.socket, relayed: Relayed | None = None, *, path: Any = None) -> None:
        self.sock = sock
        self.relayed = relayed
        self.is_closed = False
        self.dropped = 0
        self.sockname = name_of(sock.getsockname)
        self.peername = name_of(sock.getpeername) if relayed is None else relayed.target
        self._is_unix = sock.family == _UNIX
        self._path = path or self.peername
        self._is_cut = False  # the system has disconnected it
        self._in_line = [0, 0]  # how many wait to read, and to write
        self._taken = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.sockname} - {self.peername}{' closed' if self.is_closed else ''}>"

    def check_open(self) -> None:
        """Refuse when it is closed.

        Raises:
            ClientClosedError: It is.
        """
        if self.is_closed:
            raise self._why_closed()

    def _why_closed(self) -> ConnectionError:
        return ClientClosedError("the client is closed")

    # --- without waiting -----------------------------------------------------------------------------------------

    def receive_now(self, room: int = 0) -> tuple[bytes, SocketAncillary | None] | None:
        """Take the datagram that has waited longest, and what is beside it; None when none has come.

        Args:
            room: For how many bytes of control data; 0 = what is beside the datagram is not wanted.

        Raises:
            ConnectionRefusedError: The system of the peer has said that nobody is there (ICMP); another may be later.
            OSError: Other news of that kind.
            ConnectionLost: The proxy has gone.
            ClientClosedError: It is closed.
        """
        self.check_open()
        if self.relayed is not None:
            self.relayed.check()
        if self._is_cut:
            self._reconnect()
        while True:
            try:
                data, ancillary, is_whole = self._received(room)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as exc:
                if exc.errno == errno.EMSGSIZE:  # so Windows tells of one that was cut
                    self.dropped += 1
                    continue
                raise self._told(exc) from exc
            if self.relayed is not None and is_whole:
                payload = self.relayed.unwrap(data)
                is_whole = payload is not None
                data = payload or b""
            if is_whole:
                return data, ancillary
            self.dropped += 1

    def _received(self, room: int) -> tuple[bytes, SocketAncillary | None, bool]:
        sock, size = self.sock, _UDP_SIZE
        if self._is_unix:
            size = _UNIX_SIZE
            if sys.platform == "linux":  # it tells how long the next one is
                size = max(1, sock.recv_into(bytearray(1), 1, socket.MSG_PEEK | _TRUNCATED))
        if not room:
            if not self._is_unix:
                return (data := sock.recv(size)), None, sys.platform == "linux" or len(data) < size
            data, source = sock.recvfrom(size)
            return data, None, self._is_of_peer(source) and (sys.platform == "linux" or len(data) < size)
        from tieline.runtimes.ancillary import receive_with  # lazily: for the few who use it

        data, ancillary, flags, source = receive_with(sock, size, room, 0)
        return data, ancillary, not flags & _TRUNCATED and self._is_of_peer(source)

    def _is_of_peer(self, source: Any) -> bool:
        """Return whether *source* is the peer of a Unix socket: between a refusal and its end others can send."""
        if self._is_cut:
            return False
        if source and source == self.peername:
            return True
        try:
            name = self.sock.getpeername()  # it may have got its name since
        except OSError:  # nobody is the peer
            self._is_cut = True
            return False
        if name:
            self.peername = name
        return (source or None) == (name or None)

    def _reconnect(self) -> OSError | None:
        """Connect a Unix socket again, which the system has disconnected; return why not."""
        if not self._path:
            return OSError(errno.ENOTCONN, "the peer has no name")
        try:
            self.sock.connect(self._path)
        except OSError as exc:
            return exc
        self.peername = name_of(self.sock.getpeername)
        self._is_cut = False
        return None

    def send_now(self, data: bytes, ancillary: SocketAncillary | None = None) -> bool:
        """Send a datagram, and return True; False when the system does not take it now.

        Raises:
            OSError: EMSGSIZE: such a socket carries none that is as long, or *ancillary* does not fit.
            ConnectionRefusedError: As of `receive_now`: this one was not sent. Or nobody is at the path.
            ConnectionLost, ClientClosedError: As of `receive_now`.
        """
        self.check_open()
        if self.relayed is not None:
            self.relayed.check()
            data = self.relayed.wrap(data)
        raw = None if ancillary is None else ancillary.as_raw()
        if self._is_cut and (reason := self._reconnect()) is not None:
            raise _refusal() from reason
        try:
            if raw is None:
                self.sock.send(data)
            else:
                from tieline.runtimes.ancillary import send_with  # lazily, as above

                send_with(self.sock, data, raw, 0, None)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            if self._is_unix and exc.errno in _CUTS:
                self._is_cut = True
                self._reconnect()  # at once, so that nobody else gets in; where it cannot be, the next send tells
                raise _refusal() from exc
            if exc.errno == errno.EMSGSIZE:
                raise OSError(exc.errno, f"a datagram of {len(data)} bytes is too long for its socket") from exc
            raise self._told(exc) from exc
        return True

    def _told(self, error: OSError) -> OSError:
        """Return *error* as it is told: with the address of the peer, or of the proxy in between."""
        to = None if self._is_unix or self.sock.fileno() < 0 else name_of(self.sock.getpeername)
        return error if to is None else attempt_error(error, socket_address(to))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact, as a transport does: socket, sockname, peername, proxy_target, and how much is lost.

        ``dropped`` is how many datagrams were dropped here, ``dropped_by_system`` how many the system did since nobody
        took them in time (Linux; None elsewhere).
        """
        match name:
            case "socket":
                return self.sock
            case "sockname":
                return self.sockname or default
            case "peername":
                return self.peername or default
            case "proxy_target":
                return default if self.relayed is None else self.relayed.target
            case "dropped":
                return self.dropped
            case "dropped_by_system":
                return default if self.is_closed else dropped_by_system(self.sock)
            case _:
                return default

    # --- with waiting --------------------------------------------------------------------------------------------

    async def receive(self, room: int = 0, until: float | None = None) -> tuple[bytes, SocketAncillary | None]:
        """Wait for a datagram, behind those who wait already; see `receive_now`. Cancelled, it has taken none.

        *until* is the end of the time, by the runtime's clock; None = as long as it takes.

        Raises:
            TimeoutError: None has come before *until*.
        """
        found = self.receive_at_once(room)
        if found is not None:
            return found
        self._count(READ, 1)
        try:
            await self._enter(READ, until)
            try:
                await self._let_others_run()
                while True:
                    found = self.receive_now(room)
                    if found is not None:
                        return found
                    try:
                        await self._wait(False, until)
                    except TimeoutError:
                        found = self.receive_now(room)  # what has come by now has come in time
                        if found is None:
                            raise
                        return found
            finally:
                self._leave(READ)
        finally:
            self._count(READ, -1)

    def receive_at_once(self, room: int = 0) -> tuple[bytes, SocketAncillary | None] | None:
        """As `receive_now`, but None also when others wait already, or are to run before the next one is taken."""
        if self._in_line[READ] or self._taken >= BATCH:
            return None
        self._taken += 1
        return self.receive_now(room)

    def take_now(self) -> tuple[bytes, SocketAncillary | None] | None:
        """As `receive_now`, but None also when others wait already."""
        return None if self._in_line[READ] else self.receive_now()

    async def send(self, data: bytes, ancillary: SocketAncillary | None = None, until: float | None = None) -> None:
        """Send a datagram when the system takes it, behind those who wait already. Cancelled, it has sent nothing.

        Raises:
            TimeoutError: Not before *until*: nothing was sent.
            OSError: As of `send_now`.
        """
        if not self._in_line[WRITE] and self._taken < BATCH:
            self._taken += 1
            if self.send_now(data, ancillary):
                return
        self._count(WRITE, 1)
        try:
            await self._enter(WRITE, until)
            try:
                await self._let_others_run()
                while not self.send_now(data, ancillary):
                    await self._wait(True, until)
            finally:
                self._leave(WRITE)
        finally:
            self._count(WRITE, -1)

    def _count(self, line: int, more: int) -> None:
        """Take note that so many more wait in *line*."""
        self._in_line[line] += more

    async def _let_others_run(self) -> None:
        """Do that, if enough was taken without waiting; by the first in a line, so nobody overtakes him meanwhile."""
        if self._taken >= BATCH:
            self._taken = 0
            await self._breathe()

    def close(self) -> None:
        """Close it. Whoever waits gets a `ClientClosedError`."""
        if not self.is_closed:
            self.sockname = name_of(self.sock.getsockname)
            self.is_closed = True
            self._release()

    def _close_sockets(self) -> None:
        self.sock.close()
        if self.relayed is not None:
            self.relayed.control.close()

    def _watched(self) -> tuple[Any, ...]:
        """Return what tells besides the socket itself that there is something to find out."""
        return () if self.relayed is None else (self.relayed.control,)

    # --- what a runtime does its own way -------------------------------------------------------------------------

    @abstractmethod
    async def _breathe(self) -> None:
        """Let others run."""

    @abstractmethod
    async def _enter(self, line: int, until: float | None) -> None:
        """Wait to be the first in a line.

        Raises:
            TimeoutError: Not before *until*.
        """

    @abstractmethod
    def _leave(self, line: int) -> None:
        """Let the next one in that line be the first."""

    @abstractmethod
    async def _wait(self, writing: bool, until: float | None) -> None:
        """Wait until the socket can be written, or read; what is `_watched` can be read; or it is closed.

        Raises:
            TimeoutError: Not before *until*.
        """

    @abstractmethod
    def _release(self) -> None:
        """Wake who waits, and close the sockets."""
