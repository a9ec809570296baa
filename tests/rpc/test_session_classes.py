# SPDX-License-Identifier: MIT
"""rpc/session_classes.py: what a class has overridden, also when it was patched later."""

from __future__ import annotations

from typing import Any

import pytest

from tieline import RPCRequest, ServerSession
from tieline.rpc.session import SessionBase
from tieline.rpc.session_classes import overrides


class Handles(ServerSession):
    async def handle_request(self, request: RPCRequest) -> Any:
        return None


class Cleans(Handles):
    async def connection_lost(self) -> None: ...


def test_stock_classes_override_nothing_and_share_the_answer() -> None:
    assert overrides(ServerSession, SessionBase) == frozenset()
    assert overrides(ServerSession, SessionBase) is overrides(SessionBase, SessionBase)


def test_what_a_base_overrides_counts() -> None:
    assert overrides(Handles, SessionBase) == {"handle_request"}
    assert overrides(Cleans, SessionBase) == {"handle_request", "connection_lost"}


def test_a_class_that_is_patched_later_is_seen_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "request_handler" not in overrides(Handles, SessionBase)
    monkeypatch.setattr(Handles, "request_handler", lambda _self, _name: None)
    assert overrides(Handles, SessionBase) == {"handle_request", "request_handler"}
