# SPDX-License-Identifier: MIT
"""What the parts of a session are to each other: of each, what the others use.

This is for type checkers and readers alone. No program loads it, so it is imported under ``TYPE_CHECKING`` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tieline.runtimes.ports import Machine

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.rpc.methods import Method, Methods
    from tieline.rpc.outcomes import FailureLog
    from tieline.runtimes.backend import Backend
    from tieline.runtimes.host import Host
    from tieline.wire.governance import Meter
    from tieline.wire.jsonrpc.events import Event
    from tieline.wire.jsonrpc.items import RPCRequest
    from tieline.wire.jsonrpc.lone import LoneConnection
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.jsonrpc.reading import Request
    from tieline.wire.limits import Limits

__all__ = ["Boss", "CallOwner", "Gated", "MessageOwner", "Owner", "SessionMachine", "Told", "Walked", "Window"]


class Owner(Protocol):
    """The session that an engine belongs to."""

    limits: Limits

    @property
    def log(self) -> logging.Logger: ...

    @property
    def failure_log(self) -> FailureLog: ...

    def peer_name(self) -> str: ...

    async def connection_lost(self) -> None: ...

    def extra_cost(self) -> float: ...

    def on_disconnect_due_to_excessive_session_cost(self) -> object: ...


class MessageOwner(Owner, Protocol):
    """A session of messages."""

    ordered: ClassVar[bool]

    def handle_message(self, message: Any, /) -> Awaitable[None] | None: ...


class CallOwner(Owner, Protocol):
    """A session of calls."""

    methods: Methods

    @property
    def protocol(self) -> type[JSONRPC]: ...

    async def handle_request(self, request: RPCRequest, /) -> object: ...

    def request_handler(self, name: str, /) -> Method | Callable[..., object] | None: ...

    def notification_handler(self, name: str, /) -> Method | Callable[..., object] | None: ...


class Told(Protocol):
    """Who is told that a session has ended: what a task waits for, or what stands for many of those."""

    def done(self) -> bool:
        """Return whether it need not be told."""
        ...

    def set_result(self, result: None, /) -> None:
        """Hear of it."""


class Boss(Protocol):
    """Who has handlers run: a session's engine."""

    @property
    def backend(self) -> Backend: ...

    def handler_ended(self) -> None: ...

    def give_up(self, message: Any, /) -> None: ...


class Answers(Protocol):
    """What a walker needs of `tieline.rpc.handling.Handling`."""

    @property
    def convert(self) -> Any: ...  # a `Convert`; of a protocol's attribute pyright takes that for a method

    def reply(self, message: Request, result: object, /) -> bool: ...

    def reply_beside(self, message: Request, result: object, /) -> None: ...

    def failed(self, message: Request, exc: BaseException, /) -> None: ...


class Walked(Protocol):
    """What a walker needs of `tieline.rpc.call_engine.CallEngine`."""

    @property
    def handling(self) -> Answers: ...

    @property
    def host(self) -> Host: ...

    @property
    def machine(self) -> LoneConnection: ...

    @property
    def session(self) -> CallOwner: ...

    def handle_beside(self, event: Event, /) -> None: ...


class Gated(Protocol):
    """The machine behind a gate, as far as the gate asks it."""

    is_direct: bool

    @property
    def concurrency(self) -> float: ...

    @property
    def delay(self) -> float: ...

    @property
    def is_strained(self) -> bool: ...

    @property
    def open_calls(self) -> int: ...


class Window(Machine, Protocol):
    """A machine that has room for what goes out, or has not."""

    @property
    def has_room(self) -> bool:
        """Whether the peer and the transport take one more call."""
        ...

    @property
    def open_calls(self) -> int:
        """How many calls of ours are unanswered."""
        ...

    @property
    def max_calls(self) -> int:
        """How many may be, as things are."""
        ...

    @property
    def takes_notifications(self) -> bool:
        """Whether what has no answer may be sent."""
        ...


class SessionMachine(Window, Protocol):
    """The machine of a session, as its engine sees it.

    Attributes:
        peer_has_ended: The peer has ended its stream: what it has said is worth to be handled.
    """

    peer_has_ended: bool

    @property
    def abandoned(self) -> int:
        """How many calls of the peer's were unanswered when it went away."""
        ...

    @property
    def taken_up(self) -> int:
        """How many messages of the peer's had been taken up by then."""
        ...

    def turn_away(self, text: str, now: float, *, is_excessive: bool = False) -> object:
        """Refuse a connection that has just been made."""

    # --- what the peer costs -------------------------------------------------------------------------------------

    group: Any
    is_direct: bool

    @property
    def meter(self) -> Meter | None: ...

    @property
    def is_strained(self) -> bool: ...

    @property
    def concurrency(self) -> float: ...

    @property
    def delay(self) -> float: ...

    @property
    def owes(self) -> bool: ...

    def spare_bytes(self) -> None: ...

    def cost(self, now: float) -> float: ...

    def charge(self, delta: float) -> None: ...

    def check_cost(self, now: float) -> Sequence[Any]: ...

    def settle_account(self, now: float) -> object: ...

    def look_again(self) -> None: ...

    def group_share(self, now: float) -> float: ...
