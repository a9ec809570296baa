# SPDX-License-Identifier: MIT
"""What sessions are to their engines and to their handlers: the part of them that these use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable

    from tieline.rpc.methods import Method, Methods
    from tieline.rpc.outcomes import FailureLog
    from tieline.wire.jsonrpc.items import RPCRequest
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["CallOwner", "MessageOwner", "Owner"]


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
