# SPDX-License-Identifier: MIT
"""One conversation for all packet clients: on each event loop, on trio, and in blocking code.

A test writes it once, with `await`. Around a blocking client stands `Awaited`, whose methods suspend nowhere, so that
the coroutine runs from its beginning to its end without any loop or thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import pytest

from tests.loops import TrioRuntime, runtimes
from tests.peers.programs import PATIENCE
from tieline import clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.loops import Runtime
    from tieline.clients.abc import AbstractNetworkClient

T = TypeVar("T")

__all__ = ["SIDES", "Awaited", "Side"]


class Side(Protocol):
    """Makes clients, which are entered by `async with`, and runs what talks through them."""

    def run(self, conversation: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run `conversation(*args)` and return its result."""

    def tcp(self, *args: Any, **settings: Any) -> Any:
        """Return a TCP client."""

    def udp(self, *args: Any, **settings: Any) -> Any:
        """Return a UDP client."""

    def unix_stream(self, *args: Any, **settings: Any) -> Any:
        """Return a client of a Unix stream socket."""

    def unix_datagram(self, *args: Any, **settings: Any) -> Any:
        """Return a client of a Unix datagram socket."""


class AsyncSide:
    """The asynchronous clients on one kind of event loop."""

    tcp = clients.AsyncTCPNetworkClient
    udp = clients.AsyncUDPNetworkClient
    unix_stream = clients.AsyncUnixStreamClient
    unix_datagram = clients.AsyncUnixDatagramClient

    def __init__(self, runtime: Runtime | TrioRuntime) -> None:
        self._runtime = runtime

    def __str__(self) -> str:
        return str(self._runtime)

    def run(self, conversation: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        return self._runtime.run(conversation, *args)


class Awaited:
    """A blocking client with the methods of an asynchronous one. No receive waits longer than `PATIENCE`."""

    def __init__(self, kind: type[AbstractNetworkClient[Any, Any]], args: Any, settings: Any) -> None:
        self._kind, self._args, self._settings = kind, args, settings
        self._client: Any = None

    async def __aenter__(self) -> Self:
        self._client = self._kind(*self._args, **self._settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()

    async def send_packet(self, packet: Any, **beside: Any) -> None:
        self._client.send_packet(packet, timeout=PATIENCE, **beside)

    async def send_packets(self, packets: Any) -> None:
        self._client.send_packets(packets, timeout=PATIENCE)

    async def recv_packet(self, **beside: Any) -> Any:
        return self._client.recv_packet(timeout=PATIENCE, **beside)

    async def recv_packets(self) -> Any:
        return self._client.recv_packets(timeout=PATIENCE)

    async def iter_received_packets(self, *, timeout: float | None = 0) -> AsyncIterator[Any]:
        for packet in self._client.iter_received_packets(timeout=timeout):
            yield packet

    async def send_eof(self) -> None:
        self._client.send_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class BlockingSide:
    """The blocking clients."""

    def __str__(self) -> str:
        return "blocking"

    def run(self, conversation: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        coroutine = conversation(*args)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            coroutine.close()
        pytest.fail("it waits for something else than a blocking client")

    def tcp(self, *args: Any, **settings: Any) -> Awaited:
        return Awaited(clients.TCPNetworkClient, args, settings)

    def udp(self, *args: Any, **settings: Any) -> Awaited:
        return Awaited(clients.UDPNetworkClient, args, settings)

    def unix_stream(self, *args: Any, **settings: Any) -> Awaited:
        return Awaited(clients.UnixStreamClient, args, settings)

    def unix_datagram(self, *args: Any, **settings: Any) -> Awaited:
        return Awaited(clients.UnixDatagramClient, args, settings)


_RUNTIMES: list[Runtime | TrioRuntime] = [*runtimes(), TrioRuntime()]
SIDES: list[Side] = [*map(AsyncSide, _RUNTIMES), BlockingSide()]
