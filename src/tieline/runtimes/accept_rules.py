# SPDX-License-Identifier: MIT
"""Accepting, as on every runtime: how much at once, which errors are passed over, and how others are waited out."""

from __future__ import annotations

import errno
import logging
import time
from math import inf
from typing import Final

__all__ = ["FULL_ROUNDS", "MADE_AT_ONCE", "MAX_WAITING", "PASSED_OVER", "RETRY_AFTER", "TOLD_EVERY", "tell_pause"]

log = logging.getLogger("tieline.Listener")

# Connections that become transports in one turn of the loop; that takes 3 to 5 ms.
MADE_AT_ONCE: Final = 32
# Sockets that are accepted and wait for that. The system's own queue must not be full, not even for a moment: it then
# drops what comes, and a client tries again after a second. Accepting is cheap and making a transport is not.
MAX_WAITING: Final = 1024
# So often in a row as many must have come as were asked for, until twice as many are asked for.
FULL_ROUNDS: Final = 8
# Seconds until accepting is tried again when the process is out of descriptors or memory: one system call each time.
RETRY_AFTER: Final = 0.1
# Seconds from one log line about that to the next, in the whole process: its descriptors are what is short.
TOLD_EVERY: Final = 10.0

# What accept says of a connection that is over already, or that a firewall refuses; Linux hands on errors of the
# network too. The next one may be good.
PASSED_OVER: Final = frozenset(
    getattr(errno, name, -1)
    for name in (
        *("ECONNABORTED", "EPROTO", "EPERM", "ECONNRESET", "EINTR"),
        *("ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT"),
    )
)

_last_told = -inf


def tell_pause(error: OSError) -> None:
    """Log that accepting pauses because of *error*, if that has not been said lately."""
    # Anything unforeseen pauses as well: whatever it is, it must not make the loop spin.
    global _last_told
    if time.monotonic() >= _last_told + TOLD_EVERY:
        _last_told = time.monotonic()
        log.warning("accepting connections pauses, and is tried again every %g s: %s", RETRY_AFTER, error)
