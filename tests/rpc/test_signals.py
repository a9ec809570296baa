# SPDX-License-Identifier: MIT
"""SIGTERM and Ctrl-C: a server process drains, then ends; and what the signal's handler is before and afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest

from tests import aio
from tests.loops import TrioRuntime, runtimes
from tests.rpc.sessions import TCP_URL, turns, until
from tieline import ConnectionLost, Methods, connect, serve
from tieline.runtimes.detect import current_backend

ROOT = Path(__file__).resolve().parents[2]
LOOPS = [*(str(one) for one in runtimes()), "trio"]
each_runtime = pytest.mark.parametrize("loop", LOOPS)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")


class Child:
    """A server process, and a client with a bare socket for each of its URLs."""

    def __init__(self, loop: str, how: str, *more: str) -> None:
        command = [sys.executable, "-m", "tests.rpc.stopping_server", loop, how, *more]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        urls = self.line().split()
        self.addresses = [("127.0.0.1", int(url.rpartition(":")[2])) for url in urls]
        self.socks = [socket.create_connection(address, timeout=10) for address in self.addresses]
        self.files = [sock.makefile("rb") for sock in self.socks]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files:
            file.close()
        for sock in self.socks:
            sock.close()
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """Return the next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def call(self, method: str, *params: object, number: int = 1, at: int = 0) -> None:
        """Call, and wait until the handler has begun."""
        message = {"jsonrpc": "2.0", "method": method, "params": params, "id": number}
        self.socks[at].sendall(json.dumps(message).encode() + b"\n")
        assert self.line() == "begun"

    def answers(self, at: int = 0) -> list[Any]:
        """Return all that still comes; the connection has ended behind it."""
        try:
            return [json.loads(line) for line in self.files[at]]
        except ConnectionResetError:
            return []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, and wait until no further connection is accepted."""
        self.process.send_signal(number)
        patience = time.monotonic() + 10
        for address in self.addresses:
            while True:
                assert time.monotonic() < patience
                try:
                    socket.create_connection(address, timeout=10).close()
                except ConnectionRefusedError:
                    break
                except ConnectionResetError:  # it waited to be accepted in that very moment
                    continue

    def settle(self) -> None:
        """Wait until its loop waits. (An exception that a signal raises between two callbacks costs asyncio one.)"""
        patience = time.monotonic() + 10
        stat = Path(f"/proc/{self.process.pid}/stat")
        while sys.platform == "linux" and stat.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < patience

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def ended(self, seconds: float = 10) -> tuple[int, list[str], str]:
        """Return the exit code, what else was said, and the errors."""
        out, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, out.decode().split(), errors.decode()


# --- processes -------------------------------------------------------------------------------------------------------


@each_runtime
@pytest.mark.row("S3", "H55")
def test_at_sigterm_running_calls_are_answered_and_the_exit_code_is_0(loop: str) -> None:
    with Child(loop, "plain") as child:
        for number in range(20):
            child.call("wait", number, number=number)
        child.signal(signal.SIGTERM)
        child.release()
        assert sorted(answer["result"] for answer in child.answers()) == list(range(20))
        assert child.ended() == (0, [], "")


@each_runtime
@pytest.mark.row("S3", "H55", "H61")
@pytest.mark.parametrize("method", ["wait", "ignore"])
def test_a_second_sigterm_cuts_at_once(loop: str, method: str) -> None:
    with Child(loop, "context") as child:
        for number in range(3):
            child.call(method, *[number] * (method == "wait"), number=number)
        child.signal(signal.SIGTERM)
        start = time.monotonic()
        child.process.send_signal(signal.SIGTERM)
        assert child.answers() == []
        assert child.ended() == (0, ["cancelled"] * 3, "")
        assert time.monotonic() - start < 5


@each_runtime
@pytest.mark.row("S3", "H55")
def test_handlers_over_the_grace_are_cancelled(loop: str) -> None:
    with Child(loop, "context", "0.1") as child:
        child.call("wait", 1)
        child.signal(signal.SIGTERM)
        assert child.answers() == []
        assert child.ended() == (0, ["cancelled"], "")


@each_runtime
@pytest.mark.row("S3", "H55")
def test_several_servers_of_a_loop_all_drain(loop: str) -> None:
    with Child(loop, "two") as child:
        for at in (0, 1):
            child.call("wait", at, at=at)
        child.signal(signal.SIGTERM)
        child.release()
        assert [child.answers(at)[0]["result"] for at in (0, 1)] == [0, 1]
        assert child.ended() == (0, [], "")


@each_runtime
@pytest.mark.row("S3")
def test_a_handler_of_the_program_s_own_is_respected(loop: str) -> None:
    with Child(loop, "own handler") as child:
        child.call("wait", 1)
        child.process.send_signal(signal.SIGTERM)
        assert child.line() == "own handler"
        child.release()
        assert json.loads(child.files[0].readline())["result"] == 1


@each_runtime
@pytest.mark.row("S3", "H55")
def test_ctrl_c_leaves_the_context_which_drains_and_another_one_ends_it_at_once(loop: str) -> None:
    for twice in (False, True):
        with Child(loop, "context") as child:
            child.call("wait", 1)
            child.signal(signal.SIGINT)
            start = time.monotonic()
            if twice:
                child.settle()
                child.process.send_signal(signal.SIGINT)
            else:
                child.release()
            results = [answer["result"] for answer in child.answers() if "result" in answer]
            assert results == ([] if twice else [1])  # asyncio may cancel the handler first: then an error gets out
            code, said, errors = child.ended()
            assert code in (-signal.SIGINT, 130)
            assert "KeyboardInterrupt" in errors
            assert "never" not in errors
            if twice:
                assert said == ["cancelled"]
                assert time.monotonic() - start < 5


# --- the registration ------------------------------------------------------------------------------------------------


def nothing() -> None: ...


@pytest.mark.row("S3")
async def test_the_handler_is_shared_and_what_was_there_comes_back() -> None:
    told: list[str] = []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    one = current_backend().watch_termination(lambda: told.append("one"))
    other = current_backend().watch_termination(lambda: told.append("other"))
    assert one is not None
    assert other is not None
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: told == ["one", "other"])
    one()
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: told == ["one", "other", "other"])
    other()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.row("S3")
@pytest.mark.parametrize("own", [signal.SIG_IGN, lambda *_: None])
async def test_what_the_program_does_with_the_signal_is_left_alone(own: Any) -> None:
    signal.signal(signal.SIGTERM, own)
    try:
        assert current_backend().watch_termination(nothing) is None
        server = serve(Methods(), TCP_URL)
        serving = aio.create_task(server.serve_forever())
        await until(lambda: server.server is not None)
        await turns()
        assert signal.getsignal(signal.SIGTERM) is own
        server.close()
        await serving
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.row("S3")
async def test_a_handler_that_the_program_sets_meanwhile_stays() -> None:
    unwatch = current_backend().watch_termination(nothing)
    assert unwatch is not None
    own: Any = lambda *_: None  # noqa: E731  # one of several steps
    signal.signal(signal.SIGTERM, own)
    unwatch()
    assert signal.getsignal(signal.SIGTERM) is own
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.row("S3")
@pytest.mark.asyncio_only("it is the loop that cannot")
async def test_where_it_cannot_be_watched_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(aio.running_loop(), "add_signal_handler", refuse)
    assert current_backend().watch_termination(nothing) is None


@pytest.mark.row("S3")
@pytest.mark.parametrize("chosen", [*runtimes(), TrioRuntime()], ids=str)
def test_other_threads_watch_no_signals(chosen: Any) -> None:
    seen: list[object] = []

    async def run() -> None:
        seen.append(current_backend().watch_termination(nothing))
        server = serve(Methods(), TCP_URL)
        serving = aio.create_task(server.serve_forever())
        await until(lambda: server.server is not None)
        await server.shutdown()
        await serving
        seen.append("served")

    thread = threading.Thread(target=lambda: chosen.run(run))
    thread.start()
    thread.join()
    assert seen == [None, "served"]


@pytest.mark.row("S3")
async def test_signals_can_be_left_alone() -> None:
    server = serve(Methods(), TCP_URL)
    serving = aio.create_task(server.serve_forever(handle_signals=False))
    await until(lambda: server.server is not None)
    await turns()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    server.close()
    await serving


@pytest.mark.row("S3", "H55")
async def test_a_signal_in_the_middle_of_another_shutdown_brings_its_grace_and_a_second_one_cuts() -> None:
    methods = Methods()

    @methods.method
    async def hang() -> None:
        await aio.Event().wait()

    for signals, grace in ((1, 0.05), (2, None)):
        server = serve(methods, TCP_URL)
        serving = aio.create_task(server.serve_forever(grace=grace))
        await until(lambda server=server: server.server is not None)  # type: ignore[misc]  # a lambda with a default
        async with connect(server.url) as client:
            call = client.send_request("hang")
            await until(lambda server=server: [one.stats.running for one in server.sessions] == [1])  # type: ignore[misc]  # a lambda with a default
            ending = aio.create_task(server.shutdown(None))
            await turns()
            assert not serving.done()  # it waits for the end
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGTERM)
                await turns(30)
            await ending
            await serving
            with pytest.raises(ConnectionLost):
                await call
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
