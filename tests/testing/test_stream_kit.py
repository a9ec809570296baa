# SPDX-License-Identifier: MIT
"""The kit for stream transports bites: each deliberate fault of a transport fails the case that is about it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.testing.failing import failing
from tests.testing.rigs import MemoryRig
from tieline.testing import (
    DATAGRAM_CASES,
    KNOWN_FAULTS,
    STREAM_CASES,
    SUBPROCESS_CASES,
    ContractBroken,
    KnownFault,
    MemoryTransport,
    known_faults,
)
from tieline.testing import memory as memory_module


class LosesTwice(MemoryTransport):
    def _tell_lost(self, error: BaseException | None) -> None:
        protocol = self._protocol
        super()._tell_lost(error)
        protocol.connection_lost(error)


class LosesAtOnce(MemoryTransport):
    def _lose(self, error: BaseException | None) -> None:
        if not self._is_lost:
            self._is_closing = self._is_lost = True
            self._unsent.clear()
            self._tell_lost(error)


class LosesWithAnError(MemoryTransport):
    def abort(self) -> None:
        self._lose(ConnectionAbortedError("by this side"))


class ClosesWithoutFlush(MemoryTransport):
    def close(self) -> None:
        self.abort()


class DeliversWhilePaused(MemoryTransport):
    def pause_reading(self) -> None: ...


class DeliversInResume(MemoryTransport):
    def resume_reading(self) -> None:
        super().resume_reading()
        self._read()


class NeedsTwoResumes(MemoryTransport):
    pauses = 0

    def pause_reading(self) -> None:
        self.pauses += 1
        super().pause_reading()

    def resume_reading(self) -> None:
        self.pauses = max(0, self.pauses - 1)
        if not self.pauses:
            super().resume_reading()


class NeverPauses(MemoryTransport):
    def _check_full(self) -> None: ...


class PausesAtHigh(MemoryTransport):
    def _check_full(self) -> None:
        if self._unsent and not self._is_full:
            self._is_full = True
            self._tell(self._protocol.pause_writing)


class PausesAgain(MemoryTransport):
    def _check_full(self) -> None:
        if len(self._unsent) > self._high:
            self._is_full = True
            self._tell(self._protocol.pause_writing)


class ResumesEarly(MemoryTransport):
    def _check_room(self) -> None:
        if self._is_full and len(self._unsent) < self._high:
            self._is_full = False
            self._tell(self._protocol.resume_writing)


class NoBackpressureOfLines(MemoryTransport):
    def writelines(self, list_of_data: Any) -> None:
        self._unsent += b"".join(list_of_data)


class KeepsTheBuffer(MemoryTransport):
    def get_write_buffer_size(self) -> int:
        return len(self._unsent) or 1


class WritesBehindEof(MemoryTransport):
    def write(self, data: Any) -> None:
        if not self._eof_asked:
            super().write(data)


class EofTwice(MemoryTransport):
    def _read(self) -> None:
        was = self.peer_has_ended
        super()._read()
        if self.peer_has_ended and not was:
            self._protocol.eof_received()


class IgnoresTrue(MemoryTransport):
    def _read(self) -> None:
        super()._read()
        if self.peer_has_ended:
            self.close()


class NeverClosesAtTheEnd(MemoryTransport):
    def close(self) -> None:
        if not self.peer_has_ended:
            super().close()


class ResetIsAnEnd(MemoryTransport):
    def _lose(self, error: BaseException | None) -> None:
        super()._lose(None if isinstance(error, ConnectionResetError) else error)


class Reorders(MemoryTransport):
    def _deliver(self, data: bytes) -> None:
        super()._deliver(data[::-1])


class TakesAnyLimits(MemoryTransport):
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or 0, low or 0


class ForgetsFacts(MemoryTransport):
    def _tell_lost(self, error: BaseException | None) -> None:
        super()._tell_lost(error)
        self._extra.clear()


class KeepsTheOldProtocol(MemoryTransport):
    def set_protocol(self, protocol: Any) -> None:
        if not hasattr(self, "_protocol"):
            super().set_protocol(protocol)


class SwallowsFailures(MemoryTransport):
    def _failed(self, error: BaseException) -> None: ...


class OnlyPlain(MemoryTransport):
    def _deliver(self, data: bytes) -> None:
        self._protocol.data_received(data)


class TakesText(MemoryTransport):
    def write(self, data: Any) -> None:
        super().write(data.encode() if isinstance(data, str) else data)


BROKEN: list[tuple[type[MemoryTransport], str]] = [
    (LosesTwice, "data_then_the_end[*]"),
    (LosesAtOnce, "ended_within_a_callback[*]"),
    (LosesAtOnce, "the_end_is_not_told_from_inside_the_order[*]"),
    (LosesWithAnError, "abort_drops_what_is_unsent"),
    (ClosesWithoutFlush, "what_was_written_is_sent_before_the_end[*]"),
    (DeliversWhilePaused, "nothing_comes_while_paused"),
    (DeliversInResume, "nothing_comes_while_paused"),
    (NeedsTwoResumes, "pausing_and_resuming_again_is_nothing"),
    (NeverPauses, "pausing_and_resuming_are_paired[*]"),
    (PausesAtHigh, "a_peer_that_never_reads"),
    (PausesAgain, "pausing_and_resuming_are_paired[*]"),
    (ResumesEarly, "pausing_and_resuming_are_paired[*]"),
    (NoBackpressureOfLines, "writelines_gives_backpressure"),
    (KeepsTheBuffer, "abort_drops_what_is_unsent"),
    (WritesBehindEof, "the_end_of_writing"),
    (EofTwice, "data_then_the_end[*]"),
    (IgnoresTrue, "true_behind_the_end_keeps_the_other_direction"),
    (NeverClosesAtTheEnd, "else_the_end_closes"),
    (ResetIsAnEnd, "a_reset"),
    (Reorders, "data_then_the_end[*]"),
    (TakesAnyLimits, "limits_of_the_write_buffer"),
    (ForgetsFacts, "facts"),
    (KeepsTheOldProtocol, "another_protocol_takes_over"),
    (SwallowsFailures, "a_callback_that_fails"),
    (OnlyPlain, "data_then_the_end[*]"),
    (TakesText, "pieces_arrive_in_order"),
]


def impatient() -> MemoryRig:
    rig = MemoryRig()
    rig.patience = 0.1
    return rig


@pytest.mark.parametrize(("broken", "name"), BROKEN, ids=[f"{broken.__name__}-{name}" for broken, name in BROKEN])
def test_a_broken_transport_fails(broken: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MemoryTransport", broken)
    cases = [case for case in STREAM_CASES if case.name.partition("[")[0] == name.removesuffix("[*]")]
    assert cases
    assert name in failing(cases, impatient)


# --- faults that are known -------------------------------------------------------------------------------------------


class Listed(MemoryRig):
    implementation = "listed"


def listed(monkeypatch: pytest.MonkeyPatch, *cases: str, **settings: Any) -> None:
    monkeypatch.setattr(known_faults, "KNOWN_FAULTS", [KnownFault("listed", cases, "it does otherwise", **settings)])


def test_a_fault_that_is_listed_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, "a_reset")
    (case,) = [case for case in STREAM_CASES if case.name == "a_reset"]
    with pytest.raises(ContractBroken, match=r"listed as a known fault \(it does otherwise\): strike that off"):
        case.run(Listed())
    monkeypatch.setattr(memory_module, "MemoryTransport", ResetIsAnEnd)
    case.run(Listed())


def test_a_fault_may_come_by_chance_or_concern_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [case for case in STREAM_CASES if case.name == "a_reset"]
    listed(monkeypatch, "a_reset", may_pass=True)
    case.run(Listed())
    listed(monkeypatch, "a_reset", versions=(((2, 7, 0), (3, 10, 99)),))
    case.run(Listed())
    monkeypatch.setattr(memory_module, "MemoryTransport", ResetIsAnEnd)
    with pytest.raises(ContractBroken):
        case.run(Listed())


def test_a_fault_may_be_of_a_package_and_of_all_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = KnownFault("x", ("a[*]",), "", versions=(((9, 0), (99, 0)),), package="pytest")
    assert fault.concerns("x", "a[1]")
    assert not fault.concerns("x", "b")
    assert not fault.concerns("y", "a[1]")


def test_each_known_fault_names_cases_that_there_are() -> None:
    names = {case.name for case in STREAM_CASES + DATAGRAM_CASES + SUBPROCESS_CASES}
    assert KNOWN_FAULTS
    for fault in KNOWN_FAULTS:
        assert fault.what
        assert set(fault.cases) <= names


def test_a_rig_that_needs_a_loop_says_so() -> None:
    class Waits(MemoryRig):
        async def turn(self) -> None:
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"await check\(rig\)"):
        STREAM_CASES[0].run(Waits())
