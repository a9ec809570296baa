# SPDX-License-Identifier: MIT
"""The targets: each takes any bytes, and raises AssertionError, or anything at all, where a promise is broken.

Nearly all play the same stream twice, whole and in pieces: the same has to come of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fuzz.inputs import chosen, in_pieces, split
from tests.wire.framed import played, without_progress
from tests.wire.jsonrpc.driving import Driver, Seen, connection, exactly
from tests.wire.jsonrpc.test_fuzz import PROTOCOLS
from tests.wire.jsonrpc.test_tables import TABLES
from tests.wire.proxies import rows_http, rows_socks
from tests.wire.serializers.test_kit import RIGS
from tests.wire.websocket.pairs import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    frame,
    messages,
    new_client,
    opened,
)
from tieline.endpoints.urls import parse
from tieline.errors import (
    HTTPConnectError,
    SOCKSError,
    SOCKSProtocolError,
)
from tieline.wire.framing.base import FramerBase
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.framing.content_length import ContentLengthFramer
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
from tieline.wire.framing.netstring import NetstringFramer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.framing.record_separator import RecordSeparatorFramer
from tieline.wire.framing.varint import VarintFramer
from tieline.wire.protocols import BufferedStreamProtocol, StreamProtocol
from tieline.wire.proxies.datagrams import unwrapped, wrapped
from tieline.wire.serializers.abc import AbstractIncrementalPacketSerializer, BufferedIncrementalPacketSerializer
from tieline.wire.websocket.server import WebSocketServer
from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        name: Its name, also on the command line.
        play: Takes any bytes; see `tests.fuzz.inputs`.
        seeds: Good inputs, and bad ones that tests know of, to begin with.
    """

    name: str
    play: Callable[[bytes], None]
    seeds: Sequence[bytes]

    def __str__(self) -> str:
        return self.name


def seeded(variants: int, streams: Sequence[bytes]) -> list[bytes]:
    """Return each stream as an input of a variant, the variants in turn, cut byte by byte."""
    return [bytes((number % variants, 0)) + stream for number, stream in enumerate(streams)]


# --- framers ---------------------------------------------------------------------------------------------------------

LIMIT = 64
FRAMERS: list[Callable[[], FramerBase[Any]]] = [
    lambda: NewlineFramer(LIMIT),
    lambda: ContentLengthFramer(LIMIT),
    lambda: LengthPrefixedFramer(max_size=LIMIT),
    lambda: LengthPrefixedFramer(2, "little", includes_header=True, max_size=LIMIT),
    lambda: VarintFramer(LIMIT),
    lambda: NetstringFramer(LIMIT),
    lambda: RecordSeparatorFramer(LIMIT),
    lambda: JSONStreamFramer(LIMIT),
    lambda: BitcoinFramer(max_payload_size=LIMIT, max_block_size=LIMIT),
]


def play_framer(data: bytes) -> None:
    variant, cut, stream = split(data)
    make = chosen(FRAMERS, variant)
    play = until_fault if isinstance(make(), NewlineFramer) else played
    found, end = play(make(), [stream])
    found_in_pieces, end_in_pieces = play(make(), in_pieces(stream, cut))
    assert found_in_pieces == found
    assert without_progress(end_in_pieces) == without_progress(end)
    framer = make()
    for piece in in_pieces(stream, cut):
        framer.take(piece)
        assert framer.pending <= len(stream)


def until_fault(framer: FramerBase[Any], pieces: Sequence[bytes]) -> tuple[list[Any], str | int]:
    """Do what `played` does, with a framer that goes on behind a fault: up to the first one."""
    found: list[Any] = []
    for piece in pieces:
        taken, fault = framer.take(piece)
        found += taken
        if fault is not None:
            return found, str(fault)
    return found, framer.pending


def framer_seeds() -> list[bytes]:
    good: list[bytes] = []
    for make in FRAMERS:
        one: Any = (b"inv", b"{}") if isinstance(make(), BitcoinFramer) else b'{"a":[1,"x"]}'
        good.append(make().frame([one]) + make().frame([one]))
    return [*seeded(len(FRAMERS), good), b"\1\0content-length:2\r\nContent-Type: a; charset=utf-8\r\n\r\n{}"]


# --- JSON-RPC --------------------------------------------------------------------------------------------------------

LIMITS: list[dict[str, Any]] = [
    {},
    {"max_message": 100, "max_response": 60, "max_batch": 2, "max_errors": 3},
    {"max_pending": 1, "max_nesting": 2, "max_id": 3, "max_method": 4, "max_bad_items": 1},
]


ID = re.compile(rb'"id"\s*:\s*(-?[0-9]+|"[^"]*"|null)')


def play_jsonrpc(data: bytes) -> None:
    variant, cut, stream = split(data)
    protocol = chosen(PROTOCOLS, variant)
    limits = chosen(LIMITS, variant // len(PROTOCOLS))
    accepted = variant < 128
    whole, in_parts = (
        seen_by(Driver(connection(protocol, accepted=accepted, **limits), calls=2), pieces)
        for pieces in ([stream], in_pieces(stream, cut))
    )
    # Whether an id is still in flight depends on when the request that had it before was answered.
    ids = [repr(found) for found in ID.findall(stream)]
    if len(ids) == len(set(ids)):
        assert in_parts == whole


def seen_by(driver: Driver, pieces: Sequence[bytes]) -> Seen:
    """Feed *pieces* to a machine; return all that it did. What its handlers hold back is answered when all has come."""
    for piece in pieces:
        driver.feed(piece)
    while driver.held:
        driver.machine.reply(driver.held.pop(0), None)
        driver.run()
    assert driver.machine.unanswered == 0
    driver.handle(driver.machine.receive_eof(1.0))
    driver.handle(driver.machine.connection_lost(None))
    assert sorted(token for token, _ in driver.seen.ended) == ["call 0", "call 1"]
    driver.seen.replies.sort(key=exactly)  # requests of one read are answered in any order
    return driver.seen


def jsonrpc_seeds() -> list[bytes]:
    rows = [row for table, _ in TABLES for row in table if len(row.wire) < 2000]
    return [bytes((PROTOCOLS.index(row.protocol) + (0 if row.accepted else 130), 0)) + row.wire for row in rows]


# --- proxies ---------------------------------------------------------------------------------------------------------

DIALOGUES = [*rows_socks.GOOD, *rows_socks.REAL, *rows_socks.BAD, *rows_http.GOOD, *rows_http.BAD]
LONGEST_REPLY = 128 * 1024


def play_proxy(data: bytes) -> None:
    variant, cut, stream = split(data)
    row = chosen(DIALOGUES, variant)
    outcomes = [talked(row.make(), pieces) for pieces in ([stream], in_pieces(stream, cut))]
    assert outcomes[0] == outcomes[1]


def talked(dialogue: Any, pieces: Sequence[bytes]) -> tuple[int, str]:
    """Have a dialogue with a proxy that says *pieces*, whatever it is asked; return how much it took, and its end."""
    taken = 0
    said = dialogue.data_to_send()
    for piece in pieces:
        while more := dialogue.receive_data(piece):
            taken += more
            piece = piece[more:]
            said += dialogue.data_to_send()
    assert taken <= LONGEST_REPLY
    if dialogue.wanted:
        dialogue.receive_eof()
    try:
        end = repr(dialogue.result())
    except (SOCKSError, HTTPConnectError) as exc:
        end = repr(exc)
        assert "pw" not in end
    assert dialogue.data_to_send() == b""
    return taken, end


def proxy_seeds() -> list[bytes]:
    rows = [(number, b"".join(reply for _, reply in row.steps)) for number, row in enumerate(DIALOGUES)]
    return [bytes((number, 0)) + replies for number, replies in rows if number < 256 and len(replies) < 2000]


def play_proxy_datagram(data: bytes) -> None:
    try:
        (host, port), payload = unwrapped(data)
    except SOCKSProtocolError:
        return
    assert data.endswith(payload)
    try:
        again = wrapped(host, port, payload)
    except ValueError:  # a proxy may name what we would not ask for
        return
    assert unwrapped(again) == ((host, port), payload)


# --- WebSocket -------------------------------------------------------------------------------------------------------


def play_websocket_frames(data: bytes) -> None:
    variant, cut, stream = split(data)
    settings = {"max_message": 1000}
    sides = [opened(settings, settings)[variant % 2] for _ in range(2)]
    outcomes = [heard(side, pieces) for side, pieces in zip(sides, ([stream], in_pieces(stream, cut)), strict=True)]
    assert outcomes[0] == outcomes[1]


def heard(side: WebSocketStream, pieces: Sequence[bytes]) -> tuple[list[bytes], str, str]:
    """Return the messages that *side* finds in *pieces*, and how that ended."""
    found = b""
    for piece in pieces:
        found += side.receive(piece)
        while side.has_more:
            found += side.receive(b"")
        side.data_to_send()
    assert (side.error is None) or not side.has_more
    return messages(found), repr(side.end), repr(side.error)


def play_websocket_head(data: bytes) -> None:
    variant, cut, stream = split(data)
    sides: list[WebSocketStream] = []
    for _ in range(2):
        side: WebSocketStream
        side = WebSocketServer() if variant % 2 == 0 else new_client("server.example", 80)
        side.start()
        side.data_to_send()
        sides.append(side)
    outcomes = [heard(side, pieces) for side, pieces in zip(sides, ([stream], in_pieces(stream, cut)), strict=True)]
    assert outcomes[0] == outcomes[1]


HEAD = (
    b"GET /path?query HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://server.example\r\n\r\n"
)
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
FRAMES = [
    frame(TEXT, b"{}") + frame(BINARY, b"\0\1"),
    frame(TEXT, b"gr\xc3", fin=False) + frame(PING, b"x") + frame(CONTINUATION, b"\xbc\xc3\x9fe"),
    frame(CLOSE, b"\x03\xe8done"),
    frame(CLOSE, b"\x03"),
    frame(TEXT, b"x" * 200) + frame(TEXT, b"\xff"),
    frame(TEXT, b"x", rsv=4),
]


# --- serializers -----------------------------------------------------------------------------------------------------

# Zstandard is not in the interpreters of before 3.14; what is not judged alike is not to be compared; some are for
# datagrams only.
SERIALIZERS = [
    rig
    for name, rig in RIGS.items()
    if rig.judges_alike and name != "zstd" and isinstance(rig.make(), AbstractIncrementalPacketSerializer)
]


FAULT = "a fault"
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of objects whose repr says no more


def play_serializer(data: bytes) -> None:
    variant, cut, stream = split(data)
    rig = chosen(SERIALIZERS, variant)
    for way in StreamProtocol, BufferedStreamProtocol:
        if way is StreamProtocol or isinstance(rig.make(), BufferedIncrementalPacketSerializer):
            whole, cut_up = (way(rig.make()).new_decoder() for _ in range(2))  # type: ignore[call-overload]  # as just seen
            assert unpacked(cut_up, in_pieces(stream, cut)) == unpacked(whole, [stream]), way
            assert whole.pending <= len(stream)


def unpacked(decoder: Any, pieces: Sequence[bytes]) -> list[str]:
    """Return what is taken from *decoder*: packets as texts (NaN is not equal to itself), and where faults are."""
    seen: list[str] = []
    for piece in pieces:
        decoder.feed(piece)
        while True:
            packets, fault = decoder.take(3)
            seen += [ADDRESS.sub("", repr(packet)) for packet in packets]
            if fault is not None:
                assert not isinstance(fault, RuntimeError), repr(fault.__cause__)
                seen.append(FAULT)  # bytes that are wrong in two ways may be told in either
            elif len(packets) < 3:
                break
    return seen


def serializer_seeds() -> list[bytes]:
    seeds: list[bytes] = []
    for number, rig in enumerate(SERIALIZERS):
        for way in rig.faulty, rig.ending, [stream for stream, _ in rig.too_large]:
            seeds += [bytes((number, 0)) + stream for stream in way if len(stream) < 2000]
        seeds += [bytes((number, 1)) + rig.make().serialize(packet) for packet in rig.packets]
    return seeds


# --- URLs ------------------------------------------------------------------------------------------------------------

URLS = [
    "tcp://localhost:80",
    "tcp://[::1]:0",
    "tcp://[fe80::1%25eth0]:1",
    "tls://example.org:443",
    "unix:///tmp/x%20y",
    "unix:@abstract",
    "udp://127.0.0.1:53",
    "ws://example.org/path?query",
    "wss://user@example.org",
    "cmd:program --option 'with space'",
    "stdio:",
    "socks5://user:secret@proxy:1080",
]


def play_url(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        endpoint = parse(text)
    except ValueError:
        return
    assert hash(endpoint) == hash(parse(text))
    assert parse(text) == endpoint


# --- all -------------------------------------------------------------------------------------------------------------

TARGETS = [
    Target("framers", play_framer, framer_seeds()),
    Target("jsonrpc", play_jsonrpc, jsonrpc_seeds()),
    Target("proxies", play_proxy, proxy_seeds()),
    Target(
        "proxy-datagrams",
        play_proxy_datagram,
        [wrapped(host, 53, b"payload") for host in ("192.0.2.1", "2001:db8::1", "host.example")],
    ),
    Target("websocket-frames", play_websocket_frames, seeded(2, FRAMES * 2)),
    Target("websocket-heads", play_websocket_head, [b"\0\0" + HEAD + FRAMES[0], b"\1\0" + ANSWER]),
    Target("serializers", play_serializer, serializer_seeds()),
    Target("urls", play_url, [url.encode() for url in URLS]),
]
