# SPDX-License-Identifier: MIT
"""The queue of datagrams: its bounds, and what it counts."""

import pytest

from tieline.wire.datagrams import DatagramQueue


@pytest.mark.row("T5", "K17")
def test_what_finds_no_room_is_dropped_and_counted() -> None:
    queue: DatagramQueue[int] = DatagramQueue(max_count=2)
    assert [queue.put(b"%d" % number, number) for number in range(4)] == [True, True, False, False]
    assert (len(queue), queue.dropped, queue.size) == (2, 2, 2 * 257)
    assert queue.get() == (b"0", 0)
    assert queue.put(b"", 9)
    assert [queue.get(), queue.get()] == [(b"1", 1), (b"", 9)]
    assert (len(queue), queue.dropped, queue.size) == (0, 2, 0)
    with pytest.raises(IndexError):
        queue.get()


def test_bytes_are_counted_and_empty_datagrams_are_not_free() -> None:
    queue: DatagramQueue[None] = DatagramQueue(max_count=1000, max_size=1024)
    assert [queue.put(b"", None) for _ in range(5)] == [True] * 4 + [False]
    queue.clear()
    assert (len(queue), queue.size, queue.dropped) == (0, 0, 1)
    assert [queue.put(b"x" * size, None) for size in (512, 1, 0)] == [True, False, True]


def test_one_may_always_wait() -> None:
    queue: DatagramQueue[None] = DatagramQueue(max_size=1)
    assert queue.put(b"x" * 100_000, None)
    assert not queue.put(b"", None)
    queue.get()
    assert queue.put(b"", None)


def test_with_room_for_one_there_is_one() -> None:
    queue: DatagramQueue[None] = DatagramQueue(1, 1)
    assert [queue.put(b"a", None), queue.put(b"b", None)] == [True, False]


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 1)])
def test_a_limit_that_lets_nothing_wait_is_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        DatagramQueue(*limits)
