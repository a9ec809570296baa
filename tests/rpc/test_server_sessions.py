# SPDX-License-Identifier: MIT
"""What a server does to all of its sessions: broadcasting, and shutting down."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, RawPeer, raw_client, turns, until
from tieline import (
    TCP,
    ClosedError,
    ConnectionLost,
    Limits,
    LocalProtocolError,
    Methods,
    Server,
    ServerSession,
    SessionBase,
    connect,
    serve,
)

METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


# --- broadcast -------------------------------------------------------------------------------------------------------


async def slow_peer(server: Server, peer: RawPeer, session: SessionBase) -> None:
    """Fill the way to a peer that reads nothing."""
    peer.writer.transport.pause_reading()
    while session.has_room():
        session.send_notification("fill", ["x" * 100_000])
        await aio.sleep(0)


@pytest.mark.row("S3")
async def test_broadcast_reaches_every_session_the_slow_one_last():
    limits = Limits(write_high_water=1000, write_low_water=100)
    async with (
        serve(METHODS, TCP_URL, limits=limits) as server,
        raw_client(server) as slow,
        raw_client(server) as one,
        raw_client(server) as two,
    ):
        await until(lambda: len(server.sessions) == 3)
        name = slow.writer.get_extra_info("sockname")
        (clogged,) = [session for session in server.sessions if session.remote_address() == name]
        await slow_peer(server, slow, clogged)
        sending = aio.create_task(server.broadcast("tick", n=5))
        for peer in (one, two):
            assert await peer.line() == {"jsonrpc": "2.0", "method": "tick", "params": {"n": 5}}
        assert not sending.done()
        slow.writer.transport.resume_reading()
        while (await slow.line())["method"] != "tick":
            pass
        await sending


@pytest.mark.row("S3")
@pytest.mark.parametrize("end", ["reset", "close"])
async def test_broadcast_passes_over_sessions_that_go_meanwhile(end: str):
    limits = Limits(write_high_water=1000, write_low_water=100)
    async with (
        serve(METHODS, TCP_URL, limits=limits) as server,
        raw_client(server) as slow,
        raw_client(server) as good,
    ):
        await until(lambda: len(server.sessions) == 2)
        name = slow.writer.get_extra_info("sockname")
        (clogged,) = [session for session in server.sessions if session.remote_address() == name]
        await slow_peer(server, slow, clogged)
        sending = aio.create_task(server.broadcast("tick"))
        await good.line()
        if end == "reset":
            slow.reset()
        else:
            clogged.close()
        await sending
        clogged.abort()
    await server.broadcast("nobody is left")


async def heard(peer: RawPeer) -> bool:
    """Return whether *peer* is sent a "tick" before its connection ends."""
    peer.writer.transport.resume_reading()
    while (message := await peer.line()) is not None:
        if message["method"] == "tick":
            return True
    return False


@pytest.mark.row("S3")
@pytest.mark.parametrize("way", ["free", "slow"])
async def test_a_session_to_which_a_broadcast_cannot_be_sent_keeps_it_from_no_other(way: str):
    refused: list[str] = []

    class Picky(ServerSession):
        """The first one of these that is asked speaks a protocol without arguments by name."""

        def send_notification(self, method: str, args: object = None) -> None:
            if method == "tick" and not refused:
                refused.append(self.peer_name())
                raise LocalProtocolError("it has no named arguments")
            super().send_notification(method, args)

    limits = Limits(write_high_water=1000, write_low_water=100)
    async with (
        serve(Picky, TCP_URL, limits=limits) as server,
        raw_client(server) as one,
        raw_client(server) as two,
        raw_client(server) as three,
    ):
        await until(lambda: len(server.sessions) == 3)
        peers = {"{}:{}".format(*peer.writer.get_extra_info("sockname")): peer for peer in (one, two, three)}
        if way == "slow":
            for session in list(server.sessions):
                await slow_peer(server, peers[session.peer_name()], session)
        reading = [aio.create_task(heard(peer)) for peer in peers.values()]
        with pytest.raises(LocalProtocolError, match="no named arguments"):
            await server.broadcast("tick", n=5)
        server.close()
        for session in list(server.sessions):
            session.close()
        assert sorted([await one for one in reading]) == [False, True, True]


# --- shutdown --------------------------------------------------------------------------------------------------------


@pytest.mark.row("S2", "H61")
async def test_shutdown_lets_handlers_finish_and_then_closes():
    methods = Methods()
    gate = aio.Event()
    started: list[int] = []

    @methods.method
    async def wait(n: int) -> int:
        started.append(n)
        await gate.wait()
        return n

    async with serve(methods, TCP_URL) as server, connect(server.url) as one, connect(server.url) as two:
        calls = [one.send_request("wait", [1]), two.send_request("wait", [2])]
        await until(lambda: len(started) == 2)
        ending = aio.create_task(server.shutdown())
        await turns()
        assert server.server is None
        with pytest.raises(Exception, match="shutting down"):
            await one.call("wait", 3)
        assert not ending.done()
        gate.set()
        assert await aio.gather(*calls) == [1, 2]
        await ending
        assert not server.sessions
        assert started == [1, 2]
        await server.shutdown()  # and once more


@pytest.mark.row("S2", "H61")
@pytest.mark.parametrize("cancel", [False, True], ids=["deadline", "cancelled"])
async def test_shutdown_cuts_what_does_not_finish(cancel: bool):
    methods = Methods()
    told: list[str] = []

    @methods.method
    async def hang() -> None:
        told.append("started")
        try:
            await aio.Event().wait()
        finally:
            told.append("cancelled")

    async with serve(methods, TCP_URL) as server, connect(server.url) as one, connect(server.url) as two:
        calls = [client.send_request("hang") for client in (one, two)]
        await until(lambda: told == ["started"] * 2)
        if cancel:
            with pytest.raises(TimeoutError):
                await aio.wait_for(server.shutdown(), 0.02)
        else:
            await server.shutdown(0.02)
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        await until(lambda: told == ["started"] * 2 + ["cancelled"] * 2)
        await until(lambda: not server.sessions)


@pytest.mark.row("S2")
@pytest.mark.parametrize("delay", range(8))
async def test_a_client_that_comes_while_the_server_goes_is_not_left_alone(delay: int):
    async with serve(METHODS, TCP_URL) as server:
        endpoint = server.get_addresses()[0]
        assert isinstance(endpoint, TCP)
        with socket.create_connection((str(endpoint.host), endpoint.port)) as sock:
            await turns(delay)
            await server.shutdown(0.2)
            sock.settimeout(0)
            await turns(20)
            assert not server.sessions
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""


@pytest.mark.row("S2", "S3")
async def test_leaving_the_context_shuts_down_and_clients_are_told():
    async with serve(METHODS, TCP_URL) as server:
        client = connect(server.url)
        await client.create_connection(nursery=aio.nursery())
        await client.call("add", 1, 1)
    with pytest.raises(ConnectionLost):
        await client.call("add", 1, 1)
    await client.wait_closed()
    with pytest.raises((ConnectionLost, ClosedError)):
        await client.notify("add", 1, 1)


class Equal(ServerSession):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = ServerSession.__hash__


class Unhashable(ServerSession):
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]  # as a dataclass has it


@pytest.mark.parametrize("cls", [Equal, Unhashable])
async def test_sessions_that_may_equal_others_are_refused_when_the_class_is_given(
    cls: type[ServerSession], caplog: pytest.LogCaptureFixture
):
    with pytest.raises(TypeError, match=f"{cls.__name__} must define neither __eq__ nor __hash__"):
        serve(cls, TCP_URL)
    with pytest.raises(TypeError, match=f"{cls.__name__} must define neither __eq__ nor __hash__"):
        Server(cls, "127.0.0.1", 0)
    async with serve(lambda: cls(), TCP_URL) as server, raw_client(server) as peer:  # noqa: PLW0108  # a factory
        assert await peer.ended()
        assert not server.sessions
    assert "must define neither" in caplog.text
