# SPDX-License-Identifier: MIT
"""A connection whose peer pays: what the machines of calls and of messages count, and when they look at the account.

The account is not looked at with each message. Bytes are counted anyway, so it costs a comparison a read until so many
have come in; errors, and long output, take the careful way, on which it is looked at before anything more of the peer's
is taken up.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from tieline.errors import ExcessiveResourceUsage, RemoteProtocolError
from tieline.wire.governance import PARSE_ERRORS, Meter
from tieline.wire.life import Life
from tieline.wire.states import State

if TYPE_CHECKING:
    from typing import Protocol

    from tieline.wire.governance import Account, Governance
    from tieline.wire.limits import Limits

    class Group(Protocol):
        """The group that a connection belongs to."""

        def account(self, now: float, /) -> Account | None:
            """Return the account of the group; None when it has none."""

        def alarm(self) -> None:
            """Take note that the account is over the soft limit now, which its other connections do not know yet."""


__all__ = ["MOST_KNOWN", "Governed"]


MOST_KNOWN: Final = 64
_known: Final[dict[int, tuple[float, float, Governance]]] = {}  # with the policy, so that no other has its identity


def _cost_of_bytes(policy: Governance) -> tuple[float, float, Governance]:
    """Return what a byte costs, after how many of them the account is looked at, and *policy*."""
    # Each connection asks. So policies, of which few are in use, are told apart by their identity: see `ways_of`.
    known = _known.get(id(policy))
    if known is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        known = _known[id(policy)] = policy.byte_cost, policy.look_after, policy
    return known


class Governed(Life):
    """The paying side of a connection.

    Attributes:
        bytes_received: How many bytes came in.
        is_direct: Whether what the peer asks may be handled at once: it has not to wait for its turn. Taken back here
            when the peer is over the soft limit; otherwise set by whoever runs the handlers.
        group: The group whose account it pays into as well; None = it stands for itself. Set by the driver at the
            start.
        meter: Its meter; None until there is something to count.
    """

    __slots__ = (
        "_byte_cost",
        "_counted",
        "_counted_since",
        "_look_received",
        "_owed",
        "bytes_received",
        "group",
        "is_direct",
        "meter",
    )

    _looks_again: bool = False  # the account is to be looked at for another reason than bytes

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.bytes_received: int = 0
        self.is_direct = True
        self.group: Group | None = None
        self.meter: Meter | None = None
        self._owed = 0.0  # what has come up since the last look, but for bytes
        self._counted = 0  # bytes that have been paid for
        self._counted_since: float | None = None  # when that was; at first, when the connection stood
        # What a byte costs, and with how many of them received the account is looked at.
        self._byte_cost, self._look_received, _ = _cost_of_bytes(limits.governance)

    def spare_bytes(self) -> None:
        """Take note that bytes cost nothing on this connection: they do not leave the machine."""
        self._byte_cost = 0.0
        self._look_received = inf

    @property
    def is_strained(self) -> bool:
        """Whether the peer is over the soft limit, as of the last look."""
        return self.meter is not None and self.meter.fraction > 0

    @property
    def concurrency(self) -> float:
        """How many handlers may run at once."""
        if self.meter is not None and self.meter.fraction:
            return self.meter.concurrency
        most = self.limits.governance.initial_concurrent
        # Handlers of ours may wait for the peer, whose handlers may wait for us.
        return inf if most is None or self.open_calls else most

    @property
    def open_calls(self) -> int:
        """How many calls of ours are unanswered."""
        return 0

    @property
    def delay(self) -> float:
        """For how many seconds each request is to be delayed."""
        return 0.0 if self.meter is None else self.meter.delay

    def cost(self, now: float) -> float:
        """Return what the peer has cost on this connection, less what is forgiven. Changes nothing."""
        return self._unpaid + (0.0 if self.meter is None else self.meter.own_cost(now))

    def group_share(self, now: float) -> float:
        """Return what others of its group have cost, connections that are gone included."""
        if self.meter is not None:
            return self.meter.group_share(now)
        account = None if self.group is None else self.group.account(now)
        return 0.0 if account is None else account.cost(now)

    @property
    def owes(self) -> bool:
        """Whether anything has come up since the account was looked at."""
        return bool(self._owed or self._flow)

    @property
    def _unpaid(self) -> float:
        return self._owed + self._flow

    @property
    def _flow(self) -> float:
        """What is to be paid for bytes. They came and went little by little."""
        return (self.bytes_received + self.bytes_sent - self._counted) * self._byte_cost

    def charge_error(self, extra: float = 0.0, *, is_parse_error: bool = False) -> None:
        """Charge for a request that is answered with an error."""
        base = self.limits.governance.error_base_cost
        self._owed += (PARSE_ERRORS * base if is_parse_error else base) + extra
        self.is_smooth = False

    def charge_fault(self, error: BaseException | None) -> None:
        """Charge for what has broken the transport, if that was the peer's fault: as for a fault of the framing."""
        if isinstance(error, RemoteProtocolError):
            self.charge_error(is_parse_error=True)

    def charge(self, delta: float) -> None:
        """Charge for what a handler says; a negative *delta* gives back."""
        self._owed += delta
        self.is_smooth = False

    def sent_much(self) -> None:
        """Take note that long output has left: 64 KiB at once, or more."""
        if self._byte_cost:
            self._looks_again = True
            self.is_smooth = False

    def look_again(self) -> None:
        """Take note that others of its group have cost much: the account is to be looked at with the next read."""
        self._looks_again = True
        self.is_smooth = False

    @property
    def _is_look_due(self) -> bool:
        return bool(
            self._owed
            or self.bytes_received > self._look_received
            or self._looks_again
            or (self.meter is not None and self.meter.fraction)
        )

    @property
    def _may_be_excessive(self) -> bool:
        """Whether what has come up since the last look may be too much: then it is looked at without a next read."""
        if not self._owed or self.state > State.DRAINING:
            return False
        meter = self.meter
        return self._owed + (0.0 if meter is None else meter.total) > self.limits.governance.hard_limit

    def settle_account(self, now: float) -> ExcessiveResourceUsage | None:
        """Charge for all that has come up; return why the connection is to end, when that is too much.

        For the driver when the connection is gone; everybody else has it done on the way.
        """
        meter = self.meter
        since = now if self._counted_since is None else self._counted_since
        if meter is None:
            account = None if self.group is None else self.group.account(since)
            meter = self.meter = Meter(self.limits.governance, account, since)
        meter.charge(self._owed, now, flow=self._flow, since=since)
        self._counted_since = now
        if meter.has_crossed and self.group is not None:
            self.group.alarm()
        self._owed = 0.0
        if self._looks_again:
            self._looks_again = False
        self._counted = self.bytes_received + self.bytes_sent
        if self._byte_cost:
            self._look_received = self.bytes_received + self.limits.governance.look_after
        if meter.fraction:
            self.is_direct = self.is_smooth = False
        return ExcessiveResourceUsage(meter.total, meter.limit) if meter.is_excessive else None
