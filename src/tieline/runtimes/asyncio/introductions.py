# SPDX-License-Identifier: MIT
"""Introducing the transport of a loop to a protocol of a user's: when that fails, it is closed, and somebody told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Introduction"]


class Introduction(asyncio.Protocol):
    """The protocol of a connection up to `connection_made`; then the user's takes its place.

    Loops only report what `connection_made` raises, and go on with a protocol that knows nothing, or (uvloop) close the
    socket and tell nobody. Here the connection is closed, and the protocol told so with the same error.

    Args:
        protocol: The user's.
        on_failed: Is given what `connection_made` raises; None = `check` raises it.
        tell: Is given the transport before the protocol is.
    """

    __slots__ = ("_error", "_lost_with", "_on_failed", "_protocol", "_tell")

    def __init__(
        self,
        protocol: Any,
        on_failed: Callable[[BaseException], object] | None = None,
        tell: Callable[[Any], object] | None = None,
    ) -> None:
        self._protocol = protocol
        self._tell = tell
        self._on_failed = on_failed
        self._error: BaseException | None = None  # of `connection_made`, for `check`
        self._lost_with: BaseException | None = None  # the same, for the protocol

    def connection_made(self, transport: Any) -> None:
        if self._tell is not None:
            self._tell(transport)
        transport.set_protocol(self._protocol)
        try:
            self._protocol.connection_made(transport)
        except BaseException as exc:
            self._lost_with = exc
            transport.set_protocol(self)
            transport.abort()
            if self._on_failed is None:
                self._error = exc
            else:
                self._on_failed(exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        error, self._lost_with = self._lost_with, None  # whose frames refer to this
        self._protocol.connection_lost(error)

    def check(self) -> None:
        """Raise what `connection_made` has raised, if anything."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it refers to this frame
