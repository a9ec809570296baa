# SPDX-License-Identifier: MIT
"""Hints: which are taken at registration, what is converted, and what a peer reads when a value does not fit."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import io
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import msgspec
import pytest

from tieline.rpc.binding import ArgumentsError, Binding, Caller
from tieline.rpc.hints import Slot, caller_classes, shown


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    x: int


class Circle(msgspec.Struct, tag=True):
    r: int


class Square(msgspec.Struct, tag=True):
    a: int


class Tree(msgspec.Struct):
    kids: list[Tree] = []


class Ordered(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"the secret is {self.low}")


class Broken(msgspec.Struct):
    key: str

    def __post_init__(self) -> None:
        raise KeyError(self.key)


@dataclasses.dataclass
class Size:
    w: int
    h: float = 1.0


class Counts(msgspec.Struct):
    by_year: dict[int, int]


@dataclasses.dataclass
class Sums:
    by_price: dict[float, int]
    rest: dict[str, int]


class Switches(msgspec.Struct):
    by_state: dict[bool, int]


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict):
    depth: int


class Shape(Protocol):
    def area(self) -> float: ...


class Plain:
    pass


class Holder(msgspec.Struct):
    inner: dict[str, list[Plain]]


class Lost(msgspec.Struct):
    inner: Nowhere  # type: ignore[name-defined]  # noqa: F821  # on purpose


class Session(Caller):
    pass


class Special(Session):
    pass


Number = NewType("Number", int)
T = TypeVar("T")

# (hint, the value of a peer, what the handler gets)
FITS: list[tuple[Any, object, object]] = [
    (int, 1, 1),
    (int, 2**200, 2**200),
    (float, 1.5, 1.5),
    (float, 1, 1.0),
    (str, "a", "a"),
    (bool, True, True),
    (None, None, None),
    (list, [1, "a"], [1, "a"]),
    (dict, {"a": []}, {"a": []}),
    (Any, [{}], [{}]),
    (object, {"a": 1}, {"a": 1}),
    (T, [1], [1]),
    (Optional[int], None, None),  # noqa: UP045  # both spellings
    (int | str | None, "a", "a"),
    (int | float, 1, 1),
    (float | None, 1, 1.0),
    (list[int], [1, 2], [1, 2]),
    (list[object], [1, None], [1, None]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2, 1], {1, 2}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[int, str], {"1": "a", "-2": "b"}, {1: "a", -2: "b"}),
    (dict[float, str], {"1.5": "a", "2": "b"}, {1.5: "a", 2.0: "b"}),
    (dict[Level, int], {"2": 1}, {Level.HIGH: 1}),
    (dict[Literal[1, 2], int], {"2": 1}, {2: 1}),
    (dict[uuid.UUID, int], {str(uuid.UUID(int=1)): 1}, {uuid.UUID(int=1): 1}),
    (Mapping[int, int], {"1": 2}, {1: 2}),
    (list[dict[int, int]] | None, [{"1": 2}], [{1: 2}]),
    (dict[str, dict[int, int]], {"1": {"1": 2}}, {"1": {1: 2}}),
    (Counts, {"by_year": {"2026": 3}}, Counts({2026: 3})),
    (Sums, {"by_price": {"1.5": 3}, "rest": {"1": 2}}, Sums({1.5: 3}, {"1": 2})),
    (dict[int | str, int], {"1": 2}, {"1": 2}),
    (dict[Any, int], {"1": 2}, {"1": 2}),
    (dict[object, int], {"1": 2}, {"1": 2}),
    (dict[bool | str, int], {"true": 2}, {"true": 2}),
    (dict[int | None, int], {"1": 2}, {1: 2}),
    (dict[Literal["a", 1], int], {"1": 2, "a": 3}, {1: 2, "a": 3}),
    (dict[Annotated[dt.date, msgspec.Meta(title="day")], int], {"2024-02-29": 1}, {dt.date(2024, 2, 29): 1}),
    (dict[bytes, int], {"aGk=": 1}, {b"hi": 1}),
    (dict[decimal.Decimal, int], {"1.50": 1}, {decimal.Decimal("1.5"): 1}),
    (dict[Colour, int], {"red": 1}, {Colour.RED: 1}),
    (Number, 5, 5),
    (Literal["a", 1], "a", "a"),
    (Colour, "red", Colour.RED),
    (Level, 2, Level.HIGH),
    (Point, {"x": 1}, Point(1)),
    (list[Point], [{"x": 1, "y": 2}], [Point(1, 2)]),
    (Circle | Square, {"type": "Square", "a": 3}, Square(3)),
    (Tree, {"kids": [{}]}, Tree([Tree()])),
    (Size, {"w": 1, "h": 2}, Size(1, 2.0)),
    (Pair, [1, "a"], Pair(1, "a")),
    (Options, {"depth": 1}, {"depth": 1}),
    (bytes, "aGk=", b"hi"),
    (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
    (dt.date, "2024-02-29", dt.date(2024, 2, 29)),
    (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
    (Annotated[int, msgspec.Meta(ge=1)], 1, 1),
    (Annotated[int, "a note for somebody else"], 1, 1),
    (Annotated[int, ["a note that cannot be hashed"]], 1, 1),
    (int | msgspec.UnsetType, 1, 1),
]


@pytest.mark.row("S4")
@pytest.mark.parametrize(("hint", "value", "wanted"), FITS, ids=str)
def test_a_value_that_fits_is_converted(hint: Any, value: object, wanted: object) -> None:
    got = Slot("p", hint).fit(value, msgspec.convert)
    assert got == wanted
    assert type(got) is type(wanted)


# (hint, the value of a peer, the text that it reads)
MISFITS: list[tuple[Any, object, str]] = [
    (int, "1", "parameter 'p': expected `int`, got `str`"),
    (int, 1.0, "parameter 'p': expected `int`, got `float`"),
    (int, True, "parameter 'p': expected `int`, got `bool`"),
    (int, None, "parameter 'p': expected `int`, got `null`"),
    (float, "1", "parameter 'p': expected `float`, got `str`"),
    (float, True, "parameter 'p': expected `float`, got `bool`"),
    (float, 10**400, "parameter 'p': number out of range"),
    (str, 1, "parameter 'p': expected `str`, got `int`"),
    (bool, 1, "parameter 'p': expected `bool`, got `int`"),
    (None, 0, "parameter 'p': expected `null`, got `int`"),
    (list, {}, "parameter 'p': expected `array`, got `object`"),
    (dict, [], "parameter 'p': expected `object`, got `array`"),
    (int | None, "1", "parameter 'p': expected `int | null`, got `str`"),
    (list[int], [1, "x"], "parameter 'p': expected `int`, got `str` at `p[1]`"),
    (tuple[int, int], [1], "parameter 'p': expected `array` of length 2, got 1"),
    (dict[str, list[int]], {"k": [None]}, "parameter 'p': expected `int`, got `null` at `p[...][0]`"),
    (dict[int, int], {"k": 1}, "parameter 'p': expected `int`, got `str` at `key` in `p`"),
    (dict[int, int], {"1": "1"}, "parameter 'p': expected `int`, got `str` at `p[...]`"),
    (Counts, {"by_year": {"1.5": 1}}, "parameter 'p': expected `int`, got `str` at `key` in `p.by_year`"),
    (Point, {"x": "1"}, "parameter 'p': expected `int`, got `str` at `p.x`"),
    (Point, {}, "parameter 'p': object missing required field `x`"),
    (Size, {"w": []}, "parameter 'p': expected `int`, got `array` at `p.w`"),
    (Annotated[int, msgspec.Meta(ge=1)], 0, "parameter 'p': expected `int` >= 1"),
    (Annotated[str, msgspec.Meta(pattern="^x$")], "y", "parameter 'p': expected `str` matching regex '^x$'"),
    (dt.datetime, "secret", "parameter 'p': invalid RFC3339 encoded datetime"),
    (uuid.UUID, "secret", "parameter 'p': invalid UUID"),
    (bytes, "secret!", "parameter 'p': invalid base64 encoded string"),
    (decimal.Decimal, "secret", "parameter 'p': invalid decimal string"),
    # What msgspec's own text would quote is left out.
    (Colour, "secret", "parameter 'p': expected one of 'red', 'green', got str that does not fit"),
    (list[Colour], ["secret"], "parameter 'p': expected its type, does not fit at `p[0]`"),
    (Literal["a", "b"], "secret", "parameter 'p': expected one of 'a', 'b', got str that does not fit"),
    (Circle | Square, {"type": "secret"}, "parameter 'p': expected its type, does not fit at `p.type`"),
    (Strict, {"x": 1, "secret": 2}, "parameter 'p': expected Strict, got object that does not fit"),
    (Ordered, {"low": 2, "high": 1}, "parameter 'p': expected Ordered, got object that does not fit"),
    # Errors that are not msgspec's.
    (uuid.UUID, "\ud800", "parameter 'p': expected UUID, got str that does not fit"),
]


@pytest.mark.row("S4")
@pytest.mark.parametrize(("hint", "value", "text"), MISFITS, ids=ascii)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(hint: Any, value: object, text: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        Slot("p", hint).fit(value, msgspec.convert)
    assert str(caught.value) == text
    assert "secret" not in text
    assert isinstance(caught.value.__cause__, ValueError | TypeError | msgspec.ValidationError)


def test_a_value_that_cannot_be_in_a_set_is_not_shown() -> None:
    with pytest.raises(ArgumentsError) as caught:
        Slot("p", set).fit([["secret"]], msgspec.convert)
    assert str(caught.value).startswith("parameter 'p': expected set, ")  # where it is: msgspec 0.23 and later tell
    assert "secret" not in str(caught.value)


def test_a_nesting_bomb_does_not_fit() -> None:
    tree: dict[str, object] = {}
    for _ in range(100_000):
        tree = {"kids": [tree]}
    with pytest.raises(ArgumentsError, match=r"^parameter 'p': nested too deeply$"):
        Slot("p", Tree).fit(tree, msgspec.convert)


def test_a_text_for_the_peer_is_cut() -> None:
    words = Literal[tuple(f"word{number}" for number in range(1000))]  # type: ignore[valid-type]  # made at run time
    with pytest.raises(ArgumentsError) as caught:
        Slot("p", words).fit("other", msgspec.convert)
    assert str(caught.value).endswith("...")
    assert len(str(caught.value)) < 250


def test_an_error_of_the_types_own_code_is_not_the_peers_fault() -> None:
    with pytest.raises(KeyError):
        Slot("p", Broken).fit({"key": "k"}, msgspec.convert)


# (hint, a part of the reason)
REFUSED: list[tuple[Any, str]] = [
    (Plain, "Plain is not a type that it knows"),
    (Plain | None, "Plain is not a type that it knows"),
    (list[Plain], "Plain is not a type that it knows"),
    (dict[str, tuple[Plain, ...]], "Plain is not a type that it knows"),
    (Holder, "Plain is not a type that it knows"),
    (Shape, "Shape is not a type that it knows"),
    (io.BytesIO, "BytesIO is not a type that it knows"),
    (complex, "complex is not a type that it knows"),
    (Callable, "Callable is not a type that it knows"),
    (Callable[[int], int], "Callable is not a type that it knows"),
    (Iterable[int], "Iterable is not a type that it knows"),
    (Point | Strict, "all Struct types must be tagged"),
    (list[Point | Strict], "all Struct types must be tagged"),
    (Point | dict, "more than one dict-like type"),
    (dt.date | str, "more than one str-like type"),
    (Union[list[int], set[int]], "more than one array-like"),  # noqa: UP007  # the old spelling is meant
    (int | Plain, "may not contain any additional types"),
    (int | Session, "may not contain any additional types"),
    (list[Session], "Session is not a type that it knows"),
    (Literal[1.5], "Literal may only contain"),
    (Annotated[int, msgspec.Meta(min_length=1)], "Can only set `min_length`"),
    (msgspec.Raw, "Raw is not a JSON value"),
    (list[msgspec.msgpack.Ext], "Ext is not a JSON value"),
    (dict[bool, int], "no key of a JSON object is read as Bool"),
    (list[dict[None, int]] | None, "no key of a JSON object is read as None"),
    (dict[str, dict[bool | None, int]], "no key of a JSON object is read as Union"),
    (Mapping[tuple[int, int], int], "no key of a JSON object is read as Tuple"),
    (dict[tuple[int, ...], int], "no key of a JSON object is read as VarTuple"),
    (dict[Pair, int], "no key of a JSON object is read as NamedTuple"),
    (dict[Point, int], "no key of a JSON object is read as Struct"),
    (dict[Literal[None], int], "no key of a JSON object is read as "),
    (dict[Annotated[bool, msgspec.Meta(title="yes")], int], "no key of a JSON object is read as "),
    (Switches, "no key of a JSON object is read as Bool"),
    (Lost, "name 'Nowhere' is not defined"),
    (5, "Type '5' is not supported"),
]


@pytest.mark.row("S4")
@pytest.mark.parametrize(("hint", "reason"), REFUSED, ids=str)
def test_a_hint_that_msgspec_cannot_convert_to_is_refused_at_registration(hint: Any, reason: str) -> None:
    def handler(good: int, bad):
        raise AssertionError("never called")

    handler.__annotations__["bad"] = hint
    with pytest.raises(TypeError) as caught:
        Binding(handler)
    text = str(caught.value)
    assert "handler(): parameter 'bad' has the type hint " in text
    assert ", which msgspec does not support: " in text
    assert reason in text.replace("typing.", "").replace("collections.abc.", "").replace(f"{__name__}.", "")


# (hint, the classes of the session that it asks for)
SESSIONS: list[tuple[Any, tuple[type, ...]]] = [
    (Session, (Session,)),
    (Special, (Special,)),
    (Caller, (Caller,)),
    (Session | None, (Session,)),
    (Optional[Special], (Special,)),  # noqa: UP045  # the old spelling is meant
    (Session | Special, (Session, Special)),
    (Annotated[Session, "note"], (Session,)),
    (None, ()),
    (int, ()),
    (Session | int, ()),
    (type[Session], ()),
    (list[Session], ()),
    ("Session", ()),  # strings are resolved before
    (Any, ()),
]


@pytest.mark.row("S4")
@pytest.mark.parametrize(("hint", "wanted"), SESSIONS, ids=str)
def test_a_class_that_derives_from_caller_asks_for_the_session(hint: Any, wanted: tuple[type, ...]) -> None:
    assert caller_classes(hint) == wanted


@pytest.mark.row("H38")
def test_names_of_a_peer_are_quoted_and_cut() -> None:
    assert shown("a") == "'a'"
    assert shown("a\n\ud800") == r"'a\n\ud800'"
    assert shown("x" * 1_000_000) == repr("x" * 64) + "..."
    assert shown(5) == "of type int"
