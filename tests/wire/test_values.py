# SPDX-License-Identifier: MIT
"""wire/values.py: its classes are, to all who use them, those that the standard library's decorator makes."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tieline.wire.values import changed, value_class


class Plain:
    """A value."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


class Named:
    """A value that is made by names."""

    a: int
    b: str = "b"


class Checked:
    """A value that judges its fields, and says itself how it is shown and hashed."""

    a: int = 1

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError("a must not be negative")

    def __repr__(self) -> str:
        return "checked"

    def __hash__(self) -> int:
        return 7


def theirs(kind: type, **options: bool) -> Any:
    """Return what the standard library makes of a copy of *kind*: it changes what it decorates."""
    body = {name: member for name, member in vars(kind).items() if name not in {"__dict__", "__weakref__"}}
    return dataclasses.dataclass(frozen=True, **options)(type(kind.__name__, (), body))


class Mistaken:
    """A value whose fields have names that can be misspelt."""

    number: int = 1


OurMistaken: Any = value_class(frozen=True, slots=True)(Mistaken)
OurPlain: Any = value_class(frozen=True, slots=True)(Plain)
OurNamed: Any = value_class(frozen=True, slots=True, kw_only=True)(Named)
OurChecked: Any = value_class(frozen=True, slots=True)(Checked)
PAIRS = {
    "plain": (OurPlain, theirs(Plain)),
    "named": (OurNamed, theirs(Named, kw_only=True)),
    "checked": (OurChecked, theirs(Checked)),
}
both_of_each = pytest.mark.parametrize(("ours", "standard"), PAIRS.values(), ids=PAIRS)


def outcome(ask: Callable[[], object]) -> object:
    """Return what came of it, or the class of what was raised."""
    try:
        return ask()
    except Exception as exc:
        return type(exc)


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ((), {}),
        ((1,), {}),
        ((1, "x"), {}),
        ((1, "x", (2,)), {}),
        ((1, "x", (2,), 3), {}),
        ((1, "x", (2,), 3, 4), {}),
        ((), {"a": 1}),
        ((), {"b": "x", "a": 1}),
        ((1,), {"b": "x"}),
        ((1,), {"a": 2}),
        ((), {"b": "x"}),
        ((), {"a": 1, "d": 2}),
        ((), {"d": 2}),
        ((), {"d": 2, "b": 3, "c": 4}),
        ((), {"a": -1}),
    ],
    ids=str,
)
@both_of_each
def test_arguments_are_taken_and_refused_as_by_the_standard_library(
    ours: Any, standard: Any, args: tuple[object, ...], given: dict[str, object]
) -> None:
    def made(kind: Any) -> Callable[[], object]:
        return lambda: dataclasses.asdict(kind(*args, **given))

    assert outcome(made(ours)) == outcome(made(standard))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (OurPlain, "is missing 'a'"),
        (lambda: OurPlain(1, "x", (), 3), "takes 4 positional arguments but 5 were given"),
        (lambda: OurNamed(1), "takes 1 positional arguments but 2 were given"),
        (lambda: OurPlain(1, a=2), "got multiple values for argument 'a'"),
        (lambda: OurPlain(1, "x", (), a=2), "got multiple values for argument 'a'"),
        (lambda: OurPlain(1, "x", (), d=2), "got an unexpected keyword argument 'd'"),
        (lambda: OurPlain(1, d=2), "got an unexpected keyword argument 'd'"),
        (lambda: OurMistaken(numbre=2), r"got an unexpected keyword argument 'numbre': did you mean 'number'\?"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_arguments(make: Callable[[], object], told: str) -> None:
    with pytest.raises(TypeError, match=rf"^(Plain|Named|Mistaken)\.__init__\(\) {told}$"):
        make()


@both_of_each
def test_a_class_shows_the_same_facts(ours: Any, standard: Any) -> None:
    assert inspect.signature(ours) == inspect.signature(standard)
    assert ours.__match_args__ == standard.__match_args__
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(ours, name) == getattr(standard, name) or name == "__qualname__"
    assert ours.__qualname__ == ours.__name__
    told = [(field.name, field.type, field.default, field.kw_only) for field in dataclasses.fields(ours)]
    assert told == [(field.name, field.type, field.default, field.kw_only) for field in dataclasses.fields(standard)]
    assert ours.__dataclass_params__.frozen
    assert dataclasses.is_dataclass(ours(a=1))


@both_of_each
def test_values_are_shown_hashed_and_compared_alike(ours: Any, standard: Any) -> None:
    assert repr(ours(a=1)) == repr(standard(a=1)).replace("Plain.", "")
    assert hash(ours(a=1)) == hash(standard(a=1))
    assert ours(a=1) == ours(a=1)
    assert ours(a=1) != ours(a=2)
    assert ours(a=1) != standard(a=1)
    assert ours(a=1) != (1,)


def test_classes_with_equal_fields_are_not_equal_to_each_other() -> None:
    assert OurPlain(1) != OurNamed(a=1)


@both_of_each
def test_a_value_cannot_be_changed(ours: Any, standard: Any) -> None:
    for value in (ours(a=1), standard(a=1)):
        with pytest.raises(dataclasses.FrozenInstanceError, match=r"^cannot assign to field 'a'$"):
            value.a = 2
        with pytest.raises(dataclasses.FrozenInstanceError, match=r"^cannot delete field 'a'$"):
            del value.a
        assert value.a == 1
    assert not hasattr(ours(a=1), "__dict__")


@pytest.mark.parametrize(
    "replace", [dataclasses.replace, changed, OurPlain.__replace__], ids=["theirs", "ours", "3.13"]
)
def test_a_value_is_made_from_another_one(replace: Callable[..., object]) -> None:
    assert replace(OurPlain(1, "x"), c=(2,)) == OurPlain(1, "x", (2,))
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        replace(OurPlain(1), d=2)


def test_a_value_that_is_made_from_another_one_is_checked() -> None:
    with pytest.raises(ValueError, match="a must not be negative"):
        changed(OurChecked(), a=-1)


def test_a_value_can_be_matched_copied_and_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    value = OurPlain(1, "x", (2,))
    match value:
        case OurPlain(a, b, c=c):
            assert (a, b, c) == (1, "x", (2,))
        case _:
            pytest.fail("not matched")
    monkeypatch.setitem(globals(), "Plain", OurPlain)  # where pickle finds it
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert other == value


def test_a_class_may_be_derived_from_with_either_decorator_or_none() -> None:
    class Derived(OurPlain):  # type: ignore[misc]  # the class is an Any here
        def twice(self) -> int:
            return 2 * int(self.a)

    @dataclasses.dataclass(frozen=True)
    class Extended(OurPlain):  # type: ignore[misc]  # as above
        d: int = 4

    assert Derived(3).twice() == 6
    assert Derived(3) != OurPlain(3)
    assert repr(Extended(1)).endswith("Extended(a=1, b='b', c=(), d=4)")
