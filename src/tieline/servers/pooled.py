# SPDX-License-Identifier: MIT
"""What handlers in a pool of threads are given: the asynchronous clients and peers, for any thread but the loop's."""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from tieline.clients.abc import AbstractNetworkClient, ReceivedT_co, SentT_contra
from tieline.clients.ancillary import checked_ancillary, room_for
from tieline.clients.facts import CredentialFacts, InternetFacts, UnixFacts
from tieline.errors import ClientClosedError, ClosedError, SendTimeout
from tieline.finite import check_timeout
from tieline.servers.handover import Incoming, Outgoing, Taken
from tieline.wire.default import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from tieline.clients.ancillary_streams import AncillaryStream
    from tieline.endpoints.socket_addresses import IPv4SocketAddress, IPv6SocketAddress, UnixSocketAddress
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.runtimes.socket_proxy import SocketProxy
    from tieline.servers.connections import ServedConnection
    from tieline.servers.peers import DatagramPeer as AsyncDatagramPeer
    from tieline.servers.served import ServedClient, ServedUnixStreamClient

__all__ = ["PooledClient", "PooledPeer", "PooledTCPClient", "PooledUnixStreamClient"]


class PooledClient(AbstractNetworkClient[SentT_contra, ReceivedT_co]):
    """A packet client on a connection that a server has accepted, for blocking code. Any thread may use it."""

    __slots__ = ("_client", "_connection", "_incoming", "_outgoing", "_thread")

    def __init__(
        self,
        client: ServedClient[SentT_contra, ReceivedT_co],
        thread: LoopThread,
    ) -> None:
        self._client = client
        self._connection: ServedConnection = client.connection
        self._thread = thread
        self._incoming = Incoming(self._connection, thread)
        self._outgoing = self._connection.outgoing = Outgoing(self._connection, thread)

    # --- facts ---------------------------------------------------------------------------------------------------

    def is_closed(self) -> bool:
        return self._client.is_closing()

    def fileno(self) -> int:
        return -1 if self._client.is_closing() else self.socket.fileno()

    @property
    def socket(self) -> SocketProxy:
        """A view of the socket: the same each time, also when the client is closed."""
        return self._client.socket

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection: ``peername``, ``sockname``, ``socket``, ``ssl_object``, ...

        Raises:
            ClientClosedError: The client is closed.
        """
        return self._client.get_extra_info(name, default)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._client.described()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: it is one end of a connection")

    # --- packets -------------------------------------------------------------------------------------------------

    def send_packet(self, packet: SentT_contra, /, *, timeout: float | None = None) -> None:
        """Send a packet; wait for room while the peer is slow. Whether it arrives is not told.

        Raises:
            SendTimeout: No room came within *timeout* seconds (0 = without waiting; None = as long as it takes), and
                nothing was sent.
            ClientClosedError: The client is closed, or the server is shut down and past its deadline.
            ConnectionLost: The connection is gone; see ``__cause__``.
            LocalProtocolError: `send_eof` was called; or this is the thread of the server.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
            ValueError: *timeout* is negative, or not a number.
        """
        machine = self._connection.machine
        self._send(machine.framed, packet, 1, timeout)

    def send_packets(self, packets: Iterable[SentT_contra], /, *, timeout: float | None = None) -> None:
        """Send packets in one write: all of them, or none if one cannot be serialized. Otherwise as `send_packet`."""
        machine = self._connection.machine
        several = list(packets)
        self._send(machine.framed_together, several, len(several), timeout)

    def _send(self, frame: Callable[[Any], bytes], what: Any, count: int, timeout: float | None) -> None:
        check_timeout("timeout", timeout)
        if self._outgoing.put(frame, what, count):
            return
        try:
            _call(self._thread, self._send_within, frame, what, count, timeout)
        except TimeoutError as exc:
            raise SendTimeout(errno.ETIMEDOUT, "the packet was not sent in time", sent=False) from exc

    async def _send_within(self, frame: Callable[[Any], bytes], what: Any, count: int, seconds: float | None) -> None:
        connection = self._connection
        if not connection.has_room:
            await connection.wait_for_room(seconds)
        self._outgoing.write_behind(frame(what), count)

    def recv_packet(self, *, timeout: float | None = None) -> ReceivedT_co:
        """Return the next packet; wait for it.

        Raises:
            TimeoutError: None within *timeout* seconds (0 = do not wait; None = unlimited).
            EndOfStream: The peer has ended its stream; so each time from then on. Sending stays possible.
            StreamTruncated, StreamReset, TLSTruncated, ConnectionLost: The connection ended otherwise.
            ClientClosedError: The client is closed, or the server is shutting down.
            StreamProtocolParseError: The peer sent an invalid packet; the next call goes on after it.
            RuntimeError: The serializer failed; see ``__cause__``.
            ValueError: *timeout* is negative, or not a number.
        """
        check_timeout("timeout", timeout)
        packet: ReceivedT_co = self._incoming.next_ahead()
        if packet is not NOTHING:
            return packet
        if timeout is None:
            packet = self._incoming.wait(None)
        elif timeout:
            until = monotonic() + timeout
            packet = self._incoming.wait(timeout)
            timeout = max(0.0, until - monotonic())
        if packet is NOTHING:
            (packet,) = self._receive(partial(self._take_within, self._next_alone, timeout))
        else:
            self._outgoing.is_answer = True
        return packet

    def recv_packets(self, *, timeout: float | None = None) -> list[ReceivedT_co]:
        """Wait for at least one packet, and return all that are decoded. Otherwise as `recv_packet`."""
        check_timeout("timeout", timeout)
        return self._receive(partial(self._take_within, self._connection.machine.next_packets, timeout))

    def _next_alone(self) -> list[Any]:
        return [self._connection.machine.next_packet()]

    async def _take_within(self, take: Callable[[], list[Any]], seconds: float | None) -> Any:
        return await self._client.receive_within(self._incoming.take, take, seconds)

    def _receive(self, receive: Callable[[], Coroutine[Any, Any, list[Any]]]) -> list[Any]:
        """Return what *receive* does, in the server's thread.

        Raises:
            TimeoutError: It has raised that.
            Exception: As of `recv_packet`.
        """
        taken = Taken()
        try:
            _call(self._thread, self._receive_into, taken, receive)
            if taken.packets:
                return taken.packets
        except BaseException as exc:
            if exc is taken.error:
                taken.error = None  # its traceback would refer to it
            else:  # Ctrl-C
                self._incoming.put_back(taken)
            raise
        raise TimeoutError(errno.ETIMEDOUT, "no packet came in time")

    async def _receive_into(self, taken: Taken, receive: Callable[[], Coroutine[Any, Any, list[Any]]]) -> None:
        try:
            self._incoming.tell_untold()
            taken.packets = await receive()
        except TimeoutError:
            pass
        except Exception as exc:
            taken.error = exc
            raise

    # --- the end -------------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        """End this side's stream after everything is sent; see `TCPNetworkClient.send_eof`."""
        if not self._client.is_closing():
            _call(self._thread, self._send_eof)

    async def _send_eof(self) -> None:
        with self._outgoing.held_back():
            await self._client.send_eof()  # it does not wait, since the connection stands

    def close(self) -> None:
        """Close the client, and wait for it; what was received and not taken is dropped. To close twice is fine."""
        if not self._client.is_closing():
            with suppress(ClientClosedError):  # the server has stopped, or is that of another process
                _call(self._thread, self._client.aclose)

    def abort(self) -> None:
        """Close at once: what was not sent yet is dropped, and nothing more is received. The peer finds out soon."""
        self._incoming.stop()
        self._thread.call_soon(self._client.abort)


class PooledTCPClient(InternetFacts, PooledClient[SentT_contra, ReceivedT_co]):
    """That of a TCP server."""

    __slots__ = ()


class PooledUnixStreamClient(UnixFacts, CredentialFacts, PooledClient[SentT_contra, ReceivedT_co]):
    """That of a server on a Unix socket."""

    __slots__ = ()

    _client: ServedUnixStreamClient[SentT_contra, ReceivedT_co]

    def send_packet(
        self, packet: SentT_contra, /, *, timeout: float | None = None, ancillary_data: SocketAncillary | None = None
    ) -> None:
        """Send a packet, and beside its first byte what *ancillary_data* holds; see `UnixStreamClient.send_packet`."""
        ancillary = checked_ancillary(ancillary_data)
        if ancillary is None:
            super().send_packet(packet, timeout=timeout)
            return
        check_timeout("timeout", timeout)
        framed = self._connection.machine.framed(packet)

        def send(stream: AncillaryStream) -> bool:
            return self._outgoing.sent_behind(partial(stream.send, framed, ancillary))

        try:
            _call(self._thread, self._client.send_ancillary, send, timeout)
        except TimeoutError as exc:
            raise SendTimeout(errno.ETIMEDOUT, "the packet was not sent in time", sent=False) from exc

    def recv_packet(
        self,
        *,
        timeout: float | None = None,
        ancillary_data: SocketAncillary | None = None,
        ancillary_bufsize: int | None = None,
    ) -> ReceivedT_co:
        """Return the next packet, and store the ancillary data of the read in *ancillary_data*.

        See `UnixStreamClient.recv_packet`.
        """
        room = room_for(ancillary_data, ancillary_bufsize)
        if ancillary_data is None:
            return super().recv_packet(timeout=timeout)
        check_timeout("timeout", timeout)
        packet: ReceivedT_co
        (packet,) = self._receive(partial(self._receive_ancillary, ancillary_data, room, timeout))
        return packet

    async def _receive_ancillary(self, container: SocketAncillary, room: int, seconds: float | None) -> list[Any]:
        return [await self._client.receive_ancillary(self._incoming.take, container, room, seconds)]


class PooledPeer(Generic[SentT_contra]):
    """Who sent a packet to a datagram server, and can be sent packets; see `DatagramPeer`."""

    __slots__ = ("_peer", "_thread")

    def __init__(self, peer: AsyncDatagramPeer[SentT_contra], thread: LoopThread) -> None:
        self._peer = peer
        self._thread = thread

    @property
    def address(self) -> IPv4SocketAddress | IPv6SocketAddress | UnixSocketAddress:
        """The address of its socket."""
        return self._peer.address

    @property
    def ancillary_data(self) -> SocketAncillary | None:
        """What came beside the packet; see `DatagramPeer.ancillary_data`."""
        return self._peer.ancillary_data

    def send_packet(self, packet: SentT_contra, /, *, ancillary_data: SocketAncillary | None = None) -> None:
        """Send a packet from the server's socket; see `DatagramPeer.send_packet`."""
        if ancillary_data is not None:
            _call(self._thread, partial(self._peer.send_packet, packet, ancillary_data=ancillary_data))
        elif not self._thread.is_elsewhere:
            _call(self._thread, self._peer.send_packet, packet)
        elif (data := self._peer.left_to_send(packet)) is not None:
            _call(self._thread, self._peer.send_made, data)

    def __eq__(self, other: object) -> bool:
        seen: Any = other
        return isinstance(other, PooledPeer) and self._peer == seen._peer

    def __hash__(self) -> int:
        return hash(self._peer)

    def __repr__(self) -> str:
        return repr(self._peer)


def _call(thread: LoopThread, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return thread.call(function, *args)
    except ClosedError as exc:
        if isinstance(exc, ClientClosedError):
            raise
        raise ClientClosedError(str(exc)) from None  # so for a handler that outlives its server, or in a forked process
