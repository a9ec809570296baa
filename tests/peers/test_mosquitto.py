# SPDX-License-Identifier: MIT
"""mosquitto: packets of MQTT over TCP, a Unix socket, and TLS with certificates on both sides."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.peers.daemons import daemon, free_place, me
from tests.peers.mqtt import MQTT, MQTTSerializer, text
from tests.peers.openssl_programs import chain_of
from tieline import TLS
from tieline.errors import ConnectionLost
from tieline.protocol import StreamProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.certificates import Certificates
    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

PACKETS: StreamProtocol[MQTT, MQTT] = StreamProtocol(MQTTSerializer())

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90
PINGREQ, PINGRESP, DISCONNECT = MQTT(0xC0), MQTT(0xD0), MQTT(0xE0)
CARRIERS = pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
# The length takes another byte at 128 and at 16 384; the topic and its length stand before the payload.
SIZES = (0, 1, 120, 125, 126, 127, 128, 16_370, 16_382, 16_383, 16_384, 300_000)


class Broker(NamedTuple):
    """Where it listens."""

    tcp: tuple[str, int]
    tls: tuple[str, int]
    path: Path

    def client(self, side: Side, carrier: str, tls: TLS) -> Any:
        match carrier:
            case "tcp":
                return side.tcp(self.tcp, PACKETS)
            case "tls":
                return side.tcp(self.tls, PACKETS, ssl=tls, server_hostname="localhost")
            case _:
                return side.unix_stream(self.path, PACKETS)


@pytest.fixture(scope="module")
def broker(need: Any, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Broker]:
    program = need("mosquitto", "apt-get install mosquitto, or make test-peers")
    folder = tmp_path_factory.mktemp("mosquitto")
    places = Broker(free_place(), free_place(), folder / "mosquitto.sock")
    settings = f"""
        user {me()}
        allow_anonymous true
        set_tcp_nodelay true
        listener {places.tcp[1]} {places.tcp[0]}
        listener 0 {places.path}
        listener {places.tls[1]} {places.tls[0]}
        certfile {certificates.server}
        keyfile {certificates.server}
        cafile {certificates.ca}
        require_certificate true
    """
    path = folder / "mosquitto.conf"
    path.write_text("\n".join(line.strip() for line in settings.splitlines()))
    with daemon(folder / "mosquitto.log", program, "-v", "-c", path) as server:
        server.says(" running")
        yield places


@pytest.fixture
def tls(certificates: Certificates) -> TLS:
    return TLS(ca=certificates.ca, certificate=certificates.client)


async def greet(client: Any, name: str) -> None:
    """Say who we are: a new session that lasts as long as the connection."""
    await client.send_packet(MQTT(CONNECT, text("MQTT") + bytes((4, 2, 0, 60)) + text(name)))
    assert await client.recv_packet() == MQTT(CONNACK, b"\0\0")


async def publications(side: Side, broker: Broker, carrier: str, tls: TLS) -> None:
    topic = text(f"{side}/{carrier}")
    async with broker.client(side, carrier, tls) as listener, broker.client(side, "tcp", tls) as teller:
        await greet(listener, f"{side}-{carrier}-listener")
        await greet(teller, f"{side}-{carrier}-teller")
        await listener.send_packet(MQTT(SUBSCRIBE, b"\0\1" + topic + b"\0"))
        assert await listener.recv_packet() == MQTT(SUBACK, b"\0\1\0")
        told = [MQTT(PUBLISH, topic + bytes([size & 255]) * size) for size in SIZES]
        await teller.send_packets(told)
        assert [await listener.recv_packet() for _ in told] == told
        # With an acknowledgement of each, which comes with its number.
        number = (7).to_bytes(2)
        await teller.send_packet(MQTT(PUBLISH | 2, topic + number + b"noted"))
        assert await teller.recv_packet() == MQTT(PUBACK, number)
        assert await listener.recv_packet() == MQTT(PUBLISH, topic + b"noted")
        await listener.send_packets([PINGREQ] * 100)
        assert [await listener.recv_packet() for _ in range(100)] == [PINGRESP] * 100


@pytest.mark.row("K7", "K11")
@CARRIERS
def test_publications_of_every_size_of_a_length(broker: Broker, side: Side, carrier: str, tls: TLS) -> None:
    side.run(publications, side, broker, carrier, tls)


async def farewell(side: Side, broker: Broker, carrier: str, tls: TLS, last: MQTT) -> None:
    async with broker.client(side, carrier, tls) as client:
        await greet(client, f"{side}-{carrier}-leaves")
        await client.send_packet(last)
        with pytest.raises(ConnectionLost):
            await client.recv_packet()


@pytest.mark.row("K10")
@CARRIERS
def test_it_hangs_up_behind_a_farewell(broker: Broker, side: Side, carrier: str, tls: TLS) -> None:
    side.run(farewell, side, broker, carrier, tls, DISCONNECT)


@pytest.mark.row("K10")
@CARRIERS
def test_it_hangs_up_when_it_does_not_understand(broker: Broker, side: Side, carrier: str, tls: TLS) -> None:
    side.run(farewell, side, broker, carrier, tls, MQTT(0xFF, b"?"))


async def without_a_certificate(side: Side, broker: Broker, tls: TLS) -> None:
    async with broker.client(side, "tls", tls) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.recv_packet()
        (reason,) = [cause for cause in chain_of(caught.value) if isinstance(cause, ssl.SSLError)]
        assert "alert certificate required" in str(reason)


@pytest.mark.row("K10")
def test_who_shows_no_certificate_is_told_behind_the_handshake(
    broker: Broker, side: Side, certificates: Certificates
) -> None:
    side.run(without_a_certificate, side, broker, TLS(ca=certificates.ca))
