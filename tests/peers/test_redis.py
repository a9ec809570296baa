# SPDX-License-Identifier: MIT
"""redis-server: a serializer of one's own, over TCP, TLS and a Unix socket, and what is told of its end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.peers.daemons import Daemon, daemon, free_place
from tests.peers.resp import RedisError, RESPSerializer
from tieline import TLS
from tieline.errors import ConnectionLost, EndOfStream, TLSTruncated
from tieline.protocol import StreamProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.certificates import Certificates
    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

RESP: StreamProtocol[Any, Any] = StreamProtocol(RESPSerializer())


class Redis(NamedTuple):
    """A running server, and where it listens."""

    program: Daemon
    tcp: tuple[str, int]
    tls: tuple[str, int]
    path: Path
    trust: TLS

    def client(self, side: Side, carrier: str, **settings: Any) -> Any:
        """Return a client of *side* over tcp, tls or unix."""
        match carrier:
            case "tcp":
                return side.tcp(self.tcp, RESP, **settings)
            case "tls":
                return side.tcp(self.tls, RESP, ssl=self.trust, server_hostname="localhost", **settings)
            case _:
                return side.unix_stream(self.path, RESP, **settings)


@contextmanager
def redis_server(need: Any, folder: Path, certificates: Certificates) -> Iterator[Redis]:
    program = need("redis-server", "apt-get install redis-server, or make test-peers")
    tcp, tls, path = free_place(), free_place(), folder / "redis.sock"
    options = {
        "bind": tcp[0],
        "port": tcp[1],
        "tls-port": tls[1],
        "tls-cert-file": certificates.server,
        "tls-key-file": certificates.server,
        "tls-ca-cert-file": certificates.ca,
        "tls-auth-clients": "optional",
        "unixsocket": path,
        "save": "",
        "appendonly": "no",
        "dir": folder,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    with daemon(folder / "redis.log", program, *words) as server:
        server.says("now ready to accept connections at")
        yield Redis(server, tcp, tls, path, TLS(ca=certificates.ca))


@pytest.fixture(scope="module")
def redis(need: Any, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Redis]:
    with redis_server(need, tmp_path_factory.mktemp("redis"), certificates) as server:
        yield server


CARRIERS = pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])


async def commands(redis: Redis, side: Side, carrier: str, **settings: Any) -> None:
    binary = bytes(range(256)) * 4
    talk = [
        (["PING"], "PONG"),
        (["ECHO", "Grüße"], "Grüße".encode()),
        (["FLUSHALL"], "OK"),
        (["SET", "key", binary], "OK"),
        (["GET", "key"], binary),
        (["SET", "empty", b""], "OK"),
        (["GET", "empty"], b""),
        (["GET", "missing"], None),
        (["RPUSH", "list", 1, "two", b"\r\n"], 3),
        (["LRANGE", "list", 0, -1], [b"1", b"two", b"\r\n"]),
        (["LRANGE", "missing", 0, -1], []),
        (["INCR", "list"], RedisError("WRONGTYPE Operation against a key holding the wrong kind of value")),
        (["EVAL", "return {1, {2, {'three', false}}, {}}", 0], [1, [2, [b"three", None]], []]),
    ]
    async with redis.client(side, carrier, **settings) as client:
        for command, answer in talk:
            await client.send_packet(command)
            assert await client.recv_packet() == answer
        await client.send_packets(command for command, _answer in talk)  # in one write
        assert [await client.recv_packet() for _ in talk] == [answer for _command, answer in talk]


@pytest.mark.row("K7", "K11")
@CARRIERS
def test_commands_and_their_answers(redis: Redis, side: Side, carrier: str) -> None:
    side.run(commands, redis, side, carrier)


@pytest.mark.row("K2")
@pytest.mark.parametrize("carrier", ["tcp", "tls"])
def test_answers_that_are_read_byte_by_byte(redis: Redis, side: Side, carrier: str) -> None:
    side.run(lambda: commands(redis, side, carrier, max_recv_size=1))


async def many_and_big(redis: Redis, side: Side, carrier: str) -> None:
    async with redis.client(side, carrier) as client:
        await client.send_packets([["DEL", "count"], *[["INCR", "count"]] * 3000])
        assert isinstance(await client.recv_packet(), int)
        assert [await client.recv_packet() for _ in range(3000)] == list(range(1, 3001))
        big = bytes(range(251)) * 20_000
        await client.send_packet(["SET", "big", big])
        assert await client.recv_packet() == "OK"
        await client.send_packet(["MGET", "big", "big"])
        assert await client.recv_packet() == [big, big]
        await client.send_packets([["DEL", "big"], ["PING"]])
        received: list[Any] = []
        while len(received) < 2:
            received += await client.recv_packets()
        assert received == [1, "PONG"]


@pytest.mark.row("K7", "K20")
@CARRIERS
def test_many_at_once_and_five_megabytes(redis: Redis, side: Side, carrier: str) -> None:
    side.run(many_and_big, redis, side, carrier)


async def channels(redis: Redis, side: Side, carrier: str) -> None:
    channel = f"{side}-{carrier}"  # nobody else has ever listened to it
    async with redis.client(side, carrier) as listener, redis.client(side, "tcp") as teller:
        await listener.send_packet(["SUBSCRIBE", channel])
        assert await listener.recv_packet() == [b"subscribe", channel.encode(), 1]
        assert [packet async for packet in listener.iter_received_packets()] == []
        await teller.send_packets(["PUBLISH", channel, number] for number in range(100))
        assert [await teller.recv_packet() for _ in range(100)] == [1] * 100
        heard = []
        async for packet in listener.iter_received_packets(timeout=20):
            heard.append(packet)
            if len(heard) == 100:
                break
        assert heard == [[b"message", channel.encode(), b"%d" % number] for number in range(100)]


@pytest.mark.row("K14")
@CARRIERS
def test_what_is_published_while_nobody_asks(redis: Redis, side: Side, carrier: str) -> None:
    side.run(channels, redis, side, carrier)


async def goodbye(redis: Redis, side: Side, carrier: str) -> None:
    async with redis.client(side, carrier) as client:
        await client.send_packets([["PING"], ["QUIT"]])
        assert [await client.recv_packet(), await client.recv_packet()] == ["PONG", "OK"]
        for _ in range(2):
            with pytest.raises(EndOfStream):
                await client.recv_packet()


@pytest.mark.row("K10")
@CARRIERS
def test_it_says_goodbye(redis: Redis, side: Side, carrier: str) -> None:
    side.run(goodbye, redis, side, carrier)


async def end_of_input(redis: Redis, side: Side, carrier: str) -> None:
    async with redis.client(side, carrier) as client:
        await client.send_packets([["PING"], ["ECHO", "last"]])
        assert await client.recv_packet() == "PONG"
        await client.send_eof()
        assert await client.recv_packet() == b"last"
        assert [packet async for packet in client.iter_received_packets(timeout=None)] == []


@pytest.mark.row("K7", "K10")
@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_the_end_of_what_we_say_ends_what_it_says(redis: Redis, side: Side, carrier: str) -> None:
    side.run(end_of_input, redis, side, carrier)


async def killed(server: Redis, side: Side) -> None:
    async with (
        server.client(side, "tcp") as over_tcp,
        server.client(side, "unix") as over_unix,
        server.client(side, "tls") as over_tls,
    ):
        clients = (over_tcp, over_unix, over_tls)
        for client in clients:
            await client.send_packets([["PING"], ["BLPOP", "never", 0]])
            assert await client.recv_packet() == "PONG"
        server.program.kill()
        for client in clients:
            with pytest.raises(ConnectionLost) as caught:
                await client.recv_packet()
            # The system ends a stream of a killed process in order. TLS knows better.
            assert type(caught.value) is (TLSTruncated if client is over_tls else EndOfStream)


@pytest.mark.row("K10")
def test_it_is_killed(need: Any, side: Side, tmp_path: Path, certificates: Certificates) -> None:
    with redis_server(need, tmp_path, certificates) as server:
        side.run(killed, server, side)
        with pytest.raises(ConnectionRefusedError):
            side.run(goodbye, server, side, "tcp")
        with pytest.raises(ConnectionRefusedError):
            side.run(goodbye, server, side, "unix")
