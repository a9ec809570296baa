# SPDX-License-Identifier: MIT
"""runtimes/asyncio/dialling.py, on real sockets; names alone come from a stand-in for DNS."""

import asyncio
import contextlib
import errno
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.runtimes.sockets import (
    V4,
    V6,
    Recorder,
    black_hole,
    closed,
    closed_port,
    full_unix_listener,
    linux_only,
    name,
    open_sockets,
    settled,
    stale,
    tcp_listener,
)
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.runtimes.tcp_sockets import check_connected

# --- connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.row("D1", "D2")
@pytest.mark.parametrize(("family", "host"), [(V4, "127.0.0.1"), (V6, "::1"), (V4, "localhost")])
async def test_a_tcp_endpoint_is_connected_and_its_protocol_made(family: int, host: str) -> None:
    with tcp_listener(family) as (listener, port):
        transport, protocol = await aio.dial(Recorder, TCP(host, port), timeout=10)
        assert protocol.transport is transport
        assert protocol.made.done()
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"hello")
            await protocol.received
        assert protocol.data == b"hello"
        await closed(protocol)


@pytest.mark.row("D1")
async def test_a_connection_has_keepalive_and_no_nagle() -> None:
    with tcp_listener() as (_, port):
        transport, protocol = await aio.dial(Recorder, TCP("127.0.0.1", port), timeout=10)
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if sys.platform == "linux":
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 20, 3]
        await closed(protocol)


@pytest.mark.row("D4")
@pytest.mark.parametrize("abstract", [False, pytest.param(True, marks=linux_only)])
async def test_a_unix_endpoint_is_connected(tmp_path: Path, abstract: bool) -> None:
    endpoint = UnixStream(f"@{tmp_path}" if abstract else tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(endpoint.address)
        listener.listen()
        _, protocol = await aio.dial(Recorder, endpoint, timeout=10)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"hello")
            await protocol.received
        await closed(protocol)


@pytest.mark.row("D2")
async def test_numeric_addresses_skip_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = name(monkeypatch, "unused")
    with tcp_listener(V4) as (_, port):
        _, protocol = await aio.dial(Recorder, TCP("127.0.0.1", port, local_addr=("127.0.0.1", 0)), timeout=10)
        await closed(protocol)
    assert asked == []


@pytest.mark.row("D2")
@pytest.mark.parametrize("live", [V4, V6])
@pytest.mark.parametrize("first", [V4, V6])
async def test_one_dead_address_does_not_hide_a_live_one(
    monkeypatch: pytest.MonkeyPatch, live: int, first: int
) -> None:
    with tcp_listener(live) as (_, port), closed_port(V6 if live == V4 else V4) as dead:
        both = [(V4, "127.0.0.1", port if live == V4 else dead), (V6, "::1", port if live == V6 else dead)]
        name(monkeypatch, "twofold", *(both if first == V4 else both[::-1]))
        # A delay that would be noticed: a failure starts the next attempt at once.
        transport, protocol = await aio.dial(Recorder, TCP("twofold", port, happy_eyeballs_delay=50), timeout=10)
        assert transport.get_extra_info("peername")[1] == port
        await closed(protocol)


@linux_only
@pytest.mark.row("D2")
async def test_a_silent_address_is_overtaken_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_sockets()
    with black_hole(V6) as silent, tcp_listener(V4) as (_, port):
        name(monkeypatch, "half", (V6, "::1", silent), (V4, "127.0.0.1", port))
        held = open_sockets()
        start = aio.now()
        transport, protocol = await aio.dial(Recorder, TCP("half", port, happy_eyeballs_delay=0.05), timeout=10)
        assert 0.04 <= aio.now() - start < 5
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        assert open_sockets() == held + 1
        assert aio.on_trio() or len(aio.all_tasks()) == 2  # the test and who supervises it
        await closed(protocol)
    assert await settled(before) == before


@linux_only
@pytest.mark.row("D2")
async def test_without_a_delay_a_silent_address_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole(V6) as silent, tcp_listener(V4) as (_, port):
        name(monkeypatch, "half", (V6, "::1", silent), (V4, "127.0.0.1", port))
        with pytest.raises(TimeoutError):
            await aio.dial(Recorder, TCP("half", port, happy_eyeballs_delay=None), timeout=0.1)


@pytest.mark.row("D2")
async def test_two_addresses_that_answer_at_once_give_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with tcp_listener(V6, backlog=99) as (_, six), tcp_listener(V4, backlog=99) as (_, four):
        name(monkeypatch, "both", (V6, "::1", six), (V4, "127.0.0.1", four))
        held = open_sockets()
        for _ in range(20):
            _, protocol = await aio.dial(Recorder, TCP("both", 1, happy_eyeballs_delay=0), timeout=10)
            assert open_sockets() == held + 1
            await closed(protocol)
            assert await settled(held) == held


def _eager(loop: Any, coroutine: Any, **options: Any) -> Any:
    from asyncio import Task

    # Not asyncio's eager_task_factory: that of 3.13.0 and uvloop 0.23 do not agree about the arguments.
    task: Any = Task
    return task(coroutine, loop=loop, **(options | {"eager_start": True}))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
@pytest.mark.row("D2")
@pytest.mark.asyncio_only("it has eager tasks")
async def test_the_race_runs_with_eager_tasks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with tcp_listener(V4) as (_, port), closed_port(V6) as dead:
        name(monkeypatch, "twofold", (V6, "::1", dead), (V4, "127.0.0.1", port))
        loop = aio.running_loop()
        assert loop is not None
        loop.set_task_factory(_eager)
        _, protocol = await aio.dial(Recorder, TCP("twofold", port), timeout=10)
        await closed(protocol)


@pytest.mark.row("D1")
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: socket.socket(type=socket.SOCK_DGRAM), "must be a stream socket"),
        (lambda: socket.create_server(("127.0.0.1", 0)), "and this one listens"),
    ],
    ids=["of datagrams", "listening"],
)
async def test_a_socket_that_can_be_no_connection_is_refused_and_closed(make: Any, text: str) -> None:
    given = make()
    with pytest.raises(ValueError, match=text):
        await aio.dial(Recorder, TCP("given", 1), sock=given)
    assert given.fileno() == -1
    given = make()
    with pytest.raises(ValueError, match=text):
        await aio.to_thread(tieline.blocking.ClientSession(sock=given).create_connection)
    assert given.fileno() == -1


@pytest.mark.row("D1")
async def test_a_connected_socket_is_taken_as_it_is() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await aio.dial(Recorder, TCP("behind.proxy", 80), sock=ours)
        transport.write(b"hello")
        theirs.settimeout(10)
        assert theirs.recv(5) == b"hello"
        await closed(protocol)


@pytest.mark.row("D1")
async def test_a_given_tcp_socket_gets_the_options_of_a_dialled_one() -> None:
    with tcp_listener() as (_, port):
        ours = socket.create_connection(("127.0.0.1", port))
        assert not ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        _, protocol = await aio.dial(Recorder, TCP("behind.proxy", 80), sock=ours)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await closed(protocol)


@pytest.mark.row("D1")
async def test_a_peer_that_resets_at_once_is_no_failure_to_connect() -> None:
    with tcp_listener() as (listener, port):
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port)) as ours:
                peer, _ = listener.accept()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                with contextlib.suppress(ConnectionResetError):  # it may come in that very moment
                    check_connected(ours)
                _, protocol = await aio.dial(Recorder, TCP("127.0.0.1", port), sock=ours.dup())
                await protocol.lost


# --- failing ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("D3")
async def test_refused_by_every_address_is_connection_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port(V4) as four, closed_port(V6) as six:
        name(monkeypatch, "closed.example", (V6, "::1", six), (V4, "127.0.0.1", four))
        with pytest.raises(ConnectionRefusedError, match=r"cannot connect to tcp://closed\.example:7: ") as caught:
            await aio.dial(Recorder, TCP("closed.example", 7), timeout=10)
        assert caught.value.errno == errno.ECONNREFUSED
        assert f"[::1]:{six}" in str(caught.value)
        assert f"127.0.0.1:{four}" in str(caught.value)
        group = caught.value.__cause__
        assert isinstance(group, ExceptionGroup)
        assert [type(error) for error in group.exceptions] == [ConnectionRefusedError] * 2


@pytest.mark.row("D3")
async def test_one_refused_address_is_connection_refused() -> None:
    with closed_port() as port:
        with pytest.raises(ConnectionRefusedError, match=rf"tcp://127\.0\.0\.1:{port}: Connection refused") as caught:
            await aio.dial(Recorder, TCP("127.0.0.1", port), timeout=10)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.row("D3")
async def test_failures_of_several_kinds_are_an_oserror_that_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port(V4) as port:
        name(monkeypatch, "mixed", (V6, "::1", port), (V4, "127.0.0.1", port))
        # From an IPv4 address nothing can be sent to an IPv6 one.
        with pytest.raises(OSError, match=r"\[::1\]:\d+.*; Connection refused \(127\.0\.0\.1:") as caught:
            await aio.dial(Recorder, TCP("mixed", port, local_addr=("127.0.0.1", 0)), timeout=10)
        assert type(caught.value) is OSError


@linux_only
@pytest.mark.row("D3")
async def test_a_local_address_that_cannot_be_had_is_named() -> None:
    with tcp_listener() as (_, port), closed_port() as taken:
        there = rf"127\.0\.0\.1:{port}"
        with pytest.raises(OSError, match=rf"in use \(127\.0\.0\.1:{taken} to {there}\)") as caught:
            await aio.dial(Recorder, TCP("127.0.0.1", port, local_addr=("127.0.0.1", taken)), timeout=10)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match=rf"assign requested address \(192\.0\.2\.1:0 to {there}\)"):
            await aio.dial(Recorder, TCP("127.0.0.1", port, local_addr=("192.0.2.1", 0)), timeout=10)
        with pytest.raises(OSError, match=rf"no local address is of the family .* \(\[::1\]:0 to {there}\)"):
            await aio.dial(Recorder, TCP("127.0.0.1", port, local_addr=("::1", 0)), timeout=10)


@linux_only
@pytest.mark.row("D3")
async def test_the_zone_of_an_address_is_told() -> None:
    zone = socket.if_nametoindex("lo")
    with pytest.raises(OSError, match=rf"tcp://\[fe80::1%25lo\]:9: .* \(\[fe80::1%{zone}\]:9\)"):
        await aio.dial(Recorder, TCP("fe80::1%lo", 9), timeout=10)


@pytest.mark.row("D3")
async def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = name(monkeypatch, "other")
    with pytest.raises(socket.gaierror, match=r"cannot resolve host 'bücher\.example': Name or service"):
        await aio.dial(Recorder, TCP("bücher.example", 1), timeout=10)
    assert asked == ["xn--bcher-kva.example"]


@pytest.mark.row("D3")
async def test_an_unknown_interface_is_named() -> None:
    with pytest.raises(OSError, match="no interface 'nosuch0', which host 'fe80::1%nosuch0' names"):
        await aio.dial(Recorder, TCP("fe80::1%nosuch0", 1), timeout=10)


@pytest.mark.row("D2")
@linux_only
async def test_the_deadline_is_over_all_and_says_what_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole(V6) as six, black_hole(V4) as four, closed_port(V4) as dead:
        name(monkeypatch, "silent", (V4, "127.0.0.1", dead), (V6, "::1", six), (V4, "127.0.0.1", four))
        held = open_sockets()
        with pytest.raises(TimeoutError, match=r" cannot connect to tcp://silent:9 within 0\.2 s$") as caught:
            await aio.dial(Recorder, TCP("silent", 9, happy_eyeballs_delay=0.01), timeout=0.2)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert open_sockets() == held
        with pytest.raises(TimeoutError) as caught:
            await aio.dial(Recorder, TCP("127.0.0.1", four), timeout=0.05)
        assert caught.value.__cause__ is None


@pytest.mark.row("D2")
async def test_no_time_at_all_is_a_timeout() -> None:
    with tcp_listener() as (_, port):
        held = open_sockets()
        with pytest.raises(TimeoutError):
            await aio.dial(Recorder, TCP("127.0.0.1", port), timeout=0)
        with pytest.raises(TimeoutError):
            async with tieline.connect(TCP("127.0.0.1", port), connect_timeout=0):
                pass
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(TimeoutError):
            await aio.dial(Recorder, TCP("127.0.0.1", port), sock=ours, timeout=0)
        assert await settled(held) == held


async def test_a_timeout_of_the_factory_s_own_is_not_taken_for_the_deadline() -> None:
    def factory() -> Recorder:
        raise TimeoutError("mine")

    with tcp_listener() as (_, port):
        held = open_sockets()
        with pytest.raises(TimeoutError, match=r"^mine$"):
            await aio.dial(factory, TCP("127.0.0.1", port), timeout=10)
        assert open_sockets() == held


@pytest.mark.row("D1")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
async def test_a_factory_that_fails_leaves_no_socket(error: type[BaseException]) -> None:
    def factory() -> Recorder:
        raise error("no protocol")

    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(error, match="no protocol"):
            await aio.dial(factory, TCP("a", 1), sock=ours)
        assert ours.fileno() == -1


async def test_a_socket_that_is_no_stream_is_refused_and_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with theirs:
        with pytest.raises(ValueError, match="tream"):
            await aio.dial(Recorder, UnixStream("/a"), sock=ours)
        assert ours.fileno() == -1


@pytest.mark.row("D4")
@pytest.mark.parametrize("endpoint", [TCP(None, 80), TCP(["a", "b"], 80), TCP("127.0.0.1", 0)], ids=str)
async def test_what_can_only_be_listened_on_is_refused(endpoint: TCP) -> None:
    with pytest.raises(ValueError, match="can only listen on tcp://"):
        await aio.dial(Recorder, endpoint, timeout=10)


@linux_only
@pytest.mark.row("D3")
async def test_a_socket_that_would_talk_to_itself_counts_as_refused() -> None:
    with closed_port() as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        await aio.dial(Recorder, TCP("127.0.0.1", port, local_addr=("127.0.0.1", port)), timeout=10)


@pytest.mark.row("D3", "H70")
async def test_a_missing_unix_path_and_a_dead_server_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(FileNotFoundError, match=rf"cannot connect to unix://{path}: No such file") as missing:
        await aio.dial(Recorder, UnixStream(path), timeout=10)
    assert isinstance(missing.value.__cause__, FileNotFoundError)
    stale(path)
    with pytest.raises(ConnectionRefusedError, match=rf"cannot connect to unix://{path}: Connection refused"):
        await aio.dial(Recorder, UnixStream(path), timeout=10)


@linux_only
@pytest.mark.row("H70")
async def test_a_full_accept_queue_is_waited_out(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with full_unix_listener(path) as listener:
        dialling = aio.create_task(aio.dial(Recorder, UnixStream(path), timeout=10))
        for _ in range(10):
            await aio.sleep(0)
        assert not dialling.done()
        listener.accept()[0].close()
        _, protocol = await dialling
        await closed(protocol)


@linux_only
@pytest.mark.row("H70")
async def test_a_queue_that_stays_full_ends_at_the_deadline(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with full_unix_listener(path):
        held = open_sockets()
        with pytest.raises(TimeoutError, match=rf"cannot connect to unix://{path} within 0\.05 s") as caught:
            await aio.dial(Recorder, UnixStream(path), timeout=0.05)
        assert "the accept queue is full" in str(caught.value.__cause__)
        assert open_sockets() == held


# --- turns -----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def counted_turns() -> AsyncIterator[Callable[[], int]]:
    """Give what tells how often another task was let run."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await aio.sleep(0)

    counting = aio.create_task(count())
    try:
        yield lambda: turns
    finally:
        counting.cancel()


@pytest.mark.asyncio_only("trio has a checkpoint in each")
async def test_who_connects_again_and_again_on_this_machine_lets_others_run_each_16th_time() -> None:
    """And takes no turn of the loop but for that; uvloop takes one each time."""
    takes_none = isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)
    async with counted_turns() as turns:
        with tcp_listener() as (listener, port):
            await aio.sleep(0)
            before = turns()
            for _ in range(48):
                session = tieline.ClientSession("127.0.0.1", port)
                await session.create_connection()
                session.abort()
                listener.accept()[0].close()  # its backlog is for fewer
            assert turns() == before + 3 if takes_none else turns() > before + 3


@pytest.mark.asyncio_only("it is of asyncio")
async def test_a_server_of_asyncio_on_the_same_loop_has_a_turn_to_accept_who_is_connected() -> None:
    """Who connects and is gone again would meet it in the middle, or not at all."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, counted_turns() as turns:
        await aio.sleep(0)
        for _ in range(5):
            before = turns()
            session = tieline.ClientSession(*server.sockets[0].getsockname())
            await session.create_connection()
            assert turns() > before
            session.abort()


@pytest.mark.asyncio_only("on trio a task of its own accepts")
async def test_a_server_on_the_same_loop_has_accepted_who_is_connected() -> None:
    async with tieline.serve(tieline.Methods(), "tcp://127.0.0.1:0") as server, tieline.connect(server.url):
        assert len(server.sessions) == 1
