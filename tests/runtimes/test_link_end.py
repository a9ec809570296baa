# SPDX-License-Identifier: MIT
"""The link when things go wrong or end: peers that take nothing, and every way to close."""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf
from typing import cast

import pytest

from tests.runtimes.link_scene import FakeTransport, request, scene
from tieline.errors import ConnectionLost, EndOfStream, StreamReset
from tieline.runtimes.host import Host
from tieline.runtimes.link import Link
from tieline.wire.states import State

# --- sends that failed -----------------------------------------------------------------------------------------------


class Leaving(FakeTransport):
    """Leaves it to the system what has come when a send fails, as those of uvloop do."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._sock if name == "socket" else default

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name == "fail_sending":
            raise AttributeError(name)
        return super().__getattr__(name)


ANSWER = b'{"jsonrpc":"2.0","id":0,"result":1}\n'


@pytest.mark.parametrize("is_reset", [False, True])
def test_what_the_peer_said_before_a_send_failed_is_heard_and_what_broke_the_connection(is_reset: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        s = scene(transport=Leaving(ours))
        s.call("a")
        theirs.sendall(ANSWER)
        if is_reset:
            ours.send(b"which nobody reads")
        theirs.close()
        s.link.connection_lost(BrokenPipeError())
        assert s.sink.told[1] == "a: 1"
        assert type(s.machine.close_reason) is (StreamReset if is_reset else EndOfStream)
        assert s.sink.told[-1].startswith("lost: ConnectionResetError" if is_reset else "lost: BrokenPipeError")


@pytest.mark.parametrize("why", ["nothing is wanted", "the end has come"])
def test_what_is_not_to_be_read_is_not_read_behind_a_send_that_failed_either(why: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        s = scene(transport=Leaving(ours), max_pending=1)
        if why == "nothing is wanted":
            s.receive(request(1, "hold"), request(2, "hold"))
        else:
            s.link.eof_received()
        theirs.sendall(ANSWER)
        s.link.connection_lost(BrokenPipeError())
        assert ours.recv(100) == ANSWER


# --- what waits for the end ------------------------------------------------------------------------------------------


@pytest.mark.row("H9", "J10")
def test_what_is_answered_since_the_end_has_begun_leaves_before_the_transport_is_closed() -> None:
    s = scene()
    s.sink.gives_up = True
    s.call("a")
    s.call("b")
    answers = [{"jsonrpc": "2.0", "id": number, "result": 1} for number in (0, 1)]
    s.receive([request(1, "hold"), request(2)], *answers)
    assert s.link.is_corked  # those who have called may have more to ask
    s.link.eof_received()
    assert s.transport.messages()[-1] == [{"jsonrpc": "2.0", "id": 2, "result": [2]}]
    assert s.transport.orders[-2:] == ["write", "close"]


# --- writing that is stuck -------------------------------------------------------------------------------------------


@pytest.mark.row("S10")
def test_a_peer_that_takes_nothing_is_cut_after_the_write_timeout() -> None:
    s = scene(write_timeout=20.0)
    s.transport.takes = False
    s.call("a")
    s.link.pause_writing()
    s.host.move_to(119.9)
    assert "abort" not in s.transport.orders
    s.host.move_to(120.0)
    assert s.transport.orders[-1] == "abort"
    s.link.connection_lost(None)
    assert s.sink.told[1:] == ["a: ConnectionLost", "lost: None"]
    assert "took no byte for 20.0 s" in str(s.machine.close_reason)
    assert s.host.armed() == []


@pytest.mark.row("S10")
def test_a_peer_that_takes_a_byte_now_and_then_is_not_cut() -> None:
    s = scene(write_timeout=20.0)
    s.transport.takes = False
    s.call("a")
    s.link.pause_writing()
    for number in range(1, 40):
        s.transport.unsent -= 1
        s.host.move_to(100.0 + 15 * number)
    assert "abort" not in s.transport.orders
    s.host.move_to(100.0 + 15 * 39 + 25.0)
    assert s.transport.orders[-1] == "abort"


def test_room_on_the_transport_is_told_and_ends_the_watch() -> None:
    s = scene(write_timeout=20.0)
    s.transport.takes = False
    s.call("a")
    has_room = [s.machine.has_room]
    s.link.pause_writing()
    has_room.append(s.machine.has_room)
    s.transport.unsent = 0
    s.link.resume_writing()
    has_room.append(s.machine.has_room)
    assert has_room == [True, False, True]
    assert s.sink.told[1:] == ["room"]
    s.host.move_to(inf)
    assert "abort" not in s.transport.orders


@pytest.mark.row("S10", "S13")
@pytest.mark.parametrize("drains", [False, True])
def test_a_connection_that_closes_is_cut_when_the_rest_is_not_taken(drains: bool) -> None:
    s = scene(write_timeout=20.0)
    s.transport.takes = False
    s.call("a")
    s.link.pause_writing()
    s.link.close()
    assert s.transport.orders[-1] == "write_eof"
    if drains:  # to under the low-water mark, and no further
        s.transport.unsent = 1
        s.link.resume_writing()
    s.host.move_to(130.0)
    assert s.transport.orders[-1] == "abort"


# --- the end ---------------------------------------------------------------------------------------------------------


def test_closing_waits_for_what_is_owed_and_closes_once() -> None:
    s = scene()
    s.receive(request(0, "hold"))
    s.link.close()
    s.link.close()
    assert s.transport.orders == []
    assert "room" in s.sink.told  # who waits for room finds out
    s.receive(request(1))
    assert s.transport.messages()[0]["error"]["message"] == "shutting down"
    s.machine.reply(s.sink.held[0], "last")
    s.link.settle()
    assert s.transport.orders == ["write", "write", "close"]
    s.link.close()
    s.link.settle()
    s.link.connection_lost(None)
    assert s.transport.orders.count("close") == 1


def test_an_abort_before_the_transport_is_there_closes_it_when_it_comes() -> None:
    s = scene()
    link = Link(s.machine, s.sink, cast("Host", s.host))
    link.abort()
    transport = FakeTransport()
    link.connection_made(transport)
    assert transport.orders == ["abort"]


def test_a_transport_that_never_comes_is_told_once_and_no_more() -> None:
    s = scene()
    s.sink.told.clear()
    link = Link(s.machine, s.sink, cast("Host", s.host))
    link.never_made()
    link.abort()
    link.never_made()
    link.connection_made(FakeTransport())  # it comes all the same
    link.connection_lost(None)
    assert s.sink.told == ["never made"]


def test_one_that_came_is_told_its_end_whatever_is_said_meanwhile() -> None:
    s = scene()
    s.link.never_made()
    s.link.connection_lost(None)
    assert s.sink.told[-1] == "lost: None"


@pytest.mark.parametrize("half_closes", [True, False])
def test_the_peer_s_end_keeps_the_connection_open_for_what_is_owed(half_closes: bool) -> None:
    s = scene()
    s.transport.half_closes = half_closes
    s.receive(request(0, "hold"))
    assert s.link.eof_received() is half_closes
    idle = scene()
    assert idle.link.eof_received() is False
    assert idle.transport.orders == ["close"]


@pytest.mark.parametrize("half_closes", [True, False])
def test_behind_a_violation_it_half_closes_and_lingers(half_closes: bool) -> None:
    s = scene(linger=1.0, max_message=100)
    s.transport.half_closes = half_closes
    s.call("a")
    s.receive("x" * 2000)
    assert s.sink.told[1:] == ["a: ConnectionLost", "violation"]
    assert s.transport.messages()[-1]["error"]["code"] == -32600
    assert s.machine.state is State.LINGERING
    if not half_closes:
        assert s.transport.orders[-1] == "close"
        return
    assert s.transport.orders[-1] == "write_eof"
    s.receive(request(0))  # is thrown away
    assert s.transport.orders[-1] == "write_eof"
    s.host.move_to(101.0)
    assert s.transport.orders[-1] == "close"
    assert s.transport.orders.count("write_eof") == 1


def test_while_it_lingers_the_peer_s_end_closes_it() -> None:
    s = scene(max_message=100)
    s.receive("x" * 2000)
    assert s.link.eof_received() is False
    assert s.transport.orders[-1] == "close"


@pytest.mark.row("H9", "D6")
def test_where_the_transport_cannot_half_close_the_peers_eof_is_the_end() -> None:
    s = scene()
    s.transport.half_closes = False
    s.receive(request(1, "hold"))
    assert not s.link.eof_received()
    assert s.machine.state is State.FINISHED
    assert s.transport.orders[-1] == "close"
    with pytest.raises(ConnectionLost):
        s.machine.send_notification("in vain", None)


def test_a_half_close_that_meets_a_reset_is_the_end() -> None:
    s = scene()

    def refuse() -> None:
        raise OSError(107, "Transport endpoint is not connected")

    vars(s.transport)["write_eof"] = refuse  # as stock asyncio's transport does
    s.link.data_received(b"x" * 2**21)
    assert s.machine.state is State.LINGERING
    assert s.transport.orders[-1] == "abort"
