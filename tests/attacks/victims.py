# SPDX-License-Identifier: MIT
"""What the attacked server offers: plain methods, and handlers that do what handlers should not."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import trio

import tieline
from tests import aio
from tieline import SessionBase

methods = tieline.Methods()
_running: set[Any] = set()  # a loop holds its tasks weakly


# --- plain ones ------------------------------------------------------------------------------------------------------


@methods.method
def add(a: int, b: int) -> int:
    return a + b


@methods.method
async def add_later(a: int, b: int) -> int:
    await aio.sleep(0)
    return a + b


@methods.method
def echo(value: Any = None) -> Any:
    return value


@methods.method
def size_of(value: Any) -> int:
    return len(value)


@methods.method
async def sleep(seconds: float) -> str:
    await aio.sleep(seconds)
    return "slept"


@methods.method
def text_of(size: int) -> str:
    return "x" * min(size, 1 << 20)  # the fuzzer makes up sizes


marks: list[Any] = []


@methods.method
def mark(value: Any) -> None:
    marks.append(value)


@methods.method
def marked() -> list[Any]:
    """Return what was marked since the last look."""
    seen = marks.copy()
    marks.clear()
    return seen


ticked: dict[str, int] = {}


@methods.method
def tick(name: str) -> None:
    ticked[name] = ticked.get(name, 0) + 1


@methods.method
def ticks(name: str) -> int:
    """Return how often `tick` was called with that name."""
    return ticked.get(name, 0)


# --- gates: handlers that wait until told to go on -------------------------------------------------------------------

gates: dict[str, aio.Event] = {}
entered: dict[str, int] = {}
left: dict[str, int] = {}


@methods.method
async def wait_at(gate: str) -> str:
    entered[gate] = entered.get(gate, 0) + 1
    try:
        await gates.setdefault(gate, aio.Event()).wait()
    finally:
        left[gate] = left.get(gate, 0) + 1
    return gate


@methods.method
def open_gate(gate: str) -> None:
    """Let all pass who wait there or come later."""
    gates.setdefault(gate, aio.Event()).set()


@methods.method
def has_left(gate: str) -> int:
    """Return how many have left the gate, passing or cancelled."""
    return left.get(gate, 0)


@methods.method
def has_entered(gate: str) -> int:
    """Return how many have come to the gate."""
    return entered.get(gate, 0)


# --- both ways -------------------------------------------------------------------------------------------------------


@methods.method
async def call_back(session: SessionBase, method: str, value: Any, timeout: float | None = 30.0) -> Any:
    try:
        return await session.call(method, value, timeout=timeout)
    except (tieline.RemoteProtocolError, TimeoutError, tieline.OutgoingMessageTooLarge) as exc:
        return type(exc).__name__


@methods.method
async def notify_back(session: SessionBase, count: int) -> int:
    for number in range(min(count, 10_000)):
        await session.notify("tick", number)
    return count


@methods.method
async def notify_later(session: SessionBase, count: int) -> int:
    await aio.sleep(0.02)
    return await notify_back(session, count)


@methods.method
async def pour(session: SessionBase, size: int) -> str:
    """Notify the caller for ever, with texts of that size; mark how that ended."""
    try:
        while True:
            await session.notify("drop", "x" * min(size, 1 << 20))
    except (tieline.ConnectionLost, tieline.ClosedError) as exc:
        marks.append(type(exc).__name__)
        return "poured"


@methods.method
async def mark_the_end(session: SessionBase) -> None:
    """Call the caller, and mark why no answer came."""

    async def wait() -> None:
        try:
            await session.call("never answered")
        except tieline.ConnectionLost as exc:
            marks.append(type(exc.__cause__ or exc).__name__)

    task = aio.create_task(wait())  # a handler would be cancelled
    _running.add(task)
    task.add_done_callback(_running.discard)


@methods.method
async def hold(gate: str, value: Any) -> int:
    """Keep a value until the gate opens."""
    await wait_at(gate)
    return len(value)


# --- bad outcomes ----------------------------------------------------------------------------------------------------


class OwnBase(BaseException):
    pass


def _overflow() -> int:
    return _overflow() + 1


RAISED: dict[str, BaseException] = {
    "ValueError": ValueError("secret text"),
    "StopIteration": StopIteration("secret text"),
    "StopAsyncIteration": StopAsyncIteration("secret text"),
    "TimeoutError": TimeoutError("secret text"),
    "MemoryError": MemoryError("secret text"),
    "RecursionError": RecursionError("secret text"),
    "ExceptionGroup": ExceptionGroup("secret text", [ValueError("secret text")]),
    "CancelledError": aio.CancelledError("secret text"),
    "GeneratorExit": GeneratorExit("secret text"),
    "OwnBase": OwnBase("secret text"),
    "KeyboardInterrupt": KeyboardInterrupt("secret text"),
    "SystemExit": SystemExit(3),
    "ConnectionLost": tieline.ConnectionLost("secret text"),
    "ClosedError": tieline.ClosedError("secret text"),
}


@methods.method
def raises(name: str) -> None:
    if name == "RecursionError":
        _overflow()
    raise RAISED[name]


@methods.method
async def raises_async(name: str) -> None:
    raises(name)


@methods.method
async def raises_late(name: str) -> None:
    await aio.sleep(0.001)
    raises(name)


def _deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


RETURNED: dict[str, Any] = {
    "object": object(),
    "circular": _circular(),
    "10^5000": 10**5000,
    "bytes": b"bytes",
    "set": {1, 2},
    "mixed keys": {1: 1, "1": 2},
    "nan": float("nan"),
    "surrogate": "\ud800",
    "exception": ValueError("secret text"),
    "class": int,
}


@methods.method
def returns(name: str) -> Any:
    return _deep(100_000) if name == "deep" else RETURNED[name]


@methods.method
async def returns_async(name: str) -> Any:
    return returns(name)


@methods.method
def returns_coroutine() -> Any:
    return aio.sleep(0)


@methods.method
def error(shape: str) -> None:
    code: Any = {"bad code": "x", "bool code": True}.get(shape, 7)
    message: Any = 5 if shape == "bad message" else "\ud800" if shape == "surrogate message" else "told"
    raise tieline.RPCError(code, message, data=object() if shape == "bad data" else None)


@methods.method
async def cancels_itself() -> None:
    if aio.on_trio():
        raise aio.CancelledError  # a task of trio cannot cancel itself as a whole
    aio.current_task().cancel()
    await aio.sleep(10)


@methods.method
async def ignores_cancelling(seconds: float) -> str:
    until = aio.now() + seconds
    while (left := until - aio.now()) > 0:
        with trio.CancelScope(shield=True) if aio.on_trio() else contextlib.suppress(aio.CancelledError):
            await aio.sleep(left)
    return "stubborn"


# --- ends ------------------------------------------------------------------------------------------------------------


@methods.method
async def close_own(session: SessionBase) -> str:
    await session.aclose()
    return "given up"


@methods.method
def disconnect(session: SessionBase, value: Any) -> None:
    raise tieline.ReplyAndDisconnect(value)


@methods.method
def abort_own(session: SessionBase) -> str:
    session.abort()
    return "too late"


@methods.method
async def close_by_ten(session: SessionBase) -> float:
    """Close the caller's session from ten tasks at once, a stubborn handler running; mark how long that took."""

    async def close_all() -> None:
        start = aio.now()
        await aio.gather(*(session.aclose(force_after=0.2) for _ in range(10)))
        await session.aclose(force_after=0.1)
        marks.append(aio.now() - start)

    task = aio.create_task(close_all())
    _running.add(task)
    task.add_done_callback(_running.discard)
    return 0.2


# --- flat out --------------------------------------------------------------------------------------------------------


@dataclass
class Pace:
    """How the calls of one side went.

    Attributes:
        done: How many were answered with a result.
        longest: The longest time in which none was.
        tenths: How many were, by tenths of a second.
        errors: How many failed, by error.
    """

    done: int = 0
    longest: float = 0.0
    tenths: list[int] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)


@methods.method
async def pound(session: SessionBase, method: str, size: int, workers: int, seconds: float) -> Pace:
    """Call *method* of the session's peer from so many tasks for so many seconds, with a text of that size.

    Methods that want a number get *size* itself.
    """
    argument: object = size if method == "bounce" else "x" * size
    pace = Pace(tenths=[0] * (int(seconds * 10) + 1))
    start = last = aio.now()

    async def work() -> None:
        nonlocal last
        while aio.now() - start < seconds:
            try:
                await session.call(method, argument)
            except Exception as exc:
                code = f" {exc.code}" if isinstance(exc, tieline.RPCError) else ""
                text = f"{type(exc).__name__}{code}: {exc}"
                pace.errors[text] = pace.errors.get(text, 0) + 1
                await aio.sleep(0)
                continue
            now = aio.now()
            pace.done += 1
            pace.longest = max(pace.longest, now - last)
            if now - start < seconds:
                pace.tenths[int((now - start) * 10)] += 1
            last = now

    await aio.gather(*(work() for _ in range(workers)))
    pace.longest = max(pace.longest, aio.now() - last)
    return pace


@methods.method
async def bounce(session: SessionBase, times: int) -> int:
    """Call the peer's `bounce`, which calls this one, and so on; return how often that went on."""
    return 0 if not times else 1 + await session.call("bounce", times - 1)
