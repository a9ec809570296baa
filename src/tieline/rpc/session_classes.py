# SPDX-License-Identifier: MIT
"""What there is to know of a class of sessions.

Handlers may ask for a session by its class, which is marked for that. And users override methods: what they have not
overridden need not be called.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

__all__ = ["NAMES", "Caller", "overrides"]

NAMES: Final = (
    "handle_request",
    "request_handler",
    "notification_handler",
    "connection_lost",
    "extra_cost",
    "on_disconnect_due_to_excessive_session_cost",
)


class Caller:
    """Mark the classes that a handler may name to get the session that calls it.

    A parameter that is annotated with a class derived from this one is filled with that session, and the peer neither
    sees nor reaches it.
    """

    __slots__ = ()


def overrides(cls: Any, stock: Any) -> frozenset[str]:
    """Return the names of the methods that *cls* has and its base *stock* has not.

    Found anew each time: a class may be patched after it was made.
    """
    try:
        # One by one, and by their names: that takes the interpreter a third of what it takes to get them by a table.
        if (
            cls.handle_request is stock.handle_request
            and cls.request_handler is stock.request_handler
            and cls.notification_handler is stock.notification_handler
            and cls.connection_lost is stock.connection_lost
            and cls.extra_cost is stock.extra_cost
            and cls.on_disconnect_due_to_excessive_session_cost is stock.on_disconnect_due_to_excessive_session_cost
        ):
            return _NONE  # so it is nearly always
    except AttributeError:  # not all of them are there
        pass
    return _shared(*[name for name in NAMES if getattr(cls, name, None) is not getattr(stock, name, None)])


@cache  # there are 64 of them, and each takes 216 bytes, an empty one too
def _shared(*names: str) -> frozenset[str]:
    return frozenset(names)


_NONE: Final = _shared()
