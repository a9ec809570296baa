# SPDX-License-Identifier: MIT
"""Errors that tell more than a text, and what they are caught as."""

from __future__ import annotations

import pytest

from tieline.errors import (
    ConnectionLost,
    DeserializeError,
    IncompleteReadError,
    IncrementalDeserializeError,
    LimitOverrunError,
    ProcessEnded,
    ReadLimitError,
    SendTimeout,
    TielineError,
)


def test_the_end_of_a_process_tells_its_exit_code_and_what_it_wrote() -> None:
    error = ProcessEnded("the server has failed", -9, "out of memory")
    assert (str(error), error.returncode, error.stderr) == ("the server has failed", -9, "out of memory")
    assert isinstance(error, ConnectionLost)


@pytest.mark.parametrize(("expected", "wanted"), [(10, "10 bytes"), (None, "a separator")])
def test_a_stream_that_ends_too_soon_tells_what_had_come(expected: int | None, wanted: str) -> None:
    error = IncompleteReadError(b"abc", expected)
    assert (error.partial, error.expected) == (b"abc", expected)
    assert "3 bytes" in str(error)
    assert wanted in str(error)
    assert isinstance(error, EOFError)


def test_a_separator_out_of_reach_tells_how_much_came_before_it() -> None:
    error = ReadLimitError("too far", 70_000)
    assert (str(error), error.consumed) == ("too far", 70_000)
    assert isinstance(error, ValueError)


def test_bytes_that_are_no_packet_tell_what_is_left_to_read() -> None:
    faulty = IncrementalDeserializeError("no packet", b"rest")
    too_long = LimitOverrunError("too long", b"more", limit=5)
    assert (faulty.remaining_data, too_long.remaining_data, too_long.limit) == (b"rest", b"more", 5)
    assert IncrementalDeserializeError("no packet").remaining_data == b""
    assert all(isinstance(error, DeserializeError) for error in (faulty, too_long))


@pytest.mark.parametrize("sent", [True, False])
def test_a_send_that_is_late_tells_whether_it_goes_out_all_the_same(sent: bool) -> None:
    error = SendTimeout(110, "late", sent=sent)
    assert error.sent is sent
    assert error.errno == 110
    assert isinstance(error, TimeoutError)
    assert isinstance(error, TielineError)
