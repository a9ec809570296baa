# SPDX-License-Identifier: MIT
"""runtimes/admission.py: tables of comings and goings, and the same on real connections."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, raw_client, until
from tieline import ClientSession, EndOfStream, Limits, Methods, RPCError, Server, ServerSession, connect, serve
from tieline.runtimes import admission
from tieline.runtimes.admission import Admission, Visit

SERVER_BUSY = -102
METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


@METHODS.method
async def hang() -> None:
    await aio.Event().wait()


def is_empty(tested: Admission) -> bool:
    return not (tested.connections or tested._by_group or tested._told or tested._past)


# --- how many --------------------------------------------------------------------------------------------------------

TOTAL = "server busy (limit 2 connections)"
PER_PEER = "server busy (limit 2 connections per peer)"

# Limits; then groups that arrive, and "-group" for one that leaves; what the last of them is told.
COMINGS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"max_connections": 2}, "a", None),
    ({"max_connections": 2}, "a b", None),
    ({"max_connections": 2}, "a b c", TOTAL),
    ({"max_connections": 2}, "a b -a c", None),
    ({"max_connections": 2}, "a b c -c c", TOTAL),
    ({"max_connections": 2}, "a b -a c d", TOTAL),
    ({"max_connections": 2}, "? ? ?", TOTAL),
    ({"max_connections": 0}, "a", "server busy (limit 0 connections)"),
    ({"max_connections_per_peer": 2}, "a a", None),
    ({"max_connections_per_peer": 2}, "a a a", PER_PEER),
    ({"max_connections_per_peer": 2}, "a a b", None),
    ({"max_connections_per_peer": 2}, "a a -a a", None),
    ({"max_connections_per_peer": 2}, "a a b b b", PER_PEER),
    ({"max_connections_per_peer": 2}, "? ? ?", None),
    ({"max_connections": 2, "max_connections_per_peer": 2}, "a a a", TOTAL),
    ({"max_connections": None}, "a " * 5000, None),
    ({}, "a " * 1000, None),
    ({}, "a " * 1001, "server busy (limit 1000 connections)"),
    (
        {"max_connections": None, "max_connections_per_peer": 100},
        "a " * 101,
        "server busy (limit 100 connections per peer)",
    ),
]


@pytest.mark.row("H53")
@pytest.mark.parametrize(("limits", "comings", "told"), COMINGS)
def test_who_is_let_in_and_what_the_others_are_told(limits: dict[str, Any], comings: str, told: str | None) -> None:
    tested = Admission(Limits(**limits))
    visits: list[tuple[str, Visit]] = []
    for step in comings.split():
        if step.startswith("-"):
            gone = next(one for one in visits if one[0] == step[1:])
            visits.remove(gone)
            gone[1].leave(0)
        else:
            visits.append((step, tested.arrive(None if step == "?" else step, 0)))
    assert visits[-1][1].refusal == told
    for _, visit in visits:
        visit.leave(0)
        visit.leave(0)  # and once more
    assert is_empty(tested)


@pytest.mark.row("H53")
def test_of_a_flood_of_refusals_only_so_many_get_a_word() -> None:
    tested = Admission(Limits(max_connections=1))
    inside = tested.arrive("a", 0)
    refused = [tested.arrive("a", 0) for _ in range(admission.MAX_TOLD + 50)]
    assert [bool(visit.refusal) for visit in refused] == [True] * admission.MAX_TOLD + [False] * 50
    refused[0].leave(1)
    assert tested.arrive("a", 1).refusal
    assert tested.refused == admission.MAX_TOLD + 51
    assert inside.refusal is None
    assert tested.connections == 1


def test_refusals_are_logged_once_in_a_while() -> None:
    tested = Admission(Limits())
    assert [tested.to_tell(now) for now in (0, 0, 1, 9.9, 10, 11, 25)] == [0, None, None, None, 3, None, 1]


# --- abandoned calls -------------------------------------------------------------------------------------------------


def stay(tested: Admission, group: str | None, now: float, accepted: int, abandoned: int) -> None:
    tested.arrive(group, now).leave(now, accepted=accepted, abandoned=abandoned)


# Visits as (seconds, accepted, abandoned); when the group comes again; whether it is refused.
DOINGS: list[tuple[Sequence[tuple[float, int, int]], float, bool]] = [
    ([(0, 500, 251)], 0, True),
    ([(0, 500, 250)], 0, False),
    ([(0, 499, 499)], 0, False),
    ([(0, 100_000, 50_000)], 0, False),
    ([(0, 64, 64)] * 7, 0, False),
    ([(0, 64, 64)] * 8, 0, True),
    ([(0, 64, 64)] * 8 + [(0, 1000, 0)], 0, True),  # it is too late for that
    ([(0, 1000, 0)] + [(0, 64, 64)] * 15, 0, False),
    ([(0, 1000, 0)] + [(0, 64, 64)] * 16, 0, True),
    ([(0, 500, 500)], 59.9, True),
    ([(0, 500, 500)], 60, False),
    ([(0, 500, 500), (60, 400, 400)], 60, False),  # it began anew
    ([(float(second * 60), 200, 200) for second in range(50)], 3000, False),  # half of it is forgotten each time
    ([(float(second * 60), 260, 260) for second in range(4)], 180, False),
    ([(float(second * 60), 260, 260) for second in range(5)], 240, True),
    ([(0, 10, 600)], 0, False),  # no more can be abandoned than were accepted
]


@pytest.mark.row("H48")
@pytest.mark.parametrize(("doings", "comes_at", "is_refused"), DOINGS)
def test_who_throws_most_of_many_calls_away_is_refused_for_a_while(
    doings: Sequence[tuple[float, int, int]], comes_at: float, is_refused: bool
) -> None:
    tested = Admission(Limits())
    for now, accepted, abandoned in doings:
        stay(tested, "a", now, accepted, abandoned)
        stay(tested, None, now, accepted, abandoned)
    visit = tested.arrive("a", comes_at)
    assert visit.refusal == ("too many abandoned calls" if is_refused else None)
    for other in ("b", None):
        stranger = tested.arrive(other, comes_at)
        assert stranger.refusal is None
        stranger.leave(comes_at)
    visit.leave(comes_at)
    tested.arrive(None, comes_at + admission.FORGOTTEN_AFTER).leave(comes_at + admission.FORGOTTEN_AFTER)
    assert is_empty(tested)


@pytest.mark.row("H48")
@pytest.mark.parametrize("penalty", [30.0, 3600.0])
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_abandon_penalty(by: int, penalty: float) -> None:
    tested = Admission(Limits(abandon_penalty=penalty))
    stay(tested, "a", 0.0, 1000, 1000)
    assert tested.arrive("a", penalty + by).refusal == ("too many abandoned calls" if by < 0 else None)


@pytest.mark.parametrize("penalty", [None, 0])
def test_without_a_penalty_nothing_is_remembered(penalty: float | None) -> None:
    tested = Admission(Limits(abandon_penalty=penalty))
    stay(tested, "a", 0.0, 1000, 1000)
    assert tested.arrive("a", 0.0).refusal is None
    assert not tested._past


def test_each_group_is_forgotten_in_its_time_whoever_comes() -> None:
    tested = Admission(Limits(abandon_penalty=2000.0))
    stay(tested, "a", 0.0, 10, 0)
    stay(tested, "punished", 100.0, 1000, 1000)  # until 2100
    stay(tested, "b", 200.0, 10, 0)
    stay(tested, "a", 300.0, 10, 0)  # the oldest is another one now
    # The oldest holds up the others, as long as there are few of them.
    for when, left in ((899.0, 3), (2099.0, 3), (2100.0, 0)):
        stay(tested, "somebody", when, 0, 0)
        assert len(tested._past) == left
    stay(tested, "b", 3000.0, 10, 0)
    stay(tested, "somebody", 3000.0 + admission.FORGOTTEN_AFTER, 0, 0)
    assert is_empty(tested)


@pytest.mark.row("H48")
def test_of_too_many_groups_the_oldest_is_forgotten() -> None:
    tested = Admission(Limits())
    for number in range(5000):
        stay(tested, f"10.0.{number // 256}.{number % 256}", number / 1000, 1000, 1000)
        assert len(tested._past) <= admission.MAX_REMEMBERED
    assert tested.arrive("10.0.0.0", 5).refusal is None
    assert tested.arrive("10.0.19.135", 5).refusal == "too many abandoned calls"


# --- on connections --------------------------------------------------------------------------------------------------


async def refused(server: Server) -> str:
    """Return what a peer is told that is not let in, once its connection has ended behind that."""
    async with raw_client(server) as peer:
        told = await peer.line()
        assert await peer.ended()
    assert told["error"]["code"] == SERVER_BUSY
    assert told["id"] is None
    return str(told["error"]["message"])


@pytest.mark.row("H53")
@pytest.mark.parametrize("transport", ["tcp", "unix"])
async def test_one_connection_too_many_is_told_why_and_ends(
    transport: str, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = TCP_URL if transport == "tcp" else f"unix://{tmp_path}/s"
    for limits, text in (
        (Limits(max_connections=2), "server busy (limit 2 connections)"),
        (Limits(max_connections_per_peer=2), "server busy (limit 2 connections per peer)"),
    ):
        caplog.clear()
        async with serve(METHODS, url, limits=limits) as server:
            async with connect(server.url) as one, connect(server.url) as two:
                assert await one.call("add", 1, 2) == await two.call("add", 1, 2) == 3
                for _ in range(3):
                    assert await refused(server) == text
                assert len(server.sessions) == 2
                assert await one.call("add", 2, 2) == 4
            await until(lambda: not server.sessions)
            async with connect(server.url) as three:
                assert await three.call("add", 1, 2) == 3
            await until(lambda: not server.sessions)
            assert not server._admission._by_group
            assert server._admission.connections == server._admission._told == 0
        assert len(caplog.records) == 1
        assert text in caplog.text


@pytest.mark.row("H53")
async def test_a_client_of_ours_learns_that_the_server_is_busy() -> None:
    async with serve(METHODS, TCP_URL, limits=Limits(max_connections=0)) as server:
        client = connect(server.url)
        await client.create_connection(nursery=aio.nursery())
        await client.wait_closed()
        assert isinstance(client.close_reason, EndOfStream)
        cause = client.close_reason.__cause__
        assert isinstance(cause, RPCError)
        assert cause.code == SERVER_BUSY
        await client.aclose()


@pytest.mark.row("H53")
async def test_refusals_that_linger_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_TOLD", 3)
    limits = Limits(max_connections=0, linger=30)
    async with serve(METHODS, TCP_URL, limits=limits) as server:
        endpoint: Any = server.get_addresses()[0]
        socks = [socket.create_connection((endpoint.host, endpoint.port)) for _ in range(8)]
        await until(lambda: server._admission.refused == 8)
        told = 0
        for sock in socks:
            sock.setblocking(False)
            try:
                told += bool(await aio.wait_for(aio.sock_recv(sock, 1000), 5))
            except ConnectionResetError:
                pass
        assert told == server._admission._told == 3
        for sock in socks:
            sock.close()
        await until(lambda: not server._admission._told)


@pytest.mark.row("H48")
async def test_calls_that_are_made_and_thrown_away_keep_their_maker_out() -> None:
    call = {"jsonrpc": "2.0", "method": "hang", "params": []}
    async with serve(METHODS, TCP_URL, limits=Limits(abandon_penalty=0.1)) as server:
        counts = server._admission
        for _ in range(8):  # times 64 that are accepted at once
            assert not counts.refused
            async with raw_client(server) as peer:
                peer.send(*({**call, "id": number} for number in range(200)))
                await until(lambda: any(session.stats.running == 64 for session in server.sessions))
                peer.reset()
            await until(lambda: not server.sessions)
        assert await refused(server) == "too many abandoned calls"
        patience = aio.now() + 5
        answer = None
        while answer is None:  # it is let in again
            assert aio.now() < patience
            async with raw_client(server) as peer:
                peer.send({"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1})
                answer = (await peer.line()).get("result")
        assert answer == 3


@pytest.mark.row("H48")
async def test_a_batch_counts_by_its_members_and_closing_by_this_side_is_nobody_s_fault() -> None:
    async with serve(METHODS, TCP_URL) as server:
        async with raw_client(server) as peer:
            peer.send([{"jsonrpc": "2.0", "method": "add", "params": [1, 1], "id": number} for number in range(40)])
            await peer.line()
            peer.send([{"jsonrpc": "2.0", "method": "hang", "id": number} for number in range(20)])
            await until(lambda: any(session.stats.running for session in server.sessions))
            peer.reset()
        await until(lambda: not server.sessions)
        (past,) = server._admission._past.values()
        assert (past.accepted, past.abandoned) == (62, 20)
        async with raw_client(server) as peer:
            peer.send({"jsonrpc": "2.0", "method": "hang", "id": 1})
            await until(lambda: any(session.stats.running for session in server.sessions))
            for session in list(server.sessions):
                session.abort()
            await until(lambda: not server.sessions)
        assert past.abandoned <= 20 < past.accepted


async def test_other_protocols_are_not_counted() -> None:
    class Silent(aio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.close()

    async with Server(Silent, TCP_URL, limits=Limits(max_connections=0)) as server, raw_client(server) as peer:
        assert await peer.ended()
    assert server.limits == Limits(max_connections=0)


async def test_a_session_without_a_server_is_not_counted() -> None:
    session = ServerSession(methods=METHODS)

    def factory() -> Any:
        return session.new_link(accepted=True)

    server = await aio.create_server(factory, "127.0.0.1", 0)
    async with ClientSession("127.0.0.1", server.sockets[0].getsockname()[1]) as client:
        assert await client.call("add", 1, 2) == 3
    await session.wait_closed()
    server.close()
    await aio.sleep(0)
