# SPDX-License-Identifier: MIT
"""What `tieline serve` is told to serve: found, imported, and made into what can be served."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tieline as library
from tieline.cli.exits import Exit, Failure
from tieline.cli.target import load

CODE = """
import functools, sys
import tieline
from beside import half

methods = tieline.Methods()
methods.method(half)


class Calculator:
    def __init__(self, start=0):
        self.value = start

    def add(self, number: int) -> int:
        self.value += number
        return self.value


class Picky(Calculator):
    def __init__(self, start):
        super().__init__(start)


class Session(tieline.ServerSession):
    pass


class Protocol:
    def connection_made(self, transport): ...


calculator = Calculator(5)
double = functools.partial(half, factor=2)
make = lambda: Calculator(7)
make_methods = lambda: methods
make_nothing = lambda: 1 / 0
nothing = None
alias = methods


def hello(name: str) -> str:
    return f"hello {name}"


def numbers():
    yield 1


def odd(callback: functools.partial) -> None: ...


async def later() -> int:
    return 1


class Outer:
    class Inner:
        service = Calculator()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "service.py").write_text(CODE)
    (tmp_path / "beside.py").write_text(
        "def half(number: float, factor: float = 0.5) -> float:\n    return number * factor\n"
    )
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "stock.py").write_text("from tieline import Methods\none, two = Methods(), Methods()\n")
    (package / "with-dash.py").write_text("import tieline\nmethods = tieline.Methods()\n")
    (tmp_path / "broken.py").write_text("\n\n1 / 0\n")
    (tmp_path / "unfinished.py").write_text("def f(:\n")
    (tmp_path / "needs.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit('usage: ...')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


# Methods that come of it, or what it is.
SERVED: list[tuple[str, object]] = [
    ("service:methods", ["half"]),
    ("service.py:methods", ["half"]),
    ("./service.py:methods", ["half"]),
    ("service", ["half"]),
    ("service.py", ["half"]),
    ("service:calculator", ["add"]),
    ("service:Calculator", ["add"]),
    ("service:Outer.Inner.service", ["add"]),
    ("service:hello", ["hello"]),
    ("service:later", ["later"]),
    ("beside:half", ["half"]),
    ("math:sqrt", ["sqrt"]),
    ("shop.stock:one", []),
    ("shop/with-dash.py", []),
    ("service:Session", "Session"),
    ("service:Protocol", "Protocol"),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("target", "expected"), SERVED)
def test_what_can_be_served(target: str, expected: object) -> None:
    found: Any = load(target)
    if isinstance(found, library.Methods):
        assert list(found) == expected
    else:
        assert found.__name__ == expected


@pytest.mark.usefixtures("folder")
def test_a_factory_is_called_once() -> None:
    made = load("service:make", is_factory=True)
    assert isinstance(made, library.Methods)
    assert [made.lookup("add").invoke([1], None) for _ in range(2)] == [8, 9]  # type: ignore[union-attr]  # it is there
    assert load("service:make_methods", is_factory=True) is load("service:methods")
    # Without the option a function is a method.
    with pytest.raises(Failure, match="needs name="):
        load("service:make")


def test_an_absolute_path_and_what_lies_beside_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert "half" in load(f"{folder}/service.py:methods")  # type: ignore[operator]  # a registry


ERRORS = [
    ("servce:methods", "there is no module 'servce'; did you mean 'service'?"),
    ("zzz:methods", "there is no module 'zzz' in /"),
    ("shop.nothing:x", "there is no module 'shop.nothing'"),
    ("service.more:x", "there is no module 'service.more'"),
    ("nothing.py:methods", "there is no file 'nothing.py'"),
    ("./shop:methods", "there is no file 'shop'"),
    ("service:method", "service has no 'method'; did you mean 'methods'?"),
    ("service:zzz", "service has no 'zzz' (it has: methods, Calculator, Picky, Session, Protocol, calculator, "),
    ("service:Calculator.zzz", "Calculator has no 'zzz'"),
    ("broken:x", "broken cannot be imported: ZeroDivisionError: division by zero (/"),
    ("broken.py:x", "broken.py:3); --log-level debug shows more"),
    ("unfinished:x", "unfinished cannot be imported: "),
    ("unfinished.py:x", "unfinished.py:1)"),
    ("needs:x", "needs cannot be imported: ModuleNotFoundError: No module named 'no_such_module_at_all' (/"),
    ("leaves:x", "leaves cannot be imported: SystemExit: usage: ... (/"),
    ("beside", "beside: say which attribute is to be served, as beside:NAME; there is no registry (it has: half)"),
    ("shop.stock", "there is several registries"),
    ("service:nothing", "service:nothing cannot be served: TypeError: add() takes an object of a class with methods"),
    ("service:sys", "sys is a module: say which of its attributes is to be served"),
    ("service:Picky", "service:Picky cannot be served: TypeError: "),
    ("service:numbers", "is a generator function"),
    ("service:odd", "parameter 'callback' has the type hint"),
    ("not a module", "'not a module' is neither the name of a module nor a .py file; say MODULE:ATTRIBUTE"),
    ("", "'' is neither"),
    (":methods", "'' is neither"),
    ("service:", "'service:' is neither"),
]  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("target", "text"), ERRORS)
def test_what_cannot_is_told_in_one_line(target: str, text: str) -> None:
    with pytest.raises(Failure) as caught:
        load(target)
    assert text in caught.value.text
    assert "\n" not in caught.value.text
    assert caught.value.code is Exit.USAGE


@pytest.mark.usefixtures("folder")
def test_a_factory_that_fails_is_told() -> None:
    with pytest.raises(Failure, match=r"service:make_nothing cannot be served: ZeroDivisionError: .*service.py:3\d"):
        load("service:make_nothing", is_factory=True)


@pytest.mark.usefixtures("folder")
def test_the_traceback_can_be_had(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "tieline.cli")
    with pytest.raises(Failure):
        load("broken:x")
    assert "line 3, in <module>" in caplog.text
