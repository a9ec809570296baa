# SPDX-License-Identifier: MIT
"""The asynchronous runtimes, as programs see them that run on whichever there is; what `client.backend()` returns."""

from __future__ import annotations

from tieline.runtimes.backend import AsyncBackend
from tieline.runtimes.detect import backend_named, current_backend
from tieline.runtimes.tasks import CancelScope, Event, Lock, TaskBackend, TaskGroup

__all__ = [
    "AsyncBackend",
    "CancelScope",
    "Event",
    "Lock",
    "TaskBackend",
    "TaskGroup",
    "backend_named",
    "current_backend",
]
