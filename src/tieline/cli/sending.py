# SPDX-License-Identifier: MIT
"""Sending what was typed: a call or a notification on an open session."""

from __future__ import annotations

from typing import Any

import tieline
from tieline.cli.exits import Exit, Failure

__all__ = ["called", "error_object", "notified"]


async def called(session: tieline.SessionBase, method: str, args: Any, timeout: float | None = None) -> Any:
    """Call *method* and return its result; *timeout* None = that of the library.

    Raises:
        Failure: It cannot be sent.
    """
    try:
        request = session.send_request(method, args, timeout=tieline.DEFAULT if timeout is None else timeout)
    except (TypeError, ValueError, RecursionError) as exc:
        raise _unsendable(exc) from exc
    return await request


async def notified(session: tieline.SessionBase, method: str, args: Any) -> None:
    """Send a notification.

    Raises:
        Failure: It cannot be sent.
    """
    try:
        session.send_notification(method, args)
    except (TypeError, ValueError, RecursionError) as exc:
        raise _unsendable(exc) from exc


def error_object(exc: tieline.RPCError) -> dict[str, Any]:
    """Return an error as JSON-RPC has it."""
    error = {"code": exc.code, "message": exc.message}
    return error if exc.data is None else error | {"data": exc.data}


def _unsendable(exc: Exception) -> Failure:
    return Failure(Exit.USAGE, f"the arguments cannot be sent: {exc}")
