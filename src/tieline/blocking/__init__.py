# SPDX-License-Identifier: MIT
"""Calls over any connection, from blocking code: plain scripts, and programs with threads.

Everything here is imported only when it is first used. What the two worlds share is in `tieline` itself.
"""

# As in tieline/__init__.py: nothing is imported here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tieline.rpc.blocking.client import ClientSession, connect
    from tieline.rpc.blocking.session import SessionBase

_MODULES = {
    "tieline.rpc.blocking.client": ("ClientSession", "connect"),
    "tieline.rpc.blocking.session": ("SessionBase",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["ClientSession", "SessionBase", "connect"]


def __getattr__(name: str) -> object:
    try:
        module = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    from importlib import import_module  # here, as above

    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
