# SPDX-License-Identifier: MIT
"""What the blocking clients of datagrams share: all but where they connect to. The twin of `async_datagram.py`."""

from __future__ import annotations

import errno
from math import inf
from typing import TYPE_CHECKING, Any, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.client import Client, until
from tieline.clients.datagram_batches import taken, tell_first
from tieline.errors import SendTimeout
from tieline.runtimes.blocking.connected_datagrams import connect_datagrams
from tieline.runtimes.blocking.sockets import at_once
from tieline.wire.datagram_packets import DatagramPackets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.proxies import Route
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["DatagramClient"]


class DatagramClient(Client[SentT_contra, ReceivedT_co]):
    """The base of packet clients over datagrams, in blocking code.

    Any number of threads may use it at the same time: some send while others receive, and `close` waits for none of
    them.
    """

    __slots__ = ("_faults", "_packets")

    _engine: ConnectedDatagrams

    def __init__(
        self,
        endpoint: DatagramEndpoint,
        asked: Asked,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        route: Route | None = None,
        timeout: float | None = None,
        look_every: float = inf,
    ) -> None:
        super().__init__(endpoint)
        self._packets: DatagramPackets[SentT_contra, ReceivedT_co] = DatagramPackets(protocol)
        self._faults: list[Exception] = []  # to be told by the next receives
        self._engine = connect_datagrams(asked, route, timeout=timeout, look_every=look_every)
        self._is_closed = False

    @classmethod
    def to(cls, *args: Any, **settings: Any) -> Self:
        """Return a client made of what `DatagramClient` takes; what subclasses check was checked before."""
        client = cls.__new__(cls)
        DatagramClient.__init__(client, *args, **settings)
        return client

    def _is_lost(self) -> bool:
        return False  # without a connection there is none to lose

    def _get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._engine.get_extra_info(name, default)

    # --- packets -------------------------------------------------------------------------------------------------

    def send_packet(self, packet: SentT_contra, /, *, timeout: float | None = None) -> None:
        """Send a packet as one datagram. Whether it arrives is unknown.

        Raises:
            SendTimeout: The system did not accept it within *timeout* seconds (0 = do not wait; None = unlimited);
                nothing was sent.
            ClientClosedError: The client is closed, or was closed meanwhile.
            ConnectionRefusedError: Nobody received an earlier packet (reported by ICMP), and this one was not sent. The
                client remains usable, since the peer may appear later. Over a Unix socket: nobody listens at the peer's
                path now; only packets from the original peer are received all the same.
            OSError: EMSGSIZE: the packet is too long for a datagram.
            ConnectionLost: The connection to the proxy is lost.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
            ValueError: *timeout* is negative, or not a number.
        """
        self._send(packet, None, timeout)

    def _send(self, packet: SentT_contra, ancillary: SocketAncillary | None, timeout: float | None) -> None:
        end = until(timeout)
        engine = self._open()
        if not self._has_sent(engine, self._packets.made(packet), ancillary, end):
            raise SendTimeout(errno.ETIMEDOUT, "the packet was not sent in time", sent=False)

    def send_packets(self, packets: Iterable[SentT_contra], /, *, timeout: float | None = None) -> None:
        """Send packets, one datagram each; none if one of them cannot be serialized. Otherwise as `send_packet`.

        If sending fails, the packets before have been sent; with a SendTimeout, ``sent_before`` is their number.
        """
        end = until(timeout)
        engine = self._open()
        datagrams = self._packets.all_made(packets)
        for before, datagram in enumerate(datagrams):
            if not self._has_sent(engine, datagram, None, end):
                text = f"{before} of {len(datagrams)} packets were sent in time"
                raise SendTimeout(errno.ETIMEDOUT, text, sent=False, sent_before=before)

    def _has_sent(
        self, engine: ConnectedDatagrams, datagram: bytes, ancillary: SocketAncillary | None, end: float
    ) -> bool:
        """Send a datagram, and return whether that was in time; else it is not sent."""
        try:
            at_once(engine.send(datagram, ancillary, None if end == inf else end))
        except TimeoutError:
            return False
        return True

    def recv_packet(self, *, timeout: float | None = None) -> ReceivedT_co:
        """Return the next packet.

        Several threads may wait; each gets one packet. Packets that nobody receives stay in the system's buffer, which
        drops what does not fit.

        Raises:
            TimeoutError: None within *timeout* seconds (0 = do not wait; None = unlimited).
            DatagramProtocolParseError: The peer sent an invalid packet; the next call gives the next one.
            ConnectionRefusedError: Nobody received an earlier packet (reported by ICMP). The client remains usable.
            ClientClosedError: The client is closed, or was closed meanwhile.
            ConnectionLost: The connection to the proxy is lost.
            RuntimeError: The serializer failed; see ``__cause__``.
            ValueError: *timeout* is negative, or not a number.
        """
        return self._receive(timeout)

    def recv_packets(self, *, timeout: float | None = None) -> list[ReceivedT_co]:
        """Wait for a packet, and return all that have arrived, up to a maximum. Otherwise as `recv_packet`.

        An error after the first packet is raised by the next call.
        """
        first = self._receive(timeout)
        return taken(self._engine, self._packets, first, self._faults)

    def _receive(self, timeout: float | None, room: int = 0, container: SocketAncillary | None = None) -> ReceivedT_co:
        end = until(timeout)
        engine = self._open()
        if self._faults:
            tell_first(self._faults)
        try:
            data, ancillary = at_once(engine.receive(room, None if end == inf else end))
        except TimeoutError as exc:
            raise TimeoutError(errno.ETIMEDOUT, "no packet came in time") from exc
        if container is not None and ancillary is not None:
            container.update(ancillary)
        return self._packets.built(data)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the client. Packets that were not received are dropped; those that were sent are with the system.

        It waits for no other thread. Threads that send or receive get a `ClientClosedError`. May be called again.
        """
        self.abort()

    def abort(self) -> None:
        """Close at once, which is the same as `close` here."""
        self._is_closed = True
        self._engine.close()
