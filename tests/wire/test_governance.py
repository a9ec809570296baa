# SPDX-License-Identifier: MIT
"""wire/governance.py: the policy, accounts of connections and groups, and what the meter decides from them."""

from __future__ import annotations

from dataclasses import asdict
from math import inf
from typing import Any

import pytest

from tests.ids import plain_repr
from tieline.wire import governance
from tieline.wire.default import DEFAULT
from tieline.wire.governance import Account, Accounts, Governance, Meter
from tieline.wire.limits import Limits

pytestmark = pytest.mark.row("S11")

POLICY = Governance().resolved(accepted=True)
ROUND = Governance(cost_soft_limit=100, cost_hard_limit=200, cost_decay_per_sec=1).resolved(accepted=True)


# --- the policy ------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_documented_ones() -> None:
    told = {name: value for name, value in asdict(Governance()).items() if value is not DEFAULT}
    assert told == {
        "cost_soft_limit": 2000,
        "cost_sleep": 2,
        "error_base_cost": 100,
        "initial_concurrent": 20,
        "target_response_time": 3,
        "group": None,
    }


def test_what_defaults_become_on_accepted_and_on_dialled_connections() -> None:
    assert (POLICY.hard_limit, POLICY.cost_decay_per_sec, POLICY.byte_cost) == (10_000, 10_000 / 3600, 1e-5)
    dialled = Governance().resolved(accepted=False)
    assert (dialled.hard_limit, dialled.cost_hard_limit, dialled.cost_decay_per_sec) == (inf, 0, 10_000 / 3600)
    mine = Governance(cost_hard_limit=360, cost_decay_per_sec=5, bw_cost_per_byte=2).resolved(accepted=False)
    assert (mine.hard_limit, mine.cost_decay_per_sec, mine.byte_cost) == (360, 5, 2)
    assert Governance(cost_hard_limit=360).resolved(accepted=True).cost_decay_per_sec == 0.1


@pytest.mark.parametrize("hard", [0, -1])
def test_a_hard_limit_of_nothing_or_less_is_none(hard: float) -> None:
    policy = Governance(cost_hard_limit=hard).resolved(accepted=True)
    assert (policy.hard_limit, policy.look_after) == (inf, inf)


def test_a_hard_limit_of_less_than_one_is_one() -> None:
    policy = Governance(cost_hard_limit=0.5).resolved(accepted=True)
    assert (policy.hard_limit, policy.cost_decay_per_sec) == (0.5, 0.5 / 3600)


def test_an_account_is_looked_at_long_before_bytes_alone_reach_the_limit() -> None:
    # Each read may fetch 64 KiB, of which nobody takes note at once; 64 of these are 4 MiB, of the 1 GB that it may.
    assert POLICY.look_after == pytest.approx(30_518, abs=1)
    assert Governance(bw_cost_per_byte=0).resolved(accepted=True).look_after == inf


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 30),
        ({"handler_timeout": 7}, 7),
        ({"governance": Governance(processing_timeout=4)}, 4),
        ({"governance": Governance(processing_timeout=None)}, None),
    ],
)
def test_the_processing_timeout_is_that_of_handlers(given: dict[str, Any], seconds: float | None) -> None:
    assert Limits(**given).resolved(accepted=True).handler_timeout == seconds


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"bw_cost_per_byte": -1}, "bw_cost_per_byte must be a finite number >= 0, not -1"),
    ({"cost_soft_limit": inf}, "cost_soft_limit must be a finite number >= 0, not inf"),
    ({"cost_soft_limit": None}, "cost_soft_limit must be a finite number >= 0, not None"),
    ({"cost_soft_limit": DEFAULT}, "cost_soft_limit must be a finite number >= 0, not DEFAULT"),
    ({"cost_hard_limit": "much"}, "cost_hard_limit must be a finite number, not 'much'"),
    ({"cost_hard_limit": float("nan")}, "cost_hard_limit must be a finite number, not nan"),
    ({"cost_decay_per_sec": -0.1}, "cost_decay_per_sec must be a finite number >= 0, not -0.1"),
    ({"initial_concurrent": 0}, "initial_concurrent must be a finite whole number >= 1, not 0"),
    ({"initial_concurrent": 1.5}, "initial_concurrent must be a finite whole number >= 1, not 1.5"),
    ({"initial_concurrent": 10**400}, "initial_concurrent must be a finite whole number >= 1, not one over 1e308"),
    ({"cost_soft_limit": 10**400}, "cost_soft_limit must be a finite number >= 0, not one over 1e308"),
    ({"cost_hard_limit": -(10**400)}, "cost_hard_limit must be a finite number, not one over 1e308"),
    ({"initial_concurrent": True}, "initial_concurrent must be a finite whole number >= 1, not True"),
]


@pytest.mark.parametrize(("given", "text"), WRONG, ids=plain_repr)
def test_what_is_no_policy_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Governance(**given)


def test_what_is_of_the_wrong_type_is_refused() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="group must be a function of a session, or None, not 5"):
        Governance(group=wrong)
    with pytest.raises(TypeError, match="governance must be a Governance value, not int"):
        Limits(governance=wrong)


def test_policies_are_values() -> None:
    assert Governance(group=str).group is str
    assert Governance() == Governance()
    assert hash(Governance(cost_sleep=1)) == hash(Governance(cost_sleep=2))
    assert Governance(cost_sleep=1) != Governance(cost_sleep=2)
    assert Governance().bw_cost_per_byte is DEFAULT


# --- accounts --------------------------------------------------------------------------------------------------------

# (seconds, charge), ...; the cost then.
CHARGES: list[tuple[list[tuple[float, float]], float]] = [
    ([(0, 50)], 50),
    ([(0, 50), (10, 0)], 40),
    ([(0, 50), (10, 5)], 45),
    ([(0, 50), (1000, 0)], 0),
    ([(0, 50), (1000, 7)], 7),
    ([(0, 50), (0, -20)], 30),
    ([(0, 50), (0, -70)], 0),
    ([(0, 50), (-100, 0)], 50),  # a clock that goes back forgives nothing
    ([(0, 1e9)], 250),
    ([(0, 1e9), (250, 0)], 0),
]


@pytest.mark.parametrize(("charges", "cost"), CHARGES)
def test_an_account_is_charged_and_forgiven(charges: list[tuple[float, float]], cost: float) -> None:
    account = Account(ROUND, 0)
    for now, delta in charges:
        account.charge(delta, now)
    assert account.cost(charges[-1][0]) == cost


def test_what_was_charged_after_a_long_silence_is_not_forgiven_with_it() -> None:
    account = Account(ROUND, 0)
    assert account.charge(30, 1e6) == 30


DAY = 86_400.0


@pytest.mark.row("H56")
@pytest.mark.parametrize("silence", [500, DAY, 30 * DAY])
def test_what_a_group_could_have_been_forgiven_is_kept_for_a_day_and_no_longer(silence: float) -> None:
    """Connections that have stood since then flow at once: what nobody needed in a month is not theirs to share."""
    policy = Governance(cost_hard_limit=10 * DAY, cost_decay_per_sec=1).resolved(accepted=True)
    account = Account(policy, 0)
    account.charge(0, silence)  # one of the group is looked at, and owes nothing
    for _ in range(4):
        account.charge_flow(min(silence, DAY) / 4 + 500, 0, silence)
    assert account.cost(silence) == 2000


def test_who_was_charged_nothing_has_cost_nothing() -> None:
    account = Account(ROUND, 0)
    assert (account.cost(0), account.has_crossed) == (0, False)
    meter = Meter(ROUND, account, 0)
    assert (meter.total, meter.fraction, meter.has_crossed, meter.is_excessive) == (0, 0, False, False)


@pytest.mark.row("H56")
def test_a_flow_is_forgiven_for_no_longer_than_it_took() -> None:
    account = Account(ROUND, 0)
    assert account.charge_flow(100, 990, 1000) == 90  # others of the group have left more


@pytest.mark.row("H56")
def test_what_a_connection_could_have_been_forgiven_before_is_not_kept_for_it() -> None:
    meter = Meter(ROUND, None, 0)
    meter.charge(100, 1000, since=0)
    meter.charge(0, 1050, flow=50, since=1000)
    assert meter.own_cost(1050) == 100  # the flow has cost what was forgiven meanwhile


def test_a_lone_flow_is_forgiven_for_as_long_as_it_took() -> None:
    policy = Governance(cost_hard_limit=1000, cost_decay_per_sec=1).resolved(accepted=True)
    account = Account(policy, 0)
    assert account.charge_flow(29 * DAY, 0, 30 * DAY) == 0


def test_a_group_has_one_account() -> None:
    accounts = Accounts(ROUND)
    assert accounts.cost("a", 0) == 0
    assert accounts.groups() == []
    assert len(accounts) == 0  # asking makes none
    accounts.of("a", 0).charge(5, 0)
    accounts.of("a", 0).charge(5, 0)
    assert (accounts.cost("a", 0), accounts.cost("a", 4), accounts.cost("b", 0)) == (10, 6, 0)
    assert accounts.groups() == ["a"]
    assert accounts.limit == 200


@pytest.mark.row("H56")
def test_groups_that_are_kept_are_bounded_and_the_costly_ones_stay() -> None:
    accounts = Accounts(ROUND)
    accounts.of("costly", 0).charge(199, 0)
    for number in range(3 * governance.MAX_ACCOUNTS):
        accounts.of(f"cheap {number}", 0).charge(1, 0)
        assert len(accounts) <= governance.MAX_ACCOUNTS
    assert accounts.cost("costly", 0) == 199


def test_groups_to_whom_all_is_forgiven_go_first() -> None:
    accounts = Accounts(ROUND)
    for number in range(governance.MAX_ACCOUNTS):
        accounts.of(f"{number}", 0).charge(100, 0)
    accounts.of("new", 1000)
    assert len(accounts) == 1


@pytest.mark.row("H56")
def test_accounts_of_groups_that_are_there_stay() -> None:
    present = {"here"}
    accounts = Accounts(ROUND, present)
    account = accounts.of("here", 0)
    for number in range(5 * governance.MAX_ACCOUNTS):
        accounts.of(f"{number}", 0).charge(5, 0)
        assert len(accounts) <= governance.MAX_ACCOUNTS + len(present)
    assert accounts.of("here", 0) is account
    present.clear()
    for number in range(governance.MAX_ACCOUNTS):
        accounts.of(f"new {number}", 0).charge(5, 0)
    assert accounts.of("here", 0) is not account


@pytest.mark.row("H56")
def test_accounts_are_looked_through_now_and_then_however_many_groups_are_there() -> None:
    present = {f"here {number}" for number in range(2000)}
    accounts = Accounts(ROUND, present)
    for group in sorted(present):
        accounts.of(group, 0)
    looks = []
    for number in range(1100):
        before = len(accounts)
        accounts.of(f"{number}", 0).charge(0.5, 0)
        if len(accounts) <= before:
            looks.append((before, len(accounts)))
    # Of those that are not there half of `MAX_ACCOUNTS` stay, and as many again come until the next look.
    assert looks == [(2560, 2513), (3024, 2513)]


def test_that_all_is_forgiven_to_most_has_no_others_looked_through_sooner() -> None:
    accounts = Accounts(ROUND)
    for number in range(governance.MAX_ACCOUNTS):
        accounts.of(f"{number}", 0).charge(1, 0)
    for number in range(governance.MAX_ACCOUNTS):
        accounts.of(f"new {number}", 1000).charge(1, 1000)
    assert len(accounts) == governance.MAX_ACCOUNTS


# --- the meter -------------------------------------------------------------------------------------------------------

# What was charged; then the fraction of the way from soft to hard, how many run at once, the delay, whether too much.
DECISIONS: list[tuple[float, float, float, float, bool]] = [
    (0, 0, 20, 0, False),
    (99, 0, 20, 0, False),
    (100, 0, 20, 0, False),
    (101, 0.01, 20, 0.02, False),
    (110, 0.1, 18, 0.2, False),
    (150, 0.5, 10, 1, False),
    (199, 0.99, 1, 1.98, False),
    (200, 1, 1, 2, False),
    (201, 1, 1, 2, True),
]


@pytest.mark.row("H56")
@pytest.mark.parametrize(("charged", "fraction", "concurrency", "delay", "is_excessive"), DECISIONS)
def test_what_the_meter_decides(
    charged: float, fraction: float, concurrency: float, delay: float, is_excessive: bool
) -> None:
    meter = Meter(ROUND, None, 0)
    meter.charge(charged, 0)
    assert meter.fraction == pytest.approx(fraction)
    assert (meter.concurrency, meter.is_excessive) == (concurrency, is_excessive)
    assert meter.delay == pytest.approx(delay)
    meter.charge(0, 1000)
    assert (meter.fraction, meter.concurrency, meter.delay, meter.is_excessive) == (0, 20, 0, False)


def test_without_a_hard_limit_nothing_is_decided() -> None:
    policy = Governance().resolved(accepted=False)
    meter = Meter(policy, Account(policy, 0), 0)
    meter.charge(1e9, 0)
    assert (meter.fraction, meter.delay, meter.is_excessive, meter.own_cost(0)) == (0, 0, False, 1e9)
    assert not meter.has_crossed


def test_a_soft_limit_over_the_hard_one_delays_nothing() -> None:
    policy = Governance(cost_soft_limit=500, cost_hard_limit=200, cost_decay_per_sec=0).resolved(accepted=True)
    meter = Meter(policy, None, 0)
    meter.charge(200, 0)
    assert (meter.fraction, meter.is_excessive) == (0, False)
    meter.charge(1, 0)
    assert (meter.fraction, meter.is_excessive) == (1, True)


@pytest.mark.parametrize(("most", "free", "first", "strained"), [(None, inf, 20, 10), (1, 1, 1, 1), (3, 3, 3, 2)])
def test_how_many_run_at_once_by_what_is_set(most: int | None, free: float, first: float, strained: float) -> None:
    policy = Governance(
        cost_soft_limit=100, cost_hard_limit=200, cost_decay_per_sec=0, initial_concurrent=most
    ).resolved(accepted=True)
    meter = Meter(policy, None, 0)
    assert meter.concurrency == free
    meter.charge(101, 0)
    assert meter.concurrency == first
    meter.charge(49, 0)
    assert meter.concurrency == strained


@pytest.mark.row("H56")
def test_connections_of_a_group_pay_for_each_other() -> None:
    shared = Account(ROUND, 0)
    one, other = Meter(ROUND, shared, 0), Meter(ROUND, shared, 0)
    one.charge(150, 0)
    assert (one.own_cost(0), one.group_share(0), one.total) == (150, 0, 150)
    other.charge(10, 0)
    assert (other.own_cost(0), other.group_share(0), other.total) == (10, 150, 160)
    assert other.fraction == 0.6
    again = Meter(ROUND, shared, 60)  # a connection made anew
    again.charge(0, 60)
    assert (again.own_cost(60), again.total) == (0, 100)


@pytest.mark.row("H56")
def test_what_is_given_back_to_one_does_not_wipe_what_others_have_cost() -> None:
    shared = Account(ROUND, 0)
    one, other = Meter(ROUND, shared, 0), Meter(ROUND, shared, 0)
    one.charge(150, 0)
    other.charge(10, 0)
    other.charge(-100, 0)
    assert (other.own_cost(0), shared.cost(0)) == (0, 150)
    one.charge(-50, 0)
    assert (one.own_cost(0), shared.cost(0)) == (100, 100)


def test_a_user_says_what_is_added() -> None:
    meter = Meter(ROUND, Account(ROUND, 0), 0)
    added = 120.0
    meter.extra = lambda: added
    meter.charge(30, 0)
    assert (meter.total, meter.fraction) == (150, 0.5)
    added = -50
    meter.charge(0, 0)
    assert (meter.total, meter.fraction) == (-20, 0)
