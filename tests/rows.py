# SPDX-License-Identifier: MIT
"""Which rows of the specs and which hostile cases are finished, and which tests say that they show them.

A test says so with `@pytest.mark.row("J4", "H19")`, on itself, on its class, in `pytestmark` or in
`pytest.param(..., marks=...)`; there also by a name, whose marks then stand in a table of the same module:

    TABLES = [(tables.IDS, pytest.mark.row("J4", "J8")), (tables.NAMES, pytest.mark.row("H38"))]
    ROWS = [pytest.param(row, marks=mark) for rows, mark in TABLES for row in rows]

The marks are read from the files, not from a run: what was selected changes nothing.
"""

import ast
from collections.abc import Iterator
from pathlib import Path


def _span(letter: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(first, last + 1))


# Frames, calls (J), sessions (S), proxies (P), packets (K), datagrams (D), transports (T); H are the hostile cases, and
# R the traps of the three runtimes, by their numbers in the spec of those.
KNOWN: frozenset[str] = frozenset(
    _span("F", 1, 8)
    + _span("J", 1, 11)
    + _span("S", 1, 14)
    + _span("P", 1, 9)
    + _span("K", 1, 20)
    + _span("D", 1, 6)
    + _span("T", 0, 8)
    + _span("H", 1, 80)
    + _span("R", 1, 20)
)

# By issue: from when it is finished on, each of its rows and cases has a test.
FINISHED: dict[str, tuple[str, ...]] = {
    "2": (
        *("F1", "F2", "F3", "F8"),
        *_span("J", 1, 11),
        *_span("S", 1, 10),
        *("S12", "S13"),
        *("H1", "H2", "H7", "H8"),
        *_span("H", 19, 44),
        *_span("H", 57, 61),
    ),
    "3": (
        "D6",
        *_span("H", 3, 6),
        *("H9", "H10", "H17", "H18"),
        *_span("H", 45, 55),
        "H62",
        *_span("H", 68, 70),
        "H80",
    ),
    "5": (*_span("F", 4, 7), "S14", *_span("H", 11, 16)),
    "8": (*_span("P", 1, 9), *_span("H", 63, 67), "H69"),
    "9": (*_span("H", 11, 15), "H79"),
    "11": ("S11", "H48", "H56"),
    "10": ("D4", "H18", "H72"),
    "6": (*_span("R", 1, 20), *_span("T", 0, 8), *_span("D", 1, 6)),
    "7": _span("K", 1, 20),
}

# Finished all the same, without a test: the row and the reason.
EXCEPTIONS: dict[str, str] = {}


def _is_row(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "row"
        and ast.unparse(node.func) in ("pytest.mark.row", "mark.row")
    )


def _calls(*nodes: ast.AST | None) -> Iterator[ast.Call]:
    for node in nodes:
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Call) and _is_row(part):
                yield part


def _is_test(node: ast.AST) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")


def _marks_by_name(nodes: list[ast.AST]) -> bool:
    """Return whether a parameter takes its marks from a variable."""
    return any(
        isinstance(node, ast.Call)
        and any(keyword.arg == "marks" and isinstance(keyword.value, ast.Name) for keyword in node.keywords)
        and ast.unparse(node.func) in ("pytest.param", "param")
        for node in nodes
    )


def _attached(tree: ast.Module, nodes: list[ast.AST]) -> Iterator[ast.Call]:
    """Yield the marks that pytest will see on a test; *nodes* are all of the tree."""
    if _marks_by_name(nodes):
        yield from _calls(*(node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)))
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if _is_test(node):
                yield from (mark for mark in node.decorator_list if isinstance(mark, ast.Call) and _is_row(mark))
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                yield from _calls(value)
            case ast.AnnAssign(target=ast.Name(id="pytestmark"), value=value):
                yield from _calls(value)
            case ast.Call(keywords=[_, *_] as keywords) if ast.unparse(node.func) in ("pytest.param", "param"):
                yield from _calls(*(keyword.value for keyword in keywords if keyword.arg == "marks"))


def _of_wide(nodes: list[ast.AST]) -> Iterator[ast.Call]:
    """Yield the marks that stand beside `pytest.mark.wide`, on a test or on a parameter."""
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                beside = node.decorator_list
            case ast.keyword(arg="marks", value=ast.List(elts=beside) | ast.Tuple(elts=beside)):
                pass
            case _:
                continue
        if any(ast.unparse(mark) == "pytest.mark.wide" for mark in beside):
            yield from _calls(*beside)


def read_marks(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return where in *folder* each row is shown, and what is wrong with the marks themselves."""
    shown: dict[str, list[str]] = {}
    faults: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.row" not in text:
            continue
        tree = ast.parse(text, str(path))
        nodes = list(ast.walk(tree))
        attached = {id(mark) for mark in _attached(tree, nodes)}
        wide = {id(mark) for mark in _of_wide(nodes)} if "mark.wide" in text else set()
        for mark in filter(_is_row, nodes):
            assert isinstance(mark, ast.Call)
            place = f"{path.relative_to(folder).as_posix()}:{mark.lineno}"
            if id(mark) not in attached:
                faults.append(f"{place}: this row mark is on no test")
            elif id(mark) in wide:
                faults.append(f"{place}: rows are shown by tests that `make test` plays, and this one is wide")
            elif not mark.args or mark.keywords:
                faults.append(f"{place}: a row mark names its rows, and nothing else")
            else:
                for argument in mark.args:
                    row = argument.value if isinstance(argument, ast.Constant) else None
                    if not isinstance(row, str):
                        faults.append(f"{place}: {ast.unparse(argument)}: rows are named by plain strings")
                    elif row in KNOWN:
                        shown.setdefault(row, []).append(place)
                    else:
                        faults.append(f"{place}: {row!r} is no row of the specs and no hostile case")
    return shown, faults


def missing(shown: dict[str, list[str]], finished: dict[str, tuple[str, ...]], exceptions: dict[str, str]) -> list[str]:
    """Return what the finished issues still owe: a test for each row, or the reason why there is none."""
    owed = [
        f"{row} of finished issue {issue} has no test"
        for issue, rows in finished.items()
        for row in rows
        if row not in shown and row not in exceptions
    ]
    for row, reason in exceptions.items():
        if row not in KNOWN:
            owed.append(f"exception {row} is no row of the specs and no hostile case")
        if not reason.strip():
            owed.append(f"exception {row} has no reason")
        if row in shown:
            owed.append(f"exception {row} has a test ({shown[row][0]}): strike it off the list")
    return owed
