# SPDX-License-Identifier: MIT
"""Sessions over WebSocket, on real sockets and every runtime: the same calls, other peers, pages and plain HTTP."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import pair, until
from tests.runtimes.scripted_proxies import Good, listening
from tests.wire.websocket.pairs import CLOSE, CONTINUATION, TEXT, close_code, frame
from tieline import (
    TCP,
    TLS,
    ConnectionLost,
    Governance,
    Limits,
    MessageSession,
    Methods,
    Server,
    ServerSession,
    UnixStream,
    WebSocket,
    WebSocketClosed,
    WebSocketRefused,
    connect,
    serve,
)
from tieline import blocking as tieline_blocking

URL = "ws://127.0.0.1:0/rpc"
METHODS = Methods()
# A peer gets to read why it is cut, even if the machine stops it for a while.
PATIENT = Limits(linger=30.0)
KEY = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@METHODS.method
def echo(value: object) -> object:
    return value


@METHODS.method
async def ask_back(session: ServerSession) -> object:
    return await session.call("echo", "back")


@METHODS.method
async def never() -> None:
    await aio.Event().wait()


PLAIN = Methods()
PLAIN.method(echo)


def port_of(server: Server) -> int:
    (endpoint,) = server.get_addresses()
    assert isinstance(endpoint, WebSocket)
    assert isinstance(endpoint.under, TCP)
    return endpoint.under.port


async def said(server: Server, data: bytes) -> bytes:
    """Say *data* to the server's port, and return all that it answers until it closes."""

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as sock:
            sock.sendall(data)
            found = bytearray()
            try:
                while piece := sock.recv(1 << 16):
                    found += piece
            except ConnectionResetError:
                pass
            return bytes(found)

    return await aio.to_thread(talk)


def opening(host: bytes = b"127.0.0.1", more: bytes = b"", target: bytes = b"/rpc") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n%bSec-WebSocket-Version: 13\r\n%b\r\n" % (target, host, KEY, more)


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_calls_notifications_and_batches_in_both_directions() -> None:
    async with pair(METHODS, url=URL, client_methods=METHODS) as both:
        assert await both.client.call("echo", [1, "ü", None]) == [1, "ü", None]
        assert await both.client.call("ask_back") == "back"
        assert await both.peer.call("echo", {"a": 1}) == {"a": 1}
        async with both.client.batch() as batch:
            batch.add_request("echo", [1])
            batch.add_request("echo", [2])
        assert batch.results == (1, 2)
        info = both.peer.get_extra_info("websocket")
        assert info.path == "/rpc"
        assert both.client.get_extra_info("websocket").header("Upgrade") == "websocket"


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("binary", [False, True])
async def test_long_messages(*, compression: bool, binary: bool) -> None:
    endpoint = WebSocket(TCP("127.0.0.1", 0), "/x", compression=compression, binary=binary)
    async with serve(METHODS, endpoint) as server:
        (address,) = server.get_addresses()
        async with connect(address) as session:
            text = "ä" * 250_000
            assert await session.call("echo", text) == text


async def test_many_calls_at_once_come_back_each_to_its_caller() -> None:
    async with pair(METHODS, url=URL) as both:
        requests = [both.client.send_request("echo", [number]) for number in range(1000)]
        assert [await request for request in requests] == list(range(1000))


async def test_over_tls_the_certificate_is_checked(certificates: Certificates) -> None:
    secured = TLS(certificate=certificates.server)
    async with serve(METHODS, "wss://127.0.0.1:0/", tls=secured) as server:
        assert server.url.startswith("wss://127.0.0.1:")
        url = f"wss://localhost:{port_of(server)}/"
        async with connect(url, tls=TLS(ca=certificates.ca)) as session:
            assert await session.call("echo", 1) == 1
            assert session.get_extra_info("ssl_object") is not None
        with pytest.raises(OSError, match="certificate verify failed"):
            await _enter(url)


async def _enter(url: str) -> None:
    async with connect(url):
        pass


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    endpoint = WebSocket(UnixStream(tmp_path / "ws"), "/rpc")
    async with serve(METHODS, endpoint) as server, connect(endpoint) as session:
        assert await session.call("echo", 1) == 1
        assert server.url == endpoint.url


async def test_messages_without_replies() -> None:
    heard: list[object] = []

    class Listener(MessageSession):
        async def handle_message(self, message: Any) -> None:
            heard.append(message)

    async with serve(Listener, URL) as server, connect(server.url, session_factory=MessageSession) as session:
        await session.send_message(b"one")
        await session.send_message(b"two\nthree")
        await until(lambda: len(heard) == 2)
    assert heard == [b"one", b"two\nthree"]


async def test_from_blocking_code() -> None:
    async with serve(METHODS, URL) as server:

        def talk() -> list[object]:
            with tieline_blocking.connect(server.url, PLAIN) as session:
                found = [session.call("echo", "x" * 300_000), session.call("ask_back")]
                assert session.get_extra_info("websocket").path == "/rpc"
                return found

        assert await aio.to_thread(talk) == ["x" * 300_000, "back"]

        def refused() -> None:
            with tieline_blocking.connect(server.url + "/no"):
                pass

        with pytest.raises(WebSocketRefused, match=r"cannot connect to ws://.*status 404"):
            await aio.to_thread(refused)


@pytest.mark.parametrize("scheme", ["socks5", "socks4a", "http"])
async def test_through_a_proxy(scheme: str, certificates: Certificates) -> None:
    secured = TLS(certificate=certificates.server)
    async with serve(METHODS, URL) as server, serve(METHODS, "wss://127.0.0.1:0/rpc", tls=secured) as safe:
        with listening(Good({"node.example": "127.0.0.1", "localhost": "127.0.0.1"})) as scripted:
            proxy = f"{scheme}://127.0.0.1:{scripted.port}"
            # The server is asked for by a name that it does not go by, unless a header says otherwise.
            endpoint = WebSocket(TCP("node.example", port_of(server)), "/rpc", headers=[("Host", "localhost")])
            async with connect(endpoint, proxy=proxy) as session:
                assert await session.call("echo", 1) == 1
            url = f"wss://localhost:{port_of(safe)}/rpc"
            async with connect(url, tls=TLS(ca=certificates.ca), proxy=proxy) as session:
                assert await session.call("echo", 1) == 1

            def talk() -> object:
                with tieline_blocking.connect(endpoint, proxy=proxy) as session:
                    return session.call("echo", 2)

            assert await aio.to_thread(talk) == 2
            assert scripted.connections == 3


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_closing_the_server_tells_calls_that_wait() -> None:
    async with pair(METHODS, url=URL) as both:
        request = both.client.send_request("never")
        await both.client.call("echo", 1)
        both.peer.abort()
        with pytest.raises(ConnectionLost) as caught:
            await request
        cause = caught.value.__cause__
        assert isinstance(cause, WebSocketClosed)
        assert cause.code == 1006
        assert str(cause) in str(caught.value)


async def test_a_peer_that_closes_says_why() -> None:
    async with serve(METHODS, URL) as server:
        answer = await said(server, opening() + frame(CLOSE, b"\x0f\xa0because"))
        assert answer.endswith(frame(CLOSE, b"\x0f\xa0because", masked=False))
        await until(lambda: not server.sessions)


async def test_a_refusal_is_an_os_error_with_the_status() -> None:
    async with serve(METHODS, URL) as server:
        with pytest.raises(WebSocketRefused, match=r"cannot connect to ws://127.0.0.1:\d+/other: .*404") as caught:
            await _enter(f"ws://127.0.0.1:{port_of(server)}/other")
        assert caught.value.status == 404


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_where_nobody_listens_the_error_names_the_url_that_was_given(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"{scheme}://127.0.0.1:{gone.getsockname()[1]}/rpc"

    def dial() -> None:
        with tieline_blocking.connect(url):
            pass

    told = f"cannot connect to {url}: Connection refused"
    for work in (_enter(url), aio.to_thread(dial)):
        with pytest.raises(ConnectionRefusedError, match=told) as caught:
            await work
        assert caught.value.args[1] == caught.value.strerror
    with pytest.raises(ValueError, match=f"can only listen on {scheme}://127.0.0.1:0/"):
        await _enter(f"{scheme}://127.0.0.1:0/")


async def test_where_somebody_else_listens_the_error_names_the_url_that_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"ws://127.0.0.1:{other.getsockname()[1]}/rpc"
        with pytest.raises(OSError, match=f"cannot listen on {url}: Address already in use"):
            async with serve(METHODS, url):
                pass


async def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TimeoutError, match="no WebSocket handshake"):
            async with connect(f"ws://127.0.0.1:{port}/", connect_timeout=0.1):
                pass


@pytest.mark.row("H17")
@pytest.mark.parametrize(
    ("greeting", "text"),
    [
        (b"SSH-2.0-Odd\r\n\r\n", "does not begin with HTTP/1"),
        (b"HTTP/1.1 101 Odd\r\nX: " + b"y" * 10_000, "over the limit"),
        (b"HTTP/1.1 101 Odd\n\n", "does not end with CR LF"),
    ],
)
async def test_what_is_no_answer_is_a_refusal(greeting: bytes, text: str) -> None:
    """A connection that cannot be made is an `OSError` that says where to it was to be, in blocking code as well."""
    with socket.create_server(("127.0.0.1", 0)) as odd:
        url = f"ws://127.0.0.1:{odd.getsockname()[1]}/"

        def greet() -> None:
            for _ in range(2):
                peer, _ = odd.accept()
                with peer:
                    peer.sendall(greeting)
                    peer.recv(1000)

        def dial() -> None:
            with tieline_blocking.connect(url):
                pass

        task = aio.create_task(aio.to_thread(greet))
        with pytest.raises(WebSocketRefused, match=f"cannot connect to {url}: .*{text}"):
            await _enter(url)
        with pytest.raises(WebSocketRefused, match=f"cannot connect to {url}: .*{text}"):
            await aio.to_thread(dial)
        await task


# --- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.row("H72")
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (opening(more=b"Origin: http://evil.example\r\n"), 403),
        (opening(host=b"rebound.example", more=b"Origin: http://rebound.example\r\n"), 403),
        (b"GET /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 426),
        (opening(target=b"/no"), 404),
        (b"GET /rpc HTTP/1.1\r\nX: " + b"y" * (1 << 20), 431),
    ],
)
async def test_who_may_not_come_is_told_so(data: bytes, status: int) -> None:
    async with serve(METHODS, URL, limits=PATIENT) as server:
        answer = await said(server, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert not server.sessions


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 426 "),
        (opening(target=b"/no"), b"HTTP/1.1 404 "),
        (opening() + frame(TEXT, b"{}", masked=False), b"HTTP/1.1 101 "),
    ],
)
async def test_in_tls_who_is_cut_reads_why_and_then_the_end(
    data: bytes, answer: bytes, certificates: Certificates
) -> None:
    """Not a reset, and not behind the time that a peer gets to read."""

    def talk(port: int) -> bytes:
        context = ssl.create_default_context(cafile=certificates.ca)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
            context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as secured,
        ):
            secured.sendall(data)
            found = b""
            while piece := secured.recv(1 << 16):
                found += piece
            return found

    tls = TLS(certificate=certificates.server)
    async with serve(METHODS, "wss://127.0.0.1:0/rpc", tls=tls, limits=Limits(linger=100.0)) as server:
        found = await aio.to_thread(talk, port_of(server))
        assert found.startswith(answer)
        assert b" 101 " not in answer or close_code(found) == 1002


@pytest.mark.row("H18")
async def test_the_body_of_a_http_request_is_not_executed() -> None:
    called: list[object] = []
    methods = Methods()
    methods.method(called.append)
    body = json.dumps({"jsonrpc": "2.0", "method": "append", "params": [1]}).encode() + b"\n"
    async with serve(methods, URL) as server:
        for line in (b"POST /rpc HTTP/1.1", b"GET /rpc HTTP/1.1"):
            await said(server, line + b"\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert called == []


@pytest.mark.row("H72")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"x" * 3_000), 1009),
        (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, fin=False) * 1000, 1008),
        (frame(9) * 5000, 1008),
        (frame(TEXT, b"{}", masked=False), 1002),
    ],
)
async def test_who_misbehaves_is_cut_and_others_do_not_notice(data: bytes, code: int) -> None:
    async with (
        serve(METHODS, URL, limits=replace(PATIENT, max_message=2_000)) as server,
        connect(server.url) as bystander,
    ):
        answer = await said(server, opening() + data)
        assert close_code(answer) == code
        assert await bystander.call("echo", 1) == 1
        await until(lambda: len(server.sessions) == 1)


async def test_handshakes_that_do_not_end_are_bounded() -> None:
    async with serve(METHODS, URL, limits=Limits(max_handshakes=3)) as server:
        held = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(5)]
        for sock in held[:2]:  # the oldest go
            sock.settimeout(10)
            assert await aio.to_thread(sock.recv, 1) == b""
        async with connect(server.url) as session:
            assert await session.call("echo", 1) == 1
        for sock in held:
            sock.close()


async def test_a_health_path_is_answered() -> None:
    endpoint = WebSocket(TCP("127.0.0.1", 0), "/rpc", health_path="/health")
    async with serve(METHODS, endpoint) as server:
        answer = await said(server, b"GET /health HTTP/1.1\r\nHost: any\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


# --- what peers cost -------------------------------------------------------------------------------------------------

FREE_BYTES = Limits(linger=30.0, governance=Governance(bw_cost_per_byte=0, cost_decay_per_sec=0))
COSTLY_BYTES = Limits(governance=Governance(bw_cost_per_byte=1, cost_decay_per_sec=0, cost_hard_limit=1e9))


@pytest.mark.row("H56")
@pytest.mark.parametrize(
    "wire",
    [frame(TEXT, b"\xff"), frame(TEXT, b"x" * 3_000), frame(9) * 5000, frame(TEXT, b"{}", masked=False)],
    ids=["no UTF-8", "too large", "idle", "unmasked"],
)
async def test_a_fault_of_the_framing_costs_as_much_as_over_tcp(wire: bytes) -> None:
    limits = Limits(linger=30.0, max_message=2_000, governance=FREE_BYTES.governance)
    async with serve(METHODS, URL, limits=limits) as server:
        await said(server, opening() + wire)
        await until(lambda: not server.sessions)
        assert server._admission.accounts.cost("127.0.0.1", 0) == 1000


@pytest.mark.row("H56")
@pytest.mark.parametrize("count", [5, 90])
async def test_pings_are_counted_as_the_bytes_that_they_are(count: int) -> None:
    pings = frame(9, b"p" * 125) * count
    call = b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[1]}'
    async with serve(METHODS, URL, limits=COSTLY_BYTES) as server:
        await said(server, opening() + frame(TEXT, call) + pings + frame(CLOSE, b"\x03\xe8"))
        await until(lambda: not server.sessions)
        assert server._admission.accounts.cost("127.0.0.1", 0) >= len(opening()) + len(pings) + len(call)
