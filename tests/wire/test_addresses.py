# SPDX-License-Identifier: MIT
"""wire/addresses.py: the order and the timing of attempts, and what their errors amount to."""

import errno
from itertools import islice

import pytest

from tieline.errors import ProcessEnded, StreamTruncated, WebSocketClosed
from tieline.wire.addresses import (
    Address,
    Attempts,
    attempt_error,
    combined_error,
    interleaved,
    named,
    queue_full_pauses,
)

V4, V6 = 2, 10


def address(name: str) -> Address:
    """Return the address that a name such as "6a" stands for: its family, and which of them."""
    return Address(V6, 0, (name, 1, 0, 0)) if name[0] == "6" else Address(V4, 0, (name, 1))


# (as resolved, count of the first family, as tried)
ORDERS = [
    ("", 1, ""),
    ("6a", 1, "6a"),
    ("6a 6b", 1, "6a 6b"),
    ("6a 6b 4a 4b", 1, "6a 4a 6b 4b"),
    ("6a 6b 6c 4a", 1, "6a 4a 6b 6c"),
    ("6a 4a 4b 4c", 1, "6a 4a 4b 4c"),
    ("4a 6a 4b 6b", 1, "4a 6a 4b 6b"),
    ("6a 6b 6c 4a 4b", 2, "6a 6b 4a 6c 4b"),
    ("6a 4a 4b", 2, "6a 4a 4b"),
    ("6a 6b 4a", 9, "6a 6b 4a"),
    ("6a 6b 4a 4b", 0, "6a 6b 4a 4b"),
    ("", 3, ""),
]


@pytest.mark.row("D2")
@pytest.mark.parametrize(("resolved", "count", "tried"), ORDERS)
def test_families_take_turns_and_keep_the_resolver_s_order(resolved: str, count: int, tried: str) -> None:
    assert [one.sockaddr[0] for one in interleaved(map(address, resolved.split()), count)] == tried.split()


def test_an_address_reads_as_people_write_it() -> None:
    assert str(Address(V4, 0, ("127.0.0.1", 80))) == "127.0.0.1:80"
    assert str(Address(V6, 0, ("::1", 80, 0, 0))) == "[::1]:80"


def test_addresses_are_values() -> None:
    one, same, other = Address(V4, 6, ("::1", 80)), Address(V4, 6, ("::1", 80)), Address(V4, 0, ("::1", 80))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert one != (V4, 6, ("::1", 80))
    assert repr(one) == f"Address({V4!r}, 6, ('::1', 80))"


@pytest.mark.row("D2")
def test_the_next_address_is_due_after_the_delay_and_not_before() -> None:
    a, b = address("6a"), address("4a")
    attempts = Attempts([a, b], delay=0.25, now=10.0)
    steps = [(now, attempts.due(now), attempts.deadline) for now in (9.0, 10.0, 10.2, 10.25, 99.0)]
    assert steps == [(9.0, None, 10.0), (10.0, a, 10.25), (10.2, None, 10.25), (10.25, b, None), (99.0, None, None)]


@pytest.mark.row("D2")
def test_a_failure_makes_the_next_address_due_at_once() -> None:
    a, b, c = address("6a"), address("4a"), address("6b")
    attempts = Attempts([a, b, c], delay=0.25, now=0.0)
    assert attempts.due(0.0) == a
    attempts.failed(0.1)
    assert attempts.due(0.1) == b
    assert attempts.due(0.1) is None  # one failure starts one attempt
    assert attempts.deadline == 0.35
    assert attempts.due(0.35) == c
    attempts.failed(0.4)
    attempts.failed(0.5)
    assert attempts.due(99.0) is None


@pytest.mark.row("D2")
def test_without_a_delay_addresses_are_tried_one_after_the_other() -> None:
    a, b = address("6a"), address("4a")
    attempts = Attempts([a, b], delay=None, now=0.0)
    assert attempts.due(0.0) == a
    assert attempts.deadline is None
    assert attempts.due(1e9) is None
    attempts.failed(5.0)
    assert attempts.due(5.0) == b


def test_without_addresses_nothing_is_ever_due() -> None:
    attempts = Attempts([], delay=0.25, now=0.0)
    assert attempts.deadline is None
    assert attempts.due(1.0) is None


# --- errors ----------------------------------------------------------------------------------------------------------

# (errnos of the attempts, class of the whole, its errno)
WHOLES = [
    ((errno.ECONNREFUSED,), ConnectionRefusedError, errno.ECONNREFUSED),
    ((errno.ECONNREFUSED, errno.ECONNREFUSED), ConnectionRefusedError, errno.ECONNREFUSED),
    ((errno.ECONNREFUSED, errno.ENETUNREACH), OSError, None),
    ((errno.ECONNREFUSED, errno.ETIMEDOUT), OSError, None),
    ((errno.ENETUNREACH, errno.ENETUNREACH), OSError, errno.ENETUNREACH),
    ((errno.ENETUNREACH, errno.EHOSTUNREACH), OSError, None),
    ((errno.EACCES, errno.EPERM), PermissionError, errno.EACCES),
    ((errno.ETIMEDOUT,), TimeoutError, errno.ETIMEDOUT),
    ((errno.ENOENT,), FileNotFoundError, errno.ENOENT),
    ((None,), OSError, None),
    ((None, errno.ECONNREFUSED), OSError, None),
    ((errno.ECONNREFUSED, None), OSError, None),
    ((), OSError, errno.EADDRNOTAVAIL),
]


@pytest.mark.row("D3")
@pytest.mark.parametrize(("numbers", "kind", "number"), WHOLES)
def test_the_whole_has_the_class_that_all_attempts_share(
    numbers: tuple[int | None, ...], kind: type[OSError], number: int | None
) -> None:
    errors = [OSError("no number") if one is None else OSError(one, f"reason {i}") for i, one in enumerate(numbers)]
    whole = combined_error(errors, "cannot connect to tcp://host:1")
    assert type(whole) is kind
    assert whole.errno == number
    assert "cannot connect to tcp://host:1: " in str(whole)
    for error in errors:
        assert (error.strerror or "no number") in str(whole)


@pytest.mark.row("D3")
def test_the_error_of_every_attempt_can_be_reached() -> None:
    refused, unreachable = ConnectionRefusedError(errno.ECONNREFUSED, "r"), OSError(errno.ENETUNREACH, "u")
    assert combined_error([refused], "x").__cause__ is refused
    group = combined_error([refused, unreachable], "x").__cause__
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (refused, unreachable)
    assert combined_error([], "x").__cause__ is None
    assert combined_error([], "x").strerror == "x: there is no address to try"


@pytest.mark.row("D3")
@pytest.mark.parametrize(
    ("sockaddr", "text"),
    [
        (("127.0.0.1", 9), "127.0.0.1:9"),
        (("::1", 9, 0, 0), "[::1]:9"),
        (("fe80::1", 9, 0, 3), "[fe80::1%3]:9"),
        (("fe80::1%lo", 9, 0, 3), "[fe80::1%lo]:9"),
    ],
)
def test_an_address_is_told_with_its_zone(sockaddr: tuple[str, int] | tuple[str, int, int, int], text: str) -> None:
    assert str(Address(2 if len(sockaddr) == 2 else 10, 0, sockaddr)) == text


@pytest.mark.row("D3")
def test_an_attempt_s_error_names_its_address_and_keeps_its_class() -> None:
    error = attempt_error(OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "127.0.0.1:1")
    assert type(error) is ConnectionRefusedError
    assert error.strerror == "Connection refused (127.0.0.1:1)"
    error = attempt_error(OSError("odd"), "127.0.0.1:1")
    assert (error.errno, str(error)) == (None, "odd (127.0.0.1:1)")


def test_pauses_grow_and_stay_short() -> None:
    assert list(islice(queue_full_pauses(), 8)) == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05]


NAMELESS = [
    ConnectionRefusedError(111, "refused"),
    OSError("no number"),
    ConnectionResetError(),
    TimeoutError(110, "late"),
    # Those whose constructors want something else than a text.
    StreamTruncated(4),
    WebSocketClosed(1001, "bye"),
    ProcessEnded("the child is gone", 3),
]


@pytest.mark.parametrize("error", NAMELESS, ids=repr)
def test_an_error_gets_the_name_of_what_failed_and_stays_what_it_is(error: OSError) -> None:
    error.reason = "a fact"  # type: ignore[attr-defined]  # as errors of ssl have some
    told = named(error, "cannot connect to tls://example.org:443")
    assert type(told) is type(error)
    assert (told.errno, told.__cause__, vars(told)) == (error.errno, error, vars(error))
    assert told.reason == "a fact"  # type: ignore[attr-defined]  # which was set above
    reason = error.strerror or error
    assert (told.strerror or str(told)) == f"cannot connect to tls://example.org:443: {reason}"
