# SPDX-License-Identifier: MIT
"""What `make test` leaves to `make test-wide`: the rest of products. This is the one place that decides it.

Tests get the mark `wide` by two rules; CI plays them too.

- A test with several parameters is played with all that go together: each transport with each framing on each runtime.
  `make test` plays a part of such a product, a diagonal, in which every value of every parameter is there on every
  runtime. So no function, no value and no row of the specs goes without a test, but not every value meets every other
  one. A table of rows is one parameter, however many names its rows have: it stays whole. So do the products of tests
  that do no I/O and take next to no time, and the contracts of transports.
- On uvloop `make test` plays what shows transports: above them it is the code that runs on asyncio, which is played.

A test or a row of a table may also say itself that it is wide, where a smaller one shows the same. It shows no rows of
the specs then: tests/rows.py sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from tests.loops import Runtime, TrioRuntime

__all__ = ["diagonal", "mark_wide"]

# Products that stay whole: what does no I/O, the kits, and each case of a contract on each transport.
WHOLE = (
    "tests/runtimes/blocking/test_polled_contract.py",
    "tests/runtimes/test_transport_contract.py",
    "tests/test_",
    "tests/testing/",
    "tests/wire/",
)

# What is above the transports,
ABOVE = (
    "tests/attacks/test_ten_thousand.py",
    "tests/cli/",
    "tests/clients/",
    "tests/rpc/",
    "tests/servers/",
    "tests/test_docs.py",
)
# but for files that show how transports write, close, break or change, and for processes.
OF_TRANSPORTS = (
    "tests/clients/test_async_",
    "tests/rpc/test_children.py",
    "tests/rpc/test_message_ends.py",
    "tests/rpc/test_session_close.py",
    "tests/rpc/test_session_flow.py",
    "tests/rpc/test_session_loss.py",
    "tests/rpc/test_signals.py",
    "tests/rpc/test_start_tls.py",
    "tests/rpc/test_stdio.py",
    "tests/rpc/test_tls.py",
    "tests/rpc/test_websocket.py",
    "tests/servers/test_async_",
)

RUNTIMES = ("asyncio", "uvloop", "trio", "blocking")

Place = tuple[int, ...]


def diagonal(sizes: Sequence[int], shift: int = 0) -> set[Place]:
    """Return places of a product with these sizes in which each number of each axis is there at least once.

    They are as many as its longest axis is long. Another *shift* has other numbers meet.
    """
    if not sizes:
        return {()}
    longest, *others = sorted(range(len(sizes)), key=lambda axis: -sizes[axis])
    found = set()
    for step in range(sizes[longest]):
        place = {longest: step}
        turns = step  # an axis begins anew with the one before it, but one further: else two alike would go in step
        for axis in others:
            place[axis] = (turns + shift) % sizes[axis]
            turns += step // sizes[axis]
        found.add(tuple(place[axis] for axis in range(len(sizes))))
    return found


def _names(mark: pytest.Mark) -> tuple[str, ...]:
    names = mark.args[0]
    return tuple(name.strip() for name in (names.split(",") if isinstance(names, str) else names))


def _values(item: pytest.Item) -> tuple[str, list[tuple[int, ...]]]:
    """Return the name of a test's runtime ("" = none), and the value of each other parameter; a row's are one."""
    callspec = getattr(item, "callspec", None)
    params: dict[str, object] = callspec.params if callspec is not None else {}
    # Of the test, or of a program that it starts.
    runtimes = {name: str(value) for name, value in params.items() if isinstance(value, str | Runtime | TrioRuntime)}
    runtimes = {name: value for name, value in runtimes.items() if value in RUNTIMES}
    tables = [_names(mark) for mark in item.iter_markers("parametrize")]
    of_fixtures = [(name,) for name in params if not any(name in names for names in tables)]
    # Values need not have a hash, nor be equal to themselves; each is one object in all tests that have it.
    found = {names: tuple(id(params[name]) for name in names) for names in (*tables, *of_fixtures)}
    values = [value for names, value in found.items() if len(names) > 1 or names[0] not in runtimes]
    return " ".join(runtimes.values()), values


def mark_wide(items: Iterable[pytest.Item]) -> None:
    """Mark what is in no part that `make test` plays."""
    functions: dict[str, list[pytest.Item]] = {}
    for item in items:
        if getattr(item, "callspec", None) is not None:
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for several in functions.values():
        if len(several) > 1:
            _mark_product(several)


def _mark_product(items: Sequence[pytest.Item]) -> None:
    of_runtime: dict[str, list[tuple[pytest.Item, list[tuple[int, ...]]]]] = {}
    for item in items:
        runtime, values = _values(item)
        of_runtime.setdefault(runtime, []).append((item, values))
    if "asyncio" in of_runtime and items[0].nodeid.startswith(ABOVE) and not items[0].nodeid.startswith(OF_TRANSPORTS):
        for item, _ in of_runtime.pop("uvloop", ()):
            item.add_marker("wide")
    if items[0].nodeid.startswith(WHOLE):
        return
    for shift, several in enumerate(of_runtime.values()):
        # Numbers of values, in the order in which they come.
        axes: list[dict[tuple[int, ...], int]] = [{} for _ in several[0][1]]
        places = []
        for item, values in several:
            places.append((item, tuple(axis.setdefault(v, len(axis)) for axis, v in zip(axes, values, strict=True))))
        played = diagonal([len(axis) for axis in axes], shift)
        for item, place in places:
            if place not in played:
                item.add_marker("wide")
