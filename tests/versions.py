# SPDX-License-Identifier: MIT
"""Which version of a library is here, for what differs between the oldest that tieline takes and the newest."""

from importlib.metadata import version

__all__ = ["is_before"]


def is_before(library: str, *parts: int) -> bool:
    """Return whether the installed *library* is older than the version of these *parts*."""
    return tuple(int(part) for part in version(library).split(".")[: len(parts)]) < parts
