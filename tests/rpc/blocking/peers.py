# SPDX-License-Identifier: MIT
"""Peers for blocking sessions: a server in a thread, a bare socket, and threads that tell how they ended."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tieline import Methods
from tieline.blocking import ClientSession, ServerSession, connect, serve

METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


@METHODS.method
def echo(value: object) -> object:
    return value


@METHODS.method
def fail() -> None:
    raise ValueError("the text stays here")


@METHODS.method
def ask_back(session: ServerSession, method: str, args: list[object]) -> object:
    """Call the client while it waits for this."""
    return session.call(method, *args)


def slow_methods() -> tuple[Methods, threading.Event, threading.Event]:
    """Return methods whose "slow" tells by the first event that it has begun, and answers "late" after the second."""
    methods = Methods()
    began, go_on = threading.Event(), threading.Event()

    @methods.method
    def slow() -> str:
        began.set()
        assert go_on.wait(60)
        return "late"

    return methods, began, go_on


@contextmanager
def pair(methods: Methods | None = None, *, url: str = "tcp://127.0.0.1:0", **settings: Any) -> Iterator[ClientSession]:
    """Give a session with a server of its own, which knows METHODS; *settings* and *methods* go to the client."""
    with serve(METHODS, url) as server, connect(server.url, methods, **settings) as session:
        yield session


class RawServer:
    """The other end of one connection, as a bare socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(10)
        self._file = sock.makefile("rb")

    def send(self, *messages: object) -> None:
        """Send messages, each on a line: bytes as they are, all else as JSON."""
        for message in messages:
            self.sock.sendall((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")

    def answer(self, result: object) -> Any:
        """Read a request, answer it with *result*, and return it."""
        request = self.line()
        self.send({"jsonrpc": "2.0", "id": request["id"], "result": result})
        return request

    def line(self) -> Any:
        """Return the next line as an object; None at the end of the stream."""
        line = self._file.readline()
        return json.loads(line) if line else None

    def ended(self) -> bool:
        """Return whether the stream ends behind what has been read, be it by a reset."""
        try:
            return self._file.read() == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        """Cut the connection by a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()


@contextmanager
def raw_pair(methods: Methods | None = None, **settings: Any) -> Iterator[tuple[ClientSession, RawServer]]:
    """Give a session, and the bare socket that it is connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        session = connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}", methods, **settings)
        session.create_connection()
        accepted, _ = listener.accept()
    server = RawServer(accepted)
    try:
        yield session, server
    finally:
        session.abort()
        server.close()


class Task:
    """A function that runs in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._result = function(*args, **kwargs)
            except BaseException as exc:
                self._error = exc

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def result(self) -> Any:
        """Wait for the thread, and return what the function returned, or raise it."""
        self.thread.join(30)
        assert not self.thread.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._result

    def error(self) -> BaseException | None:
        """Wait for the thread, and return what the function raised."""
        self.thread.join(30)
        assert not self.thread.is_alive(), "the thread hangs"
        return self._error


def until(condition: Callable[[], object]) -> None:
    """Wait until another thread has come so far."""
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience, "it never came to that"
        time.sleep(0)


def for_ever(function: Callable[..., object], *args: object) -> None:
    """Call *function* until it raises."""
    while True:
        function(*args)


def followers(session: ClientSession, count: int) -> bool:
    """Return whether so many threads are parked."""
    assert session._engine is not None
    return len(session._engine.host._followers) == count


def is_led(session: ClientSession) -> bool:
    """Return whether a thread reads."""
    assert session._engine is not None
    return session._engine.host._is_led


def entries(session: ClientSession) -> dict[str, int]:
    """Count what a session holds for calls, requests and waits; all of it is to come back to zero."""
    engine = session._engine
    assert engine is not None
    host, calls = engine.host, engine.machine.calls
    return {
        "open calls": len(calls.open),
        "explicit deadlines": len(calls._explicit or ()),
        "requests": engine.machine.unanswered,
        "handlers": len(engine.handling.running or ()),
        "senders waiting": engine.machine.flow.senders_waiting,
        "followers": len(host._followers),
        "leaders": int(host._is_led),
        "runners": host._runner,
        "jobs": len(host.jobs),
        "activity": len(host.activity),
        "emptied": len(host.emptied),
    }


def no_entries(session: ClientSession) -> bool:
    return not any(entries(session).values())
