# SPDX-License-Identifier: MIT
"""What the blocking clients of streams share: all but where they connect to. The twin of `async_stream.py`."""

from __future__ import annotations

import errno
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import proxy_target
from tieline.clients.client import Client, until
from tieline.clients.engine import engine_for
from tieline.errors import ClientClosedError, ConnectionLost, SendTimeout, UnsupportedOperation
from tieline.runtimes.blocking.backend import BlockingBackend
from tieline.runtimes.blocking.lone_packets import NOTHING_LAID_OUT, PacketHost, Sending
from tieline.runtimes.blocking.transport import AT_ONCE
from tieline.runtimes.memory import LONG
from tieline.wire.default import NOTHING
from tieline.wire.life import lost
from tieline.wire.limits import Limits
from tieline.wire.packets import PacketConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from tieline.clients.engine import PacketEngine
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.blocking.waiters import Waiter
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["StreamClient"]

# So many reads what has arrived may take when the time is over; a peer that never stops does not keep it from that.
MOST_LATE: Final = 50

_LEFT: Final = Sending.LEFT
_REFUSED: Final = Sending.REFUSED


class StreamClient(Client[SentT_contra, ReceivedT_co]):
    """A packet client over a stream; see its subclasses.

    Any number of threads may use it at once: some send while others receive, and to close it waits for none of them.
    It has no thread of its own; who waits for something moves the connection for all.
    """

    __slots__ = ("_host", "_proxy")

    _engine: PacketEngine

    def __init__(
        self,
        endpoint: Endpoint,
        sock: socket.socket | None,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        route: Any = None,
        timeout: float | None = None,
        shutdown_timeout: float = 30.0,
        is_lax: bool = False,
        max_recv_size: int | None = None,
    ) -> None:
        super().__init__(endpoint)
        self._proxy = route
        self._host = host = PacketHost()
        limits = Limits(connect_timeout=None, write_timeout=None).resolved(accepted=False)
        machine = self._machine_class()(protocol, limits, accepted=False)
        backend = BlockingBackend(host)
        engine = engine_for(backend, machine, is_lax=is_lax, max_recv_size=max_recv_size)
        try:
            backend.dial(
                lambda: engine.link,
                endpoint,
                timeout=timeout,
                sock=sock,
                route=route,
                shutdown_timeout=shutdown_timeout,
            )
        except BaseException:
            host.do(engine.link.abort)
            host.do(engine.link.never_made)
            raise
        host.drives(engine)
        self._engine = engine
        self._is_closed = False

    @classmethod
    def to(cls, *args: Any, **settings: Any) -> Self:
        """Return a client made of what `StreamClient` takes; what subclasses check was checked before."""
        client = cls.__new__(cls)
        StreamClient.__init__(client, *args, **settings)
        return client

    @staticmethod
    def _machine_class() -> type[PacketConnection]:
        return PacketConnection

    # --- facts ---------------------------------------------------------------------------------------------------

    def _is_lost(self) -> bool:
        return self._engine.is_over

    def _get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "proxy_target" and self._proxy is not None:
            return proxy_target(self._endpoint)
        return self._engine.link.transport.get_extra_info(name, default)

    # --- packets -------------------------------------------------------------------------------------------------

    def send_packet(self, packet: SentT_contra, /, *, timeout: float | None = None) -> None:
        """Send a packet, and return when the system has taken all of it. Whether it arrives is not reported.

        Raises:
            SendTimeout: Not within *timeout* seconds (0 = do not wait; None = unlimited). Its attribute ``sent`` says
                whether the packet will be sent all the same, whole and before all later ones.
            ClientClosedError: The client is closed, or was closed meanwhile.
            ConnectionLost: The connection is gone; see ``__cause__``.
            LocalProtocolError: `send_eof` was called.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
            ValueError: *timeout* is negative, or not a number.
        """
        engine, host = self._engine, self._host
        machine = engine.machine
        framed = machine.framed(packet)
        end = inf if timeout is None else until(timeout)
        lock = host.lock
        try:
            lock.acquire()  # the straight way, see `lone_packets.py`
            transport = host.straight
            size = len(framed)
            is_straight = False
            if transport and (send := transport.send) and not engine.senders and size < LONG:
                is_straight = True
                machine.bytes_sent += size
                try:
                    sent: int | OSError = send(framed, AT_ONCE)
                    if sent == size:
                        lock.release()
                        return
                except OSError as exc:
                    sent = exc
                host.send_rest(transport, framed, sent)
            lock.release()
        except BaseException as exc:
            host.leave_sending(exc)
            raise
        if is_straight:
            self._wait_until_left(host.do(self._leaving), end)
        else:
            self._send(framed, end)

    def send_packets(self, packets: Iterable[SentT_contra], /, *, timeout: float | None = None) -> None:
        """Send packets in one write: all of them, or none if one cannot be serialized. Otherwise as `send_packet`."""
        self._send(self._engine.machine.framed_together(packets), until(timeout))

    def _send(self, framed: bytes, end: float) -> None:
        """Send a packet by the way that is open to all of them."""
        host = self._host
        leaving: Waiter | Sending = host.do(self._write_if_room, framed)
        if leaving is _REFUSED:
            try:
                leaving = host.run(self._write_behind_others(framed), end)
            except TimeoutError as exc:
                raise SendTimeout(errno.ETIMEDOUT, "the packet was not sent in time", sent=False) from exc
        self._wait_until_left(leaving, end)

    def _write_if_room(self, framed: bytes) -> Waiter | Sending:
        """Write a packet, and return what `_leaving` does; refuse it when it has to wait for room or cannot be sent."""
        return self._leaving() if self._engine.write_if_room(framed) else _REFUSED

    async def _write_behind_others(self, framed: bytes) -> Waiter | Sending:
        engine = self._engine
        await engine.wait_for_room()
        engine.machine.check_sending()
        engine.link.write(framed)
        return self._leaving()

    def _leaving(self) -> Waiter | Literal[Sending.LEFT]:
        """Return that all that was written has left; or what tells when it has, or never will."""
        host = self._host
        if host.transport is None or not host.transport.unsent:
            return _LEFT
        if self._is_closed:  # since that was written: to close waits for no send that would have to wait here
            self._engine.abort()
            return _LEFT
        waiter = host.new_waiter()
        host.emptied.append(waiter)
        return waiter

    def _wait_until_left(self, leaving: Waiter | Sending, end: float) -> None:
        """Wait for what `_leaving` has returned, and see that it has come to be."""
        if isinstance(leaving, Sending):
            transport = self._host.transport
            if transport is not None and not transport.is_deaf:  # perhaps since that write failed
                return
        elif not self._host.wait_emptied(leaving, end):
            text = "the packet has not left in time; it goes out before all later ones"
            raise SendTimeout(errno.ETIMEDOUT, text, sent=True)
        self._check_left()

    def _check_left(self) -> None:
        """See whether what was written may have left.

        Raises:
            ClientClosedError, ConnectionLost: It has not, as far as is known.
        """
        if self._is_closed:
            raise ClientClosedError("the client was closed while it sent")
        transport = self._host.transport
        if transport is None or transport.is_deaf:
            cause = self._engine.machine.taken_down_by()
            if cause is None and transport is not None and transport.failed_with is not None:
                cause = lost(transport.failed_with)  # another thread reads: the machine is told behind that
            raise ConnectionLost("the connection went down while it sent") from cause

    def recv_packet(self, *, timeout: float | None = None) -> ReceivedT_co:
        """Return the next packet; wait for it.

        Several threads may wait: they get one packet each, in the order in which they called. If it times out, the part
        of a packet that has arrived is kept.

        Raises:
            TimeoutError: None within *timeout* seconds (0 = do not wait; None = unlimited).
            EndOfStream: The peer has ended its stream; the same each time from then on. Sending stays possible, except
                over TLS.
            StreamTruncated, StreamReset, TLSTruncated, ConnectionLost: The connection ended otherwise.
            ClientClosedError: The client is closed, or was closed meanwhile.
            StreamProtocolParseError: The peer sent an invalid packet; the next call goes on after it. If that is
                impossible, the next call raises `ConnectionLost`.
            RuntimeError: The serializer failed; see ``__cause__``.
            ValueError: *timeout* is negative, or not a number.
        """
        end = inf if timeout is None else until(timeout)
        packet: ReceivedT_co
        for packet in self._host.laid_out:  # the next one, if any: a loop takes it without a look at a default
            return packet
        engine = self._engine
        packet = self._host.receive_straight(engine, end)
        if packet is NOTHING:
            packet = self._receive(engine, engine.put_next, end)[0]
        return packet

    def recv_packets(self, *, timeout: float | None = None) -> list[ReceivedT_co]:
        """Wait for at least one packet, and return all that are decoded. Otherwise as `recv_packet`."""
        engine = self._engine
        return self._receive(engine, engine.put_all, until(timeout))

    def _receive(self, engine: PacketEngine, put: Callable[[list[Any]], None], end: float) -> list[Any]:
        """Receive by the way that is open to all, and return what *put* has put into a list.

        When the time is over, what has arrived in the system by then is read first.
        """
        host = self._host
        hand: list[Any] = []  # from here on what was taken is not lost with an interrupt
        late = 0
        try:
            host.read_for(engine, put, hand, end)
            while not hand:
                try:
                    host.run(self._receive_in_turn(engine, put, hand), end)
                except TimeoutError as exc:
                    late += 1
                    if late == MOST_LATE or not engine.has_unread():
                        raise TimeoutError(errno.ETIMEDOUT, "no packet came in time") from exc
            return hand
        except BaseException:
            if hand:
                host.give_back(hand)
            raise

    async def _receive_in_turn(self, engine: PacketEngine, put: Callable[[list[Any]], None], hand: list[Any]) -> None:
        await self._host.with_all(engine.wait_for_packet)
        put(hand)

    # --- the end -------------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        """End this side's stream after everything is sent; receiving goes on. Harmless when repeated.

        Raises:
            UnsupportedOperation: Over TLS or a WebSocket, which cannot do that; the connection stays usable.

        If the connection is gone, or the client is closed, it does nothing.
        """
        engine = self._engine
        if self._is_closed:
            return
        if not engine.is_over and not engine.link.transport.can_write_eof():
            raise UnsupportedOperation("one direction of TLS or of a WebSocket cannot be ended alone")
        self._host.do(_end_stream, engine)

    def close(self) -> None:
        """Close the client: unsent data is sent, and received packets that nobody took are dropped.

        A send that has timed out may have left unsent data. For that, and for the closing message of TLS, the peer gets
        a few seconds. No other thread is waited for: those that send or receive get a `ClientClosedError`, and if a
        send is blocked at this moment, all unsent data is dropped at once. Closing twice is fine.
        """
        if self._is_closed:
            return
        self._is_closed = True
        engine, host = self._engine, self._host
        transport = host.transport
        try:
            if transport is not None and transport.unsent and (host.emptied or engine.senders):  # a send is blocked
                host.do(engine.abort)
            else:
                host.run(engine.close(CLOSE_GRACE))
        finally:
            host.laid_out = NOTHING_LAID_OUT

    def abort(self) -> None:
        """Close at once."""
        self._is_closed = True
        self._host.do(self._engine.abort)
        self._host.laid_out = NOTHING_LAID_OUT


# How long `close` waits for a peer that takes nothing, or over TLS does not answer.
CLOSE_GRACE = 5.0


def _end_stream(engine: PacketEngine) -> None:
    if engine.machine.end_stream():
        engine.link.settle()  # what is queued goes out before
        engine.link.transport.write_eof()
        engine.room_made()
