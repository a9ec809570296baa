# SPDX-License-Identifier: MIT
"""Which cases of a kit a rig fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tieline.testing import Case, ContractBroken


def failing(cases: Iterable[Case], rig: Any) -> set[str]:
    """Return the names of the cases that *rig*, or what it returns for each, fails; variants as ``name[*]``."""
    found = set()
    for case in cases:
        one: Any = rig() if callable(rig) else rig
        try:
            case.run(one)
        except ContractBroken as exc:
            text = str(exc)
            assert text.startswith(case.name), text
            assert all(row in text for row in case.rows), text
            name, _, variant = case.name.partition("[")
            found.add(f"{name}[*]" if variant else name)
    return found
