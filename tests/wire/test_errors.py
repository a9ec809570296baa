# SPDX-License-Identifier: MIT
"""Errors that tell more than a text, and what they are caught as."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import pytest

import tieline
import tieline.blocking
import tieline.clients
import tieline.serializers
import tieline.servers
import tieline.testing
from tieline import errors
from tieline.errors import (
    BaseProtocolParseError,
    ConnectionLost,
    DatagramProtocolParseError,
    DeserializeError,
    IncompleteReadError,
    IncrementalDeserializeError,
    LimitOverrunError,
    PacketConversionError,
    ProcessEnded,
    ReadLimitError,
    RPCError,
    SendTimeout,
    StreamProtocolParseError,
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


@pytest.mark.parametrize("kind", [IncrementalDeserializeError, errors.StreamProtocolParseError])
@pytest.mark.parametrize("rest", [None, "rest", DeserializeError("no"), 5])
def test_what_is_left_to_read_must_be_bytes(kind: Any, rest: Any) -> None:
    with pytest.raises(TypeError) as caught:
        kind("no packet", rest)
    takes = f"{kind.__name__} takes (message, remaining_data)"
    assert str(caught.value) == f"{takes}: remaining_data must be bytes, not {type(rest).__name__}"
    for given in (b"rest", bytearray(b"rest"), memoryview(b"rest")):
        assert kind("no packet", given).remaining_data == b"rest"


def test_what_is_no_packet_tells_more_where_somebody_has_more_to_tell() -> None:
    made = (
        DeserializeError("no packet", "why"),
        IncrementalDeserializeError("no packet", b"rest", "why"),
        IncrementalDeserializeError("no packet", error_info="why"),
        PacketConversionError("no packet", error_info="why"),
    )
    assert [(str(error), error.error_info) for error in made] == [("no packet", "why")] * 4
    silent = (DeserializeError("x"), IncrementalDeserializeError("x"), LimitOverrunError("x", limit=5))
    assert [error.error_info for error in (*silent, PacketConversionError("x"))] == [None] * 4


@pytest.mark.parametrize("kind", [StreamProtocolParseError, DatagramProtocolParseError])
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "deep", "pickle"]
)
def test_a_parse_error_tells_what_the_serializer_said_of_it(
    kind: type[BaseProtocolParseError], again: Callable[[Exception], BaseProtocolParseError]
) -> None:
    assert kind("no packet").error is None
    with pytest.raises(BaseProtocolParseError) as caught:
        raise kind("no packet") from DeserializeError("why", 5)
    for error in (caught.value, again(caught.value)):
        assert isinstance(error.error, DeserializeError)
        assert (str(error), str(error.error), error.error.error_info) == ("no packet", "why", 5)


@pytest.mark.parametrize("sent", [True, False])
def test_a_send_that_is_late_tells_whether_it_goes_out_all_the_same(sent: bool) -> None:
    error = SendTimeout(110, "late", sent=sent)
    assert error.sent is sent
    assert error.errno == 110
    assert isinstance(error, TimeoutError)
    assert isinstance(error, TielineError)


# --- copied, and passed to another process ---------------------------------------------------------------------------


class OwnError(RPCError):
    """As users write them: the constructor takes what its base does not."""

    def __init__(self, *, account: str) -> None:
        super().__init__(17, f"{account} has no money")
        self.account = account


# One of each class that has a constructor of its own, with all that it can tell.
TELLING: Final[dict[str, Exception]] = {
    type(error).__name__: error
    for error in (
        errors.DeserializeError("no packet", {"byte": 3}),
        errors.ExcessiveResourceUsage(3.0, 2.0),
        errors.HTTPConnectError(5, "no", status=407),
        errors.IncompleteReadError(b"abc", None),
        errors.IncrementalDeserializeError("no packet", b"rest", {"byte": 3}),
        errors.LimitOverrunError("too long", b"more", limit=5),
        errors.MessageTooLarge(3, 4, announced=5),
        errors.OutgoingMessageTooLarge(3, 4),
        errors.PacketConversionError("no packet", {"field": "x"}),
        errors.ProcessEnded("failed", -9, "out of memory"),
        errors.ReadLimitError("too far", 70_000),
        errors.RPCError(-1, "no", 5, data={"a": [1]}, cost=2.5),
        errors.SendTimeout(110, "late", sent=True, sent_before=3),
        errors.SessionBusy(4),
        errors.SOCKSFailure("no", code=5, meaning="refused"),
        errors.StreamProtocolParseError("no packet", b"rest"),
        errors.StreamTruncated(3),
        errors.WebSocketClosed(1001, "gone"),
        errors.WebSocketRefused("no", status=403),
        OwnError(account="mine"),
        tieline.ReplyAndDisconnect({"a": 1}),
        tieline.ReplyAndStartTLS(5, tieline.TLS(certificate="server.pem")),
    )
}
FACES: Final = (
    errors, tieline, tieline.blocking, tieline.clients, tieline.serializers, tieline.servers, tieline.testing,
)  # fmt: skip


def exceptions_of(face: ModuleType) -> set[type[Exception]]:
    values = [getattr(face, name) for name in face.__all__]
    return {value for value in values if inspect.isclass(value) and issubclass(value, Exception)}


EXCEPTIONS: Final = sorted(set[type[Exception]]().union(*map(exceptions_of, FACES)), key=lambda kind: kind.__name__)


def told_by(error: BaseException) -> tuple[object, ...]:
    """Return all that *error* tells."""
    system = (error.errno, error.strerror) if isinstance(error, OSError) else ()
    return (type(error), str(error), error.args, vars(error), *system)


@pytest.mark.parametrize("kind", [*EXCEPTIONS, OwnError], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "deep", "pickle"]
)
def test_every_public_error_can_be_copied_and_pickled(
    kind: type[Exception], again: Callable[[Exception], Exception]
) -> None:
    error = TELLING[kind.__name__] if "__init__" in vars(kind) else kind("why")
    error.__notes__ = ["seen by a test"]
    made = again(error)
    assert made is not error
    assert told_by(made) == told_by(error)


@pytest.mark.parametrize("kind", [errors.ConnectionLost, errors.HTTPConnectError, errors.SendTimeout])
def test_the_errno_of_a_copied_error_is_kept(kind: type[OSError]) -> None:
    made = pickle.loads(pickle.dumps(kind(104, "Connection reset by peer")))
    assert (made.errno, made.strerror, str(made)) == (104, "Connection reset by peer", str(kind(*made.args)))


def test_the_fields_of_a_dataclass_that_is_an_error_have_no_defaults_of_ours() -> None:
    @dataclass(eq=False)
    class NoSuchAccount(RPCError):
        code: int
        account: str

        def __post_init__(self) -> None:
            super().__init__(self.code, f"no account {self.account}")

    error = NoSuchAccount(7, "ann")
    assert (error.code, error.message, error.account) == (7, "no account ann", "ann")
    with pytest.raises(TypeError, match="code"):
        NoSuchAccount(account="ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # that is the test


def test_an_error_without_its_constructor_has_nothing_to_send_and_still_lacks_what_errors_lack() -> None:
    class Unmade(RPCError):
        def __init__(self) -> None:
            """Leave out that of the base class."""

    error = Unmade()
    told: tuple[object, ...] = (error.code, error.message, error.request_id, error.data, error.cost)
    assert told == (None, None, None, None, 0.0)
    with pytest.raises(AttributeError, match="'Unmade' object has no attribute 'account'"):
        _ = error.account  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # that is the test
