# SPDX-License-Identifier: MIT
"""Connections through proxies on every runtime, blocking code too, by the same words."""

from __future__ import annotations

import os
import socket
import traceback
from typing import Any

import pytest
import trio

import tieline
import tieline.blocking
from tests import aio
from tests.runtimes.datagram_scene import RUNTIMES
from tests.runtimes.scripted_proxies import PATIENCE, Scripted, read
from tests.runtimes.sockets import name as lookup

__all__ = [
    "SECRET",
    "USER",
    "Connection",
    "Way",
    "both_ways",
    "each_runtime",
    "nobody_resolves",
    "open_url",
    "resolves_to",
    "shown_in_frames",
    "url_of",
]

# Told to every proxy that takes it, and to be found in no text.
USER, SECRET = "horsey", "staple-7"

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True)


def url_of(scheme: str, scripted: Scripted, *, known: bool = True) -> str:
    """Return the URL of a proxy, with user and password if it is to be *known* who asks."""
    return f"{scheme}://{f'{USER}:{SECRET}@' if known else ''}127.0.0.1:{scripted.port}"


def open_url(scheme: str, scripted: Scripted) -> str:
    """Return the URL of a proxy that lets in anybody; only SOCKS5 is not told who asks, as it would have to check."""
    return url_of(scheme, scripted, known=scheme != "socks5")


class Connection:
    """A pair of streams, of whichever kind."""

    def __init__(self, reader: Any, writer: Any, *, is_blocking: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._is_blocking = is_blocking

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        if self._is_blocking:
            return bytes(self._reader.readexactly(size, timeout=PATIENCE))
        async with aio.timeout(PATIENCE):
            return bytes(await self._reader.readexactly(size))

    async def at_end(self) -> bool:
        """Return whether the peer has ended the connection; wait until it says anything."""
        if self._is_blocking:
            return bool(self._reader.read(1, timeout=PATIENCE) == b"")
        async with aio.timeout(PATIENCE):
            return bool(await self._reader.read(1) == b"")

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        if self._is_blocking:
            self._writer.drain(timeout=PATIENCE)
        else:
            await self._writer.drain()

    def fact(self, name: str) -> Any:
        return self._writer.get_extra_info(name)

    async def close(self) -> None:
        self._writer.close()
        if self._is_blocking:
            self._writer.wait_closed(timeout=PATIENCE)
        else:
            await self._writer.wait_closed()


class Way:
    """Dials on one runtime."""

    def __init__(self, runtime: Any) -> None:
        self.is_blocking = runtime.name == "blocking"
        self.can_be_told = runtime.name != "uvloop"  # of facts about connections, by its own transports

    async def open(self, host: str, port: int, **settings: Any) -> Connection:
        if self.is_blocking:
            return Connection(*tieline.blocking.open_connection(host, port, **settings), is_blocking=True)
        streams = await tieline.open_connection(host, port, nursery=aio.nursery(), **settings)
        return Connection(*streams, is_blocking=False)

    @property
    def socks(self) -> Any:
        """The class of SOCKS proxies, with what they can do by themselves."""
        return tieline.blocking.SOCKSProxy if self.is_blocking else tieline.SOCKSProxy

    @property
    def check(self) -> Any:
        return tieline.blocking.check_proxy if self.is_blocking else tieline.check_proxy

    async def done(self, what: Any) -> Any:
        """Return what was done, or is to be awaited."""
        return what if self.is_blocking else await what

    async def fails(self, kind: Any, host: str, port: int, **settings: Any) -> Any:
        """See that dialling fails by an error of such a class, in which no text tells the secrets; return it."""
        with pytest.raises(kind) as caught:
            await self.open(host, port, **settings)
        error: BaseException = caught.value
        # With the causes, but for the lines of code, in which the secrets of this file may well stand.
        texts = shown_in_frames(error) if isinstance(error, OSError) else ""
        texts += "".join(traceback.TracebackException.from_exception(error, lookup_lines=False).format_exception_only())
        seen: BaseException | None = error
        while seen is not None:
            texts += f"{seen!s} {seen!r} {seen.args!r} {vars(seen)!r}"
            seen = seen.__cause__ or seen.__context__
        assert SECRET not in texts
        assert USER not in texts
        return error


def shown_in_frames(error: BaseException) -> str:
    """Return what tools show that tell of an error, and of its causes, with the values in each frame of tieline's.

    Texts that a caller passes stand in his own frames, too; ours are to have made something else of them by then.
    """
    texts, seen, left = [], set[int](), [error]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        told = traceback.TracebackException.from_exception(one, capture_locals=True, lookup_lines=False)
        texts += [f"{frame.locals}" for frame in told.stack if f"{os.sep}tests{os.sep}" not in frame.filename]
        left += [other for other in (one.__cause__, one.__context__) if other is not None]
        left += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    assert texts
    return "".join(texts)


async def both_ways(way: Way, listener: socket.socket, host: str, **settings: Any) -> Any:
    """See that bytes go both ways, and return what the connection says of its target."""
    connection = await way.open(host, listener.getsockname()[1], **settings)
    peer, _ = await aio.to_thread(listener.accept)
    with peer:
        peer.settimeout(PATIENCE)
        await connection.send(b"to you")
        assert await aio.to_thread(read, peer, 6) == b"to you"
        peer.sendall(b"to me")
        assert await connection.read(5) == b"to me"
        target = connection.fact("proxy_target")
        await connection.close()
    return target


def resolves_to(monkeypatch: pytest.MonkeyPatch, runtime: Any, host: str, *ports: int) -> list[str]:
    """Let *host* be at 127.0.0.1 with each of these ports, in that order; return the list of names looked up."""
    found = [(socket.AF_INET, "127.0.0.1", port) for port in ports]
    if runtime.name != "blocking":
        return lookup(monkeypatch, host, *found)
    asked: list[str] = []

    def getaddrinfo(host_: Any, *_: Any, **__: Any) -> Any:
        asked.append(host_)
        assert host_ == host
        return [(family, socket.SOCK_STREAM, 6, "", (ip, port)) for family, ip, port in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
def nobody_resolves(monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
    """Let every function that looks names up fail the test, whoever calls it."""

    def fail(host: Any, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"{host!r} was looked up")

    functions = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn")
    for name in functions:
        monkeypatch.setattr(socket, name, fail)

    async def fail_later(host: Any, *_: Any, **__: Any) -> Any:
        fail(host)

    for name in ("getaddrinfo", "getnameinfo"):
        monkeypatch.setattr(trio.socket, name, fail_later)
