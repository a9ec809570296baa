# SPDX-License-Identifier: MIT
"""What a link leaves to its next turn, what it does about peers that nobody reads from, and its timer for strangers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.runtimes.link_scene import request, scene
from tieline.errors import StreamReset
from tieline.runtimes.hangups import Peer, peer_of
from tieline.runtimes.link import TURN_SECONDS
from tieline.runtimes.link_closing import FIRST_LOOK, LAST_LOOK
from tieline.wire.jsonrpc.receiving import MESSAGES_PER_TURN
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtimes.link_scene import FakeTransport, Scene

# --- handlers that take their time -----------------------------------------------------------------------------------


def slow_scene(handlers_per_turn: int) -> Scene:
    s = scene()
    s.sink.slow = True
    s.host.tick = TURN_SECONDS / handlers_per_turn
    return s


@pytest.mark.row("H47")
def test_slow_handlers_are_spread_over_turns_in_their_order() -> None:
    s = slow_scene(4)
    s.receive(*map(request, range(30)))
    counts = [len(s.transport.messages())]
    while s.host.soon:
        assert len(s.host.soon) == 1
        s.host.turn()
        counts.append(len(s.transport.messages()))
    assert [message["id"] for message in s.transport.messages()] == list(range(30))
    assert max(b - a for a, b in zip([0, *counts], counts, strict=False)) <= 5
    assert s.transport.orders.count("pause_reading") == s.transport.orders.count("resume_reading") == 1
    assert s.host.soon == []


def test_a_handler_that_takes_longer_than_a_turn_gets_one_of_its_own() -> None:
    s = slow_scene(1)
    s.receive(*map(request, range(5)))
    turns = 1
    while s.host.soon:
        s.host.turn()
        turns += 1
    assert [message["id"] for message in s.transport.messages()] == list(range(5))
    assert turns == 5


def test_each_turn_gets_on_also_where_the_clock_leaps_over_it() -> None:
    """As on a machine that is so busy that each look at the clock comes late."""
    s = scene()
    s.host.tick = 2 * TURN_SECONDS
    count = 4 * MESSAGES_PER_TURN
    s.receive(*map(request, range(count)))
    for _ in range(4):
        s.host.turn()
    assert [message["id"] for message in s.transport.messages()] == list(range(count))
    assert s.host.soon == []


@pytest.mark.row("R5")
def test_what_is_read_meanwhile_queues_up_behind() -> None:
    s = slow_scene(2)
    s.receive(*map(request, range(6)))
    s.receive(*map(request, range(6, 9)))  # some loops deliver what they have read although reading has been paused
    while s.host.soon:
        s.host.turn()
    assert [message["id"] for message in s.transport.messages()] == list(range(9))


def test_answers_to_calls_keep_their_place_behind_slow_requests() -> None:
    s = slow_scene(2)
    s.call("ours")
    s.receive(*map(request, range(4)), {"jsonrpc": "2.0", "id": 0, "result": 5})
    assert "ours: 5" not in s.sink.told
    while s.host.soon:
        s.host.turn()
    assert "ours: 5" in s.sink.told


def test_a_fault_ends_the_connection_when_what_came_before_it_is_answered() -> None:
    s = slow_scene(2)
    s.link.data_received(b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"echo"}\n' % n for n in range(5)) + b"x" * 2**21)
    while s.host.soon:
        s.host.turn()
    assert {message["id"] for message in s.transport.messages()} == {0, 1, 2, 3, 4, None}
    assert s.machine.state is State.LINGERING


def test_the_peers_eof_waits_for_its_slow_requests() -> None:
    s = slow_scene(2)
    s.receive(*map(request, range(5)))
    assert s.link.eof_received()
    while s.host.soon:
        s.host.turn()
    assert [message["id"] for message in s.transport.messages()] == list(range(5))
    assert s.transport.orders[-1] == "close"


def test_a_lost_connection_drops_the_requests_that_wait_and_ends_the_calls() -> None:
    s = slow_scene(2)
    s.call("answered")
    s.call("open")
    s.receive(*map(request, range(4)), {"jsonrpc": "2.0", "id": 0, "result": 5})
    written = len(s.transport.messages())
    s.link.connection_lost(ConnectionResetError())
    assert s.sink.told[-3:] == ["answered: 5", "open: ConnectionLost", "lost: ConnectionResetError()"]
    s.host.turn()
    assert len(s.transport.messages()) == written
    assert s.host.soon == []


@pytest.mark.row("H45")
def test_a_connection_that_was_cut_has_no_turn_before_it_is_lost() -> None:
    s = slow_scene(2)
    s.receive(*map(request, range(4)))
    written = len(s.transport.messages())
    s.link.abort()  # as at the end of a timeout, with a turn planned
    s.host.turn()
    assert len(s.transport.messages()) == written < 4
    s.link.connection_lost(None)
    assert s.sink.told[-1] == "lost: None"


# --- peers that nobody reads from ------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class OnSocket:
    """The part of a transport that tells of its socket."""

    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.sock if name == "socket" else default


def state_of(sock: socket.socket | None) -> Peer:
    transport: FakeTransport = OnSocket(sock)  # type: ignore[assignment]  # all that is asked of it
    return peer_of(transport)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        return listening.accept()[0], theirs


@pytest.mark.row("H49")
def test_the_system_knows_what_has_become_of_a_unix_peer(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert state_of(ours) == "there"
    theirs.send(b"unread")
    theirs.shutdown(socket.SHUT_WR)
    assert state_of(ours) == "there", "it may still wait for its answers"
    theirs.close()
    assert state_of(ours) == "closed"
    assert ours.recv(10) == b"unread", "what it had sent is still there"


@pytest.mark.row("H49")
def test_the_system_knows_of_a_reset_tcp_connection() -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        assert state_of(ours) == "there"
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        assert state_of(ours) == "reset"


def test_a_tcp_peer_that_closed_in_order_may_wait_for_answers() -> None:
    ours, theirs = tcp_pair()
    with ours:
        theirs.close()
        assert state_of(ours) == "there"


def test_a_transport_without_a_socket_has_a_peer() -> None:
    assert state_of(None) == "there"
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    assert state_of(ours) == "there"


def parked_scene(sock: socket.socket, method: str = "hold") -> Scene:
    """Return a link that has stopped reading because of one unanswered request."""
    s = scene(max_pending=1)
    s.transport.get_extra_info = OnSocket(sock).get_extra_info  # type: ignore[method-assign]  # it has a socket
    message = request(1, method)
    if method == "notify":
        del message["id"]
        message["method"] = "hold"
    s.receive(message)
    assert s.transport.orders[-1] == "pause_reading"
    return s


@pytest.mark.row("H49")
def test_a_parked_connection_notices_that_its_peer_has_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    s = parked_scene(ours)
    s.host.move_to(100 + 10 * LAST_LOOK)
    assert "abort" not in s.transport.orders
    theirs.close()
    s.host.move_to(s.host.time + LAST_LOOK)
    assert s.transport.orders[-1] == "abort"
    s.link.connection_lost(None)
    assert isinstance(s.machine.close_reason, StreamReset)
    assert s.host.armed() == []


@pytest.mark.row("H48", "H49")
def test_a_peer_that_leaves_at_once_is_missed_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    s = parked_scene(ours)
    theirs.close()
    s.host.move_to(100 + FIRST_LOOK)
    assert s.transport.orders[-1] == "abort"


def test_looks_become_rarer_and_end_when_reading_goes_on(pair: tuple[socket.socket, socket.socket]) -> None:
    s = parked_scene(pair[0])
    looks: list[float] = []
    for _ in range(8):
        [when] = s.host.armed()
        looks.append(when - s.host.time)
        s.host.move_to(when)
    assert looks == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 0.8, 0.8, 0.8])
    s.machine.reply(s.sink.held.pop(), None)
    s.link.flush_soon()
    assert s.transport.orders[-1] == "resume_reading"
    s.host.move_to(s.host.time + 2)
    assert s.host.armed() == []


def test_who_only_notified_has_been_heard_and_may_go(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    s = parked_scene(ours, "notify")
    theirs.close()
    s.host.move_to(110)
    assert "abort" not in s.transport.orders


@pytest.mark.row("H9", "H48")
def test_a_peer_that_closed_without_waiting_for_its_answers_has_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    s = scene()
    s.transport.get_extra_info = OnSocket(ours).get_extra_info  # type: ignore[method-assign]  # it has a socket
    s.receive(request(1, "hold"))
    theirs.shutdown(socket.SHUT_WR)
    assert s.link.eof_received()
    s.host.move_to(110)
    assert "abort" not in s.transport.orders, "half-closed: it waits"
    theirs.close()
    s.host.move_to(111)
    assert s.transport.orders[-1] == "abort"


# --- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.row("H50")
def test_a_stranger_has_a_timer_until_its_first_message() -> None:
    s = scene(idle_timeout=300.0)
    assert s.host.armed() == [400.0]
    s.receive(request(1))
    assert s.host.armed() == []


@pytest.mark.row("H50")
def test_a_stranger_that_says_nothing_is_closed() -> None:
    s = scene(idle_timeout=300.0)
    s.host.move_to(400)
    assert s.transport.orders == ["close"]


@pytest.mark.row("H50")
def test_a_trickler_is_cut_after_the_message_timeout() -> None:
    s = scene(message_timeout=30.0)
    s.link.data_received(b"{")
    s.host.move_to(115)
    s.link.data_received(b"   ")
    assert s.host.armed() == [130.0]
    s.host.move_to(130)
    assert [message["error"]["code"] for message in s.transport.messages()] == [-32600]
    assert s.machine.state is State.LINGERING


def test_a_breath_for_the_sake_of_others_gives_a_message_no_more_time() -> None:
    s = scene(message_timeout=30.0)
    s.link.data_received(b"{")
    s.host.time = 110
    s.link.take_breath()
    s.host.turn()
    assert s.transport.orders == ["pause_reading", "resume_reading"]
    assert s.machine.deadline == 130.0
