# SPDX-License-Identifier: MIT
"""How the public modules load a name when it is first used: one thread at a time, whichever module and name it is.

Importing a module takes a lock of that module, and importing `package.part` takes the one of the part before the one
of the package, while a package that imports its own parts takes them the other way round. Two threads that load at
once could so come to wait for each other; importlib then ends one with an error, or shows it half a module.

Waiting for the one lock here cannot close such a circle: who holds it waits for modules below the public ones, and
none of those uses a public name while it is itself being loaded (tests/architecture.py).
"""

from __future__ import annotations

import os
import sys
from _thread import RLock  # as in threading, which would be a module more to load
from importlib import import_module

__all__ = ["FACES", "loaded"]

# The public modules below the package: `tieline.blocking.connect` needs no `import tieline.blocking`.
FACES = {
    name: f"tieline.{name}"
    for name in (
        *("backend", "blocking", "clients", "converter", "dialects", "exceptions", "protocol", "serializers"),
        *("servers", "socket", "testing", "transports"),
    )
}

_lock = RLock()  # loading may itself use a public name: in a signal handler, or in an import of an optional package

if hasattr(os, "register_at_fork"):  # a child has one thread: whatever another one was loading would stay half loaded
    os.register_at_fork(before=_lock.acquire, after_in_child=_lock.release, after_in_parent=_lock.release)


def loaded(face: dict[str, object], homes: dict[str, str], name: str) -> object:
    """Return the public *name*, and put it among the names of the module, so that nobody asks for it again.

    Args:
        face: The names of the public module, its ``globals()``.
        homes: Which module has which of the names that are loaded late; of a public module, it itself.
        name: The name that was asked for.

    Raises:
        AttributeError: There is none.
    """
    own = face["__name__"]
    with _lock:
        try:
            home = homes[name]
        except KeyError:
            raise AttributeError(f"module {own!r} has no attribute {name!r}{_lead(name)}") from None
        module = import_module(home)
        value: object = module if home == f"{own}.{name}" else getattr(module, name)
    face[name] = value
    return value


def _lead(name: str) -> str:
    """Return where else *name* is public, for who looked in the wrong module; of those that are loaded.

    Nothing is loaded for it: `hasattr` asks as well, and so does `pickle`, of all modules that there are.
    """
    homes = [home for home in ("tieline", *FACES.values()) if name in getattr(sys.modules.get(home), "__all__", ())]
    found = " and ".join(homes)
    return found and f": it is in {found}"
