# SPDX-License-Identifier: MIT
"""What sends and receives tell when the connection breaks, plain ones and those with ancillary data."""

from __future__ import annotations

import threading

import pytest

from tests.clients.test_async_streams import LINES, pair
from tests.clients.test_descriptors import beside, some_file
from tieline.clients import UnixStreamClient
from tieline.errors import ConnectionLost, SendTimeout, StreamReset

LONG = "x" * 4_000_000


def test_a_send_whose_write_fails_says_so() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.close()
        with pytest.raises(ConnectionLost) as told:
            client.send_packet("x")
        assert isinstance(told.value.__cause__, ConnectionLost)
        assert isinstance(told.value.__cause__.__cause__, BrokenPipeError)
        with pytest.raises(ConnectionLost, match="the connection is down"):
            client.send_packet("x")


def test_a_packet_with_descriptors_that_is_lost_on_its_way_is_no_success() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        told: list[BaseException | None] = []

        def send() -> None:
            try:
                client.send_packet(LONG, ancillary_data=beside(one))
                told.append(None)
            except ConnectionLost as exc:
                told.append(exc.__cause__)

        thread = threading.Thread(target=send)
        thread.start()
        assert theirs.recv(1) == b"x"  # its beginning is there, and its end has no room
        theirs.close()
        thread.join(60)
        assert [type(cause) for cause in told] == [StreamReset]


def test_a_packet_with_descriptors_that_goes_out_late_says_so() -> None:
    with pair() as (ours, _), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        with pytest.raises(SendTimeout, match="has not left in time; it goes out before all later ones") as late:
            client.send_packet(LONG, ancillary_data=beside(one), timeout=0)
        assert late.value.sent
        with pytest.raises(SendTimeout, match="was not sent in time") as late:
            client.send_packet("x", ancillary_data=beside(one), timeout=0)
        assert not late.value.sent
