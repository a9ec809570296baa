# SPDX-License-Identifier: MIT
"""What peers cost, on real connections: slower over the soft limit, told and cut over the hard one, also when they
come again; and how many handlers run at once."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import replace
from typing import Any, cast

import pytest

import tieline
from tests import aio
from tests.rpc.message_sessions import PING, Node, served, the_peer
from tests.rpc.sessions import TCP_URL, pair, raw_client, turns, until
from tieline import (
    JSONRPC,
    ClientSession,
    ConnectionLost,
    ExcessiveResourceUsage,
    Governance,
    Limits,
    Methods,
    RPCError,
    ServerSession,
    connect,
    dialects,
    serve,
)
from tieline.rpc import gate

pytestmark = pytest.mark.row("S11")

methods = Methods()


@methods.method
def add(a: int, b: int) -> int:
    return a + b


@methods.method
def expensive(session: ServerSession, cost: float) -> str:
    session.bump_cost(cost)
    return "done"


@methods.method
def refuse(cost: float) -> None:
    raise RPCError(1, "no", cost=cost)


@methods.method
def busy(cost: float) -> None:
    raise RPCError(JSONRPC.SERVER_BUSY, "no place", cost=cost)


@methods.method
def fail() -> None:
    raise ValueError("ours")


def limited(**policy: Any) -> Limits:
    """Return limits without decay, and with small figures, unless *policy* says otherwise."""
    usual = {"cost_soft_limit": 1000, "cost_hard_limit": 1000, "cost_decay_per_sec": 0}
    return Limits(governance=Governance(**{**usual, **policy}))


# --- the hard limit --------------------------------------------------------------------------------------------------


@pytest.mark.row("H56")
async def test_a_peer_over_the_hard_limit_is_told_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with pair(methods, limits=limited()) as both:
        assert await both.client.call("expensive", 600) == "done"
        assert both.peer.stats.cost == 600
        with pytest.raises(ConnectionLost):
            await both.client.call("expensive", 600)
        reason = both.client.close_reason
        assert reason is not None
        assert isinstance(reason.__cause__, RPCError)
        assert str(reason.__cause__) == "excessive resource usage (limit 1000) (code -101)"
        await both.peer.wait_closed()
        assert isinstance(both.peer.close_reason, ExcessiveResourceUsage)
        assert both.peer.close_reason.cost == 1200
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "is cut: excessive resource usage (cost 1200, limit 1000)" in record.getMessage()


@pytest.mark.row("H56")
async def test_the_cost_survives_a_reconnect(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with serve(methods, TCP_URL, limits=limited()) as server:
        async with connect(server.url) as first:
            await first.call("expensive", 900)
        async with connect(server.url) as second:
            await second.call("add", 1, 2)
            await until(lambda: len(server.sessions) == 1)
            (session,) = server.sessions
            assert (session.stats.cost, session.extra_cost()) == (0, 900)
            with pytest.raises(ConnectionLost):
                await second.call("expensive", 101)
        async with connect(server.url) as third:
            with pytest.raises(ConnectionLost):
                await third.call("add", 1, 2)
            assert third.close_reason is not None
            assert isinstance(third.close_reason.__cause__, RPCError)
            assert third.close_reason.__cause__.code == -101


@pytest.mark.row("H56")
async def test_what_is_left_to_pay_at_the_end_of_a_connection_is_paid() -> None:
    async with serve(methods, TCP_URL, limits=limited()) as server:
        for _ in range(3):
            async with raw_client(server) as peer:
                assert (await peer.ask(b"5"))["error"]["code"] == -32600
            await until(lambda: not server.sessions)
        assert server._admission.accounts.cost("127.0.0.1", 0) == 300


@pytest.mark.row("H56")
async def test_groups_are_what_the_user_says() -> None:
    names = iter(["a", "b", "a", None, None])
    limits = limited(group=lambda _session: next(names))
    async with serve(methods, TCP_URL, limits=limits) as server:
        costs = []
        for _ in range(5):
            async with connect(server.url) as client:
                await client.call("expensive", 300)
                (session,) = server.sessions
                costs.append((session.stats.cost, session.extra_cost()))
            await until(lambda: not server.sessions)
        assert costs == [(300, 0), (300, 0), (300, 300), (300, 0), (300, 0)]


@pytest.mark.row("H56")
async def test_behind_a_proxy_groups_are_the_addresses_that_it_passes_on() -> None:
    """As the page on production has it: the limit of connections for each peer goes by them as well."""

    def client_address(session: ServerSession) -> str | None:
        return cast("str | None", session.get_extra_info("websocket").header("X-Real-IP"))

    limits = Limits.public(governance=Governance(group=client_address), max_connections_per_peer=1)
    async with serve(methods, "ws://127.0.0.1:0/rpc", limits=limits) as server:
        place = tieline.parse(server.url)
        assert isinstance(place, tieline.WebSocket)

        def client_of(address: str) -> ClientSession:
            return connect(replace(place, headers=[("X-Real-IP", address)]))

        async with client_of("192.0.2.1") as one, client_of("192.0.2.2") as other, client_of("192.0.2.1") as second:
            assert await one.call("add", 1, 2) == await other.call("add", 1, 2) == 3
            with pytest.raises(ConnectionLost):
                await second.call("add", 1, 2)
            assert {each.group for each in server.costs()} == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize("error", [ValueError("what group?"), aio.CancelledError()])
async def test_a_rule_for_groups_that_fails_is_told_and_the_address_is_taken(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_session: object) -> str:
        raise error

    async with serve(methods, TCP_URL, limits=limited(group=broken)) as server, connect(server.url) as client:
        await client.call("expensive", 300)
        assert server._admission.accounts.cost("127.0.0.1", 0) == 300
    assert "could not be told" in caplog.records[0].getMessage()


@pytest.mark.row("H56")
async def test_connections_of_the_group_that_were_there_before_are_slowed_and_cut_as_well() -> None:
    limits = limited(cost_soft_limit=500, cost_hard_limit=1000, cost_sleep=0.001)
    async with serve(methods, TCP_URL, limits=limits) as server, connect(server.url) as quiet:
        assert await quiet.call("add", 1, 2) == 3
        (session,) = server.sessions
        assert session._engine is not None
        async with connect(server.url) as costly:
            assert await costly.call("expensive", 700) == "done"
            assert await quiet.call("add", 1, 2) == 3
            assert session._engine.machine.delay > 0
            with pytest.raises(ConnectionLost):
                await costly.call("expensive", 400)
        with pytest.raises(ConnectionLost):
            await quiet.call("add", 1, 2)


@pytest.mark.parametrize("group", [["no hash"], 5, b"bytes", {}])
async def test_a_group_that_is_no_string_is_told_and_the_address_is_taken(
    group: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(methods, TCP_URL, limits=limited(group=lambda _session: group)) as server:
        async with connect(server.url) as client:
            await client.call("expensive", 300)
            assert (len(server.sessions), server._admission.connections) == (1, 1)
            assert server._admission.accounts.cost("127.0.0.1", 0) == 300
        await until(lambda: not server.sessions)
        assert server._admission.connections == 0
    assert "could not be told" in caplog.records[0].getMessage()


@pytest.mark.row("H56")
async def test_all_slots_busy_and_nothing_read_while_a_handler_crosses_the_limit() -> None:
    own = Methods()
    crossed = aio.Event()

    @own.method
    async def hang(session: ServerSession) -> None:
        await crossed.wait()
        session.bump_cost(5000)

    limits = Limits(max_pending=12, governance=limited(initial_concurrent=11).governance)
    async with pair(own, limits=limits) as both:
        calls = [both.client.send_request("hang") for _ in range(30)]
        await until(lambda: both.peer.stats.running == 12)
        crossed.set()
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        await both.peer.wait_closed()
        assert isinstance(both.peer.close_reason, ExcessiveResourceUsage)


async def test_the_hook_is_called_when_a_session_is_cut() -> None:
    told: list[str] = []

    class Plain(ServerSession):
        def on_disconnect_due_to_excessive_session_cost(self) -> None:
            told.append("plain")

    class Async(ServerSession):
        async def on_disconnect_due_to_excessive_session_cost(self) -> None:
            await aio.sleep(0)
            told.append("async")

    for cls in (Plain, Async):
        async with pair(methods, limits=limited(), session_class=cls) as both:
            with pytest.raises(ConnectionLost):
                await both.client.call("expensive", 2000)
            await both.peer.wait_closed()
    await until(lambda: len(told) == 2)
    assert told == ["plain", "async"]


@pytest.mark.parametrize("error", [ValueError("no"), aio.CancelledError()])
async def test_a_hook_that_fails_is_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ServerSession):
        def on_disconnect_due_to_excessive_session_cost(self) -> None:
            raise error

    async with pair(methods, limits=limited(), session_class=Broken) as both:
        with pytest.raises(ConnectionLost):
            await both.client.call("expensive", 2000)
        await both.peer.wait_closed()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]


async def test_users_say_what_is_added() -> None:
    class Own(ServerSession):
        extra = 0.0

        def extra_cost(self) -> float:
            return self.extra

    async with pair(methods, limits=limited(), session_class=Own) as both:
        assert await both.client.call("expensive", 900) == "done"
        Own.extra = 200.0
        assert await both.client.call("add", 1, 2) == 3  # nobody has looked at it
        both.peer.recalc_concurrency()
        with pytest.raises(ConnectionLost):
            await both.client.call("add", 1, 2)
        await both.peer.wait_closed()


@pytest.mark.parametrize(
    "added", [ZeroDivisionError("ours"), aio.CancelledError(), float("nan"), float("inf"), "much", None]
)
async def test_what_users_add_in_error_is_logged_and_leaves_nothing_behind(
    added: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(ServerSession):
        def extra_cost(self) -> float:
            if isinstance(added, BaseException):
                raise added
            return cast("float", added)

    def new_session() -> ServerSession:
        return Own(methods=methods, limits=limited())

    async with serve(new_session, TCP_URL) as server:
        async with connect(server.url) as client:
            assert await client.call("expensive", 900) == "done"
        await until(lambda: not server.sessions)
        assert server._admission.connections == 0
        async with connect(server.url) as client:
            with pytest.raises(ConnectionLost):  # the limit holds for what it has cost itself
                await client.call("expensive", 1001)
    assert any("handler of 'extra_cost' failed" in record.message for record in caplog.records)


async def test_before_and_after_the_connection_costs_are_nobodys() -> None:
    session = ServerSession()
    session.bump_cost(5)
    session.recalc_concurrency()
    assert (session.extra_cost(), session.stats.cost) == (0, 0)
    async with pair(methods) as both:
        await both.client.call("add", 1, 2)
    await both.peer.wait_closed()
    both.peer.bump_cost(1e9)
    both.peer.recalc_concurrency()
    assert both.peer.is_closing()
    assert both.peer.stats.cost == 0


# --- what costs ------------------------------------------------------------------------------------------------------

COSTS: list[tuple[str, list[Any], float]] = [
    ("add", [1, 2], 0),
    ("expensive", [7], 7),
    ("expensive", [-7], 0),
    ("refuse", [0], 100),
    ("refuse", [25], 125),
    ("refuse", [-100], 0),  # an ordinary answer
    ("nobody", [], 100),
    ("add", [1], 100),
    ("fail", [], 0),  # that is ours
    ("busy", [0], 0),  # and so is that
    ("busy", [25], 125),  # unless we say otherwise
]


@pytest.mark.parametrize(("name", "args", "cost"), COSTS)
async def test_what_a_call_costs(name: str, args: list[Any], cost: float) -> None:
    async with pair(methods, limits=limited()) as both:
        try:
            await both.client.call(name, *args)
        except RPCError:
            pass
        assert both.peer.stats.cost == cost


@pytest.mark.parametrize(("policy", "is_free"), [({}, True), ({"bw_cost_per_byte": 1e-3}, False)])
async def test_bytes_that_stay_on_the_machine_cost_nothing_unless_somebody_says_so(
    policy: dict[str, Any], is_free: bool
) -> None:
    async with pair(methods, limits=limited(**policy)) as both:
        await both.client.call("add", 1, 2)
        stats = both.peer.stats
        assert stats.cost == pytest.approx(0 if is_free else 1e-3 * (stats.bytes_in + stats.bytes_out))


@pytest.mark.parametrize("is_near", [True, False])
async def test_an_honest_client_with_a_burst_is_neither_slowed_nor_cut(is_near: bool) -> None:
    """20 MB each way, by as many calls at once as it may; from elsewhere it pays for each byte, as if by a network."""
    own = Methods()
    own.method(name="echo")(lambda value: value)
    limits = Limits(governance=Governance() if is_near else Governance(bw_cost_per_byte=1e-5))
    async with serve(own, "tcp://127.0.0.1:0", limits=limits) as server, connect(server.url) as client:
        text = "x" * 100_000
        for _ in range(4):
            assert [await call for call in [client.send_request("echo", [text]) for _ in range(50)]] == [text] * 50
        [session] = server.sessions
        assert session._engine is not None
        machine = session._engine.machine
        assert (machine.is_strained, machine.delay, machine.concurrency) == (False, 0, 20)
        [group] = server.costs()
        assert group.cost == pytest.approx(0 if is_near else 400, abs=20)  # of 2000 that are free


async def test_by_default_servers_are_governed_and_clients_are_not() -> None:
    async with pair(methods, client_methods=methods) as both:
        assert both.peer.limits.governance.hard_limit == 10_000
        both.client.bump_cost(1e9)
        assert await both.client.call("add", 1, 2) == 3
        assert both.client.stats.cost == pytest.approx(1e9)


# --- the soft limit --------------------------------------------------------------------------------------------------


@pytest.mark.row("H56")
async def test_over_the_soft_limit_requests_are_delayed_and_fewer_run_at_once() -> None:
    own = Methods()
    running = most = 0

    @own.method
    async def work(session: ServerSession) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await aio.sleep(0)
        running -= 1

    limits = limited(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=0.2, initial_concurrent=4)
    async with pair(own, limits=limits) as both:
        both.peer.bump_cost(500)
        start = aio.now()
        for call in [both.client.send_request("work") for _ in range(8)]:
            await call
        # Each waits for 0.1 s, two at a time.
        assert aio.now() - start >= 0.4
        assert most <= 2
        both.peer.bump_cost(-500)
        both.peer.recalc_concurrency()
        assert both.peer._engine is not None
        assert both.peer._engine.machine.is_direct
        assert both.peer.stats.running == 0


async def test_plain_handlers_are_delayed_in_order_as_well() -> None:
    own = Methods()
    seen: list[int] = []
    own.method(name="see")(seen.append)

    limits = limited(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=0.02)
    async with pair(own, limits=limits) as both:
        both.peer.bump_cost(900)
        for number in range(10):
            both.client.send_notification("see", [number])
        await until(lambda: len(seen) == 10)
        assert seen == [*range(10)]


async def test_handlers_that_had_to_wait_for_a_place_are_forgotten_when_they_end() -> None:
    names = Methods()

    @names.method
    async def slow() -> None:
        await turns()

    async with pair(names, limits=Limits(governance=Governance(initial_concurrent=2))) as both:
        await aio.gather(*(both.client.call("slow") for _ in range(50)))
        await until(lambda: not both.peer.stats.running)
        assert not handles_of(both.peer)


def handles_of(session: ServerSession) -> list[object]:
    """Return the handlers whose time is counted."""
    tasks = cast("Any", session)._connected().handling
    return list(tasks._ages or ())


async def test_closing_waits_for_what_is_delayed() -> None:
    limits = limited(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=0.1)
    async with pair(methods, limits=limits) as both:
        both.peer.bump_cost(900)
        call = both.client.send_request("add", [1, 2])
        await until(lambda: both.peer.stats.running)
        await both.peer.aclose()
        assert await call == 3


async def test_what_waits_is_forgotten_when_the_connection_breaks() -> None:
    limits = limited(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=60)
    async with serve(methods, TCP_URL, limits=limits) as server, raw_client(server) as peer:
        await until(lambda: server.sessions)
        sessions: list[Any] = [*server.sessions]
        sessions[0].bump_cost(900)
        peer.send({"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1})
        await until(lambda: sessions[0].stats.running)
        peer.reset()
        await sessions[0].wait_closed()
        assert sessions[0].stats.running == 0
        link = weakref.ref(sessions.pop()._engine.link)
        await turns()
        gc.collect()
        assert link() is None  # though the delay would go on for a minute


# --- how many run at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [-1, 0, 1])
async def test_initial_concurrent(by: int) -> None:
    own = Methods()
    gate = aio.Event()
    entered: list[int] = []

    @own.method
    async def enter(number: int) -> int:
        entered.append(number)
        await gate.wait()
        return number

    own.method(name="add")(lambda a, b: a + b)
    async with pair(own, limits=limited(initial_concurrent=5)) as both:
        calls = [both.client.send_request("enter", [number]) for number in range(5 + by)]
        behind = both.client.send_request("add", [1, 2])
        await until(lambda: len(entered) >= min(5, 5 + by))
        await until(lambda: both.peer.stats.running >= 5 + by)
        if by < 0:
            assert await behind == 3  # there is a place
        await turns(20)
        assert entered == [*range(min(5, 5 + by))]
        assert behind.done() is (by < 0)
        gate.set()
        assert [await call for call in calls] == [*range(5 + by)]
        assert await behind == 3
        assert both.peer._engine is not None
        assert both.peer._engine.machine.is_direct


async def test_members_of_a_batch_take_turns_as_well() -> None:
    own = Methods()
    running = most = 0

    @own.method
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await aio.sleep(0)
        running -= 1

    async with pair(own, limits=limited(initial_concurrent=5)) as both, both.client.batch() as batch:
        for _ in range(50):
            batch.add_request("work")
    assert list(batch.results) == [None] * 50
    assert most <= 5


@pytest.mark.row("S10")
async def test_handlers_that_call_each_other_across_the_connection_do_not_stand_still() -> None:
    server_methods, client_methods = Methods(), Methods()

    @server_methods.method
    async def down(session: ServerSession, depth: int) -> int:
        return int(await session.call("up", depth - 1)) if depth else 0

    @client_methods.method
    async def up(session: ClientSession, depth: int) -> int:
        return 1 + int(await session.call("down", depth))

    few = limited(initial_concurrent=2)
    async with pair(server_methods, client_methods=client_methods, limits=few, client_limits=few) as both:
        assert await both.client.call("down", 20) == 20


@pytest.mark.row("S10")
async def test_a_handler_that_begins_to_call_makes_room_for_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LOOK_AGAIN", 0.05)
    server_methods, client_methods = Methods(), Methods()
    go = aio.Event()

    @server_methods.method
    async def ask(session: ServerSession) -> Any:
        await go.wait()
        return await session.call("answer")

    told = aio.Event()
    server_methods.method(name="tell")(told.set)

    @client_methods.method
    async def answer() -> str:
        await told.wait()
        return "told"

    async with pair(server_methods, client_methods=client_methods, limits=limited(initial_concurrent=1)) as both:
        call = both.client.send_request("ask")
        both.client.send_notification("tell")  # waits for its turn, and the answer for it
        await until(lambda: both.peer.stats.running == 2)
        go.set()
        assert await aio.wait_for(call, 20) == "told"


async def test_places_that_there_were_for_the_sake_of_calls_are_gone_with_them() -> None:
    server_methods, client_methods = Methods(), Methods()
    told, leave = aio.Event(), aio.Event()
    entered: list[int] = []

    @server_methods.method
    async def ask(session: ServerSession) -> Any:
        await turns(1)
        return await session.call("answer")

    @server_methods.method
    async def enter(number: int) -> None:
        entered.append(number)
        await leave.wait()

    @client_methods.method
    async def answer() -> str:
        await told.wait()
        return "told"

    async with pair(server_methods, client_methods=client_methods, limits=limited(initial_concurrent=1)) as both:
        call = both.client.send_request("ask")
        await until(lambda: both.peer.stats.pending)
        for number in range(2):
            both.client.send_notification("enter", [number])
        await until(lambda: len(entered) == 2)
        told.set()
        assert await call == "told"
        both.client.send_notification("enter", [2])
        await until(lambda: both.peer.stats.running == 3)
        await turns(20)
        assert entered == [0, 1]
        leave.set()
        await until(lambda: entered == [0, 1, 2])


@pytest.mark.parametrize("is_call", [True, False])
async def test_processing_timeout_of_those_that_wait_for_their_turn(is_call: bool) -> None:
    own = Methods()

    @own.method
    async def hang() -> None:
        await aio.Event().wait()

    limits = limited(initial_concurrent=1, processing_timeout=0.2)
    async with pair(own, limits=limits) as both:
        first = both.client.send_request("hang")
        if is_call:
            second = both.client.send_request("hang")
            with pytest.raises(RPCError) as caught:
                await second
            assert caught.value.code == -102
            assert "to wait for a handler" in str(caught.value)
        else:
            both.client.send_notification("hang")
        with pytest.raises(RPCError):
            await first
        await until(lambda: not both.peer.stats.running)


async def test_a_request_that_waits_can_be_taken_back() -> None:
    own = Methods()
    gate = aio.Event()

    @own.method
    async def hang() -> str:
        await gate.wait()
        return "done"

    async with pair(own, limits=limited(initial_concurrent=1), dialect=dialects.lsp) as both:
        first = both.client.send_request("hang")
        second = both.client.send_request("hang")
        await until(lambda: both.peer.stats.running == 2)
        second.cancel()
        await until(lambda: both.peer.stats.running == 1)
        assert both.peer.stats.cost == 0
        gate.set()
        assert await first == "done"


# --- sessions of messages --------------------------------------------------------------------------------------------


@pytest.mark.row("S14", "H56")
async def test_message_sessions_are_governed_as_well(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Node, limits=limited()) as server:
        async with connect(server.url, session_factory=Node) as client:
            peer = await the_peer(server)
            await client.send_message(PING)
            await until(lambda: client.seen)
            peer.bump_cost(1001)
            await client.wait_closed()
            assert isinstance(peer.close_reason, ExcessiveResourceUsage)
        async with connect(server.url, session_factory=Node) as again:
            await again.wait_closed()
    assert "is cut" in caplog.records[0].getMessage()


@pytest.mark.row("S14")
async def test_messages_take_turns() -> None:
    gate = aio.Event()

    class Slow(Node):
        async def handle_message(self, message: Any) -> None:
            self.seen.append(message)
            await gate.wait()

    async with (
        served(Slow, limits=limited(initial_concurrent=3)) as server,
        connect(server.url, session_factory=Node) as client,
    ):
        peer = await the_peer(server)
        for _ in range(10):
            await client.send_message(PING)
        await until(lambda: peer.stats.running == 10 and len(peer.seen) == 3)
        await turns(20)
        assert len(peer.seen) == 3
        gate.set()
        await until(lambda: len(peer.seen) == 10 and not peer.stats.running)


@pytest.mark.row("S14")
async def test_messages_are_delayed_and_none_is_lost_when_the_peer_ends() -> None:
    limits = limited(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=0.05)
    async with served(Node, limits=limits) as server:
        async with connect(server.url, session_factory=Node) as client:
            peer = await the_peer(server)
            peer.bump_cost(900)
            for _ in range(10):
                await client.send_message((b"note", b""))
        await peer.wait_closed()
        assert len(peer.seen) == 10


@pytest.mark.row("S14")
async def test_messages_that_wait_too_long_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Node):
        async def handle_message(self, message: Any) -> None:
            try:
                await aio.Event().wait()
            finally:
                await aio.sleep(0)

    limits = limited(initial_concurrent=1, processing_timeout=0.1)
    async with served(Slow, limits=limits) as server, connect(server.url, session_factory=Node) as client:
        peer = await the_peer(server)
        for _ in range(3):
            await client.send_message(PING)
        await until(lambda: peer.stats.messages_in == 3)
        await until(lambda: not peer.stats.running)
        assert peer.stats.errors >= 2


def test_the_value_is_public() -> None:
    assert tieline.Governance is Governance
