# SPDX-License-Identifier: MIT
"""What message sessions send (row S14), and what messages count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.wire.message_machines import (
    PING,
    all_events,
    has_output,
    has_room,
    machine_of,
    messages,
    state_of,
)
from tieline import FramerBase, NewlineFramer
from tieline.errors import (
    OutgoingMessageTooLarge,
)
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.message_output import size_of
from tieline.wire.messages import MessageReceived
from tieline.wire.states import State

pytestmark = pytest.mark.row("S14")


def test_what_is_sent_in_one_turn_is_one_write() -> None:
    machine = machine_of()
    machine.send_message(b"a")
    assert has_output(machine)
    assert machine.output_size == 2
    machine.send_message(b"b")
    assert machine.data_to_send() == b"a\nb\n"
    assert (machine.messages_sent, machine.bytes_sent, machine.output_size) == (2, 4, 0)
    assert not has_output(machine)
    machine.send_message(b"c")
    assert machine.data_to_send() == b"c\n"


def test_the_peers_of_one_another_understand_pairs() -> None:
    one, other = machine_of(BitcoinFramer(), accepted=False), machine_of(BitcoinFramer())
    one.send_message(PING)
    assert messages(all_events(other, one.data_to_send())) == [PING]


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
def test_a_message_over_the_limit_is_refused_and_nothing_is_queued(size: int, fits: bool) -> None:
    machine = machine_of(max_message=10)
    if fits:
        machine.send_message(b"x" * size)
        assert machine.data_to_send() == b"x" * size + b"\n"
        return
    with pytest.raises(OutgoingMessageTooLarge) as caught:
        machine.send_message(b"x" * size)
    assert (caught.value.limit, caught.value.size) == (10, 11)
    assert not has_output(machine)


@pytest.mark.row("H5")
@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_both_ends_mean_the_same_by_the_limit(size: int, fits: bool, kind: Any) -> None:
    payload = kind(b"x" * size)
    for framer, message in ((NewlineFramer(10), payload), (BitcoinFramer.with_limit(10), (b"command", payload))):
        machine = machine_of(framer, max_message=10)
        if fits:
            machine.send_message(message)
            assert len(all_events(machine_of(type(framer).with_limit(10)), machine.data_to_send())) == 1
        else:
            with pytest.raises(OutgoingMessageTooLarge):
                machine.send_message(message)


class Odd(FramerBase[Any]):
    """Frames what it is given by calling it."""

    def frame(self, messages: Iterable[Any]) -> Any:
        (message,) = messages
        return message()

    def messages(self, data: bytes) -> Iterator[Any]:
        yield from ()


def test_a_message_that_is_not_bytes_is_as_long_as_its_frame() -> None:
    machine = machine_of(Odd(), max_message=10)
    machine.send_message(lambda: b"x" * 10)
    with pytest.raises(OutgoingMessageTooLarge) as caught:
        machine.send_message(lambda: b"x" * 11)
    assert caught.value.size == 11
    assert machine.data_to_send() == b"x" * 10


def test_a_framer_that_makes_no_bytes_is_found_out_by_who_sends() -> None:
    machine = machine_of(Odd())
    for odd in ("text", None, 5):
        with pytest.raises(TypeError):
            machine.send_message(lambda odd=odd: odd)
    assert not has_output(machine)


def test_a_buffer_that_the_framer_uses_again_is_copied() -> None:
    buffer = bytearray(b"first")
    machine = machine_of(Odd())
    machine.send_message(lambda: buffer)
    buffer[:] = b"other"
    machine.send_message(lambda: memoryview(buffer))
    assert machine.data_to_send() == b"firstother"


@pytest.mark.parametrize(("message", "error"), [("text", TypeError), (b"two\nlines", ValueError)])
def test_what_the_framer_cannot_carry_is_the_callers_fault(message: Any, error: type[Exception]) -> None:
    machine = machine_of()
    with pytest.raises(error):
        machine.send_message(message)
    assert not has_output(machine)
    assert state_of(machine) is State.OPEN


def test_output_that_is_not_taken_ends_the_connection_in_time() -> None:
    machine = machine_of(write_timeout=10, idle_timeout=None)
    assert has_room(machine)
    machine.writing_paused(100, 1.0)
    assert not has_room(machine)
    assert machine.deadline == 3.5
    machine.handle_deadline(3.5)
    machine.writing_progressed(100, 3.5)
    assert machine.handle_deadline(11.0) == []
    assert machine.must_abort
    assert str(machine.close_reason) == "the peer took no byte for 10 s"
    machine.writing_resumed()
    assert has_room(machine)


class Objects(FramerBase[object]):
    """Makes something else than bytes of each byte."""

    def frame(self, messages: Iterable[object]) -> bytes:
        return b"." * len([*messages])

    def messages(self, data: bytes) -> Iterator[object]:
        yield from ((number, "two") for number in data)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (b"four", 4),
        (bytearray(5), 5),
        (memoryview(b"six..."), 6),
        ("text", 4),
        ((b"command", b"payload"), 14),
        ([b"one", 2, "three", [b"not looked into"]], 8),
        ({"key": b"value"}, 0),
        (None, 0),
    ],
)
def test_a_message_is_counted_with_what_can_be_seen_of_it(message: object, size: int) -> None:
    assert size_of(message) == size


def test_messages_of_any_type_are_counted_as_far_as_they_have_a_size() -> None:
    machine = machine_of(Objects())
    (event,) = machine.receive_data(b"\x07", 1.0)
    assert isinstance(event, MessageReceived)
    assert (event.message, event.size) == ((7, "two"), 3)
    machine.send_message(object())
    assert machine.data_to_send() == b"."
