# SPDX-License-Identifier: MIT
"""Which address is tried when, and what it means when all of them failed.

These are the rules of dialling that every runtime shares: RFC 8305 without its I/O. This file knows neither sockets
nor resolvers; address families are just numbers to it.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from tieline.wire.anew import with_text

__all__ = [
    "Address",
    "Attempts",
    "Late",
    "attempt_error",
    "combined_error",
    "interleaved",
    "named",
    "queue_full_pauses",
]


class Address:
    """One resolved address of a stream endpoint. (Not a named tuple: to make that class takes 0.15 ms.)

    Attributes:
        family: The address family, as the socket module numbers it.
        proto: The protocol number; 0 is the family's usual one.
        sockaddr: Host and port; on IPv6 also flow information and scope id.
    """

    __slots__ = ("family", "proto", "sockaddr")

    def __init__(self, family: int, proto: int, sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> None:
        self.family = family
        self.proto = proto
        self.sockaddr = sockaddr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[object, ...]:
        return self.family, self.proto, self.sockaddr

    def __repr__(self) -> str:
        return f"Address{self._facts}"

    def __str__(self) -> str:
        host, port, *rest = self.sockaddr
        if not rest:
            return f"{host}:{port}"
        zone = f"%{rest[1]}" if rest[1] and "%" not in host else ""
        return f"[{host}{zone}]:{port}"


def interleaved(infos: Iterable[Address], count: int) -> list[Address]:
    """Return *infos* with the families taking turns, the resolver's order kept within each family.

    The first *count* addresses are of the family that came first (RFC 8305, section 4, "First Address Family Count");
    0 leaves the order alone.
    """
    found = list(infos)
    if count == 0 or len(found) < 2:
        return found
    families: dict[int, deque[Address]] = {}
    for info in found:
        families.setdefault(info.family, deque()).append(info)
    ordered: list[Address] = []
    first = next(iter(families.values()))
    ordered.extend(first.popleft() for _ in range(min(count - 1, len(first) - 1)))
    while families:
        for family, queue in list(families.items()):
            ordered.append(queue.popleft())
            if not queue:
                del families[family]
    return ordered


class Late(Exception):
    """The time for dialling is over."""


class Attempts:
    """Decide when each address is tried (RFC 8305, section 5).

    The first is due at once, each further one *delay* seconds after the one before it, or at once when an attempt
    failed: to wait on would help nobody. A *delay* of None tries them one after the other.

    Attributes:
        deadline: When `due` has the next address; None while only a failure can make one due, or none is left.
    """

    __slots__ = ("_delay", "_waiting", "deadline")

    def __init__(self, addresses: Iterable[Address], *, delay: float | None, now: float) -> None:
        self._waiting = deque(addresses)
        self._delay = delay
        self.deadline = now if self._waiting else None

    def due(self, now: float) -> Address | None:
        """Return the address to try now, once; None when none is due."""
        if self.deadline is None or now < self.deadline:
            return None
        address = self._waiting.popleft()
        self.deadline = now + self._delay if self._waiting and self._delay is not None else None
        return address

    def failed(self, now: float) -> None:
        """Take note that an attempt failed: the next address, if there is one, is due at once."""
        if self._waiting:
            self.deadline = now


def attempt_error(error: OSError, address: object) -> OSError:
    """Return what *error* means for one attempt: the builtin class of its errno, with the address in its text."""
    if error.errno is None:
        return OSError(f"{error} ({address})")
    # The builtin constructor picks the class by errno: ECONNREFUSED gives ConnectionRefusedError.
    return OSError(error.errno, f"{os.strerror(error.errno)} ({address})")


def named(error: OSError, what: str) -> OSError:
    """Return an error of the same class with the same facts, and with *what* before its text; *error* is its cause."""
    copy = with_text(error, f"{what}: {_reason(error)}")
    copy.__cause__ = error
    return copy


def combined_error(errors: Sequence[OSError], what: str) -> OSError:
    """Return the one error that all failed attempts amount to; its text is *what* and then theirs.

    It is of the errors' own builtin class where they agree: ConnectionRefusedError says that every address refused.
    Where they do not, it is a plain OSError. The attempts' errors hang on it as ``__cause__``: the error itself when
    there was one attempt, else an ExceptionGroup of all.
    """
    if not errors:
        return OSError(errno.EADDRNOTAVAIL, f"{what}: there is no address to try")
    text = f"{what}: " + "; ".join(_reason(error) for error in errors)
    numbers = {error.errno for error in errors}
    classes = {type(error) for error in errors}
    number = errors[0].errno
    if number is None or (len(numbers) > 1 and (len(classes) > 1 or OSError in classes)):
        combined = OSError(text)
    else:
        # Either one errno, or errnos of one class, such as EPERM and EACCES.
        combined = OSError(number, text)
    combined.__cause__ = errors[0] if len(errors) == 1 else ExceptionGroup(what, list(errors))
    return combined


def _reason(error: OSError) -> str:
    """Return the text of *error* without the bracketed errno that `str` puts before it."""
    return str(error.strerror or error)


def queue_full_pauses() -> Iterator[float]:
    """Yield, without end, how many seconds to wait between two tries of something that is busy for moments only.

    Made for the accept queue of a Unix listener, which answers EAGAIN when it is full: connecting has no wait of its
    own there, so asking again is the only way.
    """
    pause = 0.001
    while True:
        yield pause
        pause = min(pause * 2, 0.05)
