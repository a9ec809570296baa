# SPDX-License-Identifier: MIT
"""What peers cost, in blocking code: on servers, and on sessions whose own peers are governed as well."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.rpc.blocking.peers import Task, raw_pair, until
from tieline import ConnectionLost, ExcessiveResourceUsage, Governance, Limits, Methods, RPCError
from tieline.blocking import ClientSession, ServerSession, connect, serve

pytestmark = pytest.mark.row("S11", "H56")


def limited(**policy: Any) -> Limits:
    usual = {"cost_soft_limit": 1000, "cost_hard_limit": 1000, "cost_decay_per_sec": 0}
    return Limits(governance=Governance(**{**usual, **policy}), linger=0.05)


def test_a_blocking_server_cuts_and_remembers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    methods = Methods()

    @methods.method
    def expensive(session: ServerSession, cost: float) -> str:
        session.bump_cost(cost)
        return "done"

    with serve(methods, "tcp://127.0.0.1:0", limits=limited()) as server:
        with connect(server.url) as first:
            assert first.call("expensive", 900) == "done"
        for _ in range(2):  # the second time it is not even let in
            with connect(server.url) as again:
                with pytest.raises(ConnectionLost):
                    again.call("expensive", 101)
                assert again.close_reason is not None
                assert isinstance(again.close_reason.__cause__, RPCError)
                assert again.close_reason.__cause__.code == -101


class Watchful(ClientSession):
    told = 0

    def on_disconnect_due_to_excessive_session_cost(self) -> None:
        Watchful.told += 1


def test_a_blocking_client_may_govern_its_server_too(caplog: pytest.LogCaptureFixture) -> None:
    with raw_pair(Methods(), limits=limited(), session_factory=Watchful) as (session, peer):
        for number in range(12):
            peer.send({"jsonrpc": "2.0", "method": "nobody", "id": number})
        task = Task(session.wait_closed, 20)
        codes = [message["error"]["code"] for message in iter(peer.line, None)]
        task.result()
        assert codes[-1] == -101
        assert set(codes[:-1]) == {-32601}
        assert isinstance(session.close_reason, ExcessiveResourceUsage)
        until(lambda: Watchful.told == 1)
    assert "is cut" in caplog.records[0].getMessage()


def test_costs_are_told_and_changed_from_any_thread() -> None:
    with raw_pair(Methods(), limits=limited()) as (session, _peer):
        session.bump_cost(400)
        Task(session.bump_cost, 200).result()
        session.recalc_concurrency()
        assert session.stats.cost == 600
        session.bump_cost(-100)
        assert session.stats.cost == 500
    never = ClientSession("tcp://127.0.0.1:1")
    never.bump_cost(5)
    never.recalc_concurrency()
    assert never.stats.cost == 0


def test_requests_are_delayed_in_blocking_code_as_well() -> None:
    methods = Methods()
    seen: list[int] = []
    methods.method(name="see")(seen.append)
    limits = limited(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=0.02)
    with raw_pair(methods, limits=limits) as (session, peer):
        session.bump_cost(900)
        for number in range(5):
            peer.send({"jsonrpc": "2.0", "method": "see", "params": [number]})
        while len(seen) < 5:
            session.poll(0.1)
        assert seen == [*range(5)]
