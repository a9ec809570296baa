# SPDX-License-Identifier: MIT
"""Binding: which arguments of a peer reach which parameter, and what is said about those that cannot."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Optional

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.rpc.binding import ArgumentsError, Binding, Caller


class Session(Caller):
    __slots__ = ()


class Point(msgspec.Struct):
    x: int
    y: int = 0


SESSION = Session()

# --- functions under test: each returns what reached it --------------------------------------------------------------


def none():
    return ()


def two(a: int, b: int):
    return a, b


def unhinted(a, b):
    return a, b


def default(a: int, b: str = "b", c: float | None = None):
    return a, b, c


def only_position(a: int, b: int = 2, /):
    return a, b


def mixed(a: int, /, b: int, *, c: int = 3):
    return a, b, c


def named(*, a: int, b: int = 2):
    return a, b


def rest(a: int = 0, *more: int):
    return a, more


def others(a: int, **more: int):
    return a, more


def shadowed(a: int, /, **more: int):
    return a, more


def everything(*args, **kwargs):
    return args, kwargs


def points(p: Point, q: list[Point] = []):  # noqa: B006  # never changed
    return p, q


def many(a=1, b=2, c=3, d=4, e=5, f=6):
    return a, b, c, d, e, f


def long(a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r=18):
    return a, r


def ses_first(session: Session, a: int, b: int = 2):
    return session, a, b


def ses_middle(a: int = 1, session: Session | None = None, b: int = 2):
    return session, a, b


def ses_last(a: int, b: int, session: Optional[Session]):  # noqa: UP045  # the old spelling is meant
    return session, a, b


def ses_named(a: int, *, session: Session):
    return session, a


def ses_only_position(a: int = 1, session: Session = SESSION, /, b: int = 2):
    return session, a, b


def ses_more(session: Session, *args: int, **kwargs: int):
    return session, args, kwargs


def ses_alone(session: Session):
    return (session,)


def not_ascii(*, größe: int):  # noqa: PLC2401  # on purpose
    return (größe,)


S = SESSION
NOTHING: tuple[Any, ...] = ([], {}, None, msgspec.UNSET)

# (function, params, what reached it)
REACHES: list[tuple[Callable[..., Any], Any, object]] = [
    *((none, nothing, ()) for nothing in NOTHING),
    (none, (), ()),
    (two, [1, 2], (1, 2)),
    (two, (1, 2), (1, 2)),
    (two, {"b": 2, "a": 1}, (1, 2)),
    (two, [2**70, -1], (2**70, -1)),
    (unhinted, [None, {}], (None, {})),
    (unhinted, {"a": None, "b": []}, (None, [])),
    (default, [1], (1, "b", None)),
    (default, {"a": 1}, (1, "b", None)),
    (default, [1, "b"], (1, "b", None)),
    (default, [1, "b", None], (1, "b", None)),
    (default, [1, "x", 2], (1, "x", 2.0)),
    (default, {"a": 1, "c": 2.5}, (1, "b", 2.5)),
    (default, {"a": 1, "b": "x", "c": 2}, (1, "x", 2.0)),
    (only_position, [1], (1, 2)),
    (only_position, [1, 3], (1, 3)),
    (mixed, [1, 2], (1, 2, 3)),
    (named, {"a": 1}, (1, 2)),
    (named, {"b": 3, "a": 1}, (1, 3)),
    *((rest, nothing, (0, ())) for nothing in NOTHING),
    (rest, [1], (1, ())),
    (rest, [1, 2, 3], (1, (2, 3))),
    (rest, {"a": 1}, (1, ())),
    (others, [1], (1, {})),
    (others, {"a": 1}, (1, {})),
    (others, {"a": 1, "b": 2, "": 3}, (1, {"b": 2, "": 3})),
    (shadowed, [1], (1, {})),
    (everything, [1, "a"], ((1, "a"), {})),
    (everything, {"self": 1, "args": 2}, ((), {"self": 1, "args": 2})),
    (everything, None, ((), {})),
    (points, [{"x": 1}], (Point(1), [])),
    (points, {"p": {"x": 1}, "q": [{"x": 2, "y": 3}]}, (Point(1), [Point(2, 3)])),
    *((many, [*range(n)], (*range(n), *range(n + 1, 7))) for n in range(7)),
    (long, [*range(17)], (0, 16)),
    (long, [*range(16), "q"], (0, "q")),
    (ses_first, [1], (S, 1, 2)),
    (ses_first, [1, 3], (S, 1, 3)),
    (ses_first, {"a": 1}, (S, 1, 2)),
    (ses_first, {"b": 3, "a": 1}, (S, 1, 3)),
    (ses_middle, [], (S, 1, 2)),
    (ses_middle, [5], (S, 5, 2)),
    (ses_middle, [5, 6], (S, 5, 6)),
    (ses_middle, {"b": 6}, (S, 1, 6)),
    (ses_middle, {"b": 6, "a": 5}, (S, 5, 6)),
    (ses_last, [1, 2], (S, 1, 2)),
    (ses_last, {"a": 1, "b": 2}, (S, 1, 2)),
    (ses_named, [1], (S, 1)),
    (ses_named, {"a": 1}, (S, 1)),
    (ses_only_position, [], (S, 1, 2)),
    (ses_only_position, [5], (S, 5, 2)),
    (ses_only_position, [5, 6], (S, 5, 6)),
    (ses_only_position, {"b": 6}, (S, 1, 6)),
    (ses_more, [1, 2], (S, (1, 2), {})),
    (ses_more, {"a": 1}, (S, (), {"a": 1})),
    *((ses_alone, nothing, (S,)) for nothing in NOTHING),
    (not_ascii, {"größe": 1}, (1,)),
]


@pytest.mark.row("S4")
@pytest.mark.parametrize(("function", "params", "wanted"), REACHES)
def test_arguments_reach_their_parameters(function: Callable[..., Any], params: Any, wanted: object) -> None:
    binding = Binding(function)
    for invoke in (binding.compiled(), binding.invoke):
        got = invoke(params, SESSION)
        assert got == wanted
        assert repr(got) == repr(wanted)  # 1 is not 1.0


# (function, params, the text for the peer)
MISSES: list[tuple[Callable[..., Any], Any, str]] = [
    (none, [1], "takes no arguments by position, got 1"),
    (none, {"a": 1}, "unknown argument 'a'"),
    (two, [], "missing arguments 'a', 'b'"),
    (two, None, "missing arguments 'a', 'b'"),
    (two, {}, "missing arguments 'a', 'b'"),
    (two, [1], "missing argument 'b'"),
    (two, {"a": 1}, "missing argument 'b'"),
    (two, {"b": 1}, "missing argument 'a'"),
    (two, [1, 2, 3], "takes at most 2 arguments ('a', 'b'), got 3"),
    (two, {"a": 1, "b": 2, "c": 3}, "unknown argument 'c'"),
    (two, {"c": 3, "d": 4}, "unknown arguments 'c', 'd'"),
    (two, ["1", 2], "parameter 'a': expected `int`, got `str`"),
    (two, {"a": 1, "b": None}, "parameter 'b': expected `int`, got `null`"),
    (two, dict.fromkeys("cdefghijk"), "unknown arguments 'c', 'd', 'e', 'f', 'g' and 4 more"),
    (two, {"x" * 1000: 1}, f"unknown argument '{'x' * 64}'..."),
    (two, {"a": 1, "b": 2, 3: 4}, "unknown argument of type int"),
    (two, "ab", "arguments must be an array or an object, not str"),
    (two, 5, "arguments must be an array or an object, not int"),
    (only_position, {"a": 1}, "unknown argument 'a'"),
    (only_position, {}, "missing argument 'a'"),
    (only_position, [1, 2, 3], "takes at most 2 arguments ('a', 'b'), got 3"),
    (mixed, {"b": 2}, "missing argument 'a'"),
    (named, [], "missing argument 'a'"),
    (named, [1], "takes no arguments by position, got 1"),
    (named, {"b": 2}, "missing argument 'a'"),
    (rest, [1, 2, "3"], "parameter 'more[1]': expected `int`, got `str`"),
    (rest, {"more": []}, "unknown argument 'more'"),
    (others, {"a": 1, "b": "2"}, "parameter 'b': expected `int`, got `str`"),
    (others, {"a": 1, "b" * 1000: "2"}, f"parameter '{'b' * 64}': expected `int`, got `str`"),
    (others, {"b": 2}, "missing argument 'a'"),
    (others, [1, 2], "takes at most 1 argument ('a'), got 2"),
    (others, {"a": 1, 2: 3}, "unknown argument of type int"),
    (shadowed, {"a": 1}, "missing argument 'a'"),
    (points, [{"x": 1}, [{"x": "1"}]], "parameter 'q': expected `int`, got `str` at `q[0].x`"),
    # The session is out of the peer's sight.
    (ses_first, {"session": 1, "a": 1}, "unknown argument 'session'"),
    (ses_first, [], "missing argument 'a'"),
    (ses_first, [1, 2, 3], "takes at most 2 arguments ('a', 'b'), got 3"),
    (ses_named, {"a": 1, "session": None}, "unknown argument 'session'"),
    (ses_more, {"session": 1}, "unknown argument 'session'"),
    (ses_alone, [1], "takes no arguments by position, got 1"),
]


@pytest.mark.row("S4", "H29")
@pytest.mark.parametrize(("function", "params", "text"), MISSES)
def test_arguments_that_do_not_fit_are_named(function: Callable[..., Any], params: Any, text: str) -> None:
    binding = Binding(function)
    for invoke in (binding.compiled(), binding.invoke):
        with pytest.raises(ArgumentsError) as caught:
            invoke(params, SESSION)
        assert str(caught.value) == text


# --- calls -----------------------------------------------------------------------------------------------------------


def test_an_error_of_the_handler_comes_out_as_it_is() -> None:
    def handler(a: int) -> None:
        two(a)  # type: ignore[call-arg]  # wrong on purpose

    for params in ([1], {"a": 1}):
        with pytest.raises(TypeError, match=r"two\(\) missing 1 required positional argument"):
            Binding(handler).compiled()(params, None)


def test_values_are_converted_by_the_codec_of_the_session() -> None:
    asked: list[tuple[object, object]] = []

    def convert(value: object, hint: Any) -> object:
        asked.append((value, hint))
        return msgspec.convert(value, hint, builtin_types=[Decimal])

    def handler(a: Decimal, b: float, c: int, d: Any) -> object:
        return a, b, c, d

    got = Binding(handler).compiled()([Decimal("1.10"), Decimal("2.5"), 3, Decimal(4)], None, convert)
    assert repr(got) == repr((Decimal("1.10"), 2.5, 3, Decimal(4)))
    assert asked == [(Decimal("1.10"), Decimal), (Decimal("2.5"), float)]


def test_an_async_handler_gives_its_coroutine() -> None:
    async def handler(a: int) -> int:
        return a

    coroutine = Binding(handler).compiled()([1], None)
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


# --- any arguments ---------------------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", "p", "q", "more", "session", "self", "args", ""]) | st.text(max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
ints = st.integers(0, 3)
params = st.lists(ints | values, max_size=4) | st.dictionaries(names, ints | values, max_size=4) | values
functions = sorted({function for function, *_ in REACHES}, key=repr)


def outcome(invoke: Callable[..., Any], sent: object) -> str:
    try:
        return repr(invoke(sent, SESSION))
    except ArgumentsError as exc:
        return f"refused: {exc}"


@pytest.mark.row("S4", "H29")
@given(st.sampled_from(functions), params)
def test_any_arguments_give_a_result_or_are_refused(function: Callable[..., Any], sent: object) -> None:
    binding = Binding(function)
    assert outcome(binding.compiled(), sent) == outcome(binding.invoke, sent)


@pytest.mark.row("S4")
@given(
    st.sampled_from([none, unhinted, everything, many, long, lambda a, /, b, *c, d, e=1, **f: (a, b, c, d, e, f)]),
    st.lists(ints, max_size=18) | st.dictionaries(names, ints, max_size=6),
)
def test_arguments_are_refused_exactly_when_python_refuses_them(function: Callable[..., Any], sent: Any) -> None:
    args, kwargs = ((), sent) if isinstance(sent, dict) else (sent, {})
    try:
        wanted = repr(function(*args, **kwargs))
    except TypeError:
        wanted = "refused"
    got = outcome(Binding(function).compiled(), sent)
    assert ("refused" if got.startswith("refused") else got) == wanted
