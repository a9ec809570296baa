# SPDX-License-Identifier: MIT
"""What `iter_received_packets` gives: the same in blocking code as elsewhere."""

from __future__ import annotations

import threading
from fractions import Fraction
from math import nan
from typing import Any

import pytest

from tests.clients.test_async_streams import LINES, pair
from tieline.clients import AsyncUnixStreamClient, UnixStreamClient
from tieline.errors import StreamProtocolParseError


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (nan, ValueError),
        (-1, ValueError),
        ("0", TypeError),
        (1j, TypeError),
        pytest.param(10**400, ValueError, id="beyond floats"),
    ],
)
async def test_a_time_that_is_none_is_refused_at_the_call(timeout: Any, error: type[Exception]) -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        with pytest.raises(error, match="timeout must be"):
            client.iter_received_packets(timeout=timeout)
        async with AsyncUnixStreamClient(theirs.dup(), LINES) as other:
            with pytest.raises(error, match="timeout must be"):
                other.iter_received_packets(timeout=timeout)


async def test_a_fraction_is_a_time_as_for_a_single_packet() -> None:
    time: Any = Fraction(1, 100)
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=time)
        assert list(client.iter_received_packets(timeout=time)) == []
        async with AsyncUnixStreamClient(theirs.dup(), LINES) as other:
            assert [packet async for packet in other.iter_received_packets(timeout=time)] == []


def test_threads_share_an_iterator() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        packets = client.iter_received_packets(timeout=60)
        seen: list[str] = []
        threads = [threading.Thread(target=lambda: seen.append(next(packets))) for _ in range(2)]
        for thread in threads:
            thread.start()
        theirs.sendall(b"1\n2\n")
        for thread in threads:
            thread.join(60)
        assert sorted(seen) == ["1", "2"]
        theirs.sendall(b"3\n\xff\n4\n")
        assert next(packets) == "3"
        with pytest.raises(StreamProtocolParseError):
            next(packets)
        assert list(packets) == []  # it is over; a new one goes on
        assert list(client.iter_received_packets()) == ["4"]
