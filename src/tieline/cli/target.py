# SPDX-License-Identifier: MIT
"""What `tieline serve` serves: from ``module:attribute``, or a file, to what `tieline.serve` takes."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import tieline
from tieline.cli.exits import Exit, Failure

__all__ = ["load"]

_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load(target: str, *, is_factory: bool = False) -> tieline.Methods | Callable[[], Any]:
    """Import and return what *target* names, as something that `tieline.serve` takes.

    A registry is served as it is; a class derived from `ServerSession`, or from a protocol, makes what serves each
    connection; of any other class one object is made. Public methods of an object, and functions, are registered.
    Without an attribute it is the one registry in the module. With *is_factory* the attribute is called first.

    Raises:
        Failure: It cannot be found, imported, or served.
    """
    where, colon, attribute = target.rpartition(":")
    if not colon or not _ATTRIBUTE.fullmatch(attribute):
        where, attribute = target, ""
    module = _module(where)
    found: Any = _attribute(module, attribute) if attribute else _only_registry(module, target)
    try:
        return _servable(found() if is_factory else found)
    except Failure:
        raise
    except Exception as exc:
        raise _user_code_failed(f"{target} cannot be served", exc) from exc


# --- finding ---------------------------------------------------------------------------------------------------------


def _module(where: str) -> ModuleType:
    """Import a module by its name, or a file by its path."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    is_file = where.endswith(".py") or "/" in where or os.sep in where
    if not is_file and not _ATTRIBUTE.fullmatch(where):
        raise Failure(Exit.USAGE, f"{where!r} is neither the name of a module nor a .py file; say MODULE:ATTRIBUTE")
    try:
        return _from_file(Path(where)) if is_file else importlib.import_module(where)
    except Failure:
        raise
    except ModuleNotFoundError as exc:
        if not is_file and exc.name is not None and f"{where}.".startswith(f"{exc.name}."):
            raise Failure(Exit.USAGE, f"there is no module {exc.name!r}{_similar_files(where)}") from exc
        raise _user_code_failed(f"{where} cannot be imported", exc) from exc
    except (Exception, SystemExit) as exc:
        raise _user_code_failed(f"{where} cannot be imported", exc) from exc


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Failure(Exit.USAGE, f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise Failure(Exit.USAGE, f"{str(path)!r} is not a Python file: its name must end with .py")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # what stands beside it is importable, as when Python runs the file
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            shown = getattr(found, "__name__", type(found).__name__)
            raise Failure(Exit.USAGE, f"{shown} has no {name!r}{_offered(found, name)}") from None
    return found


def _only_registry(module: ModuleType, target: str) -> tieline.Methods:
    found = {name: value for name, value in vars(module).items() if isinstance(value, tieline.Methods)}
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    count = "several registries" if found else "no registry"
    raise Failure(
        Exit.USAGE,
        f"{target}: say which attribute is to be served, as {target}:NAME; there is {count}{_offered(module, '')}",
    )


def _offered(owner: object, name: str) -> str:
    """Return what could be served instead of *name*, for a text."""
    names = [each for each, value in vars(owner).items() if _is_candidate(owner, each, value)]
    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f" (it has: {', '.join(names[:8])})" if names else ""


def _is_candidate(owner: object, name: str, value: object) -> bool:
    if name.startswith("_") or inspect.ismodule(value):
        return False
    return isinstance(value, tieline.Methods) or getattr(value, "__module__", None) == getattr(owner, "__name__", "")


def _similar_files(where: str) -> str:
    close = difflib.get_close_matches(where, _names_here(), 1)
    return f"; did you mean {close[0]!r}?" if close else f" in {os.getcwd()}, nor is it installed"


def _names_here() -> Iterable[str]:
    return [path.stem for path in Path().glob("*.py")]


# --- serving ---------------------------------------------------------------------------------------------------------


def _servable(found: Any) -> tieline.Methods | Callable[[], Any]:
    if isinstance(found, tieline.Methods):
        return found
    if isinstance(found, type):
        kind = cast("type[Any]", found)
        if issubclass(kind, tieline.SessionBase) or hasattr(kind, "connection_made"):
            return kind
        found = kind()
    methods = tieline.Methods()
    if inspect.isroutine(found) or isinstance(found, partial):
        methods.method(cast("Callable[..., object]", found))
    elif isinstance(found, ModuleType):
        raise Failure(Exit.USAGE, f"{found.__name__} is a module: say which of its attributes is to be served")
    else:
        methods.add(found)
    return methods


def _user_code_failed(what: str, exc: BaseException) -> Failure:
    """Return the failure for what a user's own code raised; its traceback is logged for those who ask."""
    logging.getLogger("tieline.cli").debug("%s", what, exc_info=exc)
    place = ""
    for frame in traceback.extract_tb(exc.__traceback__):
        if not frame.filename.startswith("<") and not frame.filename.startswith(os.path.dirname(tieline.__file__)):
            place = f" ({frame.filename}:{frame.lineno})"
    if isinstance(exc, SyntaxError):
        place = f" ({exc.filename}:{exc.lineno})"
        return Failure(Exit.USAGE, f"{what}: {exc.msg}{place}")
    return Failure(Exit.USAGE, f"{what}: {type(exc).__name__}: {exc}{place}; --log-level debug shows more")
