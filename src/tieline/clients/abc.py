# SPDX-License-Identifier: MIT
"""What all packet clients have in common, as base classes for ours and for those of users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, Self

from tieline.errors import ClientClosedError, EndOfStream
from tieline.finite import check_timeout
from tieline.wire.serializers.abc import both

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    from tieline.runtimes.backend import AsyncBackend

    SentT_contra = TypeVar("SentT_contra", contravariant=True, default=Any)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True, default=SentT_contra)
    PacketT = TypeVar("PacketT")
else:
    from typing import TypeVar

    SentT_contra = TypeVar("SentT_contra", contravariant=True)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True)
    PacketT = TypeVar("PacketT")

__all__ = ["AbstractAsyncNetworkClient", "AbstractNetworkClient", "ReceivedT_co", "SentT_contra"]

# Seconds that what has arrived may take through the loop until `recv_packet` has it, where that is all there is.
MOMENT: Final = 0.01
# Seconds that it may take so to receive all that has arrived. Behind a peer that sends on, as often as that, it would
# have no end.
LONGEST_DRAIN: Final = 1.0


class AbstractAsyncNetworkClient(ABC, Generic[SentT_contra, ReceivedT_co]):
    """The base of packet clients on asyncio and trio. ``async with`` connects and closes it."""

    __slots__ = ("__weakref__",)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    def __init_subclass__(cls, **settings: Any) -> None:
        """Have iterators receive as `recv_packet` does where a class overrides that, and not the short way as well."""
        super().__init_subclass__(**settings)
        for base in cls.__mro__:
            if "_recv_within" in vars(base):
                return
            if "recv_packet" in vars(base):
                cls._recv_within = AbstractAsyncNetworkClient._recv_within  # type: ignore[method-assign]  # that of the base, for this class
                return

    async def __aenter__(self) -> Self:
        await self.wait_connected()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        await self.aclose()
        return False

    @abstractmethod
    def is_connected(self) -> bool:
        """Return whether the client is connected."""

    @abstractmethod
    async def wait_connected(self) -> None:
        """Connect, unless the client is connected already. Concurrent calls share one attempt.

        Raises:
            OSError: The peer cannot be reached. The call may be repeated.
            ClientClosedError: The client is closed, or was closed meanwhile.
        """

    @abstractmethod
    def is_closing(self) -> bool:
        """Return whether the client is closed or closing."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the client: packets that were sent are written, packets that were not received are dropped.

        If this is cancelled, the client closes at once. May be called again.
        """

    @abstractmethod
    async def send_packet(self, packet: SentT_contra, /) -> None:
        """Send a packet."""

    async def send_packets(self, packets: Iterable[SentT_contra], /) -> None:
        """Send packets; by default, one after another."""
        for packet in packets:
            await self.send_packet(packet)

    @abstractmethod
    async def recv_packet(self) -> ReceivedT_co:
        """Return the next packet; wait for it."""

    async def recv_packets(self) -> list[ReceivedT_co]:
        """Wait for a packet, and return the packets that have arrived; by default, only the first."""
        return [await self.recv_packet()]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection, or *default* if there is none by that name."""
        return default

    @abstractmethod
    def backend(self) -> AsyncBackend:
        """Return the backend of the client."""

    def _recv_within(self, seconds: float | None) -> Coroutine[Any, Any, ReceivedT_co]:
        """Return the next packet, for an iterator; by `recv_packet`, unless a class has a shorter way that is the same.

        Raises:
            TimeoutError: It has not come within *seconds*; None = wait for ever. With 0, it has not arrived yet; with
                less, what had arrived is being received for so long already.
        """
        return self.recv_packet() if seconds is None else self._recv_or_cancel(seconds)

    async def _recv_or_cancel(self, seconds: float) -> ReceivedT_co:
        if seconds > -LONGEST_DRAIN:
            with self.backend().cancel_scope(self._now() + max(seconds, MOMENT)):
                return await self.recv_packet()
        raise TimeoutError("no packet in time")

    def __aiter__(self) -> AsyncIterator[ReceivedT_co]:
        """Return an iterator over all packets that come; see `iter_received_packets`."""
        return self.iter_received_packets(timeout=None)

    def iter_received_packets(self, *, timeout: float | None = 0) -> AsyncIterator[ReceivedT_co]:
        """Yield packets as they arrive, until the peer ends its stream, this side closes, or the time is up.

        Leaving it early is fine: it holds nothing.

        If a class overrides `recv_packet`, that is called to receive, and is cancelled when the time is up. So an
        override that awaits something while it holds a packet loses that packet, unless it stores it. Packets that have
        already arrived for it cannot be seen, so after that time it goes on as long as each packet comes within 10 ms,
        for at most a second.

        Args:
            timeout: Seconds to wait, for all packets together; the time between two iterations does not count. 0 = only
                what has arrived already. None = unlimited.

        Raises:
            ValueError: *timeout* is negative, or not a number. TypeError: it has the wrong type.
            StreamProtocolParseError: The peer sent an invalid packet. A new iterator goes on after it.
            DatagramProtocolParseError: The same, for a datagram.
            ConnectionLost: The connection did not end cleanly.
        """
        return _Packets(self, check_timeout("timeout", timeout))

    def _now(self) -> float:
        """Return the time in seconds, by the runtime's clock."""
        return self.backend().now()


class _Packets(Generic[PacketT]):
    """What `iter_received_packets` gives. No generator: one that is left early would have to be closed, on trio."""

    __slots__ = ("_client", "_is_connected", "_is_over", "_left")

    def __init__(self, client: AbstractAsyncNetworkClient[Any, PacketT], left: float | None) -> None:
        self._client = client  # not its methods, which would be objects of their own for as long as it waits
        self._left = left
        self._is_connected = self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PacketT:
        if self._is_over:
            raise StopAsyncIteration
        try:
            if not self._is_connected:
                await self._client.wait_connected()  # which counts for itself, and whose failure is no end
                self._is_connected = True
        except ClientClosedError:
            await self.aclose()
            raise StopAsyncIteration from None
        start = 0.0 if self._left is None else self._client._now()  # pyright: ignore[reportPrivateUsage]  # of this file
        try:
            packet = await self._client._recv_within(self._left)  # pyright: ignore[reportPrivateUsage]  # of this file
        except (TimeoutError, EndOfStream, ClientClosedError):
            await self.aclose()
            raise StopAsyncIteration from None
        except BaseException:
            await self.aclose()
            raise
        if self._left is not None:
            self._left -= self._client._now() - start  # pyright: ignore[reportPrivateUsage]  # of this file
        return packet

    async def aclose(self) -> None:
        """Yield nothing more."""
        self._is_over = True


class AbstractNetworkClient(ABC, Generic[SentT_contra, ReceivedT_co]):
    """The base of packet clients in blocking code. ``with`` closes it."""

    __slots__ = ("__weakref__",)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def is_closed(self) -> bool:
        """Return whether the client is closed."""

    @abstractmethod
    def close(self) -> None:
        """Close the client. May be called again."""

    @abstractmethod
    def send_packet(self, packet: SentT_contra, /, *, timeout: float | None = None) -> None:
        """Send a packet."""

    def send_packets(self, packets: Iterable[SentT_contra], /, *, timeout: float | None = None) -> None:
        """Send packets within *timeout* seconds; by default, one after another."""
        end = None if check_timeout("timeout", timeout) is None else monotonic() + (timeout or 0.0)
        for packet in packets:
            self.send_packet(packet, timeout=None if end is None else max(0.0, end - monotonic()))

    @abstractmethod
    def recv_packet(self, *, timeout: float | None = None) -> ReceivedT_co:
        """Return the next packet; wait for it."""

    def recv_packets(self, *, timeout: float | None = None) -> list[ReceivedT_co]:
        """Wait for a packet, and return the packets that have arrived; by default, only the first."""
        return [self.recv_packet(timeout=timeout)]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection, or *default* if there is none by that name."""
        return default

    @abstractmethod
    def fileno(self) -> int:
        """Return the file descriptor of the socket; -1 when the client is closed."""

    def __iter__(self) -> Iterator[ReceivedT_co]:
        """Return an iterator over all packets that come; see `iter_received_packets`."""
        return self.iter_received_packets(timeout=None)

    def iter_received_packets(self, *, timeout: float | None = 0) -> Iterator[ReceivedT_co]:
        """Yield packets as they arrive, until the peer ends its stream, this side closes, or the time is up.

        Several threads may use the same iterator.

        Args:
            timeout: Seconds to wait, for all packets together; the time between two iterations does not count. 0 = only
                what has arrived already. None = unlimited.

        Raises:
            ValueError: *timeout* is negative, or not a number. TypeError: it has the wrong type.
            StreamProtocolParseError: The peer sent an invalid packet. A new iterator goes on after it.
            ConnectionLost: The connection did not end cleanly.
        """
        return _BlockingPackets(self.recv_packet, check_timeout("timeout", timeout))


class _BlockingPackets(Generic[PacketT]):
    """What `iter_received_packets` gives in blocking code; several threads may take from it."""

    __slots__ = ("_is_over", "_left", "_lock", "_receive")

    def __init__(self, receive: Callable[..., PacketT], left: float | None) -> None:
        self._receive = receive
        self._left = left
        self._is_over = False
        self._lock = Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PacketT:
        if self._is_over:
            raise StopIteration
        start = monotonic()
        try:
            packet = self._receive(timeout=self._left)
        except (TimeoutError, EndOfStream, ClientClosedError):
            self.close()
            raise StopIteration from None
        except BaseException:
            self.close()
            raise
        if self._left is not None:
            with self._lock:
                self._left = max(0.0, self._left - (monotonic() - start))
        return packet

    def close(self) -> None:
        """Yield nothing more."""
        self._is_over = True
