# SPDX-License-Identifier: MIT
"""The registry: names, what may be registered under them, and what a name can never reach."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import plain_repr
from tieline import ClientSession, ServerSession
from tieline.rpc.binding import ArgumentsError
from tieline.rpc.methods import Method, Methods


def add(a: int, b: int) -> int:
    return a + b


async def aadd(a: int, b: int) -> int:
    return a + b


class Calculator:
    """A service with everything that a class can hold."""

    factor = 2
    helper_class = dict
    ready_made = functools.lru_cache(abs)

    def __init__(self) -> None:
        self.late = lambda: "an attribute of the instance"
        vars(self)["double"] = "hides the method for Python, not for peers"

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was looked up")

    def double(self, a: int) -> int:
        return a * Calculator.factor

    async def later(self, a: int) -> int:
        return a

    @staticmethod
    def static(a: int) -> int:
        return a

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    tripled = functools.partialmethod(lambda self, factor, a: factor * a, 3)

    @property
    def secret(self) -> int:
        raise AssertionError("a property was evaluated")

    @functools.cached_property
    def cached(self) -> int:
        raise AssertionError("a property was evaluated")

    def _private(self) -> None: ...
    def __call__(self) -> None: ...

    class Nested:
        pass


class Child(Calculator):
    static = None  # type: ignore[assignment]  # hides it

    def double(self, a: int) -> int:
        return super().double(a) + 1

    def own(self) -> str:
        return "own"


# --- registration ----------------------------------------------------------------------------------------------------


@pytest.mark.row("S4")
def test_the_decorator_registers_a_function_and_returns_it_unchanged() -> None:
    methods = Methods()
    assert methods.method(add) is add
    assert methods.method(name="sum", ordered=True)(add) is add
    assert methods.method(ordered=True)(aadd) is aadd
    assert [*methods] == ["add", "sum", "aadd"]
    assert len(methods) == 3
    assert "sum" in methods
    assert "sub" not in methods
    method = methods.get("sum")
    assert method is not None
    assert (method.name, method.function) == ("sum", add)
    assert method.invoke([1, 2], None) == 3


def test_a_method_may_be_compiled_later_and_does_the_same() -> None:
    assert Method("add", add).is_compiled
    method = Method("add", add, compiled=False)
    for is_compiled in (False, True, True):
        assert method.is_compiled is is_compiled
        assert method.invoke([1, 2], None) == method.invoke({"a": 1, "b": 2}, None) == 3
        with pytest.raises(ArgumentsError, match="missing argument 'b'"):
            method.invoke([1], None)
        method.compile()


@pytest.mark.row("S9")
def test_a_method_can_be_declared_ordered() -> None:
    assert not Method("add", add).ordered
    assert Method("add", add, ordered=True).ordered
    methods = Methods()
    methods.method(ordered=True)(aadd)
    assert getattr(methods.get("aadd"), "ordered", None) is True


@pytest.mark.row("S4")
def test_a_name_is_taken_once() -> None:
    methods = Methods()
    methods.method(add)
    with pytest.raises(ValueError, match=r"^method 'add' is registered already; pass replace=True to replace it$"):
        methods.method(name="add")(aadd)
    assert methods.get("add").function is add  # type: ignore[union-attr]  # it is there
    methods.method(name="add", replace=True)(aadd)
    assert methods.get("add").function is aadd  # type: ignore[union-attr]  # it is there


@pytest.mark.row("S4")
@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("", ValueError, "the name of a method must not be empty"),
        ("rpc.x", ValueError, "method 'rpc.x': the JSON-RPC 2.0 specification reserves names that begin with 'rpc.'"),
        (5, TypeError, "the name of a method must be a str, not int"),
    ],
)
def test_a_name_must_be_a_string_that_is_not_reserved(name: Any, error: type[Exception], text: str) -> None:
    methods = Methods()
    with pytest.raises(error) as caught:
        methods.method(name=name)(add)
    assert str(caught.value) == text
    assert len(methods) == 0
    methods.method(name="rpc")(add)  # only the dot makes it theirs
    methods.method(name="RPC.x")(add)


class Nameless:
    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize("wrong", [3, [add]], ids=type)
def test_what_cannot_be_called_is_refused_as_such(wrong: Any) -> None:
    """As where a function was called by mistake, and its result is registered."""
    with pytest.raises(TypeError, match=rf"^method\(\) takes a function, not {type(wrong).__name__}$"):
        Methods().method(wrong)


@pytest.mark.parametrize("function", [functools.partial(add, 1), lambda: 1, Nameless()], ids=type)
def test_what_has_no_name_of_its_own_needs_one(function: Callable[..., object]) -> None:
    methods = Methods()
    with pytest.raises(TypeError, match=r"^a \w+ without a name of its own needs name=$"):
        methods.method(function)
    methods.method(name="given")(function)
    assert "given" in methods


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Stream:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.row("S4")
@pytest.mark.parametrize(
    "function", [generator, async_generator, functools.partial(generator), Stream()], ids=plain_repr
)
def test_generators_are_refused(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"^method 'g' is a generator function: a call has one result, not a stream"):
        Methods().method(name="g")(function)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^method 'x' must be callable, not int$"):
        Method("x", 5)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.row("S4")
def test_a_hint_that_cannot_be_converted_to_is_refused_and_nothing_registered() -> None:
    def handler(a: complex) -> None: ...

    methods = Methods()
    with pytest.raises(TypeError, match=r"handler\(\): parameter 'a' has the type hint complex, which msgspec does"):
        methods.method(handler)
    assert len(methods) == 0


# --- sync or async ---------------------------------------------------------------------------------------------------


class AsyncCallable:
    async def __call__(self) -> int:
        return 1

    async def method(self) -> int:
        return 1

    @staticmethod
    async def static() -> int:
        return 1

    @classmethod
    async def of_class(cls) -> int:
        return 1


async def one() -> int:
    return 1


ASYNC: list[tuple[Callable[..., object], bool]] = [
    (one, True),
    (functools.partial(one), True),
    (functools.partial(functools.partial(aadd, 1), 2), True),
    (AsyncCallable(), True),
    (functools.partial(AsyncCallable()), True),
    (AsyncCallable().method, True),
    (functools.partial(AsyncCallable().method), True),
    (AsyncCallable.static, True),
    (AsyncCallable.of_class, True),
    (AsyncCallable, False),
    (Nameless(), False),
    (functools.partial(add, 1, 2), False),
    (len, False),
]


@pytest.mark.row("S4")
@pytest.mark.parametrize(("function", "wanted"), ASYNC, ids=plain_repr)
def test_async_handlers_are_known_at_registration(function: Callable[..., object], wanted: bool) -> None:
    assert Method("m", function).is_async is wanted


@pytest.mark.row("S4")
def test_invoke_gives_the_coroutine_of_an_async_handler() -> None:
    for function, is_async in ASYNC:
        if is_async:
            coroutine = Method("m", function).invoke([], None)
            assert inspect.iscoroutine(coroutine)
            with pytest.raises(StopIteration, match=r"^[13]$"):
                coroutine.send(None)  # none of them waits, so no loop is needed


def test_a_plain_function_that_returns_a_coroutine_is_async_when_it_is_marked() -> None:
    def proxy(a: int, b: int) -> object:
        return aadd(a, b)

    assert not Method("m", proxy).is_async
    if sys.version_info >= (3, 12):
        assert Method("m", inspect.markcoroutinefunction(proxy)).is_async


# --- services --------------------------------------------------------------------------------------------------------


@pytest.mark.row("S4")
def test_the_public_methods_of_an_object_are_registered() -> None:
    methods = Methods()
    methods.add(Calculator(), prefix="calc.")
    assert sorted(methods) == [
        f"calc.{name}" for name in ("double", "later", "name", "ready_made", "static", "tripled")
    ]
    results = [("double", [4], 8), ("static", [4], 4), ("name", [], "Calculator"), ("tripled", [4], 12)]
    for name, params, wanted in results:
        method = methods.get(f"calc.{name}")
        assert method is not None
        assert method.invoke(params, None) == wanted
    assert methods.get("calc.later").is_async  # type: ignore[union-attr]  # it is there


@pytest.mark.row("S4")
def test_inherited_methods_are_registered_unless_hidden() -> None:
    methods = Methods()
    methods.add(Child())
    assert sorted(methods) == ["double", "later", "name", "own", "ready_made", "tripled"]
    assert methods.get("double").invoke([4], None) == 9  # type: ignore[union-attr]  # it is there
    assert methods.get("name").invoke([], None) == "Child"  # type: ignore[union-attr]  # it is there


@pytest.mark.row("S4")
def test_a_service_is_registered_whole_or_not_at_all() -> None:
    class Faulty:
        def good(self) -> None: ...
        def bad(self, a: complex) -> None: ...

    methods = Methods()
    methods.method(name="own")(add)
    with pytest.raises(ValueError, match=r"^method 'own' is registered already"):
        methods.add(Child())
    with pytest.raises(TypeError, match=r"bad\(\): parameter 'a' has the type hint complex"):
        methods.add(Faulty())
    with pytest.raises(ValueError, match="reserves names that begin with"):
        methods.add(Calculator(), prefix="rpc.")
    assert [*methods] == ["own"]
    methods.add(Child(), replace=True)
    assert methods.get("own").invoke([], None) == "own"  # type: ignore[union-attr]  # it is there


BUILT_IN: list[object] = [[add], {"add": add}, {add}, (add,), 5, "add", None, object(), functools]


@pytest.mark.row("H38")
@pytest.mark.parametrize("kind", [type(one).__name__ for one in BUILT_IN])
def test_what_is_built_in_is_no_service(kind: str) -> None:
    methods = Methods()
    (built_in,) = [one for one in BUILT_IN if type(one).__name__ == kind]
    with pytest.raises(TypeError, match=rf"^add\(\) takes an object of a class .*, not {kind}: functions are"):
        methods.add(built_in)
    assert [*methods] == []


@pytest.mark.parametrize("session", [ServerSession(), ClientSession("h", 1)], ids=["server", "client"])
def test_a_session_is_no_service(session: object) -> None:
    with pytest.raises(TypeError, match=r"^add\(\) takes an object with methods .*, and \w+Session is a session$"):
        Methods().add(session)


class Empty:
    """Has no methods."""


def test_a_service_is_an_object_with_methods() -> None:
    with pytest.raises(TypeError, match=r"^add\(\) takes an object, not a class: did you mean Calculator\(\)\?$"):
        Methods().add(Calculator)
    with pytest.raises(TypeError, match=r"^Empty has no public methods$"):
        Methods().add(Empty())
    with pytest.raises(TypeError, match=r"^add\(\) takes an object with methods: did you mean method\(len\)\?$"):
        Methods().add(len)
    with pytest.raises(TypeError, match=r"^prefix must be a str, not builtin_function_or_method$"):
        Methods().add("length", len)  # type: ignore[arg-type]  # the mistake that is shown


# --- what a peer can reach -------------------------------------------------------------------------------------------


@pytest.mark.row("S4", "H38")
@pytest.mark.parametrize(
    "name",
    [
        "__init__",
        "__class__",
        "echo.__globals__",
        "echo.__call__",
        "rpc.x",
        "rpc.discover",
        "",
        "Echo",
        "echo ",
        "_private",
        "secret",
        "late",
        "Nested",
        "helper_class",
        "factor",
        "__call__",
        "get",
        "x" * 1_000_000,
        "\ud800",
    ],
    ids=lambda name: ascii(name[:20]),
)
def test_only_registered_names_are_reached(name: str) -> None:
    methods = Methods()
    methods.method(name="echo")(add)
    methods.add(Calculator())
    assert methods.get(name) is None
    assert name not in methods


@given(st.text(), st.none() | st.lists(st.integers() | st.text()) | st.dictionaries(st.text(), st.integers()))
def test_any_call_is_unknown_refused_or_answered(name: str, params: object) -> None:
    methods = Methods()
    methods.method(add)
    method = methods.get(name) or methods.get("add")
    assert method is not None
    try:
        result = method.invoke(params, None)
    except ArgumentsError:
        return
    assert isinstance(result, int)


# --- for people ------------------------------------------------------------------------------------------------------


def test_reprs_say_what_is_there() -> None:
    methods = Methods()
    assert repr(methods) == "<Methods (none)>"
    methods.method(add)
    methods.method(ordered=True)(aadd)
    assert repr(methods) == "<Methods add, aadd>"
    assert repr(methods.get("add")) == "<Method add(a: 'int', b: 'int') -> 'int'>"
    assert repr(methods.get("aadd")) == "<Method aadd(a: 'int', b: 'int') -> 'int' async ordered>"
    for number in range(10):
        methods.method(name=f"m{number}")(add)
    assert repr(methods) == "<Methods add, aadd, m0, m1, m2, m3, m4, m5, and 4 more>"


def test_an_object_of_a_class_that_code_without_a_module_has_made_is_a_service() -> None:
    made: dict[str, Any] = {}
    exec("class Shop:\n    def buy(self, name: str) -> str:\n        return name", made)  # as templates do
    assert made["Shop"].__module__ == "builtins"
    methods = Methods()
    methods.add(made["Shop"]())
    assert [*methods] == ["buy"]
