# SPDX-License-Identifier: MIT
"""The kit for machines, and the replay of recordings: ours pass, and each deliberate fault fails."""

from __future__ import annotations

import asyncio as stock
from pathlib import Path
from typing import Any, cast

import pytest

import tieline
from tests import aio
from tests.testing.failing import failing
from tieline import JSONRPCv2, Limits, NewlineFramer
from tieline.testing import (
    MACHINE_CASES,
    Case,
    ContractBroken,
    MachineRig,
    MemoryNetwork,
    Recording,
    VirtualClock,
    replay,
)
from tieline.testing.memory import memory_pair
from tieline.testing.stories import Story
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.reading import Request

CONVERSATION = (
    b'{"jsonrpc":"2.0","method":"double","params":[4],"id":1}\n'
    b'{"jsonrpc":"2.0","method":"news"}\n'
    b'[{"jsonrpc":"2.0","method":"double","params":[5],"id":"a"},{"jsonrpc":"2.0","method":"double","params":[6],"id":2}]\n'
)


def connection(now: float) -> Connection:
    limits = Limits(idle_timeout=30.0).resolved(accepted=True)
    machine = Connection(JSONRPCv2, NewlineFramer(max_size=cast("int", limits.max_message)), limits, accepted=True)
    machine.start(now)
    return machine


def double(machine: Any, event: Any) -> None:
    if isinstance(event, Request) and event.id is not None and event.method == "double":
        machine.reply(event, 2 * cast("list[Any]", event.params)[0])


def shown(event: Any) -> object:
    return (event.method, event.params, event.id) if isinstance(event, Request) else type(event).__name__


RPC = MachineRig(
    connection,
    CONVERSATION,
    respond=double,
    shown=shown,
    output=lambda said: sorted(said.splitlines()),  # answers may come in any order
    garbage=[b"nonsense\n", b'{"jsonrpc":"3.0"}\n'],
    more=lambda machine, now: machine.next_events(now) if machine.has_more else (),
)


@pytest.mark.parametrize("case", MACHINE_CASES, ids=str)
def test_the_machine_of_calls(case: Case) -> None:
    case.run(RPC)


class Echo:
    """A right machine, to be broken: says each line again, and pings every ten seconds."""

    def __init__(self, now: float) -> None:
        self.deadline: float | None = now + 10
        self._held = b""
        self._out = b""

    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._out += line + b"\n"
        return lines

    def receive_eof(self, now: float) -> list[bytes]:
        return [self._held] if self._held else []

    def handle_deadline(self, now: float) -> list[bytes]:
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = now + 10
        self._out += b"ping\n"
        return [b"ping"]

    def data_to_send(self) -> bytes:
        out, self._out = self._out, b""
        return out


class TellsPieces(Echo):
    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        return [*super().receive_data(data, now), *([b"part"] if self._held else [])]


class SaysAgain(Echo):
    def data_to_send(self) -> bytes:
        return self._out


class Raises(Echo):
    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        data.decode("ascii")
        return super().receive_data(data, now)


class NeverMoves(Echo):
    def handle_deadline(self, now: float) -> list[bytes]:
        self.deadline = 10.0
        return [] if now < 10 else [b"ping"]


class Early(Echo):
    def handle_deadline(self, now: float) -> list[bytes]:
        return [b"ping"]


class NoEnd(Echo):
    def receive_eof(self, now: float) -> list[bytes]:
        raise RuntimeError("in the middle of a line")


class Deaf(Echo):
    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        return super().receive_data(data.replace(b"\xff\n", b""), now)


BROKEN = [
    (TellsPieces, "the_same_at_every_cut"),
    (SaysAgain, "nothing_of_nothing"),
    (Raises, "any_bytes_raise_nothing[*]"),
    (NeverMoves, "deadlines"),
    (Early, "deadlines"),
    (NoEnd, "the_end_anywhere"),
    (Deaf, "garbage_raises_nothing"),
]


def test_a_right_machine_of_a_user_passes() -> None:
    assert failing(MACHINE_CASES, MachineRig(Echo, b"one\ntwo\n\nthree\n", garbage=[b"\xff\n"])) == set()


@pytest.mark.parametrize(("make", "case"), BROKEN, ids=[make.__name__ for make, _ in BROKEN])
def test_a_broken_machine_fails(make: Any, case: str) -> None:
    assert case in failing(MACHINE_CASES, MachineRig(make, b"one\ntwo\n\nthree\n", garbage=[b"\xff\n"]))


# --- recordings ------------------------------------------------------------------------------------------------------


async def test_a_session_is_recorded_saved_and_replayed(tmp_path: Path) -> None:
    recording = Recording(aio.now)
    methods = tieline.Methods()
    methods.method(name="double")(lambda number: 2 * number)
    network = MemoryNetwork()
    server = network.serve(methods)
    made = server._make_protocol
    server._make_protocol = lambda: recording.tap(made())  # type: ignore[method-assign]  # as a user's factory would
    async with server, tieline.connect(server.url, proxy=network) as session:
        assert await session.call("double", 4) == 8
        async with session.batch() as batch:
            batch.add_request("double", [5])
            batch.add_request("double", [6])
        assert batch.results == (10, 12)
    assert recording.said("in").count(b"double") == 3
    recording.save(tmp_path / "session.jsonl")
    loaded = Recording.load(tmp_path / "session.jsonl")
    assert [(one.direction, one.data) for one in loaded] == [(one.direction, one.data) for one in recording]
    events, sent = replay(loaded, RPC)
    assert len(events) == 3
    assert sent == recording.said("out")


def test_a_machine_that_says_something_else_is_found_out() -> None:
    recording = Recording()
    recording.add("in", CONVERSATION)
    recording.add("out", b'{"jsonrpc":"2.0","result":9,"id":1}\n')
    with pytest.raises(ContractBroken, match="different from byte 26 on"):
        replay(recording, RPC)
    replay(recording, RPC, check_output=False)


def test_a_machine_that_depends_on_the_cuts_is_found_out() -> None:
    recording = Recording()
    recording.add("in", b"one\ntwo\n")
    with pytest.raises(ContractBroken, match="with a cut behind"):
        replay(recording, MachineRig(TellsPieces, b""), check_output=False)


def test_times_and_ends_are_recorded() -> None:
    clock = VirtualClock()
    recording = Recording(clock.now)
    ours, theirs = Story(), Story()
    memory_pair(recording.tap(ours), theirs, clock)
    theirs.transport.write(b"hello")
    clock.run()
    clock.advance(2)
    ours.transport.writelines([b"a", b"b"])
    ours.transport.write_eof()
    clock.run()
    assert [(one.at, one.direction, one.data) for one in recording] == [
        (0.0, "in", b"hello"),
        (2.0, "out", b"ab"),
        (2.0, "out", b""),
        (2.0, "in", b""),
    ]
    assert len(recording) == 4
    assert "5 bytes in, 2 out" in repr(recording)
    assert theirs.data == b"ab"
    assert ours.lost_with == [None]


@pytest.mark.parametrize("line", ["nonsense", "[1, 2]", '[0, "up", ""]', '[0, "in", 5]', '[0, "in", "\\u0400"]'])
def test_a_file_that_is_no_recording_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(f'[0, "in", "x"]\n{line}\n')
    with pytest.raises(ValueError, match=r"odd.jsonl:2 is no line of a recording"):
        Recording.load(path)


def test_a_file_of_other_bytes_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b'[0, "in", "x"]\n[0, "in", "\xff"]\n')
    with pytest.raises(ValueError, match=r"odd.jsonl:2 is no line of a recording"):
        Recording.load(path)


def test_a_piece_goes_in_or_out() -> None:
    recording = Recording()
    direction: Any = "sideways"
    with pytest.raises(ValueError, match="direction must be 'in' or 'out', not 'sideways'"):
        recording.add(direction, b"x")
    assert not len(recording)


def test_a_tapped_buffered_protocol_hears_all() -> None:
    class Buffered(stock.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(3)
            self.data = b""

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.buffer[:nbytes]

    clock, recording, ours, theirs = VirtualClock(), Recording(), Buffered(), Story()
    memory_pair(recording.tap(ours), theirs, clock)
    theirs.transport.write(b"longer than three")
    clock.run()
    assert ours.data == recording.said("in") == b"longer than three"
