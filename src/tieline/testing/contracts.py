# SPDX-License-Identifier: MIT
"""What all kits are made of: cases with names, and what a failure says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tieline.testing.known_faults import known_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

__all__ = ["Case", "ContractBroken", "checked", "drive", "expect", "numbered"]

MOST_WAITS: Final = 100
KNOWN_TO_HANG: Final = 0.5  # seconds that a case gets which is known to fail


class ContractBroken(AssertionError):
    """A case of a test kit failed. The message names the rule of the contract, what was seen and what was expected."""


@dataclass(frozen=True)
class Case:
    """A test case of a kit: one rule of a contract.

    Attributes:
        name: The name of the case, with its variant in brackets.
        rows: The numbers of the rules that it checks.
        promise: What the rule says.
    """

    name: str
    rows: tuple[str, ...]
    promise: str
    body: Callable[[Any], Coroutine[Any, Any, None]]

    def __str__(self) -> str:
        return self.name

    async def check(self, rig: Any) -> None:
        """Check the promise of what *rig* connects; it is given anew to each case.

        Raises:
            ContractBroken: It is not kept; or it is kept, although the fault is listed as known.
        """
        fault = known_fault(getattr(rig, "implementation", ""), self.name)
        if fault is not None:
            rig.patience = min(rig.patience, KNOWN_TO_HANG)
        try:
            await self.body(rig)
        except Exception as exc:
            if fault is not None:
                return
            raise ContractBroken(self._told(rig, f"{type(exc).__name__}: {exc}")) from exc
        if fault is not None and not fault.may_pass:
            raise ContractBroken(
                self._told(rig, f"it is kept, but listed as a known fault ({fault.what}): strike that off the list")
            )

    def run(self, rig: Any) -> None:
        """Check the promise where *rig* moves all by itself and nothing has to be awaited: see `check`.

        Raises:
            RuntimeError: The rig waits for an event loop: await `check` in it.
        """
        drive(self.check(rig))

    def _told(self, rig: Any, seen: str) -> str:
        return f"{self.name} ({', '.join(self.rows)}) on {rig!r}: {seen}\n  the contract: {self.promise}"


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for no event loop.

    Raises:
        RuntimeError: It does.
    """
    try:
        coroutine.send(None)
    except StopIteration:
        return
    error = RuntimeError("this rig waits for an event loop: await check(rig) in it, instead of run(rig)")
    for _ in range(MOST_WAITS):  # what it does at its end may wait as well
        try:
            coroutine.throw(error)
        except BaseException:
            break
    raise error


def expect(condition: object, seen: object, expected: str) -> None:
    """Fail with what was *seen* and what was *expected*, unless *condition* holds."""
    if not condition:
        _fail(f"seen: {seen}; expected: {expected}")


def _fail(text: str) -> NoReturn:
    raise ContractBroken(text)


def checked(
    rows: str, promise: str, **variants: Iterable[object]
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., Coroutine[Any, Any, None]]]:
    """Mark a function as the check of a promise; each of *variants* is an argument with the values that it takes."""

    def mark(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
        function.promise = (tuple(rows.split()), promise, variants)  # type: ignore[attr-defined]  # read by numbered
        return function

    return mark


def numbered(*functions: Callable[..., Coroutine[Any, Any, None]]) -> tuple[Case, ...]:
    """Return the cases of *functions*, one for each combination of their variants."""
    found: list[Case] = []
    for function in functions:
        rows, promise, variants = function.promise  # type: ignore[attr-defined]  # as above
        combinations: list[dict[str, object]] = [{}]
        for name, values in variants.items():
            combinations = [{**one, name: value} for one in combinations for value in values]
        for chosen in combinations:
            shown = f"[{'-'.join(str(value) for value in chosen.values())}]" if chosen else ""
            found.append(Case(function.__name__ + shown, rows, promise, _with(function, chosen)))
    return tuple(found)


def _with(
    function: Callable[..., Coroutine[Any, Any, None]], chosen: dict[str, object]
) -> Callable[[Any], Coroutine[Any, Any, None]]:
    def body(rig: Any) -> Coroutine[Any, Any, None]:
        return function(rig, **chosen)

    return body
