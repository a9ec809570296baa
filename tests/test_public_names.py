# SPDX-License-Identifier: MIT
"""The public names: they are there, documented, typed and lazy, and what one list says the others say too."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import tieline
import tieline.blocking
import tieline.clients
import tieline.errors
import tieline.exceptions
import tieline.serializers
import tieline.servers
import tieline.testing

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "tieline"

# Modules that need an extra (trio) or another platform are read, not imported.
MODULES = sorted(
    name
    for name in (module.name for module in pkgutil.walk_packages(tieline.__path__, "tieline."))
    if ".trio" not in name and not name.endswith("__main__")
)
LAZY = [tieline, tieline.blocking, tieline.clients, tieline.serializers, tieline.servers, tieline.testing]
# A package that only says what is in it has nothing to list.
EMPTY = {
    "tieline.cli", "tieline.endpoints", "tieline.rpc", "tieline.rpc.blocking", "tieline.runtimes",
    "tieline.runtimes.asyncio", "tieline.runtimes.blocking", "tieline.runtimes.layers", "tieline.runtimes.tls",
    "tieline.runtimes.websocket", "tieline.streams", "tieline.streams.blocking", "tieline.wire",
    "tieline.wire.framing", "tieline.wire.jsonrpc", "tieline.wire.proxies", "tieline.wire.serializers",
    "tieline.wire.websocket",
}  # fmt: skip


def tree_of(name: str) -> ast.Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


# --- the package's own face ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tieline.__all__)
def test_a_public_name_resolves_and_says_what_it_is(name: str) -> None:
    value = getattr(tieline, name)
    assert name in dir(tieline)
    if inspect.isclass(value) or inspect.isfunction(value):
        doc = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
        assert doc, f"{name} has no docstring of its own"
        first = inspect.cleandoc(doc).splitlines()[0]
        assert re.search(r"[.:]$", first), f"the first line of {name} is no sentence: {first!r}"
        assert not first.startswith(f"{name}("), f"{name} has the docstring that dataclass made up"


UNDOCUMENTED_AS_IN_PYTHON = {"__init__"}  # a class says what its arguments are, or its constructor does


def public_members() -> list[tuple[str, object]]:
    """Return what users can call on public classes, where a class of ours defines it."""
    found: dict[str, object] = {}
    for name in tieline.__all__:
        value = getattr(tieline, name)
        if not inspect.isclass(value):
            continue
        for base in value.__mro__:
            if not base.__module__.startswith("tieline."):
                continue
            for member, raw in vars(base).items():
                raw = getattr(raw, "__func__", raw)
                if member.startswith("_") or not (inspect.isfunction(raw) or isinstance(raw, property)):
                    continue
                found.setdefault(f"{base.__name__}.{member}", raw)
    return sorted(found.items())


@pytest.mark.parametrize(
    ("name", "member"), public_members(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_public_method_has_a_docstring_there_or_where_it_is_declared(name: str, member: object) -> None:
    if inspect.getdoc(member):
        return
    owner, method = name.split(".")
    bases = getattr(tieline, owner).__mro__[1:]
    assert any(inspect.getdoc(vars(base).get(method)) for base in bases), f"{name} has no docstring"


def test_the_three_lists_of_names_agree() -> None:
    """`__all__`, the table of the lazy import, and the imports for type checkers."""
    typed: dict[str, set[str]] = {}
    table: dict[str, tuple[str, ...]] = {}
    for node in tree_of("tieline").body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                assert all(alias.asname is None for alias in statement.names)
                typed.setdefault(str(statement.module), set()).update(alias.name for alias in statement.names)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MODULES":
            table = ast.literal_eval(node.value)
    assert {module: set(names) for module, names in table.items()} == typed
    assert sorted(name for names in typed.values() for name in names) == sorted(tieline.__all__)
    assert len(set(tieline.__all__)) == len(tieline.__all__)


def lists_of(name: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return what a lazy face imports for type checkers, and its table, both by module."""
    typed: dict[str, set[str]] = {}
    table: dict[str, tuple[str, ...]] = {}
    for node in tree_of(name).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                typed.setdefault(str(statement.module), set()).update(alias.name for alias in statement.names)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MODULES":
            table = ast.literal_eval(node.value)
    return typed, {module: set(names) for module, names in table.items()}


def test_the_lists_of_the_test_kit_agree_and_its_names_say_what_they_are() -> None:
    typed, table = lists_of("tieline.testing")
    assert typed == table
    assert sorted(name for names in typed.values() for name in names) == sorted(tieline.testing.__all__)
    for name in tieline.testing.__all__:
        value = getattr(tieline.testing, name)
        assert name in dir(tieline.testing)
        if name.isupper():
            assert isinstance(value, tuple)
            continue
        doc = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
        assert doc, f"{name} has no docstring of its own"
        assert not doc.startswith(f"{name}("), f"{name} has the docstring that dataclass made up"
    with pytest.raises(AttributeError, match="no attribute 'memory_pear'"):
        _ = tieline.testing.memory_pear  # type: ignore[attr-defined]  # the mistake that is shown


@pytest.mark.parametrize("name", [face.__name__ for face in LAZY])
def test_type_checkers_see_what_is_not_there(name: str) -> None:
    """A module with a `__getattr__` has every name for them, misspelt ones as well."""
    of_module = [node.name for node in tree_of(name).body if isinstance(node, ast.FunctionDef)]
    assert of_module == ["__dir__"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = tieline.conect  # type: ignore[attr-defined]  # the mistake that is shown
    assert not hasattr(tieline, "__wrapped__")


def test_exceptions_has_all_errors_and_nothing_else() -> None:
    assert sorted(tieline.exceptions.__all__) == sorted(tieline.errors.__all__)
    for name in tieline.errors.__all__:
        assert getattr(tieline.exceptions, name) is getattr(tieline.errors, name)


def test_every_error_is_listed_and_derives_from_the_root() -> None:
    classes = {name: value for name, value in vars(tieline.errors).items() if inspect.isclass(value)}
    assert set(classes) == set(tieline.errors.__all__)
    assert all(issubclass(value, tieline.TielineError) for value in classes.values())


def examples_in(name: str) -> list[str]:
    """Return the code in the docstrings of a module, each behind a line that is no more than `::`."""
    found = []
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (ast.get_docstring(node) or "").splitlines()
            for at in (at for at, line in enumerate(lines) if line.endswith("::")):
                end = next((n for n, line in enumerate(lines) if n > at and line[:1].strip()), len(lines))
                found.append(textwrap.dedent("\n".join(lines[at + 1 : end])))
    return found


def test_examples_in_docstrings_are_python() -> None:
    """A tool that fills lines anew has put two of them into one."""
    found = {code: name for name in MODULES for code in examples_in(name)}
    assert len(found) > 5
    for code, name in found.items():
        try:
            ast.parse(f"async def example():\n{textwrap.indent(code, '    ')}")
        except SyntaxError as error:
            pytest.fail(f"{name}: {error}\n{code}")


# --- every module ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_its_public_names_and_has_them(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "no docstring"
    names = getattr(module, "__all__", None)
    if names is None:
        own = [node for node in tree_of(name).body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Assign)]
        assert name in EMPTY
        assert not own, f"{name} defines names and has no __all__"
        return
    assert len(set(names)) == len(names), "a name is listed twice"
    for each in names:
        assert hasattr(module, each), f"{each} is listed and not there"
        assert not each.startswith("_")


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_does_not_list_is_used_in_it_alone(name: str) -> None:
    """Whoever imports a name from a module of ours imports one that it lists, or a constant in capitals."""
    for node in ast.walk(tree_of(name)):
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tieline")):
            continue
        source = importlib.import_module(str(node.module))
        for alias in node.names:
            submodule = importlib.util.find_spec(f"{node.module}.{alias.name}") if hasattr(source, "__path__") else None
            listed = alias.name in getattr(source, "__all__", ())
            assert listed or submodule is not None or alias.name.isupper(), f"{node.module}.{alias.name}"


# --- what is shipped -------------------------------------------------------------------------------------------------


def test_the_wheel_ships_all_modules_and_the_mark_for_type_checkers(tmp_path: Path) -> None:
    assert (PACKAGE / "py.typed").is_file()
    if importlib.util.find_spec("hatchling") is None:
        return  # it is not needed for anything else: pip fetches it when a wheel is built
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("tieline-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("tieline/")}
    there = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    assert shipped == {name for name in there if "__pycache__" not in name}
    assert "tieline/py.typed" in shipped


def test_the_face_of_the_errors_has_all_of_them_and_the_same_ones() -> None:
    errors, face = importlib.import_module("tieline.errors"), importlib.import_module("tieline.exceptions")
    assert sorted(face.__all__) == sorted(errors.__all__)
    assert all(getattr(face, name) is getattr(errors, name) for name in errors.__all__)
