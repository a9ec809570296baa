# SPDX-License-Identifier: MIT
"""`tieline version`: what is installed, for reports of bugs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from tieline.cli.showing import out

__all__ = ["show_version"]

_OTHERS: Final = ("msgspec", "uvloop", "typer", "rich")


def show_version() -> None:
    """Print the versions of tieline, Python and optional packages."""
    out(f"tieline {version('tieline')}")
    out(f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}")
    out(", ".join(f"{name} {_version(name)}" for name in _OTHERS))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
