# SPDX-License-Identifier: MIT
"""Known dialects by their names."""

from __future__ import annotations

import pytest

from tieline import dialects
from tieline.wire.jsonrpc import known_dialects
from tieline.wire.jsonrpc.named_dialects import DIALECTS, chosen_dialect


def test_each_known_dialect_has_its_name() -> None:
    assert set(DIALECTS) == set(known_dialects.__all__)
    assert set(dialects.__all__) == set(DIALECTS) | {"CancelRule", "Dialect"}
    for name, dialect in DIALECTS.items():
        assert chosen_dialect(name) is chosen_dialect(dialect) is getattr(dialects, name)


@pytest.mark.parametrize("name", ["", "LSP", "chosen_dialect", "CancelRule", "__all__"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown dialect '.*': it must be one of acp, aria2, "):
        chosen_dialect(name)


@pytest.mark.parametrize("wrong", [None, 1, b"lsp", known_dialects])
def test_other_values_are_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="dialect must be a Dialect or the name of one, not "):
        chosen_dialect(wrong)
