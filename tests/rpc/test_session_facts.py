# SPDX-License-Identifier: MIT
"""What a session tells about itself: its numbers, its name, its peer, its proxy, and why it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, pair, raw_client, raw_server, transport_of, turns, until
from tieline import (
    ClientSession,
    EndOfStream,
    Limits,
    Methods,
    RemoteProtocolError,
    SessionStats,
    StreamReset,
    StreamTruncated,
    UnixStream,
    connect,
    serve,
)

METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


@METHODS.method
async def hang() -> None:
    await aio.Event().wait()


@METHODS.method
def fail() -> None:
    raise ValueError


@pytest.mark.row("S12")
async def test_stats_count_messages_and_bytes_both_ways():
    async with serve(METHODS, TCP_URL) as server, raw_client(server) as peer:
        await until(lambda: server.sessions)
        (session,) = server.sessions
        fresh = session.stats
        assert fresh == SessionStats(fresh.started, 0, 0, 0, 0, 0, None, None, 0, 0, 0.0)
        assert fresh.started == pytest.approx(aio.now(), abs=5)
        call = b'{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}'
        peer.send(call)
        answer = await peer.reader.readline()
        one = session.stats
        assert (one.messages_in, one.bytes_in) == (1, len(call) + 1)
        assert (one.messages_out, one.bytes_out) == (1, len(answer))
        assert one.last_received is not None
        assert one.last_sent is not None
        assert fresh.started is not None
        assert fresh.started <= one.last_received <= one.last_sent
        assert (one.errors, one.pending, one.running) == (0, 0, 0)
        peer.send(b"[" + call + b"," + call.replace(b"1,", b"2,", 1) + b"]")
        await peer.line()
        two = session.stats
        assert (two.messages_in, two.messages_out) == (2, 2)  # a batch is one message
        assert fresh.messages_in == 0  # a snapshot does not change
        with pytest.raises(dataclasses.FrozenInstanceError):
            fresh.errors = 1  # frozen


@pytest.mark.row("S12")
async def test_stats_tell_what_is_open_running_and_wrong():
    async with pair(METHODS, client_limits=Limits(linger=0.05)) as both:
        requests = [both.client.send_request("hang") for _ in range(3)]
        await until(lambda: both.peer.stats.running == 3)
        assert both.client.stats.pending == 3
        assert both.client.stats.running == both.peer.stats.pending == 0
        with pytest.raises(Exception, match="internal error"):
            await both.client.call("fail")
        assert both.peer.stats.errors == 1
        transport_of(both.client).write(b"garbage\n")
        await until(lambda: both.peer.stats.errors == 2)
        for request in requests:
            request.cancel()
        assert both.client.stats.pending == 0


@pytest.mark.row("S12")
async def test_stats_survive_the_connection():
    async with pair(METHODS) as both:
        await both.client.call("add", 1, 2)
        before = both.client.stats
    after = both.client.stats
    assert after == before
    assert ClientSession("h", 1).stats == SessionStats(None, 0, 0, 0, 0, 0, None, None, 0, 0)


@pytest.mark.row("S12")
async def test_the_repr_says_who_with_whom_and_how_it_stands():
    made = connect("tcp://10.1.2.3:4000")
    assert repr(made) == "<ClientSession tcp://10.1.2.3:4000 not connected>"
    async with pair(METHODS) as both:
        url, address = both.server.url, both.peer.remote_address()
        assert isinstance(address, tuple)
        assert repr(both.client) == f"<ClientSession {url} open, 0 calls in flight, 0 running>"
        both.client.send_request("hang").add_done_callback(lambda done: done.exception())
        await until(lambda: both.peer.stats.running)
        assert repr(both.client) == f"<ClientSession {url} open, 1 calls in flight, 0 running>"
        assert repr(both.peer) == f"<ServerSession 127.0.0.1:{address[1]} open, 0 calls in flight, 1 running>"
        assert repr(both.server) == f"<Server {url} listening, 1 sessions>"
        both.peer.close()
        assert "draining" in repr(both.peer)
        both.peer.abort()
        await both.client.wait_closed()
        assert repr(both.client) == f"<ClientSession {url} closed, {both.client.close_reason}>"
        assert repr(both.peer) == f"<ServerSession 127.0.0.1:{address[1]} closed, closed by this side>"
    assert repr(both.server) == "<Server tcp://127.0.0.1:0 not listening>"


@pytest.mark.row("S12")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_remote_address_of_tcp_is_the_peer_s(host: str):
    shown = f"[{host}]" if ":" in host else host
    async with pair(METHODS, url=f"tcp://{shown}:0") as both:
        ours, theirs = both.client.remote_address(), both.peer.remote_address()
        assert isinstance(ours, tuple)
        assert isinstance(theirs, tuple)
        assert ours[:2] == (host, both.server.get_addresses()[0].port)  # type: ignore[union-attr]  # it is there
        assert theirs[0] == host
        assert theirs[1] != ours[1]
        assert repr(both.peer).startswith(f"<ServerSession {shown}:{theirs[1]} ")
    assert both.client.remote_address() == ours  # it is still told when the connection is gone
    assert both.peer.remote_address() == theirs


@pytest.mark.row("S12")
async def test_the_remote_address_of_a_unix_socket_is_the_path_or_none(tmp_path: Path):
    async with pair(METHODS, url=f"unix://{tmp_path}/s") as both:
        assert both.client.remote_address() == f"{tmp_path}/s"
        assert both.peer.remote_address() is None  # its client is bound to nothing
        assert repr(both.peer).startswith("<ServerSession a local peer open")
        assert repr(both.client).startswith(f"<ClientSession unix://{tmp_path}/s open")
    assert both.peer.remote_address() is None
    assert repr(both.peer).startswith("<ServerSession a local peer closed")


@pytest.mark.row("S12", "S7")
async def test_the_close_reason_is_what_ended_the_connection(tmp_path: Path):
    async with serve(METHODS, TCP_URL) as server:
        for end, reason in (("eof", EndOfStream), ("truncated", StreamTruncated), ("reset", StreamReset)):
            async with raw_client(server) as peer:
                await until(lambda: server.sessions)
                (session,) = server.sessions
                assert not session.close_reason
                if end == "truncated":
                    peer.writer.write(b'{"jsonrpc"')
                if end == "reset":
                    peer.reset()
                else:
                    peer.writer.write_eof()
                await session.wait_closed()
                told: object = session.close_reason
                assert type(told) is reason
                if isinstance(told, StreamTruncated):
                    assert told.pending == 10
    async with serve(METHODS, TCP_URL, limits=Limits(max_message=100)) as server, raw_client(server) as peer:
        await until(lambda: server.sessions)
        (session,) = server.sessions
        peer.send(b"x" * 1000)
        assert (await peer.line())["error"]["code"] == -32600
        assert await peer.ended()
        peer.writer.close()
        await session.wait_closed()
        assert isinstance(session.close_reason, RemoteProtocolError)
        assert "message too large" in repr(session)


@pytest.mark.row("S12", "S10")
async def test_a_peer_that_takes_nothing_is_told_as_the_close_reason():
    limits = Limits(write_high_water=1000, write_low_water=100, write_timeout=0.05)
    async with raw_server(limits=limits) as (client, peer):
        peer.writer.transport.pause_reading()
        while client.has_room():
            client.send_notification("fill", ["x" * 100_000])
            await turns(1)
        await client.wait_closed()
        assert isinstance(client.close_reason, TimeoutError)
        assert "took no byte for 0.05 s" in str(client.close_reason)


class DuckProxy:
    """Dials as an object would that knows nothing of us."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, int]] = []

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: str, port: int, **_on_trio: Any
    ) -> Any:
        self.asked.append((host, port))
        return await aio.create_connection(protocol_factory, "127.0.0.1", self.port)


@pytest.mark.row("S1", "S12")
async def test_a_proxy_dials_in_our_place_and_gets_names_unresolved():
    async with serve(METHODS, TCP_URL) as server:
        proxy = DuckProxy(server.get_addresses()[0].port)  # type: ignore[union-attr]  # it is there
        async with ClientSession("wallet.invalid", 50001, proxy=proxy) as client:
            assert client.proxy() is proxy
            assert await client.call("add", 1, 1) == 2
            assert proxy.asked == [("wallet.invalid", 50001)]
            assert "wallet.invalid" in repr(client)
        async with connect(server.url) as direct:
            assert direct.proxy() is None
            await until(lambda: len(server.sessions) == 1)
            (peer,) = server.sessions
            assert peer.proxy() is None


@pytest.mark.row("S1")
async def test_a_proxy_that_fails_or_hangs_leaves_a_session_that_never_was(tmp_path: Path):
    class Refuses(DuckProxy):
        async def create_connection(self, *_args: Any, **_on_trio: Any) -> Any:
            raise OSError("the proxy refuses")

    class Hangs(DuckProxy):
        async def create_connection(self, *_args: Any, **_on_trio: Any) -> Any:
            await aio.Event().wait()

    with pytest.raises(OSError, match="the proxy refuses"):
        await connect("tcp://h:1", proxy=Refuses(0)).create_connection(nursery=aio.nursery())
    with pytest.raises(TimeoutError):
        await connect("tcp://h:1", proxy=Hangs(0), connect_timeout=0.01).create_connection(nursery=aio.nursery())
    with pytest.raises(ValueError, match="TCP endpoints only"):
        await connect(UnixStream(tmp_path / "s"), proxy=DuckProxy(0)).create_connection(nursery=aio.nursery())
