# SPDX-License-Identifier: MIT
"""runtimes/asyncio/accepting.py: when descriptors run out, when many come at once, and when it is closed meanwhile."""

from __future__ import annotations

import errno
import os
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests import aio
from tests.promptness import prompt
from tests.runtimes.sockets import Accepted, Recorder, is_reached, open_sockets, settled, stop
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.runtimes import listening
from tieline.runtimes.asyncio import accepting
from tieline.runtimes.backend import Listener

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what Linux does is what is shown")


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_last_told", float("-inf"))


class Counter(aio.Protocol):
    """Count what is made and lost."""

    made = lost = 0

    @classmethod
    def reset(cls) -> None:
        cls.made = cls.lost = 0

    def connection_made(self, transport: Any) -> None:
        Counter.made += 1

    def connection_lost(self, exc: Exception | None) -> None:
        Counter.lost += 1


def address_of(listener: Listener) -> tuple[str, int]:
    endpoint = listener.endpoints[0]
    assert isinstance(endpoint, TCP)
    return str(endpoint.host), endpoint.port


def connected(listener: Listener) -> socket.socket:
    """Connect at once: the system does that without the server."""
    return socket.create_connection(address_of(listener))


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def until(condition: Callable[[], object]) -> None:
    patience = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < patience, "it never came to that"
        await aio.sleep(0)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let the process have no further descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- out of descriptors ----------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.row("D5", "H52")
async def test_without_descriptors_it_pauses_tells_once_and_serves_again_soon(caplog: pytest.LogCaptureFixture) -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP(("127.0.0.1", "::1"), 0))
    transport, inside = await aio.dial(Recorder, listener.endpoints[0], timeout=10)
    theirs = await accepted.next()
    waiting = [connected(listener) for _ in range(3)]
    with no_descriptors_left():
        start, cpu = time.monotonic(), time.process_time()
        with pytest.raises(TimeoutError):
            await aio.wait_for(accepted.next(), 0.35)
        assert time.process_time() - cpu < 0.2 * (time.monotonic() - start)
        transport.write(b"those inside go on")
        await theirs.received
    start = time.monotonic()
    for _ in waiting:
        await accepted.next()
    assert time.monotonic() - start < prompt(1)
    assert [record.name for record in caplog.records] == ["tieline.Listener"]
    assert "pauses" in caplog.text
    assert "Too many open files" in caplog.text
    for sock in waiting:
        sock.close()
    transport.close()
    await inside.lost
    await stop(listener)


@linux_only
@pytest.mark.row("D5", "H52")
async def test_closed_while_it_pauses_it_does_not_come_back(caplog: pytest.LogCaptureFixture) -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    with connected(listener) as sock:
        with no_descriptors_left():
            await until(lambda: caplog.records)
        await stop(listener)
        sock.settimeout(5)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert accepted.protocols.empty()


# --- errors of accept ------------------------------------------------------------------------------------------------


@pytest.mark.row("D5")
@pytest.mark.parametrize("number", ["ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "EHOSTUNREACH"])
async def test_a_connection_that_failed_before_it_was_accepted_is_passed_over(
    number: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = socket.socket.accept
    failures = 3

    def accept(sock: socket.socket) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(getattr(errno, number), "gone")
        return real(sock)

    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    monkeypatch.setattr(socket.socket, "accept", accept)
    assert await is_reached(listener.endpoints[0], accepted)
    assert not failures
    await stop(listener)
    assert not caplog.records


@linux_only
@pytest.mark.row("D5")
async def test_an_error_that_nobody_foresaw_does_not_make_the_loop_spin(caplog: pytest.LogCaptureFixture) -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    listener.sockets[0].shutdown(socket.SHUT_RDWR)  # now it is readable for ever, and accept says EINVAL
    await until(lambda: caplog.records)
    cpu = time.process_time()
    with pytest.raises(TimeoutError):
        await aio.wait_for(accepted.next(), 0.15)
    assert time.process_time() - cpu < 0.03
    assert "Invalid argument" in caplog.text
    assert len(caplog.records) == 1
    await stop(listener)


# --- protocols that fail ---------------------------------------------------------------------------------------------


class OwnError(BaseException):
    pass


@pytest.mark.parametrize("kind", [LookupError, OwnError, aio.CancelledError])
async def test_a_factory_that_fails_costs_its_connection_and_is_told_to_the_loop(kind: type[BaseException]) -> None:
    accepted = Accepted()
    failures = [kind("once")]

    def factory() -> Recorder:
        if failures:
            raise failures.pop()
        return accepted()

    listener = await aio.listen(factory, TCP("127.0.0.1", 0))
    with aio.reported() as told, connected(listener) as sock:
        await until(lambda: told)
        sock.settimeout(5)
        assert sock.recv(1) == b""
    assert isinstance(told[0], kind)
    assert await is_reached(listener.endpoints[0], accepted)
    await stop(listener)


@pytest.mark.parametrize("kind", [LookupError, OwnError, aio.CancelledError])
@pytest.mark.parametrize("callback", ["connection_made", "data_received", "eof_received"])
async def test_a_protocol_that_fails_costs_its_connection_alone(kind: type[BaseException], callback: str) -> None:
    protocols: list[Recorder] = []

    def fail(*_: object) -> None:
        raise kind("once")

    def factory() -> Recorder:
        protocols.append(Recorder())
        if len(protocols) == 1:
            setattr(protocols[0], callback, fail)
        return protocols[-1]

    listener = await aio.listen(factory, TCP("127.0.0.1", 0))
    with aio.reported() as told, connected(listener) as sock:
        sock.sendall(b"x")
        sock.shutdown(socket.SHUT_WR)
        await until(lambda: protocols)
        await protocols[0].lost
    assert any(isinstance(each, kind) for each in told)
    with connected(listener) as sock:
        await until(lambda: len(protocols) == 2)
        sock.sendall(b"x")
        await protocols[1].received
    await stop(listener)


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_protocol_may_end_its_connection_as_soon_as_it_is_made(how: str) -> None:
    class Unwilling(Counter):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            getattr(transport, how)()

    Counter.reset()
    listener = await aio.listen(Unwilling, TCP("127.0.0.1", 0))
    with connected(listener) as sock:
        await until(lambda: Counter.lost)
        sock.settimeout(5)
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            assert how == "abort"
    await stop(listener)


def test_a_loop_may_say_that_a_transport_was_closed_before_it_was_ready() -> None:
    async def connect_accepted_socket(waits: int) -> None:
        for _ in range(waits):
            await aio.sleep(0)
        raise RuntimeError("closed Transport handle and unset waiter")  # uvloop's words

    for waits in (1, 2):
        coroutine = connect_accepted_socket(waits)
        coroutine.send(None)
        if waits == 1:
            accepting._finish(coroutine, None)
        else:
            with pytest.raises(AssertionError):
                accepting._finish(coroutine, None)
            coroutine.close()


# --- many ------------------------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.row("H51")
async def test_of_a_thousand_that_come_and_go_none_is_refused_and_none_stays() -> None:
    Counter.reset()
    listener = await aio.listen(Counter, TCP("127.0.0.1", 0))
    held = open_sockets()
    for round_number in range(10):
        for number in range(100):
            sock = connected(listener)  # raises when it is refused
            (reset if number % 2 else socket.socket.close)(sock)
        await until(lambda at_least=100 * round_number + 50: Counter.lost >= at_least)  # type: ignore[misc]  # a lambda with a default
    await until(lambda: Counter.lost == 1000)
    assert Counter.made == 1000
    assert await settled(held) == held
    await stop(listener)


async def test_a_burst_is_made_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio.module("accepting"), "MADE_AT_ONCE", 3)
    monkeypatch.setattr(aio.module("accepting"), "MAX_WAITING", 7)
    Counter.reset()
    listener = await aio.listen(Counter, TCP("127.0.0.1", 0))
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connected(listener))
        steps: list[int] = []
        while Counter.made < 40:
            steps.append(Counter.made)
            await aio.sleep(0)
            assert len(steps) < 10_000
        assert max(after - before for before, after in pairwise(steps)) <= 6
    await until(lambda: Counter.lost == 40)
    await stop(listener)


@pytest.mark.asyncio_only("a nursery of trio has its own way to accept")
async def test_more_are_asked_for_when_so_many_have_come_several_times_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.socket.accept
    asked: list[int] = []
    Counter.reset()
    listener = await aio.listen(Counter, TCP("127.0.0.1", 0))

    def accept(sock: socket.socket) -> Any:
        asked.append(Counter.made)
        return real(sock)

    def so_many_are_made(number: int) -> bool:
        return Counter.made == number

    monkeypatch.setattr(socket.socket, "accept", accept)
    rounds = listening.FULL_ROUNDS
    for number in range(1, 2 * rounds + 1):
        connected(listener).close()
        await until(partial(so_many_are_made, number))
    assert len(asked) == 2 * rounds + 1  # once for nothing: behind as many as it takes
    assert asked.count(rounds) == 2
    await stop(listener)


@linux_only
@pytest.mark.row("D5", "S2")
async def test_closed_in_any_turn_of_a_burst_every_connection_is_made_or_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio.module("accepting"), "MADE_AT_ONCE", 2)
    held = open_sockets()
    for turns in range(12):
        Counter.reset()
        listener = await aio.listen(Counter, TCP("127.0.0.1", 0))
        clients = [connected(listener) for _ in range(20)]
        for _ in range(turns):
            await aio.sleep(0)
        await stop(listener)
        for _ in range(4):
            await aio.sleep(0)
        ended = 0
        for sock in clients:
            sock.setblocking(False)
            try:
                ended += sock.recv(1) == b""
            except ConnectionResetError:
                ended += 1
            except BlockingIOError:
                pass
        assert Counter.made + ended == 20, turns
        for sock in clients:
            sock.close()
        await until(lambda: Counter.lost == Counter.made)
        assert await settled(held) == held


async def test_a_protocol_may_close_the_listener_that_is_making_it() -> None:
    listeners: list[Listener] = []

    def factory() -> Counter:
        listeners[0].close()
        return Counter()

    Counter.reset()
    listeners.append(await aio.listen(factory, TCP("127.0.0.1", 0)))
    with connected(listeners[0]), connected(listeners[0]):
        await until(lambda: Counter.made)
        await listeners[0].wait_closed()
    await until(lambda: Counter.lost == Counter.made)


# --- loops without add_reader ----------------------------------------------------------------------------------------


@pytest.fixture
def proactor_like(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give what makes the running loop refuse `add_reader`, as Windows' own loop does."""

    def refuse(*_args: object) -> None:
        raise NotImplementedError

    return lambda: monkeypatch.setattr(aio.running_loop(), "add_reader", refuse)


@linux_only
@pytest.mark.asyncio_only("it is about Windows' proactor loop")
async def test_where_the_loop_watches_no_sockets_a_task_accepts(
    proactor_like: Callable[[], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    proactor_like()
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    for _ in range(3):
        assert await is_reached(listener.endpoints[0], accepted)
    failures: list[OSError] = [OSError(errno.ECONNABORTED, "gone")]
    real = socket.socket.accept

    def accept(sock: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return real(sock)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with connected(listener):
        with no_descriptors_left():
            await until(lambda: caplog.records)
            assert not failures
            assert accepted.protocols.empty()
        theirs = await aio.wait_for(accepted.next(), 1)
    await theirs.lost
    await stop(listener)


@linux_only
async def test_unix_sockets_are_accepted_alike(tmp_path: Any) -> None:
    Counter.reset()
    listener = await aio.listen(Counter, UnixStream(tmp_path / "s"))
    for number in range(50):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(tmp_path / "s"))
        (reset if number % 2 else socket.socket.close)(sock)
    await until(lambda: Counter.lost == 50)
    await stop(listener)
