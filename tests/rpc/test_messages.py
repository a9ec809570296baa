# SPDX-License-Identifier: MIT
"""Sessions of messages (row S14) over real sockets: both ends, their handlers, and how they end."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.message_sessions import PING, PONG, URL, Echoing, Lines, Node, Ordered, Waiting, served, the_peer
from tests.rpc.sessions import raw_client, transport_of, turns, until
from tieline import (
    TLS,
    BitcoinFramer,
    ClientSession,
    ClosedError,
    ConnectionLost,
    EndOfStream,
    FramerBase,
    Limits,
    LocalProtocolError,
    MessageSession,
    MessageTooLarge,
    Methods,
    NewlineFramer,
    OutgoingMessageTooLarge,
    RemoteProtocolError,
    Server,
    connect,
    serve,
)

pytestmark = pytest.mark.row("S14")

# --- talking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tcp", "unix", "tls"])
async def test_both_ends_speak_over_every_transport(scheme: str, tmp_path: Path, certificates: Certificates) -> None:
    url = f"unix://{tmp_path}/node" if scheme == "unix" else f"{scheme}://127.0.0.1:0"
    inside = TLS(certificate=certificates.server) if scheme == "tls" else None
    outside = TLS(ca=certificates.ca) if scheme == "tls" else None
    async with (
        served(Node, url, tls=inside) as server,
        connect(server.url, session_factory=Node, tls=outside) as client,
    ):
        assert isinstance(client, Node)
        peer = await the_peer(server)
        assert peer.server is server
        assert client.server is None
        await client.send_message(PING)
        await peer.send_message(PING)
        await until(lambda: len(client.seen) == len(peer.seen) == 2)
        assert sorted(client.seen) == sorted(peer.seen) == [PING, PONG]
        stats = client.stats
        assert (stats.messages_in, stats.messages_out, stats.bytes_in, stats.errors) == (2, 2, 64, 0)
        assert (stats.pending, stats.running) == (0, 0)
        assert "open, 0 messages at work" in repr(client)
    await until(lambda: client.losses == peer.losses == 1)
    assert client.close_reason is None


async def test_a_session_dials_by_host_and_port_and_serves_one_connection() -> None:
    async with served(Node) as server:
        endpoint = server.get_addresses()[0]
        client = Node(str(endpoint.host), endpoint.port)  # type: ignore[union-attr]  # a TCP endpoint
        async with client:
            with pytest.raises(LocalProtocolError, match="make a new session"):
                await client.create_connection(nursery=aio.nursery())
        with pytest.raises(ClosedError):
            await client.send_message(PING)


async def test_one_without_an_endpoint_is_to_be_served() -> None:
    session = Node()
    with pytest.raises(LocalProtocolError, match="no endpoint"):
        await session.create_connection(nursery=aio.nursery())
    with pytest.raises(LocalProtocolError, match="not connected"):
        await session.send_message(PING)


def test_what_only_calls_have_is_refused_before_anything_is_served() -> None:
    with pytest.raises(TypeError, match=r"codec: for sessions of calls, and Node is none"):
        serve(Node, URL, codec=object())  # type: ignore[call-overload]  # that is the point
    with pytest.raises(TypeError, match="belongs to one connection"):
        serve(Node, URL, framer=BitcoinFramer())  # type: ignore[call-overload]  # as above
    with socket.socket() as spare, pytest.raises(ValueError, match="sock excludes"):
        Node("localhost", 1, sock=spare)
    with pytest.raises(TypeError, match="methods"):
        connect("tcp://127.0.0.1:1", {}, session_factory=Node)  # type: ignore[call-overload]  # as above


async def test_calls_need_a_framer_of_bytes() -> None:
    with pytest.raises(TypeError, match="a BitcoinFramer are not bytes: it is for a MessageSession"):
        serve(Methods(), URL, framer=BitcoinFramer)
    async with served(Node) as server:
        with pytest.raises(TypeError, match="are not bytes"):
            async with ClientSession(server.url, framer=BitcoinFramer()):  # type: ignore[arg-type]  # that is the point
                raise AssertionError("it connected")


async def test_a_broadcast_of_calls_passes_over_sessions_of_messages() -> None:
    async with served(Lines) as server, Lines(server.url) as client:
        await the_peer(server)
        await server.broadcast("news")
        await client.send_message(b"line")
        peer = await the_peer(server)
        await until(lambda: peer.seen)
        assert client.seen == []


async def test_many_messages_leave_in_few_writes_and_keep_their_order() -> None:
    lines = [b"%d" % number for number in range(5000)]
    async with served(Lines) as server, Lines(server.url) as client:
        peer = await the_peer(server)
        for line in lines:
            await client.send_message(line)
        await until(lambda: len(peer.seen) == len(lines))
        assert peer.seen == lines


# --- limits and faults ---------------------------------------------------------------------------------------------


async def test_a_message_over_the_limit_is_refused_here_and_ends_the_session_there() -> None:
    async with served(Lines, limits=Limits(max_message=10)) as server, Lines(server.url) as client:
        peer = await the_peer(server)
        await client.send_message(b"x" * 11)
        await client.wait_closed()
        assert isinstance(client.close_reason, EndOfStream)
        assert isinstance(peer.close_reason, MessageTooLarge)
    async with served(Lines) as server, Lines(server.url, limits=Limits(max_message=10)) as client:
        with pytest.raises(OutgoingMessageTooLarge):
            await client.send_message(b"x" * 11)
        await client.send_message(b"x" * 10)
        peer = await the_peer(server)
        await until(lambda: peer.seen == [b"x" * 10])


@pytest.mark.row("H16")
async def test_a_bad_checksum_costs_one_message_and_bad_magic_the_session(caplog: pytest.LogCaptureFixture) -> None:
    good = BitcoinFramer().frame([PING])
    async with served(Node) as server, raw_client(server) as raw:
        raw.writer.write(good[:-1] + b"!" + good)
        assert await raw.reader.readexactly(len(good)) == BitcoinFramer().frame([PONG])
        peer = await the_peer(server)
        assert peer.stats.errors == 1
        raw.writer.write(b"GET / HTTP/1.1\r\n\r\n" + good)
        assert await raw.ended()
        await until(lambda: not server.sessions)
        assert isinstance(peer.close_reason, RemoteProtocolError)
        assert peer.seen == [PING]
    (record,) = caplog.records
    assert "broke the protocol: wrong magic" in record.getMessage()


@pytest.mark.row("H53")
async def test_one_connection_too_many_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Node, limits=Limits(max_connections=1)) as server, Node(server.url) as first:
        await the_peer(server)
        async with Node(server.url) as second:
            await second.wait_closed()
            assert isinstance(second.close_reason, EndOfStream)
        await first.send_message(PING)
        await until(lambda: first.seen)
    assert "turned away" in caplog.text


async def test_a_silent_stranger_is_closed_in_time() -> None:
    async with served(Node, limits=Limits(idle_timeout=0.05)) as server, raw_client(server) as raw:
        assert await raw.ended()


class Failing(Lines):
    def handle_message(self, message: bytes) -> None:
        super().handle_message(message)
        if message != b"fine":
            raise ValueError(message.decode())


async def test_a_handler_that_fails_is_logged_and_the_session_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Failing) as server, Lines(server.url) as client:
        for line in (b"boom", b"boom", b"fine"):
            await client.send_message(line)
        peer = await the_peer(server)
        await until(lambda: len(peer.seen) == 3)
        assert peer.stats.errors == 2
        assert not peer.is_closing()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "handler of 'handle_message' failed" in record.getMessage()


# --- handlers that wait --------------------------------------------------------------------------------------------


async def test_handlers_start_in_order_and_run_at_the_same_time_up_to_the_limit() -> None:
    async with served(Waiting, limits=Limits(max_pending=2)) as server, Lines(server.url) as client:
        for line in (b"a", b"b", b"c"):
            await client.send_message(line)
        peer = await the_peer(server)
        await until(lambda: len(peer.begun) == 2)
        await turns(20)
        assert peer.begun == [b"a", b"b"]
        assert peer.stats.running == 2
        peer.open(b"b", b"c")
        await until(lambda: peer.seen == [b"b", b"c"])
        peer.open(b"a")
        await until(lambda: peer.seen == [b"b", b"c", b"a"])


async def test_ordered_ones_wait_for_the_one_before() -> None:
    async with served(Ordered) as server, Lines(server.url) as client:
        for line in (b"a", b"b"):
            await client.send_message(line)
        peer = await the_peer(server)
        await until(lambda: peer.begun)
        peer.open(b"b")
        await turns(20)
        assert peer.begun == [b"a"]
        peer.open(b"a")
        await until(lambda: peer.seen == [b"a", b"b"])


async def test_one_that_takes_too_long_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Waiting, limits=Limits(handler_timeout=0.05)) as server, Lines(server.url) as client:
        await client.send_message(b"slow")
        peer = await the_peer(server)
        await until(lambda: peer.cancelled == [b"slow"])
        await until(lambda: peer.stats.running == 0)
        assert not peer.is_closing()
    assert "handler cancelled (limit 0.05 s)" in caplog.text


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_what_the_peer_said_before_its_end_is_handled(scheme: str, certificates: Certificates) -> None:
    inside = TLS(certificate=certificates.server) if scheme == "tls" else None
    outside = TLS(ca=certificates.ca) if scheme == "tls" else None
    async with served(Waiting, f"{scheme}://127.0.0.1:0", tls=inside) as server:
        async with Lines(server.url, ssl=outside, limits=Limits(linger=0.05)) as client:
            await client.send_message(b"last")
            peer = await the_peer(server)
            await until(lambda: peer.begun)
        await until(lambda: isinstance(peer.close_reason, EndOfStream))
        await turns(20)
        assert peer.cancelled == []
        assert server.sessions == {peer}
        peer.open(b"last")
        await peer.wait_closed()
        assert peer.seen == [b"last"]
        assert not server.sessions


async def test_a_server_that_is_cut_does_not_wait_for_them(certificates: Certificates) -> None:
    inside, outside = TLS(certificate=certificates.server), TLS(ca=certificates.ca)
    async with serve(Waiting, "tls://127.0.0.1:0", tls=inside) as server:
        async with Lines(server.url, ssl=outside) as client:
            await client.send_message(b"last")
            peer = await the_peer(server)
            await until(lambda: peer.begun)
        await until(lambda: isinstance(peer.close_reason, EndOfStream))
        await server.shutdown(0.01)
        await until(lambda: peer.cancelled == [b"last"])
        assert not server.sessions


async def test_a_reset_cancels_them() -> None:
    async with served(Waiting) as server, raw_client(server) as raw:
        raw.writer.write(b"a\n")
        peer = await the_peer(server)
        await until(lambda: peer.begun)
        raw.reset()
        await until(lambda: peer.cancelled == [b"a"])
        assert isinstance(peer.close_reason, ConnectionLost)


class Leaving(Lines):
    async def handle_message(self, message: bytes) -> None:
        await self.aclose()
        self.seen.append(message)


async def test_a_handler_may_close_its_own_session() -> None:
    async with served(Leaving) as server, Lines(server.url) as client:
        peer = await the_peer(server)
        await client.send_message(b"bye")
        await client.wait_closed()
        await peer.wait_closed()
        await until(lambda: peer.seen == [b"bye"])


# --- flow control --------------------------------------------------------------------------------------------------


@pytest.mark.row("S10")
async def test_both_ends_may_flood_each_other_and_neither_stands_still() -> None:
    big = b"echo" + b"x" * 100_000
    async with served(Echoing) as server, Echoing(server.url) as client:
        peer = await the_peer(server)

        async def flood(session: Lines) -> None:
            for _ in range(300):
                await session.send_message(big)

        await aio.gather(flood(client), flood(peer))
        await until(lambda: len(client.seen) == len(peer.seen) == 600)


class EchoingInOrder(Echoing):
    ordered = True


@pytest.mark.row("S10")
@pytest.mark.parametrize("cls", [Echoing, EchoingInOrder])
@pytest.mark.parametrize(("tasks", "count", "size"), [(1, 1500, 20_000), (400, 2, 100_000), (1500, 2, 3000)])
async def test_nor_do_those_who_answer_in_order_or_flood_from_many_tasks(
    cls: type[Echoing], tasks: int, count: int, size: int
) -> None:
    limits = Limits(write_timeout=3)
    async with served(cls, limits=limits) as server, cls(server.url, limits=limits) as client:
        peer = await the_peer(server)
        big = b"echo" + b"x" * size

        async def flood(session: Lines) -> None:
            for _ in range(count):
                await session.send_message(big)

        await aio.gather(*(flood(session) for session in (client, peer) for _ in range(tasks)))
        await until(lambda: len(client.seen) == len(peer.seen) == 2 * tasks * count)
        assert client.close_reason is peer.close_reason is None


class Generous(Lines):
    """Answers each line by so many large ones as it says."""

    async def handle_message(self, message: bytes) -> None:
        self.seen.append(message)
        for _ in range(int(message)):
            await self.send_message(b"x" * 10_000)


@pytest.mark.row("H45")
async def test_what_answers_may_pile_up_unsent_is_bounded() -> None:
    limits = Limits(max_pending_size=5_000_000, idle_timeout=None)
    async with served(Generous, limits=limits) as server, raw_client(server) as raw:
        peer = await the_peer(server)
        transport_of(peer).get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        raw.writer.transport.pause_reading()
        raw.send(b"1000")
        await until(lambda: peer.stats.bytes_out > 64 * 1024)
        await turns(50)
        unsent = transport_of(peer).get_write_buffer_size
        assert unsent() < 200_000, "behind its first message a handler waits"
        raw.send(*[b"1"] * 3000)
        await until(lambda: unsent() > 4_900_000)
        await until(lambda: not peer.has_room() and peer.stats.running > 100)
        await turns(50)
        assert unsent() <= 5_000_000 + 10_001, "beyond that all of them wait"


async def test_a_sender_waits_for_a_slow_peer_and_is_told_when_it_goes() -> None:
    async with served(Lines) as server, raw_client(server) as raw:
        peer = await the_peer(server)

        async def fill() -> None:
            while True:
                await peer.send_message(b"x" * 100_000)

        raw.writer.transport.pause_reading()
        filling = aio.ensure_future(fill())
        await until(lambda: not peer.has_room())
        await turns(20)
        unsent = transport_of(peer).get_write_buffer_size()
        assert unsent < 400_000
        extra = aio.ensure_future(peer.send_message(b"cancelled"))
        await turns(3)
        extra.cancel()
        with contextlib.suppress(*aio.Cancelled):
            await extra
        assert transport_of(peer).get_write_buffer_size() == unsent
        raw.reset()
        with pytest.raises(ConnectionLost):
            await filling


async def test_closing_flushes_what_was_sent() -> None:
    lines = [b"%d" % number for number in range(100)]
    async with served(Lines) as server:
        async with Lines(server.url) as client:
            peer = await the_peer(server)
            for line in lines:
                await client.send_message(line)
        await until(lambda: peer.seen == lines)


class Pairs(FramerBase[Iterable[int]]):
    """A framing of a user's own: a byte that says how many follow, as numbers."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:  # type: ignore[override]  # told, not kept
        return len(self._rest)

    def frame(self, messages: Iterable[Iterable[int]]) -> bytes:
        return b"".join(bytes([len([*message]), *message]) for message in messages)

    def messages(self, data: bytes) -> Any:
        self._rest += data
        while self._rest and len(self._rest) > self._rest[0]:
            count = self._rest[0] + 1
            body, self._rest = self._rest[1:count], self._rest[count:]
            yield [*body]


async def test_a_framer_of_ones_own_makes_any_message() -> None:
    async with served(Lines, framer=Pairs) as server, Lines(server.url, framer=Pairs()) as client:
        peer = await the_peer(server)
        await client.send_message([1, 2, 3])
        await client.send_message([])
        await until(lambda: peer.seen == [[1, 2, 3], []])


def test_a_session_of_calls_is_none_of_messages() -> None:
    assert not issubclass(ClientSession, MessageSession)
    assert not hasattr(MessageSession, "call")


@pytest.mark.row("F8")
async def test_a_framer_serves_one_session(caplog: pytest.LogCaptureFixture) -> None:
    framer = NewlineFramer()
    async with Server(lambda: Lines(framer=framer), "127.0.0.1", 0) as server, raw_client(server) as first:
        first.writer.write(b"half")
        async with raw_client(server) as second:
            second.send(b"of another")
            assert await second.ended()
        peer = await the_peer(server)
        first.send(b" a line")
        await until(lambda: peer.seen == [b"half a line"])
        with pytest.raises(TypeError, match="this NewlineFramer has had one"):
            await ClientSession(server.url, framer=framer).create_connection(nursery=aio.nursery())
    assert "could not be served" in caplog.text
