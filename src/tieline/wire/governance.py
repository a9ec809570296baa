# SPDX-License-Identifier: MIT
"""What a peer may cost over time: one policy, accounts, and the one place that decides.

A connection pays for bytes, for errors, and for whatever handlers say that it has ordered. Cost is forgiven at a steady
rate. Up to a soft limit nothing happens; from there to the hard limit the peer's requests are delayed more and more,
and fewer of them run at once; over the hard limit it is told so, and cut. All connections of a group (an address, say)
pay into one account, so that to connect anew helps nobody.

There is no clock here and no I/O: time is an argument.
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.finite import finite_number
from tieline.wire.default import DEFAULT, Default
from tieline.wire.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Container

__all__ = ["MAX_OUTGOING", "Account", "Accounts", "Governance", "Meter", "next_window"]

HARD_LIMIT: Final = 10_000.0  # what DEFAULT is on connections that were accepted
BYTE_COST: Final = 1e-5  # what DEFAULT is for peers on other machines
# Seconds in which what the hard limit allows is forgiven.
DECAY_TIME: Final = 3600.0
# A parse error costs so many times what other errors cost: whoever sends what is no JSON does not want an answer.
PARSE_ERRORS: Final = 10
# An account is never over the hard limit by more than this, so that there is a time by which all is forgiven.
OVERDRAWN: Final = 1.25
# Seconds: what could have been forgiven and was not, since there was nothing, is kept for what flowed meanwhile, and no
# more of it than of so long. A connection is looked at within a day if it says anything at all now and then; without a
# bound, a group that was silent for a month could have all that at once.
SPARE_TIME: Final = 86_400.0
# Accounts of groups that are kept at once, besides those of groups that are there: of more the cheaper half is
# forgotten. About 200 KB in all.
MAX_ACCOUNTS: Final = 1024
# At most so many calls of ours are open at once at a peer that has once been slow to answer.
MAX_OUTGOING: Final = 250
# An account is looked at whenever bytes for this part of the hard limit have come in. It is as small as that because
# each of them may have fetched many more, which are only counted by then.
LOOKS: Final = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """Limits on what peers may use over time, as a cost, and on their concurrent handlers. A part of `Limits`.

    The unit of cost is arbitrary. With the defaults a peer may transfer 200 MB, or cause 20 errors, before it is slowed
    down, and 280 KB per second indefinitely.

    Attributes:
        bw_cost_per_byte: The cost of a byte, received or sent. DEFAULT is 0.00001 for peers on other machines and 0 for
            peers on this one (a loopback address, a Unix socket, a pipe).
        cost_soft_limit: The cost above which requests are delayed, and fewer of them run concurrently.
        cost_hard_limit: The cost above which the peer is sent EXCESSIVE_RESOURCE_USAGE (-101) and disconnected; 0 or
            less = no limit, neither hard nor soft. DEFAULT is 10000 on accepted connections and 0 on those that this
            side dialled.
        cost_decay_per_sec: How much the cost falls per second. DEFAULT is the hard limit divided by 3600.
        cost_sleep: The delay of a request, in seconds, when the cost is close to the hard limit; half way between the
            limits it is half of that.
        error_base_cost: The cost of a request that is answered with an error, in addition to ``RPCError.cost``. Input
            that is not JSON costs ten times as much. Errors that are this side's fault cost nothing: it is too busy, or
            a handler raises an exception other than `RPCError`, or takes longer than `processing_timeout`.
        initial_concurrent: The maximum number of async handlers that run at once for one connection; further requests
            wait for their turn. Between the limits it falls to one. It does not apply while this side waits for calls
            to that peer: handlers that wait for each other across a connection would deadlock. None =
            `Limits.max_pending`.
        processing_timeout: The maximum time of an async handler in seconds, from the arrival of its request: waiting
            for its turn and the delay are included. After that, the answer is SERVER_BUSY (-102). DEFAULT is
            `Limits.handler_timeout`.
        target_response_time: While most of this side's calls take longer than this number of seconds, fewer of them are
            sent at once: at most 250, then fewer step by step, down to 1, until answers arrive in time. Calls with
            their own timeout do not count. None = only `Limits.max_calls` applies.
        group: A function that returns the group of a connection, a string; called with the session once it is
            connected. None = a group of its own. Without a function the group is the IPv4 address, the first 64 bits of
            the IPv6 address, or the user of a Unix socket. The connections of a group share their cost and
            `Limits.max_connections_per_peer`. On a server, the limits of the server decide.
    """

    bw_cost_per_byte: float | Default = DEFAULT
    cost_soft_limit: float = 2000.0
    cost_hard_limit: float | Default = DEFAULT
    cost_decay_per_sec: float | Default = DEFAULT
    cost_sleep: float = 2.0
    error_base_cost: float = 100.0
    initial_concurrent: int | None = 20
    processing_timeout: float | Default | None = DEFAULT
    target_response_time: float | None = 3.0
    group: Callable[[Any], str | None] | None = None

    def __hash__(self) -> int:
        return hash((self.cost_hard_limit, self.initial_concurrent))  # see `Limits`

    def __post_init__(self) -> None:
        for name, kinds in Governance.__annotations__.items():
            value: object = getattr(self, name)
            if (value is None and "None" in kinds) or (value is DEFAULT and "Default" in kinds):
                continue
            if name == "group":
                if not callable(value):
                    raise TypeError(f"group must be a function of a session, or None, not {value!r}")
                continue
            whole = kinds.startswith("int")
            least = 1 if whole else -inf if name == "cost_hard_limit" else 0
            try:
                if finite_number(name, value) >= least and not (whole and isinstance(value, float)):
                    continue
                seen = repr(value)
            except (TypeError, ValueError):
                # Numbers as large as that are not shown: Python does not even write out those of over 4300 digits.
                seen = "one over 1e308" if isinstance(value, int) and not isinstance(value, bool) else repr(value)
            wanted = "a finite whole number" if whole else "a finite number"
            raise ValueError(f"{name} must be {wanted}{'' if least == -inf else f' >= {least}'}, not {seen}")

    def resolved(self, *, accepted: bool) -> Governance:
        """Return this policy with the limits, and what is forgiven, as numbers."""
        hard = self.cost_hard_limit
        if hard is DEFAULT:
            hard = HARD_LIMIT if accepted else 0.0
        decay = self.cost_decay_per_sec
        if decay is DEFAULT:
            decay = (hard if hard > 0 else HARD_LIMIT) / DECAY_TIME
        return replace(self, cost_hard_limit=hard, cost_decay_per_sec=decay)

    @property
    def hard_limit(self) -> float:
        """The hard limit of a resolved policy; inf for none."""
        hard: Any = self.cost_hard_limit
        return hard if hard > 0 else inf

    @property
    def strained_over(self) -> float:
        """The cost from which on something happens; inf for none."""
        hard = self.hard_limit
        return hard if hard == inf else min(self.cost_soft_limit, hard)

    @property
    def byte_cost(self) -> float:
        """What a byte costs that leaves the machine, or comes from elsewhere."""
        return BYTE_COST if self.bw_cost_per_byte is DEFAULT else self.bw_cost_per_byte

    @property
    def look_after(self) -> float:
        """After how many bytes of the peer's its account is to be looked at; inf for never."""
        return self.hard_limit / LOOKS / self.byte_cost if self.byte_cost else inf


class Account:
    """What somebody has cost, less what is forgiven.

    A clock that stands still or goes back forgives nothing.

    Args:
        policy: The policy, resolved.
        now: The time in seconds.

    Attributes:
        has_crossed: The last charge has taken it over the soft limit, or over the hard one where that is lower.
    """

    __slots__ = ("_as_of", "_cost", "_policy", "_spare", "has_crossed")

    def __init__(self, policy: Governance, now: float) -> None:
        self._policy = policy
        self._cost = 0.0
        self._as_of = now
        self.has_crossed = False
        self._spare = 0.0  # what could have been forgiven so far, had there been anything on the account

    def _forgiven(self, seconds: float) -> float:
        return max(0.0, seconds) * cast("float", self._policy.cost_decay_per_sec)

    def cost(self, now: float) -> float:
        """Return the cost as it stands at *now*."""
        return max(0.0, self._cost - self._forgiven(now - self._as_of))

    def charge(self, delta: float, now: float) -> float:
        """Add *delta*, which is finite, may be negative and came up just now, and return the cost."""
        return self.charge_flow(0.0, now, now, delta)

    def forget_spare(self) -> None:
        """Forget what could have been forgiven so far: nobody comes any more who has something to pay of that time."""
        self._spare = 0.0

    def charge_flow(self, flow: float, since: float, now: float, delta: float = 0.0) -> float:
        """Add a *flow* that came up little by little *since* then, and *delta*, and return the cost.

        What could have been forgiven meanwhile, and was not because nothing was on the account yet, is forgiven now.
        Of what is left of that, no more is kept than is forgiven in a day.
        """
        left = self._cost - self._forgiven(now - self._as_of)
        if left < 0:
            self._spare -= left
            left = 0.0
        spared = min(flow, self._spare, self._forgiven(now - since))
        self._spare = min(self._spare - spared, self._forgiven(SPARE_TIME))
        self._cost = min(max(0.0, left + flow - spared + delta), self._policy.hard_limit * OVERDRAWN)
        self._as_of = now
        self.has_crossed = left <= self._policy.strained_over < self._cost
        return self._cost


class Accounts:
    """The accounts of the groups of one server. They are bounded in number, and go when all is forgiven.

    Args:
        policy: The policy, resolved.
        present: The groups that have connections now, as they come and go. Their accounts stay: what these
            connections pay into must be what new ones are judged by.
    """

    __slots__ = ("_by_group", "_full_at", "_policy", "_present")

    def __init__(self, policy: Governance, present: Container[str] = ()) -> None:
        self._policy = policy
        self._present = present
        self._full_at = MAX_ACCOUNTS
        self._by_group: dict[str, Account] = {}

    def __len__(self) -> int:
        return len(self._by_group)

    @property
    def limit(self) -> float:
        """The hard limit; inf for none."""
        return self._policy.hard_limit

    def of(self, group: str, now: float) -> Account:
        """Return the account of *group*, a new one if it has none."""
        account = self._by_group.get(group)
        if account is None:
            if len(self._by_group) >= self._full_at:
                self._forget(now)
            account = self._by_group[group] = Account(self._policy, now)
        return account

    def groups(self) -> list[str]:
        """Return the groups that have accounts."""
        return [*self._by_group]

    def cost(self, group: str, now: float) -> float:
        """Return what *group* has cost."""
        account = self._by_group.get(group)
        return 0.0 if account is None else account.cost(now)

    def _forget(self, now: float) -> None:
        """Forget the accounts on which nothing is left, and then the cheaper half."""
        absent = [(account.cost(now), group) for group, account in self._by_group.items() if group not in self._present]
        kept = {group for _, group in sorted(one for one in absent if one[0] > 0)[-MAX_ACCOUNTS // 2 :]}
        self._by_group = {
            group: account for group, account in self._by_group.items() if group in kept or group in self._present
        }
        self._full_at = max(MAX_ACCOUNTS, len(self._by_group) + MAX_ACCOUNTS // 2)


class Meter:
    """Decides about one connection: how much of it is delayed, how much runs at once, and when it is too much.

    Args:
        policy: The policy, resolved.
        group: The account of its group; None = it stands for itself.
        now: The time in seconds.

    Attributes:
        limit: The hard limit; inf for none.
        extra: Gives what is added to the cost of the connection itself; None = what the others of its group have cost.
        total: The cost that the limits are compared with, as of the last charge.
        fraction: How far it is on the way from the soft to the hard limit; 0 up to the soft one, 1 at the hard one.
    """

    __slots__ = ("_group", "_own", "_policy", "extra", "fraction", "limit", "total")

    def __init__(self, policy: Governance, group: Account | None, now: float) -> None:
        self._policy = policy
        self._group = group
        self._own = Account(policy, now)
        self.extra: Callable[[], float] | None = None
        self.limit = policy.hard_limit
        self.total = 0.0
        self.fraction = 0.0

    def own_cost(self, now: float) -> float:
        """Return what the connection itself has cost."""
        return self._own.cost(now)

    def group_share(self, now: float) -> float:
        """Return what others of its group have cost, those that are gone included."""
        return 0.0 if self._group is None else max(0.0, self._group.cost(now) - self._own.cost(now))

    def charge(self, delta: float, now: float, *, flow: float = 0.0, since: float | None = None) -> None:
        """Add *delta* to what the connection and its group have cost, and decide anew.

        Args:
            delta: What came up just now.
            now: The time in seconds.
            flow: What came up little by little.
            since: Since when that did; None = just now.
        """
        began = now if since is None else since
        self._own.forget_spare()
        before = self._own.charge_flow(flow, began, now)
        own = self._own.charge(delta, now)
        if self._group is not None:
            # What is given back here is the connection's own: it must not wipe what others have cost.
            self._group.charge_flow(flow, began, now, delta if delta >= 0 else own - before)
        self.total = own + (self.group_share(now) if self.extra is None else self.extra())
        soft = self._policy.cost_soft_limit
        if self.limit == inf or self.total <= min(soft, self.limit):
            self.fraction = 0.0
        else:
            self.fraction = min(1.0, (self.total - soft) / (self.limit - soft)) if soft < self.limit else 1.0

    @property
    def has_crossed(self) -> bool:
        """Whether the last charge has taken the account of the group over the soft limit."""
        return self._group is not None and self._group.has_crossed

    @property
    def is_excessive(self) -> bool:
        """Whether it is over the hard limit."""
        return self.total > self.limit

    @property
    def concurrency(self) -> float:
        """How many handlers run at once; at least one, or nothing would ever be forgiven by being answered."""
        most = self._policy.initial_concurrent
        if not self.fraction:
            return inf if most is None else most
        return max(1, ceil((1.0 - self.fraction) * (20 if most is None else most)))

    @property
    def delay(self) -> float:
        """For how many seconds each request is delayed."""
        return self.fraction * self._policy.cost_sleep


def next_window(window: int, most: int, open_calls: int, judged: int, late: int) -> int:
    """Return how many calls of ours may be open at once from now on.

    Args:
        window: How many may be so far.
        most: `Limits.max_calls`.
        open_calls: How many are open now.
        judged: How many of these are to be answered within the target.
        late: How many of those are not.
    """
    if not open_calls:
        return most
    if 2 * late > judged:
        if open_calls < min(window, MAX_OUTGOING):
            return window  # slow as they are, it is not their number
        return MAX_OUTGOING if window > MAX_OUTGOING else max(1, window * 4 // 5)
    grown = window + max(3, window // 10)
    return most if grown > MAX_OUTGOING else min(grown, most)
