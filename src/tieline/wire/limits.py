# SPDX-License-Identifier: MIT
"""The limits of a connection and of a server, in one frozen value.

Everything that a peer can make us keep or do has a limit here, with a finite default. The value lives on this floor
because the machines enforce it; they import nothing above themselves.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import Any, Final, Self, cast

from tieline.wire.default import DEFAULT, Default
from tieline.wire.governance import Governance
from tieline.wire.values import dataclass, replace

__all__ = ["DEFAULT", "Default", "Limits", "ceiling", "checked_limits"]


MEBIBYTE: Final = 1 << 20

# `Limits.tls_shutdown_timeout`, also for those who have no limits at hand.
TLS_SHUTDOWN_TIMEOUT: Final = 5.0

# With 0 of them nothing would go through, and nobody would be told why.
_AT_LEAST_ONE: Final = frozenset({"max_message", "max_pending", "max_calls", "max_handshakes", "max_peers"})


_GOVERNANCE: Final = Governance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on what peers may use. Sizes are in bytes, times in seconds; None removes a limit.

    All fields have finite defaults. `Limits.public` is for servers on the internet. Those from `max_connections` on
    apply to a server as a whole, the others to each connection.

    Attributes:
        max_message: The longest message that is accepted, and the longest that is sent. DEFAULT is 1 MiB on accepted
            connections (parsing takes up to 44 times the size in memory) and 64 MiB on dialled ones (honest servers
            send several MB). A longer one is answered with -32600, then the connection ends.
        max_response: The longest response, single or batch; a longer one is replaced by the error -32600. DEFAULT is
            `max_message`: a response over the peer's own limit would end the connection.
        max_batch: The most members of a batch. 15 000 small calls fit into 1 MiB, and would occupy the thread for long.
        max_bad_items: A batch with more invalid members than this gets a single error, so that the reply stays in
            proportion to the request.
        max_pending: How many requests of the peer may be in progress (accepted and unanswered) at once. At the limit
            this side stops reading, and TCP slows the peer down; while it has pending calls of its own at the peer, it
            reads on and refuses further requests with SERVER_BUSY.
        max_pending_size: How much memory the requests in progress may take, as estimated from their text: JSON grows up
            to 44 times when it is parsed. Otherwise as `max_pending`; one request is always accepted, however large.
            For a `MessageSession` it bounds the messages in progress, where bytes and text count as they are and other
            objects not at all, and what its handlers may leave unsent. For a datagram server it bounds the waiting
            datagrams of all peers together.
        max_calls: How many calls of this side may be pending at once; then `call` waits, while `send_request` and
            batches, each of whose requests counts, raise `SessionBusy`.
        max_nesting: How deep brackets may be nested in a message, its own included. Real calls stay under 10; how much
            the decoder itself can take varies with the stack.
        max_id: The longest id, as JSON text: ids are repeated in replies.
        max_method: The longest method name, in characters; a longer one is an unknown method.
        max_errors: How many faults (-32700, -32600, invalid framing and, on accepted connections, responses to unknown
            ids) are tolerated before the connection ends. They are forgotten at `error_decay` per second.
        error_decay: How many faults are forgotten per second.
        connect_timeout: For connecting as a whole: name lookup, connecting and all handshakes.
        handshake_timeout: For the handshakes (TLS, WebSocket) of an accepted connection together, from its start.
        tls_shutdown_timeout: For the peer's part in closing TLS; then the connection is closed without it.
        message_timeout: From the first to the last byte of a message, on accepted connections (on dialled ones the
            timeout of the call counts). Then -32600 is answered, and the connection ends. Time during which this side
            does not read does not count.
        idle_timeout: For the first valid message of an accepted connection. After that there is no limit: a silent
            subscriber is honest, and TCP keepalive finds dead ones.
        handler_timeout: For an async handler; then it is cancelled, and its request answered with SERVER_BUSY. Up to an
            eighth later.
        call_timeout: For the reply to a call, unless the call has its own timeout; up to an eighth later.
        write_timeout: For the peer to take any byte while this side waits to write; counts while blocked, not in total.
        linger: How long a connection that ends with an error reply is still read (and the data dropped), so that the
            peer receives the reply and not a reset. The same when this side closes a `MessageSession` that has sent
            anything, or a session of calls while the peer may not have received everything.
        write_high_water: Senders wait while more than this is unsent.
        write_low_water: Senders go on when no more than this is unsent.
        max_connections: How many connections a server has at once. Further ones are answered with SERVER_BUSY and
            closed.
        max_connections_per_peer: The same for each peer: an IPv4 address, the first 64 bits of an IPv6 address, or the
            user of a Unix socket.
        max_handshakes: How many connections of a server may be in their handshake at once; one more ends the oldest.
        max_peers: How many addresses a datagram server serves at once; datagrams from others are dropped. A server over
            UDP cannot know whether an address is real.
        max_waiting_per_peer: How many datagrams of one address may wait while one of them is handled; more are dropped.
        abandon_penalty: How long new connections are refused from a peer that has abandoned most of its last 500 calls
            or more: it disconnected before the replies came. (A peer as for `max_connections_per_peer`.)
        governance: What a peer may cost over time, and how many of its requests run at once.
    """

    max_message: int | Default | None = DEFAULT
    max_response: int | Default | None = DEFAULT
    max_batch: int | None = 1000
    max_bad_items: int = 16
    max_pending: int = 64
    max_pending_size: int | None = 16 * MEBIBYTE
    max_calls: int = 1000
    max_nesting: int | None = 128
    max_id: int | None = 1024
    max_method: int | None = 256
    max_errors: int | None = 50
    error_decay: float = 1.0
    connect_timeout: float | None = 10.0
    handshake_timeout: float | None = 10.0
    tls_shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT
    message_timeout: float | None = 30.0
    idle_timeout: float | None = 300.0
    handler_timeout: float | None = 30.0
    call_timeout: float | None = 30.0
    write_timeout: float | None = 20.0
    linger: float = 1.0
    write_high_water: int = 64 * 1024
    write_low_water: int = 16 * 1024
    max_connections: int | None = 1000
    max_connections_per_peer: int | None = None
    max_handshakes: int | None = 100
    max_peers: int = 1024
    max_waiting_per_peer: int = 16
    abandon_penalty: float | None = 60.0
    governance: Governance = _GOVERNANCE

    def __hash__(self) -> int:
        # A few fields tell values apart well enough; all 30 of them take as long as four small objects take to make.
        return hash((self.max_pending, self.call_timeout, self.idle_timeout))

    def __post_init__(self) -> None:
        for name, kinds in Limits.__annotations__.items():  # as written above
            value: object = getattr(self, name)
            if (value is None and "None" in kinds) or (value is DEFAULT and "Default" in kinds):
                continue
            if name == "governance":
                if not isinstance(value, Governance):
                    raise TypeError(f"governance must be a Governance value, not {type(value).__name__}")
                continue
            whole = kinds.startswith("int")
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            least = 1 if name in _AT_LEAST_ONE else 0
            try:
                if number and least <= float(cast("float", value)) < inf:
                    continue
                seen = repr(value)
            except OverflowError:
                seen = "one over 1e308"  # it is not shown; see `Governance`
            wanted = "a finite whole number" if whole else "a finite number"
            raise ValueError(f"{name} must be {wanted} >= {least}, not {seen}")
        if self.write_low_water > self.write_high_water:
            raise ValueError("write_low_water must not be over write_high_water")

    @classmethod
    def public(cls, **changes: Any) -> Self:
        """Return limits for a server that strangers can reach: the defaults, with at most 100 connections per peer.

        *changes* are fields to set differently: ``Limits.public(max_message=10_000)``.

        Raises:
            TypeError: A field in *changes* does not exist.
            ValueError: A value in *changes* is not a valid limit.
        """
        settings: dict[str, Any] = {"max_connections_per_peer": 100, **changes}
        return cls(**settings)

    def resolved(self, *, accepted: bool) -> Limits:
        """Return these limits with every DEFAULT replaced, for an accepted or a dialled connection."""
        return _resolved(self, accepted)


# The connections of a program share a few values: to check one costs 17 us, a fifth of all else in a connection.
@lru_cache(maxsize=64)
def _resolved(limits: Limits, accepted: bool) -> Limits:
    largest = limits.max_message
    if largest is DEFAULT:
        largest = MEBIBYTE if accepted else 64 * MEBIBYTE
    response = largest if limits.max_response is DEFAULT else limits.max_response
    governance = limits.governance.resolved(accepted=accepted)
    timeout = governance.processing_timeout
    if timeout is DEFAULT:
        timeout = limits.handler_timeout
    return replace(limits, max_message=largest, max_response=response, governance=governance, handler_timeout=timeout)


_DEFAULTS: Final = Limits()


def checked_limits(limits: object) -> Limits:
    """Return *limits*, or the defaults for None.

    Raises:
        TypeError: It is no `Limits` value.
    """
    if limits is None:
        return _DEFAULTS
    if not isinstance(limits, Limits):
        seen = "the class itself" if limits is Limits else type(limits).__name__
        raise TypeError(f"limits must be a Limits value or None, not {seen}")
    return limits


def ceiling(limit: float | Default | None) -> float:
    """Return a resolved limit as a number to compare with: inf where it is lifted."""
    if limit is DEFAULT:
        raise ValueError("the limits must be resolved first")
    return inf if limit is None else limit
