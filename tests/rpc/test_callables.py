# SPDX-License-Identifier: MIT
"""Binding of callables that are no plain functions, and what is refused at registration."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tieline.rpc.binding import ArgumentsError, Binding, Caller

if TYPE_CHECKING:
    from tieline.nowhere import Unimported  # type: ignore[import-not-found]  # there is none


class Session(Caller):
    __slots__ = ()


class Point(msgspec.Struct):
    x: int
    y: int = 0


SESSION = Session()


def two(a: int, b: int):
    return a, b


def others(a: int, **more: int):
    return a, more


def points(p: Point, q: list[Point] = []):  # noqa: B006  # never changed
    return p, q


def with_session(session: Session, a: int, b: int = 2):
    return session, a, b


# --- other callables -------------------------------------------------------------------------------------------------


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, _trusted: bool = False, **kwargs: Any) -> Any:
        return _trusted, function(*args, **kwargs)

    return wrapper


class Service:
    def plain(self, a: int, **more: int):
        return a, more

    def __call__(self, a: int, **more: int):
        return a, more

    @staticmethod
    def static(a: int):
        return a

    @classmethod
    def of_class(cls, p: Point):
        return cls.__name__, p


class Special(Service):
    pass


@dataclasses.dataclass
class Made:
    p: Point
    n: int = 1


class Bare:
    pass


CALLABLES: list[tuple[Callable[..., Any], Any, object]] = [
    (Service().plain, {"a": 1, "b": 2}, (1, {"b": 2})),
    (Special(), [1], (1, {})),
    (Service.static, [1], 1),
    (Special.of_class, [{"x": 1}], ("Special", Point(1))),
    (functools.partial(two, 1), [2], (1, 2)),
    (functools.partial(two, b=1), {"a": 2}, (2, 1)),
    (functools.partial(two, b=1), {"a": 2, "b": 3}, (2, 3)),
    (functools.partial(points, q=[]), [{"x": 1}], (Point(1), [])),
    (functools.partial(with_session, b=7), [1], (SESSION, 1, 7)),
    (wrapped(points), [{"x": 1}], (False, (Point(1), []))),
    (wrapped(with_session), [1], (False, (SESSION, 1, 2))),
    (functools.lru_cache(two), [1, 2], (1, 2)),
    (Made, [{"x": 1}], Made(Point(1))),
    (Point, {"x": 1}, Point(1)),
    (len, [[1, 2]], 2),
    (lambda a, b=2: (a, b), [1], (1, 2)),
]


@pytest.mark.parametrize(("function", "params", "wanted"), CALLABLES)
def test_any_callable_can_be_bound(function: Callable[..., Any], params: Any, wanted: object) -> None:
    binding = Binding(function)
    assert binding.compiled()(params, SESSION) == binding.invoke(params, SESSION) == wanted


@pytest.mark.parametrize(
    ("function", "params", "name"),
    [
        (Service().plain, {"a": 1, "self": 2}, "self"),
        (Service(), {"a": 1, "self": 2}, "self"),
        (functools.partial(others, 1), {"a": 2}, "a"),
        (functools.partial(Service().plain, 1), {"a": 2}, "a"),
        (wrapped(others), {"a": 1, "_trusted": 1}, "_trusted"),
    ],
)
def test_named_arguments_reach_nothing_that_the_signature_does_not_show(
    function: Callable[..., Any], params: Any, name: str
) -> None:
    with pytest.raises(ArgumentsError, match=rf"^unknown argument '{name}'$"):
        Binding(function).compiled()(params, SESSION)


# --- registration ----------------------------------------------------------------------------------------------------


def test_a_function_without_a_signature_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^type\(\) has no signature to bind to: "):
        Binding(type)


def test_a_hint_that_cannot_be_resolved_is_refused_with_the_reason() -> None:
    def later(a: int, b: Unimported) -> None: ...

    with pytest.raises(TypeError) as caught:
        Binding(later)
    assert str(caught.value).endswith(
        "later(): parameter 'b' has the type hint 'Unimported', which cannot be resolved: "
        "name 'Unimported' is not defined"
    )


def test_a_return_hint_is_none_of_our_business() -> None:
    def handler(a: int) -> Unimported:
        return a

    assert Binding(handler).compiled()([1], None) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in 3.12")
def test_type_parameters_are_known_names() -> None:
    space: dict[str, Any] = {}
    exec("def handler[T](a: 'list[T]'): return a", space)
    assert Binding(space["handler"]).compiled()([[1, "a"]], None) == [1, "a"]


def test_only_one_parameter_takes_the_session() -> None:
    def twice(a: Session, b: Session) -> None: ...
    def star(*sessions: Session) -> None: ...

    with pytest.raises(TypeError, match="parameter 'b' is the second one that takes the session"):
        Binding(twice)
    with pytest.raises(TypeError, match="parameter 'sessions' cannot take the session: there is only one"):
        Binding(star)
