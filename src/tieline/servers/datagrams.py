# SPDX-License-Identifier: MIT
"""The socket of a datagram server at work: who has sent what, whose turn it is, and what finds no room.

A peer is remembered while something of its is being handled or waits for that, and no longer. All of it is bounded:
peers at once, datagrams of one that wait, and the bytes of all that wait.
"""

from __future__ import annotations

import errno
from collections import deque
from contextvars import Context, ContextVar, copy_context
from functools import partial
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ClientClosedError, DatagramProtocolParseError
from tieline.runtimes.fatal import fatal_in
from tieline.servers.failures import peer_name
from tieline.servers.serving import check_done
from tieline.wire.datagram_packets import DatagramPackets
from tieline.wire.limits import ceiling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from socket import socket

    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.host import Handle, Host, Timer, Waiter
    from tieline.servers.failures import ServerLog
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["DatagramService", "Room", "Turns"]

# What a datagram that waits counts beyond its payload: about what its objects take.
OVERHEAD: Final = 256
# How often within `Limits.handler_timeout` it is looked which handlers run. So none needs a timer of its own.
LOOKS: Final = 8
# Seconds until a send is tried again that the system has not taken, and the most that this grows to.
PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05

# The peer whose handler is running, or has started the task that is.
_current: ContextVar[Turns | None] = ContextVar("tieline_served_peer", default=None)


class Turns:
    """The datagrams of one peer: they are handled one after the other.

    Attributes:
        waiting: Those whose turn has not come, with what came beside each.
        handle: The task that handles them.
        age: How many looks have seen the same one at work.
        has_begun: It has: one that is cancelled before never does.
        is_given_up: The handler has asked for the end of the server, which neither waits for it nor cuts it.
    """

    __slots__ = ("age", "handle", "has_begun", "is_given_up", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, SocketAncillary | None]] = deque()
        self.handle: Handle | None = None
        self.age = 0
        self.has_begun = False
        self.is_given_up = False


class Room:
    """What the sockets of one server have in hand together, and how much they may; those it has closed as well.

    Args:
        limits: What peers may cost.

    Attributes:
        peers: How many addresses are at work.
        max_peers: How many may be.
        size: How many bytes wait.
        max_size: How many may.
    """

    __slots__ = ("max_peers", "max_size", "peers", "size")

    def __init__(self, limits: Limits) -> None:
        self.peers = 0
        self.max_peers = limits.max_peers
        self.size = 0
        self.max_size = ceiling(limits.max_pending_size)


class DatagramService:
    """Hears the transport of one socket, and has the handler run.

    Args:
        host: The host of the loop.
        protocol: The format of packets.
        handler: What is called with each packet and its peer.
        new_peer: Makes what stands for a peer, from its address.
        limits: What peers may cost.
        room: What all sockets of the server have in hand.
        log: What is logged.
        at_work: The services of the server whose socket or handlers are alive; each puts itself in, and out.
        ancillary_room: For how many bytes of control data beside each datagram; 0 = they are not wanted.

    Attributes:
        transport: The transport, from `connection_made` on.
        received: How many datagrams came.
        dropped: How many of them found no room.
        packets: What makes packets of them, and counts those that were none.
        peers: The turns of each peer that has any, by address.
        is_ending: Nothing more is taken in.
        is_over: The socket is gone.
    """

    def __init__(
        self,
        host: Host,
        protocol: DatagramProtocol[Any, Any],
        handler: Callable[[Any, Any], Awaitable[object]],
        new_peer: Callable[[DatagramService, Any, SocketAncillary | None], Any],
        limits: Limits,
        room: Room,
        log: ServerLog,
        at_work: set[Any],
        ancillary_room: int = 0,
    ) -> None:
        self._host = host
        self.packets: DatagramPackets[Any, Any] = DatagramPackets(protocol)
        self._handler = handler
        self._new_peer = new_peer
        self._log = log
        self._room = room
        self._at_work = at_work
        self._max_waiting = limits.max_waiting_per_peer
        self._handler_timeout = limits.handler_timeout
        self._write_timeout = ceiling(limits.write_timeout)
        self._timer: Timer | None = None  # until the next look
        self._context = Context()
        self._ancillary_room = ancillary_room
        self._beside: SocketAncillary | None = None  # the datagram that is about to come
        self._ended: list[Waiter] = []
        self.transport: Any = None
        self.received = self.dropped = 0
        self.peers: dict[Any, Turns] = {}
        self.is_ending = self.is_over = False
        self._sending = Lock()  # the socket is not closed meanwhile

    # --- what the transport reports ------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._at_work.add(self)
        self._context = copy_context()
        if self._ancillary_room:
            transport.receive_ancillary(self._ancillary_room)

    def ancillary_received(self, ancillary: SocketAncillary) -> None:
        self._beside = ancillary

    def error_received(self, exc: OSError) -> None:
        """An earlier datagram of ours did not arrive, and it is not told whose: as it is with datagrams."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: BaseException | None) -> None:
        with self._sending:
            self.is_over = self.is_ending = True
        if exc is not None:
            self._log.logger.error("the socket failed: %s", exc)
        self._check_over()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received += 1
        beside, self._beside = self._beside, None
        if self.is_ending:
            return
        turns, room = self.peers.get(addr), self._room
        if turns is None:
            if room.peers >= room.max_peers:
                self._drop(f"there are {room.max_peers} peers already")
                return
            turns = self.peers[addr] = Turns()
            room.peers += 1
        elif len(turns.waiting) >= self._max_waiting:
            self._drop(f"{self._max_waiting} of one peer wait already")
            return
        elif room.size + len(data) + OVERHEAD > room.max_size:
            self._drop(f"those that wait take {room.size} bytes already")
            return
        room.size += len(data) + OVERHEAD
        turns.waiting.append((data, beside))
        del beside  # the handler may run within this call, and it is for that to say how long it is kept
        if turns.handle is None and len(turns.waiting) == 1:
            self._start(addr, turns)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._log.lost(f"a datagram was dropped: {why}", self._host.now())

    # --- handling ------------------------------------------------------------------------------------------------

    def _start(self, addr: Any, turns: Turns) -> None:
        handle = self._host.start(self._handle_all(addr, turns), self._context.copy())
        if handle is None or self.peers.get(addr) is not turns:
            return  # it is done
        turns.handle = handle
        if self._timer is None and self._handler_timeout is not None:
            self._plan_look(self._handler_timeout)

    async def _handle_all(self, addr: Any, turns: Turns) -> None:
        """Handle what there is of one peer, in order, until nothing is left."""
        _current.set(turns)
        turns.has_begun = True
        nothing_beside = self._new_peer(self, addr, None)
        is_cancelled = False
        while turns.waiting and not is_cancelled:
            data, beside = turns.waiting.popleft()
            self._room.size -= len(data) + OVERHEAD
            turns.age = 0
            try:
                try:
                    packet = self.packets.built(data)
                except DatagramProtocolParseError:
                    self._erred(addr)
                    continue
                finally:
                    del data
                if beside is None:
                    result = await self._handler(packet, nothing_beside)
                else:
                    peer = self._new_peer(self, addr, beside)
                    beside = None
                    result = await self._handle_with(packet, peer)
                del packet
                if result is not None:
                    check_done(result)
            except BaseException as exc:
                self._failed(addr, turns, exc)
                is_cancelled = not isinstance(exc, Exception)
        self._done(addr, turns)

    async def _handle_with(self, packet: Any, peer: Any) -> object:
        """Handle a packet that something came beside: what nobody has taken of it is closed when that is done."""
        try:
            return await self._handler(packet, peer)
        finally:
            peer.drop_ancillary()

    def _erred(self, addr: Any) -> None:
        """Take note that what a peer has sent was no packet; its handler is not called."""
        self._log.peer_erred(peer_name(addr), "sent a datagram that is not a valid packet", self._host.now())

    def _failed(self, addr: Any, turns: Turns, error: BaseException) -> None:
        """Take note of a handler that has failed, or a serializer; that is no concern of other peers."""
        now = self._host.now()
        if (fatal := fatal_in(error)) is not None:
            self._host.end_program(fatal)
        elif isinstance(error, ClientClosedError) and self.is_ending:
            pass
        elif isinstance(error, Exception):
            self._log.handler_failed(peer_name(addr), error, now)
        elif turns.age > LOOKS:
            late = TimeoutError(f"handler cancelled (limit {self._handler_timeout} s)")
            self._log.handler_failed(peer_name(addr), late, now)

    def _done(self, addr: Any, turns: Turns) -> None:
        turns.handle = None
        turns.has_begun = False
        if turns.waiting:  # the one before them was cancelled
            self._start(addr, turns)
            return
        if self.peers.get(addr) is turns:
            self._forget(addr)
        if self.is_ending:
            self._check_idle()

    def _forget(self, addr: Any) -> None:
        del self.peers[addr]
        self._room.peers -= 1

    def _drop_waiting(self, turns: Turns) -> None:
        self._room.size -= sum(len(data) + OVERHEAD for data, _ in turns.waiting)
        turns.waiting.clear()

    # --- handlers that take too long -----------------------------------------------------------------------------

    def _plan_look(self, timeout: float) -> None:
        self._timer = self._host.call_at(self._host.now() + max(timeout / LOOKS, 0.001), self._look)

    def _look(self) -> None:
        """Cancel the handlers that have seen more than `LOOKS` looks; one that goes on is cancelled at each of them."""
        self._timer = None
        for turns in list(self.peers.values()):
            turns.age += 1
            if turns.age > LOOKS and turns.handle is not None:
                turns.handle.cancel()
        if self.peers and self._handler_timeout is not None:
            self._plan_look(self._handler_timeout)

    # --- sending -------------------------------------------------------------------------------------------------

    async def send(self, packet: Any, addr: Any, ancillary: SocketAncillary | None = None) -> None:
        """Send a packet to *addr*; see `DatagramPeer.send_packet`."""
        if ancillary is not None and isinstance(addr, tuple):
            raise ValueError("only Unix sockets carry something beside a packet")
        await self.send_made(self.packets.made(packet), addr, ancillary)

    async def send_made(self, data: bytes, addr: Any, ancillary: SocketAncillary | None = None) -> None:
        """Send what a packet was made of; otherwise as `send`."""
        if not addr:
            raise OSError(errno.EDESTADDRREQ, "the peer's socket has no name: nothing can be sent to it")
        host, pause, until = self._host, PAUSE, inf
        while True:
            if self.transport.is_closing():
                raise ClientClosedError("the server is closed")
            if self.transport.try_sendto(data, addr, ancillary):
                return
            now = host.now()
            until = min(until, now + self._write_timeout)
            if now >= until:
                raise TimeoutError(errno.ETIMEDOUT, f"the peer took no datagram for {self._write_timeout} s")
            waiter = host.new_waiter()
            timer = host.call_at(now + pause, partial(_release, waiter))
            try:
                await waiter
            finally:
                timer.cancel()
            pause = min(2 * pause, LONGEST_PAUSE)

    def sent_at_once(self, data: bytes, addr: Any) -> bool:
        """Send *data* to *addr*, in any thread, if that is as simple as it mostly is; else it is for `send_made`."""
        if not addr:
            return False
        with self._sending:
            if self.is_over or self.transport.is_closing():
                return False
            sock: socket = self.transport.get_extra_info("socket")
            try:
                sock.sendto(data, addr)
            except OSError:  # no room, or the fate of an earlier one, or it is too long: `send` tells them apart
                return False
        return True

    # --- the end: see `tieline.runtimes.ending.Ended`, and the listener of a server --------------------------------

    def stop(self) -> None:
        """Take nothing more in; the socket stays until what is at work is done."""
        if self.is_ending:
            return
        self.is_ending = True
        self.transport.pause_reading()
        self._check_idle()

    def _check_idle(self) -> None:
        """Close the socket when nobody is left who could want to answer."""
        if all(turns.is_given_up for turns in self.peers.values()):
            self.transport.close()
            self._check_over()

    def _check_over(self) -> None:
        if not self.is_over or not all(turns.is_given_up for turns in self.peers.values()):
            return
        if not self.peers:
            self._at_work.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release()

    def _release(self) -> None:
        for waiter in self._ended:
            _release(waiter)
        self._ended.clear()

    def begin_shutdown(self) -> None:
        """Handle nothing more than what is being handled."""
        own = _current.get()
        for turns in self.peers.values():
            if turns is own:
                turns.is_given_up = True
            self._drop_waiting(turns)
        self.stop()
        self._check_idle()

    async def aclose(self, force_after: float = inf) -> None:
        """Wait until all is over; after no time, cut it."""
        if force_after <= 0:
            self.cut()
        elif not (self.is_over and all(turns.is_given_up for turns in self.peers.values())):
            waiter = self._host.new_waiter()
            self._ended.append(waiter)
            await waiter

    def abort(self) -> None:
        """Close the socket at once."""
        self.is_ending = True
        self.transport.abort()

    def cut(self) -> None:
        """Close the socket at once, and cancel all handlers."""
        self.abort()
        own = _current.get()
        for addr, turns in list(self.peers.items()):
            self._drop_waiting(turns)
            if turns is own:
                turns.is_given_up = True
            if turns.is_given_up:
                continue
            if turns.handle is not None:
                turns.handle.cancel()
                if not turns.has_begun:  # and so it never does
                    self._done(addr, turns)
            else:
                self._forget(addr)
        self._check_over()
        self._release()


def _release(waiter: Waiter) -> None:
    if not waiter.done():  # else whoever waited has been cancelled
        waiter.set_result(None)
