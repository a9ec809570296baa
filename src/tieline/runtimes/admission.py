# SPDX-License-Identifier: MIT
"""Who may connect to a server: connections are counted, in total and by group of peers, as is what they cost.

Free of I/O and of clocks: groups are strings that somebody else makes of addresses, time is an argument. All that is
kept is bounded, and goes when the connections have gone and their doings are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.wire.governance import Accounts
from tieline.wire.limits import ceiling
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from tieline.runtimes.hooks import Hooks
    from tieline.wire.governance import Account
    from tieline.wire.limits import Limits

    class Payer(Protocol):
        """The machine of a connection, which pays into the account of its group."""

        def look_again(self) -> None: ...


__all__ = ["Admission", "GroupCost", "Visit"]

# Refused connections that are told why at once. Each is kept for `Limits.linger` at most, so that its peer sees the
# reason and not a reset; in a flood further ones are cut without a word.
MAX_TOLD: Final = 100
# A client that dies loses some calls, and one that hardly calls anything most of them. So many calls, and most of them
# abandoned, is work that somebody orders and throws away.
ABANDONED_OF: Final = 500
# Seconds in which half of what a group did is forgotten.
HALF_LIFE: Final = 60.0
# Groups whose doings are remembered; an address is cheap, so of more the oldest is forgotten. About 300 KB in all.
MAX_REMEMBERED: Final = 1024
# Seconds after which nothing of a group is worth to be remembered: less than a call of every thousand.
FORGOTTEN_AFTER: Final = 10 * HALF_LIFE
# Seconds from one log line about refusals to the next: peers must not decide how fast the log grows.
TOLD_EVERY: Final = 10.0


@dataclass(frozen=True, slots=True)
class GroupCost:
    """What a group of peers has cost a server, with all its connections together.

    Attributes:
        group: Its name: an address, the user of a Unix socket, or what `Governance.group` returned.
        connections: How many connections it has now.
        cost: What it has cost, less what is forgiven.
        limit: The hard limit; None = there is none.
    """

    group: str
    connections: int
    cost: float
    limit: float | None


class _Past:
    """What a group did, as of a time."""

    __slots__ = ("abandoned", "accepted", "as_of", "refused_until")

    def __init__(self, now: float) -> None:
        self.accepted = self.abandoned = 0.0
        self.as_of = now
        self.refused_until = -inf


class Visit:
    """One connection, from when it is made until it is gone.

    Attributes:
        refusal: None = it is welcome. Else why not, to be told to the peer; empty = cut it without a word.
        is_charged: Its group has cost something before.
        is_excessive: It is refused because its group has cost too much.
        payer: Who looks at the account again when others of its group have cost so much that it is to be slowed as
            well; None = nobody does.
    """

    __slots__ = ("_admission", "_group", "is_charged", "is_excessive", "payer", "refusal")

    def __init__(self, admission: Admission, group: str | None, refusal: str | None, cost: float) -> None:
        self._admission: Admission | None = admission  # None once it is over
        self._group = group
        self.refusal = refusal
        self.payer: Payer | None = None
        self.is_charged = cost > 0
        self.is_excessive = refusal is not None and cost > admission.accounts.limit

    def account(self, now: float) -> Account | None:
        """Return the account that the connection pays into together with others; None = it has none."""
        if self._admission is None or self._group is None:
            return None
        return self._admission.accounts.of(self._group, now)

    def alarm(self) -> None:
        """The account is over the soft limit now: every connection of the group is to look at it."""
        if self._admission is not None and self._group is not None:
            self._admission.alarm(self._group)

    def leave(self, now: float, *, accepted: int = 0, abandoned: int = 0) -> None:
        """The connection is gone. So many of its calls were *accepted*, and so many of these *abandoned* by the peer.

        Harmless when repeated.
        """
        admission, self._admission = self._admission, None
        self.payer = None  # the two would keep each other alive until the garbage is collected
        if admission is not None:
            admission.left(self, self._group, self.refusal, accepted, abandoned, now)


class Admission:
    """Decides who may connect to one server.

    A group of None (nothing is known about the peer) counts in total only.

    Args:
        limits: `Limits.max_connections`, `Limits.max_connections_per_peer`, `Limits.abandon_penalty` and
            `Limits.governance`.

    Attributes:
        accounts: What each group has cost.
        hooks: Who is told of what happens on the server.
        group: The user's rule for which group a session belongs to; None = the address says.
        connections: How many are there that were welcome.
        refused: How many were refused since the beginning.
    """

    __slots__ = (
        "_by_group",
        "_forget_at",
        "_max_connections",
        "_max_cost",
        "_max_per_peer",
        "_past",
        "_penalty",
        "_tell_at",
        "_told",
        "_untold",
        "accounts",
        "connections",
        "group",
        "hooks",
        "refused",
    )

    def __init__(self, limits: Limits) -> None:
        self._max_connections = ceiling(limits.max_connections)
        self._max_per_peer = ceiling(limits.max_connections_per_peer)
        self._penalty = limits.abandon_penalty or 0.0
        self._by_group: dict[str, set[Visit]] = {}
        self.accounts = Accounts(limits.governance.resolved(accepted=True), self._by_group)
        self._max_cost = self.accounts.limit
        self.group: Callable[[Any], str | None] | None = limits.governance.group
        self.hooks: tuple[Hooks, ...] = ()
        self.connections = self.refused = 0
        self._told = 0  # refused, being told why, and not gone yet
        self._past: OrderedDict[str, _Past] = OrderedDict()  # the one that did something last is last
        self._forget_at = inf  # when the oldest of them may be forgotten; early at times, never late
        self._untold = 0
        self._tell_at = -inf

    def arrive(self, group: str | None, now: float) -> Visit:
        """Judge a connection that was made just now, and count it. Its visit must `leave` when it is gone."""
        if now >= self._forget_at:
            self._forget(now)
        cost = 0.0 if group is None else self.accounts.cost(group, now)
        refusal = self._refusal(group, cost, now)
        if refusal is not None:
            self.refused += 1
            if self._told < MAX_TOLD:
                self._told += 1
            else:
                refusal = ""
            return Visit(self, group, refusal, cost)
        visit = Visit(self, group, None, cost)
        self.connections += 1
        if group is not None:
            here = self._by_group.get(group)
            if here is None:
                self._by_group[group] = {visit}
            else:
                here.add(visit)
        return visit

    def costs(self, now: float) -> list[GroupCost]:
        """Return what each group has cost that is here, or has an account; the dearest first."""
        limit = None if self.accounts.limit == inf else self.accounts.limit
        found = [
            GroupCost(group, len(self._by_group.get(group, ())), self.accounts.cost(group, now), limit)
            for group in {**dict.fromkeys(self._by_group), **dict.fromkeys(self.accounts.groups())}
        ]
        return sorted((one for one in found if one.connections or one.cost), key=lambda one: -one.cost)

    def alarm(self, group: str) -> None:
        """Have all connections of *group* look at what it has cost: for `Visit.alarm` alone."""
        for visit in self._by_group.get(group, ()):
            if visit.payer is not None:
                visit.payer.look_again()

    def _refusal(self, group: str | None, cost: float, now: float) -> str | None:
        if cost > self._max_cost:
            return f"excessive resource usage (limit {self._max_cost:g})"
        if group is not None:
            past = self._past.get(group)
            if past is not None and now < past.refused_until:
                return "too many abandoned calls"
        if self.connections >= self._max_connections:
            return f"server busy (limit {self._max_connections} connections)"
        if self._max_per_peer != inf and group is not None and len(self._by_group.get(group, ())) >= self._max_per_peer:
            return f"server busy (limit {self._max_per_peer} connections per peer)"
        return None

    def left(
        self, visit: Visit, group: str | None, refusal: str | None, accepted: int, abandoned: int, now: float
    ) -> None:
        """Take note of the end of a visit: for `Visit.leave` alone."""
        if refusal is not None:
            self._told -= bool(refusal)
            return
        self.connections -= 1
        if group is None:
            return
        here = self._by_group[group]
        here.discard(visit)
        if not here:
            del self._by_group[group]
        if accepted and self._penalty:
            self._remember(group, accepted, min(abandoned, accepted), now)
        if now >= self._forget_at:
            self._forget(now)

    def _remember(self, group: str, accepted: int, abandoned: int, now: float) -> None:
        past = self._past.get(group)
        if past is None:
            past = self._past[group] = _Past(now)
            # Now if there are too many, else when its time is over.
            too_many = len(self._past) > MAX_REMEMBERED
            self._forget_at = min(self._forget_at, now if too_many else now + FORGOTTEN_AFTER)
        else:
            self._past.move_to_end(group)
        kept = 0.5 ** ((now - past.as_of) / HALF_LIFE)
        past.accepted = past.accepted * kept + accepted
        past.abandoned = past.abandoned * kept + abandoned
        past.as_of = now
        if past.accepted >= ABANDONED_OF and past.abandoned > past.accepted / 2:
            past.accepted = past.abandoned = 0  # it may begin anew when its time is over
            past.refused_until = now + self._penalty

    def _forget(self, now: float) -> None:
        self._forget_at = inf
        while self._past:
            group, oldest = next(iter(self._past.items()))
            kept_until = max(oldest.as_of + FORGOTTEN_AFTER, oldest.refused_until)
            if len(self._past) <= MAX_REMEMBERED and now < kept_until:
                self._forget_at = kept_until
                break
            del self._past[group]

    def to_tell(self, now: float) -> int | None:
        """Return how many refusals before this one were not logged, or None when this one is not to be logged."""
        if now < self._tell_at:
            self._untold += 1
            return None
        self._tell_at = now + TOLD_EVERY
        untold, self._untold = self._untold, 0
        return untold
