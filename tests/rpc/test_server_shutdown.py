# SPDX-License-Identifier: MIT
"""Shutting down from several places at once, from handlers, and behind handlers that do not want to end."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import TCP_URL, raw_client, turns, until
from tieline import TLS, ClosedError, ConnectionLost, Limits, Methods, RPCError, Server, ServerSession, connect, serve

METHODS = Methods()
LINGERING = Limits(max_connections=0, linger=30)


@METHODS.method
async def hang() -> None:
    await aio.Event().wait()


@METHODS.method
async def stop(session: ServerSession, deadline: float | None) -> None:
    assert session.server is not None
    await session.server.shutdown(deadline)


def running(server: Server) -> int:
    return sum(session.stats.running for session in server.sessions)


@pytest.mark.row("S2", "H55", "H61")
async def test_of_several_deadlines_the_earliest_holds_whoever_names_it() -> None:
    for first, second in ((30.0, 0.02), (0.02, 30.0), (None, 0.0), (0.0, None)):
        async with serve(METHODS, TCP_URL) as server, connect(server.url) as client:
            call = client.send_request("hang")
            await until(lambda server=server: running(server) == 1)  # type: ignore[misc]  # a lambda with a default
            async with aio.timeout(5):
                await aio.gather(server.shutdown(first), server.shutdown(second))
            with pytest.raises(ConnectionLost):
                await call
            assert not server.sessions
            assert server._ending._timer is None


@pytest.mark.row("S2", "H61")
async def test_of_several_shutdowns_one_that_is_cancelled_cuts_for_all() -> None:
    async with serve(METHODS, TCP_URL) as server, connect(server.url) as client:
        call = client.send_request("hang")
        await until(lambda: running(server) == 1)
        endings = [aio.create_task(server.shutdown(None)) for _ in range(3)]
        await turns()
        endings[1].cancel()
        async with aio.timeout(5):
            done = await aio.gather(*endings, return_exceptions=True)
        assert [type(one) for one in done] == [type(None), aio.CancelledError, type(None)]
        with pytest.raises(ConnectionLost):
            await call


@pytest.mark.row("S2", "H61")
@pytest.mark.parametrize("count", [1, 2, 5])
async def test_handlers_of_its_own_sessions_may_shut_it_down(count: int) -> None:
    async with serve(METHODS, TCP_URL) as server:
        serving = aio.create_task(server.serve_forever())
        await turns()
        clients = [connect(server.url) for _ in range(count)]
        for client in clients:
            await client.create_connection(nursery=aio.nursery())
        calls = [client.send_request("stop", [None]) for client in clients for _ in range(2)]
        async with aio.timeout(5):
            done = await aio.gather(*calls, return_exceptions=True)
        for one in done:  # each gave up its own answer; some came too late to be called
            assert isinstance(one, ConnectionLost) or "shutting down" in str(one)
        async with aio.timeout(5):
            await serving
        assert not server.sessions
        for client in clients:
            await client.aclose()


@pytest.mark.row("H61")
async def test_what_is_cut_is_not_waited_for_even_if_it_ignores_it() -> None:
    methods = Methods()
    end = aio.Event()

    @methods.method
    async def ignore() -> None:
        while not end.is_set():
            try:
                await end.wait()
            except aio.Cancelled:
                continue

    async with serve(methods, TCP_URL) as server, connect(server.url) as one, connect(server.url) as other:
        calls = [client.send_request("ignore") for client in (one, other) for _ in range(3)]
        await until(lambda: running(server) == 6)
        async with aio.timeout(2):
            await server.shutdown(0.01)
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        end.set()


@pytest.mark.row("S3")
async def test_serving_for_ever_with_a_server_that_is_closed_returns_at_once() -> None:
    server = serve(METHODS, TCP_URL)
    server.close()  # it has not listened: nothing is closed
    for end in ("close", "shutdown"):
        await server.listen(nursery=aio.nursery())
        if end == "close":
            server.close()
        else:
            await server.shutdown()
        async with aio.timeout(5):
            await server.serve_forever()
        assert server.server is None


@pytest.mark.row("S3", "H55")
async def test_serving_for_ever_ends_when_the_last_answer_is_out() -> None:
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def wait() -> str:
        await gate.wait()
        return "done"

    server = serve(methods, TCP_URL)
    serving = aio.create_task(server.serve_forever())
    await until(lambda: server.server is not None)
    async with connect(server.url) as client:
        call = client.send_request("wait")
        await until(lambda: running(server) == 1)
        ending = aio.create_task(server.shutdown())
        await turns()
        assert not serving.done()
        gate.set()
        assert await call == "done"
        await ending
        await serving


async def ended(sock: socket.socket) -> None:
    """Wait until the server has ended a connection on which it said nothing."""
    sock.setblocking(False)
    try:
        assert await aio.wait_for(aio.sock_recv(sock, 1), 5) == b""
    except ConnectionResetError:
        pass


# --- connections that are no sessions yet ----------------------------------------------------------------------------


@pytest.mark.row("H68", "H53")
async def test_connections_in_their_handshake_are_bounded_and_the_oldest_goes(certificates: Certificates) -> None:
    limits = Limits(max_handshakes=3)
    async with serve(METHODS, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server), limits=limits) as server:
        endpoint: Any = server.get_addresses()[0]
        stalled = [socket.create_connection((endpoint.host, endpoint.port)) for _ in range(5)]
        for sock in stalled[:2]:
            await ended(sock)
        async with connect(server.url, tls=TLS(ca=certificates.ca)) as client:  # an honest one comes through
            call = client.send_request("hang")
            await until(lambda: running(server) == 1)
            call.cancel()
            await ended(stalled[2])
            for sock in stalled[3:]:
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):
                    sock.recv(1)
            await server.shutdown(0)
        for sock in stalled[3:]:  # they end with the server
            await ended(sock)
        for sock in stalled:
            sock.close()


@pytest.mark.row("H68")
async def test_a_handshake_that_does_not_end_is_cut_and_told_once(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tieline")
    limits = Limits(handshake_timeout=0.05)
    async with serve(METHODS, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server), limits=limits) as server:
        endpoint: Any = server.get_addresses()[0]
        with socket.create_connection((endpoint.host, endpoint.port)) as sock:
            name = sock.getsockname()
            await ended(sock)
        await until(lambda: caplog.records)
        (record,) = caplog.records
        assert record.getMessage() == f"no TLS with {name}: [Errno 110] no TLS handshake within 0.05 s"


@pytest.mark.row("H68")
async def test_handshakes_at_their_bound_all_come_through(certificates: Certificates) -> None:
    limits = Limits(max_handshakes=1)
    async with serve(METHODS, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server), limits=limits) as server:
        for _ in range(3):
            async with connect(server.url, tls=TLS(ca=certificates.ca)):
                await until(lambda: server.sessions)
            await until(lambda: not server.sessions)


@pytest.mark.row("S2")
async def test_one_that_is_refused_does_not_hold_up_the_end() -> None:
    async with serve(METHODS, TCP_URL, limits=LINGERING) as server, raw_client(server) as peer:
        assert "busy" in (await peer.line())["error"]["message"]
        async with aio.timeout(5):
            await server.shutdown()


@pytest.mark.row("H61")
async def test_a_handler_that_cuts_its_server_is_not_cut_itself() -> None:
    methods = Methods()
    ended: list[str] = []

    @methods.method
    async def stop() -> None:
        await server.shutdown(0)
        await aio.sleep(0)
        ended.append("goes on")

    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        peer.send({"jsonrpc": "2.0", "method": "stop"})
        await until(lambda: ended)


@pytest.mark.row("H61")
async def test_sessions_whose_ends_shut_down_the_server_do_not_wait_for_each_other() -> None:
    ended: list[int] = []

    class Last(ServerSession):
        async def connection_lost(self) -> None:
            assert self.server is not None
            await aio.wait_for(self.aclose(force_after=30), 5)
            await self.server.shutdown(None)
            ended.append(1)

    async with aio.timeout(10), serve(Last, TCP_URL) as server:
        clients = [connect(server.url) for _ in range(3)]
        for client in clients:
            await client.create_connection(nursery=aio.nursery())
        await until(lambda: len(server.sessions) == 3)
        for client in clients:
            client.abort()
        await until(lambda: len(ended) == 3)


@pytest.mark.row("S2", "S5")
async def test_a_handler_that_calls_back_while_the_server_shuts_down_is_busy_and_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    methods = Methods()
    begun, gate = aio.Event(), aio.Event()

    @methods.method
    async def work(session: ServerSession) -> object:
        begun.set()
        await gate.wait()
        await session.notify("progress", 1)
        return await session.call("ask")

    told: list[int] = []
    callbacks = Methods()
    callbacks.method(name="progress")(told.append)
    async with serve(methods, TCP_URL) as server, connect(server.url, callbacks) as client:
        request = client.send_request("work")
        await begun.wait()
        ending = aio.create_task(server.shutdown(deadline=5))
        await turns()
        gate.set()
        with pytest.raises(RPCError, match="shutting down") as caught:
            await request
        await ending
    assert caught.value.code == -102
    assert told == [1]
    assert not caplog.records


@pytest.mark.parametrize("deadline", [-1, float("nan"), "x"])
async def test_an_impossible_deadline_ends_nothing(deadline: Any) -> None:
    async with serve(Methods(), TCP_URL) as server:
        with pytest.raises((ValueError, TypeError)):
            await server.shutdown(deadline)
        async with connect(server.url) as session:
            with pytest.raises(TypeError):
                await session.aclose("x")  # type: ignore[arg-type]  # on purpose
            assert not session.is_closing()


async def test_a_server_that_is_closed_and_started_again_at_once_listens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    began, goes_on = aio.Event(), aio.Event()
    open_now = Server._open

    async def open_first_late(*args: Any) -> Any:
        if not began.is_set():
            began.set()
            await goes_on.wait()
        return await open_now(*args)

    monkeypatch.setattr(Server, "_open", open_first_late)
    server = serve(Methods(), "tcp://localhost:0")
    first = aio.create_task(server.listen(nursery=aio.nursery()))
    await began.wait()
    server.close()
    second = await server.listen(nursery=aio.nursery())
    goes_on.set()
    with pytest.raises(ClosedError):
        await first
    assert server.server is second
    assert second.is_serving()
    await server.shutdown()


@pytest.mark.parametrize("limits", [Limits, {}, 5, "x"], ids=repr)
async def test_limits_are_a_value_of_their_class(limits: Any) -> None:
    for make in (
        lambda: serve(Methods(), TCP_URL, limits=limits),
        lambda: connect("tcp://localhost:1", limits=limits),
        lambda: Server(ServerSession, "localhost", 0, limits=limits),
        lambda: ServerSession(limits=limits),
    ):
        with pytest.raises(TypeError, match="limits must be a Limits value or None, not "):
            make()


@pytest.mark.parametrize("where", [5, {}, b"tcp://localhost:1"])
def test_where_to_listen_or_connect_is_an_endpoint_or_a_url(where: Any) -> None:
    for make in (lambda: serve(Methods(), where), lambda: connect(where)):
        with pytest.raises(TypeError, match="an endpoint or a URL is needed, not "):
            make()
