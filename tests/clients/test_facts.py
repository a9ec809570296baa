# SPDX-License-Identifier: MIT
"""What all eight clients tell of themselves and of their sockets, in every state."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import aio
from tests.clients.datagram_peers import BYTES
from tieline import clients
from tieline.errors import ClientClosedError
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer
from tieline.socket import IPv4SocketAddress, IPv6SocketAddress, SocketProxy, UnixCredentials, UnixSocketAddress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
ASYNC = ["AsyncTCPNetworkClient", "AsyncUDPNetworkClient", "AsyncUnixStreamClient", "AsyncUnixDatagramClient"]
BLOCKING = ["TCPNetworkClient", "UDPNetworkClient", "UnixStreamClient", "UnixDatagramClient"]


@contextmanager
def peer_of(name: str, folder: Path, host: str = "127.0.0.1") -> Iterator[tuple[Any, Any, socket.socket]]:
    """Give where a client of that name connects to, its protocol, and the bare socket that is there."""
    is_datagram = "UDP" in name or "Datagram" in name
    family = socket.AF_UNIX if "Unix" in name else socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM) as peer:
        peer.bind(str(folder / "peer") if family == socket.AF_UNIX else (host, 0))
        if not is_datagram:
            peer.listen()
        where = peer.getsockname()
        yield where if isinstance(where, str) else where[:2], BYTES if is_datagram else LINES, peer


async def connected(name: str, where: Any, protocol: Any) -> None:
    """Connect a client of that name: in its constructor, or when that is asked for."""
    client = getattr(clients, name)(where, protocol)
    await client.wait_connected()


def check_connected(client: Any, name: str, peer: socket.socket) -> None:
    view = client.socket
    assert isinstance(view, SocketProxy)
    assert client.socket is view
    assert view.fileno() > 0
    assert view.family == peer.family
    if "Unix" in name:
        assert client.get_peer_name() == UnixSocketAddress.from_raw(peer.getsockname())
        assert isinstance(client.get_local_name(), UnixSocketAddress)
        assert client.get_local_name().is_unnamed() is ("Stream" in name)
        if "Stream" in name:
            assert client.get_peer_credentials() == UnixCredentials(os.getpid(), os.getuid(), os.getgid())
    else:
        kind = IPv6SocketAddress if peer.family == socket.AF_INET6 else IPv4SocketAddress
        assert isinstance(client.get_remote_address(), kind)
        assert client.get_remote_address() == peer.getsockname()
        assert client.get_local_address() == view.getsockname()
    assert repr(client).endswith(" connected>")
    check_pickling(client, name)


def check_pickling(client: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"a {name} cannot be pickled"):
        pickle.dumps(client)


def facts_of(name: str) -> list[str]:
    if "Unix" not in name:
        return ["get_local_address", "get_remote_address"]
    return ["get_local_name", "get_peer_name", *(["get_peer_credentials"] if "Stream" in name else [])]


def check_closed(client: Any, name: str, view: SocketProxy) -> None:
    for fact in facts_of(name):
        with pytest.raises(ClientClosedError):
            getattr(client, fact)()
    assert client.socket is view
    assert repr(client).endswith(" closed>")
    check_pickling(client, name)


@pytest.mark.row("K3", "K7", "K8", "K9", "K18")
@pytest.mark.parametrize("name", ASYNC)
async def test_an_asynchronous_client_in_every_state(name: str, tmp_path: Path) -> None:
    with peer_of(name, tmp_path) as (where, protocol, peer):
        client = getattr(clients, name)(where, protocol)
        for fact in facts_of(name):
            with pytest.raises(OSError, match="not connected") as caught:
                getattr(client, fact)()
            assert caught.value.errno == errno.ENOTCONN
        with pytest.raises(AttributeError, match="not connected"):
            _ = client.socket
        assert not client.is_connected()
        assert not client.is_closing()
        assert repr(client).endswith(" not connected>")
        check_pickling(client, name)
        await client.wait_connected()
        assert client.is_connected()
        check_connected(client, name, peer)
        view = client.socket
        await client.aclose()
        assert client.is_closing()
        assert not client.is_connected()
        check_closed(client, name, view)
        with pytest.raises(ClientClosedError):
            await client.wait_connected()
        never = getattr(clients, name)(where, protocol, client.backend().name)
        await never.aclose()
        assert repr(never).endswith(" closed>")
        with pytest.raises(ClientClosedError):
            await never.wait_connected()


@pytest.mark.row("K4", "K7", "K9", "K18")
@pytest.mark.parametrize("name", BLOCKING)
def test_a_blocking_client_in_every_state(name: str, tmp_path: Path) -> None:
    with peer_of(name, tmp_path) as (where, protocol, peer):
        client = getattr(clients, name)(where, protocol)
        assert client.fileno() == client.socket.fileno()
        check_connected(client, name, peer)
        view = client.socket
        client.close()
        assert client.is_closed()
        assert client.fileno() == view.fileno() == -1
        check_closed(client, name, view)


@pytest.mark.row("K18")
@pytest.mark.parametrize("name", ["AsyncTCPNetworkClient", "AsyncUDPNetworkClient"])
async def test_addresses_of_ipv6_have_four_parts(name: str, tmp_path: Path) -> None:
    with peer_of(name, tmp_path, "::1") as (where, protocol, peer):
        async with getattr(clients, name)(where, protocol) as client:
            check_connected(client, name, peer)


@pytest.mark.row("K1")
@pytest.mark.parametrize("name", ["AsyncUnixStreamClient", "UnixStreamClient"])
async def test_a_stream_client_takes_addresses_as_values(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        where, protocol, _ = stack.enter_context(peer_of(name, tmp_path))
        client = getattr(clients, name)(UnixSocketAddress.from_pathname(where), protocol)
        if name.startswith("Async"):
            await client.wait_connected()
            await client.aclose()
        else:
            client.close()


@pytest.mark.row("K6")
@pytest.mark.parametrize("name", [name for name in clients.__all__ if "Unix" in name])
async def test_where_no_descriptor_is_free_it_is_told_what_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(socket.socket):
        def __init__(self, *_: Any) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with peer_of(name, tmp_path) as (where, protocol, _):
        monkeypatch.setattr(socket, "socket", Refused)
        with pytest.raises(OSError, match=rf"cannot .* to unix.*{where}: Too many open files") as told:
            await connected(name, where, protocol)
        monkeypatch.undo()
        assert told.value.errno == errno.EMFILE


@pytest.mark.row("K2", "K18")
@pytest.mark.parametrize("name", ["AsyncUnixStreamClient", "UnixStreamClient"])
async def test_a_stream_client_has_the_name_that_it_is_given(name: str, tmp_path: Path) -> None:
    with peer_of(name, tmp_path) as (where, protocol, peer):
        kind = getattr(clients, name)
        own = tmp_path / "own"
        for local in (own, b"\0" + os.urandom(8).hex().encode()):
            client = kind(where, protocol, local_path=local)
            if name.startswith("Async"):
                await client.wait_connected()
            accepted, seen = peer.accept()
            with accepted:  # a peer that ends first would have the client wait whether it says more
                assert client.get_local_name() == UnixSocketAddress.from_raw(seen)
                assert seen == (str(own) if local == own else local)
                if name.startswith("Async"):
                    await client.aclose()
                else:
                    client.close()
        assert own.exists()

        async def again() -> None:
            client = kind(where, protocol, local_path=own)
            if name.startswith("Async"):
                await client.wait_connected()

        with pytest.raises(OSError, match="cannot connect from ") as caught:  # a file that is there is in the way
            await again()
        assert caught.value.errno == errno.EADDRINUSE
        sock, other = socket.socketpair()
        with other, pytest.raises(TypeError, match="local_path: only for connecting"):
            kind(sock, protocol, local_path=own)


@pytest.mark.row("K7")
@pytest.mark.parametrize("name", ["AsyncTCPNetworkClient", "AsyncUnixStreamClient"])
async def test_the_connection_of_a_client_that_is_forgotten_is_closed(name: str, tmp_path: Path) -> None:
    with peer_of(name, tmp_path) as (where, protocol, peer):
        forgotten = [getattr(clients, name)(where, protocol)]
        await forgotten[0].wait_connected()
        accepted, _ = await aio.to_thread(peer.accept)
        with accepted:
            with pytest.warns(ResourceWarning, match=f"unclosed client <{name}"):
                forgotten.clear()
            accepted.settimeout(30)
            assert await aio.to_thread(accepted.recv, 10) == b""


@pytest.mark.row("K7")
@pytest.mark.parametrize("name", ["TCPNetworkClient", "UnixStreamClient"])
def test_the_connection_of_a_blocking_client_that_is_forgotten_is_closed(name: str, tmp_path: Path) -> None:
    with peer_of(name, tmp_path) as (where, protocol, peer):
        forgotten = [getattr(clients, name)(where, protocol)]
        accepted, _ = peer.accept()
        with accepted:
            with pytest.warns(ResourceWarning, match=f"unclosed client <{name}"):
                forgotten.clear()
            accepted.settimeout(30)
            assert accepted.recv(10) == b""
