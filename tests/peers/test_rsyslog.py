# SPDX-License-Identifier: MIT
"""rsyslog: it takes our datagrams over UDP and a Unix socket, and passes them on to a socket or a server of ours."""

from __future__ import annotations

import queue
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests import aio
from tests.peers.daemons import OWN_HOST, Daemon, daemon, free_place
from tests.peers.programs import PATIENCE
from tieline import Limits
from tieline.errors import DeserializeError
from tieline.protocol import DatagramProtocol
from tieline.serializers import AbstractPacketSerializer
from tieline.servers import AsyncUDPNetworkServer, UDPNetworkServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

PROBE = "probe"  # the tag of lines that only show whether it hears


class Log(NamedTuple):
    """A line of a log: how much it matters and to whom, in one number; whose it is; and what it says."""

    priority: int
    tag: str
    text: str


class LogSerializer(AbstractPacketSerializer[Log, Log]):
    """What programs tell rsyslog (RFC 3164), and what we have told it to pass on."""

    def serialize(self, packet: Log, /) -> bytes:
        # Without a name of a host, as local programs write it.
        return f"<{packet.priority}>{time.strftime('%b %d %H:%M:%S')} {packet.tag}: {packet.text}".encode()

    def deserialize(self, data: bytes, /) -> Log:
        priority, bar, rest = data.decode().partition("|")
        tag, second_bar, text = rest.partition("|")
        if not (bar and second_bar and priority.isdecimal()):
            raise DeserializeError("the parts of a line are missing")
        return Log(int(priority), tag.removesuffix(":"), text.removeprefix(" "))


LOGS: DatagramProtocol[Log, Log] = DatagramProtocol(LogSerializer())


class Syslog(NamedTuple):
    """A running rsyslog: where it listens, and the socket that it passes everything on to."""

    udp: tuple[str, int]
    path: Path
    sink: socket.socket

    def client(self, side: Side, carrier: str) -> Any:
        return side.udp(self.udp, LOGS) if carrier == "udp" else side.unix_datagram(self.path, LOGS)

    def passed_on(self) -> Log:
        """Return the next line that it passes on."""
        while (line := LOGS.build_packet_from_datagram(self.sink.recv(65536))).tag == PROBE:
            pass
        return line


@pytest.fixture(scope="module")
def syslog(need: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Syslog]:
    program = need("rsyslogd", "apt-get install rsyslog, or make test-peers")
    folder = tmp_path_factory.mktemp("rsyslog")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((OWN_HOST, 0))
        sink.settimeout(PATIENCE)
        it = Syslog(free_place(), folder / "log.sock", sink)
        settings = f"""
            global(workDirectory="{folder}" maxMessageSize="64k")
            module(load="imudp")
            module(load="imuxsock" SysSock.Use="off")
            input(type="imudp" address="{it.udp[0]}" port="{it.udp[1]}")
            input(type="imuxsock" Socket="{it.path}" RateLimit.Interval="0")
            template(name="told" type="string" string="%pri%|%syslogtag%|%msg%")
            action(type="omfwd" target="{OWN_HOST}" port="{sink.getsockname()[1]}" protocol="udp" template="told")
        """
        (folder / "rsyslog.conf").write_text(settings)
        with daemon(folder / "rsyslog.log", program, "-n", "-iNONE", "-f", folder / "rsyslog.conf") as server:
            _wait_for(it, server)
            yield it


def _wait_for(syslog: Syslog, server: Daemon) -> None:
    """Wait until it hears at both places: it says nothing by itself, so it is asked until it passes that on."""
    patience = time.monotonic() + PATIENCE
    syslog.sink.settimeout(0.02)
    heard = set[bytes]()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
    ):
        while len(heard) < 2:
            assert time.monotonic() < patience, f"rsyslog is not to be heard: {server.said('')}"
            with suppress(FileNotFoundError, ConnectionRefusedError, TimeoutError):
                udp.sendto(LOGS.make_datagram(Log(13, PROBE, "udp")), syslog.udp)
                unix.sendto(LOGS.make_datagram(Log(13, PROBE, "unix")), str(syslog.path))
                heard.add(syslog.sink.recv(65536))
    syslog.sink.settimeout(PATIENCE)


CARRIERS = pytest.mark.parametrize("carrier", ["udp", "unix"])
# (what is said, what is passed on of it: a blank stands where there was a character that no line may have)
SAID: list[tuple[Log, Log]] = [
    (Log(13, "user", "plain"), Log(13, "user", "plain")),
    (Log(191, "tag[77]", "Grüße, 你好"), Log(191, "tag[77]", "Grüße, 你好")),
    (Log(0, "k", "x" * 20_000), Log(0, "k", "x" * 20_000)),
    (Log(14, "two", "lines\nin one"), Log(14, "two", "lines#012in one")),
]


async def lines(side: Side, syslog: Syslog, carrier: str) -> None:
    async with syslog.client(side, carrier) as client:
        for said, passed_on in SAID:
            await client.send_packet(said)
            assert syslog.passed_on() == passed_on
        many = [Log(number, "many", f"line {number}") for number in range(100)]
        await client.send_packets(many)
        assert [syslog.passed_on() for _ in many] == many
        assert [packet async for packet in client.iter_received_packets()] == []  # it never answers


@pytest.mark.row("K7", "K17")
@CARRIERS
def test_lines_and_what_is_passed_on(syslog: Syslog, side: Side, carrier: str) -> None:
    side.run(lines, side, syslog, carrier)


# --- a server of ours behind it --------------------------------------------------------------------------------------


def tell(syslog: Syslog, lines: list[Log]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as teller:
        for line in lines:
            teller.sendto(LOGS.make_datagram(line), syslog.udp)


# All of it comes from one peer, more at once than a stranger may have waiting.
BURSTS = Limits(max_waiting_per_peer=100)
TOLD = [Log(13, "told", f"line {number}") for number in range(50)]


async def test_a_server_hears_all_of_it(syslog: Syslog) -> None:
    heard: list[Log] = []
    done = aio.Event()

    async def handle(line: Log, _peer: Any) -> None:
        if line.tag != PROBE:
            heard.append(line)
        if len(heard) == len(TOLD):
            done.set()

    async with AsyncUDPNetworkServer(handle, syslog.sink.dup(), LOGS, limits=BURSTS):
        tell(syslog, TOLD)
        await aio.wait_for(done.wait(), PATIENCE)
    assert heard == TOLD


def test_a_server_in_blocking_code_hears_all_of_it(syslog: Syslog) -> None:
    heard = queue.Queue[Log]()
    with UDPNetworkServer(lambda line, _peer: heard.put(line), syslog.sink.dup(), LOGS, limits=BURSTS):
        tell(syslog, TOLD)
        received: list[Log] = []
        while len(received) < len(TOLD):
            if (line := heard.get(timeout=PATIENCE)).tag != PROBE:
                received.append(line)
    assert received == TOLD
