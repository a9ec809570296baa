# SPDX-License-Identifier: MIT
"""runtimes/asyncio/listening.py, on real sockets and real files."""

import errno
import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import Any, cast

import pytest

import tieline
from tests import aio
from tests.runtimes.sockets import (
    V4,
    V6,
    Accepted,
    Recorder,
    is_reached,
    name,
    open_sockets,
    settled,
    stop,
)
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import StreamEndpoint
from tieline.exceptions import UnsupportedOperation

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what Linux does is what is shown")

NOT_OURS = "203.0.113.1"  # for documentation (RFC 5737): no machine has it


# --- TCP -------------------------------------------------------------------------------------------------------------


@pytest.mark.row("D5")
@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        (("127.0.0.1", "::1"), ["127.0.0.1", "::1"]),
        (None, ["0.0.0.0", "::"]),
        (("::1", "::1"), ["::1"]),
    ],
)
async def test_port_0_is_reported_back_and_is_one_for_all_hosts(host: Any, bound: list[str]) -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP(host, 0, backlog=50))
    ports = {endpoint.port for endpoint in listener.endpoints if isinstance(endpoint, TCP)}
    assert len(ports) == 1
    assert 0 not in ports
    port = ports.pop()
    assert listener.endpoints == tuple(TCP(one, port, backlog=50) for one in bound)
    assert [sock.getsockname()[1] for sock in listener.sockets] == [port] * len(bound)
    assert listener.is_serving()
    for endpoint in listener.endpoints:
        assert await is_reached(endpoint, accepted)
    await stop(listener)


@pytest.mark.row("D5")
async def test_a_family_narrows_all_interfaces() -> None:
    listener = await aio.listen(Accepted(), TCP(None, 0, family=V6))
    assert [sock.family for sock in listener.sockets] == [V6]
    await stop(listener)


@pytest.mark.row("D5")
async def test_ipv6_leaves_the_port_free_on_ipv4() -> None:
    for _ in range(20):  # the system chooses a port that is free on IPv6; on IPv4 somebody else may have it
        listener = await aio.listen(Accepted(), TCP("::", 0))
        port = listener.sockets[0].getsockname()[1]
        try:
            other = await aio.listen(Accepted(), TCP("0.0.0.0", port))
        except OSError:
            await stop(listener)
            continue
        await stop(listener)
        await stop(other)
        return
    pytest.fail("every port that IPv6 has is taken on IPv4")


@linux_only
async def test_accepted_connections_have_keepalive_and_no_nagle() -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    transport, ours = await aio.dial(Recorder, listener.endpoints[0], timeout=10)
    theirs = await accepted.next()
    sock = theirs.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [1, 60, 20, 3]
    transport.close()
    await ours.lost
    await theirs.lost
    await stop(listener)


@pytest.mark.row("D5")
async def test_a_port_in_use_is_named_and_earlier_sockets_are_closed() -> None:
    while True:
        with socket.socket(V6) as taken:
            taken.bind(("::1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            held = open_sockets()
            with pytest.raises(OSError, match=rf"cannot listen on tcp://127.*:{port}: .*in use ") as caught:
                await aio.listen(Accepted(), TCP(("127.0.0.1", "::1"), port))
            assert caught.value.errno == errno.EADDRINUSE
            assert isinstance(caught.value.__cause__, OSError)
            assert open_sockets() == held
            if str(caught.value).endswith(f"(127.0.0.1:{port})"):
                continue  # some other program has that port on that address just now
            assert str(caught.value).endswith(f"([::1]:{port})")
            with socket.socket(V4) as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # others' old connections do not count
                free.bind(("127.0.0.1", port))
            return


@linux_only
@pytest.mark.row("D5")
async def test_a_chosen_port_that_another_host_lacks_is_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two choices are taken on ::1, as any port may be; the third is good."""
    real = socket.socket.listen
    taken: list[socket.socket] = []

    def listen_and_take(sock: socket.socket, backlog: int = 0) -> None:
        real(sock, backlog)
        if sock.family == V4 and len(taken) < 2:
            other = socket.socket(V6)
            other.bind(("::1", sock.getsockname()[1]))
            real(other, 1)
            taken.append(other)

    monkeypatch.setattr(socket.socket, "listen", listen_and_take)
    listener = await aio.listen(Accepted(), TCP(("127.0.0.1", "::1"), 0))
    ports = [sock.getsockname()[1] for sock in listener.sockets]
    assert ports[0] == ports[1]
    assert len(taken) == 2
    for sock in taken:
        sock.close()
    await stop(listener)


@pytest.mark.row("D5")
async def test_a_name_is_bound_on_the_addresses_that_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, "partly", (V4, NOT_OURS, 0), (V4, "127.0.0.1", 0))
    listener = await aio.listen(Accepted(), TCP("partly", 0))
    assert [sock.getsockname()[0] for sock in listener.sockets] == ["127.0.0.1"]
    await stop(listener)
    for hosts in ("partly2", [NOT_OURS, "127.0.0.1"]):
        name(monkeypatch, "partly2", (V4, NOT_OURS, 0))
        with pytest.raises(OSError, match=f"assign requested address .{NOT_OURS}:0.") as caught:
            await aio.listen(Accepted(), TCP(hosts, 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.row("D5")
async def test_an_unknown_host_cannot_be_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, "other")
    with pytest.raises(socket.gaierror, match="cannot resolve host 'nowhere'"):
        await aio.listen(Accepted(), TCP(["127.0.0.1", "nowhere"], 0))


@linux_only
@pytest.mark.row("D5")
@pytest.mark.parametrize("host", ["127.0.0.1", None, ("127.0.0.1", "::1")])
async def test_reuse_port_lets_two_listen_on_one_port(host: Any) -> None:
    """Each gets its share of the connections; and what a listener says of itself can be dialled, reuse_port and all."""
    accepted = [Accepted(), Accepted()]
    first = await aio.listen(accepted[0], TCP(host, 0, reuse_port=True))
    port = first.sockets[0].getsockname()[1]
    second = await aio.listen(accepted[1], TCP(host, port, reuse_port=True))
    assert first.endpoints == second.endpoints
    for endpoint in first.endpoints:
        seen: set[int] = set()
        while len(seen) < 2:  # by chance: so far one of two, each time
            _, ours = await aio.dial(Recorder, endpoint, timeout=10)
            getters = [aio.create_task(one.next()) for one in accepted]
            done, pending = await aio.wait(getters, timeout=10, return_when=aio.FIRST_COMPLETED)
            (taken,) = done
            seen.add(getters.index(taken))
            for task in pending:
                task.cancel()
            (await taken).transport.close()
            await ours.lost
    await stop(first)
    assert await is_reached(second.endpoints[0], accepted[1])  # the other one's share goes to who is left
    await stop(second)


@linux_only
@pytest.mark.row("D5")
@pytest.mark.parametrize(("one", "other"), [(True, False), (False, True)])
async def test_a_port_is_shared_only_by_those_who_all_say_so(one: bool, other: bool) -> None:
    first = await aio.listen(Accepted(), TCP("127.0.0.1", 0, reuse_port=one))
    port = first.sockets[0].getsockname()[1]
    with pytest.raises(OSError, match=f"cannot listen on tcp://127.0.0.1:{port}") as caught:
        await aio.listen(Accepted(), TCP("127.0.0.1", port, reuse_port=other))
    assert caught.value.errno == errno.EADDRINUSE
    await stop(first)


@linux_only
@pytest.mark.row("D5")
async def test_a_chosen_port_is_shared_with_nobody_on_any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first choice is taken on ::1 by somebody who reuses ports as well, as any port may be."""
    real = socket.socket.listen
    taken: list[socket.socket] = []

    def listen_and_take(sock: socket.socket, backlog: int = 0) -> None:
        real(sock, backlog)
        if sock.family == V4 and not taken:
            other = socket.socket(V6)
            try:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                other.bind(("::1", sock.getsockname()[1]))
                real(other, 1)
            except OSError:  # a stranger has it there, which is the same to whoever listens
                other.close()
                raise
            taken.append(other)

    monkeypatch.setattr(socket.socket, "listen", listen_and_take)
    listener = await aio.listen(Accepted(), TCP(("127.0.0.1", "::1"), 0, reuse_port=True))
    ports = {sock.getsockname()[1] for sock in listener.sockets}
    assert len(ports) == 1
    assert taken[0].getsockname()[1] not in ports
    taken[0].close()
    await stop(listener)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", None])
@pytest.mark.parametrize("given", [False, True])
async def test_an_accepted_connection_knows_its_own_address(host: str | None, given: bool) -> None:
    sock = None
    if given:
        sock = socket.create_server((host or "0.0.0.0", 0), family=V6 if host == "::1" else V4)
    endpoint = None if given else TCP(host, 0)
    async with tieline.serve(tieline.Methods(), endpoint, sock=sock) as server:
        port = cast("TCP", server.get_addresses()[0]).port
        async with tieline.connect(TCP(host or "127.0.0.1", port)) as session:
            with pytest.raises(tieline.RPCError):
                await session.call("nothing")
            (accepted,) = server.sessions
            assert accepted.get_extra_info("sockname") == session.get_extra_info("peername")
            assert accepted.get_extra_info("peername") == session.get_extra_info("sockname")


async def test_an_accepted_connection_knows_the_path_it_came_to(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with (
        tieline.serve(tieline.Methods(), UnixStream(path)) as server,
        tieline.connect(UnixStream(path)) as session,
    ):
        with pytest.raises(tieline.RPCError):
            await session.call("nothing")
        (accepted,) = server.sessions
        assert accepted.get_extra_info("sockname") == session.get_extra_info("peername") == path


async def test_reuse_port_is_refused_where_the_platform_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(UnsupportedOperation, match=r"no SO_REUSEPORT, which reuse_port=True of tcp:.* needs"):
        await aio.listen(Accepted(), TCP("127.0.0.1", 0, reuse_port=True))
    given = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(ValueError, match="bound without SO_REUSEPORT"):
        await aio.listen(Accepted(), TCP(None, 0, reuse_port=True), sock=given)
    assert given.fileno() == -1


@pytest.mark.row("D5")
async def test_the_port_can_be_taken_again_at_once_after_connections() -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    endpoint = listener.endpoints[0]
    _, ours = await aio.dial(Recorder, endpoint, timeout=10)
    theirs = await accepted.next()
    theirs.transport.close()  # closing first leaves TIME_WAIT on the server's side
    await ours.lost
    await stop(listener)
    await stop(await aio.listen(accepted, endpoint))


# --- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("D5")
async def test_closing_leaves_connections_alone_and_does_not_wait_for_them() -> None:
    accepted = Accepted()
    listener = await aio.listen(accepted, TCP("127.0.0.1", 0))
    transport, ours = await aio.dial(Recorder, listener.endpoints[0], timeout=10)
    theirs = await accepted.next()
    assert repr(listener) == f"<Listener {listener.endpoints[0]} serving>"
    waiting = aio.create_task(listener.wait_closed())
    await aio.sleep(0)
    assert not waiting.done()
    listener.close()
    listener.close()
    assert not listener.is_serving()
    assert repr(listener) == f"<Listener {listener.endpoints[0]} closed>"
    with pytest.raises(ConnectionRefusedError):
        await aio.dial(Recorder, listener.endpoints[0], timeout=10)
    async with aio.timeout(10):
        await waiting
        await listener.wait_closed()
    transport.write(b"still here")
    await theirs.received
    assert theirs.data == b"still here"
    transport.close()
    await ours.lost
    await theirs.lost
    assert [sock.fileno() for sock in listener.sockets] == [-1]


# --- given sockets ---------------------------------------------------------------------------------------------------


@pytest.mark.row("D5")
@pytest.mark.parametrize("listens", [False, True])
async def test_a_given_socket_is_served_and_reported(listens: bool) -> None:
    accepted = Accepted()
    sock = socket.create_server(("127.0.0.1", 0)) if listens else socket.socket()
    if not listens:
        sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    # A descriptor, as LISTEN_FDS hands them over, becomes a socket so.
    given = socket.socket(fileno=sock.detach())
    listener = await aio.listen(accepted, TCP(None, 1, backlog=7), sock=given)
    assert listener.endpoints == (TCP("127.0.0.1", port, backlog=7),)
    assert await is_reached(listener.endpoints[0], accepted)
    await stop(listener)
    assert given.fileno() == -1


@linux_only
@pytest.mark.row("D5")
async def test_a_given_socket_reuses_its_port_only_if_it_was_bound_so() -> None:
    bound = [socket.create_server(("127.0.0.1", 0), reuse_port=reuse) for reuse in (True, False)]
    listener = await aio.listen(Accepted(), TCP(None, 0, reuse_port=True), sock=bound[0])
    await stop(listener)
    with pytest.raises(ValueError, match="bound without SO_REUSEPORT, and it is too late for reuse_port=True"):
        await aio.listen(Accepted(), TCP(None, 0, reuse_port=True), sock=bound[1])
    assert bound[1].fileno() == -1


@pytest.mark.row("D5")
async def test_the_file_of_a_given_unix_socket_stays(tmp_path: Path) -> None:
    accepted = Accepted()
    path = tmp_path / "s"
    for asked, mode in ((UnixStream("/elsewhere", mode=0o666), 0o666), (TCP("ignored", 1), 0o600)):
        given = socket.socket(socket.AF_UNIX)
        given.bind(str(path))
        listener = await aio.listen(accepted, asked, sock=given)
        assert listener.endpoints == (UnixStream(path, mode=mode),)
        assert await is_reached(listener.endpoints[0], accepted)
        await stop(listener)
        path.unlink()


@pytest.mark.parametrize(
    ("family", "kind"),
    [(socket.AF_UNIX, socket.SOCK_STREAM), (V4, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_DGRAM)],
)
async def test_a_socket_that_cannot_listen_is_refused_and_closed(family: int, kind: int, tmp_path: Path) -> None:
    given = socket.socket(family, kind)
    if kind == socket.SOCK_DGRAM:
        given.bind(str(tmp_path / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
    with pytest.raises(ValueError, match=r"tream|bound"):
        await aio.listen(Accepted(), TCP("ignored", 1), sock=given)
    assert given.fileno() == -1


# --- cancelling ------------------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.row("D5", "H60")
@pytest.mark.parametrize("kind", ["numeric", "name", "unix", "busy unix"])
async def test_cancelled_in_any_turn_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    name(monkeypatch, "both", (V6, "::1", 0), (V4, "127.0.0.1", 0))
    endpoints: dict[str, StreamEndpoint] = {
        "numeric": TCP(("127.0.0.1", "::1"), 0),
        "name": TCP("both", 0),
        "unix": UnixStream(tmp_path / "s"),
        "busy unix": UnixStream(tmp_path / "s"),
    }
    endpoint = endpoints[kind]
    lock = os.open(tmp_path / ".s.tieline-lock", os.O_RDWR | os.O_CREAT, 0o600) if kind == "busy unix" else None
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_EX)
    before = os.listdir(tmp_path)
    held, tasks = open_sockets(), aio.all_tasks()
    for turns in range(12):
        starting = aio.create_task(aio.listen(Accepted(), endpoint))
        for _ in range(turns):
            await aio.sleep(0)
        cancelled = starting.cancel()
        await aio.wait({starting})
        assert starting.cancelled() == cancelled
        if not cancelled:
            await stop(starting.result())
        del starting
        assert await settled(held) == held
        assert await aio.settled_tasks(tasks) == tasks
        assert os.listdir(tmp_path) == before
    if lock is not None:
        os.close(lock)
