# SPDX-License-Identifier: MIT
"""The limits that runtimes and sessions keep, not machines: one below, at and above each, on a clock of the test's."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.clock import ClockLoop, on_clock
from tests.rpc.sessions import pair, until
from tests.runtimes.sockets import full_unix_listener
from tieline import (
    TLS,
    ClientSession,
    ConnectionLost,
    Governance,
    Limits,
    Methods,
    RPCError,
    UnixStream,
    connect,
    serve,
)

AROUND = [-1, 0, 1]

pytestmark = pytest.mark.row("J11")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says EAGAIN where the accept queue is full")
@pytest.mark.parametrize("by", AROUND)
def test_connect_timeout(by: int, tmp_path: Path) -> None:
    endpoint = UnixStream(tmp_path / "s")

    async def dial(clock: ClockLoop) -> None:
        with full_unix_listener(str(endpoint.path)) as listener:
            session = ClientSession(endpoint, limits=Limits(connect_timeout=10.0))
            dialling = aio.create_task(session.create_connection(nursery=aio.nursery()))
            await clock.turns()
            await clock.move_to(110.0 + by)
            assert dialling.done() is (by >= 0)
            if by < 0:
                listener.accept()[0].close()  # room in the queue
                await clock.move_to(110.0)
                await dialling
                session.abort()
                await session.wait_closed()
            else:
                with pytest.raises(TimeoutError, match=r"cannot connect to unix:.* within 10 s"):
                    await dialling

    on_clock(dial)


@pytest.mark.parametrize("by", AROUND)
def test_handler_timeout(by: int) -> None:
    methods = Methods()
    methods.method(name="hang")(aio.Event().wait)

    async def hang(clock: ClockLoop) -> None:
        async with pair(methods, limits=Limits(handler_timeout=8.0)) as both:
            calls = [both.client.send_request("hang", timeout=None)]
            await until(lambda: both.peer.stats.running == 1)
            await clock.move_to(100.5)
            calls.append(both.client.send_request("hang", timeout=None))
            await until(lambda: both.peer.stats.running == 2)
            # Up to one eighth late: the first together with the second, which came just before a look.
            await clock.move_to(109.0 + by / 100)
            await until(lambda: both.peer.stats.running == (2 if by < 0 else 0))
            if by < 0:
                assert not any(call.done() for call in calls)
                await clock.move_to(109.0)
            for call in calls:
                with pytest.raises(RPCError, match="handler cancelled") as caught:
                    await call
                assert caught.value.code == -102

    on_clock(hang)


@pytest.mark.parametrize("by", [-1, 1])
def test_processing_timeout_of_what_waits_out_its_delay(by: int) -> None:
    methods = Methods()
    methods.method(name="echo")(lambda value: value)
    policy = Governance(cost_soft_limit=0, cost_hard_limit=1000, cost_sleep=1e6, processing_timeout=8.0)

    async def wait(clock: ClockLoop) -> None:
        async with pair(methods, limits=Limits(governance=policy)) as both:
            both.peer.bump_cost(900)
            call = both.client.send_request("echo", [1], timeout=None)
            await until(lambda: both.peer.stats.running == 1)
            await clock.move_to(108.0 + by)
            await until(lambda: both.peer.stats.running == (by < 0))
            await clock.move_to(109.0)
            with pytest.raises(RPCError, match="server busy") as caught:
                await call
            assert caught.value.code == -102

    on_clock(wait)


@pytest.mark.parametrize("by", [-1, 1])
def test_processing_timeout_includes_the_wait_for_a_place(by: int) -> None:
    methods = Methods()
    first = aio.Event()
    methods.method(name="first")(first.wait)
    methods.method(name="hang")(aio.Event().wait)
    limits = Limits(governance=Governance(initial_concurrent=1, processing_timeout=8.0))

    async def wait(clock: ClockLoop) -> None:
        async with pair(methods, limits=limits) as both:
            answered = both.client.send_request("first", timeout=None)
            call = both.client.send_request("hang", timeout=None)
            await until(lambda: both.peer.stats.running == 2)
            await clock.move_to(106.0)
            first.set()
            await answered  # and the other one has its place
            await clock.move_to(108.0 + by)
            await until(lambda: both.peer.stats.running == (by < 0))
            await clock.move_to(109.0)
            with pytest.raises(RPCError, match="handler cancelled") as caught:
                await call
            assert caught.value.code == -102

    on_clock(wait)


# --- TLS -------------------------------------------------------------------------------------------------------------


@contextmanager
def dialled(url: str) -> Iterator[socket.socket]:
    """Give a bare, non-blocking socket that is connected."""
    host, _, port = url.rpartition("/")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.setblocking(False)
        yield sock


def is_over(sock: socket.socket) -> bool:
    """Return whether the other end has closed the connection; what has come before is thrown away."""
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.row("H68", "D6")
@pytest.mark.parametrize("by", AROUND)
def test_handshake_timeout(by: int, certificates: Certificates) -> None:
    tls = TLS(certificate=certificates.server)

    async def stall(clock: ClockLoop) -> None:
        async with serve(Methods(), "tls://127.0.0.1:0", tls=tls, limits=Limits(handshake_timeout=10.0)) as server:
            with dialled(server.url) as stalled:
                await clock.turns()
                await clock.move_to(110.0 + by / 100)
                assert is_over(stalled) is (by >= 0)

    on_clock(stall)


@pytest.mark.row("H68", "D6")
@pytest.mark.parametrize("by", AROUND)
def test_max_handshakes(by: int, certificates: Certificates) -> None:
    tls = TLS(certificate=certificates.server)

    async def crowd(clock: ClockLoop) -> None:
        async with serve(Methods(), "tls://127.0.0.1:0", tls=tls, limits=Limits(max_handshakes=5)) as server:
            with ExitStack() as all_of_them:
                stalled = []
                for _ in range(5 + by):
                    stalled.append(all_of_them.enter_context(dialled(server.url)))
                    await clock.turns()
                await until(lambda: is_over(stalled[0]) is (by > 0))
                assert not any(map(is_over, stalled[1:]))

    on_clock(crowd)


async def shaken(sock: socket.socket, context: ssl.SSLContext, clock: ClockLoop) -> None:
    """Shake hands over TLS, by hand: nothing else is ever said afterwards."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    records = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    for _ in range(100):
        try:
            records.do_handshake()
            return
        except ssl.SSLWantReadError:
            pass
        finally:
            sock.send(outgoing.read())
        await clock.turns()
        with suppress(BlockingIOError):
            incoming.write(sock.recv(65536))
    raise AssertionError("no handshake")


@pytest.mark.row("H68", "D6")
@pytest.mark.parametrize("by", AROUND)
def test_tls_shutdown_timeout(by: int, certificates: Certificates) -> None:
    tls = TLS(certificate=certificates.server)

    async def close(clock: ClockLoop) -> None:
        limits = Limits(tls_shutdown_timeout=5.0, idle_timeout=None)
        async with serve(Methods(), "tls://127.0.0.1:0", tls=tls, limits=limits) as server:
            with dialled(server.url) as silent:
                await shaken(silent, TLS(ca=certificates.ca).client_context(), clock)
                await until(lambda: server.sessions)
                (session,) = server.sessions
                session.close()  # and the peer does not say goodbye
                await clock.turns()
                await clock.move_to(105.0 + by / 100)
                assert is_over(silent) is (by >= 0)
                assert len(server.sessions) == (by < 0)
                await clock.move_to(106.0)

    on_clock(close)


# --- connections -----------------------------------------------------------------------------------------------------


async def served(url: str, count: int) -> tuple[int, int]:
    """Connect *count* times at once, and return how many are served and how many are told that there is no place."""
    served = busy = 0
    sessions = []
    for _ in range(count):
        session = connect(url)
        await session.create_connection(nursery=aio.nursery())
        sessions.append(session)
    for session in sessions:
        try:
            await session.call("nothing")
            served += 1
        except ConnectionLost as lost:
            cause = lost.__cause__ and lost.__cause__.__cause__
            assert isinstance(cause, RPCError)
            assert cause.code == -102
            busy += 1
    for session in sessions:
        await session.aclose()
    return served, busy


async def check_places(limits: Limits, scheme: str, folder: Path, by: int) -> None:
    methods = Methods()
    methods.method(name="nothing")(lambda: None)
    url = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{folder}/s"
    async with serve(methods, url, limits=limits) as server:
        assert await served(server.url, 5 + by) == (5 + min(by, 0), max(by, 0))
        await until(lambda: not server.sessions)
        assert await served(server.url, 5) == (5, 0), "the places are free again"


@pytest.mark.row("H53")
@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_max_connections(by: int, scheme: str, tmp_path: Path) -> None:
    await check_places(Limits(max_connections=5), scheme, tmp_path, by)


@pytest.mark.row("H53")
@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_max_connections_per_peer(by: int, scheme: str, tmp_path: Path) -> None:
    await check_places(Limits(max_connections_per_peer=5), scheme, tmp_path, by)
