# SPDX-License-Identifier: MIT
"""Discovery: `rpc.discover` answers with an OpenRPC document, when the registry says so and only then."""

import enum
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest

import tieline


class Point(msgspec.Struct):
    """A place."""

    x: int
    y: int = 0


@dataclass
class Box:
    corners: tuple[Point, Point]


class Colour(enum.Enum):
    RED = "red"


class Stranger:
    """No JSON value is one."""


def described(function: Callable[..., object], name: str = "it") -> dict[str, Any]:
    """Return the Method Object of a function, as a peer gets it."""
    methods = tieline.Methods()
    methods.method(name=name)(function)
    methods.offer_discovery()
    (found,) = document_of(methods)["methods"]
    assert isinstance(found, dict)
    return found


def document_of(methods: tieline.Methods) -> dict[str, Any]:
    method = methods.get("rpc.discover")
    assert method is not None
    document: dict[str, Any] = method.invoke(msgspec.UNSET, None)
    assert msgspec.json.decode(msgspec.json.encode(document)) == document, "it is plain JSON"
    check(document)
    return document


def check(document: dict[str, Any]) -> None:
    """Check what the OpenRPC specification 1.3.2 asks of any document."""
    assert set(document) <= {"openrpc", "info", "methods", "components"}
    assert document["openrpc"] == "1.3.2"
    assert set(document["info"]) - {"description"} == {"title", "version"}
    names = [method["name"] for method in document["methods"]]
    assert len(set(names)) == len(names)
    for method in document["methods"]:
        assert {"name", "params", "result", "paramStructure"} <= set(method)
        assert set(method) <= {"name", "params", "result", "paramStructure", "summary", "description"}
        assert method["paramStructure"] in {"by-name", "by-position", "either"}
        params = [param["name"] for param in method["params"]]
        assert len(set(params)) == len(params)
        flags = [param["required"] for param in method["params"]]
        assert flags == sorted(flags, reverse=True), "the required ones come first"
        assert all({"name", "required", "schema"} <= set(param) for param in method["params"])
        assert set(method["result"]) == {"name", "schema"}
    components = document.get("components", {}).get("schemas", {})
    for place in references(document):
        assert place.removeprefix("#/components/schemas/") in components


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(place := value.get("$ref"), str):
            yield place
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


# --- one function ----------------------------------------------------------------------------------------------------

Defaults = Annotated[int, msgspec.Meta(ge=1, description="how many")]


def plain(a: int, b: float = 0.5) -> str:
    """Join two numbers.

    They are not
      added.
    """
    return f"{a}{b}"


def bare(a, b=None):
    return a or b


async def with_session(first: int, session: tieline.ServerSession, last: int = 1) -> None: ...
def with_optional_session(a: int, *, session: tieline.SessionBase | None = None) -> None: ...
def by_position(a: int, /, b: str = "") -> None: ...
def by_name(a: int = 1, *, b: str) -> None: ...
def rest(*numbers: int, **words: str) -> None: ...
def structs(point: Point, box: Box | None = None) -> list[Point]:  # type: ignore[empty-body]  # never called
    ...


def struct_default(point: Point = Point(1)) -> None: ...  # noqa: B008  # so people write defaults
def odd_defaults(a: float = float("inf"), b: object = object(), c: Any = msgspec.UNSET) -> None: ...
def choices(colour: Colour = Colour.RED, word: Literal["a", "b"] = "a", count: Defaults = 3) -> None: ...
def anything(a: Any, b: object, c: list[object]) -> Any: ...
def odd_result() -> Stranger:  # type: ignore[empty-body]  # never called
    ...


def lost_result() -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821  # a name that is not there at run time
    ...


INTEGER, NUMBER, STRING = {"type": "integer"}, {"type": "number"}, {"type": "string"}
ANY: dict[str, Any] = {}
NULL, OBJECT = {"type": "null"}, {"description": "any value"}
POINT = {"$ref": "#/components/schemas/Point"}
BOX = {"$ref": "#/components/schemas/Box"}

# What is described, in which ways it is called, its parameters (name, required, schema), and its result.
PARAMETERS = [
    (plain, "either", [("a", True, INTEGER), ("b", False, NUMBER | {"default": 0.5})], STRING),
    (bare, "either", [("a", True, ANY), ("b", False, {"default": None})], ANY),
    (with_session, "either", [("first", True, INTEGER), ("last", False, INTEGER | {"default": 1})], NULL),
    (with_optional_session, "either", [("a", True, INTEGER)], NULL),
    (by_position, "by-position", [("a", True, INTEGER), ("b", False, STRING | {"default": ""})], NULL),
    (by_name, "by-name", [("b", True, STRING), ("a", False, INTEGER | {"default": 1})], NULL),
    (rest, "by-position", [("numbers", False, INTEGER), ("words", False, STRING)], NULL),
    (
        structs,
        "either",
        [("point", True, POINT), ("box", False, {"anyOf": [BOX, NULL], "default": None})],
        {"type": "array", "items": POINT},
    ),
    (struct_default, "either", [("point", False, {"allOf": [POINT], "default": {"x": 1, "y": 0}})], NULL),
    (odd_defaults, "either", [("a", False, NUMBER), ("b", False, OBJECT), ("c", False, ANY)], NULL),
    (anything, "either", [("a", True, ANY), ("b", True, OBJECT), ("c", True, {"type": "array", "items": OBJECT})], ANY),
    (odd_result, "either", [], ANY),
    (lost_result, "either", [], ANY),
    (functools.partial(plain, 1), "either", [("b", False, NUMBER | {"default": 0.5})], STRING),
    (len, "by-position", [("obj", True, ANY)], ANY),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "structure", "params", "result"), PARAMETERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_a_function_takes_and_gives(
    function: Callable[..., object], structure: str, params: list[tuple[str, bool, dict[str, Any]]], result: object
) -> None:
    found = described(function)
    assert [(param["name"], param["required"], param["schema"]) for param in found["params"]] == params
    assert found["paramStructure"] == structure
    assert found["result"]["schema"] == result


def test_choices_and_bounds_are_told() -> None:
    colour, word, count = (param["schema"] for param in described(choices)["params"])
    assert colour == {"allOf": [{"$ref": "#/components/schemas/Colour"}], "default": "red"}
    assert word == {"enum": ["a", "b"], "default": "a"}
    assert count == INTEGER | {"minimum": 1, "description": "how many", "default": 3}


def test_the_rest_of_the_arguments_is_marked() -> None:
    assert [param.get("x-rest") for param in described(rest)["params"]] == ["array", "object"]


class Service:
    def plainly(self) -> None:
        """Do it.\tNow."""

    def silently(self) -> None: ...


class Called:
    """The class says it."""

    def __call__(self) -> None: ...


DOCSTRINGS = [
    (plain, "Join two numbers.", "They are not\n  added."),
    (bare, None, None),
    (functools.partial(plain, 1), "Join two numbers.", "They are not\n  added."),
    (functools.wraps(plain)(lambda *args: None), "Join two numbers.", "They are not\n  added."),
    (Service().plainly, "Do it.  Now.", None),
    (Service().silently, None, None),
    (Called(), "The class says it.", None),
]


@pytest.mark.parametrize(("function", "summary", "description"), DOCSTRINGS)
def test_docstrings_become_summary_and_description(
    function: Callable[..., object], summary: str | None, description: str | None
) -> None:
    found = described(function)
    assert (found.get("summary"), found.get("description")) == (summary, description)


# --- the registry ----------------------------------------------------------------------------------------------------


def test_classes_are_described_once_and_by_their_fields() -> None:
    methods = tieline.Methods()
    methods.method(structs)
    methods.method(struct_default)
    methods.offer_discovery(title="Places", version="1.2", description="Where things are.")
    document = document_of(methods)
    assert document["info"] == {"title": "Places", "version": "1.2", "description": "Where things are."}
    assert set(document["components"]["schemas"]) == {"Point", "Box"}
    assert document["components"]["schemas"]["Point"]["properties"] == {"x": INTEGER, "y": INTEGER | {"default": 0}}


@pytest.mark.row("H38")
async def test_nothing_is_told_until_it_is_offered_nor_after_it_is_withdrawn() -> None:
    methods = tieline.Methods()
    methods.method(plain)
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        with pytest.raises(tieline.RPCError, match="unknown method"):
            await session.call("rpc.discover")
        methods.offer_discovery()
        document = await session.call("rpc.discover")
        check(document)
        assert [method["name"] for method in document["methods"]] == ["plain"]
        assert "rpc.discover" in methods
        methods.withdraw_discovery()
        methods.withdraw_discovery()
        with pytest.raises(tieline.RPCError, match="unknown method"):
            await session.call("rpc.discover")
        assert list(methods) == ["plain"]


def test_what_is_registered_later_is_described_too() -> None:
    methods = tieline.Methods()
    methods.offer_discovery()
    assert document_of(methods)["methods"] == []
    methods.method(plain)
    assert document_of(methods) is document_of(methods), "it is made again only when something has changed"
    methods.add(Service(), prefix="service.")
    assert [method["name"] for method in document_of(methods)["methods"]] == [
        "plain", "service.plainly", "service.silently",
    ]  # fmt: skip
    methods.method(name="plain", replace=True)(bare)
    assert [param["schema"] for param in document_of(methods)["methods"][0]["params"]] == [ANY, {"default": None}]


def test_offered_twice_the_last_holds() -> None:
    methods = tieline.Methods()
    methods.offer_discovery(title="one")
    methods.offer_discovery(title="two", version="2")
    assert document_of(methods)["info"] == {"title": "two", "version": "2"}


def test_the_reserved_name_stays_reserved() -> None:
    methods = tieline.Methods()
    with pytest.raises(ValueError, match="reserves"):
        methods.method(name="rpc.discover")(plain)


def test_a_registry_of_ones_own_kind_can_offer_it_too() -> None:
    class Loud(tieline.Methods):
        def get(self, name: str) -> tieline.Method | None:
            return super().get(name.lower())

    methods = Loud()
    methods.method(plain)
    methods.offer_discovery()
    found = methods.lookup("RPC.discover")
    assert found is not None
    check(found.invoke(None, None))
