# SPDX-License-Identifier: MIT
"""errors.py: which costs users may name, and which are refused."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from tieline import ServerSession
from tieline.errors import RPCError
from tieline.finite import finite_number

pytestmark = pytest.mark.row("S11")

REFUSED: list[tuple[Any, type[Exception], str]] = [
    ("abc", TypeError, "cost must be a number, not str"),
    (None, TypeError, "cost must be a number, not NoneType"),
    (True, TypeError, "cost must be a number, not bool"),
    (1j, TypeError, "cost must be a number, not complex"),
    (nan, ValueError, "cost must be a finite number, not nan"),
    (inf, ValueError, "cost must be a finite number, not inf"),
    (-inf, ValueError, "cost must be a finite number, not -inf"),
    (10**400, ValueError, "cost must be a finite number, not one over 1e308"),
    (-(10**400), ValueError, "cost must be a finite number, not one over 1e308"),
]


@pytest.mark.parametrize(("value", "kind", "text"), REFUSED)
def test_what_an_error_cannot_cost(value: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=f"^{text}$"):
        RPCError(1, "no", cost=value)


@pytest.mark.parametrize(("value", "kind", "text"), REFUSED)
def test_what_no_session_can_cost(value: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=f"^{text.replace('cost', 'delta', 1)}$"):
        ServerSession().bump_cost(value)


@pytest.mark.parametrize("value", [0, 7, -2.5, 1e308])
def test_what_an_error_can_cost(value: float) -> None:
    assert RPCError(1, "no", cost=value).cost == finite_number("cost", value) == value
