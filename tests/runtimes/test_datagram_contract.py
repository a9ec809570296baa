# SPDX-License-Identifier: MIT
"""asyncio's contract of datagram transports, and ours beyond it, on asyncio, uvloop, trio and in blocking code."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.runtimes.datagram_scene import LOCAL, RUNTIMES, Scene, udp, unix
from tests.runtimes.sockets import closed_port
from tieline.transports import DatagramTransport

pytestmark = pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True)


# --- T5, T7: what comes and goes -------------------------------------------------------------------------------------


@pytest.mark.row("T5", "T7")
async def test_datagrams_go_both_ways_and_keep_their_bounds(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        client = await scene.opened(None, server.transport.get_extra_info("sockname"))
        assert isinstance(client.transport, DatagramTransport)
        for data in (b"one", bytearray(b"two"), memoryview(b"three"), b"\0" * 65507):
            client.transport.sendto(data)
        await scene.until(lambda: len(server.got) == 4)
        assert server.got == [b"one", b"two", b"three", b"\0" * 65507]
        assert set(server.senders) == {client.transport.get_extra_info("sockname")}
        server.transport.sendto(b"answer", server.senders[0])
        await scene.until(lambda: client.got)
        assert client.got == [b"answer"]
        assert client.senders == [server.transport.get_extra_info("sockname")]


@pytest.mark.row("T5", "K17", "H73")
async def test_empty_datagrams_are_sent_and_delivered(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        client = await scene.opened(None, server.transport.get_extra_info("sockname"))
        client.transport.sendto(b"")
        client.transport.sendto(b"behind")
        await scene.until(lambda: len(server.got) == 2)
        assert server.got == [b"", b"behind"]
        server.transport.sendto(b"", server.senders[0])
        await scene.until(lambda: client.got)
        assert client.got == [b""]


@pytest.mark.row("T5", "K17", "H73")
async def test_one_that_is_too_long_raises_where_it_is_sent(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer:
            client = await scene.opened(None, peer.getsockname())
            with pytest.raises(OSError, match="65508 bytes") as raised:
                client.transport.sendto(b"x" * 65508)
            assert raised.value.errno == errno.EMSGSIZE
            client.transport.sendto(b"short")
            assert await aio.to_thread(peer.recv, 100) == b"short"
            await scene.turns()
            assert client.errors == []


@pytest.mark.row("K17", "H73")
async def test_a_refusal_is_told_and_the_socket_stays_usable(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer:
            address = peer.getsockname()
        client = await scene.opened(None, address)
        client.transport.sendto(b"is anybody there?")
        await scene.until(lambda: client.errors)
        assert isinstance(client.errors[0], ConnectionRefusedError)
        client.transport.sendto(b"again")  # whether or not the system reports the refusal in its place
        await scene.until(lambda: len(client.errors) > 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.settimeout(10)
            client.transport.sendto(b"now?")
            assert peer.recv(100) == b"now?"
        assert not client.transport.is_closing()


@pytest.mark.row("T5")
async def test_one_that_cannot_be_sent_is_told_of_once(runtime: Any) -> None:
    """Also though sending is tried again, in case the system meant an earlier one."""
    async with Scene(runtime) as scene:
        one = await scene.opened(LOCAL)
        for count in (1, 2):
            one.transport.sendto(b"to all", ("255.255.255.255", 9))  # which nobody may who has not said so
            await scene.until(lambda count=count: len(one.errors) >= count)  # type: ignore[misc]  # a lambda with a default
            await scene.turns()
            assert [type(error) for error in one.errors] == count * [PermissionError]
        with udp() as peer:
            one.transport.sendto(b"to one", peer.getsockname())
            assert await aio.to_thread(peer.recv, 100) == b"to one"


@pytest.mark.row("K5", "H73")
async def test_a_connected_socket_hears_no_strangers(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer, udp() as stranger:
            client = await scene.opened(None, peer.getsockname())
            ours = client.transport.get_extra_info("sockname")
            for number in range(50):
                stranger.sendto(b"spoofed %d" % number, ours)
            peer.sendto(b"true", ours)
            await scene.until(lambda: client.got)
            await scene.turns()
            assert client.got == [b"true"]


@pytest.mark.row("T5")
async def test_a_flood_is_read_in_turns_and_what_nobody_reads_is_dropped_and_counted(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = server.transport.get_extra_info("sockname")
        server.transport.pause_reading()
        with udp() as peer:
            for number in range(1000):
                peer.sendto(b"%d" % number, address)
            await scene.turns()
            assert server.got == []
            server.transport.resume_reading()
            assert server.got == []  # never from inside resume_reading
            await scene.until(lambda: server.got)
            await scene.turns()
        lost = server.transport.get_extra_info("dropped_by_system")
        assert lost > 0
        assert len(server.got) + lost == 1000
        assert server.got == [b"%d" % number for number in range(len(server.got))]


@pytest.mark.row("T5")
async def test_one_turn_reads_many_but_not_all(runtime: Any) -> None:
    """So that neither waiting costs much, nor others wait long."""
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        address = server.transport.get_extra_info("sockname")
        with udp() as peer:
            for _ in range(100):
                peer.sendto(b"x", address)
        counts: list[int] = []
        while sum(counts) < 100:
            before = len(server.got)
            if scene.is_blocking:
                server.transport.poll(0)
            else:
                await aio.sleep(0)
            counts.append(len(server.got) - before)
            assert len(counts) < 1000
        assert 32 <= max(counts) < 100  # on trio a turn of the test may see two


@pytest.mark.row("T2", "T5")
async def test_pausing_within_a_delivery_stops_those_behind_it(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL, datagram=lambda transport: transport.pause_reading())
        with udp() as peer:
            for number in range(3):
                peer.sendto(b"%d" % number, server.transport.get_extra_info("sockname"))
        for count in (1, 2, 3):
            await scene.until(lambda count=count: len(server.got) == count)  # type: ignore[misc]  # a lambda with a default
            await scene.turns()
            assert len(server.got) == count
            assert not server.transport.is_reading()
            server.transport.resume_reading()
            assert server.transport.is_reading()


@pytest.mark.row("T7")
async def test_a_callback_that_fails_is_reported_and_the_next_datagram_comes(runtime: Any) -> None:
    def fail(_transport: Any) -> None:
        raise RuntimeError("out of the callback")

    with aio.reported() as reports:
        async with Scene(runtime) as scene:
            server = await scene.opened(LOCAL, datagram=fail)
            with udp() as peer:
                for data in (b"one", b"two"):
                    peer.sendto(data, server.transport.get_extra_info("sockname"))
            await scene.until(lambda: len(server.got) == 2)
    assert len(reports) == 2 or scene.is_blocking  # blocking code has no loop that would be told


# --- T1: facts and the end -------------------------------------------------------------------------------------------


@pytest.mark.row("T1")
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_end_is_told_once_and_nothing_behind_it(how: str, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL, datagram=lambda transport: getattr(transport, how)())
        transport, address = server.transport, server.transport.get_extra_info("sockname")
        with udp() as peer:
            peer.sendto(b"one", address)
            peer.sendto(b"two", address)
            await scene.until(lambda: server.lost_with)
            assert server.told == ["made", "datagram", "lost"]
            assert server.lost_with == [None]
            assert transport.is_closing()
            transport.sendto(b"late", peer.getsockname())
            transport.close()
            transport.abort()
            await scene.turns() if not scene.is_blocking else None
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("socket").fileno() == -1
        assert transport.get_extra_info("nonsense", 7) == 7
        assert "gone" in repr(transport)


@pytest.mark.row("T1")
async def test_facts(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer:
            client = await scene.opened(None, peer.getsockname())
            transport = client.transport
            assert transport.get_extra_info("peername") == peer.getsockname()
            assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
            assert transport.get_extra_info("socket").fileno() >= 0
            assert transport.get_extra_info("dropped") == 0
            assert transport.get_protocol() is client
            assert "open" in repr(transport)
            server = await scene.opened(LOCAL)
            assert server.transport.get_extra_info("peername") is None


@pytest.mark.row("T7")
async def test_whoever_ends_it_in_connection_made_is_told_behind_it(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL, made=lambda transport: transport.close())
        await scene.until(lambda: server.lost_with)
        assert server.told == ["made", "lost"]


async def test_what_fails_in_connection_made_comes_out_and_leaves_nothing(runtime: Any) -> None:
    def fail(_transport: Any) -> None:
        raise RuntimeError("not today")

    async with Scene(runtime) as scene:
        with pytest.raises(RuntimeError, match="not today"):
            await scene.opened(LOCAL, made=fail)
        await scene.turns()


# --- arguments of sendto ---------------------------------------------------------------------------------------------


@pytest.mark.row("T5")
async def test_where_to_is_asked_for_where_it_must_be_said_and_nowhere_else(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        address = server.transport.get_extra_info("sockname")
        with pytest.raises(ValueError, match="needs an address"):
            server.transport.sendto(b"x")
        with pytest.raises(ValueError, match="numeric IPv4 address, not to 'localhost'"):
            server.transport.sendto(b"x", ("localhost", 1))
        with pytest.raises(TypeError, match="bytes-like, not str"):
            server.transport.sendto("x", address)
        client = await scene.opened(None, address)
        client.transport.sendto(b"x", address)
        with pytest.raises(ValueError, match="is connected to"):
            client.transport.sendto(b"x", LOCAL)
        with pytest.raises(ValueError, match="only Unix sockets"):
            client.transport.receive_ancillary(100)
        await scene.until(lambda: server.got)
        assert server.got == [b"x"]


# --- T4: flow control ------------------------------------------------------------------------------------------------


@pytest.mark.row("T4", "T5")
@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_receiver_that_does_not_read_holds_the_sender_up(
    is_connected: bool, tmp_path: Path, runtime: Any
) -> None:
    async with Scene(runtime) as scene:
        with unix(tmp_path / "peer") as peer:
            where = str(tmp_path / "peer")
            client = await scene.opened(str(tmp_path / "own"), where if is_connected else None)
            transport, to = client.transport, None if is_connected else where
            sent = 0
            while "pause" not in client.told:
                transport.sendto(b"%08d" % sent * 125, to)
                sent += 1
                assert sent < 10_000
            assert transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]
            assert transport.get_write_buffer_size() < 2 * transport.get_write_buffer_limits()[1]
            with pytest.raises(OSError, match="bytes is too long") as raised:
                transport.sendto(b"x" * 10_000_000, to)  # refused also when it would have to wait
            assert raised.value.errno == errno.EMSGSIZE
            got = []

            def read() -> bool:
                peer.setblocking(False)
                try:
                    while True:
                        got.append(peer.recv(10_000))
                except BlockingIOError:
                    return len(got) == sent

            await scene.until(read)
            await scene.until(lambda: "resume" in client.told)
            assert client.told.count("pause") == client.told.count("resume") == 1
            assert got == [b"%08d" % number * 125 for number in range(sent)]
            assert transport.get_write_buffer_size() == 0


@pytest.mark.row("T5")
async def test_who_does_not_heed_pause_writing_is_stopped(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with unix(tmp_path / "peer"):
            client = await scene.opened(None, str(tmp_path / "peer"))
            with pytest.raises(OSError, match="obey pause_writing") as raised:
                _send_without_end(client.transport)
            assert raised.value.errno == errno.ENOBUFS
            assert client.transport.get_write_buffer_size() < 5 << 20


def _send_without_end(transport: Any) -> None:
    for _ in range(1000):
        transport.sendto(b"x" * 10_000)


@pytest.mark.row("T1")
async def test_close_sends_what_is_unsent_first(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with unix(tmp_path / "peer") as peer:
            client = await scene.opened(None, str(tmp_path / "peer"))
            for number in range(600):
                client.transport.sendto(b"%d" % number)
            assert client.transport.get_write_buffer_size() > 0
            client.transport.close()
            await scene.turns()
            assert not client.lost_with
            got = []

            def read() -> bool:
                peer.setblocking(False)
                try:
                    while True:
                        got.append(peer.recv(100))
                except BlockingIOError:
                    return bool(client.lost_with)

            await scene.until(read)
            assert got == [b"%d" % number for number in range(600)]


@pytest.mark.row("T5")
async def test_one_full_receiver_does_not_hold_up_the_others(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with unix(tmp_path / "stuck"), unix(tmp_path / "other") as other:
            server = await scene.opened(str(tmp_path / "server"))
            stuck, there = str(tmp_path / "stuck"), str(tmp_path / "other")
            while server.transport.get_write_buffer_size() == 0:
                server.transport.sendto(b"x", stuck)
            server.transport.sendto(b"to another", there)
            other.setblocking(False)
            got = []

            def read() -> bool:
                try:
                    got.append(other.recv(100))
                except BlockingIOError:
                    return False
                return True

            await scene.until(read)
            assert got == [b"to another"]
            assert server.transport.get_write_buffer_size() > 0


async def test_limits_of_the_write_buffer(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        transport = (await scene.opened(LOCAL)).transport
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=4000)
        assert transport.get_write_buffer_limits() == (1000, 4000)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        with pytest.raises(ValueError, match="low <= high"):
            transport.set_write_buffer_limits(high=1, low=2)


# --- Unix sockets ----------------------------------------------------------------------------------------------------


@pytest.mark.row("T5", "K5")
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
async def test_unix_sockets_by_path(kind: Any, tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(kind(str(tmp_path / "server")))
        client = await scene.opened(None, kind(str(tmp_path / "server")))
        client.transport.sendto(b"hello")
        await scene.until(lambda: server.got)
        # Who connects has a name, which the system chose, so that it can be answered.
        assert server.senders[0].startswith(b"\0")
        server.transport.sendto(b"and back", server.senders[0])
        await scene.until(lambda: client.got)
        assert client.got == [b"and back"]


@pytest.mark.row("H73")
async def test_long_datagrams_of_unix_sockets_come_whole_and_too_long_ones_are_counted(
    tmp_path: Path, runtime: Any
) -> None:
    from tieline import UnixDatagram

    async with Scene(runtime) as scene:
        server = await scene.opened(UnixDatagram(tmp_path / "wide"))
        narrow = await scene.opened(UnixDatagram(tmp_path / "narrow", max_size=1000))
        client = await scene.opened(str(tmp_path / "client"))
        client.transport.sendto(b"x" * 150_000, str(tmp_path / "wide"))
        for size in (999, 1000, 1001, 150_000, 1):
            client.transport.sendto(b"x" * size, str(tmp_path / "narrow"))
        await scene.until(lambda: server.got and len(narrow.got) == 3)
        assert server.got == [b"x" * 150_000]
        assert [len(data) for data in narrow.got] == [999, 1000, 1]
        assert narrow.transport.get_extra_info("dropped") == 2
        assert server.transport.get_extra_info("dropped") == 0


@pytest.mark.row("K17")
async def test_a_unix_socket_where_nobody_is_any_more_is_an_error_that_is_told(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        peer = unix(tmp_path / "peer")
        client = await scene.opened(None, str(tmp_path / "peer"))
        server = await scene.opened(str(tmp_path / "server"))
        peer.close()
        client.transport.sendto(b"x")
        server.transport.sendto(b"x", str(tmp_path / "nowhere"))
        await scene.until(lambda: client.errors and server.errors)
        assert isinstance(client.errors[0], ConnectionRefusedError)
        assert isinstance(server.errors[0], FileNotFoundError)
        assert not client.transport.is_closing()
        assert not server.transport.is_closing()


async def test_a_port_that_refuses_is_no_error_when_connecting(runtime: Any) -> None:
    with closed_port() as port:
        async with Scene(runtime) as scene:
            client = await scene.opened(None, ("127.0.0.1", port))
            await scene.turns()
            assert client.told == ["made"]
