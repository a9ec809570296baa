# SPDX-License-Identifier: MIT
"""Cases 18 and 72, and the forms over WebSocket of those of other transports."""

import os
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from tests.attacks import cases_batches, cases_bytes, cases_envelopes, cases_handlers, cases_json
from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.cases_foreign import BODY, HTTP, client_hello
from tests.attacks.raw import Peer, line
from tests.attacks.table import WAIT, WEBSOCKETS, Case, Outcome, check_keep
from tests.attacks.websocket_peer import WebSocketPeer, opening
from tests.promptness import is_slow_box
from tests.versions import is_before
from tests.wire.websocket.pairs import BINARY, CONTINUATION, PING, PONG, TEXT, frame

Play = Callable[[WebSocketPeer, AttackedServer], object]
MARK = line("mark", "by a web page").removesuffix(b"\n")
MAX_MESSAGE = 1 << 20  # that of connections that are accepted
ECHO = b'{"jsonrpc":"2.0","id":1,"method":"size_of","params":["%b"]}'
COMPRESSED = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; client_max_window_bits=12\r\n"


def over_ws(number: int, name: str, play: Play, **settings: object) -> Case:
    """Return a case that *play* plays."""

    def checked(peer: Peer, server: AttackedServer) -> None:
        assert isinstance(peer, WebSocketPeer)
        server.ask("marked")
        play(peer, server)
        assert server.ask("marked") == [], "a message was carried out that must not be"

    case = Case(number, f"WebSocket: {name}", checked, outcome=Outcome.GONE, transports=WEBSOCKETS)
    return replace(case, **settings)  # type: ignore[arg-type]  # each field has its type


def ends_with(number: int, name: str, data: bytes, code: int, **settings: object) -> Case:
    """Return a case of bytes behind the handshake that end the connection with *code*; what follows is not heard."""

    def play(peer: WebSocketPeer, _server: AttackedServer) -> None:
        peer.send_bytes(data + frame(TEXT, MARK))
        found = peer.end()
        # The server waits for a second while the peer reads why, and then resets what is not read.
        assert found == code or (peer.was_reset and is_slow_box()), found

    return over_ws(number, name, play, **settings)


def answered(number: int, name: str, data: bytes, status: int, **settings: object) -> Case:
    """Return a case of bytes in place of a handshake that get a short answer of HTTP; nothing behind them is heard."""

    def play(peer: WebSocketPeer, _server: AttackedServer) -> None:
        with WebSocketPeer(peer.url, handshake=False) as other:
            other.send_bytes(data + BODY + frame(TEXT, MARK))
            other.end()
            assert other.frames.head is not None
            assert other.frames.head.startswith(b"HTTP/1.1 %d " % status), other.frames.head[:100]
            assert other.received < 1000
            assert not other.was_reset
        check_keep(peer)

    return over_ws(number, name, play, **settings)


# --- case 72 ---------------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """Return a compressed frame of 194 KB that inflates to 200 MB."""
    deflated = zlib.compressobj(9, zlib.DEFLATED, -12)
    # Behind a full flush nothing refers to what was before: so one piece stands for all.
    data = (deflated.compress(bytes(MEGA)) + deflated.flush(zlib.Z_FULL_FLUSH)) * 200
    return frame(TEXT, data.removesuffix(b"\0\0\xff\xff"), rsv=4)


def bombed(peer: WebSocketPeer, _server: AttackedServer) -> None:
    data = bomb()
    assert 150_000 < len(data) < 300_000
    with WebSocketPeer(peer.url, more=COMPRESSED) as other:
        assert b"permessage-deflate" in (other.frames.head or b"")
        other.send_bytes(data + frame(TEXT, MARK))
        assert other.end() == 1009


def many_bombs(peer: WebSocketPeer, server: AttackedServer) -> None:
    """Send messages of 1 KB that inflate to nearly a megabyte each, all allowed: they take turns with others."""
    deflated = zlib.compressobj(9, zlib.DEFLATED, -12)
    text = ECHO % (b"x" * (MAX_MESSAGE - 1000))
    data = deflated.compress(text) + deflated.flush(zlib.Z_SYNC_FLUSH)
    count = server.size(60, 20)
    with WebSocketPeer(peer.url, more=COMPRESSED) as other:
        # No context is kept from one message to the next.
        assert other.send_bytes(frame(TEXT, data.removesuffix(b"\0\0\xff\xff"), rsv=4) * count)
        for _ in range(count):
            assert other.answer()["result"] == MAX_MESSAGE - 1000


def flood(opcode: int) -> Play:
    def play(peer: WebSocketPeer, server: AttackedServer) -> None:
        size = server.size(16 * MEGA, 2 * MEGA)
        piece = frame(opcode, b"x" * 10) * 1000
        for _ in range(size // len(piece)):
            if not peer.send_bytes(piece) or peer.ended or peer.was_reset:
                break
        assert peer.end() == 1008
        assert peer.received < 10_000, "more pings were answered than it takes to see what they are"

    return play


def pings_and_reads_nothing(peer: WebSocketPeer, server: AttackedServer) -> None:
    """Send pings with messages between them, which may go on for ever, and read no answer."""
    piece = (frame(PING, b"x" * 125) + frame(TEXT, b'{"jsonrpc":"2.0","method":"tick","params":["ping"]}')) * 500
    size = server.size(64 * MEGA, 32 * MEGA)
    while peer.sent < size and peer.send_bytes(piece, reads=False, patience=2.0):
        pass
    assert peer.sent < size
    peer.reset()


def no_origin(peer: WebSocketPeer, _server: AttackedServer) -> None:
    assert peer.call("add", 1, 2) == 3  # programs send none


def own_origin(peer: WebSocketPeer, _server: AttackedServer) -> None:
    scheme, _, place = peer.url.partition("://")
    host = place.partition("/")[0]
    with WebSocketPeer(peer.url, handshake=False) as other:
        other.shake(host, f"Origin: {scheme.replace('ws', 'http')}://{host}\r\n")
        assert other.call("add", 1, 2) == 3


LONG_HEADER = b"GET /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * MEGA + b"\r\n\r\n"
PAGES = [
    answered(72, "foreign Origin", opening(more="Origin: http://evil.example\r\n"), 403),
    answered(72, "Origin of a file or a sandbox", opening(more="Origin: null\r\n"), 403),
    answered(72, "foreign Host", opening("rebound.example", "Origin: http://rebound.example\r\n"), 403),
    answered(72, "a Host that is none", opening("rebound.example, 127.0.0.1"), 400),
    answered(72, "a page of a program with a browser in it", opening(more="Origin: app://127.0.0.1\r\n"), 403),
    answered(72, "foreign Host, no Origin", opening("rebound.example"), 403),
    answered(72, "key missing", opening(key=""), 400),
    answered(72, "a plain request", b"GET /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 426),
    answered(72, "another path", opening(target="/"), 404),
    answered(72, "header of 1 MB", LONG_HEADER, 431, growth=6 * MEGA),
    answered(72, "200 headers", opening(more="X: y\r\n" * 200), 400 if is_before("websockets", 17) else 431),
    over_ws(72, "no Origin", no_origin),
    over_ws(72, "its own Origin", own_origin),
]
FRAMES = [
    over_ws(72, "194 KB that inflate to 200 MB", bombed, growth=8 * MEGA),
    over_ws(72, "1 KB that inflates to 1 MB, time and again", many_bombs, growth=24 * MEGA),
    over_ws(72, "ping flood", flood(PING), growth=6 * MEGA),
    over_ws(72, "pong flood", flood(PONG), growth=6 * MEGA),
    over_ws(72, "pings, and no answer is read", pings_and_reads_nothing, growth=8 * MEGA),
    ends_with(
        72,
        "1000 empty continuation frames",
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, fin=False) * 1000,
        1008,
    ),
    ends_with(72, "text that is no UTF-8", frame(TEXT, b'"\xff"'), 1007),
    ends_with(72, "text that is no UTF-8, in fragments", frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION), 1007),
    ends_with(72, "a frame without a mask", frame(TEXT, MARK, masked=False), 1002),
    ends_with(72, "a reserved bit", frame(TEXT, MARK, rsv=4), 1002),
    ends_with(72, "a ping of 126 bytes", frame(PING, b"x" * 126), 1002),
    ends_with(72, "a continuation of nothing", frame(CONTINUATION, MARK), 1002),
]


# --- forms of the earlier cases --------------------------------------------------------------------------------------


def sized(size: int) -> bytes:
    return ECHO % (b"x" * (size - len(ECHO) + 2))


def exact_sizes(peer: WebSocketPeer, _server: AttackedServer) -> None:
    for size in (MAX_MESSAGE - 1, MAX_MESSAGE):
        for parts in ([frame(TEXT, sized(size))], [frame(TEXT, sized(size)[:9], fin=False), frame(0, sized(size)[9:])]):
            assert peer.send_bytes(b"".join(parts))
            assert peer.answer()["result"] == size - len(ECHO) + 2


def endless_message(peer: WebSocketPeer, server: AttackedServer) -> None:
    """Send fragments of 64 KiB that never end."""
    peer.send_bytes(frame(TEXT, b"[", fin=False))
    piece = frame(CONTINUATION, b" " * (1 << 16), fin=False)
    most = server.size(100 * MEGA, 16 * MEGA)
    while peer.sent < most and peer.send_bytes(piece) and not (peer.ended or peer.was_reset):
        pass
    assert peer.end() == 1009
    assert peer.sent < most


def one_byte_at_a_time(peer: WebSocketPeer, _server: AttackedServer) -> None:
    data = frame(TEXT, '{"jsonrpc":"2.0","id":1,"method":"echo","params":["grüße"]}'.encode(), mask=b"mask")
    for byte in data:
        assert peer.send_bytes(bytes([byte]))
    assert peer.answer()["result"] == "grüße"


def many_in_one_write(peer: WebSocketPeer, _server: AttackedServer) -> None:
    count = 2000
    texts = [b'{"jsonrpc":"2.0","id":%d,"method":"add","params":[1,2]}' % number for number in range(count)]
    assert peer.send_bytes(b"".join(frame(TEXT, text) for text in texts))
    assert sorted(peer.answer()["id"] for _ in range(count)) == list(range(count))


def cut_off(how: str) -> Play:
    def play(peer: WebSocketPeer, server: AttackedServer) -> None:
        assert peer.call("add", 1, 2) == 3  # so the connection is accepted
        before = server.figures()
        assert peer.send_bytes(frame(TEXT, MARK)[:-1])
        peer.shutdown_write() if how == "FIN" else peer.reset()
        server.settled_like({**before, "sessions": before["sessions"] - 1})

    return play


def slow_handshakes(_peer: WebSocketPeer, server: AttackedServer) -> None:
    """Begin 30 handshakes that do not end: 20 may be under way, for 0.4 s here."""
    begun = [WebSocketPeer(server.urls["brief"]["ws"], handshake=False) for _ in range(30)]
    try:
        for each in begun:
            each.send_bytes(opening()[:40])
        for each in begun:
            each.end()
            assert not each.received
    finally:
        for each in begun:
            each.close()


def known(url: str) -> WebSocketPeer:
    """Return a peer that has called: it had 0.4 s for that, which on a busy machine may not do."""
    for _ in range(10):
        peer = None
        try:
            peer = WebSocketPeer(url)
            assert peer.call("add", 1, 2) == 3
        except (AssertionError, OSError):
            if peer is not None:
                peer.close()
        else:
            return peer
    raise AssertionError("cut before it could call, ten times")


def slow_messages(_peer: WebSocketPeer, server: AttackedServer) -> None:
    """Begin messages that do not end: they may take 0.3 s here, by whatever way they are slow."""
    ways = [frame(TEXT, MARK)[:1], frame(TEXT, MARK)[:20], frame(TEXT, b"[", fin=False), frame(PING, b"ping")[:4]]
    with ExitStack() as stack:
        others = [stack.enter_context(known(server.urls["brief"]["ws"])) for _ in ways]
        for other, beginning in zip(others, ways, strict=True):
            assert other.send_bytes(beginning)
        in_parts = others[2]
        while not (in_parts.ended or in_parts.was_reset):
            if not in_parts.read_more(0.05):
                in_parts.send_bytes(frame(CONTINUATION, b" ", fin=False))
        for other in others:
            while not (other.ended or other.was_reset):
                assert other.read_more(10), "still open"
            assert other.frames.closed_with == 1008


def bytes_that_are_no_json(peer: WebSocketPeer, _server: AttackedServer) -> None:
    for content in (b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b"\xff\xfe[\x00", b"\x16\x03\x01", b""):
        assert peer.send_bytes(frame(BINARY, content))
        assert peer.answer()["error"]["code"] == -32700
    check_keep(peer)


FORMS = [
    over_ws(1, "a call byte by byte", one_byte_at_a_time),
    over_ws(2, "2000 calls in one write", many_in_one_write),
    over_ws(3, "a message without end", endless_message, growth=8 * MEGA),  # TLS and its layer hold a part each
    ends_with(4, "a message of 5 MB", frame(TEXT, b" " * (5 * MEGA)), 1009, growth=6 * MEGA),
    over_ws(5, "messages of max-1 and of max bytes", exact_sizes),
    ends_with(5, "a message of max+1 bytes", frame(TEXT, sized(MAX_MESSAGE + 1)), 1009),
    over_ws(8, "half a message, then FIN", cut_off("FIN")),
    over_ws(8, "half a message, then RST", cut_off("RST")),
    ends_with(10, "random frames", b"\xf3" + os.urandom(1 << 20), 1002),
    ends_with(12, "a length of 2^63-1", b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"mask", 1009),
    answered(17, "a TLS ClientHello", client_hello(), 400),
    answered(18, "HTTP POST with a call as its body", HTTP % (len(BODY), BODY), 404),
    answered(18, "HTTP POST to its path", (HTTP % (len(BODY), BODY)).replace(b" / ", b" /rpc "), 400),
    answered(18, "GET with a call as its body", (HTTP % (len(BODY), BODY)).replace(b"POST / ", b"GET /rpc "), 400),
    answered(18, "a line of JSON in place of the request", BODY, 400),
    answered(18, "a head that others read differently", opening(more="X: y\n\r\nHost: other\r\n"), 400),
    answered(18, "a body in chunks", opening(more="Transfer-Encoding: chunked\r\n"), 400),
    answered(18, "two hosts", opening(more="Host: rebound.example\r\n"), 400),
    over_ws(25, "bytes that are no UTF-8, in messages of bytes", bytes_that_are_no_json),
    # Not in TLS, whose own handshakes are in the time that is so short here; case 68 has those.
    over_ws(50, "handshakes that do not end", slow_handshakes, records=31, transports=("ws",)),
    over_ws(50, "messages that do not end", slow_messages, records=30, transports=("ws",)),
]

# What is about JSON and not about lines is the same in messages, and TLS below those changes nothing more.
SAME = [
    replace(case, name=f"WebSocket: {case.name}", transports=("ws",))
    for case in (
        *cases_json.CASES,
        *cases_envelopes.CASES,
        *cases_batches.CASES,
        *cases_handlers.CASES,
        *(case for case in cases_bytes.CASES if case.number == 6),
    )
    # Not those of bytes that are no UTF-8, which are a fault of the frame, nor one that counts the bytes of a line; and
    # none that is about time, which the other transports show.
    if case.number != 25 and case.play is not cases_batches.quiet_batch and not (case.is_alone or case.ends_server)
    if case.seconds >= 1 and case.wait >= WAIT
]

CASES = [*PAGES, *FRAMES, *FORMS, *SAME]
