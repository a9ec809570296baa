# SPDX-License-Identifier: MIT
"""rpc/session_classes.py: what a class has overridden, also when it was patched later."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tieline import JSONRPCv2, RPCRequest, ServerSession, StdlibCodec
from tieline.rpc.handling import Handling
from tieline.rpc.session import SessionBase
from tieline.rpc.session_classes import NAMES, overrides


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


@pytest.mark.parametrize("name", NAMES)
def test_each_name_counts_by_itself(name: str) -> None:
    assert overrides(type("Own", (ServerSession,), {name: lambda *_args: None}), SessionBase) == {name}


def test_a_class_that_is_patched_later_is_seen_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "request_handler" not in overrides(Handles, SessionBase)
    monkeypatch.setattr(Handles, "request_handler", lambda _self, _name: None)
    assert overrides(Handles, SessionBase) == {"handle_request", "request_handler"}


def handling_of(protocol: type[JSONRPCv2]) -> Handling:
    """Return what handles the calls of a new session that speaks *protocol*."""

    async def made() -> Handling:
        session = ServerSession(rpc_protocol=protocol)
        session.new_link(accepted=True)
        assert session._engine is not None
        return session._engine.handling

    return asyncio.run(made())


def test_a_protocol_class_that_is_patched_later_is_seen_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(JSONRPCv2):
        pass

    assert handling_of(Own).may_be_direct, "nothing but methods that are looked up"
    monkeypatch.setattr(Own, "dialect", replace(Own.dialect, ping="ping"))
    assert not handling_of(Own).may_be_direct
    monkeypatch.setattr(Own, "codec", StdlibCodec())
    assert handling_of(Own).convert == Own.codec.convert
