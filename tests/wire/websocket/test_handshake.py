# SPDX-License-Identifier: MIT
"""wire/websocket: the opening handshake: what is said, who may come, and what else comes by HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.versions import is_before
from tests.wire.websocket.pairs import framed, new_client, opened, shake, told
from tieline.errors import WebSocketRefused
from tieline.wire.websocket.facts import WebSocketInfo
from tieline.wire.websocket.framing import CountedMessages, MessageLines
from tieline.wire.websocket.server import WebSocketServer
from tieline.wire.websocket.stream import MAX_HEAD
from tieline.wire.websocket.visitors import LOOPBACK, Visitors

# These refuse all that is no handshake by 400, where later ones tell more by the status.
IS_OLD = is_before("websockets", 17)
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def request(
    line: bytes = b"GET / HTTP/1.1",
    *,
    host: bytes = b"Host: here\r\n",
    more: bytes = b"",
    upgrade: bytes = UPGRADE + KEY,
) -> bytes:
    return line + b"\r\n" + host + upgrade + more + b"\r\n"


def answer(server: WebSocketServer, data: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to *data*."""
    assert server.receive(data) == b""
    output = server.data_to_send()
    head, _, body = output.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def test_both_sides_learn_what_the_other_one_said() -> None:
    client, server = opened(
        {
            "path": "/rpc?x=1",
            "headers": [("X-Token", "t")],
            "subprotocols": ["a", "b"],
            "origin": "http://server.example",
        },
        {"path": "/rpc", "headers": [("X-Server", "s")], "subprotocols": ["b", "c"]},
    )
    assert isinstance(server.info, WebSocketInfo)
    assert server.info.path == "/rpc?x=1"
    assert server.info.header("x-token") == "t"
    assert server.info.header("Host") == "server.example"
    assert server.info.header("absent") is None
    assert server.info.origin == "http://server.example"
    assert server.info.subprotocol == "b"
    assert "X-Token" in repr(server.info)
    assert "'t'" not in repr(server.info)
    assert "x=1" not in repr(server.info)
    assert client.info is not None
    assert client.info.header("X-Server") == "s"
    assert client.info.subprotocol == "b"


def test_the_handshake_may_be_cut_anywhere() -> None:
    client = new_client("server.example", 80)
    client.start()
    said = client.data_to_send()
    for cut in range(len(said)):
        server = WebSocketServer()
        assert server.receive(said[:cut]) == b""
        assert server.data_to_send() == b""
        assert not server.is_ready
        server.receive(said[cut:])
        assert server.is_ready, cut
    for cut in range(200):
        again, other = new_client("server.example", 80), WebSocketServer()
        again.start()
        other.receive(again.data_to_send())
        whole = other.data_to_send() + other.send(framed(b"at once"))
        assert told(again, whole[:cut]) + told(again, whole[cut:]) == [b"at once"], cut


def test_the_framing_inside_has_the_limit_of_the_session() -> None:
    assert CountedMessages.with_limit(7).max_size == 7
    assert MessageLines.with_limit(7).max_size == 7


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("offered", [False, True])
def test_what_is_sent_is_compressed_where_both_want_it(asked: bool, offered: bool) -> None:
    client, server = opened({"compression": asked}, {"compression": offered})
    content = b"x" * 1000
    assert [len(side.send(framed(content))) < 1000 for side in (client, server)] == [asked and offered] * 2


def test_a_header_host_of_ones_own_replaces_ours() -> None:
    _, server = opened({"headers": [("host", "another:81")]})
    assert server.info is not None
    assert [value for name, value in server.info.headers if name.lower() == "host"] == ["another:81"]


def test_a_client_without_subprotocols_is_welcome_and_one_with_foreign_ones_is_not() -> None:
    client, _ = opened(server={"subprotocols": ["ours"]})
    assert client.info is not None
    assert client.info.subprotocol is None
    foreign, server = new_client("h", 80, subprotocols=["theirs"]), WebSocketServer(subprotocols=["ours"])
    shake(foreign, server)
    assert isinstance(foreign.error, WebSocketRefused)
    assert foreign.error.status == 400
    assert isinstance(server.error, WebSocketRefused)
    assert server.error.status == 400


# --- what else comes to a server -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(request(upgrade=b""), 426, id="plain request"),
        pytest.param(request(b"POST / HTTP/1.1"), 400 if IS_OLD else 405, id="POST"),
        pytest.param(request(b"GET /other HTTP/1.1"), 404, id="another path"),
        pytest.param(request(b"GET /other?/ HTTP/1.1", upgrade=b""), 404, id="another path, plain"),
        pytest.param(request(b"GET /health HTTP/1.1", upgrade=b""), 200, id="health"),
        pytest.param(request(b"GET http://here/health HTTP/1.1", upgrade=b""), 200, id="health, absolute"),
        pytest.param(request(b"POST /health HTTP/1.1", upgrade=b""), 405, id="health, POST"),
        pytest.param(request(b"GET http://here/other HTTP/1.1"), 404, id="another path, absolute"),
        pytest.param(request(b"GET http:///?x HTTP/1.1"), 400, id="absolute, without a host"),
        pytest.param(request(upgrade=UPGRADE.replace(b"websocket", b"h2c, x-websocket") + KEY), 426, id="upgrade"),
        pytest.param(request(upgrade=UPGRADE), 400, id="key missing", marks=pytest.mark.row("H72")),
        pytest.param(request(host=b""), 400, id="host missing"),
        pytest.param(request(host=b"", upgrade=b""), 400, id="host missing, plain"),
        pytest.param(request(host=b"Host: a\r\nHost: b\r\n"), 400, id="two hosts"),
        pytest.param(request(more=b"Origin: http://here\r\nOrigin: http://x\r\n"), 400, id="two origins"),
        pytest.param(request(b"GET / HTTP/1.0"), 400 if IS_OLD else 505, id="HTTP/1.0"),
        pytest.param(request(b"GET / HTTP/2.0"), 400, id="HTTP/2"),
        pytest.param(request(b"GET rpc HTTP/1.1"), 400, id="no path"),
        pytest.param(request(b"CONNECT here:80 HTTP/1.1"), 400, id="for a proxy"),
        pytest.param(request(b"GET /#x HTTP/1.1"), 400, id="a fragment"),
        pytest.param(request(b"GET http://here/health#x HTTP/1.1"), 400, id="a fragment, absolute"),
        pytest.param(request(b"GET  / HTTP/1.1"), 400, id="two spaces"),
        pytest.param(b"GET /\r\n\r\n", 400, id="HTTP/0.9"),
        pytest.param(request(b"G" * 33 + b" / HTTP/1.1"), 400, id="a long method"),
        pytest.param(request(more=b"Content-Length: 5\r\n"), 400, id="a body"),
        pytest.param(request(more=b"Content-Length: 0\r\nContent-Length: 5\r\n"), 400, id="two lengths"),
        pytest.param(request(more=b"Content-Length: +0\r\n"), 400, id="a length with a sign"),
        pytest.param(request(more=b"Transfer-Encoding: chunked\r\n"), 400, id="chunks"),
        pytest.param(request(more=b"Transfer-Encoding : identity\r\n"), 400, id="a space before the colon"),
        pytest.param(request(more=b"X: y\r\n z\r\n"), 400, id="a header that is folded"),
        pytest.param(request(host=b" Host: here\r\n"), 400, id="a first header that is folded"),
        pytest.param(request(more=b"X: a\0b\r\n"), 400, id="NUL"),
        pytest.param(request(more=b"X: a\rb\r\n"), 400, id="bare CR"),
        pytest.param(request(more=b"X: y\n"), 400, id="bare LF"),
        pytest.param(request().replace(b"1.1\r\n", b"1.1\n", 1), 400, id="bare LF behind the request"),
        pytest.param(request().removesuffix(b"\r\n") + b"\n", 400, id="bare LF at the end"),
        pytest.param(request(more=b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, id="two keys"),
        pytest.param(request(upgrade=UPGRADE + KEY.replace(b"13", b"8")), 426, id="another version"),
        pytest.param(request(more=b"Sec-WebSocket-Version: 8\r\n"), 426, id="two versions"),
        pytest.param(request(upgrade=UPGRADE + KEY.partition(b"\n")[0] + b"\n"), 400, id="no version"),
        pytest.param(request(more=b"no header\r\n"), 400, id="no header"),
        pytest.param(b'{"jsonrpc": "2.0"}\n', 400, id="a line of JSON"),
        pytest.param(b"\x16\x03\x01\x02\x00", 400, id="TLS"),
        pytest.param(request(more=b"X: y\r\n" * 129), 400 if IS_OLD else 431, id="many headers"),
        pytest.param(request(more=b"X: " + b"y" * MAX_HEAD + b"\r\n"), 431, id="a long header"),
    ],
)
def test_what_is_no_handshake_gets_a_short_answer(data: bytes, status: int) -> None:
    server = WebSocketServer(path="/", health_path="/health")
    seen, body = answer(server, data + b'{"jsonrpc": "2.0", "method": "f"}\n')
    assert seen == status
    assert body.endswith(b"\n")
    assert len(body) < 300
    assert isinstance(server.error, WebSocketRefused)
    assert server.error.status == status
    assert not server.is_ready
    assert server.receive(b"more") == b""


def test_head_is_answered_as_get_but_for_the_body() -> None:
    answers = []
    for method in (b"GET", b"HEAD", b"PUT"):
        server = WebSocketServer(health_path="/health")
        server.receive(request(method + b" /health HTTP/1.1", upgrade=b""))
        answers.append(server.data_to_send())
    head, end, body = answers[0].partition(b"\r\n\r\n")
    assert body
    assert answers[1] == head + end
    assert b"\r\nAllow: GET, HEAD\r\n" in answers[2]


@pytest.mark.parametrize(
    ("target", "path"), [(b"/rpc", "/rpc"), (b"http://a/rpc?x=/", "/rpc?x=/"), (b"WSS://a:81/rpc", "/rpc")]
)
@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c, WebSocket", b"a\r\nUpgrade: websocket"])
def test_a_handshake_may_come_as_to_a_proxy_and_offer_more(target: bytes, path: str, upgrade: bytes) -> None:
    server = WebSocketServer(path="/rpc")
    line = b"GET " + target + b" HTTP/1.1"
    server.receive(request(line, upgrade=UPGRADE.replace(b"websocket", upgrade) + KEY))
    assert server.data_to_send().startswith(b"HTTP/1.1 101 ")
    assert server.info is not None
    assert server.info.path == path
    assert server.info.header("Upgrade") == upgrade.partition(b"\r")[0].decode()


def test_the_host_of_the_target_counts_and_not_that_of_the_header() -> None:
    for target, is_welcome in ((b"http://localhost/", True), (b"http://example.com/", False), (b"/", False)):
        server = WebSocketServer(visitors=Visitors(hosts=LOOPBACK))
        server.receive(request(b"GET " + target + b" HTTP/1.1"))
        assert server.is_ready is is_welcome
    server = WebSocketServer()
    server.receive(request(b"GET http://here HTTP/1.1"))
    assert server.info is not None
    assert server.info.path == "/"


@pytest.mark.row("H72")
def test_a_head_of_a_megabyte_is_refused_at_its_limit() -> None:
    server = WebSocketServer()
    line = b"GET / HTTP/1.1\r\nX: "
    fed = 0
    server.receive(line)
    while server.error is None:
        server.receive(b"y" * 1000)
        fed += 1000
        assert fed <= MAX_HEAD + 1000
    assert server.data_to_send().startswith(b"HTTP/1.1 431 ")
    assert str(MAX_HEAD) in str(server.error)


@pytest.mark.parametrize("beginning", [b"\x00", b"{", b"GET / HTTP/3\r\n", b"A" * 40])
def test_what_cannot_become_a_request_is_refused_at_once(beginning: bytes) -> None:
    server = WebSocketServer()
    server.receive(beginning)
    assert server.data_to_send().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "beginning", [b"G", b"GET", b"GET ", b"GET /long", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nA"]
)
def test_the_beginning_of_a_request_is_waited_for(beginning: bytes) -> None:
    server = WebSocketServer()
    server.receive(beginning)
    assert server.error is None
    assert not server.has_output


# --- who may come ----------------------------------------------------------------------------------------------------

HERE = Visitors()
SECURE = Visitors(is_secure=True)
LOCAL = Visitors(hosts=LOOPBACK)
LISTED = Visitors(origins=("https://app.example", "null"))
ANY = Visitors(origins=("*",))


@pytest.mark.row("H72")
@pytest.mark.parametrize(
    ("visitors", "host", "origin", "welcome"),
    [
        (HERE, "here:8080", None, True),
        (HERE, "here:8080", "http://here:8080", True),
        (HERE, "HERE.:8080", "http://here:8080", True),
        (HERE, "here", "http://here", True),
        (HERE, "here:80", "http://here", True),
        (HERE, "here", "https://here:443", True),
        (HERE, "here:8080", "http://here", False),
        (HERE, "here:8080", "http://evil.example", False),
        (HERE, "here:8080", "null", False),
        (HERE, "here:8080", "http://here:8080/path", False),
        (HERE, "here:8080", "http://user@here:8080", False),
        (HERE, "here:8080", "http://[", False),
        (HERE, "here", "app://here", False),
        (HERE, "here", "ftp://here", False),
        (HERE, "here", "//here", False),
        (HERE, "here", "here", False),
        (HERE, "here", "http://he\tre", False),
        (HERE, "here", "http://here http://evil.example", False),
        (HERE, "here", "", False),
        (SECURE, "here", "https://here", True),
        (SECURE, "here", "http://here", False),
        (SECURE, "here:8443", "https://here:8443", True),
        (SECURE, "here:8443", "http://here:8443", False),
        (LOCAL, "127.0.0.1:8080", None, True),
        (LOCAL, "localhost", None, True),
        (LOCAL, "[::1]:8080", None, True),
        (LOCAL, "127.0.0.1:8080", "http://127.0.0.1:8080", True),
        (LOCAL, "127.0.0.1:8080", "http://localhost:8080", False),
        (LOCAL, "rebound.example:8080", "http://rebound.example:8080", False),
        (LOCAL, "rebound.example:8080", None, False),
        (LISTED, "here", "https://app.example", True),
        (LISTED, "here", "https://APP.example", True),
        (LISTED, "here", "null", True),
        (LISTED, "here", None, True),
        (LISTED, "here", "http://here", False),
        (ANY, "here", "http://evil.example", True),
    ],
)
def test_the_origin_of_a_page_and_the_name_it_asked_for_decide(
    visitors: Visitors, host: str, origin: str | None, *, welcome: bool
) -> None:
    server = WebSocketServer(visitors=visitors)
    more = b"" if origin is None else b"Origin: %b\r\n" % origin.encode()
    server.receive(request(host=b"Host: %b\r\n" % host.encode(), more=more))
    assert server.is_ready is welcome
    if not welcome:
        assert server.data_to_send().startswith(b"HTTP/1.1 403 ")
        assert isinstance(server.error, WebSocketRefused)
        assert "evil" not in str(server.error)  # the peer's words are not repeated


@pytest.mark.row("H72")
@pytest.mark.parametrize(
    "host",
    ["", "here:99999", "here:0x50", "here:+80", "user@here", "here/x", "here, evil", "he re", "lo\tcalhost", "h\xe9re"],
)
@pytest.mark.parametrize("visitors", [HERE, ANY, LOCAL], ids=["here", "any", "local"])
def test_what_is_no_host_is_no_request(visitors: Visitors, host: str) -> None:
    server = WebSocketServer(visitors=visitors)
    assert answer(server, request(host=f"Host: {host}\r\n".encode("latin-1")))[0] == 400


@pytest.mark.parametrize("host", ["here", "here:", "HERE.:80", "[::1]", "[fe80::1%lo]:80", "[fe80::1%25lo]", "a_b-c.d"])
def test_what_a_host_may_look_like(host: str) -> None:
    server = WebSocketServer()
    server.receive(request(host=b"Host: %b\r\n" % host.encode()))
    assert server.is_ready


def test_who_speaks_another_version_is_told_ours() -> None:
    server = WebSocketServer()
    server.receive(request(upgrade=UPGRADE + KEY.replace(b"13", b"8")))
    head = server.data_to_send().partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"HTTP/1.1 426 Upgrade Required"
    assert {b"Sec-WebSocket-Version: 13", b"Upgrade: websocket"} <= set(head)


@pytest.mark.row("H80")
@pytest.mark.parametrize(
    "header",
    [
        "Sec-WebSocket-Protocol: ours, @secret",
        "Sec-WebSocket-Protocol: secret",
        "Sec-WebSocket-Extensions: ;secret",
        "Sec-WebSocket-Key: secret",
        "Connection: @secret",
        "X: \0secret",
        "Content-Length: secret",
        "secret",
        f"X: secret{'x' * MAX_HEAD}",
        "\r\n".join(["X: secret"] * 200),
    ],
)
def test_what_stands_in_headers_is_in_no_text_of_ours(header: str) -> None:
    server = WebSocketServer(subprotocols=["ours"], compression=True)
    server.receive(request(more=header.encode() + b"\r\n"))
    assert isinstance(server.error, WebSocketRefused)
    assert "secret" not in str(server.error)
    odd = WebSocketServer()
    odd.receive(request(upgrade=UPGRADE.replace(b"websocket", b"secret") + KEY))
    assert "secret" not in str(odd.error)
    client, other = new_client("h", 80), WebSocketServer()
    client.start()
    other.receive(client.data_to_send())
    client.receive(other.data_to_send().removesuffix(b"\r\n") + header.encode() + b"\r\n\r\n")
    assert "secret" not in str(client.error)


# --- what comes to a client ------------------------------------------------------------------------------------------


def refused(reply: bytes, **settings: Any) -> Exception:
    client = new_client("server.example", 80, **settings)
    client.start()
    assert client.receive(reply) == b""
    assert not client.is_ready
    assert client.error is not None
    return client.error


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        (b"HTTP/1.1 403 Go away <b>\r\nContent-Length: 5\r\n\r\nhello", 403, "status 403 (Forbidden)"),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", 301, "redirections are not followed"),
        (b"HTTP/1.1 299\r\n\r\n", 299, "unknown status"),
        (b"HTTP/1.0 500 Oops\r\n\r\n", 500, "Internal Server Error"),
        (b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", None, "Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 OK\r\n\r\n", None, "Connection"),
        (b"HTTP/1.1 101 OK\r\nbroken\r\n\r\n", None, "not valid HTTP"),
        (b"HTTP/1.1 101 OK\r\nContent-Length: 5\r\n\r\n", None, "is invalid"),
    ],
)
def test_a_refusal_says_why(reply: bytes, status: int | None, text: str) -> None:
    error = refused(reply)
    assert isinstance(error, WebSocketRefused)
    assert isinstance(error, OSError)
    assert error.status == status
    assert text in str(error)
    assert "Go away" not in str(error)


@pytest.mark.parametrize("status", [299, 300, 399, 400])
def test_what_is_a_redirection_is_said_to_be_one(status: int) -> None:
    error = refused(b"HTTP/1.1 %d\r\n\r\n" % status)
    assert ("redirections" in str(error)) is (300 <= status < 400)


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


@pytest.mark.parametrize("hints", [b"HTTP/1.1 100 Continue\r\n\r\n", HINT, HINT * 8])
def test_hints_before_the_answer_are_passed_over_wherever_they_are_cut(hints: bytes) -> None:
    for cut in range(len(hints) + 2):
        client, server = new_client("h", 80), WebSocketServer()
        client.start()
        server.receive(client.data_to_send())
        stream = hints + server.data_to_send() + server.send(framed(b"at once"))
        assert told(client, stream[:cut]) == []
        assert told(client, stream[cut:]) == [b"at once"]
        assert client.is_ready
    error = refused(hints + b"HTTP/1.1 403 No\r\n\r\n")
    assert isinstance(error, WebSocketRefused)
    assert error.status == 403


def test_a_server_that_says_nothing_but_hints_is_given_up() -> None:
    error = refused(HINT * 9)
    assert isinstance(error, WebSocketRefused)
    assert "only interim ones" in str(error)


@pytest.mark.parametrize("reply", [b"SSH-2.0-x\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 1 x\r\n\r\n"])
def test_what_is_no_answer_of_http_is_refused(reply: bytes) -> None:
    assert isinstance(refused(reply), WebSocketRefused)


def test_the_head_of_an_answer_has_a_limit_too() -> None:
    error = refused(b"HTTP/1.1 101 OK\r\nX: " + b"y" * MAX_HEAD)
    assert isinstance(error, WebSocketRefused)
    assert str(MAX_HEAD) in str(error)


def test_an_extension_or_subprotocol_that_was_not_offered_is_refused() -> None:
    for header in ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: odd"):
        client, server = new_client("h", 80), WebSocketServer()
        client.start()
        server.receive(client.data_to_send())
        reply = server.data_to_send().removesuffix(b"\r\n") + header.encode() + b"\r\n\r\n"
        client.receive(reply)
        assert isinstance(client.error, WebSocketRefused)


@pytest.mark.row("H17")
@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15", b"HTTP/2", b"220 mail", b"\r\n", b"HTTP/1.1x 200 OK\r\n"]
)
def test_who_speaks_no_http_is_found_out_at_the_first_byte_that_tells(greeting: bytes) -> None:
    client = new_client("server.example", 80)
    client.start()
    client.receive(greeting)
    assert isinstance(client.error, WebSocketRefused)
    assert "does not begin with HTTP/1." in str(client.error)


def test_a_line_of_an_answer_that_ends_otherwise_is_refused() -> None:
    for answer in (b"HTTP/1.1 101 OK\n", b"HTTP/1.1 101 OK\r\nUpgrade: websocket\n", b"HTTP/1.1 101 OK\r\n\n"):
        error = refused(answer)
        assert isinstance(error, WebSocketRefused)
        assert "CR LF" in str(error)


@pytest.mark.parametrize("size", range(1, 32))
def test_an_answer_that_is_not_complete_is_waited_for(size: int) -> None:
    client = new_client("server.example", 80)
    client.start()
    for byte in b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n"[:size]:
        client.receive(bytes([byte]))
    assert client.error is None


def test_who_lets_go_of_a_failed_handshake_keeps_no_frames_alive() -> None:
    client = new_client("server.example", 80)
    client.start()
    client.receive(b"HTTP/1.1 101 OK\r\nbroken\r\n\r\n")
    fault, error = vars(client._core)["handshake_exc"], client.error
    assert fault.__cause__ is not None, "whose frames know the core"
    assert error is not None
    client.let_go()
    assert client.error is None
    assert (fault.__traceback__, fault.__context__, fault.__cause__) == (None, None, None)
