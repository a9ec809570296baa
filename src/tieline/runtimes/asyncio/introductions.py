# SPDX-License-Identifier: MIT
"""Introducing the transport of a loop to a protocol of a user's: when that fails, whoever dials is told."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Introduction"]


class Introduction(asyncio.Protocol):
    """The protocol of a connection up to `connection_made`; then the user's takes its place.

    Loops only report what `connection_made` raises, and go on with a protocol that knows nothing.
    """

    __slots__ = ("_error", "_protocol")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._error: Exception | None = None

    def connection_made(self, transport: Any) -> None:
        transport.set_protocol(self._protocol)
        try:
            self._protocol.connection_made(transport)
        except Exception as exc:
            self._error = exc
            transport.set_protocol(self)
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._protocol.connection_lost(self._error)

    def check(self) -> None:
        """Raise what `connection_made` has raised, if anything."""
        if self._error is not None:
            raise self._error
