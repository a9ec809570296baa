# SPDX-License-Identifier: MIT
"""The public faces on whatever runtime runs the test: on trio they are given the test's nursery."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import until
from tieline import transports


class Story(transports.Protocol):
    """Write down what is heard."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = b""
        self.transport: Any = None
        self.lost_with: list[BaseException | None] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.data += data
        self.told.append("data")

    def eof_received(self) -> bool | None:
        self.told.append("eof")
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.told.append("lost")
        self.lost_with.append(exc)


class Echo(Story):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


async def connect(factory: Any, *args: Any, **settings: Any) -> tuple[Any, Any]:
    return await tieline.create_connection(factory, *args, nursery=aio.nursery(), **settings)


async def connect_unix(factory: Any, *args: Any, **settings: Any) -> tuple[Any, Any]:
    return await tieline.create_unix_connection(factory, *args, nursery=aio.nursery(), **settings)


async def open_streams(*args: Any, **settings: Any) -> tuple[Any, Any]:
    return await tieline.open_connection(*args, nursery=aio.nursery(), **settings)


async def open_unix_streams(*args: Any, **settings: Any) -> tuple[Any, Any]:
    return await tieline.open_unix_connection(*args, nursery=aio.nursery(), **settings)


class Served:
    """A server under test, and the protocols that it has made."""

    def __init__(self, server: tieline.StreamServer, protocols: list[Any]) -> None:
        self.server = server
        self.protocols = protocols

    @property
    def port(self) -> int:
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def lost(self) -> None:
        """Wait until all connections are gone; one that was over at once may never have been told of."""
        await until(lambda: all(not one.told or one.lost_with for one in self.protocols))


@asynccontextmanager
async def serving(kind: Any = Echo, host: Any = "127.0.0.1", port: Any = 0, **settings: Any) -> AsyncIterator[Served]:
    protocols: list[Any] = []

    def factory() -> Any:
        protocols.append(kind())
        return protocols[-1]

    server = await tieline.create_server(factory, host, port, nursery=aio.nursery(), **settings)
    async with server:
        yield Served(server, protocols)


def tls_server(certificates: Certificates) -> tieline.TLS:
    return tieline.TLS(certificate=certificates.server)


def tls_client(certificates: Certificates) -> tieline.TLS:
    return tieline.TLS(ca=certificates.ca)


async def echoes(transport: Any, protocol: Any, data: bytes = b"hello") -> bool:
    """Return whether the server answers what it is sent; the connection is closed afterwards."""
    transport.write(data)
    await until(lambda: len(protocol.data) >= len(data))
    transport.close()
    await until(lambda: protocol.lost_with)
    return bool(protocol.data == data) and protocol.lost_with == [None]
