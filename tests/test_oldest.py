# SPDX-License-Identifier: MIT
"""The oldest libraries that users may have are those that `make test-oldest` installs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_oldest_libraries_are_those_that_are_declared() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = [Requirement(text) for group in (project["dependencies"], *extras) for text in group]
    pinned = [Requirement(text) for text in PROJECT["dependency-groups"]["oldest"] if isinstance(text, str)]
    assert {
        one.name: Version(str(one.specifier).removeprefix(">=")) for one in declared if one.name != project["name"]
    } == {one.name: Version(str(one.specifier).removeprefix("==")) for one in pinned}
