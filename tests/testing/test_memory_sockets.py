# SPDX-License-Identifier: MIT
"""Sockets in memory for blocking code: what a real pair of Unix sockets does, they do too."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rpc.blocking.peers import Task, until
from tieline.testing import MemorySocket, memory_sockets

Pair = tuple[Any, Any]


@contextlib.contextmanager
def real_or_not(kind: str) -> Iterator[Pair]:
    ours, theirs = memory_sockets() if kind == "memory" else socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def outcome(fn: Callable[..., Any], *args: Any) -> object:
    """Return what *fn* returns, or the class and number of what it raises."""
    try:
        return fn(*args)
    except OSError as exc:
        return type(exc), exc.errno


def both_directions(ours: Any, theirs: Any) -> list[object]:
    return [
        ours.send(b"one"),
        ours.sendall(memoryview(b"two")),
        theirs.recv(4),
        theirs.recv(100, socket.MSG_PEEK),
        theirs.recv(100),
        theirs.send(bytearray(b"three")),
        ours.recv_into(buffer := bytearray(3)),
        bytes(buffer),
        ours.recv(100),
        ours.send(b""),
    ]


def nothing_there(ours: Any, theirs: Any) -> list[object]:
    found = [outcome(ours.recv, 1, socket.MSG_DONTWAIT)]
    ours.settimeout(0.01)
    found += [outcome(ours.recv, 1), ours.gettimeout(), ours.getblocking()]
    ours.setblocking(False)
    found += [outcome(ours.recv, 1), ours.gettimeout(), ours.getblocking()]
    ours.setblocking(True)
    return [*found, ours.gettimeout(), ours.getblocking(), outcome(ours.settimeout, 5.0), ours.gettimeout()]


def no_room(ours: Any, theirs: Any) -> list[object]:
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 65536, socket.MSG_DONTWAIT)
    ours.settimeout(0.01)
    found = [outcome(ours.send, b"x")]
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            theirs.recv(65536)
    return [*found, ours.send(b"x"), theirs.recv(100)]


def half_closed(ours: Any, theirs: Any) -> list[object]:
    ours.send(b"last")
    ours.shutdown(socket.SHUT_WR)
    found = [theirs.recv(100), theirs.recv(100), outcome(ours.send, b"x"), theirs.send(b"answer"), ours.recv(100)]
    return [*found, outcome(ours.shutdown, socket.SHUT_WR)]


def shut_for_reading(ours: Any, theirs: Any) -> list[object]:
    ours.shutdown(socket.SHUT_RD)
    return [ours.recv(1), outcome(theirs.send, b"x"), ours.send(b"y"), theirs.recv(1)]


def shut_both_ways(ours: Any, theirs: Any) -> list[object]:
    theirs.send(b"before")
    ours.shutdown(socket.SHUT_RDWR)
    return [theirs.recv(1), outcome(theirs.send, b"x"), outcome(ours.send, b"x"), ours.recv(6), ours.recv(1)]


def closed(ours: Any, theirs: Any) -> list[object]:
    ours.send(b"last")
    ours.close()
    found = [theirs.recv(100), theirs.recv(100), outcome(theirs.send, b"x")]
    found += [outcome(ours.recv, 1), outcome(ours.send, b"x"), outcome(ours.shutdown, socket.SHUT_WR)]
    return [*found, ours.close(), ours.fileno()]


def closed_with_something_unread(ours: Any, theirs: Any) -> list[object]:
    theirs.send(b"unread")
    ours.send(b"last")
    ours.close()
    return [theirs.recv(100), outcome(theirs.recv, 1), theirs.recv(1)]


def a_file_on_it(ours: Any, theirs: Any) -> list[object]:
    with ours.makefile("rwb") as file:
        theirs.send(b"line\nrest")
        found = [file.readline(), file.write(b"answer"), file.flush(), theirs.recv(100)]
        theirs.close()
        return [*found, file.read()]


def closed_below_a_file(ours: Any, theirs: Any) -> list[object]:
    file, other = ours.makefile("rwb"), ours.makefile("rb")
    theirs.send(b"line\nrest")
    ours.close()
    found = [file.readline(), file.write(b"answer"), file.flush(), theirs.recv(100), outcome(ours.close)]
    found += [file.close(), theirs.send(b"more"), other.read(4), other.close(), theirs.recv(1)]
    return [*found, outcome(theirs.send, b"x"), outcome(ours.recv, 1)]


SCENES = [
    both_directions,
    nothing_there,
    no_room,
    half_closed,
    shut_for_reading,
    shut_both_ways,
    closed,
    closed_with_something_unread,
    a_file_on_it,
    closed_below_a_file,
]


@pytest.mark.skipif(not hasattr(socket, "MSG_DONTWAIT"), reason="the real ones are asked so")
@pytest.mark.parametrize("scene", SCENES)
def test_a_real_pair_does_the_same(scene: Callable[[Any, Any], list[object]]) -> None:
    with real_or_not("memory") as pair:
        seen = scene(*pair)
    with real_or_not("real") as pair:
        assert seen == scene(*pair)


def test_what_it_is() -> None:
    ours, theirs = memory_sockets()
    with ours, theirs:
        assert [ours.getsockname(), ours.getpeername()] == [("memory", 1), ("memory", 2)]
        assert theirs.getsockname() == ours.getpeername()
        assert isinstance(ours, socket.socket)
        assert (ours.type, ours.family, ours.fileno()) == (socket.SOCK_STREAM, socket.AF_INET, -1)
        assert repr(ours) == "<MemorySocket 1>"
        with pytest.raises(OSError, match="Bad file descriptor"):
            ours.detach()
        with selectors.DefaultSelector() as selector, pytest.raises(ValueError, match="file descriptor"):
            selector.register(ours, selectors.EVENT_READ)
        with pytest.raises(ValueError, match="out of range"):
            ours.settimeout(-1)
    assert repr(ours) == "<MemorySocket 1 closed>"
    with pytest.raises(ValueError, match="the capacity must be 1 byte at least, not 0"):
        memory_sockets(capacity=0)


def test_a_reset_is_told_once_behind_what_was_sent() -> None:
    ours, theirs = memory_sockets()
    ours.send(b"last")
    ours.reset()
    assert theirs.recv(100) == b"last"
    assert outcome(theirs.send, b"x") == (ConnectionResetError, errno.ECONNRESET)
    assert outcome(theirs.recv, 1) == (ConnectionResetError, errno.ECONNRESET)
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_send_takes_what_there_is_room_for() -> None:
    ours, theirs = memory_sockets(capacity=3)
    with ours, theirs:
        assert ours.send(b"12345") == 3
        ours.setblocking(False)
        assert outcome(ours.send, b"4") == (BlockingIOError, errno.EAGAIN)
        assert theirs.recv(1) == b"1"
        assert ours.send(b"45") == 1
        assert theirs.recv(10) == b"234"


@pytest.mark.parametrize("way", ["close", "shutdown", "reset", "peer"])
def test_threads_in_a_call_are_woken(way: str) -> None:
    ours, theirs = memory_sockets(capacity=1)
    with ours, theirs:
        ours.send(b"x")
        tasks = [Task(outcome, ours.recv, 1), Task(outcome, ours.send, b"x")]
        until(lambda: len(waiters_of(ours)) == 2)
        if way == "shutdown":
            ours.shutdown(socket.SHUT_RDWR)
        elif way == "peer":
            theirs.close()
        else:
            getattr(ours, way)()
        closed, broken = (OSError, errno.EBADF), (BrokenPipeError, errno.EPIPE)
        reset = (ConnectionResetError, errno.ECONNRESET)
        expected = {"close": [closed] * 2, "reset": [closed] * 2, "shutdown": [b"", broken]}
        seen = [task.result() for task in tasks]
        if way == "peer":  # it had not read: a reset, told to the first that asks
            assert seen in ([reset, reset], [reset, broken])
        else:
            assert seen == expected[way]


def waiters_of(sock: MemorySocket) -> Any:
    return sock._changed._waiters  # type: ignore[attr-defined]  # as the condition itself counts them


def test_many_threads_may_send_and_receive_at_once_and_no_byte_is_lost() -> None:
    ours, theirs = memory_sockets(capacity=100)
    threads, each = 4, 5000
    got: list[int] = []
    with ours, theirs:

        def send(number: int) -> None:
            for _ in range(each // 50):
                ours.sendall(bytes([number]) * 50)

        def receive() -> None:
            while data := theirs.recv(77):
                got.extend(data)  # one step, under the interpreter's lock

        readers = [Task(receive) for _ in range(threads)]
        writers = [Task(send, number) for number in range(threads)]
        for task in writers:
            task.result()
        ours.shutdown(socket.SHUT_WR)
        for task in readers:
            task.result()
    assert [got.count(number) for number in range(threads)] == [each] * threads


def test_what_a_transport_waits_by() -> None:
    ours, theirs = memory_sockets(capacity=1)
    with ours, theirs:
        readiness = ours.new_readiness()
        assert readiness.wait(reading=True, writing=False, seconds=0) == (False, False)
        assert readiness.wait(reading=True, writing=True, seconds=0) == (False, True)
        ours.send(b"x")
        assert readiness.wait(reading=True, writing=True, seconds=0.01) == (False, False)
        readiness.wake()
        assert readiness.wait(reading=False, writing=False, seconds=threading.TIMEOUT_MAX) == (False, False)
        assert readiness.wait(reading=False, writing=False, seconds=0.01) == (False, False)
        task = Task(readiness.wait, reading=True, writing=False, seconds=float("inf"))
        until(lambda: waiters_of(ours))
        theirs.send(b"y")
        assert task.result() == (True, False)
        readiness.close()


def test_a_wait_may_be_longer_than_conditions_take() -> None:
    seconds = threading.TIMEOUT_MAX + 1
    ours, theirs = memory_sockets()
    with ours, theirs:
        ours.settimeout(seconds)
        task = Task(ours.recv, 1)
        until(lambda: waiters_of(ours) or not task.thread.is_alive())
        theirs.send(b"x")
        assert task.result() == b"x"
        task = Task(ours.new_readiness().wait, reading=True, writing=False, seconds=seconds)
        until(lambda: waiters_of(ours) or not task.thread.is_alive())
        theirs.send(b"y")
        assert task.result() == (True, False)
