# SPDX-License-Identifier: MIT
"""The kit for dialects: all known ones pass, and each deliberate fault fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.testing.failing import failing
from tieline import dialects
from tieline.testing import DIALECT_CASES, Case, DialectRig
from tieline.wire.jsonrpc import known_dialects
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.dialects import CancelRule, Dialect

SAID: dict[str, dict[str, list[bytes]]] = {
    "bitcoin": {
        "calls": [b'{"jsonrpc":"1.0","id":"curltest","method":"getblockcount","params":[]}'],
        "answers": [b'{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":"curltest"}'],
        "refused": [b'{"id":1}', b"[]"],
    },
    "ovsdb": {
        "calls": [b'{"id":0,"method":"list_dbs","params":[]}', b'{"id":null,"method":"update","params":[null,{}]}'],
        "answers": [b'{"id":0,"error":"unknown method","result":null}'],
    },
    "lsp": {
        "calls": [b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}', b'{"jsonrpc":"2.0","method":"exit"}'],
        "answers": [b'{"jsonrpc":"2.0","id":1,"result":null}'],
        "refused": [b'[{"jsonrpc":"2.0","id":1,"method":"f"}]', b'{"id":1,"method":"f"}'],
    },
}
RIGS = [DialectRig(getattr(known_dialects, name), **SAID.get(name, {})) for name in known_dialects.__all__]


@pytest.mark.parametrize("rig", RIGS, ids=lambda rig: rig.dialect.name.replace(" ", "-"))
@pytest.mark.parametrize("case", DIALECT_CASES, ids=str)
def test_each_known_dialect(case: Case, rig: DialectRig) -> None:
    case.run(rig)


class Broken(DialectRig):
    """Has its machines speak another dialect than it says."""

    speaks: Dialect

    def machine(self, *, accepted: bool) -> Connection:
        return DialectRig(self.speaks).machine(accepted=accepted)


def broken(claims: Dialect, speaks: Dialect, **said: Any) -> Broken:
    rig = Broken(claims, **said)
    object.__setattr__(rig, "speaks", speaks)
    return rig


WORD = CancelRule(method="stop")
V2 = dialects.strict_v2
CLAIMS: list[tuple[str, Broken, str]] = [
    ("a word to take calls back", broken(replace(V2, name="claims", cancel=WORD), V2), "a_call_is_taken_back"),
    ("no such word", broken(V2, replace(V2, name="has one", cancel=WORD)), "a_call_is_taken_back"),
    ("no batches", broken(replace(V2, name="claims", batches=False), V2), "a_batch"),
    ("batches", broken(V2, replace(V2, name="has none", batches=False)), "a_batch"),
    ("names only", broken(replace(V2, name="claims", positional_params=False), V2), "only_its_parameters"),
    ("positions only", broken(replace(V2, name="claims", named_params=False), V2), "only_its_parameters"),
    ("calls of others", broken(V2, V2, calls=[b'{"method":"f","id":1}']), "messages_of_others"),
    ("refuses", broken(V2, V2, refused=[b'{"jsonrpc":"2.0","method":"f","id":1}']), "messages_of_others"),
    ("answers of others", broken(V2, V2, answers=[b'{"jsonrpc":"2.0","method":"f"}']), "messages_of_others"),
]


@pytest.mark.parametrize(("rig", "case"), [row[1:] for row in CLAIMS], ids=[row[0] for row in CLAIMS])
def test_a_dialect_that_is_not_what_it_says_fails(rig: Broken, case: str) -> None:
    assert failing(DIALECT_CASES, rig) == {case}


class Mixed(Connection):
    """Answers the wrong call, changes values, answers notifications: each by name."""

    fault = ""

    def reply(self, request: Any, result: Any) -> Any:
        if self.fault == "changes values":
            result = [result]
        return super().reply(request, result)

    def fail(self, request: Any, error: Any, *, costs: bool = True) -> Any:
        if self.fault == "changes codes":
            error = type(error)(error.code + 1, error.message)
        return super().fail(request, error, costs=costs)


@pytest.mark.parametrize(
    ("fault", "cases"),
    [
        ("changes values", {"a_call_and_its_answer", "answers_in_any_order", "a_batch"}),
        ("changes codes", {"an_error_comes_over"}),
    ],
)
def test_a_machine_that_does_so_fails(fault: str, cases: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mixed, "fault", fault)
    monkeypatch.setattr("tieline.testing.dialects.Connection", Mixed)
    assert failing(DIALECT_CASES, DialectRig(V2)) == cases


def test_a_rig_says_which_dialect_it_is() -> None:
    assert repr(DialectRig(V2)) == "DialectRig(JSON-RPC 2.0)"
