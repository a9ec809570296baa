# SPDX-License-Identifier: MIT
"""rpc/session_classes.py: what a class has overridden, also when it was patched later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tieline import JSONRPCv2, RPCRequest, ServerSession, StdlibCodec
from tieline.rpc.handling import _ways_to_handle
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


def test_a_protocol_class_that_is_patched_later_is_seen_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(JSONRPCv2):
        pass

    assert _ways_to_handle(Own, frozenset())[-1], "nothing but methods that are looked up"
    monkeypatch.setattr(Own, "dialect", replace(Own.dialect, ping="ping"))
    assert _ways_to_handle(Own, frozenset())[-2:] == ("ping", False)
    monkeypatch.setattr(Own, "codec", StdlibCodec())
    assert _ways_to_handle(Own, frozenset())[2] == Own.codec.convert
