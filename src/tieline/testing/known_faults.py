# SPDX-License-Identifier: MIT
"""Where the transports of others are known to do otherwise than the contract says: one table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

__all__ = ["KNOWN_FAULTS", "KnownFault", "known_fault"]


@dataclass(frozen=True)
class KnownFault:
    """A known violation of the contract in an implementation of others, such as a loop of asyncio.

    The kit expects the listed cases to fail: one that passes is reported as a failure, so that no entry outlives its
    fault.

    Attributes:
        implementation: The `implementation` of the rig that has the fault.
        cases: The names of the cases that fail; ``"name[*]"`` stands for all variants of one.
        what: A description of the fault.
        versions: The first and the last version that have it, of CPython, or of the package that *package* names.
            None = all versions.
        package: The name of a module with a ``__version__``; None = CPython.
        may_pass: Whether the fault is intermittent, so that the cases may also pass.
    """

    implementation: str
    cases: tuple[str, ...]
    what: str
    versions: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] | None = None
    package: str | None = None
    may_pass: bool = False

    def concerns(self, implementation: str, case: str) -> bool:
        """Return whether *case* is known to fail, for the version that runs."""
        names = (case, case.partition("[")[0] + "[*]")
        if self.implementation != implementation or not any(name in self.cases for name in names):
            return False
        if self.versions is None:
            return True
        version = tuple(sys.version_info[:3]) if self.package is None else _version_of(self.package)
        return any(first <= version <= last for first, last in self.versions)


def _version_of(package: str) -> tuple[int, ...]:
    text = str(sys.modules[package].__version__)
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


_UP_TO_3_12: Final = (((3, 11, 0), (3, 12, 99)),)
_FROM_3_12: Final = (((3, 12, 0), (3, 99, 99)),)
# 3.14.8 has mended it; in which release of 3.13 it is mended, if in any, is not known here.
_LOST_TWICE: Final = (((3, 11, 0), (3, 13, 5)), ((3, 14, 0), (3, 14, 7)))
_MAY_BE_LOST_TWICE: Final = (((3, 13, 6), (3, 13, 99)),)

KNOWN_FAULTS: Final[tuple[KnownFault, ...]] = (
    KnownFault(
        "asyncio",
        ("writelines_gives_backpressure",),
        "writelines never tells the protocol to pause writing",
        versions=(((3, 12, 0), (3, 12, 8)), ((3, 13, 0), (3, 13, 1))),
    ),
    KnownFault(
        "asyncio",
        ("what_waits_is_a_copy",),
        "a bytearray that waits to be sent is not copied",
        versions=_FROM_3_12,
    ),
    *(
        KnownFault(
            implementation,
            (f"ended_within_a_callback[resume-{how}]",),
            "ended within resume_writing, it calls connection_lost twice, the second time of None",
            versions=versions,
            # close() does so only where resume_writing comes with nothing left to send: how much the kernel takes says.
            may_pass=may_pass or how == "close",
        )
        for implementation, how in (("asyncio", "close"), ("asyncio", "abort"), ("asyncio below TLS", "abort"))
        for versions, may_pass in ((_LOST_TWICE, False), (_MAY_BE_LOST_TWICE, True))
    ),
    KnownFault("asyncio", ("the_end_is_told_once",), "resume_reading behind the end of the stream tells it again"),
    KnownFault("uvloop", ("the_end_is_told_once",), "resume_reading behind the end of the stream tells it again"),
    KnownFault("uvloop", ("pausing_when_it_is_made",), "pause_reading in connection_made is forgotten behind it"),
    KnownFault("asyncio", ("an_empty_one_goes",), "an empty datagram is not sent", versions=_UP_TO_3_12),
    KnownFault("uvloop", ("an_empty_one_goes",), "an empty datagram is not sent"),
    KnownFault("uvloop", ("closing",), "is_closing() is False behind close(), of a child process"),
    KnownFault("uvloop", ("a_child_that_closes_its_output",), "the end of a pipe is not told while the child runs"),
    KnownFault("uvloop", ("what_waits_is_a_copy",), "a bytearray that waits to be sent is not copied"),
    KnownFault("uvloop", ("abort_drops_what_is_unsent",), "the size of the buffer is not reset by abort"),
    KnownFault("uvloop below TLS", ("abort_drops_what_is_unsent",), "the size of the buffer is not reset by abort"),
    KnownFault(
        "uvloop",
        ("writing_to_a_peer_that_is_gone", "behind_close_nothing_happens"),
        "write raises RuntimeError when the transport is closed",
    ),
)


def known_fault(implementation: str, case: str) -> KnownFault | None:
    """Return the known fault by which *case* fails with *implementation*, as it is installed; None = it passes."""
    for fault in KNOWN_FAULTS:
        if fault.concerns(implementation, case):
            return fault
    return None
