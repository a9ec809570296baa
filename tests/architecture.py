# SPDX-License-Identifier: MIT
"""Judge who imports whom, from the syntax tree alone: nothing is imported, and no import hides in a function.

The floors are those of the design. `violations` is a plain function of a folder, so that made-up trees can show that
each rule bites (test_architecture.py).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "tieline"
FACES: Final = frozenset({
    "", "clients", "servers", "blocking", "protocol", "serializers", "converter", "exceptions", "socket", "backend",
    "transports", "dialects",
})  # fmt: skip
# Those that load a name when it is first used, under one lock.
LAZY_FACES: Final = frozenset({"", "clients", "servers", "blocking", "serializers", "testing"})
FLOORS: Final = {
    "finite": -1, "loading": -1,
    "errors": 0, "wire": 1, "endpoints": 2, "runtimes": 3, "clients": 4, "servers": 4, "rpc": 4, "streams": 4,
    "cli": 6, "__main__": 6,
}  # fmt: skip
FACE_FLOOR: Final = 5
CLI_FLOOR: Final = 6
RUNTIMES: Final = frozenset({"asyncio", "trio", "blocking"})
# The core knows bytes and time as arguments; anything here would give it another source of either, or of chance.
NOT_IN_WIRE: Final = frozenset({
    "asyncio", "trio", "anyio", "uvloop", "socket", "_socket", "ssl", "_ssl", "select", "selectors", "threading",
    "_thread", "concurrent", "subprocess", "signal", "time", "logging", "random", "secrets",
})  # fmt: skip
HOME: Final = {"asyncio": "runtimes.asyncio", "uvloop": "runtimes.asyncio", "trio": "runtimes.trio"}
SSL_HOMES: Final = ("endpoints", "runtimes.tls")  # and what is in them


@dataclass(frozen=True)
class Import:
    """One import of *target*, an absolute dotted name; lazy when it does not run with its module."""

    target: str
    line: int
    in_function: bool
    lazy: bool


@dataclass(frozen=True)
class Module:
    """A file of the package. Its *name* leaves out the package's own: `wire.ids`, and "" for the package itself."""

    name: str
    path: str
    is_package: bool
    imports: tuple[Import, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))

    @property
    def is_testing(self) -> bool:
        return self.parts[0] == "testing"


# --- reading ---------------------------------------------------------------------------------------------------------


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _walk(node: ast.AST, in_function: bool = False, lazy: bool = False) -> Iterator[tuple[ast.AST, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, in_function, lazy
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for part in child.body:
                yield part, in_function, True
                yield from _walk(part, in_function, True)
            for part in child.orelse:
                yield part, in_function, lazy
                yield from _walk(part, in_function, lazy)
            continue
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, in_function or function, lazy or function)


def _from(node: ast.ImportFrom, package: list[str], known: set[str]) -> Iterator[str]:
    base = package[: len(package) + 1 - node.level] if node.level else []
    origin = ".".join(base + ([node.module] if node.module else []))
    for alias in node.names:
        full = f"{origin}.{alias.name}"
        yield full if full in known else origin


def _called_import(node: ast.Call) -> bool:
    return ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")


def _imports(tree: ast.Module, package: list[str], known: set[str]) -> Iterator[Import]:
    for node, in_function, lazy in _walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            targets = list(dict.fromkeys(_from(node, package, known)))
        elif isinstance(node, ast.Call) and _called_import(node):
            name = node.args[0] if node.args else None
            literal = isinstance(name, ast.Constant) and isinstance(name.value, str)
            targets = [str(name.value)] if literal and isinstance(name, ast.Constant) else ["*"]
        for target in targets:
            yield Import(target, node.lineno, in_function, lazy)  # type: ignore[attr-defined]  # these three have lines


def _read(root: Path) -> dict[str, Module]:
    files: dict[str, tuple[Path, bool]] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        files[".".join(parts[:-1] if is_package else parts)] = (path, is_package)
    known = {f"{PACKAGE}.{name}".rstrip(".") for name in files}
    modules = {}
    for name, (path, is_package) in files.items():
        dotted = [PACKAGE, *filter(None, name.split("."))]
        package = dotted if is_package else dotted[:-1]
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        shown = path.relative_to(root.parent).as_posix()
        modules[name] = Module(name, shown, is_package, tuple(_imports(tree, package, known)))
    return modules


# --- judging ---------------------------------------------------------------------------------------------------------


def _floor(name: str) -> int | None:
    if name in FACES or name.split(".", maxsplit=1)[0] == "blocking":
        return FACE_FLOOR
    return FLOORS.get(name.split(".", maxsplit=1)[0])


def _unit(name: str) -> tuple[str, ...]:
    """Return what counts as one sibling: a folder or file of a floor, one runtime, one face."""
    parts = tuple(name.split("."))
    if _floor(name) == FACE_FLOOR:
        return (parts[0],)
    return parts[:2] if parts[0] == "runtimes" else parts[:1]


def _sibling_fault(source: Module, target: str, edge: Import) -> str | None:
    """Judge an import between two units of one floor."""
    mine, other = _unit(source.name), _unit(target)
    if source.parts[0] == "runtimes":
        if other[-1] not in RUNTIMES:
            return None  # link, pumped, tls and the like stand below the runtimes
        if source.name == "runtimes.detect" and edge.in_function:
            return None
        return f"{source.name} imports the runtime {target}"
    # `connect` and `serve` choose among them; and the handlers of servers are given clients.
    if (mine == ("servers",) and other == ("clients",)) or (mine == ("rpc",) and other in (("clients",), ("servers",))):
        return None
    if (mine, other) == (("__main__",), ("cli",)):
        return None
    return f"{source.name} imports its sibling {target or PACKAGE}"


def _loading_fault(source: Module, target: str, edge: Import) -> str | None:
    """Judge an import that may wait for the lock of the lazy faces. Whoever has it may wait for the importer."""
    if target in LAZY_FACES and not edge.lazy:
        return f"{source.name} uses a name of {target or PACKAGE} while it is being loaded"
    return None


def _part_fault(source: Module, target: str, edge: Import) -> str | None:
    """Judge an import of a package's own part. To import a part runs its package first: so that would be a circle."""
    if source.is_package and not edge.lazy and target.startswith(f"{source.name}."):
        return f"{source.name} loads its part {target} with itself"
    return None


def _inside_fault(source: Module, target: str, edge: Import) -> str | None:
    """Judge an import within the package: floors, siblings and parts."""
    if (fault := _part_fault(source, target, edge)) is not None:
        return fault
    mine, other = _floor(source.name), _floor(target)
    if source.is_testing:
        return _loading_fault(source, target, edge)
    if target.split(".", maxsplit=1)[0] == "testing":
        return f"{source.name} imports {target}: nothing imports the test kit"
    if mine is None or other is None:
        return None if other is not None else f"{source.name} imports {target}, which stands on no floor"
    if other > mine:
        return f"{source.name} (floor {mine}) imports {target or PACKAGE} (floor {other}): upward"
    if mine == CLI_FLOOR and other < FACE_FLOOR:
        return f"{source.name} imports {target}: commands import faces only"
    if mine == other and _unit(source.name) != _unit(target):
        return _sibling_fault(source, target, edge)
    return None


def _outside_fault(source: Module, target: str, edge: Import) -> str | None:
    """Judge an import of a foreign module."""
    top = target.split(".", maxsplit=1)[0]
    if source.is_testing:
        return None
    if source.parts[0] == "wire" and top in NOT_IN_WIRE:
        return f"{source.name} imports {top}: forbidden in wire/"
    is_program = _floor(source.name) == CLI_FLOOR  # like those of users: it runs a loop, and looks into errors
    home = HOME.get(top)
    if home is not None and not is_program and not (source.name == home or source.name.startswith(home + ".")):
        return f"{source.name} imports {top}: allowed in {home} only"
    if top == "ssl" and not is_program and not any(f"{source.name}.".startswith(f"{home}.") for home in SSL_HOMES):
        return f"{source.name} imports ssl: allowed in {' and '.join(SSL_HOMES)} only"
    if top == "ssl" and not edge.lazy:
        return f"{source.name} imports ssl with itself: only lazily, inside a function"
    if target == "*" and _floor(source.name) not in (FACE_FLOOR, CLI_FLOOR) and source.name != "loading":
        return f"{source.name} imports a module by a computed name, which nobody can judge"
    return None


def _circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield one shortest circle of imports for each group of modules that reach each other."""
    told: set[str] = set()
    for start in sorted(edges):
        if start in told:
            continue
        came_from: dict[str, str] = {}
        queue = [start]
        for here in queue:
            for there in sorted(edges[here]):
                if there == start:
                    path = [start, here] if here != start else [start]
                    while path[-1] != start:
                        path.append(came_from[path[-1]])
                    circle = [start, *reversed(path[1:-1]), start] if here != start else [start, start]
                    told.update(circle)
                    yield circle
                    break
                if there not in came_from:
                    came_from[there] = here
                    queue.append(there)
            else:
                continue
            break


def _edges(modules: dict[str, Module]) -> dict[str, set[str]]:
    """Return who runs whom. To import a.b.c from outside runs a.b first, whose own imports then count too."""
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for source in modules.values():
        for edge in source.imports:
            if (target := _own(edge.target, modules)) is None:
                continue
            edges[source.name].add(target)
            parts = target.split(".")
            for cut in range(1, len(parts)):
                package = ".".join(parts[:cut])
                if package in modules and not f"{source.name}.".startswith(f"{package}."):
                    edges[source.name].add(package)
    return edges


def _own(target: str, modules: dict[str, Module]) -> str | None:
    """Return the module of the package that *target* names, or None for a foreign one."""
    if target != PACKAGE and not target.startswith(PACKAGE + "."):
        return None
    name = target[len(PACKAGE) + 1 :]
    while name not in modules and name:
        name = name.rpartition(".")[0]
    return name


def violations(root: Path) -> list[str]:
    """Return one line for each breach of the floors in the package folder *root*, best kept empty."""
    modules = _read(root)
    found: list[str] = []
    for source in modules.values():
        if _floor(source.name) is None and not source.is_testing:
            found.append(f"{source.path}: {source.name} stands on no floor")
        for edge in source.imports:
            target = _own(edge.target, modules)
            fault = (
                _outside_fault(source, edge.target, edge)
                if target is None
                else _inside_fault(source, target, edge)
            )  # fmt: skip
            if fault is not None:
                found.append(f"{source.path}:{edge.line}: {fault}")
    told = (" -> ".join(name or PACKAGE for name in circle) for circle in _circles(_edges(modules)))
    return found + [f"circle: {circle}" for circle in told]
