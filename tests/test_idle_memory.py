# SPDX-License-Identifier: MIT
"""What an idle connection of packets takes of Python's heap, measured as the benchmark does it: it is the same gate."""

from __future__ import annotations

import pytest

from benchmarks.cases import CASES
from benchmarks.harness import measure_heap

MOST = 6 * 1024  # bytes


@pytest.fixture(scope="module")
def idle() -> tuple[float, float]:
    """Return the bytes an idle connection takes of a server, and of a client; each has carried a packet both ways."""
    return measure_heap(CASES["tieline-packet-server"], 300)


def test_an_idle_connection_takes_no_more_than_6_kib_of_a_packet_server(idle: tuple[float, float]) -> None:
    assert 1024 < idle[0] <= MOST


def test_an_idle_packet_client_takes_no_more_than_6_kib(idle: tuple[float, float]) -> None:
    assert 1024 < idle[1] <= MOST
