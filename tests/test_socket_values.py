# SPDX-License-Identifier: MIT
"""tieline.socket: addresses as values, and a view of a socket."""

from __future__ import annotations

import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest

import tieline.socket
from tieline.socket import IPv4SocketAddress, IPv6SocketAddress, SocketProxy, UnixCredentials, UnixSocketAddress


@pytest.mark.row("K18")
def test_addresses_of_the_internet_equal_the_plain_ones() -> None:
    four = IPv4SocketAddress("127.0.0.1", 80)
    assert four == ("127.0.0.1", 80)
    assert str(four) == "127.0.0.1:80"
    assert four.for_connection() == ("127.0.0.1", 80)
    six = IPv6SocketAddress("fe80::1", 80, 0, 3)
    assert six == ("fe80::1", 80, 0, 3)
    assert str(six) == "[fe80::1%3]:80"
    assert str(IPv6SocketAddress("::1", 80)) == "[::1]:80"
    assert six.for_connection() == ("fe80::1", 80)
    assert UnixCredentials(1, 2, 3) == (1, 2, 3)


@pytest.mark.row("K18")
@pytest.mark.parametrize(
    ("raw", "path", "name", "text"),
    [
        ("/run/s", "/run/s", None, "/run/s"),
        (b"/run/\xff", os.fsdecode(b"/run/\xff"), None, "/run/\\xff"),  # what any stream can print
        ("/run/ü", "/run/ü", None, "/run/ü"),
        (b"\0app\xff", None, b"app\xff", "@app\\xff"),
        ("\0app", None, b"app", "@app"),
        ("", None, None, "<unnamed>"),
        (b"", None, None, "<unnamed>"),
        (None, None, None, "<unnamed>"),
    ],
)
def test_addresses_of_unix_sockets(raw: Any, path: str | None, name: bytes | None, text: str) -> None:
    address = UnixSocketAddress.from_raw(raw)
    assert address.as_pathname() == path
    assert address.as_abstract_name() == name
    assert address.is_unnamed() is (path is None and name is None)
    assert str(address) == text
    assert repr(address) == f"<UnixSocketAddress {text}>"
    assert UnixSocketAddress.from_raw(address.as_raw()) == address
    assert UnixSocketAddress.from_raw(address) is address
    assert hash(UnixSocketAddress.from_raw(raw)) == hash(address)
    assert address != UnixSocketAddress.from_pathname("other")
    assert address != raw


@pytest.mark.row("K18")
def test_what_can_be_no_address_of_a_unix_socket() -> None:
    for bad in ("", "a\0b", b""):
        with pytest.raises(ValueError, match="must not be empty"):
            UnixSocketAddress.from_pathname(bad)
    with pytest.raises(TypeError, match="not tuple"):
        UnixSocketAddress.from_raw(("127.0.0.1", 80))
    assert UnixSocketAddress.from_pathname(Path("/run/s")) == UnixSocketAddress.from_pathname(b"/run/s")


@pytest.mark.row("K7")
def test_a_view_of_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            view = SocketProxy(ours)
            assert view.fileno() == ours.fileno()
            assert (view.family, view.type, view.proto) == (ours.family, ours.type, ours.proto)
            assert view.get_inheritable() is False
            view.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            assert view.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 16384
            assert len(bytes(view.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4))) == 4
            assert view.getsockname() == ours.getsockname()
            assert view.getpeername() == ours.getpeername()
            assert f"fd={ours.fileno()}" in repr(view)
            assert not {"close", "send", "recv", "shutdown", "detach"} & set(dir(view))
            with pytest.raises(TypeError, match="cannot pickle a SocketProxy"):
                pickle.dumps(view)
        assert view.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            view.getpeername()


def test_the_face_has_what_it_lists() -> None:
    assert sorted(tieline.socket.__all__) == tieline.socket.__all__
    assert all(hasattr(tieline.socket, name) for name in tieline.socket.__all__)
