# SPDX-License-Identifier: MIT
"""What servers of packets log: a line of each kind in so many seconds, and how many were left out."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from tieline.servers.failures import ServerLog, peer_name

KINDS: list[tuple[Callable[[ServerLog, float], None], float, str]] = [
    (lambda log, now: log.handler_failed("a peer", ValueError("x"), now), 1.0, "the handler of a peer failed"),
    (lambda log, now: log.hook_failed("a_hook", ValueError("x"), now), 1.0, "the hook a_hook failed"),
    (lambda log, now: log.peer_erred("a peer", "did wrong", now), 10.0, "a peer did wrong"),
    (lambda log, now: log.lost("something was dropped", now), 10.0, "something was dropped"),
]


@pytest.mark.parametrize(("tell", "between", "text"), KINDS, ids=[text for _, _, text in KINDS])
def test_a_kind_has_a_line_in_so_many_seconds_which_counts_those_between(
    tell: Callable[[ServerLog, float], None], between: float, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = ServerLog(logging.getLogger("tieline.test"))
    for now in (0.0, 0.0, between / 2, between, between + 0.5, 2 * between, 3 * between):
        tell(log, now)
    left_out = "{} ({} more of this kind since the last line)".format
    expected = [text, left_out(text, 2), left_out(text, 1), text]
    assert [record.getMessage() for record in caplog.records] == expected


def test_a_failure_that_is_one_value_has_the_frames_of_the_last_time_only(caplog: pytest.LogCaptureFixture) -> None:
    log, error = ServerLog(logging.getLogger("tieline.test")), ValueError("x")

    def handler() -> None:
        raise error

    def handled() -> None:
        try:
            handler()
        except ValueError as exc:
            log.handler_failed("a peer", exc, 0.0)

    for _ in range(3):
        handled()
        names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert names == ["handled", "handler"]
    assert len(caplog.records) == 1


def test_one_kind_leaves_out_none_of_another(caplog: pytest.LogCaptureFixture) -> None:
    log = ServerLog(logging.getLogger("tieline.test"))
    for tell, _, _ in KINDS:
        tell(log, 0.0)
    assert [record.getMessage() for record in caplog.records] == [text for _, _, text in KINDS]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("127.0.0.1", 7), "127.0.0.1:7"),
        (("::1", 7, 0, 0), "[::1]:7"),
        ("/run/a", "/run/a"),
        ("\0name", "@name"),
        (b"\0name", "@name"),
        (b"\0\xff", r"@\xff"),
        ("", "a local peer"),
        (b"", "a local peer"),
        (None, "a local peer"),
    ],
)
def test_an_address_for_people(address: object, name: str) -> None:
    assert peer_name(address) == name
