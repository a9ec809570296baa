# SPDX-License-Identifier: MIT
"""rpc/statistics.py: what a server tells of itself to those who ask, and how large that can become."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests import aio
from tests.rpc.message_sessions import PING, Node
from tests.rpc.sessions import TCP_URL, until
from tieline import ConnectionLost, Counts, Governance, Limits, Methods, RPCError, Statistics, connect, serve
from tieline.blocking import connect as blocking_connect
from tieline.blocking import serve as blocking_serve
from tieline.rpc import statistics as statistics_module
from tieline.runtimes.hooks import MAX_METHODS, OTHERS


def service() -> Methods:
    methods = Methods()
    methods.method(name="add")(lambda a, b: a + b)

    @methods.method
    async def wait() -> None:
        await aio.sleep(0.01)

    @methods.method
    async def hang() -> None:
        await aio.Event().wait()

    return methods


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in document["methods"]}


async def test_nothing_is_told_unless_it_is_offered() -> None:
    methods = service()
    assert methods.statistics is None
    async with serve(methods, TCP_URL) as server, connect(server.url) as client:
        with pytest.raises(RPCError) as caught:
            await client.call("rpc.statistics")
    assert caught.value.code == -32601


async def test_a_server_tells_what_it_has_done() -> None:
    methods = service()
    statistics = methods.offer_statistics()
    assert methods.statistics is statistics
    async with serve(methods, TCP_URL) as server, connect(server.url) as client:
        for _ in range(3):
            await client.call("add", 1, 2)
        await client.call("wait")
        with pytest.raises(RPCError):
            await client.call("add", 1)
        hanging = client.send_request("hang")
        found = await client.call("rpc.statistics")
        assert found["version"] == 1
        assert found["process"] == os.getpid()
        assert found["seconds"] > 0
        assert found["connections"] == {"open": 1, "opened": 1, "closed": 0, "refused": 0, "limits_hit": 0}
        assert found["running"] == 2  # the hanging one, and this
        told = by_name(found)
        add, wait, hang = told["add"], told["wait"], told["hang"]
        assert (add["started"], add["ended"], add["errors"]) == (4, 4, 1)
        assert sum(count for _, count in add["durations"]) == 4
        [[end, count]] = wait["durations"]
        assert count == 1
        assert wait["seconds"] <= end <= wait["seconds"] * 1.125  # to about a tenth
        assert (hang["started"], hang["ended"], hang["durations"]) == (1, 0, [])
        [session] = server.sessions
        assert found["traffic"]["bytes_in"] == session.stats.bytes_in
        assert found["traffic"]["messages_in"] == 7
        [group] = found["groups"]
        assert (group["group"], group["connections"], group["limit"]) == ("127.0.0.1", 1, 10_000)
        assert 99 < group["cost"] <= 100  # one error, and bytes that stay on the machine
        hanging.cancel()
        await server.shutdown(0)  # which would wait for the hanging one


async def test_what_sessions_did_that_are_gone_is_kept() -> None:
    methods = service()
    statistics = methods.offer_statistics()
    async with serve(methods, TCP_URL) as server:
        for _ in range(2):
            async with connect(server.url) as client:
                await client.call("add", 1, 2)
        await until(lambda: not server.sessions)
        found = statistics.snapshot()
        assert found["connections"] == {"open": 0, "opened": 2, "closed": 2, "refused": 0, "limits_hit": 0}
        assert (found["traffic"]["messages_in"], found["traffic"]["messages_out"]) == (2, 2)
        assert found["traffic"]["bytes_in"] > 50
        assert found["groups"] == []  # all is gone, and nothing is to be forgiven


async def test_limits_and_refusals_and_what_groups_cost_are_told() -> None:
    methods = service()
    statistics = methods.offer_statistics()
    limits = Limits(governance=Governance(error_base_cost=6000, cost_decay_per_sec=0, cost_sleep=0), linger=0.05)
    async with serve(methods, TCP_URL, limits=limits) as server:
        async with connect(server.url) as client:
            for _ in range(2):
                with pytest.raises((RPCError, ConnectionLost)):
                    await client.call("nobody")
            await client.wait_closed()
        async with connect(server.url) as client:
            await client.wait_closed()
        await until(lambda: not server.sessions)
        found = statistics.snapshot()
        assert found["limits"] == {"ExcessiveResourceUsage": 1}
        assert (found["connections"]["limits_hit"], found["connections"]["refused"]) == (1, 1)
        assert found["groups"] == [{"group": "127.0.0.1", "connections": 0, "cost": 12_000, "limit": 10_000}]
        assert [(one.group, one.cost) for one in server.costs()] == [("127.0.0.1", 12_000)]


async def test_without_a_hard_limit_groups_have_none() -> None:
    limits = Limits(governance=Governance(cost_hard_limit=0))
    async with serve(service(), TCP_URL, limits=limits) as server, connect(server.url) as client:
        await client.call("add", 1, 2)
        assert [(one.connections, one.limit) for one in server.costs()] == [(1, None)]
    assert serve(service(), TCP_URL).costs() == []  # it has never listened


async def test_a_registry_of_its_own_may_tell_of_another_server() -> None:
    statistics = Statistics()
    admin = Methods()
    assert admin.offer_statistics(statistics) is statistics
    methods = service()
    async with serve(methods, TCP_URL, hooks=statistics) as server, connect(server.url) as client:
        await client.call("add", 1, 2)
        async with serve(admin, TCP_URL) as other, connect(other.url) as asking:
            told = by_name(await asking.call("rpc.statistics"))
        assert told["add"]["ended"] == 1


async def test_it_counts_once_where_it_is_given_as_hooks_as_well_and_beside_others() -> None:
    methods = service()
    statistics, counts = methods.offer_statistics(), Counts()
    async with serve(methods, TCP_URL, hooks=[statistics, counts]) as server, connect(server.url) as client:
        await client.call("add", 1, 2)
        assert by_name(statistics.snapshot())["add"]["ended"] == counts.methods["add"].ended == 1


async def test_it_is_withdrawn() -> None:
    methods = service()
    methods.offer_statistics()
    methods.withdraw_statistics()
    methods.withdraw_statistics()
    assert methods.statistics is None
    assert "rpc.statistics" not in methods


async def test_sessions_of_messages_are_counted_as_well() -> None:
    statistics = Statistics()
    async with serve(Node, TCP_URL, hooks=statistics) as server:
        async with connect(server.url, session_factory=Node) as client:
            await client.send_message(PING)
            await until(lambda: client.seen)
        await until(lambda: not server.sessions)
    found = statistics.snapshot()
    assert by_name(found)["handle_message"]["ended"] == 1
    assert found["traffic"]["messages_in"] == 1


def test_a_server_in_blocking_code_tells_as_well() -> None:
    methods = service()
    methods.offer_statistics()
    with blocking_serve(methods, TCP_URL) as server, blocking_connect(server.url) as client:
        assert client.call("add", 1, 2) == 3
        found = client.call("rpc.statistics")
        assert by_name(found)["add"]["ended"] == 1
        assert found["connections"]["open"] == 1
        assert found["traffic"]["messages_in"] == 2
        assert [one["group"] for one in found["groups"]] == [one.group for one in server.costs()] == ["127.0.0.1"]


def test_it_waits_for_no_thread_of_a_blocking_server() -> None:
    """Just when all threads hang, somebody will want to see why."""
    import threading

    go_on = threading.Event()
    methods = Methods()
    methods.method(name="block")(go_on.wait)
    methods.offer_statistics()
    with blocking_serve(methods, TCP_URL, workers=1) as server, blocking_connect(server.url) as client:
        waiting = client.send_request("block")
        try:
            assert by_name(client.call("rpc.statistics"))["block"]["started"] == 1
        finally:
            go_on.set()
        assert waiting.result() is True


def test_what_peers_make_up_does_not_make_it_large() -> None:
    statistics = Statistics()
    for number in range(MAX_METHODS + 50):
        name = f"{number:0256}"  # as long as names can be
        statistics.call_started(None, name)
        for seconds in (0.0, 1e-7, 1e-6, 1e-3, 1.0, 1e6):
            statistics.call_ended(None, name, seconds, None)
    for number in range(1000):
        statistics.server_made(_Server(str(number)))
    found = statistics.snapshot()
    assert len(found["methods"]) == statistics_module.MOST_METHODS
    assert found["methods_left_out"] == MAX_METHODS + 1 - statistics_module.MOST_METHODS
    assert found["methods"][0]["name"] == OTHERS  # the busiest come first
    assert sum(count for _, count in found["methods"][0]["durations"]) == 6 * 50
    assert len(msgspec.json.encode(found)) < 200_000


@pytest.mark.parametrize("character", ["\x00", "\u20ac", "\U0001f600", "x"])
def test_it_is_under_200_kb_whatever_names_and_durations_there_are(character: str) -> None:
    statistics = Statistics()
    for number in range(statistics_module.MOST_METHODS):
        name = f"{number:03}".ljust(256, character)
        for power in range(-20, 20):
            statistics.call_ended(None, name, 1.1 * 2.0**power, None)
    for number in range(statistics_module.MOST_GROUPS):
        statistics.server_made(_Server(f"{number:03}".ljust(256, character)))
    statistics.server_made(_Server("y" * 300_000))  # which hides none of the others
    statistics.call_started(None, "y" * 300_000)
    statistics.call_started(None, "short")
    found = statistics.snapshot()
    assert 150_000 < len(json.dumps(found)) < 200_000
    assert len(msgspec.json.encode(found)) < 200_000
    assert 20 < len(found["methods"]) == statistics_module.MOST_METHODS + 2 - found["methods_left_out"]
    assert 5 < len(found["groups"]) == statistics_module.MOST_GROUPS + 1 - found["groups_left_out"]
    assert found["methods"][0]["name"] == "short"


class _Talked:
    """Stands for a session; *asked* is called whenever its traffic is asked for."""

    def __init__(self, asked: Callable[[], object]) -> None:
        self._asked = asked

    @property
    def stats(self) -> Any:
        self._asked()
        return SimpleNamespace(bytes_in=5, bytes_out=0, messages_in=1, messages_out=0, errors=0, running=0, pending=0)


def test_traffic_never_goes_back_while_a_connection_ends() -> None:
    statistics, seen, is_ending = Statistics(), list[int](), False

    def ask() -> None:
        nonlocal is_ending
        if is_ending:
            is_ending = False
            asking = threading.Thread(target=lambda: seen.append(statistics.snapshot()["traffic"]["bytes_in"]))
            asking.start()
            asking.join()

    session = _Talked(ask)
    statistics.connection_opened(session)
    seen.append(statistics.snapshot()["traffic"]["bytes_in"])
    is_ending = True
    statistics.connection_closed(session, None)
    seen.append(statistics.snapshot()["traffic"]["bytes_in"])
    assert seen == [5, 5, 5]


class _Server:
    """Stands for a server with one group."""

    kept: list[Any] = []  # noqa: RUF012  # statistics keep none alive

    def __init__(self, group: str) -> None:
        self.group = group
        self.kept.append(self)

    def costs(self) -> list[Any]:
        from tieline import GroupCost

        return [GroupCost(self.group, 1, 0.0, None)]


@pytest.mark.parametrize("seconds", [1e-6, 1.5e-6, 0.001, 0.1, 0.99, 1.0, 7.3, 3600.0])
def test_durations_are_told_to_about_a_tenth(seconds: float) -> None:
    statistics = Statistics()
    statistics.call_started(None, "x")
    statistics.call_ended(None, "x", seconds, None)
    [[end, count]] = by_name(statistics.snapshot())["x"]["durations"]
    assert count == 1
    assert seconds < end <= seconds * 1.125
