# SPDX-License-Identifier: MIT
"""What there is to know of a class of sessions.

Handlers may ask for a session by its class, which is marked for that. And users override methods: what they have not
overridden need not be called.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Final

__all__ = ["Caller", "overrides"]

_NAMES: Final = (
    "handle_request",
    "request_handler",
    "notification_handler",
    "connection_lost",
    "extra_cost",
    "on_disconnect_due_to_excessive_session_cost",
)
_ask_all: Final = attrgetter(*_NAMES)


class Caller:
    """Mark the classes that a handler may name to get the session that calls it.

    A parameter that is annotated with a class derived from this one is filled with that session, and the peer neither
    sees nor reaches it.
    """

    __slots__ = ()


def overrides(cls: type, stock: type) -> frozenset[str]:
    """Return the names of the methods that *cls* has and its base *stock* has not.

    Found anew each time: a class may be patched after it was made.
    """
    try:
        if _ask_all(cls) == _ask_all(stock):
            return _NONE  # so it is nearly always
    except AttributeError:  # not all of them are there
        pass
    return _shared(*[name for name in _NAMES if getattr(cls, name, None) is not getattr(stock, name, None)])


@cache  # there are 64 of them, and each takes 216 bytes, an empty one too
def _shared(*names: str) -> frozenset[str]:
    return frozenset(names)


_NONE: Final = _shared()
