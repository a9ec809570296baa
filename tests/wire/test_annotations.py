# SPDX-License-Identifier: MIT
"""What the core imports for annotations only is really there, and every annotation can be resolved."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

import tieline.wire

FOLDER = Path(tieline.wire.__file__).parent
FILES = [path for path in sorted(FOLDER.rglob("*.py")) if "TYPE_CHECKING" in path.read_text()]


def _as_type_checkers_see_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module in *path*, executed once more and apart from the one that everybody uses."""
    name = "tieline.wire." + ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setattr(typing, "TYPE_CHECKING", True)
    spec.loader.exec_module(module)
    return module


class _Fields:
    """The fields of a dataclass, without its bases, which may be of other modules."""

    def __init__(self, of: type) -> None:
        self.__annotations__ = of.__annotations__


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_annotation_of_a_module_can_be_resolved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _as_type_checkers_see_it(path, monkeypatch)
    owned = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    classes = [value for value in owned if inspect.isclass(value)]
    annotated: list[object] = [value for value in owned if inspect.isfunction(value)]
    annotated += [member for value in classes for member in vars(value).values() if inspect.isfunction(member)]
    annotated += [_Fields(value) for value in classes if dataclasses.is_dataclass(value)]
    assert annotated
    for one in annotated:
        assert isinstance(typing.get_type_hints(cast("Any", one), vars(module)), dict)
