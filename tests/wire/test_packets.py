# SPDX-License-Identifier: MIT
"""The machine of packet connections: what is taken, what is sent, when it stops reading, and how it ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from tests.wire.limited import limited
from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    DeserializeError,
    EndOfStream,
    LocalProtocolError,
    OutgoingMessageTooLarge,
    PacketConversionError,
    ProcessEnded,
    RemoteProtocolError,
    StreamProtocolParseError,
    StreamReset,
    StreamTruncated,
    TLSTruncated,
    WebSocketClosed,
)
from tieline.wire.converters import AbstractPacketConverter
from tieline.wire.default import NOTHING
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.packets import MAX_AHEAD, MAX_UNTAKEN, PacketConnection, PacketEvent
from tieline.wire.protocols import StreamProtocol
from tieline.wire.serializers.abc import AbstractIncrementalPacketSerializer
from tieline.wire.serializers.bare import BytesSerializer, StringLineSerializer
from tieline.wire.serializers.json import JSONSerializer
from tieline.wire.serializers.sized import LengthPrefixedSerializer
from tieline.wire.serializers.structs import StructSerializer
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Generator

READY = (PacketEvent.READY,)
LINES = StreamProtocol(StringLineSerializer())


def connection(protocol: Any = LINES, *, accepted: bool = False, **limits: Any) -> PacketConnection:
    machine = PacketConnection(protocol, limited(accepted=accepted, **limits), accepted=accepted)
    machine.start(0.0)
    return machine


def reads(machine: PacketConnection) -> bool:
    return machine.wants_data


def must_settle(machine: PacketConnection) -> bool:
    return machine.must_settle


def is_smooth(machine: PacketConnection) -> bool:
    return machine.is_smooth


def expects_more(machine: PacketConnection) -> bool:
    return machine.expects_more_output


def has_unread(machine: PacketConnection) -> bool:
    return machine.has_unread


def has_output(machine: PacketConnection) -> bool:
    return machine.has_output


def state_of(machine: PacketConnection) -> State:
    return machine.state


def taken(machine: PacketConnection, most: int | None = None) -> list[Any]:
    """Take all there is, or *most* packets, faults as their text."""
    seen: list[Any] = []
    while machine.is_ready and len(seen) != most:
        try:
            seen.append(machine.next_packet())
        except (StreamProtocolParseError, RuntimeError) as exc:
            seen.append((type(exc), str(exc)))
    assert most is not None or machine.next_packet() is NOTHING
    return seen


# --- in --------------------------------------------------------------------------------------------------------------


def test_packets_are_taken_in_order_however_the_stream_is_cut() -> None:
    data = b"one\ntwo\n\nthree\n"
    for cut in range(len(data) + 1):
        machine = connection()
        events = [*machine.receive_data(data[:cut], 1.0), *machine.receive_data(data[cut:], 2.0)]
        assert set(events) <= {PacketEvent.READY}
        assert taken(machine) == ["one", "two", "", "three"]
        assert machine.packets_received == 4
        assert machine.bytes_received == len(data)
        assert machine.last_received == 2.0
        assert machine.end() is None


def test_nothing_is_told_while_nothing_is_complete() -> None:
    machine = connection()
    assert machine.receive_data(b"on", 0.0) == ()
    assert has_unread(machine)
    assert machine.receive_data(b"e\n", 0.0) == READY
    assert has_unread(machine)
    assert machine.next_packet() == "one"
    assert not has_unread(machine)
    assert not machine.has_more
    assert machine.next_events(0.0) == ()


def test_a_packet_that_comes_alone_may_be_taken_at_once() -> None:
    machine, other = connection(), connection()
    alone = 0
    for number, data in enumerate((b"one\n", b"two\n", b"\xff\n", b"th", b"ree\n", b"four\n")):
        other.receive_data(data, number)
        packet = machine.receive_alone(data)
        if packet is NOTHING:
            machine.receive_data(data, number)
        else:
            assert packet == other.next_packet()
            alone += 1
        assert taken(machine) == taken(other)
        for name in ("bytes_received", "packets_received", "faults", "has_unread", "wants_data"):
            assert getattr(machine, name) == getattr(other, name), name
    assert alone == 2  # not the first one, nor what comes behind a fault


def test_who_reads_by_itself_may_have_taken_in_whatever_has_not_come_alone() -> None:
    machine, other = connection(), connection()
    ahead = 0
    for data in (b"one\n", b"two\nthree\n", b"fo", b"ur\nfive\n", b"six\n\xff\n7\n", b"8\n", b"many\n" * 130):
        other.receive_data(data, 0.0)
        if not machine.is_smooth:
            machine.receive_data(data, 0.0)
        elif (packet := machine.receive_alone(data)) is NOTHING:
            machine.receive_ahead(data)
            ahead += 1
        else:
            assert packet == other.next_packet()
        assert len(machine.received) == len(other.received)
        assert machine.is_smooth is other.is_smooth
        assert taken(machine) == taken(other)
        for name in ("bytes_received", "packets_received", "faults", "has_unread", "is_smooth"):
            assert getattr(machine, name) == getattr(other, name), name
    assert ahead == 5  # all but the first, and the one that came alone


@pytest.mark.row("K11")
def test_what_is_no_packet_is_told_in_its_place_and_the_stream_goes_on() -> None:
    machine = connection()
    machine.receive_data(b"one\n\xff\ntwo\n\0\n\xff\nthree\n", 0.0)
    told = "a packet of the stream is faulty: the line is not ascii"
    nul = "a packet of the stream is faulty: the line holds a NUL"
    parse = StreamProtocolParseError
    assert taken(machine) == ["one", (parse, told), "two", (parse, nul), (parse, told), "three"]
    assert machine.faults == 3
    assert state_of(machine) is State.OPEN
    machine.receive_data(b"\xff\n", 0.0)
    with pytest.raises(StreamProtocolParseError) as caught:
        machine.next_packet()
    assert isinstance(caught.value.__cause__, DeserializeError)
    assert caught.value.remaining_data == b""


@pytest.mark.row("K14")
def test_all_that_is_decoded_comes_at_once_up_to_a_fault() -> None:
    machine = connection()
    assert machine.next_packets() == []
    machine.receive_data(b"one\ntwo\n\xff\nthree\n", 0.0)
    assert machine.next_packets() == ["one", "two"]
    with pytest.raises(StreamProtocolParseError):
        machine.next_packets()
    assert machine.next_packets() == ["three"]
    assert machine.next_packets() == []


@pytest.mark.row("K11", "K14")
@pytest.mark.parametrize("together", [True, False])
def test_what_comes_behind_a_fault_that_nobody_has_taken_waits_behind_it(together: bool) -> None:
    machine = connection()
    machine.receive_data(b"one\n\xff\n", 0.0)
    machine.receive_data(b"two\nthree\n", 0.0)
    assert not machine.is_smooth
    if together:
        assert machine.next_packets() == ["one"]
        with pytest.raises(StreamProtocolParseError):
            machine.next_packets()
        assert machine.next_packets() == ["two", "three"]
    else:
        told = "a packet of the stream is faulty: the line is not ascii"
        assert taken(machine) == ["one", (StreamProtocolParseError, told), "two", "three"]
    assert reads(machine)


class Failing(AbstractIncrementalPacketSerializer[bytes, bytes]):
    """A user's serializer with an error in it."""

    def incremental_serialize(self, packet: bytes, /) -> Generator[bytes, None, None]:
        yield packet[0:1] + b"%d" % (1 // len(packet))

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[bytes, bytes]]:
        yield
        raise ZeroDivisionError


@pytest.mark.row("K11")
def test_a_serializer_that_fails_is_a_runtime_error_both_ways() -> None:
    machine = connection(StreamProtocol(Failing()))
    with pytest.raises(RuntimeError, match="raised ZeroDivisionError while it made the bytes of a packet") as sending:
        machine.send_packet(b"")
    assert isinstance(sending.value.__cause__, ZeroDivisionError)
    assert not has_output(machine)
    machine.receive_data(b"x", 0.0)
    with pytest.raises(RuntimeError, match="raised ZeroDivisionError while it read a packet") as reading:
        machine.next_packet()
    assert isinstance(reading.value.__cause__, ZeroDivisionError)
    assert must_settle(machine)
    assert state_of(machine) is State.FINISHED  # nobody knows where its next packet begins


class Ours(JSONSerializer):
    """A serializer of this test's own, which only its connection holds."""


def test_a_fault_that_ends_the_stream_leaves_no_circle() -> None:
    """A peer could make a server collect garbage by it, with all that belongs to the connection."""
    serializer = Ours(use_lines=False)
    is_there = ref(serializer)
    machine = connection(StreamProtocol(serializer))
    machine.receive_data(b"}", 0.0)
    gc.disable()
    try:
        with pytest.raises(StreamProtocolParseError) as caught:
            machine.next_packet()
        assert str(machine.close_reason) == str(caught.value)
        del serializer, machine, caught
        assert is_there() is None
    finally:
        gc.enable()


@pytest.mark.row("K11")
def test_a_stream_that_has_lost_its_place_ends_behind_the_parse_error() -> None:
    machine = connection(StreamProtocol(JSONSerializer(use_lines=False)))
    machine.receive_data(b"[1]}[2]", 0.0)
    assert machine.next_packet() == [1]
    assert state_of(machine) is State.OPEN
    with pytest.raises(StreamProtocolParseError, match="cannot begin with 0x7d"):
        machine.next_packet()
    assert machine.next_packet() is NOTHING
    assert state_of(machine) is State.FINISHED
    assert must_settle(machine)
    end = machine.end()
    assert isinstance(end, ConnectionLost)
    assert isinstance(end.__cause__, StreamProtocolParseError)
    assert "where the next packet begins cannot be known" in str(end)
    assert machine.receive_data(b"[3]", 0.0) == ()
    with pytest.raises(ConnectionLost):
        machine.send_packet([1])


def test_what_comes_behind_a_lost_place_is_thrown_away_before_it_is_told() -> None:
    machine = connection(StreamProtocol(JSONSerializer(use_lines=False)))
    machine.receive_data(b"}", 0.0)
    assert machine.receive_data(b"[2]" * 1000, 0.0) == ()
    assert len(taken(machine)) == 1


# --- flow ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("K20")
def test_no_more_is_decoded_ahead_than_somebody_may_want() -> None:
    machine = connection(accepted=True)
    machine.receive_data(b"x\n" * 1000, 0.0)
    assert machine.packets_received == MAX_AHEAD
    assert not reads(machine)
    assert must_settle(machine)
    machine.must_settle = False
    for _ in range(999):
        machine.next_packet()
        assert not reads(machine) or machine.packets_received == 1000
    machine.next_packet()
    assert reads(machine)
    assert must_settle(machine)
    machine.reading_resumed(0.0)
    assert machine.packets_received == 1000


@pytest.mark.row("K20")
@pytest.mark.parametrize("together", [True, False])
def test_a_client_reads_on_behind_one_read_of_many_packets_but_not_behind_two(together: bool) -> None:
    def take_all() -> int:
        return len(machine.next_packets()) if together else int(machine.next_packet() == "x")

    machine = connection()
    for _ in range(2):  # smooth at first, and again when all is taken
        machine.receive_data(b"x\n" * 1000, 0.0)
        assert len(machine.received) == MAX_AHEAD
        assert (reads(machine), must_settle(machine), machine.is_smooth) == (True, False, False)
        taken_by_now = 0
        while taken_by_now < 1000 - MAX_AHEAD:
            assert not machine.is_smooth
            taken_by_now += take_all()
        while taken_by_now < 1000:
            taken_by_now += take_all()
        assert (reads(machine), must_settle(machine), machine.is_smooth) == (True, False, True)
    for reads_on in (True, False, False):
        machine.receive_data(b"x\n" * 1000, 0.0)
        assert (reads(machine), len(machine.received)) == (reads_on, MAX_AHEAD)
    assert must_settle(machine)
    machine.must_settle = False
    taken_by_now = 0
    while taken_by_now < 3000 - 2 * MAX_AHEAD:
        assert not reads(machine)
        taken_by_now += take_all()
    while taken_by_now < 3000:
        taken_by_now += take_all()
    assert (reads(machine), must_settle(machine), machine.is_smooth) == (True, True, True)


@pytest.mark.row("K20")
def test_reading_stops_over_a_mark_and_goes_on_when_that_is_taken() -> None:
    machine = connection(StreamProtocol(LengthPrefixedSerializer(BytesSerializer())))
    large = (100_000).to_bytes(4, "big") + bytes(100_000)
    fed = 0
    while reads(machine):
        machine.receive_data(large, 0.0)
        fed += 1
        assert fed * 100_000 < MAX_UNTAKEN + 200_000
    assert fed == 3
    machine.must_settle = False
    machine.next_packet()
    assert not reads(machine)
    assert not must_settle(machine)
    assert len(machine.next_packets()) == 2
    assert reads(machine)
    assert must_settle(machine)


@pytest.mark.row("K20")
def test_one_packet_may_always_come_in_full() -> None:
    machine = connection(StreamProtocol(LengthPrefixedSerializer(BytesSerializer())))
    machine.receive_data((1_000_000).to_bytes(4, "big"), 0.0)
    for _ in range(10):
        assert reads(machine)
        machine.receive_data(bytes(100_000), 0.0)
    assert reads(machine)  # it may be taken at once
    machine.receive_data(b"\0", 0.0)
    assert not reads(machine)
    assert len(machine.next_packet()) == 1_000_000
    assert reads(machine)


def test_packets_that_are_large_and_taken_at_once_never_stop_reading() -> None:
    machine = connection(StreamProtocol(LengthPrefixedSerializer(BytesSerializer())))
    large = (300_000).to_bytes(4, "big") + bytes(300_000)
    for _ in range(3):
        assert machine.receive_data(large, 0.0) == READY
        assert reads(machine)
        assert not must_settle(machine)
        assert len(machine.next_packet()) == 300_000


@pytest.mark.row("K20")
def test_packets_that_come_one_by_one_and_that_nobody_takes_stop_reading_too() -> None:
    machine = connection()
    fed = 0
    while reads(machine):
        if machine.receive_one(b"x\n", 0.0) is NOTHING:
            machine.receive_data(b"x\n", 0.0)
        fed += 1
        assert fed <= MAX_AHEAD + 1
    assert len(taken(machine)) == fed > 1


@pytest.mark.row("K20")
def test_one_read_of_more_than_may_wait_stops_reading() -> None:
    machine = connection()
    machine.receive_data(b"x\n" * (MAX_UNTAKEN // 2 + 1), 0.0)
    assert not reads(machine)


@pytest.mark.row("K20")
def test_what_was_taken_by_the_short_ways_does_not_count() -> None:
    machine = connection()
    for _ in range(MAX_UNTAKEN // 1000):
        machine.receive_data((b"x" * 999 + b"\n") * 2, 0.0)
        machine.received.clear()  # as drivers do where it is smooth
    for _ in range(3):
        machine.receive_data(b"x\n", 0.0)
        assert reads(machine)


@pytest.mark.row("K20")
def test_who_wants_no_more_hears_of_the_end_all_the_same() -> None:
    machine = connection()
    while reads(machine):
        machine.receive_data(b"x\n", 0.0)
    machine.stop_receiving()
    assert reads(machine)


def test_what_is_sent_in_one_turn_may_leave_together_and_then_no_more() -> None:
    machine = connection()
    machine.receive_data(b"0\n", 0.0)
    machine.received.clear()
    turns = [
        lambda: machine.receive_one(b"1\n", 0.0),
        lambda: machine.receive_data(b"2\n3\n", 0.0),
        machine.data_to_send,
    ]
    for turn in turns:
        machine.in_burst = True
        assert expects_more(machine)
        turn()
        assert not expects_more(machine)
        machine.received.clear()


def test_what_was_taken_does_not_count_while_our_output_waits_either() -> None:
    machine = connection(StreamProtocol(LengthPrefixedSerializer(BytesSerializer())))
    machine.writing_paused(100, 0.0)
    large, small = (300_000).to_bytes(4, "big") + bytes(300_000), (1).to_bytes(4, "big") + b"x"
    for _ in range(3):
        machine.receive_data(large, 0.0)
        assert len(taken(machine)) == 1
    machine.receive_data(small * (MAX_AHEAD + 1), 0.0)
    assert reads(machine)


def test_on_a_smooth_connection_the_last_packet_may_be_popped_past_the_machine() -> None:
    machine = connection()
    for data, is_smooth in ((b"1\n", True), (b"2\n3\n", True), (b"4\n" * (MAX_AHEAD + 1), False), (b"5\n", True)):
        machine.receive_data(data, 0.0)
        assert machine.is_smooth is is_smooth
        while machine.received and (is_smooth or len(machine.received) > 1):
            machine.received.pop(0)
        if not is_smooth:
            assert taken(machine) == ["4", "4"]
        assert machine.next_packet() is NOTHING
        assert machine.end() is None
        assert reads(machine)


def test_what_was_framed_is_not_queued_when_the_connection_has_gone() -> None:
    machine = connection()
    framed = machine.framed("late")
    machine.close()
    with pytest.raises(ClientClosedError):
        machine.queue(framed)
    with pytest.raises(ClientClosedError):
        machine.framed("later")
    assert not has_output(machine)
    assert machine.packets_sent == 1


# --- out -------------------------------------------------------------------------------------------------------------


def test_what_is_sent_leaves_in_one_write() -> None:
    machine = connection()
    machine.send_packet("one")
    machine.send_packets(["two", "three"])
    assert has_output(machine)
    assert machine.output_size == 14
    assert machine.data_to_send() == b"one\ntwo\nthree\n"
    assert (machine.packets_sent, machine.bytes_sent, machine.output_size) == (3, 14, 0)
    assert not has_output(machine)
    assert not machine.expects_more_output
    machine.in_burst = True
    assert machine.expects_more_output


class Refusing(AbstractPacketConverter[Any, str]):
    """Converts nothing."""

    def create_from_dto_packet(self, packet: str, /) -> Any:
        raise PacketConversionError("no")

    def convert_to_dto_packet(self, obj: Any, /) -> str:
        raise PacketConversionError("no")


class Parts(Failing):
    """Makes bytes of several kinds, or none."""

    def frame(self, packet: Any, /) -> Any:
        return packet


def test_what_a_serializer_makes_is_kept_as_bytes() -> None:
    machine = connection(StreamProtocol(Parts()))
    buffer = bytearray(b"one")
    machine.send_packet(buffer)
    machine.send_packet(memoryview(b"two"))
    machine.send_packet(b"")
    buffer[:] = b"xxx"
    assert machine.data_to_send() == b"onetwo"
    assert machine.packets_sent == 3


@pytest.mark.row("K11")
@pytest.mark.parametrize("framed", ["text", None, 5, [1]])
def test_what_a_serializer_makes_must_be_bytes(framed: Any) -> None:
    machine = connection(StreamProtocol(Parts()))
    for send, packet in ((machine.send_packet, framed), (machine.send_packets, [b"one", framed])):
        with pytest.raises(RuntimeError, match="raised TypeError while it made the bytes of a packet") as caught:
            send(packet)
        assert isinstance(caught.value.__cause__, TypeError)
    assert machine.packets_sent == 0
    assert not has_output(machine)


def test_of_several_packets_all_are_queued_or_none() -> None:
    machine = connection()
    machine.send_packet("zero")
    with pytest.raises(RuntimeError, match="must not hold its newline"):
        machine.send_packets(["one", "two\n", "three"])
    assert machine.packets_sent == 1
    assert machine.data_to_send() == b"zero\n"


def test_packets_that_cannot_be_sent_take_only_themselves_from_the_count() -> None:
    machine = connection()

    def packets() -> Iterator[str]:
        yield "one"
        machine.send_packet("another thread's")
        yield "two\n"

    with pytest.raises(RuntimeError, match="must not hold its newline"):
        machine.framed_together(packets())
    assert machine.packets_sent == 1


def test_what_a_length_cannot_say_is_refused_as_it_is() -> None:
    machine = connection(StreamProtocol(LengthPrefixedSerializer(BytesSerializer(), prefix_size=1)))
    with pytest.raises(OutgoingMessageTooLarge):
        machine.send_packet(bytes(256))
    with pytest.raises(RuntimeError, match="raised PacketConversionError"):
        connection(StreamProtocol(StringLineSerializer(), Refusing())).send_packet(1)


@pytest.mark.row("K12")
def test_nothing_is_sent_behind_the_end_of_our_stream() -> None:
    machine = connection()
    assert machine.end_stream()
    assert not machine.end_stream()
    with pytest.raises(LocalProtocolError, match="send_eof was called"):
        machine.send_packet("one")
    machine.receive_data(b"two\n", 0.0)
    assert taken(machine) == ["two"]
    gone = connection()
    gone.connection_lost(None)
    assert not gone.end_stream()


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("K10")
def test_a_clean_end_comes_behind_the_packets_and_sending_stays_possible() -> None:
    machine = connection()
    machine.receive_data(b"one\n", 0.0)
    assert machine.receive_eof(1.0) == READY
    assert machine.last_received == 1.0
    assert machine.end() is None
    assert taken(machine) == ["one"]
    ends = [machine.end() for _ in range(3)]
    assert [type(end) for end in ends] == [EndOfStream] * 3
    machine.send_packet("two")
    assert machine.data_to_send() == b"two\n"
    assert state_of(machine) is State.DRAINING
    machine.connection_lost(ConnectionResetError(), ())
    assert type(machine.end()) is EndOfStream
    with pytest.raises(ConnectionLost, match="the connection is down"):
        machine.send_packet("three")
    assert machine.receive_eof(2.0) == ()


@pytest.mark.row("K10", "H8")
def test_an_end_in_the_middle_of_a_packet_says_how_much_of_it_had_come() -> None:
    machine = connection()
    machine.receive_data(b"one\ntw", 0.0)
    machine.receive_eof(1.0)
    assert taken(machine) == ["one"]
    end = machine.end()
    assert isinstance(end, StreamTruncated)
    assert end.pending == 2


@pytest.mark.row("K10")
@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        (StreamProtocol(StringLineSerializer(limit=3)), b"one\nlong"),
        (StreamProtocol(LengthPrefixedSerializer(StringLineSerializer(), prefix_size=1, limit=3)), b"\3one\4lon"),
    ],
)
def test_an_end_in_a_packet_that_is_thrown_away_is_no_clean_one(protocol: Any, data: bytes) -> None:
    machine = connection(protocol)
    machine.receive_data(data, 0.0)
    machine.receive_eof(1.0)
    assert [item if isinstance(item, str) else item[0] for item in taken(machine)] == ["one", StreamProtocolParseError]
    end = machine.end()
    assert isinstance(end, StreamTruncated)
    assert end.pending == 0
    assert str(end) == "stream ended in the middle of a message (which was thrown away as it came)"


@pytest.mark.row("K10")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("reset"), StreamReset),
        (BrokenPipeError("pipe"), ConnectionLost),
        (OSError("other"), ConnectionLost),
        (TLSTruncated("cut"), TLSTruncated),
        (None, ConnectionLost),
    ],
)
def test_a_loss_comes_behind_the_packets_with_its_cause(error: Exception | None, kind: type[Exception]) -> None:
    machine = connection()
    machine.receive_data(b"x\n" * 100 + b"y", 0.0)
    machine.send_packet("lost")
    assert machine.connection_lost(error, ()) == READY
    assert taken(machine) == ["x"] * 100
    first, second = machine.end(), machine.end()
    assert type(first) is type(second) is kind
    assert first is not None
    assert first is not second, "each is told an error of its own"
    assert (first.__cause__ is error) or (kind is type(error) and (first.args, str(first)) == (error.args, str(error)))
    assert not has_output(machine)
    with pytest.raises(ConnectionLost):
        machine.send_packet("more")


@pytest.mark.row("K10")
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(5, "Input/output error"), "the connection broke: [Errno 5] Input/output error"),
        (KeyboardInterrupt(), "the connection broke: KeyboardInterrupt"),
        (MemoryError(), "the connection broke: MemoryError"),
    ],
)
def test_a_loss_says_by_what_also_where_that_has_no_words(error: BaseException, text: str) -> None:
    machine = connection()
    machine.connection_lost(error, ())
    assert str(machine.end()) == text


@pytest.mark.row("K10")
@pytest.mark.parametrize(
    "told", [None, EndOfStream("it is done"), ProcessEnded("it has failed", 3), ConnectionLost("nobody knows how")]
)
def test_what_the_driver_knows_of_the_end_is_told_to_who_receives_and_to_who_sends(told: ConnectionLost | None) -> None:
    machine = connection()
    machine.ended_by = told
    machine.receive_data(b"whole\n", 0.0)
    assert machine.receive_eof(0.0) == READY
    machine.answers_are_lost()
    assert taken(machine) == ["whole"]
    for _ in range(2):
        with pytest.raises(ConnectionLost) as caught:
            machine.send_packet("more")
        assert caught.value.__cause__ is told or (told is None and type(caught.value.__cause__) is EndOfStream)
        ended = machine.end()
        assert type(ended) is (EndOfStream if told is None else type(told))
        assert str(ended) == ("the peer ended its stream" if told is None else str(told))
        assert ended is not told, "each is told an error of its own"
        assert getattr(ended, "returncode", None) == getattr(told, "returncode", None)


@pytest.mark.row("K10")
def test_half_a_packet_is_told_with_what_the_driver_knows_of_the_end() -> None:
    machine = connection()
    machine.ended_by = ProcessEnded("it has failed", 3)
    machine.receive_data(b"half", 0.0)
    machine.receive_eof(0.0)
    truncated = machine.end()
    assert isinstance(truncated, StreamTruncated)
    assert truncated.__cause__ is machine.ended_by


@pytest.mark.row("K10")
def test_who_sends_behind_half_a_packet_is_told_so() -> None:
    machine = connection()
    machine.receive_data(b"half", 0.0)
    machine.receive_eof(0.0)
    machine.answers_are_lost()
    assert isinstance(machine.end(), StreamTruncated)
    with pytest.raises(ConnectionLost) as caught:
        machine.send_packet("more")
    assert isinstance(caught.value.__cause__, StreamTruncated)


@pytest.mark.parametrize(
    ("code", "tail", "kind"),
    [
        (1000, b"", EndOfStream),
        (1001, b"", EndOfStream),
        (1005, b"", EndOfStream),
        (1000, b"y", StreamTruncated),
        (1006, b"", WebSocketClosed),
        (1011, b"", WebSocketClosed),
        (4000, b"", WebSocketClosed),
    ],
)
def test_a_websocket_that_is_closed_in_order_is_a_stream_that_ends(
    code: int, tail: bytes, kind: type[Exception]
) -> None:
    machine = connection()
    machine.receive_data(b"x\n" + tail, 0.0)
    closed = WebSocketClosed(code, "why")
    machine.connection_lost(closed, ())
    assert taken(machine) == ["x"]
    found = machine.end()
    assert type(found) is kind
    assert found is not None
    assert found.__cause__ is closed or (type(found), str(found)) == (WebSocketClosed, str(closed))
    with pytest.raises(ConnectionLost):
        machine.send_packet("more")


def test_behind_a_websocket_that_was_closed_in_order_all_that_came_can_be_taken() -> None:
    machine = connection()
    machine.receive_data(b"x\n" * 1000 + b"y", 0.0)
    machine.connection_lost(WebSocketClosed(1000), ())
    assert machine.close_reason is None, "what is not decoded yet decides how the stream has ended"
    assert taken(machine) == ["x"] * 1000
    assert type(machine.end()) is StreamTruncated


@pytest.mark.row("K9")
def test_who_closes_gets_nothing_more_and_what_was_sent_goes_out() -> None:
    machine = connection()
    machine.receive_data(b"one\ntw", 0.0)
    machine.send_packet("last")
    machine.close()
    assert state_of(machine) is State.FINISHED
    assert not machine.is_ready
    assert machine.next_packet() is NOTHING
    assert type(machine.end()) is ClientClosedError
    assert machine.data_to_send() == b"last\n"
    assert machine.receive_data(b"more\n", 0.0) == ()
    assert not has_unread(machine)
    with pytest.raises(ClientClosedError, match="the client is closed"):
        machine.send_packet("more")
    assert not machine.end_stream()
    machine.close()
    machine.connection_lost(ConnectionResetError(), ())
    machine.close()
    assert type(machine.end()) is ClientClosedError
    assert machine.close_reason is None


def test_who_aborts_sends_nothing_more() -> None:
    machine = connection()
    machine.send_packet("lost")
    machine.abort()
    assert not has_output(machine)
    assert state_of(machine) is State.FINISHED


def test_an_end_that_ends_our_direction_too_is_final() -> None:
    machine = connection()
    machine.answers_are_lost()
    assert state_of(machine) is State.OPEN
    machine.receive_eof(0.0)
    machine.answers_are_lost()
    assert state_of(machine) is State.FINISHED
    assert type(machine.end()) is EndOfStream


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    machine = connection(write_timeout=2.0)
    machine.writing_paused(100, 0.0)
    assert machine.deadline == 0.5
    machine.handle_deadline(2.0)
    assert machine.must_abort
    machine.connection_lost(None, ())
    end = machine.end()
    assert isinstance(end, ConnectionLost)
    assert isinstance(end.__cause__, TimeoutError)


def test_it_has_no_calls() -> None:
    machine = connection()
    assert machine.give_up_calls() == ()
    assert not machine.has_read_behind_event
    assert not machine.owes_answers
    assert machine.open_calls == machine.abandoned == 0
    (ended,) = machine.peer_violated("it cheats", 0.0)
    assert isinstance(ended, ConnectionEnded)
    assert isinstance(machine.close_reason, RemoteProtocolError)
    assert machine.peer_violated("again", 0.0) == ()


class Reading(StreamProtocol[Any, Any]):
    """Reads in a way of its own, and says itself what is wrong."""

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        data = yield
        raise StreamProtocolParseError("mine", data[1:])


def test_a_parse_error_of_a_protocol_is_told_as_it_is() -> None:
    machine = connection(Reading(StringLineSerializer()))
    machine.receive_data(b"ab", 0.0)
    assert taken(machine) == [(StreamProtocolParseError, "mine")] * 2


def test_a_peer_that_has_taken_it_all_has_its_time_back() -> None:
    machine = connection(write_timeout=2.0)
    machine.writing_paused(100, 0.0)
    machine.writing_resumed()
    assert machine.handle_deadline(9.0) == ()
    assert not machine.must_abort


def test_the_first_reason_for_an_end_stays() -> None:
    machine = connection(write_timeout=2.0)
    machine.writing_paused(100, 0.0)
    machine.handle_deadline(2.0)
    machine.peer_violated("it cheats", 3.0)
    assert isinstance(machine.close_reason, TimeoutError)
    machine.connection_lost(ConnectionResetError())
    assert isinstance(machine.close_reason, TimeoutError)
    assert isinstance(machine.taken_down_by(), TimeoutError)


@pytest.mark.row("K10")
def test_a_connection_that_is_gone_in_order_has_nothing_to_blame() -> None:
    machine = connection()
    machine.connection_lost(None)
    with pytest.raises(ConnectionLost, match="the connection is down") as caught:
        machine.send_packet("more")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.row("K10")
def test_a_loss_behind_the_end_of_the_stream_is_told_to_senders_alone(is_heard: bool) -> None:
    machine, error = connection(), ConnectionResetError("reset")
    machine.receive_data(b"x\n", 0.0)
    machine.receive_eof(0.0)
    if is_heard:
        assert taken(machine) == ["x"]
        assert type(machine.end()) is EndOfStream
    machine.connection_lost(error)
    assert taken(machine) == ([] if is_heard else ["x"])
    assert type(machine.end()) is EndOfStream
    with pytest.raises(ConnectionLost) as caught:
        machine.send_packet("more")
    assert isinstance(caught.value.__cause__, StreamReset)


@pytest.mark.row("K10")
def test_an_orderly_end_behind_the_end_of_the_stream_is_that_end() -> None:
    machine = connection()
    machine.receive_eof(0.0)
    machine.connection_lost(None)
    with pytest.raises(ConnectionLost) as caught:
        machine.send_packet("more")
    assert type(caught.value.__cause__) is EndOfStream


# --- connections that were accepted ----------------------------------------------------------------------------------


@pytest.mark.row("H50")
def test_a_peer_that_says_nothing_is_sent_away() -> None:
    machine = connection(accepted=True, idle_timeout=5.0)
    assert machine.is_stranger
    assert machine.deadline == 5.0
    assert machine.handle_deadline(4.0) == ()
    (ended,) = machine.handle_deadline(5.0)
    assert isinstance(ended, ConnectionEnded)
    end = machine.end()
    assert isinstance(end, ConnectionLost)
    assert isinstance(end.__cause__, TimeoutError)
    assert state_of(machine) is State.FINISHED
    assert machine.receive_data(b"late\n", 6.0) == ()
    lost = connection(accepted=True, idle_timeout=5.0)
    lost.connection_lost(None)
    assert lost.deadline == float("inf")
    assert not has_unread(machine)


@pytest.mark.row("H50")
def test_a_packet_must_be_complete_in_time() -> None:
    machine = connection(accepted=True, idle_timeout=None, message_timeout=5.0)
    machine.receive_data(b"one\n", 0.0)
    assert not machine.is_stranger
    machine.next_packet()
    machine.receive_data(b"t", 1.0)
    assert machine.deadline == 6.0
    machine.receive_data(b"wo\n", 5.0)
    assert machine.deadline == float("inf")  # it is complete
    assert machine.next_packet() == "two"
    machine.receive_data(b"t", 10.0)
    machine.receive_data(b"hr", 14.0)
    assert machine.deadline == 15.0
    machine.reading_resumed(12.0)
    assert machine.deadline == 17.0
    machine.wants_data = False  # it is us who do not read
    assert machine.handle_deadline(17.0) == ()
    assert machine.deadline == 22.0
    machine.wants_data = True
    (ended,) = machine.handle_deadline(22.0)
    assert isinstance(ended, ConnectionEnded)
    assert "not complete after 5.0 s" in str(machine.close_reason)


class Same(AbstractPacketConverter[str, str]):
    def create_from_dto_packet(self, packet: str, /) -> str:
        return packet

    def convert_to_dto_packet(self, obj: str, /) -> str:
        return obj


PREFIXED: StreamProtocol[Any] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer(), prefix_size=1, limit=9))

PAIRS: StreamProtocol[Any] = StreamProtocol(StructSerializer(">H"))

# (protocol, what comes in one read behind a packet, whether the next one has begun by that)
BEGUN: list[tuple[Any, bytes, bool]] = [
    (LINES, b"one\n", False),
    (LINES, b"one\ntw", True),
    (LINES, b"\xff\ntw", True),
    (StreamProtocol(JSONSerializer()), b"1\n\n", False),
    (StreamProtocol(JSONSerializer()), b"\n\n", False),
    (StreamProtocol(JSONSerializer()), b"1\n{", True),
    (StreamProtocol(StringLineSerializer(limit=4)), b"x" * 9, True),  # the rest of it is thrown away
    (StreamProtocol(StringLineSerializer(limit=4)), b"x" * 9 + b"\n", False),
    (PREFIXED, b"\x01x", False),
    (PREFIXED, b"\x01x\x02y", True),
    (PREFIXED, b"\x20y", True),
    (PREFIXED, b"\x20" + b"y" * 32, False),
    (PAIRS, b"ab", False),
    (PAIRS, b"abc", True),
    (StreamProtocol(StringLineSerializer(), Same()), b"one\ntw", True),
    (StreamProtocol(StringLineSerializer(), Same()), b"one\n", False),
]


@pytest.mark.row("H50")
def test_a_packet_that_begins_as_one_that_took_its_time_ends_has_all_of_its_own() -> None:
    machine = connection(accepted=True, idle_timeout=None, message_timeout=5.0)
    machine.receive_data(b"on", 0.0)
    machine.receive_data(b"e\ntw", 4.0)
    assert machine.deadline == 9.0


@pytest.mark.row("H50")
def test_a_packet_that_is_late_where_it_is_the_first_ends_the_connection_once() -> None:
    machine = connection(accepted=True, idle_timeout=5.0, message_timeout=5.0)
    machine.receive_data(b"on", 0.0)
    (ended,) = machine.handle_deadline(5.0)
    assert isinstance(ended, ConnectionEnded)
    assert "not complete after 5.0 s" in str(machine.close_reason)
    assert machine.deadline == float("inf")


@pytest.mark.row("H50")
def test_nothing_is_waited_for_once_the_connection_is_ended() -> None:
    machine = connection(accepted=True, idle_timeout=5.0, message_timeout=5.0)
    machine.receive_data(b"on", 0.0)
    machine.peer_violated("it cheats", 1.0)
    assert machine.deadline == float("inf")


@pytest.mark.row("H50")
@pytest.mark.parametrize("is_taken", [True, False])
@pytest.mark.parametrize(("protocol", "data", "has_begun"), BEGUN)
def test_a_packet_that_begins_behind_another_has_its_time_too(
    protocol: Any, data: bytes, has_begun: bool, is_taken: bool
) -> None:
    machine = connection(protocol, accepted=True, idle_timeout=None, message_timeout=5.0)
    first = b"\x01a" if protocol is PREFIXED else b"1\n"
    machine.receive_data(first, 0.0)
    if is_taken:
        machine.next_packet()
    machine.receive_data(data, 10.0)
    taken(machine)
    assert machine.deadline == (15.0 if has_begun else float("inf"))
    if has_begun:
        machine.receive_data(b"" if protocol in (PREFIXED, PAIRS) else b"z", 12.0)
        assert machine.deadline == 15.0
        (ended,) = machine.handle_deadline(15.0)
        assert isinstance(ended, ConnectionEnded)
    machine.reading_resumed(20.0)


def test_a_packet_that_had_begun_when_reading_stopped_has_its_time_from_then_on() -> None:
    machine = connection(accepted=True, idle_timeout=None, message_timeout=5.0)
    machine.receive_data(b"one\n" * 100 + b"tw", 0.0)
    assert (machine.wants_data, machine.deadline) == (False, float("inf"))  # more wait than may
    assert len(taken(machine)) == 100
    assert (machine.wants_data, machine.deadline) == (True, float("inf"))
    machine.reading_resumed(10.0)
    assert machine.deadline == 15.0


@pytest.mark.row("H10")
def test_a_stranger_may_not_send_faults_without_end() -> None:
    machine = connection(accepted=True, max_errors=3, error_decay=0.0)
    for _ in range(3):
        assert machine.receive_data(b"\xff\n", 0.0) == READY
        assert len(taken(machine)) == 1
    assert machine.is_stranger
    (ended,) = machine.receive_data(b"\xff\n", 0.0)
    assert isinstance(ended, ConnectionEnded)
    assert "more than 3 faulty packets" in str(ended.error)
    assert len(taken(machine)) == 1
    assert isinstance(machine.end(), ConnectionLost)


def test_a_connection_can_be_turned_away() -> None:
    machine = connection(accepted=True)
    machine.turn_away("full", 0.0)
    assert state_of(machine) is State.FINISHED
    assert isinstance(machine.end(), ConnectionLost)


# --- the end of a server's connection --------------------------------------------------------------------------------


def test_who_stops_receiving_may_still_send() -> None:
    machine = connection(accepted=True, idle_timeout=10.0, message_timeout=5.0)
    machine.receive_data(b"one\ntwo\nthr", 1.0)
    machine.stop_receiving()
    assert isinstance(machine.end(), ClientClosedError)
    assert "shutting down" in str(machine.end())
    assert (machine.receive_data(b"ee\n", 2.0), machine.has_unread) == ((), False)
    assert machine.deadline == float("inf")
    machine.send_packet("answer")
    assert machine.data_to_send() == b"answer\n"
    machine.close()
    assert "the client is closed" in str(machine.end())


def test_who_stops_receiving_between_two_packets_gets_no_more() -> None:
    machine = connection(accepted=True)
    machine.receive_data(b"one\n", 1.0)
    assert machine.next_packet() == "one"
    machine.stop_receiving()
    assert (machine.receive_data(b"two\n", 2.0), machine.has_unread) == ((), False)
    assert machine.packets_received == 1


@pytest.mark.row("H9")
def test_a_peer_that_connected_gets_a_moment_to_read_the_last_word() -> None:
    machine = connection(accepted=True, linger=2.0)
    machine.receive_data(b"one\ntwo\n", 1.0)
    machine.send_packet("answer")
    machine.close()
    assert (state_of(machine), machine.data_to_send()) == (State.LINGERING, b"answer\n")
    assert machine.receive_data(b"three\n", 1.0) == ()
    assert machine.handle_deadline(1.0) == ()  # from here on
    assert machine.deadline == 3.0
    machine.handle_deadline(2.9)
    assert state_of(machine) is State.LINGERING
    machine.handle_deadline(3.0)
    assert (state_of(machine), machine.deadline) == (State.FINISHED, float("inf"))


@pytest.mark.row("H9")
def test_the_moment_ends_when_the_peer_does() -> None:
    machine = connection(accepted=True)
    machine.send_packet("answer")
    machine.data_to_send()
    machine.close()
    machine.handle_deadline(0.0)
    machine.receive_eof(0.5)
    assert (state_of(machine), machine.deadline) == (State.FINISHED, float("inf"))


@pytest.mark.parametrize(
    ("accepted", "sends", "ended"),
    [(False, True, False), (True, False, False), (True, True, True)],
    ids=["dialled", "silent", "ended"],
)
def test_nobody_is_waited_for_who_has_nothing_to_read_or_has_gone(accepted: bool, sends: bool, ended: bool) -> None:
    machine = connection(accepted=accepted)
    if sends:
        machine.send_packet("answer")
        machine.data_to_send()
    if ended:
        machine.receive_eof(0.0)
    machine.close()
    assert state_of(machine) is State.FINISHED


def test_who_aborts_while_the_peer_reads_the_last_word_does_not_wait() -> None:
    machine = connection(accepted=True)
    machine.send_packet("answer")
    machine.data_to_send()
    machine.close()
    assert state_of(machine) is State.LINGERING
    machine.abort()
    assert (state_of(machine), machine.deadline) == (State.FINISHED, float("inf"))


def test_a_peer_that_we_dialled_may_send_as_many_faults_as_it_likes() -> None:
    machine = connection(max_errors=3, error_decay=0.0)
    machine.receive_data(b"\xff\n" * 10, 0.0)
    assert len(taken(machine)) == 10
    for _ in range(10):
        machine.receive_data(b"\xff\n", 0.0)
        assert len(taken(machine)) == 1
    assert state_of(machine) is State.OPEN


@pytest.mark.row("H37")
@pytest.mark.parametrize(
    ("protocol", "faulty"),
    [(StreamProtocol(JSONSerializer()), b"x\n"), (StreamProtocol(StringLineSerializer(), Refusing()), b"x\n")],
)
def test_faults_that_came_at_once_are_judged_as_they_are_taken(protocol: Any, faulty: bytes) -> None:
    machine = connection(protocol, accepted=True, max_errors=3, error_decay=0.001)
    machine.receive_data(faulty * 100, 1.0)
    settles = []
    while machine.is_ready:
        machine.must_settle = False
        with pytest.raises(StreamProtocolParseError):
            machine.next_packet()
        settles.append(must_settle(machine))
    assert settles == [False, False, True, False]  # the fourth is decoded as the third is taken
    assert (state_of(machine), machine.has_unread) == (State.FINISHED, False)
    assert str(machine.end()) == "the connection was ended: more than 3 faulty packets"


class Doubled(AbstractPacketConverter[Any, Any]):
    """Takes no 5."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def create_from_dto_packet(self, packet: Any, /) -> Any:
        self.seen.append(packet)
        if packet == 5:
            raise PacketConversionError("5 is too odd")
        return 2 * packet

    def convert_to_dto_packet(self, obj: Any, /) -> Any:
        return obj // 2


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("protocol", [StreamProtocol(JSONSerializer()), StreamProtocol(JSONSerializer(), Doubled())])
def test_a_read_of_one_packet_comes_to_the_same_by_the_short_way(protocol: Any, accepted: bool) -> None:
    """A driver may try it with any read, whatever has come before."""
    short, plain = connection(protocol, accepted=accepted), connection(protocol, accepted=accepted)
    by_short_way = 0
    for number, data in enumerate(
        [b"1\n", b"2\n", b"3\n", b"5\n", b"1\n", b"\n", b"4\n6\n", b"7\n", b"8", b"9\n", b"x\n", b"5\n", b"1\n"]
    ):
        now = float(number)
        event = short.receive_one(data, now)
        found = short.receive_data(data, now) if event is NOTHING else (event,)
        assert found == plain.receive_data(data, now)
        by_short_way += event is PacketEvent.READY
        if number != 1:  # with something that waits to be taken there is no short way
            assert taken(short) == taken(plain)
        for name in (
            "bytes_received",
            "packets_received",
            "faults",
            "last_received",
            "is_smooth",
            "wants_data",
            "deadline",
        ):
            assert getattr(short, name) == getattr(plain, name)
    assert by_short_way >= 2


def test_a_connection_is_not_smooth_while_there_is_anything_to_be_looked_at() -> None:
    """Drivers pop packets past the machine where it is, and hand bytes to it by its short ways."""
    large = StreamProtocol(LengthPrefixedSerializer(BytesSerializer()))
    machine = connection()
    for data, smooth in ((b"1\n", True), (b"2\n\xff\n", False), (b"3\n", False)):
        machine.receive_data(data, 0.0)
        assert is_smooth(machine) is smooth
    assert len(taken(machine)) == 4
    assert is_smooth(machine)

    machine = connection(write_timeout=None)
    machine.writing_paused(100, 1.0)
    machine.receive_data(b"1\n", 1.0)
    assert not is_smooth(machine)

    machine = connection(large)
    while reads(machine):
        machine.receive_data((100_000).to_bytes(4, "big") + bytes(100_000), 0.0)
    assert not is_smooth(machine)  # with what comes next, room is to be made
    machine.next_packets()
    assert is_smooth(machine)

    machine = connection(accepted=True, idle_timeout=None, message_timeout=None)
    for data, smooth in ((b"1", False), (b"\n", True)):
        machine.receive_data(data, 0.0)
        assert is_smooth(machine) is smooth

    machine = connection()
    machine.receive_data(b"1\n" * (MAX_AHEAD + 1), 0.0)
    machine.receive_eof(1.0)
    assert len(taken(machine)) == MAX_AHEAD + 1
    assert not is_smooth(machine)


PIECES = (b"one\n", b"tw", b"\xff\n4", b"x\n" * (MAX_AHEAD + 1))
# What is not in lines may lose its place.
WITHOUT_LINES = StreamProtocol(JSONSerializer(use_lines=False))
PIECES_WITHOUT_LINES = (b"[1]", b"[", b"]}", b"[2][3]")


@pytest.mark.row("K11", "K14", "K20")
@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("is_paused", [False, True])
@pytest.mark.parametrize(
    ("protocol", "pieces"), [(LINES, PIECES), (WITHOUT_LINES, PIECES_WITHOUT_LINES)], ids=["lines", "no lines"]
)
def test_what_comes_on_a_smooth_connection_comes_to_the_same(
    protocol: Any, pieces: tuple[bytes, ...], is_paused: bool, accepted: bool
) -> None:
    for reads_of in product(product(pieces, (0, None)), repeat=3):
        smooth, careful = connection(protocol, accepted=accepted), connection(protocol, accepted=accepted)
        for now, (data, count) in enumerate(reads_of):
            careful.is_smooth = False
            assert smooth.receive_data(data, now) == careful.receive_data(data, now)
            if is_paused:
                smooth.writing_paused(100, now)
                careful.writing_paused(100, now)
            assert taken(smooth, count) == taken(careful, count)
            for name in ("packets_received", "faults", "wants_data", "has_unread", "is_stranger", "deadline", "state"):
                assert getattr(smooth, name) == getattr(careful, name), (name, reads_of)
        for machine in (smooth, careful):
            machine.receive_eof(5.0)
        assert taken(smooth) == taken(careful)
        assert repr(smooth.end()) == repr(careful.end())


@pytest.mark.parametrize("by", ["receive_one", "receive_alone", "both"])
def test_a_packet_that_is_refused_is_decoded_once(by: str) -> None:
    converter = Doubled()
    machine = connection(StreamProtocol(JSONSerializer(), converter))
    seen: list[Any] = []
    for data in (b"1\n", b"5\n", b"2\n", b"[\n", b"5\n", b"5\n6\n", b"3\n"):
        packet = machine.receive_alone(data) if by != "receive_one" else NOTHING
        if packet is not NOTHING:
            seen.append(packet)
        elif by == "receive_alone" or machine.receive_one(data, 0.0) is NOTHING:  # a driver may try both
            machine.receive_data(data, 0.0)
        seen += [item if isinstance(item, int) else "a fault" for item in taken(machine)]
    assert seen == [2, "a fault", 4, "a fault", "a fault", "a fault", 12, 6]
    assert converter.seen == [1, 5, 2, 5, 5, 6, 3]
    assert machine.faults == 4


@pytest.mark.row("K10")
def test_a_reset_behind_the_end_of_the_stream_is_told_to_senders_alone() -> None:
    machine = connection()
    machine.receive_data(b"x\n", 0.0)
    machine.receive_eof(0.0)
    for _ in range(2):
        machine.peer_vanished()
        assert taken(machine) in (["x"], [])
        assert type(machine.end()) is EndOfStream
        assert type(machine.taken_down_by()) is StreamReset
    early = connection()
    early.peer_vanished()
    assert type(early.close_reason) is StreamReset


@pytest.mark.row("K10")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_when_what_moves_the_connection_was_interrupted_nothing_of_before_is_given_out(error: BaseException) -> None:
    """One packet may have been in its hands: those behind it are not to be taken for the next."""
    machine = connection()
    machine.receive_data(b"one\ntwo\nthree", 0.0)
    machine.connection_lost(error)
    assert machine.next_packet() is NOTHING
    assert isinstance(machine.end(), ConnectionLost)
