# SPDX-License-Identifier: MIT
"""What sessions of any kind on any runtime have alike: limits and framing."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from tieline.endpoints.websocket import WebSocket
from tieline.errors import LocalProtocolError
from tieline.finite import finite_number
from tieline.rpc.facts import EngineT, SessionFacts
from tieline.wire.framing.base import FramerBase, fresh_framer, own_framer
from tieline.wire.limits import checked_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.urls import Endpoint
    from tieline.wire.limits import Limits

__all__ = ["SessionCore", "check_framer"]


class SessionCore(SessionFacts[EngineT]):
    """The part of a session that waits for nothing.

    Attributes:
        limits: The limits of the connection.
    """

    __slots__ = ("_carrier_framer", "_framer", "limits")

    # What most sessions have is the class's, until one has another.
    _dialect_framer: type[FramerBase] | None = None
    _loop: object = None
    _is_unwanted: bool = False  # closed, perhaps before it was connected

    def __init__(
        self,
        framer: FramerBase[Any] | type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None,
        limits: Limits | None,
        loop: object,
    ) -> None:
        super().__init__()
        self.limits = checked_limits(limits)
        if framer is not None:
            _check_makes_framer(framer)
        self._framer = framer
        self._carrier_framer: type[FramerBase] | None = None
        if loop is not None:
            self._loop = loop

    # Whether messages are texts of JSON, which go into lines.
    _has_lines: ClassVar[bool] = True

    @abstractmethod
    def default_framer(self) -> FramerBase[Any]:
        """Return a new framer for sessions that were given none. Limits are resolved by then."""

    # --- what the peer costs -------------------------------------------------------------------------------------

    def bump_cost(self, delta: float) -> None:
        """Charge the peer for something expensive that it requested, or, with a negative *delta*, refund it; see
        `Governance`.

        Over the hard limit the session ends at once. Nothing happens before it is connected, or after it has ended.

        Raises:
            TypeError: *delta* is not a number.
            ValueError: It is not finite.
        """
        cost = finite_number("delta", delta)
        if self._engine is not None:
            self._engine.bump_cost(cost)

    def extra_cost(self) -> float:
        """Return what is added to this session's own cost when that is compared with the limits. It may be negative.

        By default, that is the cost of the other sessions of its group, including those that have ended. Override it
        for another rule. It is called whenever the cost is checked, and must be fast.
        """
        engine = self._engine
        return 0.0 if engine is None or engine.started is None else engine.machine.group_share(engine.host.now())

    def recalc_concurrency(self) -> None:
        """Check the cost now, and adjust how many handlers may run at once. Otherwise the next read does it."""
        if self._engine is not None:
            self._engine.check_cost()

    def on_disconnect_due_to_excessive_session_cost(self) -> Any:
        """Called when the session is ended because its peer exceeds the hard limit. Override it, plain or async."""

    def _dialled_host(self) -> str | None:
        """Return the host that was dialled by its name; None when there is none."""
        return None

    def _check_unconnected(self) -> None:
        if self._engine is not None:
            raise LocalProtocolError("a session serves one connection, and this one has had it: make a new session")

    def use_framing_of(self, endpoint: Endpoint) -> None:
        """Take note of where the connection is about to be made: a WebSocket has messages of its own.

        Raises:
            ValueError: It has, and the session was given a framer for a stream.
        """
        if isinstance(endpoint, WebSocket):
            check_framer(endpoint, self._framer)
            from tieline.wire.websocket import framing  # lazily: for WebSockets alone

            self._carrier_framer = framing.MessageLines if self._has_lines else framing.CountedMessages

    def _new_framer(self) -> FramerBase:
        framer: Any = self._carrier_framer
        if framer is None:
            framer = self._framer
        if framer is None:
            framer = self._dialect_framer
        if framer is None:
            return self.default_framer()
        if isinstance(framer, FramerBase):
            return own_framer(framer)  # pyright: ignore[reportUnknownArgumentType]  # isinstance does not tell of what
        return fresh_framer(framer, self._max_message())

    def _max_message(self) -> int:
        """Return the limit of messages as framers have it: 0 = none."""
        max_message = self.limits.max_message
        return max_message if isinstance(max_message, int) else 0


def _check_makes_framer(source: object) -> None:
    if not (callable(source) or isinstance(source, FramerBase)):
        raise TypeError(
            f"framer must be a framer, its class, or a function that makes one, not {type(source).__name__}"
        )


def check_framer(endpoint: Endpoint, framer: object) -> None:
    """Refuse a *framer* where *endpoint* has no use for it; None = there is none.

    Raises:
        ValueError: It is a WebSocket.
    """
    if framer is not None and isinstance(endpoint, WebSocket):
        raise ValueError("a framer is for streams of bytes: a WebSocket keeps messages apart itself")
