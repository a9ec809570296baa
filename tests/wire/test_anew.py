# SPDX-License-Identifier: MIT
"""An error that is told anew is the same but for its frames."""

from __future__ import annotations

from typing import Any

import pytest

from tieline.errors import (
    ConnectionLost,
    MessageTooLarge,
    ProcessEnded,
    RPCError,
    SOCKSFailure,
    StreamReset,
    StreamTruncated,
    WebSocketClosed,
)
from tieline.wire.anew import told_anew


class Mine(Exception):  # not all are called so
    """Has a constructor that wants something else than what it tells."""

    def __init__(self, code: int, *, name: str) -> None:
        super().__init__(f"{name} failed with {code}")
        self.code = code


class MineOfTheSystem(ConnectionResetError):
    def __init__(self, host: str) -> None:
        super().__init__(104, f"reset by {host}")


class Slotted(ValueError):
    __slots__ = ("__weakref__", "value", "why")

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why

    def __str__(self) -> str:
        return self.why


def facts(error: BaseException) -> tuple[Any, ...]:
    known = [
        getattr(error, name, None) for name in ("errno", "strerror", "filename", "filename2", "code", "name", "why")
    ]
    return (type(error), error.args, str(error), vars(error), *known)


@pytest.mark.parametrize(
    "error",
    [
        StreamReset("reset"),
        StreamReset(104, "reset by the peer"),
        StreamTruncated(7),
        ProcessEnded("it has failed", -9, "why"),
        WebSocketClosed(1011, "why"),
        MessageTooLarge(10, 11),
        SOCKSFailure("refused", code=2),
        RPCError(1, "no", data=[5]),
        Mine(5, name="it"),
        MineOfTheSystem("somebody"),
        OSError(2, "no such file"),
        OSError(2, "no such file", "from", None, "to"),
        ImportError("no", name="it", path="there"),
        Slotted("full"),
        SystemExit(3),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("several", [ValueError("one")]),
    ],
    ids=repr,
)
def test_an_error_that_is_told_anew_is_the_same_but_for_its_frames(error: BaseException) -> None:
    error.__cause__ = OSError("underneath")
    with pytest.raises(type(error)):
        raise error
    told = told_anew(error)
    assert told is not error
    assert facts(told) == facts(error)
    assert told.__cause__ is error.__cause__
    assert told.__suppress_context__
    assert told.__traceback__ is None
    assert error.__traceback__ is not None
    assert not told_anew(ConnectionLost("alone")).__suppress_context__


def test_what_it_was_raised_behind_is_not_told_again() -> None:
    """In the frames of that may stand what is nobody's business."""
    error = ConnectionLost("lost")
    error.__context__ = OSError("before")
    assert told_anew(error).__context__ is None
