# SPDX-License-Identifier: MIT
"""runtimes/fatal.py: what ends a program is found, however it is wrapped."""

from __future__ import annotations

import asyncio

import pytest

from tieline.runtimes.fatal import fatal_in


@pytest.mark.row("H58")
@pytest.mark.parametrize("fatal", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_the_program_is_found_in_groups_as_well(fatal: BaseException) -> None:
    assert fatal_in(fatal) is fatal
    inner = BaseExceptionGroup("inner", [asyncio.CancelledError(), fatal])
    assert fatal_in(BaseExceptionGroup("outer", [ExceptionGroup("", [ValueError()]), inner, SystemExit(4)])) is fatal


@pytest.mark.row("H58")
def test_as_deep_as_they_may_be() -> None:
    error: BaseException = KeyboardInterrupt()
    for _ in range(5000):
        error = BaseExceptionGroup("", [error])
    assert isinstance(fatal_in(error), KeyboardInterrupt)


@pytest.mark.row("H58")
@pytest.mark.parametrize(
    "error", [ValueError(), GeneratorExit(), asyncio.CancelledError(), BaseExceptionGroup("", [GeneratorExit()])]
)
def test_all_else_ends_none(error: BaseException) -> None:
    assert fatal_in(error) is None
