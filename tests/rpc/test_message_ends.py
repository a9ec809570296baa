# SPDX-License-Identifier: MIT
"""How sessions of messages end (row S14): what is still handled and sent then, and what is not any more."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import aio
from tests.attacks.websocket_peer import opening
from tests.certificates import Certificates
from tests.rpc.message_sessions import Lines, Ordered, Waiting, served, the_peer
from tests.rpc.sessions import RawPeer, raw_client, transport_of, turns, until
from tests.wire.websocket.pairs import CLOSE, TEXT, frame
from tieline import (
    TLS,
    ClosedError,
    ConnectionLost,
    EndOfStream,
    Governance,
    Limits,
    MessageTooLarge,
    Server,
    StreamReset,
    StreamTruncated,
)

pytestmark = pytest.mark.row("S14")


@asynccontextmanager
async def at_work(cls: type[Lines], *lines: bytes, **settings: Any) -> AsyncIterator[tuple[Any, RawPeer]]:
    """Give a session that was served and has begun to handle *lines*, and the bare socket that they came from."""
    async with served(cls, **settings) as server, raw_client(server) as raw:
        raw.send(*lines)
        peer = await the_peer(server)
        await until(lambda: len(peer.begun) == len(lines))
        yield peer, raw


@asynccontextmanager
async def over_tls(certificates: Certificates, cls: type[Waiting] = Waiting) -> AsyncIterator[tuple[Server, Any, Any]]:
    """Give a server, its session that handles a line, and the client that has sent the line; nobody closes that."""
    inside, outside = TLS(certificate=certificates.server), TLS(ca=certificates.ca)
    async with served(cls, "tls://127.0.0.1:0", tls=inside) as server:
        client = Lines(server.url, ssl=outside)
        await client.create_connection(nursery=aio.nursery())
        await client.send_message(b"last")
        peer = await the_peer(server)
        await until(lambda: peer.begun)
        yield server, peer, client
        await client.aclose()


def is_lost(session: Any) -> bool:
    lost: bool = session._engine.link.is_lost
    return lost


async def test_the_handler_of_what_came_in_one_read_with_a_fault_takes_its_first_step() -> None:
    async with served(Waiting, limits=Limits(max_message=10)) as server, raw_client(server) as raw:
        peer = await the_peer(server)
        raw.writer.write(b"first\n" + b"x" * 11 + b"\n")
        await until(lambda: is_lost(peer))
        assert isinstance(peer.close_reason, MessageTooLarge)
        assert peer.begun == [b"first"]


# --- the peer has ended its stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["abort", "force"])
@pytest.mark.row("S13")
async def test_who_only_said_all_can_be_cut_and_its_handlers_with_it(how: str) -> None:
    async with at_work(Waiting, b"a") as (peer, raw):
        raw.writer.write_eof()
        await until(lambda: isinstance(peer.close_reason, EndOfStream))
        if how == "abort":
            peer.abort()
        else:
            await peer.aclose(force_after=0.01)
        await aio.wait_for(peer.wait_closed(), 5)
        await until(lambda: peer.cancelled == [b"a"])
        assert peer.stats.running == 0


@pytest.mark.parametrize("how", ["abort", "force", "cancelled aclose"])
async def test_so_it_is_over_tls_when_the_connection_is_gone(how: str, certificates: Certificates) -> None:
    async with over_tls(certificates) as (server, peer, client):
        await client.aclose()
        await until(lambda: is_lost(peer))
        assert peer.cancelled == []
        assert peer.stats.running == 1
        if how == "abort":
            peer.abort()
        else:
            closing = aio.ensure_future(peer.aclose(force_after=0.01 if how == "force" else 1000))
            await turns()
            if how == "cancelled aclose":
                closing.cancel()
            await aio.wait({closing})
        await aio.wait_for(peer.wait_closed(), 5)
        await until(lambda: peer.cancelled == [b"last"])
        assert peer.stats.running == 0
        assert not server.sessions


async def test_so_it_is_over_a_websocket_whose_peer_has_closed_and_reads_nothing() -> None:
    """What it has said is worth its work, until this side cuts the connection: then nobody waits for handlers."""
    async with served(Waiting, "ws://127.0.0.1:0/rpc", limits=Limits(max_message=1 << 26)) as server:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=20) as sock:
            sock.sendall(opening() + frame(TEXT, b"a"))
            peer = await the_peer(server)
            await until(lambda: peer.begun)
            await peer.send_message(bytes(1 << 25))
            await until(transport_of(peer).get_write_buffer_size)  # that was more than the system takes
            sock.sendall(frame(CLOSE, b"\x03\xe8"))
            await until(transport_of(peer).is_closing)
            assert not is_lost(peer)
            peer.abort()
            await aio.wait_for(peer.wait_closed(), 60)
            await until(lambda: peer.cancelled == [b"a"])
            assert not server.sessions


async def test_a_reset_behind_the_end_harms_nobody() -> None:
    async with at_work(Waiting, b"a") as (peer, raw):
        raw.writer.write_eof()
        await until(lambda: isinstance(peer.close_reason, EndOfStream))
        raw.reset()
        await until(lambda: is_lost(peer))
        await turns()
        assert peer.cancelled == []
        peer.open(b"a")
        await aio.wait_for(peer.wait_closed(), 5)
        assert peer.seen == [b"a"]


async def test_an_end_in_the_middle_of_a_message_over_tls_loses_that_message_alone(certificates: Certificates) -> None:
    async with over_tls(certificates) as (_, peer, client):
        transport_of(client).write(b"hal")
        await client.aclose()
        await until(lambda: is_lost(peer))
        await turns()
        peer.open(b"last")
        await aio.wait_for(peer.wait_closed(), 5)
        assert isinstance(peer.close_reason, StreamTruncated)
        assert (peer.seen, peer.cancelled) == ([b"last"], [])


async def test_both_may_close_at_once_over_tls(certificates: Certificates) -> None:
    async with over_tls(certificates) as (_, peer, client):
        closing = aio.ensure_future(peer.aclose())
        await turns()
        await client.aclose()
        await until(lambda: is_lost(peer))
        await turns()
        assert not closing.done()
        peer.open(b"last")
        await aio.wait_for(closing, 5)
        assert (peer.seen, peer.cancelled) == ([b"last"], [])
        assert peer.close_reason is None


class Answering(Waiting):
    async def handle_message(self, message: bytes) -> None:
        await super().handle_message(message)
        await self.send_message(b"an answer")


async def test_that_nothing_can_be_sent_any_more_is_no_failure_of_the_handler(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_tls(certificates, Answering) as (_, peer, client):
        await client.aclose()
        await until(lambda: is_lost(peer))
        peer.open(b"last")
        await aio.wait_for(peer.wait_closed(), 5)
        assert peer.seen == [b"last"]
        assert peer.stats.errors == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- the connection breaks -----------------------------------------------------------------------------------------


@pytest.mark.row("H48")
async def test_a_reset_starts_no_handlers() -> None:
    async with served(Waiting, limits=Limits(max_pending=2)) as server, raw_client(server) as raw:
        raw.writer.write(b"a\nb\n" + b"x\n" * 30_000)
        peer = await the_peer(server)
        await until(lambda: len(peer.begun) == 2)
        assert peer.stats.messages_in > 1000, "those would all have been started, to be cancelled at once"
        raw.reset()
        await aio.wait_for(peer.wait_closed(), 5)
        await until(lambda: sorted(peer.cancelled) == [b"a", b"b"])  # in no order on trio
        assert peer.begun == [b"a", b"b"]
        assert isinstance(peer.close_reason, StreamReset)
        assert peer.stats.running == 0


# --- this side closes ----------------------------------------------------------------------------------------------


class Returning(Waiting):
    """Its handler is plain, and gives what is to be awaited."""

    def handle_message(self, message: bytes) -> Any:
        return super().handle_message(message)


async def test_what_a_plain_handler_has_given_to_be_awaited_is_closed_where_nobody_will() -> None:
    """Else Python warns of it, here as an error."""
    async with served(Returning) as server, raw_client(server):
        peer = await the_peer(server)
        peer._engine.link.data_received(b"a\nb\n")
        peer.abort()  # on trio, and on CPython 3.11, the handlers have not taken their first step
        await aio.wait_for(peer.wait_closed(), 60)
        await turns()
        assert peer.seen == []


class Quitting(Lines):
    """Ends the session at a line "quit", in the way of its class."""

    how = "close"

    def handle_message(self, message: bytes) -> Any:
        self.seen.append(message)
        if message == b"quit":
            getattr(self, self.how)()


class QuittingAsync(Quitting):
    async def handle_message(self, message: bytes) -> None:
        super().handle_message(message)


class QuittingOrdered(Quitting):
    ordered = True

    async def handle_message(self, message: bytes) -> None:
        await aio.sleep(0)
        super().handle_message(message)


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("cls", [Quitting, QuittingAsync, QuittingOrdered])
@pytest.mark.parametrize("cuts", [False, True])
async def test_no_message_is_handled_behind_the_one_that_closes(cls: type[Quitting], how: str, cuts: bool) -> None:
    class This(cls):  # type: ignore[valid-type,misc]  # a class that is a parameter
        pass

    This.how = how
    async with served(This, limits=Limits(linger=0.05)) as server, raw_client(server) as raw:
        peer = await the_peer(server)
        raw.writer.write(b"a\nquit\n" if cuts else b"a\nquit\n" + b"x\n" * 200)
        if cuts:
            await until(lambda: len(peer.seen) == 2)
            raw.writer.write(b"x\n" * 200)
        await aio.wait_for(peer.wait_closed(), 5)
        assert peer.seen == [b"a", b"quit"]
        assert peer.close_reason is None
        assert peer.stats.running == 0


class Leaving(Lines):
    """Waits for the end of its session at a line "quit"."""

    ordered = True

    async def handle_message(self, message: bytes) -> None:
        self.seen.append(message)
        if message == b"quit":
            await self.aclose(force_after=30)
            self.seen.append(b"gone")


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("at_once", [1, 20], ids=["behind the gate", "behind its first step"])
async def test_an_ordered_one_that_waits_for_the_end_does_not_wait_for_what_came_with_it(at_once: int) -> None:
    limits = Limits(governance=Governance(initial_concurrent=at_once))
    async with served(Leaving, limits=limits) as server, raw_client(server) as raw:
        peer = await the_peer(server)
        raw.writer.write(b"a\nquit\nmore\nmore\n")
        await aio.wait_for(peer.wait_closed(), 5)
        await until(lambda: peer.seen == [b"a", b"quit", b"gone"])
        assert peer.stats.running == 0


async def test_what_waits_for_its_turn_is_dropped_when_the_session_closes() -> None:
    async with served(Ordered) as server, raw_client(server) as raw:
        raw.send(b"a", b"b", b"c")
        peer = await the_peer(server)
        await until(lambda: peer.begun and peer.stats.running == 3)
        peer.close()
        peer.open(b"a", b"b", b"c")
        await aio.wait_for(peer.wait_closed(), 5)
        assert peer.begun == peer.seen == [b"a"]


async def test_garbage_does_not_end_a_session_that_is_closing_already() -> None:
    async with at_work(Waiting, b"a", limits=Limits(max_message=10, message_timeout=0.01)) as (peer, raw):
        raw.writer.write(b"begun")
        await until(lambda: peer.stats.bytes_in == 7)
        peer.close()
        raw.send(b"x" * 100)
        await until(lambda: peer.stats.bytes_in > 100)
        await aio.sleep(0.03)
        assert peer.cancelled == []
        peer.open(b"a")
        await aio.wait_for(peer.wait_closed(), 5)
        assert peer.seen == [b"a"]
        assert (peer.close_reason, peer.stats.errors) == (None, 0)


@pytest.mark.row("S13")
async def test_after_abort_nothing_can_be_sent() -> None:
    async with served(Lines) as server, Lines(server.url) as client:
        client.abort()
        assert client.is_closing()
        with pytest.raises(ClosedError):
            await client.send_message(b"dropped")
        await client.wait_closed()
        assert client.close_reason is None


class Thankful(Lines):
    """Answers each line; then the connection is reset if the other end has closed and reads nothing any more."""

    async def handle_message(self, message: bytes) -> None:
        self.seen.append(message)
        await self.send_message(b"thanks")


@pytest.mark.parametrize("count", [10, 1000, 20_000])
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_what_was_sent_before_closing_arrives_though_the_peer_is_talking(
    scheme: str, count: int, tmp_path: Path
) -> None:
    url = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/talking"
    async with served(Thankful, url) as server:
        async with Lines(server.url, limits=Limits(linger=30)) as client:
            peer = await the_peer(server)
            for number in range(count):
                await client.send_message(b"%d" % number)
            await client.aclose(force_after=30)  # on a busy machine so many take longer than usual
        assert client.close_reason is None
        await aio.wait_for(peer.wait_closed(), 30)
        assert peer.seen == [b"%d" % number for number in range(count)]
        assert isinstance(peer.close_reason, EndOfStream)


async def test_a_peer_that_does_not_close_as_well_is_not_waited_for_without_end() -> None:
    async with served(Thankful, limits=Limits(linger=0.02)) as server, raw_client(server) as raw:
        raw.send(b"a")
        assert await raw.reader.readline() == b"thanks\n"
        peer = await the_peer(server)
        await aio.wait_for(peer.aclose(), 5)
        assert peer.close_reason is None
        assert await raw.ended()


async def test_who_has_been_sent_nothing_is_not_waited_for_at_all() -> None:
    async with served(Lines, limits=Limits(linger=1000)) as server, raw_client(server) as raw:
        raw.send(b"a")
        peer = await the_peer(server)
        await until(lambda: peer.seen)
        await aio.wait_for(peer.aclose(1000), 5)
        assert await raw.ended()


async def test_senders_and_a_close_race_and_what_send_message_took_arrives() -> None:
    async with served(Lines) as server:
        client = Lines(server.url)
        await client.create_connection(nursery=aio.nursery())
        peer = await the_peer(server)
        taken: list[bytes] = []

        async def send(name: int) -> None:
            for number in range(100_000):
                line = b"%d-%d" % (name, number) + b"x" * 3000
                await client.send_message(line)
                taken.append(line)
                await aio.sleep(0)

        senders = [aio.ensure_future(send(name)) for name in range(10)]
        await until(lambda: len(taken) > 200)
        client.close()
        ends = await aio.wait_for(aio.gather(*senders, return_exceptions=True), 5)
        assert {type(end) for end in ends} == {ClosedError}
        await peer.wait_closed()
        assert peer.seen == taken


async def test_several_handlers_may_close_their_session_at_once() -> None:
    class Closing(Waiting):
        async def handle_message(self, message: bytes) -> None:
            await super().handle_message(message)
            await self.aclose()
            self.seen.append(message + b" has closed")

    async with at_work(Closing, b"a", b"b") as (peer, _):
        peer.open(b"a", b"b")
        await aio.wait_for(peer.wait_closed(), 5)
        await until(lambda: sorted(peer.seen)[1::2] == [b"a has closed", b"b has closed"])
        assert peer.stats.running == 0
        with pytest.raises((ClosedError, ConnectionLost)):
            await peer.send_message(b"late")
