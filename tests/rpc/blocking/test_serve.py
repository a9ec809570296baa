# SPDX-License-Identifier: MIT
"""Serving from blocking code: handlers in a pool, the server in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import tieline
from tests.rpc.blocking.peers import METHODS, Task, for_ever, slow_methods, until
from tieline import ClosedError, ConnectionLost, LocalProtocolError, Methods, RPCError
from tieline.blocking import ClientSession, Server, ServerSession, connect, serve
from tieline.rpc.blocking import engine
from tieline.runtimes.asyncio.threads import LoopThread

URL = "tcp://127.0.0.1:0"


def test_a_slow_handler_keeps_nobody_waiting() -> None:
    methods = Methods()
    began, go_on = threading.Barrier(4), threading.Event()

    @methods.method
    def slow() -> str:
        began.wait(10)
        assert go_on.wait(10)
        return threading.current_thread().name

    methods.method(name="quick")(lambda: "quick")
    with serve(methods, URL) as server, connect(server.url) as one, connect(server.url) as other:
        requests = [one.send_request("slow") for _ in range(2)] + [other.send_request("slow")]
        began.wait(10)
        assert one.call("quick") == other.call("quick") == "quick"
        go_on.set()
        names = {request.result() for request in requests}
        assert len(names) == 3
        assert all("worker" in name for name in names)


def test_more_handlers_than_workers_wait_for_their_turn() -> None:
    methods = Methods()
    running = 0
    most = 0
    lock = threading.Lock()

    @methods.method
    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.001)
        with lock:
            running -= 1

    with serve(methods, URL, workers=2) as server, connect(server.url) as session:
        requests = [session.send_request("work") for _ in range(20)]
        for request in requests:
            request.result()
    assert most == 2
    with pytest.raises(ValueError, match="workers must be 1 or more, not 0"):
        serve(methods, URL, workers=0)
    with pytest.raises(TypeError, match="workers must be an int, not float"):
        serve(methods, URL, workers=1.5)  # type: ignore[call-overload]  # that is the point


def test_the_end_leaves_no_thread_behind_and_the_server_may_serve_again() -> None:
    before = threading.enumerate()
    server = serve(METHODS, URL)
    for _ in range(2):
        with server, connect(server.url) as session:
            assert session.call("add", 1, 2) == 3
            assert "listening" in repr(server)
            with pytest.raises(LocalProtocolError, match="listening already"):
                server.listen()
        assert threading.enumerate() == before
        assert server.get_addresses() == ()
        assert server.sessions == ()
    with pytest.raises(LocalProtocolError, match="not running"):
        server.broadcast("x")
    with pytest.raises(LocalProtocolError, match="not listening"):
        _ = server.url
    server.shutdown()
    server.close()


def test_what_cannot_be_listened_on_is_told_and_leaves_no_thread() -> None:
    before = threading.enumerate()
    with serve(METHODS, URL) as server, pytest.raises(OSError, match="in use"), serve(METHODS, server.url):
        pass
    assert threading.enumerate() == before
    with pytest.raises(ValueError, match="URL"):
        serve(METHODS, "nonsense")
    with pytest.raises(TypeError):
        serve(METHODS, URL, framer=tieline.NewlineFramer())  # type: ignore[call-overload]  # which is refused


def test_handlers_reach_their_session_and_the_server_all_of_them() -> None:
    methods, ours = Methods(), Methods()
    told: list[object] = []
    ours.method(name="told")(told.append)
    ours.method(name="name")(lambda: "me")

    @methods.method
    def about(session: ServerSession) -> list[object]:
        assert session.stats.messages_in >= 1
        assert session.close_reason is None
        assert session.peer_certificate() is None
        assert not session.is_closing()
        session.notify("told", "first")
        return [session.call("name"), session.remote_address(), session.peer_name()]

    with serve(methods, URL) as server, connect(server.url, ours) as session:
        name, address, for_people = session.call("about")
        assert name == "me"
        sock = session.get_extra_info("socket")
        assert tuple(address) == sock.getsockname()
        assert for_people == "{}:{}".format(*address)
        assert told == ["first"]
        (peer,) = server.sessions
        (same,) = server.sessions
        assert peer == same
        assert hash(peer) == hash(same)
        assert "ServerSession" in repr(peer)
        server.broadcast("told", "second")
        assert session.poll(10)
        assert told == ["first", "second"]
        caller = Task(peer.call, "name")
        while session.poll(0.05) or caller.thread.is_alive():
            pass
        assert caller.result() == "me"
        peer.close()
        with pytest.raises(ConnectionLost):
            session.call("about")
        peer.wait_closed()
        assert peer.is_closing()


def test_a_handler_reaches_the_server_of_its_session_which_does_not_keep_it() -> None:
    methods, ours = Methods(), Methods()
    kept: list[ServerSession] = []
    heard: list[str] = []
    ours.method(name="news")(heard.append)

    @methods.method
    def tell_all(session: ServerSession) -> None:
        kept.append(session)
        assert session.server is not None
        assert session.server.sessions == (session,)
        session.server.broadcast("news", "tea")

    server: Any = serve(methods, URL)
    with server, connect(server.url, methods=ours) as session:
        session.call("tell_all")
        while not heard:
            assert session.poll(30)
        assert heard == ["tea"]
        assert kept[0].server is server
    del server
    gc.collect()
    assert kept[0].server is None


def test_a_session_may_be_aborted_from_any_thread() -> None:
    with serve(METHODS, URL) as server, connect(server.url) as session:
        session.call("add", 1, 2)
        (peer,) = server.sessions
        peer.abort()
        peer.wait_closed()
        with pytest.raises(ConnectionLost):
            session.call("add", 1, 2)
        with pytest.raises((ClosedError, ConnectionLost)):
            peer.call("x")


@pytest.mark.row("S5")
def test_whatever_a_handler_raises_its_caller_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    methods = Methods()

    def raises(error: BaseException) -> Any:
        def handler() -> None:
            raise error

        return handler

    kinds = [StopIteration(), asyncio.CancelledError(), GeneratorExit(), ValueError("secret")]
    for number, error in enumerate(kinds):
        methods.method(name=f"raise{number}")(raises(error))
    methods.method(name="refuse")(raises(RPCError(7, "refused")))
    with serve(methods, URL) as server, connect(server.url) as session:
        for number in range(len(kinds)):
            with pytest.raises(RPCError) as caught:
                session.call(f"raise{number}", timeout=10)
            assert caught.value.code == -32603
            assert "secret" not in str(caught.value)
        with pytest.raises(RPCError, match="refused"):
            session.call("refuse")
        with pytest.raises(RPCError) as caught:
            session.call("refuse", 1)
        assert caught.value.code == -32602
    assert "GeneratorExit" in caplog.text


@pytest.mark.row("H58")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["plain", "async"])
@pytest.mark.parametrize("is_served", [True, False], ids=["serve_forever", "with"])
def test_what_ends_the_program_comes_out_of_the_server(
    error: type[BaseException], way: str, *, is_served: bool
) -> None:
    methods = Methods()
    codes: list[int] = []

    def end() -> None:
        raise error

    async def end_async() -> None:
        end()

    methods.method(name="end")(end if way == "plain" else end_async)

    def ask() -> None:
        with connect(server.url) as session, pytest.raises(RPCError) as caught:
            session.call("end", timeout=10)
        codes.append(caught.value.code)

    server = serve(methods, URL)
    server.listen()
    task = Task(ask)
    if is_served:
        with pytest.raises(error):
            server.serve_forever()
        task.result()
        server.shutdown()  # it went on until here, and has told
    else:
        task.result()
        with pytest.raises(error):
            server.shutdown()
    assert codes == [-32603]
    server.listen()
    server.shutdown()


def test_async_handlers_run_in_the_servers_thread_and_later_ones_count() -> None:
    methods = Methods()

    @methods.method
    async def where(session: tieline.ServerSession) -> str:
        assert isinstance(session, tieline.ServerSession)
        return threading.current_thread().name

    with serve(methods, URL) as server, connect(server.url) as session:
        assert session.call("where") == "tieline server"
        methods.method(name="later")(lambda: threading.current_thread().name)
        assert "worker" in session.call("later")
        methods.method(name="later", replace=True)(lambda: "replaced")
        assert session.call("later") == "replaced"


def test_ordered_notifications_run_one_after_the_other() -> None:
    methods = Methods()
    seen: list[str] = []

    @methods.method(ordered=True)
    def step(value: int) -> None:
        seen.append(f"begin {value}")
        threading.Event().wait(0.001)
        seen.append(f"end {value}")

    methods.method(name="end")(lambda: None)
    with serve(methods, URL) as server, connect(server.url) as session:
        for value in range(20):
            session.notify("step", value)
        until(lambda: len(seen) == 40)
    assert seen == [f"{what} {value}" for value in range(20) for what in ("begin", "end")]


def test_a_session_class_lives_in_the_servers_thread() -> None:
    class Session(tieline.ServerSession):
        async def handle_request(self, request: tieline.RPCRequest) -> object:
            return f"saw {request.method}"

    with serve(Session, URL) as server, connect(server.url) as session:
        assert session.call("anything") == "saw anything"
        assert len(server.sessions) == 1


def test_waiting_for_the_server_in_its_own_thread_is_refused() -> None:
    methods = Methods()

    @methods.method
    async def stop() -> str:
        try:
            server.shutdown()
        except LocalProtocolError as exc:
            return str(exc)
        return "stopped"

    with serve(methods, URL) as server, connect(server.url) as session:
        assert "waits for the loop that it is called in" in session.call("stop")


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_shutdown_waits_for_handlers_and_their_answers_go_out() -> None:
    methods, began, go_on = slow_methods()

    with serve(methods, URL) as server, connect(server.url) as session:
        request = session.send_request("slow")
        assert began.wait(10)
        ending = Task(server.shutdown)
        until(lambda: server.get_addresses() == ())
        go_on.set()
        assert request.result() == "late"
        ending.result()
        with pytest.raises(ConnectionLost):
            session.call("slow")


def test_a_shutdown_that_was_interrupted_can_be_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = LoopThread.stop

    def interrupted(_self: LoopThread) -> None:
        monkeypatch.setattr(LoopThread, "stop", stop)
        raise KeyboardInterrupt

    server = serve(Methods(), URL)
    with server:
        thread: Any = server._thread
        monkeypatch.setattr(LoopThread, "stop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.shutdown(0)
        server.shutdown(0)
        assert not thread._thread.is_alive()


def test_two_may_shut_down_at_once() -> None:
    with serve(Methods(), URL) as server:
        shutting_down = [Task(lambda: server.shutdown(5)) for _ in range(2)]
        for each in shutting_down:
            each.result()


@pytest.mark.parametrize("name", ["function", "self", "name"])
def test_a_handler_may_call_with_any_names(name: str) -> None:
    methods, of_client = Methods(), Methods()
    of_client.method(name="echo")(lambda **names: names)

    @methods.method
    def ask(session: ServerSession) -> Any:
        return session.call("echo", **{name: 1})

    with serve(methods, URL) as server, connect(server.url, of_client) as session:
        assert session.call("ask") == {name: 1}


def test_a_shutdown_does_not_wait_longer_than_it_was_told() -> None:
    methods, began, go_on = slow_methods()

    threads = threading.active_count()
    with serve(methods, URL) as server, connect(server.url) as session:
        request = session.send_request("slow")
        assert began.wait(10)
        start = time.monotonic()
        server.shutdown(0.02)
        assert time.monotonic() - start < 5
        with pytest.raises(ConnectionLost):
            request.result()
        go_on.set()
        until(lambda: threading.active_count() == threads)


def test_serve_forever_returns_when_another_thread_closes_or_shuts_down() -> None:
    for end in (Server.close, Server.shutdown):
        server = serve(METHODS, URL)
        serving = Task(server.serve_forever)
        until(server.get_addresses)
        end(server)
        serving.result()
        server.shutdown()


@pytest.mark.parametrize("end", [Server.close, Server.shutdown])
@pytest.mark.parametrize("has_listened", [True, False])
def test_serve_forever_returns_at_once_behind_the_end(end: Callable[[Server], None], has_listened: bool) -> None:
    server = serve(METHODS, URL)
    if has_listened:
        server.listen()
    end(server)
    Task(server.serve_forever).result()
    server.shutdown()
    Task(server.serve_forever).result()
    assert not server.get_addresses()
    with server, connect(server.url) as session:  # it may listen anew
        assert session.call("add", 1, 2) == 3
        serving = Task(server.serve_forever)
        server.close()
        serving.result()
    for wrong in (partial(server.serve_forever, grace=-1), partial(server.shutdown, -1)):
        with pytest.raises(ValueError, match="-1"):
            wrong()


def test_a_handler_sends_batches_and_notifications_from_the_pool() -> None:
    methods, answering = Methods(), Methods()
    heard: list[int] = []
    told: list[object] = []
    answering.method(name="double")(lambda value: 2 * value)
    answering.method(name="news")(heard.append)

    @methods.method
    def ask(session: ServerSession, raise_errors: bool) -> list[object]:
        session.send_notification("news", [1])
        with session.batch(raise_errors) as batch:
            batch.add_request("double", [4], told.append)
            batch.add_notification("news", [2])
            batch.add_request("nobody")
        assert session.limits.max_calls
        assert session.protocol is tieline.JSONRPCv2
        assert session.get_extra_info("peername") == session.remote_address()
        value, error = batch.results
        assert isinstance(error, RPCError)
        return [value, error.code]

    @methods.method
    def fail(session: ServerSession) -> None:
        with session.batch() as batch:
            batch.add_request("double", [4], told.append)
            raise RPCError(5, "changed my mind")

    @methods.method
    def send_nothing(session: ServerSession) -> None:
        block = session.batch()
        with pytest.raises(LocalProtocolError, match="empty"), block:
            pass
        with pytest.raises(LocalProtocolError, match="has been entered before"), block:
            pass
        with pytest.raises(TypeError):
            session.send_notification("news", 5)

    with serve(methods, URL) as server, connect(server.url, answering) as session:
        assert session.call("ask", False) == [8, -32601]
        with pytest.raises(RPCError, match="nobody") as caught:
            session.call("ask", True)
        assert caught.value.code == -32601
        assert heard == [1, 2, 1, 2]
        assert len(told) == 2
        with pytest.raises(RPCError, match="changed my mind"):
            session.call("fail")
        session.call("send_nothing")
        until(lambda: len(told) == 3)  # whoever watches a request of a batch hears that it will not be sent
        assert server.sessions[0].stats.pending == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_batch_to_a_client_that_is_interrupted_forgets_its_calls() -> None:
    answering, began, go_on = slow_methods()

    def interrupt() -> None:
        assert began.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with serve(METHODS, URL) as server, connect(server.url, answering) as session:
        session.call("add", 1, 2)
        (peer,) = server.sessions
        polling, interrupting = Task(session.poll, 10), Task(interrupt)
        with pytest.raises(KeyboardInterrupt), peer.batch() as batch:
            batch.add_request("slow")
        interrupting.result()
        until(lambda: not peer.stats.pending)
        go_on.set()
        polling.result()


def test_a_server_that_was_shut_down_answers_nobody_who_still_asks() -> None:
    with serve(METHODS, URL) as server, connect(server.url) as session:
        session.call("add", 1, 2)
        (peer,) = server.sessions
        waiting = Task(peer.call, "never", timeout=None)
        assert session.poll(10)
        server.shutdown()
        assert isinstance(waiting.error(), ClosedError | ConnectionLost | RPCError)
        with pytest.raises(ClosedError, match="not running"):
            peer.call("never")
        peer.abort()


FOREVER = """
import signal, tieline.blocking
methods = tieline.Methods()
methods.method(name="watches")(lambda: signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
with tieline.blocking.serve(methods, "tcp://127.0.0.1:0") as server:
    print(server.url, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print("done", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "told"), [(signal.SIGTERM, "done\n"), (signal.SIGINT, "interrupted\ndone\n")])
def test_signals_end_a_program_that_serves_for_ever(number: int, told: str) -> None:
    with subprocess.Popen([sys.executable, "-c", FOREVER], stdout=-1, text=True) as process:
        assert process.stdout is not None
        with connect(process.stdout.readline().strip()) as session:
            until(partial(session.call, "watches"))
            process.send_signal(number)
            with pytest.raises(ConnectionLost):
                for_ever(session.call, "watches")
        assert process.communicate(timeout=30)[0] == told
        assert process.returncode == 0


def test_a_program_that_has_a_say_in_sigterm_keeps_it() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, mine)
    try:
        server = serve(METHODS, URL)

        def end() -> None:
            until(server.get_addresses)
            server.close()

        ending = Task(end)
        server.serve_forever()
        ending.result()
        assert signal.getsignal(signal.SIGTERM) is mine
        server.shutdown()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.row("S11")
def test_what_is_too_deep_costs_the_peer_nothing_on_its_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is ours, and each handler of the server passes the error on to one peer."""
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    methods, answering = Methods(), Methods()

    @methods.method
    def up(session: ServerSession) -> object:
        return session.call("down", timeout=None)

    @answering.method
    def down(session: ClientSession) -> object:
        return session.call("up", timeout=None)

    with serve(methods, URL, workers=100) as server, connect(server.url, answering) as session:
        with pytest.raises(RPCError, match="limit 32 handlers inside of one another"):
            session.call("up", timeout=30)
        assert [group.cost for group in server.costs()] == [0]


# --- forgotten -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_error", [False, True])
def test_a_server_that_is_forgotten_says_so_and_ends(is_error: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: told.append(seen.exc_type))
    before = set(threading.enumerate())
    server: Any = serve(METHODS, URL)
    server.listen()
    with connect(server.url) as session, warnings.catch_warnings(record=True) as warned:
        assert session.call("add", 1, 2) == 3
        threads = set(threading.enumerate()) - before
        warnings.simplefilter("error" if is_error else "always")
        del server
        gc.collect()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        with pytest.raises(ConnectionLost):
            session.call("add", 1, 2)
    texts = [str(one.message) for one in warned]
    assert told == ([ResourceWarning] if is_error else [])
    assert is_error or [text for text in texts if "unclosed server <Server tcp://127.0.0.1:" in text]


def test_a_server_that_was_shut_down_or_never_listened_is_not_told_as_forgotten() -> None:
    server: Any = serve(METHODS, URL)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with server, connect(server.url) as session:
            assert session.call("add", 1, 2) == 3
        del server
        never: Any = serve(METHODS, URL)
        del never
        with pytest.raises(ValueError, match="workers"):
            serve(METHODS, URL, workers=0)
        gc.collect()
    assert not [one for one in warned if "server" in str(one.message)]


ENDED_BY_SIGTERM = """
import os, signal, threading, warnings
import tieline
from tieline import blocking, serializers, protocol
warnings.simplefilter("always")

def handler(client): ...

def ended(server):
    threading.Thread(target=terminate).start()
    return server

def terminate():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        os.sched_yield()
    os.kill(os.getpid(), signal.SIGTERM)

lines = protocol.StreamProtocol(serializers.StringLineSerializer())
ended(blocking.serve(tieline.Methods(), "tcp://127.0.0.1:0")).serve_forever()
ended(blocking.serve(handler, "tcp://127.0.0.1:0", protocol=lines)).serve_forever()
blocking.serve(tieline.Methods(), "stdio:").serve_forever()
"""


def test_serving_for_ever_may_be_the_last_word_of_a_program() -> None:
    program = [sys.executable, "-c", ENDED_BY_SIGTERM]
    ended = subprocess.run(program, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stderr, ended.returncode) == ("", 0)
