# SPDX-License-Identifier: MIT
"""The packet servers of the attacked process, by kind, and what they have seen."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Any

import tieline
from tests import aio
from tests.attacks.sealed import PICKLE_KEY, SEAL
from tests.attacks.victims import methods
from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    OutgoingMessageTooLarge,
    StreamProtocolParseError,
)
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import (
    BytesSerializer,
    BZ2CompressorSerializer,
    CBORSerializer,
    EncryptorSerializer,
    JSONSerializer,
    LengthPrefixedSerializer,
    MessagePackSerializer,
    PickleSerializer,
    StringLineSerializer,
    StructSerializer,
    ZlibCompressorSerializer,
)
from tieline.servers import AsyncUDPNetworkServer, AsyncUnixDatagramServer

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

__all__ = ["KINDS", "PacketServers"]

BYTES = BytesSerializer()
seen: Counter[str] = Counter()  # what was no packet, and how connections ended, by the names of errors
gate: dict[str, aio.Event] = {}


def limited(**limits: Any) -> tieline.Limits:
    """Return limits without that of cost, as those of the other servers of this process."""
    return tieline.Limits(governance=tieline.Governance(cost_hard_limit=0), **limits)


def framed(serializer: Any, prefix_size: int = 4) -> StreamProtocol[Any]:
    return StreamProtocol(LengthPrefixedSerializer(serializer, prefix_size=prefix_size))


JSON: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
HASTY = limited(write_timeout=0.5, linger=0.3, tls_shutdown_timeout=0.3)
BRIEF = limited(
    message_timeout=0.3,
    idle_timeout=0.4,
    handshake_timeout=0.4,
    max_handshakes=20,
    linger=0.2,
    tls_shutdown_timeout=0.2,
)

KINDS: dict[str, tuple[StreamProtocol[Any], tieline.Limits]] = {
    "packets": (JSON, limited()),
    "packets-hasty": (JSON, HASTY),
    "packets-brief": (JSON, BRIEF),
    "packets-strict": (JSON, HASTY),
    "packets-text": (StreamProtocol(StringLineSerializer("CRLF")), limited()),
    "packets-short": (framed(BYTES, 1), limited()),
    "packets-pickle": (framed(PickleSerializer(PICKLE_KEY, allow_unsafe=True)), limited()),
    "packets-zlib": (framed(ZlibCompressorSerializer(BYTES)), limited()),
    "packets-bz2": (framed(BZ2CompressorSerializer(BYTES)), limited()),
    "packets-sealed": (framed(EncryptorSerializer(BYTES, SEAL)), limited()),
    "packets-msgpack": (framed(MessagePackSerializer()), limited()),
    "packets-cbor": (framed(CBORSerializer()), limited()),
    "packets-struct": (StreamProtocol(StructSerializer(">f")), limited()),
}


async def echo(client: Any) -> None:
    """Send back each packet, and go on behind what is none."""
    while True:
        try:
            packet = await client.recv_packet()
        except StreamProtocolParseError as exc:
            seen[f"{type(exc.__cause__).__name__}: {exc.__cause__}"] += 1
            continue
        except (ConnectionLost, ClientClosedError) as exc:
            seen[type(exc).__name__] += 1
            return
        await answer(client, packet)


async def answer(client: Any, packet: Any) -> None:
    if packet == "flood":  # 400 MB
        for _ in range(40_000):
            await client.send_packet("x" * 10_000)
    if packet == b"too much":
        try:
            await client.send_packet(bytes(256))
        except OutgoingMessageTooLarge:
            packet = b"refused"
    await client.send_packet(packet)


async def strict(client: Any) -> None:
    """Send back each packet, as most handlers do it: what is none ends the connection."""
    async for packet in client:
        await client.send_packet(packet)


async def datagram(packet: bytes, peer: Any) -> None:
    """Send back a packet; one of 65 508 bytes, which is none, when it is asked for; at the gate wait before."""
    if packet == b"wait" and gate:
        await gate["now"].wait()
    if packet == b"too much":
        try:
            await peer.send_packet(bytes(65508))
        except OSError as exc:
            packet = errno.errorcode[exc.errno or 0].encode()
    await peer.send_packet(packet)


@methods.method
def packets_seen() -> dict[str, int]:
    """Return what was no packet, and how connections ended, since the last look."""
    found = dict(seen)
    seen.clear()
    return found


@methods.method
def hold_datagrams() -> None:
    """Have those that say so wait at a gate."""
    gate["now"] = aio.Event()


@methods.method
def let_datagrams_go() -> None:
    """Let go who waits at the gate, and whoever comes later."""
    gate.pop("now").set()


class PacketServers:
    """All of them; the figures that the process tells of itself count them as well."""

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.datagrams: dict[str, Any] = {}

    async def start(self, stack: AsyncExitStack, folder: Path, tls: tieline.TLS) -> dict[str, dict[str, str]]:
        """Listen until *stack* is left; return the URLs by kind and transport."""
        urls: dict[str, dict[str, str]] = {}
        for kind, (protocol, limits) in KINDS.items():
            handler = strict if kind == "packets-strict" else echo
            made: dict[str, Any] = {
                "tcp": tieline.serve(handler, "tcp://127.0.0.1:0", protocol=protocol, limits=limits),
                "unix": tieline.serve(handler, f"unix://{folder / kind}", protocol=protocol, limits=limits),
                "tls": tieline.serve(handler, "tls://127.0.0.1:0", protocol=protocol, limits=limits, tls=tls),
            }
            for server in made.values():
                self.streams.append(await stack.enter_async_context(server))
            urls[kind] = {transport: server.url for transport, server in made.items()}
        protocol_of_datagrams: DatagramProtocol[Any, bytes] = DatagramProtocol(BYTES)
        limits = tieline.Limits(handler_timeout=None)
        self.datagrams = {
            "udp": AsyncUDPNetworkServer(datagram, ("127.0.0.1", 0), protocol_of_datagrams, limits=limits),
            "unix": AsyncUnixDatagramServer(datagram, folder / "datagrams", protocol_of_datagrams, limits=limits),
        }
        for server in self.datagrams.values():
            await stack.enter_async_context(server)
        urls["datagrams"] = {transport: server.url for transport, server in self.datagrams.items()}
        methods.method(self.datagram_figures)
        return urls

    @property
    def sessions(self) -> int:
        """How many connections there are, and peers of datagrams at work."""
        streams = sum(server.connections for server in self.streams)
        return int(streams + sum(server.peers for server in self.datagrams.values()))

    def datagram_figures(self, transport: str) -> dict[str, int]:
        """Return the figures of a server of datagrams."""
        server = self.datagrams[transport]
        return {name: getattr(server, name) for name in ("peers", "received", "dropped", "faulty")}
