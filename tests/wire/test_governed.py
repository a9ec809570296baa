# SPDX-License-Identifier: MIT
"""wire/governed.py: what the machines of calls and of messages have their peers pay for, and how it ends."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, connection
from tests.wire.jsonrpc.tables import batch, call, line, note
from tests.wire.message_machines import all_events, is_smooth, machine_of, messages, state_of
from tieline import BitcoinFramer
from tieline.errors import ExcessiveResourceUsage, RemoteProtocolError, RPCError
from tieline.wire import governed as governed_machines
from tieline.wire.governance import Account, Governance
from tieline.wire.governed import MOST_KNOWN
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.events import ProtocolViolation
from tieline.wire.jsonrpc.protocols import JSONRPCv1
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.messages import MessageConnection
from tieline.wire.states import State

pytestmark = pytest.mark.row("S11")

EXCESSIVE = -101


def governed(**policy: Any) -> Governance:
    """Return a policy without decay, in which only errors cost, unless *policy* says otherwise."""
    return Governance(
        **{"cost_soft_limit": 1000, "cost_hard_limit": 1000, "cost_decay_per_sec": 0, "bw_cost_per_byte": 0, **policy}
    )


def driver_of(policy: Governance, **limits: Any) -> Driver:
    return Driver(connection(governance=policy, max_errors=None, **limits))


def codes(driver: Driver) -> list[Any]:
    """Return the error codes of the answers so far; a result is None."""
    return [None if reply[0] == "=" else reply[0] for reply in driver.seen.replies]


def smooth(machine: Connection) -> bool:  # asked by a function: see tests/wire/message_machines.py
    return machine.is_smooth


def test_policies_that_are_gone_are_not_taken_for_others() -> None:
    for number in range(1, 3 * MOST_KNOWN):
        machine = connection(governance=Governance(bw_cost_per_byte=1.0 / number, error_base_cost=0))
        machine.bytes_received += number * number
        assert machine.cost(0.0) == pytest.approx(number)
        assert len(governed_machines._known) <= MOST_KNOWN


# --- what costs how much ---------------------------------------------------------------------------------------------

BROKEN = b"{broken\n"
COSTS: list[tuple[str, bytes, float]] = [
    ("a call", call("1") + b"\n", 0),
    ("no JSON", BROKEN, 1000),
    ("invalid UTF-8", b'"\xff"\n', 1000),
    ("no request", b"5\n", 100),
    ("bad parameters", b'{"jsonrpc":"2.0","method":"echo","params":5,"id":1}\n', 100),
    ("an unknown method of 300 characters", call("1", "x" * 300) + b"\n", 100),
    ("an empty batch", b"[]\n", 100),
    ("a batch of three bad members", b"[1,2,3]\n", 300),
    ("a response to nothing", b'{"jsonrpc":"2.0","result":1,"id":7}\n', 100),
    ("blank lines", b"\n" * 1000, 0),
    ("too long a line", b"x" * 2000 + b"\n", 1000),
    ("HTTP", b"GET / HTTP/1.1\r\n", 1000),
    ("TLS", b"\x16\x03\x01\n", 1000),
]


@pytest.mark.parametrize(("name", "wire", "cost"), COSTS)
@pytest.mark.parametrize("is_split", [False, True])
def test_what_a_message_costs(name: str, wire: bytes, cost: float, is_split: bool) -> None:
    driver = driver_of(governed(cost_hard_limit=1e6), max_message=1500)
    for piece in [wire[:3], wire[3:]] if is_split else [wire]:
        driver.feed(piece)
    assert driver.machine.cost(0) == cost, name


@pytest.mark.row("H7")
def test_bytes_cost_both_ways_blank_lines_included() -> None:
    driver = driver_of(Governance(bw_cost_per_byte=2.0, cost_decay_per_sec=0))
    driver.feed(b"\n" * 100)
    assert driver.machine.cost(0) == 200
    request = line(call("1"))
    driver.feed(request)
    assert driver.machine.cost(0) == 2.0 * (100 + len(request) + len(driver.sent))


def test_errors_of_handlers_cost_and_those_that_say_more_cost_more() -> None:
    driver = driver_of(governed(cost_hard_limit=1e6))
    driver.feed(line(call("1", "hold"), call("2", "hold"), call("3", "hold")))
    for request, error, costs in zip(
        driver.held,
        [RPCError(1, "no"), RPCError(1, "no", cost=7.5), RPCError(1, "no")],
        [True, True, False],
        strict=True,
    ):
        driver.machine.fail(request, error, costs=costs)
    assert driver.machine.cost(0) == 207.5


@pytest.mark.parametrize("cost", ["abc", None, True, nan, inf, -inf, 10**400])
def test_a_cost_that_was_set_behind_the_constructor_and_is_no_number_counts_as_none(cost: Any) -> None:
    driver = driver_of(governed(cost_hard_limit=1e6))
    driver.feed(line(call("1", "hold")))
    error = RPCError(1, "no")
    error.cost = cost
    problem = driver.machine.fail(driver.held[0], error)
    assert isinstance(problem, (TypeError, ValueError))
    assert str(problem).startswith("cost must be a ")
    driver.flush()
    assert codes(driver) == [1]  # and it is answered all the same
    assert driver.machine.cost(0) == 100


def test_a_refusal_because_this_side_is_busy_costs_nothing() -> None:
    driver = Driver(connection(governance=governed(), max_pending=1), calls=1)
    driver.feed(line(call("1", "hold"), call("2", "hold")))
    driver.run()
    assert codes(driver) == [-102]
    assert driver.machine.cost(0) == 0


def test_cost_is_forgiven() -> None:
    driver = driver_of(governed(cost_decay_per_sec=10, cost_hard_limit=1e6))
    driver.feed(b"5\n")
    driver.feed(line(call("1")))  # which has it charged
    assert [driver.machine.cost(now) for now in (0, 4, 100)] == [100, 60, 0]


# --- the hard limit --------------------------------------------------------------------------------------------------


@pytest.mark.row("H56")
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_cost_hard_limit(by: int) -> None:
    driver = driver_of(governed())
    for _ in range(10 + by):
        driver.feed(b"5\n")
    driver.feed(line(call('"last"')))
    over = by > 0
    assert codes(driver)[: 10 + by] == [-32600] * (10 + by)
    assert codes(driver)[10 + by :] == ([EXCESSIVE] if over else [None])
    assert (driver.machine.state > State.OPEN) is over
    if over:
        assert driver.seen.replies[-1] == [EXCESSIVE, None]
        reason = driver.machine.close_reason
        assert isinstance(reason, ExcessiveResourceUsage)
        assert str(reason) == "excessive resource usage (cost 1100, limit 1000)"
        assert (reason.cost, reason.limit) == (1100, 1000)


@pytest.mark.row("H56")
@pytest.mark.parametrize("costs", [999, 1000, 1001])
@pytest.mark.parametrize("is_draining", [False, True])
def test_errors_of_handlers_that_are_too_much_need_no_next_read(costs: float, is_draining: bool) -> None:
    driver = driver_of(governed(error_base_cost=0))
    driver.feed(line(call("1", "hold"), call("2", "hold")))
    if is_draining:
        driver.machine.close()
    driver.machine.fail(driver.held[0], RPCError(1, "no", cost=costs))
    assert driver.machine.has_more is (costs > 1000)
    driver.run()
    assert codes(driver) == ([1, EXCESSIVE] if costs > 1000 else [1])
    driver.machine.charge(5000)
    assert driver.machine.has_more is (costs <= 1000)  # not once it has ended


@pytest.mark.row("S14", "H56")
@pytest.mark.parametrize("cost", [999, 1001])
def test_damaged_messages_that_are_too_much_need_no_next_read(cost: float) -> None:
    machine = of_messages(error_base_cost=cost)
    events = all_events(machine, damaged())
    assert len(events) == (cost > 1000)
    machine.charge(-2000)  # given back before it is looked at
    assert not machine.has_more


@pytest.mark.row("H56")
@pytest.mark.parametrize("size", [1, 5, 64, 300])
def test_300_parse_errors_in_reads_of_any_size_reach_the_hard_limit(size: int) -> None:
    driver = Driver(connection(governance=Governance(), max_errors=None))
    for _ in range(300 // size):
        driver.feed(BROKEN * size)
    assert codes(driver)[-1] == EXCESSIVE
    assert len(codes(driver)) <= 1 + 11 + 64
    assert driver.machine.state is State.LINGERING


@pytest.mark.row("H56")
@pytest.mark.parametrize("is_parked", [False, True])
def test_the_hard_limit_holds_while_all_slots_are_busy(is_parked: bool) -> None:
    driver = driver_of(governed(), max_pending=3)
    driver.feed(line(*[call(str(number), "hold") for number in range(3 if is_parked else 2)]))
    assert driver.machine.wants_data is not is_parked
    driver.machine.charge(1001)  # one of the handlers says so
    driver.handle(driver.machine.check_cost(0))
    driver.flush()
    assert codes(driver) == [EXCESSIVE]
    assert driver.machine.state is State.LINGERING
    assert driver.machine.unanswered == 0


@pytest.mark.row("H56")
def test_what_was_read_behind_is_thrown_away() -> None:
    driver = driver_of(governed())
    events = driver.machine.receive_data(line(*[call(str(number)) for number in range(100)]), 0)
    assert len(events) == 64
    driver.machine.charge(5000)
    last = driver.machine.check_cost(0)
    assert [type(event) for event in last] == [ProtocolViolation]
    assert not driver.machine.has_more
    assert driver.machine.check_cost(0) == ()  # once is enough


@pytest.mark.row("H56")
@pytest.mark.parametrize("by", [0, 1])
def test_bytes_alone_reach_the_hard_limit(by: int) -> None:
    driver = driver_of(governed(bw_cost_per_byte=1, error_base_cost=0))
    driver.machine.is_smooth = True
    for _ in range(10):
        driver.feed(b"\n" * 100)
    driver.feed(b"\n" * by)
    assert (codes(driver) == [EXCESSIVE]) is bool(by)


@pytest.mark.row("H56")
@pytest.mark.parametrize("count", [1, 2])
def test_plain_messages_that_nothing_is_said_to_reach_the_hard_limit_too(count: int) -> None:
    machine = connection(governance=governed(bw_cost_per_byte=1))
    data = line(*[note()] * count)
    while machine.state is State.OPEN:
        for event in machine.receive_data(data, 0.0):
            if isinstance(event, Request):
                machine.reply(event, None)
        assert machine.bytes_received < 1500
    assert isinstance(machine.close_reason, ExcessiveResourceUsage)


@pytest.mark.row("H56")
def test_bytes_that_it_was_sent_count_when_it_asks_again() -> None:
    driver = driver_of(governed(bw_cost_per_byte=0.001, cost_soft_limit=50, cost_hard_limit=50))
    driver.feed(line(call("1")))
    assert smooth(driver.machine)
    driver.machine.send_notification("news", ["x" * 60_000])
    driver.flush()
    driver.machine.sent_much()
    assert not smooth(driver.machine)
    driver.feed(line(call("2")))
    assert codes(driver) == [None, EXCESSIVE]


@pytest.mark.row("H56")
def test_long_output_is_looked_at_before_the_peer_has_said_much() -> None:
    driver = driver_of(governed(bw_cost_per_byte=0.001))
    driver.machine.bytes_sent += 2_000_000
    driver.feed(b"\n")  # looks go by what comes in, and that is little
    assert codes(driver) == []
    driver.machine.sent_much()
    driver.feed(b"\n")
    assert codes(driver) == [EXCESSIVE]


def test_plain_traffic_is_looked_at_now_and_then_and_stays_smooth() -> None:
    driver = driver_of(governed(bw_cost_per_byte=0.01, cost_hard_limit=10_000))
    for number in range(300):
        driver.feed(line(call(str(number))))
    assert driver.machine.meter is not None
    assert driver.machine.cost(0) == pytest.approx((driver.machine.bytes_received + len(driver.sent)) * 0.01)


@pytest.mark.parametrize(("is_spared", "after"), [(False, [4000, 8000]), (True, [])])
def test_an_account_is_not_looked_at_with_each_read(is_spared: bool, after: list[int]) -> None:
    driver = driver_of(governed(bw_cost_per_byte=0.01, cost_soft_limit=1e6, cost_hard_limit=1e6))  # 3052 bytes a look
    machine = driver.machine
    if is_spared:
        machine.spare_bytes()
    machine.look_again()
    assert machine.check_cost(0) == ()
    assert machine.meter is not None
    looks: list[int] = []

    def look() -> float:
        looks.append(machine.bytes_received)
        return 0.0

    machine.meter.extra = look
    for _ in range(10):
        driver.feed(b"\n" * 1000)
    assert looks == after


def test_bytes_that_do_not_leave_the_machine_cost_nothing() -> None:
    driver = driver_of(governed(bw_cost_per_byte=1))
    driver.machine.spare_bytes()
    driver.machine.sent_much()
    driver.feed(b"\n" * 5000)
    assert driver.machine.meter is None  # there was nothing to be looked at
    driver.machine.check_cost(0)
    assert (driver.machine.cost(0), driver.machine.state) == (0, State.OPEN)


@pytest.mark.row("H56")
def test_a_connection_that_drains_pays_as_well() -> None:
    driver = driver_of(governed())
    driver.feed(line(call("1", "hold")))
    driver.machine.close()
    for _ in range(11):
        driver.feed(b"5\n")
    driver.feed(b"5\n")
    assert codes(driver)[-1] == EXCESSIVE


def test_dialled_peers_pay_and_are_never_cut() -> None:
    driver = Driver(connection(accepted=False, max_errors=None))
    for _ in range(100):
        driver.feed(b'{"jsonrpc":"2.0","method":5,"id":1}\n')
    assert driver.machine.cost(0) == pytest.approx(100 * 100, abs=1)
    assert driver.machine.state is State.OPEN


def test_a_connection_of_1_0_is_told_in_its_own_words() -> None:
    driver = Driver(connection(JSONRPCv1, governance=governed()))
    driver.machine.charge(2000)
    driver.handle(driver.machine.check_cost(0))
    driver.flush()
    assert codes(driver) == [EXCESSIVE]


# --- between the limits ----------------------------------------------------------------------------------------------


@pytest.mark.row("H56")
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_cost_soft_limit(by: int) -> None:
    driver = driver_of(governed(cost_soft_limit=100, cost_hard_limit=200, cost_decay_per_sec=1))
    driver.feed(line(call("1")))
    driver.machine.charge(100 + by)
    driver.feed(line(call("2")))
    machine = driver.machine
    assert (machine.is_strained, machine.is_direct, smooth(machine)) == ((by > 0), (by <= 0), (by <= 0))
    assert (machine.delay > 0) is (by > 0)
    driver.now = 200  # all is forgiven
    driver.feed(line(call("3")))
    assert (machine.is_strained, machine.delay, smooth(machine)) == (False, 0, True)
    assert codes(driver) == [None] * 3


def test_a_batch_is_looked_at_as_a_whole() -> None:
    driver = driver_of(governed())
    driver.feed(batch(*[b"5"] * 11) + b"\n")
    assert driver.seen.replies[0] == [[-32600, None]] * 11
    assert codes(driver)[1:] == [EXCESSIVE]


def test_how_many_handlers_run_at_once() -> None:
    driver = Driver(connection(governance=governed(cost_soft_limit=0, initial_concurrent=8)))
    assert (driver.machine.concurrency, driver.machine.delay) == (8, 0)
    driver.machine.charge(500)
    driver.machine.check_cost(0)
    assert driver.machine.concurrency == 4
    calling = Driver(connection(governance=governed(initial_concurrent=8)), calls=1)
    assert calling.machine.concurrency == inf
    calling.machine.charge(5)
    calling.machine.check_cost(0)  # the peer is not strained
    assert calling.machine.concurrency == inf
    assert Driver(connection(governance=governed(initial_concurrent=None))).machine.concurrency == inf
    assert machine_of(governance=governed(initial_concurrent=3)).concurrency == 3


# --- groups ----------------------------------------------------------------------------------------------------------


class Shared:
    def __init__(self, policy: Governance) -> None:
        self.one = Account(policy.resolved(accepted=True), 0)
        self.alarms = 0

    def account(self, now: float) -> Account | None:
        return self.one

    def alarm(self) -> None:
        self.alarms += 1


@pytest.mark.row("H56")
def test_cost_survives_a_reconnect() -> None:
    policy = governed(cost_decay_per_sec=1)
    shared = Shared(policy)
    seen = []
    for now in (0.0, 1.0, 2.0):
        driver = driver_of(policy)
        driver.now = now
        driver.machine.group = shared
        for _ in range(6):
            driver.feed(b"5\n")
        assert driver.machine.settle_account(now) is None or driver.machine.state is State.LINGERING
        driver.machine.connection_lost(None)
        seen.append(EXCESSIVE in codes(driver))
    assert seen == [False, True, True]
    assert shared.one.cost(2000) == 0


def test_what_others_have_cost_is_told_before_there_is_a_meter_and_after() -> None:
    policy = governed()
    alone = driver_of(policy).machine
    assert alone.group_share(0) == 0
    shared = Shared(policy)
    shared.one.charge(300, 0)
    machine = driver_of(policy).machine
    machine.group = shared
    assert machine.group_share(0) == 300
    machine.charge(50)
    machine.check_cost(0)
    assert (machine.group_share(0), machine.cost(0)) == (300, 50)


def test_a_group_without_an_account_stands_for_itself() -> None:
    class Unknown:
        def account(self, now: float) -> Account | None:
            return None

        def alarm(self) -> None: ...

    driver = driver_of(governed())
    driver.machine.group = Unknown()
    driver.feed(b"5\n5\n")
    assert driver.machine.cost(0) == 200


@pytest.mark.parametrize(("is_excessive", "code"), [(False, -102), (True, EXCESSIVE)])
def test_a_connection_is_turned_away_with_the_code_for_it(is_excessive: bool, code: int) -> None:
    driver = driver_of(governed())
    driver.handle(driver.machine.turn_away("no", 0, is_excessive=is_excessive))
    driver.flush()
    assert codes(driver) == [code]


# --- messages without replies ----------------------------------------------------------------------------------------


def of_messages(**policy: Any) -> MessageConnection:
    return machine_of(BitcoinFramer(), governance=governed(**policy), max_errors=None)


def framed(*pairs: tuple[bytes, bytes]) -> bytes:
    return BitcoinFramer().frame(pairs)


def damaged() -> bytes:
    return framed((b"ping", b"12345678"))[:-1] + b"?"


@pytest.mark.row("S14", "H56")
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_cost_hard_limit_of_messages(by: int) -> None:
    machine = of_messages()
    last = []
    for _ in range(10 + by):
        last += all_events(machine, damaged())
    last += all_events(machine, framed((b"ping", b"1")))
    if by > 0:
        [error] = messages(last)
        assert isinstance(error, ExcessiveResourceUsage)
        assert machine.close_reason is error
        assert state_of(machine) is State.FINISHED
        assert machine.check_cost(1) == []
    else:
        assert messages(last) == [(b"ping", b"1")]


@pytest.mark.row("S14")
def test_bytes_of_messages_cost_both_ways() -> None:
    machine = of_messages(bw_cost_per_byte=1, cost_soft_limit=1e9, cost_hard_limit=1e9)
    data = framed((b"ping", b"x" * 10_000))
    all_events(machine, data)
    assert is_smooth(machine)
    machine.send_message((b"pong", b"x" * 20_000))
    sent = machine.data_to_send()
    machine.sent_much()
    assert not is_smooth(machine)
    assert machine.cost(1) == len(data) + len(sent)
    all_events(machine, framed((b"ping", b"")))
    assert is_smooth(machine)


@pytest.mark.row("S14")
def test_messages_are_strained_between_the_limits() -> None:
    machine = of_messages(cost_soft_limit=100, cost_hard_limit=200, cost_decay_per_sec=1)
    machine.charge(150)
    all_events(machine, framed((b"ping", b"")), now=0.0)
    assert (machine.is_strained, machine.is_direct, is_smooth(machine)) == (True, False, False)
    all_events(machine, framed((b"ping", b"")), now=200.0)
    assert (machine.is_strained, is_smooth(machine)) == (False, True)


@pytest.mark.row("S14", "H56")
@pytest.mark.parametrize("amount", [1000, 1001])
def test_what_a_handler_of_messages_says_is_looked_at_at_once(amount: float) -> None:
    machine = of_messages()
    machine.charge(amount)
    events = machine.check_cost(1)
    assert len(events) == (amount > 1000)


@pytest.mark.row("S14", "H56")
def test_a_read_of_messages_behind_what_was_too_much_is_not_looked_at() -> None:
    machine = of_messages()
    machine.charge(1001)
    [error] = messages(machine.receive_data(framed((b"ping", b"")), 1))
    assert isinstance(error, ExcessiveResourceUsage)
    assert machine.messages_received == 0
    assert machine.max_calls == 1000  # if there were calls


@pytest.mark.row("S14", "H56")
def test_what_was_forgiven_meanwhile_does_not_count() -> None:
    policy = {"cost_decay_per_sec": 1, "cost_soft_limit": 1000}
    driver, machine = driver_of(governed(**policy)), of_messages(**policy)
    for one in (driver.machine, machine):
        one.charge(900)
        assert not one.check_cost(0)
        one.charge(200)
        looks = [one.has_more]  # as far as is known it is too much
        assert not one.next_events(2000)
        looks.append(one.has_more)
        assert looks == [True, False]
        assert one.cost(2000) == 200


@pytest.mark.row("S14")
def test_broken_framing_is_paid_for() -> None:
    machine = of_messages()
    all_events(machine, b"what is this?" * 10)
    assert machine.cost(1) == 1000


# --- bytes between two looks -----------------------------------------------------------------------------------------


def subscriber(policy: Governance, shared: Shared | None = None) -> Driver:
    """Return a connection that stands since 0 and asks nothing after its first call."""
    driver = driver_of(policy)
    driver.machine.group = shared
    driver.machine.start(0)
    driver.feed(line(call("1")))
    return driver


@pytest.mark.row("H56")
@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0])
def test_a_slow_flow_is_forgiven_as_it_comes_however_seldom_it_is_looked_at(rate: float) -> None:
    policy = governed(cost_decay_per_sec=1, bw_cost_per_byte=1)
    driver = subscriber(policy)
    assert driver.machine.settle_account(0) is None
    before = driver.machine.cost(0)
    driver.machine.bytes_sent += int(1000 * rate)  # within 1000 seconds, when it asks again
    cut = driver.machine.settle_account(1000)
    assert driver.machine.cost(1000) == max(0, min(1250, before + 1000 * rate - 1000))
    assert (cut is not None) is (rate > 2)


@pytest.mark.row("H56")
def test_a_flow_is_forgiven_for_the_time_since_the_last_look_and_no_longer() -> None:
    policy = governed(cost_decay_per_sec=1, bw_cost_per_byte=1)
    shared = Shared(policy)
    machine = subscriber(policy, shared).machine
    machine.settle_account(900)
    machine.bytes_sent += 500
    machine.settle_account(1000)
    assert (machine.cost(1000), shared.one.cost(1000)) == (400, 400)


@pytest.mark.row("H56")
def test_it_owes_until_the_account_is_settled() -> None:
    driver = subscriber(governed(bw_cost_per_byte=1))
    told = [driver.machine.owes]
    driver.machine.settle_account(0)
    told.append(driver.machine.owes)
    driver.machine.charge(1)
    told.append(driver.machine.owes)
    assert told == [True, False, True]


@pytest.mark.row("H56")
def test_what_is_no_flow_is_not_forgiven_for_the_time_before_it() -> None:
    driver = subscriber(governed(cost_decay_per_sec=1))
    driver.machine.settle_account(0)
    driver.machine.charge(900)
    driver.machine.settle_account(10_000)
    assert driver.machine.cost(10_000) == 900


@pytest.mark.row("H56")
@pytest.mark.parametrize("rate", [0.4, 0.9])
def test_slow_flows_of_a_group_are_forgiven_together_and_only_once(rate: float) -> None:
    policy = governed(cost_decay_per_sec=1, bw_cost_per_byte=1)
    shared = Shared(policy)
    both = [subscriber(policy, shared).machine for _ in range(2)]
    for machine in both:
        machine.settle_account(0)
    for now in (1000, 2000, 3000):
        for machine in both:
            machine.bytes_sent += int(1000 * rate)
            machine.settle_account(now)
    assert shared.one.cost(3000) == (0 if rate < 0.5 else 1250)  # together they cost 0.8 a second, or 1.8


@pytest.mark.row("H56")
def test_a_slow_flow_is_forgiven_as_well_while_another_of_its_group_pays() -> None:
    policy = governed(cost_decay_per_sec=1, bw_cost_per_byte=1)
    shared = Shared(policy)
    slow, busy = (subscriber(policy, shared).machine for _ in range(2))
    for now in range(0, 3000, 10):
        busy.charge(1)
        busy.settle_account(now)
    slow.bytes_sent += 2000
    assert slow.settle_account(3000) is None
    assert shared.one.cost(3000) == 0


@pytest.mark.row("H56")
def test_the_first_flow_is_forgiven_from_when_the_connection_stood() -> None:
    policy = {"cost_decay_per_sec": 1, "bw_cost_per_byte": 1}
    calls, packets = driver_of(governed(**policy)).machine, of_messages(**policy)
    for machine in (calls, packets):
        machine.start(0)
        machine.bytes_sent += 5000
        assert machine.settle_account(5000) is None
        assert machine.cost(5000) == 0


def test_a_foreign_protocol_costs_where_messages_are_expected_as_well() -> None:
    machine = machine_of(governance=governed())
    machine.receive_data(b"\x16\x03\x01", 0)
    assert machine.cost(0) == 1000


@pytest.mark.row("H56")
@pytest.mark.parametrize(
    ("error", "cost"), [(RemoteProtocolError("odd"), 1000), (ConnectionResetError(), 0), (None, 0)]
)
def test_what_the_peer_has_broken_below_costs_as_a_fault_of_the_framing(error: Exception | None, cost: float) -> None:
    calls, packets = driver_of(governed()).machine, machine_of(governance=governed())
    calls.connection_lost(error)
    packets.connection_lost(error)
    assert (calls.cost(0), packets.cost(0)) == (cost, cost)


@pytest.mark.row("H56")
def test_others_of_the_group_are_told_when_it_comes_over_the_soft_limit() -> None:
    policy = governed(cost_soft_limit=100, cost_hard_limit=200, cost_decay_per_sec=1)
    shared = Shared(policy)
    driver = driver_of(policy)
    driver.machine.group = shared
    seen = []
    for cost, now in [(100, 0), (1, 0), (50, 0), (0, 51), (1, 51), (5, 51), (0, 300), (150, 300)]:
        driver.machine.charge(cost)
        driver.machine.settle_account(now)
        seen.append(shared.alarms)
    assert seen == [0, 1, 1, 1, 2, 2, 2, 3]
    other = driver_of(policy)
    other.machine.group = shared
    other.feed(line(call("1")))
    other.machine.spare_bytes()
    assert (smooth(other.machine), other.machine.is_strained) == (True, False)
    other.machine.look_again()
    other.now = 300
    other.feed(line(call("2")))
    assert (smooth(other.machine), other.machine.is_strained) == (False, True)
