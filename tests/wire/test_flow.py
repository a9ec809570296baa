# SPDX-License-Identifier: MIT
"""When reading stops: only for what is owed, and never while this side waits for the peer."""

import pytest

from tieline.wire.flow import MAX_EXCESS, Flow
from tieline.wire.limits import Limits

pytestmark = pytest.mark.row("S10")


def flow_of(max_pending: int) -> Flow:
    return Flow(Limits(max_pending=max_pending, max_pending_size=None, write_high_water=1000, write_low_water=500))


def test_the_bound_is_max_pending_while_output_flows() -> None:
    flow = flow_of(3)
    assert (flow.bound, flow.paused, flow.senders_waiting) == (3, False, 0)


def test_replies_that_wait_narrow_the_bound_one_by_one() -> None:
    flow = flow_of(3)
    flow.pause()
    for bound in (2, 1, 0, 0):
        flow.replies_queued(1, 10)
        assert flow.bound == bound
    flow.resume()
    assert (flow.bound, flow.paused) == (3, False)


def test_bytes_of_replies_over_the_high_water_mark_stop_the_reader_and_refuse_nothing() -> None:
    flow = flow_of(100)
    flow.pause()
    flow.replies_queued(1, 1000)
    assert (flow.bound, flow.parks_at) == (99, 99)
    flow.replies_queued(1, 1)
    assert (flow.bound, flow.parks_at) == (98, 0)
    assert flow.is_parked(0, open_calls=0)
    assert not flow.is_parked(0, open_calls=1)
    flow.resume()
    flow.pause()
    flow.replies_queued(1, 1000)
    assert (flow.bound, flow.parks_at) == (99, 99)


def test_reading_goes_on_while_this_side_waits_for_the_peer() -> None:
    flow = flow_of(1)
    assert not flow.is_parked(0, open_calls=0)
    assert flow.is_parked(1, open_calls=0)
    assert not flow.is_parked(1, open_calls=1)
    flow.senders_waiting = 1
    assert not flow.is_parked(1, open_calls=0)


def test_refusals_without_end_stop_the_reader_all_the_same() -> None:
    flow = flow_of(1)
    flow.pause()
    for _ in range(MAX_EXCESS - 1):
        flow.refusal_queued()
    assert not flow.is_parked(1, open_calls=1)
    flow.refusal_queued()
    assert flow.is_parked(1, open_calls=1)
    flow.resume()
    assert not flow.is_parked(1, open_calls=1)


def test_notifications_without_end_stop_the_reader_all_the_same() -> None:
    flow = flow_of(5)
    assert not flow.is_parked(5 + MAX_EXCESS - 1, open_calls=1)
    assert flow.is_parked(5 + MAX_EXCESS, open_calls=1)
