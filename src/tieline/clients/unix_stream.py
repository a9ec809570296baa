# SPDX-License-Identifier: MIT
"""The blocking packet client over Unix stream sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.ancillary import checked_ancillary, room_for
from tieline.clients.ancillary_streams import AncillaryStream
from tieline.clients.arguments import check_connect_timeout, check_retry_interval, check_stream, unix_endpoint
from tieline.clients.client import until
from tieline.clients.facts import CredentialFacts, UnixFacts
from tieline.clients.stream import StreamClient
from tieline.errors import SendTimeout
from tieline.runtimes.blocking.ancillary import wait_socket
from tieline.runtimes.blocking.lone_packets import Sending
from tieline.wire.held_packets import HeldPackets

if TYPE_CHECKING:
    from tieline.endpoints.socket_addresses import UnixSocketAddress
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.wire.packets import PacketConnection
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["UnixStreamClient"]

_NOT_SENT = "the packet was not sent in time"


class UnixStreamClient(CredentialFacts, UnixFacts, StreamClient[SentT_contra, ReceivedT_co]):
    """A packet client over a Unix stream socket, in blocking code. It may be used by any number of threads.

    The constructor connects.

    Args:
        path: The path of the socket; a leading NUL is a name in Linux's abstract namespace. Or a connected socket,
            which then belongs to the client.
        protocol: The format of packets.
        connect_timeout: Seconds for connecting; None = unlimited.
        local_path: The path that the client binds, visible to the peer; its file is not removed. None = no path.
        max_recv_size: The maximum number of bytes per read for a receive with ancillary data; None = 64 KiB. It does
            not affect other receives.
        retry_interval: Accepted for compatibility, and not needed: threads that wait are woken at once.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also those for connecting.
        ValueError: An invalid path, or a socket of another kind.
        OSError: The peer cannot be reached (FileNotFoundError: no such path); or the given socket is not connected
            (ENOTCONN).
        TimeoutError: Not connected within that time.
        UnsupportedOperation: This platform has no Unix sockets.
    """

    __slots__ = ("_ancillary",)

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | UnixSocketAddress | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        connect_timeout: float | None = None,
        local_path: str | bytes | os.PathLike[str] | UnixSocketAddress | None = None,
        max_recv_size: int | None = None,
        retry_interval: float = 1.0,
    ) -> None:
        sock = path if isinstance(path, socket.socket) else None
        self._is_closed = True  # until it is connected
        try:
            check_stream(protocol, max_recv_size)
            check_retry_interval(retry_interval)
            connect_timeout = check_connect_timeout(connect_timeout)
            endpoint = unix_endpoint(path, local_path, {"connect_timeout": connect_timeout})
            super().__init__(endpoint, sock, protocol, timeout=connect_timeout)
            self._ancillary = AncillaryStream(self._engine, max_recv_size)
        except BaseException:
            if sock is not None:
                sock.close()
            raise

    @classmethod
    def to(cls, *args: Any, **settings: Any) -> Self:
        client = super().to(*args, **settings)
        client._ancillary = AncillaryStream(client._engine)
        return client

    @staticmethod
    def _machine_class() -> type[PacketConnection]:
        return HeldPackets

    # --- receiving -----------------------------------------------------------------------------------------------

    def recv_packet(
        self,
        *,
        timeout: float | None = None,
        ancillary_data: SocketAncillary | None = None,
        ancillary_bufsize: int | None = None,
    ) -> ReceivedT_co:
        """Return the next packet, and store the ancillary data of the read in *ancillary_data*.

        Ancillary data that arrives with packets received without a container is lost: to get it, receive all packets
        with one. Such a receive reads once, or not at all if a whole packet has arrived with an earlier read: then the
        container stays as it is. The system returns file descriptors with the read in which their packet begins, and
        Linux joins that packet to earlier ones that were sent without ancillary data. So the descriptors belong to the
        last packet that begins in the read, and the container may receive them together with an earlier packet. If the
        peer sends ancillary data with every packet, packets are not joined.

        Args:
            timeout: Seconds to wait; 0 = do not wait, None = unlimited.
            ancillary_data: The container; None = no ancillary data is received.
            ancillary_bufsize: The size of the buffer for ancillary data in bytes; None = 8192. What does not fit is
                lost, and the container reports it.

        Raises:
            TimeoutError: No packet within that time.
            EOFError: With a container: only a part of the packet has arrived. It is kept, the next receive continues
                with it, and its ancillary data is in the container. (The end of the stream raises `EndOfStream`.)
            ValueError: *ancillary_bufsize* without a container, under 1 or over 1 MiB; or an invalid *timeout*.
            BusyResourceError: Others receive at the same time, and at least one of them with a container.
            ConnectionLost, ClientClosedError, StreamProtocolParseError, RuntimeError: As of
                `tieline.clients.TCPNetworkClient.recv_packet`.
        """
        room = room_for(ancillary_data, ancillary_bufsize)
        who = object()
        hand: list[ReceivedT_co] = []  # from here on what was taken is not lost with an interrupt
        if ancillary_data is None:
            self._open()
            try:
                self._host.do(self._ancillary.begin_plain, who)
                hand = [super().recv_packet(timeout=timeout)]
                self._host.do(self._ancillary.end_plain, who)
                return hand[0]
            except BaseException:
                self._leave_plainly(who, hand)
                raise
        end = until(timeout)
        self._open()
        host, stream = self._host, self._ancillary
        try:
            is_missing = host.do(host.with_all, stream.begin, who)
            while is_missing and not host.do(stream.receive, ancillary_data, room):
                self._wait(writing=False, end=end)
            host.run(self._receive_in_turn(self._engine, self._engine.put_next, hand), end)
            host.do(stream.end, who)
            return hand[0]
        except BaseException as exc:
            if hand:
                host.give_back(hand)
            host.do(stream.end, who)
            if isinstance(exc, TimeoutError):
                raise TimeoutError(errno.ETIMEDOUT, "no packet came in time") from exc
            raise

    def recv_packets(self, *, timeout: float | None = None) -> list[ReceivedT_co]:
        self._open()
        who = object()
        hand: list[ReceivedT_co] = []
        try:
            self._host.do(self._ancillary.begin_plain, who)
            hand = super().recv_packets(timeout=timeout)
            self._host.do(self._ancillary.end_plain, who)
            return hand
        except BaseException:
            self._leave_plainly(who, hand)
            raise

    def _leave_plainly(self, who: object, hand: list[ReceivedT_co]) -> None:
        """Receive no more, with nothing; what is in *hand*, behind an interrupt, is the next again."""
        if hand:
            self._host.give_back(hand)
        self._host.do(self._ancillary.end_plain, who)

    def _wait(self, *, writing: bool, end: float) -> None:
        """Wait for the socket; for whoever moves the transport, as long as something is unsent there."""
        host = self._host
        transport = host.transport
        if writing and transport is not None and transport.unsent:
            self._wait_until_sent_by(end)
            return
        sock = host.do(self._ancillary.socket_to_wait_for)
        try:
            wait_socket(sock, writing=writing, until=end)
        finally:
            host.do(self._ancillary.waited, sock)

    def _wait_until_sent_by(self, end: float) -> None:
        leaving = self._host.do(self._leaving)
        if not isinstance(leaving, Sending) and not self._host.wait_emptied(leaving, end):
            raise TimeoutError("the peer takes nothing")

    # --- sending, closing ----------------------------------------------------------------------------------------

    def send_packet(
        self, packet: SentT_contra, /, *, timeout: float | None = None, ancillary_data: SocketAncillary | None = None
    ) -> None:
        """Send a packet, with *ancillary_data* attached to its first byte.

        It is sent when all earlier packets have been sent.

        Raises:
            OSError: EMSGSIZE: the ancillary data is too large.
            TypeError: *ancillary_data* is not a `tieline.socket.SocketAncillary`.
            ValueError: The packet is empty.
            SendTimeout, ConnectionLost, ClientClosedError, LocalProtocolError, RuntimeError: As of
                `tieline.clients.TCPNetworkClient.send_packet`.
        """
        if checked_ancillary(ancillary_data) is None:
            super().send_packet(packet, timeout=timeout)
            return
        end = until(timeout)
        engine = self._open()
        framed = engine.machine.framed(packet)
        host = self._host
        is_sent = False
        try:
            if engine.has_senders:
                host.run(engine.wait_for_room(), end)
            place = host.new_waiter()
            try:
                host.do(engine.hold_line, place)
                while not is_sent:
                    is_sent = host.do(self._ancillary.send, framed, ancillary_data)
                    if not is_sent:
                        self._wait(writing=True, end=end)
                host.do(engine.release_line, place)
            except BaseException:  # an interrupt may have come before that
                host.do(engine.release_line, place)
                raise
            self._wait_until_sent_by(end)
        except TimeoutError as exc:
            text = "the packet has not left in time; it goes out before all later ones" if is_sent else _NOT_SENT
            raise SendTimeout(errno.ETIMEDOUT, text, sent=is_sent) from exc
        self._check_left()

    def close(self) -> None:
        super().close()
        self._host.do(self._ancillary.wake_all)

    def abort(self) -> None:
        super().abort()
        self._host.do(self._ancillary.wake_all)
