# SPDX-License-Identifier: MIT
"""What `tieline top` makes of two looks at a server, whoever answers them, and how it is drawn."""

from typing import Any

import pytest

from tieline import Statistics
from tieline.cli.exits import Exit, Failure
from tieline.cli.figures import Document, Figures, Order, document_of, figures
from tieline.cli.table import amount, lines_of


def method(name: str, count: int, durations: dict[float, int], **more: Any) -> dict[str, Any]:
    told = [[end, number] for end, number in durations.items()]
    return {"name": name, "started": count, "ended": count, "errors": 0, "longest": 9.0, "durations": told, **more}


def answer(seconds: float, *methods: dict[str, Any], **more: Any) -> dict[str, Any]:
    connections = dict.fromkeys(("open", "opened", "closed", "refused", "limits_hit"), 1)
    traffic = dict.fromkeys(("bytes_in", "bytes_out", "messages_in", "messages_out", "errors"), 0)
    return {
        "version": 1,
        "process": 7,
        "seconds": seconds,
        "connections": connections,
        "traffic": traffic,
        "running": 0,
        "pending": 0,
        "limits": {},
        "methods": list(methods),
        "methods_left_out": 0,
        "groups": [],
        "groups_left_out": 0,
        **more,
    }


def document(seconds: float, *methods: dict[str, Any], **more: Any) -> Document:
    return document_of(answer(seconds, *methods, **more))


def test_rates_are_those_between_two_looks() -> None:
    before = document(100, method("add", 1000, {0.001: 1000}), traffic=traffic(5000, 100))
    now = document(102, method("add", 1010, {0.001: 1000, 0.5: 10}), traffic=traffic(7000, 100))
    found = figures(before, now)
    [row] = found.rows
    assert (row.calls, row.calls_per_second, row.p50, row.p99) == (1010, 5.0, 0.5, 0.5)
    assert (found.seconds, found.calls, found.bytes_in, found.bytes_out) == (2.0, 5.0, 1000.0, 0.0)


def traffic(came: int, went: int) -> dict[str, int]:
    return {"bytes_in": came, "bytes_out": went, "messages_in": 0, "messages_out": 0, "errors": 0}


def test_the_first_look_tells_all_since_the_beginning() -> None:
    found = figures(None, document(10, method("add", 100, {0.001: 98, 0.5: 2})))
    [row] = found.rows
    assert (row.calls_per_second, row.p50, row.p99) == (10.0, 0.001, 0.5)


@pytest.mark.parametrize("now", [document(1, method("add", 3, {}), process=8), document(1, method("add", 3, {}))])
def test_a_server_that_began_anew_is_told_since_its_beginning(now: Document) -> None:
    found = figures(document(100, method("add", 1000, {0.001: 1000})), now)
    assert (found.seconds, found.rows[0].calls_per_second, found.rows[0].p50) == (1.0, 3.0, None)


def test_numbers_that_go_back_are_nothing() -> None:
    found = figures(document(1, method("add", 9, {1.0: 9})), document(2, method("add", 3, {1.0: 3})))
    assert (found.rows[0].calls_per_second, found.rows[0].p50) == (0.0, None)


def test_a_percentile_is_no_longer_than_the_longest() -> None:
    found = figures(None, document(1, method("add", 1, {1.125: 1}, longest=1.01)))
    assert found.rows[0].p99 == 1.01


@pytest.mark.parametrize(
    ("order", "names"),
    [(Order.METHOD, "abc"), (Order.CALLS, "bac"), (Order.ERRORS, "cab"), (Order.P99, "bca")],
)
def test_the_order_of_the_methods(order: Order, names: str) -> None:
    now = document(1, method("b", 5, {3.0: 1}), method("a", 3, {}), method("c", 3, {1.0: 1}, errors=2))
    assert "".join(row.name for row in figures(None, now, order).rows) == names


MALFORMED: list[Any] = [
    None,
    [],
    "text",
    {},
    answer(-1.0),
    answer(1.0, method("add", -1, {})),
    answer(1.0, {"name": "add"}),
    answer(1.0, method("add", 1, {}) | {"durations": [["x", 1]]}),
    answer(1.0, groups=[{"group": 7}]),
    answer(1.0, version=0.5),
    {name: value for name, value in answer(1.0).items() if name != "version"},
    *(
        told
        for huge in (2**63, 10**400)
        for told in (
            answer(huge),
            answer(1.0, version=huge),
            answer(1.0, process=huge),
            answer(1.0, running=huge),
            answer(1.0, limits={"x": huge}),
            answer(1.0, traffic=traffic(huge, 0)),
            answer(1.0, method("add", huge, {})),
            answer(1.0, method("add", 1, {1.0: huge})),
            answer(1.0, method("add", 1, {huge: 1})),
            answer(1.0, method("add", 1, {}, longest=huge)),
            answer(1.0, groups=[{"group": "x", "connections": 1, "cost": huge, "limit": None}]),
            answer(1.0, groups=[{"group": "x", "connections": 1, "cost": 1, "limit": huge}]),
        )
    ),
    answer(float("nan")),
    answer(float("inf")),
]


@pytest.mark.parametrize("told", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_document_is_told(told: Any) -> None:
    with pytest.raises(Failure, match=r"rpc\.statistics returns no statistics") as caught:
        document_of(told)
    assert caught.value.code is Exit.LOST


def test_the_largest_numbers_that_are_taken_can_be_reckoned_with_and_drawn() -> None:
    count, size = 2**63 - 1, 1e18
    groups = [{"group": "x", "connections": count, "cost": size, "limit": limit} for limit in (size, 5e-324, 0.0, None)]
    big = method("add", count, {1.0: count, size: count}, errors=count, longest=size)
    more: Any = {"traffic": traffic(count, count), "groups": groups, "running": count, "limits": {"x": count}}
    now = document(size, big, big, process=count, **more)
    for before in (None, document(0.0), document(size / 2, big, process=count)):
        found = figures(before, now)
        assert len(drawn(found)) == 14
        assert found.as_json()["traffic"]["bytes_in"] == count
    soon = document(5e-324, big, **more)
    assert len(drawn(figures(None, soon))) > 10


def test_what_is_added_to_the_version_is_ignored() -> None:
    assert document(1.0, more={"x": 1}).seconds == 1.0


def test_what_servers_of_this_version_tell_is_read() -> None:
    assert document_of(Statistics().snapshot()).methods == []


@pytest.mark.parametrize("told", [answer(1.0, version=2), {"version": 2}])
def test_a_later_version_is_refused_whatever_else_it_has(told: Any) -> None:
    with pytest.raises(Failure, match=r"returns version 2, and this program reads up to 1") as caught:
        document_of(told)
    assert caught.value.code is Exit.LOST


# --- drawing ---------------------------------------------------------------------------------------------------------

EVIL = "\x1b[2Jevil[red]\n"


def drawn(found: Figures) -> list[str]:
    return lines_of(found, "tcp://host:1")


def test_it_is_drawn_as_it_is_told() -> None:
    now = document(
        90_061, method("add", 1234, {0.0025: 1234}, errors=5), traffic=traffic(2_500_000, 999),
        limits={"MessageTooLarge": 2}, groups=[{"group": "10.0.0.7", "connections": 3, "cost": 2500.0, "limit": 10000}],
        running=4, pending=1, methods_left_out=2, groups_left_out=1,
    )  # fmt: skip
    assert drawn(figures(None, now)) == [
        "tcp://host:1  process 7, up 1 d 01:01:01",
        "calls 0.0/s, 4 running, 1 of its own open; 5 answered with errors, 0 faults",
        "connections 1 open, 1 opened, 1 closed, 1 refused, 1 over a limit (MessageTooLarge 2)",
        "received 28 B/s, 2.5 MB in all; sent 0 B/s, 999 B in all",
        "",
        "method  calls/s  calls  errors     p50     p99  longest",
        "add         0.0  1,234       5  2.5 ms  2.5 ms      9 s",
        "and 2 more methods",
        "",
        "peers     connections   cost   limit  used",
        "10.0.0.7            3  2,500  10,000   25%",
        "and 1 more groups",
    ]


def test_what_a_peer_has_chosen_moves_nothing_on_the_terminal() -> None:
    groups = [{"group": EVIL, "connections": 1, "cost": 0.0, "limit": None}]
    text = drawn(figures(None, document(1, method(EVIL, 1, {}), groups=groups, limits={EVIL: 1})))
    assert not any("\x1b" in line for line in text)
    assert sum(r"\u001b[2Jevil[red]\u000a" in line for line in text) == 3


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999.4, "999 B"), (1500, "1.5 kB"), (2.5e7, "25 MB"), (3e9, "3 GB")]
)
def test_bytes_for_people(number: float, text: str) -> None:
    assert amount(number) == text
