# SPDX-License-Identifier: MIT
"""What packet servers tell hooks: of their connections."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.rpc.sessions import TCP_URL
from tests.servers.scene import DATAGRAMS, JSON, LINES, all_of, echo, heard, peer_of, reset, told, until
from tieline import Counts, Hooks, Limits, Statistics
from tieline.blocking import serve as blocking_serve


class Log(Hooks):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.clients: set[int] = set()

    def connection_opened(self, session: Any) -> None:
        assert session.get_extra_info("peername")[0] == "127.0.0.1"
        self.clients.add(id(session))
        self.seen.append(("opened",))

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        assert session.get_extra_info("peername")[0] == "127.0.0.1", "facts can be asked behind the end"
        self.clients.add(id(session))
        self.seen.append(("closed", type(reason).__name__))

    def connection_refused(self, session: Any, reason: str) -> None:
        self.seen.append(("refused", reason))

    def call_started(self, session: Any, method: str) -> None:
        raise AssertionError("there are no calls")

    def limit_hit(self, session: Any, error: Exception) -> None:
        self.seen.append(("limit", type(error).__name__))


async def test_connections_of_a_packet_server_are_told() -> None:
    log = Log()
    async with tieline.serve(echo, TCP_URL, protocol=LINES, hooks=log) as server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            assert await heard(peer, 2) == b"x\n"
            assert log.seen == [("opened",)]
        await until(lambda: len(log.seen) == 2)
    assert log.seen[1] == ("closed", "EndOfStream")
    assert len(log.clients) == 1


async def test_statistics_of_a_packet_server_hold_its_connections_only() -> None:
    statistics = Statistics()
    async with tieline.serve(echo, TCP_URL, protocol=LINES, hooks=statistics) as server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            assert await heard(peer, 2) == b"x\n"
            found = statistics.snapshot()
    assert (found["connections"]["open"], found["methods"], found["groups"]) == (1, [], [])
    assert set(found["traffic"].values()) == {0}


async def test_connections_over_websocket_are_told() -> None:
    log = Log()
    async with tieline.serve(echo, "ws://127.0.0.1:0", protocol=LINES, hooks=log) as server:
        address: Any = server.get_addresses()[0]
        async with tieline.connect(address, protocol=LINES) as client:
            await client.send_packet("x")
            assert await client.recv_packet() == "x"
            assert log.seen == [("opened",)]
        await until(lambda: len(log.seen) == 2)
    assert log.seen[1] == ("closed", "EndOfStream")


async def test_a_hook_may_cut_a_connection_before_its_handler_begins() -> None:
    class Bouncer(Hooks):
        def __init__(self) -> None:
            self.closed = 0

        def connection_opened(self, session: Any) -> None:
            session.abort()

        def connection_closed(self, session: Any, reason: Exception | None) -> None:
            assert session.get_extra_info("peername")[0] == "127.0.0.1"
            self.closed += 1

    begun: list[object] = []

    async def handler(client: Any) -> None:
        begun.append(client)

    bouncer = Bouncer()
    async with tieline.serve(handler, TCP_URL, protocol=LINES, hooks=bouncer) as server:
        with peer_of(server):
            await until(lambda: bouncer.closed == 1 and not server.connections)
    assert begun == []


async def test_a_reset_is_told_as_the_reason() -> None:
    log = Log()
    async with tieline.serve(echo, TCP_URL, protocol=LINES, hooks=log) as server:
        peer = peer_of(server)
        await until(lambda: log.seen)
        reset(peer)
        await until(lambda: len(log.seen) == 2)
    assert log.seen[1] == ("closed", "StreamReset")


async def test_refusals_and_broken_rules_are_told() -> None:
    log = Log()
    limits = Limits(max_connections=1)
    async with tieline.serve(echo, TCP_URL, protocol=JSON, limits=limits, hooks=log) as server:
        with peer_of(server) as peer:
            await until(lambda: log.seen)
            with peer_of(server) as other:
                await until(lambda: len(log.seen) == 2)
                try:
                    assert await all_of(other) == b""
                except ConnectionError:  # cut without a word, which may be seen as a reset
                    pass
            await told(peer, b"{no json}\n")
            await until(lambda: len(log.seen) == 4)
    assert log.seen[1] == ("refused", "server busy (limit 1 connections)")
    assert log.seen[2] == ("limit", "StreamProtocolParseError")
    assert log.seen[3][0] == "closed"


@pytest.mark.parametrize("error", [ValueError("no"), aio.CancelledError()])
async def test_a_hook_that_fails_is_logged_and_changes_nothing(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Hooks):
        def connection_opened(self, session: Any) -> None:
            raise error

    async with tieline.serve(echo, TCP_URL, protocol=LINES, hooks=Broken()) as server:
        for _ in range(3):
            with peer_of(server) as peer:
                await told(peer, b"x\n")
                assert await heard(peer, 2) == b"x\n"
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lines[0] == "the hook connection_opened failed"


def test_packet_servers_for_blocking_code_tell_as_well(tmp_path: Path) -> None:
    counts = Counts()
    server: Any
    for url in ("tcp://127.0.0.1:0", f"unix:{tmp_path}/s"):
        server = blocking_serve(lambda client: client.send_packet("hello"), url, protocol=LINES, hooks=counts)
        with server, peer_of(server) as peer:
            peer.settimeout(60)
            assert peer.recv(100) == b"hello\n"
    assert (counts.opened, counts.closed) == (2, 2)


@pytest.mark.parametrize("serve", [tieline.serve, blocking_serve], ids=["serve", "blocking.serve"])
def test_datagrams_have_no_connections_to_tell_of(serve: Any) -> None:
    with pytest.raises(ValueError, match=r"hooks are for connections, and udp://127\.0\.0\.1:0 is a socket of"):
        serve(echo, "udp://127.0.0.1:0", protocol=DATAGRAMS, hooks=Counts())
