# SPDX-License-Identifier: MIT
"""What was sent before the end arrives, also when the peer is busy sending: the look at the system, and the rule."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import pytest

from tests.runtimes.link_scene import request, scene
from tieline.runtimes import lingering as lingering_module
from tieline.runtimes.lingering import Lingering

pytestmark = pytest.mark.row("S10")


class OnSocket:
    """A transport, as far as it is asked here."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unsent = 0
        self.facts: dict[str, Any] = {"socket": sock}

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> Any:
        return self.facts.get(name)


@contextmanager
def connected() -> Iterator[tuple[Any, socket.socket]]:
    """Give a transport on a socket, and the other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        ours.setblocking(False)
        with theirs:
            yield OnSocket(ours), theirs


def test_all_that_was_sent_is_there_so_nothing_is_waited_for() -> None:
    with connected() as (transport, theirs):
        transport.sock.send(b"hello")
        theirs.recv(5)
        assert not Lingering.is_needed(transport)


def test_what_our_buffer_holds_or_the_peer_is_just_sending_is_a_reason_to_wait() -> None:
    with connected() as (transport, theirs):
        transport.unsent = 1
        assert Lingering.is_needed(transport)
        transport.unsent = 0
        theirs.send(b"hello")
        assert Lingering.is_needed(transport)
        transport.facts["pipe"] = 5
        assert not Lingering.is_needed(transport)


def test_what_the_system_of_the_peer_has_not_taken_is_a_reason_to_wait() -> None:
    with connected() as (transport, theirs):
        sent = 0
        try:
            while True:
                sent += transport.sock.send(b"x" * 65536)
        except BlockingIOError:
            pass
        assert Lingering.is_needed(transport)
        lingering = Lingering(5.0, 0)
        assert not lingering.is_over(transport, 0, 100.0)
        assert lingering.look_at > 100.0
        while sent:
            sent -= len(theirs.recv(1 << 20))
        patience = time.monotonic() + 30
        while not lingering.is_over(transport, 0, 101.0):  # its word on the last of it may be on its way
            assert time.monotonic() < patience


def test_a_peer_that_goes_on_sending_gets_its_time_and_no_more() -> None:
    with connected() as (transport, _theirs):
        lingering = Lingering(5.0, 0)
        transport.unsent = 10
        assert not lingering.is_over(transport, 0, 100.0)  # the time counts from when our system has all
        transport.unsent = 0
        assert not lingering.is_over(transport, 7, 103.0)
        assert not lingering.is_over(transport, 7, 107.9)
        assert lingering.is_over(transport, 7, 108.0)


def test_a_socket_that_is_gone_is_waited_for_by_nobody() -> None:
    with connected() as (transport, _theirs):
        transport.sock.close()
        assert not Lingering.is_needed(transport)
    transport.facts["socket"] = None
    assert not Lingering.is_needed(transport)


# --- the link --------------------------------------------------------------------------------------------------------


def test_the_link_says_that_nothing_follows_and_closes_when_all_is_taken() -> None:
    s = scene()
    s.transport.takes = False
    s.call("a")
    s.link.close()
    assert s.transport.orders == ["write", "write_eof"]
    assert s.sink.told[-1].endswith("ClosedError")  # nobody waits for an answer any more
    s.receive(request(1))  # thrown away
    assert s.transport.orders == ["write", "write_eof"]
    s.transport.unsent = 0
    s.host.move_to(s.host.now() + 0.5)
    assert s.transport.orders == ["write", "write_eof"]  # it has said something: it may go on
    s.host.move_to(s.host.now() + 1.0)
    assert s.transport.orders == ["write", "write_eof", "close"]
    s.link.connection_lost(None)
    assert s.sink.told[-1] == "lost: None"
    s.host.move_to(inf)


def test_the_end_of_the_peers_stream_ends_the_wait() -> None:
    s = scene()
    s.transport.takes = False
    s.call("a")
    s.link.close()
    assert not s.link.eof_received()
    assert s.transport.orders == ["write", "write_eof", "close"]


def test_a_silent_peer_that_has_all_is_not_waited_for() -> None:
    s = scene()
    s.transport.takes = False
    s.call("a")
    s.link.close()
    s.transport.unsent = 0
    s.host.move_to(s.host.now() + 0.02)
    assert s.transport.orders == ["write", "write_eof", "close"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system is not asked")
def test_a_process_without_descriptors_cannot_ask_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "termios", None)  # as when its file cannot be opened: an ImportError
    lingering_module._how_to_ask.cache_clear()
    with connected() as (transport, _theirs):
        assert Lingering.is_needed(transport)
        lingering = Lingering(5.0, 0)
        assert not lingering.is_over(transport, 0, 100.0)
        assert lingering.is_over(transport, 0, 105.0)
