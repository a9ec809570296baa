# SPDX-License-Identifier: MIT
"""How many calls of ours are open at once, by how quickly they are answered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, connection
from tieline.errors import SessionBusy
from tieline.wire.governance import Governance, next_window
from tieline.wire.jsonrpc.connection import Connection

pytestmark = pytest.mark.row("S11")

# Window, open calls, those that are judged, those that are late; the next window.
WINDOWS: list[tuple[int, int, int, int, int]] = [
    (1000, 10, 10, 10, 1000),  # slow, but not for their number
    (1000, 249, 249, 249, 1000),
    (1000, 250, 250, 250, 250),
    (1000, 800, 800, 800, 250),
    (1000, 800, 800, 400, 1000),  # half of them is not most of them
    (1000, 800, 100, 51, 250),  # the others have said that they take long
    (250, 250, 250, 250, 200),
    (250, 249, 249, 249, 250),
    (200, 250, 250, 250, 160),
    (3, 3, 3, 3, 2),
    (2, 2, 2, 2, 1),
    (1, 1, 1, 1, 1),
    (1, 1, 1, 0, 4),
    (100, 5, 5, 0, 110),
    (228, 5, 5, 2, 250),
    (240, 5, 5, 2, 1000),
    (1, 0, 0, 0, 1000),
]


@pytest.mark.parametrize(("window", "open_calls", "judged", "late", "then"), WINDOWS)
def test_the_next_window(window: int, open_calls: int, judged: int, late: int, then: int) -> None:
    assert next_window(window, 1000, open_calls, judged, late) == then


def test_a_small_limit_of_calls_is_never_exceeded() -> None:
    windows = [next_window(window, 5, 1, 1, 0) for window in range(1, 6)]
    assert windows == [4, 5, 5, 5, 5]


def dialled(**policy: Any) -> Connection:
    return connection(accepted=False, call_timeout=40.0, governance=Governance(**policy))


def call_all(driver: Driver, *, most: int = 1000, **timeout: Any) -> int:
    """Make calls until there is no room, or there are so many, and return how many that were."""
    for count in range(most):
        try:
            driver.machine.send_request("ask", [], f"token {count}", driver.now, **timeout)
        except SessionBusy:
            return count
    return most


def pass_time(driver: Driver, seconds: float) -> None:
    until = driver.now + seconds
    while driver.machine.deadline <= until:
        driver.now = driver.machine.deadline
        driver.handle(driver.machine.handle_deadline(driver.now))
    driver.now = until


def answer_all(driver: Driver) -> None:
    for call_id in list(driver.machine.calls.open):
        driver.feed(b'{"jsonrpc":"2.0","result":1,"id":%d}\n' % call_id)


def test_a_peer_that_does_not_answer_in_time_gets_fewer_calls_at_once_and_one_that_does_gets_more() -> None:
    driver = Driver(dialled())
    assert call_all(driver) == 1000
    pass_time(driver, 4.9)
    assert driver.machine.max_calls == 1000
    pass_time(driver, 5.2)  # the first look that finds calls of more than 3 seconds
    windows = [driver.machine.max_calls]
    pass_time(driver, 5)
    windows.append(driver.machine.max_calls)
    assert windows == [250, 200]
    rooms = [driver.machine.has_room]
    answer_all(driver)
    rooms.append(driver.machine.has_room)
    assert rooms == [False, True]
    for _ in range(20):
        call_all(driver, most=5)
        pass_time(driver, 2.6)
        answer_all(driver)
        call_all(driver, most=5)
        pass_time(driver, 2.6)
        answer_all(driver)
    assert driver.machine.max_calls == 1000


def test_it_goes_down_to_one_and_never_to_none() -> None:
    driver = Driver(dialled(target_response_time=1))
    call_all(driver, timeout=None)
    seen = []
    for _ in range(40):
        call_all(driver, most=1)
        pass_time(driver, 5)
        seen.append(driver.machine.max_calls)
    assert min(seen) >= 1


@pytest.mark.parametrize("timeout", [{"timeout": None}, {"timeout": 1000.0}])
def test_calls_with_a_timeout_of_their_own_are_not_judged(timeout: dict[str, Any]) -> None:
    driver = Driver(dialled())
    call_all(driver, most=600, **timeout)
    call_all(driver, most=1)
    for _ in range(10):
        pass_time(driver, 2.9)
        answer = max(driver.machine.calls.open)
        driver.feed(b'{"jsonrpc":"2.0","result":1,"id":%d}\n' % answer)
        call_all(driver, most=1)
    assert driver.machine.max_calls == 1000


def test_without_a_target_only_the_limit_counts() -> None:
    driver = Driver(dialled(target_response_time=None))
    assert call_all(driver) == 1000
    pass_time(driver, 39)
    assert driver.machine.max_calls == 1000
