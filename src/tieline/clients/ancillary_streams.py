# SPDX-License-Identifier: MIT
"""Ancillary data beside the packets of Unix streams: the part that is the same in async and in blocking code.

It goes past the transport: see `tieline.runtimes.ancillary_streams`. So the transport must not read while somebody
wants it; and because what is read without asking for it is lost, a client of Unix sockets reads nothing at all before
somebody receives. From the first plain receive on its transport reads ahead as any other's, until somebody asks for
what goes beside; from then on it reads only while somebody waits.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.errors import BusyResourceError, ClientClosedError, ClosedError, ConnectionLost
from tieline.runtimes.ancillary_streams import receive_at_once, second, send_at_once
from tieline.runtimes.link import Link
from tieline.runtimes.memory import READ_SIZE
from tieline.wire.anew import told_anew
from tieline.wire.life import lost

if TYPE_CHECKING:
    from tieline.clients.engine import PacketEngine
    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["AncillaryStream", "busy"]


class AncillaryStream:
    """The ancillary data of one client's stream, from its first receive or send on.

    Args:
        engine: The engine of the client, whose machine is a `HeldPackets`.
        read_size: How many bytes one receive reads at most; None = 64 KiB.
    """

    __slots__ = ("_asking", "_engine", "_plain", "_read_size", "_waiting", "is_broken", "is_wanted")

    def __init__(self, engine: PacketEngine, read_size: int | None = None) -> None:
        self._engine = engine
        self._read_size = read_size or READ_SIZE
        self._plain: set[object] = set()  # who receives without asking for what goes beside
        self._asking: object = None  # who receives and asks
        self._waiting: list[socket.socket] = []
        self.is_wanted = False  # somebody has asked once
        self.is_broken = False  # the system has said so to us

    def _hold(self, is_held: bool) -> None:
        machine: Any = self._engine.machine
        if machine.hold(is_held):
            self._engine.link.settle()

    # --- plain receives ------------------------------------------------------------------------------------------

    def begin_plain(self, who: object) -> None:
        """Somebody receives, and does not want what goes beside; *who* is a new object.

        Raises:
            BusyResourceError: Somebody else wants it, at this very time.
        """
        if self._asking is not None:
            raise busy()
        self._plain.add(who)
        self._hold(False)

    def end_plain(self, who: object) -> None:
        """He has ended; fine twice, and where he has not begun."""
        if who in self._plain:
            self._plain.remove(who)
            if self.is_wanted and not self._plain:
                self._hold(True)

    # --- receives with what goes beside --------------------------------------------------------------------------

    def begin(self, who: object) -> bool:
        """Somebody receives, and wants what goes beside; return whether there is anything to be received for him.

        *who* is a new object. Where there is not, there is a packet already, or the stream has ended.

        Raises:
            BusyResourceError: Somebody else receives.
        """
        if self._asking is not None or self._plain:
            raise busy()
        self._asking, self.is_wanted = who, True
        machine = self._engine.machine
        if machine.is_ready or machine.end() is not None:
            return False
        self._hold(True)
        return True

    def end(self, who: object) -> None:
        """He has ended; fine twice, and where he has not begun."""
        if self._asking is who:
            self._asking = None

    def receive(self, container: SocketAncillary, room: int) -> bool:
        """Receive once, and return whether anything has come; what is beside it goes into *container*.

        Raises:
            EOFError: Not the whole packet has come. What has is kept.
            ClientClosedError: The client is closed.
        """
        engine = self._engine
        machine = engine.machine
        if machine.end() is not None:  # the link has found out by other ways
            return True
        try:
            found = receive_at_once(engine.link.transport, self._read_size, room)
        except ClosedError as exc:
            if machine.refuses:
                raise self._closed() from exc
            return True  # the link is about to tell why
        except OSError as exc:  # the system tells it once, and has told us
            self._broken(exc)
            return True
        if found is None:
            return False
        data, ancillary = found
        container.update(ancillary)
        if not data:
            self._hold(False)  # the transport is to find that as well, and to end
            return True
        Link.data_received(engine.link, data)  # what a buffered link inherits, and hides from its transport
        if not machine.is_ready and machine.end() is None:
            raise EOFError(
                f"the packet has not come as a whole with what is beside it: {len(data)} bytes have, which are kept"
            )
        return True

    # --- sends ---------------------------------------------------------------------------------------------------

    def send(self, framed: bytes, ancillary: SocketAncillary) -> bool:
        """Send a packet and what goes beside it behind all that was sent before; False when that cannot be yet.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError: As of ``send_packet``.
            OSError: EMSGSIZE: it does not fit. Or the system refuses it otherwise.
            ValueError: The packet has no byte that something could go with.
        """
        engine = self._engine
        engine.machine.check_sending()
        engine.link.settle()
        try:
            return send_at_once(engine.link.transport, framed, ancillary)
        except ClosedError as exc:
            raise self._closed() from exc
        except ConnectionError as exc:
            raise ConnectionLost("the connection went down while it sent") from self._sending_broken(exc)

    # --- a connection that ends meanwhile ------------------------------------------------------------------------

    def _closed(self) -> ClientClosedError | ConnectionLost:
        """Return what its transport's being closed means."""
        machine = self._engine.machine
        if machine.refuses:
            return ClientClosedError("the client was closed meanwhile")
        gone = ConnectionLost("the connection is down")
        gone.__cause__ = machine.close_reason
        return gone

    def _broken(self, error: OSError) -> Exception:
        """The system has told us, and not the transport, that the connection is broken; return why it has ended."""
        engine = self._engine
        self.is_broken = True
        reason = engine.machine.close_reason
        if reason is None:
            reason = engine.machine.close_reason = lost(error)
        engine.link.abort()
        return told_anew(reason)

    def _sending_broken(self, error: OSError) -> Exception:
        """As `_broken`, for a send: what the peer has said before can still be received."""
        self.is_broken = True
        machine = self._engine.machine
        reason = lost(error)
        if not (self._engine.link.fail_sending(error) or machine.peer_has_ended or machine.close_reason):
            machine.close_reason = reason
        return told_anew(reason)

    # --- waiting -------------------------------------------------------------------------------------------------

    def socket_to_wait_for(self) -> socket.socket:
        """Return a socket to wait for, until `waited`.

        Raises:
            ClientClosedError: The client is closed.
            ConnectionLost: The connection is gone.
        """
        try:
            sock = second(self._engine.link.transport)
        except ClosedError as exc:
            raise self._closed() from exc
        self._waiting.append(sock)
        return sock

    def waited(self, sock: socket.socket) -> None:
        """It is not waited for any more."""
        self._waiting.remove(sock)
        sock.close()

    def wake_all(self) -> None:
        """The client is closed: whoever waits is to find out."""
        for sock in self._waiting:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # the peer has gone already, which wakes as well
                pass


def busy() -> BusyResourceError:
    """Return what is raised when several receive, and one of them wants what goes beside."""
    return BusyResourceError(
        "somebody else receives: while somebody wants what goes beside packets he is to be the only one"
    )
