# SPDX-License-Identifier: MIT
"""`tieline methods`, and what it makes of documents that others wrote."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Served
from tests.cli.programs import CommandLine, started
from tieline.cli.discovered import offered
from tieline.cli.exits import Exit, Failure

TABLE = """\
method    parameters                    result
add       a: integer, b?: integer       integer  Add two numbers.
echo      value: any                    any
the-name  *words?: string, **more?: integer  object   Take anything.
"""


def test_methods_are_listed_with_their_parameters(tieline: CommandLine, served: Served) -> None:
    done = tieline("methods", served.tcp)
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[:4] == [line.split() for line in TABLE.splitlines()]
    assert len(rows) == 9


def test_programs_get_the_whole_document(tieline: CommandLine, served: Served) -> None:
    done = tieline("methods", served.tcp, "--json")
    document = json.loads(done.out)
    assert (document["openrpc"], document["info"]["title"]) == ("1.3.2", "service.py")
    assert document["methods"][0]["description"] == "There is more to say."


def test_a_server_that_does_not_tell(tieline: CommandLine, tmp_path: Path) -> None:
    with started("serve", "tieline.cli.demo_service", "--no-discover", "-l", "unix:s", cwd=tmp_path) as server:
        lines = server.lines_until("Ctrl+C")
        assert not any("tieline methods" in line for line in lines)
        assert lines[2] == "try: tieline call unix:s add"
        done = tieline("methods", f"unix:{tmp_path}/s")
        assert done.code == 7
        assert "does not list its methods (no rpc.discover)" in done.error
        done = tieline("call", f"unix:{tmp_path}/s", "ad")
        assert (done.code, done.error) == (
            7,
            f"unix://{tmp_path}/s has no method 'ad' (and does not tell which it has)",
        )


DOCUMENTS = [
    ({"methods": []}, []),
    ({"methods": [7, {}, {"name": 7}, {"name": "f"}]}, ["f() -> any: "]),
    ({"methods": [{"name": "f", "params": 7, "result": [], "summary": 7}]}, ["f() -> any: 7"]),
    ({"methods": [{"name": "f", "description": "One.\nTwo."}]}, ["f() -> any: One."]),
    (
        {"methods": [{"name": "f", "params": [{"name": "a"}, {"$ref": "#"}, {"name": "b", "schema": 1}]}]},
        ["f(a?: any, b?: any) -> any: "],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "told"), DOCUMENTS)
def test_what_is_malformed_is_left_out(document: object, told: list[str]) -> None:
    assert [f"{each.signature()} -> {each.result}: {each.summary}" for each in offered(document)] == told


@pytest.mark.parametrize("document", [None, 7, [], {}, {"methods": {}}, "text"])
def test_what_is_no_document_is_told(document: object) -> None:
    with pytest.raises(Failure, match="no OpenRPC document") as caught:
        offered(document)
    assert caught.value.code is Exit.LOST


CIRCLE: dict[str, object] = {"type": "array"}
CIRCLE["items"] = CIRCLE

TYPES: list[tuple[object, str]] = [
    ({"type": "integer"}, "integer"),
    ({}, "any"),
    (True, "any"),
    ({"type": ["integer", "null"]}, "integer or null"),
    ({"type": "array", "items": {"type": "string"}}, "array of string"),
    ({"type": "array"}, "array"),
    ({"type": "array", "prefixItems": []}, "array"),
    ({"$ref": "#/components/schemas/Point"}, "Point"),
    ({"allOf": [{"$ref": "#/components/schemas/Point"}], "default": {}}, "Point"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
    ({"oneOf": [{"type": "integer"}, {"type": "integer"}]}, "integer"),
    ({"enum": ["a", 1]}, "'a' or 1"),
    (CIRCLE, "array of array of array of array of array of ..."),
]


@pytest.mark.parametrize(("schema", "text"), TYPES, ids=lambda value: value if isinstance(value, str) else "")
def test_types_are_told_in_words(schema: object, text: str) -> None:
    (found,) = offered({"methods": [{"name": "f", "result": {"name": "result", "schema": schema}}]})
    assert found.result == text
