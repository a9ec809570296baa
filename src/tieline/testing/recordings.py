# SPDX-License-Identifier: MIT
"""Recordings of sessions: what each side said and when, and the same said again to a machine, at every cut."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tieline.testing.contracts import expect
from tieline.testing.cuts import cuts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tieline.testing.machines import MachineRig

__all__ = ["Recorded", "Recording", "replay"]


@dataclass(frozen=True)
class Recorded:
    """One read or write of a recording.

    Attributes:
        at: Seconds since the connection was established.
        direction: "in" = received by the recorded side, "out" = sent by it.
        data: The data; b"" = the end of that direction.
    """

    at: float
    direction: Literal["in", "out"]
    data: bytes


class Recording:
    """The data of one connection, both directions. Iteration yields the `Recorded` pieces in order.

    Wrap a protocol with `tap` to record it, `save` the recording to a file, and `load` it in a test. It contains all
    data of the connection, including passwords.

    Args:
        now: Returns the time in seconds while recording.
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now
        self._began: float | None = None
        self._pieces: list[Recorded] = []

    def __repr__(self) -> str:
        return (
            f"<Recording of {len(self._pieces)} pieces, {len(self.said('in'))} bytes in, {len(self.said('out'))} out>"
        )

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, direction: Literal["in", "out"], data: bytes) -> None:
        """Take note of a piece, now.

        Raises:
            ValueError: *direction* is neither "in" nor "out".
        """
        _check_direction(direction)
        now = 0.0 if self._now is None else self._now()
        if self._began is None:
            self._began = now
        self._pieces.append(Recorded(now - self._began, direction, data))

    def said(self, direction: Literal["in", "out"]) -> bytes:
        """Return all bytes of one direction."""
        return b"".join(piece.data for piece in self._pieces if piece.direction == direction)

    def tap(self, protocol: Any) -> Any:
        """Return a protocol to be connected in place of *protocol*, which records what passes."""
        return _Tap(self, protocol)

    def save(self, path: Path | str) -> None:
        """Write it to a file: a JSON array a line, of time, direction and bytes as Latin-1 text."""
        lines = [json.dumps([round(one.at, 6), one.direction, one.data.decode("latin-1")]) for one in self]
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Return what `save` has written.

        Raises:
            ValueError: The file is none of that kind; the text names the line.
        """
        recording = cls()
        for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
            try:
                at, direction, text = json.loads(line.decode("ascii"))
                _check_direction(direction)
                recording._pieces.append(Recorded(float(at), direction, text.encode("latin-1")))
            except (ValueError, TypeError, AttributeError) as exc:
                raise ValueError(f"{path}:{number} is no line of a recording: {exc}") from exc
        return recording


def _check_direction(direction: object) -> None:
    if direction not in ("in", "out"):
        raise ValueError(f"direction must be 'in' or 'out', not {direction!r}")


class _Tap(asyncio.Protocol):
    """Stands between a transport and a protocol. A buffered one is given copies."""

    def __init__(self, recording: Recording, upper: Any) -> None:
        self._recording = recording
        self._upper = upper

    def connection_made(self, transport: Any) -> None:
        self._upper.connection_made(_TappedTransport(self._recording, transport, self))

    def data_received(self, data: bytes) -> None:
        self._recording.add("in", bytes(data))
        upper = self._upper
        if hasattr(upper, "data_received"):
            upper.data_received(data)
            return
        rest = memoryview(data)
        while rest:
            buffer = memoryview(upper.get_buffer(len(rest))).cast("B")
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            rest = rest[size:]
            del buffer
            upper.buffer_updated(size)

    def eof_received(self) -> Any:
        self._recording.add("in", b"")
        return self._upper.eof_received()

    def pause_writing(self) -> None:
        self._upper.pause_writing()

    def resume_writing(self) -> None:
        self._upper.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._upper.connection_lost(exc)

    def let(self, upper: Any) -> None:
        """Let another protocol hear what comes from now on."""
        self._upper = upper


class _TappedTransport:
    """The transport below, but for what is written."""

    def __init__(self, recording: Recording, lower: Any, tap: _Tap) -> None:
        self._recording = recording
        self._lower = lower
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lower, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._recording.add("out", bytes(data))
        self._lower.write(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._recording.add("out", b"")
        self._lower.write_eof()

    def set_protocol(self, protocol: Any) -> None:
        self._tap.let(protocol)


def replay(recording: Recording, rig: MachineRig, *, check_output: bool = True) -> tuple[list[object], bytes]:
    """Feed the recorded input to a new machine, at the recorded times; then again, split in various ways.

    Args:
        recording: The recording.
        rig: The machine, and how its events are handled.
        check_output: Whether the output of the machine must be that of the recording, compared by `MachineRig.output`.

    Returns:
        What `MachineRig.shown` returned for the events, and the output of the machine.

    Raises:
        ContractBroken: The output differs from the recording, or the result depends on how the input is split.
    """
    pieces = [piece for piece in recording if piece.direction == "in" and piece.data]
    machine = rig.make(0.0)
    seen: list[object] = []
    sent = b""
    for piece in pieces:
        events, out = rig.feed(machine, piece.data, piece.at)
        seen += events
        sent += out
    if check_output:
        expected = recording.said("out")
        place = next((i for i, (a, b) in enumerate(zip(sent, expected, strict=False)) if a != b), len(sent))
        is_same = rig.output(sent) == rig.output(expected)
        expect(is_same, f"{len(sent)} bytes, different from byte {place} on", f"the {len(expected)} recorded")
    for cut in cuts_of(recording.said("in")):
        again = rig.played(cut)
        where = f"with a cut behind {len(cut[0])} bytes"
        expect(again[0] == seen, f"other events {where}", "the same at every cut")
        expect(rig.is_same(again, (seen, sent)), f"other bytes {where}", "the same at every cut")
    return seen, sent
